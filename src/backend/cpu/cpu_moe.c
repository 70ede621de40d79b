/* cpu_moe.c - the experts.
 *
 * Pairs of (token, rank) are sorted by expert, so that an expert's weights are read once
 * for all its tokens; the shared expert is one more expert that every token visits. Each
 * pair's output is kept apart and a token's are added in rank order, the shared one last,
 * so a token's result does not know who else was in the batch. Streamed experts are
 * computed in waves as they arrive, for the same reason with the same result.
 * Source: docs/MODEL.md section 3.10. */
#include "backend/cpu/cpu_ops.h"

#include "backend/expert_cache.h"

#include <stdlib.h>
#include <string.h>

/* One expert with something to do: pairs first .. first + n - 1 of the sorted order. */
typedef struct visit {
    const ds4_matrix *gate, *up, *down;
    const uint8_t    *at[3];        /* their weights; of a streamed expert once it is there */
    bool              shared;
    uint32_t          expert, first, n;
} visit;

struct cpu_moe {
    uint32_t *pair_token;           /* [max_batch * (max_used + 1)] token of a sorted pair, the shared
                                       expert's included */
    uint32_t *pair_of;              /* [token][used + 1] sorted pair of a rank */
    float    *pair_weight;          /* [pairs] */
    visit    *visits;               /* [experts + 1], the shared one last */
    uint32_t  n_visits, n_pairs;
    visit   **wave;                 /* [experts + 1] visits that are computed together */
    uint32_t  n_wave, n_wave_pairs;
    uint32_t *count;                /* [experts] tokens that chose an expert */
    uint32_t *next;                 /* [experts] its next sorted pair while sorting */
    cpu_part *parts;                /* [3 * (experts + 1)] of a wave: gate and up, then down */
    uint32_t *visit_of;             /* [experts] */
    ds4_expert_ready *ready;        /* [experts] */
    uint8_t  *x[2];                 /* [tokens] encoded for routed and for shared experts */
    uint8_t  *pair_x;               /* [pairs] those of a visit with several tokens side by side */
    uint8_t  *h;                    /* [pairs] encoded inputs of down */
    float    *gate, *up, *out;      /* [pairs][max_ffn], the same, [pairs][max_embd] */
    uint64_t  x_bytes, pair_x_bytes, h_bytes, ffn_bytes, out_bytes;
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
    free(m->next);
    free(m->parts);
    free(m->visit_of);
    free(m->ready);
    for (int i = 0; i < 2; i++) cpu_release(m->x[i], m->x_bytes);
    cpu_release(m->pair_x, m->pair_x_bytes);
    cpu_release(m->h, m->h_bytes);
    cpu_release(m->gate, m->ffn_bytes);
    cpu_release(m->up, m->ffn_bytes);
    cpu_release(m->out, m->out_bytes);
    free(m);
    dev->moe = NULL;
}

ds4_status cpu_moe_create(ds4_dev *dev, ds4_err *err)
{
    const cpu_sizes *l = &dev->sizes;
    const uint64_t   max_batch = dev->limits.max_batch;
    struct cpu_moe  *m = dev->moe = calloc(1, sizeof *m);

    if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for the experts' scratch");
    const uint64_t n = max_batch * (l->max_used + 1);
    m->pair_token = malloc(n * sizeof *m->pair_token);
    m->pair_of = malloc(n * sizeof *m->pair_of);
    m->pair_weight = malloc(n * sizeof *m->pair_weight);
    m->visits = malloc((l->max_experts + 1) * sizeof *m->visits);
    m->wave = malloc((l->max_experts + 1) * sizeof *m->wave);
    m->count = malloc(l->max_experts * sizeof *m->count);
    m->next = malloc(l->max_experts * sizeof *m->next);
    m->parts = malloc(3 * (l->max_experts + 1) * sizeof *m->parts);
    m->visit_of = malloc(l->max_experts * sizeof *m->visit_of);
    m->ready = malloc(l->max_experts * sizeof *m->ready);
    m->x_bytes = max_batch * l->max_embd * sizeof(float);
    m->pair_x_bytes = n * l->max_embd * sizeof(float);
    m->h_bytes = n * l->max_ffn * sizeof(float);
    m->ffn_bytes = n * l->max_ffn * sizeof(float);
    m->out_bytes = n * l->max_embd * sizeof(float);
    for (int i = 0; i < 2; i++) m->x[i] = cpu_reserve(m->x_bytes);
    m->pair_x = cpu_reserve(m->pair_x_bytes);
    m->h = cpu_reserve(m->h_bytes);
    m->gate = cpu_reserve(m->ffn_bytes);
    m->up = cpu_reserve(m->ffn_bytes);
    m->out = cpu_reserve(m->out_bytes);
    if (m->pair_token && m->pair_of && m->pair_weight && m->visits && m->wave && m->count &&
        m->next && m->parts && m->visit_of && m->ready && m->x[0] && m->x[1] && m->pair_x && m->h &&
        m->gate && m->up && m->out) {
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_NOMEM, "no memory for the scratch of %llu expert visits",
                    (unsigned long long)n);
}

/* ---- sorting by expert ----------------------------------------------------------------------- */

static const uint8_t *weights_of(const ds4_matrix *w, uint32_t expert)
{
    return w->layout ? cpu_weights(w, expert) : NULL;
}

static void add_visit(struct cpu_moe *m, const ds4_op_experts *op, bool shared, uint32_t e,
                      uint32_t first, uint32_t n)
{
    if (!shared) m->visit_of[e] = m->n_visits;
    visit *v = &m->visits[m->n_visits++];
    *v = (visit){
        .gate = shared ? &op->shared_gate : &op->gate, .up = shared ? &op->shared_up : &op->up,
        .down = shared ? &op->shared_down : &op->down, .shared = shared,
        .expert = e, .first = first, .n = n,
    };
    v->at[0] = weights_of(v->gate, e);
    v->at[1] = weights_of(v->up, e);
    v->at[2] = weights_of(v->down, e);
}

static void put_pair(struct cpu_moe *m, uint32_t pair, uint32_t n_ranks, uint32_t token,
                     uint32_t rank, float weight)
{
    m->pair_token[pair] = token;
    m->pair_weight[pair] = weight;
    m->pair_of[token * n_ranks + rank] = pair;
}

static void count_experts(const ds4_dev *dev, const int32_t *expert, uint32_t n_experts,
                          uint32_t n_used)
{
    uint32_t *count = dev->moe->count;

    memset(count, 0, n_experts * sizeof *count);
    for (uint32_t i = 0; i < dev->batch->n_tokens * n_used; i++) count[expert[i]]++;
}

/* Experts in ascending order, tokens within one in ascending order, the shared one last. */
static void sort_pairs(ds4_dev *dev, const ds4_op_experts *op)
{
    struct cpu_moe *m = dev->moe;
    const uint32_t  n = dev->batch->n_tokens, n_ranks = op->n_used + 1;
    const int32_t  *expert = (const int32_t *)(const void *)cpu_at(op->expert);

    m->n_pairs = m->n_visits = 0;
    count_experts(dev, expert, op->gate.n_mats, op->n_used);
    for (uint32_t e = 0; e < op->gate.n_mats; e++) {
        m->next[e] = m->n_pairs;
        if (m->count[e]) add_visit(m, op, false, e, m->n_pairs, m->count[e]);
        m->n_pairs += m->count[e];
    }
    add_visit(m, op, true, 0, m->n_pairs, n);
    for (uint32_t t = 0; t < n; t++) {
        const float *weight = cpu_row(op->weight, t);
        for (uint32_t rank = 0; rank < op->n_used; rank++) {
            const int32_t e = expert[t * op->n_used + rank];
            put_pair(m, m->next[e]++, n_ranks, t, rank, weight[rank]);
        }
        put_pair(m, m->n_pairs + t, n_ranks, t, op->n_used, 1.0f);
    }
    m->n_pairs += n;
}

/* ---- experts --------------------------------------------------------------------------------- */

typedef struct moe_job {
    ds4_dev              *dev;
    const ds4_op_experts *op;
} moe_job;

/* The forms of the inputs of gate and up: of the routed experts, of the shared one. */
static ds4_act input_form(const ds4_op_experts *op, bool shared)
{
    return ds4_act_of((shared ? &op->shared_gate : &op->gate)->dtype);
}

static uint64_t input_bytes(const ds4_op_experts *op, bool shared)
{
    return ds4_act_bytes(input_form(op, shared), op->gate.n_in);
}

/* One encoded input of down; both kinds of experts lie in the same array. */
static uint64_t h_bytes(const ds4_op_experts *op)
{
    const uint64_t routed = ds4_act_bytes(ds4_act_of(op->down.dtype), op->gate.n_out);
    const uint64_t shared = ds4_act_bytes(ds4_act_of(op->shared_down.dtype), op->gate.n_out);
    return routed > shared ? routed : shared;
}

static uint8_t *pair_h(const struct cpu_moe *m, const ds4_op_experts *op, uint32_t pair)
{
    return m->h + (uint64_t)pair * h_bytes(op);
}

static void encode_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    uint64_t              from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (int shared = 0; shared < 2; shared++) {
        const uint64_t stride = input_bytes(op, shared);
        for (uint64_t t = from; t < to; t++) {
            cpu_encode(&job->dev->k, input_form(op, shared), job->dev->moe->x[shared] + t * stride,
                       cpu_row(op->x, (uint32_t)t), op->gate.n_in);
        }
    }
}

/* Copy the inputs of visits with several tokens, which lie anywhere, side by side. */
static void gather_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const struct cpu_moe *m = job->dev->moe;
    const uint64_t        stride = input_bytes(job->op, false);
    uint64_t              from, to;

    ds4_team_share(m->n_pairs - job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        memcpy(m->pair_x + i * stride, m->x[0] + m->pair_token[i] * stride, (size_t)stride);
    }
}

static void encode_inputs(moe_job *job)
{
    const struct cpu_moe *m = job->dev->moe;
    const uint32_t        n_tokens = job->dev->batch->n_tokens, n_routed = m->n_pairs - n_tokens;

    cpu_run(job->dev, encode_share, job, n_tokens);
    /* More pairs than routed visits: a visit has several. */
    if (n_routed > m->n_visits - 1) cpu_run(job->dev, gather_share, job, n_tokens);
}

static const uint8_t *visit_x(const struct cpu_moe *m, const ds4_op_experts *op, const visit *v)
{
    if (v->shared) return m->x[1];
    if (v->n == 1) return m->x[0] + m->pair_token[v->first] * input_bytes(op, false);
    return m->pair_x + v->first * input_bytes(op, false);
}

static cpu_slab slab_of(const ds4_matrix *w, const uint8_t *at)
{
    return (cpu_slab){ .w = at, .dtype = w->dtype, .n_in = w->n_in,
                       .row_bytes = ds4_row_bytes(w->dtype, w->n_in) };
}

static cpu_part part_of(const ds4_matrix *w, const uint8_t *at, const visit *v)
{
    const uint64_t row_bytes = ds4_row_bytes(w->dtype, w->n_in);

    return (cpu_part){ .w = at, .n_rows = w->n_out, .row_bytes = row_bytes, .dtype = w->dtype,
                       .n_tokens = v->n, .tile = cpu_tile(w->dtype, row_bytes, v->n) };
}

/* Parts 2v and 2v + 1 are gate and up of visit v of the wave. */
static void gate_up_part(void *ctx, uint32_t i_part, uint64_t from, uint64_t to, uint32_t member)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const visit          *a = m->wave[i_part / 2];
    const bool            is_up = i_part % 2 != 0;
    cpu_slab              slab = slab_of(is_up ? a->up : a->gate, a->at[is_up]);

    slab.x = visit_x(m, op, a);
    slab.x_stride = input_bytes(op, a->shared);
    slab.n_tokens = a->n;
    slab.y = (is_up ? m->up : m->gate) + (uint64_t)a->first * op->gate.n_out;
    slab.y_stride = op->gate.n_out;
    cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
}

/* A stretch of a pair. The weight goes in before the down product, so that its encoding
 * includes it. */
static void activate_stretch(const moe_job *job, uint32_t pair, ds4_act act, uint32_t at)
{
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const uint32_t        n_ffn = op->gate.n_out, n = n_ffn - at < CPU_STRETCH ? n_ffn - at : CPU_STRETCH;
    float                *g = m->gate + (uint64_t)pair * n_ffn + at;

    job->dev->k.swiglu(g, g, m->up + (uint64_t)pair * n_ffn + at, n, op->clamp, m->pair_weight[pair]);
    cpu_encode(&job->dev->k, act, pair_h(m, op, pair) + ds4_act_bytes(act, at), g, n);
}

/* Items are stretches of the pairs of the wave: a few pairs are worth sharing. */
static void activate_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job  *job = ctx;
    struct cpu_moe *m = job->dev->moe;
    const uint32_t  per_pair = cpu_stretches(job->op->gate.n_out);
    uint64_t        from, to, i_item = 0;       /* within the wave */

    ds4_team_share((uint64_t)m->n_wave_pairs * per_pair, 1, member, n_members, &from, &to);
    for (uint32_t v = 0; v < m->n_wave && i_item < to; v++) {
        const visit   *a = m->wave[v];
        const ds4_act  act = ds4_act_of(a->down->dtype);
        const uint64_t n_items = (uint64_t)a->n * per_pair, first = i_item;
        i_item += n_items;
        for (uint64_t i = from > first ? from - first : 0; i < n_items && first + i < to; i++) {
            const uint32_t pair = a->first + (uint32_t)(i / per_pair);
            activate_stretch(job, pair, act, (uint32_t)(i % per_pair) * CPU_STRETCH);
        }
    }
}

static void down_part(void *ctx, uint32_t i_part, uint64_t from, uint64_t to, uint32_t member)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = job->dev->moe;
    const visit          *a = m->wave[i_part];
    cpu_slab              slab = slab_of(a->down, a->at[2]);

    slab.x = pair_h(m, op, a->first);
    slab.x_stride = h_bytes(op);
    slab.n_tokens = a->n;
    slab.y = m->out + (uint64_t)a->first * op->down.n_out;
    slab.y_stride = op->down.n_out;
    cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
}

/* y = 0 + the outputs of the token's ranks in order; items are stretches of tokens. */
static void sum_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const moe_job        *job = ctx;
    const ds4_op_experts *op = job->op;
    const struct cpu_moe *m = job->dev->moe;
    const uint32_t        n_embd = op->down.n_out, n_ranks = op->n_used + 1, per_row = cpu_stretches(n_embd);
    uint64_t              from, to;

    ds4_team_share((uint64_t)job->dev->batch->n_tokens * per_row, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint32_t t = (uint32_t)(i / per_row), at = (uint32_t)(i % per_row) * CPU_STRETCH;
        const uint32_t n = n_embd - at < CPU_STRETCH ? n_embd - at : CPU_STRETCH;
        float         *y = cpu_row(op->y, t) + at;
        memset(y, 0, n * sizeof *y);
        for (uint32_t s = 0; s < n_ranks; s++) {
            const uint32_t pair = m->pair_of[t * n_ranks + s];
            job->dev->k.axpy(y, 1.0f, m->out + (uint64_t)pair * n_embd + at, n);
        }
    }
}

static void add_to_wave(struct cpu_moe *m, visit *v)
{
    m->wave[m->n_wave++] = v;
    m->n_wave_pairs += v->n;
}

static uint64_t parts_bytes(const cpu_part *parts, uint32_t n)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < n; i++) n_bytes += parts[i].n_rows * parts[i].row_bytes;
    return n_bytes;
}

static void run_wave(moe_job *job)
{
    struct cpu_moe *m = job->dev->moe;
    cpu_part       *gate_up = m->parts, *down = m->parts + 2 * m->n_wave;

    if (m->n_wave == 0) return;
    for (uint32_t v = 0; v < m->n_wave; v++) {
        const visit *a = m->wave[v];
        gate_up[2 * v] = part_of(a->gate, a->at[0], a);
        gate_up[2 * v + 1] = part_of(a->up, a->at[1], a);
        down[v] = part_of(a->down, a->at[2], a);
    }
    cpu_look_ahead(job->dev, down, m->n_wave);
    cpu_run_parts(job->dev, gate_up, 2 * m->n_wave, gate_up_part, job);
    cpu_mark(job->dev, "experts.gate_up", parts_bytes(gate_up, 2 * m->n_wave));
    cpu_run(job->dev, activate_share, job, (uint64_t)m->n_wave_pairs * cpu_stretches(job->op->gate.n_out));
    cpu_mark(job->dev, "experts.activate", 0);
    cpu_look_ahead(job->dev, NULL, 0);
    cpu_run_parts(job->dev, down, m->n_wave, down_part, job);
    cpu_mark(job->dev, "experts.down", parts_bytes(down, m->n_wave));
    m->n_wave = m->n_wave_pairs = 0;
}

/* ---- streamed experts ------------------------------------------------------------------------ */

/* Compute what has arrived while the disk brings the rest. */
static ds4_status run_arrivals(moe_job *job, ds4_err *err)
{
    struct cpu_moe *m = job->dev->moe;
    uint32_t        n;

    do {
        DS4_TRY(ds4_expert_cache_next(job->op->cache, m->ready, &n, err));
        for (uint32_t i = 0; i < n; i++) {
            visit *v = &m->visits[m->visit_of[m->ready[i].expert]];
            memcpy(v->at, m->ready[i].matrix, sizeof v->at);
            add_to_wave(m, v);
        }
        run_wave(job);
    } while (n > 0);
    return DS4_OK;
}

void cpu_prefetch(ds4_dev *dev, const ds4_op_prefetch *op)
{
    const ds4_batch *batch = dev->batch;

    if (!dev->moe) return;              /* no program of this device visits experts */
    uint32_t *count = dev->moe->count;
    memset(count, 0, dev->sizes.max_experts * sizeof *count);
    for (uint32_t t = 0; t < batch->n_tokens; t++) {
        const size_t   i_row = op->by_token ? (size_t)batch->token[t] : t;
        const uint8_t *row = cpu_at(op->by_token ? op->table : op->expert);
        row += i_row * op->n_used * sizeof(int32_t);
        for (uint32_t i = 0; i < op->n_used; i++) {
            int32_t expert;
            memcpy(&expert, row + i * sizeof expert, sizeof expert);
            count[expert] += op->n_used - i;        /* the likelier ones first */
        }
    }
    ds4_expert_cache_prefetch(op->cache, op->layer, count);
}

/* When the reads of this layer are done the disk goes on with the next one. */
static void prefetch_next(ds4_dev *dev, const ds4_op_experts *op)
{
    const ds4_op_prefetch next = { .cache = op->cache, .layer = op->layer + 1, .n_used = op->n_guess,
                                   .expert = op->guess };
    if (op->n_guess) cpu_prefetch(dev, &next);
}

/* The shared expert needs no disk: it covers the first reads. */
static ds4_status run_streamed(moe_job *job, ds4_err *err)
{
    ds4_dev              *dev = job->dev;
    const ds4_op_experts *op = job->op;
    struct cpu_moe       *m = dev->moe;

    sort_pairs(dev, op);
    ds4_expert_cache_begin(op->cache, op->layer, m->count, dev->batch->n_tokens);
    prefetch_next(dev, op);
    encode_inputs(job);
    add_to_wave(m, &m->visits[m->n_visits - 1]);
    run_wave(job);
    const ds4_status st = run_arrivals(job, err);
    ds4_expert_cache_end(op->cache);
    return st;
}

/* Show what down read: the activated gates of all pairs are still there, in the order of experts. */
static void keep_inputs(const ds4_dev *dev, const ds4_op_experts *op)
{
    const struct cpu_moe *m = dev->moe;
    const uint32_t        n_ffn = op->gate.n_out, n_ranks = op->n_used + 1;

    for (uint32_t t = 0; t < dev->batch->n_tokens; t++) {
        for (uint32_t rank = 0; rank < op->n_used; rank++) {
            const uint64_t pair = m->pair_of[t * n_ranks + rank];
            memcpy(cpu_row(op->inputs, t) + (uint64_t)rank * n_ffn, m->gate + pair * n_ffn,
                   n_ffn * sizeof(float));
        }
    }
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
        encode_inputs(&job);
        cpu_mark(dev, "experts.encode", 0);
        for (uint32_t v = 0; v < m->n_visits; v++) add_to_wave(m, &m->visits[v]);
        run_wave(&job);
    }
    cpu_run(dev, sum_share, &job, (uint64_t)dev->batch->n_tokens * cpu_stretches(op->down.n_out));
    if (op->inputs.at.buf) keep_inputs(dev, op);
    return DS4_OK;
}
