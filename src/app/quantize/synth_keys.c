/* synth_keys.c - the keys and the vocabulary of a synthetic model; see synth_model.h. */
#include "app/quantize/synth_model.h"

#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTE = 3, N_BYTES = 256, MAX_NAME = 16 };

static void put_numbers(const ds4_shape *s, ds4_gguf_writer *w)
{
    const struct { const char *key; uint32_t value; } ints[] = {
        { "block_count", s->n_layers }, { "context_length", s->n_context },
        { "embedding_length", s->n_embd }, { "vocab_size", s->n_vocab },
        { "attention.head_count", s->n_heads }, { "attention.head_count_kv", 1 },
        { "attention.key_length", s->n_head }, { "attention.value_length", s->n_head },
        { "attention.q_lora_rank", s->q_rank }, { "attention.output_lora_rank", s->o_rank },
        { "attention.output_group_count", s->o_groups },
        { "attention.sliding_window", s->n_window },
        { "attention.indexer.head_count", s->index_heads },
        { "attention.indexer.key_length", s->n_index }, { "attention.indexer.top_k", s->top_k },
        { "rope.dimension_count", s->n_rot },
        { "rope.scaling.original_context_length", s->yarn_context },
        { "expert_count", s->n_experts }, { "expert_used_count", s->n_used },
        { "expert_shared_count", 1 }, { "expert_feed_forward_length", s->n_ffn },
        { "expert_gating_func", 4 }, { "hash_layer_count", s->n_hash },
        { "hyper_connection.count", s->n_hc },
        { "hyper_connection.sinkhorn_iterations", s->hc_iters },
    };
    const struct { const char *key; float value; } floats[] = {
        { "attention.layer_norm_rms_epsilon", s->norm_eps },
        { "attention.compress_rope_freq_base", s->compress_base },
        { "rope.freq_base", s->rope_base },
        { "rope.scaling.factor", s->yarn_factor }, { "rope.scaling.yarn_beta_fast", s->yarn_fast },
        { "rope.scaling.yarn_beta_slow", s->yarn_slow },
        { "expert_weights_scale", s->expert_scale },
        { "hyper_connection.epsilon", s->hc_eps },
    };
    char key[96];

    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        snprintf(key, sizeof key, "deepseek4.%s", ints[i].key);
        ds4_gguf_put_u32(w, key, ints[i].value);
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        snprintf(key, sizeof key, "deepseek4.%s", floats[i].key);
        ds4_gguf_put_f32(w, key, floats[i].value);
    }
    ds4_gguf_put_bool(w, "deepseek4.expert_weights_norm", s->expert_normalize);
    ds4_gguf_put_u32s(w, "deepseek4.attention.compress_ratios", s->ratio, s->n_layers);
    ds4_gguf_put_f32s(w, "deepseek4.swiglu_clamp_exp", s->clamp, s->n_layers);
}

static void put_names(const synth_model *m, ds4_gguf_writer *w)
{
    char name[64];

    snprintf(name, sizeof name, "synthetic %s", m->like);
    ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4"));
    ds4_gguf_put_string(w, "general.type", DS4_SLICE("model"));
    ds4_gguf_put_string(w, "general.name", (ds4_slice){ name, strlen(name) });
    ds4_gguf_put_u32(w, "general.quantization_version", 2);
}

/* ---- vocabulary ----------------------------------------------------------------------------- */

/* Special tokens at the ids that the official tokenizer gives them. */
static const struct { uint32_t id; const char *text; ds4_token_type type; } specials[] = {
    { 0, "<｜begin▁of▁sentence｜>", DS4_TOKEN_CONTROL },
    { 1, "<｜end▁of▁sentence｜>", DS4_TOKEN_CONTROL },
    { 2, "<｜▁pad▁｜>", DS4_TOKEN_CONTROL }, { 128800, "<｜fim▁hole｜>", DS4_TOKEN_USER },
    { 128801, "<｜fim▁begin｜>", DS4_TOKEN_USER },
    { 128802, "<｜fim▁end｜>", DS4_TOKEN_USER },
    { 128803, "<｜User｜>", DS4_TOKEN_USER }, { 128804, "<｜Assistant｜>", DS4_TOKEN_USER },
    { 128805, "<|EOT|>", DS4_TOKEN_USER }, { 128821, "<think>", DS4_TOKEN_USER },
    { 128822, "</think>", DS4_TOKEN_USER }, { 128825, "｜DSML｜", DS4_TOKEN_USER },
    { 128828, "<｜latest_reminder｜>", DS4_TOKEN_USER },
};

/* The i-th symbol of the byte alphabet: the printable code points of Latin-1 in order, then
 * those from 256 on that stand for the other 68 bytes; all below 2048, so two bytes at most. */
static size_t byte_symbol(uint32_t i, char out[2])
{
    const uint32_t code = i < 94 ? 33 + i
                        : i < 106 ? 161 + (i - 94)
                        : i < 188 ? 174 + (i - 106)
                        : 256 + (i - 188);

    if (code < 128) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 63));
    return 2;
}

typedef struct token_names {
    ds4_slice *tokens;          /* [n_vocab] */
    int32_t   *types;           /* [n_vocab] */
    char     (*text)[MAX_NAME]; /* [n_vocab] of bytes and fillers */
} token_names;

static void fill_names(token_names *t, uint32_t n_vocab)
{
    for (uint32_t i = 0; i < n_vocab; i++) {
        const bool is_byte = i >= FIRST_BYTE && i < FIRST_BYTE + N_BYTES;
        size_t     n_bytes;

        if (is_byte) n_bytes = byte_symbol(i - FIRST_BYTE, t->text[i]);
        else n_bytes = (size_t)snprintf(t->text[i], MAX_NAME, "<synth%u>", i);
        t->tokens[i] = (ds4_slice){ t->text[i], n_bytes };
        t->types[i] = is_byte ? DS4_TOKEN_NORMAL : DS4_TOKEN_UNUSED;
    }
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        t->tokens[specials[i].id] = (ds4_slice){ specials[i].text, strlen(specials[i].text) };
        t->types[specials[i].id] = (int32_t)specials[i].type;
    }
}

static ds4_status put_tokenizer(uint32_t n_vocab, ds4_gguf_writer *w, ds4_err *err)
{
    token_names t = { .tokens = calloc(n_vocab, sizeof *t.tokens),
                      .types = calloc(n_vocab, sizeof *t.types),
                      .text = calloc(n_vocab, sizeof *t.text) };
    ds4_status  st = DS4_OK;

    if (t.tokens && t.types && t.text) {
        fill_names(&t, n_vocab);
        ds4_gguf_put_string(w, "tokenizer.ggml.model", DS4_SLICE("gpt2"));
        ds4_gguf_put_string(w, "tokenizer.ggml.pre", DS4_SLICE("joyai-llm"));
        ds4_gguf_put_strings(w, "tokenizer.ggml.tokens", t.tokens, n_vocab);
        ds4_gguf_put_i32s(w, "tokenizer.ggml.token_type", t.types, n_vocab);
        ds4_gguf_put_strings(w, "tokenizer.ggml.merges", NULL, 0);
        ds4_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
        ds4_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
        ds4_gguf_put_u32(w, "tokenizer.ggml.padding_token_id", 2);
    } else {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for %u token names", n_vocab);
    }
    free(t.tokens);
    free(t.types);
    free(t.text);
    return st;
}

static void put_draft(const synth_model *m, ds4_gguf_writer *w)
{
    const ds4_draft_shape *d = &m->shape.draft;

    ds4_gguf_put_string(w, "general.architecture", DS4_SLICE("deepseek4-dspark"));
    ds4_gguf_put_string(w, "general.name", DS4_SLICE("synthetic DSpark support"));
    ds4_gguf_put_u32(w, "dspark.block_size", d->n_block);
    ds4_gguf_put_u32(w, "dspark.markov_rank", d->n_rank);
    ds4_gguf_put_u32(w, "dspark.noise_token_id", (uint32_t)d->noise);
    ds4_gguf_put_u32(w, "dspark.stage_count", d->n_stages);
    ds4_gguf_put_u32(w, "dspark.n_layers", m->shape.n_layers);
    ds4_gguf_put_u32s(w, "dspark.target_layer_ids", d->tap, d->n_taps);
}

ds4_status synth_model_declare(const synth_model *m, ds4_gguf_writer *w, ds4_err *err)
{
    if (m->shape.draft.n_stages) {
        put_draft(m, w);
    } else {
        put_names(m, w);
        put_numbers(&m->shape, w);
        DS4_TRY(put_tokenizer(m->shape.n_vocab, w, err));
    }
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const synth_tensor *t = &m->tensors[i];
        ds4_gguf_declare(w, t->name, t->dtype, t->n_dims, t->dim);
    }
    return DS4_OK;
}
