/* draft_control.c - see draft_control.h. */
#include "service/draft_control.h"

#include <stdlib.h>

enum { PLAIN_EVERY = 48 };      /* steps with guesses; then one without, to know what it costs */

/* The account, in steps without guesses. */
static const double ALLOWANCE = 2, MAX_ALLOWANCE = 6, PER_STEP = 0.015, RESUME_AT = 1;

/* A plan must promise so much more than none. */
static const double LEAST_GAIN = 1.05;

/* A step that takes longer than this many times its expected time was held up by others. */
static const double MOST_SLOWER = 1.5;

/* Computed guesses that do not pay are left out for FIRST_SKIP steps, and for twice as many each time that
 * so many trials do not pay either. */
enum { TRIALS = 12, FIRST_SKIP = 24, MAX_SKIP = 768 };
static const double FOLLOW = 0.1;

/* A guess of a seat, and how likely it and those before it are right. */
typedef struct guess {
    double   survives;
    uint32_t i_seat, i;
} guess;

/* The likeliest first; of one seat in their order. */
static int by_chance(const void *a, const void *b)
{
    const guess *x = a, *y = b;

    if (x->survives > y->survives) return -1;
    if (x->survives < y->survives) return 1;
    if (x->i_seat != y->i_seat) return x->i_seat < y->i_seat ? -1 : 1;
    return x->i < y->i ? -1 : x->i > y->i;
}

/* The likeliest guesses of all drafts in order, at most DS4_CONTROL_GUESSES. Of each draft they are a
 * beginning, because no guess is likelier than the one before it. */
static uint32_t gather(const ds4_draft *const *draft, uint32_t n_drafts, guess *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_drafts; i++) {
        double survives = 1;
        for (uint32_t k = 0; k < draft[i]->n; k++) {
            survives *= (double)draft[i]->chance[k];
            if (n == DS4_CONTROL_GUESSES && out[n - 1].survives >= survives) break;
            if (n == DS4_CONTROL_GUESSES) n--;
            out[n++] = (guess){ survives, i, k };
            if (n == DS4_CONTROL_GUESSES) qsort(out, n, sizeof *out, by_chance);
        }
    }
    qsort(out, n, sizeof *out, by_chance);
    return n;
}

/* Time that went into the guesses themselves, in steps of one row. */
static double spent_steps(const ds4_draft_control *c)
{
    return c->costs->ns_of_one > 0 ? c->spent_ns / c->costs->ns_of_one : 0;
}

/* The number of guesses that promises the most tokens for the time. */
static uint32_t best_number(const ds4_draft_control *c, uint32_t n_seats, const guess *guesses, uint32_t n)
{
    const double spent = spent_steps(c);
    double   tokens = n_seats, best = tokens / (spent + ds4_step_cost(c->costs, n_seats)) * LEAST_GAIN;
    uint32_t best_n = 0;

    for (uint32_t i = 0; i < n; i++) {
        tokens += guesses[i].survives;
        const double rate = tokens / (spent + ds4_step_cost(c->costs, n_seats + i + 1));
        if (rate > best) {
            best = rate;
            best_n = i + 1;
        }
    }
    return best_n;
}

/* Whether guesses are made at all this time. */
static bool may_guess(ds4_draft_control *c)
{
    if (c->always) return true;
    if (c->since_plain >= PLAIN_EVERY) return false;
    if (c->is_paused) c->is_paused = c->lost >= ALLOWANCE - RESUME_AT;
    c->n_paused += c->is_paused;
    return !c->is_paused;
}

bool ds4_draft_control_computes(ds4_draft_control *c)
{
    c->spent_ns = 0;
    if (c->always) return true;
    if (c->since_plain >= PLAIN_EVERY || (c->is_paused && c->lost >= ALLOWANCE - RESUME_AT)) return false;
    if (c->skip == 0) return true;
    c->skip--;
    return false;
}

void ds4_draft_control_spent(ds4_draft_control *c, uint64_t took_ns)
{
    c->spent_ns += (double)took_ns;
}

/* A step with computed guesses gained so much. */
static void learn_computed(ds4_draft_control *c, double gain)
{
    c->n_tried++;
    c->gain += (gain - c->gain) * (c->n_tried == 1 ? 1 : c->n_tried < 10 ? 1.0 / c->n_tried : FOLLOW);
    if (c->n_tried < TRIALS) return;
    if (c->gain >= 0) {
        c->n_skip = 0;
        return;
    }
    c->n_skip = c->n_skip == 0 ? FIRST_SKIP : c->n_skip < MAX_SKIP ? 2 * c->n_skip : MAX_SKIP;
    c->skip = c->n_skip;
    c->n_tried = 0;
}

uint32_t ds4_draft_control_plan(ds4_draft_control *c, const ds4_draft *const *draft, uint32_t n_seats,
                                uint32_t most, uint32_t *length)
{
    guess    guesses[DS4_CONTROL_GUESSES + 1];
    uint32_t n = 0;

    for (uint32_t i = 0; i < n_seats; i++) length[i] = 0;
    c->n_seats = c->n_rows = n_seats;
    n = gather(draft, n_seats, guesses);
    if (n > most) n = most;
    if (n > 0 && !may_guess(c)) n = 0;
    if (n > 0 && !c->always) n = best_number(c, n_seats, guesses, n);
    for (uint32_t i = 0; i < n; i++) length[guesses[i].i_seat]++;
    c->n_rows += n;
    return n;
}

/* Cost the plan's step in steps of one row: as it was measured, but no more than others may
 * have made of it. */
static double cost_of_step(const ds4_draft_control *c, uint64_t took_ns)
{
    const double expected = ds4_step_cost(c->costs, c->n_rows), one_ns = c->costs->ns_of_one;
    const double cost = one_ns > 0 ? (double)took_ns / one_ns : expected;

    if (cost > MOST_SLOWER * expected) return MOST_SLOWER * expected;
    return cost > expected ? cost : expected;
}

void ds4_draft_control_learn(ds4_draft_control *c, uint32_t n_tokens, bool alone, uint64_t took_ns)
{
    const uint32_t n = c->n_seats;
    const bool     guessed = c->n_rows > n;

    if (n == 0) return;
    c->since_plain = guessed ? c->since_plain + 1 : 0;
    c->lost -= PER_STEP;
    if (alone) {
        const double plain = ds4_step_cost(c->costs, n), cost = cost_of_step(c, took_ns);
        ds4_step_costs_note(c->costs, c->n_rows, (double)took_ns);
        /* This step, less those without guesses that its tokens would have taken. */
        const double lost = ((guessed ? cost - (double)n_tokens / n * plain : 0) + spent_steps(c)) / plain;
        c->lost += lost;
        if (c->spent_ns > 0 && !c->always) learn_computed(c, -lost);
    }
    if (c->lost < ALLOWANCE - MAX_ALLOWANCE) c->lost = ALLOWANCE - MAX_ALLOWANCE;
    if (c->lost >= ALLOWANCE) c->is_paused = true;
    c->n_seats = c->n_rows = 0;
}
