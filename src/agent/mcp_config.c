/* mcp_config.c - settings of MCP servers: from a configuration in JSON, with the environment filled in. */
#include "agent/mcp_local.h"

#include "base/knob.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 256, MAX_PAIRS = 128, MAX_TEXT = 32768, MAX_VARIABLE = 128 };

/* ---- settings -------------------------------------------------------------------------------- */

static bool good_name(const char *name)
{
    const size_t n = name ? strlen(name) : 0;

    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return false;
    }
    return n >= 1 && n <= 64;
}

static char *joined(const char *a, const char *between, const char *b)
{
    ds4_str text = { 0 };

    ds4_str_add_text(&text, a);
    ds4_str_add_text(&text, between);
    ds4_str_add_text(&text, b);
    return ds4_str_take(&text);
}

static char **copy_pairs(const ds4_mcp_pair *pairs, size_t n, const char *between)
{
    char **out = calloc(n + 1, sizeof *out);

    for (size_t i = 0; out && i < n; i++) {
        out[i] = joined(pairs[i].name, between, pairs[i].value);
        if (!out[i]) return out;        /* the caller counts */
    }
    return out;
}

static size_t count(char **list)
{
    size_t n = 0;
    while (list && list[n]) n++;
    return n;
}

static void free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++) free(list[i]);
    free(list);
}

void mcp_settings_clear(mcp_settings *s)
{
    free(s->name);
    free(s->command);
    free(s->cwd);
    free(s->url);
    free_list(s->args);
    free_list(s->env);
    free_list(s->headers);
    *s = (mcp_settings){ 0 };
}

static ds4_status check_server(const ds4_mcp_server *s, ds4_err *err)
{
    if (!good_name(s->name))
        return ds4_fail(err, DS4_E_ARG, "an MCP server has no name of 1 to 64 characters");
    if (!s->command == !s->url) {
        return ds4_fail(err, DS4_E_ARG, "MCP server %s: either \"command\" or \"url\" is needed", s->name);
    }
    if (s->command && !*s->command)
        return ds4_fail(err, DS4_E_ARG, "MCP server %s: an empty command", s->name);
    if (s->url && strncmp(s->url, "http://", 7) != 0 && strncmp(s->url, "https://", 8) != 0) {
        return ds4_fail(err, DS4_E_ARG, "MCP server %s: its url begins with neither http:// nor https://",
                        s->name);
    }
    if (s->n_args > MAX_ARGS || s->n_env > MAX_PAIRS || s->n_headers > MAX_PAIRS) {
        return ds4_fail(err, DS4_E_LIMIT, "MCP server %s: at most %d arguments and %d variables or headers",
                        s->name, MAX_ARGS, MAX_PAIRS);
    }
    for (size_t i = 0; i < s->n_env; i++) {
        if (!*s->env[i].name || strchr(s->env[i].name, '=')) {
            return ds4_fail(err, DS4_E_ARG, "MCP server %s: a variable has a bad name", s->name);
        }
    }
    for (size_t i = 0; i < s->n_headers; i++) {
        if (!*s->headers[i].name || strpbrk(s->headers[i].name, ":\r\n ") ||
            strpbrk(s->headers[i].value, "\r\n")) {
            return ds4_fail(err, DS4_E_ARG, "MCP server %s: header %zu is none", s->name, i + 1);
        }
    }
    return DS4_OK;
}

ds4_status mcp_settings_copy(const ds4_mcp_server *from, const char *root, mcp_settings *out, ds4_err *err)
{
    mcp_settings s = { 0 };

    DS4_TRY(check_server(from, err));
    s.name = strdup(from->name);
    s.args = calloc(from->n_args + 2, sizeof *s.args);
    s.env = copy_pairs(from->env, from->n_env, "=");
    s.headers = copy_pairs(from->headers, from->n_headers, ": ");
    bool ok = s.name && s.args && count(s.env) == from->n_env && count(s.headers) == from->n_headers;
    if (ok && from->url) {
        s.url = strdup(from->url);
        ok = s.url != NULL;
    } else if (ok) {
        s.command = strdup(from->command);
        s.cwd = from->cwd && *from->cwd != '/' ? joined(root, "/", from->cwd)
                                               : strdup(from->cwd ? from->cwd : root);
        s.args[0] = strdup(from->command);
        for (size_t i = 0; i < from->n_args && s.args[i]; i++) s.args[i + 1] = strdup(from->args[i]);
        ok = s.command && s.cwd && count(s.args) == from->n_args + 1;
    }
    if (!ok) {
        mcp_settings_clear(&s);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the MCP server %s", from->name);
    }
    *out = s;
    return DS4_OK;
}

/* ---- texts with variables ------------------------------------------------------------------------------ */

/* One server while it is read; its texts are freed together. */
typedef struct reading {
    const char  *file, *server;
    char        *texts[2 * MAX_ARGS + 4 * MAX_PAIRS + 8];
    size_t       n_texts;
    const char  *args[MAX_ARGS];
    ds4_mcp_pair env[MAX_PAIRS], headers[MAX_PAIRS];
} reading;

/* Append what "${" .. "}" stands for; text is between the braces. */
static ds4_status add_variable(const reading *r, ds4_slice text, ds4_str *out, ds4_err *err)
{
    char        name[MAX_VARIABLE];
    const char *otherwise = NULL;
    size_t      n = text.n_bytes;

    for (size_t i = 0; i + 1 < text.n_bytes && !otherwise; i++) {
        if (text.data[i] != ':' || text.data[i + 1] != '-') continue;
        otherwise = text.data + i + 2;
        n = i;
    }
    if (n == 0 || n >= sizeof name) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: server %s: a variable's name is empty or too long", r->file,
                        r->server);
    }
    memcpy(name, text.data, n);
    name[n] = '\0';
    const char *value = ds4_environment(name);
    if (value && *value) {
        ds4_str_add_text(out, value);
    } else if (otherwise) {
        ds4_str_add(out, otherwise, (size_t)(text.data + text.n_bytes - otherwise));
    } else if (!value) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: server %s: the variable %s is not set", r->file, r->server,
                        name);
    }
    return DS4_OK;
}

/* A text of the configuration with its variables; lives as long as r. */
static ds4_status take_text(reading *r, const json_t *value, const char *what, const char **out, ds4_err *err)
{
    ds4_str     text = { 0 };
    const char *at = json_string_value(value);

    if (!at || strlen(at) != json_string_length(value) || strlen(at) > MAX_TEXT) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: server %s: %s is no text of at most %d bytes", r->file,
                        r->server, what, MAX_TEXT);
    }
    while (*at) {
        const char *open = strstr(at, "${"), *close = open ? strchr(open, '}') : NULL;
        if (!close) break;
        ds4_str_add(&text, at, (size_t)(open - at));
        const ds4_status st =
            add_variable(r, (ds4_slice){ open + 2, (size_t)(close - open) - 2 }, &text, err);
        if (st != DS4_OK) {
            ds4_str_clear(&text);
            return st;
        }
        at = close + 1;
    }
    ds4_str_add_text(&text, at);
    char *taken = text.n_bytes ? ds4_str_take(&text) : strdup("");
    ds4_str_clear(&text);
    if (!taken) return ds4_fail(err, DS4_E_NOMEM, "no memory for %s", r->file);
    r->texts[r->n_texts++] = taken;
    *out = taken;
    return DS4_OK;
}

static ds4_status take_pairs(reading *r, const json_t *object, const char *what, ds4_mcp_pair *out, size_t *n,
                             ds4_err *err)
{
    const char *name;
    json_t     *value;

    *n = 0;
    if (!object) return DS4_OK;
    if (!json_is_object(object) || json_object_size(object) > MAX_PAIRS) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: server %s: \"%s\" is no object of at most %d texts", r->file,
                        r->server, what, MAX_PAIRS);
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        out[*n].name = name;
        DS4_TRY(take_text(r, value, what, &out[*n].value, err));
        ++*n;
    }
    return DS4_OK;
}

static ds4_status take_args(reading *r, const json_t *args, size_t *n, ds4_err *err)
{
    *n = json_array_size(args);
    if (args && (!json_is_array(args) || *n > MAX_ARGS)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: server %s: \"args\" is no list of at most %d texts", r->file,
                        r->server, MAX_ARGS);
    }
    for (size_t i = 0; i < *n; i++) {
        DS4_TRY(take_text(r, json_array_get(args, i), "an argument", &r->args[i], err));
    }
    return DS4_OK;
}

static ds4_status read_server(reading *r, const json_t *object, ds4_mcp_server *out, ds4_err *err)
{
    const char *type = ds4_rpc_text(object, "type");

    *out = (ds4_mcp_server){ .name = r->server, .args = r->args, .env = r->env, .headers = r->headers };
    if (strcmp(type, "sse") == 0) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "%s: server %s: the transport \"sse\" was given up by the protocol; "
                        "use the server's streamable HTTP address",
                        r->file, r->server);
    }
    const struct { const char *name; const char **to; } one[] = {
        { "command", &out->command }, { "cwd", &out->cwd },
        { json_object_get(object, "httpUrl") ? "httpUrl" : "url", &out->url },
    };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
        const json_t *value = json_object_get(object, one[i].name);
        if (value && !json_is_null(value)) DS4_TRY(take_text(r, value, one[i].name, one[i].to, err));
    }
    DS4_TRY(take_args(r, json_object_get(object, "args"), &out->n_args, err));
    DS4_TRY(take_pairs(r, json_object_get(object, "env"), "env", r->env, &out->n_env, err));
    return take_pairs(r, json_object_get(object, "headers"), "headers", r->headers, &out->n_headers, err);
}

static ds4_status read_one(const char *file, const char *name, const json_t *object, mcp_config_fn *each,
                           void *ctx, ds4_err *err)
{
    ds4_mcp_server server;

    if (!json_is_object(object)) return ds4_fail(err, DS4_E_FORMAT, "%s: server %s is no object", file, name);
    if (json_is_true(json_object_get(object, "disabled"))) return DS4_OK;
    reading *r = calloc(1, sizeof *r);
    if (!r) return ds4_fail(err, DS4_E_NOMEM, "no memory for %s", file);
    r->file = file;
    r->server = name;
    ds4_status st = read_server(r, object, &server, err);
    if (st == DS4_OK) st = each(ctx, &server, err);
    for (size_t i = 0; i < r->n_texts; i++) free(r->texts[i]);
    free(r);
    return st;
}

ds4_status mcp_config_read(ds4_slice json, const char *file, mcp_config_fn *each, void *ctx, ds4_err *err)
{
    json_t     *root = NULL, *object;
    const char *name;
    ds4_err     why = { .code = DS4_OK };

    if (json.n_bytes > DS4_MCP_MAX_CONFIG) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: larger than %d bytes", file, DS4_MCP_MAX_CONFIG);
    }
    ds4_status st = ds4_rpc_parse(json, &root, &why);
    if (st != DS4_OK) return ds4_fail(err, st, "%s: %.400s", file, why.text);
    json_t *servers = json_object_get(root, "mcpServers");
    if (!json_is_object(servers)) {
        st = ds4_fail(err, DS4_E_FORMAT, "%s: no object \"mcpServers\"", file);
    } else {
        json_object_foreach(servers, name, object) {
            if (st == DS4_OK) st = read_one(file, name, object, each, ctx, err);
        }
    }
    json_decref(root);
    return st;
}
