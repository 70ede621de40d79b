/* ref_blocks.h - single values of encoded blocks and the decoders of ref/, shared inside
 * src/kernels. */
#ifndef DS4_KERNELS_REF_BLOCKS_H
#define DS4_KERNELS_REF_BLOCKS_H

#include "kernels/blocks.h"

#include <stddef.h>

/* Value j (0..255) of a block before scaling: 0..3, 0..15, -32..31. */
static inline int ref_q2_k_value(const uint8_t *block, int j)
{
    return block[16 + 32 * (j >> 7) + (j & 31)] >> 2 * (j >> 5 & 3) & 3;
}

static inline int ref_q4_k_value(const uint8_t *block, int j)
{
    const int b = block[16 + 32 * (j >> 6) + (j & 31)];
    return j & 32 ? b >> 4 : b & 15;
}

static inline int ref_q6_k_value(const uint8_t *block, int j)
{
    const int half = j >> 7, plane = j >> 5 & 3, lane = j & 31;
    const int low = block[64 * half + 32 * (plane & 1) + lane];
    const int high = block[128 + 32 * half + lane] >> 2 * plane & 3;
    return (plane < 2 ? low & 15 : low >> 4) + 16 * high - 32;
}

/* Value j of a T66 block: its state is the 16 bits from bit 2j on, around the circle. */
static inline int ref_t66_value(const uint8_t *block, int j)
{
    const uint8_t *code = block + 2;
    const int      at = j >> 2;
    const uint32_t bits = code[at] | (uint32_t)code[(at + 1) & 63] << 8 | (uint32_t)code[(at + 2) & 63] << 16;
    const uint32_t v = ((bits >> 2 * (j & 3)) & 0xffff) * T66_FACTOR & T66_FIELDS;
    return (int)((v & 255) + (v >> 8 & 255) + (v >> 16 & 255) + (v >> 24)) - T66_BIAS;
}

int ref_iq2_xxs_group(const uint8_t *block, int g, int8_t *value);

void ds4_ref_decode_f32(float *y, const void *w, size_t n);
void ds4_ref_decode_f16(float *y, const void *w, size_t n);
void ds4_ref_decode_bf16(float *y, const void *w, size_t n);
void ds4_ref_decode_q8_0(float *y, const void *w, size_t n);
void ds4_ref_decode_mxfp4(float *y, const void *w, size_t n);
void ds4_ref_decode_q2_k(float *y, const void *w, size_t n);
void ds4_ref_decode_q4_k(float *y, const void *w, size_t n);
void ds4_ref_decode_q6_k(float *y, const void *w, size_t n);
void ds4_ref_decode_iq2_xxs(float *y, const void *w, size_t n);
void ds4_ref_decode_t66(float *y, const void *w, size_t n);

#endif
