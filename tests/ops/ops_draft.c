/* ops_draft.c - operations of drafters: sums of streams, blocks that see themselves whole, guesses. */
#include "ops/ops_sessions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- streams ------------------------------------------------------------------------------------- */

static void sum_streams(ops *o, bool has_m)
{
    const ops_shape *s = o->shape;
    const uint32_t   n = s->n_embd, n_hc = s->n_hc, n_h = n * n_hc;

    ops_plain_batch(o, 10);
    ops_array *h = ops_floats(o, (uint64_t)o->n_tokens * n_h),
              *m = ops_floats(o, (uint64_t)o->n_tokens * n_hc);
    ops_array *scale = ops_floats(o, 1), *base = ops_floats(o, n_hc);
    ops_array *x = ops_room(o, (uint64_t)o->n_tokens * n * sizeof(float));
    ops_run(o, (ds4_op){ .kind = DS4_OP_HC_SUM,
                         .hc_sum = { .n_hc = n_hc,
                                     .n_embd = n,
                                     .norm_eps = 1e-6f,
                                     .hc_eps = 1e-6f,
                                     .scale = has_m ? ops_view(scale) : (ds4_view){ NULL, 0 },
                                     .base = has_m ? ops_view(base) : (ds4_view){ NULL, 0 },
                                     .h = ops_rows(h, n_h),
                                     .m = has_m ? ops_rows(m, n_hc) : (ds4_rows){ { NULL, 0 }, 0 },
                                     .x = ops_rows(x, n) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *row = ops_host(h) + (uint64_t)t * n_h;
        double       mix[8], squares = 0.0;
        for (uint32_t i = 0; i < n_h; i++) squares += (double)row[i] * (double)row[i];
        for (uint32_t i = 0; i < n_hc; i++) {
            const double r = 1.0 / sqrt(squares / n_h + (double)1e-6f);
            const double z = (double)ops_host(m)[t * n_hc + i] * r * (double)ops_host(scale)[0] +
                             (double)ops_host(base)[i];
            mix[i] = has_m ? 1.0 / (1.0 + exp(-z)) + (double)1e-6f : 1.0 / n_hc;
        }
        for (uint32_t d = 0; d < n; d++) {
            double want = 0.0, size = 0.0;
            for (uint32_t i = 0; i < n_hc; i++) {
                want += mix[i] * (double)row[i * n + d];
                size += fabs(mix[i] * (double)row[i * n + d]);
            }
            ops_near(o, (double)ops_found(o, x)[(uint64_t)t * n + d], want,
                     (has_m ? 3e-5 : 4e-6) * size + 1e-30, "x", t, d);
        }
    }
}

void ops_hc_sum(ops *o)
{
    sum_streams(o, true);
}

void ops_hc_mean(ops *o)
{
    sum_streams(o, false);
}

/* ---- a block ---------------------------------------------------------------------------------------- */

/* One session with a past, and a block behind it. From a third of its window on rows are there. */
static void make_block(ops *o, state *s, bool whole)
{
    ops_make_state(o, s);
    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t pos = s->session[i].pos;
        o->span[i].window_from = whole                      ? 0
                                 : pos > o->kv.n_window / 3 ? pos - o->kv.n_window / 3
                                                            : pos;
    }
}

/* All rows that a span's tokens see. */
static uint32_t block_rows(ops *o, const past *p, const ds4_span *span, const ops_array *rows,
                           float *out)
{
    const ds4_kv_layer *l = &o->layer[NONE];
    const uint32_t      n = o->shape->n_head;
    uint32_t            n_rows = 0, from = p->pos > o->kv.n_window ? p->pos - o->kv.n_window : 0;
    uint8_t             record[4096];

    for (uint32_t i = from > span->window_from ? from : span->window_from; i < p->pos;
         i++, n_rows++) {
        ops_copy_record(&l->raw, p->tail->host, i % l->raw.n_rows, record, false);
        ops_unpack(o, out + (uint64_t)n_rows * n, record, false);
    }
    for (uint32_t i = 0; i < p->n; i++, n_rows++) {
        memcpy(record, rows->host + (p->first + i) * o->kv.row_bytes, o->kv.row_bytes);
        ops_unpack(o, out + (uint64_t)n_rows * n, record, false);
    }
    return n_rows;
}

static void head_of_block(ops *o, const float *got, const float *q, const float *rows,
                          uint32_t n_rows, double sink, const float *angles, uint32_t t)
{
    const uint32_t n = o->shape->n_head, n_rot = o->shape->n_rot;
    const double   scale = (double)(1.0f / sqrtf((float)n));
    double top = sink, most = 0.0, sharp = 1.0, out[1024] = { 0 }, score[256 + DS4_MAX_BLOCK];

    for (uint32_t r = 0; r < n_rows; r++) {
        double dots = 0.0;
        score[r] = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            const double part = scale * (double)q[i] * (double)rows[(uint64_t)r * n + i];
            score[r] += part;
            dots += fabs(part);
            most = fmax(most, fabs((double)rows[(uint64_t)r * n + i]));
        }
        top = fmax(top, score[r]);
        sharp = fmax(sharp, dots);
    }
    double sum = exp(sink - top);
    for (uint32_t r = 0; r < n_rows; r++) {
        const double e = exp(score[r] - top);
        sum += e;
        for (uint32_t i = 0; i < n; i++) out[i] += e * (double)rows[(uint64_t)r * n + i];
    }
    for (uint32_t i = 0; i < n; i++) out[i] /= sum;
    ops_rotate(out + n - n_rot, n_rot, angles, true);
    for (uint32_t i = 0; i < n; i++) {
        ops_near(o, (double)got[i], out[i], (2e-5 + 4e-6 * sharp) * most + 1e-30, "attention", t,
                 i);
    }
}

static void attend_block(ops *o, bool whole)
{
    const ops_shape *sh = o->shape;
    const uint32_t   n = sh->n_head, n_q = sh->n_heads * n;
    state           *s = ops_memory(o, sizeof *s);

    make_block(o, s, whole);
    const ops_array *rows = ops_step_rows(o), *sink = ops_floats(o, sh->n_heads);
    const ops_array *angles = ops_make_angles(o), *q = ops_floats(o, (uint64_t)o->n_tokens * n_q);
    ops_array       *out = ops_room(o, (uint64_t)o->n_tokens * n_q * sizeof(float));
    ops_run(o, (ds4_op){ .kind = DS4_OP_ATTEND_BLOCK,
                         .attend_block = { .layer = NONE,
                                           .n_heads = sh->n_heads,
                                           .n_head = n,
                                           .n_rot = sh->n_rot,
                                           .scale = 1.0f / sqrtf((float)n),
                                           .sink = ops_view(sink),
                                           .rows = ops_view(rows),
                                           .angles = ops_rows(angles, sh->n_rot),
                                           .q = ops_rows(q, n_q),
                                           .out = ops_rows(out, n_q) } });
    float *seen = malloc((uint64_t)(sh->n_window + DS4_MAX_BLOCK) * n * sizeof *seen);
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const past    *p = &s->session[o->span_of[t]];
        const uint32_t n_rows = block_rows(o, p, &o->span[o->span_of[t]], rows, seen);
        for (uint32_t h = 0; h<sh->n_heads; h += sh->n_heads> 8 ? 1 + ops_below(o, 15) : 1) {
            const uint64_t at = (uint64_t)t * n_q + (uint64_t)h * n;
            head_of_block(o, ops_found(o, out) + at, ops_host(q) + at, seen, n_rows,
                          (double)ops_host(sink)[h], ops_host(angles) + (uint64_t)t * sh->n_rot, t);
        }
    }
    free(seen);
}

void ops_attend_block(ops *o)
{
    attend_block(o, true);
}

void ops_attend_block_short(ops *o)
{
    attend_block(o, false);
}

/* ---- guesses ----------------------------------------------------------------------------------------- */

/* Values in steps of a 64th, so that sums are exact and some are equal. */
static ops_array *steps(ops *o, uint64_t n)
{
    float *x = malloc(n * sizeof *x);

    for (uint64_t i = 0; i < n; i++)
        x[i] = o->fill == OPS_ZERO ? 0.0f : (float)ops_below(o, 512) / 64.0f - 4.0f;
    ops_array *a = ops_bytes(o, x, n * sizeof *x);
    free(x);
    return a;
}

void ops_guess(ops *o)
{
    enum { RANK = 48 };
    const uint32_t n = o->shape->n_vocab, n_embd = o->shape->n_embd,
                   room = o->limits.max_logit_rows;

    ops_plain_batch(o, 10);
    o->batch.n_tokens = o->batch.n_logit_rows < 3 ? o->batch.n_logit_rows : 3;
    for (uint32_t i = 0; i < o->batch.n_tokens; i++) o->logit_row[i] = ops_below(o, room);
    const ops_array *logits = steps(o, (uint64_t)room * n), *bias = steps(o, (uint64_t)room * n);
    const ops_array *x = ops_floats(o, (uint64_t)room * n_embd),
                    *m = ops_floats(o, (uint64_t)room * RANK);
    const ops_array *w = ops_floats(o, n_embd + RANK);
    ops_array       *guessed = ops_room(o, room * sizeof(ds4_guessed));
    ops_run(o, (ds4_op){ .kind = DS4_OP_GUESS,
                         .guess = { .n_vocab = n,
                                    .n_embd = n_embd,
                                    .n_rank = RANK,
                                    .confidence = ops_view(w),
                                    .shift = 0.25f,
                                    .logits = ops_rows(logits, n),
                                    .x = ops_rows(x, n_embd),
                                    .bias = ops_rows(bias, n),
                                    .m = ops_rows(m, RANK),
                                    .guessed = ops_view(guessed) } });
    const ds4_guessed *got = (const ds4_guessed *)(const void *)ops_found(o, guessed);
    for (uint32_t t = 0; t < o->batch.n_tokens; t++) {
        const uint32_t r = o->logit_row[t];
        int32_t        want = 0;
        double         c = 0.25, size = 0.25;
        for (uint32_t i = 1; i < n; i++) {
            const float v =
                ops_host(logits)[(uint64_t)r * n + i] + ops_host(bias)[(uint64_t)t * n + i];
            const float top =
                ops_host(logits)[(uint64_t)r * n + want] + ops_host(bias)[(uint64_t)t * n + want];
            if (v > top) want = (int32_t)i;
        }
        for (uint32_t i = 0; i < n_embd + RANK; i++) {
            const float  at = i < n_embd ? ops_host(x)[(uint64_t)r * n_embd + i]
                                         : ops_host(m)[(uint64_t)t * RANK + i - n_embd];
            const double part = (double)ops_host(w)[i] * (double)at;
            c += part;
            size += fabs(part);
        }
        if (got[t].token != want)
            ops_fail(o, "token %u: guess %d, expected %d", t, got[t].token, want);
        const double near = 4e-6 * size, low = 1.0 / (1.0 + exp(near - c)),
                     high = 1.0 / (1.0 + exp(-near - c));
        ops_near(o, (double)got[t].chance, (low + high) / 2, (high - low) / 2 + 1e-5, "chance", t,
                 0);
    }
}
