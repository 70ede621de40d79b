/* emit_parts.c - what all parts of the list are made of: an operation, a product, the beginning, the way
 * into a sublayer and out of it. */
#include "model/emit.h"

#include <assert.h>

ds4_op *ds4_emit(ds4_emitter *e, ds4_op_kind kind, const char *name, int32_t layer)
{
    assert(e->n < e->capacity);
    ds4_op *op = &e->op[e->n++];
    *op = (ds4_op){ .kind = kind, .name = name, .layer = layer };
    return op;
}

void ds4_emit_product(ds4_emitter *e, const ds4_matrix *w, ds4_rows x, ds4_rows y, bool precise)
{
    ds4_op_project *op = &e->op[e->n - 1].project;

    assert(op->n < DS4_MAX_PROJECT && e->n_parts < e->max_parts);
    if (op->n == 0) op->part = &e->part[e->n_parts];
    const bool is_many = w->n_mats > 1;
    e->part[e->n_parts++] = (ds4_product){ .w = *w, .x = x, .y = y, .x_step = is_many ? w->n_in : 0,
                                           .y_step = is_many ? w->n_out : 0, .precise = precise };
    op->n++;
}

void ds4_emit_enter(ds4_emitter *e, const char *name, int32_t layer, const ds4_hc_weights *hc, ds4_view norm,
                    ds4_rows h)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_emit(e, DS4_OP_PROJECT, "hc.mix", layer);
    ds4_emit_product(e, &hc->fn, h, b->mix, true);
    ds4_op *op = ds4_emit(e, DS4_OP_HC_ENTER, name, layer);
    op->hc_enter = (ds4_op_hc_enter){
        .n_hc = s->n_hc, .n_embd = s->n_embd, .n_iters = s->hc_iters,
        .norm_eps = s->norm_eps, .hc_eps = s->hc_eps, .scale = hc->scale, .base = hc->base, .norm = norm,
        .h = h, .m = b->mix, .a = b->a, .gate = b->gate,
    };
    op->out = b->a;
    op->n_out = s->n_embd;
}

void ds4_emit_leave(ds4_emitter *e, const char *name, int32_t layer, ds4_rows h, ds4_rows h_new)
{
    const ds4_shape *s = e->s;
    ds4_op          *op = ds4_emit(e, DS4_OP_HC_LEAVE, name, layer);

    op->hc_leave = (ds4_op_hc_leave){ .n_hc = s->n_hc, .n_embd = s->n_embd, .h = h, .y = e->b->y,
                                      .gate = e->b->gate, .h_new = h_new };
    op->out = h_new;
    op->n_out = s->n_hc * s->n_embd;
}

void ds4_emit_start(ds4_emitter *e)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;
    const ds4_view          freq[2] = { e->w->freq_plain, e->w->freq_compressed };

    for (int i = 0; i < 2; i++) {
        ds4_op *op = ds4_emit(e, DS4_OP_ANGLES, i ? "angles.compressed" : "angles.plain", -1);
        op->angles = (ds4_op_angles){ .freq = freq[i], .n_rot = s->n_rot, .out = b->angles[i] };
    }
    ds4_op *op = ds4_emit(e, DS4_OP_EMBED, "embed", -1);
    op->embed = (ds4_op_embed){ .table = e->w->embed, .n_hc = s->n_hc, .h = b->h[0] };
    op->out = b->h[0];
    op->n_out = s->n_hc * s->n_embd;
}

void ds4_emit_steer(ds4_emitter *e, uint32_t layer, bool experts)
{
    const ds4_steer_places *p = e->steer;
    const uint32_t          n = e->s->n_embd;

    if (!p || !p->buf) return;
    ds4_op *op = ds4_emit(e, DS4_OP_STEER, experts ? "ffn.steer" : "attn.steer", (int32_t)layer);
    op->steer = (ds4_op_steer){ .n = n, .v = { p->buf, p->v + layer * p->stride },
                                .factor = { p->buf, p->factor[experts] }, .y = e->b->y };
    op->out = e->b->y;
    op->n_out = n;
}
