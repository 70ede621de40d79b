/* rpc.c - see rpc.h. */
#include "agent/rpc.h"

#include "text/pyjson.h"
#include "text/utf8.h"

#include <string.h>

/* ---- reading ------------------------------------------------------------------------------------------- */

static ds4_status parse_mended(const ds4_str *mended, json_t **out, ds4_err *err)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_error_t why;

    *out = json_loadb(mended->data, mended->n_bytes, flags, &why);
    if (!*out && json_error_code(&why) == json_error_numeric_overflow) {
        *out = json_loadb(mended->data, mended->n_bytes, flags | JSON_DECODE_INT_AS_REAL, &why);
    }
    if (*out) return DS4_OK;
    if (json_error_code(&why) == json_error_out_of_memory)
        return ds4_fail(err, DS4_E_NOMEM, "no memory for JSON");
    return ds4_fail(err, DS4_E_FORMAT, "bad JSON: %s", why.text);
}

ds4_status ds4_rpc_parse(ds4_slice text, json_t **out, ds4_err *err)
{
    ds4_str    whole = { 0 }, mended = { 0 };
    ds4_status st;

    ds4_utf8_repair(text.data, text.n_bytes, &whole);
    if (whole.failed) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a message of %zu bytes", text.n_bytes);
    } else {
        st = ds4_pyjson_dump((ds4_slice){ ds4_str_text(&whole), whole.n_bytes }, &mended, err);
    }
    if (st == DS4_OK) st = parse_mended(&mended, out, err);
    ds4_str_clear(&whole);
    ds4_str_clear(&mended);
    return st;
}

static bool is_id(const json_t *id)
{
    return json_is_string(id) || json_is_number(id) || json_is_null(id);
}

static void classify(const json_t *root, ds4_rpc_message *m)
{
    const json_t *id = json_object_get(root, "id"), *method = json_object_get(root, "method");
    const json_t *params = json_object_get(root, "params"), *error = json_object_get(root, "error");

    *m = (ds4_rpc_message){ .kind = DS4_RPC_WRONG, .id = is_id(id) ? id : NULL, .text = "" };
    if (strcmp(ds4_rpc_text(root, "jsonrpc"), "2.0") != 0 || (id && !m->id)) return;
    if (method) {
        if (!json_is_string(method) || (params && !json_is_object(params) && !json_is_array(params))) return;
        m->kind = id ? DS4_RPC_REQUEST : DS4_RPC_NOTIFICATION;
        m->method = json_string_value(method);
        m->params = params;
    } else if (json_is_object(error)) {
        const json_t *code = json_object_get(error, "code");
        m->kind = DS4_RPC_ERROR;
        m->code = json_is_integer(code) ? json_integer_value(code) : DS4_RPC_INTERNAL;
        m->text = ds4_rpc_text(error, "message");
    } else if (id && json_object_get(root, "result")) {
        m->kind = DS4_RPC_RESULT;
        m->result = json_object_get(root, "result");
    }
}

ds4_status ds4_rpc_each(ds4_slice text, ds4_rpc_each_fn *each, void *ctx, ds4_err *err)
{
    ds4_rpc_message message;
    json_t         *root = NULL;

    DS4_TRY(ds4_rpc_parse(text, &root, err));
    ds4_status   st = DS4_OK;
    const size_t n = json_array_size(root);
    if (!json_is_array(root)) {
        classify(root, &message);
        each(ctx, &message);
    } else if (n == 0) {
        st = ds4_fail(err, DS4_E_FORMAT, "a batch of no messages");
    } else if (n > DS4_RPC_MAX_BATCH) {
        st = ds4_fail(err, DS4_E_LIMIT, "a batch of %zu messages, at most %d", n, DS4_RPC_MAX_BATCH);
    } else {
        for (size_t i = 0; i < n; i++) {
            classify(json_array_get(root, i), &message);
            each(ctx, &message);
        }
    }
    json_decref(root);
    return st;
}

bool ds4_rpc_id_is(const json_t *id, uint64_t n)
{
    /* A real where a number beside it needed one, see parse_mended(). */
    return json_is_number(id) && json_number_value(id) == (double)n;
}

const char *ds4_rpc_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

ds4_slice ds4_rpc_slice(const json_t *object, const char *name)
{
    const json_t *text = json_object_get(object, name);
    return json_is_string(text) ? (ds4_slice){ json_string_value(text), json_string_length(text) }
                                : (ds4_slice){ "", 0 };
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* Bytes that were read leave the front, so that the buffer stays as large as a line and what came with it. */
static void forget_read(ds4_rpc_lines *l)
{
    if (l->at == 0) return;
    memmove(l->held.data, l->held.data + l->at, l->held.n_bytes - l->at);
    ds4_str_truncate(&l->held, l->held.n_bytes - l->at);
    l->seen -= l->at;
    l->at = 0;
}

void ds4_rpc_lines_add(ds4_rpc_lines *l, const char *data, size_t n_bytes)
{
    forget_read(l);
    if (l->dropping) {
        const char *end = memchr(data, '\n', n_bytes);
        if (!end) return;
        l->dropping = false;
        n_bytes -= (size_t)(end + 1 - data);
        data = end + 1;
    }
    ds4_str_add(&l->held, data, n_bytes);
}

static bool is_blank(ds4_slice line)
{
    for (size_t i = 0; i < line.n_bytes; i++) {
        if (!strchr(" \t\r", line.data[i]) || !line.data[i]) return false;
    }
    return true;
}

bool ds4_rpc_lines_next(ds4_rpc_lines *l, ds4_slice *line)
{
    while (!l->held.failed && l->seen < l->held.n_bytes) {
        const char *from = l->held.data + l->at;
        const char *end = memchr(l->held.data + l->seen, '\n', l->held.n_bytes - l->seen);
        const size_t n = end ? (size_t)(end - from) : l->held.n_bytes - l->at;
        l->seen = end ? (size_t)(end + 1 - l->held.data) : l->held.n_bytes;
        if (n > l->max_bytes) {
            l->dropped = true;
            l->dropping = !end;
            l->at = l->seen;
        } else if (end) {
            l->at = l->seen;
            *line = (ds4_slice){ from, n > 0 && from[n - 1] == '\r' ? n - 1 : n };
            if (!is_blank(*line)) return true;
        }
    }
    return false;
}

void ds4_rpc_lines_clear(ds4_rpc_lines *l)
{
    ds4_str_clear(&l->held);
    *l = (ds4_rpc_lines){ .max_bytes = l->max_bytes };
}

/* ---- writing --------------------------------------------------------------------------------- */

json_t *ds4_rpc_string(ds4_slice text)
{
    json_t *string = json_stringn(text.n_bytes ? text.data : "", text.n_bytes);

    if (string) return string;
    ds4_str whole = { 0 };
    ds4_utf8_repair(text.data, text.n_bytes, &whole);
    if (!whole.failed) string = json_stringn(ds4_str_text(&whole), whole.n_bytes);
    ds4_str_clear(&whole);
    return string;
}

static int add_piece(const char *data, size_t n_bytes, void *out)
{
    ds4_str_add(out, data, n_bytes);
    return 0;
}

/* Takes the reference. */
static void add_line(ds4_str *out, json_t *message)
{
    if (!message || json_dump_callback(message, add_piece, out, JSON_COMPACT) != 0) out->failed = true;
    ds4_str_add_char(out, '\n');
    json_decref(message);
}

void ds4_rpc_add_request(ds4_str *out, uint64_t id, const char *method, json_t *params)
{
    add_line(out, json_pack("{s:s,s:I,s:s,s:o*}", "jsonrpc", "2.0", "id", (json_int_t)id, "method", method,
                            "params", params));
}

void ds4_rpc_add_notification(ds4_str *out, const char *method, json_t *params)
{
    add_line(out, json_pack("{s:s,s:s,s:o*}", "jsonrpc", "2.0", "method", method, "params", params));
}

void ds4_rpc_add_result(ds4_str *out, const json_t *id, json_t *result)
{
    add_line(out, json_pack("{s:s,s:o,s:o}", "jsonrpc", "2.0", "id", id ? json_deep_copy(id) : json_null(),
                            "result", result ? result : json_null()));
}

void ds4_rpc_add_error(ds4_str *out, const json_t *id, int code, const char *text)
{
    const ds4_slice slice = { text, strlen(text) };

    add_line(out,
             json_pack("{s:s,s:o,s:{s:i,s:o}}", "jsonrpc", "2.0", "id", id ? json_deep_copy(id) : json_null(),
                       "error", "code", code, "message", ds4_rpc_string(slice)));
}
