/* talk.h - one conversation of the agent: its tokens, what was said, and where it stands, kept in a journal.
 *
 * Every function that changes a talk writes a record first and then does to the talk what reading that record
 * does, so that a talk that is opened again is the same as the one that was left, at whatever moment its
 * process ended. The context is a list of tokens that only grows, apart from compaction, from a cut (undo)
 * and from a call that was interrupted while it was written: so what a session holds of it stays valid.
 *
 * One thread. */
#ifndef DS4_AGENT_TALK_H
#define DS4_AGENT_TALK_H

#include "agent/front.h"
#include "agent/journal.h"
#include "service/reply.h"

/* Kinds of records; their numbers are in files. */
typedef enum ds4_talk_record {
    DS4_TALK_META    = 1,       /* JSON: model, root, vocabulary, created */
    DS4_TALK_BASE    = 2,       /* tokens of system prompt and tools */
    DS4_TALK_USER    = 3,       /* u64 mark of the tools, u8 from the queue, then a message of the user */
    DS4_TALK_TOKENS  = 4,       /* u8: reasoning is open at their end; tokens that open an answer */
    DS4_TALK_SAMPLED = 5,       /* tokens of the answer */
    DS4_TALK_ANSWER  = 6,       /* JSON: the answer is over; what it said */
    DS4_TALK_CALL    = 7,       /* u32: this call of the answer begins to run */
    DS4_TALK_RESULT  = 8,       /* u32 call, u32 failed, text */
    DS4_TALK_STOP    = 9,       /* u32: a ds4_stop; the turn is over */
    DS4_TALK_CUT     = 10,      /* u64: everything from this place on is undone */
    DS4_TALK_COMPACT = 11,      /* u8 an answer ends it, u32 bytes of a summary, the summary, tokens */
    DS4_TALK_DROP    = 12,      /* u32: so many tokens of the answer's end are no part of the context */
    DS4_TALK_QUEUE   = 13,      /* a message that waits */
    DS4_TALK_UNQUEUE = 14,      /* u32: the first (0) or the last (1) no longer does */
    DS4_TALK_PLAN    = 15,      /* u32: planning or not */
} ds4_talk_record;

typedef enum ds4_talk_phase {
    DS4_TALK_IDLE,              /* the user's turn */
    DS4_TALK_PROMPTING,         /* a message came, its tokens did not yet */
    DS4_TALK_ANSWERING,         /* the prompt is there, the answer is not whole */
    DS4_TALK_CALLING,           /* calls are to be run and their results told */
} ds4_talk_phase;

typedef struct ds4_talk_call {
    ds4_str name, arguments;
    bool    begun, done;        /* a CALL, a RESULT was written */
    bool    failed;
    ds4_str result;
} ds4_talk_call;

/* One thing that was said. */
typedef struct ds4_talk_item {
    ds4_talk_record kind;       /* USER, ANSWER or COMPACT */
    uint64_t        at;         /* place of its record */
    uint64_t        mark;       /* USER: see ds4_tools_mark(); 0: none */
    uint64_t        answer_at;  /* USER: behind the record of its tokens, 0 until it is there */
    ds4_str         text;       /* USER: the message; ANSWER: content; COMPACT: the summary */
    ds4_str         reasoning;  /* ANSWER */
    ds4_talk_call  *calls;      /* [n_calls] ANSWER */
    uint32_t        n_calls;
    uint32_t        n_tokens;   /* ANSWER: sampled */
    ds4_finish      finish;     /* ANSWER */
} ds4_talk_item;

/* Fields are for reading. */
typedef struct ds4_talk {
    ds4_journal   *journal;
    char          *dir, *id;    /* its folder; the last part of its name */
    uint32_t       n_vocab;     /* ids of tokens are below it */
    ds4_talk_item *items;       /* [n_items] */
    uint32_t       n_items, items_capacity;
    ds4_tokens     tokens;      /* the context */
    uint32_t       n_base;      /* of these: system prompt and tools */
    uint32_t       n_answer;    /* of these, at the end: sampled tokens of the open or last answer */
    bool           thinking;    /* the answer began inside reasoning */
    bool           answer_open_reasoning;   /* the last answer was cut inside it */
    bool           ends_with_answer;        /* the next turn must close the last one */
    bool           untold;      /* the last answer's calls have results that the context does not have */
    ds4_talk_phase phase;
    ds4_stop       stop;        /* of the last turn */
    bool           planning;
    ds4_str       *queue;       /* [n_queue] messages that wait */
    uint32_t       n_queue;
    ds4_str        model, root, vocabulary;
    uint64_t       created;     /* seconds since 1970 */
    bool           damaged;     /* a record was not understood */
} ds4_talk;

typedef struct ds4_talk_meta {
    const char *model, *root, *vocabulary;
    uint64_t    created;
} ds4_talk_meta;

/* Make a new one in a folder that must not be there yet. base: as DS4_TALK_BASE.
 *
 * Returns DS4_OK; as ds4_journal_open(). Close it in either case.                           */
DS4_MUST_CHECK ds4_status ds4_talk_create(ds4_talk *t, const char *dir, uint32_t n_vocab,
                                          const ds4_talk_meta *meta, const ds4_tokens *base, ds4_err *err);

/* Open one that is there. Returns DS4_OK; DS4_E_FORMAT for records that do not fit together; as
 * ds4_journal_open(). Close it in either case. */
DS4_MUST_CHECK ds4_status ds4_talk_open(ds4_talk *t, const char *dir, uint32_t n_vocab, ds4_err *err);
void                      ds4_talk_close(ds4_talk *t);          /* a zeroed one is fine */

/* Read a file's content without a file behind it, for lists and tests: nothing can be written. */
DS4_MUST_CHECK ds4_status ds4_talk_load(ds4_talk *t, ds4_slice content, uint32_t n_vocab, ds4_err *err);

/* All of these return as ds4_journal_add(); DS4_E_NOMEM; DS4_E_ARG in the wrong phase. */
DS4_MUST_CHECK ds4_status ds4_talk_user(ds4_talk *t, uint64_t mark, bool from_queue, ds4_slice text,
                                        ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_tokens(ds4_talk *t, const ds4_tokens *tokens, bool thinking, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_sampled(ds4_talk *t, const int32_t *ids, uint32_t n, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_answer(ds4_talk *t, const ds4_reply_result *said, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_call_begins(ds4_talk *t, uint32_t i_call, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_call_ends(ds4_talk *t, uint32_t i_call, bool failed, ds4_slice text,
                                             ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_stop(ds4_talk *t, ds4_stop stop, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_drop(ds4_talk *t, uint32_t n_tokens, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_compact(ds4_talk *t, ds4_slice summary, const ds4_tokens *context,
                                           bool ends_with_answer, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_plan(ds4_talk *t, bool planning, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_enqueue(ds4_talk *t, ds4_slice text, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_talk_unqueue(ds4_talk *t, bool last, ds4_err *err);

/* Undo everything from the record at `at` on, which ds4_talk_item.at or answer_at named. Returns also
 * DS4_E_ARG for another place. */
DS4_MUST_CHECK ds4_status ds4_talk_cut(ds4_talk *t, uint64_t at, ds4_err *err);

/* Write the talk as it is now, without what was undone, to a new folder. */
DS4_MUST_CHECK ds4_status ds4_talk_fork(const ds4_talk *t, const char *dir, ds4_err *err);

ds4_talk_item *ds4_talk_last(const ds4_talk *t, ds4_talk_record kind);  /* NULL: none */
uint32_t       ds4_talk_n_turns(const ds4_talk *t);                     /* messages of the user */
void           ds4_talk_title(const ds4_talk *t, ds4_str *out);         /* its first message in a line */

#endif
