/* op_touch.c - what each operation reads and writes. See op_check.h. */
#include "backend/op_check.h"

#include "backend/pick.h"

#include <assert.h>

/* The list of one operation while it is made. */
typedef struct touches {
    const ds4_limits *l;
    ds4_touch        *out;
    uint32_t          n;
} touches;

typedef enum access { READS = 1, WRITES = 2, IN_PLACE = 3 } access;

static void add(touches *t, const char *what, const ds4_view *view, uint64_t n_bytes, access how)
{
    assert(t->n < DS4_MAX_TOUCHES);
    t->out[t->n++] = (ds4_touch){ .view = view, .what = what, .n_bytes = n_bytes, .align = sizeof(float),
                                  .reads = how & READS, .writes = how & WRITES };
}

static void vector(touches *t, const char *what, const ds4_view *view, uint64_t n_floats)
{
    add(t, what, view, n_floats * sizeof(float), READS);
}

/* n_rows rows of n floats. */
static void some_rows(touches *t, const char *what, const ds4_rows *rows, uint64_t n_rows, uint64_t n,
                      access how)
{
    const uint64_t n_floats = n_rows == 0 ? 0 : (n_rows - 1) * rows->stride + n;
    add(t, what, &rows->at, n_floats * sizeof(float), how);
    t->out[t->n - 1].width = n;
    t->out[t->n - 1].stride = rows->stride;
}

/* A row for each token. */
static void rows(touches *t, const char *what, const ds4_rows *r, uint64_t n, access how)
{
    some_rows(t, what, r, t->l->max_batch, n, how);
}

/* n_bytes for each token. */
static void packed(touches *t, const char *what, const ds4_view *view, uint64_t n_bytes, access how)
{
    add(t, what, view, t->l->max_batch * n_bytes, how);
}

static uint64_t row_bytes(const touches *t)
{
    return t->l->kv ? t->l->kv->row_bytes : 0;
}

static uint64_t irow_bytes(const touches *t)
{
    return t->l->kv ? t->l->kv->irow_bytes : 0;
}

/* ---- one function for those with much to say ---------------------------------------------------- */

static void project(touches *t, const ds4_op_project *op)
{
    const uint32_t n_rows = op->is_head ? t->l->max_logit_rows : t->l->max_batch;

    for (uint32_t i = 0; i < op->n && i < DS4_MAX_PROJECT; i++) {
        const ds4_product *p = &op->part[i];
        const uint64_t     last = p->w.n_mats ? p->w.n_mats - 1 : 0;
        some_rows(t, "x", &p->x, n_rows, last * p->x_step + p->w.n_in, READS);
        some_rows(t, "y", &p->y, n_rows, last * p->y_step + p->w.n_out, WRITES);
    }
}

static void hc_enter(touches *t, const ds4_op_hc_enter *op)
{
    vector(t, "scale", &op->scale, 3);
    vector(t, "base", &op->base, op->n_hc * (2 + op->n_hc));
    vector(t, "norm", &op->norm, op->n_embd);
    rows(t, "h", &op->h, (uint64_t)op->n_hc * op->n_embd, READS);
    rows(t, "m", &op->m, op->n_hc * (2 + op->n_hc), READS);
    rows(t, "a", &op->a, op->n_embd, WRITES);
    rows(t, "gate", &op->gate, op->n_hc * (1 + op->n_hc), WRITES);
}

static void hc_leave(touches *t, const ds4_op_hc_leave *op)
{
    const uint64_t n_h = (uint64_t)op->n_hc * op->n_embd;

    rows(t, "h", &op->h, n_h, READS);
    rows(t, "y", &op->y, op->n_embd, READS);
    rows(t, "gate", &op->gate, op->n_hc * (1 + op->n_hc), READS);
    rows(t, "h_new", &op->h_new, n_h, WRITES);
}

static void hc_merge(touches *t, const ds4_op_hc_merge *op)
{
    vector(t, "scale", &op->scale, 1);
    vector(t, "base", &op->base, op->n_hc);
    vector(t, "norm", &op->norm, op->n_embd);
    rows(t, "h", &op->h, (uint64_t)op->n_hc * op->n_embd, READS);
    rows(t, "m", &op->m, op->n_hc, READS);
    some_rows(t, "x", &op->x, t->l->max_logit_rows, op->n_embd, WRITES);
}

static void compress(touches *t, const ds4_op_compress *op)
{
    const ds4_kv_layout *kv = t->l->kv;
    const uint32_t       ratio = kv && op->layer < kv->n_layers ? kv->layer[op->layer].ratio : 0;
    const uint64_t       width = ratio == 4 ? 2ull * op->n : op->n;

    vector(t, "ape", &op->ape, ratio * width);
    vector(t, "norm", &op->norm, op->n);
    vector(t, "freq", &op->freq, op->n_rot / 2);
    rows(t, "k", &op->k, width, READS);
    rows(t, "s", &op->s, width, IN_PLACE);
}

static void attend(touches *t, const ds4_op_attend *op)
{
    const ds4_kv_layout *kv = t->l->kv;
    const uint64_t       n = (uint64_t)op->n_heads * op->n_head;

    vector(t, "sink", &op->sink, op->n_heads);
    packed(t, "rows", &op->rows, row_bytes(t), READS);
    if (kv && op->layer < kv->n_layers && kv->layer[op->layer].ratio == 4) {
        packed(t, "chosen", &op->chosen, op->top_k * sizeof(int32_t), READS);
    }
    rows(t, "angles", &op->angles, op->n_rot, READS);
    rows(t, "q", &op->q, n, READS);
    rows(t, "out", &op->out, n, WRITES);
}

static void route(touches *t, const ds4_op_route *op)
{
    /* A table has a row for each token of the vocabulary, which the operation does not say. */
    if (op->by_token) add(t, "table", &op->table, op->n_used * sizeof(int32_t), READS);
    else if (op->bias.buf) vector(t, "bias", &op->bias, op->n_experts);
    rows(t, "logits", &op->logits, op->n_experts, IN_PLACE);
    packed(t, "expert", &op->expert, op->n_used * sizeof(int32_t), WRITES);
    rows(t, "weight", &op->weight, op->n_used, WRITES);
}

static void experts(touches *t, const ds4_op_experts *op)
{
    packed(t, "expert", &op->expert, op->n_used * sizeof(int32_t), READS);
    rows(t, "weight", &op->weight, op->n_used, READS);
    rows(t, "x", &op->x, op->gate.n_in, READS);
    rows(t, "y", &op->y, op->down.n_out, WRITES);
    if (op->inputs.at.buf) {
        rows(t, "inputs", &op->inputs, (uint64_t)op->n_used * op->gate.n_out, WRITES);
    }
    if (op->n_guess) packed(t, "guess", &op->guess, op->n_guess * sizeof(int32_t), READS);
}

static void select(touches *t, const ds4_op_select *op)
{
    rows(t, "weight", &op->weight, op->n_heads, IN_PLACE);
    packed(t, "query", &op->query, op->n_heads * irow_bytes(t), READS);
    packed(t, "chosen", &op->chosen, op->top_k * sizeof(int32_t), WRITES);
}

static void prefetch(touches *t, const ds4_op_prefetch *op)
{
    const uint64_t n_bytes = op->n_used * sizeof(int32_t);

    if (op->by_token) add(t, "table", &op->table, n_bytes, READS);
    else packed(t, "expert", &op->expert, n_bytes, READS);
}

static void heads(touches *t, const ds4_op_heads *op)
{
    rows(t, "angles", &op->angles, op->n_rot, READS);
    rows(t, "q", &op->q, (uint64_t)op->n_heads * op->n_head, IN_PLACE);
}

static void kv_row(touches *t, const ds4_op_kv_row *op)
{
    const ds4_kv_layout *kv = t->l->kv;
    const uint64_t       n = kv ? kv->n_nope + kv->n_rot : 0;

    vector(t, "w", &op->w, n);
    rows(t, "angles", &op->angles, kv ? kv->n_rot : 0, READS);
    rows(t, "x", &op->x, n, IN_PLACE);
    packed(t, "rows", &op->rows, row_bytes(t), WRITES);
}

static void index_query(touches *t, const ds4_op_index_query *op)
{
    rows(t, "angles", &op->angles, op->n_rot, READS);
    rows(t, "q", &op->q, (uint64_t)op->n_heads * op->n, IN_PLACE);
    packed(t, "packed", &op->packed, op->n_heads * irow_bytes(t), WRITES);
}

static void sample(touches *t, const ds4_op_sample *op)
{
    some_rows(t, "logits", &op->logits, t->l->max_logit_rows, op->n_vocab, READS);
    add(t, "picked", &op->picked, t->l->max_logit_rows * sizeof(ds4_picked), WRITES);
}

static void hc_sum(touches *t, const ds4_op_hc_sum *op)
{
    if (op->m.at.buf) {
        vector(t, "scale", &op->scale, 1);
        vector(t, "base", &op->base, op->n_hc);
        rows(t, "m", &op->m, op->n_hc, READS);
    }
    rows(t, "h", &op->h, (uint64_t)op->n_hc * op->n_embd, READS);
    rows(t, "x", &op->x, op->n_embd, WRITES);
}

static void guess(touches *t, const ds4_op_guess *op)
{
    const uint32_t n = t->l->max_logit_rows;

    vector(t, "confidence", &op->confidence, (uint64_t)op->n_embd + op->n_rank);
    some_rows(t, "logits", &op->logits, n, op->n_vocab, READS);
    some_rows(t, "x", &op->x, n, op->n_embd, READS);
    some_rows(t, "bias", &op->bias, n, op->n_vocab, READS);
    some_rows(t, "m", &op->m, n, op->n_rank, READS);
    add(t, "guessed", &op->guessed, n * sizeof(ds4_guessed), WRITES);
}

uint32_t ds4_op_touches(const ds4_op *op, const ds4_limits *l, ds4_touch out[DS4_MAX_TOUCHES])
{
    touches t = { .l = l, .out = out };

    switch (op->kind) {
    case DS4_OP_ANGLES:
        vector(&t, "freq", &op->angles.freq, op->angles.n_rot / 2);
        rows(&t, "out", &op->angles.out, op->angles.n_rot, WRITES);
        break;
    case DS4_OP_EMBED:
        rows(&t, "h", &op->embed.h, (uint64_t)op->embed.n_hc * op->embed.table.n_in, WRITES);
        break;
    case DS4_OP_NORM:
        vector(&t, "w", &op->norm.w, op->norm.n);
        rows(&t, "x", &op->norm.x, op->norm.n, READS);
        rows(&t, "y", &op->norm.y, op->norm.n, WRITES);
        break;
    case DS4_OP_STEER:
        vector(&t, "v", &op->steer.v, op->steer.n);
        vector(&t, "factor", &op->steer.factor, 1);
        rows(&t, "y", &op->steer.y, op->steer.n, IN_PLACE);
        break;
    case DS4_OP_WINDOW:      packed(&t, "rows", &op->window.rows, row_bytes(&t), READS); break;
    case DS4_OP_PROJECT:     project(&t, &op->project); break;
    case DS4_OP_HC_ENTER:    hc_enter(&t, &op->hc_enter); break;
    case DS4_OP_HC_LEAVE:    hc_leave(&t, &op->hc_leave); break;
    case DS4_OP_HEADS:       heads(&t, &op->heads); break;
    case DS4_OP_KV_ROW:      kv_row(&t, &op->kv_row); break;
    case DS4_OP_COMPRESS:    compress(&t, &op->compress); break;
    case DS4_OP_INDEX_QUERY: index_query(&t, &op->index_query); break;
    case DS4_OP_SELECT:      select(&t, &op->select); break;
    case DS4_OP_ATTEND:      attend(&t, &op->attend); break;
    case DS4_OP_ROUTE:       route(&t, &op->route); break;
    case DS4_OP_EXPERTS:     experts(&t, &op->experts); break;
    case DS4_OP_HC_MERGE:    hc_merge(&t, &op->hc_merge); break;
    case DS4_OP_PREFETCH:    prefetch(&t, &op->prefetch); break;
    case DS4_OP_SAMPLE:      sample(&t, &op->sample); break;
    case DS4_OP_HC_SUM:      hc_sum(&t, &op->hc_sum); break;
    case DS4_OP_ATTEND_BLOCK: attend(&t, &op->attend_block); break;
    case DS4_OP_GUESS:       guess(&t, &op->guess); break;
    case DS4_N_OPS:          break;
    }
    return t.n;
}

uint32_t ds4_op_matrices(const ds4_op *op, const ds4_matrix *out[DS4_MAX_MATRICES])
{
    uint32_t n = 0;

    if (op->kind == DS4_OP_EMBED) out[n++] = &op->embed.table;
    for (uint32_t i = 0; op->kind == DS4_OP_PROJECT && i < op->project.n && i < DS4_MAX_PROJECT; i++) {
        out[n++] = &op->project.part[i].w;
    }
    if (op->kind == DS4_OP_EXPERTS) {
        const ds4_op_experts *e = &op->experts;
        const ds4_matrix     *all[] = { &e->gate, &e->up, &e->down, &e->shared_gate, &e->shared_up,
                                        &e->shared_down };
        for (; n < sizeof all / sizeof *all; n++) out[n] = all[n];
    }
    return n;
}
