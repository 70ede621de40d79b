/* matvec_q256_avx512.c - products of Q2_K and Q4_K rows with one token, for AVX-512 with VNNI. */
#include "kernels/x86/row_q256_avx512.h"

/* ---- activations ---------------------------------------------------------------------- */

static void prepare_q2_k(unit256 *u, size_t b, const ds4_q256 *x)
{
    for (int k = 0; k < 4; k++) {
        memcpy(u->q.of_block[b][k], x->q + 32 * k, 32);
        memcpy(u->q.of_block[b][k] + 32, x->q + 128 + 32 * k, 32);
    }
    memcpy(u->sum[b & 3] + 16 * (b >> 2), x->sum, sizeof x->sum);
}

static void prepare_q4_k(unit256 *u, size_t b, const ds4_q256 *x)
{
    for (int k = 0; k < 4; k++) {
        const int8_t *from = x->q + 128 * (k >> 1) + 32 * (k & 1);
        memcpy(u->q.of_block[b][k], from, 32);
        memcpy(u->q.of_block[b][k] + 32, from + 64, 32);
    }
    memcpy(u->sum[b & 3] + 16 * (b >> 2), x->sum, sizeof x->sum);
}

/* ---- sums of one block, or two ---------------------------------------------------------- */

/* The scaled sums of a block of Q2_K in sixteen parts. The sum of four products is at most
 * 4 * 3 * 127, so two of them fit the words that meet their scales. */
INLINE __m512i q2_k_sums(const uint8_t *w, const int8_t q[4][64])
{
    const __m512i three = _mm512_set1_epi8(3);
    /* Quarters of a plane k are groups 2k, 2k + 1, 2k + 8, 2k + 9; here of planes 0 and 1. */
    const __m512i pick = _mm512_setr_epi64(
        (long long)0x8000800080008000, (long long)0x8002800280028002,
        (long long)0x8001800180018001, (long long)0x8003800380038003,
        (long long)0x8008800880088008, (long long)0x800a800a800a800a,
        (long long)0x8009800980098009, (long long)0x800b800b800b800b);
    const __m512i scales = _mm512_and_si512(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)w)), _mm512_set1_epi8(15));
    const __m512i v = _mm512_loadu_si512(w + 16);
    __m512i s[4];

    UNROLL
    for (int k = 0; k < 4; k++)
        s[k] = _mm512_dpbusd_epi32(_mm512_setzero_si512(),
                                   _mm512_and_si512(_mm512_srli_epi16(v, (unsigned)(2 * k)), three),
                                   _mm512_load_si512(q[k]));
    const __m512i sum01 = _mm512_packs_epi32(s[0], s[1]), sum23 = _mm512_packs_epi32(s[2], s[3]);
    const __m512i more = _mm512_add_epi8(pick, _mm512_set1_epi16(4));
    const __m512i sum = _mm512_dpwssd_epi32(_mm512_setzero_si512(), sum01,
                                            _mm512_shuffle_epi8(scales, pick));
    return _mm512_dpwssd_epi32(sum, sum23, _mm512_shuffle_epi8(scales, more));
}

/* The sums of two blocks of Q2_K times their mins, eight parts each. */
INLINE __m512i q2_k_mins(const uint8_t *w, size_t second, const int16_t sum[32])
{
    const __m256i two = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const void *)w)),
        _mm_loadu_si128((const void *)(w + second)), 1);
    const __m256i mins = _mm256_and_si256(_mm256_srli_epi16(two, 4), _mm256_set1_epi8(15));
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_cvtepu8_epi16(mins),
                               _mm512_load_si512(sum));
}

/* The six-bit numbers of four blocks of Q4_K as bytes: for each its eight mins, then its scales. */
INLINE void unpack_q4_k(uint8_t out[4][16], const uint8_t *w)
{
    const __m512i nibbles = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i high2 = _mm512_set1_epi8(0x30);
    const __m512i down = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 0));
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)w));

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + Q4_K_BYTES)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + 2 * Q4_K_BYTES)), 2);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(w + 3 * Q4_K_BYTES)), 3);
    /* The words 1 and 2 of each: scales and mins of groups 0-3, then of 4-7. */
    const __m512i last = _mm512_srlv_epi32(_mm512_shuffle_epi32(v, _MM_PERM_DDDD), down);
    const __m512i low = _mm512_and_si512(v, six);
    const __m512i high = _mm512_or_si512(_mm512_and_si512(last, nibbles),
                                         _mm512_and_si512(_mm512_srli_epi16(v, 2), high2));
    _mm512_storeu_si512(out, _mm512_mask_blend_epi64(0xaa, _mm512_unpackhi_epi32(low, high),
                                                     _mm512_unpacklo_epi32(low, high)));
}

/* The scaled sums of a block of Q4_K in sixteen parts. The sum of four products is at most
 * 4 * 15 * 127, so two of them fit the words that meet their scales. */
INLINE __m512i q4_k_sums(const uint8_t *w, const uint8_t unpacked[16], const int8_t q[4][64])
{
    const __m512i nibbles = _mm512_set1_epi8(15);
    /* Halves of low and high nibbles are groups 0, 2 and 1, 3; here two of each, interleaved. */
    const __m512i pick = _mm512_setr_epi64(
        (long long)0x8008800880088008, (long long)0x8009800980098009,
        (long long)0x8008800880088008, (long long)0x8009800980098009,
        (long long)0x800a800a800a800a, (long long)0x800b800b800b800b,
        (long long)0x800a800a800a800a, (long long)0x800b800b800b800b);
    const __m512i scales = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)unpacked));
    const __m512i zero = _mm512_setzero_si512();
    __m512i sum = zero;

    UNROLL
    for (int h = 0; h < 2; h++) {
        const __m512i v = _mm512_loadu_si512(w + 16 + 64 * h);
        const __m512i low = _mm512_dpbusd_epi32(zero, _mm512_and_si512(v, nibbles),
                                                _mm512_load_si512(q[2 * h]));
        const __m512i high = _mm512_dpbusd_epi32(
            zero, _mm512_and_si512(_mm512_srli_epi16(v, 4), nibbles), _mm512_load_si512(q[2 * h + 1]));
        const __m512i at = _mm512_add_epi8(pick, _mm512_set1_epi16((short)(4 * h)));
        sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(low, high), _mm512_shuffle_epi8(scales, at));
    }
    return sum;
}

/* The sums of two blocks of Q4_K times their mins, eight parts each. */
INLINE __m512i q4_k_mins(const uint8_t unpacked[16], const uint8_t second[16], const int16_t sum[32])
{
    const __m512i twice = _mm512_broadcast_i64x4(_mm256_setr_epi64x(
        (long long)0x8001800180008000, (long long)0x8003800380028002,
        (long long)0x8005800580048004, (long long)0x8007800780068006));
    const __m512i mins = _mm512_mask_broadcast_i32x4(
        _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)unpacked)), 0xff00,
        _mm_loadu_si128((const void *)second));
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_shuffle_epi8(mins, twice),
                               _mm512_load_si512(sum));
}

/* ---- eight blocks of a row ----------------------------------------------------------------- */

INLINE void keep_q2_k(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                      const void *unit, const void *tables)
{
    const unit256 *u = unit;
    __m512i        s[8], m[4];

    (void)tables;
    UNROLL
    for (int i = 0; i < 8; i++)
        s[i] = q2_k_sums(w + (i & 3) * Q2_K_BYTES + (i & 4 ? second : 0), u->q.of_block[i]);
    UNROLL
    for (int i = 0; i < 4; i++) m[i] = q2_k_mins(w + i * Q2_K_BYTES, second, u->sum[i]);
    keep_unit(k, row, b, s, m, load_heads(w + 80, second, Q2_K_BYTES), u);
}

INLINE void keep_q4_k(kept256 *k, size_t row, size_t b, const uint8_t *w, size_t second,
                      const void *unit, const void *tables)
{
    const unit256 *u = unit;
    _Alignas(64) uint8_t unpacked[8][16];
    __m512i s[8], m[4];

    (void)tables;
    unpack_q4_k(unpacked, w);
    unpack_q4_k(unpacked + 4, w + second);
    UNROLL
    for (int i = 0; i < 8; i++)
        s[i] = q4_k_sums(w + (i & 3) * Q4_K_BYTES + (i & 4 ? second : 0), unpacked[i],
                         u->q.of_block[i]);
    UNROLL
    for (int i = 0; i < 4; i++) m[i] = q4_k_mins(unpacked[i], unpacked[i + 4], u->sum[i]);
    keep_unit(k, row, b, s, m, load_heads(w, second, Q4_K_BYTES), u);
}

MATVEC(ds4_matvec_q2_k_avx512, Q2_K_BYTES, prepare_q2_k, keep_q2_k, const void *t = NULL;)
MATVEC(ds4_matvec_q4_k_avx512, Q4_K_BYTES, prepare_q4_k, keep_q4_k, const void *t = NULL;)
