/* blocks.h - the scalar facts of the encoded blocks: sizes, number formats, field layout.
 *
 * Blocks lie at any alignment, so everything is read through byte pointers.
 * Source: docs/MODEL.md section 9 for the weights, section 7 for the rows. */
#ifndef DS4_KERNELS_BLOCKS_H
#define DS4_KERNELS_BLOCKS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    Q8_0_BYTES = 34,        /* f16 d | int8 q[32] */
    MXFP4_BYTES = 17,       /* e8m0 | 16 bytes: value j low nibble, value j + 16 high */
    Q2_K_BYTES = 84,        /* scale and min nibbles [16] | 2-bit [64] | f16 d | f16 dmin */
    Q4_K_BYTES = 144,       /* f16 d | f16 dmin | packed 6-bit [12] | nibbles [128] */
    Q6_K_BYTES = 210,       /* low nibbles [128] | high 2 bits [64] | int8 scale [16] | f16 d */
    IQ2_XXS_BYTES = 66,     /* f16 d | 8 groups: 4 codebook indices, u32 of signs and scale */
    T66_BYTES = 66,         /* f16 d | a circle of 512 bits, 2 for each value */
};

static inline uint16_t load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float half_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t exp = (h >> 10) & 31, frac = h & 1023;

    if (exp == 31) return float_of_bits(sign | 0x7f800000 | frac << 13);
    if (exp != 0) return float_of_bits(sign | (exp + 112) << 23 | frac << 13);
    const float magnitude = (float)frac * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

/* Nearest half, ties to even; too large becomes infinity, NaN stays NaN. */
static inline uint16_t float_to_half(float f)
{
    const uint32_t bits = bits_of_float(f);
    const uint32_t sign = bits >> 16 & 0x8000, a = bits & 0x7fffffff;

    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00);          /* rounds to 65536 or more */
    if (a < 0x38800000) {                                           /* below 2^-14: subnormal */
        const float m = rintf(float_of_bits(a) * 0x1p24f);          /* 0..1024 */
        return (uint16_t)(sign | (uint32_t)m);
    }
    return (uint16_t)(sign | ((a + 0xfff + (a >> 13 & 1)) - 0x38000000) >> 13);
}

static inline float load_half(const uint8_t *p)
{
    return half_to_float(load_u16(p));
}

static inline float bf16_to_float(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

/* 2^(e - 127); the code 255 means NaN. */
static inline float e8m0_to_float(uint8_t e)
{
    return e == 0 ? 0x1p-127f : e == 255 ? NAN : float_of_bits((uint32_t)e << 23);
}

/* The code of the smallest power of two >= v, for 2^-126 <= v <= FLT_MAX / 2. */
static inline uint8_t e8m0_ceil(float v)
{
    const uint32_t bits = bits_of_float(v);
    return (uint8_t)((bits >> 23) + ((bits & 0x7fffff) != 0));
}

static inline float e4m3_to_float(uint8_t c)
{
    const uint32_t sign = (uint32_t)(c & 0x80) << 24, exp = c >> 3 & 15, frac = c & 7;

    if (exp == 15 && frac == 7) return NAN;
    if (exp != 0) return float_of_bits(sign | (exp + 120) << 23 | frac << 20);
    const float magnitude = (float)frac * 0x1p-9f;
    return sign ? -magnitude : magnitude;
}

/* Nearest E4M3 code, ties to the even code, clamped to +-448; v is not NaN. */
static inline uint8_t float_to_e4m3(float v)
{
    const uint32_t bits = bits_of_float(v);
    const uint32_t sign = bits >> 24 & 0x80;
    uint32_t a = bits & 0x7fffffff;

    if (a > 0x43e00000) a = 0x43e00000;                             /* 448 */
    if (a < 0x3c800000) {                                           /* below 2^-6: subnormal */
        const float m = rintf(float_of_bits(a) * 0x1p9f);           /* 0..8, 8 is 2^-6 */
        return (uint8_t)(sign | (uint32_t)m);
    }
    return (uint8_t)(sign | ((a + 0x7ffff + (a >> 20 & 1)) - 0x3c000000) >> 20);
}

/* Twice the value of an E2M1 code: small integers. */
static inline int e2m1_twice(unsigned c)
{
    static const int8_t twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    return twice[c & 15];
}

static inline float e2m1_to_float(unsigned c)
{
    const float magnitude = (float)e2m1_twice(c & 7) * 0.5f;
    return c & 8 ? -magnitude : magnitude;
}

/* Nearest E2M1 code, ties to the even code, clamped to +-6; v is not NaN. The bounds are
 * the midpoints; at a midpoint the even one of the two neighbours wins. */
static inline uint8_t float_to_e2m1(float v)
{
    const float    a = fabsf(v);
    const unsigned sign = bits_of_float(v) >> 31 << 3;
    const unsigned c = (unsigned)(a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) +
                       (a > 2.5f) + (a >= 3.5f) + (a > 5.0f);
    return (uint8_t)(sign | c);
}

/* The 6-bit scale and min of the 32 weights j (0..7) of a Q4_K block; p are its 12 bytes. */
static inline void q4_k_scale_min(const uint8_t *p, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = p[j] & 63;
        *min = p[j + 4] & 63;
    } else {
        *scale = (p[j + 4] & 15) | (p[j - 4] >> 6) << 4;
        *min = (p[j + 4] >> 4) | (p[j] >> 6) << 4;
    }
}

/* The code of a T66 state is the sum of four six-bit numbers of a product, less this. */
enum { T66_BIAS = 126 };
#define T66_FACTOR 0xCBAC1FEDu
#define T66_FIELDS 0x3f3f3f3fu

/* The eight signs of a 7-bit sign index: bit j set means value j is negative. Bit 7 makes
 * the number of negatives even. */
static inline unsigned iq2xxs_signs(unsigned index)
{
    unsigned parity = index ^ index >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return index | (parity & 1) << 7;
}

#endif
