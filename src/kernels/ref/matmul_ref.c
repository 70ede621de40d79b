/* matmul_ref.c - products of encoded rows with activations in plain C.
 *
 * The integer part of every block is exact; blocks are summed in double. Bounds with
 * activations in -127..127: a Q6_K block reaches 256 * 128 * 32 * 127 < 2^27, the others
 * less, so int32 holds every block. */
#include "kernels/kernel_init.h"
#include "kernels/ref/ref_blocks.h"

/* The product of one encoded row with one token. */
typedef double row_dot_fn(const uint8_t *w, const void *x, size_t n_in);

static void matmul_by_rows(row_dot_fn *dot, float *y, size_t y_stride, const void *w,
                           size_t w_stride, size_t n_rows, const void *x, size_t x_stride,
                           size_t n_tokens, size_t n_in)
{
    for (size_t t = 0; t < n_tokens; t++) {
        const uint8_t *xt = (const uint8_t *)x + t * x_stride;
        for (size_t r = 0; r < n_rows; r++)
            y[t * y_stride + r] = (float)dot((const uint8_t *)w + r * w_stride, xt, n_in);
    }
}

static double dot_f32(const uint8_t *w, const void *x, size_t n_in)
{
    const uint8_t *xb = x;
    double sum = 0.0;
    for (size_t i = 0; i < n_in; i++)
        sum += (double)float_of_bits(load_u32(w + 4 * i)) * float_of_bits(load_u32(xb + 4 * i));
    return sum;
}

static double dot_f16(const uint8_t *w, const void *x, size_t n_in)
{
    const float *xf = x;
    double sum = 0.0;
    for (size_t i = 0; i < n_in; i++) sum += (double)load_half(w + 2 * i) * xf[i];
    return sum;
}

static double dot_bf16(const uint8_t *w, const void *x, size_t n_in)
{
    const float *xf = x;
    double sum = 0.0;
    for (size_t i = 0; i < n_in; i++) sum += (double)bf16_to_float(load_u16(w + 2 * i)) * xf[i];
    return sum;
}

static double dot_q8_0(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q32 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 32; b++, w += Q8_0_BYTES) {
        int32_t isum = 0;
        for (int j = 0; j < 32; j++) isum += (int8_t)w[2 + j] * xb[b].q[j];
        sum += (double)load_half(w) * xb[b].d * isum;
    }
    return sum;
}

static double dot_mxfp4(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q32 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 32; b++, w += MXFP4_BYTES) {
        int32_t isum = 0;
        for (int j = 0; j < 16; j++) {
            isum += e2m1_twice(w[1 + j] & 15) * xb[b].q[j];
            isum += e2m1_twice(w[1 + j] >> 4) * xb[b].q[j + 16];
        }
        sum += 0.5 * (double)e8m0_to_float(w[0]) * xb[b].d * isum;
    }
    return sum;
}

static double dot_q2_k(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q256 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 256; b++, w += Q2_K_BYTES) {
        int32_t isum = 0, msum = 0;
        for (int j = 0; j < 256; j++) isum += (w[j >> 4] & 15) * ref_q2_k_value(w, j) * xb[b].q[j];
        for (int j = 0; j < 16; j++) msum += (w[j] >> 4) * xb[b].sum[j];
        sum += xb[b].d * ((double)load_half(w + 80) * isum - (double)load_half(w + 82) * msum);
    }
    return sum;
}

static double dot_q4_k(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q256 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 256; b++, w += Q4_K_BYTES) {
        int32_t isum = 0, msum = 0;
        for (int g = 0; g < 8; g++) {
            int scale, min, part = 0;
            q4_k_scale_min(w + 4, g, &scale, &min);
            for (int j = 32 * g; j < 32 * g + 32; j++) part += ref_q4_k_value(w, j) * xb[b].q[j];
            isum += scale * part;
            msum += min * (xb[b].sum[2 * g] + xb[b].sum[2 * g + 1]);
        }
        sum += xb[b].d * ((double)load_half(w) * isum - (double)load_half(w + 2) * msum);
    }
    return sum;
}

static double dot_q6_k(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q256 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 256; b++, w += Q6_K_BYTES) {
        int32_t isum = 0;
        for (int j = 0; j < 256; j++)
            isum += (int8_t)w[192 + (j >> 4)] * ref_q6_k_value(w, j) * xb[b].q[j];
        sum += (double)load_half(w + 208) * xb[b].d * isum;
    }
    return sum;
}

static double dot_iq2_xxs(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q256 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 256; b++, w += IQ2_XXS_BYTES) {
        int32_t isum = 0;
        for (int g = 0; g < 8; g++) {
            int8_t    value[32];
            int32_t   part = 0;
            const int scale = ref_iq2_xxs_group(w, g, value);
            for (int j = 0; j < 32; j++) part += value[j] * xb[b].q[32 * g + j];
            isum += scale * part;
        }
        sum += 0.125 * load_half(w) * xb[b].d * isum;
    }
    return sum;
}

static double dot_t66(const uint8_t *w, const void *x, size_t n_in)
{
    const ds4_q256 *xb = x;
    double sum = 0.0;

    for (size_t b = 0; b < n_in / 256; b++, w += T66_BYTES) {
        int32_t isum = 0;
        for (int j = 0; j < 256; j++) isum += ref_t66_value(w, j) * xb[b].q[j];
        sum += (double)load_half(w) * xb[b].d * isum;
    }
    return sum;
}

/* One function for the table per type. */
#define MATMUL(type)                                                                            \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        matmul_by_rows(dot_##type, y, y_stride, w, w_stride, n_rows, x, x_stride, n_tokens,     \
                       n_in);                                                                   \
    }

MATMUL(f32)
MATMUL(f16)
MATMUL(bf16)
MATMUL(q8_0)
MATMUL(mxfp4)
MATMUL(q2_k)
MATMUL(q4_k)
MATMUL(q6_k)
MATMUL(iq2_xxs)
MATMUL(t66)

void ds4_kernels_ref_matmul(ds4_kernels *k)
{
    k->matmul[DS4_F32] = matmul_f32;
    k->matmul[DS4_F16] = matmul_f16;
    k->matmul[DS4_BF16] = matmul_bf16;
    k->matmul[DS4_Q8_0] = matmul_q8_0;
    k->matmul[DS4_MXFP4] = matmul_mxfp4;
    k->matmul[DS4_Q2_K] = matmul_q2_k;
    k->matmul[DS4_Q4_K] = matmul_q4_k;
    k->matmul[DS4_Q6_K] = matmul_q6_k;
    k->matmul[DS4_IQ2_XXS] = matmul_iq2_xxs;
    k->matmul[DS4_T66] = matmul_t66;

    k->decode[DS4_F32] = ds4_ref_decode_f32;
    k->decode[DS4_F16] = ds4_ref_decode_f16;
    k->decode[DS4_BF16] = ds4_ref_decode_bf16;
    k->decode[DS4_Q8_0] = ds4_ref_decode_q8_0;
    k->decode[DS4_MXFP4] = ds4_ref_decode_mxfp4;
    k->decode[DS4_Q2_K] = ds4_ref_decode_q2_k;
    k->decode[DS4_Q4_K] = ds4_ref_decode_q4_k;
    k->decode[DS4_Q6_K] = ds4_ref_decode_q6_k;
    k->decode[DS4_IQ2_XXS] = ds4_ref_decode_iq2_xxs;
    k->decode[DS4_T66] = ds4_ref_decode_t66;
}
