/* matmul_iq2_avx512.c - products of IQ2_XXS rows with activations in blocks of 256, for AVX-512 with
 * VNNI but without VBMI (Cascade Lake), whose permutations move words of 16 bits, not bytes. The
 * sums are those of matmul_iq2_vbmi.c. */
#include "kernels/x86/product_q256_avx512.h"
#include "kernels/x86/row_q256_avx512.h"

#include "format/iq2xxs_table.h"

typedef struct iq2_tables {
    __m512i code[8];            /* of indices 32i..32i+31 */
    __m512i value[2];           /* by digit (bits 0, 1) and sign (bit 2, bit 3): weights + IQ2_OFFSET */
    __m512i parity;             /* by nibble: its parity as bit 7 */
} iq2_tables;

/* Codewords of one register: the digits of values 0-3 and 4-7, two bits each, and their signs, in
 * bits 0-3 and in bits 2-5. */
typedef struct iq2_words {
    __m512i digits[2], signs[2], high_signs[2];
} iq2_words;

INLINE void make_iq2_tables(iq2_tables *t)
{
    static const int8_t value[4] = { 8, 25, 43, 0 };
    int8_t by_key[2][16], parity[16];

    for (int key = 0; key < 16; key++) {
        const int v = value[key & 3];
        by_key[0][key] = (int8_t)(IQ2_OFFSET + (key & 4 ? -v : v));
        by_key[1][key] = (int8_t)(IQ2_OFFSET + (key & 8 ? -v : v));
        parity[key] = (int8_t)(__builtin_popcount((unsigned)key) & 1 ? -128 : 0);
    }
    for (int i = 0; i < 8; i++) t->code[i] = _mm512_loadu_si512(ds4_iq2xxs_codes + 32 * i);
    for (int i = 0; i < 2; i++)
        t->value[i] = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)by_key[i]));
    t->parity = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)parity));
}

/* Bits of a where mask has ones, of b elsewhere. */
INLINE __m512i select_bits(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(a, b, mask, 0xe4);
}

/* The codes of the indices in the low bytes of words. */
INLINE __m512i iq2_codes(__m512i index, const iq2_tables *t)
{
    const __mmask32 bit6 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    const __mmask32 bit7 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    const __m512i a = _mm512_permutex2var_epi16(t->code[0], index, t->code[1]);
    const __m512i b = _mm512_permutex2var_epi16(t->code[2], index, t->code[3]);
    const __m512i c = _mm512_permutex2var_epi16(t->code[4], index, t->code[5]);
    const __m512i d = _mm512_permutex2var_epi16(t->code[6], index, t->code[7]);

    return _mm512_mask_blend_epi16(bit7, _mm512_mask_blend_epi16(bit6, a, b),
                                   _mm512_mask_blend_epi16(bit6, c, d));
}

/* The four times seven signs of each word as four bytes, each with its eighth sign: minus if an odd
 * number of the others is. */
INLINE __m512i iq2_signs(__m512i word, const iq2_tables *t)
{
    const __m512i two = select_bits(_mm512_set1_epi32(0xffff), word, _mm512_slli_epi32(word, 2));
    const __m512i four = select_bits(_mm512_set1_epi16(0xff), two, _mm512_slli_epi16(two, 1));
    const __m512i seven = _mm512_and_si512(four, _mm512_set1_epi8(127));
    const __m512i folded = _mm512_ternarylogic_epi64(_mm512_srli_epi16(seven, 4), seven,
                                                     _mm512_set1_epi8(15), 0x28);  /* (a ^ b) & c */
    return _mm512_or_si512(seven, _mm512_shuffle_epi8(t->parity, folded));
}

/* The four codewords of each lane as bytes, from their indices, and signs and scale. */
INLINE void load_iq2_words(iq2_words *out, __m512i index, __m512i word, const iq2_tables *t)
{
    const __m512i even8 = _mm512_set1_epi16(0xff), nibbles = _mm512_set1_epi8(15);
    const __m512i even = iq2_codes(index, t), odd = iq2_codes(_mm512_srli_epi16(index, 8), t);
    const __m512i signs = iq2_signs(word, t);

    out->digits[0] = select_bits(even8, even, _mm512_slli_epi16(odd, 8));
    out->digits[1] = select_bits(even8, _mm512_srli_epi16(even, 8), odd);
    out->signs[0] = _mm512_and_si512(signs, nibbles);
    out->signs[1] = _mm512_and_si512(_mm512_srli_epi16(signs, 4), nibbles);
    for (int h = 0; h < 2; h++) out->high_signs[h] = _mm512_slli_epi16(out->signs[h], 2);
}

/* Value k of every codeword. */
INLINE __m512i iq2_weights(const iq2_words *words, int k, const iq2_tables *t)
{
    const int half = k >> 2, j = k & 3;
    const __m512i digits = _mm512_srli_epi16(words->digits[half], (unsigned)(2 * j));
    const __m512i signs = j < 2 ? words->high_signs[half] : words->signs[half];

    return _mm512_shuffle_epi8(t->value[j & 1], select_bits(_mm512_set1_epi8(3), digits, signs));
}

/* ---- one token ----------------------------------------------------------------------------- */

static inline __m512i in_order(__m512i v)
{
    const __m512i pairs = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    const __m512i order = _mm512_set_epi16(                 /* word 4j + i = word 8i + j */
        31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12, 4,
        27, 19, 11, 3, 26, 18, 10, 2, 25, 17, 9, 1, 24, 16, 8, 0);
    return _mm512_permutexvar_epi16(order, _mm512_shuffle_epi8(v, pairs));
}

static void prepare_iq2_xxs(unit256 *u, size_t b, const ds4_q256 *x)
{
    prepare_iq2(u, b, x, in_order);
}

/* The scaled sums of the groups of two blocks. */
INLINE __m512i iq2_xxs_sums(const uint8_t *w, size_t second, const int8_t q[8][64],
                            const int32_t start[16], const void *tables)
{
    const iq2_tables *t = tables;
    __m512i   index, word, sum = _mm512_load_si512(start), other = _mm512_setzero_si512();
    iq2_words words;

    load_iq2(&index, &word, w, second);
    load_iq2_words(&words, index, word, t);
    UNROLL
    for (int k = 0; k < 8; k += 2) {
        sum = _mm512_dpbusd_epi32(sum, iq2_weights(&words, k, t), _mm512_load_si512(q[k]));
        other = _mm512_dpbusd_epi32(other, iq2_weights(&words, k + 1, t),
                                    _mm512_load_si512(q[k + 1]));
    }
    return _mm512_mullo_epi32(_mm512_add_epi32(sum, other), iq2_scales(word));
}

INLINE void keep_iq2_xxs(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                         const void *unit, const void *tables)
{
    keep_iq2(k, row, b, w, second, unit, tables, iq2_xxs_sums);
}

static MATVEC(matvec_iq2_xxs, IQ2_XXS_BYTES, prepare_iq2_xxs, keep_iq2_xxs,
              iq2_tables t[1]; make_iq2_tables(t);)

/* ---- several tokens -------------------------------------------------------------------------- */

/* v[k]: value k of four codewords in each lane. Out: four values of codeword i. */
INLINE void transpose_bytes(__m512i out[4], const __m512i v[4])
{
    const __m512i even8 = _mm512_set1_epi16(0xff), even16 = _mm512_set1_epi32(0xffff);
    __m512i two[4];             /* values 0 and 1 of codewords 0 and 2, of 1 and 3; values 2 and 3 */

    UNROLL
    for (int i = 0; i < 4; i += 2) {
        two[i] = select_bits(even8, v[i], _mm512_slli_epi16(v[i + 1], 8));
        two[i + 1] = select_bits(even8, _mm512_srli_epi16(v[i], 8), v[i + 1]);
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        out[i] = select_bits(even16, two[i], _mm512_slli_epi32(two[i + 2], 16));
        out[i + 2] = select_bits(even16, _mm512_srli_epi32(two[i], 16), two[i + 2]);
    }
}

/* The 32 values of group g from its words of 16 rows. */
INLINE void fill_group(tile256 *tile, int g, __m512i index, __m512i word, const iq2_tables *t)
{
    iq2_words words;

    load_iq2_words(&words, index, word, t);
    UNROLL
    for (int half = 0; half < 2; half++) {
        __m512i v[4], of_codeword[4];
        UNROLL
        for (int k = 0; k < 4; k++) v[k] = iq2_weights(&words, 4 * half + k, t);
        transpose_bytes(of_codeword, v);
        UNROLL
        for (int i = 0; i < 4; i++) tile->w[8 * g + 2 * i + half] = of_codeword[i];
    }
    set_iq2_scales(tile, g, iq2_scales(word));
}

INLINE void fill_iq2_xxs(tile256 *t, const uint8_t *w, size_t stride, const void *tables)
{
    __m512i v[4];

    for (int c = 0; c < 4; c++) {
        load_columns(v, w + 2 + 16 * c, stride);    /* indices, signs, indices, signs */
        fill_group(t, 2 * c, v[0], v[1], tables);
        fill_group(t, 2 * c + 1, v[2], v[3], tables);
    }
    t->d = iq2_scale(w, stride);
}

static MATMUL(matmul_iq2_xxs, IQ2_XXS_BYTES, KIND_SHIFT32, fill_iq2_xxs,
              iq2_tables t[1]; make_iq2_tables(t);, matvec_iq2_xxs)

void ds4_kernels_avx512_iq2(ds4_kernels *k)
{
    k->matmul[DS4_IQ2_XXS] = matmul_iq2_xxs;
}
