/* speculation.h - guessed tokens for all seats of an engine.
 *
 * Before a step of answers it asks the seats' drafters (drafter.h) for guesses and gives each
 * seat as many of them as are worth the time (draft_control.h). After the step it learns what they
 * were worth. Docs: docs/SPECULATION.md.
 *
 * Belongs to the thread that owns the engine. */
#ifndef DS4_SERVICE_SPECULATION_H
#define DS4_SERVICE_SPECULATION_H

#include "service/drafter.h"
#include "service/step_costs.h"

typedef struct ds4_seat ds4_seat;

typedef enum ds4_speculate {
    DS4_SPECULATE_AUTO,         /* whatever helps */
    DS4_SPECULATE_OFF,
    DS4_SPECULATE_SUFFIX,       /* what the text had before */
    DS4_SPECULATE_DSPARK,       /* what the engine's drafter computes */
} ds4_speculate;

extern const char *const ds4_speculate_names[];         /* "auto", "off", "suffix", "dspark", NULL */

/* Makes the drafter of a seat, instead of the usual ones. */
typedef ds4_status ds4_drafter_maker(void *ctx, uint32_t i_seat, ds4_drafter **out, ds4_err *err);

typedef struct ds4_speculation_options {
    ds4_engine        *engine;          /* lent */
    ds4_speculate      how;
    uint32_t           n_seats;         /* which share the memory, >= 1 */
    ds4_step_costs    *costs;           /* lent, where others measure them too; NULL: its own */
    ds4_drafter_maker *make;            /* for tests and measurements; NULL: as `how` says */
    void              *make_ctx;
    bool               always;          /* likewise: each guess is used, whatever it costs */
} ds4_speculation_options;

/* The results of guessing. */
typedef struct ds4_speculation_stats {
    uint64_t n_steps;           /* with guesses */
    uint64_t n_guessed, n_agreed;       /* tokens that were evaluated with them, and those that were right */
    uint64_t n_paused;          /* steps without guesses because of the account */
    uint64_t n_computed, computed_ns;   /* guesses that the engine's drafter was asked for, and their time by
                                           ds4_speculation_clock() */
} ds4_speculation_stats;

typedef struct ds4_speculation ds4_speculation;

/* Returns DS4_OK; DS4_E_NOMEM; DS4_E_ARG when a drafter is asked for that the engine has not. */
DS4_MUST_CHECK ds4_status ds4_speculation_create(const ds4_speculation_options *opt, ds4_speculation **out,
                                                 ds4_err *err);
void                      ds4_speculation_free(ds4_speculation *sp);    /* NULL is fine; after its seats */

/* The drafter for a seat, which frees it; NULL when nothing is to be guessed. */
DS4_MUST_CHECK ds4_status ds4_speculation_drafter(ds4_speculation *sp, uint32_t i_seat, ds4_drafter **out,
                                                  ds4_err *err);

/* Give drafts to the seats of the next step that are writing.
 *
 *   seat     [n_seats] all of these
 *   most     tokens that the step may have beside theirs                                   */
void ds4_speculation_plan(ds4_speculation *sp, ds4_seat *const *seat, uint32_t n_seats, uint32_t most);

/* The clock by which steps are compared, in nanoseconds. On a processor it counts work and not time: where
 * other programs run too, a step of 4 ms is held up nearly always and one of 1 ms rarely, which says
 * nothing of what they cost. 0 for NULL. */
uint64_t ds4_speculation_clock(const ds4_speculation *sp);

/* The step is over, and its seats have gone on.
 *
 *   n_tokens   that the seats of the plan got by it
 *   alone      nothing else was in the step: it tells what steps cost
 *   took_ns    by that clock                                                               */
void ds4_speculation_learn(ds4_speculation *sp, uint32_t n_tokens, bool alone, uint64_t took_ns);

ds4_speculation_stats ds4_speculation_get(const ds4_speculation *sp);  /* zero for NULL */

#endif
