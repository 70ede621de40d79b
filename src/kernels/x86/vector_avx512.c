/* vector_avx512.c - operations on plain float vectors for AVX-512. */
#include "kernels/x86/float_avx512.h"
#include "kernels/kernel_init.h"

#include <math.h>

enum { CHAIN = 2048 };      /* values of one float chain: 32 steps of 4 vectors */

/* Four vectors of partial sums, chains restarted every 2048 values and added in double. */
static float dot_f32(const float *a, const float *b, size_t n)
{
    double total = 0.0;

    for (size_t from = 0; from < n; from += CHAIN) {
        const size_t end = n - from < CHAIN ? n : from + CHAIN;
        __m512 sum[4];
        size_t i = from;
        UNROLL
        for (int j = 0; j < 4; j++) sum[j] = _mm512_setzero_ps();
        for (; i + 64 <= end; i += 64) {
            UNROLL
            for (int j = 0; j < 4; j++)
                sum[j] = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16 * j),
                                         _mm512_loadu_ps(b + i + 16 * j), sum[j]);
        }
        for (; i < end; i += 16) {
            const __mmask16 mask = tail_mask(end - i);
            sum[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
                                     _mm512_maskz_loadu_ps(mask, b + i), sum[0]);
        }
        total += (double)sum_lanes(_mm512_add_ps(_mm512_add_ps(sum[0], sum[1]),
                                                 _mm512_add_ps(sum[2], sum[3])));
    }
    return (float)total;
}

static float sum_squares(const float *x, size_t n)
{
    return dot_f32(x, x, n);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps)
{
    const __m512 scale =
        _mm512_set1_ps((float)(1.0 / sqrt((double)dot_f32(x, x, n) / (double)n + eps)));

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask(n - i);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scale);
        if (w) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, w + i));
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    const __m512 av = _mm512_set1_ps(a);

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask(n - i);
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        _mm512_mask_storeu_ps(y + i, mask,
                              _mm512_fmadd_ps(av, v, _mm512_maskz_loadu_ps(mask, y + i)));
    }
}

/* min and max return their second operand when one is NaN, so NaN passes the clamps. */
static void swiglu(float *y, const float *gate, const float *up, size_t n, float clamp,
                   float weight)
{
    const __m512 high = _mm512_set1_ps(clamp), low = _mm512_set1_ps(-clamp);
    const __m512 one = _mm512_set1_ps(1.0f), wv = _mm512_set1_ps(weight);

    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = tail_mask(n - i);
        const __m512 g = _mm512_min_ps(high, _mm512_maskz_loadu_ps(mask, gate + i));
        const __m512 u =
            _mm512_max_ps(low, _mm512_min_ps(high, _mm512_maskz_loadu_ps(mask, up + i)));
        const __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), g));
        const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(one, e));
        _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(_mm512_mul_ps(silu, u), wv));
    }
}

/* Four streams, the usual number: every old stream is read once. */
static void hc_leave_4(float *h_new, const float *h_old, const float *y, const float *post,
                       const float *comb, size_t n, size_t stride)
{
    __m512 c[4][4], p[4];

    UNROLL
    for (int j = 0; j < 4; j++) {
        p[j] = _mm512_set1_ps(post[j]);
        UNROLL
        for (int i = 0; i < 4; i++) c[i][j] = _mm512_set1_ps(comb[4 * i + j]);
    }
    for (size_t d = 0; d < n; d += 16) {
        const __mmask16 mask = tail_mask(n - d);
        const __m512 yv = _mm512_maskz_loadu_ps(mask, y + d);
        __m512 sum[4];
        UNROLL
        for (int j = 0; j < 4; j++) sum[j] = _mm512_mul_ps(p[j], yv);
        UNROLL
        for (int i = 0; i < 4; i++) {
            const __m512 h = _mm512_maskz_loadu_ps(mask, h_old + (size_t)i * stride + d);
            UNROLL
            for (int j = 0; j < 4; j++) sum[j] = _mm512_fmadd_ps(c[i][j], h, sum[j]);
        }
        UNROLL
        for (int j = 0; j < 4; j++) _mm512_mask_storeu_ps(h_new + (size_t)j * stride + d, mask, sum[j]);
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
        for (size_t d = 0; d < n; d += 16) {
            const __mmask16 mask = tail_mask(n - d);
            __m512 sum = _mm512_mul_ps(_mm512_set1_ps(post[j]), _mm512_maskz_loadu_ps(mask, y + d));
            for (size_t i = 0; i < n_hc; i++)
                sum = _mm512_fmadd_ps(_mm512_set1_ps(comb[i * n_hc + j]),
                                      _mm512_maskz_loadu_ps(mask, h_old + i * stride + d), sum);
            _mm512_mask_storeu_ps(h_new + j * stride + d, mask, sum);
        }
    }
}

static void hc_mix(float *u, const float *h, const float *pre, size_t n_hc, size_t n)
{
    for (size_t d = 0; d < n; d += 16) {
        const __mmask16 mask = tail_mask(n - d);
        __m512 sum = _mm512_setzero_ps();
        for (size_t s = 0; s < n_hc; s++)
            sum = _mm512_fmadd_ps(_mm512_set1_ps(pre[s]),
                                  _mm512_maskz_loadu_ps(mask, h + s * n + d), sum);
        _mm512_mask_storeu_ps(u + d, mask, sum);
    }
}

static void rope(float *x, const float *c, const float *s, size_t n_rot)
{
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);

    for (size_t i = 0; i < n_rot; i += 16) {
        const __mmask16 mask = tail_mask(n_rot - i);
        const __mmask8  half = (__mmask8)(tail_mask((n_rot - i) / 2) & 0xff);
        const __m512 cv = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(half, c + i / 2));
        const __m512 sv = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(half, s + i / 2));
        const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        const __m512 cross =
            _mm512_mul_ps(_mm512_permute_ps(v, 0xb1), _mm512_permutexvar_ps(twice, sv));
        _mm512_mask_storeu_ps(x + i, mask,
                              _mm512_fmaddsub_ps(v, _mm512_permutexvar_ps(twice, cv), cross));
    }
}

/* Butterflies inside a vector: partner is v with the lanes of each pair exchanged, and the
 * upper lane of a pair becomes partner - v. */
INLINE __m512 butterfly(__m512 v, __m512 partner, __mmask16 upper)
{
    return _mm512_mask_sub_ps(_mm512_add_ps(v, partner), upper, partner, v);
}

static void hadamard(float *x, size_t n)
{
    const __m512 scale = _mm512_set1_ps((float)(1.0 / sqrt((double)n)));

    for (size_t i = 0; i < n; i += 16) {
        __m512 v = _mm512_loadu_ps(x + i);
        v = butterfly(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
        v = butterfly(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
        v = butterfly(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
        v = butterfly(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
        _mm512_storeu_ps(x + i, v);
    }
    for (size_t stride = 16; stride < n; stride *= 2) {
        for (size_t i = 0; i < n; i += 16) {
            if (i & stride) continue;
            const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + stride);
            _mm512_storeu_ps(x + i, _mm512_add_ps(a, b));
            _mm512_storeu_ps(x + i + stride, _mm512_sub_ps(a, b));
        }
    }
    for (size_t i = 0; i < n; i += 16)
        _mm512_storeu_ps(x + i, _mm512_mul_ps(_mm512_loadu_ps(x + i), scale));
}

void ds4_kernels_avx512_vector(ds4_kernels *k)
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
