/* tile_q32_avx512.h - one block of 32 values of 16 encoded rows as bytes: Q8_0 and MXFP4 for
 * whatever multiplies them. See tile_avx512.h for how a tile lies. */
#ifndef DS4_KERNELS_TILE_Q32_AVX512_H
#define DS4_KERNELS_TILE_Q32_AVX512_H

#include "kernels/x86/tile_avx512.h"

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
    const __m512i nibbles = _mm512_set1_epi8(15), exp_mask = _mm512_set1_epi32(255);
    const __m512i twice = _mm512_add_epi8(_mm512_set1_epi8((char)offset), _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)));
    block32 b;
    __m512i v[4];

    load_columns(v, w + 1, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        b.w[i] = _mm512_shuffle_epi8(twice, _mm512_and_si512(v[i], nibbles));
        b.w[i + 4] =
            _mm512_shuffle_epi8(twice, _mm512_and_si512(_mm512_srli_epi16(v[i], 4), nibbles));
    }
    const __m512i e = _mm512_and_si512(load_column4(w, stride), exp_mask);
    __m512i bits = _mm512_slli_epi32(e, 23);
    bits =
        _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(e, e), _mm512_set1_epi32(0x00400000));
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(e, exp_mask),
                                 _mm512_set1_epi32(0x7fc00000));
    b.d = _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0.5f));
    return b;
}

INLINE block32 load_block(const uint8_t *w, size_t stride, size_t block_bytes, int offset)
{
    return block_bytes == Q8_0_BYTES ? load_q8_0(w, stride, offset) : load_mxfp4(w, stride, offset);
}

#endif
