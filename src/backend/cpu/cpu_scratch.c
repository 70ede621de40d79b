/* cpu_scratch.c - working memory of the team, as large as the compiled operations need.
 *
 * It is reserved for the longest context that a session may have and taken from the system
 * as it is touched: a thread's arrays from their beginning, a batch's rows side by side. So
 * what a plan counts is what shorter contexts touch. */
#include "backend/cpu/cpu_ops.h"

#include <stdlib.h>

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void raise(uint32_t *most, uint64_t n)
{
    if (n > *most) *most = (uint32_t)n;
}

/* ---- sizes of operations ---------------------------------------------------------------------- */

static bool has_same_input(const ds4_product *a, const ds4_product *b)
{
    return a->x.at.buf == b->x.at.buf && a->x.at.off == b->x.at.off && a->w.n_in == b->w.n_in
        && a->w.n_mats == b->w.n_mats && a->x_step == b->x_step;
}

/* Encoded inputs of one activation row; matrices with one input in one form share it. */
static uint64_t encoded_bytes(const ds4_op_project *op)
{
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < op->n; i++) {
        const ds4_product *p = &op->part[i];
        const ds4_act      act = p->precise ? DS4_ACT_F32 : ds4_act_of(p->w.dtype);
        bool               is_new = act != DS4_ACT_F32;
        for (uint32_t j = 0; j < i; j++) {
            const ds4_product *q = &op->part[j];
            is_new &= q->precise || ds4_act_of(q->w.dtype) != act || !has_same_input(p, q);
        }
        if (is_new) n_bytes += p->w.n_mats * ds4_act_bytes(act, p->w.n_in);
    }
    return n_bytes;
}

/* Attention rows that a token sees in a context of n_ctx tokens. */
static uint32_t rows_seen(const ds4_op_attend *op, const ds4_kv_layout *kv, uint32_t n_ctx)
{
    const uint32_t ratio = kv->layer[op->layer].ratio;
    const uint32_t n_raw = kv->n_window < n_ctx ? kv->n_window : n_ctx;
    const uint32_t n_rows = ratio ? n_ctx / ratio : 0;

    return n_raw + (ratio == 4 && n_rows > op->top_k ? op->top_k : n_rows);
}

static void add_experts(cpu_sizes *s, const ds4_op_experts *op)
{
    const uint64_t n_in = op->gate.n_in, n_ffn = op->gate.n_out;

    raise(&s->max_experts, op->gate.n_mats);
    raise(&s->max_used, op->n_used);
    raise(&s->max_ffn, n_ffn);
    raise(&s->max_embd, larger(n_in, op->down.n_out));
    raise(&s->max_in, larger(n_in, n_ffn));
    s->x_bytes[0] = larger(s->x_bytes[0], ds4_act_bytes(ds4_act_of(op->gate.dtype), n_in));
    s->x_bytes[1] = larger(s->x_bytes[1], ds4_act_bytes(ds4_act_of(op->shared_gate.dtype), n_in));
    s->h_bytes = larger(s->h_bytes, ds4_act_bytes(ds4_act_of(op->down.dtype), n_ffn));
    s->h_bytes = larger(s->h_bytes, ds4_act_bytes(ds4_act_of(op->shared_down.dtype), n_ffn));
}

static void add_op(cpu_sizes *s, const ds4_op *op, const ds4_kv_layout *kv, uint32_t n_ctx)
{
    switch (op->kind) {
    case DS4_OP_PROJECT:
        for (uint32_t i = 0; i < op->project.n; i++) raise(&s->max_in, op->project.part[i].w.n_in);
        s->act_bytes = larger(s->act_bytes, encoded_bytes(&op->project));
        break;
    case DS4_OP_COMPRESS:
        raise(&s->max_in, op->compress.n);
        break;
    case DS4_OP_SELECT:
        raise(&s->max_top_k, op->select.top_k);
        break;
    case DS4_OP_ATTEND:
        raise(&s->max_heads, op->attend.n_heads);
        raise(&s->max_head, op->attend.n_head);
        raise(&s->max_rows, rows_seen(&op->attend, kv, n_ctx));
        break;
    case DS4_OP_ATTEND_BLOCK:
        raise(&s->max_heads, op->attend_block.n_heads);
        raise(&s->max_head, op->attend_block.n_head);
        raise(&s->max_rows, kv->n_window + DS4_MAX_BLOCK);
        break;
    case DS4_OP_ROUTE:
        raise(&s->max_experts, op->route.n_experts);
        break;
    case DS4_OP_EXPERTS:
        add_experts(s, &op->experts);
        break;
    case DS4_OP_SAMPLE:
        raise(&s->max_vocab, op->sample.n_vocab);
        break;
    default:
        break;
    }
}

cpu_sizes cpu_sizes_of(const ds4_op *ops, uint32_t n, const ds4_kv_layout *kv, uint32_t n_ctx)
{
    cpu_sizes s = { 0 };

    for (uint32_t i = 0; i < n; i++) add_op(&s, &ops[i], kv, n_ctx);
    return s;
}

static bool cover(cpu_sizes *a, const cpu_sizes *b)
{
    const cpu_sizes before = *a;

    raise(&a->max_in, b->max_in);
    raise(&a->max_heads, b->max_heads);
    raise(&a->max_head, b->max_head);
    raise(&a->max_rows, b->max_rows);
    raise(&a->max_top_k, b->max_top_k);
    raise(&a->max_experts, b->max_experts);
    raise(&a->max_used, b->max_used);
    raise(&a->max_ffn, b->max_ffn);
    raise(&a->max_embd, b->max_embd);
    raise(&a->max_vocab, b->max_vocab);
    a->act_bytes = larger(a->act_bytes, b->act_bytes);
    return a->max_in == before.max_in && a->max_heads == before.max_heads && a->max_head == before.max_head
        && a->max_rows == before.max_rows && a->max_top_k == before.max_top_k
        && a->max_experts == before.max_experts && a->max_used == before.max_used
        && a->max_ffn == before.max_ffn && a->max_embd == before.max_embd && a->max_vocab == before.max_vocab
        && a->act_bytes == before.act_bytes;
}

uint64_t cpu_scratch_bytes(const ds4_limits *l, const ds4_op *ops, uint32_t n, uint32_t n_ctx)
{
    enum { PAIR_TABLES = 12 };
    const cpu_sizes s = cpu_sizes_of(ops, n, l->kv, n_ctx);
    const uint64_t n_threads = l->n_threads ? l->n_threads : ds4_cpu_count();
    const uint64_t queries = s.max_top_k ? cpu_index_group(l->max_batch, (uint32_t)n_threads) : 0;
    const uint64_t scores = larger(larger(s.max_heads, ATTEND_HEADS) * s.max_rows, queries * INDEX_RUN);
    const uint64_t picks = queries ? (queries + 1) * cpu_pick_slots(&s) * sizeof(uint64_t) : 0;
    const uint64_t rows = (s.max_rows + ATTEND_TOKENS) * (uint64_t)s.max_head + scores;
    const uint64_t own = rows * sizeof(float) + s.max_rows * sizeof(float *) + picks;
    const uint64_t n_tokens = l->max_batch, n_routed = n_tokens * s.max_used, pairs = n_routed + n_tokens;
    const uint64_t inputs = n_tokens * (s.x_bytes[0] + s.x_bytes[1]) + n_routed * s.x_bytes[0];
    const uint64_t outputs = (2 * (uint64_t)s.max_ffn + s.max_embd) * sizeof(float);

    return n_threads * own + n_tokens * s.act_bytes + inputs + pairs * (PAIR_TABLES + s.h_bytes + outputs);
}

/* ---- a thread's arrays -------------------------------------------------------------------------- */

static uint64_t score_floats(const cpu_sizes *s)
{
    const uint64_t index = s->max_top_k ? INDEX_QUERIES * INDEX_RUN : 0;
    return larger(larger(larger(s->max_heads, ATTEND_HEADS) * s->max_rows, index), s->max_experts);
}

static uint64_t row_floats(const cpu_sizes *s)
{
    return ((uint64_t)s->max_rows + ATTEND_TOKENS) * s->max_head;
}

static uint64_t pointers(const cpu_sizes *s)
{
    return 2 * (uint64_t)s->max_rows + ATTEND_TOKENS;
}

static uint64_t pick_bytes(const cpu_sizes *s)
{
    return s->max_top_k ? (INDEX_QUERIES + 1) * cpu_pick_slots(s) * sizeof(uint64_t) : 0;
}

static void free_own(cpu_own *own, const cpu_sizes *s, uint64_t spill_row)
{
    cpu_release(own->row, (uint64_t)s->max_in * sizeof(float));
    cpu_release(own->rows, row_floats(s) * sizeof(float));
    cpu_release(own->packed, CPU_SPILL_BATCH * spill_row);
    cpu_release((void *)own->row_at, pointers(s) * sizeof(float *));
    cpu_release(own->scores, score_floats(s) * sizeof(float));
    cpu_release(own->picks, pick_bytes(s));
    cpu_release(own->candidates, s->max_vocab * sizeof(ds4_candidate));
    *own = (cpu_own){ 0 };
}

static bool reserve_own(cpu_own *own, const cpu_sizes *s, uint64_t spill_row)
{
    own->row = cpu_reserve((uint64_t)s->max_in * sizeof(float));
    own->rows = cpu_reserve(row_floats(s) * sizeof(float));
    own->packed = cpu_reserve(CPU_SPILL_BATCH * spill_row);
    own->row_at = cpu_reserve(pointers(s) * sizeof(float *));
    own->scores = cpu_reserve(score_floats(s) * sizeof(float));
    own->picks = cpu_reserve(pick_bytes(s));
    own->candidates = cpu_reserve(s->max_vocab * sizeof(ds4_candidate));
    return own->row && own->rows && own->packed && own->row_at && own->scores && own->picks
        && own->candidates;
}

/* ---- everything ----------------------------------------------------------------------------------- */

static uint64_t act_bytes(const ds4_dev *dev)
{
    return dev->limits.max_batch * dev->sizes.act_bytes + 64;
}

void cpu_scratch_free(ds4_dev *dev)
{
    const uint32_t n = ds4_team_size(dev->team);

    for (uint32_t i = 0; dev->own && i < n; i++) free_own(&dev->own[i], &dev->sizes, dev->limits.spill_row);
    free(dev->own);
    dev->own = NULL;
    cpu_release(dev->act, act_bytes(dev));
    dev->act = NULL;
    cpu_moe_free(dev);
}

ds4_status cpu_scratch_grow(ds4_dev *dev, const cpu_sizes *sizes, ds4_err *err)
{
    const uint32_t n = ds4_team_size(dev->team);
    cpu_sizes      all = dev->sizes;

    if (cover(&all, sizes) && dev->own) return DS4_OK;
    cpu_scratch_free(dev);
    dev->sizes = all;
    dev->own = calloc(n, sizeof *dev->own);
    dev->act = cpu_reserve(act_bytes(dev));
    bool ok = dev->own && dev->act;
    for (uint32_t i = 0; ok && i < n; i++) ok = reserve_own(&dev->own[i], &all, dev->limits.spill_row);
    if (!ok) return ds4_fail(err, DS4_E_NOMEM, "no memory for the scratch of %u threads", n);
    return all.max_used ? cpu_moe_create(dev, err) : DS4_OK;
}
