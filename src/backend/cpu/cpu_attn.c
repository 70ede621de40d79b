/* cpu_attn.c - queries, KV rows and attention.
 *
 * A token attends to the raw rows of the last n_window positions, oldest first, then to
 * compressed rows in ascending order: the order of every sum is a function of the token's
 * position alone. Raw rows of earlier steps come from the session's ring, those of this
 * batch from scratch; they enter the ring after the layer has attended. Neighbouring tokens
 * see nearly the same rows, which are unpacked for all of them together. */
#include "backend/cpu/cpu_ops.h"

#include <stdatomic.h>
#include <string.h>

/* ---- queries and rows --------------------------------------------------------------------- */

typedef struct attn_job {
    ds4_dev    *dev;
    const void *op;
    uint32_t    token;              /* the only one */
    uint32_t    n_rows;
    atomic_uint next;               /* of many, one that nobody has taken */
    atomic_int  reason;             /* why rows could not be read; 0 */
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
    cpu_run(dev, heads_share, &job, (uint64_t)dev->batch->n_tokens * op->n_heads);
}

static void pack_row(const ds4_dev *dev, uint8_t *row, const float *x)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->form == DS4_KV_FLOATS) memcpy(row, x, (size_t)kv->row_bytes);
    else dev->k.kv_pack(row, x, kv->n_nope, kv->n_rot);
}

static void unpack_row(const ds4_dev *dev, float *x, const uint8_t *row)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->form == DS4_KV_FLOATS) memcpy(x, row, (size_t)kv->row_bytes);
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
        const ds4_span    *span = &batch->span[i];
        const ds4_kv_rows *ring = &kv->layer[op->layer].raw;
        const uint8_t     *rows = cpu_at(op->rows) + span->first * kv->row_bytes;
        const uint32_t     end = span->pos + span->n;

        for (uint32_t pos = span->n > ring->n_rows ? end - ring->n_rows : span->pos, n; pos < end; pos += n) {
            n = ds4_kv_run(pos, end, ring->n_rows);
            cpu_kv_write(ring, cpu_at(span->tail), pos % ring->n_rows, n,
                         rows + (pos - span->pos) * kv->row_bytes);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------ */

/* The rows that one token attends to. */
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

/* Unpack the raw row of a position that is in the window of a token of the span. */
static void unpack_raw(const ds4_dev *dev, const ds4_op_attend *op, const row_set *set, uint32_t pos,
                       float *x)
{
    const ds4_kv_rows *ring = &set->layer->raw;
    const ds4_span    *span = set->span;
    uint8_t            room[CPU_MAX_RECORD];

    unpack_row(dev, x, pos >= span->pos
        ? cpu_at(op->rows) + (span->first + (pos - span->pos)) * dev->batch->kv->row_bytes
        : cpu_kv_rows(ring, cpu_at(span->tail), pos % ring->n_rows, 1, room));
}

/* Compressed rows from .. to-1 of a token's set into out. Returns 0 or the reason why not. */
static int unpack_compressed(const ds4_dev *dev, const row_set *set, uint32_t from, uint32_t to,
                             uint8_t *packed, float *out)
{
    const ds4_kv_rows *table = &set->layer->row;
    const uint64_t     row_bytes = dev->batch->kv->row_bytes;
    const uint32_t     n_head = dev->batch->kv->n_nope + dev->batch->kv->n_rot;

    while (from < to) {
        const uint32_t n = to - from < CPU_SPILL_BATCH ? to - from : CPU_SPILL_BATCH;
        cpu_spill_row  away[CPU_SPILL_BATCH];
        uint32_t       n_away = 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t c = set->chosen ? (uint32_t)set->chosen[from + i] : from + i;
            uint32_t       row;
            const ds4_view at = cpu_kv_block(set->span, set->layer, c, &row);
            if (cpu_spill_of(at.buf)) {
                away[n_away++] = cpu_spill_row_at(table, at, row);
                continue;
            }
            uint8_t room[CPU_MAX_RECORD];
            unpack_row(dev, out + (uint64_t)i * n_head, cpu_kv_rows(table, cpu_at(at), row, 1, room));
        }
        /* A layer's rows are all here or all away. */
        const int reason = n_away ? cpu_spill_fetch(dev->spill, away, n_away, packed) : 0;
        if (reason != 0) return reason;
        for (uint32_t i = 0; i < n_away; i++) {
            unpack_row(dev, out + (uint64_t)i * n_head, packed + i * row_bytes);
        }
        from += n;
        out += (uint64_t)n * n_head;
    }
    return 0;
}

static void rotate_back(const ds4_dev *dev, const ds4_op_attend *op, uint32_t t, uint64_t from, uint64_t to)
{
    const uint32_t n = op->n_head, half = op->n_rot / 2;
    const float   *angles = cpu_row(op->angles, t);
    float         *out = cpu_row(op->out, t);
    float          back[256];           /* negated sines; the shape reader keeps n_rot <= 512 */

    for (uint32_t i = 0; i < half; i++) back[i] = -angles[half + i];
    for (uint64_t h = from; h < to; h++) dev->k.rope(out + (h + 1) * n - op->n_rot, angles, back, op->n_rot);
}

/* Heads from .. to-1 over unpacked rows, then back-rotation of what they read. */
static void attend_heads(const ds4_dev *dev, const ds4_op_attend *op, uint32_t t, const cpu_own *rows,
                         uint32_t n_rows, float *scores, uint64_t from, uint64_t to)
{
    const ds4_kernels *k = &dev->k;
    const uint32_t     n = op->n_head;

    if (from == to) return;
    k->attend(cpu_row(op->out, t) + from * n, cpu_row(op->q, t) + from * n, rows->row_at, n_rows,
              (uint32_t)(to - from), n, cpu_floats(op->sink) + from, op->scale, scores);
    rotate_back(dev, op, t, from, to);
}

/* ---- many tokens ------------------------------------------------------------------------------- */

/* Tokens first .. first + n - 1 over the same compressed rows, a few of them at once.
 *
 *   raw   [n_window + n - 1] rows: the first token's window and what follows it           */
static void attend_together(const ds4_dev *dev, const ds4_op_attend *op, const cpu_own *own,
                            const float *const *raw, uint32_t first, uint32_t n)
{
    const uint32_t at_once = ATTEND_HEADS / op->n_heads;

    for (uint32_t i = 0; i < n; i += at_once) {
        size_t           n_shared[ATTEND_TOKENS];
        ds4_attend_batch b = {
            .out = cpu_row(op->out, first + i), .q = cpu_row(op->q, first + i), .stride = op->q.stride,
            .raw = raw + i, .n_raw = dev->batch->kv->n_window, .shared = own->row_at, .n_shared = n_shared,
            .n_tokens = n - i < at_once ? n - i : at_once, .n_heads = op->n_heads, .n = op->n_head,
            .sink = cpu_floats(op->sink), .scale = op->scale, .scores = own->scores,
        };
        for (uint32_t j = 0; j < b.n_tokens; j++) n_shared[j] = rows_of(dev, op, first + i + j).n_compressed;
        dev->k.attend_shared(&b);
        for (uint32_t j = 0; j < b.n_tokens; j++) rotate_back(dev, op, first + i + j, 0, op->n_heads);
    }
}

/* Whether the tokens of a group may be taken together: whole windows, all compressed rows. */
static bool can_together(const ds4_dev *dev, const ds4_op_attend *op, const row_set *begin, uint32_t n)
{
    const uint32_t n_window = dev->batch->kv->n_window;

    return dev->k.attend_shared && begin->layer->ratio > 4 && n > 1 && op->n_heads * 2 <= ATTEND_HEADS
        && begin->n_raw == n_window && n_window % DS4_ATTEND_CHAIN == 0 && op->q.stride == op->out.stride;
}

/* Tokens first .. first + n - 1 of one span, n <= ATTEND_TOKENS. Returns 0 or the reason why not. */
static int attend_group(const ds4_dev *dev, const ds4_op_attend *op, cpu_own *own, uint32_t first, uint32_t n)
{
    const row_set  begin = rows_of(dev, op, first);
    const uint32_t oldest = begin.pos + 1 - begin.n_raw;
    float         *raw = own->rows;
    float         *compressed = raw + (uint64_t)(begin.pos + n - oldest) * op->n_head;
    uint32_t       n_done = 0;          /* rows that all tokens see, unpacked */
    const float  **window = own->row_at + dev->sizes.max_rows;
    const bool     together = can_together(dev, op, &begin, n);

    for (uint32_t pos = oldest; pos < begin.pos + n; pos++) {
        unpack_raw(dev, op, &begin, pos, raw + (uint64_t)(pos - oldest) * op->n_head);
        if (together) window[pos - oldest] = raw + (uint64_t)(pos - oldest) * op->n_head;
    }
    for (uint32_t t = first; t < first + n; t++) {
        const row_set  set = rows_of(dev, op, t);
        const uint32_t from = set.chosen ? 0 : n_done, n_rows = set.n_raw + set.n_compressed;
        const int      reason = unpack_compressed(dev, &set, from, set.n_compressed, own->packed,
                                                  compressed + (uint64_t)from * op->n_head);
        if (reason != 0) return reason;
        n_done = set.n_compressed;
        if (together) continue;
        for (uint32_t i = 0; i < set.n_raw; i++) {
            own->row_at[i] = raw + (uint64_t)(set.pos + 1 - set.n_raw - oldest + i) * op->n_head;
        }
        for (uint32_t i = 0; i < set.n_compressed; i++) {
            own->row_at[set.n_raw + i] = compressed + (uint64_t)i * op->n_head;
        }
        attend_heads(dev, op, t, own, n_rows, own->scores, 0, op->n_heads);
    }
    if (!together) return 0;
    for (uint32_t i = 0; i < n_done; i++) own->row_at[i] = compressed + (uint64_t)i * op->n_head;
    attend_together(dev, op, own, window, first, n);
    return 0;
}

/* Whoever is free takes the next tokens. */
static void attend_tokens(void *ctx, uint32_t member, uint32_t n_members)
{
    attn_job            *job = ctx;
    const ds4_op_attend *op = job->op;
    const ds4_batch     *batch = job->dev->batch;
    const uint32_t       share = batch->n_tokens / (2 * n_members);
    const uint32_t       most = share < 1 ? 1 : share < ATTEND_TOKENS ? share : ATTEND_TOKENS;

    for (unsigned t = atomic_load(&job->next); t < batch->n_tokens;) {
        const ds4_span *span = &batch->span[batch->span_of[t]];
        const uint32_t  left = span->first + span->n - t, n = left < most ? left : most;
        if (!atomic_compare_exchange_weak(&job->next, &t, t + n)) continue;
        const int reason = attend_group(job->dev, op, &job->dev->own[member], t, n);
        if (reason != 0) atomic_store(&job->reason, reason);
        t = atomic_load(&job->next);
    }
}

/* ---- one token --------------------------------------------------------------------------------- */

/* Rows from .. to-1 of the token's set, raw ones first. */
static void unpack_rows(attn_job *job, const cpu_own *into, uint8_t *packed, uint64_t from, uint64_t to)
{
    const ds4_dev       *dev = job->dev;
    const ds4_op_attend *op = job->op;
    const row_set        set = rows_of(dev, op, job->token);

    for (uint64_t i = from; i < to; i++) into->row_at[i] = into->rows + i * op->n_head;
    for (; from < to && from < set.n_raw; from++) {
        unpack_raw(dev, op, &set, set.pos + 1 - set.n_raw + (uint32_t)from, into->rows + from * op->n_head);
    }
    if (from >= to) return;
    const int reason = unpack_compressed(dev, &set, (uint32_t)from - set.n_raw, (uint32_t)to - set.n_raw,
                                         packed, into->rows + from * op->n_head);
    if (reason != 0) atomic_store(&job->reason, reason);
}

/* Each member unpacks all rows for its heads: that takes less time than to fetch unpacked
 * ones from another core's cache. */
static void attend_alone_share(void *ctx, uint32_t member, uint32_t n_members)
{
    attn_job            *job = ctx;
    const ds4_op_attend *op = job->op;
    const cpu_own       *own = &job->dev->own[member];
    uint64_t             from, to;

    ds4_team_share(op->n_heads, 1, member, n_members, &from, &to);
    if (from == to) return;
    unpack_rows(job, own, own->packed, 0, job->n_rows);
    attend_heads(job->dev, op, job->token, own, job->n_rows, own->scores, from, to);
}

/* If rows may have to come from a disk, the team unpacks them together and then splits the
 * heads. */
static void unpack_share(void *ctx, uint32_t member, uint32_t n_members)
{
    attn_job *job = ctx;
    uint64_t  from, to;

    ds4_team_share(job->n_rows, 1, member, n_members, &from, &to);
    unpack_rows(job, &job->dev->own[0], job->dev->own[member].packed, from, to);
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

ds4_status cpu_attend(ds4_dev *dev, const ds4_op_attend *op, ds4_err *err)
{
    attn_job       job = { .dev = dev, .op = op };
    const uint32_t n = dev->batch->n_tokens;

    if (n >= 2 * ds4_team_size(dev->team)) {
        ds4_team_run(dev->team, attend_tokens, &job);
    } else {
        for (job.token = 0; job.token < n; job.token++) {
            const row_set set = rows_of(dev, op, job.token);
            job.n_rows = set.n_raw + set.n_compressed;
            if (!dev->spill) {
                ds4_team_run(dev->team, attend_alone_share, &job);
                continue;
            }
            ds4_team_run(dev->team, unpack_share, &job);
            ds4_team_run(dev->team, attend_share, &job);
        }
    }
    const int reason = atomic_load(&job.reason);
    return reason == 0 ? DS4_OK : cpu_spill_failed(dev->spill, reason, err);
}
