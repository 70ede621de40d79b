/* metal_device.m - see metal_device.h: opening, the library of kernels, closing.
 *
 * Apple's compiler reads the kernels (metal_text.h) when a device is opened, without fast math. Features are
 * asked for one by one, never by a family's name: paravirtual GPUs say little of themselves. */
#include "backend/gpu/metal/metal_device.h"

#include "backend/gpu/metal/metal_local.h"
#include "backend/gpu/metal/metal_text.h"

#include <stdio.h>
#include <stdlib.h>

#define KERNEL_NAME(name, args, n) #name,
static const char *const kernel_names[GPU_N_KERNELS] = { GPU_KERNELS(KERNEL_NAME) };

enum { GROUP_THREADS = 256 };           /* of every kernel, at most */

/* ---- which device ---------------------------------------------------------------------------------- */

/* Retained on success. */
static ds4_status find_device(uint32_t i_dev, id<MTLDevice> *out, ds4_err *err)
{
    if (i_dev != 0) return ds4_fail(err, DS4_E_UNSUPPORTED, "there is one Metal device, number 0");
    id<MTLDevice> device = MTLCreateSystemDefaultDevice();
    if (!device) return metal_fail(err, DS4_E_UNSUPPORTED, "this system has no GPU", nil);
    if (![device hasUnifiedMemory]) {
        [device release];
        return metal_fail(err, DS4_E_UNSUPPORTED, "the GPU has memory of its own; Apple silicon is needed", nil);
    }
    *out = device;
    return DS4_OK;
}

static void describe(id<MTLDevice> device, gpu_info *out)
{
    const char    *name = [[device name] UTF8String];
    const uint64_t total = [device recommendedMaxWorkingSetSize], taken = (uint64_t)[device currentAllocatedSize];

    *out = (gpu_info){ .mem_total = total, .mem_free = total > taken ? total - taken : 0, .unified = true,
                       .group_bytes = (uint32_t)[device maxThreadgroupMemoryLength] };
    snprintf(out->name, sizeof out->name, "%s", name ? name : "GPU");
    snprintf(out->family, sizeof out->family, "metal %.48s", out->name);
}

static ds4_status probe(uint32_t i_dev, gpu_info *out, ds4_err *err)
{
    id<MTLDevice> device = nil;

    @autoreleasepool {
        DS4_TRY(find_device(i_dev, &device, err));
        describe(device, out);
        [device release];
    }
    return DS4_OK;
}

/* ---- kernels --------------------------------------------------------------------------------------- */

static void forbid_fast_math(MTLCompileOptions *o)
{
#if METAL_KNOWS_15
    if ([o respondsToSelector:@selector(setMathMode:)]) {
        [o setMathMode:MTLMathModeSafe];
        return;
    }
#endif
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wdeprecated-declarations"
    [o setFastMathEnabled:NO];
#pragma clang diagnostic pop
}

static ds4_status compile(gpu_device *dev, ds4_err *err)
{
    NSError           *e = nil;
    MTLCompileOptions *o = [[MTLCompileOptions alloc] init];

    forbid_fast_math(o);
    dev->library = [dev->device newLibraryWithSource:[NSString stringWithUTF8String:metal_text] options:o error:&e];
    [o release];
    return dev->library ? DS4_OK : metal_fail(err, DS4_E_DEVICE, "the kernels were not compiled", e);
}

/* The compiler is told how many threads a group has, so that it leaves each enough registers. */
static ds4_status make_pipeline(gpu_device *dev, uint32_t i, ds4_err *err)
{
    NSError         *e = nil;
    id<MTLFunction>  fn = [dev->library newFunctionWithName:[NSString stringWithUTF8String:kernel_names[i]]];

    if (!fn) return ds4_fail(err, DS4_E_DEVICE, "Metal: the library has no kernel %s", kernel_names[i]);
    MTLComputePipelineDescriptor *d = [[MTLComputePipelineDescriptor alloc] init];
    [d setComputeFunction:fn];
    [d setMaxTotalThreadsPerThreadgroup:GROUP_THREADS];
    [d setThreadGroupSizeIsMultipleOfThreadExecutionWidth:YES];
    dev->pipeline[i] = [dev->device newComputePipelineStateWithDescriptor:d
                                                                  options:MTLPipelineOptionNone
                                                               reflection:NULL
                                                                    error:&e];
    [d release];
    [fn release];
    if (!dev->pipeline[i]) return metal_fail(err, DS4_E_DEVICE, kernel_names[i], e);
    if ([dev->pipeline[i] threadExecutionWidth] == 32) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "Metal: simdgroups of %lu threads, kernels need 32",
                    (unsigned long)[dev->pipeline[i] threadExecutionWidth]);
}

/* ---- opening --------------------------------------------------------------------------------------- */

static ds4_status make_residency(gpu_device *dev, ds4_err *err)
{
#if METAL_KNOWS_15
    NSError *e = nil;

    if (![dev->device respondsToSelector:@selector(newResidencySetWithDescriptor:error:)]) return DS4_OK;
    MTLResidencySetDescriptor *d = [[MTLResidencySetDescriptor alloc] init];
    dev->residency = [dev->device newResidencySetWithDescriptor:d error:&e];
    [d release];
    if (!dev->residency) return metal_fail(err, DS4_E_DEVICE, "no residency set", e);
    [dev->queue addResidencySet:dev->residency];
#else
    (void)dev;
    (void)err;
#endif
    return DS4_OK;
}

static void close_device(gpu_device *dev)
{
    if (!dev) return;
    @autoreleasepool {
        metal_drop_work(dev);
        metal_drop_memory(dev);
        for (uint32_t i = 0; i < GPU_N_KERNELS; i++) [dev->pipeline[i] release];
        [dev->library release];
        [dev->queue release];
        [dev->device release];
    }
    pthread_mutex_destroy(&dev->lock);
    free(dev);
}

static ds4_status start(gpu_device *dev, uint32_t i_dev, ds4_err *err)
{
    DS4_TRY(find_device(i_dev, &dev->device, err));
    dev->queue = [dev->device newCommandQueue];
    if (!dev->queue) return metal_fail(err, DS4_E_DEVICE, "no command queue", nil);
    DS4_TRY(make_residency(dev, err));
    DS4_TRY(compile(dev, err));
    for (uint32_t i = 0; i < GPU_N_KERNELS; i++) DS4_TRY(make_pipeline(dev, i, err));
    return DS4_OK;
}

static ds4_status open_device(uint32_t i_dev, gpu_device **out, ds4_err *err)
{
    gpu_device *dev = calloc(1, sizeof *dev);
    ds4_status  st;

    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a device");
    pthread_mutex_init(&dev->lock, NULL);
    @autoreleasepool {
        st = start(dev, i_dev, err);
    }
    if (st == DS4_OK)
        *out = dev;
    else
        close_device(dev);
    return st;
}

/* ---- memory that work may be using ----------------------------------------------------------------- */

static void free_memory(gpu_device *dev, gpu_at at)
{
    ds4_err err;

    if (at == 0) return;
    if (metal_wait(dev, &err) == DS4_OK) metal_give(dev, at);       /* else the device is lost: close() follows */
}

/* The host writes itself, so that work before it must be done. Steps write their tables while none is. */
static ds4_status queue_write(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    if (!metal_is_idle(dev)) DS4_TRY(metal_wait(dev, err));
    return metal_write(dev, to, from, n_bytes, err);
}

const gpu_api metal_api = {
    .name = "metal",
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .reserve = metal_reserve,
    .alloc = metal_alloc,
    .alloc_apart = metal_alloc_apart,
    .free = free_memory,
    .map = metal_map,
    .queue_write = queue_write,
    .write = metal_write,
    .read = metal_read,
    .launch = metal_launch,
    .wait = metal_wait,
};
