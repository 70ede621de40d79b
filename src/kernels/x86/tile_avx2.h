/* tile_avx2.h - eight rows side by side: what the AVX2 products of encoded rows share.
 *
 * As tile_avx512.h with half as many lanes: lane r of a vector belongs to row r and holds
 * four consecutive values as bytes. The float chain of an output is the same as there. */
#ifndef DS4_KERNELS_TILE_AVX2_H
#define DS4_KERNELS_TILE_AVX2_H

#include "kernels/block_call.h"
#include "kernels/blocks.h"
#include "kernels/x86/float_avx2.h"

enum { TILE_ROWS = 8 };

INLINE __m256i broadcast4(const void *p)
{
    return _mm256_set1_epi32((int)load_u32(p));
}

/* Sixteen bytes at p of each of 8 rows: v[j] lane r = bytes 4j..4j+3 of row r. */
INLINE void load_columns(__m256i v[4], const uint8_t *p, size_t stride)
{
    __m256i a[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *q = p + (size_t)i * stride;
        const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const void *)q));
        a[i] = _mm256_inserti128_si256(low, _mm_loadu_si128((const void *)(q + 4 * stride)), 1);
    }
    const __m256i lo01 = _mm256_unpacklo_epi32(a[0], a[1]),
                  hi01 = _mm256_unpackhi_epi32(a[0], a[1]);
    const __m256i lo23 = _mm256_unpacklo_epi32(a[2], a[3]),
                  hi23 = _mm256_unpackhi_epi32(a[2], a[3]);
    v[0] = _mm256_unpacklo_epi64(lo01, lo23);
    v[1] = _mm256_unpackhi_epi64(lo01, lo23);
    v[2] = _mm256_unpacklo_epi64(hi01, hi23);
    v[3] = _mm256_unpackhi_epi64(hi01, hi23);
}

/* Four bytes at p of each of 8 rows. */
INLINE __m256i load_column4(const uint8_t *p, size_t stride)
{
    __m128i part[2];

    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint8_t *q = p + 4 * (size_t)i * stride;
        __m128i t = _mm_cvtsi32_si128((int)load_u32(q));
        t = _mm_insert_epi32(t, (int)load_u32(q + stride), 1);
        t = _mm_insert_epi32(t, (int)load_u32(q + 2 * stride), 2);
        part[i] = _mm_insert_epi32(t, (int)load_u32(q + 3 * stride), 3);
    }
    return _mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1);
}

/* The halves in the high or low 16 bits of each lane. */
INLINE __m256 high_halves(__m256i v)
{
    const __m256i words = _mm256_srli_epi32(v, 16);
    const __m256i packed = _mm256_packus_epi32(words, words);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

INLINE __m256 low_halves(__m256i v)
{
    return high_halves(_mm256_slli_epi32(v, 16));
}

/* Byte b of each lane in both 16-bit halves of the lane. */
INLINE __m256i lane_byte_twice(__m256i v, int b)
{
    const __m256i byte = _mm256_and_si256(_mm256_srl_epi32(v, _mm_cvtsi32_si128(8 * b)),
                                          _mm256_set1_epi32(255));
    return _mm256_or_si256(byte, _mm256_slli_epi32(byte, 16));
}

/* The n_rows < 8 last rows of a part, padded with zeros to a whole tile. */
INLINE void copy_part(uint8_t *out, const uint8_t *w, size_t stride, size_t n_rows,
                      size_t part_bytes)
{
    for (size_t r = 0; r < n_rows; r++) memcpy(out + r * part_bytes, w + r * stride, part_bytes);
    memset(out + n_rows * part_bytes, 0, (TILE_ROWS - n_rows) * part_bytes);
}

#endif
