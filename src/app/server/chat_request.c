/* chat_request.c - requests to /v1/chat/completions and /v1/completions. */
#include "app/server/content.h"
#include "app/server/request_members.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CHOICES = 16, MAX_TOP_LOGPROBS = 20 };

/* ---- messages ------------------------------------------------------------------------------- */

/* A call of a tool, as an element of "tool_calls" or as the older "function_call". */
static ds4_status read_call(ds4_request *rq, const ds4_fields *call, ds4_call *out, ds4_err *err)
{
    ds4_fields inner;
    ds4_slice  value, input = { 0 };
    bool       given, custom;

    DS4_TRY(ds4_fields_text(call, "id", &out->id, &rq->refusal, err));
    DS4_TRY(ds4_fields_object(call, "custom", &inner, &custom, &rq->refusal, err));
    if (!custom) {
        DS4_TRY(ds4_fields_object(call, "function", &inner, &given, &rq->refusal, err));
        if (!given) inner = *call;
    }
    DS4_TRY(ds4_fields_text(&inner, "name", &out->name, &rq->refusal, err));
    DS4_TRY(ds4_need_name(rq, &inner, out->name, err));
    out->arguments = DS4_SLICE("{}");
    if (custom) {
        DS4_TRY(ds4_fields_text(&inner, "input", &input, &rq->refusal, err));
        out->arguments = ds4_custom_arguments(rq, input);
    } else if (ds4_fields_get(&inner, "arguments", &value) && ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        out->arguments = value;
    } else {
        DS4_TRY(ds4_fields_text(&inner, "arguments", &out->arguments, &rq->refusal, err));
    }
    if (out->arguments.n_bytes == 0) out->arguments = DS4_SLICE("{}");
    return DS4_OK;
}

/* The older form of a call, which has no id: the result behind it has none either. */
static ds4_status read_function_call(ds4_request *rq, const ds4_fields *f, ds4_message *m, ds4_err *err)
{
    ds4_fields call;
    bool       given;

    DS4_TRY(ds4_fields_object(f, "function_call", &call, &given, &rq->refusal, err));
    if (!given) return DS4_OK;
    ds4_call *one = ds4_arena_alloc(&rq->arena, 1, sizeof *one);
    if (!one) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    m->calls = one;
    m->n_calls = 1;
    return read_call(rq, &call, one, err);
}

static ds4_status read_calls(ds4_request *rq, const ds4_fields *f, ds4_message *m, ds4_err *err)
{
    ds4_slice       list, one;
    ds4_pyjson_iter it;
    uint32_t        n = 0;
    ds4_fields      call;
    char            where[96];

    if (!ds4_fields_get(f, "tool_calls", &list)) return read_function_call(rq, f, m, err);
    if (ds4_pyjson_kind(list) != DS4_JSON_ARRAY) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, "tool_calls",
                          "must be a list");
    }
    DS4_TRY(ds4_pyjson_open(&it, list, err));
    ds4_pyjson_iter count = it;
    while (ds4_pyjson_next(&count, NULL, &one)) n++;
    ds4_call *calls = ds4_arena_alloc(&rq->arena, n + 1, sizeof *calls);
    if (!calls) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    m->calls = calls;
    while (m->n_calls < n && ds4_pyjson_next(&it, NULL, &one)) {
        snprintf(where, sizeof where, "%.60stool_calls[%u].", f->where, m->n_calls);
        DS4_TRY(ds4_fields_open(&call, &rq->arena, one, where, err));
        DS4_TRY(read_call(rq, &call, &calls[m->n_calls++], err));
    }
    return DS4_OK;
}

static ds4_status read_message(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                               ds4_err *err)
{
    ds4_fields f;
    ds4_slice  role = { 0 }, content;
    ds4_role   kind = DS4_ROLE_USER;
    char       at[80];

    (void)ctx;
    if (ds4_pyjson_kind(json) != DS4_JSON_OBJECT) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "", "must be an object");
    }
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "role", &role, &rq->refusal, err));
    if (ds4_slice_is(role, "function")) role = DS4_SLICE("tool");
    if (!ds4_role_from_name(role, &kind)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "role",
                          "must be system, developer, user, assistant or tool");
    }
    ds4_message *m = ds4_request_message(rq, kind);
    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    snprintf(at, sizeof at, "%.60scontent", where);
    if (ds4_fields_get(&f, "content", &content)) {
        DS4_TRY(ds4_read_content(rq, content, at, "\n\n", &m->content, err));
    }
    DS4_TRY(ds4_fields_text(&f, "tool_call_id", &m->call_id, &rq->refusal, err));
    if (kind != DS4_ROLE_ASSISTANT) return DS4_OK;
    if (ds4_fields_get(&f, "reasoning", &content) && ds4_pyjson_kind(content) == DS4_JSON_STRING) {
        DS4_TRY(ds4_fields_text(&f, "reasoning", &m->reasoning, &rq->refusal, err));
    }
    DS4_TRY(ds4_fields_text(&f, "reasoning_content", &m->reasoning, &rq->refusal, err));
    if (m->content.n_bytes == 0) DS4_TRY(ds4_fields_text(&f, "refusal", &m->content, &rq->refusal, err));
    return read_calls(rq, &f, m, err);
}

static ds4_status read_message_list(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice list;

    if (!ds4_fields_get(f, "messages", &list)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "messages", "is missing");
    }
    DS4_TRY(ds4_read_list(rq, f, "messages", read_message, NULL, err));
    if (rq->n_messages > 0) return DS4_OK;
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "messages", "must not be empty");
}

/* ---- tools ---------------------------------------------------------------------------------- */

static ds4_status read_tool(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                            ds4_err *err)
{
    ds4_fields f, ignored;
    ds4_tool   tool = { 0 };
    ds4_slice  type = DS4_SLICE("function");
    bool       nested;
    char       what[96];

    (void)ctx;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    /* "custom" without its object is how the other API calls ordinary tools. */
    DS4_TRY(ds4_fields_object(&f, "custom", &ignored, &nested, &rq->refusal, err));
    tool.custom = nested && ds4_slice_is(type, "custom");
    if (!ds4_slice_is(type, "function") && !ds4_slice_is(type, "custom")) {
        snprintf(what, sizeof what, "is '%.40s', only function and custom are supported", type.data);
        return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, where, "type", what);
    }
    return ds4_read_tool(rq, &f, &tool, err);
}

/* ---- the request ---------------------------------------------------------------------------- */

static ds4_status read_stream_options(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_fields options;
    bool       given;

    DS4_TRY(ds4_fields_object(f, "stream_options", &options, &given, &rq->refusal, err));
    if (!given) return DS4_OK;
    return ds4_fields_bool(&options, "include_usage", &rq->include_usage, &rq->refusal, err);
}

/* Read the members by which other servers are told to go on with the last message. This one does so anyway;
 * members that ask for something else are refused. */
static ds4_status read_continuation(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice  value;
    bool       opens = true;
    const bool said = ds4_fields_get(f, "add_generation_prompt", &value);

    DS4_TRY(ds4_fields_bool(f, "continue_final_message", &rq->continue_last, &rq->refusal, err));
    DS4_TRY(ds4_fields_bool(f, "add_generation_prompt", &opens, &rq->refusal, err));
    if (said && opens && rq->continue_last) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "add_generation_prompt",
                          "cannot be true together with 'continue_final_message'");
    }
    rq->continue_last |= !opens;
    return DS4_OK;
}

ds4_status ds4_read_chat(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    static const ds4_neutral refused[] = {
        { "audio", NULL }, { "echo", "false" }, { "web_search_options", NULL }, { NULL, NULL },
    };
    ds4_slice value;
    bool      parallel = true;

    /* Some clients send the other API's body here. */
    if (!ds4_fields_get(f, "messages", &value) && ds4_fields_get(f, "input", &value)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, "", "input",
                          "belongs to /v1/responses; this endpoint takes 'messages'");
    }
    DS4_TRY(ds4_refuse_others(rq, f, refused, err));
    DS4_TRY(ds4_read_list(rq, f, "tools", read_tool, NULL, err));
    rq->functions = rq->n_tools == 0;
    if (rq->functions) DS4_TRY(ds4_read_list(rq, f, "functions", read_tool, NULL, err));
    rq->functions = rq->functions && rq->n_tools > 0;
    DS4_TRY(ds4_request_defer_tools(rq, err));
    DS4_TRY(read_message_list(rq, f, err));
    DS4_TRY(read_continuation(rq, f, err));
    DS4_TRY(ds4_read_tool_choice(rq, f, rq->functions ? "function_call" : "tool_choice", err));
    DS4_TRY(ds4_fields_bool(f, "parallel_tool_calls", &parallel, &rq->refusal, err));
    rq->single_call = !parallel || rq->functions;
    DS4_TRY(ds4_read_limit(rq, f, "max_tokens", 1, &rq->max_tokens, err));
    DS4_TRY(ds4_read_limit(rq, f, "max_completion_tokens", 1, &rq->max_tokens, err));
    DS4_TRY(ds4_fields_u32(f, "n", 1, MAX_CHOICES, &rq->n, &rq->refusal, err));
    DS4_TRY(ds4_fields_bool(f, "logprobs", &rq->logprobs, &rq->refusal, err));
    DS4_TRY(ds4_fields_u32(f, "top_logprobs", 0, MAX_TOP_LOGPROBS, &rq->n_top, &rq->refusal, err));
    DS4_TRY(ds4_read_stops(rq, f, "stop", err));
    return read_stream_options(rq, f, err);
}

/* The number of alternatives; chat sends true and false here. */
static ds4_status read_old_logprobs(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice value;

    if (!ds4_fields_get(f, "logprobs", &value)) return DS4_OK;
    rq->logprobs = ds4_pyjson_kind(value) != DS4_JSON_FALSE;
    if (ds4_pyjson_kind(value) != DS4_JSON_NUMBER) return DS4_OK;
    return ds4_fields_u32(f, "logprobs", 0, MAX_TOP_LOGPROBS, &rq->n_top, &rq->refusal, err);
}

ds4_status ds4_read_completions(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice       value, first, second;
    ds4_pyjson_iter it;

    rq->raw = true;
    rq->chat.thinking = false;
    if (!ds4_fields_get(f, "prompt", &value)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "prompt", "is missing");
    }
    if (ds4_pyjson_kind(value) == DS4_JSON_ARRAY) {
        DS4_TRY(ds4_pyjson_open(&it, value, err));
        const bool one = ds4_pyjson_next(&it, NULL, &first) && !ds4_pyjson_next(&it, NULL, &second);
        if (!one || ds4_pyjson_kind(first) != DS4_JSON_STRING) {
            return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, "", "prompt",
                              "must be one text; several prompts and token ids are not supported");
        }
        value = first;
    }
    if (ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "prompt", "must be a string");
    }
    DS4_TRY(ds4_read_content(rq, value, "prompt", "", &rq->prompt, err));
    rq->has_suffix = ds4_fields_get(f, "suffix", &value);
    DS4_TRY(ds4_fields_text(f, "suffix", &rq->suffix, &rq->refusal, err));
    rq->has_suffix = rq->suffix.n_bytes > 0;
    DS4_TRY(ds4_fields_bool(f, "echo", &rq->echo, &rq->refusal, err));
    if (rq->echo && rq->has_suffix) {
        return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, "", "echo",
                          "is not supported together with 'suffix'");
    }
    if (rq->echo && ds4_fields_get(f, "max_tokens", &value)) rq->only_prompt = ds4_slice_is(value, "0");
    if (!rq->only_prompt) DS4_TRY(ds4_read_limit(rq, f, "max_tokens", 1, &rq->max_tokens, err));
    DS4_TRY(ds4_fields_u32(f, "n", 1, MAX_CHOICES, &rq->n, &rq->refusal, err));
    DS4_TRY(read_old_logprobs(rq, f, err));
    DS4_TRY(ds4_read_stops(rq, f, "stop", err));
    return read_stream_options(rq, f, err);
}
