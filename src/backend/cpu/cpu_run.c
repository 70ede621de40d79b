/* cpu_run.c - what every operation stands on: sharing its work, telling its time, exact angles. */
#include "backend/cpu/cpu_local.h"

#include "base/clock.h"

#include <math.h>

void cpu_run(ds4_dev *dev, ds4_team_fn *fn, void *ctx, uint64_t n_items)
{
    if (n_items < 2) fn(ctx, 0, 1);
    else ds4_team_run(dev->team, fn, ctx);
}

void cpu_angle(float *c, float *s, uint32_t pos, float freq)
{
    const float angle = (float)pos * freq;
    *c = (float)cos((double)angle);
    *s = (float)sin((double)angle);
}

void cpu_note(ds4_dev *dev, const char *name, uint64_t weight_bytes)
{
    const uint64_t now = ds4_now_ns();

    dev->time_fn(dev->time_ctx, name, now - dev->marked_ns, weight_bytes);
    dev->marked_ns = now;
}
