/* backends.c - the backends of this build, and what is alike for all of them. See backend.h. */
#include "backend/backend.h"

#include <stdio.h>
#include <string.h>

/* The build says which there are, as X(cuda) X(cpu), the preferred ones first. */
#ifndef DS4_BACKENDS
#define DS4_BACKENDS X(cpu)
#endif

#define X(name) extern const ds4_backend ds4_backend_##name;
DS4_BACKENDS
#undef X

static const ds4_backend *const backends[] = {
#define X(name) &ds4_backend_##name,
    DS4_BACKENDS
#undef X
    NULL
};

const ds4_backend *ds4_backend_at(uint32_t i)
{
    return i < sizeof backends / sizeof *backends ? backends[i] : NULL;
}

static bool has_device(const ds4_backend *b)
{
    ds4_dev_info info;
    return b->probe(0, &info, NULL) == DS4_OK;
}

ds4_status ds4_backend_find(const char *name, const ds4_backend **out, ds4_err *err)
{
    char   names[128] = "";
    size_t n = 0;

    for (uint32_t i = 0; backends[i]; i++) {
        const ds4_backend *b = backends[i];
        if (name && *name ? strcmp(b->name, name) == 0 : has_device(b)) {
            *out = b;
            return DS4_OK;
        }
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", b->name);
        if (n >= sizeof names) n = sizeof names - 1;
    }
    if (!name || !*name) {
        return ds4_fail(err, DS4_E_DEVICE, "no backend of this build (%s) has a device", names);
    }
    return ds4_fail(err, DS4_E_ARG, "there is no backend \"%.32s\" in this build, which has: %s", name,
                    names);
}

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
