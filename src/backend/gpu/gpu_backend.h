/* gpu_backend.h - the functions of a backend over any GPU. A backend adds a name and an open() of its
 * own. */
#ifndef DS4_BACKEND_GPU_BACKEND_H
#define DS4_BACKEND_GPU_BACKEND_H

#include "backend/backend.h"
#include "backend/gpu/gpu.h"

/* Open device i_dev of a kind of GPU for a backend. Errors are those of ds4_backend.open. */
DS4_MUST_CHECK ds4_status gpu_backend_open(const ds4_backend *backend, const gpu_api *api, uint32_t i_dev,
                                           const ds4_limits *limits, ds4_dev **out, ds4_err *err);

/* Ask what is known about device i_dev. */
DS4_MUST_CHECK ds4_status gpu_backend_probe(const gpu_api *api, uint32_t i_dev, ds4_dev_info *out,
                                            ds4_err *err);

void        gpu_backend_close(ds4_dev *dev);
uint64_t    gpu_backend_scratch_bytes(const ds4_limits *limits, const ds4_op *ops, uint32_t n,
                                      uint32_t n_ctx);
ds4_status  gpu_backend_alloc(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err);
ds4_status  gpu_backend_commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err);
void        gpu_backend_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes);
void        gpu_backend_free(ds4_dev *dev, ds4_buf *buf);
uint64_t    gpu_backend_resident(const ds4_dev *dev, ds4_mem kind);
ds4_status  gpu_backend_read(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);
ds4_status  gpu_backend_write(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err);
ds4_status  gpu_backend_bind(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err);
ds4_status  gpu_backend_load(ds4_dev *dev, const ds4_loading *told, ds4_err *err);
ds4_status  gpu_backend_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err);
void        gpu_backend_drop_program(ds4_dev *dev, ds4_program *program);
ds4_status  gpu_backend_run(ds4_dev *dev, const ds4_program *program, const ds4_batch *batch,
                            ds4_ticket *ticket, ds4_err *err);
ds4_status  gpu_backend_wait(ds4_dev *dev, ds4_ticket ticket, ds4_err *err);
void        gpu_backend_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx);

#define GPU_BACKEND(backend_name, probe_fn, open_fn)                                                   \
    {                                                                                                  \
        .name = (backend_name), .probe = (probe_fn), .open = (open_fn), .close = gpu_backend_close,    \
        .scratch_bytes = gpu_backend_scratch_bytes, .alloc = gpu_backend_alloc,                        \
        .commit = gpu_backend_commit, .discard = gpu_backend_discard, .free = gpu_backend_free,        \
        .resident = gpu_backend_resident, .read = gpu_backend_read, .write = gpu_backend_write,        \
        .bind = gpu_backend_bind, .load = gpu_backend_load,                                            \
        .compile = gpu_backend_compile, .drop_program = gpu_backend_drop_program,                      \
        .run = gpu_backend_run, .wait = gpu_backend_wait, .time = gpu_backend_time,                    \
    }

#endif
