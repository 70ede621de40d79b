/* generate.c - from the body of a request to an answer in the line: read, constrain, give back
 * earlier turns as they were sampled, render, submit. answer.c goes on from there. */
#include "app/server/answer.h"

#include "app/server/recall.h"
#include "app/common/script.h"
#include "base/clock.h"
#include "text/markers.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- what was sampled before ---------------------------------------------------------------- */

static bool is_blank(ds4_slice s)
{
    for (size_t i = 0; i < s.n_bytes; i++) {
        if (!strchr(" \t\r\n", s.data[i])) return false;
    }
    return true;
}

/* Put the sampled tokens in place of an assistant message; reasoning that a client sends back changed is its
 * own business and stays. */
static void replay_turn(ds4_answer *a, uint64_t key, ds4_message *m, ds4_sampled_turn *turn)
{
    ds4_arena   *arena = &a->request.arena;
    ds4_replayed known;

    if (!ds4_replay_find(a->server->texts, &a->scope, key, m, &known)) return;
    if (is_blank(m->reasoning)) m->reasoning = ds4_arena_copy(arena, known.reasoning);
    m->content = ds4_arena_copy(arena, known.content);
    m->raw_calls = ds4_arena_copy(arena, known.raw_calls);
    int32_t *tokens = ds4_arena_alloc(arena, known.n_tokens + 1ull, sizeof *tokens);
    if (tokens && known.n_tokens) {
        memcpy(tokens, known.tokens, known.n_tokens * sizeof *tokens);
        *turn = (ds4_sampled_turn){ tokens, known.n_tokens };
    }
    free(known.block);
    atomic_fetch_add(&a->server->n_replayed, 1);
}

/* Assistant turns become what the model sampled, where they are known. */
static void replay_turns(ds4_answer *a)
{
    ds4_request *rq = &a->request;
    uint64_t     key = 0;

    a->turns = ds4_arena_alloc(&rq->arena, rq->n_messages + 1ull, sizeof *a->turns);
    for (uint32_t i = 0; i < rq->n_messages; i++) {
        ds4_message *m = &rq->messages[i];
        key = ds4_replay_key(key, m);
        if (m->role != DS4_ROLE_ASSISTANT || !a->turns) continue;
        ds4_sampled_turn *turn = &a->turns[a->n_turns++];
        if (rq->chat.prefix_last && i + 1 == rq->n_messages) continue;
        replay_turn(a, key, m, turn);
    }
    a->key = key;
}

/* ---- preparing ------------------------------------------------------------------------------ */

/* Make the beginning of an answer that is a call. A named tool leaves no other. */
static void make_opening(ds4_answer *a)
{
    ds4_request *rq = &a->request;
    ds4_str      text = { 0 };

    if (rq->tool_choice != DS4_TOOLS_REQUIRED && rq->tool_choice != DS4_TOOLS_NAMED) return;
    ds4_str_add_text(&text, "\n\n<" DS4_MARK_DSML "tool_calls>\n<" DS4_MARK_DSML "invoke name=\"");
    a->opening = ds4_arena_take(&rq->arena, &text);
}

static bool client_is_gone(const void *call)
{
    return ds4_http_look((ds4_http_call *)(uintptr_t)call) == DS4_HTTP_GONE;
}

static ds4_status make_form(ds4_answer *a, ds4_err *err)
{
    ds4_request              *rq = &a->request;
    const ds4_form           *form = &rq->form;
    const ds4_grammar_options opt = { .strict = form->strict,
                                      .stop = client_is_gone,
                                      .stop_ctx = a->call };
    ds4_status                st = DS4_OK;

    switch (form->kind) {
    case DS4_FORM_FREE: return DS4_OK;
    case DS4_FORM_OBJECT: st = ds4_grammar_any_object(&a->grammar, err); break;
    case DS4_FORM_SCHEMA: st = ds4_grammar_from_schema(form->text, &opt, &a->grammar, err); break;
    case DS4_FORM_CHOICE:
        st = ds4_grammar_one_of(form->choices, form->n_choices, &a->grammar, err);
        break;
    case DS4_FORM_REGEX: st = ds4_grammar_from_regex(form->text, &opt, &a->grammar, err); break;
    }
    if (st != DS4_OK) snprintf(rq->refusal.param, sizeof rq->refusal.param, "%s", form->member);
    return st;
}

/* Calls of the tools, or of the one that the request names. */
static ds4_status make_calls(ds4_answer *a, bool text_before, ds4_err *err)
{
    const ds4_request        *rq = &a->request;
    const ds4_grammar_options opt = { .stop = client_is_gone, .stop_ctx = a->call };
    ds4_grammar_calls         calls = { .tools = rq->tool_json,
                                        .n_tools = rq->n_tools,
                                        .many = !rq->single_call,
                                        .text_before = text_before };
    bool                     *strict = calloc(rq->n_tools + 1, sizeof *strict);

    if (!strict) return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    for (uint32_t i = 0; i < rq->n_tools; i++) strict[i] = rq->tools[i].strict;
    calls.strict = strict;
    for (uint32_t i = 0; rq->tool_choice == DS4_TOOLS_NAMED && i < rq->n_tools; i++) {
        if (!ds4_slice_eq(rq->tools[i].name, rq->tool_name)) continue;
        calls.tools = &rq->tool_json[i];
        calls.strict = &strict[i];
        calls.n_tools = 1;
        break;
    }
    const ds4_status st = ds4_grammar_of_calls(&calls, &opt, &a->grammar, err);
    free(strict);
    return st;
}

/* The form of the answer. With tools, a call may be made instead. */
static ds4_status make_grammar(ds4_answer *a, ds4_err *err)
{
    const ds4_request *rq = &a->request;

    if (a->opening.n_bytes) return make_calls(a, false, err);
    if (rq->form.kind == DS4_FORM_FREE) {
        return rq->strict_tools && rq->n_tools ? make_calls(a, true, err) : DS4_OK;
    }
    DS4_TRY(make_form(a, err));
    a->grammar_ends = true;
    return rq->n_tools ? ds4_grammar_or_calls(a->grammar, err) : DS4_OK;
}

/* Take memory of the prompt from the budget of all requests; it is given back with the answer. */
static ds4_status take_memory(ds4_answer *a, size_t n_bytes, ds4_err *err)
{
    if (!ds4_purse_take(a->request.arena.purse, n_bytes)) {
        a->request.arena.over = true;
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a prompt");
    }
    a->n_taken += n_bytes;
    return DS4_OK;
}

static ds4_status prepare(ds4_answer *a, ds4_slice body, ds4_err *err)
{
    ds4_server                *s = a->server;
    const ds4_request_defaults defaults = { .protocol = s->model.protocol,
                                            .sampling = ds4_model_sampling(&s->model) };

    ds4_recall recall = { s->texts, a->scope.owner };

    DS4_TRY(ds4_request_read(&a->request, body, &defaults, ds4_recall_find, &recall, err));
    make_opening(a);
    DS4_TRY(make_grammar(a, err));
    if (s->opt.official_sampling && a->request.chat.thinking && !a->request.raw) {
        a->request.sampling = defaults.sampling;
    }
    if (!a->request.raw && !s->opt.no_replay) replay_turns(a);
    DS4_TRY(ds4_request_render(&a->request, &a->text, err));
    DS4_TRY(take_memory(a, a->text.text.capacity + a->text.capacity * sizeof *a->text.items, err));
    DS4_TRY(ds4_segments_encode(s->vocab, &a->text, &a->tokens, err));
    DS4_TRY(ds4_put_sampled(s->vocab, &a->tokens, a->turns, a->n_turns, &a->n_sampled, err));
    DS4_TRY(take_memory(a, a->tokens.n * sizeof *a->tokens.ids, err));
    if (s->script) {
        DS4_TRY(
            ds4_script_tokens(s->script, s->vocab, ds4_segments_text(&a->text), &a->script, err));
    }
    a->n_choices = a->request.n;
    a->seed = a->request.seed_given ? a->request.seed : ds4_now_ns() ^ (uint64_t)(uintptr_t)a;
    return DS4_OK;
}

/* ---- beginning ------------------------------------------------------------------------------ */

/* The request may have no more memory: because of others, who will give back, or never. */
static void refuse_memory(ds4_answer *a, ds4_http_answer *http)
{
    const bool        never = a->request.arena.purse->too_large;
    const ds4_problem p = { .status = never ? 413 : 503,
                            .message = never ? "the request needs more memory than all of them may have"
                                             : "requests take all the memory they may have; try again",
                            .code = never ? "request_too_large" : NULL,
                            .id = a->id };

    ds4_refuse_with(a->request.api, &p, http);
}

static void refuse(ds4_answer *a, const ds4_err *err, ds4_http_answer *http)
{
    const ds4_problem p = { .status = ds4_http_status_of(err->code),
                            .message = err->text,
                            .param = a->request.refusal.param,
                            .id = a->id };
    ds4_refuse_with(a->request.api, &p, http);
}

/* A prompt that does not fit, in the words that clients look for. */
static bool refuse_long(ds4_answer *a, ds4_http_answer *http)
{
    static const char *const params[] = { "messages", "prompt", "messages", "input", "" };
    const uint32_t           n_ctx = a->server->opt.n_ctx;

    if (a->tokens.n < n_ctx) return false;
    ds4_http_note(a->call, "prompt=%u", a->tokens.n);
    const ds4_problem p = { .status = 400,
                            .param = params[a->request.api],
                            .code = "context_length_exceeded",
                            .n_prompt = a->tokens.n,
                            .n_ctx = n_ctx,
                            .id = a->id };
    ds4_refuse_with(a->request.api, &p, http);
    return true;
}

static void describe_client(ds4_answer *a, const ds4_http_request *rq)
{
    static const char *const names[] = { "X-Claude-Code-Session-Id", "session-id", "x-session-id",
                                         "x-session-affinity" };
    const char              *session = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && !session; i++) {
        session = ds4_http_header(rq, names[i]);
    }
    snprintf(a->client, sizeof a->client, "%s %.48s", rq->client, session ? session : "");
    ds4_http_note(rq->call, "id=%s", a->id);
    if (session) ds4_http_note_text(rq->call, "session", session);
    const char *from = ds4_http_header(rq, "X-Forwarded-For");
    if (from) ds4_http_note_text(rq->call, "forwarded_for", from);
}

static void begin(ds4_answer *a, ds4_http_answer *http)
{
    ds4_err err = { .code = DS4_OK };

    a->created = (long)time(NULL);
    for (uint32_t i = 0; i < a->n_choices; i++) {
        a->choice[i].answer = a;
        a->choice[i].index = i;
    }
    ds4_trace_add(a->server->trace, a->id, "prompt", ds4_segments_text(&a->text));
    ds4_status st = ds4_channel_create(&a->channel, &err);
    if (st == DS4_OK) st = ds4_answer_submit(a, 0, &err);
    if (st == DS4_E_LIMIT || st == DS4_E_CANCELLED) {
        const int full = a->request.api == DS4_API_MESSAGES ? 529 : 429;
        const ds4_problem p = { .status = st == DS4_E_LIMIT ? full : 503,
                                .message = err.text,
                                .id = a->id,
                                .code = st == DS4_E_LIMIT ? "rate_limit_exceeded" : NULL };
        ds4_refuse_with(a->request.api, &p, http);
    } else if (st != DS4_OK) {
        refuse(a, &err, http);
    } else {
        a->n_submitted = 1;
        ds4_answer_give(a, http);
        return;
    }
    ds4_answer_free(a);
}

static const ds4_writer *writer_of(ds4_api api)
{
    switch (api) {
    case DS4_API_CHAT: return &ds4_chat_writer;
    case DS4_API_COMPLETIONS: return &ds4_completions_writer;
    case DS4_API_MESSAGES: return &ds4_messages_writer;
    case DS4_API_RESPONSES: return &ds4_responses_writer;
    case DS4_API_OTHER: break;
    }
    return &ds4_chat_writer;
}

/* Turns belong to a key and to a model, under each name that this one has. */
static ds4_replay_scope scope_of(const ds4_server *s, const ds4_http_request *rq)
{
    const ds4_identity_names names = ds4_resume_names(s->resume);
    ds4_replay_scope         scope = { .owner = ds4_owner_of(s, rq), .n_models = names.is_known ? 2 : 1 };

    scope.model[0] = names.is_known ? names.by_content : names.by_facts;
    scope.model[1] = names.by_facts;
    return scope;
}

static ds4_answer *new_answer(ds4_server *s, ds4_api api, const ds4_http_request *rq,
                              ds4_http_answer *http)
{
    static const char *const prefixes[] = { "chatcmpl-", "cmpl-", "msg_", "resp_", "" };
    ds4_answer              *a = calloc(1, sizeof *a);

    if (!a) {
        ds4_refuse_with(api, &(ds4_problem){ .status = 500, .message = "memory is exhausted" },
                        http);
        return NULL;
    }
    a->server = s;
    a->request.api = api;
    a->request.arena.purse = rq->purse;
    a->writer = writer_of(api);
    a->call = rq->call;
    a->begin_ns = ds4_now_ns();
    a->scope = scope_of(s, rq);
    ds4_random_id(prefixes[api], 32, a->id, sizeof a->id);
    describe_client(a, rq);
    ds4_http_add_header(http, api == DS4_API_MESSAGES ? "request-id" : "x-request-id", a->id);
    return a;
}

void ds4_generate(ds4_server *s, ds4_api api, const ds4_http_request *rq, ds4_http_answer *http)
{
    ds4_err     err = { .code = DS4_OK };
    ds4_answer *a = new_answer(s, api, rq, http);

    if (!a) return;
    ds4_trace_add(s->trace, rq->path, "request", rq->body);
    if (prepare(a, rq->body, &err) != DS4_OK) {
        if (a->request.arena.over) refuse_memory(a, http);
        else refuse(a, &err, http);
    } else if (!refuse_long(a, http)) {
        begin(a, http);
        return;
    }
    a->n_choices = 0;
    ds4_answer_free(a);
}

void ds4_count_tokens(ds4_server *s, const ds4_http_request *rq, ds4_http_answer *http)
{
    ds4_err     err = { .code = DS4_OK };
    ds4_answer *a = new_answer(s, DS4_API_MESSAGES, rq, http);

    if (!a) return;
    if (prepare(a, rq->body, &err) != DS4_OK) {
        if (a->request.arena.over) refuse_memory(a, http);
        else refuse(a, &err, http);
    } else {
        ds4_str_addf(&http->body, "{\"input_tokens\":%u}", a->tokens.n);
    }
    a->n_choices = 0;
    ds4_answer_free(a);
}
