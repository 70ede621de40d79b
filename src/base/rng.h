/* rng.h - random numbers that are the same on every machine. The type is in ds4.h. */
#ifndef DS4_BASE_RNG_H
#define DS4_BASE_RNG_H

#include "ds4.h"

uint64_t ds4_rng_next(ds4_rng *rng);        /* 64 random bits */
double   ds4_rng_uniform(ds4_rng *rng);     /* 0 <= u < 1, 53 bits */

#endif
