/* small_float.c - see small_float.h. */
#include "format/small_float.h"

#include <math.h>
#include <string.h>

static float of_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

float ds4_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h >> 15) << 31, exponent = h >> 10 & 31, fraction = h & 1023;

    if (exponent == 0) return copysignf((float)fraction * 0x1p-24f, of_bits(sign));
    if (exponent == 31) return of_bits(sign | 0x7f800000u | fraction << 13);
    return of_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

float ds4_bf16_to_f32(uint16_t h)
{
    return of_bits((uint32_t)h << 16);
}

float ds4_e4m3_to_f32(uint8_t c)
{
    const int exponent = c >> 3 & 15, fraction = c & 7;

    if (exponent == 15 && fraction == 7) return NAN;
    const float magnitude =
        exponent == 0 ? (float)fraction * 0x1p-9f : ldexpf((float)(8 + fraction), exponent - 10);
    return c & 128 ? -magnitude : magnitude;
}

float ds4_e8m0_to_f32(uint8_t e)
{
    if (e == 255) return NAN;
    return e == 0 ? 0x1p-127f : of_bits((uint32_t)e << 23);
}

float ds4_e2m1_to_f32(uint8_t c)
{
    static const float magnitudes[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };

    return c & 8 ? -magnitudes[c & 7] : magnitudes[c & 7];
}

uint16_t ds4_f32_to_f16(float f)
{
    const uint32_t bits = bits_of(f), a = bits & 0x7fffffffu;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);

    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x1ffu));
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);    /* 65520 and more round to infinity */
    /* Below 2^-14 the step is 2^-24; rintf rounds half to even, and 1024 steps are 2^-14. */
    if (a < 0x38800000u) return (uint16_t)(sign | (uint16_t)rintf(of_bits(a) * 0x1p24f));
    const uint32_t half_step = 0xfffu + (a >> 13 & 1u);         /* to even on a tie */
    return (uint16_t)(sign | ((a + half_step - 0x38000000u) >> 13));
}

uint16_t ds4_f32_to_bf16(float f)
{
    const uint32_t bits = bits_of(f);

    /* A NaN whose payload lies in the lost bits must not become an infinity. */
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

uint8_t ds4_f32_to_e2m1(float f)
{
    /* Halfway between neighbours; from an odd code on, the halfway point belongs above. */
    static const float halfway[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
    const float        a = fabsf(f);
    uint8_t            code = 0;

    while (code < 7 && (a > halfway[code] || (a == halfway[code] && code % 2 == 1))) code++;
    return (uint8_t)(code | (signbit(f) ? 8 : 0));
}

uint16_t ds4_load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

float ds4_load_f16(const uint8_t *p)
{
    return ds4_f16_to_f32(ds4_load_u16(p));
}

float ds4_load_f32(const uint8_t *p)
{
    return of_bits((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
}

void ds4_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

void ds4_store_f16(uint8_t *p, float f)
{
    ds4_store_u16(p, ds4_f32_to_f16(f));
}
