/* metal_work.m - launches in order, put into command buffers of bounded length.
 *
 * The encoder lets launches overlap; a barrier before each makes the order that gpu.h promises. Several
 * command buffers are under way at once; one thread commits them. Nothing waits inside a command buffer. */
#include "backend/gpu/metal/metal_local.h"

#include <stdio.h>

#define KERNEL_ROW(name, args, n) { #name, n },
static const struct kernel_row {
    const char *name;
    uint32_t    n_buffers;
} kernel_rows[GPU_N_KERNELS] = { GPU_KERNELS(KERNEL_ROW) };

bool metal_is_idle(const gpu_device *dev)
{
    return !dev->command && dev->n_flights == 0;
}

/* ---- command buffers ------------------------------------------------------------------------------- */

static ds4_status finish_oldest(gpu_device *dev, ds4_err *err)
{
    const metal_flight f = dev->flight[0];
    ds4_status         st = DS4_OK;

    @autoreleasepool {
        [f.command waitUntilCompleted];
        if ([f.command status] == MTLCommandBufferStatusCompleted)
            metal_pace_took(&dev->pace, f.n_threads, [f.command GPUEndTime] - [f.command GPUStartTime]);
        else
            st = metal_fail(err, DS4_E_DEVICE, "the GPU did not complete its work", [f.command error]);
        [f.command release];
    }
    dev->n_flights--;
    for (uint32_t i = 0; i < dev->n_flights; i++) dev->flight[i] = dev->flight[i + 1];
    return st;
}

static ds4_status commit(gpu_device *dev, ds4_err *err)
{
    ds4_status st = DS4_OK;

    if (dev->n_flights == METAL_MOST_FLIGHTS) st = finish_oldest(dev, err);
    [dev->encoder endEncoding];
    [dev->encoder release];
    [dev->command commit];
    dev->flight[dev->n_flights++] = (metal_flight){ .command = dev->command, .n_threads = dev->n_threads };
    dev->command = nil;
    dev->encoder = nil;
    dev->has_worked = true;
    return st;
}

static ds4_status begin(gpu_device *dev, ds4_err *err)
{
    @autoreleasepool {
        dev->command = [[dev->queue commandBuffer] retain];
        dev->encoder = [[dev->command computeCommandEncoderWithDispatchType:MTLDispatchTypeConcurrent] retain];
    }
    if (!dev->command || !dev->encoder) {
        [dev->command release];
        dev->command = nil;
        return metal_fail(err, DS4_E_DEVICE, "the GPU gives no command buffer", nil);
    }
    dev->n_launches = 0;
    dev->n_threads = 0;
    /* Kernels reach sessions' rows through addresses in memory, which Metal does not see. */
    if (!dev->residency && dev->n_buffers > 0) {
        [dev->encoder useResources:dev->resource
                             count:dev->n_buffers
                             usage:MTLResourceUsageRead | MTLResourceUsageWrite];
    }
    return DS4_OK;
}

ds4_status metal_wait(gpu_device *dev, ds4_err *err)
{
    ds4_status st = DS4_OK;
    ds4_err    ignored;

    if (dev->command) st = commit(dev, err);
    while (dev->n_flights > 0) {
        const ds4_status next = finish_oldest(dev, st == DS4_OK ? err : &ignored);
        if (st == DS4_OK) st = next;
    }
    return st;
}

/* A residency set that no command of the process has used keeps its memory for ever: there is one command
 * before the end. */
void metal_drop_work(gpu_device *dev)
{
    ds4_err ignored;

    if (!dev->queue) return;
    if (!dev->has_worked && !dev->command && dev->n_buffers > 0) (void)(begin(dev, &ignored) == DS4_OK);
    (void)(metal_wait(dev, &ignored) == DS4_OK);
}

/* ---- launches -------------------------------------------------------------------------------------- */

static ds4_status check(const gpu_device *dev, const gpu_launch *l, ds4_err *err)
{
    const NSUInteger most = [dev->pipeline[l->kernel] maxTotalThreadsPerThreadgroup];

    if (l->groups[0] == 0 || l->groups[1] == 0 || l->groups[2] == 0 || l->n_threads == 0 || l->n_threads % 32 != 0)
        return ds4_fail(err, DS4_E_ARG, "kernel %s: a grid without threads", kernel_rows[l->kernel].name);
    if (l->args_bytes > METAL_MOST_ARGS || l->group_bytes > 0) {
        return ds4_fail(err, DS4_E_ARG, "kernel %s: %zu bytes of arguments and %u of a group's memory",
                        kernel_rows[l->kernel].name, l->args_bytes, l->group_bytes);
    }
    if (l->n_threads <= most) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "kernel %s: groups of %u threads, this GPU runs it with %lu",
                    kernel_rows[l->kernel].name, l->n_threads, (unsigned long)most);
}

static ds4_status bind(gpu_device *dev, const gpu_launch *l, ds4_err *err)
{
    [dev->encoder setComputePipelineState:dev->pipeline[l->kernel]];
    [dev->encoder setBytes:l->args length:l->args_bytes atIndex:0];
    for (uint32_t i = 0; i < kernel_rows[l->kernel].n_buffers; i++) {
        const metal_buffer *b = metal_find(dev, l->buffer[i], 0);
        if (!b) {
            return ds4_fail(err, DS4_E_ARG, "kernel %s: buffer %u is no memory of this device",
                            kernel_rows[l->kernel].name, i);
        }
        [dev->encoder setBuffer:b->buffer
                         offset:(NSUInteger)(dev->base + l->buffer[i] - b->from)
                        atIndex:i + 1];
    }
    return DS4_OK;
}

ds4_status metal_launch(gpu_device *dev, const gpu_launch *l, ds4_err *err)
{
    DS4_TRY(check(dev, l, err));
    if (!dev->command) DS4_TRY(begin(dev, err));
    DS4_TRY(bind(dev, l, err));
    if (dev->n_launches > 0) [dev->encoder memoryBarrierWithScope:MTLBarrierScopeBuffers];
    [dev->encoder dispatchThreadgroups:MTLSizeMake(l->groups[0], l->groups[1], l->groups[2])
                 threadsPerThreadgroup:MTLSizeMake(l->n_threads, 1, 1)];
    dev->n_launches++;
    dev->n_threads += (uint64_t)l->groups[0] * l->groups[1] * l->groups[2] * l->n_threads;
    return metal_pace_full(&dev->pace, dev->n_launches, dev->n_threads) ? commit(dev, err) : DS4_OK;
}
