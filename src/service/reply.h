/* reply.h - one answer while it is being sampled.
 *
 * Takes logits, gives the next token to evaluate, and hands the text out as it becomes
 * certain: whole characters, sorted into reasoning, content and tool calls. It knows no
 * session and runs no step, so the same code serves one conversation and a batch. */
#ifndef DS4_SERVICE_REPLY_H
#define DS4_SERVICE_REPLY_H

#include "service/token_weights.h"
#include "text/dsml.h"

typedef enum ds4_finish {
    DS4_FINISH_NONE,            /* not over yet */
    DS4_FINISH_END,             /* the model ended its turn */
    DS4_FINISH_CALLS,           /* the model asks for tools and waits */
    DS4_FINISH_STOP,            /* a stop string; it is not part of the content */
    DS4_FINISH_LENGTH,          /* max_tokens were sampled */
    DS4_FINISH_CONTEXT,         /* the session is full */
    DS4_FINISH_CANCELLED,
    DS4_FINISH_LOOP,            /* the model repeated itself without end and was stopped */
} ds4_finish;

/* As the usual APIs call it: "stop", "tool_calls", "length", "cancelled"; "" for none. */
const char *ds4_finish_name(ds4_finish finish);

typedef enum ds4_piece_kind {
    DS4_PIECE_THINKING,
    DS4_PIECE_CONTENT,
    DS4_PIECE_CALL,             /* a call begins; text is the tool's name */
    DS4_PIECE_ARGUMENTS,        /* more of its arguments, JSON */
    DS4_PIECE_CALL_DROPPED,     /* the call that began last is none; its text, if it has any that is
                                   not cut off by the end, follows as content */
} ds4_piece_kind;

typedef struct ds4_piece {
    ds4_piece_kind kind;
    ds4_slice      text;        /* valid UTF-8, whole characters; lent during the call */
    uint32_t       i_call;      /* which call, from 0 */
} ds4_piece;

typedef void ds4_piece_fn(void *ctx, const ds4_piece *piece);

/* Chooses the next token in place of ds4_sample(), with the same arguments and result. */
typedef int32_t ds4_choose_fn(void *ctx, const float *logits, const ds4_sampling *how,
                              ds4_rng *rng, ds4_candidate *scratch);

typedef struct ds4_reply_options {
    const ds4_vocab *vocab;
    uint32_t         n_vocab;   /* logits in a row; may exceed the vocabulary */
    ds4_sampling     sampling;
    ds4_penalties    penalties;         /* of reasoning and content; calls are left alone */
    ds4_rng         *rng;       /* borrowed for the reply's life */
    uint32_t         max_tokens;        /* >= 1 */
    bool             thinking;  /* the prompt ended inside reasoning */
    bool             plain; /* no conversation: everything is content, calls are not looked for */
    const ds4_slice *stops;     /* [n_stops] not empty; searched in the content; borrowed */
    uint32_t         n_stops;
    const ds4_slice *tools;     /* [n_tools] as in ds4_dsml_options; borrowed */
    uint32_t         n_tools;
    ds4_piece_fn    *piece;     /* NULL: only the result is wanted */
    void            *piece_ctx;
    ds4_choose_fn   *choose;    /* NULL: ds4_sample() */
    void            *choose_ctx;
} ds4_reply_options;

/* The reply so far; slices are lent until the next call on the reply. */
typedef struct ds4_reply_result {
    ds4_finish           finish;
    ds4_slice            stop;          /* the one of DS4_FINISH_STOP */
    ds4_dsml_state       state;         /* what is being sampled; content when plain */
    ds4_slice            reasoning, content;    /* valid UTF-8 */
    const ds4_dsml_call *calls;         /* [n_calls] complete ones */
    uint32_t             n_calls;
    ds4_slice            raw_calls;     /* fit for ds4_message.raw_calls */
    unsigned             oddities;      /* of the reader, see dsml.h */
    uint32_t             n_tokens;      /* sampled; the token that ends the turn is not counted */
    const int32_t       *tokens;        /* [n_tokens] */
    uint32_t             n_reasoning_tokens;
} ds4_reply_result;

typedef struct ds4_reply ds4_reply;

/* Returns DS4_OK; DS4_E_ARG for an empty stop string or max_tokens 0; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_reply_create(const ds4_reply_options *opt, ds4_reply **out,
                                           ds4_err *err);
void                      ds4_reply_free(ds4_reply *r);         /* NULL is fine */

/* Sample one token and read it.
 *
 *   logits   [n_vocab] of the last evaluated token
 *   token    receives the token to evaluate next, or -1 when the reply is over
 *
 * Returns DS4_OK; DS4_E_DEVICE when a logit is not finite; DS4_E_NOMEM; DS4_E_ARG when
 * the reply is over.                                                                 */
DS4_MUST_CHECK ds4_status ds4_reply_sample(ds4_reply *r, const float *logits, int32_t *token,
                                           ds4_err *err);

/* Read a token that was sampled before, by another reply to the same prompt: nothing is chosen. Nothing
 * happens when the reply is over. Returns DS4_OK; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_reply_take(ds4_reply *r, int32_t id, ds4_err *err);

/* End it from outside: DS4_FINISH_CONTEXT, DS4_FINISH_CANCELLED or DS4_FINISH_LOOP. Nothing happens when it
 * is over already. */
DS4_MUST_CHECK ds4_status ds4_reply_end(ds4_reply *r, ds4_finish why, ds4_err *err);

const ds4_reply_result *ds4_reply_get(const ds4_reply *r);

#endif
