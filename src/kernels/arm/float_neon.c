/* float_neon.c - products of F32, F16 and BF16 rows and operations on float vectors for NEON.
 *
 * Sixteen partial sums per output in four vectors, in the order of the x86 sets. */
#include "kernels/arm/tile_neon.h"
#include "kernels/kernel_init.h"

enum { CHAIN = 512, DOT_CHAIN = 2048 };

/* ---- products ------------------------------------------------------------------------- */

typedef struct call_float {
    float         *y;
    size_t         y_stride;
    const uint8_t *w;
    size_t         w_stride;
    const uint8_t *x;
    size_t         x_stride, n_in;
} call_float;

/* The first n of four weights at p, zeros behind them. */
INLINE float32x4_t load_weights(const uint8_t *p, uint32_t dtype, size_t n)
{
    uint16_t copy[4] = { 0 };

    if (dtype == DS4_F32) return load4(p, n);
    memcpy(copy, p, n >= 4 ? 8 : 2 * n);
    const uint16x4_t v = vld1_u16(copy);
    if (dtype == DS4_F16) return vcvt_f32_f16(vreinterpret_f16_u16(v));
    return vreinterpretq_f32_u32(vshll_n_u16(v, 16));
}

/* n_r rows from r times one token. */
INLINE void tile(const call_float *c, uint32_t dtype, size_t r, size_t t, const int n_r)
{
    const uint8_t *w = c->w + r * c->w_stride, *x = c->x + t * c->x_stride;
    const size_t   weight_bytes = dtype == DS4_F32 ? 4 : 2;
    float32x4_t total[4][4], sum[4][4];

    UNROLL
    for (int i = 0; i < 4 * n_r; i++) total[i >> 2][i & 3] = vdupq_n_f32(0.0f);
    for (size_t from = 0; from < c->n_in; from += CHAIN) {
        const size_t end = c->n_in - from < CHAIN ? c->n_in : from + CHAIN;
        UNROLL
        for (int i = 0; i < 4 * n_r; i++) sum[i >> 2][i & 3] = vdupq_n_f32(0.0f);
        for (size_t k = from; k < end; k += 16) {
            UNROLL
            for (int h = 0; h < 4; h++) {
                const size_t at = k + 4 * (size_t)h, left = left_of(end, at);
                if (left == 0) break;
                const float32x4_t xv = load4(x + 4 * at, left);
                UNROLL
                for (int i = 0; i < n_r; i++) {
                    const uint8_t *p = w + (size_t)i * c->w_stride + weight_bytes * at;
                    sum[i][h] = vfmaq_f32(sum[i][h], load_weights(p, dtype, left), xv);
                }
            }
        }
        UNROLL
        for (int i = 0; i < 4 * n_r; i++)
            total[i >> 2][i & 3] = vaddq_f32(total[i >> 2][i & 3], sum[i >> 2][i & 3]);
    }
    UNROLL
    for (int i = 0; i < n_r; i++) c->y[t * c->y_stride + r + (size_t)i] = sum_lanes(total[i]);
}

INLINE void run(const call_float *c, uint32_t dtype, size_t n_rows, size_t n_tokens)
{
    for (size_t r = 0; r < n_rows;) {
        const bool four = n_rows - r >= 4;
        for (size_t t = 0; t < n_tokens; t++) {
            if (four) tile(c, dtype, r, t, 4);
            else tile(c, dtype, r, t, 1);
        }
        r += four ? 4 : 1;
    }
}

#define MATMUL(type, dtype)                                                                     \
    static void matmul_##type(float *y, size_t y_stride, const void *w, size_t w_stride,        \
                              size_t n_rows, const void *x, size_t x_stride, size_t n_tokens,   \
                              size_t n_in)                                                      \
    {                                                                                           \
        const call_float c = { y, y_stride, w, w_stride, x, x_stride, n_in };                   \
        run(&c, dtype, n_rows, n_tokens);                                                       \
    }

MATMUL(f32, DS4_F32)
MATMUL(f16, DS4_F16)
MATMUL(bf16, DS4_BF16)

/* ---- vectors -------------------------------------------------------------------------- */

static float dot_f32(const float *a, const float *b, size_t n)
{
    double total = 0.0;

    for (size_t from = 0; from < n; from += DOT_CHAIN) {
        const size_t end = n - from < DOT_CHAIN ? n : from + DOT_CHAIN;
        float32x4_t sum[16], part[4];
        size_t i = from;
        UNROLL
        for (int j = 0; j < 16; j++) sum[j] = vdupq_n_f32(0.0f);
        for (; i + 64 <= end; i += 64) {
            UNROLL
            for (int j = 0; j < 16; j++)
                sum[j] = vfmaq_f32(sum[j], vld1q_f32(a + i + 4 * j), vld1q_f32(b + i + 4 * j));
        }
        for (; i < end; i += 16) {
            UNROLL
            for (int j = 0; j < 4; j++) {
                const size_t at = i + 4 * (size_t)j, left = left_of(end, at);
                if (left == 0) break;
                sum[j] = vfmaq_f32(sum[j], load4(a + at, left), load4(b + at, left));
            }
        }
        UNROLL
        for (int j = 0; j < 4; j++)
            part[j] = vaddq_f32(vaddq_f32(sum[j], sum[j + 4]), vaddq_f32(sum[j + 8], sum[j + 12]));
        total += (double)sum_lanes(part);
    }
    return (float)total;
}

static float sum_squares(const float *x, size_t n)
{
    return dot_f32(x, x, n);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const float32x4_t scale =
        vdupq_n_f32((float)(1.0 / sqrt((double)dot_f32(x, x, n) / (double)n + eps)));

    for (size_t i = 0; i < n; i += 4) {
        float32x4_t v = vmulq_f32(load4(x + i, n - i), scale);
        if (w) v = vmulq_f32(v, load4(w + i, n - i));
        store4(y + i, n - i, v);
    }
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    const float32x4_t av = vdupq_n_f32(a);
    for (size_t i = 0; i < n; i += 4)
        store4(y + i, n - i, vfmaq_f32(load4(y + i, n - i), av, load4(x + i, n - i)));
}

/* vminq and vmaxq keep NaN. */
static void swiglu(float *y, const float *gate, const float *up, size_t n, float clamp,
                   float weight)
{
    const float32x4_t high = vdupq_n_f32(clamp), low = vdupq_n_f32(-clamp);

    for (size_t i = 0; i < n; i += 4) {
        const float32x4_t g = vminq_f32(high, load4(gate + i, n - i));
        const float32x4_t u = vmaxq_f32(low, vminq_f32(high, load4(up + i, n - i)));
        const float32x4_t e = exp4(vnegq_f32(g));
        const float32x4_t silu = vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0f), e));
        store4(y + i, n - i, vmulq_f32(vmulq_f32(silu, u), vdupq_n_f32(weight)));
    }
}

static void hc_leave(float *h_new, const float *h_old, const float *y, const float *post,
                     const float *comb, size_t n_hc, size_t n, size_t stride)
{
    for (size_t j = 0; j < n_hc; j++) {
        for (size_t d = 0; d < n; d += 4) {
            float32x4_t sum = vmulq_f32(vdupq_n_f32(post[j]), load4(y + d, n - d));
            for (size_t i = 0; i < n_hc; i++)
                sum = vfmaq_f32(sum, vdupq_n_f32(comb[i * n_hc + j]),
                                load4(h_old + i * stride + d, n - d));
            store4(h_new + j * stride + d, n - d, sum);
        }
    }
}

static void hc_mix(float *u, const float *h, const float *pre, size_t n_hc, size_t n)
{
    for (size_t d = 0; d < n; d += 4) {
        float32x4_t sum = vdupq_n_f32(0.0f);
        for (size_t s = 0; s < n_hc; s++)
            sum = vfmaq_f32(sum, vdupq_n_f32(pre[s]), load4(h + s * n + d, n - d));
        store4(u + d, n - d, sum);
    }
}

static void hadamard(float *x, size_t n)
{
    const float32x4_t scale = vdupq_n_f32((float)(1.0 / sqrt((double)n)));

    for (size_t i = 0; i < n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        const float32x4_t a = vuzp1q_f32(v, v), b = vuzp2q_f32(v, v);      /* even, odd lanes */
        const float32x4_t s = vzip1q_f32(vaddq_f32(a, b), vsubq_f32(a, b));
        const float32x2_t low = vget_low_f32(s), high = vget_high_f32(s);
        vst1q_f32(x + i, vcombine_f32(vadd_f32(low, high), vsub_f32(low, high)));
    }
    for (size_t stride = 4; stride < n; stride *= 2) {
        for (size_t i = 0; i < n; i += 4) {
            if (i & stride) continue;
            const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + stride);
            vst1q_f32(x + i, vaddq_f32(a, b));
            vst1q_f32(x + i + stride, vsubq_f32(a, b));
        }
    }
    for (size_t i = 0; i < n; i += 4) vst1q_f32(x + i, vmulq_f32(vld1q_f32(x + i), scale));
}

void ds4_kernels_neon_float(ds4_kernels *k)
{
    k->matmul[DS4_F32] = matmul_f32;
    k->matmul[DS4_F16] = matmul_f16;
    k->matmul[DS4_BF16] = matmul_bf16;
    k->dot_f32 = dot_f32;
    k->sum_squares = sum_squares;
    k->rms_norm = rms_norm;
    k->axpy = axpy;
    k->swiglu = swiglu;
    k->hc_leave = hc_leave;
    k->hc_mix = hc_mix;
    k->hadamard = hadamard;
}
