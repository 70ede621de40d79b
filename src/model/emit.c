/* emit.c - the order of a step: embed, layers, head. See emit.h. */
#include "model/emit.h"

uint32_t ds4_emit_capacity(const ds4_shape *s)
{
    enum { EMBED_AND_HEAD = 8, LAYER = 30, GUESS = 10, DRAFT = 4 + DS4_MAX_TAPS };
    return EMBED_AND_HEAD + DRAFT + (LAYER + GUESS) * (s->n_layers + s->draft.n_stages);
}

uint32_t ds4_emit_max_products(const ds4_shape *s)
{
    enum { HEAD = 2, LAYER = 14, GUESS = 4, DRAFT = 4 };
    return HEAD + DRAFT + (LAYER + GUESS) * (s->n_layers + s->draft.n_stages);
}

static void emit_head(ds4_emitter *e)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_emit(e, DS4_OP_PROJECT, "head.mix", -1);
    ds4_emit_product(e, &e->w->hc_out.fn, b->h[0], b->mix, true);
    ds4_op *op = ds4_emit(e, DS4_OP_HC_MERGE, "head.merge", -1);
    op->hc_merge = (ds4_op_hc_merge){
        .n_hc = s->n_hc, .n_embd = s->n_embd, .norm_eps = s->norm_eps, .hc_eps = s->hc_eps,
        .scale = e->w->hc_out.scale, .base = e->w->hc_out.base, .norm = e->w->out_norm,
        .h = b->h[0], .m = b->mix, .x = b->x,
    };
    ds4_emit(e, DS4_OP_PROJECT, "head.logits", -1)->project.is_head = true;
    ds4_emit_product(e, &e->w->head, b->x, b->logits, false);
}

void ds4_emit_sample(ds4_emitter *e)
{
    ds4_op *op = ds4_emit(e, DS4_OP_SAMPLE, "head.sample", -1);
    op->sample = (ds4_op_sample){ .n_vocab = e->s->n_vocab, .logits = e->b->logits, .picked = e->b->picked };
}

void ds4_emit_step(ds4_emitter *e)
{
    const ds4_step_buffers *b = e->b;

    ds4_emit_start(e);
    for (uint32_t i = 0; i < e->s->n_hash; i++) ds4_emit_prefetch(e, i);
    for (uint32_t i = 0; i < e->s->n_layers; i++) {
        const ds4_layer_weights *l = &e->w->layer[i];
        const int32_t            layer = (int32_t)i;

        if (i > 0) ds4_emit_prefetch(e, i);
        ds4_emit_enter(e, "attn.enter", layer, &l->hc_attn, l->attn_norm, b->h[0]);
        ds4_emit_attention(e, i);
        ds4_emit_steer(e, i, false);
        ds4_emit_leave(e, "attn.leave", layer, b->h[0], b->h[1]);
        ds4_emit_enter(e, "ffn.enter", layer, &l->hc_ffn, l->ffn_norm, b->h[1]);
        ds4_emit_experts(e, i);
        ds4_emit_steer(e, i, true);
        ds4_emit_leave(e, "ffn.leave", layer, b->h[1], b->h[0]);
        ds4_emit_tap(e, i);
    }
    ds4_emit_context(e);
    emit_head(e);
}
