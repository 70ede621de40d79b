/* gpu_product.c - launches of operations with products: matrices, experts, the embedding; and the
 * router. */
#include "backend/gpu/gpu_multiply.h"
#include "backend/gpu/gpu_own.h"

/* ---- one matrix after the other -------------------------------------------------------------------- */

/* Parts that read the same values want them rounded once. */
static bool same_input(const ds4_product *a, const ds4_product *b)
{
    const gpu_rounding ra = gpu_rounding_of(&a->w, a->precise),
                       rb = gpu_rounding_of(&b->w, b->precise);

    return ra.group == rb.group && ra.form == rb.form && a->x.at.buf == b->x.at.buf &&
           a->x.at.off == b->x.at.off && a->x_step == b->x_step && a->w.n_in == b->w.n_in &&
           a->w.n_mats == b->w.n_mats;
}

ds4_status gpu_project(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_project *o = &op->project;
    const ds4_product    *rounded = NULL;

    if (o->is_head && dev->step.n_rows == 0) return DS4_OK;
    for (uint32_t i = 0; i < o->n; i++) {
        const ds4_product *part = &o->part[i];
        const gpu_product  p = { .w = &part->w,
                                 .x = gpu_address(part->x.at),
                                 .y = gpu_address(part->y.at),
                                 .x_stride = part->x.stride,
                                 .y_stride = part->y.stride,
                                 .x_step = part->x_step,
                                 .y_step = part->y_step,
                                 .precise = part->precise,
                                 .n_tokens = o->is_head ? dev->step.n_rows : dev->step.n_tokens };
        if (gpu_rounding_of(p.w, p.precise).group > 0 && !(rounded && same_input(rounded, part))) {
            DS4_TRY(gpu_round(dev, &p, dev->scratch.at, err));
            rounded = part;
        }
        DS4_TRY(gpu_multiply(dev, &p, dev->scratch.at, op->name, err));
    }
    return DS4_OK;
}

ds4_status gpu_embed(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_embed *o = &op->embed;
    gpu_kernel          kernel;

    DS4_TRY(gpu_embed_kernel(&kernel, &o->table, op->name, err));
    const embed_args a = { .row_bytes = o->table.layout->row_bytes,
                           .n_embd = o->table.n_in,
                           .n_hc = o->n_hc,
                           .stride = o->h.stride };
    return GPU_LAUNCH(dev, kernel, a, gpu_div_up(a.n_embd, 8 * KD_GROUP), dev->step.n_tokens, 1,
                      KD_GROUP, err, dev->step.token, o->table.layout->at, gpu_address(o->h.at));
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
    gpu_at gate, up, out, shared_gate, shared_up, shared_out, order, tile, act;
    gpu_at own_order, own_begin, own_tiles, end;
} experts_room;

static gpu_at take(gpu_at *next, uint64_t n_bytes)
{
    const gpu_at at = *next;
    *next += (n_bytes + 255) / 256 * 256;
    return at;
}

/* Rounded activations of one product at a time. */
static uint64_t most_rounded(const ds4_op_experts *o, uint32_t n_tokens)
{
    const uint64_t in = gpu_round_bytes(&o->gate, n_tokens),
                   shared = gpu_round_bytes(&o->shared_gate, n_tokens),
                   out = gpu_round_bytes(&o->down, (uint64_t)n_tokens * o->n_used),
                   shared_out = gpu_round_bytes(&o->shared_down, n_tokens);
    const uint64_t a = in > shared ? in : shared, b = out > shared_out ? out : shared_out;
    return a > b ? a : b;
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
    r.tile = take(&at, (1 + 3ull * gpu_most_tiles((uint32_t)n_pairs, o->gate.n_mats)) * 4);
    r.act = take(&at, most_rounded(o, n_tokens));
    r.own_order = take(&at, n_pairs * 4);
    r.own_begin = take(&at, (o->gate.n_mats + 1) * 4ull);
    r.own_tiles = take(&at, (o->gate.n_mats + 1) * 4ull);
    r.end = at;
    return r;
}

/* Several inputs may be rounded before they are multiplied side by side. */
static uint64_t project_scratch(const ds4_limits *l, const ds4_op_project *o)
{
    const uint32_t n_rows = l->max_batch > l->max_logit_rows ? l->max_batch : l->max_logit_rows;
    uint64_t       sum = 0;

    for (uint32_t i = 0; i < o->n; i++) {
        if (!o->part[i].precise) sum += gpu_round_bytes(&o->part[i].w, n_rows);
    }
    return sum;
}

uint64_t gpu_scratch_of(const ds4_limits *l, const ds4_op *op, uint32_t n_ctx)
{
    if (op->kind == DS4_OP_PROJECT) return project_scratch(l, &op->project);
    if (op->kind == DS4_OP_EXPERTS) return room_of(&op->experts, l->max_batch, 0).end;
    if (op->kind == DS4_OP_ATTEND) {
        return gpu_attend_scratch(&op->attend, gpu_attend_chunks(l->kv, &op->attend, n_ctx));
    }
    if (op->kind == DS4_OP_SELECT) {
        const uint64_t n_parts = gpu_div_up(n_ctx / 4, KD_INDEX_PART) + 1;
        /* Lists of the best of each part; a device's own way is to keep all scores. */
        const uint64_t lists = n_parts * (1 + 2 * op->select.top_k) * 4,
                       scores = n_parts * KD_INDEX_PART * 4;
        return GPU_INDEX_TOKENS * (lists > scores ? lists : scores);
    }
    return 0;
}

static ds4_status round_pairs(ds4_dev *dev, const gpu_pairs *p, uint32_t n_rows, gpu_at to,
                              ds4_err *err)
{
    const gpu_product x = { .w = p->w, .x = p->x, .x_stride = p->x_stride, .n_tokens = n_rows };
    return gpu_round(dev, &x, to, err);
}

/* Each way of multiplying wants pairs in an order of its own. */
static ds4_status sort_pairs(ds4_dev *dev, const ds4_op_experts *o, const gpu_pairs *p,
                             ds4_err *err)
{
    const sort_args s = { .n_pairs = p->n_pairs, .n_experts = o->gate.n_mats };
    const uint32_t  n_own =
        (o->gate.layout->form > 0) + (o->up.layout->form > 0) + (o->down.layout->form > 0);

    if (n_own > 0) DS4_TRY(dev->api->own->sort(dev, &s, p, err));
    if (n_own == 3) return DS4_OK;
    return GPU_LAUNCH(dev, GPU_KERNEL_experts_sort, s, 1, 1, 1, KD_GROUP, err, p->expert, p->order,
                      p->tile);
}

static ds4_status routed_experts(ds4_dev *dev, const ds4_op *op, const experts_room *r,
                                 ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t        n_pairs = dev->step.n_tokens * o->n_used, n_ffn = o->gate.n_out;
    gpu_pairs             p = { .w = &o->gate,
                                .x = gpu_address(o->x.at),
                                .y = r->gate,
                                .expert = gpu_address(o->expert),
                                .order = r->order,
                                .tile = r->tile,
                                .own_order = r->own_order,
                                .own_begin = r->own_begin,
                                .own_tiles = r->own_tiles,
                                .x_stride = o->x.stride,
                                .n_pairs = n_pairs,
                                .n_used = o->n_used,
                                .x_by_token = true,
                                .sorted = dev->step.n_tokens > 1 };

    if (o->gate.n_mats > KD_MAX_EXPERTS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: %u experts, at most %d", op->name,
                        o->gate.n_mats, KD_MAX_EXPERTS);
    }
    /* A device's own kernels want an order also of one token's pairs. */
    if (p.sorted || o->gate.layout->form + o->up.layout->form + o->down.layout->form > 0)
        DS4_TRY(sort_pairs(dev, o, &p, err));
    DS4_TRY(round_pairs(dev, &p, dev->step.n_tokens, r->act, err));
    DS4_TRY(gpu_multiply_pairs(dev, &p, r->act, op->name, err));
    p.w = &o->up;
    p.y = r->up;
    const gpu_rounding of_gate = gpu_rounding_of(&o->gate, false),
                       of_up = gpu_rounding_of(&o->up, false);
    if (of_up.group != of_gate.group || of_up.form != of_gate.form)
        DS4_TRY(round_pairs(dev, &p, dev->step.n_tokens, r->act, err));
    DS4_TRY(gpu_multiply_pairs(dev, &p, r->act, op->name, err));
    const activate_args a = { .n_rows = n_pairs,
                              .n = n_ffn,
                              .n_used = o->n_used,
                              .weight_stride = o->weight.stride,
                              .clamp = o->clamp };
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_activate, a, gpu_div_up(n_ffn, KD_GROUP), n_pairs, 1,
                       KD_GROUP, err, r->gate, r->up, gpu_address(o->weight.at)));
    p.w = &o->down;
    p.x = r->gate;
    p.x_stride = n_ffn;
    p.x_by_token = false;
    p.y = r->out;
    DS4_TRY(round_pairs(dev, &p, n_pairs, r->act, err));
    return gpu_multiply_pairs(dev, &p, r->act, op->name, err);
}

/* Round, then multiply. */
static ds4_status multiply(ds4_dev *dev, const gpu_product *p, gpu_at act, const char *name,
                           ds4_err *err)
{
    DS4_TRY(gpu_round(dev, p, act, err));
    return gpu_multiply(dev, p, act, name, err);
}

static ds4_status shared_expert(ds4_dev *dev, const ds4_op *op, const experts_room *r, ds4_err *err)
{
    const ds4_op_experts *o = &op->experts;
    const uint32_t        n = dev->step.n_tokens, n_ffn = o->shared_gate.n_out,
                   n_embd = o->shared_down.n_out;
    gpu_product p = { .w = &o->shared_gate,
                      .x = gpu_address(o->x.at),
                      .y = r->shared_gate,
                      .x_stride = o->x.stride,
                      .y_stride = n_ffn,
                      .n_tokens = n };

    DS4_TRY(multiply(dev, &p, r->act, op->name, err));
    p.w = &o->shared_up;
    p.y = r->shared_up;
    DS4_TRY(multiply(dev, &p, r->act, op->name, err));
    const activate_args a = { .n_rows = n, .n = n_ffn, .clamp = o->clamp };
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_activate, a, gpu_div_up(n_ffn, KD_GROUP), n, 1, KD_GROUP,
                       err, r->shared_gate, r->shared_up, 0));
    p = (gpu_product){ .w = &o->shared_down,
                       .x = r->shared_gate,
                       .y = r->shared_out,
                       .x_stride = n_ffn,
                       .y_stride = n_embd,
                       .n_tokens = n };
    return multiply(dev, &p, r->act, op->name, err);
}

ds4_status gpu_experts(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_experts  *o = &op->experts;
    experts_room           r = room_of(o, dev->step.n_tokens, dev->scratch.at);
    const experts_sum_args a = { .n_tokens = dev->step.n_tokens,
                                 .n = o->down.n_out,
                                 .n_used = o->n_used,
                                 .y_stride = o->y.stride };

    if (o->inputs.at.buf) r.gate = gpu_address(o->inputs.at);  /* activated in place, pair by pair */
    DS4_TRY(routed_experts(dev, op, &r, err));
    DS4_TRY(shared_expert(dev, op, &r, err));
    return GPU_LAUNCH(dev, GPU_KERNEL_experts_sum, a, gpu_div_up(a.n, KD_GROUP), a.n_tokens, 1,
                      KD_GROUP, err, r.out, r.shared_out, gpu_address(o->y.at));
}
