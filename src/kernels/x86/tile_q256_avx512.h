/* tile_q256_avx512.h - one block of 256 values of 16 encoded rows as bytes: Q2_K, Q4_K and Q6_K for
 * whatever multiplies them. See tile_avx512.h for how a tile lies. */
#ifndef DS4_KERNELS_TILE_Q256_AVX512_H
#define DS4_KERNELS_TILE_Q256_AVX512_H

#include "kernels/x86/tile_avx512.h"

/* The bytes of a tile stand for these. */
typedef enum tile_kind {
    KIND_MIN16,         /* 16 groups of 16 with scales; pair = mins:  Q2_K */
    KIND_MIN32,         /* 8 groups of 32 with scales; pair = mins:   Q4_K */
    KIND_SHIFT16,       /* value + 32, 16 groups; pair = scales:      Q6_K */
    KIND_SHIFT32,       /* value + 64, 8 groups; pair = scales:       IQ2_XXS */
    KIND_SHIFT256,      /* value + 126, no scales:                    T66 */
} tile_kind;

typedef struct tile256 {
    __m512i w[64];      /* bytes 4i..4i+3 of the block */
    __m512i scale[16];  /* int32, one per group */
    __m512i pair[8];    /* int16 pairs that multiply sum[2i], sum[2i + 1] of the activations */
    __m512  d, dmin;
} tile256;

/* Fills a tile from a block of each row; tables: those of the type, if it has any. */
typedef void fill_fn(tile256 *t, const uint8_t *w, size_t stride, const void *tables);

/* ---- tiles of each type ------------------------------------------------------------ */

INLINE void fill_q2_k(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    (void)tables;
    const __m512i three = _mm512_set1_epi8(3), nibble = _mm512_set1_epi32(15);
    const __m512i nibble16 = _mm512_set1_epi16(15);
    __m512i v[4];

    for (int c = 0; c < 4; c++) {           /* 16 bytes of qs: half c / 2, lanes 16 * (c % 2) */
        __m512i *out = t->w + 32 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = _mm512_and_si512(v[i], three);
            out[i + 8] = _mm512_and_si512(_mm512_srli_epi16(v[i], 2), three);
            out[i + 16] = _mm512_and_si512(_mm512_srli_epi16(v[i], 4), three);
            out[i + 24] = _mm512_and_si512(_mm512_srli_epi16(v[i], 6), three);
        }
    }
    load_columns(v, w, stride);
    UNROLL
    for (int i = 0; i < 4; i++) {
        /* Bytes 0..3 of a lane are mins and scales 4i..4i+3; pairs want neighbours. */
        const __m512i mins = _mm512_and_si512(_mm512_srli_epi16(v[i], 4), _mm512_set1_epi8(15));
        const __m512i even = _mm512_and_si512(mins, nibble16), odd = _mm512_srli_epi16(mins, 8);
        t->pair[2 * i] =
            _mm512_or_si512(_mm512_and_si512(even, nibble), _mm512_slli_epi32(odd, 16));
        t->pair[2 * i + 1] = _mm512_or_si512(_mm512_srli_epi32(even, 16),
                                             _mm512_andnot_si512(_mm512_set1_epi32(0xffff), odd));
        UNROLL
        for (int b = 0; b < 4; b++)
            t->scale[4 * i + b] =
                _mm512_and_si512(_mm512_srli_epi32(v[i], (unsigned)(8 * b)), nibble);
    }
    const __m512i d = load_column4(w + 80, stride);
    t->d = low_halves(d);
    t->dmin = high_halves(d);
}

INLINE void fill_q4_k(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    (void)tables;
    const __m512i nibbles = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i high2 = _mm512_set1_epi8(0x30);
    __m512i v[4], scale[2], min[2];

    for (int c = 0; c < 8; c++) {           /* 16 bytes of qs: groups 2 * (c / 2) and the next */
        __m512i *out = t->w + 16 * (c >> 1) + 4 * (c & 1);
        load_columns(v, w + 16 + 16 * c, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            out[i] = _mm512_and_si512(v[i], nibbles);
            out[i + 8] = _mm512_and_si512(_mm512_srli_epi16(v[i], 4), nibbles);
        }
    }
    load_columns(v, w, stride);             /* d and dmin, then the three words of p */
    t->d = low_halves(v[0]);
    t->dmin = high_halves(v[0]);
    scale[0] = _mm512_and_si512(v[1], six);
    min[0] = _mm512_and_si512(v[2], six);
    scale[1] = _mm512_or_si512(_mm512_and_si512(v[3], nibbles),
                               _mm512_and_si512(_mm512_srli_epi16(v[1], 2), high2));
    min[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(v[3], 4), nibbles),
                             _mm512_and_si512(_mm512_srli_epi16(v[2], 2), high2));
    UNROLL
    for (int g = 0; g < 8; g++) {
        const __m512i m = lane_byte(min[g >> 2], g & 3);
        t->scale[g] = lane_byte(scale[g >> 2], g & 3);
        t->pair[g] = _mm512_or_si512(m, _mm512_slli_epi32(m, 16));
    }
}

INLINE void fill_q6_k(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    (void)tables;
    const __m512i nibbles = _mm512_set1_epi8(15), high2 = _mm512_set1_epi8(0x30);
    __m512i h[4], a[4], b[4], sc[4];

    for (int c = 0; c < 4; c++) {           /* 16 lanes of each plane of half c / 2 */
        const int half = c >> 1, lane = 16 * (c & 1);
        __m512i  *out = t->w + 32 * half + 4 * (c & 1);
        load_columns(a, w + 64 * half + lane, stride);
        load_columns(b, w + 64 * half + 32 + lane, stride);
        load_columns(h, w + 128 + 32 * half + lane, stride);
        UNROLL
        for (int i = 0; i < 4; i++) {
            const __m512i h0 = _mm512_slli_epi16(h[i], 4), h1 = _mm512_slli_epi16(h[i], 2);
            const __m512i h2 = h[i], h3 = _mm512_srli_epi16(h[i], 2);
            out[i] = _mm512_or_si512(_mm512_and_si512(a[i], nibbles), _mm512_and_si512(h0, high2));
            out[i + 8] =
                _mm512_or_si512(_mm512_and_si512(b[i], nibbles), _mm512_and_si512(h1, high2));
            out[i + 16] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(a[i], 4), nibbles),
                                          _mm512_and_si512(h2, high2));
            out[i + 24] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(b[i], 4), nibbles),
                                          _mm512_and_si512(h3, high2));
        }
    }
    load_columns(sc, w + 192, stride);
    UNROLL
    for (int j = 0; j < 16; j++) {
        const __m512i top = _mm512_slli_epi32(sc[j >> 2], (unsigned)(24 - 8 * (j & 3)));
        t->scale[j] = _mm512_srai_epi32(top, 24);
    }
    UNROLL
    for (int i = 0; i < 8; i++)
        t->pair[i] = _mm512_mask_blend_epi16(0xaaaaaaaa, t->scale[2 * i],
                                             _mm512_slli_epi32(t->scale[2 * i + 1], 16));
    t->d = high_halves(load_column4(w + 206, stride));
}

/* The scales 2t + 1 of groups of IQ2_XXS, from the words that hold t in their highest bits. */
INLINE __m512i iq2_scales(__m512i word)
{
    return _mm512_or_si512(_mm512_srli_epi32(word, 27), _mm512_set1_epi32(1));
}

INLINE void set_iq2_scales(tile256 *t, int g, __m512i scale)
{
    t->scale[g] = scale;
    t->pair[g] = _mm512_or_si512(scale, _mm512_slli_epi32(scale, 16));
}

INLINE __m512 iq2_scale(const uint8_t *w, size_t stride)
{
    return _mm512_mul_ps(low_halves(load_column4(w, stride)), _mm512_set1_ps(0.125f));
}

#endif
