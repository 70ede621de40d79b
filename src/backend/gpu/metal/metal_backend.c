/* metal_backend.c - see metal_backend.h. */
#include "backend/gpu/metal/metal_backend.h"

#include "backend/gpu/gpu_backend.h"
#include "backend/gpu/metal/metal_device.h"

static ds4_status probe_backend(uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    return gpu_backend_probe(&metal_api, i_dev, out, err);
}

static ds4_status open_backend(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    return gpu_backend_open(&ds4_backend_metal, &metal_api, i_dev, limits, out, err);
}

const ds4_backend ds4_backend_metal = GPU_BACKEND("metal", probe_backend, open_backend);
