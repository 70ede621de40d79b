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

/* Several tokens with a window that moves by one row, and shared rows behind it. */
static void check_shared_round(const kcheck *c, int round)
{
    const uint32_t n = 32 * (1 + kcheck_below(5)), n_heads = 1 + kcheck_below(9);
    const uint32_t n_tokens = 1 + kcheck_below(6), grow = (uint32_t)round % 2;
    const size_t   n_raw = DS4_ATTEND_CHAIN * kcheck_below(3), most = 6 + kcheck_below(300);
    const size_t   token = (size_t)n_heads * n;
    attention      a = make_attention(n_raw + n_tokens + most, n_heads * n_tokens, n,
                                      (kcheck_fill)(round % KCHECK_N_FILLS));
    const float  **rows = kcheck_alloc((n_raw + most) * sizeof *rows);
    const float  **shared = a.rows + n_raw + n_tokens;
    float         *one = kcheck_alloc(token * sizeof *one);
    size_t         n_shared[6];

    for (uint32_t t = 0; t < n_tokens; t++) n_shared[t] = most - (n_tokens - 1 - t) * grow;
    c->fast->attend_shared(&(ds4_attend_batch){
        .out = a.out, .q = a.q, .stride = token, .raw = a.rows, .shared = shared, .n_raw = n_raw,
        .n_shared = n_shared, .n_tokens = n_tokens, .n_heads = n_heads, .n = n, .sink = a.sink,
        .scale = a.scale, .scores = a.scores,
    });
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (size_t r = 0; r < n_raw; r++) rows[r] = a.rows[t + r];
        for (size_t r = 0; r < n_shared[t]; r++) rows[n_raw + r] = shared[r];
        c->fast->attend(one, a.q + t * token, rows, n_raw + n_shared[t], n_heads, n, a.sink, a.scale,
                        a.scores);
        kcheck_same_floats(one, a.out + t * token, token, "a token alone");
    }
    kcheck_intact();
    kcheck_free_all();
}

static void check_shared(const kcheck *c)
{
    for (int round = 0; c->fast->attend_shared && round < kcheck_rounds(60); round++) {
        check_shared_round(c, round);
    }
}

static void time_attend(const kcheck *c)
{
    attention a = make_attention(640, 64, 512, KCHECK_ANY);
    kcheck_report(c, "640 rows, 64 heads, 512", 640.0 * 512 * 4, call_attend, &a);
}

/* ---- index_score ---------------------------------------------------------------------- */

typedef struct scoring {
    float          *score;
    ds4_index_batch batch;
} scoring;

static void call_score(void *ctx, const ds4_kernels *k)
{
    const scoring *s = ctx;
    k->index_score(s->score, s->batch.n_rows, &s->batch);
}

/* How far the scales within a row differ: in a model hardly ever much. */
typedef enum spread { NEAR, MOSTLY_NEAR, FAR } spread;

static uint8_t *packed_rows(size_t n_rows, uint32_t n, bool zero, spread how)
{
    const size_t bytes = ds4_index_row_bytes(n);
    uint8_t     *rows = kcheck_alloc(n_rows * bytes);
    for (size_t r = 0; r < n_rows; r++) {
        uint8_t       *row = rows + r * bytes;
        const bool     rare = how == MOSTLY_NEAR && kcheck_below(20) == 0;
        const uint32_t n_scales = how == FAR || rare ? 12 : 4;
        const bool     odd = how != NEAR && kcheck_below(60) == 0;
        const uint32_t low = odd ? 75 + kcheck_below(96) : 118 + kcheck_below(4);
        for (size_t i = 0; i < bytes; i++) {
            row[i] = zero ? 0 : (uint8_t)kcheck_rand();
            if (i >= n / 2) row[i] = (uint8_t)(low + kcheck_below(n_scales));
        }
    }
    return rows;
}

static scoring make_scoring(size_t n_rows, uint32_t n_queries, uint32_t n_heads, uint32_t n,
                            kcheck_fill fill, spread how)
{
    const size_t n_parts = (n_rows + DS4_INDEX_PART - 1) / DS4_INDEX_PART;
    const void **parts = kcheck_alloc(n_parts * sizeof *parts);

    for (size_t i = 0; i < n_parts; i++) {
        const size_t left = n_rows - i * DS4_INDEX_PART;
        parts[i] = packed_rows(left < DS4_INDEX_PART ? left : DS4_INDEX_PART, n, fill == KCHECK_ZERO, how);
    }
    return (scoring){
        .score = vector(n_queries * n_rows, 77.0f, KCHECK_EXTREME),
        .batch = { .n_queries = n_queries, .n_heads = n_heads, .n = n, .n_rows = n_rows, .rows = parts,
                   .query = packed_rows((size_t)n_queries * n_heads, n, false, kcheck_below(2) ? how : NEAR),
                   .query_stride = n_heads * ds4_index_row_bytes(n),
                   .weight = vector((size_t)n_queries * n_heads, 1.0f, KCHECK_ANY),
                   .weight_stride = n_heads },
    };
}

static const uint8_t *query_of(const ds4_index_batch *b, size_t i)
{
    return (const uint8_t *)b->query + i * b->query_stride;
}

static const uint8_t *row_of(const ds4_index_batch *b, size_t r)
{
    return (const uint8_t *)b->rows[r / DS4_INDEX_PART] + r % DS4_INDEX_PART * ds4_index_row_bytes(b->n);
}

/* sum_h |weight[h]| * sum_i |q_i r_i| */
static double magnitude(const ds4_kernels *ref, const ds4_index_batch *b, size_t query, size_t row)
{
    const size_t bytes = ds4_index_row_bytes(b->n);
    float        q[128], r[128];
    double       total = 0.0;

    ref->index_unpack(r, row_of(b, row), b->n);
    for (uint32_t h = 0; h < b->n_heads; h++) {
        double sum = 0.0;
        ref->index_unpack(q, query_of(b, query) + h * bytes, b->n);
        for (uint32_t i = 0; i < b->n; i++) sum += fabs((double)q[i] * r[i]);
        total += fabs(b->weight[query * b->weight_stride + h]) * sum;
    }
    return total;
}

/* A score has the same bits when its query and its row are alone. */
static void check_alone(const kcheck *c, const scoring *all)
{
    const ds4_index_batch *b = &all->batch;
    const size_t           q = kcheck_below(b->n_queries), r = kcheck_below((uint32_t)b->n_rows);
    const void            *part = kcheck_copy(row_of(b, r), ds4_index_row_bytes(b->n));
    scoring                one = *all;

    one.batch.query = kcheck_copy(query_of(b, q), b->query_stride);
    one.batch.weight = kcheck_copy(b->weight + q * b->weight_stride, b->n_heads * sizeof(float));
    one.batch.n_queries = 1;
    one.batch.n_rows = 1;
    one.batch.rows = &part;
    one.score = kcheck_alloc(sizeof(float));
    call_score(&one, c->fast);
    kcheck_same_floats(one.score, all->score + q * b->n_rows + r, 1, "one row alone");
}

static void check_index_score(const kcheck *c)
{
    for (int round = 0; round < kcheck_rounds(200); round++) {
        const uint32_t n = round % 4 ? 128 : 64, n_heads = 1 + kcheck_below(round % 2 ? 70 : 5);
        const uint32_t n_queries = 1 + kcheck_below(round % 16 == 7 ? 80 : 6);
        const size_t   n_rows = round < 70 ? 1 + (size_t)round : 1 + kcheck_below(150);
        scoring s = make_scoring(n_rows, n_queries, n_heads, n, round % 7 ? KCHECK_ANY : KCHECK_ZERO,
                                 (spread)(round % 3));
        float  *want = malloc(n_queries * n_rows * sizeof *want);

        c->ref->index_score(want, n_rows, &s.batch);
        call_score(&s, c->fast);
        for (size_t i = 0; i < n_queries * n_rows; i++)
            kcheck_near(s.score[i], want[i],
                        4e-6 * magnitude(c->ref, &s.batch, i / n_rows, i % n_rows),
                        "n=%u n_heads=%u query %zu row %zu/%zu", n, n_heads, i / n_rows, i % n_rows, n_rows);
        for (int i = 0; i < 4; i++) check_alone(c, &s);
        kcheck_intact();
        free(want);
        kcheck_free_all();
    }
}

static void time_index_score(const kcheck *c)
{
    scoring one = make_scoring(1024, 1, 64, 128, KCHECK_ANY, NEAR),
            few = make_scoring(1024, 64, 4, 128, KCHECK_ANY, NEAR);
    kcheck_report(c, "1024 rows, 64 heads, 128", 1024.0 * 68, call_score, &one);
    kcheck_report(c, "1024 rows, 64 queries of 4 heads", 1024.0 * 68, call_score, &few);
}

/* ---- above ------------------------------------------------------------------------------ */

typedef struct limiting {
    uint32_t *index;
    float    *x, limit;
    size_t    n, n_found;
} limiting;

static void call_above(void *ctx, const ds4_kernels *k)
{
    limiting *l = ctx;
    l->n_found = k->above(l->index, l->x, l->n, l->limit);
}

static void check_above(const kcheck *c)
{
    static const float limits[] = { 0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, NAN };

    for (int round = 0; round < kcheck_rounds(300); round++) {
        const size_t n = (size_t)round % 100;
        limiting     l = { .n = n, .x = vector(n, 1.0f, (kcheck_fill)(round % KCHECK_N_FILLS)) };
        uint32_t    *want = malloc((n + 1) * sizeof *want);

        for (size_t i = 0; i < n; i++)
            if (kcheck_below(30) == 0) l.x[i] = limits[kcheck_below(7)];
        l.limit = limits[kcheck_below(7)];
        l.index = kcheck_alloc(n * sizeof *l.index);
        const size_t n_want = c->ref->above(want, l.x, n, l.limit);
        call_above(&l, c->fast);
        if (l.n_found != n_want) kcheck_fail("%zu found, expected %zu", l.n_found, n_want);
        kcheck_same_bytes(l.index, want, n_want * sizeof *want, "indices");
        kcheck_intact();
        free(want);
        kcheck_free_all();
    }
}

static void time_above(const kcheck *c)
{
    limiting l = { .n = 1024, .x = vector(1024, 1.0f, KCHECK_ANY), .limit = 4.0f };
    l.index = kcheck_alloc(l.n * sizeof *l.index);
    kcheck_report(c, "1024 floats", 4096.0, call_above, &l);
}

int main(int argc, char **argv)
{
    kcheck_begin(argc, argv, 4);
    kcheck_slot("attend", offsetof(ds4_kernels, attend), 0, check_attend, time_attend);
    kcheck_slot("attend_shared", offsetof(ds4_kernels, attend_shared), 0, check_shared, NULL);
    kcheck_slot("index_score", offsetof(ds4_kernels, index_score), 0, check_index_score,
                time_index_score);
    kcheck_slot("above", offsetof(ds4_kernels, above), 0, check_above, time_above);
    return kcheck_end();
}
