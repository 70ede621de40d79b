/* vector_check.c - operations on float vectors against the reference. */
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_SIZES = 2 * 64 + 1 };      /* every tail of a loop over 64 floats, twice */

/* Sizes 1 .. N_SIZES once each, then random larger ones. */
static size_t size_of_round(int round)
{
    return round < N_SIZES ? (size_t)round + 1 : 1 + kcheck_below(5000);
}

static float *vector(size_t n, kcheck_fill fill, float scale)
{
    float *x = kcheck_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = scale * kcheck_float(fill);
    return x;
}

static float *empty(size_t n)
{
    return vector(n, KCHECK_EXTREME, 77.0f);
}

static kcheck_fill fill_of_round(int round)
{
    return round < N_SIZES ? KCHECK_ANY : (kcheck_fill)(round % KCHECK_N_FILLS);
}

enum { N_ROUNDS = N_SIZES + 60 };

static void check_dot(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round);
        const float *a = vector(n, fill_of_round(round), 1.0f),
                    *b = vector(n, fill_of_round(round), 3.0f);
        double magnitude = 0.0;

        for (size_t i = 0; i < n; i++) magnitude += fabs((double)a[i] * b[i]);
        const float got = c->fast->dot_f32(a, b, n);
        kcheck_near(got, c->ref->dot_f32(a, b, n), 4e-6 * magnitude, "n=%zu", n);
        const float again = c->fast->dot_f32(kcheck_copy(a, n * 4), kcheck_copy(b, n * 4), n);
        kcheck_same_floats(&again, &got, 1, "dot_f32 of the same vectors elsewhere");
        kcheck_free_all();
    }
}

static void check_sum_squares(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round);
        const float *x = vector(n, fill_of_round(round), 1.0f);
        const float  want = c->ref->sum_squares(x, n), got = c->fast->sum_squares(x, n);

        kcheck_near(got, want, 4e-6 * want, "n=%zu", n);
        const float again = c->fast->sum_squares(kcheck_copy(x, n * 4), n);
        kcheck_same_floats(&again, &got, 1, "sum_squares of the same vector elsewhere");
        kcheck_free_all();
    }
}

static void check_rms_norm(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round);
        float       *x = vector(n, fill_of_round(round), 5.0f), *y = empty(n), *want = empty(n);
        const float *w = kcheck_rand() & 1 ? vector(n, KCHECK_ANY, 1.0f) : NULL;

        c->ref->rms_norm(want, x, w, n, 1e-6f);
        c->fast->rms_norm(y, x, w, n, 1e-6f);
        for (size_t i = 0; i < n; i++)
            kcheck_near(y[i], want[i], 4e-6 * fabs(want[i]), "n=%zu i=%zu", n, i);
        float *in_place = kcheck_copy(x, n * sizeof *x);
        c->fast->rms_norm(in_place, in_place, w, n, 1e-6f);
        kcheck_same_floats(in_place, y, n, "rms_norm in place");
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_axpy(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round);
        const float  a = kcheck_float(KCHECK_ANY);
        const float *x = vector(n, fill_of_round(round), 1.0f), *y0 = vector(n, KCHECK_ANY, 1.0f);
        float       *y = kcheck_copy(y0, n * 4), *want = kcheck_copy(y0, n * 4);

        c->ref->axpy(want, a, x, n);
        c->fast->axpy(y, a, x, n);
        for (size_t i = 0; i < n; i++)
            kcheck_near(y[i], want[i], 1e-6 * (fabs(y0[i]) + fabs(a * x[i])), "n=%zu i=%zu", n, i);
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_swiglu(const kcheck *c)
{
    static const float scales[] = { 1.0f, 20.0f, 300.0f, 1e-20f, 1e30f };
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round);
        const float  scale = scales[round % 5];
        float *gate = vector(n, fill_of_round(round), scale), *up = vector(n, KCHECK_ANY, 9.0f);
        float       *y = empty(n), *want = empty(n);

        if (round % 7 == 0) gate[n - 1] = NAN, up[n / 2] = NAN;
        if (round % 7 == 1) gate[n - 1] = -INFINITY, gate[0] = INFINITY;
        const float clamp = round % 3 ? 10.0f : 1e30f, weight = kcheck_float(KCHECK_ANY);
        c->ref->swiglu(want, gate, up, n, clamp, weight);
        c->fast->swiglu(y, gate, up, n, clamp, weight);
        for (size_t i = 0; i < n; i++)
            kcheck_near(y[i], want[i], 4e-6 * fabs(want[i]) + 1e-30, "n=%zu i=%zu gate=%g up=%g", n,
                        i, (double)gate[i], (double)up[i]);
        float *in_place = round & 1 ? gate : up;
        c->fast->swiglu(in_place, gate, up, n, clamp, weight);
        kcheck_same_floats(in_place, y, n, "swiglu in place");
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_hc_leave(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t      n = size_of_round(round), n_hc = round % 3 ? 4 : 1 + kcheck_below(6);
        const kcheck_fill fill = fill_of_round(round);
        const size_t stride = n + (round % 2 ? kcheck_below(20) : 0), all = (n_hc - 1) * stride + n;
        const float *h = vector(all, fill, 1.0f), *y = vector(n, fill, 1.0f);
        const float *post = vector(n_hc, KCHECK_ANY, 1.0f),
                    *comb = vector(n_hc * n_hc, KCHECK_ANY, 1.0f);
        float       *got = empty(all), *want = empty(all);

        c->ref->hc_leave(want, h, y, post, comb, n_hc, n, stride);
        c->fast->hc_leave(got, h, y, post, comb, n_hc, n, stride);
        for (size_t i = 0; i < all; i++) {
            if (i % stride >= n) continue;
            double magnitude = fabs((double)post[i / stride] * y[i % stride]);
            for (size_t s = 0; s < n_hc; s++)
                magnitude += fabs((double)comb[s * n_hc + i / stride] * h[s * stride + i % stride]);
            kcheck_near(got[i], want[i], 4e-6 * magnitude, "n=%zu n_hc=%zu i=%zu", n, n_hc, i);
        }
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_hc_mix(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = size_of_round(round), n_hc = round % 3 ? 4 : 1 + kcheck_below(6);
        const float *h = vector(n_hc * n, fill_of_round(round), 1.0f),
                    *pre = vector(n_hc, KCHECK_ANY, 1.0f);
        float       *got = empty(n), *want = empty(n);

        c->ref->hc_mix(want, h, pre, n_hc, n);
        c->fast->hc_mix(got, h, pre, n_hc, n);
        for (size_t i = 0; i < n; i++) {
            double magnitude = 0.0;
            for (size_t s = 0; s < n_hc; s++) magnitude += fabs((double)pre[s] * h[s * n + i]);
            kcheck_near(got[i], want[i], 4e-6 * magnitude, "n=%zu n_hc=%zu i=%zu", n, n_hc, i);
        }
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_rope(const kcheck *c)
{
    for (int round = 0; round < N_ROUNDS; round++) {
        const size_t n = 2 * (1 + (size_t)round % 70);
        const float *x0 = vector(n, (kcheck_fill)(round % KCHECK_N_FILLS), 3.0f);
        float       *cs = empty(n / 2), *sn = empty(n / 2);
        float       *got = kcheck_copy(x0, n * 4), *want = kcheck_copy(x0, n * 4);

        for (size_t i = 0; i < n / 2; i++) {
            const double angle = 1e-3 * kcheck_below(100000);
            cs[i] = (float)cos(angle);
            sn[i] = (float)sin(angle);
        }
        c->ref->rope(want, cs, sn, n);
        c->fast->rope(got, cs, sn, n);
        for (size_t i = 0; i < n; i++)
            kcheck_near(got[i], want[i], 2e-7 * (fabs(x0[i & ~(size_t)1]) + fabs(x0[i | 1])),
                        "n=%zu i=%zu", n, i);
        kcheck_intact();
        kcheck_free_all();
    }
}

static void check_hadamard(const kcheck *c)
{
    for (int round = 0; round < 60; round++) {
        const size_t n = (size_t)32 << round % 6;
        float       *got = vector(n, (kcheck_fill)(round % KCHECK_N_FILLS), 2.0f);
        float       *want = kcheck_copy(got, n * sizeof *got);

        c->ref->hadamard(want, n);
        c->fast->hadamard(got, n);
        kcheck_same_floats(got, want, n, "hadamard");
        kcheck_intact();
        kcheck_free_all();
    }
}

/* ---- timing --------------------------------------------------------------------------- */

typedef struct vectors {
    float *a, *b, *c, *d;
} vectors;

enum { N_TIMED = 4096, N_HC = 4 };

static void call_dot(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    v->d[0] = k->dot_f32(v->a, v->b, N_TIMED);
}

static void call_sum_squares(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    v->d[0] = k->sum_squares(v->a, N_TIMED);
}

static void call_rms_norm(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->rms_norm(v->d, v->a, v->b, N_TIMED, 1e-6f);
}

static void call_axpy(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->axpy(v->d, 1e-3f, v->a, N_TIMED);
}

static void call_swiglu(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->swiglu(v->d, v->a, v->b, N_TIMED, 10.0f, 0.3f);
}

static void call_hc_leave(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->hc_leave(v->d, v->c, v->a, v->b, v->b + N_HC, N_HC, N_TIMED, N_TIMED);
}

static void call_hc_mix(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->hc_mix(v->d, v->c, v->b, N_HC, N_TIMED);
}

static void call_rope(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->rope(v->d, v->a, v->b, 64);
}

static void call_hadamard(void *ctx, const ds4_kernels *k)
{
    vectors *v = ctx;
    k->hadamard(v->d, 128);
}

static void time_with(const kcheck *c, void (*call)(void *ctx, const ds4_kernels *k),
                      const char *size, double bytes)
{
    vectors v = { .a = vector(N_TIMED, KCHECK_ANY, 1.0f), .b = vector(N_TIMED, KCHECK_ANY, 1.0f),
                  .c = vector(N_HC * N_TIMED, KCHECK_ANY, 1.0f),
                  .d = vector(N_HC * N_TIMED, KCHECK_ANY, 1.0f) };
    kcheck_report(c, size, bytes, call, &v);
}

#define TIME(slot, size, bytes) \
    static void time_##slot(const kcheck *c) { time_with(c, call_##slot, size, bytes); }
TIME(dot, "4096", 8.0 * N_TIMED)
TIME(sum_squares, "4096", 4.0 * N_TIMED)
TIME(rms_norm, "4096", 12.0 * N_TIMED)
TIME(axpy, "4096", 12.0 * N_TIMED)
TIME(swiglu, "4096", 12.0 * N_TIMED)
TIME(hc_leave, "4x4096", 4.0 * (2 * N_HC + 1) * N_TIMED)
TIME(hc_mix, "4x4096", 4.0 * (N_HC + 1) * N_TIMED)
TIME(rope, "64", 4.0 * 192)
TIME(hadamard, "128", 8.0 * 128)

int main(int argc, char **argv)
{
    kcheck_begin(argc, argv, 9);
    kcheck_slot("dot_f32", offsetof(ds4_kernels, dot_f32), 0, check_dot, time_dot);
    kcheck_slot("sum_squares", offsetof(ds4_kernels, sum_squares), 0, check_sum_squares,
                time_sum_squares);
    kcheck_slot("rms_norm", offsetof(ds4_kernels, rms_norm), 0, check_rms_norm, time_rms_norm);
    kcheck_slot("axpy", offsetof(ds4_kernels, axpy), 0, check_axpy, time_axpy);
    kcheck_slot("swiglu", offsetof(ds4_kernels, swiglu), 0, check_swiglu, time_swiglu);
    kcheck_slot("hc_leave", offsetof(ds4_kernels, hc_leave), 0, check_hc_leave, time_hc_leave);
    kcheck_slot("hc_mix", offsetof(ds4_kernels, hc_mix), 0, check_hc_mix, time_hc_mix);
    kcheck_slot("rope", offsetof(ds4_kernels, rope), 0, check_rope, time_rope);
    kcheck_slot("hadamard", offsetof(ds4_kernels, hadamard), 0, check_hadamard, time_hadamard);
    return kcheck_end();
}
