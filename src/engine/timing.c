/* timing.c - see timing.h. */
#include "engine/timing.h"

#include "engine/engine_local.h"

void ds4_engine_time(ds4_engine *e, ds4_timing_fn *fn, void *ctx)
{
    e->network.backend->time(e->network.dev, fn, ctx);
}
