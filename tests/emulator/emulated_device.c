/* emulated_device.c - see emulated_device.h.
 *
 * Memory is one stretch of addresses. Every allocation ends at an unreadable page and begins behind
 * one, so that an access outside of it stops the test at the kernel's line. Work is noted and done
 * when somebody waits: a missing wait shows old bytes. */
#include "emulator/emulated_device.h"

#include "backend/gpu/gpu_backend.h"
#include "emulator/emulator.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, ALIGN = 16, MAX_ALLOCS = 4096, MAX_QUEUE = 4096 };
#define SPACE_BYTES (64ull << 30)

typedef struct allocation {
    uint64_t at, n_bytes, from, to; /* from .. to: its readable pages */
} allocation;

/* A launch, or bytes to be written. */
typedef struct queued {
    gpu_launch launch;
    gpu_at     buffer[GPU_MAX_BUFFERS];
    void      *bytes; /* the kernel's struct, or what is written */
    gpu_at     to;
    uint64_t   n_bytes;
    bool       is_write;
} queued;

/* Launches that were recorded. */
struct gpu_recording {
    queued  *launch;
    uint32_t n;
};

struct gpu_device {
    uint8_t   *base;
    uint64_t   next;
    allocation alloc[MAX_ALLOCS];
    uint32_t   n_allocs, n_queued;
    queued     queue[MAX_QUEUE];
    bool       is_recording;            /* the queue is a recording's and not to be run */
};

static uint32_t fail_at, n_live;
static bool     runs_text, ran_text[GPU_N_KERNELS];

void emulated_fail_alloc(uint32_t number)
{
    fail_at = number;
}

uint32_t emulated_live(void)
{
    return n_live;
}

void emulated_run_text(bool on)
{
    runs_text = on;
}

bool emulated_ran_text(gpu_kernel kernel)
{
    return ran_text[kernel];
}

static ds4_status probe(uint32_t i_dev, gpu_info *out, ds4_err *err)
{
    if (i_dev != 0) return ds4_fail(err, DS4_E_UNSUPPORTED, "there is one emulated device, number 0");
    *out = (gpu_info){
        .name = "emulator", .family = "dialect", .mem_total = SPACE_BYTES, .mem_free = SPACE_BYTES
    };
    return DS4_OK;
}

static ds4_status open_device(uint32_t i_dev, gpu_device **out, ds4_err *err)
{
    gpu_device *dev = calloc(1, sizeof *dev);

    (void)i_dev;
    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for an emulated device");
    dev->base = mmap(NULL, SPACE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (dev->base == MAP_FAILED) {
        free(dev);
        return ds4_fail(err, DS4_E_NOMEM, "no addresses for an emulated device");
    }
    dev->next = PAGE;
    *out = dev;
    return DS4_OK;
}

static void drop_queue(gpu_device *dev)
{
    for (uint32_t i = 0; i < dev->n_queued; i++) free(dev->queue[i].bytes);
    dev->n_queued = 0;
}

static void close_device(gpu_device *dev)
{
    if (!dev) return;
    drop_queue(dev);
    munmap(dev->base, SPACE_BYTES);
    free(dev);
}

/* ---- work ------------------------------------------------------------------------------------------ */

static ds4_status run_launch(gpu_device *dev, const queued *q, ds4_err *err)
{
    const gpu_kernel       number = q->launch.kernel;
    const emulator_kernel *k = runs_text ? emulator_text_kernel_get(number) : emulator_kernel_get(number);
    void                  *buffer[GPU_MAX_BUFFERS];

    ran_text[number] |= runs_text;
    for (uint32_t i = 0; i < k->n_buffers; i++) buffer[i] = dev->base + q->buffer[i];
    const emulator_launch l = { .call = k->call,
                                .name = k->name,
                                .args = q->bytes,
                                .buffer = buffer,
                                .groups = { q->launch.groups[0], q->launch.groups[1], q->launch.groups[2] },
                                .n_threads = q->launch.n_threads };
    const char           *wrong = emulator_run(&l);
    return wrong ? ds4_fail(err, DS4_E_DEVICE, "%s", wrong) : DS4_OK;
}

static ds4_status wait_device(gpu_device *dev, ds4_err *err)
{
    ds4_status st = DS4_OK;

    for (uint32_t i = 0; st == DS4_OK && i < dev->n_queued; i++) {
        const queued *q = &dev->queue[i];
        if (q->is_write)
            memcpy(dev->base + q->to, q->bytes, q->n_bytes);
        else
            st = run_launch(dev, q, err);
    }
    drop_queue(dev);
    return st;
}

static ds4_status put(gpu_device *dev, const queued *q, const void *bytes, size_t n_bytes, ds4_err *err)
{
    if (dev->is_recording && (q->is_write || dev->n_queued == MAX_QUEUE)) {
        return ds4_fail(err, DS4_E_DEVICE, "only launches can be recorded, and not so many");
    }
    if (dev->n_queued == MAX_QUEUE) DS4_TRY(wait_device(dev, err));
    queued *to = &dev->queue[dev->n_queued];
    *to = *q;
    to->bytes = malloc(n_bytes ? n_bytes : 1);
    if (!to->bytes) return ds4_fail(err, DS4_E_NOMEM, "no memory for a launch");
    memcpy(to->bytes, bytes, n_bytes);
    dev->n_queued++;
    return DS4_OK;
}

static ds4_status launch(gpu_device *dev, const gpu_launch *l, ds4_err *err)
{
    const emulator_kernel *k = emulator_kernel_get(l->kernel);
    queued                 q = { .launch = *l };

    if (k->args_bytes != l->args_bytes) {
        return ds4_fail(err, DS4_E_ARG, "kernel %s takes %u bytes of arguments, got %zu", k->name,
                        k->args_bytes, l->args_bytes);
    }
    memcpy(q.buffer, l->buffer, k->n_buffers * sizeof *q.buffer);
    return put(dev, &q, l->args, l->args_bytes, err);
}

/* ---- recordings --------------------------------------------------------------------------------- */

static ds4_status record(gpu_device *dev, ds4_err *err)
{
    DS4_TRY(wait_device(dev, err));
    dev->is_recording = true;
    return DS4_OK;
}

static ds4_status recorded(gpu_device *dev, gpu_recording **out, ds4_err *err)
{
    gpu_recording *r = malloc(sizeof *r);
    const size_t   n_bytes = (dev->n_queued + 1) * sizeof *r->launch;

    dev->is_recording = false;
    if (!r || !(r->launch = malloc(n_bytes))) return ds4_fail(err, DS4_E_NOMEM, "no memory for a recording");
    r->n = dev->n_queued;
    memcpy(r->launch, dev->queue, r->n * sizeof *r->launch);
    dev->n_queued = 0;                  /* their bytes are the recording's now */
    *out = r;
    return DS4_OK;
}

static ds4_status replay(gpu_device *dev, gpu_recording *r, ds4_err *err)
{
    for (uint32_t i = 0; i < r->n; i++) {
        const queued *q = &r->launch[i];
        DS4_TRY(put(dev, q, q->bytes, q->launch.args_bytes, err));
    }
    return DS4_OK;
}

static void forget(gpu_device *dev, gpu_recording *r)
{
    (void)dev;
    if (!r) return;
    for (uint32_t i = 0; i < r->n; i++) free(r->launch[i].bytes);
    free(r->launch);
    free(r);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static ds4_status alloc(gpu_device *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    const uint64_t room = (n_bytes + PAGE - 1) / PAGE * PAGE;

    if (fail_at > 0 && --fail_at == 0)
        return ds4_fail(err, DS4_E_NOMEM, "the device has no %llu bytes left", (unsigned long long)n_bytes);
    if (dev->n_allocs == MAX_ALLOCS || room > SPACE_BYTES - dev->next - 2 * PAGE) {
        return ds4_fail(err, DS4_E_NOMEM, "the emulated device is full");
    }
    allocation *a = &dev->alloc[dev->n_allocs++];
    a->from = dev->next + PAGE;
    a->to = a->from + room;
    a->at = a->to - (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    a->n_bytes = n_bytes;
    dev->next = a->to;
    if (mprotect(dev->base + a->from, room, PROT_READ | PROT_WRITE) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the emulated device");
    }
    n_live++;
    *out = a->at;
    return DS4_OK;
}

static void free_memory(gpu_device *dev, gpu_at at)
{
    ds4_err err;

    if (at == 0) return;
    if (wait_device(dev, &err) != DS4_OK) return;
    for (uint32_t i = 0; i < dev->n_allocs; i++) {
        allocation *a = &dev->alloc[i];
        if (a->at != at) continue;
        madvise(dev->base + a->from, a->to - a->from, MADV_DONTNEED);
        mprotect(dev->base + a->from, a->to - a->from, PROT_NONE);
        *a = dev->alloc[--dev->n_allocs];
        n_live--;
        return;
    }
    abort(); /* nothing of ours */
}

static ds4_status queue_write(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    const queued q = { .is_write = true, .to = to, .n_bytes = n_bytes };
    return put(dev, &q, from, n_bytes, err);
}

static ds4_status write_bytes(gpu_device *dev, gpu_at to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    (void)err;
    memcpy(dev->base + to, from, n_bytes);
    return DS4_OK;
}

static ds4_status read_bytes(gpu_device *dev, const gpu_copy *copies, uint32_t n, ds4_err *err)
{
    (void)err;
    for (uint32_t i = 0; i < n; i++) memcpy(copies[i].to, dev->base + copies[i].from, copies[i].n_bytes);
    return DS4_OK;
}

const gpu_api emulated_api = {
    .name = "emulated",
    .probe = probe,
    .open = open_device,
    .close = close_device,
    .alloc = alloc,
    .free = free_memory,
    .queue_write = queue_write,
    .write = write_bytes,
    .read = read_bytes,
    .launch = launch,
    .wait = wait_device,
    .record = record,
    .recorded = recorded,
    .replay = replay,
    .forget = forget,
};

static ds4_status probe_backend(uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    return gpu_backend_probe(&emulated_api, i_dev, out, err);
}

static ds4_status open_backend(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    return gpu_backend_open(&emulated_backend, &emulated_api, i_dev, limits, out, err);
}

const ds4_backend emulated_backend = GPU_BACKEND("emulated", probe_backend, open_backend);
