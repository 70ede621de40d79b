/* attend_avx512.c - attention over rows for AVX-512.
 *
 * All heads share the rows, so scores and sums are matrix products: tiles of four heads by four rows,
 * and four heads by 64 components. Every output has its own chain, whatever tile it is in. */
#include "kernels/x86/tile_avx512.h"
#include "kernels/kernel_init.h"

enum {
    HEADS = 4,
    ROW_CHAIN = 128,            /* rows of one float chain of the weighted sum */
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

static void score_rows(float *scores, const float *q, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n, float scale)
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
                memcpy(scores + (h + i) * n_rows + r, out + 4 * i, left * sizeof(float));
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

/* Unused heads of the last tile write to spare. */
static void weigh_rows(float *out, const float *scores, const float *const *rows, size_t n_rows,
                       uint32_t n_heads, uint32_t n)
{
    float spare[64];

    for (uint32_t d = 0; d < n; d += 64) {
        for (uint32_t h = 0; h < n_heads; h += HEADS) {
            float *o[HEADS];
            const float *weight[HEADS];
            for (uint32_t i = 0; i < HEADS; i++) {
                const bool real = h + i < n_heads;
                o[i] = real ? out + (size_t)(h + i) * n + d : spare;
                weight[i] = scores + (h + (real ? i : 0)) * n_rows;
            }
            for (size_t r = 0; r < n_rows; r += ROW_CHAIN) {
                const size_t left = n_rows - r < ROW_CHAIN ? n_rows - r : ROW_CHAIN;
                const float *w[HEADS];
                for (int i = 0; i < HEADS; i++) w[i] = weight[i] + r;
                if (n - d >= 64) weigh_tile(o, w, rows + r, d, left, r == 0, 4);
                else weigh_tile(o, w, rows + r, d, left, r == 0, 2);
            }
        }
    }
}

static void attend(float *out, const float *q, const float *const *rows, size_t n_rows,
                   uint32_t n_heads, uint32_t n, const float *sink, float scale, float *scores)
{
    score_rows(scores, q, rows, n_rows, n_heads, n, scale);
    for (uint32_t h = 0; h < n_heads; h++) {
        const float inv = softmax_with_sink(scores + h * n_rows, n_rows, sink[h]);
        for (size_t r = 0; r < n_rows; r += 16) {
            const __mmask16 mask = tail_mask(n_rows - r);
            float *s = scores + h * n_rows + r;
            _mm512_mask_storeu_ps(
                s, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, s), _mm512_set1_ps(inv)));
        }
    }
    weigh_rows(out, scores, rows, n_rows, n_heads, n);
}

void ds4_kernels_avx512_attend(ds4_kernels *k)
{
    k->attend = attend;
}
