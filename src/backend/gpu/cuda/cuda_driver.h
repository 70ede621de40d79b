/* cuda_driver.h - the functions of NVIDIA's driver that are used, found when the program runs.
 *
 * The program is not linked with the driver's library: one build runs with and without it. */
#ifndef DS4_BACKEND_CUDA_DRIVER_H
#define DS4_BACKEND_CUDA_DRIVER_H

#include "base/err.h"

#include <cuda.h>

#define CUDA_FUNCTIONS(X)         \
    X(cuInit)                     \
    X(cuGetErrorString)           \
    X(cuDriverGetVersion)         \
    X(cuDeviceGetCount)           \
    X(cuDeviceGet)                \
    X(cuDeviceGetName)            \
    X(cuDeviceGetAttribute)       \
    X(cuDeviceTotalMem)           \
    X(cuDevicePrimaryCtxRetain)   \
    X(cuDevicePrimaryCtxRelease)  \
    X(cuCtxSetCurrent)            \
    X(cuMemGetInfo)               \
    X(cuMemAlloc)                 \
    X(cuMemFree)                  \
    X(cuMemHostAlloc)             \
    X(cuMemFreeHost)              \
    X(cuMemsetD8Async)            \
    X(cuMemcpyHtoDAsync)          \
    X(cuMemcpyDtoHAsync)          \
    X(cuModuleLoadData)           \
    X(cuModuleUnload)             \
    X(cuModuleGetFunction)        \
    X(cuFuncSetAttribute)         \
    X(cuFuncGetAttribute)         \
    X(cuLaunchKernelEx)           \
    X(cuStreamCreate)             \
    X(cuStreamDestroy)            \
    X(cuStreamSynchronize)        \
    X(cuStreamBeginCapture)       \
    X(cuStreamEndCapture)         \
    X(cuEventCreate)              \
    X(cuEventDestroy)             \
    X(cuEventRecord)              \
    X(cuEventSynchronize)         \
    X(cuGraphInstantiate)         \
    X(cuGraphDestroy)             \
    X(cuGraphLaunch)              \
    X(cuGraphExecDestroy)

/* One pointer for each, under its name without "cu". */
#define CUDA_POINTER(name) __typeof__(&name) name##_;
typedef struct cuda_driver {
    void *library;
    CUDA_FUNCTIONS(CUDA_POINTER)
} cuda_driver;

/* The driver, loaded and initialized by the first call that succeeds. DS4_E_UNSUPPORTED: there is none
 * here, or it is too old for this build; the sentence says so. */
DS4_MUST_CHECK ds4_status cuda_driver_get(const cuda_driver **out, ds4_err *err);

/* "out of memory"; a number for what the driver does not name. */
const char *cuda_reason(const cuda_driver *cu, CUresult result);

extern const unsigned char cuda_image[];        /* see cuda_image.c */

#endif
