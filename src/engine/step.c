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
    if (w->pick && !w->picked) return ds4_fail(err, DS4_E_ARG, "a token is to be chosen, but has no place");
    if (w->n_tokens > s->n_ctx - s->pos) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "the context of %u tokens is full: it holds %u, and %u more were given",
                        s->n_ctx, s->pos, w->n_tokens);
    }
    for (uint32_t i = 0; i < w->n_tokens; i++) {
        if (w->tokens[i] < 0 || (uint32_t)w->tokens[i] >= e->network.shape.n_vocab) {
            return ds4_fail(err, DS4_E_ARG, "token %d is outside the vocabulary of %u", w->tokens[i],
                            e->network.shape.n_vocab);
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
        if (w->n_tokens > e->network.max_batch - n) {
            return ds4_fail(err, DS4_E_ARG, "a step of more than %u tokens", e->network.max_batch);
        }
        ds4_session *s = w->session;
        s->in_step = e->step;
        DS4_TRY(ds4_session_grow(s, w->n_tokens, err));
        e->span[i] = (ds4_span){ .first = n, .n = w->n_tokens, .pos = s->pos, .decode = w->decode,
                                 .tail = { s->tail, 0 }, .blocks = s->at };
        for (uint32_t j = 0; j < w->n_tokens; j++, n++) {
            e->token[n] = w->tokens[j];
            e->pos[n] = s->pos + j;
            e->span_of[n] = i;
        }
    }
    if (n == 0) return ds4_fail(err, DS4_E_ARG, "a step without tokens");
    *out = (ds4_batch){ .n_tokens = n, .n_spans = n_work, .token = e->token, .pos = e->pos,
                        .span = e->span, .span_of = e->span_of, .kv = &e->network.kv };
    return DS4_OK;
}

/* The rows of the batch whose logits the work asks for, in order. */
typedef struct wanted {
    const ds4_work *work;
    uint32_t        i_work, i_token;        /* the next one; i_token counts within the work */
    uint32_t        row[DS4_HEAD_ROWS];
    float          *to[DS4_HEAD_ROWS];      /* NULL: a token is chosen from them, they are not wanted */
    const ds4_pick *pick[DS4_HEAD_ROWS];    /* NULL: none is chosen */
    ds4_picked     *picked[DS4_HEAD_ROWS];
} wanted;

/* The first token of the work whose logits are wanted. */
static uint32_t first_wanted(const ds4_work *work)
{
    if (work->logits && work->all_logits) return 0;
    return work->logits || work->pick ? work->n_tokens - 1 : work->n_tokens;
}

/* Name the next rows in the batch, as many as the head takes at once. */
static void want_next(const ds4_engine *e, wanted *w, ds4_batch *batch)
{
    const uint32_t n_vocab = e->network.shape.n_vocab, most = ds4_head_rows(e->network.max_batch);
    uint32_t       n = 0;

    batch->pick = NULL;
    for (; w->i_work < batch->n_spans && n < most; w->i_work++, w->i_token = 0) {
        const ds4_work *work = &w->work[w->i_work];
        const uint32_t  first = first_wanted(work);
        if (w->i_token < first) w->i_token = first;
        for (; w->i_token < work->n_tokens && n < most; w->i_token++, n++) {
            w->row[n] = batch->span[w->i_work].first + w->i_token;
            w->to[n] = work->logits ? work->logits + (uint64_t)(w->i_token - first) * n_vocab : NULL;
            w->pick[n] = w->i_token + 1 == work->n_tokens ? work->pick : NULL;
            w->picked[n] = work->picked;
            if (w->pick[n]) batch->pick = w->pick;
        }
        if (w->i_token < work->n_tokens) break;
    }
    batch->logit_row = w->row;
    batch->n_logit_rows = n;
}

static ds4_status finish_rows(ds4_engine *e, const wanted *w, const ds4_batch *batch, ds4_ticket ticket,
                              ds4_err *err)
{
    DS4_TRY(ds4_network_wait(&e->network, ticket, err));
    DS4_TRY(ds4_network_logits(&e->network, batch, w->to, err));
    return ds4_network_picked(&e->network, batch, w->picked, err);
}

static ds4_status run_batch(ds4_engine *e, ds4_batch *batch, const ds4_work *work, ds4_err *err)
{
    wanted     w = { .work = work };
    ds4_ticket ticket;

    want_next(e, &w, batch);
    DS4_TRY(ds4_network_run(&e->network, batch, &e->watch, &ticket, err));
    DS4_TRY(finish_rows(e, &w, batch, ticket, err));
    for (want_next(e, &w, batch); batch->n_logit_rows > 0; want_next(e, &w, batch)) {
        DS4_TRY(ds4_network_run_head(&e->network, batch, &ticket, err));
        DS4_TRY(finish_rows(e, &w, batch, ticket, err));
    }
    return DS4_OK;
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
        if (s->pos > s->furthest) s->furthest = s->pos;
    }
    return DS4_OK;
}

/* Tokens of a step that does not end its prompt: up to where the device lets prompts be cut, if a
 * chunk reaches so far. */
static uint32_t whole_chunk(const ds4_session *s, uint32_t chunk)
{
    const uint32_t cut = ds4_engine_cut(s->engine), over = (s->pos + chunk) % cut;
    return over < chunk ? chunk - over : chunk;
}

ds4_status ds4_session_prefill(ds4_session *s, const ds4_prefill *p, ds4_err *err)
{
    const uint32_t max_batch = s->engine->network.max_batch;
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
        const uint32_t left = p->n_tokens - done, n = left <= chunk ? left : whole_chunk(s, chunk);
        const ds4_work work = { .session = s, .tokens = p->tokens + done, .n_tokens = n,
                                .logits = n == left ? p->logits : NULL };
        DS4_TRY(ds4_engine_step(s->engine, &work, 1, err));
        done += n;
        if (p->progress) p->progress(p->progress_ctx, done, p->n_tokens);
    }
    return DS4_OK;
}
