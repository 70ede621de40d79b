/* row_avx2.h - one token: what the AVX2 products that read rows one after another share.
 *
 * As row_x86.h says; eight rows continue eight chains of floats side by side, as the products of
 * tile_avx2.h do. Sums are made of four blocks together, and of their eight parts two are left
 * for later, when eight rows are added at once. */
#ifndef DS4_KERNELS_ROW_AVX2_H
#define DS4_KERNELS_ROW_AVX2_H

#include "kernels/x86/row_x86.h"
#include "kernels/x86/tile_avx2.h"

enum { UNIT_BLOCKS = 4 };       /* blocks whose sums are made together */

/* ---- four blocks of a row ------------------------------------------------------------------- */

/* Sixteen bytes at p, then sixteen at q. */
INLINE __m256i load_two(const void *p, const void *q)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(p)), _mm_loadu_si128(q), 1);
}

/* In each half, numbers 0 and 1 of a, of b, then 2 and 3, added: a, b, a, b. */
INLINE __m256i add_parts(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}

/* In each half, the first two numbers plus the last two of a, then the same of b. */
INLINE __m256i add_pairs(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

/* s[b]: eight parts of the sum of block b. Out: one of two parts of each sum, then the others. */
INLINE __m256i sum_eights(const __m256i s[4])
{
    return add_pairs(add_parts(s[0], s[1]), add_parts(s[2], s[3]));
}

/* ---- what is kept of eight rows --------------------------------------------------------------- */

/* Lane r of v[b] is the sum of block b of row r, from what sum_eights() made. */
INLINE void load_sums(__m256i v[UNIT_BLOCKS], const int32_t kept[TILE_ROWS][8])
{
    __m256i four[4];                        /* rows i and i + 4 */

    UNROLL
    for (int i = 0; i < 4; i++)
        four[i] = _mm256_add_epi32(load_two(kept[i], kept[i + 4]),
                                   load_two(kept[i] + 4, kept[i + 4] + 4));
    const __m256i lo01 = _mm256_unpacklo_epi32(four[0], four[1]),
                  hi01 = _mm256_unpackhi_epi32(four[0], four[1]);
    const __m256i lo23 = _mm256_unpacklo_epi32(four[2], four[3]),
                  hi23 = _mm256_unpackhi_epi32(four[2], four[3]);
    v[0] = _mm256_unpacklo_epi64(lo01, lo23);
    v[1] = _mm256_unpackhi_epi64(lo01, lo23);
    v[2] = _mm256_unpacklo_epi64(hi01, hi23);
    v[3] = _mm256_unpackhi_epi64(hi01, hi23);
}

/* The same from two parts of blocks 0 and 2 (0, 2, 0, 2), then of 1 and 3. */
INLINE void load_fours(__m256i v[UNIT_BLOCKS], const int32_t kept[TILE_ROWS][8])
{
    __m256i two[4];                         /* rows 2i and 2i + 1 */

    UNROLL
    for (int i = 0; i < 4; i++)
        two[i] = add_pairs(_mm256_load_si256((const void *)kept[2 * i]),
                           _mm256_load_si256((const void *)kept[2 * i + 1]));
    UNROLL
    for (int b = 0; b < 4; b += 2) {        /* blocks b and b + 1 of rows 0-3 and of rows 4-7 */
        const __m256 a = _mm256_castsi256_ps(two[0]), c = _mm256_castsi256_ps(two[2]);
        const __m256 a2 = _mm256_castsi256_ps(two[1]), c2 = _mm256_castsi256_ps(two[3]);
        const __m256i low = _mm256_castps_si256(b ? _mm256_shuffle_ps(a, a2, 0xdd)
                                                  : _mm256_shuffle_ps(a, a2, 0x88));
        const __m256i high = _mm256_castps_si256(b ? _mm256_shuffle_ps(c, c2, 0xdd)
                                                   : _mm256_shuffle_ps(c, c2, 0x88));
        v[b] = _mm256_permute2x128_si256(low, high, 0x20);
        v[b + 1] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

/* The halves in the low 16 bits of each lane, and in the high ones. */
INLINE __m256 both_halves(__m256i v, __m256 *high)
{
    const __m256i apart = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v, apart), 0xd8);

    *high = _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1));
    return _mm256_cvtph_ps(_mm256_castsi256_si128(words));
}

#endif
