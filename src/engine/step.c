/* step.c - one step over a ragged batch of sessions, and a prompt as steps. */
#include "engine/engine_local.h"

#include <string.h>

static ds4_status check_work(ds4_engine *e, const ds4_work *w, ds4_err *err)
{
    const ds4_session *s = w->session;

    if (!s || s->engine != e) return ds4_fail(err, DS4_E_ARG, "a step over a session of another engine");
    if (s->in_step == e->step) return ds4_fail(err, DS4_E_ARG, "a session appears twice in one step");
    if (s->is_broken) {
        return ds4_fail(err, DS4_E_ARG, "a session whose last step failed must be cleared first");
    }
    if (w->n_tokens == 0) return ds4_fail(err, DS4_E_ARG, "a session appears in a step without tokens");
    if (w->n_tokens > s->n_ctx - s->pos) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "the context of %u tokens is full: it holds %u, and %u more were given",
                        s->n_ctx, s->pos, w->n_tokens);
    }
    for (uint32_t i = 0; i < w->n_tokens; i++) {
        if (w->tokens[i] < 0 || (uint32_t)w->tokens[i] >= e->model.shape.n_vocab) {
            return ds4_fail(err, DS4_E_ARG, "token %d is outside the vocabulary of %u", w->tokens[i],
                            e->model.shape.n_vocab);
        }
    }
    return DS4_OK;
}

static ds4_status make_batch(ds4_engine *e, const ds4_work *work, uint32_t n_work, ds4_batch *out,
                             ds4_err *err)
{
    uint32_t n = 0;

    e->step++;
    for (uint32_t i = 0; i < n_work; i++) {
        const ds4_work *w = &work[i];
        DS4_TRY(check_work(e, w, err));
        if (w->n_tokens > e->model.max_batch - n) {
            return ds4_fail(err, DS4_E_ARG, "a step of more than %u tokens", e->model.max_batch);
        }
        ds4_session *s = w->session;
        s->in_step = e->step;
        ds4_session_grow(s, w->n_tokens);
        e->span[i] = (ds4_span){ .first = n, .n = w->n_tokens, .pos = s->pos,
                                 .tail = { s->tail, 0 }, .blocks = s->at };
        for (uint32_t j = 0; j < w->n_tokens; j++, n++) {
            e->token[n] = w->tokens[j];
            e->pos[n] = s->pos + j;
            e->span_of[n] = i;
        }
    }
    if (n == 0) return ds4_fail(err, DS4_E_ARG, "a step without tokens");
    *out = (ds4_batch){ .n_tokens = n, .n_spans = n_work, .token = e->token, .pos = e->pos,
                        .span = e->span, .span_of = e->span_of, .kv = &e->model.kv };
    return DS4_OK;
}

/* Logits that the work asks for, a few rows at a time. */
static ds4_status read_logits(ds4_engine *e, const ds4_batch *batch, const ds4_work *work, ds4_err *err)
{
    uint32_t row[DS4_HEAD_ROWS], n = 0;
    float   *to[DS4_HEAD_ROWS];

    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const ds4_work *w = &work[i];
        const uint32_t  first = w->all_logits ? 0 : w->n_tokens - 1;
        for (uint32_t j = first; w->logits && j < w->n_tokens; j++) {
            row[n] = batch->span[i].first + j;
            to[n++] = w->logits + (uint64_t)(j - first) * e->model.shape.n_vocab;
            if (n < DS4_HEAD_ROWS) continue;
            DS4_TRY(ds4_network_logits(&e->model, batch, row, n, to, err));
            n = 0;
        }
    }
    return n ? ds4_network_logits(&e->model, batch, row, n, to, err) : DS4_OK;
}

static ds4_status run_batch(ds4_engine *e, const ds4_batch *batch, const ds4_work *work, ds4_err *err)
{
    DS4_TRY(ds4_network_run(&e->model, batch, &e->watch, err));
    DS4_TRY(read_logits(e, batch, work, err));
    return e->model.backend->sync(e->model.dev, err);
}

ds4_status ds4_engine_step(ds4_engine *e, const ds4_work *work, uint32_t n_work, ds4_err *err)
{
    ds4_batch batch;

    DS4_TRY(make_batch(e, work, n_work, &batch, err));
    const ds4_status st = run_batch(e, &batch, work, err);
    for (uint32_t i = 0; i < n_work; i++) work[i].session->is_broken |= st != DS4_OK;
    DS4_TRY(st);
    for (uint32_t i = 0; i < n_work; i++) {
        ds4_session *s = work[i].session;
        memcpy(s->tokens + s->pos, work[i].tokens, work[i].n_tokens * sizeof *s->tokens);
        s->pos += work[i].n_tokens;
    }
    return DS4_OK;
}

ds4_status ds4_session_prefill(ds4_session *s, const ds4_prefill *p, ds4_err *err)
{
    const uint32_t max_batch = s->engine->model.max_batch;
    const uint32_t chunk = p->chunk && p->chunk < max_batch ? p->chunk : max_batch;

    if (p->n_tokens == 0) return ds4_fail(err, DS4_E_ARG, "a prefill without tokens");
    if (p->n_tokens > s->n_ctx - s->pos) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "a prompt of %u tokens does not fit: the context of %u tokens holds %u"
                        " already",
                        p->n_tokens, s->n_ctx, s->pos);
    }
    for (uint32_t done = 0; done < p->n_tokens;) {
        if (p->cancel && p->cancel->stop)
            return ds4_fail(err, DS4_E_CANCELLED, "stopped after %u tokens", done);
        const uint32_t left = p->n_tokens - done, n = left < chunk ? left : chunk;
        const ds4_work work = { .session = s, .tokens = p->tokens + done, .n_tokens = n,
                                .logits = n == left ? p->logits : NULL };
        DS4_TRY(ds4_engine_step(s->engine, &work, 1, err));
        done += n;
        if (p->progress) p->progress(p->progress_ctx, done, p->n_tokens);
    }
    return DS4_OK;
}
