/* speculation.c - see speculation.h. */
#include "service/speculation.h"

#include "base/clock.h"
#include "service/draft_control.h"
#include "service/seat.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_SEATS = 32,             /* that guess in one step; more keep the machine busy without */
    MEM_BYTES = 32 << 20,       /* of all drafters' texts */
    MAX_TEXT = 1 << 17,         /* tokens of one */
};

struct ds4_speculation {
    ds4_speculation_options opt;
    bool                    by_work;    /* steps are work of processors alone */
    ds4_draft_control       control;
    ds4_step_costs          own_costs;
    ds4_speculation_stats   stats;
    float                  *rows;       /* [room][n_vocab] logits of seats with guesses */
    uint32_t                room;       /* rows */
    size_t                  n_vocab;
    uint32_t                n_guesses, n_seats;         /* of the plan */
};

const char *const ds4_speculate_names[] = { "auto", "off", "suffix", "dspark", NULL };

/* Not on a device, and not where steps wait for a disk. */
static bool is_work_alone(ds4_engine *e)
{
    ds4_expert_stats streamed;
    char             family[64];

    ds4_engine_family(e, family, sizeof family);
    return !strncmp(family, "cpu", 3) && !ds4_engine_expert_stats(e, &streamed);
}

ds4_status ds4_speculation_create(const ds4_speculation_options *opt, ds4_speculation **out, ds4_err *err)
{
    if (opt->how == DS4_SPECULATE_DSPARK && ds4_engine_info(opt->engine)->n_draft == 0) {
        return ds4_fail(err, DS4_E_ARG, "--speculate dspark needs a drafter: --dspark names its file");
    }
    ds4_speculation *sp = calloc(1, sizeof *sp);
    if (!sp) return ds4_fail(err, DS4_E_NOMEM, "no memory for guessing tokens");
    sp->opt = *opt;
    sp->n_vocab = ds4_engine_info(opt->engine)->n_vocab;
    sp->by_work = is_work_alone(opt->engine);
    sp->control.always = opt->always;
    sp->control.costs = opt->costs ? opt->costs : &sp->own_costs;
    *out = sp;
    return DS4_OK;
}

void ds4_speculation_free(ds4_speculation *sp)
{
    if (!sp) return;
    free(sp->rows);
    free(sp);
}

ds4_status ds4_speculation_drafter(ds4_speculation *sp, uint32_t i_seat, ds4_drafter **out, ds4_err *err)
{
    uint32_t n = MEM_BYTES / DS4_SUFFIX_TOKEN_BYTES / sp->opt.n_seats;

    const bool   has_own = ds4_engine_info(sp->opt.engine)->n_draft > 0;
    ds4_drafter *suffix = NULL;

    *out = NULL;
    if (sp->opt.how == DS4_SPECULATE_OFF) return DS4_OK;
    if (sp->opt.make) return sp->opt.make(sp->opt.make_ctx, i_seat, out, err);
    if (sp->opt.how == DS4_SPECULATE_DSPARK) return ds4_drafter_model_create(sp->opt.engine, NULL, out, err);
    if (n > MAX_TEXT) n = MAX_TEXT;
    DS4_TRY(ds4_drafter_suffix_create(n < 64 ? 64 : n, &suffix, err));
    if (sp->opt.how == DS4_SPECULATE_SUFFIX || !has_own) {
        *out = suffix;
        return DS4_OK;
    }
    const ds4_status st = ds4_drafter_model_create(sp->opt.engine, suffix, out, err);
    if (st != DS4_OK) suffix->kind->free(suffix);
    return st;
}

static bool make_places(ds4_speculation *sp, uint32_t n)
{
    if (n <= sp->room) return true;
    float *rows = realloc(sp->rows, n * sp->n_vocab * sizeof *rows);
    if (!rows) return false;
    sp->rows = rows;
    sp->room = n;
    return true;
}

/* Ask all seats. What the engine computes for that is a cost of the step. */
static void ask(ds4_speculation *sp, ds4_seat *const *seat, uint32_t n_seats, uint32_t most,
                const ds4_draft **draft)
{
    const bool     computes = ds4_draft_control_computes(&sp->control);
    const uint64_t begin = ds4_speculation_clock(sp);
    uint32_t       n_computed = 0;

    for (uint32_t i = 0; i < n_seats; i++) {
        draft[i] = ds4_seat_draft(seat[i], most < DS4_DRAFT_TOKENS ? most : DS4_DRAFT_TOKENS, computes);
        n_computed += draft[i]->is_computed;
    }
    if (n_computed == 0) return;
    const uint64_t took_ns = ds4_speculation_clock(sp) - begin;
    ds4_draft_control_spent(&sp->control, took_ns);
    sp->stats.n_computed += n_computed;
    sp->stats.computed_ns += took_ns;
}

void ds4_speculation_plan(ds4_speculation *sp, ds4_seat *const *seat, uint32_t n_seats, uint32_t most)
{
    const ds4_draft *draft[MAX_SEATS];
    uint32_t         length[MAX_SEATS], place = 0;

    sp->n_seats = sp->n_guesses = 0;
    if (n_seats == 0 || n_seats > MAX_SEATS || sp->opt.how == DS4_SPECULATE_OFF) return;
    ask(sp, seat, n_seats, most, draft);
    uint32_t n = ds4_draft_control_plan(&sp->control, draft, n_seats, most, length);
    if (n > 0 && !make_places(sp, n + n_seats)) return;
    for (uint32_t i = 0; i < n_seats; i++) {
        if (length[i] == 0) continue;
        ds4_seat_use_draft(seat[i], length[i], sp->rows + place * sp->n_vocab);
        place += length[i] + 1;
    }
    sp->n_seats = n_seats;
    sp->n_guesses = n;
}

uint64_t ds4_speculation_clock(const ds4_speculation *sp)
{
    if (!sp) return 0;
    return sp->by_work ? ds4_cpu_ns() : ds4_now_ns();
}

void ds4_speculation_learn(ds4_speculation *sp, uint32_t n_tokens, bool alone, uint64_t took_ns)
{
    if (sp->n_seats == 0) return;
    ds4_draft_control_learn(&sp->control, n_tokens, alone, took_ns);
    sp->stats.n_steps += sp->n_guesses > 0;
    sp->stats.n_guessed += sp->n_guesses;
    sp->stats.n_agreed += n_tokens > sp->n_seats ? n_tokens - sp->n_seats : 0;
    sp->stats.n_paused = sp->control.n_paused;
    sp->n_seats = 0;
}

ds4_speculation_stats ds4_speculation_get(const ds4_speculation *sp)
{
    return sp ? sp->stats : (ds4_speculation_stats){ 0 };
}
