/* emit_ffn.c - the expert half of a layer: normed input a to output y.
 * Read docs/MODEL.md section 3.10 beside it. */
#include "model/emit.h"

static void emit_route(ds4_emitter *e, uint32_t layer, const char *router, const char *route,
                       uint32_t n_used)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];

    ds4_emit(e, DS4_OP_PROJECT, router, (int32_t)layer);
    ds4_emit_product(e, &l->router, b->a, b->logits_r, true);

    ds4_op *op = ds4_emit(e, DS4_OP_ROUTE, route, (int32_t)layer);
    op->route = (ds4_op_route){
        .n_experts = s->experts[layer], .n_used = n_used, .scale = s->expert_scale,
        .normalize = s->expert_normalize,
        .by_token = layer < s->n_hash, .bias = l->router_bias, .table = l->token_experts,
        .logits = b->logits_r, .expert = b->expert, .weight = b->weight,
    };
    op->out = b->weight;
    op->n_out = n_used;
}

/* A guess names half as many experts again as a token uses. Without the additional ones, 7 % of
 * the experts that tokens turned out to need were neither in memory nor guessed; with them, 2 %
 * (random weights in the shape of V4 Flash, a cache of 11 %). */
uint32_t ds4_emit_guesses(const ds4_shape *s)
{
    const uint32_t n = s->n_used + (s->n_used + 1) / 2;
    return n < s->least_experts ? n : s->least_experts;
}

/* Ask a layer's router about streams that are not yet what it will see. The answer lies in
 * buffers of its own, so that this may stand anywhere. */
static void emit_guess(ds4_emitter *e, uint32_t layer, ds4_rows h)
{
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];
    ds4_step_buffers         aside = *b;

    aside.mix = b->guess.mix;
    aside.gate = b->guess.gate;
    aside.a = b->guess.a;
    aside.logits_r = b->guess.logits_r;
    aside.weight = b->guess.weight;
    aside.expert = b->guess.expert;
    e->b = &aside;
    ds4_emit_enter(e, "guess.enter", (int32_t)layer, &l->hc_ffn, l->ffn_norm, h);
    emit_route(e, layer, "guess.router", "guess.route", ds4_emit_guesses(e->s));
    e->b = b;
}

/* While attention is computed the disk can read the layer's experts. A token table knows
 * them; else they are guessed from the streams before attention. */
void ds4_emit_prefetch(ds4_emitter *e, uint32_t layer)
{
    const bool     by_token = layer < e->s->n_hash;
    const uint32_t n = by_token ? e->s->n_used : ds4_emit_guesses(e->s);

    if (!e->cache) return;
    if (!by_token) emit_guess(e, layer, e->b->h[0]);
    ds4_op *op = ds4_emit(e, DS4_OP_PREFETCH, "guess.prefetch", (int32_t)layer);
    op->prefetch = (ds4_op_prefetch){
        .cache = e->cache, .layer = layer, .n_used = n,
        .by_token = by_token, .table = e->w->layer[layer].token_experts, .expert = e->b->guess.expert,
    };
}

void ds4_emit_experts(ds4_emitter *e, uint32_t layer)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];

    /* A first guess about the next layer gives the disk something to do when it is done with
     * this one: with it the disk was busy for 91 % of the time instead of 75 % and decoding
     * 10 % faster where it waits for the disk, 3 % slower where nearly all is in memory. */
    const bool guess = e->cache && layer + 1 < s->n_layers && layer + 1 >= s->n_hash;

    emit_route(e, layer, "ffn.router", "ffn.route", s->n_used);
    if (guess) emit_guess(e, layer + 1, b->h[1]);
    ds4_op *op = ds4_emit(e, DS4_OP_EXPERTS, "ffn.experts", (int32_t)layer);
    op->experts = (ds4_op_experts){
        .cache = e->cache, .layer = layer,
        .n_used = s->n_used, .clamp = s->clamp[layer], .gate = l->gate, .up = l->up, .down = l->down,
        .shared_gate = l->shared_gate, .shared_up = l->shared_up, .shared_down = l->shared_down,
        .expert = b->expert, .weight = b->weight, .x = b->a, .y = b->y,
        .n_guess = guess ? ds4_emit_guesses(s) : 0, .guess = b->guess.expert,
    };
    op->out = b->y;
    op->n_out = s->n_embd;
}
