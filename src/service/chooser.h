/* chooser.h - which token comes next, when it is not the model's choice alone.
 *
 * Between a reply and its sampler: tokens that are forced, a grammar that the answer must
 * follow, a limit on reasoning, and the likelihoods that a request asked for. */
#ifndef DS4_SERVICE_CHOOSER_H
#define DS4_SERVICE_CHOOSER_H

#include "service/channel.h"
#include "text/grammar.h"

typedef struct ds4_chooser_options {
    const ds4_vocab   *vocab;
    uint32_t           n_vocab;         /* logits in a row */
    bool               thinking;        /* the prompt ended inside reasoning */
    uint32_t           thinking_budget; /* tokens of reasoning, then it is closed; 0: no limit */
    ds4_slice          opening;         /* what the answer must begin with; trusted text */
    const ds4_grammar *grammar;         /* what follows the opening; NULL: anything; borrowed */
    bool               grammar_ends;    /* the answer is over with it; else anything may follow */
    bool               logprobs;        /* record likelihoods */
    uint32_t           n_top;           /* 0..DS4_MAX_LOGPROBS alternatives with each */
} ds4_chooser_options;

typedef struct ds4_chooser ds4_chooser;

/* Returns DS4_OK; as ds4_vocab_encode(); DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_chooser_create(const ds4_chooser_options *opt, ds4_chooser **out,
                                             ds4_err *err);
void                      ds4_chooser_free(ds4_chooser *c);     /* NULL is fine */

/* Fits ds4_reply_options.choose, with the chooser as its context. */
int32_t ds4_chooser_choose(void *chooser, const float *logits, const ds4_sampling *how,
                           ds4_rng *rng, ds4_candidate *scratch);

/* A token was chosen by another chooser before: reasoning is counted and closed by it. Openings and
 * grammars do not follow it. */
void ds4_chooser_note(ds4_chooser *c, int32_t id);

/* The next tokens are those of this trusted text, whatever the model wants. */
DS4_MUST_CHECK ds4_status ds4_chooser_force(ds4_chooser *c, const char *text, ds4_err *err);

/* As ds4_generation_foretell(), ds4_generation_screen(). */
uint32_t ds4_chooser_foretell(const ds4_chooser *c, int32_t *tokens, uint32_t most);
uint32_t ds4_chooser_screen(ds4_chooser *c, const int32_t *tokens, uint32_t n);

/* The last token with its likelihood; false when none is recorded. */
bool ds4_chooser_recorded(const ds4_chooser *c, ds4_event *event);

/* Tell how likely a token was, with the alternatives: token, top and n_top of *out are set. */
void ds4_chooser_score(const ds4_chooser *c, const float *logits, int32_t id, ds4_event *out);

/* For tests of a whole server: the tokens that are chosen, until they are used up. Does
 * nothing in ordinary builds. */
void ds4_chooser_prescribe(ds4_chooser *c, const int32_t *ids, uint32_t n_ids);

#endif
