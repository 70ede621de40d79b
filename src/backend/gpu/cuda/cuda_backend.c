/* cuda_backend.c - the backend "cuda". */
#include "backend/gpu/cuda/cuda_device.h"
#include "backend/gpu/gpu_backend.h"

extern const ds4_backend ds4_backend_cuda;

static ds4_status open_backend(ds4_dev **out, const ds4_limits *limits, ds4_err *err)
{
    return gpu_backend_open(&ds4_backend_cuda, &cuda_api, 0, out, limits, err);
}

const ds4_backend ds4_backend_cuda = GPU_BACKEND("cuda", open_backend);
