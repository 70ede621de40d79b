/* messages_request.c - requests to /v1/messages and /v1/messages/count_tokens. */
#include "app/server/content.h"
#include "app/server/request_members.h"

#include <stdio.h>
#include <string.h>

/* Claude Code puts a line in front of its system text that changes with every request. */
static bool is_volatile(ds4_slice text)
{
    const ds4_slice mark = DS4_SLICE("x-anthropic-");
    return text.n_bytes >= mark.n_bytes && !memcmp(text.data, mark.data, mark.n_bytes);
}

/* ---- system --------------------------------------------------------------------------------- */

static ds4_status read_system(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    ds4_slice       value, one, text;
    ds4_pyjson_iter it;
    ds4_str         all = { 0 };
    ds4_status      st = DS4_OK;
    char            where[32];

    if (!ds4_fields_get(f, "system", &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) == DS4_JSON_ARRAY) {
        st = ds4_pyjson_open(&it, value, err);
        for (uint32_t i = 0; st == DS4_OK && ds4_pyjson_next(&it, NULL, &one); i++) {
            snprintf(where, sizeof where, "system[%u].", i);
            st = ds4_read_content(rq, one, where, "", &text, err);
            if (st != DS4_OK || is_volatile(text) || text.n_bytes == 0) continue;
            if (all.n_bytes) ds4_str_add_char(&all, '\n');
            ds4_str_add(&all, text.data, text.n_bytes);
        }
    } else {
        st = ds4_read_content(rq, value, "system", "\n", &text, err);
        if (st == DS4_OK) ds4_str_add(&all, text.data, text.n_bytes);
    }
    const ds4_slice whole = ds4_arena_take(&rq->arena, &all);
    if (st != DS4_OK || whole.n_bytes == 0) return st;
    ds4_message *m = ds4_request_message(rq, DS4_ROLE_SYSTEM);
    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    m->content = whole;
    return DS4_OK;
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* The blocks of one message become one assistant message, or tool results and user text in
 * their order. */
typedef struct blocks {
    ds4_request *rq;
    ds4_role     role;
    uint32_t     i_message; /* of the open message, plus one; 0: none is open */
    size_t       content_room, reasoning_room;  /* of its texts, see ds4_arena_append() */
    ds4_call    *calls;     /* [n_calls] of all its messages; room for one in each block */
    uint32_t     n_calls;
} blocks;

static ds4_message *open_message(blocks *b)
{
    if (b->i_message == 0) {
        if (!ds4_request_message(b->rq, b->role)) return NULL;
        b->i_message = b->rq->n_messages;
        b->content_room = b->reasoning_room = 0;
    }
    return &b->rq->messages[b->i_message - 1];
}

static void append_text(ds4_request *rq, ds4_slice *to, size_t *room, ds4_slice text,
                        const char *between)
{
    if (to->n_bytes && text.n_bytes) {
        ds4_arena_append(&rq->arena, to, room, (ds4_slice){ between, strlen(between) });
    }
    ds4_arena_append(&rq->arena, to, room, text);
}

static ds4_status read_tool_use(blocks *b, const ds4_fields *f, ds4_err *err)
{
    ds4_request *rq = b->rq;
    ds4_message *m = open_message(b);

    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    ds4_call *call = &b->calls[b->n_calls++];
    if (m->n_calls++ == 0) m->calls = call;
    DS4_TRY(ds4_fields_text(f, "id", &call->id, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(f, "name", &call->name, &rq->refusal, err));
    DS4_TRY(ds4_need_name(rq, f, call->name, err));
    if (!ds4_fields_get(f, "input", &call->arguments)) call->arguments = DS4_SLICE("{}");
    return DS4_OK;
}

static ds4_status read_tool_result(blocks *b, const ds4_fields *f, ds4_err *err)
{
    ds4_request *rq = b->rq;
    ds4_slice    content;
    char         where[80];

    b->i_message = 0;
    ds4_message *m = ds4_request_message(rq, DS4_ROLE_TOOL);
    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    DS4_TRY(ds4_fields_text(f, "tool_use_id", &m->call_id, &rq->refusal, err));
    if (!ds4_fields_get(f, "content", &content)) return DS4_OK;
    snprintf(where, sizeof where, "%.60scontent", f->where);
    return ds4_read_content(rq, content, where, "\n\n", &m->content, err);
}

static bool ends_with(ds4_slice s, const char *end)
{
    const size_t n = strlen(end);
    return s.n_bytes >= n && !memcmp(s.data + s.n_bytes - n, end, n);
}

/* A block that holds words or stands for something without. */
static ds4_status read_words(blocks *b, const ds4_fields *f, bool is_text, ds4_err *err)
{
    const bool   assistant = b->role == DS4_ROLE_ASSISTANT;
    ds4_message *m = open_message(b);
    ds4_slice    text;

    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    DS4_TRY(ds4_read_part(b->rq, f, &text, err));
    append_text(b->rq, &m->content, &b->content_room, text, assistant && is_text ? "" : "\n\n");
    return DS4_OK;
}

/* Blocks of a service's own tools, in a history that began there (server_tool_use, mcp_tool_use and
 * what came of them) are calls and results like others: the message is split around the results. */
static ds4_status read_block(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                             ds4_err *err)
{
    blocks    *b = ctx;
    ds4_fields f;
    ds4_slice  type = { 0 }, text = { 0 };
    const bool assistant = b->role == DS4_ROLE_ASSISTANT;

    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    if (assistant && ds4_slice_is(type, "thinking")) {
        DS4_TRY(ds4_fields_text(&f, "thinking", &text, &rq->refusal, err));
        ds4_message *m = open_message(b);
        if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
        append_text(rq, &m->reasoning, &b->reasoning_room, text, "");
        return DS4_OK;
    }
    if (assistant && ds4_slice_is(type, "redacted_thinking")) return DS4_OK;
    if (assistant && ends_with(type, "tool_use")) return read_tool_use(b, &f, err);
    if (ends_with(type, "tool_result")) return read_tool_result(b, &f, err);
    return read_words(b, &f, ds4_slice_is(type, "text"), err);
}

static ds4_status read_blocks(ds4_request *rq, ds4_slice content, ds4_role role, const char *where,
                               ds4_err *err)
{
    blocks          b = { .rq = rq, .role = role };
    ds4_pyjson_iter it;
    ds4_slice       one;
    uint32_t        n = 0;

    if (ds4_pyjson_kind(content) != DS4_JSON_ARRAY) {
        ds4_message *m = open_message(&b);
        if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
        return ds4_read_content(rq, content, where, "\n\n", &m->content, err);
    }
    DS4_TRY(ds4_pyjson_open(&it, content, err));
    while (ds4_pyjson_next(&it, NULL, &one)) n++;
    b.calls = ds4_arena_alloc(&rq->arena, n + 1, sizeof *b.calls);
    if (!b.calls) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    DS4_TRY(ds4_read_elements(rq, content, where, read_block, &b, err));
    if (n == 0 && !open_message(&b)) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    return DS4_OK;
}

static ds4_status read_message(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                               ds4_err *err)
{
    ds4_fields f;
    ds4_slice  role = { 0 }, content = DS4_SLICE("\"\"");
    ds4_role   kind = DS4_ROLE_USER;
    char       at[80];

    (void)ctx;
    if (ds4_pyjson_kind(json) != DS4_JSON_OBJECT) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "", "must be an object");
    }
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "role", &role, &rq->refusal, err));
    if (!ds4_role_from_name(role, &kind) ||
        (kind != DS4_ROLE_USER && kind != DS4_ROLE_ASSISTANT && kind != DS4_ROLE_SYSTEM)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "role",
                          "must be user, assistant or system");
    }
    ds4_fields_get(&f, "content", &content);
    snprintf(at, sizeof at, "%.60scontent", where);
    return read_blocks(rq, content, kind, at, err);
}

static ds4_status read_message_list(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    const uint32_t n_before = rq->n_messages;
    ds4_slice      list;

    if (!ds4_fields_get(f, "messages", &list) || ds4_pyjson_kind(list) != DS4_JSON_ARRAY) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "messages",
                          "is missing or not a list");
    }
    DS4_TRY(ds4_read_elements(rq, list, "messages", read_message, NULL, err));
    if (rq->n_messages > n_before) return DS4_OK;
    /* Hidden reasoning alone makes no message. */
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "messages", "must not be empty");
}

/* ---- tools ---------------------------------------------------------------------------------- */

static bool begins_with(ds4_slice s, const char *begin)
{
    const size_t n = strlen(begin);
    return s.n_bytes >= n && !memcmp(s.data, begin, n);
}

/* Tools that the service itself would run carry a type and no schema: they are left out. Without the
 * service's search for tools nothing could find deferred ones. */
static ds4_status read_tool(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                            ds4_err *err)
{
    ds4_fields f;
    ds4_tool   tool = { 0 };
    ds4_slice  type = { 0 }, ignored;

    (void)ctx;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    const bool own = type.n_bytes == 0 || ds4_slice_is(type, "custom") || ds4_slice_is(type, "function");
    if (own || ds4_fields_get(&f, "input_schema", &ignored)) return ds4_read_tool(rq, &f, &tool, err);
    rq->defer_none |= begins_with(type, "tool_search_tool");
    return DS4_OK;
}

/* ---- the request ---------------------------------------------------------------------------- */

ds4_status ds4_read_messages(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    static const ds4_neutral refused[] = {
        { "container", NULL },
        { "mcp_servers", "[]" },
        { NULL, NULL },
    };

    DS4_TRY(ds4_refuse_others(rq, f, refused, err));
    DS4_TRY(ds4_read_list(rq, f, "tools", read_tool, NULL, err));
    DS4_TRY(ds4_request_defer_tools(rq, err));
    DS4_TRY(read_system(rq, f, err));
    DS4_TRY(read_message_list(rq, f, err));
    DS4_TRY(ds4_read_tool_choice(rq, f, "tool_choice", err));
    DS4_TRY(ds4_read_limit(rq, f, "max_tokens", 1, &rq->max_tokens, err));
    return ds4_read_stops(rq, f, "stop_sequences", err);
}
