/* backend_memory.c - memory of any backend: ranges, single copies, whole buffers. See backend.h. */
#include "backend/backend.h"

ds4_status ds4_view_check(const ds4_backend *backend, ds4_view at, uint64_t n_bytes, ds4_err *err)
{
    if (!at.buf || at.buf->backend != backend) {
        return ds4_fail(err, DS4_E_ARG, "a view that is not of the %s backend's memory", backend->name);
    }
    if (at.off <= at.buf->n_bytes && n_bytes <= at.buf->n_bytes - at.off) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%llu bytes at %llu are outside a buffer of %llu",
                    (unsigned long long)n_bytes, (unsigned long long)at.off,
                    (unsigned long long)at.buf->n_bytes);
}

ds4_status ds4_backend_read(const ds4_backend *backend, ds4_dev *dev, ds4_view from, void *to,
                            uint64_t n_bytes, ds4_err *err)
{
    const ds4_copy c = { from, n_bytes, to };
    return backend->read(dev, &c, 1, err);
}

ds4_status ds4_backend_write(const ds4_backend *backend, ds4_dev *dev, ds4_view to, const void *from,
                             uint64_t n_bytes, ds4_err *err)
{
    const ds4_copy c = { to, n_bytes, (uint8_t *)(uintptr_t)from };
    return backend->write(dev, &c, 1, err);
}

ds4_status ds4_backend_take(const ds4_backend *backend, ds4_dev *dev, ds4_mem kind, uint64_t n_bytes,
                            ds4_buf **out, ds4_err *err)
{
    ds4_buf *buf;

    DS4_TRY(backend->alloc(dev, kind, n_bytes, &buf, err));
    const ds4_status st = backend->commit(dev, (ds4_view){ buf, 0 }, n_bytes, err);
    if (st != DS4_OK) {
        backend->free(dev, buf);
        return st;
    }
    *out = buf;
    return DS4_OK;
}
