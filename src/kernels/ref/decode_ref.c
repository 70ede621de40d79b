/* decode_ref.c - decode encoded weights in plain C: what each block format means.
 *
 * Every product here is exact in float, or rounded once (Q6_K); the formats with a min
 * round once more in the subtraction. So any correct decoder gives the same bits. */
#include "kernels/ref/ref_blocks.h"

#include "format/iq2xxs_table.h"

void ds4_ref_decode_f32(float *y, const void *w, size_t n)
{
    memcpy(y, w, n * sizeof *y);
}

void ds4_ref_decode_f16(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i++) y[i] = load_half(p + 2 * i);
}

void ds4_ref_decode_bf16(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i++) y[i] = bf16_to_float(load_u16(p + 2 * i));
}

void ds4_ref_decode_q8_0(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 32, p += Q8_0_BYTES) {
        const float d = load_half(p);
        for (int j = 0; j < 32; j++) y[i + j] = d * (float)(int8_t)p[2 + j];
    }
}

void ds4_ref_decode_mxfp4(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 32, p += MXFP4_BYTES) {
        const float d = e8m0_to_float(p[0]);
        for (int j = 0; j < 16; j++) {
            y[i + j] = d * e2m1_to_float(p[1 + j] & 15);
            y[i + j + 16] = d * e2m1_to_float(p[1 + j] >> 4);
        }
    }
}

void ds4_ref_decode_q2_k(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 256, p += Q2_K_BYTES) {
        const float d = load_half(p + 80), dmin = load_half(p + 82);
        for (int j = 0; j < 256; j++) {
            const int q = ref_q2_k_value(p, j), sm = p[j >> 4];
            y[i + j] = d * (float)((sm & 15) * q) - dmin * (float)(sm >> 4);
        }
    }
}

void ds4_ref_decode_q4_k(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 256, p += Q4_K_BYTES) {
        const float d = load_half(p), dmin = load_half(p + 2);
        for (int j = 0; j < 256; j++) {
            int scale, min;
            q4_k_scale_min(p + 4, j >> 5, &scale, &min);
            y[i + j] = d * (float)(scale * ref_q4_k_value(p, j)) - dmin * (float)min;
        }
    }
}

void ds4_ref_decode_q6_k(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 256, p += Q6_K_BYTES) {
        const float d = load_half(p + 208);
        for (int j = 0; j < 256; j++) {
            const int scale = (int8_t)p[192 + (j >> 4)];
            y[i + j] = d * (float)(scale * ref_q6_k_value(p, j));
        }
    }
}

void ds4_ref_decode_iq2_xxs(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 256, p += IQ2_XXS_BYTES) {
        const float d = load_half(p);
        for (int g = 0; g < 8; g++) {
            int8_t    value[32];
            const int scale = ref_iq2_xxs_group(p, g, value);
            const float unit = d * 0.125f * (float)scale;
            for (int j = 0; j < 32; j++) y[i + 32 * g + j] = unit * (float)value[j];
        }
    }
}

void ds4_ref_decode_t66(float *y, const void *w, size_t n)
{
    const uint8_t *p = w;
    for (size_t i = 0; i < n; i += 256, p += T66_BYTES) {
        const float d = load_half(p);
        for (int j = 0; j < 256; j++) y[i + j] = d * (float)ref_t66_value(p, j);
    }
}

/* The 32 signed codebook values of group g (0..7); returns the scale 2t + 1. */
int ref_iq2_xxs_group(const uint8_t *block, int g, int8_t *value)
{
    static const int8_t magnitude[4] = { 8, 25, 43, 0 };
    const uint8_t *p = block + 2 + 8 * g;
    const uint32_t word = load_u32(p + 4);

    for (int k = 0; k < 4; k++) {
        const unsigned code = ds4_iq2xxs_codes[p[k]];
        const unsigned signs = iq2xxs_signs(word >> 7 * k & 127);
        for (int j = 0; j < 8; j++) {
            const int8_t m = magnitude[code >> 2 * j & 3];
            value[8 * k + j] = (int8_t)(signs >> j & 1 ? -m : m);
        }
    }
    return (int)(2 * (word >> 28) + 1);
}
