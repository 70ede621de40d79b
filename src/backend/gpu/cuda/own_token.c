/* own_token.c - launches of attention, the choice of rows, and hyper-connections. */
#include "backend/gpu/cuda/own_local.h"

/* ---- attention ------------------------------------------------------------------------------------- */

enum {
    HEAD = 512,
    NOPE = 448,
    ROT = 64,
    PART_BYTES = (64 + 16) * 1024 + 32 * 272 + 16 * 144, /* as own_attend.cuh adds them up */
    ALL_BYTES = (64 + 64) * 1024 + 128 * 272 + 64 * 144 + 64 * 16,
};

/* Fields of rows are loaded eight bytes at a time. */
static bool is_even(const kd_row_form *f)
{
    return (f->code | f->code_stride | f->scale | f->scale_stride | f->rot | f->rot_stride) % 8 ==
           0;
}

bool own_attends(const ds4_dev *dev, const ds4_op *op)
{
    const ds4_op_attend *o = &op->attend;
    const kd_kv          kv = gpu_kv_of(dev->kv, o->layer);

    return o->n_head == HEAD && kv.n_nope == NOPE && kv.n_rot == ROT && !kv.exact &&
           o->n_heads % 64 == 0 && o->q.stride % 4 == 0 && o->out.stride % 2 == 0 &&
           is_even(&kv.here) && is_even(&kv.ring) && is_even(&kv.block) &&
           dev->info.group_bytes >= PART_BYTES;
}

static ds4_status attend_parts(ds4_dev *dev, const ds4_op_attend *o, attend_args *a, uint32_t n,
                               ds4_err *err)
{
    const gpu_step *st = &dev->step;

    DS4_TRY(OWN_LAUNCH(dev, CUDA_KERNEL_own_attend_part, *a, a->n_chunks, a->n_heads / 16, n, 256,
                       PART_BYTES, err, 0, gpu_address(o->rows), gpu_address(o->q.at),
                       gpu_address(o->chosen), st->pos, st->span_of, st->span, st->block,
                       dev->scratch.at));
    return OWN_LAUNCH(dev, CUDA_KERNEL_own_attend_join, *a, a->n_heads, n, 1, 256, 0, err,
                      gpu_address(o->sink), gpu_address(o->angles.at), st->pos, dev->scratch.at,
                      gpu_address(o->out.at));
}

/* With few tokens the chunks of a token are computed side by side, with many one after the other: the
 * result is the same. */
ds4_status own_attend_op(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_attend *o = &op->attend;
    const gpu_step      *st = &dev->step;
    attend_args          a = gpu_attend_args(dev, o);
    const uint32_t       n_chunks = gpu_attend_chunks(dev->kv, o, 4 * st->max_rows);
    const uint64_t fit = dev->scratch.n_bytes / (gpu_attend_scratch(o, n_chunks) / GPU_FEW_TOKENS);

    if ((st->n_tokens > GPU_FEW_TOKENS || fit < st->n_tokens) &&
        dev->info.group_bytes >= ALL_BYTES) {
        return OWN_LAUNCH(dev, CUDA_KERNEL_own_attend_all, a, st->n_tokens, a.n_heads / 64, 1, 512,
                          ALL_BYTES, err, 0, gpu_address(o->rows), gpu_address(o->q.at),
                          gpu_address(o->sink), gpu_address(o->angles.at), gpu_address(o->chosen),
                          st->pos, st->span_of, st->span, st->block, gpu_address(o->out.at));
    }
    a.n_chunks = n_chunks;
    for (; a.first_token < st->n_tokens; a.first_token += (uint32_t)fit) {
        const uint32_t left = st->n_tokens - a.first_token;
        DS4_TRY(attend_parts(dev, o, &a, fit < left ? (uint32_t)fit : left, err));
    }
    return DS4_OK;
}

/* ---- the choice of rows ---------------------------------------------------------------------------- */

enum { INDEX_DIMS = 128, INDEX_ROWS = 32 };

/* Codes and scales of rows are loaded four bytes at a time. */
bool own_selects(const ds4_dev *dev, const ds4_op *op)
{
    const select_args a = gpu_select_args(dev, &op->select);

    return a.n == INDEX_DIMS && !a.exact && a.n_heads <= KD_MAX_INDEX_HEADS &&
           a.top_k <= KD_MAX_TOP_K &&
           (a.irow.code | a.irow.code_stride | a.irow.scale | a.irow.scale_stride | a.query_bytes) %
                   4 ==
               0;
}

ds4_status own_select_op(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_select *o = &op->select;
    const gpu_step      *st = &dev->step;
    own_select_args      a = { .select = gpu_select_args(dev, o), .key_stride = st->max_rows };
    uint32_t            *first = &a.select.first_token;

    if (st->max_rows <= o->top_k) return DS4_OK;
    for (; *first < st->n_tokens; *first += GPU_INDEX_TOKENS) {
        const uint32_t left = st->n_tokens - *first,
                       n = left < GPU_INDEX_TOKENS ? left : GPU_INDEX_TOKENS;
        DS4_TRY(OWN_LAUNCH(dev, CUDA_KERNEL_own_index_scores, a,
                           gpu_div_up(st->max_rows, INDEX_ROWS), n, 1, 256, 0, err, 0,
                           gpu_address(o->query), gpu_address(o->weight.at), st->pos, st->span_of,
                           st->span, st->block, dev->scratch.at));
        DS4_TRY(OWN_LAUNCH(dev, CUDA_KERNEL_own_index_choose, a, n, 1, 1, 1024, 0, err,
                           dev->scratch.at, st->pos, gpu_address(o->chosen)));
    }
    return DS4_OK;
}

/* ---- hyper-connections ----------------------------------------------------------------------------- */

enum { ENTER_THREADS = KD_GROUP + 32 };

bool own_enters(const ds4_op *op)
{
    return op->hc_enter.n_hc == 4 && (op->hc_enter.n_embd == 4096 || op->hc_enter.n_embd == 256);
}

ds4_status own_enter_op(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_hc_enter *o = &op->hc_enter;
    const hc_args          a = gpu_enter_args(o);
    const int kernel = o->n_embd == 4096 ? CUDA_KERNEL_own_enter_4096 : CUDA_KERNEL_own_enter_256;

    return OWN_LAUNCH(dev, kernel, a, dev->step.n_tokens, 1, 1, ENTER_THREADS, 0, err,
                      gpu_address(o->h.at), gpu_address(o->m.at), gpu_address(o->scale),
                      gpu_address(o->base), gpu_address(o->norm), gpu_address(o->a.at),
                      gpu_address(o->gate.at));
}
