/* chooser.c - see chooser.h. */
#include "service/chooser.h"

#include "text/markers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ds4_chooser {
    ds4_chooser_options opt;
    bool                thinking;
    uint32_t            n_thinking; /* tokens of reasoning so far */
    ds4_tokens          opening;    /* of the answer */
    ds4_tokens          forced;     /* [i_forced ..) come next */
    uint32_t            i_forced;
    bool                answered; /* the opening is under way or there was none */
    bool                recorded;
    ds4_event           record;
    ds4_tokens          script; /* prescribed tokens; see ds4_chooser_prescribe() */
    uint32_t            i_script;
    ds4_grammar_walk   *walk;   /* NULL: none, or it has been satisfied */
    float              *masked; /* [n_vocab] logits without what does not fit */
    /* A second walk tries guesses: the first one remembers what it finds, and under a bound on its
     * work that may decide what fits. */
    ds4_grammar_walk   *scout;  /* NULL: nothing was tried yet */
    ds4_tokens          taken;  /* by the grammar */
    uint32_t            i_scout;        /* tokens of these that the scout has taken */
};

static ds4_status encode_trusted(const ds4_vocab *v, const char *text, size_t n_bytes,
                                 ds4_tokens *out, ds4_err *err)
{
    return ds4_vocab_encode(v, text, n_bytes, DS4_ENCODE_SPECIALS, out, err);
}

ds4_status ds4_chooser_create(const ds4_chooser_options *opt, ds4_chooser **out, ds4_err *err)
{
    ds4_chooser *c = calloc(1, sizeof *c);

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory for choosing tokens");
    c->opt = *opt;
    c->thinking = opt->thinking;
    ds4_status st =
        encode_trusted(opt->vocab, opt->opening.data, opt->opening.n_bytes, &c->opening, err);
    if (st == DS4_OK && opt->grammar) {
        st = ds4_grammar_walk_create(opt->grammar, &c->walk, err);
        c->masked = malloc((size_t)opt->n_vocab * sizeof *c->masked);
        if (st == DS4_OK && !c->masked) st = ds4_fail(err, DS4_E_NOMEM, "no memory for logits");
    }
    if (st != DS4_OK) {
        ds4_chooser_free(c);
        return st;
    }
    *out = c;
    return DS4_OK;
}

void ds4_chooser_free(ds4_chooser *c)
{
    if (!c) return;
    ds4_tokens_clear(&c->opening);
    ds4_tokens_clear(&c->forced);
    ds4_tokens_clear(&c->script);
    ds4_tokens_clear(&c->taken);
    ds4_grammar_walk_free(c->walk);
    ds4_grammar_walk_free(c->scout);
    free(c->masked);
    free(c);
}

bool ds4_chooser_recorded(const ds4_chooser *c, ds4_event *event)
{
    if (!c->recorded) return false;
    *event = c->record;
    return true;
}

ds4_status ds4_chooser_force(ds4_chooser *c, const char *text, ds4_err *err)
{
    c->forced.n = 0;
    c->i_forced = 0;
    return encode_trusted(c->opt.vocab, text, strlen(text), &c->forced, err);
}

void ds4_chooser_prescribe(ds4_chooser *c, const int32_t *ids, uint32_t n_ids)
{
#ifdef DS4_SCRIPTED_SAMPLING
    ds4_tokens_append(&c->script, ids, n_ids);
#else
    (void)c;
    (void)ids;
    (void)n_ids;
#endif
}

/* ---- likelihoods ---------------------------------------------------------------------------- */

/* Put a candidate into the list of the most likely, ties by lower id. */
static void rank(ds4_event *r, uint32_t most, int32_t id, float logit)
{
    uint32_t at = r->n_top;

    while (at > 0 && r->top[at - 1].logprob < logit) at--;
    if (at >= most) return;
    if (r->n_top < most) r->n_top++;
    memmove(&r->top[at + 1], &r->top[at], (r->n_top - at - 1) * sizeof *r->top);
    r->top[at] = (ds4_token_prob){ id, logit };
}

/* The logarithm of the softmax at temperature 1, whatever the sampling. */
void ds4_chooser_score(const ds4_chooser *c, const float *logits, int32_t id, ds4_event *r)
{
    const uint32_t n = ds4_vocab_size(c->opt.vocab) < c->opt.n_vocab ? ds4_vocab_size(c->opt.vocab)
                                                                     : c->opt.n_vocab;
    float          top = -INFINITY;
    double         sum = 0;

    r->n_top = 0;
    for (uint32_t i = 0; i < c->opt.n_vocab; i++) top = logits[i] > top ? logits[i] : top;
    for (uint32_t i = 0; i < c->opt.n_vocab; i++) sum += exp((double)logits[i] - (double)top);
    const float total = top + (float)log(sum);
    for (uint32_t i = 0; c->opt.n_top > 0 && i < n; i++) {
        rank(r, c->opt.n_top, (int32_t)i, logits[i]);
    }
    for (uint32_t i = 0; i < r->n_top; i++) r->top[i].logprob -= total;
    r->token = (ds4_token_prob){ id, logits[id] - total };
}

static void record(ds4_chooser *c, const float *logits, int32_t id)
{
    c->record = (ds4_event){ .kind = DS4_EVENT_TOKEN };
    ds4_chooser_score(c, logits, id, &c->record);
    c->recorded = true;
}

/* ---- choosing ------------------------------------------------------------------------------- */

static int32_t next_forced(ds4_chooser *c)
{
    if (c->i_forced < c->forced.n) return c->forced.ids[c->i_forced++];
    if (c->thinking || c->answered) return -1;
    c->answered = true;
    if (c->opening.n == 0) return -1;
    c->forced.n = 0;
    c->i_forced = 1;
    ds4_tokens_append(&c->forced, c->opening.ids, c->opening.n);
    return c->opening.ids[0];
}

/* ---- the grammar ------------------------------------------------------------------------------ */

enum {
    MAX_REFUSALS = 24,
    MAX_SCAN_WORK = 100000, /* some 50 ms, which only hostile grammars need */
    MAX_SCOUT_WORK = 2000,  /* for the guesses of a step */
};

static const float NEVER = -1e30f;

static bool is_marker(const ds4_chooser *c, int32_t id)
{
    return id == ds4_vocab_specials(c->opt.vocab)->dsml;
}

static bool fits(ds4_chooser *c, int32_t id)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(c->opt.vocab, id);

    if (ds4_vocab_is_end(c->opt.vocab, id)) return ds4_grammar_may_end(c->walk);
    if (is_marker(c, id)) return ds4_grammar_fits(c->walk, (ds4_slice){ "", 0 }, true);
    if (ds4_vocab_is_special(c->opt.vocab, id) || bytes.n_bytes == 0) return false;
    return ds4_grammar_fits(c->walk, bytes, false);
}

/* Mask what does not fit of the tokens that `pass` looks at: special ones and those of one byte,
 * one of which always fits; then those that are at least e^-12 times as likely as the likeliest;
 * then the rest. */
static void mask_pass(ds4_chooser *c, int pass, float top)
{
    for (uint32_t i = 0; i < c->opt.n_vocab; i++) {
        const bool single = ds4_vocab_is_special(c->opt.vocab, (int32_t)i) ||
                            ds4_vocab_token_bytes(c->opt.vocab, (int32_t)i).n_bytes == 1;
        const bool near = c->masked[i] > top - 12.0f;
        if ((pass == 0) != single || (pass == 1 && !near) || (pass == 2 && near)) continue;
        if (c->masked[i] > NEVER && !fits(c, (int32_t)i)) c->masked[i] = NEVER;
    }
}

/* The whole vocabulary is looked at, the likely tokens first: the work is bounded, and what is
 * not looked at for that reason is taken not to fit. */
static void mask_all(ds4_chooser *c)
{
    float top = NEVER;

    for (uint32_t i = 0; i < c->opt.n_vocab; i++) top = c->masked[i] > top ? c->masked[i] : top;
    ds4_grammar_allow(c->walk, MAX_SCAN_WORK);
    for (int pass = 0; pass < 3; pass++) mask_pass(c, pass, top);
    ds4_grammar_allow(c->walk, UINT32_MAX);
}

/* Draw until a token fits, without those that did not: the same as drawing from those that
 * fit, and mostly the first one does. After some refusals the whole vocabulary is looked at. */
static int32_t choose_fitting(ds4_chooser *c, const float *logits, const ds4_sampling *how,
                              ds4_rng *rng, ds4_candidate *scratch)
{
    int32_t id = ds4_sample(logits, c->opt.n_vocab, how, rng, scratch);

    if (id < 0 || fits(c, id)) return id;
    memcpy(c->masked, logits, c->opt.n_vocab * sizeof *logits);
    for (uint32_t i = 0; i < MAX_REFUSALS; i++) {
        c->masked[id] = NEVER;
        id = ds4_sample(c->masked, c->opt.n_vocab, how, rng, scratch);
        if (id < 0 || fits(c, id)) return id;
    }
    mask_all(c);
    id = ds4_sample(c->masked, c->opt.n_vocab, how, rng, scratch);
    if (id >= 0 && !fits(c, id)) return ds4_vocab_specials(c->opt.vocab)->eos;
    return id;
}

static bool take(const ds4_chooser *c, ds4_grammar_walk *walk, int32_t id)
{
    const bool marker = is_marker(c, id);

    return ds4_grammar_take(walk, marker ? (ds4_slice){ "", 0 } : ds4_vocab_token_bytes(c->opt.vocab, id),
                            marker);
}

/* A satisfied grammar ends the answer or has no more to say. */
static int32_t choose_by_grammar(ds4_chooser *c, const float *logits, const ds4_sampling *how,
                                 ds4_rng *rng, ds4_candidate *scratch)
{
    if (ds4_grammar_must_end(c->walk)) {
        if (c->opt.grammar_ends) return ds4_vocab_specials(c->opt.vocab)->eos;
        ds4_grammar_walk_free(c->walk);
        c->walk = NULL;
        return ds4_sample(logits, c->opt.n_vocab, how, rng, scratch);
    }
    const int32_t id = choose_fitting(c, logits, how, rng, scratch);
    if (id < 0 || ds4_vocab_is_end(c->opt.vocab, id)) return id;
    ds4_tokens_add(&c->taken, id);
    return take(c, c->walk, id) ? id : -1;
}

/* Reasoning that is too long, or that ends the turn where an answer is due, is closed. */
static int32_t close_thinking(const ds4_chooser *c, int32_t id)
{
    const int32_t close = ds4_vocab_specials(c->opt.vocab)->think_close;

    if (!c->thinking || close < 0) return id;
    if (c->opt.thinking_budget && c->n_thinking >= c->opt.thinking_budget) return close;
    if ((c->opening.n > 0 || c->walk) && ds4_vocab_is_end(c->opt.vocab, id)) return close;
    return id;
}

int32_t ds4_chooser_choose(void *chooser, const float *logits, const ds4_sampling *how,
                           ds4_rng *rng, ds4_candidate *scratch)
{
    ds4_chooser *c = chooser;
    int32_t      id = next_forced(c);

    c->recorded = false;
    if (id < 0 && c->i_script < c->script.n) id = c->script.ids[c->i_script++];
    if (id < 0 && c->walk && !c->thinking) {
        id = choose_by_grammar(c, logits, how, rng, scratch);
    } else if (id < 0) {
        id = ds4_sample(logits, c->opt.n_vocab, how, rng, scratch);
    }
    if (id < 0) return id;
    id = close_thinking(c, id);
    if (c->opt.logprobs) record(c, logits, id);
    ds4_chooser_note(c, id);
    return id;
}

void ds4_chooser_note(ds4_chooser *c, int32_t id)
{
    if (c->thinking) c->n_thinking++;
    if (id == ds4_vocab_specials(c->opt.vocab)->think_close) c->thinking = false;
}

/* ---- what may come ------------------------------------------------------------------------------ */

uint32_t ds4_chooser_foretell(const ds4_chooser *c, int32_t *tokens, uint32_t most)
{
    const bool        opens = c->i_forced >= c->forced.n && !c->thinking && !c->answered;
    const ds4_tokens *from = opens ? &c->opening : &c->forced;
    const uint32_t    first = opens ? 0 : c->i_forced;
    uint32_t          n = 0;

    while (n < most && first + n < from->n) {
        tokens[n] = from->ids[first + n];
        n++;
    }
    return n;
}

/* Tokens that an answer may have inside reasoning: as many as its limit leaves, and what closes it. */
static uint32_t screen_thinking(const ds4_chooser *c, const int32_t *tokens, uint32_t n)
{
    const int32_t  close = ds4_vocab_specials(c->opt.vocab)->think_close;
    const uint32_t budget = c->opt.thinking_budget;
    uint32_t       i = 0;

    for (; i < n; i++) {
        const bool is_over = budget && c->n_thinking + i >= budget;
        if (tokens[i] == close) return i + 1;
        if (is_over || ds4_vocab_is_end(c->opt.vocab, tokens[i])) break;
    }
    return i;
}

/* Bring the scout to where the grammar is. */
static bool scout_follows(ds4_chooser *c)
{
    if (!c->scout && ds4_grammar_walk_create(c->opt.grammar, &c->scout, NULL) != DS4_OK) return false;
    if (c->taken.failed) return false;
    ds4_grammar_allow(c->scout, UINT32_MAX);
    while (c->i_scout < c->taken.n) {
        if (!take(c, c->scout, c->taken.ids[c->i_scout])) return false;
        c->i_scout++;
    }
    ds4_grammar_allow(c->scout, MAX_SCOUT_WORK);
    return true;
}

/* A grammar cannot try a token behind another without taking that, but it can try the text of both. */
static uint32_t screen_by_grammar(ds4_chooser *c, const int32_t *tokens, uint32_t n)
{
    ds4_str  text = { 0 };
    uint32_t i = 0;

    if (!scout_follows(c)) return 0;
    if (is_marker(c, tokens[0])) return ds4_grammar_fits(c->scout, (ds4_slice){ "", 0 }, true) ? 1 : 0;
    for (; i < n && !ds4_vocab_is_special(c->opt.vocab, tokens[i]); i++) {
        const ds4_slice bytes = ds4_vocab_token_bytes(c->opt.vocab, tokens[i]);
        ds4_str_add(&text, bytes.data, bytes.n_bytes);
        const ds4_slice all = { ds4_str_text(&text), text.n_bytes };
        if (text.failed || bytes.n_bytes == 0 || !ds4_grammar_fits(c->scout, all, false)) break;
    }
    ds4_str_clear(&text);
    return i;
}

uint32_t ds4_chooser_screen(ds4_chooser *c, const int32_t *tokens, uint32_t n)
{
    uint32_t i = 0;

    if (n == 0) return 0;
    if (c->thinking) return screen_thinking(c, tokens, n);
    if (c->walk && c->i_forced >= c->forced.n) return screen_by_grammar(c, tokens, n);
    while (i < n && !ds4_vocab_is_end(c->opt.vocab, tokens[i])) i++;
    return i;
}
