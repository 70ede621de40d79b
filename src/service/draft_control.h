/* draft_control.h - how many guesses are worth a step's time.
 *
 * Of all drafts of a step those guesses are used that together promise the most tokens for the
 * time, by how likely they are and what wider steps cost so far. An account of time lost and
 * won against steps without guesses bounds the harm where chances or costs are misjudged: when
 * the losses exceed an allowance, guessing pauses. Zeroed with costs is ready. */
#ifndef DS4_SERVICE_DRAFT_CONTROL_H
#define DS4_SERVICE_DRAFT_CONTROL_H

#include "service/drafter.h"
#include "service/step_costs.h"

enum { DS4_CONTROL_GUESSES = 64 };      /* most of one step */

typedef struct ds4_draft_control {
    ds4_step_costs *costs;      /* lent */
    bool     always;            /* for tests and measurements: every guess is used, whatever it costs */
    double   lost;              /* steps without guesses, less those won */
    bool     is_paused;
    uint64_t n_paused;          /* steps without guesses for that reason */
    uint32_t since_plain;       /* steps with guesses */
    uint32_t n_seats, n_rows;   /* of the plan */
    /* Costs and gains of guesses that a drafter computed, beside steps without. */
    double   spent_ns;          /* for the plan */
    double   gain;              /* of a step with them, on average, in steps without */
    uint32_t n_tried;           /* such steps since they were last left out */
    uint32_t n_skip, skip;      /* steps that they are left out for; of those, still to come */
} ds4_draft_control;

/* Whether guesses that take a drafter's step may be computed for the next plan. Called once for each. */
bool ds4_draft_control_computes(ds4_draft_control *c);

/* Guesses of the next plan took so long to compute. */
void ds4_draft_control_spent(ds4_draft_control *c, uint64_t took_ns);

/* Plan a step of n_seats answers.
 *
 *   draft    [n_seats] what could be guessed for each
 *   most     tokens that the step may have beside those of the answers
 *   length   [n_seats] receives how many of each draft are used, from its beginning
 *
 * Returns their sum.                                                                       */
uint32_t ds4_draft_control_plan(ds4_draft_control *c, const ds4_draft *const *draft, uint32_t n_seats,
                                uint32_t most, uint32_t *length);

/* The step of the plan is over.
 *
 *   n_tokens   that its answers got by it, all together
 *   alone      nothing else was in the step: its time tells what steps cost                  */
void ds4_draft_control_learn(ds4_draft_control *c, uint32_t n_tokens, bool alone, uint64_t took_ns);

#endif
