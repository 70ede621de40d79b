/* rows_avx2.c - round and pack vectors for AVX2; bit-exact with ref/rows_ref.c, where the
 * rules are explained. */
#include "kernels/x86/float_avx2.h"
#include "kernels/blocks.h"
#include "kernels/kernel_init.h"

#include <float.h>

enum { FINITE_LIMIT = 0x7f800000, E8M0_NAN = 255 };

INLINE __m256i magnitude_bits(__m256 v)
{
    return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff));
}

INLINE uint32_t max_bits(const float *x, size_t n)
{
    __m256i max = _mm256_setzero_si256();

    for (size_t i = 0; i < n; i += 8)
        max = _mm256_max_epu32(max, magnitude_bits(load8(x + i, n - i)));
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epu32(m, _mm_unpackhi_epi64(m, m));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* The low bytes of eight int32 lanes in order. */
INLINE __m128i narrow8(__m256i v)
{
    const __m256i words = _mm256_packs_epi32(v, v);
    const __m256i bytes = _mm256_packs_epi16(words, words);
    return _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
}

/* ---- activations ---------------------------------------------------------------------- */

/* The block as int8 and its scale d = amax / 127; see quantize_block() of the reference. */
INLINE float quantize_block(int8_t *q, const float *x, size_t n)
{
    const uint32_t max = max_bits(x, n);
    const float    d = float_of_bits(max) / 127.0f;

    if (max >= FINITE_LIMIT || d < FLT_MIN) {
        memset(q, 0, n);
        return max >= FINITE_LIMIT ? NAN : 0.0f;
    }
    const __m256 inv = _mm256_set1_ps(1.0f / d);
    for (size_t i = 0; i < n; i += 8) {
        const __m256i v = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), inv));
        _mm_storel_epi64((void *)(q + i), narrow8(v));
    }
    return d;
}

static void quantize_q32(ds4_q32 *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / 32; b++) out[b].d = quantize_block(out[b].q, x + 32 * b, 32);
}

static void quantize_q256(ds4_q256 *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / 256; b++) {
        out[b].d = quantize_block(out[b].q, x + 256 * b, 256);
        for (int j = 0; j < 16; j++) {
            const __m128i q = _mm_loadu_si128((const void *)(out[b].q + 16 * j));
            const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), q);
            __m128i s = _mm_madd_epi16(pairs, _mm_set1_epi16(1));
            s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
            out[b].sum[j] = (int16_t)(_mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1));
        }
    }
}

/* ---- attention rows --------------------------------------------------------------------- */

/* E4M3 codes of 8 scaled values, ties to even, clamped to +-448; see float_to_e4m3(). */
INLINE __m256i e4m3_codes(__m256 v)
{
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi32(bits, 24), _mm256_set1_epi32(0x80));
    const __m256i a = _mm256_min_epu32(magnitude_bits(v), _mm256_set1_epi32(0x43e00000));
    const __m256i even = _mm256_and_si256(_mm256_srli_epi32(a, 20), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(a, even), _mm256_set1_epi32(0x7ffff - 0x3c000000));
    const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(0x3c800000), a);
    const __m256i units =
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_castsi256_ps(a), _mm256_set1_ps(0x1p9f)));
    const __m256i code = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 20), units, small);
    return _mm256_or_si256(code, sign);
}

static uint8_t pack_e4m3(uint8_t *code, const float *x, size_t n)
{
    const uint32_t max = max_bits(x, n);
    const float    amax = float_of_bits(max);

    if (max >= FINITE_LIMIT) {
        memset(code, 0, n);
        return E8M0_NAN;
    }
    const uint8_t e = e8m0_ceil((amax > 1e-4f ? amax : 1e-4f) / 448.0f);
    const float   inv = e8m0_to_float((uint8_t)(254 - e));
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i c = e4m3_codes(_mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(inv)));
        /* codes reach 255: packing as signed words first, then as unsigned bytes */
        const __m256i words = _mm256_packus_epi32(c, c), bytes = _mm256_packus_epi16(words, words);
        _mm_storel_epi64(
            (void *)(code + i),
            _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
    }
    for (; i < n; i++) code[i] = float_to_e4m3(x[i] * inv);
    return e;
}

static void kv_pack(void *row, const float *x, uint32_t n_nope, uint32_t n_rot)
{
    uint8_t *code = row, *scale = code + n_nope;
    uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);
    uint32_t i = 0;

    for (uint32_t b = 0; b < n_nope; b += 64)
        *scale++ = pack_e4m3(code + b, x + b, n_nope - b < 64 ? n_nope - b : 64);
    while (scale < rot) *scale++ = 0;
    for (; i + 8 <= n_rot; i += 8) {
        const __m256 v = _mm256_loadu_ps(x + n_nope + i);
        _mm_storeu_si128((void *)(rot + 2 * i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n_rot; i++) {
        const uint16_t h = float_to_half(x[n_nope + i]);
        memcpy(rot + 2 * i, &h, sizeof h);
    }
}

/* Eight E4M3 codes: as halves their exponent is 8 too small, which one product mends. The
 * code 0x7f means NaN. */
INLINE __m256 e4m3_values(__m128i code)
{
    const __m128i wide = _mm_cvtepu8_epi16(code), nan = _mm_set1_epi16(0x7f);
    const __m128i magnitude = _mm_and_si128(wide, nan);
    const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
    const __m128i half = _mm_or_si128(_mm_slli_epi16(magnitude, 7), sign);
    const __m128i fixed =
        _mm_blendv_epi8(half, _mm_set1_epi16(0x7e00), _mm_cmpeq_epi16(magnitude, nan));
    return _mm256_mul_ps(_mm256_cvtph_ps(fixed), _mm256_set1_ps(256.0f));
}

static void kv_unpack(float *x, const void *row, uint32_t n_nope, uint32_t n_rot)
{
    const uint8_t *code = row, *scale = code + n_nope;
    const uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);
    uint32_t i = 0, j = 0;

    for (; i + 8 <= n_nope; i += 8) {
        const __m256 v = e4m3_values(_mm_loadl_epi64((const void *)(code + i)));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(v, _mm256_set1_ps(e8m0_to_float(scale[i / 64]))));
    }
    for (; i < n_nope; i++) x[i] = e4m3_to_float(code[i]) * e8m0_to_float(scale[i / 64]);
    for (; j + 8 <= n_rot; j += 8)
        _mm256_storeu_ps(x + n_nope + j,
                         _mm256_cvtph_ps(_mm_loadu_si128((const void *)(rot + 2 * j))));
    for (; j < n_rot; j++) x[n_nope + j] = load_half(rot + 2 * j);
}

/* ---- indexer rows ----------------------------------------------------------------------- */

/* E2M1 codes of 8 scaled values in int32 lanes; the bounds are those of float_to_e2m1(). A
 * comparison that holds is -1. */
INLINE __m256i e2m1_codes(__m256 v)
{
    static const float bound[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
    const __m256 a = _mm256_castsi256_ps(magnitude_bits(v));
    __m256i code = _mm256_setzero_si256();

    UNROLL
    for (int i = 0; i < 7; i++) {
        const __m256 b = _mm256_set1_ps(bound[i]);
        const __m256 above =
            i & 1 ? _mm256_cmp_ps(a, b, _CMP_GE_OQ) : _mm256_cmp_ps(a, b, _CMP_GT_OQ);
        code = _mm256_sub_epi32(code, _mm256_castps_si256(above));
    }
    const __m256i sign = _mm256_srli_epi32(_mm256_castps_si256(v), 31);
    return _mm256_or_si256(code, _mm256_slli_epi32(sign, 3));
}

static uint8_t pack_e2m1(uint8_t *code, const float *x)
{
    const uint32_t max = max_bits(x, 32);
    const float    amax = float_of_bits(max), least = 6.0f * 0x1p-126f;

    if (max >= FINITE_LIMIT) {
        memset(code, 0, 16);
        return E8M0_NAN;
    }
    const uint8_t e = e8m0_ceil((amax > least ? amax : least) / 6.0f);
    const __m256  inv = _mm256_set1_ps(e8m0_to_float((uint8_t)(254 - e)));
    for (int i = 0; i < 4; i++) {
        const __m128i c = narrow8(e2m1_codes(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inv)));
        const __m128i joined = _mm_maddubs_epi16(c, _mm_set1_epi16(0x1001)); /* low + 16 * high */
        const int four = _mm_cvtsi128_si32(_mm_packus_epi16(joined, joined));
        memcpy(code + 4 * i, &four, sizeof four);
    }
    return e;
}

static void index_pack(void *row, const float *x, uint32_t n)
{
    uint8_t *code = row, *scale = code + n / 2;
    for (uint32_t b = 0; b < n / 32; b++) scale[b] = pack_e2m1(code + 16 * b, x + 32 * b);
}

/* Magnitudes by a lookup of eight floats; the sign bit is put on top. */
static void index_unpack(float *x, const void *row, uint32_t n)
{
    const __m256  value = _mm256_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f);
    const __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const uint8_t *code = row, *scale = code + n / 2;

    for (uint32_t i = 0; i < n; i += 8) {
        const __m256i nibble =
            _mm256_srlv_epi32(_mm256_set1_epi32((int)load_u32(code + i / 2)), shift);
        const __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(nibble, 3), 31);
        const __m256 v =
            _mm256_or_ps(_mm256_permutevar8x32_ps(value, nibble), _mm256_castsi256_ps(sign));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(v, _mm256_set1_ps(e8m0_to_float(scale[i / 32]))));
    }
}

void ds4_kernels_avx2_rows(ds4_kernels *k)
{
    k->quantize_q32 = quantize_q32;
    k->quantize_q256 = quantize_q256;
    k->kv_pack = kv_pack;
    k->kv_unpack = kv_unpack;
    k->index_pack = index_pack;
    k->index_unpack = index_unpack;
}
