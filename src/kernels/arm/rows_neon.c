/* rows_neon.c - round and pack vectors for NEON; bit-exact with ref/rows_ref.c, where the
 * rules are explained. */
#include "kernels/arm/tile_neon.h"
#include "kernels/kernel_init.h"

#include <float.h>

enum { FINITE_LIMIT = 0x7f800000, E8M0_NAN = 255 };

INLINE uint32x4_t magnitude_bits(float32x4_t v)
{
    return vandq_u32(vreinterpretq_u32_f32(v), vdupq_n_u32(0x7fffffff));
}

INLINE uint32_t max_bits(const float *x, size_t n)
{
    uint32x4_t max = vdupq_n_u32(0);
    for (size_t i = 0; i < n; i += 4) max = vmaxq_u32(max, magnitude_bits(load4(x + i, n - i)));
    return vmaxvq_u32(max);
}

/* Eight values rounded to int8, ties to even; |v * inv| < 127.5. */
INLINE int8x8_t round_int8(const float *x, float32x4_t inv)
{
    const int32x4_t a = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x), inv));
    const int32x4_t b = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 4), inv));
    return vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b)));
}

/* The block as int8 and its scale d = amax / 127; see quantize_block() of the reference. */
INLINE float quantize_block(int8_t *q, const float *x, size_t n)
{
    const uint32_t max = max_bits(x, n);
    const float    d = float_of_bits(max) / 127.0f;

    if (max >= FINITE_LIMIT || d < FLT_MIN) {
        memset(q, 0, n);
        return max >= FINITE_LIMIT ? NAN : 0.0f;
    }
    const float32x4_t inv = vdupq_n_f32(1.0f / d);
    for (size_t i = 0; i < n; i += 8) vst1_s8(q + i, round_int8(x + i, inv));
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
        for (int j = 0; j < 16; j++) out[b].sum[j] = vaddlvq_s8(vld1q_s8(out[b].q + 16 * j));
    }
}

/* ---- attention rows --------------------------------------------------------------------- */

/* E4M3 codes of 4 scaled values, ties to even, clamped to +-448; see float_to_e4m3(). */
INLINE uint32x4_t e4m3_codes(float32x4_t v)
{
    const uint32x4_t sign = vandq_u32(vshrq_n_u32(vreinterpretq_u32_f32(v), 24), vdupq_n_u32(0x80));
    const uint32x4_t a = vminq_u32(magnitude_bits(v), vdupq_n_u32(0x43e00000));
    const uint32x4_t even = vandq_u32(vshrq_n_u32(a, 20), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(a, even), vdupq_n_u32(0x7ffffu - 0x3c000000u));
    const uint32x4_t units =
        vcvtnq_u32_f32(vmulq_f32(vreinterpretq_f32_u32(a), vdupq_n_f32(0x1p9f)));
    const uint32x4_t small = vcltq_u32(a, vdupq_n_u32(0x3c800000));
    return vorrq_u32(vbslq_u32(small, units, vshrq_n_u32(rounded, 20)), sign);
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
        const uint32x4_t a = e4m3_codes(vmulq_f32(vld1q_f32(x + i), vdupq_n_f32(inv)));
        const uint32x4_t b = e4m3_codes(vmulq_f32(vld1q_f32(x + i + 4), vdupq_n_f32(inv)));
        vst1_u8(code + i, vmovn_u16(vcombine_u16(vmovn_u32(a), vmovn_u32(b))));
    }
    for (; i < n; i++) code[i] = float_to_e4m3(x[i] * inv);
    return e;
}

static void kv_pack(void *row, const float *x, uint32_t n_nope, uint32_t n_rot)
{
    uint8_t *code = row, *scale = code + n_nope;
    uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);

    for (uint32_t b = 0; b < n_nope; b += 64)
        *scale++ = pack_e4m3(code + b, x + b, n_nope - b < 64 ? n_nope - b : 64);
    while (scale < rot) *scale++ = 0;
    for (uint32_t i = 0; i < n_rot; i++) {
        const uint16_t h = float_to_half(x[n_nope + i]);
        memcpy(rot + 2 * i, &h, sizeof h);
    }
}

/* Eight E4M3 codes as floats: as halves their exponent is 8 too small, which one product
 * mends. The code 0x7f means NaN. */
INLINE void e4m3_values(float32x4_t out[2], uint8x8_t code)
{
    const uint16x8_t wide = vmovl_u8(code), nan = vdupq_n_u16(0x7f);
    const uint16x8_t magnitude = vandq_u16(wide, nan);
    const uint16x8_t sign = vshlq_n_u16(vandq_u16(wide, vdupq_n_u16(0x80)), 8);
    uint16x8_t half = vorrq_u16(vshlq_n_u16(magnitude, 7), sign);
    half = vbslq_u16(vceqq_u16(magnitude, nan), vdupq_n_u16(0x7e00), half);
    const float16x8_t h = vreinterpretq_f16_u16(half);
    out[0] = vmulq_f32(vcvt_f32_f16(vget_low_f16(h)), vdupq_n_f32(256.0f));
    out[1] = vmulq_f32(vcvt_f32_f16(vget_high_f16(h)), vdupq_n_f32(256.0f));
}

static void kv_unpack(float *x, const void *row, uint32_t n_nope, uint32_t n_rot)
{
    const uint8_t *code = row, *scale = code + n_nope;
    const uint8_t *rot = code + ds4_kv_row_bytes(n_nope, 0);
    uint32_t i = 0, j = 0;

    for (; i + 8 <= n_nope; i += 8) {
        const float32x4_t d = vdupq_n_f32(e8m0_to_float(scale[i / 64]));
        float32x4_t v[2];
        e4m3_values(v, vld1_u8(code + i));
        vst1q_f32(x + i, vmulq_f32(v[0], d));
        vst1q_f32(x + i + 4, vmulq_f32(v[1], d));
    }
    for (; i < n_nope; i++) x[i] = e4m3_to_float(code[i]) * e8m0_to_float(scale[i / 64]);
    for (; j + 4 <= n_rot; j += 4) {
        const uint8x8_t h = vld1_u8(rot + 2 * j);
        vst1q_f32(x + n_nope + j, vcvt_f32_f16(vreinterpret_f16_u8(h)));
    }
    for (; j < n_rot; j++) x[n_nope + j] = load_half(rot + 2 * j);
}

/* ---- indexer rows ----------------------------------------------------------------------- */

/* E2M1 codes of 4 scaled values; the bounds are those of float_to_e2m1(). A comparison that
 * holds is -1. */
INLINE uint32x4_t e2m1_codes(float32x4_t v)
{
    static const float bound[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
    const float32x4_t a = vabsq_f32(v);
    uint32x4_t code = vdupq_n_u32(0);

    UNROLL
    for (int i = 0; i < 7; i++) {
        const float32x4_t b = vdupq_n_f32(bound[i]);
        code = vsubq_u32(code, i & 1 ? vcgeq_f32(a, b) : vcgtq_f32(a, b));
    }
    return vorrq_u32(code, vshlq_n_u32(vshrq_n_u32(vreinterpretq_u32_f32(v), 31), 3));
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
    const float32x4_t inv = vdupq_n_f32(e8m0_to_float((uint8_t)(254 - e)));
    for (int i = 0; i < 2; i++) {
        uint16x4_t c[4];
        UNROLL
        for (int j = 0; j < 4; j++)
            c[j] = vmovn_u32(e2m1_codes(vmulq_f32(vld1q_f32(x + 16 * i + 4 * j), inv)));
        const uint8x8_t low = vmovn_u16(vcombine_u16(c[0], c[1])),
                        high = vmovn_u16(vcombine_u16(c[2], c[3]));
        const uint8x8_t even = vuzp1_u8(low, high), odd = vuzp2_u8(low, high);
        vst1_u8(code + 8 * i, vorr_u8(even, vshl_n_u8(odd, 4)));
    }
    return e;
}

static void index_pack(void *row, const float *x, uint32_t n)
{
    uint8_t *code = row, *scale = code + n / 2;
    for (uint32_t b = 0; b < n / 32; b++) scale[b] = pack_e2m1(code + 16 * b, x + 32 * b);
}

void ds4_kernels_neon_rows(ds4_kernels *k)
{
    k->quantize_q32 = quantize_q32;
    k->quantize_q256 = quantize_q256;
    k->kv_pack = kv_pack;
    k->kv_unpack = kv_unpack;
    k->index_pack = index_pack;
}
