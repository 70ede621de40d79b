/* gpu_backend.c - a backend over a GPU: opening and memory. */
#include "backend/gpu/gpu_backend.h"

#include "backend/gpu/gpu_local.h"

#include "base/team.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- opening --------------------------------------------------------------------------------------- */

void gpu_backend_close(ds4_dev *dev)
{
    if (!dev) return;
    if (dev->gpu) {
        gpu_step_free(dev);
        gpu_weights_free(dev);
        dev->api->free(dev->gpu, dev->scratch.at);
        dev->api->close(dev->gpu);
    }
    free(dev);
}

ds4_status gpu_backend_probe(const gpu_api *api, uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    enum { PAGE = 64 << 10 };
    gpu_info info;

    DS4_TRY(api->probe(i_dev, &info, err));
    *out = (ds4_dev_info){ .mem_total = info.mem_total, .mem_free = info.mem_free, .page_bytes = PAGE,
                           .cut = 1, .kv_form = DS4_KV_PLANES, .n_threads = ds4_cpu_count(),
                           .unified = info.unified };
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, info.name);
    snprintf(out->family, sizeof out->family, "%s", info.family);
    return DS4_OK;
}

ds4_status gpu_backend_open(const ds4_backend *backend, const gpu_api *api, uint32_t i_dev,
                            const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    ds4_dev *dev = calloc(1, sizeof *dev);

    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a device");
    dev->backend = backend;
    dev->api = api;
    dev->limits = *limits;
    ds4_status st = api->probe(i_dev, &dev->info, err);
    if (st == DS4_OK) st = api->open(i_dev, &dev->gpu, err);
    if (st == DS4_OK && api->reserve) st = api->reserve(dev->gpu, limits->state_bytes, err);
    if (st != DS4_OK) {
        gpu_backend_close(dev);
        return st;
    }
    *out = dev;
    return DS4_OK;
}

/* Operations need this besides their buffers: pairs of tokens and experts, lists of the indexer. */
uint64_t gpu_backend_scratch_bytes(const ds4_limits *l, const ds4_op *ops, uint32_t n, uint32_t n_ctx)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t of_one = gpu_scratch_of(l, &ops[i], n_ctx);
        if (of_one > most) most = of_one;
    }
    return most;
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* All kinds are the device's own memory, taken as a whole. */
ds4_status gpu_backend_alloc(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    gpu_buf *buf = calloc(1, sizeof *buf);

    if (!buf) return ds4_fail(err, DS4_E_NOMEM, "no memory for a buffer");
    buf->head = (ds4_buf){ .backend = dev->backend, .kind = kind, .n_bytes = n_bytes };
    const ds4_status st = dev->api->alloc(dev->gpu, n_bytes ? n_bytes : 1, &buf->at, err);
    if (st != DS4_OK) {
        free(buf);
        return st;
    }
    *out = &buf->head;
    return DS4_OK;
}

ds4_status gpu_backend_commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err)
{
    return ds4_view_check(dev->backend, at, n_bytes, err);
}

void gpu_backend_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    (void)dev;
    (void)at;
    (void)n_bytes;
}

void gpu_backend_free(ds4_dev *dev, ds4_buf *buf)
{
    if (!buf) return;
    dev->api->free(dev->gpu, ((gpu_buf *)buf)->at);
    free(buf);
}

uint64_t gpu_backend_resident(const ds4_dev *dev, ds4_mem kind)
{
    (void)dev;
    (void)kind;
    return 0;                           /* nothing lies in files */
}

ds4_status gpu_backend_write(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const ds4_copy *c = &copies[i];
        DS4_TRY(ds4_view_check(dev->backend, c->at, c->n_bytes, err));
        DS4_TRY(dev->api->write(dev->gpu, gpu_address(c->at), c->host, c->n_bytes, err));
    }
    return DS4_OK;
}

ds4_status gpu_backend_read(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    enum { AT_ONCE = 256 };
    gpu_copy list[AT_ONCE];

    for (uint32_t done = 0; done < n;) {
        uint32_t k = 0;
        for (; k < AT_ONCE && done < n; k++, done++) {
            const ds4_copy *c = &copies[done];
            DS4_TRY(ds4_view_check(dev->backend, c->at, c->n_bytes, err));
            list[k] = (gpu_copy){ gpu_address(c->at), c->host, c->n_bytes };
        }
        DS4_TRY(dev->api->read(dev->gpu, list, k, err));
    }
    return DS4_OK;
}
