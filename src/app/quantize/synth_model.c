/* synth_model.c - see synth_model.h: shapes and tensor lists. */
#include "app/quantize/synth_model.h"

#include "format/dtype.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = DS4_GGUF_ALIGNMENT };

/* The published models differ in these. */
typedef struct known_model {
    const char *name;
    uint32_t    n_layers, n_embd, n_heads, q_rank, o_groups, top_k, n_experts, n_ffn;
    uint32_t    first_ratio;            /* of layers 0 and 1; then 4 and 128 take turns */
    float       expert_scale;
    uint32_t    gate_up, down;
    uint32_t    n_stages;               /* of a drafter for it: a support file, not the model itself */
} known_model;

static const known_model known[] = {
    { "flash-q2", 43, 4096, 64, 1024, 8, 512, 256, 2048, 0, 1.5f, DS4_IQ2_XXS, DS4_Q2_K, 0 },
    { "flash-q4", 43, 4096, 64, 1024, 8, 512, 256, 2048, 0, 1.5f, DS4_Q4_K, DS4_Q4_K, 0 },
    { "flash-t2", 43, 4096, 64, 1024, 8, 512, 256, 2048, 0, 1.5f, DS4_T66, DS4_T66, 0 },
    { "pro-q2", 61, 7168, 128, 1536, 16, 1024, 384, 3072, 128, 2.5f, DS4_IQ2_XXS, DS4_Q2_K, 0 },
    { "dspark", 43, 4096, 64, 1024, 8, 512, 256, 2048, 0, 1.5f, DS4_IQ2_XXS, DS4_Q2_K, 3 },
};

static const char *known_names(void)
{
    return "flash-q2, flash-q4, flash-t2, pro-q2, dspark";
}

static ds4_shape shape_of(const known_model *k, uint32_t n_layers, uint32_t n_experts)
{
    ds4_shape s = {
        .n_layers = n_layers, .n_embd = k->n_embd, .n_vocab = 129280, .n_context = DS4_MAX_CONTEXT,
        .n_heads = k->n_heads, .n_head = 512, .n_rot = 64,
        .q_rank = k->q_rank, .o_rank = 1024, .o_groups = k->o_groups, .n_window = 128,
        .index_heads = 64, .n_index = 128, .top_k = k->top_k,
        .n_experts = n_experts, .n_used = n_experts < 6 ? n_experts : 6, .n_ffn = k->n_ffn,
        .n_hash = n_layers < 3 ? n_layers : 3, .n_hc = 4, .hc_iters = 20,
        .norm_eps = 1e-6f, .hc_eps = 1e-6f, .expert_scale = k->expert_scale,
        .expert_normalize = true,
        .rope_base = 10000.0f, .compress_base = 160000.0f, .yarn_factor = 16.0f, .yarn_fast = 32.0f,
        .yarn_slow = 1.0f, .yarn_context = 65536,
    };
    for (uint32_t i = 0; i < n_layers; i++) {
        s.ratio[i] = i < 2 ? k->first_ratio : i % 2 == 0 ? 4 : 128;
        s.clamp[i] = 10.0f;
    }
    if (k->n_stages == 0) return s;
    /* A drafter's own layers: all of ratio 0, none routed by token. It reads the model's last three. */
    s.draft = (ds4_draft_shape){ .n_stages = k->n_stages, .n_block = 5, .n_rank = 256, .noise = 128799 };
    s.draft.n_taps = n_layers < 3 ? n_layers : 3;
    for (uint32_t i = 0; i < s.draft.n_taps; i++) s.draft.tap[i] = n_layers - s.draft.n_taps + i;
    for (uint32_t i = 0; i < n_layers; i++) s.ratio[i] = 0;
    s.n_hash = 0;
    return s;
}

/* ---- the list ------------------------------------------------------------------------------ */

typedef struct lister {
    synth_model *m;
    int32_t      layer;         /* -1 outside layers */
} lister;

static void add(lister *l, const char *name, synth_tensor t)
{
    synth_model *m = l->m;

    /* The table has room for every layer; see tensors_per_layer. */
    if (m->n_tensors == m->max_tensors) return;
    if (l->layer < 0) snprintf(t.name, sizeof t.name, "%s", name);
    else snprintf(t.name, sizeof t.name, "%s.%d.%s", m->shape.draft.n_stages ? "mtp" : "blk", l->layer, name);
    t.n_dims = t.dim[2] > 1 ? 3 : t.dim[1] > 1 ? 2 : 1;
    t.n_bytes = ds4_row_bytes(t.dtype, t.dim[0]) * t.dim[1] * t.dim[2];
    t.off = m->data_bytes;
    m->tensors[m->n_tensors++] = t;
    m->data_bytes += (t.n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A matrix whose outputs have about the size of its inputs. */
static void matrices(lister *l, const char *name, uint32_t dtype, uint64_t n_in, uint64_t n_out,
                     uint64_t n_mats)
{
    add(l, name, (synth_tensor){ .dtype = dtype, .dim = { n_in, n_out, n_mats },
                                 .scale = 1.0f / sqrtf((float)n_in) });
}

static void matrix(lister *l, const char *name, uint32_t dtype, uint64_t n_in, uint64_t n_out)
{
    matrices(l, name, dtype, n_in, n_out, 1);
}

static void vector(lister *l, const char *name, uint64_t n, float mean, float scale)
{
    add(l, name, (synth_tensor){ .dtype = DS4_F32, .dim = { n, 1, 1 }, .mean = mean,
                                 .scale = scale });
}

static void hyper_connection(lister *l, const char *part, uint32_t n_out, uint32_t n_scale)
{
    const ds4_shape *s = &l->m->shape;
    char             name[48];

    snprintf(name, sizeof name, "%s_fn.weight", part);
    matrix(l, name, DS4_F16, (uint64_t)s->n_hc * s->n_embd, n_out);
    snprintf(name, sizeof name, "%s_scale.weight", part);
    vector(l, name, n_scale, 0.5f, 0.1f);
    snprintf(name, sizeof name, "%s_base.weight", part);
    vector(l, name, n_out, 0.0f, 0.5f);
}

static void compressor(lister *l, const char *prefix, uint32_t n, uint32_t ratio)
{
    const uint64_t width = ratio == 4 ? 2 * n : n;
    char           name[64];

    snprintf(name, sizeof name, "%s_kv.weight", prefix);
    matrix(l, name, DS4_F16, l->m->shape.n_embd, width);
    snprintf(name, sizeof name, "%s_gate.weight", prefix);
    matrix(l, name, DS4_F16, l->m->shape.n_embd, width);
    snprintf(name, sizeof name, "%s_ape.weight", prefix);
    add(l, name, (synth_tensor){ .dtype = DS4_F16, .dim = { width, ratio, 1 }, .scale = 0.5f });
    snprintf(name, sizeof name, "%s_norm.weight", prefix);
    vector(l, name, n, 1.0f, 0.2f);
}

static void list_attention(lister *l)
{
    const ds4_shape *s = &l->m->shape;
    const uint64_t   q_out = (uint64_t)s->n_heads * s->n_head;
    const uint64_t   low = (uint64_t)s->o_groups * s->o_rank;
    const uint32_t   ratio = s->ratio[l->layer];

    hyper_connection(l, "hc_attn", s->n_hc * (2 + s->n_hc), 3);
    vector(l, "attn_norm.weight", s->n_embd, 1.0f, 0.2f);
    matrix(l, "attn_q_a.weight", DS4_Q8_0, s->n_embd, s->q_rank);
    vector(l, "attn_q_a_norm.weight", s->q_rank, 1.0f, 0.2f);
    matrix(l, "attn_q_b.weight", DS4_Q8_0, s->q_rank, q_out);
    matrix(l, "attn_kv.weight", DS4_Q8_0, s->n_embd, s->n_head);
    vector(l, "attn_kv_a_norm.weight", s->n_head, 1.0f, 0.2f);
    vector(l, "attn_sinks.weight", s->n_heads, 0.0f, 0.5f);
    matrix(l, "attn_output_a.weight", DS4_Q8_0, q_out / s->o_groups, low);
    matrix(l, "attn_output_b.weight", DS4_Q8_0, low, s->n_embd);
    if (ratio != 0) compressor(l, "attn_compressor", s->n_head, ratio);
    if (ratio != 4) return;
    matrix(l, "indexer.attn_q_b.weight", DS4_F16, s->q_rank, (uint64_t)s->index_heads * s->n_index);
    matrix(l, "indexer.proj.weight", DS4_F16, s->n_embd, s->index_heads);
    compressor(l, "indexer_compressor", s->n_index, ratio);
}

static void list_dense_experts(lister *l)
{
    const ds4_shape *s = &l->m->shape;

    hyper_connection(l, "hc_ffn", s->n_hc * (2 + s->n_hc), 3);
    vector(l, "ffn_norm.weight", s->n_embd, 1.0f, 0.2f);
    matrix(l, "ffn_gate_inp.weight", s->draft.n_stages ? DS4_Q8_0 : DS4_F16, s->n_embd, s->n_experts);
    if ((uint32_t)l->layer >= s->n_hash) vector(l, "exp_probs_b.bias", s->n_experts, 0.0f, 0.1f);
    matrix(l, "ffn_gate_shexp.weight", DS4_Q8_0, s->n_embd, s->n_ffn);
    matrix(l, "ffn_up_shexp.weight", DS4_Q8_0, s->n_embd, s->n_ffn);
    matrix(l, "ffn_down_shexp.weight", DS4_Q8_0, s->n_ffn, s->n_embd);
}

static void list_routed_experts(lister *l)
{
    const ds4_shape *s = &l->m->shape;

    matrices(l, "ffn_gate_exps.weight", l->m->gate_up, s->n_embd, s->n_ffn, s->n_experts);
    matrices(l, "ffn_up_exps.weight", l->m->gate_up, s->n_embd, s->n_ffn, s->n_experts);
    matrices(l, "ffn_down_exps.weight", l->m->down, s->n_ffn, s->n_embd, s->n_experts);
}

/* As the published files have it: experts, token tables, embedding, then the rest. */
static void list_all(synth_model *m)
{
    const ds4_shape *s = &m->shape;
    lister           l = { .m = m };

    for (l.layer = 0; (uint32_t)l.layer < s->n_layers; l.layer++) list_routed_experts(&l);
    for (l.layer = 0; (uint32_t)l.layer < s->n_hash; l.layer++) {
        add(&l, "ffn_gate_tid2eid.weight",
            (synth_tensor){ .dtype = DS4_I32, .dim = { s->n_used, s->n_vocab, 1 } });
    }
    l.layer = -1;
    matrix(&l, "token_embd.weight", DS4_F16, s->n_embd, s->n_vocab);
    for (l.layer = 0; (uint32_t)l.layer < s->n_layers; l.layer++) {
        list_attention(&l);
        list_dense_experts(&l);
    }
    l.layer = -1;
    hyper_connection(&l, "output_hc", s->n_hc, 1);
    vector(&l, "output_norm.weight", s->n_embd, 1.0f, 0.2f);
    matrix(&l, "output.weight", DS4_Q8_0, s->n_embd, s->n_vocab);
}

/* Layout A of docs/SPECULATION.md: stages, then what the drafter has once. */
static void list_draft(synth_model *m)
{
    const ds4_shape       *s = &m->shape;
    const ds4_draft_shape *d = &s->draft;
    lister                 l = { .m = m };

    for (l.layer = 0; (uint32_t)l.layer < d->n_stages; l.layer++) {
        list_routed_experts(&l);
        list_attention(&l);
        list_dense_experts(&l);
    }
    l.layer = 0;
    matrix(&l, "main_proj.weight", DS4_Q8_0, (uint64_t)d->n_taps * s->n_embd, s->n_embd);
    vector(&l, "main_norm.weight", s->n_embd, 1.0f, 0.2f);
    l.layer = (int32_t)d->n_stages - 1;
    hyper_connection(&l, "hc_head", s->n_hc, 1);
    vector(&l, "norm.weight", s->n_embd, 1.0f, 0.2f);
    matrix(&l, "markov_head.markov_w1.weight", DS4_Q8_0, d->n_rank, s->n_vocab);
    matrix(&l, "markov_head.markov_w2.weight", DS4_Q8_0, d->n_rank, s->n_vocab);
    matrix(&l, "confidence_head.proj.weight", DS4_Q8_0, (uint64_t)s->n_embd + d->n_rank, 1);
}

ds4_status synth_model_create(synth_model *out, const char *like, uint32_t n_layers,
                              uint32_t n_experts, ds4_err *err)
{
    enum { tensors_per_layer = 40, tensors_outside = 16 };
    const known_model *k = NULL;

    *out = (synth_model){ 0 };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(like, known[i].name) == 0) k = &known[i];
    }
    if (!k) {
        return ds4_fail(err, DS4_E_ARG, "no model \"%s\"; expected one of %s", like,
                        known_names());
    }
    if (n_layers > k->n_layers || n_experts > k->n_experts) {
        return ds4_fail(err, DS4_E_ARG, "%s has %u layers of %u experts, fewer than asked for",
                        k->name, k->n_layers, k->n_experts);
    }
    out->like = k->name;
    out->gate_up = k->gate_up;
    out->down = k->down;
    out->shape = shape_of(k, n_layers ? n_layers : k->n_layers,
                          n_experts ? n_experts : k->n_experts);
    out->max_tensors = (out->shape.n_layers + k->n_stages) * tensors_per_layer + tensors_outside;
    out->tensors = calloc(out->max_tensors, sizeof *out->tensors);
    if (!out->tensors) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a list of %u tensors", out->max_tensors);
    }
    if (k->n_stages) list_draft(out);
    else list_all(out);
    return DS4_OK;
}

void synth_model_clear(synth_model *m)
{
    free(m->tensors);
    *m = (synth_model){ 0 };
}
