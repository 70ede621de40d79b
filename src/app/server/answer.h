/* answer.h - one answer while it is being given: the jobs behind it and what was sent.
 *
 * The four APIs differ in how they write it down, and in nothing else: see ds4_writer. */
#ifndef DS4_APP_SERVER_ANSWER_H
#define DS4_APP_SERVER_ANSWER_H

#include "app/server/server.h"
#include "service/sampled_turns.h"

typedef struct ds4_answer ds4_answer;

/* The item that is open in a stream. */
typedef enum ds4_open_item {
    DS4_OPEN_NOTHING,
    DS4_OPEN_THINKING,
    DS4_OPEN_TEXT,
    DS4_OPEN_CALL,
} ds4_open_item;

enum { DS4_ID_BYTES = 48 };

typedef struct ds4_written_call {
    char      id[DS4_ID_BYTES];
    char      item_id[DS4_ID_BYTES];
    ds4_slice name;             /* in the request's arena */
    uint32_t  index;            /* among all that were begun, those that turned out to be none too */
} ds4_written_call;

typedef struct ds4_choice {
    ds4_answer       *answer;
    uint32_t          index;
    ds4_job          *job;
    bool              started, over;
    uint32_t          n_prompt, n_cached;
    ds4_open_item     open;
    uint32_t          n_items;  /* blocks or items begun */
    bool              any_text, any_call;
    char              item_id[DS4_ID_BYTES];    /* of the open item */
    ds4_str           text;     /* of the open item */
    ds4_str           items;    /* finished output items, JSON, comma between (responses) */
    ds4_str           logprobs; /* entries for text that was not sent yet, comma between */
    bool              echoed;   /* the prompt's text was sent */
    uint32_t          text_offset;      /* characters before the next token, for likelihoods */
    ds4_written_call *calls;    /* [n_calls] */
    uint32_t          n_calls, cap_calls, n_calls_begun;
} ds4_choice;

typedef struct ds4_writer {
    void (*begin)(ds4_answer *a);                               /* headers are going out */
    void (*started)(ds4_answer *a, ds4_choice *c);              /* the prompt is counted */
    void (*piece)(ds4_answer *a, ds4_choice *c, const ds4_event *e);
    void (*alive)(ds4_answer *a);                               /* nothing else to say for a while */
    void (*ended)(ds4_answer *a, ds4_choice *c);
    void (*close)(ds4_answer *a);                               /* all choices have ended */
    void (*broken)(ds4_answer *a, const ds4_problem *p);        /* after the headers */
    void (*whole)(ds4_answer *a);                               /* not streamed: into a->out */
    bool collects;              /* wants to hear everything for a whole answer too */
} ds4_writer;

extern const ds4_writer ds4_chat_writer, ds4_completions_writer, ds4_messages_writer,
    ds4_responses_writer;

struct ds4_answer {
    ds4_server         *server;
    const ds4_writer   *writer;
    ds4_request         request;
    ds4_segments        text;
    ds4_tokens          tokens, script;
    ds4_sampled_turn   *turns;          /* [n_turns] of the assistant in the request */
    uint32_t            n_turns, n_sampled;     /* tokens of the prompt as sampled, not as encoded */
    ds4_slice           opening;
    ds4_grammar        *grammar;        /* of the answer, or of a tool's name; NULL: free */
    bool                grammar_ends;
    ds4_channel        *channel;
    ds4_choice          choice[16];
    uint32_t            n_choices, n_over, n_submitted;
    uint64_t            key;            /* of the conversation before the answer, see turn_replay.h */
    ds4_replay_scope    scope;          /* whose it is, and the model's */
    bool                not_stored;     /* the response was to be, and could not */
    uint64_t            begin_ns, first_ns, last_ns, looked_ns, said_ns;
    uint64_t            seed;
    char                client[96];
    ds4_http_call      *call;
    char                id[DS4_ID_BYTES];
    long                created;
    uint32_t            n_events;       /* sequence_number of /v1/responses */
    ds4_str             out;            /* bytes to send */
    size_t              n_sent;         /* of out */
    size_t              n_taken;        /* bytes of the prompt, out of the request's purse */
    bool                closed, failed, noted;
    bool                half;           /* the client has closed its side, see ds4_http_look() */
};

/* ---- for generate.c ---------------------------------------------------------------------------- */

void ds4_answer_free(void *answer);     /* a ds4_answer; cancels what is not over */

/* Put the job of a choice into the line; its events come through a->channel. Returns as
 * ds4_scheduler_submit(). */
DS4_MUST_CHECK ds4_status ds4_answer_submit(ds4_answer *a, uint32_t i, ds4_err *err);

/* Give an answer whose first job is in the line, streamed or whole as the request wants it. Frees
 * it, a stream when that has ended. */
void ds4_answer_give(ds4_answer *a, ds4_http_answer *http);

/* ---- for writers ------------------------------------------------------------------------------- */

const ds4_written_call *ds4_answer_call(ds4_answer *a, ds4_choice *c, uint32_t i, ds4_slice name);
void                    ds4_answer_drop_call(ds4_choice *c, uint32_t i);        /* it is none */
/* The text inside {"input": TEXT}; what else the model wrote is handed on as it is. */
ds4_slice               ds4_answer_free_text(ds4_answer *a, ds4_slice arguments);
const ds4_tool         *ds4_answer_tool(const ds4_answer *a, ds4_slice name);  /* NULL: none has it */
ds4_finish              ds4_answer_finish(const ds4_choice *c);
void                    ds4_add_json(ds4_str *out, ds4_slice text);     /* a JSON string */
ds4_slice               ds4_model_echo(const ds4_answer *a);

typedef struct ds4_usage {
    uint32_t n_prompt, n_cached, n_generated, n_reasoning;
    uint32_t n_sampled;         /* of the prompt: as an earlier answer had them, not as encoding gives them */
} ds4_usage;
ds4_usage ds4_answer_usage(const ds4_answer *a);

#endif
