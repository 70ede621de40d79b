/* matmul_t66_vbmi.c - products of T66 rows with activations in blocks of 256, for AVX-512 with
 * VNNI and VBMI, which takes bits from anywhere in 64. The same bits as matmul_t66_avx512.c. */
#include "kernels/x86/row_t66_avx512.h"

/* Eight pairs of neighbouring words, each with the states of 16 values, two of them at a time. */
INLINE void block_states(__m512i state[T66_VECTORS], const uint8_t *w)
{
    const __m512i code = _mm512_loadu_si512(w + 2);
    const __m512i pairs = _mm512_setr_epi32(0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8);
    const __m512i first = _mm512_set1_epi64(0x00000a0200000800);

    UNROLL
    for (int h = 0; h < 2; h++) {               /* indices wrap: 16 words are a circle */
        const __m512i at = _mm512_add_epi32(pairs, _mm512_set1_epi32(8 * h));
        const __m512i words = _mm512_permutexvar_epi32(at, code);
        UNROLL
        for (int m = 0; m < 8; m++)
            state[8 * h + m] = _mm512_maskz_multishift_epi64_epi8(
                0x3333333333333333, _mm512_add_epi8(first, _mm512_set1_epi8((char)(4 * m))), words);
    }
}

INLINE __m512i spread(const int8_t q[256], int v)
{
    const __m512i first = _mm512_set_epi64(                     /* 16 j and the next, four times each */
        0x7171717170707070, 0x6161616160606060, 0x5151515150505050, 0x4141414140404040,
        0x3131313130303030, 0x2121212120202020, 0x1111111110101010, 0x0101010100000000);
    const __m512i at = _mm512_add_epi8(first, _mm512_set1_epi8((char)(2 * (v & 7))));
    const int8_t *half = q + 128 * (v >> 3);
    return _mm512_permutex2var_epi8(_mm512_loadu_si512(half), at, _mm512_loadu_si512(half + 64));
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

MATMUL(ds4_matmul_t66_vbmi, T66_BYTES, KIND_SHIFT256, fill_t66, const void *t = NULL;, matvec_t66)

void ds4_kernels_vbmi_t66(ds4_kernels *k)
{
    k->matmul[DS4_T66] = ds4_matmul_t66_vbmi;
}
