/* own_local.h - what the launches of CUDA's own kernels share. */
#ifndef DS4_BACKEND_CUDA_OWN_LOCAL_H
#define DS4_BACKEND_CUDA_OWN_LOCAL_H

#include "backend/gpu/cuda/own_args.h"
#include "backend/gpu/gpu_multiply.h"

enum { OWN_FEW = 64 };          /* tokens that pass by weights in registers; more are multiplied in tiles */

/* Launch one of CUDA's own kernels, which wait themselves for what they read. */
#define OWN_LAUNCH(dev, name, args_of, x, y, z, n_threads_of, bytes, err, ...)                           \
    ((dev)->api->launch((dev)->gpu,                                                                      \
                        &(gpu_launch){ .kernel = (gpu_kernel)(name),                                     \
                                       .args = &(args_of),                                               \
                                       .args_bytes = sizeof(args_of),                                    \
                                       .buffer = (const gpu_at[]){ __VA_ARGS__ },                        \
                                       .groups = { (x), (y), (z) },                                      \
                                       .n_threads = (n_threads_of),                                      \
                                       .group_bytes = (bytes),                                           \
                                       .starts_early = true },                                           \
                        (err)))

/* A row of rounded activations of n values: bytes, and those before the scales. */
typedef struct own_row {
    uint32_t n_bytes, scales;
} own_row;

static inline own_row own_row_of(uint32_t form, uint32_t n)
{
    if (form == OWN_Q8_0) return (own_row){ n + n / 8, n };
    const uint32_t scales = n / OWN_K_COLUMNS * (form == OWN_Q2_K ? OWN_Q2K_CODES : OWN_IQ2_CODES);
    return (own_row){ scales + gpu_div_up(n / OWN_K_COLUMNS * 4, 16) * 16, scales };
}

/* own_project.c */
gpu_op_fn  own_project_op;
bool       own_projects(const ds4_dev *dev, const ds4_op *op);
ds4_status own_round_rows(ds4_dev *dev, const gpu_product *p, gpu_at to, ds4_err *err);
ds4_status own_multiply(ds4_dev *dev, const gpu_product *p, gpu_at act, ds4_err *err);
/* Two products of one token. */
ds4_status own_multiply_two(ds4_dev *dev, const gpu_product *p, const gpu_product *q, ds4_err *err);

/* own_experts.c */
gpu_op_fn  own_experts_op;
bool       own_serves_experts(const ds4_dev *dev, const ds4_op *op);
ds4_status own_multiply_pairs(ds4_dev *dev, const gpu_pairs *p, gpu_at act, ds4_err *err);
ds4_status own_sort_pairs(ds4_dev *dev, const sort_args *s, const gpu_pairs *p, ds4_err *err);

/* own_token.c */
gpu_op_fn own_attend_op, own_enter_op, own_select_op;
bool      own_selects(const ds4_dev *dev, const ds4_op *op);
bool      own_attends(const ds4_dev *dev, const ds4_op *op);
bool      own_enters(const ds4_op *op);

#endif
