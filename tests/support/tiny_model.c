/* tiny_model.c - see tiny_model.h. */
#include "support/tiny_model.h"

#include "base/rng.h"
#include "format/encode.h"
#include "format/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_LAYERS = 4, N_HC = 4, N_HEADS = 4, N_HEAD = 96, N_ROT = 32, N_INDEX_HEADS = 3, N_INDEX = 64,
       FEW_EXPERTS = 6, N_USED = 2, N_HASH = 2, MAX_TENSORS = 256 };

static const uint32_t ratios[N_LAYERS] = { 0, 4, 128, 4 };

typedef struct tensor {
    char     name[64];
    uint32_t dtype;
    uint64_t dim[3];
    float    scale, mean;   /* values are mean + scale * noise */
} tensor;

typedef struct maker {
    const tiny_model *t;
    ds4_gguf_writer  *w;
    ds4_rng           rng;
    tensor            tensors[MAX_TENSORS];
    uint32_t          n;
} maker;

static uint32_t n_experts(const maker *m)
{
    return m->t->n_experts ? m->t->n_experts : FEW_EXPERTS;
}

static void must(ds4_status st, const ds4_err *err)
{
    if (st == DS4_OK) return;
    fprintf(stderr, "tiny model: %s\n", err->text);
    abort();
}

static void add(maker *m, const char *name, uint32_t dtype, uint64_t d0, uint64_t d1, uint64_t d2,
                float scale, float mean)
{
    tensor *t = &m->tensors[m->n++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->dtype = dtype;
    t->dim[0] = d0;
    t->dim[1] = d1;
    t->dim[2] = d2;
    t->scale = scale;
    t->mean = mean;
    ds4_gguf_declare(m->w, name, dtype, d2 > 1 ? 3 : d1 > 1 ? 2 : 1, t->dim);
}

/* A matrix whose outputs have about the size of its inputs. */
static void matrix(maker *m, int layer, const char *name, uint32_t dtype, uint64_t n_in,
                   uint64_t n_out, uint64_t n_mats)
{
    char full[64];
    if (layer < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    add(m, full, dtype, n_in, n_out, n_mats, 1.0f / sqrtf((float)n_in), 0.0f);
}

static void vector(maker *m, int layer, const char *name, uint64_t n, uint64_t n_rows, float scale,
                   float mean)
{
    char full[96];
    if (layer < 0) snprintf(full, sizeof full, "%s", name);
    else snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    add(m, full, DS4_F32, n, n_rows, 1, scale, mean);
}

static void hyper_connection(maker *m, int layer, const char *part, uint32_t n_out, uint32_t n_scale)
{
    char name[48];
    snprintf(name, sizeof name, "%s_fn.weight", part);
    matrix(m, layer, name, m->t->precise, (uint64_t)N_HC * m->t->n_embd, n_out, 1);
    snprintf(name, sizeof name, "%s_scale.weight", part);
    vector(m, layer, name, n_scale, 1, 0.1f, 0.5f);
    snprintf(name, sizeof name, "%s_base.weight", part);
    vector(m, layer, name, n_out, 1, 0.5f, 0.0f);
}

static void compressor(maker *m, int layer, const char *prefix, uint32_t width, uint32_t n, uint32_t ratio)
{
    char name[64];
    snprintf(name, sizeof name, "%s_kv.weight", prefix);
    matrix(m, layer, name, m->t->precise, m->t->n_embd, width, 1);
    snprintf(name, sizeof name, "%s_gate.weight", prefix);
    matrix(m, layer, name, m->t->precise, m->t->n_embd, width, 1);
    snprintf(name, sizeof name, "%s_ape.weight", prefix);
    vector(m, layer, name, width, ratio, 0.5f, 0.0f);
    snprintf(name, sizeof name, "%s_norm.weight", prefix);
    vector(m, layer, name, n, 1, 0.2f, 1.0f);
}

static void attention(maker *m, int l)
{
    const tiny_model *t = m->t;
    const uint32_t    e = t->n_embd, rank = e, heads = N_HEADS * N_HEAD, ratio = ratios[l];

    hyper_connection(m, l, "hc_attn", N_HC * (2 + N_HC), 3);
    vector(m, l, "attn_norm.weight", e, 1, 0.2f, 1.0f);
    matrix(m, l, "attn_q_a.weight", t->dense, e, rank, 1);
    vector(m, l, "attn_q_a_norm.weight", rank, 1, 0.2f, 1.0f);
    matrix(m, l, "attn_q_b.weight", t->dense, rank, heads, 1);
    matrix(m, l, "attn_kv.weight", t->dense, e, N_HEAD, 1);
    vector(m, l, "attn_kv_a_norm.weight", N_HEAD, 1, 0.2f, 1.0f);
    vector(m, l, "attn_sinks.weight", N_HEADS, 1, 0.5f, 0.0f);
    /* The two halves of a group have 192 inputs, which no block of 256 fits. */
    matrix(m, l, "attn_output_a.weight", DS4_F16, heads / 2, 2 * 128, 1);
    matrix(m, l, "attn_output_b.weight", t->dense, 2 * 128, e, 1);
    if (ratio == 0) return;
    compressor(m, l, "attn_compressor", ratio == 4 ? 2 * N_HEAD : N_HEAD, N_HEAD, ratio);
    if (ratio != 4) return;
    matrix(m, l, "indexer.attn_q_b.weight", t->precise, rank, N_INDEX_HEADS * N_INDEX, 1);
    matrix(m, l, "indexer.proj.weight", t->precise, e, N_INDEX_HEADS, 1);
    compressor(m, l, "indexer_compressor", 2 * N_INDEX, N_INDEX, 4);
}

static void experts(maker *m, int l)
{
    const tiny_model *t = m->t;
    const uint32_t    e = t->n_embd, ffn = e;
    char              name[64];

    hyper_connection(m, l, "hc_ffn", N_HC * (2 + N_HC), 3);
    vector(m, l, "ffn_norm.weight", e, 1, 0.2f, 1.0f);
    matrix(m, l, "ffn_gate_inp.weight", t->precise, e, n_experts(m), 1);
    if (l < N_HASH) {
        snprintf(name, sizeof name, "blk.%d.ffn_gate_tid2eid.weight", l);
        add(m, name, DS4_I32, N_USED, TINY_VOCAB, 1, 0, 0);
    } else {
        vector(m, l, "exp_probs_b.bias", n_experts(m), 1, 0.2f, 0.0f);
    }
    matrix(m, l, "ffn_gate_exps.weight", t->gate_up, e, ffn, n_experts(m));
    matrix(m, l, "ffn_up_exps.weight", t->gate_up, e, ffn, n_experts(m));
    matrix(m, l, "ffn_down_exps.weight", t->down, ffn, e, n_experts(m));
    matrix(m, l, "ffn_gate_shexp.weight", t->dense, e, ffn, 1);
    matrix(m, l, "ffn_up_shexp.weight", t->dense, e, ffn, 1);
    matrix(m, l, "ffn_down_shexp.weight", t->dense, ffn, e, 1);
}

static void put_keys(maker *m)
{
    static const struct { const char *key; uint32_t value; } ints[] = {
        { "block_count", N_LAYERS }, { "vocab_size", TINY_VOCAB }, { "context_length", 1048576 },
        { "attention.head_count", N_HEADS }, { "attention.head_count_kv", 1 },
        { "attention.key_length", N_HEAD }, { "attention.value_length", N_HEAD },
        { "attention.output_lora_rank", 128 }, { "attention.output_group_count", 2 },
        { "attention.sliding_window", TINY_WINDOW }, { "attention.indexer.head_count", N_INDEX_HEADS },
        { "attention.indexer.key_length", N_INDEX }, { "attention.indexer.top_k", TINY_TOP_K },
        { "rope.dimension_count", N_ROT }, { "rope.scaling.original_context_length", 65536 },
        { "expert_used_count", N_USED }, { "expert_shared_count", 1 },
        { "hash_layer_count", N_HASH }, { "hyper_connection.count", N_HC },
        { "hyper_connection.sinkhorn_iterations", 5 },
    };
    static const struct { const char *key; float value;
    } floats[] = {
        { "attention.layer_norm_rms_epsilon", 1e-6f },
        { "attention.compress_rope_freq_base", 160000.0f },
        { "rope.freq_base", 10000.0f },
        { "rope.scaling.factor", 16.0f },
        { "rope.scaling.yarn_beta_fast", 32.0f },
        { "rope.scaling.yarn_beta_slow", 1.0f },
        { "expert_weights_scale", 1.5f },
        { "hyper_connection.epsilon", 1e-6f },
    };
    static const float clamps[N_LAYERS] = { 3.0f, 3.0f, 3.0f, 3.0f };
    char               key[96];

    ds4_gguf_put_string(m->w, "general.architecture", DS4_SLICE("deepseek4"));
    ds4_gguf_put_string(m->w, "general.name", DS4_SLICE("tiny"));
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        snprintf(key, sizeof key, "deepseek4.%s", ints[i].key);
        ds4_gguf_put_u32(m->w, key, ints[i].value);
    }
    ds4_gguf_put_u32(m->w, "deepseek4.expert_count", n_experts(m));
    ds4_gguf_put_u32(m->w, "deepseek4.embedding_length", m->t->n_embd);
    ds4_gguf_put_u32(m->w, "deepseek4.attention.q_lora_rank", m->t->n_embd);
    ds4_gguf_put_u32(m->w, "deepseek4.expert_feed_forward_length", m->t->n_embd);
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        snprintf(key, sizeof key, "deepseek4.%s", floats[i].key);
        ds4_gguf_put_f32(m->w, key, floats[i].value);
    }
    ds4_gguf_put_bool(m->w, "deepseek4.expert_weights_norm", true);
    ds4_gguf_put_u32s(m->w, "deepseek4.attention.compress_ratios", ratios, N_LAYERS);
    ds4_gguf_put_f32s(m->w, "deepseek4.swiglu_clamp_exp", clamps, N_LAYERS);
}

/* The code point that stands for a byte in token strings, as UTF-8. */
static size_t byte_symbol(unsigned byte, char out[3])
{
    unsigned code = byte;
    if (byte < 33 || (byte > 126 && byte < 161) || byte == 173) {
        code = 256 + (byte < 33 ? byte : byte < 161 ? byte - 127 + 33 : 67);
    }
    if (code < 128) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 63));
    return 2;
}

static void put_tokenizer(maker *m)
{
    static const char *const specials[] = {
        "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>", "｜DSML｜", "<｜latest_reminder｜>",
        "<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<|EOT|>",
    };
    static char symbols[256][3];
    ds4_slice   tokens[TINY_VOCAB];
    int32_t     types[TINY_VOCAB];
    uint32_t    n = 0;

    tokens[n++] = DS4_SLICE("<｜begin▁of▁sentence｜>");
    tokens[n++] = DS4_SLICE("<｜end▁of▁sentence｜>");
    tokens[n++] = DS4_SLICE("<｜▁pad▁｜>");
    for (unsigned b = 0; b < 256; b++) tokens[n++] = (ds4_slice){ symbols[b], byte_symbol(b, symbols[b]) };
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        tokens[n++] = (ds4_slice){ specials[i], strlen(specials[i]) };
    }
    while (n < TINY_VOCAB) {
        static char unused[TINY_VOCAB][12];
        snprintf(unused[n], sizeof unused[n], "<unused%u>", n);
        tokens[n] = (ds4_slice){ unused[n], strlen(unused[n]) };
        n++;
    }
    for (uint32_t i = 0; i < n; i++) types[i] = i < 3 ? 3 : i < 259 ? 1 : i < 269 ? 4 : 5;
    ds4_gguf_put_string(m->w, "tokenizer.ggml.model", DS4_SLICE("gpt2"));
    ds4_gguf_put_string(m->w, "tokenizer.ggml.pre", DS4_SLICE("joyai-llm"));
    ds4_gguf_put_strings(m->w, "tokenizer.ggml.tokens", tokens, n);
    ds4_gguf_put_i32s(m->w, "tokenizer.ggml.token_type", types, n);
    ds4_gguf_put_strings(m->w, "tokenizer.ggml.merges", NULL, 0);
    ds4_gguf_put_u32(m->w, "tokenizer.ggml.bos_token_id", 0);
    ds4_gguf_put_u32(m->w, "tokenizer.ggml.eos_token_id", 1);
}

/* Roughly normal: a sum of four uniform values, variance 1. */
static float noise(maker *m)
{
    double sum = 0.0;
    for (int i = 0; i < 4; i++) sum += ds4_rng_uniform(&m->rng) - 0.5;
    return (float)(sum * 1.7320508);
}

/* Any bits are valid blocks of IQ2_XXS and T66, and searching for good ones takes long: the codes are
 * random and the scale gives the wanted size (the mean magnitude is about 40 d, for T66 30 d). */
static void random_codes(maker *m, uint8_t *row, uint64_t n, float scale)
{
    const float    ideal = scale / 45.0f;
    const uint16_t d = (uint16_t)((14 + ilogbf(ideal) + 1) << 10);      /* a power of two as F16 */

    for (uint64_t i = 0; i < n / 256; i++, row += 66) {
        memcpy(row, &d, 2);
        for (int j = 2; j < 66; j++) row[j] = (uint8_t)(ds4_rng_next(&m->rng) >> 32);
    }
}

static void write_row(maker *m, const tensor *t, ds4_err *err)
{
    static float   x[4096], ones[4096];
    static uint8_t row[4096 * 4];

    if (t->dtype == DS4_I32) {
        int32_t ids[N_USED];
        for (int i = 0; i < N_USED; i++) ids[i] = (int32_t)(ds4_rng_next(&m->rng) % n_experts(m));
        must(ds4_gguf_writer_append(m->w, ids, sizeof ids, err), err);
        return;
    }
    if (t->dtype == DS4_IQ2_XXS || t->dtype == DS4_T66) {
        random_codes(m, row, t->dim[0], t->scale);
        must(ds4_gguf_writer_append(m->w, row, ds4_row_bytes(t->dtype, t->dim[0]), err), err);
        return;
    }
    for (uint64_t i = 0; i < t->dim[0]; i++) {
        x[i] = t->mean + t->scale * noise(m);
        ones[i] = 1.0f;
    }
    ds4_encode_row(t->dtype, DS4_ENCODE_STANDARD, row, x, ones, t->dim[0], NULL);
    must(ds4_gguf_writer_append(m->w, row, ds4_row_bytes(t->dtype, t->dim[0]), err), err);
}

void tiny_model_write(const tiny_model *t, const char *path)
{
    static maker m;
    ds4_err      err = { 0 };

    m = (maker){ .t = t };
    ds4_rng_seed(&m.rng, t->seed);
    must(ds4_gguf_writer_create(&m.w, 0, &err), &err);
    put_keys(&m);
    put_tokenizer(&m);
    matrix(&m, -1, "token_embd.weight", t->precise, t->n_embd, TINY_VOCAB, 1);
    matrix(&m, -1, "output.weight", t->dense, t->n_embd, TINY_VOCAB, 1);
    vector(&m, -1, "output_norm.weight", t->n_embd, 1, 0.2f, 1.0f);
    hyper_connection(&m, -1, "output_hc", N_HC, 1);
    for (int l = 0; l < N_LAYERS; l++) {
        attention(&m, l);
        experts(&m, l);
    }
    must(ds4_gguf_writer_begin(m.w, path, &err), &err);
    for (uint32_t i = 0; i < m.n; i++) {
        const uint64_t n_rows = m.tensors[i].dim[1] * m.tensors[i].dim[2];
        for (uint64_t r = 0; r < n_rows; r++) write_row(&m, &m.tensors[i], &err);
    }
    must(ds4_gguf_writer_finish(m.w, &err), &err);
    ds4_gguf_writer_free(m.w);
}
