/* devices.c - which devices there are; see ds4.h. */
#include "ds4.h"

#include "backend/backend.h"

#include <stdio.h>

bool ds4_device_get(uint32_t i, ds4_device *out)
{
    const ds4_backend *b;
    ds4_dev_info       info;

    for (uint32_t i_backend = 0; (b = ds4_backend_at(i_backend)); i_backend++) {
        for (uint32_t i_dev = 0; b->probe(i_dev, &info, NULL) == DS4_OK; i_dev++) {
            if (i-- > 0) continue;
            *out = (ds4_device){ .backend = b->name, .index = i_dev, .mem_total = info.mem_total,
                                 .mem_free = info.mem_free, .unified = info.unified };
            snprintf(out->name, sizeof out->name, "%s", info.name);
            snprintf(out->family, sizeof out->family, "%s", info.family);
            return true;
        }
    }
    return false;
}
