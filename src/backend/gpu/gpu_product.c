/* gpu_product.c - launches of products: matrices, experts, the embedding, and the router. */
#include "backend/gpu/gpu_local.h"

#include "format/dtype.h"

/* ---- kernels by weight type ------------------------------------------------------------------------ */

#define OF_TYPE(type)                                                                                      \
    {                                                                                                      \
        GPU_KERNEL_project_##type, GPU_KERNEL_experts_##type, GPU_KERNEL_embed_##type                      \
    }

typedef struct type_kernels {
    gpu_kernel project, experts, embed;
} type_kernels;

/* NULL where the type is no matrix type. */
static const type_kernels *kernels_of(uint32_t dtype)
{
    static const type_kernels of[DS4_N_DTYPE] = {
        [DS4_F32] = OF_TYPE(f32),   [DS4_F16] = OF_TYPE(f16),     [DS4_BF16] = OF_TYPE(bf16),
        [DS4_Q8_0] = OF_TYPE(q8_0), [DS4_MXFP4] = OF_TYPE(mxfp4), [DS4_Q2_K] = OF_TYPE(q2_k),
        [DS4_Q4_K] = OF_TYPE(q4_k), [DS4_Q6_K] = OF_TYPE(q6_k),   [DS4_IQ2_XXS] = OF_TYPE(iq2_xxs),
    };
    return dtype < DS4_N_DTYPE && of[dtype].project ? &of[dtype] : NULL;
}

bool gpu_multiplies(uint32_t dtype)
{
    return kernels_of(dtype) != NULL;
}

static ds4_status find_kernels(const type_kernels **out, const ds4_matrix *w, const char *name,
                               ds4_err *err)
{
    *out = kernels_of(w->dtype);
    if (*out) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: no GPU kernel multiplies weights of type %u",
                    name, w->dtype);
}

/* ---- one matrix after the other -------------------------------------------------------------------- */

/* Simdgroups of a group that share the segments of a row: a power of two; the others have other rows. */
static uint32_t sharing(uint32_t n_in)
{
    uint32_t n = 1;

    while (n < KD_ROWS && n * KD_SEGMENT < n_in) n *= 2;
    return n;
}

/* Rows of x may be loaded 16 bytes at a time. */
static bool is_aligned(gpu_at x, uint32_t stride, uint32_t n_in)
{
    return x % 16 == 0 && stride % 4 == 0 && n_in % 8 == 0;
}

typedef struct product {
    const ds4_matrix *w;
    gpu_at            x, y;
    uint32_t          x_stride, y_stride, n_tokens;
    uint32_t          x_step, y_step; /* from matrix to matrix */
} product;

static ds4_status multiply(ds4_dev *dev, const product *p, const char *name, ds4_err *err)
{
    const type_kernels *k;

    DS4_TRY(find_kernels(&k, p->w, name, err));
    const product_args a = {
        .row_bytes = p->w->layout->row_bytes,
        .w_stride = p->w->layout->mat_bytes,
        .n_in = p->w->n_in,
        .n_out = p->w->n_out,
        .n_tokens = p->n_tokens,
        .x_stride = p->x_stride,
        .y_stride = p->y_stride,
        .n_sharing = sharing(p->w->n_in),
        .x_mat = p->x_step,
        .y_mat = p->y_step,
        .aligned = is_aligned(p->x, p->x_stride, p->w->n_in) && p->x_step % 4 == 0,
    };
    return GPU_LAUNCH(dev, k->project, a, gpu_div_up(a.n_out, KD_ROWS / a.n_sharing),
                      gpu_div_up(a.n_tokens, KD_TOKENS), p->w->n_mats, KD_GROUP, err, p->w->layout->at,
                      p->x, p->y);
}

ds4_status gpu_project(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_project *o = &op->project;

    if (o->is_head && dev->step.n_rows == 0) return DS4_OK;
    for (uint32_t i = 0; i < o->n; i++) {
        const ds4_product *part = &o->part[i];
        const product      p = { .w = &part->w,
                                 .x = gpu_address(part->x.at),
                                 .y = gpu_address(part->y.at),
                                 .x_stride = part->x.stride,
                                 .y_stride = part->y.stride,
                                 .x_step = part->x_step,
                                 .y_step = part->y_step,
                                 .n_tokens = o->is_head ? dev->step.n_rows : dev->step.n_tokens };
        DS4_TRY(multiply(dev, &p, op->name, err));
    }
    return DS4_OK;
}

ds4_status gpu_embed(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_embed *o = &op->embed;
    const type_kernels *k;

    DS4_TRY(find_kernels(&k, &o->table, op->name, err));
    const embed_args a = { .row_bytes = o->table.layout->row_bytes,
                           .n_embd = o->table.n_in,
                           .n_hc = o->n_hc,
                           .stride = o->h.stride };
    return GPU_LAUNCH(dev, k->embed, a, gpu_div_up(a.n_embd, 8 * KD_GROUP), dev->step.n_tokens, 1, KD_GROUP,
                      err, dev->step.token, o->table.layout->at, gpu_address(o->h.at));
}

/* ---- the router ------------------------------------------------------------------------------------ */

ds4_status gpu_route(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_route *o = &op->route;
    const route_args    a = { .n_experts = o->n_experts,
                              .n_used = o->n_used,
                              .by_token = o->by_token,
                              .has_bias = o->bias.buf != NULL && !o->by_token,
                              .normalize = o->normalize,
                              .logits_stride = o->logits.stride,
                              .weight_stride = o->weight.stride,
                              .scale = o->scale };

    if (o->n_experts > KD_MAX_EXPERTS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: %u experts, at most %d", op->name,
                        o->n_experts, KD_MAX_EXPERTS);
    }
    return GPU_LAUNCH(dev, GPU_KERNEL_route, a, dev->step.n_tokens, 1, 1, 32, err,
                      gpu_address(o->logits.at), gpu_address(o->bias), gpu_address(o->table),
                      dev->step.token, gpu_address(o->expert), gpu_address(o->weight.at));
}

/* ---- the experts ----------------------------------------------------------------------------------- */

/* A token has n_used pairs of routed experts and a row of the shared one. */
typedef struct experts_room {
    gpu_at gate, up, out, shared_gate, shared_up, shared_out, order, tile, end;
} experts_room;

static gpu_at take(gpu_at *next, uint64_t n_bytes)
{
    const gpu_at at = *next;
    *next += (n_bytes + 255) / 256 * 256;
    return at;
}

static uint32_t most_tiles(uint32_t n_pairs, uint32_t n_experts)
{
    return n_pairs < n_experts ? n_pairs : n_experts + n_pairs / KD_TOKENS;
}

static experts_room room_of(const ds4_op_experts *o, uint32_t n_tokens, gpu_at at)
{
    const uint64_t ffn = o->gate.n_out * 4ull, embd = o->down.n_out * 4ull,
                   n_pairs = (uint64_t)n_tokens * o->n_used;
    experts_room r;

    r.gate = take(&at, n_pairs * ffn);
    r.up = take(&at, n_pairs * ffn);
    r.out = take(&at, n_pairs * embd);
    r.shared_gate = take(&at, n_tokens * ffn);
    r.shared_up = take(&at, n_tokens * ffn);
    r.shared_out = take(&at, n_tokens * embd);
    r.order = take(&at, n_pairs * 4);
    r.tile = take(&at, (1 + 3ull * most_tiles((uint32_t)n_pairs, o->gate.n_mats)) * 4);
    r.end = at;
    return r;
}

uint64_t gpu_scratch_of(const ds4_limits *l, const ds4_op *op, uint32_t n_ctx)
{
    if (op->kind == DS4_OP_EXPERTS) return room_of(&op->experts, l->max_batch, 0).end;
    if (op->kind == DS4_OP_ATTEND) {
        return gpu_attend_scratch(&op->attend, gpu_attend_chunks(l->kv, &op->attend, n_ctx));
    }
    if (op->kind == DS4_OP_SELECT) {
        const uint64_t n_parts = gpu_div_up(n_ctx / 4, KD_INDEX_PART) + 1;
        return GPU_INDEX_TOKENS * n_parts * (1 + 2 * op->select.top_k) * 4;
    }
    return 0;
}

/* One product of all pairs with their experts. */
static ds4_status multiply_pairs(ds4_dev *dev, const ds4_op *op, const ds4_matrix *w, const experts_room *r,
                                 ds4_rows x, bool x_by_token, gpu_at x_at, gpu_at y, bool sorted,
                                 ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t        n_pairs = dev->step.n_tokens * o->n_used;
    const type_kernels   *k;

    DS4_TRY(find_kernels(&k, w, op->name, err));
    const experts_args a = {
        .row_bytes = w->layout->row_bytes,
        .w_stride = w->layout->mat_bytes,
        .n_in = w->n_in,
        .n_out = w->n_out,
        .n_pairs = n_pairs,
        .n_used = o->n_used,
        .x_stride = x.stride,
        .y_stride = w->n_out,
        .x_by_token = x_by_token,
        .sorted = sorted,
        .n_sharing = sharing(w->n_in),
        .aligned = is_aligned(x_at, x.stride, w->n_in),
    };
    return GPU_LAUNCH(dev, k->experts, a, gpu_div_up(w->n_out, KD_ROWS / a.n_sharing),
                      sorted ? most_tiles(n_pairs, w->n_mats) : n_pairs, 1, KD_GROUP, err, w->layout->at,
                      x_at, y, gpu_address(o->expert), r->order, r->tile);
}

static ds4_status routed_experts(ds4_dev *dev, const ds4_op *op, const experts_room *r, ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t        n_pairs = dev->step.n_tokens * o->n_used, n_ffn = o->gate.n_out;
    const ds4_rows        inner = { .stride = n_ffn };
    const bool            sorted = dev->step.n_tokens > 1;
    const gpu_at          x = gpu_address(o->x.at);

    if (o->gate.n_mats > KD_MAX_EXPERTS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: %u experts, at most %d", op->name,
                        o->gate.n_mats, KD_MAX_EXPERTS);
    }
    if (sorted) {
        const sort_args s = { .n_pairs = n_pairs, .n_experts = o->gate.n_mats };
        DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_experts_sort, s, 1, 1, 1, KD_GROUP, err, gpu_address(o->expert),
                           r->order, r->tile));
    }
    DS4_TRY(multiply_pairs(dev, op, &o->gate, r, o->x, true, x, r->gate, sorted, err));
    DS4_TRY(multiply_pairs(dev, op, &o->up, r, o->x, true, x, r->up, sorted, err));
    const activate_args a = { .n_rows = n_pairs,
                              .n = n_ffn,
                              .n_used = o->n_used,
                              .weight_stride = o->weight.stride,
                              .clamp = o->clamp };
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_activate, a, gpu_div_up(n_ffn, KD_GROUP), n_pairs, 1, KD_GROUP, err,
                       r->gate, r->up, gpu_address(o->weight.at)));
    return multiply_pairs(dev, op, &o->down, r, inner, false, r->gate, r->out, sorted, err);
}

static ds4_status shared_expert(ds4_dev *dev, const ds4_op *op, const experts_room *r, ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t n = dev->step.n_tokens, n_ffn = o->shared_gate.n_out, n_embd = o->shared_down.n_out;
    product        p = { .w = &o->shared_gate,
                         .x = gpu_address(o->x.at),
                         .y = r->shared_gate,
                         .x_stride = o->x.stride,
                         .y_stride = n_ffn,
                         .n_tokens = n };

    DS4_TRY(multiply(dev, &p, op->name, err));
    p.w = &o->shared_up;
    p.y = r->shared_up;
    DS4_TRY(multiply(dev, &p, op->name, err));
    const activate_args a = { .n_rows = n, .n = n_ffn, .clamp = o->clamp };
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_activate, a, gpu_div_up(n_ffn, KD_GROUP), n, 1, KD_GROUP, err,
                       r->shared_gate, r->shared_up, 0));
    p = (product){ .w = &o->shared_down,
                   .x = r->shared_gate,
                   .y = r->shared_out,
                   .x_stride = n_ffn,
                   .y_stride = n_embd,
                   .n_tokens = n };
    return multiply(dev, &p, op->name, err);
}

ds4_status gpu_experts(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_experts  *o = &op->experts;
    const experts_room     r = room_of(o, dev->step.n_tokens, dev->scratch.at);
    const experts_sum_args a = {
        .n_tokens = dev->step.n_tokens, .n = o->down.n_out, .n_used = o->n_used, .y_stride = o->y.stride
    };

    DS4_TRY(routed_experts(dev, op, &r, err));
    DS4_TRY(shared_expert(dev, op, &r, err));
    return GPU_LAUNCH(dev, GPU_KERNEL_experts_sum, a, gpu_div_up(a.n, KD_GROUP), a.n_tokens, 1, KD_GROUP,
                      err, r.out, r.shared_out, gpu_address(o->y.at));
}
