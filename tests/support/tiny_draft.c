/* tiny_draft.c - see tiny_draft.h. */
#include "support/tiny_draft.h"

#include "base/rng.h"
#include "format/encode.h"
#include "format/gguf_write.h"
#include "support/tiny_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The sizes of tiny_model.c. */
enum { N_HC = 4, N_HEADS = 4, N_HEAD = 96, N_LOW = 256, MAX_TENSORS = 128 };

typedef struct tensor {
    uint32_t dtype;
    uint64_t dim[3];
    float    scale, mean;
} tensor;

typedef struct maker {
    const tiny_draft *t;
    ds4_gguf_writer  *w;
    ds4_rng           rng;
    tensor            tensors[MAX_TENSORS];
    uint32_t          n, n_embd, n_experts;
    int               layout; /* 0, 1, 2 */
} maker;

static void must(ds4_status st, const ds4_err *err)
{
    if (st == DS4_OK) return;
    fprintf(stderr, "tiny draft: %s\n", err->text);
    abort();
}

static void add(maker *m, const char *name, tensor t)
{
    if (m->t->leave_out && !strcmp(name, m->t->leave_out)) return;
    m->tensors[m->n++] = t;
    ds4_gguf_declare(m->w, name, t.dtype, t.dim[2] > 1 ? 3 : t.dim[1] > 1 ? 2 : 1, t.dim);
}

static void matrices(maker *m, const char *name, uint32_t dtype, uint64_t n_in, uint64_t n_out,
                     uint64_t n_mats)
{
    add(m, name, (tensor){ dtype, { n_in, n_out, n_mats }, 1.0f / sqrtf((float)n_in), 0.0f });
}

static void matrix(maker *m, const char *name, uint64_t n_in, uint64_t n_out)
{
    matrices(m, name, m->t->dtype, n_in, n_out, 1);
}

static void vector(maker *m, const char *name, uint64_t n, float scale, float mean)
{
    add(m, name, (tensor){ DS4_F32, { n, 1, 1 }, scale, mean });
}

static const char *staged(const maker *m, uint32_t stage, const char *name)
{
    static const char *const prefix[] = { "mtp", "dspark", "blk" };
    static char              full[96];

    snprintf(full, sizeof full, "%s.%u.%s", prefix[m->layout], stage, name);
    return full;
}

static void put_stage(maker *m, uint32_t s)
{
    const uint32_t e = m->n_embd, heads = N_HEADS * N_HEAD, mix = N_HC * (2 + N_HC);

    for (int i = 0; i < 2; i++) {
        matrix(m, staged(m, s, i ? "hc_ffn_fn.weight" : "hc_attn_fn.weight"), (uint64_t)N_HC * e,
               mix);
        vector(m, staged(m, s, i ? "hc_ffn_scale.weight" : "hc_attn_scale.weight"), 3, 0.1f, 0.5f);
        vector(m, staged(m, s, i ? "hc_ffn_base.weight" : "hc_attn_base.weight"), mix, 0.5f, 0.0f);
        vector(m, staged(m, s, i ? "ffn_norm.weight" : "attn_norm.weight"), e, 0.2f, 1.0f);
    }
    matrix(m, staged(m, s, "attn_q_a.weight"), e, e);
    vector(m, staged(m, s, "attn_q_a_norm.weight"), e, 0.2f, 1.0f);
    matrix(m, staged(m, s, "attn_q_b.weight"), e, heads);
    matrix(m, staged(m, s, "attn_kv.weight"), e, N_HEAD);
    vector(m, staged(m, s, "attn_kv_a_norm.weight"), N_HEAD, 0.2f, 1.0f);
    vector(m, staged(m, s, "attn_sinks.weight"), N_HEADS, 0.5f, 0.0f);
    matrix(m, staged(m, s, "attn_output_a.weight"), heads / 2, N_LOW);
    matrix(m, staged(m, s, "attn_output_b.weight"), N_LOW, e);
    matrix(m, staged(m, s, "ffn_gate_inp.weight"), e, m->n_experts);
    vector(m, staged(m, s, "exp_probs_b.bias"), m->n_experts, 0.2f, 0.0f);
    matrices(m, staged(m, s, "ffn_gate_exps.weight"), m->t->dtype, e, e, m->n_experts);
    matrices(m, staged(m, s, "ffn_up_exps.weight"), m->t->dtype, e, e, m->n_experts);
    matrices(m, staged(m, s, "ffn_down_exps.weight"), m->t->dtype, e, e, m->n_experts);
    matrix(m, staged(m, s, "ffn_gate_shexp.weight"), e, e);
    matrix(m, staged(m, s, "ffn_up_shexp.weight"), e, e);
    matrix(m, staged(m, s, "ffn_down_shexp.weight"), e, e);
}

static void put_whole(maker *m)
{
    static const char *const names[9][3] = {
        { "mtp.0.main_proj.weight", "dspark.main_proj.weight", "fc.weight" },
        { "mtp.0.main_norm.weight", "dspark.main_norm.weight", "enc.output_norm.weight" },
        { "mtp.2.norm.weight", "dspark.norm.weight", "output_norm.weight" },
        { "mtp.2.hc_head_fn.weight", "dspark.hc_head_fn.weight", "output_hc_fn.weight" },
        { "mtp.2.hc_head_scale.weight", "dspark.hc_head_scale.weight", "output_hc_scale.weight" },
        { "mtp.2.hc_head_base.weight", "dspark.hc_head_base.weight", "output_hc_base.weight" },
        { "mtp.2.markov_head.markov_w1.weight", "dspark.markov_w1.weight", "markov_w1.weight" },
        { "mtp.2.markov_head.markov_w2.weight", "dspark.markov_w2.weight", "markov_w2.weight" },
        { "mtp.2.confidence_head.proj.weight", "dspark.conf_proj.weight", "conf_proj.weight" },
    };
    const uint32_t e = m->n_embd, coded = m->t->coded ? m->t->coded : m->t->dtype;
    const int      l = m->layout;

    matrix(m, names[0][l], 3 * e, e);
    vector(m, names[1][l], e, 0.2f, 1.0f);
    vector(m, names[2][l], e, 0.2f, 1.0f);
    matrix(m, names[3][l], (uint64_t)N_HC * e, N_HC);
    vector(m, names[4][l], 1, 0.1f, 0.5f);
    vector(m, names[5][l], N_HC, 0.5f, 0.0f);
    add(m, names[6][l], (tensor){ coded, { TINY_RANK, TINY_VOCAB, 1 }, 1.0f, 0.0f });
    matrices(m, names[7][l], coded, TINY_RANK, TINY_VOCAB, 1);
    add(m, names[8][l],
        (tensor){ m->t->coded ? coded : DS4_F32, { e + TINY_RANK, 1, 1 }, 0.3f, 0.0f });
    if (l == 2) vector(m, "conf_proj.bias", 1, 0.0f, 0.5f);
    if (m->t->add) vector(m, m->t->add, 3, 1.0f, 0.0f);
}

static void put_keys(maker *m)
{
    static const char *const arch[] = { "deepseek4-dspark", "deepseek4-dspark", "dflash" };
    static const char *const ints[5][3] = {
        { "dspark.block_size", "deepseek4.dspark.block_size", "dflash.block_size" },
        { "dspark.noise_token_id", "deepseek4.dspark.noise_token_id",
          "tokenizer.ggml.mask_token_id" },
        { "dspark.markov_rank", "deepseek4.dspark.markov_rank", "" },
        { "dspark.stage_count", "deepseek4.dspark.layer_count", "" },
        { "dspark.n_layers", "deepseek4.dspark.expert_count", "" },
    };
    static const char *const taps[] = { "dspark.target_layer_ids", "deepseek4.dspark.target_layers",
                                        "dflash.target_layers" };
    const tiny_draft        *t = m->t;
    const uint32_t           values[5] = { t->n_block ? t->n_block : TINY_BLOCK,
                                 t->noise ? t->noise : TINY_NOISE, TINY_RANK, TINY_STAGES,
                                 m->layout ? m->n_experts : TINY_STAGES };
    const bool usual = !t->tap[0] && !t->tap[1] && !t->tap[2];
    uint32_t   tap[3];

    const char *a = t->architecture ? t->architecture : arch[m->layout];
    ds4_gguf_put_string(m->w, "general.architecture", (ds4_slice){ a, strlen(a) });
    if (t->name) ds4_gguf_put_string(m->w, "general.name", (ds4_slice){ t->name, strlen(t->name) });
    for (int i = 0; i < 5; i++) {
        if (*ints[i][m->layout]) ds4_gguf_put_u32(m->w, ints[i][m->layout], values[i]);
    }
    for (uint32_t i = 0; i < 3; i++) tap[i] = (usual ? i + 1 : t->tap[i]) + (m->layout == 2);
    ds4_gguf_put_u32s(m->w, taps[m->layout], tap, 3);
}

static void write_row(maker *m, const tensor *t, ds4_err *err)
{
    static float   x[4096], ones[4096];
    static uint8_t row[4096 * 4];

    for (uint64_t i = 0; i < t->dim[0]; i++) {
        double sum = 0.0;
        for (int k = 0; k < 4; k++) sum += ds4_rng_uniform(&m->rng) - 0.5;
        x[i] = t->mean + t->scale * (float)(sum * 1.7320508);
        ones[i] = 1.0f;
    }
    ds4_encode_row(t->dtype, DS4_ENCODE_STANDARD, row, x, ones, t->dim[0], NULL);
    must(ds4_gguf_writer_append(m->w, row, ds4_row_bytes(t->dtype, t->dim[0]), err), err);
}

void tiny_draft_write(const tiny_draft *t, const char *path)
{
    static maker m;
    ds4_err      err = { 0 };

    m = (maker){ .t = t,
                 .n_embd = t->n_embd ? t->n_embd : 64,
                 .n_experts = t->n_experts ? t->n_experts : 6,
                 .layout = t->layout ? t->layout - 'A' : 0 };
    ds4_rng_seed(&m.rng, t->seed);
    must(ds4_gguf_writer_create(&m.w, 0, &err), &err);
    put_keys(&m);
    for (uint32_t s = 0; s < TINY_STAGES; s++) put_stage(&m, s);
    put_whole(&m);
    must(ds4_gguf_writer_begin(m.w, path, &err), &err);
    for (uint32_t i = 0; i < m.n; i++) {
        const uint64_t n_rows = m.tensors[i].dim[1] * m.tensors[i].dim[2];
        for (uint64_t r = 0; r < n_rows; r++) write_row(&m, &m.tensors[i], &err);
    }
    must(ds4_gguf_writer_finish(m.w, &err), &err);
    ds4_gguf_writer_free(m.w);
}
