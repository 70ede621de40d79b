/* encode.c - rows of any type, and the formats that need no search; see encode.h. */
#include "format/encode.h"

#include <math.h>
#include <string.h>

#include "format/dtype.h"
#include "format/small_float.h"

static void encode_q8_0(uint8_t out[34], const float *x)
{
    float most = 0;

    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
    const float d = most / 127.0f, inverse = d > 0 ? 1.0f / d : 0.0f;
    ds4_store_f16(out, d);
    for (int i = 0; i < 32; i++) out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

/* Encode with the scale 2^(e - 127) and return the squared error. */
static double mxfp4_codes(uint8_t codes[32], const float *x, int e)
{
    const float scale = ds4_e8m0_to_f32((uint8_t)e);
    double      sum = 0;

    for (int i = 0; i < 32; i++) {
        codes[i] = ds4_f32_to_e2m1(x[i] / scale);
        const double off = (double)ds4_e2m1_to_f32(codes[i]) * scale - x[i];
        sum += off * off;
    }
    return sum;
}

/* The power of two that brings the largest weight into 4..8 or one of its neighbours:
 * below, large weights clip at 6; above, small ones lose steps. */
static void encode_mxfp4(uint8_t out[17], const float *x)
{
    uint8_t codes[32], best[32] = { 0 };
    float   most = 0;
    double  least = INFINITY;
    int     exponent = 0;

    memset(out, 0, 17);
    for (int i = 0; i < 32; i++) most = fmaxf(most, fabsf(x[i]));
    if (most == 0) return;
    frexpf(most, &exponent);                            /* most in 2^(exponent-1) .. 2^exponent */
    for (int shift = 1; shift >= -1; shift--) {
        const int e = exponent - 3 + 127 + shift;
        if (e < 0 || e > 254) continue;
        const double off = mxfp4_codes(codes, x, e);
        if (off >= least) continue;
        least = off;
        out[0] = (uint8_t)e;
        memcpy(best, codes, sizeof best);
    }
    for (int j = 0; j < 16; j++) out[1 + j] = (uint8_t)(best[j] | best[j + 16] << 4);
}

void ds4_repack_mxfp4(uint8_t out[17], const uint8_t codes[16], uint8_t scale)
{
    out[0] = scale;
    for (int j = 0; j < 16; j++) {
        const int low = codes[j / 2] >> (4 * (j % 2)) & 15;
        const int high = codes[8 + j / 2] >> (4 * (j % 2)) & 15;
        out[1 + j] = (uint8_t)(low | high << 4);
    }
}

bool ds4_can_encode(uint32_t dtype)
{
    switch (dtype) {
    case DS4_F32: case DS4_F16: case DS4_BF16: case DS4_Q8_0: case DS4_Q2_K: case DS4_Q4_K:
    case DS4_Q6_K: case DS4_IQ2_XXS: case DS4_MXFP4: case DS4_T66: return true;
    default: return false;
    }
}

static void encode_floats(uint32_t dtype, uint8_t *out, const float *x, uint64_t n)
{
    if (dtype == DS4_F32) {
        memcpy(out, x, n * sizeof *x);
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        ds4_store_u16(out + 2 * i, dtype == DS4_F16 ? ds4_f32_to_f16(x[i]) : ds4_f32_to_bf16(x[i]));
    }
}

static void encode_block(uint32_t dtype, bool best, uint8_t *out, const float *x, const float *w)
{
    switch (dtype) {
    case DS4_Q8_0:  encode_q8_0(out, x); break;
    case DS4_MXFP4: encode_mxfp4(out, x); break;
    case DS4_Q4_K:  ds4_encode_q4_k(out, x, w); break;
    case DS4_Q6_K:  ds4_encode_q6_k(out, x); break;
    case DS4_Q2_K:  (best ? ds4_encode_q2_k_best : ds4_encode_q2_k)(out, x, w); break;
    default:        (best ? ds4_encode_iq2_xxs_best : ds4_encode_iq2_xxs)(out, x, w); break;
    }
}

void ds4_encode_row(uint32_t dtype, ds4_encode_effort effort, void *out, const float *x,
                    const float *importance, uint64_t n, ds4_trellis *trellis)
{
    const ds4_dtype_info *info = ds4_dtype_get(dtype);
    const bool            best = effort == DS4_ENCODE_BEST;
    uint8_t              *at = out;

    if (info->block_elems == 1) {
        encode_floats(dtype, at, x, n);
        return;
    }
    for (uint64_t i = 0; i < n; i += info->block_elems, at += info->block_bytes) {
        const float *w = importance ? importance + i : NULL;
        if (dtype == DS4_T66) ds4_encode_t66(at, x + i, w, trellis);
        else encode_block(dtype, best, at, x + i, w);
    }
}
