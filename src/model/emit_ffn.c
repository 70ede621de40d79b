/* emit_ffn.c - the expert half of a layer: normed input a to output y.
 * Read docs/MODEL.md section 3.10 beside it. */
#include "model/emit.h"

static void emit_route(ds4_emitter *e, uint32_t layer, const char *router, const char *route,
                       uint32_t n_used)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];

    ds4_op *op = ds4_emit(e, DS4_OP_PROJECT, router, (int32_t)layer);
    ds4_emit_product(op, &l->router, b->a, b->logits_r, true);

    op = ds4_emit(e, DS4_OP_ROUTE, route, (int32_t)layer);
    op->route = (ds4_op_route){
        .n_experts = s->n_experts, .n_used = n_used, .scale = s->expert_scale,
        .normalize = s->expert_normalize,
        .by_token = layer < s->n_hash, .bias = l->router_bias, .table = l->token_experts,
        .logits = b->logits_r, .expert = b->expert, .weight = b->weight,
    };
    op->out = b->weight;
    op->n_out = n_used;
}

/* Half as many again: of the experts that a token turned out to need, 7 in 100 were neither
 * in memory nor guessed without the additions and 2 with them (random weights in the shape
 * of V4 Flash, a cache of 11 %). */
uint32_t ds4_emit_guesses(const ds4_shape *s)
{
    const uint32_t n = s->n_used + (s->n_used + 1) / 2;
    return n < s->n_experts ? n : s->n_experts;
}

/* While attention is computed the disk can read the layer's experts. A token table knows
 * them; else the router is asked about the streams as they are before attention. Buffers
 * of the layer's two halves are free here. */
void ds4_emit_prefetch(ds4_emitter *e, uint32_t layer)
{
    const ds4_layer_weights *l = &e->w->layer[layer];
    const bool               by_token = layer < e->s->n_hash;
    const uint32_t           n = by_token ? e->s->n_used : ds4_emit_guesses(e->s);

    if (!e->cache) return;
    if (!by_token) {
        ds4_emit_enter(e, "guess.enter", (int32_t)layer, &l->hc_ffn, l->ffn_norm, e->b->h[0]);
        emit_route(e, layer, "guess.router", "guess.route", n);
    }
    ds4_op *op = ds4_emit(e, DS4_OP_PREFETCH, "guess.prefetch", (int32_t)layer);
    op->prefetch = (ds4_op_prefetch){
        .cache = e->cache, .layer = layer, .n_used = n,
        .by_token = by_token, .table = l->token_experts, .expert = e->b->expert,
    };
}

void ds4_emit_experts(ds4_emitter *e, uint32_t layer)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];

    emit_route(e, layer, "ffn.router", "ffn.route", s->n_used);
    ds4_op *op = ds4_emit(e, DS4_OP_EXPERTS, "ffn.experts", (int32_t)layer);
    op->experts = (ds4_op_experts){
        .cache = e->cache, .layer = layer,
        .n_used = s->n_used, .clamp = s->clamp[layer], .gate = l->gate, .up = l->up, .down = l->down,
        .shared_gate = l->shared_gate, .shared_up = l->shared_up, .shared_down = l->shared_down,
        .expert = b->expert, .weight = b->weight, .x = b->a, .y = b->y,
    };
    op->out = b->y;
    op->n_out = s->n_embd;
}
