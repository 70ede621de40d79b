/* tile_q32_avx512.h - one block of 32 values of 16 encoded rows as bytes: Q8_0 and MXFP4 for
 * whatever multiplies them. See tile_avx512.h for how a tile lies. */
#ifndef DS4_KERNELS_TILE_Q32_AVX512_H
#define DS4_KERNELS_TILE_Q32_AVX512_H

#include "kernels/x86/tile_avx512.h"

/* This is added to weights to make them unsigned. */
enum { Q8_0_OFFSET = 128, MXFP4_OFFSET = 16 };

/* The sum of a block of activations. */
INLINE int32_t sum32(const int8_t q[32])
{
    const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1),
                                             _mm256_loadu_si256((const void *)q));
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1);
}

/* By code, in each quarter: twice the value plus an offset. */
INLINE __m512i twice_e2m1(int offset)
{
    return _mm512_add_epi8(_mm512_set1_epi8((char)offset), _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)));
}

/* Half of the scales with codes e. */
INLINE __m512 half_e8m0(__m512i e)
{
    __m512i bits = _mm512_slli_epi32(e, 23);
    bits =
        _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(e, e), _mm512_set1_epi32(0x00400000));
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255)),
                                 _mm512_set1_epi32(0x7fc00000));
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
}

/* One block of 16 rows: bytes 4i..4i+3 of it, plus an offset. */
typedef struct block32 {
    __m512i w[8];
    __m512  d;
} block32;

INLINE block32 load_q8_0(const uint8_t *w, size_t stride, int offset)
{
    const __m512i shift = _mm512_set1_epi8((char)offset);
    block32 b;

    load_columns(b.w, w + 2, stride);
    load_columns(b.w + 4, w + 18, stride);
    UNROLL
    for (int i = 0; i < 8; i++) b.w[i] = _mm512_add_epi8(b.w[i], shift);
    b.d = low_halves(load_column4(w, stride));
    return b;
}

/* Codes become twice their value plus the offset. The scale is halved to match. */
INLINE block32 load_mxfp4(const uint8_t *w, size_t stride, int offset)
{
    const __m512i nibbles = _mm512_set1_epi8(15), twice = twice_e2m1(offset);
    block32 b;
    __m512i v[4];

    load_columns(v, w + 1, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        b.w[i] = _mm512_shuffle_epi8(twice, _mm512_and_si512(v[i], nibbles));
        b.w[i + 4] =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(v[i], 4), nibbles));
    }
    b.d = half_e8m0(_mm512_and_si512(load_column4(w, stride), _mm512_set1_epi32(255)));
    return b;
}

INLINE block32 load_block(const uint8_t *w, size_t stride, size_t block_bytes, int offset)
{
    return block_bytes == Q8_0_BYTES ? load_q8_0(w, stride, offset) : load_mxfp4(w, stride, offset);
}

#endif
