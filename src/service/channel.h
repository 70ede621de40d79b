/* channel.h - what the worker tells a waiting thread about its jobs, in order.
 *
 * One thread reads; one thread writes. Events are small, and there are at most as many as
 * a job has tokens: a reader that is slow holds nobody up. */
#ifndef DS4_SERVICE_CHANNEL_H
#define DS4_SERVICE_CHANNEL_H

#include "service/reply.h"

typedef enum ds4_event_kind {
    DS4_EVENT_STARTED,          /* the job has a session: n_prompt, n_cached */
    DS4_EVENT_PROGRESS,         /* n_done tokens of the prompt are in the session */
    DS4_EVENT_PIECE,            /* piece, i_call, text */
    DS4_EVENT_TOKEN,            /* a token of the answer with its likelihood, if asked for */
    DS4_EVENT_PROMPT_TOKEN,     /* the same for each token of the prompt but the first */
    DS4_EVENT_END,              /* the last one of a job */
} ds4_event_kind;

enum { DS4_MAX_LOGPROBS = 20 };

typedef struct ds4_token_prob {
    int32_t id;
    float   logprob;            /* natural logarithm */
} ds4_token_prob;

typedef struct ds4_event {
    struct ds4_event *next;
    ds4_event_kind    kind;
    uint32_t          tag;      /* which job, as its owner numbers them */
    uint32_t          n_prompt, n_cached, n_done;
    ds4_piece_kind    piece;
    uint32_t          i_call;
    ds4_slice         text;             /* owned by the event */
    ds4_token_prob    token;
    ds4_token_prob    top[DS4_MAX_LOGPROBS];    /* [n_top] most likely first */
    uint32_t          n_top;
} ds4_event;

typedef struct ds4_channel ds4_channel;

DS4_MUST_CHECK ds4_status ds4_channel_create(ds4_channel **out, ds4_err *err);
void                      ds4_channel_free(ds4_channel *c);     /* NULL is fine */

/* Append a copy of an event and of its text. When memory is short the event is lost and
 * ds4_channel_broken() becomes true. */
void ds4_channel_put(ds4_channel *c, const ds4_event *event);
bool ds4_channel_broken(ds4_channel *c);

/* The next event, waiting for it at most wait_ms (0: not at all); NULL when none came.
 * The caller frees it with free(). */
ds4_event *ds4_channel_get(ds4_channel *c, uint32_t wait_ms);

/* Let events gather until a time of ds4_now_ns(), or the end of a job. A reader that wakes up
 * for each token takes the processor from the thread that samples them. */
void ds4_channel_rest(ds4_channel *c, uint64_t until_ns);

#endif
