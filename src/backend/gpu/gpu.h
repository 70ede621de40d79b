/* gpu.h - what a GPU has to offer to the executor: memory, kernels by number, work in order.
 *
 * CUDA, Metal and the emulator of the tests are behind it. Memory is named by addresses: bytes from a
 * base that the device chooses, at which kernels see all of it. Launches run in order, each sees what
 * those before it wrote; write() is in the same line. One thread uses a device, but for read(). */
#ifndef DS4_BACKEND_GPU_GPU_H
#define DS4_BACKEND_GPU_GPU_H

#include "backend/gpu/kernel_list.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpu_at;                /* an address; 0 is the base and never an allocation */

/* Bytes to be read. */
typedef struct gpu_copy {
    gpu_at   from;
    void    *to;
    uint64_t n_bytes;
} gpu_copy;

/* Memory of the host that kernels are to read where it is. */
typedef struct gpu_map {
    const void *bytes;
    uint64_t    n_bytes;
    gpu_at      at;                     /* filled in */
} gpu_map;

/* One kernel over a grid. buffer has as many addresses as kernel_list.h says. */
typedef struct gpu_launch {
    gpu_kernel    kernel;
    const void   *args;                 /* the kernel's struct of args.h; copied */
    size_t        args_bytes;
    const gpu_at *buffer;
    uint32_t      groups[3];
    uint32_t      n_threads;            /* of a group, a multiple of 32 */
    uint32_t      group_bytes;          /* of a group's memory beside what the kernel declares */
    bool          starts_early;         /* the kernel itself waits for the launches before it */
} gpu_launch;

typedef struct gpu_info {
    char     name[128];
    char     family[64];                /* devices that say the same give the same bits */
    uint64_t mem_total, mem_free;
    uint32_t group_bytes;               /* memory that a group of threads may have */
    bool     unified;                   /* its memory is the host's */
} gpu_info;

typedef struct gpu_device gpu_device;
typedef struct gpu_recording gpu_recording;     /* launches that can be made again at once */

/* Functions that return a status fill err with a sentence that names the device and the reason. After
 * DS4_E_DEVICE nothing but close() may be called. */
typedef struct gpu_api {
    const char           *name;
    const struct gpu_own *own;          /* what it does in a way of its own, see gpu_own.h; NULL: nothing */

    /* Describe device i_dev without taking anything. DS4_E_UNSUPPORTED: there is none, or the driver or
     * the chip does not suffice. */
    ds4_status (*probe)(uint32_t i_dev, gpu_info *out, ds4_err *err);
    ds4_status (*open)(uint32_t i_dev, gpu_device **out, ds4_err *err);
    void       (*close)(gpu_device *dev);                       /* NULL is fine */

    /* Take n_bytes at once for what alloc() gives out, before anything else is taken: some memory does not
     * grow. NULL: it does. */
    ds4_status (*reserve)(gpu_device *dev, uint64_t n_bytes, ds4_err *err);
    /* Let kernels read memory of the host where it is; it must stay until close(). NULL: they cannot, and it
     * is to be copied. */
    ds4_status (*map)(gpu_device *dev, gpu_map *maps, uint32_t n, ds4_err *err);
    ds4_status (*alloc)(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err);     /* zeroed */
    /* Allocate memory that kernels get as a buffer only, and never find by adding to the base. NULL: alloc()
     * serves. */
    ds4_status (*alloc_apart)(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err);
    void       (*free)(gpu_device *dev, gpu_at at);             /* 0 is fine; work in line is waited for */
    /* queue_write() is in line with launches; from may be used again when it returns. write() and read()
     * are not: they return when the bytes are there, and do not wait for work in line, which must not use
     * them. Any thread may call read(). */
    ds4_status (*queue_write)(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err);
    ds4_status (*write)(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err);
    ds4_status (*read)(gpu_device *dev, const gpu_copy *copies, uint32_t n, ds4_err *err);

    ds4_status (*launch)(gpu_device *dev, const gpu_launch *launch, ds4_err *err);
    ds4_status (*wait)(gpu_device *dev, ds4_err *err);          /* until everything in line is done */

    /* Between record() and recorded() launches are noted and not made; replay() makes them. Where a
     * device cannot record, record is NULL. */
    ds4_status (*record)(gpu_device *dev, ds4_err *err);
    ds4_status (*recorded)(gpu_device *dev, gpu_recording **out, ds4_err *err);
    ds4_status (*replay)(gpu_device *dev, gpu_recording *r, ds4_err *err);
    void       (*forget)(gpu_device *dev, gpu_recording *r);    /* NULL is fine */
} gpu_api;

#endif
