/* mcp_talk.c - what is said with one MCP server: the beginning, its tools, calls, and what it asks. */
#include "agent/mcp_local.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 128, MAX_DESCRIPTION = 4096, MAX_SCHEMA = 32768, MAX_REFUSAL = 2048 };

/* Newest first: what is offered, and what is accepted from a server. */
static const char *const versions[] = { "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05" };

/* ---- waiting --------------------------------------------------------------------------------- */

static void begin_wait(mcp_wait *wait, const volatile int *cancelled, uint32_t ms, uint32_t most_ms)
{
    const uint64_t now = ds4_now_ns();

    *wait = (mcp_wait){ .cancelled = cancelled, .latest_ns = now + most_ms * UINT64_C(1000000) };
    wait->until_ns = now + ms * UINT64_C(1000000);
    if (wait->until_ns > wait->latest_ns) wait->until_ns = wait->latest_ns;
}

/* ---- what the server sends -------------------------------------------------------------------------- */

static void post(mcp_talk *t, ds4_str *message)
{
    if (t->wire && !message->failed)
        t->wire->ops->post(t->wire, (ds4_slice){ message->data, message->n_bytes });
    ds4_str_clear(message);
}

/* The address of a folder: bytes beyond the plain ones are written as %XX. */
static void add_file_url(const char *path, ds4_str *out)
{
    ds4_str_add_text(out, "file://");
    for (; *path; path++) {
        const char c = *path;
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           strchr("/-._~", c);
        if (plain) ds4_str_add_char(out, c);
        else ds4_str_addf(out, "%%%02X", (unsigned char)c);
    }
}

static json_t *roots(const mcp_talk *t)
{
    const char *slash = strrchr(t->root, '/');
    const char *name = slash && slash[1] ? slash + 1 : t->root;
    ds4_str     url = { 0 };

    add_file_url(t->root, &url);
    json_t *list = json_pack("{s:[{s:s,s:o}]}", "roots", "uri", ds4_str_text(&url),
                             "name", ds4_rpc_string((ds4_slice){ name, strlen(name) }));
    ds4_str_clear(&url);
    return list;
}

static void take_request(mcp_talk *t, const ds4_rpc_message *m)
{
    ds4_str reply = { 0 };

    if (strcmp(m->method, "ping") == 0) {
        ds4_rpc_add_result(&reply, m->id, json_object());
    } else if (strcmp(m->method, "roots/list") == 0) {
        ds4_rpc_add_result(&reply, m->id, roots(t));
    } else {
        ds4_rpc_add_error(&reply, m->id, DS4_RPC_NO_METHOD, "this client does not do that");
    }
    post(t, &reply);
}

static void take_notification(mcp_talk *t, const ds4_rpc_message *m)
{
    if (strcmp(m->method, "notifications/tools/list_changed") == 0) {
        t->list_changed = true;
    } else if (strcmp(m->method, "notifications/progress") == 0 && t->wait &&
               ds4_rpc_id_is(json_object_get(m->params, "progressToken"), t->last_id)) {
        const uint64_t until = ds4_now_ns() + t->limits.call_ms * UINT64_C(1000000);
        t->wait->until_ns = until < t->wait->latest_ns ? until : t->wait->latest_ns;
    }
}

static void take_message(void *ctx, const ds4_rpc_message *m)
{
    mcp_talk *t = ctx;

    if (m->kind == DS4_RPC_REQUEST) {
        take_request(t, m);
    } else if (m->kind == DS4_RPC_NOTIFICATION) {
        take_notification(t, m);
    } else if (t->wait && !t->wait->over && m->id && ds4_rpc_id_is(m->id, t->last_id)) {
        t->wait->over = true;
        if (m->kind == DS4_RPC_RESULT) {
            t->answer = json_incref((json_t *)(uintptr_t)m->result);
        } else {
            t->refusal = strndup(m->kind == DS4_RPC_WRONG ? "its answer is none of JSON-RPC" :
                                 *m->text ? m->text : "it answered with an error without words", MAX_REFUSAL);
        }
    }
}

/* Lines that are no messages are passed over: servers print to standard output what they should not. */
static void receive(void *ctx, ds4_slice text)
{
    const ds4_status st = ds4_rpc_each(text, take_message, ctx, NULL);
    (void)st;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Send a request and wait. Takes params.
 *
 *   answer   receives the result, a new reference
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED with the server's words when it refuses; as mcp_wait_on(); DS4_E_IO. */
static ds4_status ask(mcp_talk *t, const char *method, json_t *params, mcp_wait *wait, json_t **answer,
                      ds4_err *err)
{
    ds4_str message = { 0 };

    ds4_rpc_add_request(&message, ++t->last_id, method, params);
    if (message.failed) {
        ds4_str_clear(&message);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    }
    t->wait = wait;
    ds4_status st = t->wire->ops->exchange(t->wire, (ds4_slice){ message.data, message.n_bytes }, wait, err);
    t->wait = NULL;
    ds4_str_clear(&message);
    *answer = t->answer;
    char *refusal = t->refusal;
    t->answer = NULL;
    t->refusal = NULL;
    if (st == DS4_OK && !*answer)
        st = ds4_fail(err, DS4_E_UNSUPPORTED, "%.400s", refusal ? refusal : "no answer");
    if (st != DS4_OK) {
        json_decref(*answer);
        *answer = NULL;
    }
    free(refusal);
    return st;
}

/* ---- tools ----------------------------------------------------------------------------------- */

static void clear_tools(mcp_talk *t)
{
    for (uint32_t i = 0; i < t->n_tools; i++) {
        free(t->tools[i].name);
        free(t->tools[i].shown);
        free(t->tools[i].description);
        free(t->tools[i].parameters);
    }
    free(t->tools);
    t->tools = NULL;
    t->n_tools = 0;
}

/* SERVER__TOOL, of letters, digits, '_' and '-', at most 64 of them; NULL without memory. */
static char *shown_name(const char *server, const char *tool)
{
    ds4_str name = { 0 };

    for (const char *at = server; *at && name.n_bytes < 24; at++) ds4_str_add_char(&name, *at);
    ds4_str_add_text(&name, "__");
    ds4_str_add_text(&name, tool);
    if (name.n_bytes > 64) ds4_str_truncate(&name, 64);
    for (size_t i = 0; !name.failed && i < name.n_bytes; i++) {
        const char c = name.data[i];
        const bool ok =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
        if (!ok) name.data[i] = '_';
    }
    return ds4_str_take(&name);
}

/* Returns DS4_OK, with *took false for a tool that cannot be used. */
static ds4_status take_tool(mcp_talk *t, const json_t *tool, bool *took, ds4_err *err)
{
    const ds4_slice name = ds4_rpc_slice(tool, "name");
    const json_t   *schema = json_object_get(tool, "inputSchema");
    ds4_slice       text = ds4_rpc_slice(tool, "description");

    *took = false;
    if (name.n_bytes == 0 || name.n_bytes > MAX_NAME || strlen(name.data) != name.n_bytes) return DS4_OK;
    for (uint32_t i = 0; i < t->n_tools; i++) {
        if (strcmp(t->tools[i].name, name.data) == 0) return DS4_OK;
    }
    if (!json_is_object(schema)) return DS4_OK;
    if (text.n_bytes == 0) text = ds4_rpc_slice(tool, "title");
    if (text.n_bytes > MAX_DESCRIPTION) text.n_bytes = MAX_DESCRIPTION;
    if (t->n_tools >= DS4_MCP_MAX_TOOLS)
        return ds4_fail(err, DS4_E_LIMIT, "more than %d tools", DS4_MCP_MAX_TOOLS);
    mcp_tool *more = realloc(t->tools, (t->n_tools + 1) * sizeof *more);
    if (!more) return ds4_fail(err, DS4_E_NOMEM, "no memory for tools");
    t->tools = more;
    mcp_tool *new = &t->tools[t->n_tools];
    *new = (mcp_tool){ .name = strdup(name.data),
                       .shown = shown_name(t->settings.name, name.data),
                       .description = strndup(text.data, text.n_bytes),
                       .parameters = json_dumps(schema, JSON_COMPACT),
                       .reads_only = json_is_true(
                           json_object_get(json_object_get(tool, "annotations"), "readOnlyHint")) };
    t->n_tools++;
    if (!new->name || !new->shown || !new->description || !new->parameters) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for tools");
    }
    if (strlen(new->parameters) > MAX_SCHEMA) {
        return ds4_fail(err, DS4_E_LIMIT, "the schema of tool %s is larger than %d bytes", new->shown,
                        MAX_SCHEMA);
    }
    *took = true;
    return DS4_OK;
}

ds4_status mcp_talk_take_tools(mcp_talk *t, const json_t *result, ds4_err *err)
{
    const json_t *list = json_object_get(result, "tools");
    bool          took;

    if (!json_is_array(list)) return ds4_fail(err, DS4_E_FORMAT, "its answer has no list of tools");
    for (size_t i = 0; i < json_array_size(list); i++)
        DS4_TRY(take_tool(t, json_array_get(list, i), &took, err));
    return DS4_OK;
}

static ds4_status list_tools(mcp_talk *t, mcp_wait *wait, ds4_err *err)
{
    char      *cursor = NULL;
    ds4_status st = DS4_OK;

    t->list_changed = false;
    clear_tools(t);
    for (int page = 0; st == DS4_OK; page++) {
        json_t *result = NULL;
        if (page == DS4_MCP_MAX_PAGES) {
            st = ds4_fail(err, DS4_E_LIMIT, "its list of tools has more than %d pages", page);
            break;
        }
        wait->over = false;
        st = ask(t, "tools/list", cursor ? json_pack("{s:s}", "cursor", cursor) : NULL, wait, &result, err);
        if (st == DS4_OK) st = mcp_talk_take_tools(t, result, err);
        free(cursor);
        const char *next = ds4_rpc_text(result, "nextCursor");
        cursor = *next ? strdup(next) : NULL;
        json_decref(result);
        if (!cursor) break;
    }
    free(cursor);
    return st;
}

/* ---- beginning and end -------------------------------------------------------------------------------- */

static bool knows(const char *version)
{
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (strcmp(version, versions[i]) == 0) return true;
    }
    return false;
}

static void take_label(mcp_talk *t, const json_t *result)
{
    const json_t *info = json_object_get(result, "serverInfo");
    size_t        n = 0;

    const char *const part[] = { ds4_rpc_text(info, "name"), " ", ds4_rpc_text(info, "version") };
    for (int i = 0; i < 3; i++) {
        for (const char *c = part[i]; *c && n + 1 < sizeof t->label; c++) {
            t->label[n++] = *c >= ' ' && *c < 0x7f ? *c : '?';
        }
    }
    t->label[n] = '\0';
}

static ds4_status begin(mcp_talk *t, mcp_wait *wait, ds4_err *err)
{
    ds4_str message = { 0 };
    json_t *result = NULL;

    DS4_TRY(ask(t, "initialize",
                json_pack("{s:s,s:{s:{}},s:{s:s,s:s,s:s}}", "protocolVersion", versions[0], "capabilities",
                          "roots", "clientInfo", "name", "ds4-agent", "title", "ds4 agent", "version",
                          DS4_VERSION),
                wait, &result, err));
    ds4_status  st = DS4_OK;
    const char *version = ds4_rpc_text(result, "protocolVersion");
    if (!knows(version)) {
        st = ds4_fail(err, DS4_E_UNSUPPORTED,
                      "it speaks version \"%.40s\" of the protocol, %s to %s are known", version,
                      versions[sizeof versions / sizeof *versions - 1], versions[0]);
    } else {
        take_label(t, result);
        t->wire->ops->agreed(t->wire, version);
        ds4_rpc_add_notification(&message, "notifications/initialized", NULL);
        post(t, &message);
    }
    const bool has_tools = json_is_object(json_object_get(json_object_get(result, "capabilities"), "tools"));
    json_decref(result);
    return st == DS4_OK && has_tools ? list_tools(t, wait, err) : st;
}

ds4_status mcp_talk_start(mcp_talk *t, const volatile int *cancelled, ds4_err *err)
{
    const size_t most = t->limits.max_message_bytes;
    ds4_err      why = { .code = DS4_OK };
    mcp_wait     wait;

    mcp_talk_stop(t);
    begin_wait(&wait, cancelled, t->limits.start_ms, t->limits.start_ms);
    DS4_TRY(t->settings.url ? mcp_http_open(&t->settings, most, &t->wire, err)
                            : mcp_stdio_open(&t->settings, most, &t->wire, err));
    t->wire->receive = receive;
    t->wire->ctx = t;
    const ds4_status st = begin(t, &wait, &why);
    if (st == DS4_OK) return DS4_OK;
    ds4_str more = { 0 };
    t->wire->ops->explain(t->wire, &more);
    mcp_talk_stop(t);
    ds4_fail(err, st, "%.250s%s%.200s", why.text, more.n_bytes ? ": " : "", ds4_str_text(&more));
    ds4_str_clear(&more);
    return st;
}

void mcp_talk_stop(mcp_talk *t)
{
    if (t->wire) t->wire->ops->close(t->wire);
    t->wire = NULL;
    clear_tools(t);
}

void mcp_talk_clear(mcp_talk *t)
{
    mcp_talk_stop(t);
    mcp_settings_clear(&t->settings);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void say_cancelled(mcp_talk *t, ds4_status st)
{
    ds4_str message = { 0 };

    ds4_rpc_add_notification(&message, "notifications/cancelled",
                             json_pack("{s:I,s:s}", "requestId", (json_int_t)t->last_id, "reason",
                                       st == DS4_E_CANCELLED ? "the user stopped it" : "it took too long"));
    post(t, &message);
}

/* A server that ended since is started again; one whose list changed is asked for it. */
static ds4_status make_ready(mcp_talk *t, const volatile int *cancelled, ds4_err *err)
{
    mcp_wait wait;

    if (t->wire && (!t->wire->ops->look(t->wire) || t->wire->forgot_us)) mcp_talk_stop(t);
    if (!t->wire) return mcp_talk_start(t, cancelled, err);
    if (!t->list_changed) return DS4_OK;
    begin_wait(&wait, cancelled, t->limits.start_ms, t->limits.start_ms);
    return list_tools(t, &wait, err);
}

static ds4_status call_tool_once(mcp_talk *t, const char *name, json_t *arguments,
                                 const volatile int *cancelled, json_t **result, ds4_err *err)
{
    mcp_wait wait;
    bool     there = false;

    DS4_TRY(make_ready(t, cancelled, err));
    for (uint32_t i = 0; i < t->n_tools; i++) there |= strcmp(t->tools[i].name, name) == 0;
    if (!there) return ds4_fail(err, DS4_E_ARG, "the server no longer has this tool");
    begin_wait(&wait, cancelled, t->limits.call_ms, t->limits.call_most_ms);
    json_t *params = json_pack("{s:s,s:O,s:{s:I}}", "name", name, "arguments", arguments, "_meta",
                               "progressToken", (json_int_t)(t->last_id + 1));
    const ds4_status st = ask(t, "tools/call", params, &wait, result, err);
    if ((st == DS4_E_CANCELLED || st == DS4_E_LIMIT) && t->wire) say_cancelled(t, st);
    return st;
}

ds4_status mcp_talk_call(mcp_talk *t, const char *name, ds4_slice arguments, const volatile int *cancelled,
                         ds4_str *text, bool *failed, ds4_err *err)
{
    json_t *parsed = NULL, *result = NULL;

    if (arguments.n_bytes == 0) arguments = DS4_SLICE("{}");
    DS4_TRY(ds4_rpc_parse(arguments, &parsed, err));
    ds4_status st =
        json_is_object(parsed) ? DS4_OK : ds4_fail(err, DS4_E_FORMAT, "the arguments are no JSON object");
    if (st == DS4_OK) st = call_tool_once(t, name, parsed, cancelled, &result, err);
    /* A session that the server forgot has done nothing; a pipe that broke may have. */
    if (st == DS4_E_IO && t->wire && t->wire->forgot_us)
        st = call_tool_once(t, name, parsed, cancelled, &result, err);
    if (st == DS4_E_IO && t->wire) {
        ds4_str more = { 0 };
        t->wire->ops->explain(t->wire, &more);
        if (more.n_bytes && err)
            ds4_fail(err, st, "%.120s: %.300s", "the connection was lost", ds4_str_text(&more));
        ds4_str_clear(&more);
        mcp_talk_stop(t);
    }
    if (st == DS4_OK) *failed = mcp_result_text(result, t->limits.max_result_bytes, text);
    json_decref(parsed);
    json_decref(result);
    return st;
}
