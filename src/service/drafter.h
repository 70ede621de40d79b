/* drafter.h - who guesses the next tokens of an answer: one interface for all of them.
 *
 * A guess costs time when it is wrong, and never changes what is said: the tokens that an
 * answer has are chosen from the model's own logits (seat.h). So a drafter may be as wrong as
 * it likes, and how often it is right is measured. A drafter belongs to one seat. */
#ifndef DS4_SERVICE_DRAFTER_H
#define DS4_SERVICE_DRAFTER_H

#include "ds4.h"

#include "base/err.h"

enum { DS4_DRAFT_TOKENS = 15 };         /* most of one step: with the chosen token 16 rows */

typedef struct ds4_draft {
    uint32_t n;
    int32_t  token[DS4_DRAFT_TOKENS];
    float    chance[DS4_DRAFT_TOKENS];  /* that the answer has this token too, once it has those before */
    bool     is_computed;               /* by the model's drafter, with a step of its own */
} ds4_draft;

typedef struct ds4_drafter ds4_drafter;

typedef struct ds4_drafter_kind {
    const char *name;
    void (*free)(ds4_drafter *d);

    /* Forget every text: the seat serves somebody else now. */
    void (*forget)(ds4_drafter *d);

    /* A text of the same reader, which conversations may take from. Called between follow()s. */
    void (*remember)(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens);

    /* The conversation is tokens[n_tokens], and then `next`, which is chosen and not evaluated.
     * Called before each step of an answer; mostly a few tokens are new. */
    void (*follow)(ds4_drafter *d, const int32_t *tokens, uint32_t n_tokens, int32_t next);

    /* Guess at most `most` tokens, 1 .. DS4_DRAFT_TOKENS, behind what was followed.
     *
     *   session   holds the conversation; NULL: nothing may be computed for the guess     */
    void (*propose)(ds4_drafter *d, ds4_session *session, uint32_t most, ds4_draft *out);
} ds4_drafter_kind;

/* Every drafter begins with this. */
struct ds4_drafter {
    const ds4_drafter_kind *kind;
};

/* A drafter that finds the longest end of the conversation that was there before, in it or in
 * an earlier one of the seat, and guesses what followed then.
 *
 *   max_tokens   of text that is remembered, >= 64; the older half goes when it is full
 *
 * Returns DS4_OK; DS4_E_NOMEM.                                                            */
DS4_MUST_CHECK ds4_status ds4_drafter_suffix_create(uint32_t max_tokens, ds4_drafter **out, ds4_err *err);

/* A drafter that asks the engine's own (engine/draft.h), and learns how often what it is sure of by so much
 * comes true.
 *
 *   engine   lent; has a drafter (ds4_model_info.n_draft)
 *   suffix   becomes a part of it; where it promises more than a computed guess usually brings, it guesses.
 *            NULL: every guess is computed
 *
 * Returns DS4_OK; DS4_E_NOMEM, then suffix is still the caller's.                         */
DS4_MUST_CHECK ds4_status ds4_drafter_model_create(ds4_engine *engine, ds4_drafter *suffix, ds4_drafter **out,
                                                   ds4_err *err);

/* Bytes that a suffix drafter takes for each token of max_tokens, at most. */
enum { DS4_SUFFIX_TOKEN_BYTES = 224 };

#endif
