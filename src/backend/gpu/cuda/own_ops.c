/* own_ops.c - see own_ops.h: which operations and matrices have a way of their own; packing records. */
#include "backend/gpu/cuda/own_ops.h"

#include "backend/gpu/cuda/own_local.h"
#include "format/dtype.h"

static gpu_op_fn *own_op(const ds4_dev *dev, const ds4_op *op)
{
    if (op->kind == DS4_OP_PROJECT && own_projects(dev, op)) return own_project_op;
    if (op->kind == DS4_OP_EXPERTS && own_serves_experts(dev, op)) return own_experts_op;
    if (op->kind == DS4_OP_ATTEND && own_attends(dev, op)) return own_attend_op;
    if (op->kind == DS4_OP_SELECT && own_selects(dev, op)) return own_select_op;
    if (op->kind == DS4_OP_HC_ENTER && own_enters(op)) return own_enter_op;
    return NULL;
}

/* ---- records ----------------------------------------------------------------------------------------- */

/* Groups have room for eight tokens of so many columns in their memory, also on small chips. */
enum { MAX_Q8_COLUMNS = 8192, MAX_K_COLUMNS = 4096 };

static uint32_t own_form_of(const ds4_tensor *t)
{
    if (t->by_rows || t->n_out % 16 != 0) return OWN_ROWS;
    if (t->dtype == DS4_Q8_0)
        return t->use != DS4_USE_EXPERTS && t->n_in % OWN_Q8_COLUMNS == 0 &&
                       t->n_in <= MAX_Q8_COLUMNS
                   ? OWN_Q8_0
                   : OWN_ROWS;
    if (t->use != DS4_USE_EXPERTS || t->n_in % OWN_K_COLUMNS != 0 || t->n_in > MAX_K_COLUMNS)
        return OWN_ROWS;
    return t->dtype == DS4_IQ2_XXS ? OWN_IQ2_XXS : t->dtype == DS4_Q2_K ? OWN_Q2_K : OWN_ROWS;
}

static ds4_status pack_tiles(ds4_dev *dev, const ds4_layout *l, const ds4_tensor *t, gpu_at from,
                             gpu_at to, uint32_t n_tiles, ds4_err *err)
{
    const own_pack_args a = { .row_bytes = l->row_bytes, .n_in = t->n_in, .n_tiles = n_tiles };
    const uint32_t      n = t->n_in / (l->form == OWN_Q8_0 ? OWN_Q8_COLUMNS : OWN_K_COLUMNS);
    const int           kernel = l->form == OWN_Q8_0      ? CUDA_KERNEL_own_pack_q8_0
                                 : l->form == OWN_IQ2_XXS ? CUDA_KERNEL_own_pack_iq2_xxs
                                                          : CUDA_KERNEL_own_pack_q2_k;
    const gpu_launch    launch = { .kernel = (gpu_kernel)kernel,
                                   .args = &a,
                                   .args_bytes = sizeof a,
                                   .buffer = (const gpu_at[]){ from, to },
                                   .groups = { gpu_div_up(n, 8), n_tiles, 1 },
                                   .n_threads = OWN_THREADS };
    return dev->api->launch(dev->gpu, &launch, err);
}

/* Rows go to the device piece by piece; each piece becomes records while the next is on its way. */
static ds4_status own_pack(ds4_dev *dev, const ds4_tensor *t, const ds4_layout *l, ds4_err *err)
{
    enum { MAX_TILES = 65535 };
    const uint64_t tile_bytes = 16 * l->row_bytes, piece = 32ull << 20;
    const uint8_t *from = t->data;
    uint64_t       n_left = (uint64_t)t->n_out / 16 * t->n_mats, most = piece / tile_bytes;
    gpu_at         to = l->at, stage = 0;

    if (most == 0) most = 1;
    if (most > MAX_TILES) most = MAX_TILES;
    if (most > n_left) most = n_left;
    DS4_TRY(dev->api->alloc(dev->gpu, most * tile_bytes, &stage, err));
    ds4_status st = DS4_OK;
    while (st == DS4_OK && n_left > 0) {
        const uint64_t n = n_left < most ? n_left : most;
        st = dev->api->queue_write(dev->gpu, stage, from, n * tile_bytes, err);
        if (st == DS4_OK) st = pack_tiles(dev, l, t, stage, to, (uint32_t)n, err);
        from += n * tile_bytes;
        to += n * tile_bytes;
        n_left -= n;
    }
    dev->api->free(dev->gpu, stage);
    return st;
}

const gpu_own cuda_own = {
    .op = own_op,
    .form_of = own_form_of,
    .pack = own_pack,
    .round = own_round_rows,
    .multiply = own_multiply,
    .multiply_pairs = own_multiply_pairs,
    .sort = own_sort_pairs,
};
