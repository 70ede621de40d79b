/* ops_token.c - operations that treat each token on its own: docs/MODEL.md 3.1 to 3.6 and 3.11. */
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 5 }; /* floats between rows that nobody touches */

/* Rows of n floats with gaps, to be written. */
static ops_array *room_for(ops *o, uint32_t n_rows, uint32_t n)
{
    return ops_room(o, ((uint64_t)n_rows * (n + GAP)) * sizeof(float));
}

static const float *row_of(ops *o, ops_array *a, uint32_t row, uint32_t n)
{
    return ops_found(o, a) + (uint64_t)row * (n + GAP);
}

static void expect_gaps(ops *o, ops_array *a, uint32_t n_rows, uint32_t n)
{
    for (uint32_t r = 0; r < n_rows; r++) {
        const uint64_t at = (uint64_t)r * (n + GAP) + n;
        if (memcmp(ops_found(o, a) + at, ops_host(a) + at, GAP * sizeof(float)) != 0)
            ops_fail(o, "the gap behind row %u was written", r);
    }
}

/* ---- angles, embedding ------------------------------------------------------------------------------ */

void ops_angles(ops *o)
{
    const uint32_t n = o->shape->n_rot, half = n / 2;
    float          freq[256];

    ops_plain_batch(o, 10);
    for (uint32_t i = 0; i < half; i++) {
        freq[i] = o->fill == OPS_ZERO ? 0.0f : (float)pow(o->fill == OPS_EXTREME ? 2.0 : 1e4, -2.0 * i / n);
    }
    const ops_array *f = ops_bytes(o, freq, half * sizeof *freq);
    ops_array       *out = room_for(o, o->n_tokens, n);
    ops_run(o, (ds4_op){ .kind = DS4_OP_ANGLES,
                         .angles = { .freq = ops_view(f), .n_rot = n, .out = ops_rows(out, n + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *got = row_of(o, out, t, n);
        for (uint32_t i = 0; i < half; i++) {
            const float angle = (float)o->pos[t] * freq[i];
            ops_near(o, (double)got[i], cos((double)angle), 3e-7, "cosine", t, i);
            ops_near(o, (double)got[half + i], sin((double)angle), 3e-7, "sine", t, i);
        }
    }
    expect_gaps(o, out, o->n_tokens, n);
}

void ops_embed(ops *o)
{
    enum { VOCAB = 37 };
    const uint32_t     n = ops_whole_blocks(ops_dtype_of(o), o->shape->n_embd), n_hc = o->shape->n_hc;
    const ops_weights *table = ops_matrix(o, ops_dtype_of(o), n, VOCAB, 1, DS4_USE_ROWS);
    ops_array         *h = room_for(o, o->n_tokens, n_hc * n);
    float             *want = malloc(n * sizeof *want);

    ops_plain_batch(o, VOCAB);
    ops_run(o, (ds4_op){ .kind = DS4_OP_EMBED,
                         .embed = { .table = table->w, .n_hc = n_hc, .h = ops_rows(h, n_hc * n + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        ops_decode(o, table, (uint32_t)o->token[t], want);
        for (uint32_t s = 0; s < n_hc; s++) {
            if (memcmp(row_of(o, h, t, n_hc * n) + s * n, want, n * sizeof *want) != 0)
                ops_fail(o, "stream %u of row %u is not row %d of the table", s, t, o->token[t]);
        }
    }
    free(want);
    expect_gaps(o, h, o->n_tokens, n_hc * n);
}

/* ---- norms ------------------------------------------------------------------------------------------ */

static double inverse_rms(const double *x, uint32_t n, double eps)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) sum += x[i] * x[i];
    return 1.0 / sqrt(sum / n + eps);
}

static void widen(double *out, const float *x, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) out[i] = (double)x[i];
}

static void norm_one(ops *o, bool in_place)
{
    const uint32_t   n = o->shape->q_rank;
    const ops_array *w = ops_floats(o, n);
    ops_array       *x = ops_floats(o, (uint64_t)o->n_tokens * (n + GAP));
    ops_array       *y = in_place ? x : room_for(o, o->n_tokens, n);
    double          *want = malloc(n * sizeof *want);

    ops_run(o, (ds4_op){ .kind = DS4_OP_NORM,
                         .norm = { .n = n,
                                   .eps = 1e-6f,
                                   .w = ops_view(w),
                                   .x = ops_rows(x, n + GAP),
                                   .y = ops_rows(y, n + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        widen(want, ops_host(x) + (uint64_t)t * (n + GAP), n);
        const double by = inverse_rms(want, n, (double)1e-6f);
        for (uint32_t i = 0; i < n; i++) want[i] *= by * (double)ops_host(w)[i];
        ops_near_row(o, row_of(o, y, t, n), want, n, 1e-5, "norm", t);
    }
    free(want);
    expect_gaps(o, y, o->n_tokens, n);
}

void ops_norm(ops *o)
{
    ops_plain_batch(o, 10);
    norm_one(o, false);
    norm_one(o, true);
}

static void steer_one(ops *o, float factor)
{
    const uint32_t   n = o->shape->n_embd, stride = n + GAP;
    const ops_array *v = ops_floats(o, n), *f = ops_bytes(o, &factor, sizeof factor);
    ops_array       *y = ops_floats(o, (uint64_t)o->n_tokens * stride);

    ops_run(o, (ds4_op){ .kind = DS4_OP_STEER,
                         .steer = { .n = n,
                                    .v = ops_view(v),
                                    .factor = ops_view(f),
                                    .y = ops_rows(y, stride) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *was = ops_host(y) + (uint64_t)t * stride;
        double       dot = 0.0, size = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            dot += (double)ops_host(v)[i] * (double)was[i];
            size += fabs((double)ops_host(v)[i] * (double)was[i]);
        }
        for (uint32_t i = 0; i < n; i++) {
            const double by = (double)factor * (double)ops_host(v)[i];
            const double all = fabs((double)was[i]) + fabs(by) * size;
            const double most = factor == 0.0f ? 0.0 : 4e-6 * all + 1e-30;
            ops_near(o, (double)row_of(o, y, t, n)[i], (double)was[i] - by * dot, most, "steered", t, i);
        }
    }
    expect_gaps(o, y, o->n_tokens, n);
}

void ops_steer(ops *o)
{
    ops_plain_batch(o, 10);
    steer_one(o, 0.0f);
    steer_one(o, 1.0f);
    steer_one(o, -0.625f);
}

void ops_heads(ops *o)
{
    const ops_shape *s = o->shape;
    const uint32_t   n = s->n_head, n_rot = s->n_rot, half = n_rot / 2, n_q = s->n_heads * n;
    ops_plain_batch(o, 10);
    const ops_array *angles = ops_floats(o, (uint64_t)o->n_tokens * n_rot);
    ops_array       *q = ops_floats(o, (uint64_t)o->n_tokens * (n_q + GAP));
    double          *want = malloc(n * sizeof *want);

    ops_run(o, (ds4_op){ .kind = DS4_OP_HEADS,
                         .heads = { .n_heads = s->n_heads,
                                    .n_head = n,
                                    .n_rot = n_rot,
                                    .eps = 1e-6f,
                                    .angles = ops_rows(angles, n_rot),
                                    .q = ops_rows(q, n_q + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *a = ops_host(angles) + (uint64_t)t * n_rot;
        double       most = 1.0;
        for (uint32_t i = 0; i < n_rot; i++) most = fmax(most, fabs((double)a[i]));
        for (uint32_t h = 0; h < s->n_heads; h++) {
            widen(want, ops_host(q) + (uint64_t)t * (n_q + GAP) + h * n, n);
            const double by = inverse_rms(want, n, (double)1e-6f);
            for (uint32_t i = 0; i < n; i++) want[i] *= by;
            for (uint32_t i = 0; i < half; i++) {
                double      *p = want + n - n_rot + 2 * i, c = (double)a[i], d = (double)a[half + i];
                const double p0 = p[0] * c - p[1] * d, p1 = p[0] * d + p[1] * c;
                p[0] = p0;
                p[1] = p1;
            }
            ops_near_row(o, row_of(o, q, t, n_q) + h * n, want, n, 1e-5 * most, "head", t);
        }
    }
    free(want);
    expect_gaps(o, q, o->n_tokens, n_q);
}

/* ---- hyper-connections -------------------------------------------------------------------------------- */

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* The model's, or one so large that its place shows. */
static float hc_eps(const ops *o)
{
    return o->shape->n_iters == 20 ? 1e-6f : 0.02f;
}

/* The rounds of section 3.2, as they are written there. */
static void sinkhorn(double *a, uint32_t n, uint32_t n_rounds, double eps)
{
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t i = 0; i < n; i++) {
            double sum = round ? eps : 0.0, top = -INFINITY;
            for (uint32_t j = 0; j < n; j++) top = fmax(top, a[i * n + j]);
            for (uint32_t j = 0; j < n && round == 0; j++) a[i * n + j] = exp(a[i * n + j] - top);
            for (uint32_t j = 0; j < n; j++) sum += a[i * n + j];
            for (uint32_t j = 0; j < n; j++) a[i * n + j] = a[i * n + j] / sum + (round ? 0.0 : eps);
        }
        for (uint32_t j = 0; j < n; j++) {
            double sum = eps;
            for (uint32_t i = 0; i < n; i++) sum += a[i * n + j];
            for (uint32_t i = 0; i < n; i++) a[i * n + j] /= sum;
        }
    }
}

/* u = sum_s by[s] h[s], normed and weighted; the bound is relative to what is summed. */
static void mixed_row(ops *o, const float *got, const double *h, const double *by, const float *norm,
                      uint32_t row)
{
    const uint32_t n = o->shape->n_embd, n_hc = o->shape->n_hc;
    double        *u = calloc(2ull * n, sizeof *u), *size = u + n;

    for (uint32_t s = 0; s < n_hc; s++) {
        for (uint32_t i = 0; i < n; i++) {
            u[i] += by[s] * h[(uint64_t)s * n + i];
            size[i] += fabs(by[s] * h[(uint64_t)s * n + i]);
        }
    }
    const double scale = inverse_rms(u, n, (double)1e-6f);
    for (uint32_t i = 0; i < n; i++) {
        const double w = (double)norm[i];
        ops_near(o, (double)got[i], u[i] * scale * w, 3e-5 * (size[i] * scale + 1.0) * fabs(w) + 1e-30,
                 "mixed", row, i);
    }
    free(u);
}

typedef struct hc {
    uint32_t   n_hc, n_embd, n_h, n_mix, n_gate;
    ops_array *h, *m, *scale, *base, *norm;
} hc;

static hc hc_make(ops *o)
{
    const ops_shape *s = o->shape;
    hc               b = { .n_hc = s->n_hc,
                           .n_embd = s->n_embd,
                           .n_h = s->n_hc * s->n_embd,
                           .n_mix = s->n_hc * (2 + s->n_hc),
                           .n_gate = s->n_hc * (1 + s->n_hc) };

    ops_plain_batch(o, 10);
    b.h = ops_floats(o, (uint64_t)o->n_tokens * b.n_h);
    b.m = ops_floats(o, (uint64_t)o->n_tokens * b.n_mix);
    b.scale = ops_floats(o, 3);
    b.base = ops_floats(o, b.n_mix);
    b.norm = ops_floats(o, b.n_embd);
    return b;
}

/* m[j] of section 3.2: the projection scaled by the norm over all streams. */
static void scaled_mix(const ops *o, const hc *b, const double *h, uint32_t t, double *m)
{
    const double r = inverse_rms(h, b->n_h, (double)1e-6f);

    (void)o;
    for (uint32_t j = 0; j < b->n_mix; j++) m[j] = r * (double)ops_host(b->m)[(uint64_t)t * b->n_mix + j];
}

static void entered_row(ops *o, const hc *b, ops_array *a, ops_array *gate, const double *h, uint32_t t)
{
    enum { MAX_MIX = 8 * 10 };
    const float   *scale = ops_host(b->scale), *base = ops_host(b->base);
    const uint32_t n = b->n_hc;
    double         m[MAX_MIX], pre[8], want[MAX_MIX];

    scaled_mix(o, b, h, t, m);
    for (uint32_t s = 0; s < n; s++) {
        pre[s] = sigmoid(m[s] * (double)scale[0] + (double)base[s]) + (double)hc_eps(o);
        want[s] = 2.0 * sigmoid(m[n + s] * (double)scale[1] + (double)base[n + s]);
    }
    double sharp = 1.0; /* an exponent of this size loses as many digits */
    for (uint32_t i = 0; i < n * n; i++) {
        want[n + i] = m[2 * n + i] * (double)scale[2] + (double)base[2 * n + i];
        sharp = fmax(sharp, fabs(want[n + i]));
    }
    sinkhorn(want + n, n, o->shape->n_iters, (double)hc_eps(o));
    ops_near_row(o, row_of(o, gate, t, b->n_gate), want, b->n_gate, 3e-5 * sharp, "gate", t);
    mixed_row(o, row_of(o, a, t, b->n_embd), h, pre, ops_host(b->norm), t);
}

void ops_hc_enter(ops *o)
{
    const hc   b = hc_make(o);
    ops_array *a = room_for(o, o->n_tokens, b.n_embd), *gate = room_for(o, o->n_tokens, b.n_gate);
    double    *h = malloc(b.n_h * sizeof *h);

    ops_run(o, (ds4_op){ .kind = DS4_OP_HC_ENTER,
                         .hc_enter = { .n_hc = b.n_hc,
                                       .n_embd = b.n_embd,
                                       .n_iters = o->shape->n_iters,
                                       .norm_eps = 1e-6f,
                                       .hc_eps = hc_eps(o),
                                       .scale = ops_view(b.scale),
                                       .base = ops_view(b.base),
                                       .norm = ops_view(b.norm),
                                       .h = ops_rows(b.h, b.n_h),
                                       .m = ops_rows(b.m, b.n_mix),
                                       .a = ops_rows(a, b.n_embd + GAP),
                                       .gate = ops_rows(gate, b.n_gate + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        widen(h, ops_host(b.h) + (uint64_t)t * b.n_h, b.n_h);
        entered_row(o, &b, a, gate, h, t);
    }
    free(h);
    expect_gaps(o, a, o->n_tokens, b.n_embd);
    expect_gaps(o, gate, o->n_tokens, b.n_gate);
}

void ops_hc_merge(ops *o)
{
    const hc   b = hc_make(o);
    ops_array *x = room_for(o, o->batch.n_logit_rows, b.n_embd);
    double    *h = malloc(b.n_h * sizeof *h), m[80], mix[8];

    ops_run(o, (ds4_op){ .kind = DS4_OP_HC_MERGE,
                         .hc_merge = { .n_hc = b.n_hc,
                                       .n_embd = b.n_embd,
                                       .norm_eps = 1e-6f,
                                       .hc_eps = hc_eps(o),
                                       .scale = ops_view(b.scale),
                                       .base = ops_view(b.base),
                                       .norm = ops_view(b.norm),
                                       .h = ops_rows(b.h, b.n_h),
                                       .m = ops_rows(b.m, b.n_mix),
                                       .x = ops_rows(x, b.n_embd + GAP) } });
    for (uint32_t i = 0; i < o->batch.n_logit_rows; i++) {
        widen(h, ops_host(b.h) + (uint64_t)o->logit_row[i] * b.n_h, b.n_h);
        scaled_mix(o, &b, h, o->logit_row[i], m);
        for (uint32_t s = 0; s < b.n_hc; s++) {
            mix[s] =
                sigmoid(m[s] * (double)ops_host(b.scale)[0] + (double)ops_host(b.base)[s])
                     + (double)hc_eps(o);
        }
        mixed_row(o, row_of(o, x, i, b.n_embd), h, mix, ops_host(b.norm), i);
    }
    free(h);
    expect_gaps(o, x, o->batch.n_logit_rows, b.n_embd);
}

void ops_hc_leave(ops *o)
{
    const ops_shape *s = o->shape;
    const uint32_t   n = s->n_embd, n_hc = s->n_hc, n_h = n_hc * n, n_gate = n_hc * (1 + n_hc);
    ops_plain_batch(o, 10);
    const ops_array *h = ops_floats(o, (uint64_t)o->n_tokens * n_h),
                    *y = ops_floats(o, (uint64_t)o->n_tokens * n);
    const ops_array *gate = ops_floats(o, (uint64_t)o->n_tokens * n_gate);
    ops_array       *h_new = room_for(o, o->n_tokens, n_h);

    ops_run(o, (ds4_op){ .kind = DS4_OP_HC_LEAVE,
                         .hc_leave = { .n_hc = n_hc,
                                       .n_embd = n,
                                       .h = ops_rows(h, n_h),
                                       .y = ops_rows(y, n),
                                       .gate = ops_rows(gate, n_gate),
                                       .h_new = ops_rows(h_new, n_h + GAP) } });
    for (uint32_t t = 0; t < o->n_tokens; t++) {
        const float *post = ops_host(gate) + (uint64_t)t * n_gate, *comb = post + n_hc;
        const float *old = ops_host(h) + (uint64_t)t * n_h, *got = row_of(o, h_new, t, n_h);
        for (uint32_t i = 0; i < n_h; i++) {
            const uint32_t j = i / n, d = i % n;
            double want = (double)post[j] * (double)ops_host(y)[(uint64_t)t * n + d], size = fabs(want);
            for (uint32_t k = 0; k < n_hc; k++) {
                const double part = (double)comb[k * n_hc + j] * (double)old[(uint64_t)k * n + d];
                want += part;
                size += fabs(part);
            }
            ops_near(o, (double)got[i], want, 4e-6 * size + 1e-30, "left", t, i);
        }
    }
    expect_gaps(o, h_new, o->n_tokens, n_h);
}
