/* matmul_iq2_vbmi.c - products of IQ2_XXS rows with activations in blocks of 256, for AVX-512 with
 * VNNI, VBMI and GFNI. The same bits as matmul_iq2_avx512.c. */
#include "kernels/x86/iq2_vbmi.h"
#include "kernels/x86/product_q256_avx512.h"
#include "kernels/x86/row_q256_avx512.h"

static inline __m512i in_order(__m512i v)
{
    const __m512i order = _mm512_set_epi8(                  /* byte 8j + i = byte 8i + j */
        63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6,
        61, 53, 45, 37, 29, 21, 13, 5, 60, 52, 44, 36, 28, 20, 12, 4,
        59, 51, 43, 35, 27, 19, 11, 3, 58, 50, 42, 34, 26, 18, 10, 2,
        57, 49, 41, 33, 25, 17, 9, 1, 56, 48, 40, 32, 24, 16, 8, 0);
    return _mm512_permutexvar_epi8(order, v);
}

/* Vector j of weights: values j of 32 codewords of each of two blocks. */
static void prepare_iq2_xxs(unit256 *u, size_t b, const ds4_q256 *x)
{
    prepare_iq2(u, b, x, in_order);
}

/* Tables turn codewords into weights. A key has the digits of two neighbours in bits 0-3 and their
 * signs in bits 4 and 5. */
typedef struct iq2_row_tables {
    iq2_tables of;
    __m512i first, second;      /* by key: the weights, plus an offset */
} iq2_row_tables;

INLINE void make_row_tables(iq2_row_tables *t)
{
    static const int8_t value[4] = { 8, 25, 43, 0 };
    int8_t first[64], second[64];

    for (int key = 0; key < 64; key++) {
        const int a = value[key & 3], b = value[key >> 2 & 3];
        first[key] = (int8_t)(IQ2_OFFSET + (key & 16 ? -a : a));
        second[key] = (int8_t)(IQ2_OFFSET + (key & 32 ? -b : b));
    }
    make_iq2_tables(&t->of, IQ2_OFFSET);
    t->first = _mm512_loadu_si512(first);
    t->second = _mm512_loadu_si512(second);
}

/* The scaled sums of the groups of two blocks. */
INLINE __m512i iq2_xxs_sums(const uint8_t *w, size_t second, const int8_t q[8][64],
                            const int32_t start[16], const void *tables)
{
    const iq2_row_tables *t = tables;
    const __m512i digits = _mm512_set1_epi8(15);
    __m512i index, word;

    load_iq2(&index, &word, w, second);
    const __mmask64 upper = _mm512_movepi8_mask(index);
    const __m512i low = lookup256(t->of.low, index, upper), high = lookup256(t->of.high, index, upper);
    const __m512i sign = _mm512_gf2p8affine_epi64_epi8(
        _mm512_multishift_epi64_epi8(t->of.sign7, word), t->of.parity, 0);
    /* bits 0-3 of the first, the rest of the second */
    const __m512i key[4] = {
        _mm512_ternarylogic_epi64(low, _mm512_slli_epi16(sign, 4), digits, 0xe4),
        _mm512_ternarylogic_epi64(_mm512_srli_epi16(low, 4), _mm512_slli_epi16(sign, 2), digits, 0xe4),
        _mm512_ternarylogic_epi64(high, sign, digits, 0xe4),
        _mm512_ternarylogic_epi64(_mm512_srli_epi16(high, 4), _mm512_srli_epi16(sign, 2), digits, 0xe4),
    };
    __m512i sum = _mm512_load_si512(start), other = _mm512_setzero_si512();
    UNROLL
    for (int j = 0; j < 4; j++) {
        sum = _mm512_dpbusd_epi32(sum, _mm512_permutexvar_epi8(key[j], t->first),
                                  _mm512_load_si512(q[2 * j]));
        other = _mm512_dpbusd_epi32(other, _mm512_permutexvar_epi8(key[j], t->second),
                                    _mm512_load_si512(q[2 * j + 1]));
    }
    return _mm512_mullo_epi32(_mm512_add_epi32(sum, other), iq2_scales(word));
}

INLINE void keep_iq2_xxs(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                         const void *unit, const void *tables)
{
    keep_iq2(k, row, b, w, second, unit, tables, iq2_xxs_sums);
}

static MATVEC(matvec_iq2_xxs, IQ2_XXS_BYTES, prepare_iq2_xxs, keep_iq2_xxs,
              iq2_row_tables t[1]; make_row_tables(t);)
MATMUL(ds4_matmul_iq2_xxs_vbmi, IQ2_XXS_BYTES, KIND_SHIFT32, fill_iq2_xxs,
       iq2_tables t[1]; make_iq2_tables(t, IQ2_OFFSET);, matvec_iq2_xxs)

void ds4_kernels_vbmi_iq2(ds4_kernels *k)
{
    k->matmul[DS4_IQ2_XXS] = ds4_matmul_iq2_xxs_vbmi;
}
