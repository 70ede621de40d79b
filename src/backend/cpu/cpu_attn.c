/* cpu_attn.c - queries, KV rows and attention.
 *
 * A token attends to the raw rows of the last n_window positions, oldest first, then to
 * compressed rows in ascending order: the order of every sum is a function of the token's
 * position alone. Raw rows of earlier steps come from the session's ring, those of this
 * batch from scratch; they enter the ring after the layer has attended. */
#include "backend/cpu/cpu_local.h"

#include <string.h>

/* ---- queries and rows --------------------------------------------------------------------- */

typedef struct attn_job {
    ds4_dev    *dev;
    const void *op;
    uint32_t    token;              /* for the two-phase form of attention */
    uint32_t    n_rows;
} attn_job;

static void heads_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const attn_job     *job = ctx;
    const ds4_op_heads *op = job->op;
    const ds4_kernels  *k = &job->dev->k;
    uint64_t            from, to;

    ds4_team_share((uint64_t)job->dev->batch->n_tokens * op->n_heads, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint32_t t = (uint32_t)(i / op->n_heads), h = (uint32_t)(i % op->n_heads);
        const float   *angles = cpu_row(op->angles, t);
        float         *q = cpu_row(op->q, t) + (size_t)h * op->n_head;

        k->rms_norm(q, q, NULL, op->n_head, op->eps);
        k->rope(q + op->n_head - op->n_rot, angles, angles + op->n_rot / 2, op->n_rot);
    }
}

void cpu_heads(ds4_dev *dev, const ds4_op_heads *op)
{
    attn_job job = { .dev = dev, .op = op };
    cpu_run(dev, heads_share, &job, dev->batch->n_tokens);
}

static void pack_row(const ds4_dev *dev, uint8_t *row, const float *x)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->exact) memcpy(row, x, (size_t)kv->row_bytes);
    else dev->k.kv_pack(row, x, kv->n_nope, kv->n_rot);
}

static void unpack_row(const ds4_dev *dev, float *x, const uint8_t *row)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->exact) memcpy(x, row, (size_t)kv->row_bytes);
    else dev->k.kv_unpack(x, row, kv->n_nope, kv->n_rot);
}

static void kv_row_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const attn_job      *job = ctx;
    const ds4_op_kv_row *op = job->op;
    const ds4_dev       *dev = job->dev;
    const ds4_kv_layout *kv = dev->batch->kv;
    const uint32_t       n = kv->n_nope + kv->n_rot;
    uint64_t             from, to;

    ds4_team_share(dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t++) {
        const float *angles = cpu_row(op->angles, (uint32_t)t);
        float       *x = cpu_row(op->x, (uint32_t)t);

        dev->k.rms_norm(x, x, cpu_floats(op->w), n, op->eps);
        dev->k.rope(x + kv->n_nope, angles, angles + kv->n_rot / 2, kv->n_rot);
        pack_row(dev, cpu_at(op->rows) + t * kv->row_bytes, x);
    }
}

void cpu_kv_row(ds4_dev *dev, const ds4_op_kv_row *op)
{
    attn_job job = { .dev = dev, .op = op };
    cpu_run(dev, kv_row_share, &job, dev->batch->n_tokens);
}

void cpu_window(ds4_dev *dev, const ds4_op_window *op)
{
    const ds4_batch     *batch = dev->batch;
    const ds4_kv_layout *kv = batch->kv;

    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const ds4_span *span = &batch->span[i];
        uint8_t        *ring = cpu_at(span->tail) + kv->layer[op->layer].raw_off;
        const uint32_t  skip = span->n > kv->n_window ? span->n - kv->n_window : 0;

        for (uint32_t j = skip; j < span->n; j++) {
            memcpy(ring + (span->pos + j) % kv->n_window * kv->row_bytes,
                   cpu_at(op->rows) + (span->first + j) * kv->row_bytes, (size_t)kv->row_bytes);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------ */

/* What one token attends to. */
typedef struct row_set {
    const ds4_span     *span;
    const ds4_kv_layer *layer;
    uint32_t            token, pos;
    uint32_t            n_raw, n_compressed;
    const int32_t      *chosen;     /* [n_compressed] row numbers; NULL: rows 0 .. n_compressed-1 */
} row_set;

static row_set rows_of(const ds4_dev *dev, const ds4_op_attend *op, uint32_t t)
{
    const ds4_batch     *batch = dev->batch;
    const ds4_kv_layer  *layer = &batch->kv->layer[op->layer];
    const uint32_t       pos = batch->pos[t], n_window = batch->kv->n_window;
    row_set              set = {
        .span = &batch->span[batch->span_of[t]], .layer = layer, .token = t, .pos = pos,
        .n_raw = pos + 1 < n_window ? pos + 1 : n_window,
        .n_compressed = layer->ratio ? (pos + 1) / layer->ratio : 0,
    };
    if (layer->ratio == 4 && set.n_compressed > op->top_k) {
        set.n_compressed = op->top_k;
        set.chosen = (const int32_t *)(const void *)cpu_at(op->chosen) + (uint64_t)t * op->top_k;
    }
    return set;
}

/* Packed row i of a token's set: raw rows first. */
static const uint8_t *row_at(const ds4_dev *dev, const ds4_op_attend *op, const row_set *set, uint32_t i)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (i < set->n_raw) {
        const uint32_t pos = set->pos + 1 - set->n_raw + i;
        if (pos >= set->span->pos) {
            const uint64_t in_batch = set->span->first + (pos - set->span->pos);
            return cpu_at(op->rows) + in_batch * kv->row_bytes;
        }
        return cpu_at(set->span->tail) + set->layer->raw_off + pos % kv->n_window * kv->row_bytes;
    }
    const uint32_t c = set->chosen ? (uint32_t)set->chosen[i - set->n_raw] : i - set->n_raw;
    return cpu_kv_row_at(dev->batch, set->span, set->layer, c);
}

static void unpack_rows(const ds4_dev *dev, const ds4_op_attend *op, const row_set *set, cpu_own *into,
                        uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        float *x = into->rows + i * op->n_head;
        unpack_row(dev, x, row_at(dev, op, set, (uint32_t)i));
        into->row_at[i] = x;
    }
}

/* Heads from .. to-1 over unpacked rows, then back-rotation of what they read. */
static void attend_heads(const ds4_dev *dev, const ds4_op_attend *op, uint32_t t, const cpu_own *rows,
                         uint32_t n_rows, float *scores, uint64_t from, uint64_t to)
{
    const ds4_kernels *k = &dev->k;
    const uint32_t     n = op->n_head, half = op->n_rot / 2;
    const float       *angles = cpu_row(op->angles, t);
    float             *out = cpu_row(op->out, t);
    float              back[256];       /* negated sines; the shape reader keeps n_rot <= 512 */

    if (from == to) return;
    k->attend(out + from * n, cpu_row(op->q, t) + from * n, rows->row_at, n_rows, (uint32_t)(to - from), n,
              cpu_floats(op->sink) + from, op->scale, scores);
    for (uint32_t i = 0; i < half; i++) back[i] = -angles[half + i];
    for (uint64_t h = from; h < to; h++) k->rope(out + (h + 1) * n - op->n_rot, angles, back, op->n_rot);
}

/* Many tokens: each member attends for its own tokens. */
static void attend_tokens(void *ctx, uint32_t member, uint32_t n_members)
{
    const attn_job      *job = ctx;
    const ds4_op_attend *op = job->op;
    cpu_own             *own = &job->dev->own[member];
    const uint32_t       n = job->dev->batch->n_tokens;

    /* Later tokens see more rows, so tokens are dealt like cards. */
    for (uint32_t t = member; t < n; t += n_members) {
        const row_set  set = rows_of(job->dev, op, t);
        const uint32_t n_rows = set.n_raw + set.n_compressed;
        unpack_rows(job->dev, op, &set, own, 0, n_rows);
        attend_heads(job->dev, op, t, own, n_rows, own->scores, 0, op->n_heads);
    }
}

/* Few tokens: the team unpacks one token's rows together, then splits the heads. */
static void unpack_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const attn_job *job = ctx;
    const row_set   set = rows_of(job->dev, job->op, job->token);
    uint64_t        from, to;

    ds4_team_share(job->n_rows, 1, member, n_members, &from, &to);
    unpack_rows(job->dev, job->op, &set, &job->dev->own[0], from, to);
}

static void attend_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const attn_job      *job = ctx;
    const ds4_op_attend *op = job->op;
    uint64_t             from, to;

    ds4_team_share(op->n_heads, 1, member, n_members, &from, &to);
    attend_heads(job->dev, op, job->token, &job->dev->own[0], job->n_rows,
                 job->dev->own[member].scores, from, to);
}

void cpu_attend(ds4_dev *dev, const ds4_op_attend *op)
{
    attn_job       job = { .dev = dev, .op = op };
    const uint32_t n = dev->batch->n_tokens;

    if (n >= 2 * ds4_team_size(dev->team)) {
        ds4_team_run(dev->team, attend_tokens, &job);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        const row_set set = rows_of(dev, op, t);
        job.token = t;
        job.n_rows = set.n_raw + set.n_compressed;
        ds4_team_run(dev->team, unpack_share, &job);
        ds4_team_run(dev->team, attend_share, &job);
    }
}
