/* front.h - between the agent's loop and who shows it: events that go out, requests that come in.
 *
 * A front is a terminal, a plain stream or an editor. The loop runs on one thread (ds4_agent_run()) and calls
 * the front there, never two calls at a time. A front reads its keys or its socket on another thread, and
 * asks from there with the functions at the end of this file, which only leave a note and return.
 *
 * Each request has a ticket, and exactly one DS4_FRONT_SETTLED bears it, as the last of its events. */
#ifndef DS4_AGENT_FRONT_H
#define DS4_AGENT_FRONT_H

#include "agent/tools.h"

typedef enum ds4_front_kind {
    DS4_FRONT_SESSION,          /* another session is open: session */
    DS4_FRONT_USER,             /* text: a message of the user that is being answered, or was once */
    DS4_FRONT_PREFILL,          /* progress: tokens of the prompt */
    DS4_FRONT_REASONING,        /* text: more of it; whole characters */
    DS4_FRONT_ANSWER,           /* text: more of it; whole characters; Markdown */
    DS4_FRONT_CALL_BEGIN,       /* call: id and name; the model begins to write a call */
    DS4_FRONT_CALL_ARGUMENTS,   /* call: id, name; text: more of the arguments, JSON in pieces */
    DS4_FRONT_CALL_DROPPED,     /* call: it was none after all */
    DS4_FRONT_CALL_RUN,         /* call: whole; it runs now */
    DS4_FRONT_TOOL_OUTPUT,      /* call; text: more output of a command, raw bytes */
    DS4_FRONT_CHANGE,           /* call, change: it changed a file */
    DS4_FRONT_CALL_END,         /* call, result; also for a call that was not run */
    DS4_FRONT_QUEUE,            /* text: the last message that waits; n: how many wait */
    DS4_FRONT_STATUS,           /* status */
    DS4_FRONT_NOTE,             /* text: for the user, of a command or the program; lines */
    DS4_FRONT_ERROR,            /* text: one sentence */
    DS4_FRONT_SETTLED,          /* stop: the request `ticket` is done */
} ds4_front_kind;

typedef enum ds4_stop {
    DS4_STOP_DONE,              /* the model ended its turn; or a command was done */
    DS4_STOP_LENGTH,            /* most tokens of a turn */
    DS4_STOP_CONTEXT,           /* the context is full and compaction did not help */
    DS4_STOP_LOOP,              /* the model repeated itself */
    DS4_STOP_CALLS,             /* most rounds of calls in a turn */
    DS4_STOP_INTERRUPTED,       /* the user stopped it */
    DS4_STOP_QUEUED,            /* it gave way to a message that waited */
    DS4_STOP_FAILED,            /* DS4_FRONT_ERROR said why */
} ds4_stop;

const char *ds4_stop_name(ds4_stop stop);       /* "done", "length", "context", ... */

typedef enum ds4_agent_state {
    DS4_AGENT_IDLE,
    DS4_AGENT_READING,          /* a prompt is evaluated */
    DS4_AGENT_WRITING,          /* tokens are sampled */
    DS4_AGENT_CALLING,          /* a tool runs */
    DS4_AGENT_COMPACTING,
    DS4_AGENT_SAVING,
} ds4_agent_state;

typedef struct ds4_agent_status {
    ds4_agent_state state;
    uint32_t        n_used, n_ctx;          /* tokens of the context */
    uint32_t        n_prompt, n_cached;     /* of the last prompt: all, and those not read again */
    uint32_t        n_written;              /* of this answer so far */
    double          read_tps, write_tps;    /* tokens in a second; 0: not known */
    uint32_t        n_queued;
    ds4_tools_mode  mode;
    bool            planning;               /* /plan: tools only read */
    bool            thinking;
} ds4_agent_status;

typedef struct ds4_session_facts {
    const char *id;             /* of ds4_agent_command("/switch ID") */
    const char *title;          /* "" before the first message */
    const char *root, *model;
    const char *sandbox;        /* see ds4_tools_sandbox() */
    uint32_t    n_turns;        /* messages of the user */
    bool        resumed;        /* a turn was cut by the end of a process, and goes on when asked */
} ds4_session_facts;

typedef struct ds4_front_event {
    ds4_front_kind           kind;
    uint64_t                 ticket;        /* of the request that it belongs to; 0: none */
    bool                     replayed;      /* of the session's past, shown again */
    ds4_slice                text;
    uint32_t                 n;
    struct { uint32_t done, total, cached; } progress;
    const ds4_tool_call     *call;          /* NULL where none is named above; likewise: */
    const ds4_tool_result   *result;
    const ds4_tool_change   *change;
    const ds4_agent_status  *status;
    const ds4_session_facts *session;
    ds4_stop                 stop;
} ds4_front_event;

/* Everything that an event points at is lent during the call. */
typedef struct ds4_front {
    void *ctx;
    void (*event)(void *ctx, const ds4_front_event *event);
    /* Blocks until the user has answered; must return DENY soon after this front has interrupted. NULL:
     * nothing is allowed that must be asked. */
    ds4_ask_fn *ask;            /* called with ctx */
} ds4_front;

/* ---- requests, from any thread --------------------------------------------------------------------- */

typedef struct ds4_agent ds4_agent;

/* A message of the user. While the loop works it waits in the queue and is delivered at the next safe point:
 * behind an answer, or before calls that were not run yet. Returns its ticket; 0 when memory is short. */
uint64_t ds4_agent_submit(ds4_agent *a, ds4_slice text);

/* A command with its slash, as "/switch 3f2a". Those that need the model to be idle wait for that. */
uint64_t ds4_agent_command(ds4_agent *a, ds4_slice line);

/* Take the last message that waits back, to edit it: appended to *text. False: none waits. Its ticket settles
 * as DS4_STOP_INTERRUPTED. */
bool ds4_agent_unqueue(ds4_agent *a, ds4_str *text);

/* Stop what runs: reading, writing, a tool, a compaction. What was computed stays.
 *
 *   send   true: messages that wait are answered next; false: they wait for
 *          ds4_agent_unqueue() or the next message                                         */
void ds4_agent_interrupt(ds4_agent *a, bool send);

void ds4_agent_quit(ds4_agent *a);      /* interrupts, keeps the session, and ds4_agent_run() returns */

bool ds4_agent_busy(ds4_agent *a);      /* a request is being worked on or waits */

/* The commands, for completion and help: [*n] lent for ever. */
typedef struct ds4_agent_word {
    const char *name, *args, *help;     /* "/switch", "ID", "open another session" */
    bool        any_time;               /* also while the model works */
} ds4_agent_word;
const ds4_agent_word *ds4_agent_words(uint32_t *n);

#endif
