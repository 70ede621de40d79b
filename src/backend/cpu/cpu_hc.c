/* cpu_hc.c - hyper-connections, norms, embedding and angles: what happens to each token
 * on its own. Source: docs/MODEL.md sections 3.1 to 3.5 and 3.11. */
#include "backend/cpu/cpu_ops.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

enum { MAX_HC = 8 };        /* streams; the shape reader refuses more */

typedef struct token_job {
    ds4_dev    *dev;
    const void *op;
} token_job;

static void each_token(ds4_dev *dev, ds4_team_fn *fn, const void *op, uint64_t n)
{
    token_job job = { dev, op };
    cpu_run(dev, fn, &job, n);
}

/* ---- angles and embedding ------------------------------------------------------------------ */

static void angles_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job     *job = ctx;
    const ds4_op_angles *op = job->op;
    const ds4_batch     *batch = job->dev->batch;
    const float         *freq = cpu_floats(op->freq);
    const uint32_t       half = op->n_rot / 2;
    uint64_t             from, to;

    ds4_team_share(batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t++) {
        float *out = cpu_row(op->out, (uint32_t)t);
        for (uint32_t i = 0; i < half; i++) cpu_angle(&out[i], &out[half + i], batch->pos[t], freq[i]);
    }
}

void cpu_angles(ds4_dev *dev, const ds4_op_angles *op)
{
    each_token(dev, angles_share, op, dev->batch->n_tokens);
}

static void embed_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job    *job = ctx;
    const ds4_op_embed *op = job->op;
    const ds4_batch    *batch = job->dev->batch;
    const uint32_t      n = op->table.n_in;
    const uint64_t      row_bytes = ds4_row_bytes(op->table.dtype, n);
    const uint8_t      *table = cpu_weights(&op->table, 0);
    uint64_t            from, to;

    ds4_team_share(batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t++) {
        float *h = cpu_row(op->h, (uint32_t)t);
        job->dev->k.decode[op->table.dtype](h, table + (uint64_t)batch->token[t] * row_bytes, n);
        for (uint32_t s = 1; s < op->n_hc; s++) memcpy(h + (size_t)s * n, h, n * sizeof *h);
    }
}

/* A row brings its neighbours into memory, 64 KiB as a rule. */
void cpu_embed(ds4_dev *dev, const ds4_op_embed *op)
{
    each_token(dev, embed_share, op, dev->batch->n_tokens);
    if (op->table.use == DS4_USE_ROWS) {
        const uint64_t row_bytes = ds4_row_bytes(op->table.dtype, op->table.n_in);
        ds4_map_forget(cpu_weights(&op->table, 0), op->table.n_out * row_bytes);
    }
}

/* ---- hyper-connections ---------------------------------------------------------------------- */

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* 1 / rms of all streams together: one norm over n_hc * n_embd values. */
static float inverse_rms(const ds4_kernels *k, const float *h, size_t n, float eps)
{
    return 1.0f / sqrtf(k->sum_squares(h, n) / (float)n + eps);
}

static void softmax_rows(float *a, uint32_t n, float eps)
{
    for (uint32_t i = 0; i < n; i++) {
        float *row = a + i * n, top = row[0], sum = 0.0f;
        for (uint32_t j = 1; j < n; j++) top = fmaxf(top, row[j]);
        for (uint32_t j = 0; j < n; j++) sum += row[j] = expf(row[j] - top);
        for (uint32_t j = 0; j < n; j++) row[j] = row[j] / sum + eps;
    }
}

static void normalize_rows(float *a, uint32_t n, float eps)
{
    for (uint32_t i = 0; i < n; i++) {
        float sum = eps;
        for (uint32_t j = 0; j < n; j++) sum += a[i * n + j];
        for (uint32_t j = 0; j < n; j++) a[i * n + j] /= sum;
    }
}

static void normalize_columns(float *a, uint32_t n, float eps)
{
    for (uint32_t j = 0; j < n; j++) {
        float sum = eps;
        for (uint32_t i = 0; i < n; i++) sum += a[i * n + j];
        for (uint32_t i = 0; i < n; i++) a[i * n + j] /= sum;
    }
}

/* Towards a doubly stochastic matrix; the first round normalises rows by softmax. */
static void sinkhorn(float *a, uint32_t n, uint32_t n_iters, float eps)
{
    softmax_rows(a, n, eps);
    normalize_columns(a, n, eps);
    for (uint32_t i = 1; i < n_iters; i++) {
        normalize_rows(a, n, eps);
        normalize_columns(a, n, eps);
    }
}

static void enter_one(const ds4_kernels *k, const ds4_op_hc_enter *op, uint32_t t)
{
    const uint32_t n = op->n_hc;
    const float   *h = cpu_row(op->h, t), *m = cpu_row(op->m, t);
    const float   *scale = cpu_floats(op->scale), *base = cpu_floats(op->base);
    float         *post = cpu_row(op->gate, t), *comb = post + n, *a = cpu_row(op->a, t);
    const float    r = inverse_rms(k, h, (size_t)n * op->n_embd, op->norm_eps);
    float          pre[MAX_HC];

    for (uint32_t i = 0; i < n; i++) {
        pre[i] = sigmoid(m[i] * r * scale[0] + base[i]) + op->hc_eps;
        post[i] = 2.0f * sigmoid(m[n + i] * r * scale[1] + base[n + i]);
    }
    for (uint32_t i = 0; i < n * n; i++) comb[i] = m[2 * n + i] * r * scale[2] + base[2 * n + i];
    sinkhorn(comb, n, op->n_iters, op->hc_eps);
    k->hc_mix(a, h, pre, n, op->n_embd);
    k->rms_norm(a, a, cpu_floats(op->norm), op->n_embd, op->norm_eps);
}

static void enter_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job *job = ctx;
    uint64_t         from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t++) enter_one(&job->dev->k, job->op, (uint32_t)t);
}

void cpu_hc_enter(ds4_dev *dev, const ds4_op_hc_enter *op)
{
    each_token(dev, enter_share, op, dev->batch->n_tokens);
}

/* Items are stretches of tokens' rows: one token alone is worth sharing. */
static void leave_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job       *job = ctx;
    const ds4_op_hc_leave *op = job->op;
    const uint32_t         n = op->n_embd, per_row = cpu_stretches(n);
    uint64_t               from, to;

    ds4_team_share((uint64_t)job->dev->batch->n_tokens * per_row, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const uint32_t t = (uint32_t)(i / per_row), at = (uint32_t)(i % per_row) * CPU_STRETCH;
        const float   *gate = cpu_row(op->gate, t);
        job->dev->k.hc_leave(cpu_row(op->h_new, t) + at, cpu_row(op->h, t) + at, cpu_row(op->y, t) + at, gate,
                             gate + op->n_hc, op->n_hc, n - at < CPU_STRETCH ? n - at : CPU_STRETCH, n);
    }
}

void cpu_hc_leave(ds4_dev *dev, const ds4_op_hc_leave *op)
{
    each_token(dev, leave_share, op, (uint64_t)dev->batch->n_tokens * cpu_stretches(op->n_embd));
}

static void merge_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job       *job = ctx;
    const ds4_op_hc_merge *op = job->op;
    const ds4_kernels     *k = &job->dev->k;
    const float           *base = cpu_floats(op->base), scale = cpu_floats(op->scale)[0];
    const uint32_t        *row = job->dev->batch->logit_row;
    uint64_t               from, to;

    ds4_team_share(job->dev->batch->n_logit_rows, 1, member, n_members, &from, &to);
    for (uint64_t i = from; i < to; i++) {
        const float *h = cpu_row(op->h, row[i]), *m = cpu_row(op->m, row[i]);
        const float  r = inverse_rms(k, h, (size_t)op->n_hc * op->n_embd, op->norm_eps);
        float       *x = cpu_row(op->x, (uint32_t)i), mix[MAX_HC];

        for (uint32_t s = 0; s < op->n_hc; s++) mix[s] = sigmoid(m[s] * r * scale + base[s]) + op->hc_eps;
        k->hc_mix(x, h, mix, op->n_hc, op->n_embd);
        k->rms_norm(x, x, cpu_floats(op->norm), op->n_embd, op->norm_eps);
    }
}

void cpu_hc_merge(ds4_dev *dev, const ds4_op_hc_merge *op)
{
    each_token(dev, merge_share, op, dev->batch->n_logit_rows);
}

/* ---- norms ------------------------------------------------------------------------------------ */

static void norm_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job   *job = ctx;
    const ds4_op_norm *op = job->op;
    uint64_t           from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint32_t t = (uint32_t)from; t < to; t++) {
        job->dev->k.rms_norm(cpu_row(op->y, t), cpu_row(op->x, t), cpu_floats(op->w), op->n, op->eps);
    }
}

void cpu_norm(ds4_dev *dev, const ds4_op_norm *op)
{
    each_token(dev, norm_share, op, dev->batch->n_tokens);
}

/* ---- steering --------------------------------------------------------------------------------- */

static void steer_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const token_job    *job = ctx;
    const ds4_op_steer *op = job->op;
    const float        *v = cpu_floats(op->v), factor = cpu_floats(op->factor)[0];
    uint64_t            from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint32_t t = (uint32_t)from; t < to; t++) {
        float      *y = cpu_row(op->y, t);
        const float by = factor * job->dev->k.dot_f32(v, y, op->n);
        for (uint32_t i = 0; i < op->n; i++) y[i] -= by * v[i];
    }
}

void cpu_steer(ds4_dev *dev, const ds4_op_steer *op)
{
    if (cpu_floats(op->factor)[0] == 0.0f) return;
    each_token(dev, steer_share, op, dev->batch->n_tokens);
}
