/* emit.c - the order of a step: embed, layers, head. See emit.h. */
#include "model/emit.h"

#include <assert.h>

ds4_op *ds4_emit(ds4_emitter *e, ds4_op_kind kind, const char *name, int32_t layer)
{
    assert(e->n < e->capacity);
    ds4_op *op = &e->op[e->n++];
    *op = (ds4_op){ .kind = kind, .name = name, .layer = layer };
    return op;
}

void ds4_emit_product(ds4_op *op, const ds4_matrix *w, ds4_rows x, ds4_rows y, bool precise)
{
    assert(op->project.n < DS4_MAX_PROJECT);
    op->project.part[op->project.n++] = (ds4_product){ .w = *w, .x = x, .y = y, .precise = precise };
}

uint32_t ds4_emit_capacity(const ds4_shape *s)
{
    enum { EMBED_AND_HEAD = 8, LAYER = 28, GUESS = 10 };
    return EMBED_AND_HEAD + (LAYER + GUESS) * s->n_layers;
}

void ds4_emit_enter(ds4_emitter *e, const char *name, int32_t layer, const ds4_hc_weights *hc, ds4_view norm,
                    ds4_rows h)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_emit_product(ds4_emit(e, DS4_OP_PROJECT, "hc.mix", layer), &hc->fn, h, b->mix, true);
    ds4_op *op = ds4_emit(e, DS4_OP_HC_ENTER, name, layer);
    op->hc_enter = (ds4_op_hc_enter){
        .n_hc = s->n_hc,
        .n_embd = s->n_embd,
        .n_iters = s->hc_iters,
        .norm_eps = s->norm_eps,
        .hc_eps = s->hc_eps,
        .scale = hc->scale,
        .base = hc->base,
        .norm = norm,
        .h = h,
        .m = b->mix,
        .a = b->a,
        .gate = b->gate,
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

static void emit_start(ds4_emitter *e)
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

void ds4_emit_layers(ds4_emitter *e)
{
    const ds4_step_buffers *b = e->b;

    emit_start(e);
    for (uint32_t i = 0; i < e->s->n_hash; i++) ds4_emit_prefetch(e, i);
    for (uint32_t i = 0; i < e->s->n_layers; i++) {
        const ds4_layer_weights *l = &e->w->layer[i];
        const int32_t            layer = (int32_t)i;

        if (i > 0) ds4_emit_prefetch(e, i);
        ds4_emit_enter(e, "attn.enter", layer, &l->hc_attn, l->attn_norm, b->h[0]);
        ds4_emit_attention(e, i);
        ds4_emit_leave(e, "attn.leave", layer, b->h[0], b->h[1]);
        ds4_emit_enter(e, "ffn.enter", layer, &l->hc_ffn, l->ffn_norm, b->h[1]);
        ds4_emit_experts(e, i);
        ds4_emit_leave(e, "ffn.leave", layer, b->h[1], b->h[0]);
    }
    ds4_emit_product(ds4_emit(e, DS4_OP_PROJECT, "head.mix", -1), &e->w->hc_out.fn, b->h[0], b->mix, true);
}

void ds4_emit_head(ds4_emitter *e)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;
    ds4_op                 *op = ds4_emit(e, DS4_OP_HC_MERGE, "head.merge", -1);

    op->hc_merge = (ds4_op_hc_merge){
        .n_hc = s->n_hc, .n_embd = s->n_embd, .norm_eps = s->norm_eps, .hc_eps = s->hc_eps,
        .scale = e->w->hc_out.scale, .base = e->w->hc_out.base, .norm = e->w->out_norm,
        .h = b->h[0], .m = b->mix, .x = b->x,
    };
    ds4_emit_product(ds4_emit(e, DS4_OP_PROJECT, "head.logits", -1), &e->w->head, b->x, b->logits, false);
}
