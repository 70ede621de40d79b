/* oracle_drafter.h - a drafter that knows the answer and is right for as many tokens as a test wants. */
#ifndef DS4_TESTS_ORACLE_DRAFTER_H
#define DS4_TESTS_ORACLE_DRAFTER_H

#include "service/drafter.h"

/* The text that it knows, and how right it is: each of its guesses has n_guesses tokens, of which the
 * first 0 to n_guesses are right, in no order. Lent until the drafter is gone. */
typedef struct oracle {
    const int32_t *text;        /* [n_text] the prompt and its answer */
    uint32_t       n_text;
    uint32_t       n_guesses;   /* 1 .. DS4_DRAFT_TOKENS */
    uint32_t       n_vocab;     /* wrong guesses are below it */
    /* Results. */
    uint32_t       n_made;      /* guesses */
    uint32_t       n_texts;     /* earlier texts that it was told of */
    uint32_t       n_checked[DS4_DRAFT_TOKENS + 1];     /* steps that advanced by 1 + so many, as due */
    uint32_t       n_astray;    /* steps that did not */
} oracle;

ds4_drafter *oracle_drafter(oracle *o);         /* aborts without memory */

#endif
