/* kd_math.h - functions of floats that give the same bits on every device.
 *
 * Polynomials are those of the Cephes library (Moshier), which stay within two units in the last
 * place; what a platform brings differs from chip to chip. */
#ifndef DS4_BACKEND_GPU_KERNELS_KD_MATH_H
#define DS4_BACKEND_GPU_KERNELS_KD_MATH_H

#include "backend/gpu/kernels/kdl.h"

#define KD_INFINITY kd_float(0x7f800000u)

KD_FN float kd_max(float x, float y)
{
    return y > x ? y : x;
}

KD_FN float kd_abs(float x)
{
    return kd_float(kd_bits(x) & 0x7fffffffu);
}

/* 2^k for -126 <= k <= 127. */
KD_FN float kd_exp2i(int k)
{
    return kd_float((uint)(k + 127) << 23);
}

/* e^x. Two units in the last place; NaN stays NaN. */
KD_FN float kd_exp(float x)
{
    if (x > 88.8f) return KD_INFINITY;
    if (x < -104.0f) return 0.0f;
    if (x != x) return x;
    const float n = kd_rint(x * 0x1.715476p+0f);
    const float r = kd_fma(-n, 0x1.7f7d1cp-20f, kd_fma(-n, 0x1.62e4p-1f, x));   /* |r| <= 0.35 */
    float       p = 1.9875691500e-4f;
    p = kd_fma(p, r, 1.3981999507e-3f);
    p = kd_fma(p, r, 8.3334519073e-3f);
    p = kd_fma(p, r, 4.1665795894e-2f);
    p = kd_fma(p, r, 1.6666665459e-1f);
    p = kd_fma(p, r, 5.0000001201e-1f);
    p = kd_fma(p, r * r, r) + 1.0f;
    /* Two factors: either alone may be outside the floats. */
    const int k = (int)n, half_k = k / 2;
    return p * kd_exp2i(half_k) * kd_exp2i(k - half_k);
}

/* Natural logarithm of a normal, positive x. */
KD_FN float kd_log(float x)
{
    const uint bits = kd_bits(x);
    int        e = (int)(bits >> 23) - 126;
    float      m = kd_float((bits & 0x007fffffu) | 0x3f000000u);     /* 0.5 <= m < 1 */

    if (m < 0x1.6a09e6p-1f) {
        e -= 1;
        m = m + m;
    }
    m = m - 1.0f;
    const float z = m * m;
    float       p = 7.0376836292e-2f;
    p = kd_fma(p, m, -1.1514610310e-1f);
    p = kd_fma(p, m, 1.1676998740e-1f);
    p = kd_fma(p, m, -1.2420140846e-1f);
    p = kd_fma(p, m, 1.4249322787e-1f);
    p = kd_fma(p, m, -1.6668057665e-1f);
    p = kd_fma(p, m, 2.0000714765e-1f);
    p = kd_fma(p, m, -2.4999993993e-1f);
    p = kd_fma(p, m, 3.3333331174e-1f);
    p = p * m * z;
    p = kd_fma((float)e, 0x1.7f7d1cp-20f, p);
    p = kd_fma(-0.5f, z, p);
    return kd_fma((float)e, 0x1.62e4p-1f, m + p);
}

/* log(1 + y) for 0 <= y < 2^24. */
KD_FN float kd_log1p(float y)
{
    const float u = 1.0f + y;
    return kd_log(u) + (y - (u - 1.0f)) / u;       /* the second term is what u lost */
}

KD_FN float kd_sigmoid(float x)
{
    return 1.0f / (1.0f + kd_exp(-x));
}

/* log(1 + e^x). */
KD_FN float kd_softplus(float x)
{
    return x > 15.0f ? x + kd_log1p(kd_exp(-x)) : x == x ? kd_log1p(kd_exp(x)) : x;
}

typedef struct kd_angle {
    float c, s;
} kd_angle;

/* Cosine and sine for 0 <= x < 2^21, within 2e-7. The multiple of pi/2 is taken off in three parts; the
 * first difference is exact: n has at most 21 bits, both terms are multiples of 2^-23 and their
 * difference is below 2. */
KD_FN kd_angle kd_cos_sin(float x)
{
    const float n = kd_rint(x * 0x1.45f306p-1f);
    float       r = kd_fma(-n, 0x1.921fb6p+0f, x);
    kd_angle    out;

    r = kd_fma(-n, -0x1.777a5cp-25f, r);
    r = kd_fma(-n, -0x1.ee59dap-50f, r);
    const float z = r * r;
    float       s = -1.9515295891e-4f, c = 2.443315711809948e-5f;
    s = kd_fma(s, z, 8.3321608736e-3f);
    s = kd_fma(s, z, -1.6666654611e-1f);
    s = kd_fma(s * z, r, r);
    c = kd_fma(c, z, -1.388731625493765e-3f);
    c = kd_fma(c, z, 4.166664568298827e-2f);
    c = kd_fma(c * z, z, kd_fma(-0.5f, z, 1.0f));
    const uint quarter = (uint)n & 3u;
    const bool swap = (quarter & 1u) != 0;
    out.c = swap ? s : c;
    out.s = swap ? c : s;
    if (quarter == 1u || quarter == 2u) out.c = -out.c;
    if (quarter >= 2u) out.s = -out.s;
    return out;
}

/* silu(min(gate, clamp)) * clamp(up) * weight. The comparisons let NaN pass. */
KD_FN float kd_swiglu(float gate, float up, float clamp, float weight)
{
    const float g = gate > clamp ? clamp : gate;
    const float u = up > clamp ? clamp : up < -clamp ? -clamp : up;
    return g / (1.0f + kd_exp(-g)) * u * weight;
}

#endif
