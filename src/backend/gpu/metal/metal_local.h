/* metal_local.h - what the files of the Metal device share. Objective-C without reference counting by the
 * compiler: who gets an object from new, alloc, copy or retain releases it. */
#ifndef DS4_BACKEND_METAL_LOCAL_H
#define DS4_BACKEND_METAL_LOCAL_H

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include "backend/gpu/gpu.h"
#include "backend/gpu/metal/metal_pace.h"
#include "backend/gpu/metal/metal_room.h"

#include <pthread.h>

/* Residency sets are known to SDKs since macOS 15; whether the system has them is asked at run time. */
#if defined(__MAC_OS_X_VERSION_MAX_ALLOWED) && __MAC_OS_X_VERSION_MAX_ALLOWED >= 150000
#define METAL_KNOWS_15 1
#pragma clang diagnostic ignored "-Wunguarded-availability-new"
#else
#define METAL_KNOWS_15 0
#endif

enum { METAL_MOST_FLIGHTS = 8, METAL_MOST_ARGS = 4096 };

/* A buffer and the addresses that it has here: the GPU's, or invented ones where the system tells none. */
typedef struct metal_buffer {
    uint64_t      from, n_bytes;
    id<MTLBuffer> buffer;
} metal_buffer;

/* A committed command buffer. */
typedef struct metal_flight {
    id<MTLCommandBuffer> command;
    uint64_t             n_threads;
} metal_flight;

struct gpu_device {
    id<MTLDevice>               device;
    id<MTLCommandQueue>         queue;
    id<MTLLibrary>              library;
    id<MTLComputePipelineState> pipeline[GPU_N_KERNELS];
    id                          residency;      /* a set, where the system has them */

    /* Memory; lock: read() comes from any thread. */
    pthread_mutex_t lock;
    metal_buffer   *buffer;             /* by address */
    id<MTLResource> *resource;          /* the same buffers, in any order */
    uint32_t        n_buffers, room_for;
    uint64_t        base;               /* address of the first buffer; gpu_at counts from here */
    uint64_t        next;               /* invented address, where the system tells none */
    bool            tells;              /* the GPU's addresses are told, so that memory can be added */
    metal_room      room, apart;        /* apart: of alloc_apart(), where none are told */

    /* Work. */
    id<MTLCommandBuffer>         command;       /* open: launches are put into it; nil: none */
    id<MTLComputeCommandEncoder> encoder;
    uint32_t                     n_launches;    /* in it */
    uint64_t                     n_threads;
    metal_flight                 flight[METAL_MOST_FLIGHTS];    /* the oldest first */
    uint32_t                     n_flights;
    bool                         has_worked;    /* a command was committed */
    metal_pace                   pace;
};

/* A failure in the words of the system; e may be nil. */
ds4_status metal_fail(ds4_err *err, ds4_status status, const char *what, NSError *e);   /* metal_error.m */

/* ---- metal_memory.m ---- */

ds4_status metal_reserve(gpu_device *dev, uint64_t n_bytes, ds4_err *err);
ds4_status metal_alloc(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err);
ds4_status metal_alloc_apart(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err);
void       metal_give(gpu_device *dev, gpu_at at);      /* work does not use it any more */
ds4_status metal_map(gpu_device *dev, gpu_map *maps, uint32_t n, ds4_err *err);
ds4_status metal_write(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err);
ds4_status metal_read(gpu_device *dev, const gpu_copy *copies, uint32_t n, ds4_err *err);

/* The buffer with these bytes; NULL: there is none. Address 0 is the first buffer's. */
const metal_buffer *metal_find(const gpu_device *dev, gpu_at at, uint64_t n_bytes);
void                metal_drop_memory(gpu_device *dev);

/* ---- metal_work.m ---- */

ds4_status metal_launch(gpu_device *dev, const gpu_launch *launch, ds4_err *err);
ds4_status metal_wait(gpu_device *dev, ds4_err *err);
bool       metal_is_idle(const gpu_device *dev);
void       metal_drop_work(gpu_device *dev);        /* waits for what is under way */

#endif
