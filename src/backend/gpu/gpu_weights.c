/* gpu_weights.c - where weights lie: each tensor is copied to the device as it is bound.
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
        dev->api->free(dev->gpu, l->at);
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
    l->form = dev->api->own ? dev->api->own->form_of(t) : 0;
    l->next = dev->weights;
    dev->weights = l;
    DS4_TRY(dev->api->alloc(dev->gpu, l->mat_bytes * t->n_mats, &l->at, err));
    if (l->form > 0)
        DS4_TRY(dev->api->own->pack(dev, t, l, err));
    else
        DS4_TRY(dev->api->write(dev->gpu, l->at, t->data, l->mat_bytes * t->n_mats, err));
    *out = (ds4_matrix){ .dtype = t->dtype,
                         .n_in = t->n_in,
                         .n_out = t->n_out,
                         .n_mats = t->n_mats,
                         .use = t->use,
                         .layout = l };
    return DS4_OK;
}

ds4_status gpu_backend_load(ds4_dev *dev, ds4_err *err)
{
    return dev->api->wait(dev->gpu, err);
}
