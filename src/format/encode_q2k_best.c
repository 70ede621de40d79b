/* encode_q2k_best.c - Q2_K with less error than the usual encoder; see encode.h.
 *
 * Weights are d * s * q - dmin * m. Two steps take turns, from the usual encoder's result:
 * for given d and dmin the best pair (s, m) is sought for each 16 weights, first among all
 * 256, later among the neighbours; for given s, m and q the best d and dmin are a least
 * squares fit. */
#include "format/encode.h"

#include <math.h>
#include <string.h>

#include "format/small_float.h"

enum { N_ROUNDS = 4, ANYWHERE = 15, NEAR = 2 };

typedef struct fit {
    float   d, dmin;            /* as stored: F16 */
    uint8_t s[16], m[16], q[256];
    float   error;
} fit;

/* The level nearest to v; branch-free, because it is the innermost step. */
static int level_of(float v)
{
    return (v > 0.5f) + (v > 1.5f) + (v > 2.5f);
}

static int max_of(int a, int b) { return a > b ? a : b; }
static int min_of(int a, int b) { return a < b ? a : b; }

static float pair_error(const float *x, const float *w, float scale, float min)
{
    const float inverse = scale != 0 ? 1.0f / scale : 0;
    float       sum = 0;

    for (int i = 0; i < 16; i++) {
        const float off = scale * (float)level_of((x[i] + min) * inverse) - min - x[i];
        sum += w[i] * off * off;
    }
    return sum;
}

/* The best pair of nibbles for 16 weights, at most `reach` away from the present one. */
static float choose_pair(fit *f, int j, int reach, const float *x, const float *w)
{
    const int s_mid = f->s[j], m_mid = f->m[j], m_top = f->dmin != 0 ? 15 : 0;
    float     least = INFINITY;

    for (int m = max_of(0, m_mid - reach); m <= min_of(m_top, m_mid + reach); m++) {
        for (int s = max_of(0, s_mid - reach); s <= min_of(15, s_mid + reach); s++) {
            const float off = pair_error(x + 16 * j, w + 16 * j, f->d * (float)s, f->dmin * (float)m);
            if (off < least) {
                least = off;
                f->s[j] = (uint8_t)s;
                f->m[j] = (uint8_t)m;
            }
        }
    }
    return least;
}

static void choose_pairs(fit *f, int reach, const float *x, const float *w)
{
    f->error = 0;
    for (int j = 0; j < 16; j++) {
        if (f->dmin == 0) f->m[j] = 0;
        f->error += choose_pair(f, j, reach, x, w);
        const float scale = f->d * f->s[j], min = f->dmin * f->m[j], inverse = scale != 0 ? 1.0f / scale : 0;
        for (int i = 16 * j; i < 16 * (j + 1); i++) f->q[i] = (uint8_t)level_of((x[i] + min) * inverse);
    }
}

/* Least squares for x = d * a - dmin * b with a = s q and b = m. */
static void refit(fit *f, const float *x, const float *w)
{
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;

    for (int i = 0; i < 256; i++) {
        const double a = f->s[i / 16] * f->q[i], b = f->m[i / 16];
        aa += w[i] * a * a;
        ab += w[i] * a * b;
        bb += w[i] * b * b;
        ax += w[i] * a * x[i];
        bx += w[i] * b * x[i];
    }
    const double det = aa * bb - ab * ab;
    if (det > 1e-9 * aa * bb) {
        f->d = ds4_f16_to_f32(ds4_f32_to_f16((float)((ax * bb - bx * ab) / det)));
        f->dmin = ds4_f16_to_f32(ds4_f32_to_f16((float)((ax * ab - bx * aa) / det)));
    } else if (aa > 0) {
        f->d = ds4_f16_to_f32(ds4_f32_to_f16((float)(ax / aa)));
    }
}

static void store(uint8_t out[84], const fit *f)
{
    memset(out, 0, 84);
    for (int j = 0; j < 16; j++) out[j] = (uint8_t)(f->s[j] | f->m[j] << 4);
    for (int n = 0; n < 256; n++) {
        out[16 + 32 * (n >> 7) + (n & 31)] |= (uint8_t)(f->q[n] << (2 * (n >> 5 & 3)));
    }
    ds4_store_f16(out + 80, f->d);
    ds4_store_f16(out + 82, f->dmin);
}

void ds4_encode_q2_k_best(uint8_t out[84], const float *x, const float *w)
{
    float weight[256], sum_w = 0;
    fit   f = { 0 }, best;

    for (int i = 0; i < 256; i++) sum_w += w ? w[i] : 0;
    for (int i = 0; i < 256; i++) weight[i] = sum_w > 0 ? w[i] / sum_w : 1.0f / 256.0f;
    ds4_encode_q2_k(out, x, weight);
    f.d = ds4_load_f16(out + 80);
    f.dmin = ds4_load_f16(out + 82);
    choose_pairs(&f, ANYWHERE, x, weight);
    best = f;
    for (int round = 0; round < N_ROUNDS; round++) {
        refit(&f, x, weight);
        if (!(isfinite(f.d) && isfinite(f.dmin))) break;
        choose_pairs(&f, NEAR, x, weight);
        if (!(f.error < best.error)) break;
        best = f;
    }
    store(out, &best);
}
