/* gpu_program.c - lists of operations as launches.
 *
 * Compiling checks that there is a way to launch every operation and takes the scratch memory of the
 * largest; a run writes the step's tables and makes the launches. */
#include "backend/gpu/gpu_backend.h"

#include "backend/gpu/gpu_local.h"
#include "backend/gpu/gpu_own.h"
#include "backend/gpu/gpu_record.h"
#include "base/clock.h"

#include <stdlib.h>

struct ds4_program {
    const ds4_op *op; /* [n] lent */
    uint32_t      n;
    gpu_records  *records;
};

static ds4_status no_launch(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    (void)dev;
    (void)op;
    (void)err;
    return DS4_OK;
}

static gpu_op_fn *const op_fns[DS4_N_OPS] = {
    [DS4_OP_ANGLES] = gpu_angles,     [DS4_OP_EMBED] = gpu_embed,
    [DS4_OP_PROJECT] = gpu_project,   [DS4_OP_HC_ENTER] = gpu_hc_enter,
    [DS4_OP_HC_LEAVE] = gpu_hc_leave, [DS4_OP_NORM] = gpu_norm,
    [DS4_OP_HEADS] = gpu_heads,       [DS4_OP_KV_ROW] = gpu_kv_row,
    [DS4_OP_COMPRESS] = gpu_compress, [DS4_OP_INDEX_QUERY] = gpu_index_query,
    [DS4_OP_SELECT] = gpu_select,     [DS4_OP_ATTEND] = gpu_attend,
    [DS4_OP_WINDOW] = gpu_window,     [DS4_OP_ROUTE] = gpu_route,
    [DS4_OP_EXPERTS] = gpu_experts,   [DS4_OP_HC_MERGE] = gpu_hc_merge,
    [DS4_OP_PREFETCH] = no_launch, /* weights are there, or the experts' operation is refused */
};

/* The device's own way, where it has one. */
static gpu_op_fn *own_op(const ds4_dev *dev, const ds4_op *op)
{
    return dev->api->own ? dev->api->own->op(dev, op) : NULL;
}

/* ---- compiling ------------------------------------------------------------------------------------- */

static ds4_status check(const ds4_op *op, ds4_err *err)
{
    if (op->kind == DS4_OP_EXPERTS && op->experts.cache) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: experts are streamed to the CPU only",
                        op->name);
    }
    if (op->kind == DS4_OP_STEER) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: only the cpu backend steers", op->name);
    }
    if ((unsigned)op->kind < DS4_N_OPS && op_fns[op->kind]) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %d (%s) is unknown to the GPU backend",
                    (int)op->kind, op->name);
}

static ds4_status reserve_scratch(ds4_dev *dev, uint64_t n_bytes, ds4_err *err)
{
    if (n_bytes <= dev->scratch.n_bytes) return DS4_OK;
    dev->api->free(dev->gpu, dev->scratch.at);
    dev->scratch = (gpu_scratch){ 0 };
    DS4_TRY(gpu_alloc_own(dev, n_bytes, &dev->scratch.at, err));
    dev->scratch.n_bytes = n_bytes;
    return DS4_OK;
}

ds4_status gpu_backend_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err)
{
    uint64_t n_bytes = 0;

    for (uint32_t i = 0; i < n; i++) {
        DS4_TRY(check(&ops[i], err));
        const uint64_t of_one = gpu_scratch_of(&dev->limits, &ops[i], dev->limits.max_ctx);
        if (of_one > n_bytes) n_bytes = of_one;
    }
    DS4_TRY(reserve_scratch(dev, n_bytes, err));
    ds4_program *p = malloc(sizeof *p);
    if (!p) return ds4_fail(err, DS4_E_NOMEM, "no memory for a program of %u operations", n);
    *p = (ds4_program){ .op = ops, .n = n, .records = gpu_records_create() };
    if (!p->records) {
        free(p);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the recordings of a program");
    }
    *out = p;
    return DS4_OK;
}

void gpu_backend_drop_program(ds4_dev *dev, ds4_program *program)
{
    if (!program) return;
    gpu_records_free(dev, program->records);
    free(program);
}

/* ---- running --------------------------------------------------------------------------------------- */

static uint64_t weight_bytes(const ds4_op *op)
{
    uint64_t n_bytes = 0;

    if (op->kind != DS4_OP_PROJECT) return 0;
    for (uint32_t i = 0; i < op->project.n; i++) {
        const ds4_matrix *w = &op->project.part[i].w;
        n_bytes += w->n_mats * w->layout->mat_bytes;
    }
    return n_bytes;
}

/* Each operation is waited for when somebody wants to know its time. */
static ds4_status run_one(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const uint64_t begin = dev->time_fn ? ds4_now_ns() : 0;

    gpu_op_fn *own = own_op(dev, op);
    DS4_TRY((own ? own : op_fns[op->kind])(dev, op, err));
    if (!dev->time_fn) return DS4_OK;
    DS4_TRY(dev->api->wait(dev->gpu, err));
    dev->time_fn(dev->time_ctx, op->name, ds4_now_ns() - begin, weight_bytes(op));
    return DS4_OK;
}

static ds4_status launch_all(ds4_dev *dev, const void *program, ds4_err *err)
{
    const ds4_program *p = program;

    for (uint32_t i = 0; i < p->n; i++) DS4_TRY(run_one(dev, &p->op[i], err));
    return DS4_OK;
}

ds4_status gpu_backend_run(ds4_dev *dev, const ds4_program *program, const ds4_batch *batch,
                           ds4_ticket *ticket, ds4_err *err)
{
    if (batch->n_tokens > dev->limits.max_batch) {
        return ds4_fail(err, DS4_E_ARG, "a step of %u tokens, the device was opened for %u",
                        batch->n_tokens, dev->limits.max_batch);
    }
    dev->kv = batch->kv;
    *ticket = ++dev->n_runs;
    DS4_TRY(gpu_step_begin(dev, batch, err));
    if (dev->time_fn) return launch_all(dev, program, err);
    return gpu_records_run(dev, program->records, launch_all, program, err);
}

ds4_status gpu_backend_wait(ds4_dev *dev, ds4_ticket ticket, ds4_err *err)
{
    (void)ticket; /* work is done in order: all that was queued includes it */
    return dev->api->wait(dev->gpu, err);
}

void gpu_backend_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx)
{
    dev->time_fn = fn;
    dev->time_ctx = ctx;
}
