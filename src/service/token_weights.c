/* token_weights.c - see token_weights.h. */
#include "service/token_weights.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

struct ds4_token_weights {
    ds4_penalties how;
    uint32_t      n_vocab;
    uint32_t     *count;        /* [n_vocab] times that a token was written */
    int32_t      *seen;         /* [n_seen] those with a count, n_vocab at most */
    uint32_t      n_seen;
    float        *logits;       /* [n_vocab] */
};

static bool repeats(const ds4_penalties *p)
{
    return p->repetition > 0 && (p->repetition < 1 || p->repetition > 1);
}

static bool asks_for_something(const ds4_penalties *p)
{
    return p->n_bias > 0 || p->frequency < 0 || p->frequency > 0 || p->presence < 0 || p->presence > 0 ||
           repeats(p);
}

ds4_status ds4_token_weights_create(const ds4_penalties *penalties, uint32_t n_vocab, ds4_token_weights **out,
                                    ds4_err *err)
{
    *out = NULL;
    if (!asks_for_something(penalties)) return DS4_OK;
    ds4_token_weights *w = calloc(1, sizeof *w);
    if (!w) return ds4_fail(err, DS4_E_NOMEM, "no memory for penalties");
    w->how = *penalties;
    w->n_vocab = n_vocab;
    w->count = calloc(n_vocab, sizeof *w->count);
    w->seen = malloc(n_vocab * sizeof *w->seen);
    w->logits = malloc(n_vocab * sizeof *w->logits);
    if (!w->count || !w->seen || !w->logits) {
        ds4_token_weights_free(w);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for penalties");
    }
    *out = w;
    return DS4_OK;
}

void ds4_token_weights_free(ds4_token_weights *w)
{
    if (!w) return;
    free(w->count);
    free(w->seen);
    free(w->logits);
    free(w);
}

const float *ds4_token_weights_apply(ds4_token_weights *w, const float *logits)
{
    const ds4_penalties *p = &w->how;

    memcpy(w->logits, logits, w->n_vocab * sizeof *logits);
    for (uint32_t i = 0; i < w->n_seen; i++) {
        float *l = &w->logits[w->seen[i]];
        if (repeats(p)) *l = *l > 0 ? *l / p->repetition : *l * p->repetition;
        *l -= p->frequency * (float)w->count[w->seen[i]] + p->presence;
    }
    for (uint32_t i = 0; i < p->n_bias; i++) {
        const int32_t id = p->bias[i].id;
        if (id >= 0 && (uint32_t)id < w->n_vocab) w->logits[id] += p->bias[i].bias;
    }
    return w->logits;
}

void ds4_token_weights_note(ds4_token_weights *w, int32_t id)
{
    if (id < 0 || (uint32_t)id >= w->n_vocab) return;
    if (w->count[id]++ == 0) w->seen[w->n_seen++] = id;
}
