/* emit_draft.c - a DSpark drafter: rows of context from the model's own streams, a block of guesses, the next
 * guess of a chain. Read docs/SPECULATION.md, DSpark, beside it. */
#include "model/emit.h"

static ds4_rows part_of(ds4_rows rows, uint64_t first)
{
    rows.at.off += first * sizeof(float);
    return rows;
}

void ds4_emit_tap(ds4_emitter *e, uint32_t layer)
{
    const ds4_shape *s = e->s;

    for (uint32_t i = 0; i < s->draft.n_taps; i++) {
        if (s->draft.tap[i] != layer) continue;
        ds4_op *op = ds4_emit(e, DS4_OP_HC_SUM, "draft.tap", (int32_t)layer);
        op->hc_sum = (ds4_op_hc_sum){ .n_hc = s->n_hc, .n_embd = s->n_embd, .h = e->b->h[0],
                                      .x = part_of(e->b->draft.taps, (uint64_t)i * s->n_embd) };
        op->out = op->hc_sum.x;
        op->n_out = s->n_embd;
    }
}

/* Context rows of tokens that are taken back stay in the rings, where nobody reads them before they are
 * written again. */
void ds4_emit_context(ds4_emitter *e)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_draft_weights *w = &e->w->draft;

    if (s->draft.n_stages == 0) return;
    ds4_emit(e, DS4_OP_PROJECT, "draft.main", -1);
    ds4_emit_product(e, &w->main_proj, b->draft.taps, b->a, false);
    ds4_op *op = ds4_emit(e, DS4_OP_NORM, "draft.main_norm", -1);
    op->norm = (ds4_op_norm){ .n = s->n_embd, .eps = s->norm_eps, .w = w->main_norm, .x = b->a, .y = b->a };
    op->out = b->a;
    op->n_out = s->n_embd;
    for (uint32_t i = s->n_layers; i < s->n_layers + s->draft.n_stages; i++) {
        const ds4_layer_weights *l = &e->w->layer[i];
        ds4_emit(e, DS4_OP_PROJECT, "draft.context", (int32_t)i);
        ds4_emit_product(e, &l->kv, b->a, b->kv, false);
        op = ds4_emit(e, DS4_OP_KV_ROW, "draft.kv", (int32_t)i);
        op->kv_row = (ds4_op_kv_row){ .eps = s->norm_eps, .w = l->kv_norm, .angles = b->angles[0], .x = b->kv,
                                      .rows = b->rows };
        op->out = b->kv;
        op->n_out = s->n_head;
        op = ds4_emit(e, DS4_OP_WINDOW, "draft.window", (int32_t)i);
        op->window = (ds4_op_window){ .layer = i, .rows = b->rows };
    }
}

static void emit_block_head(ds4_emitter *e)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_draft_weights *w = &e->w->draft;

    ds4_emit(e, DS4_OP_PROJECT, "draft.mix", -1);
    ds4_emit_product(e, &w->hc_out.fn, b->h[0], b->mix, true);
    ds4_op *op = ds4_emit(e, DS4_OP_HC_SUM, "draft.merge", -1);
    op->hc_sum = (ds4_op_hc_sum){ .n_hc = s->n_hc, .n_embd = s->n_embd, .norm_eps = s->norm_eps,
                                  .hc_eps = s->hc_eps, .scale = w->hc_out.scale, .base = w->hc_out.base,
                                  .h = b->h[0], .m = b->mix, .x = b->draft.x };
    op->out = b->draft.x;
    op->n_out = s->n_embd;
    op = ds4_emit(e, DS4_OP_NORM, "draft.norm", -1);
    op->norm = (ds4_op_norm){ .n = s->n_embd, .eps = s->norm_eps, .w = w->norm, .x = b->draft.x,
                              .y = b->draft.normed };
    ds4_emit(e, DS4_OP_PROJECT, "draft.logits", -1)->project.is_head = true;
    ds4_emit_product(e, &e->w->head, b->draft.normed, b->logits, false);
}

void ds4_emit_block(ds4_emitter *e)
{
    const ds4_step_buffers *b = e->b;

    e->is_block = true;
    ds4_emit_start(e);
    for (uint32_t i = e->s->n_layers; i < e->s->n_layers + e->s->draft.n_stages; i++) {
        const ds4_layer_weights *l = &e->w->layer[i];
        const int32_t            layer = (int32_t)i;

        ds4_emit_enter(e, "attn.enter", layer, &l->hc_attn, l->attn_norm, b->h[0]);
        ds4_emit_attention(e, i);
        ds4_emit_leave(e, "attn.leave", layer, b->h[0], b->h[1]);
        ds4_emit_enter(e, "ffn.enter", layer, &l->hc_ffn, l->ffn_norm, b->h[1]);
        ds4_emit_experts(e, i);
        ds4_emit_leave(e, "ffn.leave", layer, b->h[1], b->h[0]);
    }
    emit_block_head(e);
}

void ds4_emit_guess(ds4_emitter *e)
{
    const ds4_shape         *s = e->s;
    const ds4_step_buffers  *b = e->b;
    const ds4_draft_weights *w = &e->w->draft;

    ds4_op *op = ds4_emit(e, DS4_OP_EMBED, "draft.before", -1);
    op->embed = (ds4_op_embed){ .table = w->markov_w1, .n_hc = 1, .h = b->draft.m };
    ds4_emit(e, DS4_OP_PROJECT, "draft.bias", -1)->project.is_head = true;
    ds4_emit_product(e, &w->markov_w2, b->draft.m, b->draft.bias, false);
    op = ds4_emit(e, DS4_OP_GUESS, "draft.guess", -1);
    op->guess = (ds4_op_guess){ .n_vocab = s->n_vocab, .n_embd = s->n_embd, .n_rank = s->draft.n_rank,
                                .confidence = w->confidence, .shift = w->confidence_shift, .logits =
                                    b->logits,
                                .x = b->draft.x, .bias = b->draft.bias, .m = b->draft.m,
                                .guessed = b->draft.guessed };
}
