/* network.c - see network.h. */
#include "model/network.h"

#include "backend/op_check.h"
#include "backend/pick.h"
#include "model/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef void emit_fn(ds4_emitter *e);

/* Write a list for weights and buffers that may have no place yet. Experts of a drafter are not streamed. */
static ds4_status write_list(const ds4_network *m, emit_fn *emit, bool with_index, ds4_step_list *list,
                             ds4_err *err)
{
    const uint32_t capacity = ds4_emit_capacity(&m->shape), max_parts = ds4_emit_max_products(&m->shape);

    list->op = calloc(capacity, sizeof *list->op);
    list->part = calloc(max_parts, sizeof *list->part);
    if (!list->op || !list->part) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a list of %u operations", capacity);
    }
    ds4_emitter e = { .s = &m->shape, .w = &m->weights, .b = &m->buffers, .with_index = with_index,
                      .steer = &m->steer, .cache = emit == ds4_emit_step ? m->cache : NULL,
                      .op = list->op, .capacity = capacity,
                      .part = list->part, .max_parts = max_parts };
    emit(&e);
    list->n = e.n;
    return DS4_OK;
}

static void free_list(ds4_step_list *list)
{
    free(list->op);
    free(list->part);
    *list = (ds4_step_list){ 0 };
}

/* No list reaches a device that names places outside of its memory. */
static ds4_status compile(const ds4_network *m, const ds4_op *ops, uint32_t n, ds4_program **out,
                          ds4_err *err)
{
    DS4_TRY(ds4_ops_check(m->backend, &m->limits, ops, n, err));
    return m->backend->compile(m->dev, ops, n, out, err);
}

static ds4_status write_draft(ds4_network *m, ds4_err *err)
{
    DS4_TRY(write_list(m, ds4_emit_block, false, &m->block, err));
    DS4_TRY(compile(m, m->block.op, m->block.n, &m->block.program, err));
    DS4_TRY(write_list(m, ds4_emit_guess, false, &m->guess, err));
    return compile(m, m->guess.op, m->guess.n, &m->guess.program, err);
}

static ds4_status write_programs(ds4_network *m, ds4_err *err)
{
    for (int i = 0; i < 2; i++) {
        ds4_step_list *list = &m->step[i];
        DS4_TRY(write_list(m, ds4_emit_step, i == 1, list, err));
        DS4_TRY(compile(m, list->op, list->n, &list->program, err));
    }
    if (m->draft_file) DS4_TRY(write_draft(m, err));
    const ds4_op *head = m->step[0].op + m->step[0].n - DS4_HEAD_OPS;
    DS4_TRY(compile(m, head, DS4_HEAD_OPS, &m->head, err));

    ds4_emitter e = { .s = &m->shape, .b = &m->buffers, .op = &m->sample_op, .capacity = 1 };
    ds4_err     refusal;
    ds4_emit_sample(&e);
    const ds4_status st = compile(m, &m->sample_op, 1, &m->sample, &refusal);
    if (st == DS4_OK || st == DS4_E_UNSUPPORTED) return DS4_OK;
    if (err) *err = refusal;
    return st;
}

static void drop_programs(ds4_network *m)
{
    ds4_step_list *const lists[] = { &m->step[0], &m->step[1], &m->block, &m->guess };

    for (int i = 0; i < 4; i++) {
        if (m->dev) m->backend->drop_program(m->dev, lists[i]->program);
        free_list(lists[i]);
    }
    if (!m->dev) return;
    m->backend->drop_program(m->dev, m->head);
    m->backend->drop_program(m->dev, m->sample);
}

/* Working memory of the planned steps, from shapes and sizes alone. */
static ds4_status plan_scratch(ds4_network *m, const ds4_engine_options *opt, const ds4_limits *limits,
                               ds4_plan_parts *parts, ds4_err *err)
{
    const uint32_t n_ctx = ds4_plan_ctx(opt);
    ds4_step_list  list = { 0 };

    ds4_weights_describe(&m->weights, m->file, &m->shape);
    if (m->draft_file) ds4_draft_weights_describe(&m->weights, m->draft_file, &m->shape, m->draft_layout);
    ds4_step_buffers_describe(&m->buffers, &m->shape, &m->kv, m->max_batch);
    const ds4_status st = write_list(m, ds4_emit_step, ds4_plan_uses_index(&m->shape, n_ctx), &list,
                                     err);
    for (int stream = 0; st == DS4_OK && stream < 2; stream++) {
        const ds4_step_use use = { n_ctx, ds4_plan_sessions(opt), stream };
        parts->scratch[stream] = m->backend->scratch_bytes(limits, list.op, list.n, n_ctx)
            + ds4_step_buffers_bytes(&m->shape, &m->kv, m->max_batch, &use);
    }
    free_list(&list);
    if (opt->steering_path) {
        ds4_steer_places places;
        const uint64_t   n_bytes = ds4_steering_lay_out(&m->shape, &places);
        for (int stream = 0; stream < 2; stream++) parts->scratch[stream] += n_bytes;
    }
    return st;
}

static ds4_status find_device(ds4_network *m, const ds4_engine_options *opt, ds4_err *err)
{
    DS4_TRY(ds4_backend_find(opt->backend, &m->backend, err));
    DS4_TRY(m->backend->probe(opt->device, &m->info, err));
    m->n_threads = opt->n_threads ? opt->n_threads : m->info.n_threads;
    if (m->max_batch < m->info.cut) {
        return ds4_fail(err, DS4_E_ARG, "steps of %u tokens, expected at least %u: so the %s backend reads"
                        " prompts", m->max_batch, m->info.cut, m->backend->name);
    }
    if (!m->info.unified || opt->device_mem_bytes == 0) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "the %s backend has no memory of its own: --mem limits what it uses",
                    m->backend->name);
}

static ds4_status open_draft(ds4_network *m, const ds4_engine_options *opt, ds4_err *err)
{
    DS4_TRY(ds4_draft_open(opt->dspark_path, m->file, &m->shape, &m->draft_file, &m->draft_layout, err));
    if (ds4_head_rows(m->max_batch) >= m->shape.draft.n_block) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%s: it guesses %u tokens at once, and steps have %u at most",
                    opt->dspark_path, m->shape.draft.n_block, m->max_batch);
}

/* Read shape, layout of the state, limits and plan from the file's directory. */
static ds4_status read_directory(ds4_network *m, const ds4_engine_options *opt, ds4_err *err)
{
    ds4_limits *limits = &m->limits;

    m->max_batch = ds4_plan_batch(opt);
    if (m->max_batch > 4096)
        return ds4_fail(err, DS4_E_ARG, "a batch of %u tokens, expected 1..4096", m->max_batch);

    DS4_TRY(find_device(m, opt, err));
    DS4_TRY(ds4_gguf_open(opt->model_path, &m->file, err));
    DS4_TRY(ds4_shape_read(m->file, &m->shape, err));
    if (opt->dspark_path) DS4_TRY(open_draft(m, opt, err));
    ds4_kv_layout_make(&m->shape, opt->exact ? DS4_KV_FLOATS : m->info.kv_form,
                       opt->exact ? DS4_KV_FLOATS : DS4_KV_RECORDS, m->kv_layers, &m->kv);
    *limits = (ds4_limits){ .n_threads = opt->n_threads, .max_batch = m->max_batch,
                            .max_logit_rows = ds4_head_rows(m->max_batch), .max_ctx = DS4_MAX_CONTEXT,
                            .kv = &m->kv };
    ds4_plan_parts parts = { .g = m->file, .s = &m->shape, .kv = &m->kv, .info = &m->info,
                             .tables = 2 * (ds4_emit_capacity(&m->shape) * sizeof(ds4_op)
                                            + ds4_emit_max_products(&m->shape) * sizeof(ds4_product)) };
    if (m->draft_file) parts.draft = ds4_draft_bytes(m->draft_file, &m->shape, m->draft_layout);
    DS4_TRY(plan_scratch(m, opt, limits, &parts, err));
    ds4_plan_compute(&parts, opt, &m->plan);
    limits->copy_weights = m->plan.stream;
    limits->state_bytes = m->plan.kv + m->plan.scratch;
    if (opt->kv_mem_bytes && opt->kv_dir) {
        limits->spill_dir = opt->kv_dir;
        limits->spill_bytes = m->plan.kv_cold;
        limits->spill_row = m->kv.row_bytes;
    }
    return DS4_OK;
}

static ds4_status open_cache(ds4_network *m, ds4_err *err)
{
    ds4_expert_layer      layers[DS4_MAX_LAYERS];
    const ds4_expert_file file = ds4_plan_experts(m->file, &m->shape, layers);

    return ds4_expert_cache_open(&m->cache, &file, m->plan.expert_cache, NULL, err);
}

ds4_status ds4_network_load(ds4_network *m, const ds4_engine_options *opt, ds4_err *err)
{
    *m = (ds4_network){ 0 };
    DS4_TRY(read_directory(m, opt, err));
    if (!m->plan.fits) {
        return ds4_fail(err, DS4_E_NOMEM, "%s does not fit: %s", opt->model_path, m->plan.advice);
    }
    DS4_TRY(ds4_gguf_check_filled(m->file, err));
    DS4_TRY(m->backend->open(opt->device, &m->limits, &m->dev, err));
    DS4_TRY(ds4_weights_open(&m->weights, m->file, &m->shape, m->plan.stream, m->backend, m->dev,
                             &opt->loading, err));
    if (m->draft_file) {
        DS4_TRY(ds4_gguf_check_filled(m->draft_file, err));
        DS4_TRY(ds4_draft_weights_open(&m->weights, m->draft_file, &m->shape, m->draft_layout, m->backend,
                                       m->dev, &opt->loading, err));
    }
    if (m->plan.stream) DS4_TRY(open_cache(m, err));
    if (opt->steering_path) {
        DS4_TRY(ds4_steering_load(opt->steering_path, &m->shape, m->backend, m->dev, &m->steer,
                                  &m->directions, err));
    }
    DS4_TRY(ds4_step_buffers_open(&m->buffers, &m->shape, &m->kv, m->max_batch, m->backend, m->dev, err));
    return write_programs(m, err);
}

ds4_status ds4_plan_make(const ds4_engine_options *opt, ds4_plan *out, ds4_err *err)
{
    ds4_network m = { 0 };

    const ds4_status st = read_directory(&m, opt, err);
    if (st == DS4_OK) *out = m.plan;
    ds4_network_unload(&m);
    return st;
}

void ds4_network_unload(ds4_network *m)
{
    drop_programs(m);
    if (m->dev) {
        m->backend->free(m->dev, m->buffers.buf);
        m->backend->free(m->dev, m->watched);
        m->backend->free(m->dev, m->steer.buf);
        ds4_expert_cache_close(m->cache);
        ds4_weights_close(&m->weights, m->backend, m->dev);
        m->backend->close(m->dev);
    }
    ds4_gguf_close(m->draft_file);
    free(m->directions);
    ds4_gguf_close(m->file);
    *m = (ds4_network){ 0 };
}

ds4_status ds4_network_steer(ds4_network *m, float attn, float experts, ds4_err *err)
{
    const float factor[2] = { attn, experts };

    for (int i = 0; i < 2; i++) {
        const ds4_view at = { m->steer.buf, m->steer.factor[i] };
        DS4_TRY(ds4_backend_write(m->backend, m->dev, at, &factor[i], sizeof factor[i], err));
    }
    return DS4_OK;
}

/* ---- running ------------------------------------------------------------------------------- */

static bool needs_index(const ds4_network *m, const ds4_batch *batch)
{
    for (uint32_t i = 0; i < batch->n_spans; i++) {
        const ds4_span *span = &batch->span[i];
        if (m->shape.top_k && (span->pos + span->n) / 4 > m->shape.top_k) return true;
    }
    return false;
}

/* No file was cut meanwhile. */
static ds4_status check_files(const ds4_network *m, ds4_err *err)
{
    DS4_TRY(ds4_gguf_check(m->file, err));
    return m->draft_file ? ds4_gguf_check(m->draft_file, err) : DS4_OK;
}

static ds4_view row_of(ds4_rows rows, uint32_t i)
{
    return (ds4_view){ rows.at.buf, rows.at.off + (uint64_t)i * rows.stride * sizeof(float) };
}

static ds4_status show(ds4_network *m, const ds4_batch *batch, const ds4_op *op,
                       const ds4_network_watch *watch, ds4_err *err)
{
    if (!op->out.at.buf) return DS4_OK;
    const uint64_t row_bytes = op->n_out * sizeof(float);
    float         *values = malloc(batch->n_tokens * row_bytes);
    ds4_copy      *rows = malloc(batch->n_tokens * sizeof *rows);
    ds4_status     st = DS4_OK;

    if (!values || !rows) st = ds4_fail(err, DS4_E_NOMEM, "no memory to show operation %s", op->name);
    for (uint32_t t = 0; st == DS4_OK && t < batch->n_tokens; t++) {
        rows[t] = (ds4_copy){ row_of(op->out, t), row_bytes, (uint8_t *)(values + (uint64_t)t * op->n_out) };
    }
    if (st == DS4_OK) st = m->backend->read(m->dev, rows, batch->n_tokens, err);
    if (st == DS4_OK) watch->fn(watch->ctx, op->name, op->layer, batch->n_tokens, op->n_out, values);
    free(rows);
    free(values);
    return st;
}

/* The experts that a token chose, as numbers. */
static ds4_status show_choice(ds4_network *m, const ds4_batch *batch, const ds4_op *op,
                              const ds4_network_watch *watch, ds4_err *err)
{
    const uint32_t n_used = op->route.n_used;
    const uint64_t n = (uint64_t)batch->n_tokens * n_used;
    int32_t       *expert = malloc(n * sizeof *expert);
    float         *values = malloc(n * sizeof *values);
    const ds4_copy all = { op->route.expert, n * sizeof *expert, (uint8_t *)expert };
    ds4_status     st = DS4_OK;

    if (!expert || !values) st = ds4_fail(err, DS4_E_NOMEM, "no memory to show operation %s", op->name);
    if (st == DS4_OK) st = m->backend->read(m->dev, &all, 1, err);
    for (uint64_t i = 0; st == DS4_OK && i < n; i++) values[i] = (float)expert[i];
    if (st == DS4_OK) {
        watch->fn(watch->ctx, "ffn.route.experts", op->layer, batch->n_tokens, n_used, values);
    }
    free(expert);
    free(values);
    return st;
}

/* Show the output of one operation, and of experts also what lies between their products. */
static ds4_status show_all(ds4_network *m, const ds4_batch *batch, const ds4_op *op,
                           const ds4_network_watch *watch, ds4_err *err)
{
    ds4_op inputs = *op;

    if (op->kind == DS4_OP_ROUTE && strcmp(op->name, "ffn.route") == 0) {
        DS4_TRY(show_choice(m, batch, op, watch, err));
    }
    if (op->kind == DS4_OP_EXPERTS) {
        inputs.name = "ffn.experts.inputs";
        inputs.out = op->experts.inputs;
        inputs.n_out = op->experts.inputs.stride;
        DS4_TRY(show(m, batch, &inputs, watch, err));
    }
    return show(m, batch, op, watch, err);
}

/* Ask the experts also for the inputs of their down products, which an unwatched step does not keep. */
static ds4_status ask_for_inputs(ds4_network *m, ds4_op *op, ds4_err *err)
{
    const uint32_t n = op->experts.n_used * op->experts.gate.n_out;

    if (!m->watched) {
        const uint64_t n_bytes = (uint64_t)m->max_batch * m->shape.n_used * m->shape.n_ffn * sizeof(float);
        DS4_TRY(ds4_backend_take(m->backend, m->dev, DS4_MEM_DEVICE, n_bytes, &m->watched, err));
    }
    op->experts.inputs = (ds4_rows){ { m->watched, 0 }, n };
    return DS4_OK;
}

/* Run one operation at a time. */
static ds4_status run_watched(ds4_network *m, const ds4_batch *batch, const ds4_step_list *list,
                              const ds4_network_watch *watch, ds4_ticket *ticket, ds4_err *err)
{
    for (uint32_t i = 0; i < list->n; i++) {
        ds4_program *one;
        ds4_op       op = list->op[i];
        if (op.kind == DS4_OP_EXPERTS) DS4_TRY(ask_for_inputs(m, &op, err));
        DS4_TRY(compile(m, &op, 1, &one, err));
        ds4_status st = m->backend->run(m->dev, one, batch, ticket, err);
        if (st == DS4_OK) st = m->backend->wait(m->dev, *ticket, err);
        m->backend->drop_program(m->dev, one);
        DS4_TRY(st);
        DS4_TRY(show_all(m, batch, &op, watch, err));
    }
    return DS4_OK;
}

static ds4_status sample(ds4_network *m, const ds4_batch *batch, ds4_ticket *ticket, ds4_err *err)
{
    return batch->pick && m->sample ? m->backend->run(m->dev, m->sample, batch, ticket, err) : DS4_OK;
}

ds4_status ds4_network_run(ds4_network *m, const ds4_batch *batch, const ds4_network_watch *watch,
                           ds4_ticket *ticket, ds4_err *err)
{
    const ds4_step_list *list = &m->step[needs_index(m, batch)];

    DS4_TRY(check_files(m, err));
    if (m->cache) DS4_TRY(ds4_expert_cache_check(m->cache, err));
    if (watch->fn) DS4_TRY(run_watched(m, batch, list, watch, ticket, err));
    else DS4_TRY(m->backend->run(m->dev, list->program, batch, ticket, err));
    return sample(m, batch, ticket, err);
}

ds4_status ds4_network_run_head(ds4_network *m, const ds4_batch *batch, ds4_ticket *ticket, ds4_err *err)
{
    DS4_TRY(m->backend->run(m->dev, m->head, batch, ticket, err));
    return sample(m, batch, ticket, err);
}

ds4_status ds4_network_wait(ds4_network *m, ds4_ticket ticket, ds4_err *err)
{
    DS4_TRY(m->backend->wait(m->dev, ticket, err));
    return check_files(m, err);
}

/* Read the last guesses, and make them the tokens before the next ones. */
static ds4_status next_guesses(ds4_network *m, const ds4_batch *chain, uint32_t most, ds4_guessed *out,
                               int32_t *before, ds4_err *err)
{
    ds4_guessed guessed[DS4_HEAD_ROWS];

    DS4_TRY(ds4_backend_read(m->backend, m->dev, m->buffers.draft.guessed, guessed,
                             chain->n_tokens * sizeof *guessed, err));
    for (uint32_t i = 0; i < chain->n_tokens; i++) {
        out[(uint64_t)i * most] = guessed[i];
        if (guessed[i].token >= 0) before[i] = guessed[i].token;
    }
    return DS4_OK;
}

ds4_status ds4_network_draft(ds4_network *m, const ds4_batch *block, uint32_t most, ds4_guessed *out,
                             ds4_err *err)
{
    int32_t    before[DS4_HEAD_ROWS];
    uint32_t   row[DS4_HEAD_ROWS];
    ds4_batch  chain = *block;
    ds4_ticket ticket;

    DS4_TRY(check_files(m, err));
    DS4_TRY(m->backend->run(m->dev, m->block.program, block, &ticket, err));
    chain.token = before;
    chain.logit_row = row;
    chain.n_tokens = chain.n_logit_rows = block->n_spans;
    for (uint32_t i = 0; i < block->n_spans; i++) before[i] = block->token[block->span[i].first];
    for (uint32_t k = 0; k < most; k++) {
        for (uint32_t i = 0; i < block->n_spans; i++) row[i] = block->span[i].first + k;
        DS4_TRY(m->backend->run(m->dev, m->guess.program, &chain, &ticket, err));
        DS4_TRY(ds4_network_wait(m, ticket, err));
        DS4_TRY(next_guesses(m, &chain, most, out + k, before, err));
    }
    return DS4_OK;
}

static bool all_finite(const float *x, uint64_t n)
{
    float sum = 0.0f;                   /* 0 * x is NaN for NaN and infinity, else 0 */
    for (uint64_t i = 0; i < n; i++) sum += 0.0f * x[i];
    return sum == 0.0f;
}

static ds4_status not_finite(const ds4_batch *batch, uint32_t i, ds4_err *err)
{
    return ds4_fail(err, DS4_E_DEVICE,
                    "the model produced a number that is not finite at position %u;"
                    " the file may be damaged", batch->pos[batch->logit_row[i]]);
}

ds4_status ds4_network_logits(ds4_network *m, const ds4_batch *batch, float *const *logits, ds4_err *err)
{
    const uint32_t n_vocab = m->shape.n_vocab;
    ds4_copy       rows[DS4_HEAD_ROWS];
    uint32_t       n = 0;

    for (uint32_t i = 0; i < batch->n_logit_rows; i++) {
        if (!logits[i]) continue;
        rows[n++] = (ds4_copy){ row_of(m->buffers.logits, i), n_vocab * sizeof(float), (uint8_t *)logits[i] };
    }
    if (n > 0) DS4_TRY(m->backend->read(m->dev, rows, n, err));
    for (uint32_t i = 0; i < batch->n_logit_rows; i++) {
        if (logits[i] && !all_finite(logits[i], n_vocab)) return not_finite(batch, i, err);
    }
    return DS4_OK;
}

/* Choose on the host, for a device that does not. */
static ds4_status pick_here(ds4_network *m, const ds4_batch *batch, uint32_t i, ds4_picked *out, ds4_err *err)
{
    const uint32_t n_vocab = m->shape.n_vocab;
    float         *logits = malloc(n_vocab * (sizeof *logits + sizeof(ds4_candidate)));
    ds4_status     st = DS4_OK;

    if (!logits) return ds4_fail(err, DS4_E_NOMEM, "no memory to choose among %u tokens", n_vocab);
    st = ds4_backend_read(m->backend, m->dev, row_of(m->buffers.logits, i), logits, n_vocab * sizeof *logits,
                          err);
    ds4_candidate *scratch = (ds4_candidate *)(void *)(logits + n_vocab);
    if (st == DS4_OK && !ds4_pick_one(logits, n_vocab, batch->pick[i], scratch, out)) {
        st = not_finite(batch, i, err);
    }
    free(logits);
    return st;
}

ds4_status ds4_network_picked(ds4_network *m, const ds4_batch *batch, ds4_picked *const *picked,
                              ds4_err *err)
{
    for (uint32_t i = 0; batch->pick && !m->sample && i < batch->n_logit_rows; i++) {
        if (batch->pick[i]) DS4_TRY(pick_here(m, batch, i, picked[i], err));
    }
    if (!batch->pick || !m->sample) return DS4_OK;
    ds4_copy copies[DS4_HEAD_ROWS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n_logit_rows; i++) {
        const ds4_view at = { m->buffers.picked.buf, m->buffers.picked.off + i * sizeof(ds4_picked) };
        if (batch->pick[i]) copies[n++] = (ds4_copy){ at, sizeof(ds4_picked), (uint8_t *)picked[i] };
    }
    DS4_TRY(m->backend->read(m->dev, copies, n, err));
    for (uint32_t i = 0; i < batch->n_logit_rows; i++) {
        if (batch->pick[i] && picked[i]->token == DS4_PICKED_NOT_FINITE) return not_finite(batch, i, err);
    }
    return DS4_OK;
}
