/* seat.h - a session and the turn that is taken on it: its prompt, its answer, its logits.
 *
 * Whoever answers prompts has seats: a conversation one, the scheduler many. A turn goes
 *
 *     ds4_seat_take()      the session is brought to what is known of a prompt
 *     ds4_seat_begin()     with the answer that is to be generated
 *     ds4_seat_work()      tokens to evaluate: of the prompt, then one of the answer each time
 *     ds4_engine_step()    by the caller, with the work of other seats beside it
 *     ds4_seat_done()      positions are kept, the next token is chosen
 *     ds4_seat_next()      while ds4_seat_agrees(): the answer has the next guess too
 *
 * and so on until the seat is idle. Between two steps of an answer somebody may give it a draft
 * (speculation.h): guesses that the step evaluates behind the chosen token. Each token is then chosen
 * from the logits of those before it, with the same draws as in steps of their own, and what was
 * guessed otherwise is taken back: a draft changes nothing but the number of steps.
 *
 * ds4_seat_keep() keeps what was computed when the seat is idle. A seat belongs to the thread
 * that owns the engine. */
#ifndef DS4_SERVICE_SEAT_H
#define DS4_SERVICE_SEAT_H

#include "service/drafter.h"
#include "service/generation.h"
#include "service/resume.h"

enum { DS4_SEAT_ROWS = 32 };    /* prompt tokens of a step, where the logits of all are wanted */

typedef enum ds4_seat_state {
    DS4_SEAT_IDLE,
    DS4_SEAT_READING,           /* a part of the prompt is still to be evaluated */
    DS4_SEAT_WRITING,           /* `run` is to be evaluated */
} ds4_seat_state;

/* Fields are for reading; zeroed is closed. */
typedef struct ds4_seat {
    ds4_engine     *engine;
    ds4_resume     *resume;     /* lent; may be exchanged while the seat is idle */
    ds4_session    *session;
    float          *logits;     /* [n_vocab] of the session's last token, if logits_pos is its length */
    uint32_t        logits_pos; /* 0: none */
    ds4_seat_state  state;
    ds4_prompt      prompt;     /* of this turn, or of the last one */
    ds4_generation *answer;     /* lent while the seat is not idle */
    float          *rows;       /* lent likewise; NULL: the prompt's own logits are not wanted */
    int32_t         run[1 + DS4_DRAFT_TOKENS];  /* [n_run] the chosen token, and guesses behind it */
    uint32_t        n_run;
    uint32_t        n_agreed;   /* of run: evaluated, and the answer's; 0: it is not evaluated yet */
    uint32_t        n_kept;     /* tokens of the answer that the last step evaluated */
    float          *run_rows;   /* [n_run][n_vocab] lent, where there are guesses */
    ds4_drafter    *drafter;    /* its own; NULL: nothing is guessed */
    bool            has_texts;  /* the drafter knows earlier conversations, or this one */
    ds4_draft       draft;
    uint32_t        n_guessed, n_right;         /* guesses of this turn that were evaluated; that agreed */
    uint64_t        writing_ns; /* when the prompt had been read; 0: not yet */
} ds4_seat;

/*   n_ctx   as in ds4_session_create()
 *
 * Returns DS4_OK; as ds4_session_create(). Close it in either case.                        */
DS4_MUST_CHECK ds4_status ds4_seat_open(ds4_seat *seat, ds4_engine *e, ds4_resume *resume, uint32_t n_ctx,
                                        ds4_err *err);
void                      ds4_seat_close(ds4_seat *seat);

/* Exchange the session of an idle seat for an empty one, of the same or of another size; its
 * position is kept in memory unless its last step failed. Returns DS4_OK; as
 * ds4_session_create(), then nothing has changed. */
DS4_MUST_CHECK ds4_status ds4_seat_renew(ds4_seat *seat, uint32_t n_ctx, ds4_err *err);

/* Guess by this drafter from now on, which is the seat's, or not at all with NULL. */
void ds4_seat_set_drafter(ds4_seat *seat, ds4_drafter *drafter);

void ds4_seat_clear(ds4_seat *seat);            /* the session of an idle seat is empty */
bool ds4_seat_has_logits(const ds4_seat *seat);

/* Bring an idle seat to the longest known beginning of a prompt.
 *
 *   prompt   from ds4_prompt_begin(); on success it is the seat's, and *prompt is empty
 *
 * Returns as ds4_prompt_bring().                                                          */
DS4_MUST_CHECK ds4_status ds4_seat_take(ds4_seat *seat, ds4_prompt *prompt, ds4_err *err);

/* Take a prompt of which every token is to be evaluated again, for its logits: an idle seat's
 * session is emptied, and its position kept. Returns DS4_OK; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_seat_take_anew(ds4_seat *seat, const ds4_tokens *tokens, ds4_err *err);

/* Begin the turn whose prompt was taken. A prompt that is there with its logits gives the
 * first token at once.
 *
 *   answer   lent until the seat is idle
 *   rows     [DS4_SEAT_ROWS][n_vocab] likewise: receives the logits of all prompt tokens of a
 *            step, to be looked at before ds4_seat_done(); NULL: they are not wanted
 *
 * Returns as ds4_seat_done().                                                             */
DS4_MUST_CHECK ds4_status ds4_seat_begin(ds4_seat *seat, ds4_generation *answer, float *rows,
                                          bool cancelled, ds4_err *err);

/* The seat's part of the next step. The seat is not idle.
 *
 *   most   tokens of a prompt, >= 1; at least ds4_engine_cut() for it to be cut well        */
ds4_work ds4_seat_work(ds4_seat *seat, uint32_t most);

/* A step with the seat's work has succeeded: keep the position if it is worth it, and choose
 * the next token once the prompt is read. The seat is idle when the answer is over; a full
 * context ends it (DS4_FINISH_CONTEXT), and so does `cancelled` (DS4_FINISH_CANCELLED).
 *
 * Returns as ds4_generation_next(): then the seat is idle too.                            */
DS4_MUST_CHECK ds4_status ds4_seat_done(ds4_seat *seat, const ds4_work *work, bool cancelled, ds4_err *err);

/* True when the answer's last token was guessed, so that the logits behind it are there: the next
 * one is to be chosen by ds4_seat_next(), which returns as ds4_seat_done(). */
bool                      ds4_seat_agrees(const ds4_seat *seat);
DS4_MUST_CHECK ds4_status ds4_seat_next(ds4_seat *seat, bool cancelled, ds4_err *err);

/* Guess at most `most` tokens behind the one that a writing seat has chosen: as many as can be of use
 * to it, by what its answer may still be. Lent until the next call. Nothing is evaluated yet.
 *
 *   compute   guesses may take a step of the model's drafter                              */
const ds4_draft *ds4_seat_draft(ds4_seat *seat, uint32_t most, bool compute);

/* Have the next step evaluate the first n tokens of that draft.
 *
 *   n      1 .. draft.n
 *   rows   [n + 1][n_vocab] for logits, lent until the seat has gone on from the step        */
void ds4_seat_use_draft(ds4_seat *seat, uint32_t n, float *rows);

/* End the turn, for a reason from outside or because a step failed. */
DS4_MUST_CHECK ds4_status ds4_seat_end(ds4_seat *seat, ds4_finish why, ds4_err *err);
void                      ds4_seat_give_up(ds4_seat *seat);

/* Keep what the turn computed, whether it came to its end or not: later prompts resume it. */
void ds4_seat_keep(ds4_seat *seat);

#endif
