/* vector_ref.c - operations on plain float vectors in plain C: norms, SwiGLU,
 * hyper-connections, rotation, Hadamard. Sums in double. */
#include "kernels/kernel_init.h"

#include <math.h>

static float dot_f32(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return (float)sum;
}

static double sum_squares_double(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    return sum;
}

static float sum_squares(const float *x, size_t n)
{
    return (float)sum_squares_double(x, n);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const double scale = 1.0 / sqrt(sum_squares_double(x, n) / (double)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)(x[i] * scale * (w ? w[i] : 1.0));
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = (float)(y[i] + (double)a * x[i]);
}

/* The comparisons let NaN pass through to the result. */
static void swiglu(float *y, const float *gate, const float *up, size_t n, float clamp,
                   float weight)
{
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i] > clamp ? clamp : gate[i];
        const double u = up[i] > clamp ? clamp : up[i] < -clamp ? -clamp : up[i];
        y[i] = (float)(g / (1.0 + exp(-g)) * u * weight);
    }
}

static void hc_leave(float *h_new, const float *h_old, const float *y, const float *post,
                     const float *comb, size_t n_hc, size_t n, size_t stride)
{
    for (size_t j = 0; j < n_hc; j++) {
        for (size_t d = 0; d < n; d++) {
            double sum = (double)post[j] * y[d];
            for (size_t i = 0; i < n_hc; i++) sum += (double)comb[i * n_hc + j] * h_old[i * stride + d];
            h_new[j * stride + d] = (float)sum;
        }
    }
}

static void hc_mix(float *u, const float *h, const float *pre, size_t n_hc, size_t n)
{
    for (size_t d = 0; d < n; d++) {
        double sum = 0.0;
        for (size_t s = 0; s < n_hc; s++) sum += (double)pre[s] * h[s * n + d];
        u[d] = (float)sum;
    }
}

static void rope(float *x, const float *c, const float *s, size_t n_rot)
{
    for (size_t i = 0; i < n_rot / 2; i++) {
        const double x0 = x[2 * i], x1 = x[2 * i + 1];
        x[2 * i] = (float)(x0 * c[i] - x1 * s[i]);
        x[2 * i + 1] = (float)(x0 * s[i] + x1 * c[i]);
    }
}

static void hadamard(float *x, size_t n)
{
    for (size_t stride = 1; stride < n; stride *= 2) {
        for (size_t i = 0; i < n; i++) {
            if (i & stride) continue;
            const float a = x[i], b = x[i + stride];
            x[i] = a + b;
            x[i + stride] = a - b;
        }
    }
    const float scale = (float)(1.0 / sqrt((double)n));
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

void ds4_kernels_ref_vector(ds4_kernels *k)
{
    k->dot_f32 = dot_f32;
    k->sum_squares = sum_squares;
    k->rms_norm = rms_norm;
    k->axpy = axpy;
    k->swiglu = swiglu;
    k->hc_leave = hc_leave;
    k->hc_mix = hc_mix;
    k->rope = rope;
    k->hadamard = hadamard;
}
