/* answer.c - see answer.h: what its writers ask, its jobs, and listening to them.
 *
 * The scheduler's thread samples and puts events into the answer's channel. A stream is read by
 * http.c through read_stream(), which waits for events and lets the API's writer append what they
 * say to `out`; a whole answer is listened to to its end first. Both look every tenth of a second
 * whether the client is still there: freeing an answer cancels its jobs. The choices behind the
 * first are submitted when that has read the prompt. */
#include "app/server/answer.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    LISTEN_MS = 100,            /* between two looks at whether the client is still there */
    END_MS = 10000,             /* for the step in which a job ends */
};

static const uint64_t alive_ns = 5000000000; /* longest silence of a stream */
static const uint64_t half_ns = 500000000;   /* and of one whose client has closed its side */

/* Text of a fast model leaves together when it follows within this time: a write for each
 * token costs more than the token's own. The first one and the end do not wait. */
static const uint64_t gather_ns = 10000000;

/* ---- for writers ---------------------------------------------------------------------------- */

void ds4_add_json(ds4_str *out, ds4_slice text)
{
    ds4_pyjson_add_string(out, text);
}

ds4_slice ds4_model_echo(const ds4_answer *a)
{
    if (a->request.model.n_bytes) return a->request.model;
    return (ds4_slice){ a->server->opt.model_id, strlen(a->server->opt.model_id) };
}

const ds4_tool *ds4_answer_tool(const ds4_answer *a, ds4_slice name)
{
    for (uint32_t i = 0; i < a->request.n_tools; i++) {
        if (ds4_slice_eq(a->request.tools[i].name, name)) return &a->request.tools[i];
    }
    return NULL;
}

const ds4_written_call *ds4_answer_call(ds4_answer *a, ds4_choice *c, uint32_t i, ds4_slice name)
{
    const char *prefix = a->request.api == DS4_API_MESSAGES ? "toolu_" : "call_";

    while (c->n_calls <= i) {
        ds4_written_call *grown = ds4_arena_grow(&a->request.arena, c->calls, c->n_calls, &c->cap_calls,
                                                 sizeof *grown);
        if (!grown) {
            static const ds4_written_call none = { .id = "call_0" };
            return &none;
        }
        c->calls = grown;
        ds4_written_call *call = &c->calls[c->n_calls++];
        ds4_random_id(prefix, 32, call->id, sizeof call->id);
        call->name = ds4_arena_copy(&a->request.arena, name);
        call->index = c->n_calls_begun++;
    }
    return &c->calls[i];
}

ds4_slice ds4_answer_free_text(ds4_answer *a, ds4_slice arguments)
{
    ds4_slice value;
    ds4_str   text = { 0 };

    if (!ds4_pyjson_get(arguments, "input", &value) ||
        ds4_pyjson_decode_string(value, &text, NULL) != DS4_OK) {
        ds4_str_clear(&text);
        return arguments;
    }
    return ds4_arena_take(&a->request.arena, &text);
}

void ds4_answer_drop_call(ds4_choice *c, uint32_t i)
{
    if (c->n_calls > i) c->n_calls = i;
}

ds4_finish ds4_answer_finish(const ds4_choice *c)
{
    return ds4_job_result(c->job)->finish;
}

ds4_usage ds4_answer_usage(const ds4_answer *a)
{
    ds4_usage u = { .n_sampled = a->n_sampled };

    for (uint32_t i = 0; i < a->n_choices; i++) {
        const ds4_choice *c = &a->choice[i];
        if (i == 0) u.n_prompt = c->n_prompt;
        if (i == 0) u.n_cached = c->n_cached;
        if (!c->job) continue;
        u.n_generated += ds4_job_result(c->job)->n_tokens;
        u.n_reasoning += ds4_job_result(c->job)->n_reasoning_tokens;
    }
    return u;
}

/* ---- life of an answer ---------------------------------------------------------------------- */

/* Tell of an answer in the line of its request, and count it. Of one that was left before its job
 * began there is no more than that. */
static void note_answer(ds4_answer *a)
{
    const ds4_usage         u = ds4_answer_usage(a);
    const ds4_choice       *c = &a->choice[0];
    const ds4_reply_result *r = c->job && c->over ? ds4_job_result(c->job) : NULL;
    ds4_answered            n = { .finish = DS4_FINISH_CANCELLED,
                                  .n_prompt = u.n_prompt,
                                  .first_ns = a->first_ns ? a->first_ns - a->begin_ns : 0,
                                  .whole_ns = ds4_now_ns() - a->begin_ns };

    if (a->noted || !c->job) return;
    a->noted = true;
    if (!r) {
        ds4_http_note(a->call, "tools=%u prompt=%u generated=0 finish=cancelled", a->request.n_tools,
                      u.n_prompt);
        ds4_metrics_answer(&a->server->metrics, &n);
        return;
    }
    const ds4_job_stats *st = ds4_job_stats_get(c->job);
    const double         seconds = (double)st->generate_ns / 1e9;
    const bool           failed = ds4_job_error(c->job)->code != DS4_OK;
    ds4_http_note(a->call,
                  "tools=%u prompt=%u cached=%u generated=%u reasoning=%u calls=%u finish=%s%s "
                  "wait_ms=%.0f prefill_ms=%.0f generate_ms=%.0f tokens_per_second=%.1f "
                  "drafted=%u accepted=%u oddities=%#x",
                  a->request.n_tools, u.n_prompt, u.n_cached, u.n_generated, u.n_reasoning, r->n_calls,
                  failed                         ? "failed"
                  : r->finish == DS4_FINISH_LOOP ? "loop"
                                                 : ds4_finish_name(r->finish),
                  a->request.stream ? " stream=true" : "", (double)st->wait_ns / 1e6,
                  (double)st->prefill_ns / 1e6, (double)st->generate_ns / 1e6,
                  seconds > 0 ? st->n_generated / seconds : 0, st->n_guessed, st->n_agreed, r->oddities);
    if (failed && a->request.stream) ds4_http_note_text(a->call, "reason", ds4_job_error(c->job)->text);
    n.finish = failed ? DS4_FINISH_NONE : r->finish;
    n.n_generated = u.n_generated;
    n.wait_ns = st->wait_ns;
    n.prefill_ns = st->prefill_ns;
    n.generate_ns = st->generate_ns;
    ds4_metrics_answer(&a->server->metrics, &n);
}

/* Cancel what runs, and hear how far it came: an engine's step is waited for. */
static void end_jobs(ds4_answer *a)
{
    ds4_event *e = NULL;
    uint32_t   n_running = 0;

    for (uint32_t i = 0; i < a->n_choices; i++) {
        const ds4_choice *c = &a->choice[i];
        if (!c->job || c->over) continue;
        ds4_job_cancel(c->job);
        n_running += c->started;
    }
    while (n_running > 0 && (e = ds4_channel_get(a->channel, END_MS))) {
        if (e->kind == DS4_EVENT_END) {
            a->choice[e->tag].over = true;
            n_running -= a->choice[e->tag].started;
        }
        free(e);
    }
}

void ds4_answer_free(void *answer)
{
    ds4_answer *a = answer;

    end_jobs(a);
    note_answer(a);
    for (uint32_t i = 0; i < a->n_choices; i++) {
        ds4_choice *c = &a->choice[i];
        ds4_job_free(c->job);
        ds4_str_clear(&c->text);
        ds4_str_clear(&c->items);
        ds4_str_clear(&c->logprobs);
    }
    ds4_channel_free(a->channel);
    ds4_tokens_clear(&a->tokens);
    ds4_tokens_clear(&a->script);
    ds4_segments_clear(&a->text);
    ds4_grammar_free(a->grammar);
    ds4_str_clear(&a->out);
    ds4_request_clear(&a->request);
    ds4_purse_give(a->request.arena.purse, a->n_taken);
    free(a);
}

ds4_status ds4_answer_submit(ds4_answer *a, uint32_t i, ds4_err *err)
{
    const ds4_request *rq = &a->request;
    const uint32_t     room = a->server->opt.n_ctx;
    const uint32_t     limit = rq->max_tokens ? rq->max_tokens : a->server->opt.max_tokens;
    const ds4_job_spec spec = {
        .text = &a->text,
        .tokens = &a->tokens,
        .exact = true,
        .reader = a->server->opt.keys_apart ? a->scope.owner : (ds4_kv_key){ { 0 } },
        .sampling = rq->sampling,
        .penalties = rq->penalties,
        .seed = a->seed + i,
        .max_tokens = rq->only_prompt ? 0 : limit < room ? limit : room,
        .score = rq->echo && rq->logprobs,
        .plain = rq->raw,
        .stops = rq->stops,
        .n_stops = rq->n_stops,
        .tools = rq->tool_json,
        .n_tools = rq->n_tools,
        .single_call = rq->single_call,
        .choose = { .thinking_budget = rq->thinking_budget,
                    .opening = a->opening,
                    .grammar = a->grammar,
                    .grammar_ends = a->grammar_ends,
                    .logprobs = rq->logprobs,
                    .n_top = rq->n_top },
        .script = a->script.ids,
        .n_script = a->script.n,
        .client = a->client,
        .out = a->channel,
        .tag = i,
    };
    return ds4_scheduler_submit(a->server->scheduler, &spec, &a->choice[i].job, err);
}

/* ---- listening ------------------------------------------------------------------------------ */

static void remember_turn(ds4_answer *a, ds4_choice *c)
{
    const ds4_reply_result *r = ds4_job_result(c->job);
    ds4_call *calls = ds4_arena_alloc(&a->request.arena, r->n_calls + 1, sizeof *calls);

    if (a->request.raw || a->server->opt.no_replay || !calls || r->finish == DS4_FINISH_STOP) return;
    for (uint32_t i = 0; i < r->n_calls; i++) {
        const ds4_written_call *call = ds4_answer_call(a, c, i, r->calls[i].name);
        calls[i] = (ds4_call){ .id = { call->id, strlen(call->id) },
                               .name = r->calls[i].name,
                               .arguments = r->calls[i].arguments };
    }
    const ds4_message m = { .role = DS4_ROLE_ASSISTANT,
                            .content = r->content,
                            .reasoning = r->reasoning,
                            .raw_calls = r->raw_calls,
                            .calls = calls,
                            .n_calls = r->n_calls };
    const bool stored = a->request.api == DS4_API_RESPONSES && a->request.store;
    ds4_replay_keep(a->server->texts, &a->scope, ds4_replay_key(a->key, &m), &m, r->tokens, r->n_tokens,
                    (ds4_slice){ a->id, stored ? strlen(a->id) : 0 });
}

static void fail_answer(ds4_answer *a, const ds4_problem *p)
{
    if (a->failed) return;
    a->failed = a->closed = true;
    if (a->request.stream) a->writer->broken(a, p);
}

static void job_ended(ds4_answer *a, ds4_choice *c)
{
    const ds4_err *err = ds4_job_error(c->job);

    c->over = true;
    a->n_over++;
    if (err->code != DS4_OK) {
        fail_answer(a, &(ds4_problem){ .status = ds4_http_status_of(err->code),
                                       .message = err->text,
                                       .id = a->id });
        return;
    }
    remember_turn(a, c);
    if ((a->request.stream || a->writer->collects) && a->writer->ended) a->writer->ended(a, c);
    ds4_trace_add(a->server->trace, a->id, "reasoning", ds4_job_result(c->job)->reasoning);
    ds4_trace_add(a->server->trace, a->id, "content", ds4_job_result(c->job)->content);
    ds4_trace_add(a->server->trace, a->id, "calls", ds4_job_result(c->job)->raw_calls);
    if (a->n_over < a->n_choices || a->failed) return;
    a->closed = true;
    if (a->request.stream && a->writer->close) a->writer->close(a);
}

/* The other choices follow when the first has read the prompt: they begin where it was. */
static void submit_others(ds4_answer *a)
{
    ds4_err err = { .code = DS4_OK };

    while (a->n_submitted < a->n_choices && !a->failed) {
        if (ds4_answer_submit(a, a->n_submitted, &err) != DS4_OK) {
            fail_answer(a, &(ds4_problem){
                               .status = 429, .message = err.text, .code = "rate_limit_exceeded" });
        }
        a->n_submitted++;
    }
}

static void take_event(ds4_answer *a, const ds4_event *e)
{
    ds4_choice *c = &a->choice[e->tag];

    if (a->failed) return;
    switch (e->kind) {
    case DS4_EVENT_STARTED:
        c->started = true;
        c->n_prompt = e->n_prompt;
        c->n_cached = e->n_cached;
        if (a->request.stream && a->writer->started) a->writer->started(a, c);
        break;
    case DS4_EVENT_PROMPT_TOKEN: a->writer->piece(a, c, e); break;
    case DS4_EVENT_PIECE:
    case DS4_EVENT_TOKEN:
        if (a->first_ns == 0) a->first_ns = ds4_now_ns();
        if (e->kind == DS4_EVENT_PIECE && e->piece == DS4_PIECE_THINKING && a->request.hide_reasoning) {
            /* counted and remembered, and not shown */
        } else if (a->request.stream || a->writer->collects || e->kind == DS4_EVENT_TOKEN) {
            a->writer->piece(a, c, e);
        }
        submit_others(a);
        break;
    case DS4_EVENT_END:
        submit_others(a);
        job_ended(a, c);
        break;
    case DS4_EVENT_PROGRESS: break;
    }
}

/* Take what has happened, waiting for something if nothing has. False when the client has
 * gone. */
static bool listen_once(ds4_answer *a)
{
    ds4_event     *e = ds4_channel_get(a->channel, LISTEN_MS);
    const uint64_t now = ds4_now_ns();

    if (!e && ds4_channel_broken(a->channel)) {
        fail_answer(a, &(ds4_problem){ .status = 500, .message = "memory is exhausted" });
    }
    while (e) {
        take_event(a, e);
        free(e);
        e = a->closed ? NULL : ds4_channel_get(a->channel, 0);
    }
    if (now - a->looked_ns < LISTEN_MS * 1000000ull) return true;
    a->looked_ns = now;
    const ds4_http_peer peer = ds4_http_look(a->call);
    a->half = peer == DS4_HTTP_HALF;
    return peer != DS4_HTTP_GONE;
}

/* ---- a stream ------------------------------------------------------------------------------- */

static long read_stream(void *ctx, char *out, size_t max)
{
    ds4_answer *a = ctx;

    while (a->n_sent == a->out.n_bytes) {
        if (a->closed) {
            return a->out.failed ? -1 : 0;
        }
        ds4_str_truncate(&a->out, 0);
        a->n_sent = 0;
        if (a->said_ns) ds4_channel_rest(a->channel, a->said_ns + gather_ns);
        if (!listen_once(a)) return -1;
        const uint64_t now = ds4_now_ns();
        const uint64_t silence_ns = a->half ? half_ns : alive_ns;
        if (a->out.n_bytes == 0 && now - a->last_ns >= silence_ns) a->writer->alive(a);
        if (a->out.n_bytes > 0) a->last_ns = now;
        if (a->out.n_bytes > 0 && a->first_ns) a->said_ns = now;
    }
    const size_t left = a->out.n_bytes - a->n_sent;
    const size_t n = left < max ? left : max;
    memcpy(out, a->out.data + a->n_sent, n);
    a->n_sent += n;
    return (long)n;
}

static void answer_stream(ds4_answer *a, ds4_http_answer *http)
{
    a->last_ns = ds4_now_ns();
    if (a->writer->begin) a->writer->begin(a);
    http->type = "text/event-stream; charset=utf-8";
    ds4_http_add_header(http, "Cache-Control", "no-cache");
    ds4_http_add_header(http, "X-Accel-Buffering", "no");
    http->read = read_stream;
    http->free = ds4_answer_free;
    http->ctx = a;
}

/* ---- a whole answer ------------------------------------------------------------------------- */

static void answer_whole(ds4_answer *a, ds4_http_answer *http)
{
    while (!a->closed) {
        if (listen_once(a)) continue;
        http->status = 0;
        return;
    }
    if (a->failed) {
        const ds4_err *err = ds4_job_error(a->choice[0].job);
        ds4_refuse_with(
            a->request.api,
            &(ds4_problem){
                .status = 500, .message = err->code ? err->text : "failed", .id = a->id },
            http);
        return;
    }
    a->writer->whole(a);
    http->body = a->out;
    a->out = (ds4_str){ 0 };
}

void ds4_answer_give(ds4_answer *a, ds4_http_answer *http)
{
    if (a->request.stream) {
        answer_stream(a, http);
        return;
    }
    answer_whole(a, http);
    ds4_answer_free(a);
}
