/* mcp_local.h - between the files of the MCP client: what is said (mcp_talk.c) and how it travels
 * (mcp_stdio.c, mcp_http.c). */
#ifndef DS4_AGENT_MCP_LOCAL_H
#define DS4_AGENT_MCP_LOCAL_H

#include "agent/mcp.h"
#include "agent/rpc.h"

enum { DS4_MCP_POLL_MS = 50 };          /* a cancellation is seen within this time */

/* One server's settings, owned. */
typedef struct mcp_settings {
    char  *name, *command, *cwd, *url;
    char **args;                        /* [n_args + 1], the command first, NULL behind the last */
    char **env, **headers;              /* "NAME=value" and "Name: value", NULL behind the last */
} mcp_settings;

/* A wait for the answer to one request. */
typedef struct mcp_wait {
    const volatile int *cancelled;      /* NULL: never */
    uint64_t            until_ns;       /* moved by progress */
    uint64_t            latest_ns;      /* and never beyond this */
    bool                over;           /* the answer is there */
} mcp_wait;

/* Should the wait go on? If not, *st and err say why, DS4_OK for an answer. */
bool mcp_wait_on(const mcp_wait *wait, ds4_status *st, ds4_err *err);

/* Receives the text of a message that came. */
typedef void mcp_receive_fn(void *ctx, ds4_slice text);

typedef struct mcp_wire mcp_wire;

/* The transport of messages. A message is a line with its newline. */
typedef struct mcp_wire_ops {
    /* Send a request and receive until the wait is over. Returns as mcp_wait_on(); DS4_E_IO when the
     * connection is lost; DS4_E_LIMIT for a message that is too long. */
    ds4_status (*exchange)(mcp_wire *w, ds4_slice message, mcp_wait *wait, ds4_err *err);
    /* Send what wants no answer; what is lost is lost. May be called while exchange() receives. */
    void (*post)(mcp_wire *w, ds4_slice message);
    /* Receive what has come meanwhile. Returns false when the connection is lost. */
    bool (*look)(mcp_wire *w);
    /* The version that both speak. */
    void (*agreed)(mcp_wire *w, const char *version);
    void (*close)(mcp_wire *w);
    /* Append what a person should read about a failure, as the last lines of standard error. */
    void (*explain)(mcp_wire *w, ds4_str *out);
} mcp_wire_ops;

struct mcp_wire {
    const mcp_wire_ops *ops;
    mcp_receive_fn     *receive;
    void               *ctx;
    bool                forgot_us;      /* the server ended the session: begin again */
};

/* Start a server. On success *out is to be closed with its ops. */
ds4_status mcp_stdio_open(const mcp_settings *s, size_t max_bytes, mcp_wire **out, ds4_err *err);
ds4_status mcp_http_open(const mcp_settings *s, size_t max_bytes, mcp_wire **out, ds4_err *err);

/* ---- configuration (mcp_config.c) ------------------------------------------------------------ */

ds4_status mcp_settings_copy(const ds4_mcp_server *from, const char *root, mcp_settings *out, ds4_err *err);
void       mcp_settings_clear(mcp_settings *s);

typedef ds4_status mcp_config_fn(void *ctx, const ds4_mcp_server *server, ds4_err *err);
ds4_status mcp_config_read(ds4_slice json, const char *name, mcp_config_fn *each, void *ctx, ds4_err *err);

/* ---- results (mcp_result.c) ------------------------------------------------------------------ */

/* Append a result of tools/call as text for a model, at most max_bytes of it and a line on what was cut.
 * Returns whether the server calls it an error. */
bool mcp_result_text(const json_t *result, size_t max_bytes, ds4_str *out);

/* ---- a server (mcp_talk.c) ------------------------------------------------------------------- */

typedef struct mcp_tool {
    char *name;                         /* as the server calls it */
    char *shown;                        /* SERVER__TOOL with allowed characters */
    char *description, *parameters;     /* JSON text of the schema */
    bool  reads_only;
} mcp_tool;

typedef struct mcp_talk {
    mcp_settings   settings;
    ds4_mcp_limits limits;
    const char    *root;                /* lent */
    mcp_wire      *wire;                /* NULL: not running */
    mcp_tool      *tools;               /* [n_tools] */
    uint32_t       n_tools;
    bool           list_changed;
    uint64_t       last_id;
    mcp_wait      *wait;                /* of the request last_id, while it runs */
    json_t        *answer;              /* its result, */
    char          *refusal;             /* or its error, as a sentence; */
    ds4_status     answer_st;           /* of understanding it */
    char           label[96];           /* name and version, as it says them */
} mcp_talk;

ds4_status mcp_talk_start(mcp_talk *t, const volatile int *cancelled, ds4_err *err);
/* Stop the server. Tests by a fuzzer call it too, because they have nothing else to clear. */
void       mcp_talk_stop(mcp_talk *t);
void       mcp_talk_clear(mcp_talk *t);         /* stops, and frees everything */

/* Call tool `name` (the server's). text receives the result; *failed whether it is an error. */
ds4_status mcp_talk_call(mcp_talk *t, const char *name, ds4_slice arguments, const volatile int *cancelled,
                         ds4_str *text, bool *failed, ds4_err *err);

/* Take the tools of a result of tools/list into t; a function of its own for tests by a fuzzer. Returns
 * DS4_OK; DS4_E_FORMAT; DS4_E_LIMIT; DS4_E_NOMEM. */
ds4_status mcp_talk_take_tools(mcp_talk *t, const json_t *result, ds4_err *err);

/* ---- all servers (mcp.c, mcp_offer.c) -------------------------------------------------------- */

/* The target of a tool that was offered. */
typedef struct mcp_bound {
    mcp_talk *talk;
    char     *name;                     /* the server's */
} mcp_bound;

struct ds4_mcp {
    char          *root;
    ds4_mcp_limits limits;
    mcp_talk      *talk[DS4_MCP_MAX_SERVERS];   /* [n] */
    uint32_t       n;
    mcp_bound    **bound;               /* [n_bound] */
    uint32_t       n_bound;
};

#endif
