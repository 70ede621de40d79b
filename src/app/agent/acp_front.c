/* acp_front.c - ds4-agent --acp: real agents for an editor (acp.h). */
#include "app/agent/program.h"

#include "app/agent/acp.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LIST = 256 };

typedef struct editor {
    ds4_agent_options opt;              /* of the next agent */
    const json_t     *servers;          /* of the editor, while an agent is opened */
    ds4_mcp          *mcp;              /* the servers that the open agent uses */
    ds4_status (*add_tools)(void *ctx, ds4_tools *tools, ds4_err *err); /* those of the command line */
    void             *add_tools_ctx;
} editor;

/* ---- the editor's MCP servers ------------------------------------------------------------------------ */

typedef struct server_texts {
    const char  *args[MAX_LIST];
    ds4_mcp_pair env[MAX_LIST], headers[MAX_LIST];
} server_texts;

static size_t take_texts(const json_t *list, const char **out)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list) && n < MAX_LIST; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text) out[n++] = text;
    }
    return n;
}

/* [{"name": ..., "value": ...}, ...] */
static size_t take_pairs(const json_t *list, ds4_mcp_pair *out)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list) && n < MAX_LIST; i++) {
        const json_t *pair = json_array_get(list, i);
        out[n++] = (ds4_mcp_pair){ ds4_rpc_text(pair, "name"), ds4_rpc_text(pair, "value") };
    }
    return n;
}

static ds4_status add_server(ds4_mcp *mcp, const json_t *given, server_texts *texts, ds4_err *err)
{
    ds4_mcp_server server = { .name = ds4_rpc_text(given, "name"), .args = texts->args, .env = texts->env,
                              .headers = texts->headers };

    if (strcmp(ds4_rpc_text(given, "type"), "sse") == 0) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "MCP server %.64s: the transport sse is not supported",
                        server.name);
    }
    if (*ds4_rpc_text(given, "command")) server.command = ds4_rpc_text(given, "command");
    if (*ds4_rpc_text(given, "url")) server.url = ds4_rpc_text(given, "url");
    server.n_args = take_texts(json_object_get(given, "args"), texts->args);
    server.n_env = take_pairs(json_object_get(given, "env"), texts->env);
    server.n_headers = take_pairs(json_object_get(given, "headers"), texts->headers);
    return ds4_mcp_add(mcp, &server, err);
}

/* A server that does not work is told and does not keep a session from being opened. */
static ds4_status add_servers(editor *e, ds4_tools *tools, ds4_err *err)
{
    server_texts *texts = calloc(1, sizeof *texts);
    ds4_mcp      *mcp = NULL;
    ds4_str       told = { 0 };

    if (!texts) return ds4_fail(err, DS4_E_NOMEM, "no memory for MCP servers");
    const ds4_status st = ds4_mcp_create(ds4_tools_root(tools), NULL, &mcp, err);
    for (size_t i = 0; st == DS4_OK && i < json_array_size(e->servers); i++) {
        ds4_err why = { .code = DS4_OK };
        if (add_server(mcp, json_array_get(e->servers, i), texts, &why) != DS4_OK) {
            ds4_app_say(DS4_AGENT_NAME, "%s", why.text);
        }
    }
    if (st == DS4_OK) {
        ds4_mcp_start(mcp, NULL, &told);
        ds4_mcp_offer(mcp, tools, &told);
        if (told.n_bytes) ds4_app_say(DS4_AGENT_NAME, "%s", told.data);
        ds4_mcp_free(e->mcp);
        e->mcp = mcp;
    }
    ds4_str_clear(&told);
    free(texts);
    return st;
}

static ds4_status add_tools(void *ctx, ds4_tools *tools, ds4_err *err)
{
    editor *e = ctx;

    if (e->add_tools) DS4_TRY(e->add_tools(e->add_tools_ctx, tools, err));
    return json_array_size(e->servers) ? add_servers(e, tools, err) : DS4_OK;
}

/* ---- agents ----------------------------------------------------------------------------------------- */

static ds4_status open_agent(void *ctx, const char *cwd, const char *id, const json_t *servers,
                             const ds4_front *front, ds4_agent **out, ds4_err *err)
{
    editor *e = ctx;

    e->servers = servers;
    e->opt.root = cwd;
    e->opt.session = id;
    e->opt.front = *front;
    const ds4_status st = ds4_agent_create(&e->opt, out, err);
    e->servers = NULL;
    return st;
}

static ds4_status run_agent(void *ctx, ds4_agent *a, ds4_err *err)
{
    (void)ctx;
    return ds4_agent_run(a, err);
}

static const char *session_of(void *ctx, ds4_agent *a)
{
    (void)ctx;
    return ds4_agent_session(a);
}

static void close_agent(void *ctx, ds4_agent *a)
{
    editor *e = ctx;

    ds4_agent_free(a);
    ds4_mcp_free(e->mcp);               /* behind the tools that use it */
    e->mcp = NULL;
}

int ds4_acp_front(const ds4_agent_program *p, ds4_agent_options *opt)
{
    static const char *const modes[] = { "work", "ask", "read-only", "yolo" };
    editor  e = { .opt = *opt, .add_tools = opt->add_tools, .add_tools_ctx = opt->add_tools_ctx };
    ds4_err err = { .code = DS4_OK };

    e.opt.add_tools = add_tools;
    e.opt.add_tools_ctx = &e;
    const ds4_acp_host host = { .ctx = &e, .open = open_agent, .run = run_agent, .session = session_of,
                                .close = close_agent, .mode = modes[p->mode], .in = STDIN_FILENO,
                                .out = STDOUT_FILENO };
    return ds4_acp_serve(&host, &err) == DS4_OK ? DS4_EXIT_OK : ds4_app_failed(DS4_AGENT_NAME, &err);
}
