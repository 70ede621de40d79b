/* matmul_float_avx512.c - products of F32, F16 and BF16 rows with floats, for AVX-512.
 *
 * Sixteen partial sums per output, lane l takes the values l, l + 16, ...; chains restart
 * every 512 values and are added up, so that 32 + n_in / 512 + 4 roundings bound the error;
 * the lanes are added as a tree at the end. Tiles of several rows and tokens only decide
 * which outputs are worked on together. */
#include "kernels/x86/float_avx512.h"
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

/* Sixteen weights at index i of a row; lanes outside mask are zero. */
INLINE __m512 load_weights(const uint8_t *row, size_t i, uint32_t dtype, __mmask16 mask)
{
    if (dtype == DS4_F32) return _mm512_maskz_loadu_ps(mask, row + 4 * i);
    const __m256i v = _mm256_maskz_loadu_epi16(mask, row + 2 * i);
    if (dtype == DS4_F16) return _mm512_cvtph_ps(v);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

/* Sixteen values from k on. */
INLINE void step(__m512 sum[8][4], const call_float *c, const uint8_t *w, const uint8_t *x, size_t k,
                 uint32_t dtype, __mmask16 mask, const int n_r, const int n_t)
{
    __m512 xv[4];

    UNROLL
    for (int j = 0; j < n_t; j++)
        xv[j] = _mm512_maskz_loadu_ps(mask, x + (size_t)j * c->x_stride + 4 * k);
    UNROLL
    for (int i = 0; i < n_r; i++) {
        const __m512 wv = load_weights(w + (size_t)i * c->w_stride, k, dtype, mask);
        UNROLL
        for (int j = 0; j < n_t; j++) sum[i][j] = _mm512_fmadd_ps(wv, xv[j], sum[i][j]);
    }
}

/* n_r rows from r times n_t tokens from t. */
INLINE void tile(const call_float *c, uint32_t dtype, size_t r, size_t t, const int n_r,
                 const int n_t)
{
    const uint8_t *w = c->w + r * c->w_stride, *x = c->x + t * c->x_stride;
    const size_t weight_bytes = dtype == DS4_F32 ? 4 : 2;
    __m512 total[8][4], sum[8][4];

    UNROLL
    for (int i = 0; i < n_r; i++) {
        UNROLL
        for (int j = 0; j < n_t; j++) total[i][j] = _mm512_setzero_ps();
    }
    for (size_t from = 0; from < c->n_in; from += CHAIN) {
        const size_t end = c->n_in - from < CHAIN ? c->n_in : from + CHAIN;
        UNROLL
        for (int i = 0; i < n_r; i++) {
            UNROLL
            for (int j = 0; j < n_t; j++) sum[i][j] = _mm512_setzero_ps();
        }
        size_t k = from;
        for (; k + 16 <= end; k += 16) {
            if (n_t == 1)
                prefetch_far(w, (size_t)n_r * (c->w_stride + k * weight_bytes),
                             (size_t)n_r * 16 * weight_bytes);
            step(sum, c, w, x, k, dtype, 0xffff, n_r, n_t);
        }
        if (k < end) step(sum, c, w, x, k, dtype, tail_mask(end - k), n_r, n_t);
        UNROLL
        for (int i = 0; i < n_r; i++) {
            UNROLL
            for (int j = 0; j < n_t; j++) total[i][j] = _mm512_add_ps(total[i][j], sum[i][j]);
        }
    }
    UNROLL
    for (int i = 0; i < n_r; i++) {
        UNROLL
        for (int j = 0; j < n_t; j++)
            c->y[(t + (size_t)j) * c->y_stride + r + (size_t)i] = sum_lanes(total[i][j]);
    }
}

INLINE void run(const call_float *c, uint32_t dtype, size_t n_rows, size_t n_tokens)
{
    for (size_t t = 0; t < n_tokens;) {
        const bool four = n_tokens - t >= 4;
        size_t r = 0;
        if (four) {
            for (; r + 4 <= n_rows; r += 4) tile(c, dtype, r, t, 4, 4);
            for (; r < n_rows; r++) tile(c, dtype, r, t, 1, 4);
        } else {
            for (; r + 8 <= n_rows; r += 8) tile(c, dtype, r, t, 8, 1);
            for (; r < n_rows; r++) tile(c, dtype, r, t, 1, 1);
        }
        t += four ? 4 : 1;
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

void ds4_kernels_avx512_float(ds4_kernels *k)
{
    k->matmul[DS4_F32] = matmul_f32;
    k->matmul[DS4_F16] = matmul_f16;
    k->matmul[DS4_BF16] = matmul_bf16;
}
