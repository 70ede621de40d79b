/* own_experts.c - launches of routed experts: of one token with all that surrounds them, of pairs. */
#include "backend/gpu/cuda/own_local.h"

enum { GROUPS = 264 }; /* that stay: two on each of 132 multiprocessors */

ds4_status own_sort_pairs(ds4_dev *dev, const sort_args *s, const gpu_pairs *p, ds4_err *err)
{
    return OWN_LAUNCH(dev, CUDA_KERNEL_own_sort, *s, 1, 1, 1, 1024, 0, err, p->expert, p->own_order,
                      p->own_begin, p->own_tiles);
}

ds4_status own_multiply_pairs(ds4_dev *dev, const gpu_pairs *p, gpu_at act, ds4_err *err)
{
    const ds4_matrix *w = p->w;
    const bool        iq2 = w->layout->form == OWN_IQ2_XXS, few = p->n_pairs <= OWN_FEW * p->n_used;
    const own_row     row = own_row_of(w->layout->form, w->n_in);
    const uint32_t    n = w->n_in / OWN_K_COLUMNS, codes = iq2 ? OWN_IQ2_CODES : OWN_Q2K_CODES;
    const uint32_t    table = iq2 ? OWN_TABLE_BYTES : 0;
    const own_experts_args a = { .w_mat = w->layout->mat_bytes,
                                 .n_in = w->n_in,
                                 .n_out = w->n_out,
                                 .n_experts = w->n_mats,
                                 .n_used = p->n_used,
                                 .x_bytes = row.n_bytes,
                                 .x_scales = row.scales,
                                 .x_by_token = p->x_by_token,
                                 .y_stride = w->n_out };

    if (few) {
        const int kernel = iq2 ? CUDA_KERNEL_own_experts_few_iq2 : CUDA_KERNEL_own_experts_few_q2k;
        const uint32_t bytes = table + n * (codes * 8 + 32 + 8 * OWN_PITCH * 4);
        return OWN_LAUNCH(dev, kernel, a, GROUPS, 1, 1, OWN_THREADS, bytes, err, w->layout->at, act,
                          p->y, p->own_order, p->own_begin, p->own_tiles);
    }
    const int      kernel = iq2 ? CUDA_KERNEL_own_experts_iq2 : CUDA_KERNEL_own_experts_q2k;
    const uint32_t bytes = table + 3 * codes / 16 * (64 * 16 + 16) + n * 64 * 4;
    return OWN_LAUNCH(dev, kernel, a, GROUPS / 2, 1, 1, 512, bytes, err, w->layout->at, act, p->y,
                      p->own_order, p->own_begin, p->own_tiles);
}

/* ---- one token ------------------------------------------------------------------------------------- */

bool own_serves_experts(const ds4_dev *dev, const ds4_op *op)
{
    const ds4_op_experts *o = &op->experts;

    return dev->step.n_tokens == 1 && !o->cache && !o->inputs.at.buf && o->n_used <= OWN_MAX_USED &&
           o->gate.layout->form == OWN_IQ2_XXS && o->up.layout->form == OWN_IQ2_XXS &&
           o->down.layout->form == OWN_Q2_K && o->shared_gate.layout->form == OWN_Q8_0 &&
           o->shared_up.layout->form == OWN_Q8_0 && o->shared_down.layout->form == OWN_Q8_0 &&
           o->shared_gate.n_out == o->gate.n_out;
}

/* Gates and ups of the shared expert, then of the routed ones, then all downs and their sum. */
ds4_status own_experts_op(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t n_embd = o->gate.n_in, n_ffn = o->gate.n_out, n = n_embd / 256, m = n_ffn / 256;
    const gpu_at h = dev->scratch.at, gate = h + 4ull * o->n_used * n_ffn, up = gate + 4ull * n_ffn;
    const gpu_product  shared_gate = { .w = &o->shared_gate,
                                       .x = gpu_address(o->x.at),
                                       .y = gate,
                                       .x_stride = o->x.stride,
                                       .y_stride = n_ffn,
                                       .n_tokens = 1 };
    gpu_product        shared_up = shared_gate;
    const own_one_args a = { .gate_mat = o->gate.layout->mat_bytes,
                             .up_mat = o->up.layout->mat_bytes,
                             .down_mat = o->down.layout->mat_bytes,
                             .n_embd = n_embd,
                             .n_ffn = n_ffn,
                             .n_used = o->n_used,
                             .clamp = o->clamp };

    shared_up.w = &o->shared_up;
    shared_up.y = up;
    DS4_TRY(own_multiply_two(dev, &shared_gate, &shared_up, err));
    DS4_TRY(OWN_LAUNCH(dev, CUDA_KERNEL_own_gate_up_one, a, GROUPS, 1, 1, OWN_THREADS,
                       OWN_TABLE_BYTES + n_embd + (n * 4 + 15) / 16 * 16 + 2 * n * 64, err,
                       o->gate.layout->at, o->up.layout->at, gpu_address(o->x.at),
                       gpu_address(o->expert), gpu_address(o->weight.at), h));
    const uint32_t n_all = o->n_used * m;
    return OWN_LAUNCH(dev, CUDA_KERNEL_own_down_one, a, n_embd / 16, 1, 1, OWN_THREADS,
                      n_all * OWN_Q2K_CODES + (n_all * 4 + 15) / 16 * 16 + n_ffn + n_ffn / 8 + 32 +
                          (n_all + gpu_div_up(n_ffn, 512)) * 64,
                      err, o->down.layout->at, o->shared_down.layout->at, h, gate, up,
                      gpu_address(o->expert), gpu_address(o->y.at));
}
