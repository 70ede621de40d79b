/* cuda_device.c - see cuda_device.h.
 *
 * Work is put into one stream, copies that need not wait for it into another. The base of addresses is
 * 0: an address is what CUDA calls a device pointer. Bytes on their way to the device go through two
 * pinned buffers by turns. */
#include "backend/gpu/cuda/cuda_device.h"

#include "backend/gpu/cuda/cuda_driver.h"
#include "backend/gpu/cuda/own_args.h"
#include "backend/gpu/cuda/own_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGE_BYTES = 16 << 20, MIN_MAJOR = 8, MAX_PARAMETERS = GPU_MAX_BUFFERS + 1 };

typedef struct stage {
    uint8_t *bytes;  /* pinned [STAGE_BYTES] */
    CUevent  copied; /* the last copy from it is done */
} stage;

struct gpu_device {
    const cuda_driver *cu;
    uint32_t           i_dev;
    CUdevice           handle;
    CUcontext          context;
    CUstream           stream, copy_stream;
    CUmodule           module;
    CUfunction         kernel[CUDA_N_KERNELS];
    bool               early;   /* a launch may start before the last is done */
    stage              stages[2];
    uint32_t           i_stage;
};

struct gpu_recording {
    CUgraphExec exec;
};

#define KERNEL_ROW(name, args, n) { #name, n },
#define OWN_KERNEL_ROW(name, n)   { #name, n },
static const struct kernel_row {
    const char *name;
    uint32_t    n_buffers;
} kernel_rows[CUDA_N_KERNELS] = { GPU_KERNELS(KERNEL_ROW) CUDA_OWN_KERNELS(OWN_KERNEL_ROW) };

/* ---- errors ---------------------------------------------------------------------------------------- */

static ds4_status failed(const cuda_driver *cu, uint32_t i_dev, CUresult r, const char *what, ds4_err *err)
{
    const ds4_status st = r == CUDA_ERROR_OUT_OF_MEMORY ? DS4_E_NOMEM : DS4_E_DEVICE;
    return ds4_fail(err, st, "CUDA device %u: %s: %s", i_dev, what, cuda_reason(cu, r));
}

#define CUDA_TRY(dev, call, what, err)                                                                     \
    do {                                                                                                   \
        const CUresult r_ = (dev)->cu->call;                                                               \
        if (r_ != CUDA_SUCCESS) return failed((dev)->cu, (dev)->i_dev, r_, (what), (err));                 \
    } while (0)

/* ---- which device ---------------------------------------------------------------------------------- */

static ds4_status find_device(uint32_t i_dev, const cuda_driver **cu, CUdevice *out, ds4_err *err)
{
    int n = 0, major = 0, minor = 0;

    DS4_TRY(cuda_driver_get(cu, err));
    if ((*cu)->cuDeviceGetCount_(&n) != CUDA_SUCCESS || n == 0) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "the NVIDIA driver finds no GPU");
    }
    if (i_dev >= (uint32_t)n || (*cu)->cuDeviceGet_(out, (int)i_dev) != CUDA_SUCCESS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "there is no CUDA device %u: the driver finds %d, numbered from 0", i_dev, n);
    }
    (*cu)->cuDeviceGetAttribute_(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, *out);
    (*cu)->cuDeviceGetAttribute_(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, *out);
    if (major >= MIN_MAJOR) return DS4_OK;
    return ds4_fail(
        err, DS4_E_UNSUPPORTED,
        "CUDA device %u has compute capability %d.%d, %d.0 or later is needed (Ampere, since 2020)", i_dev,
        major, minor, MIN_MAJOR);
}

static ds4_status probe(uint32_t i_dev, gpu_info *out, ds4_err *err)
{
    const cuda_driver *cu;
    CUdevice           handle;
    CUcontext          context;
    int                major = 0, minor = 0, group = 0;
    size_t             n_free = 0, n_total = 0;

    DS4_TRY(find_device(i_dev, &cu, &handle, err));
    *out = (gpu_info){ 0 };
    cu->cuDeviceGetName_(out->name, sizeof out->name, handle);
    cu->cuDeviceGetAttribute_(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle);
    cu->cuDeviceGetAttribute_(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, handle);
    cu->cuDeviceGetAttribute_(&group, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, handle);
    out->group_bytes = (uint32_t)group;
    snprintf(out->family, sizeof out->family, "cuda sm_%d%d", major, minor);
    CUresult r = cu->cuDevicePrimaryCtxRetain_(&context, handle);
    if (r != CUDA_SUCCESS) return failed(cu, i_dev, r, "opening", err);
    r = cu->cuCtxSetCurrent_(context);
    if (r == CUDA_SUCCESS) r = cu->cuMemGetInfo_(&n_free, &n_total);
    cu->cuDevicePrimaryCtxRelease_(handle);
    if (r != CUDA_SUCCESS) return failed(cu, i_dev, r, "asking for free memory", err);
    out->mem_total = n_total;
    out->mem_free = n_free;
    return DS4_OK;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static void close_device(gpu_device *dev)
{
    if (!dev) return;
    const cuda_driver *cu = dev->cu;
    if (dev->context) {
        cu->cuCtxSetCurrent_(dev->context);
        for (int i = 0; i < 2; i++) {
            if (dev->stages[i].copied) cu->cuEventDestroy_(dev->stages[i].copied);
            if (dev->stages[i].bytes) cu->cuMemFreeHost_(dev->stages[i].bytes);
        }
        if (dev->module) cu->cuModuleUnload_(dev->module);
        if (dev->stream) cu->cuStreamDestroy_(dev->stream);
        if (dev->copy_stream) cu->cuStreamDestroy_(dev->copy_stream);
        cu->cuDevicePrimaryCtxRelease_(dev->handle);
    }
    free(dev);
}

/* A group may have more memory than a kernel declares, as much as the chip has. */
static ds4_status allow_memory(gpu_device *dev, CUfunction kernel, int most, ds4_err *err)
{
    int declared = 0;

    CUDA_TRY(dev, cuFuncGetAttribute_(&declared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel),
             "asking a kernel", err);
    CUDA_TRY(dev,
             cuFuncSetAttribute_(kernel, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most - declared),
             "allowing shared memory", err);
    return DS4_OK;
}

static ds4_status load_kernels(gpu_device *dev, ds4_err *err)
{
    int most = 0, major = 0;

    CUDA_TRY(dev, cuModuleLoadData_(&dev->module, cuda_image), "loading the kernels", err);
    CUDA_TRY(dev,
             cuDeviceGetAttribute_(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, dev->handle),
             "asking for shared memory", err);
    CUDA_TRY(dev, cuDeviceGetAttribute_(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, dev->handle),
             "asking for the chip", err);
    dev->early = major >= 9;
    for (uint32_t i = 0; i < CUDA_N_KERNELS; i++) {
        CUDA_TRY(dev, cuModuleGetFunction_(&dev->kernel[i], dev->module, kernel_rows[i].name),
                 kernel_rows[i].name, err);
        if (i >= GPU_N_KERNELS) DS4_TRY(allow_memory(dev, dev->kernel[i], most, err));
    }
    return DS4_OK;
}

static ds4_status start(gpu_device *dev, ds4_err *err)
{
    CUDA_TRY(dev, cuDevicePrimaryCtxRetain_(&dev->context, dev->handle), "opening", err);
    CUDA_TRY(dev, cuCtxSetCurrent_(dev->context), "opening", err);
    CUDA_TRY(dev, cuStreamCreate_(&dev->stream, CU_STREAM_NON_BLOCKING), "opening a stream", err);
    CUDA_TRY(dev, cuStreamCreate_(&dev->copy_stream, CU_STREAM_NON_BLOCKING), "opening a stream", err);
    for (int i = 0; i < 2; i++) {
        stage *s = &dev->stages[i];
        CUDA_TRY(dev, cuMemHostAlloc_((void **)&s->bytes, STAGE_BYTES, 0), "taking pinned memory", err);
        CUDA_TRY(dev, cuEventCreate_(&s->copied, CU_EVENT_DISABLE_TIMING), "making an event", err);
    }
    return load_kernels(dev, err);
}

static ds4_status open_device(uint32_t i_dev, gpu_device **out, ds4_err *err)
{
    const cuda_driver *cu;
    CUdevice           handle;

    DS4_TRY(find_device(i_dev, &cu, &handle, err));
    gpu_device *dev = calloc(1, sizeof *dev);
    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a device");
    dev->cu = cu;
    dev->i_dev = i_dev;
    dev->handle = handle;
    const ds4_status st = start(dev, err);
    if (st == DS4_OK)
        *out = dev;
    else
        close_device(dev);
    return st;
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static ds4_status enter(gpu_device *dev, ds4_err *err)
{
    CUDA_TRY(dev, cuCtxSetCurrent_(dev->context), "entering", err);
    return DS4_OK;
}

static ds4_status wait_device(gpu_device *dev, ds4_err *err)
{
    DS4_TRY(enter(dev, err));
    CUDA_TRY(dev, cuStreamSynchronize_(dev->stream), "computing", err);
    return DS4_OK;
}

static ds4_status alloc(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    CUdeviceptr at = 0;
    size_t      n_free = 0, n_total = 0;

    DS4_TRY(enter(dev, err));
    CUresult r = dev->cu->cuMemAlloc_(&at, n_bytes);
    if (r == CUDA_ERROR_OUT_OF_MEMORY) {
        dev->cu->cuMemGetInfo_(&n_free, &n_total);
        return ds4_fail(
            err, DS4_E_NOMEM, "CUDA device %u has %.2f of %.2f GiB free, and %.2f GiB more are needed",
            dev->i_dev, (double)n_free / 0x1p30, (double)n_total / 0x1p30, (double)n_bytes / 0x1p30);
    }
    if (r != CUDA_SUCCESS) return failed(dev->cu, dev->i_dev, r, "taking memory", err);
    r = dev->cu->cuMemsetD8Async_(at, 0, n_bytes, dev->copy_stream);
    if (r == CUDA_SUCCESS) r = dev->cu->cuStreamSynchronize_(dev->copy_stream);
    if (r != CUDA_SUCCESS) {
        dev->cu->cuMemFree_(at);
        return failed(dev->cu, dev->i_dev, r, "clearing memory", err);
    }
    *out = at;
    return DS4_OK;
}

static void free_memory(gpu_device *dev, gpu_at at)
{
    ds4_err err;

    if (at == 0 || wait_device(dev, &err) != DS4_OK) return;
    dev->cu->cuMemFree_(at);
}

static ds4_status copy_in(gpu_device *dev, CUstream stream, gpu_at to, const void *from, uint64_t n_bytes,
                          ds4_err *err)
{
    const uint8_t *next = from;

    DS4_TRY(enter(dev, err));
    while (n_bytes > 0) {
        stage         *s = &dev->stages[dev->i_stage];
        const uint64_t n = n_bytes < STAGE_BYTES ? n_bytes : STAGE_BYTES;
        dev->i_stage ^= 1;
        CUDA_TRY(dev, cuEventSynchronize_(s->copied), "copying to the device", err);
        memcpy(s->bytes, next, n);
        CUDA_TRY(dev, cuMemcpyHtoDAsync_(to, s->bytes, n, stream), "copying to the device", err);
        CUDA_TRY(dev, cuEventRecord_(s->copied, stream), "copying to the device", err);
        to += n;
        next += n;
        n_bytes -= n;
    }
    return DS4_OK;
}

static ds4_status queue_write(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    return copy_in(dev, dev->stream, to, from, n_bytes, err);
}

static ds4_status write_bytes(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    DS4_TRY(copy_in(dev, dev->copy_stream, to, from, n_bytes, err));
    CUDA_TRY(dev, cuStreamSynchronize_(dev->copy_stream), "copying to the device", err);
    return DS4_OK;
}

static ds4_status read_bytes(gpu_device *dev, const gpu_copy *copies, uint32_t n, ds4_err *err)
{
    DS4_TRY(enter(dev, err));
    for (uint32_t i = 0; i < n; i++) {
        CUDA_TRY(dev, cuMemcpyDtoHAsync_(copies[i].to, copies[i].from, copies[i].n_bytes, dev->copy_stream),
                 "copying from the device", err);
    }
    CUDA_TRY(dev, cuStreamSynchronize_(dev->copy_stream), "copying from the device", err);
    return DS4_OK;
}

/* ---- work ------------------------------------------------------------------------------------------ */

static ds4_status launch(gpu_device *dev, const gpu_launch *l, ds4_err *err)
{
    const uint32_t n = kernel_rows[l->kernel].n_buffers;
    void          *parameter[MAX_PARAMETERS] = { (void *)(uintptr_t)l->args };

    for (uint32_t i = 0; i < n; i++) parameter[1 + i] = (void *)(uintptr_t)&l->buffer[i];
    DS4_TRY(enter(dev, err));
    CUlaunchAttribute     early = { .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                    .value.programmaticStreamSerializationAllowed = 1 };
    const CUlaunchConfig how = { .gridDimX = l->groups[0], .gridDimY = l->groups[1], .gridDimZ = l->groups[2],
                                 .blockDimX = l->n_threads, .blockDimY = 1, .blockDimZ = 1,
                                 .sharedMemBytes = l->group_bytes, .hStream = dev->stream, .attrs = &early,
                                 .numAttrs = l->starts_early && dev->early };
    CUDA_TRY(dev, cuLaunchKernelEx_(&how, dev->kernel[l->kernel], parameter, NULL),
             kernel_rows[l->kernel].name, err);
    return DS4_OK;
}

static ds4_status record(gpu_device *dev, ds4_err *err)
{
    DS4_TRY(enter(dev, err));
    CUDA_TRY(dev, cuStreamBeginCapture_(dev->stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "recording",
             err);
    return DS4_OK;
}

static ds4_status recorded(gpu_device *dev, gpu_recording **out, ds4_err *err)
{
    CUgraph        graph = NULL;
    gpu_recording *r = calloc(1, sizeof *r);

    DS4_TRY(enter(dev, err));
    CUresult result = dev->cu->cuStreamEndCapture_(dev->stream, &graph);
    if (result == CUDA_SUCCESS && r) result = dev->cu->cuGraphInstantiate_(&r->exec, graph, 0);
    if (graph) dev->cu->cuGraphDestroy_(graph);
    if (!r) return ds4_fail(err, DS4_E_NOMEM, "no memory for a recording");
    if (result != CUDA_SUCCESS) {
        free(r);
        return failed(dev->cu, dev->i_dev, result, "recording", err);
    }
    *out = r;
    return DS4_OK;
}

static ds4_status replay(gpu_device *dev, gpu_recording *r, ds4_err *err)
{
    DS4_TRY(enter(dev, err));
    CUDA_TRY(dev, cuGraphLaunch_(r->exec, dev->stream), "computing", err);
    return DS4_OK;
}

static void forget(gpu_device *dev, gpu_recording *r)
{
    ds4_err err;

    if (!r) return;
    if (wait_device(dev, &err) == DS4_OK) dev->cu->cuGraphExecDestroy_(r->exec);
    free(r);
}

const gpu_api cuda_api = {
    .name = "cuda",
    .own = &cuda_own,
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .free = free_memory,
    .queue_write = queue_write, .write = write_bytes,
    .read = read_bytes,
    .launch = launch,
    .wait = wait_device,
    .record = record,
    .recorded = recorded,
    .replay = replay,
    .forget = forget,
};
