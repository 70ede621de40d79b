/* token_weights.h - what a request adds to the logits of single tokens before one is drawn: biases, and
 * penalties for tokens that the answer has already. */
#ifndef DS4_SERVICE_TOKEN_WEIGHTS_H
#define DS4_SERVICE_TOKEN_WEIGHTS_H

#include "ds4.h"

typedef struct ds4_token_bias {
    int32_t id;
    float   bias;               /* added to the logit; finite */
} ds4_token_bias;

/* Zeroed asks for nothing. */
typedef struct ds4_penalties {
    float                 frequency;    /* subtracted for each time that a token was written */
    float                 presence;     /* subtracted once when it was */
    float                 repetition;   /* divides its logit when that is above 0, else multiplies; 0 or 1:
                                           nothing */
    const ds4_token_bias *bias;         /* [n_bias] */
    uint32_t              n_bias;
} ds4_penalties;

typedef struct ds4_token_weights ds4_token_weights;

/* Begin an answer.
 *
 *   penalties   its bias is borrowed; ids outside of the vocabulary are passed over
 *   out         receives NULL when nothing is asked for
 *
 * Returns DS4_OK; DS4_E_NOMEM.                                                            */
DS4_MUST_CHECK ds4_status ds4_token_weights_create(const ds4_penalties *penalties, uint32_t n_vocab,
                                                   ds4_token_weights **out, ds4_err *err);
void                      ds4_token_weights_free(ds4_token_weights *w);         /* NULL is fine */

/* The logits [n_vocab] with everything added; lent until the next call. */
const float *ds4_token_weights_apply(ds4_token_weights *w, const float *logits);

void ds4_token_weights_note(ds4_token_weights *w, int32_t id);  /* a token was written */

#endif
