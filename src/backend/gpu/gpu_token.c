/* gpu_token.c - launches of what happens to each token on its own. */
#include "backend/gpu/gpu_local.h"

ds4_status gpu_angles(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_angles *o = &op->angles;
    const angles_args    a = { .n_tokens = dev->step.n_tokens,
                               .n_half = o->n_rot / 2,
                               .stride = o->out.stride };

    return GPU_LAUNCH(dev, GPU_KERNEL_angles, a, gpu_div_up((uint64_t)a.n_tokens * a.n_half, KD_GROUP), 1,
                      1, KD_GROUP, err, dev->step.pos, gpu_address(o->freq), gpu_address(o->out.at));
}

ds4_status gpu_norm(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_norm *o = &op->norm;
    const norm_args    a = { .n = o->n,
                             .x_stride = o->x.stride,
                             .y_stride = o->y.stride,
                             .has_weight = o->w.buf != NULL,
                             .eps = o->eps };

    return GPU_LAUNCH(dev, GPU_KERNEL_rms_norm, a, dev->step.n_tokens, 1, 1, KD_GROUP, err,
                      gpu_address(o->x.at), gpu_address(o->w), gpu_address(o->y.at));
}

hc_args gpu_enter_args(const ds4_op_hc_enter *o)
{
    return (hc_args){ .n_hc = o->n_hc,
                      .n_embd = o->n_embd,
                      .n_iters = o->n_iters,
                      .h_stride = o->h.stride,
                      .m_stride = o->m.stride,
                      .a_stride = o->a.stride,
                      .gate_stride = o->gate.stride,
                      .norm_eps = o->norm_eps,
                      .hc_eps = o->hc_eps };
}

ds4_status gpu_hc_enter(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_hc_enter *o = &op->hc_enter;
    const hc_args          a = gpu_enter_args(o);

    return GPU_LAUNCH(dev, GPU_KERNEL_hc_enter, a, dev->step.n_tokens, 1, 1, KD_GROUP, err,
                      gpu_address(o->h.at), gpu_address(o->m.at), gpu_address(o->scale),
                      gpu_address(o->base), gpu_address(o->norm), gpu_address(o->a.at),
                      gpu_address(o->gate.at));
}

ds4_status gpu_hc_leave(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_hc_leave *o = &op->hc_leave;
    const hc_args          a = { .n_hc = o->n_hc,
                                 .n_embd = o->n_embd,
                                 .h_stride = o->h.stride,
                                 .y_stride = o->y.stride,
                                 .gate_stride = o->gate.stride,
                                 .a_stride = o->h_new.stride };

    return GPU_LAUNCH(dev, GPU_KERNEL_hc_leave, a, gpu_div_up(a.n_embd, KD_GROUP), dev->step.n_tokens, 1,
                      KD_GROUP, err, gpu_address(o->h.at), gpu_address(o->y.at), gpu_address(o->gate.at),
                      gpu_address(o->h_new.at));
}

ds4_status gpu_hc_merge(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_hc_merge *o = &op->hc_merge;
    const hc_args          a = { .n_hc = o->n_hc,
                                 .n_embd = o->n_embd,
                                 .h_stride = o->h.stride,
                                 .m_stride = o->m.stride,
                                 .a_stride = o->x.stride,
                                 .norm_eps = o->norm_eps,
                                 .hc_eps = o->hc_eps };

    if (dev->step.n_rows == 0) return DS4_OK;
    return GPU_LAUNCH(dev, GPU_KERNEL_hc_merge, a, dev->step.n_rows, 1, 1, KD_GROUP, err, dev->step.row,
                      gpu_address(o->h.at), gpu_address(o->m.at), gpu_address(o->scale),
                      gpu_address(o->base), gpu_address(o->norm), gpu_address(o->x.at));
}
