/* cpu_moe.c - the router and the experts.
 *
 * Pairs of (token, slot) are sorted by expert, so that an expert's weights are read once
 * for all its tokens; the shared expert is one more expert that every token visits. Each
 * pair's output is kept apart and a token's are added in slot order, the shared one last,
 * so a token's result does not know who else was in the batch. Streamed experts are
 * computed in waves as they arrive, for the same reason with the same result.
 * Source: docs/MODEL.md section 3.10. */
#include "backend/cpu/cpu_local.h"

#include "backend/expert_cache.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GRAIN = 8 };

/* One expert with something to do: pairs first .. first + n - 1 of the sorted order. */
typedef struct visit {
    const ds4_matrix *gate, *up, *down;
    const uint8_t    *at[3];        /* their weights; of a streamed expert once it is there */
    uint32_t          expert, first, n;
} visit;

struct cpu_moe {
    uint32_t  n_pairs_max;          /* max_batch * (max_used + 1), the shared expert's included */
    uint32_t *pair_token;           /* [pairs] token of a sorted pair */
    uint32_t *pair_of;              /* [token][used + 1] sorted pair of a slot */
    float    *pair_weight;          /* [pairs] */
    visit    *visits;               /* [experts + 1], the shared one last */
    uint32_t  n_visits, n_pairs;
    visit   **wave;                 /* [experts + 1] visits that are computed together */
    uint32_t  n_wave, n_wave_pairs;
    uint32_t *count;                /* [experts] tokens that chose an expert */
    uint32_t *visit_of;             /* [experts] */
    ds4_expert_ready *ready;        /* [experts] */
    uint8_t  *x, *h;                /* encoded inputs of the pairs: of gate and up, of down */
    float    *gate, *up, *out;      /* [pairs][max_ffn], the same, [pairs][max_embd] */
    uint64_t  x_bytes, h_bytes, ffn_bytes, out_bytes;
};

void cpu_moe_free(ds4_dev *dev)
{
    struct cpu_moe *m = dev->moe;
    if (!m) return;
    free(m->pair_token);
    free(m->pair_of);
    free(m->pair_weight);
    free(m->visits);
    free((void *)m->wave);
    free(m->count);
    free(m->visit_of);
    free(m->ready);
    cpu_release(m->x, m->x_bytes);
    cpu_release(m->h, m->h_bytes);
    cpu_release(m->gate, m->ffn_bytes);
    cpu_release(m->up, m->ffn_bytes);
    cpu_release(m->out, m->out_bytes);
    free(m);
    dev->moe = NULL;
}

ds4_status cpu_moe_create(ds4_dev *dev, ds4_err *err)
{
    const ds4_limits *l = &dev->limits;
    struct cpu_moe   *m = dev->moe = calloc(1, sizeof *m);

    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for the experts' scratch");
    const uint64_t n = m->n_pairs_max = l->max_batch * (l->max_used + 1);
    m->pair_token = malloc(n * sizeof *m->pair_token);
    m->pair_of = malloc(n * sizeof *m->pair_of);
    m->pair_weight = malloc(n * sizeof *m->pair_weight);
    m->visits = malloc((l->max_experts + 1) * sizeof *m->visits);
    m->wave = malloc((l->max_experts + 1) * sizeof *m->wave);
    m->count = malloc(l->max_experts * sizeof *m->count);
    m->visit_of = malloc(l->max_experts * sizeof *m->visit_of);
    m->ready = malloc(l->max_experts * sizeof *m->ready);
    m->x_bytes = n * l->max_embd * sizeof(float);
    m->h_bytes = n * l->max_ffn * sizeof(float);
    m->ffn_bytes = n * l->max_ffn * sizeof(float);
    m->out_bytes = n * l->max_embd * sizeof(float);
    m->x = cpu_reserve(m->x_bytes);
    m->h = cpu_reserve(m->h_bytes);
    m->gate = cpu_reserve(m->ffn_bytes);
    m->up = cpu_reserve(m->ffn_bytes);
    m->out = cpu_reserve(m->out_bytes);
    if (m->pair_token && m->pair_of && m->pair_weight && m->visits && m->wave && m->count &&
        m->visit_of && m->ready && m->x && m->h && m->gate && m->up && m->out) {
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_NOMEM, "no memory for the scratch of %llu expert visits",
                    (unsigned long long)n);
}

/* ---- router ---------------------------------------------------------------------------------- */

static float softplus(float x)
{
    return x > 20.0f ? x : log1pf(expf(x));
}

/* The n_used largest of score, largest first; equal scores go to the lower expert. */
static void top_experts(int32_t *expert, const float *score, uint32_t n, uint32_t n_used)
{
    for (uint32_t i = 0; i < n_used; i++) {
        uint32_t best = n;
        for (uint32_t e = 0; e < n; e++) {
            bool taken = false;
            for (uint32_t j = 0; j < i; j++) taken |= expert[j] == (int32_t)e;
            if (!taken && (best == n || score[e] > score[best])) best = e;
        }
        expert[i] = (int32_t)best;
    }
}

static void route_one(ds4_dev *dev, const ds4_op_route *op, uint32_t t)
{
    float   *p = cpu_row(op->logits, t), *w = cpu_row(op->weight, t), *score = dev->own[0].scores;
    int32_t *expert = (int32_t *)(void *)cpu_at(op->expert) + (size_t)t * op->n_used;
    float    sum = 0.0f;

    for (uint32_t e = 0; e < op->n_experts; e++) p[e] = sqrtf(softplus(p[e]));
    if (op->by_token) {
        const uint8_t *row = cpu_at(op->table) + (size_t)dev->batch->token[t] * op->n_used * sizeof(int32_t);
        memcpy(expert, row, op->n_used * sizeof *expert);
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

void cpu_route(ds4_dev *dev, const ds4_op_route *op)
{
    for (uint32_t t = 0; t < dev->batch->n_tokens; t++) route_one(dev, op, t);
}

/* ---- sorting by expert -------------------------------------------------------------------------- */

static const uint8_t *weights_of(const ds4_matrix *w, uint32_t expert)
{
    return w->at.buf ? cpu_at(w->at) + (uint64_t)expert * w->n_out * w->row_bytes : NULL;
}

static void add_visit(struct cpu_moe *m, const ds4_op_experts *op, uint32_t expert, uint32_t first)
{
    const bool     shared = expert == op->gate.n_mats;
    const uint32_t e = shared ? 0 : expert;
    if (m->n_pairs == first) return;
    if (!shared) m->visit_of[e] = m->n_visits;
    visit *v = &m->visits[m->n_visits++];
    *v = (visit){
        .gate = shared ? &op->shared_gate : &op->gate, .up = shared ? &op->shared_up : &op->up,
        .down = shared ? &op->shared_down : &op->down,
        .expert = e, .first = first, .n = m->n_pairs - first,
    };
    v->at[0] = weights_of(v->gate, e);
    v->at[1] = weights_of(v->up, e);
    v->at[2] = weights_of(v->down, e);
}

static void add_pair(struct cpu_moe *m, uint32_t n_slots, uint32_t token, uint32_t slot, float weight)
{
    m->pair_token[m->n_pairs] = token;
    m->pair_weight[m->n_pairs] = weight;
    m->pair_of[token * n_slots + slot] = m->n_pairs++;
}

/* Experts in ascending order, tokens within one in ascending order, the shared one last. */
static void sort_pairs(ds4_dev *dev, const ds4_op_experts *op)
{
    struct cpu_moe *m = dev->moe;
    const uint32_t  n = dev->batch->n_tokens, n_slots = op->n_used + 1;
    const int32_t  *expert = (const int32_t *)(const void *)cpu_at(op->expert);

    m->n_pairs = m->n_visits = 0;
    for (uint32_t e = 0; e < op->gate.n_mats; e++) {
        const uint32_t first = m->n_pairs;
        for (uint32_t i = 0; i < n * op->n_used; i++) {
            if (expert[i] != (int32_t)e) continue;
            const uint32_t t = i / op->n_used, slot = i % op->n_used;
            add_pair(m, n_slots, t, slot, cpu_row(op->weight, t)[slot]);
        }
        add_visit(m, op, e, first);
    }
    const uint32_t first = m->n_pairs;
    for (uint32_t t = 0; t < n; t++) add_pair(m, n_slots, t, op->n_used, 1.0f);
    add_visit(m, op, op->gate.n_mats, first);
}

/* ---- experts --------------------------------------------------------------------------------------- */

typedef struct moe_job {
    ds4_dev              *dev;
    const ds4_op_experts *op;
} moe_job;

/* Encoded rows have room for plain floats, so a pair's slot is where its floats would be. */
static uint8_t *pair_x(const struct cpu_moe *m, const ds4_op_experts *op, uint32_t pair)
{
    return m->x + (uint64_t)pair * op->gate.n_in * sizeof(float);
}

static uint8_t *pair_h(const struct cpu_moe *m, const ds4_op_experts *op, uint32_t pair)
{
    return m->h + (uint64_t)pair * op->gate.n_out * sizeof(float);
}

static void encode_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    uint64_t              from, to;

    ds4_team_share(m->n_pairs, 1, member, n_members, &from, &to);
    for (uint32_t v = 0; v < m->n_visits; v++) {
        const visit  *a = &m->visits[v];
        const ds4_act act = ds4_act_of(a->gate->dtype);
        for (uint32_t i = a->first; i < a->first + a->n; i++) {
            if (i < from || i >= to) continue;
            cpu_encode(&job->dev->k, act, pair_x(m, op, i), cpu_row(op->x, m->pair_token[i]), op->gate.n_in);
        }
    }
}

static cpu_slab slab_of(const ds4_matrix *w, const uint8_t *at)
{
    return (cpu_slab){ .w = at, .dtype = w->dtype, .n_in = w->n_in, .row_bytes = w->row_bytes };
}

static void gate_up_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const uint32_t        n_ffn = op->gate.n_out;
    uint64_t              from, to;

    ds4_team_share(n_ffn, GRAIN, member, n_members, &from, &to);
    for (uint32_t v = 0; v < m->n_wave; v++) {
        const visit *a = m->wave[v];
        for (int which = 0; which < 2; which++) {
            cpu_slab slab = slab_of(which ? a->up : a->gate, a->at[which]);
            slab.x = pair_x(m, op, a->first);
            slab.x_stride = op->gate.n_in * sizeof(float);
            slab.n_tokens = a->n;
            slab.y = (which ? m->up : m->gate) + (uint64_t)a->first * n_ffn;
            slab.y_stride = n_ffn;
            cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
        }
    }
}

/* The weight goes in before the down product, so that its encoding includes it. */
static void activate_pair(const moe_job *job, uint32_t pair, ds4_act act)
{
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const uint32_t        n_ffn = op->gate.n_out;
    float                *g = m->gate + (uint64_t)pair * n_ffn;

    job->dev->k.swiglu(g, g, m->up + (uint64_t)pair * n_ffn, n_ffn, op->clamp, m->pair_weight[pair]);
    cpu_encode(&job->dev->k, act, pair_h(m, op, pair), g, n_ffn);
}

static void activate_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job  *job = ctx;
    struct cpu_moe *m = job->dev->moe;
    uint64_t        from, to, i_pair = 0;       /* within the wave */

    ds4_team_share(m->n_wave_pairs, 1, member, n_members, &from, &to);
    for (uint32_t v = 0; v < m->n_wave; v++) {
        const visit  *a = m->wave[v];
        const ds4_act act = ds4_act_of(a->down->dtype);
        for (uint32_t i = 0; i < a->n; i++, i_pair++) {
            if (i_pair >= from && i_pair < to) activate_pair(job, a->first + i, act);
        }
    }
}

static void down_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const uint32_t        n_embd = op->down.n_out;
    uint64_t              from, to;

    ds4_team_share(n_embd, GRAIN, member, n_members, &from, &to);
    for (uint32_t v = 0; v < m->n_wave; v++) {
        const visit *a = m->wave[v];
        cpu_slab     slab = slab_of(a->down, a->at[2]);
        slab.x = pair_h(m, op, a->first);
        slab.x_stride = op->gate.n_out * sizeof(float);
        slab.n_tokens = a->n;
        slab.y = m->out + (uint64_t)a->first * n_embd;
        slab.y_stride = n_embd;
        cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
    }
}

static void sum_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    const struct cpu_moe *m = job->dev->moe;
    const uint32_t        n_embd = op->down.n_out, n_slots = op->n_used + 1;
    uint64_t              from, to;

    ds4_team_share(n_embd, GRAIN, member, n_members, &from, &to);
    for (uint32_t t = 0; t < job->dev->batch->n_tokens; t++) {
        float *y = cpu_row(op->y, t);
        for (uint64_t d = from; d < to; d++) y[d] = 0.0f;
        for (uint32_t s = 0; s < n_slots; s++) {
            const float *out = m->out + (uint64_t)m->pair_of[t * n_slots + s] * n_embd;
            for (uint64_t d = from; d < to; d++) y[d] += out[d];
        }
    }
}

static void add_to_wave(struct cpu_moe *m, visit *v)
{
    m->wave[m->n_wave++] = v;
    m->n_wave_pairs += v->n;
}

static void run_wave(moe_job *job)
{
    struct cpu_moe *m = job->dev->moe;

    if (m->n_wave == 0) return;
    ds4_team_run(job->dev->team, gate_up_share, job);
    cpu_run(job->dev, activate_share, job, m->n_wave_pairs);
    ds4_team_run(job->dev->team, down_share, job);
    m->n_wave = m->n_wave_pairs = 0;
}

/* ---- streamed experts ------------------------------------------------------------------------ */

static void count_experts(ds4_dev *dev, const int32_t *expert, uint32_t n_experts, uint32_t n_used)
{
    uint32_t *count = dev->moe->count;

    memset(count, 0, n_experts * sizeof *count);
    for (uint32_t i = 0; i < dev->batch->n_tokens * n_used; i++) count[expert[i]]++;
}

/* Compute what has arrived while the disk brings the rest. */
static ds4_status run_arrivals(moe_job *job, ds4_err *err)
{
    struct cpu_moe *m = job->dev->moe;
    uint32_t        n;

    do {
        DS4_TRY(ds4_expert_cache_next(job->op->cache, m->ready, &n, err));
        for (uint32_t i = 0; i < n; i++) {
            visit *v = &m->visits[m->visit_of[m->ready[i].expert]];
            memcpy(v->at, m->ready[i].part, sizeof v->at);
            add_to_wave(m, v);
        }
        run_wave(job);
    } while (n > 0);
    return DS4_OK;
}

/* The shared expert needs no disk: it covers the first reads. */
static ds4_status run_streamed(moe_job *job, ds4_err *err)
{
    ds4_dev              *dev = job->dev;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = dev->moe;

    count_experts(dev, (const int32_t *)(const void *)cpu_at(op->expert), op->gate.n_mats, op->n_used);
    ds4_expert_cache_begin(op->cache, op->layer, m->count, dev->batch->n_tokens);
    sort_pairs(dev, op);
    cpu_run(dev, encode_share, job, m->n_pairs);
    add_to_wave(m, &m->visits[m->n_visits - 1]);
    run_wave(job);
    const ds4_status st = run_arrivals(job, err);
    ds4_expert_cache_end(op->cache);
    return st;
}

void cpu_prefetch(ds4_dev *dev, const ds4_op_prefetch *op)
{
    const uint32_t  n_experts = dev->limits.max_experts;
    const ds4_batch *batch = dev->batch;
    uint32_t        *count = dev->moe->count;

    if (!op->by_token) {
        count_experts(dev, (const int32_t *)(const void *)cpu_at(op->expert), n_experts, op->n_used);
    } else {
        memset(count, 0, n_experts * sizeof *count);
        for (uint32_t t = 0; t < batch->n_tokens; t++) {
            const uint8_t *row = cpu_at(op->table) + (size_t)batch->token[t] * op->n_used * sizeof(int32_t);
            for (uint32_t i = 0; i < op->n_used; i++) {
                int32_t expert;
                memcpy(&expert, row + i * sizeof expert, sizeof expert);
                count[expert]++;
            }
        }
    }
    ds4_expert_cache_prefetch(op->cache, op->layer, count);
}

/* ---- the operation --------------------------------------------------------------------------- */

ds4_status cpu_experts(ds4_dev *dev, const ds4_op_experts *op, ds4_err *err)
{
    moe_job         job = { dev, op };
    struct cpu_moe *m = dev->moe;

    m->n_wave = m->n_wave_pairs = 0;
    if (op->cache) {
        DS4_TRY(run_streamed(&job, err));
    } else {
        sort_pairs(dev, op);
        cpu_run(dev, encode_share, &job, m->n_pairs);
        for (uint32_t v = 0; v < m->n_visits; v++) add_to_wave(m, &m->visits[v]);
        run_wave(&job);
    }
    ds4_team_run(dev->team, sum_share, &job);
    return DS4_OK;
}
