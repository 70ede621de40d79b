/* cpu_draft.c - what only a drafter with weights needs: streams summed, attention of a block that sees
 * itself whole, and the next token of a chain of guesses. See docs/SPECULATION.md, DSpark. */
#include "backend/cpu/cpu_ops.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MAX_HC = 8 };        /* streams; the shape reader refuses more */

typedef struct draft_job {
    ds4_dev    *dev;
    const void *op;
} draft_job;

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* ---- streams ------------------------------------------------------------------------------------- */

static void sum_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const draft_job     *job = ctx;
    const ds4_op_hc_sum *op = job->op;
    const ds4_kernels   *k = &job->dev->k;
    const uint32_t       n = op->n_hc * op->n_embd;
    uint64_t             from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint32_t t = (uint32_t)from; t < to; t++) {
        const float *h = cpu_row(op->h, t);
        float        mix[MAX_HC];
        for (uint32_t s = 0; s < op->n_hc; s++) mix[s] = 1.0f / (float)op->n_hc;
        if (op->m.at.buf) {
            const float *m = cpu_row(op->m, t), *base = cpu_floats(op->base);
            const float  scale = cpu_floats(op->scale)[0];
            const float  r = 1.0f / sqrtf(k->sum_squares(h, n) / (float)n + op->norm_eps);
            for (uint32_t s = 0; s < op->n_hc; s++) mix[s] = sigmoid(m[s] * r * scale + base[s]) + op->hc_eps;
        }
        k->hc_mix(cpu_row(op->x, t), h, mix, op->n_hc, op->n_embd);
    }
}

void cpu_hc_sum(ds4_dev *dev, const ds4_op_hc_sum *op)
{
    draft_job job = { dev, op };
    cpu_run(dev, sum_share, &job, dev->batch->n_tokens);
}

/* ---- attention of a block -------------------------------------------------------------------------- */

static void unpack(const ds4_dev *dev, float *x, const uint8_t *row)
{
    const ds4_kv_layout *kv = dev->batch->kv;

    if (kv->form == DS4_KV_FLOATS) memcpy(x, row, (size_t)kv->row_bytes);
    else dev->k.kv_unpack(x, row, kv->n_nope, kv->n_rot);
}

/* Unpack the rows that all tokens of a span see: its window, oldest first, then its own. Returns how many. */
static uint32_t unpack_block(const ds4_dev *dev, const ds4_op_attend_block *op, const ds4_span *span,
                             const cpu_own *own)
{
    const ds4_kv_layout *kv = dev->batch->kv;
    const ds4_kv_rows   *ring = &kv->layer[op->layer].raw;
    const uint32_t       oldest = span->pos > kv->n_window ? span->pos - kv->n_window : 0;
    uint8_t              room[CPU_MAX_RECORD];
    uint32_t             n = 0;

    assert(span->n <= DS4_MAX_BLOCK);
    for (uint32_t pos = oldest > span->window_from ? oldest : span->window_from; pos < span->pos; pos++,
         n++) {
        own->row_at[n] = own->rows + (uint64_t)n * op->n_head;
        unpack(dev, own->rows + (uint64_t)n * op->n_head,
               cpu_kv_rows(ring, cpu_at(span->tail), pos % ring->n_rows, 1, room));
    }
    for (uint32_t i = 0; i < span->n; i++, n++) {
        own->row_at[n] = own->rows + (uint64_t)n * op->n_head;
        unpack(dev, own->rows + (uint64_t)n * op->n_head,
               cpu_at(op->rows) + (span->first + i) * kv->row_bytes);
    }
    return n;
}

static void rotate_back(const ds4_dev *dev, const ds4_op_attend_block *op, uint32_t t, uint32_t from,
                        uint32_t to)
{
    const uint32_t n = op->n_head, half = op->n_rot / 2;
    const float   *angles = cpu_row(op->angles, t);
    float          back[256];           /* negated sines; the shape reader keeps n_rot <= 512 */

    for (uint32_t i = 0; i < half; i++) back[i] = -angles[half + i];
    for (uint32_t h = from; h < to; h++) {
        dev->k.rope(cpu_row(op->out, t) + (size_t)(h + 1) * n - op->n_rot, angles, back, op->n_rot);
    }
}

/* Items are heads: each member unpacks a span's rows once, for its heads of all its tokens. */
static void block_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const draft_job           *job = ctx;
    const ds4_dev             *dev = job->dev;
    const ds4_op_attend_block *op = job->op;
    const cpu_own             *own = &dev->own[member];
    const uint32_t             n = op->n_head;
    uint64_t                   from, to;

    ds4_team_share(op->n_heads, 1, member, n_members, &from, &to);
    if (from == to) return;
    for (uint32_t i = 0; i < dev->batch->n_spans; i++) {
        const ds4_span *span = &dev->batch->span[i];
        const uint32_t  n_rows = unpack_block(dev, op, span, own);
        for (uint32_t t = span->first; t < span->first + span->n; t++) {
            dev->k.attend(cpu_row(op->out, t) + from * n, cpu_row(op->q, t) + from * n, own->row_at, n_rows,
                          (uint32_t)(to - from), n, cpu_floats(op->sink) + from, op->scale, own->scores);
            rotate_back(dev, op, t, (uint32_t)from, (uint32_t)to);
        }
    }
}

void cpu_attend_block(ds4_dev *dev, const ds4_op_attend_block *op)
{
    draft_job job = { dev, op };
    cpu_run(dev, block_share, &job, op->n_heads);
}

/* ---- guesses ----------------------------------------------------------------------------------------- */

static ds4_guessed guess_one(const ds4_dev *dev, const ds4_op_guess *op, uint32_t t)
{
    const uint32_t r = dev->batch->logit_row[t];
    const float   *logits = cpu_row(op->logits, r), *bias = cpu_row(op->bias, t);
    const float   *w = cpu_floats(op->confidence);
    float          best = logits[0] + bias[0], sum = 0.0f * best;   /* 0 * x is NaN for what is not finite */
    int32_t        token = 0;

    for (uint32_t i = 1; i < op->n_vocab; i++) {
        const float v = logits[i] + bias[i];
        sum += 0.0f * v;
        if (v > best) {
            best = v;
            token = (int32_t)i;
        }
    }
    const float c = dev->k.dot_f32(w, cpu_row(op->x, r), op->n_embd)
                  + dev->k.dot_f32(w + op->n_embd, cpu_row(op->m, t), op->n_rank) + op->shift;
    if (!(sum == 0.0f) || !(0.0f * c == 0.0f)) return (ds4_guessed){ DS4_PICKED_NOT_FINITE, 0.0f };
    return (ds4_guessed){ token, sigmoid(c) };
}

static void guess_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const draft_job    *job = ctx;
    const ds4_op_guess *op = job->op;
    ds4_guessed        *out = (ds4_guessed *)(void *)cpu_at(op->guessed);
    uint64_t            from, to;

    ds4_team_share(job->dev->batch->n_tokens, 1, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t++) out[t] = guess_one(job->dev, op, (uint32_t)t);
}

void cpu_guess(ds4_dev *dev, const ds4_op_guess *op)
{
    draft_job job = { dev, op };
    cpu_run(dev, guess_share, &job, dev->batch->n_tokens);
}
