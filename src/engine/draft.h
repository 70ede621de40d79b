/* draft.h - what a drafter with weights guesses: the tokens behind those that sessions hold.
 *
 * The drafter's windows are filled by every step (ds4_engine_step()), are taken back with its tokens, and
 * begin anew where a session is restored. Guessing changes no session. Source: docs/SPECULATION.md. */
#ifndef DS4_ENGINE_DRAFT_H
#define DS4_ENGINE_DRAFT_H

#include "ds4.h"

typedef struct ds4_draft_work {
    ds4_session *session;           /* holds at least one token */
    int32_t      next;              /* chosen behind them, not evaluated */
    uint32_t     n;                 /* receives how many tokens were guessed behind it */
    int32_t      token[DS4_MAX_DRAFT];
    float        chance[DS4_MAX_DRAFT];     /* the drafter's own: right, if those before it are */
} ds4_draft_work;

/* Guess `most` tokens for each of some sessions at once.
 *
 *   most   1 .. ds4_model_info.n_draft
 *
 * The guesses of a session do not depend on its company. Returns DS4_OK; DS4_E_ARG without a drafter, for a
 * session of another engine, without tokens or broken, for a token outside the vocabulary, or for too many
 * sessions: n_work * n_draft is at most 64, and at most max_batch; DS4_E_IO, DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_engine_draft(ds4_engine *e, ds4_draft_work *work, uint32_t n_work,
                                           uint32_t most, ds4_err *err);

#endif
