/* agent_local.h - what the files of the agent's loop share. */
#ifndef DS4_AGENT_AGENT_LOCAL_H
#define DS4_AGENT_AGENT_LOCAL_H

#include "agent/agent.h"
#include "agent/inbox.h"
#include "agent/talk.h"
#include "agent/turn_text.h"
#include "service/seat.h"

enum {
    DS4_AGENT_SUMMARY_MOST = 4096,      /* tokens of a summary */
    DS4_AGENT_REPLY_LEAST = 512,        /* tokens of room that an answer gets */
};

struct ds4_agent {
    ds4_agent_options opt;
    ds4_seat          seat;
    ds4_speculation  *speculation;
    ds4_tools        *tools;
    ds4_inbox        *inbox;
    ds4_talk          talk;
    ds4_rng           rng;
    ds4_str           notes;            /* of the project */
    char              vocabulary[DS4_KV_KEY_TEXT];
    uint64_t          ticket;           /* of the request that is worked on */
    uint32_t          n_rounds;         /* answers of this turn */
    bool              quits;
    bool              replays;          /* events tell what was told before */
    bool              compacted;        /* for this prompt */
    ds4_stop          stop;             /* of this turn */
    bool              queue_shown;      /* the front knows that messages wait */
    ds4_agent_state   state;
    uint64_t          told_ns;          /* when the front got its last status */
    uint32_t          n_prompt, n_cached;
    double            read_tps, write_tps;
    ds4_generation   *answer;           /* NULL: none is sampled */
    /* Commands that come while something runs; they call what runs, so they are known here by address. */
    void            (*do_command)(ds4_agent *a, const ds4_request *request);
    bool            (*may_now)(ds4_slice line);
    ds4_tool_call     call;             /* that runs or is written */
    ds4_str           call_id;
};

/* ---- events: agent_tell.c ---- */

void ds4_agent_tell(ds4_agent *a, ds4_front_event *e);          /* sets ticket and replayed */
void ds4_agent_tell_text(ds4_agent *a, ds4_front_kind kind, ds4_slice text);
void ds4_agent_note(ds4_agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ds4_agent_error(ds4_agent *a, const ds4_err *err);
void ds4_agent_tell_state(ds4_agent *a, ds4_agent_state state);
void ds4_agent_tell_status(ds4_agent *a, bool at_once);
void ds4_agent_tell_session(ds4_agent *a);
void ds4_agent_tell_call(ds4_agent *a, ds4_front_kind kind, const ds4_tool_call *call, ds4_slice text);
void ds4_agent_settle(ds4_agent *a, uint64_t ticket, ds4_stop stop);
void ds4_agent_tell_past(ds4_agent *a, uint32_t n_turns);       /* the last turns, shown again */
ds4_tool_call ds4_agent_call_of(ds4_agent *a, const ds4_talk_item *item, uint32_t i_call);

/* ---- between steps: agent_around.c ---- */

/* Messages that came are written down, commands that may run do. True: stop. */
bool ds4_agent_look_around(ds4_agent *a);
void ds4_agent_note_taken_back(ds4_agent *a);
void ds4_agent_tell_queue(ds4_agent *a);

/* ---- tokens: agent_sample.c ---- */

ds4_turn_text             ds4_agent_text(const ds4_agent *a);
DS4_MUST_CHECK ds4_status ds4_agent_take_prompt(ds4_agent *a, const ds4_tokens *tokens, ds4_err *err);

/* Run the prompt that the seat took, with a->answer; sampled() is called when there may be new tokens.
 * Returns as ds4_engine_step(). */
DS4_MUST_CHECK ds4_status ds4_agent_sample(ds4_agent *a, void (*sampled)(ds4_agent *a), ds4_err *err);

/* ---- a turn: agent_turn.c ---- */

/* Work until the talk is idle: a->stop says how it ended. */
DS4_MUST_CHECK ds4_status ds4_agent_turn(ds4_agent *a, ds4_err *err);

/* ---- calls: agent_calls.c ---- */

/* Run the calls of the last answer that were not. *given_up: the turn is over, a->stop says why. */
DS4_MUST_CHECK ds4_status ds4_agent_calls(ds4_agent *a, bool *given_up, ds4_err *err);

/* ---- compaction: agent_compact.c ---- */

uint32_t ds4_agent_reserve(const ds4_agent *a);         /* tokens kept free for a summary */
bool     ds4_agent_is_full(const ds4_agent *a, uint32_t n_more);

/* Make the context anew from a summary and its last part. Returns DS4_OK; DS4_E_CANCELLED; DS4_E_LIMIT when
 * it would not become shorter; ... */
DS4_MUST_CHECK ds4_status ds4_agent_compact(ds4_agent *a, ds4_err *err);

/* ---- commands: agent_command.c ---- */

void ds4_agent_do_command(ds4_agent *a, const ds4_request *request);
bool ds4_agent_may_now(ds4_slice line);                 /* a command that may run while the model works */

/* ---- sessions: agent_session.c ---- */

DS4_MUST_CHECK ds4_status ds4_agent_open_tools(ds4_agent *a, const char *root, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_agent_new_session(ds4_agent *a, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_agent_open_session(ds4_agent *a, const char *id, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_agent_fork_session(ds4_agent *a, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_agent_last_session(ds4_agent *a, ds4_str *id, ds4_err *err);
void                      ds4_agent_close_session(ds4_agent *a);
DS4_MUST_CHECK ds4_status ds4_agent_list_sessions(ds4_agent *a, ds4_err *err);

#endif
