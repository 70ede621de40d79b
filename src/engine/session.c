/* session.c - one conversation's state: a tail, blocks of compressed rows, its tokens. */
#include "engine/engine_local.h"

#include <stdlib.h>

static ds4_status open_session(ds4_session *s, ds4_err *err)
{
    const ds4_model *m = &s->engine->model;
    const uint32_t   n_blocks = ds4_kv_blocks(s->n_ctx);

    s->tokens = malloc(s->n_ctx * sizeof *s->tokens);
    s->blocks = malloc(n_blocks * sizeof *s->blocks);
    if (!s->tokens || !s->blocks) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a session of %u tokens", s->n_ctx);
    }
    DS4_TRY(m->backend->alloc(m->dev, m->kv.tail_bytes, &s->tail, err));
    DS4_TRY(m->backend->alloc(m->dev, n_blocks * m->kv.block_bytes, &s->pool, err));
    for (uint32_t i = 0; i < n_blocks; i++) s->blocks[i] = (ds4_view){ s->pool, i * m->kv.block_bytes };
    return DS4_OK;
}

ds4_status ds4_session_create(ds4_engine *e, uint32_t n_ctx, ds4_session **out, ds4_err *err)
{
    if (n_ctx < 1 || n_ctx > DS4_MAX_CONTEXT) {
        return ds4_fail(err, DS4_E_ARG, "a context of %u tokens, expected 1..%d", n_ctx, DS4_MAX_CONTEXT);
    }
    ds4_session *s = calloc(1, sizeof *s);
    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory for a session");
    s->engine = e;
    s->n_ctx = n_ctx;
    e->n_sessions++;

    const ds4_status st = open_session(s, err);
    if (st != DS4_OK) {
        ds4_session_free(s);
        return st;
    }
    *out = s;
    return DS4_OK;
}

void ds4_session_free(ds4_session *s)
{
    if (!s) return;
    const ds4_model *m = &s->engine->model;
    m->backend->free(m->dev, s->pool);
    m->backend->free(m->dev, s->tail);
    s->engine->n_sessions--;
    free(s->blocks);
    free(s->tokens);
    free(s);
}

/* Nothing is zeroed: a row or slot is read only once a token of this conversation wrote it. */
void ds4_session_clear(ds4_session *s)
{
    s->pos = 0;
}

uint32_t ds4_session_pos(const ds4_session *s)
{
    return s->pos;
}

uint32_t ds4_session_capacity(const ds4_session *s)
{
    return s->n_ctx;
}

const int32_t *ds4_session_tokens(const ds4_session *s)
{
    return s->tokens;
}

ds4_status ds4_session_prefill(ds4_session *s, const ds4_prefill *p, ds4_err *err)
{
    const uint32_t max_batch = s->engine->model.max_batch;
    const uint32_t chunk = p->chunk && p->chunk < max_batch ? p->chunk : max_batch;

    if (p->n_tokens == 0) return ds4_fail(err, DS4_E_ARG, "a prefill without tokens");
    if (p->n_tokens > s->n_ctx - s->pos) {
        return ds4_fail(err, DS4_E_LIMIT, "a prompt of %u tokens does not fit: the context of %u tokens holds %u"
                        " already", p->n_tokens, s->n_ctx, s->pos);
    }
    for (uint32_t done = 0; done < p->n_tokens;) {
        if (p->cancel && p->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "stopped after %u tokens", done);
        const uint32_t left = p->n_tokens - done, n = left < chunk ? left : chunk;
        const ds4_work work = { .session = s, .tokens = p->tokens + done, .n_tokens = n,
                                .logits = n == left ? p->logits : NULL };
        DS4_TRY(ds4_engine_step(s->engine, &work, 1, err));
        done += n;
        if (p->progress) p->progress(p->progress_ctx, done, p->n_tokens);
    }
    return DS4_OK;
}
