/* backends.c - the backends of this build. See backend.h. */
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
