/* ops_table.c - the shapes, and the operations that are tried with each. See ops.h. */
#include "ops/ops.h"

#include "format/dtype.h"

const ops_shape ops_shapes[] = {
    { "flash", 4096, 4, 20, 64, 512, 64, 128, 1024, 8, 64, 128, 512, 256, 6, 2048, 129280 },
    { "pro", 7168, 4, 20, 128, 512, 64, 128, 1536, 16, 64, 128, 1024, 384, 6, 3072, 129280 },
    { "mini", 256, 4, 20, 8, 128, 64, 128, 128, 2, 4, 128, 16, 8, 2, 256, 4096 },
    { "odd", 352, 3, 7, 3, 96, 32, 24, 77, 3, 5, 64, 75, 13, 3, 320, 333 },
    { "least", 32, 1, 1, 1, 64, 16, 8, 1, 1, 1, 64, 1, 2, 1, 32, 2 },
    { 0 },
};

/* ---- about what a case costs, in multiplications ---------------------------------------------------- */

static double streams(const ops_shape *s, uint32_t n)
{
    return (double)n * s->n_hc * s->n_embd * (s->n_hc + 2);
}

static double heads(const ops_shape *s, uint32_t n)
{
    return 4.0 * n * s->n_heads * s->n_head;
}

static double rows(const ops_shape *s, uint32_t n)
{
    return 200.0 * (n + 300.0) * s->n_head;
}

static double products(const ops_shape *s, uint32_t n)
{
    return (n + 4.0) * s->n_embd * (s->q_rank + 64.0 + s->n_hc * 24.0);
}

static double heads_of_vocab(const ops_shape *s, uint32_t n)
{
    return (n + 4.0) * s->n_embd * 2000;
}

/* The reference computes six tokens, slowly. */
static double experts(const ops_shape *s, uint32_t n)
{
    return (n + 3.0) * (s->n_used + 1.0) * 3.0 * s->n_embd * s->n_ffn;
}

static double scores(const ops_shape *s, uint32_t n)
{
    return (4.0 * s->top_k + 100.0) * (n + 40.0) * s->index_heads * s->n_index;
}

static double attention(const ops_shape *s, uint32_t n)
{
    return 0.6 * (n + 20.0) * s->n_heads * s->n_head * (s->n_window + s->top_k);
}

static double vocabulary(const ops_shape *s, uint32_t n)
{
    return 60.0 * n * s->n_vocab;
}

static double routes(const ops_shape *s, uint32_t n)
{
    return 20.0 * n * s->n_experts * s->n_used;
}

/* ---- the table --------------------------------------------------------------------------------------- */

#define OP(name, KIND, fn, cost)                \
    {                                           \
        name, DS4_OP_##KIND, fn, false, 0, cost \
    }
#define STATE(name, KIND, fn, cost)            \
    {                                          \
        name, DS4_OP_##KIND, fn, true, 0, cost \
    }
#define TYPED(name, KIND, fn, cost, TYPE)                              \
    {                                                                  \
        name "." #TYPE, DS4_OP_##KIND, fn, false, DS4_##TYPE + 1, cost \
    }
#define ALL_TYPES(name, KIND, fn, cost)                                                                    \
    TYPED(name, KIND, fn, cost, F32), TYPED(name, KIND, fn, cost, F16), TYPED(name, KIND, fn, cost, BF16), \
        TYPED(name, KIND, fn, cost, Q8_0), TYPED(name, KIND, fn, cost, MXFP4),                             \
        TYPED(name, KIND, fn, cost, Q2_K), TYPED(name, KIND, fn, cost, Q4_K),                              \
        TYPED(name, KIND, fn, cost, Q6_K), TYPED(name, KIND, fn, cost, IQ2_XXS),                              \
        TYPED(name, KIND, fn, cost, T66)

const ops_kind ops_kinds[] = {
    OP("angles", ANGLES, ops_angles, heads),
    ALL_TYPES("embed", EMBED, ops_embed, streams),
    ALL_TYPES("project", PROJECT, ops_project, products),
    ALL_TYPES("project.int8", PROJECT, ops_project_int8, products),
    ALL_TYPES("project.head", PROJECT, ops_project_head, heads_of_vocab),
    OP("hc_enter", HC_ENTER, ops_hc_enter, streams),
    OP("hc_leave", HC_LEAVE, ops_hc_leave, streams),
    OP("norm", NORM, ops_norm, heads),
    OP("steer", STEER, ops_steer, heads),
    OP("heads", HEADS, ops_heads, heads),
    STATE("kv_row", KV_ROW, ops_kv_row, rows),
    STATE("compress.4", COMPRESS, ops_compress_4, rows),
    STATE("compress.128", COMPRESS, ops_compress_128, rows),
    STATE("compress.index", COMPRESS, ops_compress_index, rows),
    STATE("index_query", INDEX_QUERY, ops_index_query, scores),
    STATE("select", SELECT, ops_select, scores),
    STATE("attend", ATTEND, ops_attend, attention),
    STATE("attend.4", ATTEND, ops_attend_4, attention),
    STATE("attend.128", ATTEND, ops_attend_128, attention),
    STATE("window", WINDOW, ops_window, rows),
    OP("route", ROUTE, ops_route, routes),
    OP("route.by_token", ROUTE, ops_route_by_token, routes),
    ALL_TYPES("experts", EXPERTS, ops_experts, experts),
    TYPED("experts.streamed", EXPERTS, ops_experts_streamed, experts, Q2_K),
    TYPED("experts.streamed", EXPERTS, ops_experts_streamed, experts, MXFP4),
    TYPED("experts.inputs", EXPERTS, ops_experts_inputs, experts, MXFP4),
    OP("hc_merge", HC_MERGE, ops_hc_merge, streams),
    TYPED("prefetch", PREFETCH, ops_prefetch, experts, Q8_0),
    OP("sample", SAMPLE, ops_sample, vocabulary),
    OP("hc_sum", HC_SUM, ops_hc_sum, streams),
    OP("hc_sum.mean", HC_SUM, ops_hc_mean, streams),
    STATE("attend_block", ATTEND_BLOCK, ops_attend_block, attention),
    STATE("attend_block.short", ATTEND_BLOCK, ops_attend_block_short, attention),
    OP("guess", GUESS, ops_guess, vocabulary),
    { 0 },
};
