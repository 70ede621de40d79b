/* pick.c - see pick.h. */
#include "backend/pick.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const ds4_candidate *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static bool may(const uint32_t *mask, uint32_t id)
{
    return !mask || (mask[id / 32] >> id % 32 & 1);
}

static bool all_finite(const float *x, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return false;
    }
    return true;
}

/* The likeliest token that the mask allows, or -1. */
static int32_t most_likely(const float *logits, uint32_t n, const uint32_t *mask)
{
    int32_t best = -1;

    for (uint32_t i = 0; i < n; i++) {
        if (may(mask, i) && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
    }
    return best;
}

/* Keep what can be drawn at all: within reach of the most likely by min-p, or with
 * min-p 0 whatever is not smaller than the smallest double step beside it. */
static uint32_t gather(const float *logits, uint32_t n_vocab, float top, const ds4_pick *pick,
                       ds4_candidate *out)
{
    const float reach = pick->how.min_p > 0.0f ? -logf(pick->how.min_p) : 50.0f;
    const float least = top - reach * pick->how.temperature;
    uint32_t    n = 0;

    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] >= least && may(pick->mask, i)) out[n++] = (ds4_candidate){ logits[i], (int32_t)i };
    }
    return n;
}

static int32_t draw(const float *logits, uint32_t n_vocab, int32_t best, const ds4_pick *pick,
                    ds4_candidate *scratch)
{
    const ds4_sampling *how = &pick->how;
    const float         top = logits[best];
    uint32_t            n = gather(logits, n_vocab, top, pick, scratch);
    double              total = 0.0, kept = 0.0;

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
    double left = pick->u * kept;
    for (uint32_t i = 0; i < n; i++) {
        left -= (double)scratch[i].value;
        if (left < 0.0) return scratch[i].id;
    }
    return scratch[n - 1].id;
}

/* The likeliest n_top tokens in order, by insertion. */
static void tell_top(const float *logits, uint32_t n_vocab, uint32_t n_top, double log_sum, ds4_picked *out)
{
    out->n_top = n_top < DS4_PICK_MAX_TOP ? n_top : DS4_PICK_MAX_TOP;
    if (out->n_top > n_vocab) out->n_top = n_vocab;
    for (uint32_t i = 0, n = 0; i < n_vocab && out->n_top > 0; i++) {
        if (n == out->n_top && !(logits[i] > out->top[n - 1].value)) continue;
        uint32_t at = n < out->n_top ? n++ : n - 1;
        for (; at > 0 && logits[i] > out->top[at - 1].value; at--) out->top[at] = out->top[at - 1];
        out->top[at] = (ds4_candidate){ logits[i], (int32_t)i };
    }
    for (uint32_t i = 0; i < out->n_top; i++) out->top[i].value = (float)(out->top[i].value - log_sum);
}

/* Log-probabilities are those of the model: without temperature, filters and mask. */
static void tell(const float *logits, uint32_t n_vocab, const ds4_pick *pick, ds4_picked *out)
{
    const float top = logits[most_likely(logits, n_vocab, NULL)];
    double      sum = 0.0;

    for (uint32_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i] - (double)top);
    const double log_sum = (double)top + log(sum);
    if (out->token >= 0) out->logprob = (float)((double)logits[out->token] - log_sum);
    tell_top(logits, n_vocab, pick->n_top, log_sum, out);
}

bool ds4_pick_one(const float *logits, uint32_t n_vocab, const ds4_pick *pick, ds4_candidate *scratch,
                  ds4_picked *out)
{
    const ds4_sampling *how = &pick->how;

    *out = (ds4_picked){ .token = -1 };
    if (!all_finite(logits, n_vocab)) return false;
    const int32_t best = most_likely(logits, n_vocab, pick->mask);
    if (best >= 0) {
        const bool is_greedy = !(how->temperature > 0.0f) || how->top_k == 1;
        out->token = is_greedy ? best : draw(logits, n_vocab, best, pick, scratch);
    }
    if (pick->logprobs) tell(logits, n_vocab, pick, out);
    return true;
}
