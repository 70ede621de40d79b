/* matmul_t66_avx512.c - products of T66 rows with activations in blocks of 256, for AVX-512 with
 * VNNI but without VBMI. */
#include "kernels/x86/row_t66_avx512.h"

/* Four bytes from each of 16 neighbouring bytes on have the states of 64 values. */
INLINE void block_states(__m512i state[T66_VECTORS], const uint8_t *w)
{
    const __m512i code = _mm512_loadu_si512(w + 2);
    const __m512i apart = _mm512_setr_epi32(0, 1, 0, 0, 1, 2, 0, 0, 2, 3, 0, 0, 3, 4, 0, 0);
    const __m512i windows = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6));

    UNROLL
    for (int g = 0; g < 4; g++) {               /* indices wrap: 16 words are a circle */
        const __m512i at = _mm512_add_epi32(apart, _mm512_set1_epi32(4 * g));
        const __m512i words = _mm512_permutexvar_epi32(at, code);
        const __m512i four = _mm512_shuffle_epi8(words, windows);
        UNROLL
        for (int r = 0; r < 4; r++)
            state[4 * g + r] = _mm512_maskz_mov_epi16(0x55555555, _mm512_srli_epi32(four, (unsigned)(2 * r)));
    }
}

INLINE __m512i spread(const int8_t q[256], int v)
{
    const __m512i first = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
    const __m512i at = _mm512_add_epi8(first, _mm512_set1_epi8((char)(v & 3)));
    return _mm512_shuffle_epi8(_mm512_loadu_si512(q + 64 * (v >> 2)), at);
}

INLINE void keep(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second, const void *unit,
                 const void *tables)
{
    (void)tables;
    keep_t66(k, row, b, w, second, unit, block_states);
}

static void matvec_t66(float *y, const void *w, size_t w_stride, size_t n_rows, const void *x,
                       size_t n_blocks)
{
    const row_call c = { y, w, w_stride, n_rows, x, n_blocks };
    run_rows_t66(&c, keep, spread);
}

static MATMUL(matmul_t66, T66_BYTES, KIND_SHIFT256, fill_t66, const void *t = NULL;, matvec_t66)

void ds4_kernels_avx512_t66(ds4_kernels *k)
{
    k->matmul[DS4_T66] = matmul_t66;
}
