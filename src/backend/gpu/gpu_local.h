/* gpu_local.h - what the files of the executor share: operations become launches.
 *
 * An operation's launches depend on its own fields and on the sizes of the step (tokens, spans);
 * everything else about a step lies in tables on the device (gpu_step.c). */
#ifndef DS4_BACKEND_GPU_LOCAL_H
#define DS4_BACKEND_GPU_LOCAL_H

#include "backend/backend.h"
#include "backend/gpu/gpu.h"
#include "backend/gpu/args.h"

typedef struct gpu_buf {
    ds4_buf head;
    gpu_at  at;
} gpu_buf;

/* Rows of a matrix one behind the other, matrices one behind the other; or records of the device's own. */
struct ds4_layout {
    gpu_at      at;
    uint64_t    row_bytes, mat_bytes, n_bytes;  /* row_bytes: of the file's rows */
    uint32_t    form;                   /* 0: rows as in the file; others are gpu_own's */
    ds4_tensor  from;                   /* data: to be copied or mapped by load(); NULL: it is in place */
    bool        is_mapped;              /* the device reads it in the file */
    ds4_layout *next;
};

/* The step's tables on the device. */
typedef struct gpu_step {
    gpu_at   at;                        /* one allocation: */
    uint64_t n_bytes;
    gpu_at   token, pos, span_of, span, block, row;
    uint32_t n_tokens, n_spans, n_rows;
    uint32_t max_span, max_rows;        /* tokens of the longest span; index rows of a token, at most */
    void    *host;                      /* the same bytes, before they are written */
} gpu_step;

/* Working memory of operations, as much as the lists seen so far need. */
typedef struct gpu_scratch {
    gpu_at   at;
    uint64_t n_bytes;
} gpu_scratch;

struct ds4_dev {
    const ds4_backend   *backend;
    const gpu_api       *api;
    gpu_device          *gpu;
    gpu_info             info;
    ds4_limits           limits;
    const ds4_kv_layout *kv;            /* of the run in progress */
    gpu_step             step;
    gpu_scratch          scratch;
    ds4_layout          *weights;
    ds4_ticket           n_runs;
    ds4_time_fn         *time_fn;       /* NULL: nobody asks */
    void                *time_ctx;
};

enum {
    GPU_INDEX_TOKENS = 64,              /* tokens whose lists of parts are made at once */
    GPU_FEW_TOKENS = 8,                 /* tokens whose attention is cut into chunks */
};

static inline gpu_at gpu_address(ds4_view v)
{
    return v.buf ? ((const gpu_buf *)v.buf)->at + v.off : 0;
}

/* Memory of the executor's own, which is always a buffer of a launch. */
static inline ds4_status gpu_alloc_own(ds4_dev *dev, uint64_t n_bytes, gpu_at *out, ds4_err *err)
{
    return (dev->api->alloc_apart ? dev->api->alloc_apart : dev->api->alloc)(dev->gpu, n_bytes, out, err);
}

static inline uint32_t gpu_div_up(uint64_t n, uint32_t by)
{
    return (uint32_t)((n + by - 1) / by);
}

/* Launch a kernel: its struct, its buffers in order, the grid. */
#define GPU_LAUNCH(dev, name, args_of, x, y, z, n_threads_of, err, ...)                                     \
    ((dev)->api->launch((dev)->gpu,                                                                         \
                        &(gpu_launch){ .kernel = (name), .args = &(args_of), .args_bytes = sizeof(args_of), \
                                       .buffer = (const gpu_at[]){ __VA_ARGS__ },                           \
                                       .groups = { (x), (y), (z) }, .n_threads = (n_threads_of),            \
                                       .starts_early = true }, (err)))

/* ---- operations, by topic -------------------------------------------------------------------------- */

typedef ds4_status gpu_op_fn(ds4_dev *dev, const ds4_op *op, ds4_err *err);
/* gpu_token.c */
gpu_op_fn gpu_angles, gpu_norm, gpu_hc_enter, gpu_hc_leave, gpu_hc_merge;
/* gpu_product.c */
gpu_op_fn gpu_embed, gpu_project, gpu_experts, gpu_route;
/* gpu_attention.c */
gpu_op_fn gpu_heads, gpu_kv_row, gpu_window, gpu_attend, gpu_compress, gpu_index_query, gpu_select;

bool gpu_multiplies(uint32_t dtype);
void gpu_weights_free(ds4_dev *dev);

/* Scratch that an operation needs for steps within limits while sessions have n_ctx tokens; of
 * attention, with so many chunks a token. */
uint64_t gpu_scratch_of(const ds4_limits *limits, const ds4_op *op, uint32_t n_ctx);
kd_kv       gpu_kv_of(const ds4_kv_layout *kv, uint32_t layer);
attend_args gpu_attend_args(const ds4_dev *dev, const ds4_op_attend *o);
select_args gpu_select_args(const ds4_dev *dev, const ds4_op_select *o);
hc_args     gpu_enter_args(const ds4_op_hc_enter *o);
uint64_t gpu_attend_scratch(const ds4_op_attend *op, uint32_t n_chunks);

/* Chunks of rows that a token can have at the end of n_ctx tokens. */
uint32_t gpu_attend_chunks(const ds4_kv_layout *kv, const ds4_op_attend *op, uint32_t n_ctx);

/* Write the tables of a step. */
ds4_status gpu_step_begin(ds4_dev *dev, const ds4_batch *batch, ds4_err *err);
void       gpu_step_free(ds4_dev *dev);

#endif
