/* responses_request.c - requests to /v1/responses. */
#include "app/server/request_members.h"

#include <stdio.h>
#include <string.h>

static const char *const text_types[] = { "input_text",   "output_text",    "text", "refusal",
                                          "summary_text", "reasoning_text", NULL };

/* The name of a namespace is part of each name in it: without a bound, a body of half a name and
 * half tools would take memory as its square. */
enum { MAX_NAMESPACE_BYTES = 256 };

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

/* The name that the model sees of what lies in a namespace. */
static ds4_slice full_name(ds4_request *rq, ds4_slice space, ds4_slice name)
{
    ds4_str both = { 0 };

    if (space.n_bytes == 0) return name;
    ds4_str_add(&both, space.data, space.n_bytes);
    ds4_str_add(&both, name.data, name.n_bytes);
    return ds4_arena_take(&rq->arena, &both);
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
    snprintf(where, sizeof where, "%.60scontent", f->where);
    if (ds4_fields_get(f, "content", &value)) {
        DS4_TRY(ds4_read_text(rq, value, where, text_types,
                              kind == DS4_ROLE_ASSISTANT ? "" : "\n\n", &text, err));
    }
    if (kind != DS4_ROLE_ASSISTANT) {
        ds4_message *m = ds4_request_message(rq, kind);
        if (!m) return no_memory(err);
        m->content = text;
        return DS4_OK;
    }
    ds4_message *m = assistant(rq, turn);
    if (!m) return no_memory(err);
    ds4_arena_append(&rq->arena, &m->content, &turn->content_room, text);
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
        DS4_TRY(ds4_read_text(rq, value, where, text_types, "", &text, err));
    }
    ds4_arena_append(&rq->arena, &m->reasoning, &turn->reasoning_room, text);
    return DS4_OK;
}

/* {"input": TEXT}, how the model sees a call of a tool that takes free text. */
static ds4_slice custom_arguments(ds4_request *rq, ds4_slice input)
{
    ds4_str json = { 0 };

    ds4_str_add_text(&json, "{\"input\": ");
    ds4_pyjson_add_string(&json, input);
    ds4_str_add_text(&json, "}");
    return ds4_arena_take(&rq->arena, &json);
}

static ds4_status read_call(ds4_request *rq, const ds4_fields *f, bool custom, open_turn *turn,
                            ds4_err *err)
{
    ds4_call  call = { .arguments = DS4_SLICE("{}") };
    ds4_slice input = { 0 }, space = { 0 };

    DS4_TRY(ds4_fields_text(f, "call_id", &call.id, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "name", &call.name, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "namespace", &space, &rq->refusal, err));
    DS4_TRY(ds4_need_name(rq, f, call.name, err));
    call.name = full_name(rq, space, call.name);
    if (custom) {
        DS4_TRY(ds4_fields_text(f, "input", &input, &rq->refusal, err));
        call.arguments = custom_arguments(rq, input);
    } else {
        DS4_TRY(ds4_fields_text(f, "arguments", &call.arguments, &rq->refusal, err));
    }
    ds4_message *m = assistant(rq, turn);
    if (!m) return no_memory(err);
    ds4_call *calls = ds4_arena_grow(&rq->arena, turn->calls, m->n_calls, &turn->cap_calls,
                                     sizeof *calls);
    if (!calls) return no_memory(err);
    calls[m->n_calls++] = call;
    m->calls = turn->calls = calls;
    return DS4_OK;
}

static ds4_status read_output(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice value;
    char      where[80];

    ds4_message *m = ds4_request_message(rq, DS4_ROLE_TOOL);
    if (!m) return no_memory(err);
    DS4_TRY(ds4_fields_text(f, "call_id", &m->call_id, &rq->refusal, err));
    if (!ds4_fields_get(f, "output", &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) == DS4_JSON_OBJECT) {
        m->content = value;
        return DS4_OK;
    }
    snprintf(where, sizeof where, "%.60soutput", f->where);
    return ds4_read_text(rq, value, where, text_types, "\n\n", &m->content, err);
}

static bool ends_with(ds4_slice s, const char *end)
{
    const size_t n = strlen(end);
    return s.n_bytes >= n && !memcmp(s.data + s.n_bytes - n, end, n);
}

/* Items of a kind that means nothing here (compaction, calls of hosted tools) are passed
 * over: they carry no text that the model could read. The context is the open turn. */
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
    if (ds4_slice_is(type, "item_reference")) {
        return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, where, "type",
                          "is 'item_reference', which is not supported: replay the item itself");
    }
    return DS4_OK;
}

/* The input as items, behind those of earlier responses. */
static ds4_status read_input(ds4_request *rq, const ds4_fields *f, ds4_slice earlier, ds4_err *err)
{
    ds4_slice value;
    ds4_str   items = { 0 };
    open_turn turn = { 0 };

    if (!ds4_fields_get(f, "input", &value)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input", "is missing");
    }
    const ds4_json_kind kind = ds4_pyjson_kind(value);
    if (kind != DS4_JSON_STRING && kind != DS4_JSON_ARRAY) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input",
                          "must be a string or a list of items");
    }
    ds4_str_add_char(&items, '[');
    ds4_str_add(&items, earlier.data, earlier.n_bytes);
    size_t own = items.n_bytes;
    if (kind == DS4_JSON_STRING) {
        ds4_str_add_text(&items, earlier.n_bytes ? "," : "");
        own = items.n_bytes;
        ds4_str_add_text(&items, "{\"role\":\"user\",\"content\":");
        ds4_str_add(&items, value.data, value.n_bytes);
        ds4_str_add_char(&items, '}');
    } else {
        const ds4_slice inside = { value.data + 1, value.n_bytes - 2 };
        const bool      empty = strspn(inside.data, " \t\r\n") >= inside.n_bytes;
        if (earlier.n_bytes && !empty) ds4_str_add_char(&items, ',');
        own = items.n_bytes;
        if (!empty) ds4_str_add(&items, inside.data, inside.n_bytes);
    }
    ds4_str_add_char(&items, ']');
    const ds4_slice all = ds4_arena_take(&rq->arena, &items);
    rq->items = (ds4_slice){ all.data + own, all.n_bytes > own ? all.n_bytes - own - 1 : 0 };
    return ds4_read_elements(rq, all, "input", read_item, &turn, err);
}

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
    static const char custom_schema[] =
        "{\"type\": \"object\", \"properties\": {\"input\": {\"type\": \"string\"}}, "
        "\"required\": [\"input\"]}";
    const ds4_slice space = ctx ? *(const ds4_slice *)ctx : (ds4_slice){ 0 };
    ds4_fields      f;
    ds4_tool        tool = { .space = space };
    ds4_slice       type = DS4_SLICE("function"), description = { 0 }, parameters;

    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    if (ds4_slice_is(type, "namespace") && !ctx) return read_namespace(rq, &f, err);
    tool.custom = ds4_slice_is(type, "custom");
    if (!tool.custom && !ds4_slice_is(type, "function")) return DS4_OK;
    DS4_TRY(ds4_read_tool_words(rq, &f, &tool.own_name, &description, err));
    DS4_TRY(ds4_need_name(rq, &f, tool.own_name, err));
    tool.name = full_name(rq, space, tool.own_name);
    if (tool.custom) {
        parameters = (ds4_slice){ custom_schema, sizeof custom_schema - 1 };
    } else {
        DS4_TRY(ds4_read_parameters(rq, &f, "parameters", &parameters, err));
    }
    return ds4_request_tool(rq, &tool, description, parameters, where, err);
}

static ds4_status read_tool_choice(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice  value;
    ds4_fields choice;
    bool       given;

    if (!ds4_fields_get(f, "tool_choice", &value) || ds4_json_text_is(value, "auto")) return DS4_OK;
    if (ds4_json_text_is(value, "none")) {
        rq->tool_choice = DS4_TOOLS_NONE;
    } else if (ds4_json_text_is(value, "required")) {
        rq->tool_choice = DS4_TOOLS_REQUIRED;
    } else if (ds4_pyjson_kind(value) == DS4_JSON_OBJECT) {
        DS4_TRY(ds4_fields_object(f, "tool_choice", &choice, &given, &rq->refusal, err));
        DS4_TRY(ds4_fields_text(&choice, "name", &rq->tool_name, &rq->refusal, err));
        rq->tool_choice = DS4_TOOLS_NAMED;
        if (rq->tool_name.n_bytes == 0) {
            return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, "", "tool_choice",
                              "can be a function only");
        }
    } else {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "tool_choice",
                          "must be auto, none, required or a function");
    }
    return DS4_OK;
}

/* ---- the request ---------------------------------------------------------------------------- */

static ds4_status read_reasoning_options(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_fields options;
    ds4_slice  effort = { 0 }, summary = { 0 };
    bool       given;

    DS4_TRY(ds4_fields_object(f, "reasoning", &options, &given, &rq->refusal, err));
    if (!given) return DS4_OK;
    DS4_TRY(ds4_fields_text(&options, "effort", &effort, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&options, "summary", &summary, &rq->refusal, err));
    rq->summary = summary.n_bytes > 0 && !ds4_slice_is(summary, "none");
    if (effort.n_bytes == 0) return DS4_OK;
    if (!ds4_effort_from_name(effort, &rq->chat.effort, &rq->chat.thinking)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, options.where, "effort",
                          "must be none, minimal, low, medium, high, xhigh or max");
    }
    return DS4_OK;
}

/* What the response object repeats of the request. */
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
        { "store", "true" },
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
    ds4_slice  instructions = { 0 }, earlier = { 0 }, format;
    ds4_fields text;
    bool       given, parallel = true;

    rq->store = true;
    DS4_TRY(ds4_refuse_others(rq, f, refused, err));
    DS4_TRY(ds4_fields_text(f, "instructions", &instructions, &rq->refusal, err));
    if (instructions.n_bytes) {
        ds4_message *m = ds4_request_message(rq, DS4_ROLE_SYSTEM);
        if (!m) return no_memory(err);
        m->content = instructions;
    }
    DS4_TRY(read_earlier(rq, f, recall, recall_ctx, &earlier, err));
    DS4_TRY(read_input(rq, f, earlier, err));
    if (rq->n_messages == 0) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "input", "must not be empty");
    }
    DS4_TRY(ds4_read_list(rq, f, "tools", read_tool, NULL, err));
    DS4_TRY(read_tool_choice(rq, f, err));
    DS4_TRY(read_reasoning_options(rq, f, err));
    DS4_TRY(ds4_fields_object(f, "text", &text, &given, &rq->refusal, err));
    if (given && ds4_fields_get(&text, "format", &format)) {
        DS4_TRY(ds4_read_format(rq, format, "text.format.", err));
    }
    DS4_TRY(ds4_fields_bool(f, "store", &rq->store, &rq->refusal, err));
    DS4_TRY(ds4_fields_bool(f, "parallel_tool_calls", &parallel, &rq->refusal, err));
    rq->single_call = !parallel;
    DS4_TRY(ds4_fields_u32(f, "max_tokens", 1, INT32_MAX, &rq->max_tokens, &rq->refusal, err));
    DS4_TRY(
        ds4_fields_u32(f, "max_output_tokens", 1, INT32_MAX, &rq->max_tokens, &rq->refusal, err));
    echo_fields(rq, f);
    return DS4_OK;
}
