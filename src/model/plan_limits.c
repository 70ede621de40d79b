/* plan_limits.c - the sizes of steps: what a device must be ready for and what it will use.
 * See plan.h. */
#include "model/plan.h"

#include "kernels/kernels.h"
#include "model/emit.h"

#include <stdio.h>

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* ---- encoded inputs -------------------------------------------------------------------------- */

/* Bytes of n values as a tensor wants them; as floats when it is missing or no matrix, which
 * opening will refuse. */
static uint64_t input_bytes(const ds4_gguf *g, uint32_t layer, const char *name, uint64_t n)
{
    char full[96];

    snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(g, full);
    const ds4_dtype_info  *type = t ? ds4_dtype_get(t->dtype) : NULL;
    return type && type->is_matrix ? ds4_act_bytes(ds4_act_of(t->dtype), n) : n * sizeof(float);
}

/* The same, for an operation whose float inputs are read where they are. */
static uint64_t encoded_bytes(const ds4_gguf *g, uint32_t layer, const char *name, uint64_t n)
{
    const uint64_t n_bytes = input_bytes(g, layer, name, n);
    return n_bytes < n * sizeof(float) ? n_bytes : 0;
}

static void raise(uint64_t *most, uint64_t n)
{
    if (n > *most) *most = n;
}

static void count_layer(const ds4_gguf *g, const ds4_shape *s, uint32_t i, ds4_limits *l)
{
    const uint64_t q = encoded_bytes(g, i, "attn_q_a", s->n_embd);
    const uint64_t kv = encoded_bytes(g, i, "attn_kv", s->n_embd);

    raise(&l->act_bytes, q == kv ? q : q + kv);
    raise(&l->act_bytes, encoded_bytes(g, i, "attn_q_b", s->q_rank));
    raise(&l->act_bytes, encoded_bytes(g, i, "attn_output_a", (uint64_t)s->n_heads * s->n_head));
    raise(&l->act_bytes, encoded_bytes(g, i, "attn_output_b", (uint64_t)s->o_groups * s->o_rank));
    raise(&l->moe_x_bytes[0], input_bytes(g, i, "ffn_gate_exps", s->n_embd));
    raise(&l->moe_x_bytes[1], input_bytes(g, i, "ffn_gate_shexp", s->n_embd));
    raise(&l->moe_h_bytes, input_bytes(g, i, "ffn_down_exps", s->n_ffn));
    raise(&l->moe_h_bytes, input_bytes(g, i, "ffn_down_shexp", s->n_ffn));
}

/* ---- limits ------------------------------------------------------------------------------------ */

ds4_limits ds4_plan_limits(const ds4_gguf *g, const ds4_shape *s, const ds4_engine_options *opt)
{
    const uint32_t streams = s->n_hc * s->n_embd, heads = s->n_heads * s->n_head, n_ctx = ds4_plan_ctx(opt);
    ds4_limits     l = {
        .n_threads = opt->n_threads, .max_batch = ds4_plan_batch(opt),
        .max_logit_rows = ds4_head_rows(ds4_plan_batch(opt)),
        .max_in = larger(larger(larger(streams, heads), larger(s->n_ffn, s->o_groups * s->o_rank)),
                         larger(2 * s->n_head, s->q_rank)),
        .max_heads = s->n_heads, .max_head = s->n_head,
        .max_rows = s->n_window + larger(s->top_k, DS4_MAX_CONTEXT / 128),
        .max_top_k = s->top_k,
        .max_experts = s->n_experts, .max_used = s->n_used, .max_ffn = s->n_ffn, .max_embd = s->n_embd,
        .n_rows = smaller(s->n_window, n_ctx) + larger(smaller(s->top_k, n_ctx / 4), n_ctx / 128),
        .n_top_k = ds4_plan_uses_index(s, n_ctx) ? s->top_k : 0,
    };
    for (uint32_t i = 0; i < s->n_layers; i++) count_layer(g, s, i, &l);
    return l;
}

bool ds4_plan_uses_index(const ds4_shape *s, uint32_t n_ctx)
{
    return s->top_k && n_ctx / 4 > s->top_k;
}
