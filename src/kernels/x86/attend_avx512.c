/* attend_avx512.c - attention over rows for AVX-512.
 *
 * All heads share the rows, so scores and sums are matrix products: tiles of four heads by four rows,
 * and four heads by 64 components. Every output has its own chain, whatever tile it is in. */
#include "kernels/x86/tile_avx512.h"
#include "kernels/kernel_init.h"

enum {
    HEADS = 4,
    ROW_CHAIN = DS4_ATTEND_CHAIN,   /* rows of one float chain of the weighted sum */
};

/* ---- scores --------------------------------------------------------------------------- */

/* Lane i of the result is the sum of the lanes of v[i], added in the order of sum_lanes(). */
INLINE __m512 sum_lanes16(const __m512 v[16])
{
    __m256 a[8];
    __m128 b[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        __m128 s[4];
        UNROLL
        for (int j = 0; j < 4; j++) {
            const __m512 x = v[4 * i + j];
            const __m256 s8 =
                _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
            s[j] = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
        }
        const __m128 lo01 = _mm_unpacklo_ps(s[0], s[1]), hi01 = _mm_unpackhi_ps(s[0], s[1]);
        const __m128 lo23 = _mm_unpacklo_ps(s[2], s[3]), hi23 = _mm_unpackhi_ps(s[2], s[3]);
        const __m128 s01 = _mm_add_ps(lo01, hi01), s23 = _mm_add_ps(lo23, hi23);
        b[i] = _mm_add_ps(_mm_movelh_ps(s01, s23), _mm_movehl_ps(s23, s01));
    }
    a[0] = _mm256_insertf128_ps(_mm256_castps128_ps256(b[0]), b[1], 1);
    a[1] = _mm256_insertf128_ps(_mm256_castps128_ps256(b[2]), b[3], 1);
    return _mm512_insertf32x8(_mm512_castps256_ps512(a[0]), a[1], 1);
}

/* scores of four heads and four rows: lane 4h + r. */
INLINE __m512 score_tile(const float *const q[HEADS], const float *const row[4], uint32_t n)
{
    __m512 sum[16];

    UNROLL
    for (int i = 0; i < 16; i++) sum[i] = _mm512_setzero_ps();
    for (uint32_t d = 0; d < n; d += 16) {
        __m512 rv[4];
        UNROLL
        for (int r = 0; r < 4; r++) rv[r] = _mm512_loadu_ps(row[r] + d);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m512 qv = _mm512_loadu_ps(q[h] + d);
            UNROLL
            for (int r = 0; r < 4; r++) sum[4 * h + r] = _mm512_fmadd_ps(qv, rv[r], sum[4 * h + r]);
        }
    }
    return sum_lanes16(sum);
}

/* The scores of a head begin `stride` behind those of the one before. */
static void score_rows(float *scores, size_t stride, const float *q, const float *const *rows,
                       size_t n_rows, uint32_t n_heads, uint32_t n, float scale)
{
    for (size_t r = 0; r < n_rows; r += 4) {
        const size_t left = n_rows - r < 4 ? n_rows - r : 4;
        const float *row[4];
        for (size_t i = 0; i < 4; i++) row[i] = rows[r + (i < left ? i : 0)];
        for (uint32_t h = 0; h < n_heads; h += HEADS) {
            const uint32_t heads = n_heads - h < HEADS ? n_heads - h : HEADS;
            const float *qh[HEADS];
            float out[16];
            for (uint32_t i = 0; i < HEADS; i++) qh[i] = q + (size_t)(h + (i < heads ? i : 0)) * n;
            _mm512_storeu_ps(out, _mm512_mul_ps(score_tile(qh, row, n), _mm512_set1_ps(scale)));
            for (uint32_t i = 0; i < heads; i++)
                memcpy(scores + (h + i) * stride + r, out + 4 * i, left * sizeof(float));
        }
    }
}

/* Turn scores into weights; returns the reciprocal of the denominator. */
static float softmax_with_sink(float *score, size_t n_rows, float sink)
{
    __m512 max = _mm512_set1_ps(sink), sum = _mm512_setzero_ps();

    for (size_t r = 0; r < n_rows; r += 16) {
        const __mmask16 mask = tail_mask(n_rows - r);
        max = _mm512_mask_max_ps(max, mask, max, _mm512_maskz_loadu_ps(mask, score + r));
    }
    max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    for (size_t r = 0; r < n_rows; r += 16) {
        const __mmask16 mask = tail_mask(n_rows - r);
        const __m512 e = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(mask, score + r), max));
        _mm512_mask_storeu_ps(score + r, mask, e);
        sum = _mm512_mask_add_ps(sum, mask, sum, e);
    }
    const float of_sink = _mm512_cvtss_f32(exp16(_mm512_sub_ps(_mm512_set1_ps(sink), max)));
    return 1.0f / (of_sink + sum_lanes(sum));
}

/* ---- weighted sum --------------------------------------------------------------------- */

/* out[h][0..16 * n_vec) += sum over n_rows rows of weight[h][r] * row[r][d..]; first starts
 * at 0. */
INLINE void weigh_tile(float *const out[HEADS], const float *const weight[HEADS],
                       const float *const *rows, uint32_t d, size_t n_rows, bool first,
                       const int n_vec)
{
    __m512 sum[HEADS][4];

    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < n_vec; i++) sum[h][i] = _mm512_setzero_ps();
    }
    for (size_t r = 0; r < n_rows; r++) {
        __m512 rv[4];
        UNROLL
        for (int i = 0; i < n_vec; i++) rv[i] = _mm512_loadu_ps(rows[r] + d + 16 * i);
        UNROLL
        for (int h = 0; h < HEADS; h++) {
            const __m512 w = _mm512_set1_ps(weight[h][r]);
            UNROLL
            for (int i = 0; i < n_vec; i++) sum[h][i] = _mm512_fmadd_ps(w, rv[i], sum[h][i]);
        }
    }
    UNROLL
    for (int h = 0; h < HEADS; h++) {
        UNROLL
        for (int i = 0; i < n_vec; i++) {
            float *o = out[h] + 16 * i;
            _mm512_storeu_ps(o, first ? sum[h][i] : _mm512_add_ps(_mm512_loadu_ps(o), sum[h][i]));
        }
    }
}

/* out += the rows of one chain; first starts at 0. Unused heads of the last tile write to
 * spare. */
static void weigh_chain(float *out, const float *scores, size_t stride, const float *const *rows,
                        size_t n_rows, bool first, uint32_t n_heads, uint32_t n)
{
    float spare[64] = { 0 };

    for (uint32_t d = 0; d < n; d += 64) {
        for (uint32_t h = 0; h < n_heads; h += HEADS) {
            float *o[HEADS];
            const float *weight[HEADS];
            for (uint32_t i = 0; i < HEADS; i++) {
                const bool real = h + i < n_heads;
                o[i] = real ? out + (size_t)(h + i) * n + d : spare;
                weight[i] = scores + (h + (real ? i : 0)) * stride;
            }
            if (n - d >= 64) weigh_tile(o, weight, rows, d, n_rows, first, 4);
            else weigh_tile(o, weight, rows, d, n_rows, first, 2);
        }
    }
}

/* Scores become weights that with the sink's weight add up to one. */
static void weights_of(float *score, size_t n_rows, float sink)
{
    const __m512 inv = _mm512_set1_ps(softmax_with_sink(score, n_rows, sink));

    for (size_t r = 0; r < n_rows; r += 16) {
        const __mmask16 mask = tail_mask(n_rows - r);
        const __m512    s = _mm512_maskz_loadu_ps(mask, score + r);
        _mm512_mask_storeu_ps(score + r, mask, _mm512_mul_ps(s, inv));
    }
}

/* ---- tokens ----------------------------------------------------------------------------- */

/* A chain of shared rows serves all tokens while it is in the cache. */
static void attend_shared(const ds4_attend_batch *b)
{
    const size_t n_shared = b->n_shared[b->n_tokens - 1];
    const size_t stride = b->n_raw + n_shared, token = stride * b->n_heads;

    for (uint32_t t = 0; t < b->n_tokens; t++)
        score_rows(b->scores + t * token, stride, b->q + t * b->stride, b->raw + t, b->n_raw, b->n_heads,
                   b->n, b->scale);
    for (size_t r = 0; r < n_shared; r += ROW_CHAIN) {
        for (uint32_t t = 0; t < b->n_tokens; t++) {
            if (b->n_shared[t] <= r) continue;
            const size_t left = b->n_shared[t] - r;
            score_rows(b->scores + t * token + b->n_raw + r, stride, b->q + t * b->stride, b->shared + r,
                       left < ROW_CHAIN ? left : ROW_CHAIN, b->n_heads, b->n, b->scale);
        }
    }
    for (uint32_t t = 0; t < b->n_tokens; t++) {
        for (uint32_t h = 0; h < b->n_heads; h++)
            weights_of(b->scores + t * token + h * stride, b->n_raw + b->n_shared[t], b->sink[h]);
        for (size_t r = 0; r < b->n_raw; r += ROW_CHAIN)
            weigh_chain(b->out + t * b->stride, b->scores + t * token + r, stride, b->raw + t + r,
                        ROW_CHAIN, r == 0, b->n_heads, b->n);
    }
    for (size_t r = 0; r < n_shared; r += ROW_CHAIN) {
        for (uint32_t t = 0; t < b->n_tokens; t++) {
            if (b->n_shared[t] <= r) continue;
            const size_t left = b->n_shared[t] - r;
            weigh_chain(b->out + t * b->stride, b->scores + t * token + b->n_raw + r, stride,
                        b->shared + r, left < ROW_CHAIN ? left : ROW_CHAIN, b->n_raw + r == 0, b->n_heads,
                        b->n);
        }
    }
}

static void attend(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores)
{
    attend_shared(&(ds4_attend_batch){
        .out = out, .q = q, .shared = rows, .n_shared = &n_rows, .n_tokens = 1, .n_heads = n_heads, .n = n,
        .sink = sink, .scale = scale, .scores = scores,
    });
}

void ds4_kernels_avx512_attend(ds4_kernels *k)
{
    k->attend = attend;
    k->attend_shared = attend_shared;
}
