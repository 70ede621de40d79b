/* responses_request.c - requests to /v1/responses. */
#include "app/server/content.h"
#include "app/server/request_members.h"

#include <stdio.h>
#include <string.h>

/* The name of a namespace is part of each name in it: without a bound, a body of half a name and
 * half tools would take memory as its square. */
enum { MAX_NAMESPACE_BYTES = 256 };

/* ---- tools ---------------------------------------------------------------------------------- */

static ds4_status read_tool(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                            ds4_err *err);

static ds4_status read_namespace(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice name = { 0 }, list;

    DS4_TRY(ds4_fields_text(f, "name", &name, &rq->refusal, err));
    if (name.n_bytes > MAX_NAMESPACE_BYTES) {
        return ds4_refuse(&rq->refusal, err, DS4_E_LIMIT, f->where, "name",
                          "takes at most 256 bytes for a namespace");
    }
    if (!ds4_fields_get(f, "tools", &list) || ds4_pyjson_kind(list) != DS4_JSON_ARRAY)
        return DS4_OK;
    return ds4_read_list(rq, f, "tools", read_tool, &name, err);
}

/* Hosted tools (web_search and the like) run elsewhere: the model is not told of them. Nor is it
 * of a namespace inside another. The context is the name of the namespace around it, or NULL. */
static ds4_status read_tool(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                            ds4_err *err)
{
    ds4_fields f;
    ds4_tool   tool = { .loaded = rq->finding };
    ds4_slice  type = DS4_SLICE("function"), ignored;

    if (ctx) tool.space = *(const ds4_slice *)ctx;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    if (ds4_slice_is(type, "namespace") && !ctx) return read_namespace(rq, &f, err);
    if (ds4_slice_is(type, "tool_search")) rq->defer_none = true;
    tool.custom = ds4_slice_is(type, "custom") && !ds4_fields_get(&f, "input_schema", &ignored);
    if (!tool.custom && !ds4_slice_is(type, "function") && !ds4_slice_is(type, "custom")) return DS4_OK;
    return ds4_read_tool(rq, &f, &tool, err);
}

/* ---- items ---------------------------------------------------------------------------------- */

/* Reasoning, message and calls that follow each other are one turn of the assistant. */
typedef struct open_turn {
    size_t    content_room, reasoning_room;     /* of its texts, see ds4_arena_append() */
    ds4_call *calls;                            /* those of the message */
    uint32_t  cap_calls;
} open_turn;

/* The message of the turn, a new one unless the last message is an assistant's; NULL when memory
 * is short. */
static ds4_message *assistant(ds4_request *rq, open_turn *t)
{
    if (rq->n_messages && rq->messages[rq->n_messages - 1].role == DS4_ROLE_ASSISTANT) {
        return &rq->messages[rq->n_messages - 1];
    }
    *t = (open_turn){ 0 };
    return ds4_request_message(rq, DS4_ROLE_ASSISTANT);
}

static ds4_status no_memory(ds4_err *err)
{
    return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
}

static ds4_status read_message(ds4_request *rq, const ds4_fields *f, open_turn *turn, ds4_err *err)
{
    ds4_slice role = { 0 }, value, text = { 0 };
    ds4_role  kind = DS4_ROLE_USER;
    char      where[80];

    DS4_TRY(ds4_fields_text(f, "role", &role, &rq->refusal, err));
    if (!ds4_role_from_name(role, &kind)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, "role",
                          "must be system, developer, user or assistant");
    }
    const bool   own = kind == DS4_ROLE_ASSISTANT;
    ds4_message *m = own ? assistant(rq, turn) : ds4_request_message(rq, kind);
    if (!m) return no_memory(err);
    snprintf(where, sizeof where, "%.60scontent", f->where);
    if (!ds4_fields_get(f, "content", &value)) return DS4_OK;
    DS4_TRY(ds4_read_content(rq, value, where, own ? "" : "\n\n", &text, err));
    if (own) {
        ds4_arena_append(&rq->arena, &m->content, &turn->content_room, text);
    } else {
        m->content = text;
    }
    return DS4_OK;
}

static ds4_status read_reasoning(ds4_request *rq, const ds4_fields *f, open_turn *turn,
                                 ds4_err *err)
{
    static const char *const members[] = { "content", "summary" };
    ds4_slice                value, text = { 0 };
    char                     where[80];

    ds4_message *m = assistant(rq, turn);
    if (!m) return no_memory(err);
    for (size_t i = 0; i < 2 && text.n_bytes == 0; i++) {
        if (!ds4_fields_get(f, members[i], &value)) continue;
        snprintf(where, sizeof where, "%.60s%s", f->where, members[i]);
        DS4_TRY(ds4_read_content(rq, value, where, "", &text, err));
    }
    ds4_arena_append(&rq->arena, &m->reasoning, &turn->reasoning_room, text);
    return DS4_OK;
}

static ds4_status add_call(ds4_request *rq, const ds4_call *call, open_turn *turn, ds4_err *err)
{
    ds4_message *m = assistant(rq, turn);
    ds4_call    *calls = m ? ds4_arena_grow(&rq->arena, turn->calls, m->n_calls, &turn->cap_calls,
                                            sizeof *calls)
                           : NULL;

    if (!calls) return no_memory(err);
    calls[m->n_calls++] = *call;
    m->calls = turn->calls = calls;
    return DS4_OK;
}

/* A call that a stream had begun and that turned out to be none has its text behind it. */
static bool is_no_call(const ds4_fields *f)
{
    ds4_slice status;
    return ds4_fields_get(f, "status", &status) && ds4_json_text_is(status, "incomplete");
}

static ds4_status read_call(ds4_request *rq, const ds4_fields *f, bool custom, open_turn *turn,
                            ds4_err *err)
{
    ds4_call  call = { .arguments = DS4_SLICE("{}") };
    ds4_slice input = { 0 }, space = { 0 };

    if (is_no_call(f)) return DS4_OK;
    DS4_TRY(ds4_fields_text(f, "call_id", &call.id, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "name", &call.name, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "namespace", &space, &rq->refusal, err));
    DS4_TRY(ds4_need_name(rq, f, call.name, err));
    call.name = ds4_full_name(rq, space, call.name);
    if (custom) {
        DS4_TRY(ds4_fields_text(f, "input", &input, &rq->refusal, err));
        call.arguments = ds4_custom_arguments(rq, input);
    } else {
        DS4_TRY(ds4_fields_text(f, "arguments", &call.arguments, &rq->refusal, err));
    }
    return add_call(rq, &call, turn, err);
}

/* The tools that a search found: they can be called from there on. */
static ds4_status read_found_tools(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    const uint32_t n_before = rq->n_tools;
    ds4_str        text = { 0 };
    ds4_status     st = DS4_OK;
    ds4_message   *m = ds4_request_message(rq, DS4_ROLE_TOOL);

    if (!m) return no_memory(err);
    DS4_TRY(ds4_fields_text(f, "call_id", &m->call_id, &rq->refusal, err));
    rq->finding = true;
    DS4_TRY(ds4_read_list(rq, f, "tools", read_tool, NULL, err));
    rq->finding = false;
    for (uint32_t i = n_before; i < rq->n_tools && st == DS4_OK; i++) {
        rq->tools[i].deferred = true;
        ds4_str_add_text(&text, i == n_before ? "These tools can be called from now on:\n" : "\n");
        st = ds4_pyjson_dump(rq->tool_json[i], &text, err);
    }
    m->content = ds4_arena_take(&rq->arena, &text);
    return st;
}

static ds4_status read_output(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice value;
    char      where[80];

    ds4_message *m = ds4_request_message(rq, DS4_ROLE_TOOL);
    if (!m) return no_memory(err);
    DS4_TRY(ds4_fields_text(f, "call_id", &m->call_id, &rq->refusal, err));
    if (!ds4_fields_get(f, "output", &value)) return DS4_OK;
    snprintf(where, sizeof where, "%.60soutput", f->where);
    return ds4_read_content(rq, value, where, "\n\n", &m->content, err);
}

static bool ends_with(ds4_slice s, const char *end)
{
    const size_t n = strlen(end);
    return s.n_bytes >= n && !memcmp(s.data + s.n_bytes - n, end, n);
}

/* Read a hosted tool's question and answer as a call and a result like others. The
 * call has the name of its kind, or its own. */
static ds4_status read_hosted_call(ds4_request *rq, const ds4_fields *f, ds4_slice type, open_turn *turn,
                                   ds4_err *err)
{
    static const char *const asked[] = { "arguments", "action", "input", "code", "queries", NULL };
    static const char *const given[] = { "output", "outputs", "results", "error", NULL };
    ds4_call                 call = { .arguments = DS4_SLICE("{}"), .name = type };
    ds4_slice                value;
    char                     where[80];

    call.name.n_bytes -= strlen("_call");
    DS4_TRY(ds4_fields_text(f, "id", &call.id, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "call_id", &call.id, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "name", &call.name, &rq->refusal, err));
    for (size_t i = 0; asked[i]; i++) {
        if (!ds4_fields_get(f, asked[i], &call.arguments)) continue;
        if (ds4_pyjson_kind(call.arguments) != DS4_JSON_STRING) break;
        DS4_TRY(ds4_fields_text(f, asked[i], &call.arguments, &rq->refusal, err));
        break;
    }
    DS4_TRY(add_call(rq, &call, turn, err));
    if (ds4_fields_get(f, "call_id", &value)) return DS4_OK;    /* its output is an item of its own */
    ds4_message *m = ds4_request_message(rq, DS4_ROLE_TOOL);
    if (!m) return no_memory(err);
    m->call_id = call.id;
    for (size_t i = 0; given[i] && m->content.n_bytes == 0; i++) {
        if (!ds4_fields_get(f, given[i], &value)) continue;
        snprintf(where, sizeof where, "%.60s%s", f->where, given[i]);
        DS4_TRY(ds4_read_content(rq, value, where, "\n", &m->content, err));
    }
    if (m->content.n_bytes == 0) m->content = DS4_SLICE("[the result is not part of this conversation]");
    return DS4_OK;
}

/* Items of a kind that means nothing here (compaction, lists and approvals of MCP) are passed over: they
 * carry no text that the model could read. The context is the open turn. */
static ds4_status read_item(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                            ds4_err *err)
{
    ds4_fields f;
    ds4_slice  type = DS4_SLICE("message");

    if (ds4_pyjson_kind(json) != DS4_JSON_OBJECT) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "", "must be an object");
    }
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    if (ds4_slice_is(type, "message")) return read_message(rq, &f, ctx, err);
    if (ds4_slice_is(type, "reasoning")) return read_reasoning(rq, &f, ctx, err);
    if (ds4_slice_is(type, "function_call")) return read_call(rq, &f, false, ctx, err);
    if (ds4_slice_is(type, "custom_tool_call")) return read_call(rq, &f, true, ctx, err);
    if (ends_with(type, "_call_output")) return read_output(rq, &f, err);
    if (ds4_slice_is(type, "tool_search_output")) return read_found_tools(rq, &f, err);
    if (ends_with(type, "_call")) return read_hosted_call(rq, &f, type, ctx, err);
    return DS4_OK;
}

/* ---- the input ------------------------------------------------------------------------------ */

/* Finds items that this server gave out: their ids hold that of their response. */
typedef struct lookup {
    ds4_recall_fn *recall;
    void          *ctx;
    char           response[DS4_RESPONSE_ID_BYTES];     /* whose items are at hand */
    ds4_slice      items;       /* as a JSON list */
} lookup;

/* The id of the response that an item belongs to: "msg_" HEX NUMBER is of "resp_" HEX. */
static bool response_of(ds4_slice item, char out[DS4_RESPONSE_ID_BYTES])
{
    const char *hex = item.n_bytes ? memchr(item.data, '_', item.n_bytes) : NULL;

    if (!hex || item.n_bytes - (size_t)(hex + 1 - item.data) < DS4_RESPONSE_HEX) return false;
    snprintf(out, DS4_RESPONSE_ID_BYTES, "resp_%.*s", DS4_RESPONSE_HEX, hex + 1);
    return true;
}

static bool find_item(ds4_request *rq, lookup *l, ds4_slice id, ds4_slice *item)
{
    char            response[DS4_RESPONSE_ID_BYTES];
    ds4_slice       items, value;
    ds4_pyjson_iter it;
    ds4_str         list = { 0 }, text = { 0 };
    bool            found = false;

    if (!l->recall || !response_of(id, response)) return false;
    if (strcmp(response, l->response) != 0) {
        const ds4_slice name = { response, strlen(response) };
        if (!l->recall(l->ctx, name, &rq->arena, &items)) return false;
        ds4_str_add_char(&list, '[');
        ds4_str_add(&list, items.data, items.n_bytes);
        ds4_str_add_char(&list, ']');
        l->items = ds4_arena_take(&rq->arena, &list);
        snprintf(l->response, sizeof l->response, "%s", response);
    }
    if (ds4_pyjson_open(&it, l->items, NULL) != DS4_OK) return false;
    while (!found && ds4_pyjson_next(&it, NULL, item)) {
        if (!ds4_pyjson_get(*item, "id", &value) || ds4_pyjson_kind(value) != DS4_JSON_STRING) continue;
        ds4_str_truncate(&text, 0);
        found = ds4_pyjson_decode_string(value, &text, NULL) == DS4_OK &&
                ds4_slice_eq((ds4_slice){ ds4_str_text(&text), text.n_bytes }, id);
    }
    ds4_str_clear(&text);
    return found;
}

/* An item, or what a reference to one stands for. */
static ds4_status resolve(ds4_request *rq, lookup *l, ds4_slice *item, const char *where, ds4_err *err)
{
    ds4_fields f;
    ds4_slice  type = { 0 }, id = { 0 }, ignored;
    char       what[160];

    if (ds4_pyjson_kind(*item) != DS4_JSON_OBJECT) return DS4_OK;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, *item, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    const bool bare = type.n_bytes == 0 && !ds4_fields_get(&f, "role", &ignored);
    if (!bare && !ds4_slice_is(type, "item_reference")) return DS4_OK;
    DS4_TRY(ds4_fields_text(&f, "id", &id, &rq->refusal, err));
    if (find_item(rq, l, id, item)) return DS4_OK;
    snprintf(what, sizeof what,
             "is '%.64s', an item that is not known here (any more): replay the item itself",
             id.n_bytes ? id.data : "");
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "id", what);
}

/* Append the elements of the input's list, with references replaced by what they stand for: so the
 * response that is kept does not hang on others. */
static ds4_status add_items(ds4_request *rq, lookup *l, ds4_slice list, ds4_str *out, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       one;
    char            where[48];

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    for (uint32_t i = 0; ds4_pyjson_next(&it, NULL, &one); i++) {
        snprintf(where, sizeof where, "input[%u].", i);
        DS4_TRY(resolve(rq, l, &one, where, err));
        if (i > 0) ds4_str_add_char(out, ',');
        ds4_str_add(out, one.data, one.n_bytes);
    }
    return DS4_OK;
}

/* The input as items, behind those of earlier responses. */
static ds4_status read_input(ds4_request *rq, const ds4_fields *f, ds4_slice earlier, lookup *l, ds4_err *err)
{
    ds4_slice  value;
    ds4_str    own = { 0 }, all = { 0 };
    open_turn  turn = { 0 };
    ds4_status st = DS4_OK;

    if (!ds4_fields_get(f, "input", &value)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input", "is missing");
    }
    const ds4_json_kind kind = ds4_pyjson_kind(value);
    if (kind == DS4_JSON_STRING) {
        ds4_str_add_text(&own, "{\"role\":\"user\",\"content\":");
        ds4_str_add(&own, value.data, value.n_bytes);
        ds4_str_add_char(&own, '}');
    } else if (kind == DS4_JSON_ARRAY) {
        st = add_items(rq, l, value, &own, err);
    } else {
        st = ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input", "must be a string or a list of items");
    }
    rq->items = ds4_arena_take(&rq->arena, &own);
    DS4_TRY(st);
    ds4_str_add_char(&all, '[');
    ds4_str_add(&all, earlier.data, earlier.n_bytes);
    if (earlier.n_bytes && rq->items.n_bytes) ds4_str_add_char(&all, ',');
    ds4_str_add(&all, rq->items.data, rq->items.n_bytes);
    ds4_str_add_char(&all, ']');
    return ds4_read_elements(rq, ds4_arena_take(&rq->arena, &all), "input", read_item, &turn, err);
}

/* ---- the request ---------------------------------------------------------------------------- */

/* Whether reasoning is wanted as a summary; ds4_read_thinking() has read the rest. */
static ds4_status read_summary(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_fields options;
    ds4_slice  value, summary = { 0 };
    bool       given;

    if (!ds4_fields_get(f, "reasoning", &value) || ds4_pyjson_kind(value) != DS4_JSON_OBJECT) return DS4_OK;
    DS4_TRY(ds4_fields_object(f, "reasoning", &options, &given, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&options, "summary", &summary, &rq->refusal, err));
    rq->summary = summary.n_bytes > 0 && !ds4_slice_is(summary, "none");
    return DS4_OK;
}

/* Members of the request that the response object repeats. */
static void echo_fields(ds4_request *rq, const ds4_fields *f)
{
    static const struct {
        const char *name, *otherwise;
    } members[] = {
        { "instructions", "null" },
        { "max_output_tokens", "null" },
        { "parallel_tool_calls", "true" },
        { "previous_response_id", "null" },
        { "reasoning", "{\"effort\":null,\"summary\":null}" },
        { "temperature", "1.0" },
        { "text", "{\"format\":{\"type\":\"text\"}}" },
        { "tool_choice", "\"auto\"" },
        { "tools", "[]" },
        { "top_p", "1.0" },
        { "truncation", "\"disabled\"" },
        { "metadata", "{}" },
    };
    ds4_str   out = { 0 };
    ds4_slice value;

    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        ds4_str_addf(&out, ",\"%s\":", members[i].name);
        if (ds4_fields_get(f, members[i].name, &value)) {
            ds4_str_add(&out, value.data, value.n_bytes);
        } else {
            ds4_str_add_text(&out, members[i].otherwise);
        }
    }
    rq->echo_fields = ds4_arena_take(&rq->arena, &out);
}

static ds4_status read_earlier(ds4_request *rq, const ds4_fields *f, ds4_recall_fn *recall,
                               void *recall_ctx, ds4_slice *items, ds4_err *err)
{
    DS4_TRY(ds4_fields_text(f, "previous_response_id", &rq->previous_id, &rq->refusal, err));
    if (rq->previous_id.n_bytes == 0) return DS4_OK;
    if (recall && recall(recall_ctx, rq->previous_id, &rq->arena, items)) return DS4_OK;
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "previous_response_id",
                      "is not known here (any more): replay the full input instead");
}

ds4_status ds4_read_responses(ds4_request *rq, const ds4_fields *f, ds4_recall_fn *recall,
                              void *recall_ctx, ds4_err *err)
{
    static const ds4_neutral refused[] = {
        { "conversation", NULL },   { "background", "false" }, { "prompt", NULL },
        { "max_tool_calls", NULL }, { "top_logprobs", "0" },   { NULL, NULL },
    };
    ds4_slice instructions = { 0 }, earlier = { 0 };
    lookup    known = { .recall = recall, .ctx = recall_ctx };
    bool      parallel = true;

    rq->store = true;
    DS4_TRY(ds4_refuse_others(rq, f, refused, err));
    DS4_TRY(ds4_read_list(rq, f, "tools", read_tool, NULL, err));
    DS4_TRY(ds4_request_defer_tools(rq, err));
    DS4_TRY(ds4_fields_text(f, "instructions", &instructions, &rq->refusal, err));
    if (instructions.n_bytes) {
        ds4_message *m = ds4_request_message(rq, DS4_ROLE_SYSTEM);
        if (!m) return no_memory(err);
        m->content = instructions;
    }
    DS4_TRY(read_earlier(rq, f, recall, recall_ctx, &earlier, err));
    DS4_TRY(read_input(rq, f, earlier, &known, err));
    if (rq->n_messages == 0) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input", "must not be empty");
    }
    DS4_TRY(ds4_read_tool_choice(rq, f, "tool_choice", err));
    DS4_TRY(read_summary(rq, f, err));
    DS4_TRY(ds4_fields_bool(f, "store", &rq->store, &rq->refusal, err));
    DS4_TRY(ds4_fields_bool(f, "parallel_tool_calls", &parallel, &rq->refusal, err));
    rq->single_call = !parallel;
    DS4_TRY(ds4_read_limit(rq, f, "max_tokens", 1, &rq->max_tokens, err));
    DS4_TRY(ds4_read_limit(rq, f, "max_output_tokens", 1, &rq->max_tokens, err));
    echo_fields(rq, f);
    return DS4_OK;
}
