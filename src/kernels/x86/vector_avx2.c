/* vector_avx2.c - operations on plain float vectors for AVX2. */
#include "kernels/x86/float_avx2.h"
#include "kernels/kernel_init.h"

#include <math.h>

enum { CHAIN = 2048 };      /* values of one float chain: 32 steps of 8 vectors */

/* Eight vectors of partial sums, chains restarted every 2048 values and added in double; the
 * order of vector_avx512.c. */
static float dot_f32(const float *a, const float *b, size_t n)
{
    double total = 0.0;

    for (size_t from = 0; from < n; from += CHAIN) {
        const size_t end = n - from < CHAIN ? n : from + CHAIN;
        __m256 sum[8];
        size_t i = from;
        UNROLL
        for (int j = 0; j < 8; j++) sum[j] = _mm256_setzero_ps();
        for (; i + 64 <= end; i += 64) {
            UNROLL
            for (int j = 0; j < 8; j++)
                sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j),
                                         _mm256_loadu_ps(b + i + 8 * j), sum[j]);
        }
        for (; i < end; i += 16) {
            sum[0] = _mm256_fmadd_ps(load8(a + i, end - i), load8(b + i, end - i), sum[0]);
            if (end - i > 8)
                sum[1] = _mm256_fmadd_ps(load8(a + i + 8, end - i - 8),
                                         load8(b + i + 8, end - i - 8), sum[1]);
        }
        const __m256 low =
            _mm256_add_ps(_mm256_add_ps(sum[0], sum[2]), _mm256_add_ps(sum[4], sum[6]));
        const __m256 high =
            _mm256_add_ps(_mm256_add_ps(sum[1], sum[3]), _mm256_add_ps(sum[5], sum[7]));
        total += (double)sum_lanes(low, high);
    }
    return (float)total;
}

static float sum_squares(const float *x, size_t n)
{
    return dot_f32(x, x, n);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const __m256 scale =
        _mm256_set1_ps((float)(1.0 / sqrt((double)dot_f32(x, x, n) / (double)n + eps)));

    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load8(x + i, n - i), scale);
        if (w) v = _mm256_mul_ps(v, load8(w + i, n - i));
        store8(y + i, n - i, v);
    }
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    const __m256 av = _mm256_set1_ps(a);
    size_t       i = 0;

    for (; i + 32 <= n; i += 32) {
        for (size_t k = 0; k < 32; k += 8) {
            const __m256 sum = _mm256_fmadd_ps(av, _mm256_loadu_ps(x + i + k), _mm256_loadu_ps(y + i + k));
            _mm256_storeu_ps(y + i + k, sum);
        }
    }
    for (; i < n; i += 8)
        store8(y + i, n - i, _mm256_fmadd_ps(av, load8(x + i, n - i), load8(y + i, n - i)));
}

/* min and max return their second operand when one is NaN, so NaN passes the clamps. */
static void swiglu(float *y, const float *gate, const float *up, size_t n, float clamp,
                   float weight)
{
    const __m256 high = _mm256_set1_ps(clamp), low = _mm256_set1_ps(-clamp);
    const __m256 one = _mm256_set1_ps(1.0f), wv = _mm256_set1_ps(weight);

    for (size_t i = 0; i < n; i += 8) {
        const __m256 g = _mm256_min_ps(high, load8(gate + i, n - i));
        const __m256 u = _mm256_max_ps(low, _mm256_min_ps(high, load8(up + i, n - i)));
        const __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), g));
        const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(one, e));
        store8(y + i, n - i, _mm256_mul_ps(_mm256_mul_ps(silu, u), wv));
    }
}

/* Four streams, the usual number: every old stream is read once. */
static void hc_leave_4(float *h_new, const float *h_old, const float *y, const float *post,
                       const float *comb, size_t n, size_t stride)
{
    __m256 c[4][4], p[4];

    UNROLL
    for (int j = 0; j < 4; j++) {
        p[j] = _mm256_set1_ps(post[j]);
        UNROLL
        for (int i = 0; i < 4; i++) c[i][j] = _mm256_set1_ps(comb[4 * i + j]);
    }
    for (size_t d = 0; d < n; d += 8) {
        const size_t left = n - d;
        const __m256 yv = load8(y + d, left);
        __m256 sum[4];
        UNROLL
        for (int j = 0; j < 4; j++) sum[j] = _mm256_mul_ps(p[j], yv);
        UNROLL
        for (int i = 0; i < 4; i++) {
            const __m256 h = load8(h_old + (size_t)i * stride + d, left);
            UNROLL
            for (int j = 0; j < 4; j++) sum[j] = _mm256_fmadd_ps(c[i][j], h, sum[j]);
        }
        UNROLL
        for (int j = 0; j < 4; j++) store8(h_new + (size_t)j * stride + d, left, sum[j]);
    }
}

static void hc_leave(float *h_new, const float *h_old, const float *y, const float *post,
                     const float *comb, size_t n_hc, size_t n, size_t stride)
{
    if (n_hc == 4) {
        hc_leave_4(h_new, h_old, y, post, comb, n, stride);
        return;
    }
    for (size_t j = 0; j < n_hc; j++) {
        for (size_t d = 0; d < n; d += 8) {
            __m256 sum = _mm256_mul_ps(_mm256_set1_ps(post[j]), load8(y + d, n - d));
            for (size_t i = 0; i < n_hc; i++)
                sum = _mm256_fmadd_ps(_mm256_set1_ps(comb[i * n_hc + j]),
                                      load8(h_old + i * stride + d, n - d), sum);
            store8(h_new + j * stride + d, n - d, sum);
        }
    }
}

static void hc_mix(float *u, const float *h, const float *pre, size_t n_hc, size_t n)
{
    for (size_t d = 0; d < n; d += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t s = 0; s < n_hc; s++)
            sum = _mm256_fmadd_ps(_mm256_set1_ps(pre[s]), load8(h + s * n + d, n - d), sum);
        store8(u + d, n - d, sum);
    }
}

static void rope(float *x, const float *c, const float *s, size_t n_rot)
{
    const __m256i twice = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);

    for (size_t i = 0; i < n_rot; i += 8) {
        const size_t n = n_rot - i, half = n < 8 ? n / 2 : 4;
        const __m256 cv = _mm256_permutevar8x32_ps(load8(c + i / 2, half), twice);
        const __m256 sv = _mm256_permutevar8x32_ps(load8(s + i / 2, half), twice);
        const __m256 v = load8(x + i, n);
        const __m256 cross = _mm256_mul_ps(_mm256_permute_ps(v, 0xb1), sv);
        store8(x + i, n, _mm256_fmaddsub_ps(v, cv, cross));
    }
}

static void hadamard(float *x, size_t n)
{
    const __m256 scale = _mm256_set1_ps((float)(1.0 / sqrt((double)n)));

    for (size_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i), p = _mm256_permute_ps(v, 0xb1);
        v = _mm256_blend_ps(_mm256_add_ps(v, p), _mm256_sub_ps(p, v), 0xaa);
        p = _mm256_permute_ps(v, 0x4e);
        v = _mm256_blend_ps(_mm256_add_ps(v, p), _mm256_sub_ps(p, v), 0xcc);
        p = _mm256_permute2f128_ps(v, v, 0x01);
        v = _mm256_blend_ps(_mm256_add_ps(v, p), _mm256_sub_ps(p, v), 0xf0);
        _mm256_storeu_ps(x + i, v);
    }
    for (size_t stride = 8; stride < n; stride *= 2) {
        for (size_t i = 0; i < n; i += 8) {
            if (i & stride) continue;
            const __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + stride);
            _mm256_storeu_ps(x + i, _mm256_add_ps(a, b));
            _mm256_storeu_ps(x + i + stride, _mm256_sub_ps(a, b));
        }
    }
    for (size_t i = 0; i < n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), scale));
}

void ds4_kernels_avx2_vector(ds4_kernels *k)
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
