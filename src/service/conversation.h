/* conversation.h - one conversation on one session: what was said, and what the session
 * still holds of it: a seat with a history.
 *
 * Before each reply the whole history is rendered, compared with the tokens in the
 * session, and only what is new is evaluated. Sampled tokens stay as they were sampled.
 * When the rendering no longer begins with what the session holds (reasoning that is
 * dropped, another mode, an edited message), the session goes back to the longest position
 * that is known, in memory or on disk: see resume.h. The result is the same either way.
 *
 * Blocks; one thread at a time. Nothing is printed. */
#ifndef DS4_SERVICE_CONVERSATION_H
#define DS4_SERVICE_CONVERSATION_H

#include "service/history.h"
#include "service/seat.h"
#include "service/speculation.h"

typedef struct ds4_conversation ds4_conversation;

/* The settings of one answer. All pointers are borrowed for the time of the call. */
typedef struct ds4_turn {
    ds4_chat_options  chat; /* thinking, effort, keep_reasoning, tools, ...; the protocol is the
                                       conversation's own */
    ds4_sampling      sampling;
    ds4_rng          *rng;
    uint32_t          max_tokens;   /* >= 1; the room in the context limits it too */
    const ds4_slice  *stops;        /* [n_stops] */
    uint32_t          n_stops;
    ds4_chooser_options choose;     /* grammar, opening, thinking_budget; zeroed: the model's choice */
    uint32_t          loop_tokens;  /* see loop_watch.h; 0: loops are not looked for */
    const ds4_cancel *cancel;       /* NULL: never */
    ds4_progress_fn  *progress;     /* of the prompt, counted over the whole of it; NULL: silent */
    ds4_piece_fn     *piece;        /* NULL: only the result is wanted */
    void             *ctx;          /* for progress and piece */
} ds4_turn;

typedef struct ds4_turn_stats {
    uint32_t n_prompt;              /* tokens of the rendered prompt */
    uint32_t n_cached;              /* of these: already in the session */
    uint32_t n_generated;           /* sampled, without the token that ends the turn */
    uint32_t n_guessed, n_agreed;   /* tokens of drafts that were evaluated; that the answer has */
    uint64_t resume_ns;             /* to find and to load what was cached */
    uint64_t prefill_ns, generate_ns;
    uint64_t first_token_ns; /* from the call to the first sampled token; 0 when there was none */
} ds4_turn_stats;

/*   e      lent for the conversation's life
 *   n_ctx  as in ds4_session_create()
 *
 * Returns DS4_OK; as ds4_session_create().                                           */
DS4_MUST_CHECK ds4_status ds4_conversation_create(ds4_engine *e, uint32_t n_ctx,
                                                  ds4_protocol protocol, ds4_conversation **out,
                                                  ds4_err *err);
void                      ds4_conversation_free(ds4_conversation *c);   /* NULL is fine */

/* Positions are kept there from now on instead of in this conversation's own memory; lent
 * for its life, and it may be shared by conversations on one engine. */
void ds4_conversation_use(ds4_conversation *c, ds4_resume *resume);

/* Guess tokens otherwise from now on; a new conversation does what helps.
 *
 *   opt   engine and n_seats are filled in
 *
 * Returns DS4_OK; DS4_E_NOMEM, then it guesses nothing.                                    */
DS4_MUST_CHECK ds4_status ds4_conversation_speculate(ds4_conversation *c, const ds4_speculation_options *opt,
                                                     ds4_err *err);

/* Exchange the session for one of another size. The history stays, and so does what was
 * evaluated, if it fits. On failure nothing has changed.                             */
DS4_MUST_CHECK ds4_status ds4_conversation_resize(ds4_conversation *c, uint32_t n_ctx,
                                                  ds4_err *err);

uint32_t     ds4_conversation_capacity(const ds4_conversation *c);      /* tokens */
uint32_t     ds4_conversation_pos(const ds4_conversation *c);           /* tokens in the session */
ds4_history *ds4_conversation_history(ds4_conversation *c); /* may be changed between replies */

/* Answer the history. The answer, also a cut one, becomes its last message.
 *
 * Returns DS4_OK, with the reason of the end in the result; DS4_E_CANCELLED when the
 * prompt was not finished; DS4_E_LIMIT when the prompt leaves no room for an answer (the
 * session is unchanged); as ds4_chat_render(), ds4_vocab_encode(), ds4_engine_step().
 * On failure the history is unchanged.                                               */
DS4_MUST_CHECK ds4_status ds4_conversation_reply(ds4_conversation *c, const ds4_turn *turn,
                                                 ds4_err *err);

/* Continue a text without a conversation. History and chat options are left alone.
 *
 *   text   rendered already: its trusted bytes may be special tokens
 *
 * Returns as ds4_conversation_reply().                                               */
DS4_MUST_CHECK ds4_status ds4_conversation_complete(ds4_conversation *c, const ds4_segments *text,
                                                    const ds4_turn *turn, ds4_err *err);

/* Results of the last reply, also of a failed one; lent until the next. */
const ds4_reply_result *ds4_conversation_result(const ds4_conversation *c);
const ds4_turn_stats   *ds4_conversation_stats(const ds4_conversation *c);

/* Tokens of the rendered history with these options: what a reply would begin with. */
DS4_MUST_CHECK ds4_status ds4_conversation_measure(const ds4_conversation *c,
                                                   const ds4_chat_options *chat, uint32_t *n_tokens,
                                                   ds4_err *err);

#endif
