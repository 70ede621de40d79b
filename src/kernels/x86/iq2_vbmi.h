/* iq2_vbmi.h - IQ2_XXS for processors with VBMI and GFNI: its tables in registers, and one block of 16
 * rows as a tile of bytes. */
#ifndef DS4_KERNELS_IQ2_VBMI_H
#define DS4_KERNELS_IQ2_VBMI_H

#include "kernels/x86/tile_q256_avx512.h"

#include "format/iq2xxs_table.h"

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
        p->low[h] = lookup256(tab->low, index, upper);
        p->high[h] = lookup256(tab->high, index, upper);
        p->signs[h] = _mm512_gf2p8affine_epi64_epi8(s7, tab->parity, 0);
        p->scale[h] = iq2_scales(word);
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

INLINE void fill_iq2_xxs(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    const iq2_tables *tab = tables;

    for (int c = 0; c < 4; c++) {
        iq2_pair pair;
        load_iq2_pair(&pair, w + 2 + 16 * c, stride, tab);
        UNROLL
        for (int h = 0; h < 2; h++) {
            const int g = 2 * c + h;
            UNROLL
            for (int k = 0; k < 8; k++) t->w[8 * g + k] = iq2_weights(&pair, h, k, tab);
            set_iq2_scales(t, g, pair.scale[h]);
        }
    }
    t->d = iq2_scale(w, stride);
}

#endif
