/* acp.h - ds4-agent for editors: the Agent Client Protocol, version 1, over two descriptors.
 *
 * Two threads: one reads what the editor says, the other runs the agent and tells what it does. An editor may
 * have several sessions; one agent is open at a time, that of the session that was asked last, and another
 * one is opened when nothing runs. Each prompt is answered once. */
#ifndef DS4_AGENT_ACP_H
#define DS4_AGENT_ACP_H

#include "agent/front.h"
#include "agent/rpc.h"

/* The owner of the agents. Its functions are called on the thread of ds4_acp_serve(). */
typedef struct ds4_acp_host {
    void *ctx;
    /* Open an agent in a folder.
     *
     *   id        of a session that is kept; NULL: a new one
     *   servers   the editor's MCP servers, as the protocol has them; NULL: none
     *
     * Returns DS4_OK; DS4_E_ARG for a session that is not there; others.                   */
    ds4_status (*open)(void *ctx, const char *cwd, const char *id, const json_t *servers,
                       const ds4_front *front, ds4_agent **out, ds4_err *err);
    ds4_status  (*run)(void *ctx, ds4_agent *a, ds4_err *err);      /* until ds4_agent_quit() */
    const char *(*session)(void *ctx, ds4_agent *a);                /* its id */
    void        (*close)(void *ctx, ds4_agent *a);
    const char   *mode;         /* of a session at its beginning: "work", ... */
    int           in, out;
} ds4_acp_host;

/* Serve one editor until it closes its side.
 *
 * Returns DS4_OK; DS4_E_NOMEM without a thread.                                             */
DS4_MUST_CHECK ds4_status ds4_acp_serve(const ds4_acp_host *host, ds4_err *err);

/* A prompt's content as a message: texts, files that are named, files that are given with their text.
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED for content of other kinds; DS4_E_FORMAT.             */
DS4_MUST_CHECK ds4_status ds4_acp_prompt_text(const json_t *blocks, ds4_str *out, ds4_err *err);

#endif
