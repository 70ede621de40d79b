/* attend_check.c - attention and indexer scores against the reference. */
#include "kcheck.h"

#include "kernels/blocks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- attend --------------------------------------------------------------------------- */

typedef struct attention {
    float        *out, *q, *scores, *sink;
    const float **rows;
    size_t        n_rows;
    uint32_t      n_heads, n;
    float         scale;
} attention;

static void call_attend(void *ctx, const ds4_kernels *k)
{
    const attention *a = ctx;
    k->attend(a->out, a->q, a->rows, a->n_rows, a->n_heads, a->n, a->sink, a->scale, a->scores);
}

static float *vector(size_t n, float scale, kcheck_fill fill)
{
    float *x = kcheck_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = scale * kcheck_float(fill);
    return x;
}

/* Rows lie in one buffer in a random order, some of them more than once. */
static attention make_attention(size_t n_rows, uint32_t n_heads, uint32_t n, kcheck_fill fill)
{
    attention a = { .n_rows = n_rows, .n_heads = n_heads, .n = n, .scale = 1.0f / sqrtf((float)n) };
    const float *body = vector(n_rows * n, 1.0f, fill);

    a.q = vector((size_t)n_heads * n, fill == KCHECK_EXTREME ? 3.0f : 1.0f, fill);
    a.out = vector((size_t)n_heads * n, 77.0f, KCHECK_EXTREME);
    a.scores = kcheck_alloc(n_heads * n_rows * sizeof(float));
    a.sink = vector(n_heads, 2.0f, KCHECK_ANY);
    a.rows = kcheck_alloc(n_rows * sizeof *a.rows);
    for (size_t r = 0; r < n_rows; r++)
        a.rows[r] = body + (size_t)kcheck_below((uint32_t)n_rows) * n;
    return a;
}

static void check_attend(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(160); round++) {
        const uint32_t n = 32 * (1 + kcheck_below(round % 8 ? 6 : 16)),
                       n_heads = 1 + kcheck_below(20);
        const size_t   n_rows = round < 70 ? 1 + (size_t)round : 1 + kcheck_below(200);
        attention a = make_attention(n_rows, n_heads, n, (kcheck_fill)(round % KCHECK_N_FILLS));
        attention      ref = a;
        float          max = 0.0f;

        if (round % 16 == 3) a.sink[0] = -INFINITY;
        ref.out = malloc((size_t)n_heads * n * sizeof(float));
        ref.scores = malloc(n_heads * n_rows * sizeof(float));
        call_attend(&a, c->fast);
        call_attend(&ref, c->ref);
        for (size_t r = 0; r < n_rows; r++)
            for (uint32_t d = 0; d < n; d++) max = fmaxf(max, fabsf(a.rows[r][d]));
        for (size_t i = 0; i < (size_t)n_heads * n; i++)
            kcheck_near(a.out[i], ref.out[i], 2e-5 * max,
                        "n_rows=%zu n_heads=%u n=%u head %zu value %zu", n_rows, n_heads, n, i / n,
                        i % n);
        kcheck_intact();
        /* One head alone has the same bits as in company. */
        const uint32_t h = kcheck_below(n_heads);
        attention one = a;
        one.n_heads = 1;
        one.q = kcheck_copy(a.q + (size_t)h * n, n * sizeof(float));
        one.sink = kcheck_copy(a.sink + h, sizeof(float));
        one.out = kcheck_alloc(n * sizeof(float));
        one.scores = kcheck_alloc(n_rows * sizeof(float));
        call_attend(&one, c->fast);
        kcheck_same_floats(one.out, a.out + (size_t)h * n, n, "one head alone");
        kcheck_intact();
        free(ref.out);
        free(ref.scores);
        kcheck_free_all();
    }
}

static void time_attend(const kcheck *c)
{
    attention a = make_attention(640, 64, 512, KCHECK_ANY);
    kcheck_report(c, "640 rows, 64 heads, 512", 640.0 * 512 * 4, call_attend, &a);
}

/* ---- index_score ---------------------------------------------------------------------- */

typedef struct scoring {
    float   *score, *weight;
    uint8_t *query, *rows;
    size_t   n_rows;
    uint32_t n_heads, n;
} scoring;

static void call_score(void *ctx, const ds4_kernels *k)
{
    const scoring *s = ctx;
    k->index_score(s->score, s->query, s->weight, s->n_heads, s->rows, s->n_rows, s->n);
}

static uint8_t *packed_rows(size_t n_rows, uint32_t n, bool zero)
{
    const size_t bytes = ds4_index_row_bytes(n);
    uint8_t     *rows = kcheck_alloc(n_rows * bytes);
    for (size_t i = 0; i < n_rows * bytes; i++) {
        rows[i] = zero ? 0 : (uint8_t)kcheck_rand();
        if (i % bytes >= n / 2) rows[i] = (uint8_t)(120 + kcheck_below(12));
    }
    return rows;
}

static scoring make_scoring(size_t n_rows, uint32_t n_heads, uint32_t n, kcheck_fill fill)
{
    return (scoring){
        .n_rows = n_rows,
        .n_heads = n_heads,
        .n = n,
        .score = vector(n_rows, 77.0f, KCHECK_EXTREME),
        .weight = vector(n_heads, 1.0f, KCHECK_ANY),
        .query = packed_rows(n_heads, n, false),
        .rows = packed_rows(n_rows, n, fill == KCHECK_ZERO),
    };
}

/* sum_h |weight[h]| * sum_i |q_i r_i| */
static double magnitude(const ds4_kernels *ref, const scoring *s, size_t row)
{
    const size_t bytes = ds4_index_row_bytes(s->n);
    float        q[128], r[128];
    double       total = 0.0;

    ref->index_unpack(r, s->rows + row * bytes, s->n);
    for (uint32_t h = 0; h < s->n_heads; h++) {
        double sum = 0.0;
        ref->index_unpack(q, s->query + h * bytes, s->n);
        for (uint32_t i = 0; i < s->n; i++) sum += fabs((double)q[i] * r[i]);
        total += fabs(s->weight[h]) * sum;
    }
    return total;
}

static void check_index_score(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(200); round++) {
        const uint32_t n = round % 3 ? 128 : 64, n_heads = 1 + kcheck_below(round % 2 ? 70 : 5);
        const size_t   n_rows = round < 70 ? 1 + (size_t)round : 1 + kcheck_below(150);
        scoring        s = make_scoring(n_rows, n_heads, n, (kcheck_fill)(round % KCHECK_N_FILLS));
        float         *want = malloc(n_rows * sizeof *want);
        const size_t   bytes = ds4_index_row_bytes(n), row = kcheck_below((uint32_t)n_rows);

        c->ref->index_score(want, s.query, s.weight, n_heads, s.rows, n_rows, n);
        call_score(&s, c->fast);
        for (size_t r = 0; r < n_rows; r++)
            kcheck_near(s.score[r], want[r], 4e-6 * magnitude(c->ref, &s, r),
                        "n=%u n_heads=%u row %zu/%zu", n, n_heads, r, n_rows);
        scoring one = s;
        one.n_rows = 1;
        one.rows = kcheck_copy(s.rows + row * bytes, bytes);
        one.score = kcheck_alloc(sizeof(float));
        call_score(&one, c->fast);
        kcheck_same_floats(one.score, s.score + row, 1, "one row alone");
        kcheck_intact();
        free(want);
        kcheck_free_all();
    }
}

static void time_index_score(const kcheck *c)
{
    scoring s = make_scoring(1024, 64, 128, KCHECK_ANY);
    kcheck_report(c, "1024 rows, 64 heads, 128", 1024.0 * 68, call_score, &s);
}

int main(int argc, char **argv)
{
    kcheck_begin(argc, argv, 2);
    kcheck_slot("attend", offsetof(ds4_kernels, attend), 0, check_attend, time_attend);
    kcheck_slot("index_score", offsetof(ds4_kernels, index_score), 0, check_index_score,
                time_index_score);
    return kcheck_end();
}
