/* cuda_backend.c - see cuda_backend.h. */
#include "backend/gpu/cuda/cuda_backend.h"

#include "backend/gpu/cuda/cuda_device.h"
#include "backend/gpu/gpu_backend.h"

static ds4_status probe_backend(uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    return gpu_backend_probe(&cuda_api, i_dev, out, err);
}

static ds4_status open_backend(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    return gpu_backend_open(&ds4_backend_cuda, &cuda_api, i_dev, limits, out, err);
}

const ds4_backend ds4_backend_cuda = GPU_BACKEND("cuda", probe_backend, open_backend);
