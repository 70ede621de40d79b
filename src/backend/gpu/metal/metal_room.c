/* metal_room.c - see metal_room.h. */
#include "backend/gpu/metal/metal_room.h"

#include <stdlib.h>
#include <string.h>

/* The first part at or behind an address. */
static uint32_t find(const metal_room *r, uint64_t at)
{
    uint32_t low = 0, high = r->n;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (r->part[middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static ds4_status insert(metal_room *r, uint32_t i, room_part part, ds4_err *err)
{
    if (r->n == r->capacity) {
        const uint32_t capacity = r->capacity ? 2 * r->capacity : 64;
        room_part     *bigger = realloc(r->part, capacity * sizeof *bigger);
        if (!bigger) return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of %u pieces", capacity);
        r->part = bigger;
        r->capacity = capacity;
    }
    memmove(r->part + i + 1, r->part + i, (r->n - i) * sizeof *r->part);
    r->part[i] = part;
    r->n++;
    return DS4_OK;
}

static void drop(metal_room *r, uint32_t i)
{
    r->n--;
    memmove(r->part + i, r->part + i + 1, (r->n - i) * sizeof *r->part);
}

ds4_status metal_room_add(metal_room *r, uint64_t at, uint64_t n_bytes, ds4_err *err)
{
    const room_part part = { .at = at, .n_bytes = n_bytes, .slab = r->n_slabs };

    DS4_TRY(insert(r, find(r, at), part, err));
    r->n_slabs++;
    return DS4_OK;
}

ds4_status metal_room_take(metal_room *r, uint64_t n_bytes, uint64_t *at, bool *found, ds4_err *err)
{
    const room_part *best = NULL;

    *found = false;
    if (n_bytes > UINT64_MAX - METAL_ALIGN) return DS4_OK;
    n_bytes = (n_bytes + METAL_ALIGN - 1) / METAL_ALIGN * METAL_ALIGN;
    for (uint32_t i = 0; i < r->n; i++) {
        const room_part *p = &r->part[i];
        if (!p->taken && p->n_bytes >= n_bytes && (!best || p->n_bytes < best->n_bytes)) best = p;
    }
    if (!best) return DS4_OK;
    const uint32_t  i = (uint32_t)(best - r->part);
    const room_part rest = { .at = best->at + n_bytes, .n_bytes = best->n_bytes - n_bytes,
                             .slab = best->slab };
    if (rest.n_bytes > 0) DS4_TRY(insert(r, i + 1, rest, err));
    r->part[i].n_bytes = n_bytes;
    r->part[i].taken = true;
    *at = r->part[i].at;
    *found = true;
    return DS4_OK;
}

static bool joins(const room_part *a, const room_part *b)
{
    return !a->taken && !b->taken && a->slab == b->slab && a->at + a->n_bytes == b->at;
}

bool metal_room_give(metal_room *r, uint64_t at)
{
    const uint32_t i = find(r, at);

    if (i == r->n || r->part[i].at != at || !r->part[i].taken) return false;
    r->part[i].taken = false;
    if (i + 1 < r->n && joins(&r->part[i], &r->part[i + 1])) {
        r->part[i].n_bytes += r->part[i + 1].n_bytes;
        drop(r, i + 1);
    }
    if (i > 0 && joins(&r->part[i - 1], &r->part[i])) {
        r->part[i - 1].n_bytes += r->part[i].n_bytes;
        drop(r, i);
    }
    return true;
}

void metal_room_clear(metal_room *r)
{
    free(r->part);
    *r = (metal_room){ 0 };
}
