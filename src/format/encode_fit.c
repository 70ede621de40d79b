/* encode_fit.c - see encode_fit.h. */
#include "format/encode_fit.h"

#include <math.h>
#include <string.h>

enum { MAX_VALUES = 32 };

static const float tiny = 1e-15f;       /* below it a group counts as zero */

int ds4_fit_level(float v, int lo, int hi)
{
    if (!(v > (float)lo)) return lo;
    return v >= (float)hi ? hi : (int)rintf(v);
}

/* ---- scale * level - min ------------------------------------------------------------- */

typedef struct affine {
    const float *x, *w;
    int          n, q_max;
    bool         absolute;
    float        sum_w, sum_x;          /* of w and of w * x */
} affine;

static void find_levels(const affine *a, uint8_t *level, float inverse, float lo)
{
    for (int i = 0; i < a->n; i++) level[i] = (uint8_t)ds4_fit_level(inverse * (a->x[i] - lo), 0, a->q_max);
}

static float error_of(const affine *a, const uint8_t *level, float scale, float lo)
{
    float sum = 0;

    for (int i = 0; i < a->n; i++) {
        const float off = scale * level[i] + lo - a->x[i];
        sum += a->w[i] * (a->absolute ? fabsf(off) : off * off);
    }
    return sum;
}

/* Weighted least squares for given levels, with lo <= 0. False if the levels are all equal. */
static bool solve(const affine *a, const uint8_t *level, float *scale, float *lo)
{
    float sum_l = 0, sum_ll = 0, sum_xl = 0;

    for (int i = 0; i < a->n; i++) {
        const float l = level[i], w = a->w[i];
        sum_l += w * l;
        sum_ll += w * l * l;
        sum_xl += w * l * a->x[i];
    }
    const float det = a->sum_w * sum_ll - sum_l * sum_l;
    if (!(det > 0)) return false;
    *scale = (a->sum_w * sum_xl - a->sum_x * sum_l) / det;
    *lo = (sum_ll * a->sum_x - sum_l * sum_xl) / det;
    if (*lo > 0) {
        *lo = 0;
        *scale = sum_xl / sum_ll;
    }
    return true;
}

float ds4_fit_affine(uint8_t *level, float *min, const float *x, const float *w, int n, int q_max,
                     const ds4_fit_scan *scan)
{
    affine  a = { x, w, n, q_max, scan->absolute, w[0], w[0] * x[0] };
    float   lo = x[0], hi = x[0];
    uint8_t trial[MAX_VALUES];

    for (int i = 1; i < n; i++) {
        if (x[i] < lo) lo = x[i];
        if (x[i] > hi) hi = x[i];
        a.sum_w += w[i];
        a.sum_x += w[i] * x[i];
    }
    if (lo > 0) lo = 0;
    if (hi <= lo) {
        memset(level, 0, (size_t)n);
        *min = -lo;
        return 0;
    }
    const float inverse = (float)q_max / (hi - lo);
    float       scale = 1.0f / inverse;
    find_levels(&a, level, inverse, lo);
    float least = error_of(&a, level, scale, lo);

    /* The scan measures from the best lo so far, which makes its steps uneven. */
    for (int s = 0; s <= scan->n_steps; s++) {
        float trial_scale = 0, trial_lo = 0;
        find_levels(&a, trial, (scan->first + scan->step * (float)s + (float)q_max) / (hi - lo), lo);
        if (!solve(&a, trial, &trial_scale, &trial_lo)) continue;
        const float off = error_of(&a, trial, trial_scale, trial_lo);
        if (!(off < least)) continue;
        memcpy(level, trial, (size_t)n);
        least = off;
        scale = trial_scale;
        lo = trial_lo;
    }
    *min = -lo;
    return scale;
}

/* ---- scale * level ---------------------------------------------------------------------- */

static int positive_level(float v, int q_max)
{
    return ds4_fit_level(v, -128, q_max);
}

/* The inverse scale of least error among nine, trying the plain one first. */
static float best_inverse(uint8_t *level, const float *x, const float *w, int n, int q_max, float most)
{
    float inverse = (float)q_max / most, scale = 1.0f / inverse, least = 0;

    for (int i = 0; i < n; i++) {
        level[i] = (uint8_t)positive_level(inverse * x[i], q_max);
        const float off = x[i] - scale * level[i];      /* with the level as it is stored */
        least += w[i] * off * off;
    }
    for (int k = -4; k <= 4; k++) {
        if (k == 0) continue;
        const float trial = (0.1f * (float)k + (float)q_max) / most;
        float       sum = 0;
        scale = 1.0f / trial;
        for (int i = 0; i < n; i++) {
            const float off = x[i] - scale * (float)positive_level(trial * x[i], q_max);
            sum += w[i] * off * off;
        }
        if (sum < least) {
            least = sum;
            inverse = trial;
        }
    }
    return inverse;
}

/* One sweep: give each value the level that suits the others best. Keeps the sums
 * sum_xl = sum of w x l and sum_ll = sum of w l^2. Returns whether a level changed. */
static bool sweep(uint8_t *level, const float *x, const float *w, int n, int q_max, float *sum_xl,
                  float *sum_ll)
{
    bool changed = false;

    for (int i = 0; i < n; i++) {
        const float l = level[i];
        float       xl = *sum_xl - w[i] * x[i] * l, ll = *sum_ll - w[i] * l * l;
        if (!(xl > 0 && ll > 0)) continue;
        const int   trial = positive_level(x[i] * ll / xl, q_max);
        const float t = (float)trial;
        if (trial == level[i]) continue;
        xl += w[i] * x[i] * t;
        ll += w[i] * t * t;
        if (xl * xl * *sum_ll > *sum_xl * *sum_xl * ll) {
            level[i] = (uint8_t)trial;
            *sum_xl = xl;
            *sum_ll = ll;
            changed = true;
        }
    }
    return changed;
}

float ds4_fit_positive(uint8_t *level, const float *x, const float *w, int n, int q_max)
{
    float most = 0, sum_xl = 0, sum_ll = 0;

    for (int i = 0; i < n; i++) most = fmaxf(most, x[i]);
    if (!(most >= tiny)) {
        memset(level, 0, (size_t)n);
        return 0;
    }
    const float inverse = best_inverse(level, x, w, n, q_max, most);
    for (int i = 0; i < n; i++) {
        const int l = positive_level(inverse * x[i], q_max);
        level[i] = (uint8_t)l;
        sum_xl += w[i] * x[i] * (float)l;
        sum_ll += w[i] * (float)l * (float)l;
    }
    for (int round = 0; round < 5 && sweep(level, x, w, n, q_max, &sum_xl, &sum_ll); round++) continue;
    return sum_ll > 0 ? sum_xl / sum_ll : 0;
}
