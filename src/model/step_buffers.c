/* step_buffers.c - the activations of a step in one allocation. See emit.h. */
#include "model/emit.h"

/* Laid out twice by the same calls: once to measure, once over the real buffer. */
typedef struct layout {
    ds4_buf *buf;
    uint64_t n_bytes;
    uint32_t n_rows;
} layout;

static ds4_view bytes(layout *l, uint64_t n_bytes)
{
    const ds4_view at = { l->buf, l->n_bytes };
    l->n_bytes += (n_bytes + 63) / 64 * 64;
    return at;
}

static ds4_rows rows(layout *l, uint64_t n)
{
    const uint32_t stride = (uint32_t)((n + 15) / 16 * 16);
    return (ds4_rows){ bytes(l, (uint64_t)l->n_rows * stride * sizeof(float)), stride };
}

static void lay_out(ds4_step_buffers *b, layout *l, const ds4_shape *s, const ds4_kv_layout *kv)
{
    const uint64_t streams = (uint64_t)s->n_hc * s->n_embd, heads = (uint64_t)s->n_heads * s->n_head;
    const uint32_t max_batch = l->n_rows;

    *b = (ds4_step_buffers){ .buf = l->buf };
    for (int i = 0; i < 2; i++) b->h[i] = rows(l, streams);
    for (int i = 0; i < 2; i++) b->angles[i] = rows(l, s->n_rot);
    b->mix = rows(l, s->n_hc * (2 + s->n_hc));
    b->gate = rows(l, s->n_hc * (1 + s->n_hc));
    b->a = rows(l, s->n_embd);
    b->y = rows(l, s->n_embd);
    b->qr = rows(l, s->q_rank);
    b->q = rows(l, heads);
    b->kv = rows(l, s->n_head);
    b->ck = rows(l, 2ull * s->n_head);
    b->cs = rows(l, 2ull * s->n_head);
    b->ik = rows(l, 2ull * s->n_index);
    b->is = rows(l, 2ull * s->n_index);
    b->iq = rows(l, (uint64_t)s->index_heads * s->n_index);
    b->iw = rows(l, s->index_heads);
    b->o = rows(l, heads);
    b->low = rows(l, (uint64_t)s->o_groups * s->o_rank);
    b->logits_r = rows(l, s->n_experts);
    b->weight = rows(l, s->n_used);
    b->rows = bytes(l, max_batch * kv->row_bytes);
    b->packed_q = bytes(l, (uint64_t)max_batch * s->index_heads * kv->irow_bytes);
    b->chosen = bytes(l, (uint64_t)max_batch * s->top_k * sizeof(int32_t));
    b->expert = bytes(l, (uint64_t)max_batch * s->n_used * sizeof(int32_t));
    b->guess.mix = rows(l, s->n_hc * (2 + s->n_hc));
    b->guess.gate = rows(l, s->n_hc * (1 + s->n_hc));
    b->guess.a = rows(l, s->n_embd);
    b->guess.logits_r = rows(l, s->n_experts);
    b->guess.weight = rows(l, ds4_emit_guesses(s));
    b->guess.expert = bytes(l, (uint64_t)max_batch * ds4_emit_guesses(s) * sizeof(int32_t));
    l->n_rows = DS4_HEAD_ROWS;
    b->x = rows(l, s->n_embd);
    b->logits = rows(l, s->n_vocab);
}

uint64_t ds4_step_buffers_bytes(const ds4_shape *s, const ds4_kv_layout *kv, uint32_t max_batch)
{
    layout           measure = { .n_rows = max_batch };
    ds4_step_buffers b;

    lay_out(&b, &measure, s, kv);
    return measure.n_bytes;
}

ds4_status ds4_step_buffers_open(ds4_step_buffers *out, const ds4_shape *s, const ds4_kv_layout *kv,
                                 uint32_t max_batch, const ds4_backend *backend, ds4_dev *dev, ds4_err *err)
{
    layout   place = { .n_rows = max_batch };
    ds4_buf *buf;

    DS4_TRY(backend->alloc(dev, ds4_step_buffers_bytes(s, kv, max_batch), &buf, err));
    place.buf = buf;
    lay_out(out, &place, s, kv);
    return DS4_OK;
}
