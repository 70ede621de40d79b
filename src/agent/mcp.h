/* mcp.h - tools of MCP servers (Model Context Protocol), over stdio and streamable HTTP.
 *
 * A server is a program that the user named in a configuration, or an address. It is started with the agent,
 * says which tools it has, and does calls, one at a time. Everything it sends is hostile: each message, list,
 * schema and result has a size, each wait an end.
 *
 * Belongs to one thread. What a server sends between calls is read at the next one. */
#ifndef DS4_AGENT_MCP_H
#define DS4_AGENT_MCP_H

#include "agent/tools.h"

typedef struct ds4_mcp ds4_mcp;

enum {
    DS4_MCP_MAX_SERVERS = 32,
    DS4_MCP_MAX_TOOLS   = 128,          /* of a server */
    DS4_MCP_MAX_PAGES   = 64,           /* of a list of tools */
    DS4_MCP_MAX_CONFIG  = 1 << 20,      /* bytes of a configuration */
};

typedef struct ds4_mcp_pair {
    const char *name, *value;
} ds4_mcp_pair;

/* One server: a command, or an address. Read during the call only. */
typedef struct ds4_mcp_server {
    const char         *name;           /* 1 to 64 bytes */
    const char         *command;        /* looked for in PATH; NULL: url */
    const char *const  *args;           /* [n_args], without the command */
    size_t              n_args;
    const char         *cwd;            /* NULL: the root */
    const ds4_mcp_pair *env;            /* [n_env], beside the few variables that every server gets */
    size_t              n_env;
    const char         *url;            /* http: or https: */
    const ds4_mcp_pair *headers;        /* [n_headers] */
    size_t              n_headers;
} ds4_mcp_server;

typedef struct ds4_mcp_limits {         /* 0 takes the number in brackets */
    uint32_t start_ms;                  /* until a server has said who it is and what it has [30,000] */
    uint32_t call_ms;                   /* of a call in which nothing moves [120,000] */
    uint32_t call_most_ms;              /* of a call that reports progress [1,800,000] */
    uint32_t max_message_bytes;         /* of a server [8 MiB] */
    uint32_t max_result_bytes;          /* of a result's text [256 KiB] */
} ds4_mcp_limits;

/* Without servers. root: where commands run, and what servers are told to be the project. */
DS4_MUST_CHECK ds4_status ds4_mcp_create(const char *root, const ds4_mcp_limits *limits, ds4_mcp **out,
                                         ds4_err *err);
void                      ds4_mcp_free(ds4_mcp *m);     /* ends all servers; NULL is fine */

/* Add a server; it is not started. Returns DS4_OK; DS4_E_ARG for a bad or used name, neither or both of a
 * command and an address; DS4_E_LIMIT; DS4_E_NOMEM.                                     */
DS4_MUST_CHECK ds4_status ds4_mcp_add(ds4_mcp *m, const ds4_mcp_server *server, ds4_err *err);

/* Add the servers of a configuration as other agents have it: {"mcpServers": {"NAME": {"command": ...,
 * "args": [...], "env": {...}, "cwd": ...} or {"url": ..., "headers": {...}}}}. ${NAME} and
 * ${NAME:-otherwise} in these texts stand for variables of the environment. Entries with "disabled": true are
 * left out, and members that are not known are not looked at.
 *
 *   json   the text; name: of its file, for messages
 *
 * Returns DS4_OK; DS4_E_FORMAT; as ds4_mcp_add(). On failure none of its servers was added. */
DS4_MUST_CHECK ds4_status ds4_mcp_add_config(ds4_mcp *m, ds4_slice json, const char *name, ds4_err *err);

/* Servers that were added; for tests, which compare it with those that work. */
uint32_t ds4_mcp_n_servers(const ds4_mcp *m);

/* Start the servers that are not running, and ask each for its tools.
 *
 *   cancelled   polled; NULL for never
 *   told        receives one line for each server that does not work, with the reason
 *
 * Returns the number of servers that work.                                              */
uint32_t ds4_mcp_start(ds4_mcp *m, const volatile int *cancelled, ds4_str *told);

/* The tools of all servers that work, named SERVER__TOOL, added to those of the agent. A tool that cannot be
 * taken gives one line in *told. Returns the number that was added. m must outlive t. */
uint32_t ds4_mcp_offer(ds4_mcp *m, ds4_tools *t, ds4_str *told);

/* The servers and their tools, a line for each; for tests with servers of others, which print it. */
void ds4_mcp_describe(ds4_mcp *m, ds4_str *out);

#endif
