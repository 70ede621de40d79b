/* cpu_ops.h - the operations of the CPU backend, and programs of them. */
#ifndef DS4_BACKEND_CPU_OPS_H
#define DS4_BACKEND_CPU_OPS_H

#include "backend/cpu/cpu_local.h"

/* One function for each operation, named after it. */
void cpu_angles(ds4_dev *dev, const ds4_op_angles *op);
void cpu_embed(ds4_dev *dev, const ds4_op_embed *op);
void cpu_project(ds4_dev *dev, const ds4_op_project *op);
void cpu_hc_enter(ds4_dev *dev, const ds4_op_hc_enter *op);
void cpu_hc_leave(ds4_dev *dev, const ds4_op_hc_leave *op);
void cpu_hc_merge(ds4_dev *dev, const ds4_op_hc_merge *op);
void cpu_norm(ds4_dev *dev, const ds4_op_norm *op);
void cpu_steer(ds4_dev *dev, const ds4_op_steer *op);
void cpu_heads(ds4_dev *dev, const ds4_op_heads *op);
void cpu_kv_row(ds4_dev *dev, const ds4_op_kv_row *op);
ds4_status cpu_compress(ds4_dev *dev, const ds4_op_compress *op, ds4_err *err);
void cpu_index_query(ds4_dev *dev, const ds4_op_index_query *op);
void cpu_select(ds4_dev *dev, const ds4_op_select *op);
ds4_status cpu_attend(ds4_dev *dev, const ds4_op_attend *op, ds4_err *err);
void cpu_window(ds4_dev *dev, const ds4_op_window *op);
void cpu_route(ds4_dev *dev, const ds4_op_route *op);
void cpu_hc_sum(ds4_dev *dev, const ds4_op_hc_sum *op);
void cpu_attend_block(ds4_dev *dev, const ds4_op_attend_block *op);
void cpu_guess(ds4_dev *dev, const ds4_op_guess *op);
void cpu_sample(ds4_dev *dev, const ds4_op_sample *op);
void cpu_prefetch(ds4_dev *dev, const ds4_op_prefetch *op);
ds4_status cpu_experts(ds4_dev *dev, const ds4_op_experts *op, ds4_err *err);

/* As in ds4_backend. */
ds4_status cpu_bind(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err);
ds4_status cpu_load(ds4_dev *dev, const ds4_loading *told, ds4_err *err);
uint64_t   cpu_scratch_bytes(const ds4_limits *l, const ds4_op *ops, uint32_t n, uint32_t n_ctx);
ds4_status cpu_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err);
void       cpu_drop_program(ds4_dev *dev, ds4_program *p);
ds4_status cpu_run_program(ds4_dev *dev, const ds4_program *p, const ds4_batch *batch, ds4_ticket *ticket,
                           ds4_err *err);

#endif
