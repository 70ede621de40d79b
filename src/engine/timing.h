/* timing.h - where the time of a step goes: for ds4-bench and for whoever makes it faster. */
#ifndef DS4_ENGINE_TIMING_H
#define DS4_ENGINE_TIMING_H

#include "ds4.h"

/* An operation, or a named part of one, took ns and read weight_bytes of weights. name has
 * static storage. Operations that took no part of a step's time are not told of. */
typedef void ds4_timing_fn(void *ctx, const char *name, uint64_t ns, uint64_t weight_bytes);

/* Time every step from now on; fn NULL ends it. Costs two readings of a clock for each
 * operation while it is on. */
void ds4_engine_time(ds4_engine *e, ds4_timing_fn *fn, void *ctx);

#endif
