/* emit_ffn.c - the expert half of a layer: normed input a to output y.
 * Read docs/MODEL.md section 3.10 beside it. */
#include "model/emit.h"

void ds4_emit_experts(ds4_emitter *e, uint32_t layer)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_layer_weights *l = &e->w->layer[layer];

    ds4_op *op = ds4_emit(e, DS4_OP_PROJECT, "ffn.router", (int32_t)layer);
    ds4_emit_product(op, &l->router, b->a, b->logits_r, true);

    op = ds4_emit(e, DS4_OP_ROUTE, "ffn.route", (int32_t)layer);
    op->route = (ds4_op_route){
        .n_experts = s->n_experts,
        .n_used = s->n_used,
        .scale = s->expert_scale,
        .normalize = s->expert_normalize,
        .by_token = layer < s->n_hash,
        .bias = l->router_bias,
        .table = l->token_experts,
        .logits = b->logits_r,
        .expert = b->expert,
        .weight = b->weight,
    };
    op->out = b->weight;
    op->n_out = s->n_used;

    op = ds4_emit(e, DS4_OP_EXPERTS, "ffn.experts", (int32_t)layer);
    op->experts = (ds4_op_experts){
        .n_used = s->n_used, .clamp = s->clamp[layer], .gate = l->gate, .up = l->up, .down = l->down,
        .shared_gate = l->shared_gate, .shared_up = l->shared_up, .shared_down = l->shared_down,
        .expert = b->expert, .weight = b->weight, .x = b->a, .y = b->y,
    };
    op->out = b->y;
    op->n_out = s->n_embd;
}
