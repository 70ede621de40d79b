/* cpu_index.c - the indexer: which compressed rows a token attends to.
 * Source: docs/MODEL.md section 3.9. */
#include "backend/cpu/cpu_local.h"

#include <string.h>

typedef struct index_job {
    ds4_dev    *dev;
    const void *op;
    uint32_t    token;
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
        if (kv->exact) {
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
static void score_exact(const ds4_kernels *k, float *score, const float *query, const float *weight,
                        uint32_t n_heads, const float *rows, uint32_t n_rows, uint32_t n)
{
    for (uint32_t r = 0; r < n_rows; r++) {
        float sum = 0.0f;
        for (uint32_t h = 0; h < n_heads; h++) {
            const float dot = k->dot_f32(query + (size_t)h * n, rows + (size_t)r * n, n);
            sum += weight[h] * (dot > 0.0f ? dot : 0.0f);
        }
        score[r] = sum;
    }
}

/* Scores of rows from .. to-1 for token t into score[from ..]. */
static void score_rows(const ds4_dev *dev, const ds4_op_select *op, uint32_t t, float *score,
                       uint64_t from, uint64_t to)
{
    const ds4_kv_layout *kv = dev->batch->kv;
    const ds4_kv_layer  *layer = &kv->layer[op->layer];
    const ds4_span      *span = &dev->batch->span[dev->batch->span_of[t]];
    const uint8_t       *query = cpu_at(op->query) + (uint64_t)t * op->n_heads * kv->irow_bytes;
    const float         *weight = cpu_row(op->weight, t);
    const uint32_t       per_block = DS4_BLOCK_TOKENS / layer->ratio;

    for (uint64_t r = from; r < to;) {
        const uint64_t in_block = per_block - r % per_block;
        const uint32_t n = (uint32_t)(to - r < in_block ? to - r : in_block);
        const uint8_t *rows = cpu_index_row_at(dev->batch, span, layer, (uint32_t)r);

        if (kv->exact) {
            score_exact(&dev->k, score + r, (const float *)(const void *)query, weight, op->n_heads,
                        (const float *)(const void *)rows, n, op->n);
        } else {
            dev->k.index_score(score + r, query, weight, op->n_heads, rows, n, op->n);
        }
        r += n;
    }
}

/* ---- the largest top_k ------------------------------------------------------------------------ */

/* A key that orders like the float; -0 and 0 are one value, as they are equal scores. */
static uint32_t order_key(float x)
{
    uint32_t bits;

    x += 0.0f;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The k-th largest key, by three counting passes over 11, 11 and 10 bits; *n_above gets the
 * number of keys that are larger. */
static uint32_t kth_key(const float *score, uint32_t n, uint32_t k, uint32_t *n_above)
{
    static const struct { unsigned shift, bits; } pass[3] = { { 21, 11 }, { 10, 11 }, { 0, 10 } };
    uint32_t count[2048], prefix = 0, mask = 0, above = 0;

    for (int p = 0; p < 3; p++) {
        const uint32_t n_bins = 1u << pass[p].bits;
        uint32_t       bin = n_bins;

        memset(count, 0, n_bins * sizeof count[0]);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t key = order_key(score[i]);
            if ((key & mask) == prefix) count[(key >> pass[p].shift) & (n_bins - 1)]++;
        }
        while (above + count[bin - 1] < k) above += count[--bin];
        bin--;
        prefix |= bin << pass[p].shift;
        mask |= (n_bins - 1) << pass[p].shift;
    }
    *n_above = above;
    return prefix;
}

/* Ascending row numbers of the k largest scores; equal scores go to the lower rows. */
static void choose(int32_t *chosen, const float *score, uint32_t n, uint32_t k)
{
    uint32_t       n_above, n_out = 0;
    const uint32_t key = kth_key(score, n, k, &n_above);
    uint32_t       n_equal = k - n_above;

    for (uint32_t i = 0; i < n && n_out < k; i++) {
        const uint32_t this_key = order_key(score[i]);
        if (this_key > key) {
            chosen[n_out++] = (int32_t)i;
        } else if (this_key == key && n_equal > 0) {
            chosen[n_out++] = (int32_t)i;
            n_equal--;
        }
    }
}

/* ---- the operation ----------------------------------------------------------------------------- */

static uint32_t visible(const ds4_dev *dev, const ds4_op_select *op, uint32_t t)
{
    return (dev->batch->pos[t] + 1) / dev->batch->kv->layer[op->layer].ratio;
}

static int32_t *chosen_of(const ds4_op_select *op, uint32_t t)
{
    return (int32_t *)(void *)cpu_at(op->chosen) + (uint64_t)t * op->top_k;
}

static void select_tokens(void *ctx, uint32_t member, uint32_t n_members)
{
    const index_job     *job = ctx;
    const ds4_op_select *op = job->op;
    float               *score = job->dev->own[member].scores;

    for (uint32_t t = member; t < job->dev->batch->n_tokens; t += n_members) {
        const uint32_t n = visible(job->dev, op, t);
        if (n <= op->top_k) continue;
        score_rows(job->dev, op, t, score, 0, n);
        choose(chosen_of(op, t), score, n, op->top_k);
    }
}

static void score_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const index_job     *job = ctx;
    const ds4_op_select *op = job->op;
    uint64_t             from, to;

    ds4_team_share(visible(job->dev, op, job->token), 64, member, n_members, &from, &to);
    score_rows(job->dev, op, job->token, job->dev->own[0].scores, from, to);
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
    index_job      job = { .dev = dev, .op = op };
    const uint32_t n = dev->batch->n_tokens;

    scale_weights(dev, op);
    if (n >= 2 * ds4_team_size(dev->team)) {
        ds4_team_run(dev->team, select_tokens, &job);
        return;
    }
    for (uint32_t t = 0; t < n; t++) {
        const uint32_t n_rows = visible(dev, op, t);
        if (n_rows <= op->top_k) continue;
        job.token = t;
        cpu_run(dev, score_share, &job, n_rows > 128 ? n_rows : 1);
        choose(chosen_of(op, t), dev->own[0].scores, n_rows, op->top_k);
    }
}
