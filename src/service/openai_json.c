/* openai_json.c - see openai_json.h. */
#include "service/openai_json.h"

#include "text/pyjson.h"

#include <stdlib.h>

/* A message while it is put together. The slices point into `text`, whose place in memory
 * is known only when it has stopped growing: until then they hold offsets. */
enum { MAX_CALLS = 4096, MAX_PARTS = 4096 };

typedef struct span {
    size_t from, n_bytes;
} span;

typedef struct draft {
    ds4_str  text;              /* all decoded strings */
    span     content, reasoning, call_id;
    span     call[3 * MAX_CALLS];       /* id, name, arguments of each */
    span     part[MAX_PARTS];
    bool     part_is_text[MAX_PARTS];
    uint32_t n_calls, n_parts;
    ds4_role role;
} draft;

static ds4_status bad(ds4_err *err, uint32_t i, const char *what)
{
    return ds4_fail(err, DS4_E_FORMAT, "messages[%u]: %s", i, what);
}

static bool is_kind(ds4_slice json, ds4_json_kind kind)
{
    return ds4_pyjson_kind(json) == kind;
}

/* Decode a JSON string into the draft. */
static ds4_status add_string(draft *d, ds4_slice json, span *out, ds4_err *err)
{
    out->from = d->text.n_bytes;
    DS4_TRY(ds4_pyjson_decode_string(json, &d->text, err));
    out->n_bytes = d->text.n_bytes - out->from;
    return DS4_OK;
}

static void add_text(draft *d, ds4_slice text, span *out)
{
    out->from = d->text.n_bytes;
    out->n_bytes = text.n_bytes;
    ds4_str_add(&d->text, text.data, text.n_bytes);
}

/* An optional member that is text or null. */
static ds4_status opt_string(draft *d, ds4_slice object, const char *name, uint32_t i, span *out,
                             ds4_err *err)
{
    ds4_slice value;

    if (!ds4_pyjson_get(object, name, &value) || is_kind(value, DS4_JSON_NULL)) return DS4_OK;
    if (!is_kind(value, DS4_JSON_STRING)) {
        return ds4_fail(err, DS4_E_FORMAT, "messages[%u].%s: expected a string", i, name);
    }
    return add_string(d, value, out, err);
}

static ds4_status read_parts(draft *d, ds4_slice list, uint32_t i, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       part, type, text;

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    while (ds4_pyjson_next(&it, NULL, &part)) {
        if (d->n_parts == MAX_PARTS) return bad(err, i, "content has too many parts");
        if (!ds4_pyjson_get(part, "type", &type) || !is_kind(type, DS4_JSON_STRING)) {
            return bad(err, i, "a part of content has no type");
        }
        span *out = &d->part[d->n_parts];
        const bool is_text = ds4_pyjson_get(part, "text", &text) && is_kind(text, DS4_JSON_STRING);
        DS4_TRY(add_string(d, is_text ? text : type, out, err));
        d->part_is_text[d->n_parts++] = is_text;
    }
    return DS4_OK;
}

static ds4_status read_content(draft *d, ds4_slice object, uint32_t i, ds4_err *err)
{
    ds4_slice value;

    if (!ds4_pyjson_get(object, "content", &value) || is_kind(value, DS4_JSON_NULL)) return DS4_OK;
    if (is_kind(value, DS4_JSON_ARRAY)) return read_parts(d, value, i, err);
    if (!is_kind(value, DS4_JSON_STRING)) {
        return bad(err, i, "content is neither text nor a list of parts");
    }
    return add_string(d, value, &d->content, err);
}

static ds4_status read_calls(draft *d, ds4_slice object, uint32_t i, ds4_err *err)
{
    ds4_slice       list, call, function, value;
    ds4_pyjson_iter it;

    if (!ds4_pyjson_get(object, "tool_calls", &list) || is_kind(list, DS4_JSON_NULL)) return DS4_OK;
    if (!is_kind(list, DS4_JSON_ARRAY)) return bad(err, i, "tool_calls is no list");
    DS4_TRY(ds4_pyjson_open(&it, list, err));
    while (ds4_pyjson_next(&it, NULL, &call)) {
        if (d->n_calls == MAX_CALLS) return bad(err, i, "too many tool_calls");
        span *out = &d->call[3 * d->n_calls];
        out[0] = out[1] = (span){ 0, 0 };
        if (!ds4_pyjson_get(call, "function", &function)) {
            return bad(err, i, "a tool call has no function");
        }
        DS4_TRY(opt_string(d, call, "id", i, &out[0], err));
        DS4_TRY(opt_string(d, function, "name", i, &out[1], err));
        if (out[1].n_bytes == 0) return bad(err, i, "a tool call has no name");
        if (!ds4_pyjson_get(function, "arguments", &value)) {
            add_text(d, DS4_SLICE("{}"), &out[2]);
        } else if (is_kind(value, DS4_JSON_STRING)) {
            DS4_TRY(add_string(d, value, &out[2], err));
        } else {
            add_text(d, value, &out[2]);
        }
        d->n_calls++;
    }
    return DS4_OK;
}

static ds4_status read_role(draft *d, ds4_slice object, uint32_t i, ds4_err *err)
{
    ds4_slice  value;
    ds4_str    name = { 0 };

    if (!ds4_pyjson_get(object, "role", &value) || !is_kind(value, DS4_JSON_STRING)) {
        return bad(err, i, "no role");
    }
    ds4_status st = ds4_pyjson_decode_string(value, &name, err);
    if (st == DS4_OK &&
        !ds4_role_from_name((ds4_slice){ ds4_str_text(&name), name.n_bytes }, &d->role)) {
        st = ds4_fail(err, DS4_E_FORMAT, "messages[%u].role: '%.40s' is not known", i,
                      ds4_str_text(&name));
    }
    ds4_str_clear(&name);
    return st;
}

static ds4_slice resolve(const draft *d, span s)
{
    return (ds4_slice){ ds4_str_text(&d->text) + s.from, s.n_bytes };
}

static ds4_status add_draft(const draft *d, ds4_history *h, ds4_err *err)
{
    ds4_call *calls = calloc(d->n_calls + 1, sizeof *calls);
    ds4_part *parts = calloc(d->n_parts + 1, sizeof *parts);
    ds4_status st = DS4_OK;

    if (calls && parts && !d->text.failed) {
        for (uint32_t i = 0; i < d->n_calls; i++) {
            calls[i].id = resolve(d, d->call[3 * i]);
            calls[i].name = resolve(d, d->call[3 * i + 1]);
            calls[i].arguments = resolve(d, d->call[3 * i + 2]);
        }
        for (uint32_t i = 0; i < d->n_parts; i++) {
            parts[i] = (ds4_part){ d->part_is_text[i], resolve(d, d->part[i]) };
        }
        const ds4_message m = {
            .role = d->role,
            .content = resolve(d, d->content),
            .reasoning = resolve(d, d->reasoning),
            .call_id = resolve(d, d->call_id),
            .calls = calls,
            .n_calls = d->n_calls,
            .parts = parts,
            .n_parts = d->n_parts,
        };
        st = ds4_history_add(h, &m, err);
    } else {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a message");
    }
    free(calls);
    free(parts);
    return st;
}

/* The arrays are written before they are read, and too large to be zeroed each time. */
static void begin_draft(draft *d)
{
    d->text = (ds4_str){ 0 };
    d->content = d->reasoning = d->call_id = (span){ 0, 0 };
    d->n_calls = d->n_parts = 0;
    d->role = DS4_ROLE_USER;
}

static ds4_status read_message(draft *d, ds4_slice object, uint32_t i, ds4_history *h, ds4_err *err)
{
    if (!is_kind(object, DS4_JSON_OBJECT)) return bad(err, i, "no object");
    DS4_TRY(read_role(d, object, i, err));
    DS4_TRY(read_content(d, object, i, err));
    DS4_TRY(opt_string(d, object, "reasoning_content", i, &d->reasoning, err));
    DS4_TRY(opt_string(d, object, "tool_call_id", i, &d->call_id, err));
    DS4_TRY(read_calls(d, object, i, err));
    return add_draft(d, h, err);
}

ds4_status ds4_openai_messages(ds4_slice json, ds4_history *h, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       object;
    ds4_status      st = DS4_OK;

    if (!is_kind(json, DS4_JSON_ARRAY)) return ds4_fail(err, DS4_E_FORMAT, "messages is no list");
    DS4_TRY(ds4_pyjson_open(&it, json, err));
    draft *d = malloc(sizeof *d);
    if (!d) return ds4_fail(err, DS4_E_NOMEM, "no memory for a message");
    for (uint32_t i = 0; st == DS4_OK && ds4_pyjson_next(&it, NULL, &object); i++) {
        begin_draft(d);
        st = read_message(d, object, i, h, err);
        ds4_str_clear(&d->text);
    }
    free(d);
    return st;
}

ds4_status ds4_openai_tools(ds4_slice json, ds4_slice **tools, uint32_t *n_tools, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       tool, function;
    uint32_t        n = 0;

    if (!is_kind(json, DS4_JSON_ARRAY)) return ds4_fail(err, DS4_E_FORMAT, "tools is no list");
    DS4_TRY(ds4_pyjson_open(&it, json, err));
    while (ds4_pyjson_next(&it, NULL, &tool)) n++;
    ds4_slice *list = n ? calloc(n, sizeof *list) : NULL;
    if (n && !list) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u tools", n);

    const ds4_status st = ds4_pyjson_open(&it, json, err);
    for (uint32_t i = 0; st == DS4_OK && i < n && ds4_pyjson_next(&it, NULL, &tool); i++) {
        list[i] = ds4_pyjson_get(tool, "function", &function) ? function : tool;
        if (is_kind(list[i], DS4_JSON_OBJECT) && ds4_pyjson_get(list[i], "name", &function)) {
            continue;
        }
        free(list);
        return ds4_fail(err, DS4_E_FORMAT, "tools[%u]: no function with a name", i);
    }
    *tools = list;
    *n_tools = n;
    return st;
}
