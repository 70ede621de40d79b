/* soak_pool.h - the requests of the soak test: the model's own test cases in three APIs. */
#ifndef DS4_SOAK_POOL_H
#define DS4_SOAK_POOL_H

#include "soak/soak_answer.h"

typedef struct soak_request {
    char        name[64];
    soak_api    api;
    const char *path;
    char       *body;
    bool        stream;
    char       *said; /* what it says when it is alone; NULL: not known yet */
} soak_request;

typedef struct soak_pool {
    soak_request *request; /* [n] */
    unsigned      n;
} soak_pool;

/* Make requests of cases (a file of JSON lines): every `step`-th, streamed and not, greedy
 * and sampled with a seed, with tools, schemas, likelihoods and long prompts as they come. */
bool soak_pool_make(soak_pool *p, const char *cases, const char *filler, unsigned step);
void soak_pool_free(soak_pool *p);

/* A request to /v1/completions, streamed, whose answer mostly goes on for n_tokens. The caller
 * frees it. */
char *soak_endless(unsigned n_tokens, unsigned long seed);

#endif
