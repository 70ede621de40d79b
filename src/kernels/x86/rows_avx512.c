/* rows_avx512.c - round and pack vectors for AVX-512; bit-exact with ref/rows_ref.c, where
 * the rules are explained. */
#include "kernels/x86/float_avx512.h"
#include "kernels/blocks.h"
#include "kernels/kernel_init.h"

#include <float.h>

enum { FINITE_LIMIT = 0x7f800000, E8M0_NAN = 255 };

INLINE __m512i magnitude_bits(__m512 v)
{
    return _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7fffffff));
}

/* ---- activations ---------------------------------------------------------------------- */

/* The reciprocal of the scale d = amax / 127, or 0 for a block that becomes all zeros. */
INLINE float block_scale(uint32_t max, float *d)
{
    *d = float_of_bits(max) / 127.0f;
    if (max < FINITE_LIMIT && *d >= FLT_MIN) return 1.0f / *d;
    *d = max >= FINITE_LIMIT ? NAN : 0.0f;
    return 0.0f;
}

/* Sixteen values as int8; keep is 0 for a block of zeros, where v may not be finite. */
INLINE __m128i round_int8(__m512 v, __m512 inv, __mmask16 keep)
{
    return _mm512_cvtepi32_epi8(_mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(v, inv)));
}

static void quantize_q32(ds4_q32 *out, const float *x, size_t n)
{
    for (size_t b = 0; b < n / 32; b++, x += 32) {
        const __m512 v0 = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
        const __m512i max = _mm512_max_epu32(magnitude_bits(v0), magnitude_bits(v1));
        const float   inv = block_scale((uint32_t)_mm512_reduce_max_epu32(max), &out[b].d);
        const __m512  iv = _mm512_set1_ps(inv);
        const __mmask16 keep = inv != 0.0f ? 0xffff : 0;

        _mm_storeu_si128((void *)out[b].q, round_int8(v0, iv, keep));
        _mm_storeu_si128((void *)(out[b].q + 16), round_int8(v1, iv, keep));
    }
}

static void quantize_q256(ds4_q256 *out, const float *x, size_t n)
{
    const __m512i ones8 = _mm512_set1_epi8(1);

    for (size_t b = 0; b < n / 256; b++, x += 256) {
        __m512i max = magnitude_bits(_mm512_loadu_ps(x));
        for (int i = 16; i < 256; i += 16)
            max = _mm512_max_epu32(max, magnitude_bits(_mm512_loadu_ps(x + i)));
        const float  inv = block_scale((uint32_t)_mm512_reduce_max_epu32(max), &out[b].d);
        const __m512 iv = _mm512_set1_ps(inv);
        const __mmask16 keep = inv != 0.0f ? 0xffff : 0;

        for (int i = 0; i < 256; i += 16)
            _mm_storeu_si128((void *)(out[b].q + i), round_int8(_mm512_loadu_ps(x + i), iv, keep));
        for (int j = 0; j < 4; j++) {           /* four sums of 16 from 64 values */
            const __m512i q = _mm512_loadu_si512(out[b].q + 64 * j);
            __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones8, q);
            s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0xb1));
            s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0x4e));
            const __m512i four = _mm512_maskz_compress_epi32(0x1111, s);
            _mm_storel_epi64((void *)(out[b].sum + 4 * j),
                             _mm256_castsi256_si128(_mm512_cvtepi32_epi16(four)));
        }
    }
}

/* ---- attention rows --------------------------------------------------------------------- */

/* E4M3 codes of 16 scaled values, ties to even, clamped to +-448; see float_to_e4m3(). */
INLINE __m128i e4m3_codes(__m512 v)
{
    const __m512i bits = _mm512_castps_si512(v), one = _mm512_set1_epi32(1);
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 24), _mm512_set1_epi32(0x80));
    const __m512i a = _mm512_min_epu32(magnitude_bits(v), _mm512_set1_epi32(0x43e00000));
    const __m512i even = _mm512_and_si512(_mm512_srli_epi32(a, 20), one);
    const __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(a, even), _mm512_set1_epi32(0x7ffff - 0x3c000000));
    const __mmask16 small = _mm512_cmplt_epu32_mask(a, _mm512_set1_epi32(0x3c800000));
    const __m512 units = _mm512_mul_ps(_mm512_castsi512_ps(a), _mm512_set1_ps(0x1p9f));
    const __m512i code = _mm512_mask_cvtps_epi32(_mm512_srli_epi32(rounded, 20), small, units);
    return _mm512_cvtepi32_epi8(_mm512_or_si512(code, sign));
}

static uint8_t pack_e4m3(uint8_t *code, const float *x, size_t n)
{
    __m512i max = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += 16)
        max = _mm512_max_epu32(max, magnitude_bits(_mm512_maskz_loadu_ps(tail_mask(n - i), x + i)));
    const uint32_t bits = (uint32_t)_mm512_reduce_max_epu32(max);
    if (bits >= FINITE_LIMIT) {
        memset(code, 0, n);
        return E8M0_NAN;
    }
    const float   amax = float_of_bits(bits);
    const uint8_t e = e8m0_ceil((amax > 1e-4f ? amax : 1e-4f) / 448.0f);
    const __m512  inv = _mm512_set1_ps(e8m0_to_float((uint8_t)(254 - e)));
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask(n - i);
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inv);
        _mm_mask_storeu_epi8(code + i, mask, e4m3_codes(v));
    }
    return e;
}

static void kv_pack(void *row, const float *x, uint32_t n_nope, uint32_t n_rot)
{
    uint8_t *code = row, *scale = code + n_nope;
    uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);

    for (uint32_t i = 0; i < n_nope; i += 64)
        *scale++ = pack_e4m3(code + i, x + i, n_nope - i < 64 ? n_nope - i : 64);
    while (scale < rot) *scale++ = 0;
    for (uint32_t i = 0; i < n_rot; i += 16) {
        const __mmask16 mask = tail_mask(n_rot - i);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + n_nope + i);
        _mm256_mask_storeu_epi16(rot + 2 * i, mask,
                                 _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

/* Sixteen E4M3 codes: as halves their exponent is 8 too small, which one product mends. The
 * code 0x7f means NaN. */
INLINE __m512 e4m3_values(__m128i code)
{
    const __m256i wide = _mm256_cvtepu8_epi16(code);
    const __m256i magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(magnitude, _mm256_set1_epi16(0x7f));
    __m256i half = _mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign);
    half = _mm256_mask_mov_epi16(half, nan, _mm256_set1_epi16(0x7e00));
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}

static void kv_unpack(float *x, const void *row, uint32_t n_nope, uint32_t n_rot)
{
    const uint8_t *code = row, *scale = code + n_nope;
    const uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);

    for (uint32_t i = 0; i < n_nope; i += 16) {
        const __mmask16 mask = tail_mask(n_nope - i);
        const __m512 d = _mm512_set1_ps(e8m0_to_float(scale[i / 64]));
        const __m512 v = e4m3_values(_mm_maskz_loadu_epi8(mask, code + i));
        _mm512_mask_storeu_ps(x + i, mask, _mm512_mul_ps(v, d));
    }
    for (uint32_t i = 0; i < n_rot; i += 16) {
        const __mmask16 mask = tail_mask(n_rot - i);
        _mm512_mask_storeu_ps(x + n_nope + i, mask,
                              _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, rot + 2 * i)));
    }
}

/* ---- indexer rows ----------------------------------------------------------------------- */

/* E2M1 codes of 16 scaled values in int32 lanes; the bounds are those of float_to_e2m1(). */
INLINE __m512i e2m1_codes(__m512 v)
{
    static const float bound[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
    const __m512 a = _mm512_abs_ps(v);
    const __m512i one = _mm512_set1_epi32(1);
    __m512i code = _mm512_setzero_si512();

    UNROLL
    for (int i = 0; i < 7; i++) {
        const __m512 b = _mm512_set1_ps(bound[i]);
        const __mmask16 above =
            i & 1 ? _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ) : _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
        code = _mm512_mask_add_epi32(code, above, code, one);
    }
    const __m512i sign = _mm512_srli_epi32(_mm512_castps_si512(v), 31);
    return _mm512_or_si512(code, _mm512_slli_epi32(sign, 3));
}

/* Neighbouring codes joined: eight bytes from 16 lanes. */
INLINE __m128i join_nibbles(__m512i code)
{
    const __m512i joined = _mm512_or_si512(code, _mm512_srli_epi64(code, 28));
    return _mm512_cvtepi64_epi8(joined);
}

static uint8_t pack_e2m1(uint8_t *code, const float *x)
{
    const __m512  v0 = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
    const __m512i max = _mm512_max_epu32(magnitude_bits(v0), magnitude_bits(v1));
    const uint32_t bits = (uint32_t)_mm512_reduce_max_epu32(max);
    const float    amax = float_of_bits(bits), least = 6.0f * 0x1p-126f;

    if (bits >= FINITE_LIMIT) {
        memset(code, 0, 16);
        return E8M0_NAN;
    }
    const uint8_t e = e8m0_ceil((amax > least ? amax : least) / 6.0f);
    const __m512  inv = _mm512_set1_ps(e8m0_to_float((uint8_t)(254 - e)));
    _mm_storel_epi64((void *)code, join_nibbles(e2m1_codes(_mm512_mul_ps(v0, inv))));
    _mm_storel_epi64((void *)(code + 8), join_nibbles(e2m1_codes(_mm512_mul_ps(v1, inv))));
    return e;
}

static void index_pack(void *row, const float *x, uint32_t n)
{
    uint8_t *code = row, *scale = code + n / 2;
    for (uint32_t b = 0; b < n / 32; b++) scale[b] = pack_e2m1(code + 16 * b, x + 32 * b);
}

static void index_unpack(float *x, const void *row, uint32_t n)
{
    const __m512 value = _mm512_setr_ps(0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f,
                                        -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f);
    const uint8_t *code = row, *scale = code + n / 2;

    for (uint32_t i = 0; i < n; i += 16) {
        const __m512 d = _mm512_set1_ps(e8m0_to_float(scale[i / 32]));
        const __m512i pairs = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const void *)(code + i / 2)));
        const __m512i index = _mm512_or_si512(pairs, _mm512_slli_epi64(pairs, 28));
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_permutexvar_ps(index, value), d));
    }
}

void ds4_kernels_avx512_rows(ds4_kernels *k)
{
    k->quantize_q32 = quantize_q32;
    k->quantize_q256 = quantize_q256;
    k->kv_pack = kv_pack;
    k->kv_unpack = kv_unpack;
    k->index_pack = index_pack;
    k->index_unpack = index_unpack;
}
