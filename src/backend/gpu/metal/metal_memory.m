/* metal_memory.m - the device's memory: few buffers that stay, and pieces of them.
 *
 * Buffers are made while a model is loaded and released when the device is closed, never between: systems
 * have been seen to panic over many made and released. All memory is shared with the host. What kernels
 * reach by adding to the base (sessions' rows) lies in the first buffer, or in buffers that the GPU sees at
 * known addresses. */
#include "backend/gpu/metal/metal_local.h"

#include "backend/gpu/metal/metal_views.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLAB_BYTES = 32 << 20, INVENTED_GAP = 1 << 20 };
#define INVENTED_FROM (1ull << 62)

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- buffers --------------------------------------------------------------------------------------- */

static ds4_status make_room_for(gpu_device *dev, uint32_t n, ds4_err *err)
{
    if (dev->n_buffers + n <= dev->room_for) return DS4_OK;
    const uint32_t   most = 2 * (dev->n_buffers + n);
    metal_buffer    *buffer = realloc(dev->buffer, most * sizeof *buffer);
    if (buffer) dev->buffer = buffer;
    id<MTLResource> *resource = buffer ? realloc(dev->resource, most * sizeof *resource) : NULL;
    if (!resource) return ds4_fail(err, DS4_E_NOMEM, "no memory for a list of %u buffers", most);
    dev->resource = resource;
    dev->room_for = most;
    return DS4_OK;
}

/* The address that the GPU has for a buffer, since macOS 13; 0: it is not told. */
static uint64_t told_address(id<MTLBuffer> buffer)
{
    return [buffer respondsToSelector:@selector(gpuAddress)] ? [buffer gpuAddress] : 0;
}

static void make_resident(gpu_device *dev, id<MTLBuffer> buffer)
{
#if METAL_KNOWS_15
    if (dev->residency) [(id<MTLResidencySet>)dev->residency addAllocation:buffer];
#else
    (void)dev;
    (void)buffer;
#endif
}

static void apply_residency(gpu_device *dev)
{
#if METAL_KNOWS_15
    if (!dev->residency) return;
    [(id<MTLResidencySet>)dev->residency commit];
    [(id<MTLResidencySet>)dev->residency requestResidency];
#else
    (void)dev;
#endif
}

/* The list owns the buffer from here on; there is room for it. Returns its address. */
static uint64_t add_buffer(gpu_device *dev, id<MTLBuffer> buffer)
{
    const uint64_t n_bytes = (uint64_t)[buffer length];
    uint64_t       from = told_address(buffer);
    uint32_t       i = dev->n_buffers;

    if (from == 0) {
        from = dev->next ? dev->next : INVENTED_FROM;
        dev->next = from + n_bytes + INVENTED_GAP;
    }
    pthread_mutex_lock(&dev->lock);
    for (; i > 0 && dev->buffer[i - 1].from > from; i--) dev->buffer[i] = dev->buffer[i - 1];
    dev->buffer[i] = (metal_buffer){ .from = from, .n_bytes = n_bytes, .buffer = buffer };
    dev->resource[dev->n_buffers++] = buffer;
    pthread_mutex_unlock(&dev->lock);
    make_resident(dev, buffer);
    return from;
}

const metal_buffer *metal_find(const gpu_device *dev, gpu_at at, uint64_t n_bytes)
{
    const uint64_t address = dev->base + at;
    uint32_t       low = 0, high = dev->n_buffers;

    while (low < high) {                /* the last that begins at or before the address */
        const uint32_t middle = low + (high - low) / 2;
        if (dev->buffer[middle].from <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return NULL;
    const metal_buffer *b = &dev->buffer[low - 1];
    const uint64_t      off = address - b->from;
    return off < b->n_bytes && n_bytes <= b->n_bytes - off ? b : NULL;
}

/* A slab for n_bytes more, at least; the first one is the base. */
static ds4_status add_slab(gpu_device *dev, metal_room *room, uint64_t n_bytes, ds4_err *err)
{
    const uint64_t page = page_bytes(), most = (uint64_t)[dev->device maxBufferLength];
    uint64_t       want = n_bytes > SLAB_BYTES ? n_bytes : SLAB_BYTES;

    DS4_TRY(make_room_for(dev, 1, err));
    want = (want + page - 1) / page * page;
    id<MTLBuffer> buffer = nil;
    if (want <= most) {
        buffer = [dev->device newBufferWithLength:(NSUInteger)want
                                          options:MTLResourceStorageModeShared |
                                                  MTLResourceHazardTrackingModeUntracked];
    }
    if (!buffer) {
        return ds4_fail(err, DS4_E_NOMEM,
                        "the GPU gives no buffer of %.2f GiB; it has given %.2f of %.2f GiB, and at most %.2f at once",
                        (double)want / 0x1p30, (double)[dev->device currentAllocatedSize] / 0x1p30,
                        (double)[dev->device recommendedMaxWorkingSetSize] / 0x1p30, (double)most / 0x1p30);
    }
    const bool is_first = dev->n_buffers == 0;
    if (is_first) dev->tells = told_address(buffer) != 0;
    const uint64_t from = add_buffer(dev, buffer);
    apply_residency(dev);
    if (is_first) dev->base = from;
    /* The base itself is no allocation. */
    const uint64_t skip = is_first ? METAL_ALIGN : 0;
    return metal_room_add(room, from + skip, want - skip, err);
}

ds4_status metal_reserve(gpu_device *dev, uint64_t n_bytes, ds4_err *err)
{
    if (dev->n_buffers > 0) return DS4_OK;
    return add_slab(dev, &dev->room, n_bytes + METAL_ALIGN, err);
}

void metal_drop_memory(gpu_device *dev)
{
#if METAL_KNOWS_15
    [(id<MTLResidencySet>)dev->residency endResidency];
#endif
    [dev->residency release];
    for (uint32_t i = 0; i < dev->n_buffers; i++) [dev->buffer[i].buffer release];
    free(dev->buffer);
    free(dev->resource);
    metal_room_clear(&dev->room);
    metal_room_clear(&dev->apart);
}

/* ---- pieces ---------------------------------------------------------------------------------------- */

static uint8_t *host_address(gpu_device *dev, gpu_at at, uint64_t n_bytes)
{
    pthread_mutex_lock(&dev->lock);
    const metal_buffer *b = metal_find(dev, at, n_bytes);
    uint8_t            *p = b ? (uint8_t *)[b->buffer contents] + (dev->base + at - b->from) : NULL;
    pthread_mutex_unlock(&dev->lock);
    return p;
}

static ds4_status no_such(gpu_at at, uint64_t n_bytes, ds4_err *err)
{
    return ds4_fail(err, DS4_E_ARG, "%llu bytes at address %llu are no memory of this device",
                    (unsigned long long)n_bytes, (unsigned long long)at);
}

static ds4_status take(gpu_device *dev, metal_room *room, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    uint64_t at = 0;
    bool     found;

    if (n_bytes > UINT64_MAX / 2) return ds4_fail(err, DS4_E_NOMEM, "no GPU has so much memory");
    DS4_TRY(metal_room_take(room, n_bytes, &at, &found, err));
    if (!found) {
        if (room == &dev->room && !dev->tells) {
            return ds4_fail(err, DS4_E_NOMEM,
                            "the memory that was planned for sessions is used up, and this system can add none");
        }
        DS4_TRY(add_slab(dev, room, n_bytes, err));
        DS4_TRY(metal_room_take(room, n_bytes, &at, &found, err));
        if (!found) return ds4_fail(err, DS4_E_NOMEM, "the GPU's memory is used up");
    }
    *out = at - dev->base;
    memset(host_address(dev, *out, n_bytes), 0, n_bytes);
    return DS4_OK;
}

ds4_status metal_alloc(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    DS4_TRY(metal_reserve(dev, 0, err));
    return take(dev, &dev->room, n_bytes, out, err);
}

ds4_status metal_alloc_apart(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    DS4_TRY(metal_reserve(dev, 0, err));
    return take(dev, dev->tells ? &dev->room : &dev->apart, n_bytes, out, err);
}

void metal_give(gpu_device *dev, gpu_at at)
{
    if (!metal_room_give(&dev->room, dev->base + at)) metal_room_give(&dev->apart, dev->base + at);
}

/* ---- the host's memory ----------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const uint8_t *x = (*(gpu_map *const *)a)->bytes, *y = (*(gpu_map *const *)b)->bytes;
    return x < y ? -1 : x > y;
}

static ds4_status add_view(gpu_device *dev, metal_view v, uint64_t *at, ds4_err *err)
{
    id<MTLBuffer> buffer =
        [dev->device newBufferWithBytesNoCopy:(void *)(uintptr_t)v.from
                                       length:(NSUInteger)(v.to - v.from)
                                      options:MTLResourceStorageModeShared | MTLResourceHazardTrackingModeUntracked
                                  deallocator:nil];
    if (!buffer) {
        return ds4_fail(err, DS4_E_NOMEM, "the GPU cannot read %.2f GiB of the mapped file",
                        (double)(v.to - v.from) / 0x1p30);
    }
    *at = add_buffer(dev, buffer);
    return DS4_OK;
}

/* maps [n] sorted; views [n] is room. */
static ds4_status add_views(gpu_device *dev, gpu_map *maps, uint32_t n, metal_view *views, ds4_err *err)
{
    uint32_t n_views = 0, k = 0;
    uint64_t at = 0;

    DS4_TRY(metal_views_plan(maps, n, page_bytes(), (uint64_t)[dev->device maxBufferLength], views, &n_views, err));
    DS4_TRY(make_room_for(dev, n_views, err));
    for (uint32_t i = 0; i < n_views; i++) {
        DS4_TRY(add_view(dev, views[i], &at, err));
        for (; k < n; k++) {
            const uint64_t from = (uint64_t)(uintptr_t)maps[k].bytes;
            if (from < views[i].from || from + maps[k].n_bytes > views[i].to) break;
            maps[k].at = at + (from - views[i].from) - dev->base;
        }
    }
    apply_residency(dev);
    return DS4_OK;
}

ds4_status metal_map(gpu_device *dev, gpu_map *maps, uint32_t n, ds4_err *err)
{
    gpu_map    **order = calloc(n ? n : 1, sizeof *order);
    gpu_map     *sorted = calloc(n ? n : 1, sizeof *sorted);
    metal_view  *views = calloc(n ? n : 1, sizeof *views);
    ds4_status   st = order && sorted && views ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for %u tensors", n);

    if (st == DS4_OK) st = metal_reserve(dev, 0, err);
    if (st == DS4_OK) {
        for (uint32_t i = 0; i < n; i++) order[i] = &maps[i];
        qsort(order, n, sizeof *order, by_address);
        for (uint32_t i = 0; i < n; i++) sorted[i] = *order[i];
        st = add_views(dev, sorted, n, views, err);
    }
    for (uint32_t i = 0; st == DS4_OK && i < n; i++) order[i]->at = sorted[i].at;
    free(order);
    free(sorted);
    free(views);
    return st;
}

/* ---- bytes ----------------------------------------------------------------------------------------- */

ds4_status metal_write(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    uint8_t *p = host_address(dev, to, n_bytes);

    if (!p) return no_such(to, n_bytes, err);
    memcpy(p, from, n_bytes);
    return DS4_OK;
}

ds4_status metal_read(gpu_device *dev, const gpu_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *p = host_address(dev, copies[i].from, copies[i].n_bytes);
        if (!p) return no_such(copies[i].from, copies[i].n_bytes, err);
        memcpy(copies[i].to, p, copies[i].n_bytes);
    }
    return DS4_OK;
}
