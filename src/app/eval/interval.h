/* interval.h - means over texts and how sure they are.
 *
 * Positions of one text are alike, so the texts are what is drawn: each value is a ratio of sums
 * over texts, and its variance is that of the texts' residuals. Half of a 95 % interval is 1.96
 * standard errors; it means little below some ten texts.                                  */
#ifndef DS4_APP_EVAL_INTERVAL_H
#define DS4_APP_EVAL_INTERVAL_H

#include "app/eval/baseline.h"

typedef struct ds4_interval {
    double value, half;         /* the 95 % interval is value - half .. value + half */
} ds4_interval;

typedef struct ds4_score_summary {
    ds4_interval kld, ppl, same;        /* of a position; of the texts; a share */
    double       base_ppl;
} ds4_score_summary;

ds4_score_summary ds4_summarize(const ds4_chunk_score *s, uint32_t n);

/* The divergence of one model over that of another on the same texts, text by text. */
ds4_interval ds4_kld_ratio(const ds4_chunk_score *a, const ds4_chunk_score *b, uint32_t n);

#endif
