/* engine.c - opening a model, and what is known about it. */
#include "engine/engine_local.h"

#include "model/file_forms.h"
#include "model/vocab_gguf.h"

#include <stdlib.h>
#include <string.h>

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
    const ds4_network *m = &e->network;
    const ds4_shape *s = &m->shape;
    ds4_slice        name;

    DS4_TRY(ds4_gguf_opt_string(m->file, "general.name", DS4_SLICE(""), &name, err));
    DS4_TRY(ds4_file_forms_unused(m->file, s, &e->unused, err));
    e->path = copy_text(path, strlen(path));
    e->name = copy_text(name.data, name.n_bytes);
    if (!e->path || !e->name) return ds4_fail(err, DS4_E_NOMEM, "no memory for the model's name");
    e->info = (ds4_model_info){
        .path = e->path, .name = e->name, .file_bytes = ds4_gguf_file_bytes(m->file),
        .n_params = m->weights.n_params, .n_params_active = m->weights.n_params_active,
        .n_layers = s->n_layers, .n_embd = s->n_embd, .n_vocab = s->n_vocab,
        .n_experts = s->n_experts, .n_experts_used = s->n_used, .max_context = s->n_context,
        .least_experts = s->least_experts, .has_mtp = m->weights.has_mtp, .n_draft = s->draft.n_block,
        .unused = ds4_str_text(&e->unused),
    };
    DS4_TRY(read_advice(m->file, "general.sampling.temp", 1.0f, 100.0f, &e->info.temperature, err));
    DS4_TRY(read_advice(m->file, "general.sampling.top_p", 1.0f, 1.0f, &e->info.top_p, err));
    return read_advice(m->file, "general.sampling.min_p", 0.05f, 1.0f, &e->info.min_p, err);
}

static ds4_status open_parts(ds4_engine *e, const ds4_engine_options *opt, ds4_err *err)
{
    DS4_TRY(ds4_network_load(&e->network, opt, err));
    DS4_TRY(ds4_vocab_from_gguf(e->network.file, &e->vocab, err));
    DS4_TRY(read_info(e, opt->model_path, err));
    ds4_gguf_forget(e->network.file, NULL);       /* what was looked at to get here */

    ds4_block_pool_init(&e->blocks, e->network.backend, e->network.dev, &e->network.kv);
    const uint32_t n = e->network.max_batch;
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

    ds4_status       st = open_parts(e, opt, err);
    const ds4_gguf  *file = e->network.file;
    if (file && ds4_gguf_check(file, NULL) != DS4_OK) st = ds4_gguf_check(file, err);
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
    ds4_network_unload(&e->network);
    free(e->path);
    free(e->name);
    ds4_str_clear(&e->unused);
    free(e);
}

bool ds4_engine_expert_stats(ds4_engine *e, ds4_expert_stats *out)
{
    if (!e->network.cache) return false;
    ds4_expert_cache_get_stats(e->network.cache, out);
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
    return &e->network.plan;
}

uint32_t ds4_engine_threads(const ds4_engine *e)
{
    return e->network.n_threads;
}

uint32_t ds4_engine_max_batch(const ds4_engine *e)
{
    return e->network.max_batch;
}

uint32_t ds4_engine_cut(const ds4_engine *e)
{
    return e->network.info.cut;
}

void ds4_engine_watch(ds4_engine *e, ds4_watch_fn *fn, void *ctx)
{
    e->watch = (ds4_network_watch){ .fn = fn, .ctx = ctx };
}
