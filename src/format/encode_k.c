/* encode_k.c - the standard encoders of Q2_K and Q4_K, and Q6_K; see encode.h.
 *
 * Q2_K and Q4_K weights are d * s * q - dmin * m with small integers s and m for each
 * sub-block of 16 or 32 weights. Each sub-block is fitted alone, then the scales and the
 * mins are quantized, then the levels are chosen again for the decoded scale and min. */
#include "format/encode.h"

#include <math.h>
#include <string.h>

#include "format/encode_fit.h"
#include "format/small_float.h"

/* Q2_K and Q4_K have one search; these are its sizes for each. */
typedef struct shape {
    int          n_sub;         /* sub-blocks in 256 weights */
    int          sub;           /* weights in one of them */
    int          q_max, s_max;  /* largest level, largest scale or min */
    bool         add_rms;       /* to |x| in the weights of a fit without importance */
    ds4_fit_scan plain, weighted;
    float        variance;      /* of the block, times this, softens the importance */
} shape;

typedef struct affine_block {
    uint8_t level[256];
    uint8_t s[16], m[16];       /* of each sub-block */
    float   d, dmin;
} affine_block;

static const shape q2_shape = {
    16, 16, 3, 15, false, { -0.5f, 0.1f, 15, true }, { -0.9f, 0.05f, 36, false }, 1.0f
};
static const shape q4_shape = {
    8, 32, 15, 63, true, { -1.0f, 0.1f, 20, false }, { -0.9f, 0.05f, 36, false }, 2.0f
};

static float sum_squares(const float *x, int n)
{
    float sum = 0;

    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* Weights of one sub-block's fit. */
static void weigh(const shape *k, float *w, const float *x, const float *importance, float variance)
{
    const float rms = k->add_rms ? sqrtf(sum_squares(x, k->sub) / (float)k->sub) : 0;

    for (int i = 0; i < k->sub; i++) {
        w[i] = importance ? importance[i] * sqrtf(variance + x[i] * x[i]) : rms + fabsf(x[i]);
    }
}

/* Integers 0..s_max in proportion to v, and the unit d they are multiples of. */
static float quantize_plain(const shape *k, uint8_t *s, const float *v)
{
    float most = 0;

    for (int j = 0; j < k->n_sub; j++) most = fmaxf(most, v[j]);
    const float inverse = most > 0 ? (float)k->s_max / most : 0;
    for (int j = 0; j < k->n_sub; j++) s[j] = (uint8_t)ds4_fit_level(inverse * v[j], 0, k->s_max);
    return most / (float)k->s_max;
}

static void fit_block(const shape *k, affine_block *b, const float *x, const float *importance)
{
    const float variance = importance ? k->variance * sum_squares(x, 256) / 256.0f : 0;
    float       scale[16], min[16], sum_w[16], w[32];

    for (int j = 0; j < k->n_sub; j++) {
        const int at = j * k->sub;
        weigh(k, w, x + at, importance ? importance + at : NULL, variance);
        sum_w[j] = 0;
        for (int i = 0; i < k->sub; i++) sum_w[j] += w[i];
        scale[j] = ds4_fit_affine(b->level + at, &min[j], x + at, w, k->sub, k->q_max,
                                  importance ? &k->weighted : &k->plain);
    }
    b->d = importance ? ds4_fit_positive(b->s, scale, sum_w, k->n_sub, k->s_max)
                      : quantize_plain(k, b->s, scale);
    b->dmin = importance ? ds4_fit_positive(b->m, min, sum_w, k->n_sub, k->s_max)
                         : quantize_plain(k, b->m, min);
}

/* Choose the levels again, for the scales as the decoder will see them. */
static void relevel(const shape *k, affine_block *b, const float *x)
{
    const float d = ds4_f16_to_f32(ds4_f32_to_f16(b->d)), dmin = ds4_f16_to_f32(ds4_f32_to_f16(b->dmin));

    for (int j = 0; j < k->n_sub; j++) {
        const float scale = d * b->s[j], min = dmin * b->m[j];
        if (scale == 0) continue;               /* any level decodes alike */
        for (int i = j * k->sub; i < (j + 1) * k->sub; i++) {
            b->level[i] = (uint8_t)ds4_fit_level((x[i] + min) / scale, 0, k->q_max);
        }
    }
}

void ds4_encode_q2_k(uint8_t out[84], const float *x, const float *w)
{
    affine_block b;

    fit_block(&q2_shape, &b, x, w);
    relevel(&q2_shape, &b, x);
    memset(out, 0, 84);
    for (int j = 0; j < 16; j++) out[j] = (uint8_t)(b.s[j] | b.m[j] << 4);
    for (int n = 0; n < 256; n++) {
        out[16 + 32 * (n >> 7) + (n & 31)] |= (uint8_t)(b.level[n] << (2 * (n >> 5 & 3)));
    }
    ds4_store_f16(out + 80, b.d);
    ds4_store_f16(out + 82, b.dmin);
}

void ds4_encode_q4_k(uint8_t out[144], const float *x, const float *w)
{
    affine_block b;

    fit_block(&q4_shape, &b, x, w);
    relevel(&q4_shape, &b, x);
    memset(out, 0, 144);
    ds4_store_f16(out, b.d);
    ds4_store_f16(out + 2, b.dmin);
    for (int j = 0; j < 4; j++) {               /* two high bits of the later half go above the first */
        out[4 + j] = (uint8_t)(b.s[j] | b.s[j + 4] >> 4 << 6);
        out[8 + j] = (uint8_t)(b.m[j] | b.m[j + 4] >> 4 << 6);
        out[12 + j] = (uint8_t)((b.s[j + 4] & 15) | (b.m[j + 4] & 15) << 4);
    }
    for (int n = 0; n < 256; n++) {
        out[16 + 32 * (n >> 6) + (n & 31)] |= (uint8_t)(b.level[n] << (n & 32 ? 4 : 0));
    }
}

/* ---- Q6_K ------------------------------------------------------------------------------- */

/* The scale of least squared error for 16 weights and levels -32..31: the range of the
 * largest weight is cut into 28 to 36 parts in turn, on either side of zero. */
static float fit_signed(const float *x)
{
    float most = 0, best = 0, scale = 0;

    for (int i = 0; i < 16; i++) {
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    }
    if (most == 0) return 0;
    for (int k = -40; k <= 40; k++) {
        const float parts = k < 0 ? -(32.0f + 0.1f * (float)(k + 20)) : 31.0f + 0.1f * (float)(k - 20);
        const float inverse = parts / most;
        float       sum_xl = 0, sum_ll = 0;
        for (int i = 0; i < 16; i++) {
            const float l = (float)ds4_fit_level(inverse * x[i], -32, 31);
            sum_xl += x[i] * l;
            sum_ll += l * l;
        }
        if (sum_ll > 0 && sum_xl * sum_xl > best * sum_ll) {
            scale = sum_xl / sum_ll;
            best = scale * sum_xl;
        }
    }
    return scale;
}

void ds4_encode_q6_k(uint8_t out[210], const float *x)
{
    float scale[16], most = 0;

    memset(out, 0, 210);
    for (int j = 0; j < 16; j++) {
        scale[j] = fit_signed(x + 16 * j);
        if (fabsf(scale[j]) > fabsf(most)) most = scale[j];
    }
    if (most == 0) return;
    ds4_store_f16(out + 208, most / -128.0f);           /* the largest scale becomes -128 */
    const float d = ds4_load_f16(out + 208);
    for (int j = 0; j < 16; j++) {
        const int s = d != 0 ? ds4_fit_level(scale[j] / d, -128, 127) : 0;
        out[192 + j] = (uint8_t)(int8_t)s;
        for (int n = 16 * j; n < 16 * (j + 1); n++) {
            const int h = n >> 7, k = n >> 5 & 3, l = n & 31;
            const int q = 32 + (s ? ds4_fit_level(x[n] / (d * (float)s), -32, 31) : 0);
            out[64 * h + 32 * (k & 1) + l] |= (uint8_t)((q & 15) << (k >= 2 ? 4 : 0));
            out[128 + 32 * h + l] |= (uint8_t)(q >> 4 << (2 * k));
        }
    }
}
