/* tile_neon.h - loads of tails, sums, the exponential and tiles of four rows for NEON.
 *
 * A tile is transposed: lane r of a vector belongs to row r and holds four consecutive values
 * as bytes, and sdot takes the activations of one lane for all rows. Sixteen float lanes are
 * four vectors here. Orders of addition are those of the x86 sets, so the bits are too. */
#ifndef DS4_KERNELS_TILE_NEON_H
#define DS4_KERNELS_TILE_NEON_H

#include "kernels/block_call.h"
#include "kernels/blocks.h"

#include <arm_neon.h>
#include <stddef.h>

#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"       /* sanitizers prevent unrolling */
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { TILE_ROWS = 4 };

/* ---- floats --------------------------------------------------------------------------- */

/* The first n of four floats at p, zeros behind them; p at any alignment. */
INLINE float32x4_t load4(const void *p, size_t n)
{
    float copy[4] = { 0 };
    if (n >= 4) return vreinterpretq_f32_u8(vld1q_u8(p));
    memcpy(copy, p, 4 * n);
    return vld1q_f32(copy);
}

INLINE void store4(float *p, size_t n, float32x4_t v)
{
    float copy[4];
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    vst1q_f32(copy, v);
    memcpy(p, copy, 4 * n);
}

/* Values 4i.. that exist of n: how many of the four from i on. */
INLINE size_t left_of(size_t n, size_t i)
{
    return n > i ? n - i : 0;
}

INLINE float sum_lanes(const float32x4_t v[4])
{
    const float32x4_t s4 = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    const float32x2_t s2 = vadd_f32(vget_low_f32(s4), vget_high_f32(s4));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

/* e^x with a relative error below 3e-7; see exp16() in x86/float_avx512.h. vmaxq and vminq
 * keep NaN. */
INLINE float32x4_t exp4(float32x4_t x)
{
    x = vmaxq_f32(vdupq_n_f32(-120.0f), vminq_f32(vdupq_n_f32(120.0f), x));
    const float32x4_t n = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(0x1.715476p+0f)));
    float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0x1.62e400p-1f));
    r = vfmsq_f32(r, n, vdupq_n_f32(0x1.7f7d1cp-20f));
    float32x4_t p = vdupq_n_f32(1.0f / 5040.0f);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 720.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    const int32x4_t exp = vcvtq_s32_f32(n), half = vshrq_n_s32(exp, 1), rest = vsubq_s32(exp, half);
    const float32x4_t a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, vdupq_n_s32(127)), 23));
    const float32x4_t b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, vdupq_n_s32(127)), 23));
    return vmulq_f32(vmulq_f32(p, a), b);
}

/* ---- tiles ---------------------------------------------------------------------------- */

/* v[j] lane r becomes v[r] lane j. */
INLINE void transpose4(uint32x4_t v[4])
{
    const uint32x4_t a = vtrn1q_u32(v[0], v[1]), b = vtrn2q_u32(v[0], v[1]);
    const uint32x4_t c = vtrn1q_u32(v[2], v[3]), d = vtrn2q_u32(v[2], v[3]);
    v[0] = vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(c)));
    v[1] = vreinterpretq_u32_u64(vtrn1q_u64(vreinterpretq_u64_u32(b), vreinterpretq_u64_u32(d)));
    v[2] = vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(a), vreinterpretq_u64_u32(c)));
    v[3] = vreinterpretq_u32_u64(vtrn2q_u64(vreinterpretq_u64_u32(b), vreinterpretq_u64_u32(d)));
}

/* Sixteen bytes at p of each of 4 rows: v[j] lane r = bytes 4j..4j+3 of row r. */
INLINE void load_columns(uint8x16_t v[4], const uint8_t *p, size_t stride)
{
    uint32x4_t t[4];

    UNROLL
    for (int r = 0; r < 4; r++) t[r] = vreinterpretq_u32_u8(vld1q_u8(p + (size_t)r * stride));
    transpose4(t);
    UNROLL
    for (int j = 0; j < 4; j++) v[j] = vreinterpretq_u8_u32(t[j]);
}

/* The halves at p of each of 4 rows. */
INLINE float32x4_t load_halves(const uint8_t *p, size_t stride)
{
    const uint16_t h[4] = { load_u16(p), load_u16(p + stride), load_u16(p + 2 * stride),
                            load_u16(p + 3 * stride) };
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

/* Byte b of each lane, as int32. */
INLINE int32x4_t lane_byte(uint8x16_t v, int b)
{
    const uint32x4_t shifted = vshlq_u32(vreinterpretq_u32_u8(v), vdupq_n_s32(-8 * b));
    return vreinterpretq_s32_u32(vandq_u32(shifted, vdupq_n_u32(255)));
}

/* The n_rows < 4 last rows of a part, padded with zeros to a whole tile. */
INLINE void copy_part(uint8_t *out, const uint8_t *w, size_t stride, size_t n_rows,
                      size_t part_bytes)
{
    for (size_t r = 0; r < n_rows; r++) memcpy(out + r * part_bytes, w + r * stride, part_bytes);
    memset(out + n_rows * part_bytes, 0, (TILE_ROWS - n_rows) * part_bytes);
}

#endif
