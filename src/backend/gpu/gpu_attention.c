/* gpu_attention.c - launches of everything that touches sessions' rows: queries, the window,
 * compressors, the indexer, attention. */
#include "backend/gpu/gpu_local.h"

#include "kernels/kernels.h"

/* ---- where rows lie -------------------------------------------------------------------------------- */

/* The fields of a row of n_fields: in one record, or each in a plane of its own. width [n_fields]
 * bytes. */
static void fields_of(const ds4_kv_rows *t, uint32_t n_fields, const uint32_t *width, uint32_t *at,
                      uint32_t *stride)
{
    ds4_kv_range   plane[DS4_KV_MAX_PLANES] = { { 0, 0 } };
    const uint32_t n_planes = ds4_kv_rows_at(t, 0, 1, plane);
    uint32_t       next = (uint32_t)plane[0].off;

    for (uint32_t i = 0; i < n_fields; i++) {
        at[i] = n_planes > 1 ? (uint32_t)plane[i].off : next;
        stride[i] = n_planes > 1 ? t->width[i] : t->width[0];
        next += width[i];
    }
}

static kd_row_form row_form(const ds4_kv_layout *kv, const ds4_kv_rows *t)
{
    const uint32_t width[3] = { kv->n_nope, (uint32_t)ds4_kv_row_bytes(kv->n_nope, 0) - kv->n_nope,
                                2 * kv->n_rot };
    uint32_t       at[3], stride[3];

    if (t->n_rows == 0) return (kd_row_form){ 0 };
    fields_of(t, 3, width, at, stride);
    return (kd_row_form){ at[0], stride[0], at[1], stride[1], at[2], stride[2] };
}

static kd_index_form index_form(const ds4_kv_layout *kv, const ds4_kv_rows *t)
{
    const uint32_t width[2] = { kv->n_index / 2, kv->n_index / 32 };
    uint32_t       at[2], stride[2];

    if (t->n_rows == 0) return (kd_index_form){ 0 };
    fields_of(t, 2, width, at, stride);
    return (kd_index_form){ at[0], stride[0], at[1], stride[1] };
}

/* The rows of the step itself are records, or floats. */
static kd_row_form step_form(const ds4_kv_layout *kv)
{
    const ds4_kv_rows records = { .n_rows = 1,
                                  .n_planes = 1,
                                  .width = { (uint32_t)kv->row_bytes } };
    return row_form(kv, &records);
}

kd_kv gpu_kv_of(const ds4_kv_layout *kv, uint32_t layer)
{
    const ds4_kv_layer *l = &kv->layer[layer];

    return (kd_kv){ .here = step_form(kv),
                    .ring = row_form(kv, &l->raw),
                    .block = row_form(kv, &l->row),
                    .n_nope = kv->n_nope,
                    .n_rot = kv->n_rot,
                    .exact = kv->form == DS4_KV_FLOATS,
                    .n_window = kv->n_window,
                    .n_slots = l->raw.n_rows,
                    .ratio = l->ratio,
                    .per_block = l->row.n_rows };
}

/* ---- queries, rows, attention ---------------------------------------------------------------------- */

ds4_status gpu_heads(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_heads *o = &op->heads;
    const heads_args    a = { .n_heads = o->n_heads,
                              .n_head = o->n_head,
                              .n_rot = o->n_rot,
                              .q_stride = o->q.stride,
                              .angles_stride = o->angles.stride,
                              .eps = o->eps };

    return GPU_LAUNCH(dev, GPU_KERNEL_heads, a, gpu_div_up(a.n_heads, KD_ROWS), dev->step.n_tokens,
                      1, KD_GROUP, err, gpu_address(o->angles.at), gpu_address(o->q.at));
}

static ds4_status check_head(const ds4_op *op, uint32_t n, ds4_err *err)
{
    if (n <= KD_MAX_HEAD) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: rows of %u values, at most %d", op->name,
                    n, KD_MAX_HEAD);
}

ds4_status gpu_kv_row(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_kv_row *o = &op->kv_row;
    kd_kv                kv = { .here = step_form(dev->kv),
                                .n_nope = dev->kv->n_nope,
                                .n_rot = dev->kv->n_rot,
                                .exact = dev->kv->form == DS4_KV_FLOATS };
    const kv_row_args    a = {
           .kv = kv, .x_stride = o->x.stride, .angles_stride = o->angles.stride, .eps = o->eps
    };

    DS4_TRY(check_head(op, kv.n_nope + kv.n_rot, err));
    return GPU_LAUNCH(dev, GPU_KERNEL_kv_row, a, dev->step.n_tokens, 1, 1, KD_GROUP, err,
                      gpu_address(o->angles.at), gpu_address(o->w), gpu_address(o->x.at),
                      gpu_address(o->rows));
}

static uint32_t at_most(uint32_t n, uint32_t most)
{
    return n < most ? n : most;
}

ds4_status gpu_window(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_window *o = &op->window;
    const window_args    a = { .kv = gpu_kv_of(dev->kv, o->layer),
                               .row_bytes = (uint32_t)dev->kv->row_bytes };

    return GPU_LAUNCH(dev, GPU_KERNEL_window, a, at_most(dev->step.max_span, a.kv.n_slots),
                      dev->step.n_spans, 1, 64, err, gpu_address(o->rows), 0, dev->step.span);
}

/* Grids grow in steps, see gpu_step.c. */
uint32_t gpu_attend_chunks(const ds4_kv_layout *kv, const ds4_op_attend *o, uint32_t n_ctx)
{
    const uint32_t ratio = kv->layer[o->layer].ratio, n_all = ratio == 0 ? 0 : n_ctx / ratio;
    const uint32_t n_seen = ratio == 4 && n_all > o->top_k ? o->top_k : n_all;
    return gpu_div_up(kv->n_window + n_seen, KD_CHUNK);
}

uint64_t gpu_attend_scratch(const ds4_op_attend *o, uint32_t n_chunks)
{
    return (uint64_t)GPU_FEW_TOKENS * o->n_heads * n_chunks * (2 + o->n_head) * 4;
}

attend_args gpu_attend_args(const ds4_dev *dev, const ds4_op_attend *o)
{
    return (attend_args){ .kv = gpu_kv_of(dev->kv, o->layer),
                          .n_heads = o->n_heads,
                          .n_head = o->n_head,
                          .top_k = o->top_k,
                          .q_stride = o->q.stride,
                          .out_stride = o->out.stride,
                          .angles_stride = o->angles.stride,
                          .scale = o->scale };
}

/* With few tokens the chunks of a token are computed side by side, with many one after the other: the
 * result is the same. */
ds4_status gpu_attend(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_attend *o = &op->attend;
    const gpu_step      *st = &dev->step;
    attend_args          a = gpu_attend_args(dev, o);
    const uint32_t       n_chunks = gpu_attend_chunks(dev->kv, o, 4 * st->max_rows);

    DS4_TRY(check_head(op, o->n_head, err));
    if (st->n_tokens <= GPU_FEW_TOKENS && gpu_attend_scratch(o, n_chunks) <= dev->scratch.n_bytes) {
        a.n_chunks = n_chunks;
    }
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_attend, a, gpu_div_up(a.n_heads, KD_ROWS), st->n_tokens,
                       a.n_chunks ? a.n_chunks : 1, KD_GROUP, err, 0, gpu_address(o->rows),
                       gpu_address(o->q.at), gpu_address(o->sink), gpu_address(o->angles.at),
                       gpu_address(o->chosen), st->pos, st->span_of, st->span, st->block,
                       gpu_address(o->out.at), dev->scratch.at));
    if (a.n_chunks == 0) return DS4_OK;
    return GPU_LAUNCH(dev, GPU_KERNEL_attend_join, a, gpu_div_up(a.n_heads, KD_ROWS), st->n_tokens,
                      1, KD_GROUP, err, gpu_address(o->sink), gpu_address(o->angles.at), st->pos,
                      dev->scratch.at, gpu_address(o->out.at));
}

/* ---- compressors ----------------------------------------------------------------------------------- */

ds4_status gpu_compress(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_compress *o = &op->compress;
    const ds4_kv_layer    *l = &dev->kv->layer[o->layer];
    const gpu_step        *st = &dev->step;
    const ds4_kv_ring     *ring = o->index ? &l->icomp : &l->comp;
    const compress_args    a = {
           .kv = gpu_kv_of(dev->kv, o->layer),
           .irow = index_form(dev->kv, &l->irow),
           .ring_off = ring->off,
           .n = o->n,
           .n_rot = o->n_rot,
           .width = ring->width,
           .n_slots = ring->n_rows,
           .index = o->index,
           .k_stride = o->k.stride,
           .s_stride = o->s.stride,
           .eps = o->eps,
    };
    const gpu_at k = gpu_address(o->k.at), s = gpu_address(o->s.at);

    DS4_TRY(check_head(op, o->n, err));
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_compress_bias, a, gpu_div_up(a.width, KD_GROUP),
                       st->n_tokens, 1, KD_GROUP, err, st->pos, gpu_address(o->ape), s));
    /* A span of n tokens completes at most so many rows, wherever it begins. */
    DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_compress_emit, a, gpu_div_up(st->max_span, l->ratio),
                       st->n_spans, 1, KD_GROUP, err, k, s, gpu_address(o->norm),
                       gpu_address(o->freq), 0, st->span, st->block));
    return GPU_LAUNCH(dev, GPU_KERNEL_compress_keep, a, at_most(st->max_span, a.n_slots),
                      st->n_spans, 1, KD_GROUP, err, k, s, 0, st->span);
}

/* ---- the indexer ----------------------------------------------------------------------------------- */

static ds4_status check_index(const ds4_op *op, uint32_t n_heads, uint32_t n, ds4_err *err)
{
    if (n_heads <= KD_MAX_INDEX_HEADS && n <= KD_MAX_INDEX && n % 32 == 0) return DS4_OK;
    return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: %u heads of %u values, at most %d of %d",
                    op->name, n_heads, n, KD_MAX_INDEX_HEADS, KD_MAX_INDEX);
}

ds4_status gpu_index_query(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_index_query *o = &op->index_query;
    const index_query_args    a = { .n_heads = o->n_heads,
                                    .n = o->n,
                                    .n_rot = o->n_rot,
                                    .exact = dev->kv->form == DS4_KV_FLOATS,
                                    .q_stride = o->q.stride,
                                    .angles_stride = o->angles.stride,
                                    .irow_bytes = (uint32_t)dev->kv->irow_bytes };

    DS4_TRY(check_index(op, o->n_heads, o->n, err));
    return GPU_LAUNCH(dev, GPU_KERNEL_index_query, a, gpu_div_up(a.n_heads, KD_ROWS),
                      dev->step.n_tokens, 1, KD_GROUP, err, gpu_address(o->angles.at),
                      gpu_address(o->q.at), gpu_address(o->packed));
}

select_args gpu_select_args(const ds4_dev *dev, const ds4_op_select *o)
{
    const ds4_kv_rows *rows = &dev->kv->layer[o->layer].irow;

    return (select_args){ .irow = index_form(dev->kv, rows),
                          .per_block = rows->n_rows,
                          .n_heads = o->n_heads,
                          .n = o->n,
                          .top_k = o->top_k,
                          .exact = dev->kv->form == DS4_KV_FLOATS,
                          .weight_stride = o->weight.stride,
                          .query_bytes = (uint32_t)dev->kv->irow_bytes,
                          .scale = o->scale,
                          .n_parts = gpu_div_up(dev->step.max_rows, KD_INDEX_PART) };
}

ds4_status gpu_select(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    const ds4_op_select *o = &op->select;
    const gpu_step      *st = &dev->step;
    select_args          a = gpu_select_args(dev, o);

    DS4_TRY(check_index(op, o->n_heads, o->n, err));
    if (o->top_k > KD_MAX_TOP_K) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s: %u rows are chosen, at most %d",
                        op->name, o->top_k, KD_MAX_TOP_K);
    }
    if (a.n_parts == 0) return DS4_OK;
    for (; a.first_token < st->n_tokens; a.first_token += GPU_INDEX_TOKENS) {
        const uint32_t n = at_most(st->n_tokens - a.first_token, GPU_INDEX_TOKENS);
        DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_index_part, a, a.n_parts, n, 1, KD_GROUP, err, 0,
                           gpu_address(o->query), gpu_address(o->weight.at), st->pos, st->span_of,
                           st->span, st->block, dev->scratch.at));
        DS4_TRY(GPU_LAUNCH(dev, GPU_KERNEL_index_join, a, n, 1, 1, KD_GROUP, err, dev->scratch.at,
                           st->pos, gpu_address(o->chosen)));
    }
    return DS4_OK;
}
