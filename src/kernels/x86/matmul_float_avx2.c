/* matmul_float_avx2.c - products of F32, F16 and BF16 rows with floats, for AVX2.
 *
 * Sixteen partial sums per output in two vectors; the same chains, in the same order, as
 * matmul_float_avx512.c. */
#include "kernels/x86/float_avx2.h"
#include "kernels/blocks.h"
#include "kernels/kernel_init.h"

enum { CHAIN = 512 };

typedef struct call_float {
    float         *y;
    size_t         y_stride;
    const uint8_t *w;
    size_t         w_stride;
    const uint8_t *x;
    size_t         x_stride, n_in;
} call_float;

/* The first n of eight weights at p, zeros behind them. */
INLINE __m256 load_weights(const uint8_t *p, uint32_t dtype, size_t n)
{
    __m128i v;

    if (dtype == DS4_F32) return load8(p, n);
    if (n >= 8) {
        v = _mm_loadu_si128((const void *)p);
    } else {
        uint16_t copy[8] = { 0 };
        memcpy(copy, p, 2 * n);
        v = _mm_loadu_si128((const void *)copy);
    }
    if (dtype == DS4_F16) return _mm256_cvtph_ps(v);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

/* Add sixteen products at index k, of which n exist, to the sums of a tile. */
INLINE void step(__m256 sum[4][2][2], const call_float *c, const uint8_t *w, const uint8_t *x,
                 uint32_t dtype, size_t k, size_t n, const int n_r, const int n_t)
{
    const size_t weight_bytes = dtype == DS4_F32 ? 4 : 2;

    UNROLL
    for (int h = 0; h < 2; h++) {
        const size_t at = k + 8 * (size_t)h, left = n > 8 * (size_t)h ? n - 8 * (size_t)h : 0;
        __m256 xv[2];
        if (left == 0) continue;
        UNROLL
        for (int j = 0; j < n_t; j++) xv[j] = load8(x + (size_t)j * c->x_stride + 4 * at, left);
        UNROLL
        for (int i = 0; i < n_r; i++) {
            const __m256 wv =
                load_weights(w + (size_t)i * c->w_stride + weight_bytes * at, dtype, left);
            UNROLL
            for (int j = 0; j < n_t; j++) sum[i][j][h] = _mm256_fmadd_ps(wv, xv[j], sum[i][j][h]);
        }
    }
}

/* n_r rows from r times n_t tokens from t. */
INLINE void tile(const call_float *c, uint32_t dtype, size_t r, size_t t, const int n_r,
                 const int n_t)
{
    const uint8_t *w = c->w + r * c->w_stride, *x = c->x + t * c->x_stride;
    const size_t   weight_bytes = dtype == DS4_F32 ? 4 : 2;
    __m256 total[4][2][2], sum[4][2][2];

    UNROLL
    for (int i = 0; i < n_r; i++) {
        UNROLL
        for (int j = 0; j < n_t; j++) total[i][j][0] = total[i][j][1] = _mm256_setzero_ps();
    }
    for (size_t from = 0; from < c->n_in; from += CHAIN) {
        const size_t end = c->n_in - from < CHAIN ? c->n_in : from + CHAIN;
        size_t k = from;
        UNROLL
        for (int i = 0; i < n_r; i++) {
            UNROLL
            for (int j = 0; j < n_t; j++) sum[i][j][0] = sum[i][j][1] = _mm256_setzero_ps();
        }
        for (; k + 16 <= end; k += 16) {
            if (n_t == 1)
                prefetch_far(w, (size_t)n_r * (c->w_stride + k * weight_bytes),
                             (size_t)n_r * 16 * weight_bytes);
            step(sum, c, w, x, dtype, k, 16, n_r, n_t);
        }
        if (k < end) step(sum, c, w, x, dtype, k, end - k, n_r, n_t);
        UNROLL
        for (int i = 0; i < n_r; i++) {
            UNROLL
            for (int j = 0; j < n_t; j++) {
                total[i][j][0] = _mm256_add_ps(total[i][j][0], sum[i][j][0]);
                total[i][j][1] = _mm256_add_ps(total[i][j][1], sum[i][j][1]);
            }
        }
    }
    UNROLL
    for (int i = 0; i < n_r; i++) {
        UNROLL
        for (int j = 0; j < n_t; j++)
            c->y[(t + (size_t)j) * c->y_stride + r + (size_t)i] =
                sum_lanes(total[i][j][0], total[i][j][1]);
    }
}

INLINE void run(const call_float *c, uint32_t dtype, size_t n_rows, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens;) {
        const bool two = n_tokens - t >= 2;
        size_t r = 0;
        if (two) {
            for (; r + 2 <= n_rows; r += 2) tile(c, dtype, r, t, 2, 2);
            if (r < n_rows) tile(c, dtype, r, t, 1, 2);
        } else {
            for (; r + 4 <= n_rows; r += 4) tile(c, dtype, r, t, 4, 1);
            for (; r < n_rows; r++) tile(c, dtype, r, t, 1, 1);
        }
        t += two ? 2 : 1;
    }
}

#define MATMUL(type, dtype)                                                                     \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        const call_float c = { y, y_stride, w, w_stride, x, x_stride, n_in };                   \
        run(&c, dtype, n_rows, n_tokens);                                                       \
    }

MATMUL(f32, DS4_F32)
MATMUL(f16, DS4_F16)
MATMUL(bf16, DS4_BF16)

void ds4_kernels_avx2_float(ds4_kernels *k)
{
    k->matmul[DS4_F32] = matmul_f32;
    k->matmul[DS4_F16] = matmul_f16;
    k->matmul[DS4_BF16] = matmul_bf16;
}
