/* program.h - the settings of one run of ds4-agent, and the fronts that can show it. */
#ifndef DS4_APP_AGENT_PROGRAM_H
#define DS4_APP_AGENT_PROGRAM_H

#include "agent/agent.h"
#include "agent/mcp.h"
#include "app/common/app.h"
#include "app/common/kv_options.h"
#include "app/common/options.h"
#include "app/common/script.h"

#define DS4_AGENT_NAME "ds4-agent"

enum {
    DS4_AGENT_CTX = 32768,              /* context when -c is not given */
    DS4_AGENT_MAX_TASK = 1 << 24,       /* bytes of a message from a file or a pipe */
    DS4_EXIT_UNFINISHED = 3,            /* the turn was ended by a limit, not by the model */
};

typedef struct ds4_agent_program {
    ds4_app_model    model;
    ds4_app_kv       kv;
    const char      *task;              /* -p; NULL: none */
    const char      *folder, *sessions, *resume, *instructions, *mcp_config, *script_path;
    bool             go_on;             /* --continue */
    bool             json, acp, no_notes, allow_secrets;
    int              mode;              /* a ds4_tools_mode */
    int              speculate;         /* a ds4_speculate */
    int              think;             /* 0 yes, 1 with the greatest effort, 2 no */
    uint32_t         n_ctx, max_tokens, max_rounds, think_budget, loop_tokens, top_k;
    ds4_option_f32   temperature, top_p, min_p;
    ds4_option_u64   seed;
} ds4_agent_program;

/* A front: it sets opt->front, creates the agent, runs it on this thread and frees it. Returns an exit code
 * after saying what went wrong. */
typedef int ds4_front_fn(const ds4_agent_program *p, ds4_agent_options *opt);

ds4_front_fn ds4_plain_front;           /* text on standard output, for pipes and scripts */
ds4_front_fn ds4_json_front;            /* each event as a line of JSON */
ds4_front_fn ds4_terminal_front;        /* for a person */
ds4_front_fn ds4_acp_front;             /* for an editor */

/* ---- what both of them do: line_front.c ---- */

typedef struct ds4_line_front {
    const ds4_agent_program *program;
    ds4_agent *agent;
    ds4_stop   stop;                    /* of the last request */
    bool       failed;                  /* some request did */
    uint64_t   ticket;                  /* that is waited for */
    bool       asked;                   /* -p or --continue was sent */
} ds4_line_front;

/* Send the next request: the task, or a line of standard input after the other; at their end, quit. */
void ds4_line_front_next(ds4_line_front *f);

/* Create the agent, run it and free it. Returns the exit code that fits how it ended. */
int ds4_line_front_run(ds4_line_front *f, ds4_agent_options *opt);

/* From now on Ctrl-C and SIGTERM interrupt this agent; once more, and the program ends. NULL: nobody. */
void ds4_agent_watch_signals(ds4_agent *agent);

#endif
