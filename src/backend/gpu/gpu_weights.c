/* gpu_weights.c - where weights lie: each tensor gets its place when it is bound, and is copied to it
 * when all have one, so that a model that does not fit is refused before anything is copied. A device
 * that can read the mapped file is shown all tensors at once instead.
 *
 * Rows keep the form of the file, which every kernel of the dialect reads; or a device's own kernels want
 * records, of the same size, and make them. */
#include "backend/gpu/gpu_backend.h"

#include "backend/gpu/gpu_local.h"
#include "backend/gpu/gpu_own.h"
#include "format/dtype.h"

#include <stdlib.h>

void gpu_weights_free(ds4_dev *dev)
{
    while (dev->weights) {
        ds4_layout *l = dev->weights;
        dev->weights = l->next;
        if (!l->is_mapped) dev->api->free(dev->gpu, l->at);
        free(l);
    }
}

static ds4_status check(const ds4_tensor *t, uint64_t row_bytes, ds4_err *err)
{
    const uint64_t n_rows = (uint64_t)t->n_out * t->n_mats;

    if (!gpu_multiplies(t->dtype)) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "%s: no GPU kernel multiplies %s, which is of type %u",
                        t->path, t->name, t->dtype);
    }
    if (row_bytes > 0 && n_rows > 0 && t->n_bytes / row_bytes / n_rows >= 1) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%s: %s has %llu bytes, fewer than its rows", t->path, t->name,
                    (unsigned long long)t->n_bytes);
}

ds4_status gpu_backend_bind(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err)
{
    const uint64_t row_bytes = ds4_row_bytes(t->dtype, t->n_in);

    DS4_TRY(check(t, row_bytes, err));
    ds4_layout *l = calloc(1, sizeof *l);
    if (!l) return ds4_fail(err, DS4_E_NOMEM, "no memory for the place of %s", t->name);
    l->row_bytes = row_bytes;
    l->mat_bytes = row_bytes * t->n_out;
    l->n_bytes = l->mat_bytes * t->n_mats;
    l->form = dev->api->own ? dev->api->own->form_of(t) : 0;
    l->from = *t;
    l->next = dev->weights;
    dev->weights = l;
    l->is_mapped = dev->api->map && l->form == 0;
    if (!l->is_mapped) DS4_TRY(gpu_alloc_own(dev, l->n_bytes, &l->at, err));
    *out = (ds4_matrix){ .dtype = t->dtype,
                         .n_in = t->n_in,
                         .n_out = t->n_out,
                         .n_mats = t->n_mats,
                         .use = t->use,
                         .layout = l };
    return DS4_OK;
}

/* Copy rows in pieces that a display keeps up with; records are made at once. */
static ds4_status load_weights(ds4_dev *dev, ds4_layout *l, uint64_t before, uint64_t n_total,
                               const ds4_loading *told, ds4_err *err)
{
    const uint64_t piece = l->form > 0 ? l->n_bytes : UINT64_C(64) << 20;

    for (uint64_t done = 0, n; done < l->n_bytes; done += n) {
        n = l->n_bytes - done < piece ? l->n_bytes - done : piece;
        DS4_TRY(l->form > 0 ? dev->api->own->pack(dev, &l->from, l, err)
                            : dev->api->write(dev->gpu, l->at + done, l->from.data + done, n, err));
        if (told->fn) told->fn(told->ctx, before + done + n, n_total);
    }
    l->from.data = NULL;
    return DS4_OK;
}

static bool is_to_map(const ds4_layout *l)
{
    return l->is_mapped && l->from.data;
}

/* The tensors that are bound since the last time. */
static ds4_status map_all(ds4_dev *dev, ds4_err *err)
{
    uint32_t n = 0, i = 0;

    for (const ds4_layout *l = dev->weights; l; l = l->next) n += is_to_map(l);
    if (n == 0) return DS4_OK;
    gpu_map *maps = calloc(n, sizeof *maps);
    if (!maps) return ds4_fail(err, DS4_E_NOMEM, "no memory for a list of %u tensors", n);
    for (const ds4_layout *l = dev->weights; l; l = l->next) {
        if (is_to_map(l)) maps[i++] = (gpu_map){ .bytes = l->from.data, .n_bytes = l->n_bytes };
    }
    const ds4_status st = dev->api->map(dev->gpu, maps, n, err);
    i = 0;
    for (ds4_layout *l = dev->weights; st == DS4_OK && l; l = l->next) {
        if (!is_to_map(l)) continue;
        l->at = maps[i++].at;
        l->from.data = NULL;
    }
    free(maps);
    return st;
}

ds4_status gpu_backend_load(ds4_dev *dev, const ds4_loading *told, ds4_err *err)
{
    uint64_t n_done = 0, n_total = 0;

    if (dev->api->map) DS4_TRY(map_all(dev, err));
    for (const ds4_layout *l = dev->weights; l; l = l->next) n_total += l->from.data ? l->n_bytes : 0;
    for (ds4_layout *l = dev->weights; l; l = l->next) {
        if (!l->from.data) continue;
        DS4_TRY(load_weights(dev, l, n_done, n_total, told, err));
        n_done += l->n_bytes;
    }
    return dev->api->wait(dev->gpu, err);
}
