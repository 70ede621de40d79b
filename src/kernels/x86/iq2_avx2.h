/* iq2_avx2.h - what the AVX2 products of IQ2_XXS rows share: the codebook, signs and scales. */
#ifndef DS4_KERNELS_IQ2_AVX2_H
#define DS4_KERNELS_IQ2_AVX2_H

#include "kernels/x86/kernel_x86.h"

#include "format/iq2xxs_table.h"

/* The codebook as bytes, 8 for each index. */
typedef struct iq2_tables {
    _Alignas(32) uint8_t grid[256][8];
} iq2_tables;

/* Four codes at a time: each 16-bit part of a code's 64 bits gets the two digits it needs in
 * its top four bits, which then go to the low bits of its two bytes. */
INLINE void make_iq2_tables(iq2_tables *t)
{
    const __m256i copy = _mm256_setr_epi8(0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3,
                                          4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7);
    const __m256i to_top = _mm256_set1_epi64x(0x0001001001001000);
    const __m256i value = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));

    for (int i = 0; i < 256; i += 4) {
        const __m128i four = _mm_loadl_epi64((const void *)(ds4_iq2xxs_codes + i));
        const __m256i codes = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(four), copy);
        const __m256i pair = _mm256_srli_epi16(_mm256_mullo_epi16(codes, to_top), 12);
        const __m256i spread = _mm256_or_si256(pair, _mm256_slli_epi16(pair, 6));
        const __m256i digits = _mm256_and_si256(spread, _mm256_set1_epi8(3));
        _mm256_store_si256((void *)t->grid[i], _mm256_shuffle_epi8(value, digits));
    }
}

/* The 32 sign bytes of a block, and its eight scales 2t + 1. */
INLINE __m256i iq2_signs(__m256i *scales, const uint8_t *block)
{
    const __m256i low = _mm256_loadu_si256((const void *)(block + 2));
    const __m256i high = _mm256_loadu_si256((const void *)(block + 34));
    const __m256i mixed = _mm256_castps_si256(
        _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0xdd));
    const __m256i word = _mm256_permute4x64_epi64(mixed, 0xd8);        /* the odd words in order */
    /* Two fields of 7 bits to each 16, then the upper one, added once more, goes up by a bit. */
    const __m256i two = _mm256_blend_epi16(word, _mm256_slli_epi32(word, 2), 0xaa);
    const __m256i seven = _mm256_add_epi16(_mm256_and_si256(two, _mm256_set1_epi16(0x3fff)),
                                           _mm256_and_si256(two, _mm256_set1_epi16(0x3f80)));
    const __m256i odd = _mm256_broadcastsi128_si256(                    /* bit 7 for each nibble */
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(seven, 4), _mm256_set1_epi8(15));
    const __m256i parity = _mm256_shuffle_epi8(odd, _mm256_xor_si256(seven, upper));

    *scales = _mm256_or_si256(_mm256_srli_epi32(word, 27), _mm256_set1_epi32(1));
    return _mm256_or_si256(seven, parity);
}

INLINE __m256i iq2_code(uint8_t index, const iq2_tables *tab)
{
    return _mm256_castpd_si256(_mm256_broadcast_sd((const void *)tab->grid[index]));
}

/* The magnitudes of 32 values. Broadcasts are loads alone, and any port blends. */
INLINE __m256i iq2_values(const uint8_t *index, const iq2_tables *tab)
{
    const __m256i low = _mm256_blend_epi32(iq2_code(index[0], tab), iq2_code(index[1], tab), 0x0c);
    const __m256i high = _mm256_blend_epi32(iq2_code(index[2], tab), iq2_code(index[3], tab), 0xc0);

    return _mm256_blend_epi32(low, high, 0xf0);
}

/* Numbers with the signs of the 32 values whose sign bytes are word i of each half, none 0: a bit
 * that is set and what it lacks of 128 are -128 (or -127), what it lacks alone is positive. */
INLINE __m256i iq2_turns(__m256i signs, int i)
{
    const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                            2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    const __m256i lacks = _mm256_set1_epi64x(0x01406070787c7e7f);
    const __m256i at = _mm256_add_epi8(spread, _mm256_set1_epi8((char)(4 * i)));

    return _mm256_add_epi8(_mm256_and_si256(_mm256_shuffle_epi8(signs, at), bit), lacks);
}

#endif
