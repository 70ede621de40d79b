/* sample.c - from logits to one token.
 *
 * Order of the filters: top-k, temperature, min-p, top-p. Candidates are visited from the
 * most likely on, ties by lower id, so that the draw is the same on every machine that
 * computes the same logits. */
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const ds4_candidate *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static int32_t most_likely(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

/* Keep what can be drawn at all: within reach of the most likely by min-p, or with
 * min-p 0 whatever is not smaller than the smallest double step beside it. */
static uint32_t gather(const float *logits, uint32_t n_vocab, float top, const ds4_sampling *how,
                       ds4_candidate *out)
{
    const float reach = how->min_p > 0.0f ? -logf(how->min_p) : 50.0f;
    const float least = top - reach * how->temperature;
    uint32_t    n = 0;

    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] >= least) out[n++] = (ds4_candidate){ logits[i], (int32_t)i };
    }
    return n;
}

int32_t ds4_sample(const float *logits, uint32_t n_vocab, const ds4_sampling *how, ds4_rng *rng,
                   ds4_candidate *scratch)
{
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!isfinite(logits[i])) return -1;
    }
    const int32_t best = most_likely(logits, n_vocab);
    if (!(how->temperature > 0.0f) || how->top_k == 1) return best;

    const float top = logits[best];
    uint32_t    n = gather(logits, n_vocab, top, how, scratch);
    double      total = 0.0, kept = 0.0;

    qsort(scratch, n, sizeof *scratch, by_value);
    if (how->top_k && n > how->top_k) n = how->top_k;
    for (uint32_t i = 0; i < n; i++) {
        scratch[i].value = expf((scratch[i].value - top) / how->temperature);
        total += (double)scratch[i].value;
    }
    /* The shortest run of candidates that reaches top_p. */
    for (uint32_t i = 0; i < n; i++) {
        kept += (double)scratch[i].value;
        if (kept >= (double)how->top_p * total) n = i + 1;
    }
    double left = ds4_rng_uniform(rng) * kept;
    for (uint32_t i = 0; i < n; i++) {
        left -= (double)scratch[i].value;
        if (left < 0.0) return scratch[i].id;
    }
    return scratch[n - 1].id;
}
