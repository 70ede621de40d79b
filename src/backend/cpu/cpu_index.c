/* cpu_index.c - the indexer: which compressed rows a token attends to.
 *
 * The queries of up to INDEX_QUERIES tokens of a span are scored together against INDEX_RUN rows
 * at a time. A token keeps the rows whose score beats its current top-k threshold: each score is
 * read once, and most are dropped after one comparison. Source: docs/MODEL.md section 3.9. */
#include "backend/cpu/cpu_ops.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(DS4_INDEX_PART == DS4_BLOCK_TOKENS / 4, "a block holds one part");

enum { MAX_INDEX_RECORD = 256 / 2 + 256 / 32 };     /* bytes; the shape reader keeps n <= 256 */

typedef struct index_job {
    ds4_dev    *dev;
    const void *op;
    atomic_uint next;               /* token that nobody has taken */
    uint32_t    token, group;       /* tokens at once */
    uint32_t   *n_found;            /* [team size] of the parts of one token's rows */
} index_job;

/* ---- queries ------------------------------------------------------------------------------- */

static void query_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const index_job          *job = ctx;
    const ds4_op_index_query *op = job->op;
    const ds4_kernels        *k = &job->dev->k;
    const ds4_kv_layout      *kv = job->dev->batch->kv;
    uint64_t                  from, to;

    ds4_team_share((uint64_t)job->dev->batch->n_tokens * op->n_heads, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint32_t t = (uint32_t)(i / op->n_heads), h = (uint32_t)(i % op->n_heads);
        const float   *angles = cpu_row(op->angles, t);
        float         *q = cpu_row(op->q, t) + (size_t)h * op->n;
        uint8_t       *packed = cpu_at(op->packed) + i * kv->irow_bytes;

        k->rope(q + op->n - op->n_rot, angles, angles + op->n_rot / 2, op->n_rot);
        if (kv->form == DS4_KV_FLOATS) {
            memcpy(packed, q, (size_t)kv->irow_bytes);
            continue;
        }
        k->hadamard(q, op->n);
        k->index_pack(packed, q, op->n);
    }
}

void cpu_index_query(ds4_dev *dev, const ds4_op_index_query *op)
{
    index_job job = { .dev = dev, .op = op };
    cpu_run(dev, query_share, &job, dev->batch->n_tokens);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* As index_score of the kernel table, over float rows. */
static void score_exact(const ds4_kernels *k, float *score, size_t stride, const ds4_index_batch *b)
{
    for (uint32_t i = 0; i < b->n_queries; i++) {
        const float *query = (const float *)b->query + i * (b->query_stride / sizeof(float));
        const float *weight = b->weight + i * b->weight_stride;
        for (size_t r = 0; r < b->n_rows; r++) {
            const float *row = (const float *)b->rows[r / DS4_INDEX_PART] + r % DS4_INDEX_PART * b->n;
            float        sum = 0.0f;
            for (uint32_t h = 0; h < b->n_heads; h++) {
                const float dot = k->dot_f32(query + (size_t)h * b->n, row, b->n);
                sum += weight[h] * (dot > 0.0f ? dot : 0.0f);
            }
            score[i * stride + r] = sum;
        }
    }
}

/* Scores of n_rows <= INDEX_RUN rows from `row` on, the first of a block, for tokens
 * first .. first + n - 1 of one span; those of a token begin INDEX_RUN behind the one before. */
static void score_run(const ds4_dev *dev, const ds4_op_select *op, uint32_t first, uint32_t n, float *score,
                      uint32_t row, uint32_t n_rows)
{
    const ds4_kv_layout  *kv = dev->batch->kv;
    const ds4_kv_rows    *table = &kv->layer[op->layer].irow;
    const ds4_span       *span = &dev->batch->span[dev->batch->span_of[first]];
    const uint64_t        query_bytes = op->n_heads * kv->irow_bytes;
    const void           *part[INDEX_RUN / DS4_INDEX_PART];
    uint8_t               room[INDEX_RUN * MAX_INDEX_RECORD];
    const ds4_index_batch batch = {
        .query = cpu_at(op->query) + first * query_bytes, .query_stride = (size_t)query_bytes,
        .weight = cpu_row(op->weight, first), .weight_stride = op->weight.stride,
        .n_queries = n, .n_heads = op->n_heads, .n = op->n, .rows = part, .n_rows = n_rows,
    };

    for (uint32_t i = 0; i < n_rows; i += DS4_INDEX_PART) {
        const ds4_block *block = &span->blocks[(row + i) / table->n_rows];
        const uint32_t   n_here = n_rows - i < DS4_INDEX_PART ? n_rows - i : DS4_INDEX_PART;
        part[i / DS4_INDEX_PART] = cpu_kv_rows(table, cpu_at(block->warm), 0, n_here,
                                               room + i * kv->irow_bytes);
    }
    if (kv->form == DS4_KV_FLOATS) score_exact(&dev->k, score, INDEX_RUN, &batch);
    else dev->k.index_score(score, INDEX_RUN, &batch);
}

/* ---- the largest top_k ------------------------------------------------------------------------ */

/* The rows that may be among a token's best, in ascending order. */
typedef struct pick {
    uint32_t  n;
    bool      limited;
    float     limit;                /* so much the lowest of the best top_k has */
    uint64_t *at;                   /* [2 * top_k + INDEX_RUN] see candidate() */
} pick;

/* A key that orders like the float; -0 and 0 are one value, as they are equal scores. */
static uint32_t order_key(float x)
{
    uint32_t bits;

    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float of_order_key(uint32_t key)
{
    const uint32_t bits = key & 0x80000000u ? key ^ 0x80000000u : ~key;
    float          x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Larger means better: the score, then the lower row. No two are equal. */
static uint64_t candidate(float score, uint32_t row)
{
    return (uint64_t)order_key(score) << 32 | (uint32_t)~row;
}

/* The k-th largest of n different numbers, 1 <= k <= n; they change places. */
static uint64_t kth_largest(uint64_t *x, uint32_t n, uint32_t k)
{
    uint32_t from = 0, to = n;      /* it lies in from .. to-1 */

    k--;
    while (to - from > 1) {
        const uint64_t a = x[from], b = x[from + (to - from) / 2], c = x[to - 1];
        const uint64_t middle = (a > b) == (b > c) ? b : (b > a) == (a > c) ? a : c;
        uint32_t       i = from, j = to - 1;
        while (i <= j) {
            while (x[i] > middle) i++;
            while (x[j] < middle) j--;
            if (i > j) break;
            const uint64_t t = x[i];
            x[i++] = x[j];
            x[j] = t;
            if (j == 0) break;
            j--;
        }
        if (k < i && k > j) return x[k];
        if (k <= j) to = j + 1;
        else from = i;
    }
    return x[from];
}

/* Keep the best k of at least as many. */
static void cut(pick *p, uint32_t k, uint64_t *scratch)
{
    uint32_t n = 0;

    memcpy(scratch, p->at, p->n * sizeof *scratch);
    const uint64_t least = kth_largest(scratch, p->n, k);
    for (uint32_t i = 0; i < p->n; i++) {
        p->at[n] = p->at[i];
        n += p->at[i] >= least;
    }
    p->n = n;
    p->limited = true;
    p->limit = of_order_key((uint32_t)(least >> 32));
}

/* Look at the scores of rows that follow those seen before. Once the best k are known, one
 * that only equals the lowest of the best stays behind it, being a later row. */
static void add_rows(const ds4_kernels *kernels, pick *p, const float *score, uint32_t row, uint32_t n,
                     uint32_t k, uint64_t *scratch)
{
    uint32_t index[INDEX_RUN];

    for (; !p->limited && n > 0; n--) {
        p->at[p->n++] = candidate(*score++, row++);
        if (p->n == 2 * k) cut(p, k, scratch);
    }
    const size_t n_found = kernels->above(index, score, n, p->limit);
    for (size_t i = 0; i < n_found; i++) p->at[p->n++] = candidate(score[index[i]], row + index[i]);
    if (p->n >= 2 * k) cut(p, k, scratch);
}

static uint32_t visible(const ds4_dev *dev, const ds4_op_select *op, uint32_t t)
{
    return (dev->batch->pos[t] + 1) / dev->batch->kv->layer[op->layer].ratio;
}

static void write_chosen(const ds4_op_select *op, uint32_t t, const pick *p)
{
    int32_t *chosen = (int32_t *)(void *)cpu_at(op->chosen) + (uint64_t)t * op->top_k;

    assert(p->n == op->top_k);
    for (uint32_t i = 0; i < p->n; i++) chosen[i] = (int32_t)~(uint32_t)p->at[i];
}

static uint64_t *slots_of(const ds4_dev *dev, uint32_t member, uint32_t i)
{
    return dev->own[member].picks + (uint64_t)i * cpu_pick_slots(&dev->sizes);
}

/* ---- many tokens ------------------------------------------------------------------------------- */

/* Tokens of one span. */
static void select_group(const ds4_dev *dev, const ds4_op_select *op, uint32_t first, uint32_t n,
                         uint32_t member)
{
    const uint32_t k = op->top_k;
    uint64_t      *scratch = slots_of(dev, member, INDEX_QUERIES);
    float         *score = dev->own[member].scores;
    pick           picks[INDEX_QUERIES];

    for (; n > 0 && visible(dev, op, first) <= k; n--) first++;
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) picks[i] = (pick){ .at = slots_of(dev, member, i) };
    const uint32_t n_rows = visible(dev, op, first + n - 1);
    uint32_t       done = 0;            /* tokens that have seen all their rows */
    for (uint32_t r = 0; r < n_rows; r += INDEX_RUN) {
        while (visible(dev, op, first + done) <= r) done++;
        score_run(dev, op, first + done, n - done, score, r, n_rows - r < INDEX_RUN ? n_rows - r : INDEX_RUN);
        for (uint32_t i = done; i < n; i++) {
            const uint32_t left = visible(dev, op, first + i) - r;
            if (left == 0) continue;
            add_rows(&dev->k, &picks[i], score + (uint64_t)(i - done) * INDEX_RUN, r,
                     left < INDEX_RUN ? left : INDEX_RUN, k, scratch);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (picks[i].n > k) cut(&picks[i], k, scratch);
        write_chosen(op, first + i, &picks[i]);
    }
}

/* Whoever is free takes the next tokens: later ones see more rows. */
static void select_share(void *ctx, uint32_t member, uint32_t n_members)
{
    index_job           *job = ctx;
    const ds4_op_select *op = job->op;
    const ds4_batch     *batch = job->dev->batch;

    (void)n_members;
    for (unsigned t = atomic_load(&job->next); t < batch->n_tokens;) {
        const ds4_span *span = &batch->span[batch->span_of[t]];
        const uint32_t  left = span->first + span->n - t, n = left < job->group ? left : job->group;
        if (!atomic_compare_exchange_weak(&job->next, &t, t + n)) continue;
        select_group(job->dev, op, t, n, member);
        t = atomic_load(&job->next);
    }
}

/* ---- one token --------------------------------------------------------------------------------- */

/* Each member finds the best of a part of the rows. */
static void part_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const index_job     *job = ctx;
    const ds4_dev       *dev = job->dev;
    const ds4_op_select *op = job->op;
    pick                 p = { .at = slots_of(dev, member, 0) };
    uint64_t             from, to;

    ds4_team_share(visible(dev, op, job->token), DS4_INDEX_PART, member, n_members, &from, &to);
    for (uint64_t r = from; r < to; r += INDEX_RUN) {
        const uint32_t n = to - r < INDEX_RUN ? (uint32_t)(to - r) : INDEX_RUN;
        score_run(dev, op, job->token, 1, dev->own[member].scores, (uint32_t)r, n);
        add_rows(&dev->k, &p, dev->own[member].scores, (uint32_t)r, n, op->top_k,
                 slots_of(dev, member, INDEX_QUERIES));
    }
    if (p.n > op->top_k) cut(&p, op->top_k, slots_of(dev, member, INDEX_QUERIES));
    job->n_found[member] = p.n;
}

/* The parts are in order, and so is what they join to. */
static void join_parts(const ds4_dev *dev, const ds4_op_select *op, const index_job *job)
{
    pick p = { .n = job->n_found[0], .at = slots_of(dev, 0, 0) };

    for (uint32_t i = 1; i < ds4_team_size(dev->team); i++) {
        memcpy(p.at + p.n, slots_of(dev, i, 0), job->n_found[i] * sizeof *p.at);
        p.n += job->n_found[i];
        if (p.n > op->top_k) cut(&p, op->top_k, slots_of(dev, 0, INDEX_QUERIES));
    }
    write_chosen(op, job->token, &p);
}

static void scale_weights(const ds4_dev *dev, const ds4_op_select *op)
{
    for (uint32_t t = 0; t < dev->batch->n_tokens; t++) {
        float *w = cpu_row(op->weight, t);
        for (uint32_t h = 0; h < op->n_heads; h++) w[h] *= op->scale;
    }
}

void cpu_select(ds4_dev *dev, const ds4_op_select *op)
{
    const uint32_t n = dev->batch->n_tokens, n_members = ds4_team_size(dev->team);
    uint32_t       n_found[CPU_MAX_TEAM];
    index_job      job = { .dev = dev, .op = op, .n_found = n_found, .group = cpu_index_group(n, n_members) };

    scale_weights(dev, op);
    if (n >= 2 * n_members) {
        ds4_team_run(dev->team, select_share, &job);
        return;
    }
    for (job.token = 0; job.token < n; job.token++) {
        if (visible(dev, op, job.token) <= op->top_k) continue;
        ds4_team_run(dev->team, part_share, &job);
        join_parts(dev, op, &job);
    }
}
