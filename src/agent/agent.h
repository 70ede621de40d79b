/* agent.h - the coding agent: a conversation with the model in which the model works on a project.
 *
 * The loop reads requests (front.h), lets the model answer, runs the calls it writes (tools.h), tells it
 * their results, and so on until it ends its turn. What happens is in the session's journal before it has an
 * effect (talk.h); what was computed is kept by ds4_resume. So a process may end at any moment, and the next
 * one goes on where it stopped.
 *
 * ds4_agent_run() works on the thread that calls it, which must be that of the engine. */
#ifndef DS4_AGENT_AGENT_H
#define DS4_AGENT_AGENT_H

#include "agent/front.h"
#include "service/resume.h"
#include "service/speculation.h"
#include "text/chat.h"

typedef struct ds4_agent_options {
    ds4_engine        *engine;          /* lent, like all pointers here */
    ds4_resume        *resume;
    ds4_protocol       protocol;
    uint32_t           n_ctx;           /* at least DS4_AGENT_MIN_CTX */
    const char        *dir;             /* of sessions; made if it is missing */
    const char        *root;            /* the project */
    const char        *session;         /* NULL: a new one; "": the last one of this root; else an id */
    ds4_tools_mode     mode;
    bool               allow_secrets;
    bool               no_notes;        /* what the project says about itself is left out */
    ds4_tools_limits   limits;
    const char        *instructions;    /* behind ours; NULL: none */
    ds4_sampling       sampling;
    uint64_t           seed;
    bool               thinking;
    ds4_effort         effort;
    uint32_t           max_tokens;      /* of an answer */
    uint32_t           think_budget, loop_tokens;       /* see ds4_generation_options */
    uint32_t           max_rounds;      /* answers in a turn */
    ds4_speculate      speculate;       /* guesses of the next tokens */
    ds4_front          front;

    /* Called when tools were opened, to add foreign ones; NULL: none. */
    ds4_status       (*add_tools)(void *ctx, ds4_tools *tools, ds4_err *err);
    void              *add_tools_ctx;

    /* Tokens of the answer to a prompt, for tests; see ds4_generation_options.script. NULL: the model's. */
    ds4_status       (*prescribe)(void *ctx, ds4_slice prompt, ds4_tokens *out, ds4_err *err);
    void              *prescribe_ctx;
} ds4_agent_options;

enum { DS4_AGENT_MIN_CTX = 4096 };

/* Make a folder and those above it, for nobody else to read. Returns DS4_OK, also when it is there; DS4_E_IO;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_agent_make_dir(const char *path, ds4_err *err);

/* Open tools and the session. The front hears of it in ds4_agent_run().
 *
 * Returns DS4_OK; DS4_E_LIMIT for a context that is too small; DS4_E_ARG for a session that is not there; as
 * ds4_tools_open(), ds4_talk_open(), ds4_seat_open().                                       */
DS4_MUST_CHECK ds4_status ds4_agent_create(const ds4_agent_options *opt, ds4_agent **out, ds4_err *err);
void                      ds4_agent_free(ds4_agent *a);         /* NULL is fine */

/* Work until ds4_agent_quit(). Returns DS4_OK, or what made going on impossible. */
DS4_MUST_CHECK ds4_status ds4_agent_run(ds4_agent *a, ds4_err *err);

/* A turn was cut by the end of a process: "/continue" goes on with it. */
bool        ds4_agent_is_open_turn(const ds4_agent *a);
const char *ds4_agent_session(const ds4_agent *a);              /* its id */

#endif
