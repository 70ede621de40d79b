/* histogram.c - see histogram.h. */
#include "base/histogram.h"

#include <stddef.h>

void ds4_histogram_add(ds4_histogram *h, double value)
{
    uint32_t i = 0;

    if (!h) return;
    while (i < h->n_bounds && value > h->bounds[i]) i++;
    atomic_fetch_add(&h->n[i], 1);
    atomic_fetch_add(&h->sum_millionths, (unsigned long long)(value * 1e6 + 0.5));
}
