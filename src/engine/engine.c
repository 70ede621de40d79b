/* engine.c - opening a model, and the step over a ragged batch. */
#include "engine/engine_local.h"

#include "model/vocab_gguf.h"

#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------------------------ */

static char *copy_text(const char *data, size_t n_bytes)
{
    char *copy = malloc(n_bytes + 1);
    if (!copy) return NULL;
    memcpy(copy, data, n_bytes);
    copy[n_bytes] = '\0';
    return copy;
}

/* A sampling default of the file, kept inside the range that makes sense. */
static ds4_status read_advice(const ds4_gguf *g, const char *key, float otherwise, float most, float *out,
                              ds4_err *err)
{
    DS4_TRY(ds4_gguf_opt_f32(g, key, otherwise, out, err));
    if (*out >= 0.0f && *out <= most) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: %s is %g, expected 0..%g", ds4_gguf_path(g), key, (double)*out,
                    (double)most);
}

static ds4_status read_info(ds4_engine *e, const char *path, ds4_err *err)
{
    const ds4_network *m = &e->model;
    const ds4_shape *s = &m->shape;
    ds4_slice        name;

    DS4_TRY(ds4_gguf_opt_string(m->file, "general.name", DS4_SLICE(""), &name, err));
    e->path = copy_text(path, strlen(path));
    e->name = copy_text(name.data, name.n_bytes);
    if (!e->path || !e->name) return ds4_fail(err, DS4_E_NOMEM, "no memory for the model's name");
    e->info = (ds4_model_info){
        .path = e->path, .name = e->name, .file_bytes = ds4_gguf_file_bytes(m->file),
        .n_params = m->weights.n_params, .n_params_active = m->weights.n_params_active,
        .n_layers = s->n_layers, .n_embd = s->n_embd, .n_vocab = s->n_vocab,
        .n_experts = s->n_experts, .n_experts_used = s->n_used, .max_context = s->n_context,
        .has_mtp = m->weights.has_mtp,
    };
    DS4_TRY(read_advice(m->file, "general.sampling.temp", 1.0f, 100.0f, &e->info.temperature, err));
    DS4_TRY(read_advice(m->file, "general.sampling.top_p", 1.0f, 1.0f, &e->info.top_p, err));
    return read_advice(m->file, "general.sampling.min_p", 0.05f, 1.0f, &e->info.min_p, err);
}

static ds4_status open_parts(ds4_engine *e, const ds4_engine_options *opt, ds4_err *err)
{
    DS4_TRY(ds4_network_load(&e->model, opt, err));
    DS4_TRY(ds4_vocab_from_gguf(e->model.file, &e->vocab, err));
    DS4_TRY(read_info(e, opt->model_path, err));

    ds4_block_pool_init(&e->blocks, e->model.backend, e->model.dev, &e->model.kv);
    const uint32_t n = e->model.max_batch;
    e->token = malloc(n * sizeof *e->token);
    e->pos = malloc(n * sizeof *e->pos);
    e->span_of = malloc(n * sizeof *e->span_of);
    e->span = malloc(n * sizeof *e->span);
    if (e->token && e->pos && e->span_of && e->span) return DS4_OK;
    return ds4_fail(err, DS4_E_NOMEM, "no memory for a batch of %u tokens", n);
}

ds4_status ds4_engine_open(ds4_engine **out, const ds4_engine_options *opt, ds4_err *err)
{
    if (!opt->model_path) return ds4_fail(err, DS4_E_ARG, "no model file was named");
    ds4_engine *e = calloc(1, sizeof *e);
    if (!e) return ds4_fail(err, DS4_E_NOMEM, "no memory for an engine");

    const ds4_status st = open_parts(e, opt, err);
    if (st != DS4_OK) {
        ds4_engine_close(e);
        return st;
    }
    *out = e;
    return DS4_OK;
}

void ds4_engine_close(ds4_engine *e)
{
    if (!e) return;
    free(e->token);
    free(e->pos);
    free(e->span_of);
    free(e->span);
    ds4_block_pool_clear(&e->blocks);
    ds4_vocab_free(e->vocab);
    ds4_network_unload(&e->model);
    free(e->path);
    free(e->name);
    free(e);
}

bool ds4_engine_expert_stats(ds4_engine *e, ds4_expert_stats *out)
{
    if (!e->model.cache) return false;
    ds4_expert_cache_get_stats(e->model.cache, out);
    return true;
}

const ds4_model_info *ds4_engine_info(const ds4_engine *e)
{
    return &e->info;
}

const ds4_vocab *ds4_engine_vocab(const ds4_engine *e)
{
    return e->vocab;
}

const ds4_plan *ds4_engine_plan(const ds4_engine *e)
{
    return &e->model.plan;
}

uint32_t ds4_engine_threads(const ds4_engine *e)
{
    return e->model.backend->threads(e->model.dev);
}

uint32_t ds4_engine_max_batch(const ds4_engine *e)
{
    return e->model.max_batch;
}

void ds4_engine_watch(ds4_engine *e, ds4_watch_fn *fn, void *ctx)
{
    e->watch = (ds4_network_watch){ .fn = fn, .ctx = ctx };
}

/* ---- the step ------------------------------------------------------------------------------- */

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
