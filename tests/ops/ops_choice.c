/* ops_choice.c - operations that choose: routers, and tokens from logits. docs/MODEL.md 3.10. */
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- routers ------------------------------------------------------------------------------------- */

/* Logits that are never nearly equal, though some are exactly: steps of a 64th. Extreme ones are so
 * low that a score is zero in float. */
static ops_array *router_logits(ops *o, uint32_t n_experts)
{
    const uint64_t n = (uint64_t)o->n_tokens * n_experts;
    float         *x = malloc(n * sizeof *x);

    for (uint64_t i = 0; i < n; i++) {
        const float step = (float)ops_below(o, 512) / 64.0f - 4.0f;
        x[i] = o->fill == OPS_ZERO ? 0.0f : o->fill == OPS_EXTREME ? -200.0f - step : step * 6.0f;
    }
    ops_array *a = ops_bytes(o, x, n * sizeof *x);
    free(x);
    return a;
}

/* In float, what lies below e^-103 is zero. */
static double score_of(float logit)
{
    return logit < -103.0f ? 0.0 : sqrt(logit > 20.0f ? (double)logit : log1p(exp((double)logit)));
}

/* The n_used best by score and bias, the lower expert first among equals. */
static void best_experts(const float *logits, const float *bias, uint32_t n, uint32_t n_used, int32_t *out)
{
    for (uint32_t i = 0; i < n_used; i++) {
        int32_t best = -1;
        for (uint32_t e = 0; e < n; e++) {
            bool taken = false;
            for (uint32_t j = 0; j < i; j++) taken |= out[j] == (int32_t)e;
            const double a = score_of(logits[e]) + (bias ? (double)bias[e] : 0.0);
            if (taken) continue;
            if (best < 0 || a > score_of(logits[best]) + (bias ? (double)bias[best] : 0.0)) best = (int32_t)e;
        }
        out[i] = best;
    }
}

static void weights_row(ops *o, ops_array *weight, const float *logits, const int32_t *expert, bool normalize,
                        uint32_t t)
{
    const uint32_t n_used = o->shape->n_used;
    double         want[64], sum = 0.0;

    for (uint32_t i = 0; i < n_used; i++) sum += want[i] = score_of(logits[expert[i]]);
    for (uint32_t i = 0; i < n_used; i++) want[i] *= 1.5 / (normalize ? fmax(sum, 0x1p-60) : 1.0);
    for (uint32_t i = 0; i < n_used; i++) {
        ops_near(o, (double)ops_found(o, weight)[(uint64_t)t * n_used + i], want[i],
                 1e-5 * fabs(want[i]) + 1e-30, "weight", t, i);
    }
}

static void route_one(ops *o, bool by_token, bool has_bias, bool normalize)
{
    enum { VOCAB = 23 };
    const ops_shape *s = o->shape;
    const uint64_t   n_chosen = (uint64_t)o->n_tokens * s->n_used;
    int32_t          table[VOCAB * 64], want[64];

    ops_plain_batch(o, VOCAB);
    for (int i = 0; i < VOCAB * 64; i++) table[i] = (int32_t)ops_below(o, s->n_experts);
    ops_array *logits = router_logits(o, s->n_experts), *expert = ops_room(o, n_chosen * sizeof(int32_t));
    ops_array *weight = ops_room(o, n_chosen * sizeof(float));
    float     *b = malloc(s->n_experts * sizeof *b);
    for (uint32_t e = 0; e < s->n_experts; e++)
        b[e] = (float)ops_below(o, 8) * 0.25f + (float)e * 0x1p-14f - 1.0f;
    const ops_array *bias = ops_bytes(o, b, s->n_experts * sizeof *b);
    const ops_array *rows = ops_bytes(o, table, VOCAB * s->n_used * sizeof *table);

    ops_run(o, (ds4_op){ .kind = DS4_OP_ROUTE,
                         .route = { .n_experts = s->n_experts,
                                    .n_used = s->n_used,
                                    .scale = 1.5f,
                                    .normalize = normalize,
                                    .by_token = by_token,
                                    .bias = has_bias ? ops_view(bias) : (ds4_view){ 0 },
                                    .table = ops_view(rows),
                                    .logits = ops_rows(logits, s->n_experts),
                                    .expert = ops_view(expert),
                                    .weight = ops_rows(weight, s->n_used) } });
    ops_found(o, logits); /* overwritten with scores, which nobody reads */
    const int32_t *got = (const int32_t *)(const void *)ops_found(o, expert);
    for (uint32_t t = 0; t < o->n_tokens; t++, got += s->n_used) {
        const float *l = ops_host(logits) + (uint64_t)t * s->n_experts;
        if (by_token)
            memcpy(want, table + (uint32_t)o->token[t] * s->n_used, s->n_used * sizeof *want);
        else
            best_experts(l, has_bias ? b : NULL, s->n_experts, s->n_used, want);
        for (uint32_t i = 0; i < s->n_used; i++) {
            if (got[i] != want[i])
                ops_fail(o, "token %u, slot %u: expert %d, expected %d", t, i, got[i], want[i]);
        }
        weights_row(o, weight, l, want, normalize, t);
    }
    free(b);
}

void ops_route(ops *o)
{
    route_one(o, false, true, true);
    route_one(o, false, false, false);
}

void ops_route_by_token(ops *o)
{
    route_one(o, true, false, true);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

typedef struct entry {
    double  weight;
    float   logit;
    int32_t id;
} entry;

static int by_logit(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

/* The definition of pick.h, by sorting everything. *margin receives how near the draw came to a
 * border, relative to the sum. */
static int32_t drawn(const float *logits, uint32_t n_vocab, const ds4_pick *p, double *margin)
{
    entry   *e = malloc(n_vocab * sizeof *e);
    uint32_t n = 0;
    double   total = 0.0, kept = 0.0, sum = 0.0;
    int32_t  id = -1;

    *margin = 1.0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (!p->mask || (p->mask[i / 32] >> i % 32 & 1)) e[n++] = (entry){ 0.0, logits[i], (int32_t)i };
    }
    if (n == 0) goto done;
    qsort(e, n, sizeof *e, by_logit);
    id = e[0].id;
    if (!(p->how.temperature > 0.0f) || p->how.top_k == 1) goto done;
    if (p->how.top_k && n > p->how.top_k) n = p->how.top_k;
    for (uint32_t i = 0; i < n; i++) {
        e[i].weight = exp(((double)e[i].logit - (double)e[0].logit) / (double)p->how.temperature);
        if (e[i].weight < (double)p->how.min_p)
            n = i;
        else
            total += e[i].weight;
    }
    uint32_t n_kept = 0;
    while (n_kept < n && kept < (double)p->how.top_p * total) {
        kept += e[n_kept++].weight;
        *margin = fmin(*margin, fabs(kept / total - (double)p->how.top_p));
    }
    if (p->how.top_p >= 1.0f) *margin = 1.0;
    for (uint32_t i = 0; i < n_kept; i++) {
        *margin = fmin(*margin, fabs(sum + e[i].weight - p->u * kept) / kept);
        if (sum <= p->u * kept) id = e[i].id;
        sum += e[i].weight;
    }
done:
    free(e);
    return id;
}

static void expect_picked(ops *o, const float *logits, const ds4_pick *p, const ds4_picked *got, uint32_t row)
{
    const uint32_t n = o->shape->n_vocab;
    double         margin, top = -INFINITY, sum = 0.0;
    const int32_t  want = drawn(logits, n, p, &margin);

    if (got->token != want && margin > 1e-6) {
        ops_fail(o, "row %u: token %d, expected %d (temperature %g, top_p %g, min_p %g, top_k %u)", row,
                 got->token, want, (double)p->how.temperature, (double)p->how.top_p, (double)p->how.min_p,
                 p->how.top_k);
    }
    for (uint32_t i = 0; i < n; i++) top = fmax(top, (double)logits[i]);
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - top);
    if (!p->logprobs || got->token < 0) return;
    ops_near(o, (double)got->logprob, (double)logits[got->token] - top - log(sum), 1e-5 * (1.0 + fabs(top)),
             "logprob", row, 0);
    for (uint32_t i = 1; i < got->n_top; i++) {
        if (!(got->top[i].value <= got->top[i - 1].value))
            ops_fail(o, "row %u: the likeliest are not in order", row);
    }
}

void ops_sample(ops *o)
{
    static const ds4_sampling how[] = {
        { 0.0f, 1.0f, 0.0f, 0 }, { 1.0f, 1.0f, 0.0f, 0 },  { 0.7f, 0.9f, 0.0f, 0 },
        { 1.3f, 1.0f, 0.1f, 0 }, { 1.0f, 1.0f, 0.0f, 40 }, { 1.0f, 0.95f, 0.05f, 20 },
    };
    enum { N_HOW = sizeof how / sizeof *how };
    const uint32_t n = o->shape->n_vocab, n_rows = o->limits.max_logit_rows, n_words = (n + 31) / 32;
    ops_plain_batch(o, 10);
    ops_array *logits = ops_floats(o, (uint64_t)n_rows * n),
              *picked = ops_room(o, n_rows * sizeof(ds4_picked));
    ds4_pick        *pick = ops_memory(o, n_rows * sizeof *pick);
    const ds4_pick **at = ops_memory(o, n_rows * sizeof *at);
    uint32_t        *mask = ops_memory(o, n_words * sizeof *mask);

    for (uint32_t i = 0; i < n_words; i++) mask[i] = (uint32_t)ds4_rng_next(&o->rng);
    for (uint32_t i = 0; i < n_rows; i++) {
        pick[i] = (ds4_pick){ .how = how[i % N_HOW],
                              .u = (double)ops_below(o, 1 << 20) * 0x1p-20,
                              .mask = i % 3 == 2 ? mask : NULL,
                              .logprobs = i % 2,
                              .n_top = i % 5 };
        at[i] = n_rows > 1 && i % 7 == 5 ? NULL : &pick[i];
    }
    o->batch.pick = at;
    ops_run(
        o, (ds4_op){ .kind = DS4_OP_SAMPLE,
                     .sample = { .n_vocab = n, .logits = ops_rows(logits, n), .picked = ops_view(picked) } });
    const ds4_picked *got = (const ds4_picked *)(const void *)ops_found(o, picked);
    for (uint32_t i = 0; i < n_rows; i++) {
        if (at[i])
            expect_picked(o, ops_host(logits) + (uint64_t)i * n, at[i], &got[i], i);
        else if (memcmp(&got[i], picked->host + i * sizeof *got, sizeof *got) != 0)
            ops_fail(o, "row %u has no pick and was written", i);
    }
}
