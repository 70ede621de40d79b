/* step_buffers.c - the activations of a step in one allocation. See emit.h. */
#include "model/emit.h"
#include "model/plan.h"

/* Laid out twice by the same calls: once to measure, once over the real buffer. */
typedef struct layout {
    ds4_buf *buf;
    uint64_t n_bytes;
    uint64_t n_used;            /* of them, by the steps that are planned */
    uint32_t n_rows;
    bool     uses;              /* what follows */
} layout;

static ds4_view bytes(layout *l, uint64_t n_bytes)
{
    const ds4_view at = { l->buf, l->n_bytes };
    n_bytes = (n_bytes + 63) / 64 * 64;
    l->n_bytes += n_bytes;
    if (l->uses) l->n_used += n_bytes;
    return at;
}

static ds4_rows rows(layout *l, uint64_t n)
{
    const uint32_t stride = (uint32_t)((n + 15) / 16 * 16);
    return (ds4_rows){ bytes(l, (uint64_t)l->n_rows * stride * sizeof(float)), stride };
}

/* The kinds of work in the steps of a plan: they depend on layers, context and streaming. */
typedef struct uses {
    bool     compressors, index, choice, guesses;
    uint32_t n_logit_rows;
} uses;

static uses uses_of(const ds4_shape *s, const ds4_step_use *use)
{
    enum { FEW = 16 };              /* rows of logits that a single session may want of a step */
    uses u = { .choice = ds4_plan_uses_index(s, use->n_ctx), .guesses = use->stream,
               .n_logit_rows = use->n_sessions > FEW ? use->n_sessions : FEW };

    for (uint32_t i = 0; i < s->n_layers; i++) {
        u.compressors |= s->ratio[i] != 0;
        u.index |= s->ratio[i] == 4;
    }
    return u;
}

static void lay_out_index(ds4_step_buffers *b, layout *l, const ds4_shape *s, const ds4_kv_layout *kv)
{
    const uint32_t max_batch = l->n_rows;

    b->iq = rows(l, (uint64_t)s->index_heads * s->n_index);
    b->iw = rows(l, s->index_heads);
    b->packed_q = bytes(l, (uint64_t)max_batch * s->index_heads * kv->irow_bytes);
    b->chosen = bytes(l, (uint64_t)max_batch * s->top_k * sizeof(int32_t));
}

static void lay_out_guess(ds4_step_buffers *b, layout *l, const ds4_shape *s)
{
    const uint32_t n_guesses = ds4_emit_guesses(s);

    b->guess.mix = rows(l, s->n_hc * (2 + s->n_hc));
    b->guess.gate = rows(l, s->n_hc * (1 + s->n_hc));
    b->guess.a = rows(l, s->n_embd);
    b->guess.logits_r = rows(l, s->n_experts);
    b->guess.weight = rows(l, n_guesses);
    b->guess.expert = bytes(l, (uint64_t)l->n_rows * n_guesses * sizeof(int32_t));
}

/* A block has few rows, but single operations are checked as if they had as many as a step. */
static void lay_out_draft(ds4_step_buffers *b, layout *l, const ds4_shape *s)
{
    const ds4_draft_shape *d = &s->draft;

    if (d->n_stages == 0) return;
    b->draft.taps = rows(l, (uint64_t)d->n_taps * s->n_embd);
    b->draft.x = rows(l, s->n_embd);
    b->draft.normed = rows(l, s->n_embd);
    b->draft.m = rows(l, d->n_rank);
    const uint32_t n_rows = l->n_rows;
    l->n_rows = ds4_head_rows(n_rows);
    b->draft.guessed = bytes(l, l->n_rows * sizeof(ds4_guessed));
    l->uses = false;
    b->draft.bias = rows(l, s->n_vocab);
    l->n_used += sizeof(float) * s->n_vocab;
    l->n_rows = n_rows;
}

static void lay_out(ds4_step_buffers *b, layout *l, const ds4_shape *s, const ds4_kv_layout *kv, uses u)
{
    const uint64_t streams = (uint64_t)s->n_hc * s->n_embd, heads = (uint64_t)s->n_heads * s->n_head;
    const uint32_t max_batch = l->n_rows;

    *b = (ds4_step_buffers){ .buf = l->buf };
    l->uses = true;
    for (int i = 0; i < 2; i++) b->h[i] = rows(l, streams);
    for (int i = 0; i < 2; i++) b->angles[i] = rows(l, s->n_rot);
    b->mix = rows(l, s->n_hc * (2 + s->n_hc));
    b->gate = rows(l, s->n_hc * (1 + s->n_hc));
    b->a = rows(l, s->n_embd);
    b->y = rows(l, s->n_embd);
    b->qr = rows(l, s->q_rank);
    b->q = rows(l, heads);
    b->kv = rows(l, s->n_head);
    b->o = rows(l, heads);
    b->low = rows(l, (uint64_t)s->o_groups * s->o_rank);
    b->logits_r = rows(l, s->n_experts);
    b->weight = rows(l, s->n_used);
    b->rows = bytes(l, max_batch * kv->row_bytes);
    b->expert = bytes(l, (uint64_t)max_batch * s->n_used * sizeof(int32_t));
    l->uses = u.compressors;
    b->ck = rows(l, 2ull * s->n_head);
    b->cs = rows(l, 2ull * s->n_head);
    l->uses = u.index;
    b->ik = rows(l, 2ull * s->n_index);
    b->is = rows(l, 2ull * s->n_index);
    l->uses = u.choice;
    lay_out_index(b, l, s, kv);
    l->uses = u.guesses;
    lay_out_guess(b, l, s);
    l->uses = true;
    lay_out_draft(b, l, s);
    l->uses = true;
    l->n_rows = ds4_head_rows(max_batch);
    b->x = rows(l, s->n_embd);
    b->picked = bytes(l, l->n_rows * sizeof(ds4_picked));
    l->uses = false;
    b->logits = rows(l, s->n_vocab);
    l->n_used += (u.n_logit_rows < l->n_rows ? u.n_logit_rows : l->n_rows) * sizeof(float) * s->n_vocab;
}

static layout measure(const ds4_shape *s, const ds4_kv_layout *kv, uint32_t max_batch, uses u)
{
    layout           l = { .n_rows = max_batch };
    ds4_step_buffers b;

    lay_out(&b, &l, s, kv, u);
    return l;
}

uint64_t ds4_step_buffers_bytes(const ds4_shape *s, const ds4_kv_layout *kv, uint32_t max_batch,
                                const ds4_step_use *use)
{
    return measure(s, kv, max_batch, uses_of(s, use)).n_used;
}

void ds4_step_buffers_describe(ds4_step_buffers *out, const ds4_shape *s, const ds4_kv_layout *kv,
                               uint32_t max_batch)
{
    layout l = { .n_rows = max_batch };
    lay_out(out, &l, s, kv, (uses){ 0 });
}

ds4_status ds4_step_buffers_open(ds4_step_buffers *out, const ds4_shape *s, const ds4_kv_layout *kv,
                                 uint32_t max_batch, const ds4_backend *backend, ds4_dev *dev, ds4_err *err)
{
    layout   place = { .n_rows = max_batch };
    ds4_buf *buf;

    const uint64_t n_bytes = measure(s, kv, max_batch, (uses){ 0 }).n_bytes;
    DS4_TRY(ds4_backend_take(backend, dev, DS4_MEM_DEVICE, n_bytes, &buf, err));
    place.buf = buf;
    lay_out(out, &place, s, kv, (uses){ 0 });
    return DS4_OK;
}
