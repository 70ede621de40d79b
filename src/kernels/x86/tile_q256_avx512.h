/* tile_q256_avx512.h - one block of 256 values of 16 encoded rows as bytes: Q2_K, Q4_K, Q6_K and
 * IQ2_XXS for whatever multiplies them. See tile_avx512.h for how a tile lies. */
#ifndef DS4_KERNELS_TILE_Q256_AVX512_H
#define DS4_KERNELS_TILE_Q256_AVX512_H

#include "kernels/x86/tile_avx512.h"

#include "format/iq2xxs_table.h"

/* What the bytes of a tile stand for. */
typedef enum tile_kind {
    KIND_MIN16,         /* 16 groups of 16 with scales; pair = mins:  Q2_K */
    KIND_MIN32,         /* 8 groups of 32 with scales; pair = mins:   Q4_K */
    KIND_SHIFT16,       /* value + 32, 16 groups; pair = scales:      Q6_K */
    KIND_SHIFT32,       /* value + 64, 8 groups; pair = scales:       IQ2_XXS */
} tile_kind;

typedef struct tile256 {
    __m512i w[64];      /* bytes 4i..4i+3 of the block */
    __m512i scale[16];  /* int32, one per group */
    __m512i pair[8];    /* int16 pairs that multiply sum[2i], sum[2i + 1] of the activations */
    __m512  d, dmin;
} tile256;

/* ---- tiles of each type ------------------------------------------------------------ */

INLINE void fill_q2_k(tile256 *t, const uint8_t *w, size_t stride)
{
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

INLINE void fill_q4_k(tile256 *t, const uint8_t *w, size_t stride)
{
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

INLINE void fill_q6_k(tile256 *t, const uint8_t *w, size_t stride)
{
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

/* The tables of IQ2_XXS as vector registers want them. */
typedef struct iq2_tables {
    __m512i low[4], high[4];    /* codewords 64i..64i+63: digits 0-3, digits 4-7 */
    __m512i value;              /* by digit + 4 * sign: magnitude or its negative, plus an offset */
    __m512i parity;             /* bit matrix: bits 0..6 stay, bit 7 = their parity */
    __m512i pick[4];            /* bit offsets of the digits of byte k of both lanes */
    __m512i sign[8];            /* bit offsets that bring the signs of dword i to bit 2 */
    __m512i sign7;              /* bit offsets of the four sign indices */
} iq2_tables;

INLINE void make_iq2_tables(iq2_tables *t, int offset)
{
    const __m512i shift = _mm512_set1_epi8((char)offset);

    for (int i = 0; i < 4; i++) {
        const __m512i a = _mm512_loadu_si512(ds4_iq2xxs_codes + 64 * i);
        const __m512i b = _mm512_loadu_si512(ds4_iq2xxs_codes + 64 * i + 32);
        t->low[i] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(a)),
                                       _mm512_cvtepi16_epi8(b), 1);
        t->high[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(_mm512_cvtepi16_epi8(_mm512_srli_epi16(a, 8))),
            _mm512_cvtepi16_epi8(_mm512_srli_epi16(b, 8)), 1);
    }
    /* Bytes from the lowest: 8, 25, 43, none, -8, -25, -43, none. */
    t->value = _mm512_add_epi8(_mm512_set1_epi64(0x00d5e7f8002b1908), shift);
    t->parity = _mm512_set1_epi64(0x010204081020407f);
    t->sign7 = _mm512_set1_epi64(0x352e2720150e0700);
    for (int k = 0; k < 4; k++)             /* 8k + 0, 2, 4, 6 in each lane of 32 bits */
        t->pick[k] =
            _mm512_add_epi8(_mm512_set1_epi64(0x2624222006040200), _mm512_set1_epi8((char)(8 * k)));
    for (int k = 0; k < 8; k++) {           /* 4k - 2, -1, 0, 1 in each lane, modulo 64 */
        const __m512i at =
            _mm512_add_epi8(_mm512_set1_epi64(0x21201f1e01003f3e), _mm512_set1_epi8((char)(4 * k)));
        t->sign[k] = _mm512_and_si512(at, _mm512_set1_epi8(63));
    }
}

/* table[index] for 64 indices of 8 bits. */
INLINE __m512i lookup256(const __m512i table[4], __m512i index, __mmask64 upper)
{
    const __m512i a = _mm512_permutex2var_epi8(table[0], index, table[1]);
    const __m512i b = _mm512_permutex2var_epi8(table[2], index, table[3]);
    return _mm512_mask_blend_epi8(upper, a, b);
}

/* Two groups of 32 values, from their 16 bytes of each row. */
typedef struct iq2_pair {
    __m512i low[2], high[2];    /* digits of the first and the last four values of each index */
    __m512i signs[2];
    __m512i scale[2];           /* int32, odd */
} iq2_pair;

INLINE void load_iq2_pair(iq2_pair *p, const uint8_t *w, size_t stride, const iq2_tables *tab)
{
    __m512i v[4];

    load_columns(v, w, stride);             /* indices, signs, indices, signs */
    UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i index = v[2 * h], word = v[2 * h + 1];
        const __mmask64 upper = _mm512_movepi8_mask(index);
        const __m512i s7 = _mm512_multishift_epi64_epi8(tab->sign7, word);
        const __m512i scale = _mm512_srli_epi32(word, 28);
        p->low[h] = lookup256(tab->low, index, upper);
        p->high[h] = lookup256(tab->high, index, upper);
        p->signs[h] = _mm512_gf2p8affine_epi64_epi8(s7, tab->parity, 0);
        p->scale[h] = _mm512_add_epi32(_mm512_add_epi32(scale, scale), _mm512_set1_epi32(1));
    }
}

/* Bytes 4k..4k+3 of group h of a pair. */
INLINE __m512i iq2_weights(const iq2_pair *p, int h, int k, const iq2_tables *tab)
{
    const __m512i digit =
        _mm512_multishift_epi64_epi8(tab->pick[k >> 1], k & 1 ? p->high[h] : p->low[h]);
    const __m512i sign = _mm512_multishift_epi64_epi8(tab->sign[k], p->signs[h]);
    /* bits 0-1 from digit, the rest from sign; bits 3.. do not matter */
    const __m512i key = _mm512_ternarylogic_epi64(digit, sign, _mm512_set1_epi8(3), 0xe4);
    return _mm512_permutexvar_epi8(key, tab->value);
}

INLINE __m512 iq2_scale(const uint8_t *w, size_t stride)
{
    return _mm512_mul_ps(low_halves(load_column4(w, stride)), _mm512_set1_ps(0.125f));
}

INLINE void fill_iq2_xxs(tile256 *t, const uint8_t *w, size_t stride, const iq2_tables *tab)
{
    for (int c = 0; c < 4; c++) {
        iq2_pair pair;
        load_iq2_pair(&pair, w + 2 + 16 * c, stride, tab);
        UNROLL
        for (int h = 0; h < 2; h++) {
            const int g = 2 * c + h;
            UNROLL
            for (int k = 0; k < 8; k++) t->w[8 * g + k] = iq2_weights(&pair, h, k, tab);
            t->scale[g] = pair.scale[h];
            t->pair[g] = _mm512_or_si512(t->scale[g], _mm512_slli_epi32(t->scale[g], 16));
        }
    }
    t->d = iq2_scale(w, stride);
}

#endif
