/* small_float.h - the number formats of weight files narrower than float: F16, BF16, FP8
 * E4M3, E8M0 scales and FP4 E2M1. Scalar and exact; the fast ones are kernels.
 * Source: docs/MODEL.md section 9.                                                    */
#ifndef DS4_FORMAT_SMALL_FLOAT_H
#define DS4_FORMAT_SMALL_FLOAT_H

#include <stdint.h>

#define DS4_F16_MAX 65504.0f

/* Every code has one value: infinities and NaN stay what they are. */
float ds4_f16_to_f32(uint16_t h);
float ds4_bf16_to_f32(uint16_t h);
float ds4_e4m3_to_f32(uint8_t c);       /* 0x7f and 0xff are NaN; there is no infinity */
float ds4_e8m0_to_f32(uint8_t e);       /* 2^(e - 127); 255 is NaN */
float ds4_e2m1_to_f32(uint8_t c);       /* the low four bits: 0, .5, 1, 1.5, 2, 3, 4, 6 and negatives */

/* The nearest code, ties to the even one. Too large becomes infinity, NaN stays NaN. */
uint16_t ds4_f32_to_f16(float f);
uint16_t ds4_f32_to_bf16(float f);

/* The nearest E2M1 code, ties to the even one; too large becomes +-6. f is not NaN. */
uint8_t ds4_f32_to_e2m1(float f);

/* Little-endian fields at any alignment. */
float    ds4_load_f16(const uint8_t *p);
float    ds4_load_f32(const uint8_t *p);
uint16_t ds4_load_u16(const uint8_t *p);
void     ds4_store_f16(uint8_t *p, float f);
void     ds4_store_u16(uint8_t *p, uint16_t v);

#endif
