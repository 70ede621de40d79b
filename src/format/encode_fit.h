/* encode_fit.h - the two fits that the K-quant and IQ2 encoders share.
 *
 * Sums are taken in float and in index order: the encoders' bytes depend on it. */
#ifndef DS4_FORMAT_ENCODE_FIT_H
#define DS4_FORMAT_ENCODE_FIT_H

#include <stdbool.h>
#include <stdint.h>

/* The scan of an affine fit: the range is cut into q_max + first + step * s parts, s = 0..n_steps. */
typedef struct ds4_fit_scan {
    float first, step;
    int   n_steps;
    bool  absolute;     /* least absolute instead of least squared error */
} ds4_fit_scan;

/* Fit x[i] = scale * level[i] - min with levels 0..q_max and min >= 0.
 *
 *   level   [n] the levels found
 *   min     the min found
 *   x, w    [n] values and their weights; n at most 32
 *
 * Returns the scale; 0 with all levels 0 if x is constant.                            */
float ds4_fit_affine(uint8_t *level, float *min, const float *x, const float *w, int n, int q_max,
                     const ds4_fit_scan *scan);

/* Fit x[i] = scale * level[i] with levels 0..q_max, for x mostly >= 0.
 *
 *   level   [n]; a negative x may leave a negative level, stored modulo 256
 *
 * Returns the scale; 0 with all levels 0 if nothing is positive.                      */
float ds4_fit_positive(uint8_t *level, const float *x, const float *w, int n, int q_max);

/* v rounded half to even, inside lo..hi; lo for NaN. */
int ds4_fit_level(float v, int lo, int hi);

#endif
