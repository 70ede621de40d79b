/* baseline.h - what a larger file says about texts, saved compactly, and how near another comes.
 *
 * The file keeps, for each scored position, the log-probabilities of the likeliest tokens and of the
 * token that came; all other tokens are one remainder. The divergence computed from it is that of the
 * distributions with the remainder as one token: never more than the whole divergence, and equal to it
 * when every token is kept.
 *
 * The file is GGUF (general.type "ds4.baseline"): "tokens" I32 [n_tokens], "ends" I32 [n_chunks]
 * and "rows" F32 [n_rows][1 + 2 * n_top]: log-probability of the token that came, then id and
 * log-probability of each kept one, the likeliest first. Ids stay below 2^24. Everything is checked
 * when it is opened.                                                                     */
#ifndef DS4_APP_EVAL_BASELINE_H
#define DS4_APP_EVAL_BASELINE_H

#include "app/eval/texts.h"
#include "base/wait.h"

enum { DS4_BASELINE_SKIP = 16 };        /* the first positions of each chunk are read but not scored */

typedef struct ds4_baseline ds4_baseline;

/* Let a model read the texts and write the file.
 *
 *   n_top   1 .. n_vocab
 *
 * Returns DS4_OK; DS4_E_ARG when the texts are too short; as ds4_engine_step(); DS4_E_IO; DS4_E_CANCELLED. */
DS4_MUST_CHECK ds4_status ds4_baseline_save(ds4_engine *e, const ds4_eval_texts *texts, uint32_t n_top,
                                            const char *path, const ds4_cancel *cancel, ds4_err *err);

/* path outlives *out.
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT; DS4_E_NOMEM.                                   */
DS4_MUST_CHECK ds4_status ds4_baseline_open(ds4_baseline **out, const char *path, ds4_err *err);
void                      ds4_baseline_close(ds4_baseline *b);      /* NULL is fine */
uint32_t                  ds4_baseline_chunks(const ds4_baseline *b);
uint32_t                  ds4_baseline_tokens(const ds4_baseline *b);

/* Sums over the scored positions of one chunk. */
typedef struct ds4_chunk_score {
    double n;               /* positions */
    double kld;             /* divergence of the model from the baseline, nats */
    double nll, base_nll;   /* minus the logarithms of the tokens that came: the model's, the baseline's */
    double same;            /* positions where both have the same likeliest token */
} ds4_chunk_score;

/* Compare a model.
 *
 *   out   [ds4_baseline_chunks()]
 *
 * Returns DS4_OK; DS4_E_ARG for a model of another vocabulary; as ds4_engine_step(); DS4_E_CANCELLED. */
DS4_MUST_CHECK ds4_status ds4_baseline_compare(const ds4_baseline *b, ds4_engine *e, ds4_chunk_score *out,
                                               const ds4_cancel *cancel, ds4_err *err);

#endif
