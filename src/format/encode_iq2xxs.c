/* encode_iq2xxs.c - the usual encoder of IQ2_XXS, byte for byte; see encode.h.
 *
 * It rounds |x| to the levels 1, 3, 5 of a trial scale and, where the eight levels are no
 * codeword, takes the best of the nearest codewords. Kept as the measure for better ones. */
#include "format/encode.h"

#include <math.h>
#include <string.h>

#include "format/encode_fit.h"
#include "format/iq2xxs_table.h"
#include "format/small_float.h"

/* 32 weights being fitted. */
typedef struct group {
    float   v[32];              /* magnitudes; the one with the flipped sign is <= 0 */
    float   w[32], root_w[32];
    uint8_t signs[4];           /* 7 bits each */
    uint8_t level[32];          /* 0..2 */
    float   scale;
} group;

static unsigned digit(uint16_t code, int j)
{
    return code >> (2 * j) & 3;
}

/* The position of a code in the codebook, or -1. */
static int find_code(uint16_t code)
{
    int lo = 0, hi = 255;

    while (lo < hi) {
        const int middle = (lo + hi) / 2;
        if (ds4_iq2xxs_codes[middle] < code) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return ds4_iq2xxs_codes[lo] == code ? lo : -1;
}

static uint16_t code_of(const uint8_t level[8])
{
    uint16_t code = 0;

    for (int j = 0; j < 8; j++) code = (uint16_t)(code | level[j] << (2 * j));
    return code;
}

static float distance(uint16_t code, const float *v, const float *w, float scale)
{
    float sum = 0;

    for (int j = 0; j < 8; j++) {
        const float off = scale * (float)(2 * digit(code, j) + 1) - v[j];
        sum += w[j] * off * off;
    }
    return sum;
}

/* Replace levels that are no codeword by the codeword that fits v best among those of the
 * two smallest distances from them. Ties go to the nearer one, then to the lower index. */
static void replace(uint8_t level[8], const float *v, const float *w, float scale)
{
    uint16_t  away[256], near[2] = { UINT16_MAX, UINT16_MAX };
    float     least = INFINITY;
    int       best = 0;

    for (int c = 0; c < 256; c++) {
        away[c] = 0;
        for (int j = 0; j < 8; j++) {
            const int off = (int)digit(ds4_iq2xxs_codes[c], j) - level[j];
            away[c] = (uint16_t)(away[c] + off * off);
        }
        if (away[c] < near[0]) {
            near[1] = near[0];
            near[0] = away[c];
        } else if (away[c] > near[0] && away[c] < near[1]) {
            near[1] = away[c];
        }
    }
    for (int shell = 0; shell < 2; shell++) {
        for (int c = 0; c < 256; c++) {
            if (away[c] != near[shell]) continue;
            const float off = distance(ds4_iq2xxs_codes[c], v, w, scale);
            if (off < least) {
                least = off;
                best = c;
            }
        }
    }
    for (int j = 0; j < 8; j++) level[j] = (uint8_t)digit(ds4_iq2xxs_codes[best], j);
}

static void find_levels(const group *g, uint8_t level[32], float inverse, float scale)
{
    for (int k = 0; k < 4; k++) {
        const float *v = g->v + 8 * k;
        uint8_t     *l = level + 8 * k;
        for (int j = 0; j < 8; j++) l[j] = (uint8_t)ds4_fit_level(0.5f * (inverse * v[j] - 1.0f), 0, 2);
        if (find_code(code_of(l)) < 0) replace(l, v, g->root_w + 8 * k, scale);
    }
}

static void sums(const group *g, const uint8_t level[32], float *sum_xq, float *sum_qq)
{
    *sum_xq = *sum_qq = 0;
    for (int i = 0; i < 32; i++) {
        const float q = (float)(2 * level[i] + 1);
        *sum_xq += g->w[i] * g->v[i] * q;
        *sum_qq += g->w[i] * q * q;
    }
}

/* Magnitudes and sign bits; an odd number of negatives is made even by giving up the sign
 * of the weight that costs least. */
static void split_signs(group *g, const float *x)
{
    for (int k = 0; k < 4; k++) {
        unsigned signs = 0;
        int      cheapest = 0, n_negative = 0;
        float    least = INFINITY;

        for (int j = 0; j < 8; j++) {
            const int   i = 8 * k + j;
            const float cost = g->w[i] * x[i] * x[i];
            g->v[i] = fabsf(x[i]);
            if (x[i] < 0) signs |= 1u << j, n_negative++;
            if (cost < least) {
                least = cost;
                cheapest = j;
            }
        }
        if (n_negative % 2 == 1) {
            g->v[8 * k + cheapest] = -g->v[8 * k + cheapest];
            signs ^= 1u << cheapest;
        }
        g->signs[k] = (uint8_t)(signs & 127);
    }
}

static void scan_scales(group *g, float m)
{
    float   best = 0, sum_xq, sum_qq;
    uint8_t trial[32];

    for (int k = -6; k <= 6; k++) {
        const float inverse = (5.0f + (float)k * 0.1f) / m;
        find_levels(g, trial, inverse, 1.0f / inverse);
        sums(g, trial, &sum_xq, &sum_qq);
        if (sum_qq > 0 && sum_xq * sum_xq > best * sum_qq) {
            g->scale = sum_xq / sum_qq;
            best = g->scale * sum_xq;
            memcpy(g->level, trial, sizeof trial);
        }
    }
}

static void fit_group(group *g, const float *x, const float *importance, float variance)
{
    float   most = 0, sum_xq, sum_qq;
    uint8_t level[32];

    memset(g->level, 0, sizeof g->level);
    g->scale = 0;
    for (int i = 0; i < 32; i++) {
        g->w[i] = importance[i] * sqrtf(variance + x[i] * x[i]);
        g->root_w[i] = sqrtf(g->w[i]);
    }
    split_signs(g, x);
    for (int i = 0; i < 32; i++) most = fmaxf(most, g->v[i]);
    if (!(most >= 1e-15f)) {
        memset(g->signs, 0, sizeof g->signs);           /* a skipped group stores no signs */
        return;
    }
    const float m = 3.0f * ds4_fit_positive(level, g->v, g->w, 32, 4);
    if (!(m > 0)) {
        memset(g->signs, 0, sizeof g->signs);
        return;
    }
    g->scale = m / 3.0f;
    scan_scales(g, m);
    if (g->scale > 0) {
        find_levels(g, g->level, 1.0f / g->scale, g->scale);
        sums(g, g->level, &sum_xq, &sum_qq);
        if (sum_qq > 0) g->scale = sum_xq / sum_qq;
    }
    if (g->scale < 0) {
        g->scale = -g->scale;
        for (int k = 0; k < 4; k++) g->signs[k] = (uint8_t)(~g->signs[k] & 127);
    }
}

void ds4_encode_iq2_xxs(uint8_t out[66], const float *x, const float *w)
{
    group groups[8];
    float sum = 0, most = 0;

    for (int i = 0; i < 256; i++) sum += x[i] * x[i];
    for (int k = 0; k < 8; k++) {
        fit_group(&groups[k], x + 32 * k, w + 32 * k, sum / 256.0f);
        most = fmaxf(most, groups[k].scale);
    }
    memset(out, 0, 66);
    if (!(most > 0)) return;
    const float d = most / 31.0f, inverse = 1.0f / d;
    ds4_store_f16(out, d);
    for (int k = 0; k < 8; k++) {
        const group *g = &groups[k];
        uint8_t     *at = out + 2 + 8 * k;
        uint32_t     bits = (uint32_t)ds4_fit_level(0.5f * (inverse * g->scale - 1.0f), 0, 15) << 28;

        for (int j = 0; j < 4; j++) {
            at[j] = (uint8_t)find_code(code_of(g->level + 8 * j));
            bits |= (uint32_t)g->signs[j] << (7 * j);
        }
        for (int j = 0; j < 4; j++) at[4 + j] = (uint8_t)(bits >> (8 * j));
    }
}
