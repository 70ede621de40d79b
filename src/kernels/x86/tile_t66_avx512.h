/* tile_t66_avx512.h - one block of 16 T66 rows as a tile of bytes: codes plus a bias, or codes.
 *
 * Lanes are rows from the start, so that each lane holds one state, and the four six-bit numbers
 * of its product are added by one instruction. */
#ifndef DS4_KERNELS_TILE_T66_AVX512_H
#define DS4_KERNELS_TILE_T66_AVX512_H

#include "kernels/x86/tile_q256_avx512.h"

/* 16 bits from bit 2 m on of two words, m 0..15. */
INLINE __m512i t66_states(__m512i word, __m512i next, int m)
{
    const __m512i low = _mm512_srli_epi32(word, (unsigned)(2 * m));
    const __m512i high = _mm512_slli_epi32(next, (unsigned)(32 - 2 * m));
    return _mm512_and_si512(m > 8 ? _mm512_or_si512(low, high) : low, _mm512_set1_epi32(0xffff));
}

/* Codes plus T66_BIAS. */
INLINE __m512i t66_codes(__m512i state)
{
    const __m512i product = _mm512_mullo_epi32(state, _mm512_set1_epi32((int)T66_FACTOR));
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(),
                               _mm512_and_si512(product, _mm512_set1_epi32(T66_FIELDS)),
                               _mm512_set1_epi8(1));
}

INLINE void fill_t66_minus(tile256 *t, const uint8_t *w, size_t stride, int minus)
{
    __m512i word[17];

    UNROLL
    for (int i = 0; i < 4; i++) load_columns(word + 4 * i, w + 2 + 16 * i, stride);
    word[16] = word[0];
    for (int j = 0; j < 16; j++) {
        UNROLL
        for (int m = 0; m < 16; m += 4) {
            __m512i four = t66_codes(t66_states(word[j], word[j + 1], m));
            UNROLL
            for (int k = 1; k < 4; k++) {
                const __m512i code = t66_codes(t66_states(word[j], word[j + 1], m + k));
                four = _mm512_or_si512(four, _mm512_slli_epi32(code, (unsigned)(8 * k)));
            }
            t->w[4 * j + m / 4] = _mm512_sub_epi8(four, _mm512_set1_epi8((char)minus));
        }
    }
    t->d = low_halves(load_column4(w, stride));
}

/* Unsigned bytes, whose bias the sums of activations take off again. */
INLINE void fill_t66(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    (void)tables;
    fill_t66_minus(t, w, stride, 0);
    for (int j = 0; j < 8; j++) t->pair[j] = _mm512_set1_epi16(-T66_BIAS);
}

#endif
