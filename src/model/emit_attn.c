/* emit_attn.c - the attention half of a layer: normed input a to output y.
 * Read docs/MODEL.md sections 3.6, 3.7 and 3.9 beside it. */
#include "model/emit.h"

#include <math.h>

/* Everything that is projected from a: queries, the KV row, and what the compressors and
 * the indexer need. */
static void emit_input(ds4_emitter *e, const ds4_layer_weights *l, uint32_t layer)
{
    const ds4_step_buffers *b = e->b;
    const uint32_t          ratio = e->s->ratio[layer];

    ds4_emit(e, DS4_OP_PROJECT, "attn.input", (int32_t)layer);
    ds4_emit_product(e, &l->q_a, b->a, b->qr, false);
    ds4_emit_product(e, &l->kv, b->a, b->kv, false);
    if (ratio == 0) return;
    ds4_emit_product(e, &l->comp.kv, b->a, b->ck, true);
    ds4_emit_product(e, &l->comp.gate, b->a, b->cs, true);
    if (ratio != 4) return;
    ds4_emit_product(e, &l->icomp.kv, b->a, b->ik, true);
    ds4_emit_product(e, &l->icomp.gate, b->a, b->is, true);
    if (e->with_index) ds4_emit_product(e, &l->index_w, b->a, b->iw, true);
}

static void emit_queries(ds4_emitter *e, const ds4_layer_weights *l, uint32_t layer)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;
    const ds4_rows          angles = b->angles[s->ratio[layer] != 0];

    ds4_op *op = ds4_emit(e, DS4_OP_NORM, "attn.q_a_norm", (int32_t)layer);
    op->norm = (ds4_op_norm){ .n = s->q_rank, .eps = s->norm_eps, .w = l->q_a_norm, .x = b->qr, .y = b->qr };
    op->out = b->qr;
    op->n_out = s->q_rank;

    ds4_emit(e, DS4_OP_PROJECT, "attn.q_b", (int32_t)layer);
    ds4_emit_product(e, &l->q_b, b->qr, b->q, false);
    if (s->ratio[layer] == 4 && e->with_index) ds4_emit_product(e, &l->index_q, b->qr, b->iq, false);

    op = ds4_emit(e, DS4_OP_HEADS, "attn.q", (int32_t)layer);
    op->heads = (ds4_op_heads){ .n_heads = s->n_heads, .n_head = s->n_head, .n_rot = s->n_rot,
                                .eps = s->norm_eps, .angles = angles, .q = b->q };
    op->out = b->q;
    op->n_out = s->n_heads * s->n_head;

    op = ds4_emit(e, DS4_OP_KV_ROW, "attn.kv", (int32_t)layer);
    op->kv_row = (ds4_op_kv_row){
        .eps = s->norm_eps, .w = l->kv_norm, .angles = angles, .x = b->kv, .rows = b->rows
    };
    op->out = b->kv;
    op->n_out = s->n_head;
}

/* A row that becomes complete at a token is visible to that token: compress, then attend. */
static void emit_compressor(ds4_emitter *e, const ds4_compressor_weights *c, uint32_t layer, bool index)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;
    ds4_op                 *op =
        ds4_emit(e, DS4_OP_COMPRESS, index ? "index.compress" : "attn.compress", (int32_t)layer);

    op->compress = (ds4_op_compress){
        .layer = layer, .index = index, .n = index ? s->n_index : s->n_head, .n_rot = s->n_rot,
        .eps = s->norm_eps, .ape = c->ape, .norm = c->norm, .freq = e->w->freq_compressed,
        .k = index ? b->ik : b->ck, .s = index ? b->is : b->cs,
    };
}

static void emit_selection(ds4_emitter *e, uint32_t layer)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_op *op = ds4_emit(e, DS4_OP_INDEX_QUERY, "index.q", (int32_t)layer);
    op->index_query = (ds4_op_index_query){ .n_heads = s->index_heads, .n = s->n_index, .n_rot = s->n_rot,
                                            .angles = b->angles[1], .q = b->iq, .packed = b->packed_q };
    op = ds4_emit(e, DS4_OP_SELECT, "index.select", (int32_t)layer);
    op->select = (ds4_op_select){
        .layer = layer, .n_heads = s->index_heads, .n = s->n_index, .top_k = s->top_k,
        .scale = 1.0f / sqrtf((float)s->n_index * (float)s->index_heads),
        .weight = b->iw, .query = b->packed_q, .chosen = b->chosen,
    };
}

static void emit_attend(ds4_emitter *e, const ds4_layer_weights *l, uint32_t layer)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_op *op = ds4_emit(e, e->is_block ? DS4_OP_ATTEND_BLOCK : DS4_OP_ATTEND, "attn.attend",
                          (int32_t)layer);
    op->attend = (ds4_op_attend){
        .layer = layer, .n_heads = s->n_heads, .n_head = s->n_head, .n_rot = s->n_rot, .top_k = s->top_k,
        .scale = 1.0f / sqrtf((float)s->n_head), .sink = l->sink, .rows = b->rows, .chosen = b->chosen,
        .angles = b->angles[s->ratio[layer] != 0], .q = b->q, .out = b->o,
    };
    op->out = b->o;
    op->n_out = s->n_heads * s->n_head;
    if (e->is_block) return;
    op = ds4_emit(e, DS4_OP_WINDOW, "attn.window", (int32_t)layer);
    op->window = (ds4_op_window){ .layer = layer, .rows = b->rows };
}

/* Group g of the first product reads its own heads only. */
static void emit_output(ds4_emitter *e, const ds4_layer_weights *l, uint32_t layer)
{
    const ds4_shape        *s = e->s;
    const ds4_step_buffers *b = e->b;

    ds4_op *op = ds4_emit(e, DS4_OP_PROJECT, "attn.o_a", (int32_t)layer);
    ds4_emit_product(e, &l->o_a, b->o, b->low, false);
    op->out = b->low;
    op->n_out = s->o_groups * s->o_rank;

    op = ds4_emit(e, DS4_OP_PROJECT, "attn.o_b", (int32_t)layer);
    ds4_emit_product(e, &l->o_b, b->low, b->y, false);
    op->out = b->y;
    op->n_out = s->n_embd;
}

void ds4_emit_attention(ds4_emitter *e, uint32_t layer)
{
    const ds4_layer_weights *l = &e->w->layer[layer];
    const uint32_t           ratio = e->s->ratio[layer];

    emit_input(e, l, layer);
    emit_queries(e, l, layer);
    if (ratio != 0) emit_compressor(e, &l->comp, layer, false);
    if (ratio == 4) emit_compressor(e, &l->icomp, layer, true);
    if (ratio == 4 && e->with_index) emit_selection(e, layer);
    emit_attend(e, l, layer);
    emit_output(e, l, layer);
}
