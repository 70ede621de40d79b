/* metal_views.c - see metal_views.h. */
#include "backend/gpu/metal/metal_views.h"

static metal_view pages_of(const gpu_map *m, uint64_t page)
{
    const uint64_t at = (uint64_t)(uintptr_t)m->bytes;
    return (metal_view){ at & ~(page - 1), (at + m->n_bytes + page - 1) & ~(page - 1) };
}

ds4_status metal_views_plan(const gpu_map *maps, uint32_t n, uint64_t page, uint64_t most_bytes,
                            metal_view *out, uint32_t *n_out, ds4_err *err)
{
    metal_view *last = NULL;

    *n_out = 0;
    for (uint32_t i = 0; i < n; i++) {
        const metal_view mine = pages_of(&maps[i], page);
        if (mine.to - mine.from > most_bytes) {
            return ds4_fail(err, DS4_E_UNSUPPORTED,
                            "a tensor of %.2f GiB is larger than the largest buffer of this device, %.2f GiB",
                            (double)maps[i].n_bytes / 0x1p30, (double)most_bytes / 0x1p30);
        }
        const uint64_t end = last && last->to > mine.to ? last->to : mine.to;
        if (last && mine.from <= last->to && end - last->from <= most_bytes) {
            last->to = end;
            continue;
        }
        last = &out[(*n_out)++];
        *last = mine;
    }
    return DS4_OK;
}
