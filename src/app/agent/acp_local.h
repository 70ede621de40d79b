/* acp_local.h - between acp.c (what the editor asks) and acp_tell.c (what it is told). */
#ifndef DS4_AGENT_ACP_LOCAL_H
#define DS4_AGENT_ACP_LOCAL_H

#include "app/agent/acp.h"

#include <pthread.h>

enum { ACP_MAX_SESSIONS = 64, ACP_MAX_WAITING = 64, ACP_MAX_MESSAGE = 64 << 20 };

typedef struct acp_session {
    char   *id, *cwd;
    json_t *servers;            /* NULL: none */
    char    mode[16];
} acp_session;

typedef enum acp_wish { ACP_NEW, ACP_LOAD, ACP_PROMPT, ACP_MODE } acp_wish;

/* A request that waits: for its session to be open, and then for its ticket to settle. */
typedef struct acp_order {
    acp_wish  wish;
    json_t   *id;               /* of the request */
    char     *session, *cwd;    /* the session is NULL for a new one */
    json_t   *servers;
    ds4_str   text;             /* of a prompt or a command */
    uint64_t  ticket;           /* 0: not sent yet */
    bool      cancelled;
} acp_order;

typedef struct acp {
    const ds4_acp_host *host;
    ds4_rpc_lines   lines;
    pthread_mutex_t out_lock;   /* a message is written whole */

    pthread_mutex_t lock;       /* what follows */
    pthread_cond_t  changed;
    acp_session     sessions[ACP_MAX_SESSIONS];     /* [n_sessions] */
    size_t          n_sessions;
    acp_order       orders[ACP_MAX_WAITING];        /* [n_orders], in the order of asking */
    size_t          n_orders;
    ds4_agent      *agent;      /* that runs or is about to; NULL: none */
    char           *current;    /* its session */
    bool            over;       /* the editor is gone */
    uint64_t        n_asked;    /* of our own requests */
    bool            asking;     /* a permission is waited for: request n_asked */
    ds4_permission  answer;

    /* The loop's thread only. */
    ds4_str         error;      /* the last DS4_FRONT_ERROR */
    json_t         *diffs;      /* of the call that runs: its content so far */
    ds4_str         output;     /* of it, as it comes */
    uint64_t        told_ns;    /* when output was told */
    uint32_t        n_used;     /* as told */
} acp;

/* Write a message and clear it. */
void acp_send(acp *a, ds4_str *message);
/* Tell an update of the current session. Takes the reference. */
void acp_update(acp *a, json_t *update);
/* An event of the agent; SETTLED is done with acp_settle(). */
void acp_tell(acp *a, const ds4_front_event *e);

json_t *acp_modes(const char *current);
json_t *acp_commands(void);     /* the update that names them */
/* The parameters of session/request_permission. */
json_t *acp_permission(const acp *a, const ds4_question *question);

#endif
