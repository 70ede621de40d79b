/* histogram.h - how values are spread: counts in buckets, and their sum. May be filled by several
 * threads while another one reads. */
#ifndef DS4_BASE_HISTOGRAM_H
#define DS4_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { DS4_HISTOGRAM_MAX = 24 };

typedef struct ds4_histogram {
    const double *bounds;       /* [n_bounds] ascending, of constant storage; what is above is counted too */
    uint32_t      n_bounds;     /* at most DS4_HISTOGRAM_MAX */
    atomic_ullong n[DS4_HISTOGRAM_MAX + 1];     /* values up to each bound and above the one before */
    atomic_ullong sum_millionths;
} ds4_histogram;

/* Count a value, which is not negative. NULL is fine. */
void ds4_histogram_add(ds4_histogram *h, double value);

#endif
