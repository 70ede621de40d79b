/* tile_avx512.h - sixteen rows side by side: what the AVX-512 products of encoded rows share.
 *
 * A tile holds one part of 16 rows, transposed: lane r of a vector belongs to row r and
 * holds four consecutive values as bytes. vpdpbusd with four activations broadcast to all
 * lanes then advances 16 sums at once, and no sum ever crosses lanes. The float chain of an
 * output is therefore the same for any number of rows and tokens. */
#ifndef DS4_KERNELS_TILE_AVX512_H
#define DS4_KERNELS_TILE_AVX512_H

#include "kernels/block_call.h"
#include "kernels/blocks.h"
#include "kernels/x86/float_avx512.h"

#include <immintrin.h>
#include <stddef.h>

enum { TILE_ROWS = 16 };

INLINE __m512i broadcast4(const void *p)
{
    return _mm512_set1_epi32((int)load_u32(p));
}

/* Sixteen bytes at p of each of 16 rows: v[j] lane r = bytes 4j..4j+3 of row r. */
INLINE void load_columns(__m512i v[4], const uint8_t *p, size_t stride)
{
    __m512i a[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *q = p + (size_t)i * stride;
        __m512i t = _mm512_castsi128_si512(_mm_loadu_si128((const void *)q));
        t = _mm512_inserti32x4(t, _mm_loadu_si128((const void *)(q + 4 * stride)), 1);
        t = _mm512_inserti32x4(t, _mm_loadu_si128((const void *)(q + 8 * stride)), 2);
        a[i] = _mm512_inserti32x4(t, _mm_loadu_si128((const void *)(q + 12 * stride)), 3);
    }
    const __m512i lo01 = _mm512_unpacklo_epi32(a[0], a[1]),
                  hi01 = _mm512_unpackhi_epi32(a[0], a[1]);
    const __m512i lo23 = _mm512_unpacklo_epi32(a[2], a[3]),
                  hi23 = _mm512_unpackhi_epi32(a[2], a[3]);
    v[0] = _mm512_unpacklo_epi64(lo01, lo23);
    v[1] = _mm512_unpackhi_epi64(lo01, lo23);
    v[2] = _mm512_unpacklo_epi64(hi01, hi23);
    v[3] = _mm512_unpackhi_epi64(hi01, hi23);
}

/* Four bytes at p of each of 16 rows. */
INLINE __m512i load_column4(const uint8_t *p, size_t stride)
{
    __m128i part[4];

    UNROLL
    for (int i = 0; i < 4; i++) {
        const uint8_t *q = p + 4 * (size_t)i * stride;
        __m128i t = _mm_cvtsi32_si128((int)load_u32(q));
        t = _mm_insert_epi32(t, (int)load_u32(q + stride), 1);
        t = _mm_insert_epi32(t, (int)load_u32(q + 2 * stride), 2);
        part[i] = _mm_insert_epi32(t, (int)load_u32(q + 3 * stride), 3);
    }
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(part[2]), part[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* The halves in the low or high 16 bits of each lane. */
INLINE __m512 low_halves(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

INLINE __m512 high_halves(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
}

/* Byte b of each lane, as int32. */
INLINE __m512i lane_byte(__m512i v, int b)
{
    return _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * b)), _mm512_set1_epi32(255));
}

/* The n_rows < 16 last rows of a part, padded with zeros to a whole tile. */
INLINE void copy_part(uint8_t *out, const uint8_t *w, size_t stride, size_t n_rows,
                      size_t part_bytes)
{
    for (size_t r = 0; r < n_rows; r++) memcpy(out + r * part_bytes, w + r * stride, part_bytes);
    memset(out + n_rows * part_bytes, 0, (TILE_ROWS - n_rows) * part_bytes);
}

#endif
