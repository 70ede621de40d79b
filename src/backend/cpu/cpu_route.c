/* cpu_route.c - the router: which experts a token visits, and with which weights.
 * Source: docs/MODEL.md section 3.10. */
#include "backend/cpu/cpu_ops.h"

#include <math.h>
#include <string.h>

static float softplus(float x)
{
    return x > 20.0f ? x : log1pf(expf(x));
}

/* The n_used largest of score, largest first; equal scores go to the lower expert. What
 * was chosen is struck out of score. */
static void top_experts(int32_t *expert, float *score, uint32_t n, uint32_t n_used)
{
    for (uint32_t i = 0; i < n_used; i++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < n; e++) {
            if (score[e] > score[best]) best = e;
        }
        expert[i] = (int32_t)best;
        score[best] = -INFINITY;
    }
}

static void route_one(const ds4_dev *dev, const ds4_op_route *op, uint32_t t, float *score)
{
    float   *p = cpu_row(op->logits, t), *w = cpu_row(op->weight, t);
    int32_t *expert = (int32_t *)(void *)cpu_at(op->expert) + (size_t)t * op->n_used;
    float    sum = 0.0f;

    for (uint32_t e = 0; e < op->n_experts; e++) p[e] = sqrtf(softplus(p[e]));
    if (op->by_token) {
        const size_t row_bytes = op->n_used * sizeof(int32_t);
        memcpy(expert, cpu_at(op->table) + (size_t)dev->batch->token[t] * row_bytes, row_bytes);
    } else {
        const float *bias = op->bias.buf ? cpu_floats(op->bias) : NULL;
        for (uint32_t e = 0; e < op->n_experts; e++) score[e] = p[e] + (bias ? bias[e] : 0.0f);
        top_experts(expert, score, op->n_experts, op->n_used);
    }
    /* The bias selects; the weight is the score without it. */
    for (uint32_t i = 0; i < op->n_used; i++) sum += w[i] = p[expert[i]];
    /* All scores near zero would divide by zero; no trained router comes near. */
    const float by = op->scale / (op->normalize ? fmaxf(sum, 0x1p-60f) : 1.0f);
    for (uint32_t i = 0; i < op->n_used; i++) w[i] *= by;
}

typedef struct route_job {
    ds4_dev            *dev;
    const ds4_op_route *op;
} route_job;

static void route_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const route_job *job = ctx;
    uint64_t         from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint32_t t = (uint32_t)from; t < to; t++) {
        route_one(job->dev, job->op, t, job->dev->own[member].scores);
    }
}

void cpu_route(ds4_dev *dev, const ds4_op_route *op)
{
    route_job job = { dev, op };
    cpu_run(dev, route_share, &job, dev->batch->n_tokens);
}
