/* op_check.c - whether a list of operations may run. See op_check.h. */
#include "backend/op_check.h"

#include "format/dtype.h"

typedef struct checker {
    const ds4_backend *backend;
    const ds4_limits  *l;
    const ds4_op      *op;
    ds4_err           *err;
} checker;

/* ---- sizes ---------------------------------------------------------------------------------------- */

static ds4_status sizes_differ(const checker *c, const char *what, uint64_t found, uint64_t expected)
{
    return ds4_fail(c->err, DS4_E_ARG, "operation %s: %s is %llu, expected %llu", c->op->name, what,
                    (unsigned long long)found, (unsigned long long)expected);
}

static ds4_status equal(const checker *c, const char *what, uint64_t found, uint64_t expected)
{
    return found == expected ? DS4_OK : sizes_differ(c, what, found, expected);
}

static ds4_status between(const checker *c, const char *what, uint64_t found, uint64_t least, uint64_t most)
{
    if (found >= least && found <= most) return DS4_OK;
    return ds4_fail(c->err, DS4_E_ARG, "operation %s: %s is %llu, expected %llu to %llu", c->op->name, what,
                    (unsigned long long)found, (unsigned long long)least, (unsigned long long)most);
}

/* Pairs of values are rotated; angles lie in arrays of 256 cosines and sines. */
static ds4_status rotated(const checker *c, uint32_t n_rot, uint32_t n)
{
    DS4_TRY(between(c, "n_rot", n_rot, 2, n < 512 ? n : 512));
    return equal(c, "n_rot modulo 2", n_rot % 2, 0);
}

static ds4_status matrix(const checker *c, const ds4_matrix *w)
{
    const ds4_dtype_info *info = ds4_dtype_get(w->dtype);

    if (!info || !info->is_matrix) {
        return ds4_fail(c->err, DS4_E_ARG, "operation %s multiplies by type %u, which has no product",
                        c->op->name, w->dtype);
    }
    DS4_TRY(between(c, "n_in", w->n_in, 1, UINT32_MAX));
    DS4_TRY(equal(c, "n_in modulo the type's block", w->n_in % info->block_elems, 0));
    DS4_TRY(between(c, "n_out", w->n_out, 1, UINT32_MAX));
    return between(c, "n_mats", w->n_mats, 1, UINT32_MAX);
}

static ds4_status project(const checker *c, const ds4_op_project *op)
{
    DS4_TRY(between(c, "the number of products", op->n, 1, DS4_MAX_PROJECT));
    for (uint32_t i = 0; i < op->n; i++) {
        const ds4_product *p = &op->part[i];
        DS4_TRY(matrix(c, &p->w));
        if (p->w.n_mats > 1) DS4_TRY(between(c, "y_step", p->y_step, p->w.n_out, UINT32_MAX));
    }
    return DS4_OK;
}

static ds4_status streams(const checker *c, uint32_t n_hc, uint32_t n_embd)
{
    enum { MAX_HC = 8 };
    DS4_TRY(between(c, "n_hc", n_hc, 1, MAX_HC));
    return between(c, "n_embd", n_embd, 1, UINT32_MAX / MAX_HC);
}

/* A layer of the state, of the ratios that the operation knows: a zero in `other` leaves one. */
static ds4_status layer(const checker *c, uint32_t i, uint32_t ratio, uint32_t other)
{
    const ds4_kv_layout *kv = c->l->kv;

    if (!kv) {
        return ds4_fail(c->err, DS4_E_ARG, "operation %s works on sessions, and the device was opened without"
                        " a layout of their state", c->op->name);
    }
    DS4_TRY(between(c, "the layer", i, 0, kv->n_layers - 1));
    const uint32_t found = kv->layer[i].ratio;
    return found == other ? DS4_OK : equal(c, "the layer's ratio", found, ratio);
}

static ds4_status any_layer(const checker *c, uint32_t i)
{
    const ds4_kv_layout *kv = c->l->kv;
    return layer(c, i, 0, kv && i < kv->n_layers ? kv->layer[i].ratio : 0);
}

static ds4_status compress(const checker *c, const ds4_op_compress *op)
{
    DS4_TRY(layer(c, op->layer, 4, op->index ? 4 : 128));
    const ds4_kv_layout *kv = c->l->kv;
    DS4_TRY(equal(c, "n", op->n, op->index ? kv->n_index : kv->n_nope + kv->n_rot));
    return rotated(c, op->n_rot, op->n);
}

static ds4_status index_query(const checker *c, const ds4_op_index_query *op)
{
    DS4_TRY(any_layer(c, 0));
    DS4_TRY(between(c, "n_heads", op->n_heads, 1, UINT32_MAX));
    DS4_TRY(equal(c, "n", op->n, c->l->kv->n_index));
    return rotated(c, op->n_rot, op->n);
}

static ds4_status select(const checker *c, const ds4_op_select *op)
{
    DS4_TRY(layer(c, op->layer, 4, 4));
    DS4_TRY(between(c, "n_heads", op->n_heads, 1, UINT32_MAX));
    DS4_TRY(equal(c, "n", op->n, c->l->kv->n_index));
    return between(c, "top_k", op->top_k, 1, c->l->max_ctx);
}

static ds4_status attend(const checker *c, const ds4_op_attend *op)
{
    DS4_TRY(any_layer(c, op->layer));
    const ds4_kv_layout *kv = c->l->kv;
    DS4_TRY(between(c, "n_heads", op->n_heads, 1, UINT32_MAX));
    DS4_TRY(equal(c, "n_head", op->n_head, kv->n_nope + kv->n_rot));
    if (kv->layer[op->layer].ratio == 4) DS4_TRY(between(c, "top_k", op->top_k, 1, UINT32_MAX));
    return rotated(c, op->n_rot, op->n_head);
}

static ds4_status attend_block(const checker *c, const ds4_op_attend_block *op)
{
    DS4_TRY(layer(c, op->layer, 0, 0));
    DS4_TRY(between(c, "n_heads", op->n_heads, 1, UINT32_MAX));
    DS4_TRY(equal(c, "n_head", op->n_head, c->l->kv->n_nope + c->l->kv->n_rot));
    return rotated(c, op->n_rot, op->n_head);
}

static ds4_status guess(const checker *c, const ds4_op_guess *op)
{
    DS4_TRY(between(c, "n_vocab", op->n_vocab, 1, INT32_MAX));
    DS4_TRY(between(c, "n_embd", op->n_embd, 1, INT32_MAX));
    return between(c, "n_rank", op->n_rank, 1, INT32_MAX);
}

static ds4_status route(const checker *c, const ds4_op_route *op)
{
    DS4_TRY(between(c, "n_experts", op->n_experts, 1, UINT32_MAX));
    return between(c, "n_used", op->n_used, 1, op->n_experts);
}

static ds4_status experts(const checker *c, const ds4_op_experts *op)
{
    const ds4_matrix *all[DS4_MAX_MATRICES];
    const uint32_t    n = ds4_op_matrices(c->op, all), n_embd = op->gate.n_in, n_ffn = op->gate.n_out;

    for (uint32_t i = 0; i < n; i++) {
        const bool is_down = i % 3 == 2, is_shared = i >= 3;
        DS4_TRY(matrix(c, all[i]));
        DS4_TRY(equal(c, "an expert's n_in", all[i]->n_in, is_down ? n_ffn : n_embd));
        DS4_TRY(equal(c, "an expert's n_out", all[i]->n_out, is_down ? n_embd : n_ffn));
        DS4_TRY(equal(c, "the number of experts", all[i]->n_mats, is_shared ? 1 : op->gate.n_mats));
    }
    DS4_TRY(between(c, "n_used", op->n_used, 1, op->gate.n_mats));
    return op->inputs.at.buf ? equal(c, "stride of inputs", op->inputs.stride, op->n_used * n_ffn) : DS4_OK;
}

static ds4_status check_sizes(const checker *c)
{
    const ds4_op *op = c->op;

    switch (op->kind) {
    case DS4_OP_ANGLES:      return rotated(c, op->angles.n_rot, op->angles.n_rot);
    case DS4_OP_EMBED:       DS4_TRY(matrix(c, &op->embed.table));
                             return streams(c, op->embed.n_hc, op->embed.table.n_in);
    case DS4_OP_PROJECT:     return project(c, &op->project);
    case DS4_OP_HC_ENTER:    DS4_TRY(between(c, "n_iters", op->hc_enter.n_iters, 1, UINT32_MAX));
                             return streams(c, op->hc_enter.n_hc, op->hc_enter.n_embd);
    case DS4_OP_HC_LEAVE:    return streams(c, op->hc_leave.n_hc, op->hc_leave.n_embd);
    case DS4_OP_HC_MERGE:    return streams(c, op->hc_merge.n_hc, op->hc_merge.n_embd);
    case DS4_OP_NORM:        return between(c, "n", op->norm.n, 1, UINT32_MAX);
    case DS4_OP_HEADS:       return rotated(c, op->heads.n_rot, op->heads.n_head);
    case DS4_OP_KV_ROW:      return any_layer(c, 0);
    case DS4_OP_COMPRESS:    return compress(c, &op->compress);
    case DS4_OP_INDEX_QUERY: return index_query(c, &op->index_query);
    case DS4_OP_SELECT:      return select(c, &op->select);
    case DS4_OP_ATTEND:      return attend(c, &op->attend);
    case DS4_OP_WINDOW:      return any_layer(c, op->window.layer);
    case DS4_OP_ROUTE:       return route(c, &op->route);
    case DS4_OP_EXPERTS:     return experts(c, &op->experts);
    case DS4_OP_PREFETCH:    return between(c, "n_used", op->prefetch.n_used, 1, UINT32_MAX);
    case DS4_OP_SAMPLE:      return between(c, "n_vocab", op->sample.n_vocab, 1, INT32_MAX);
    case DS4_OP_HC_SUM:      return streams(c, op->hc_sum.n_hc, op->hc_sum.n_embd);
    case DS4_OP_ATTEND_BLOCK: return attend_block(c, &op->attend_block);
    case DS4_OP_GUESS:       return guess(c, &op->guess);
    case DS4_OP_STEER:       return between(c, "n", op->steer.n, 1, UINT32_MAX);
    case DS4_N_OPS:          break;
    }
    return ds4_fail(c->err, DS4_E_ARG, "operation %s is of kind %d, which does not exist", op->name,
                    (int)op->kind);
}

/* ---- places --------------------------------------------------------------------------------------- */

static ds4_status place(const checker *c, const ds4_touch *t)
{
    ds4_err why = { 0 };

    if (ds4_view_check(c->backend, *t->view, t->n_bytes, &why) != DS4_OK) {
        return ds4_fail(c->err, DS4_E_ARG, "operation %s: %s is no place for %llu bytes: %s", c->op->name,
                        t->what, (unsigned long long)t->n_bytes, why.text);
    }
    if (t->stride > 0 && t->stride < t->width && t->n_bytes > t->width * sizeof(float)) {
        return ds4_fail(c->err, DS4_E_ARG, "operation %s: rows of %s have %llu values and are %u apart",
                        c->op->name, t->what, (unsigned long long)t->width, t->stride);
    }
    if (t->view->off % t->align == 0) return DS4_OK;
    return ds4_fail(c->err, DS4_E_ARG, "operation %s: %s is at %llu, expected a multiple of %u", c->op->name,
                    t->what, (unsigned long long)t->view->off, t->align);
}

static bool overlap(const ds4_touch *a, const ds4_touch *b)
{
    return a->view->buf == b->view->buf && a->view->off < b->view->off + b->n_bytes
        && b->view->off < a->view->off + a->n_bytes;
}

/* A norm may write where it reads, row for row. */
static bool is_same_place(const ds4_op *op)
{
    const ds4_op_norm *n = &op->norm;
    return op->kind == DS4_OP_NORM && n->x.at.buf == n->y.at.buf && n->x.at.off == n->y.at.off
        && n->x.stride == n->y.stride;
}

static ds4_status check_places(const checker *c)
{
    ds4_touch      t[DS4_MAX_TOUCHES];
    const uint32_t n = ds4_op_touches(c->op, c->l, t);

    for (uint32_t i = 0; i < n; i++) DS4_TRY(place(c, &t[i]));
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; t[i].writes && j < n; j++) {
            if (i == j || !overlap(&t[i], &t[j]) || is_same_place(c->op)) continue;
            return ds4_fail(c->err, DS4_E_ARG, "operation %s writes %s over %s", c->op->name, t[i].what,
                            t[j].what);
        }
    }
    return DS4_OK;
}

ds4_status ds4_ops_check(const ds4_backend *backend, const ds4_limits *l, const ds4_op *ops, uint32_t n,
                         ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const checker c = { backend, l, &ops[i], err };
        DS4_TRY(check_sizes(&c));
        DS4_TRY(check_places(&c));
    }
    return DS4_OK;
}
