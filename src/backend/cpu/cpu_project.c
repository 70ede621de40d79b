/* cpu_project.c - weight matrices times activations.
 *
 * Activations are encoded once for each form that the matrices of an operation want,
 * then every team member takes a share of each matrix's rows. The value of an output
 * depends on its own weight row and activation row only. */
#include "backend/cpu/cpu_local.h"

#include <string.h>

/* Blocks that keep a slab of weights and the activations it meets inside the cache. */
enum { ROWS_AT_ONCE = 64, TOKENS_AT_ONCE = 32, GRAIN = 8 };

void cpu_encode(const ds4_kernels *k, ds4_act act, uint8_t *out, const float *x, uint32_t n)
{
    switch (act) {
    case DS4_ACT_F32:  memcpy(out, x, (size_t)n * sizeof *x); return;
    case DS4_ACT_Q32:  k->quantize_q32((ds4_q32 *)(void *)out, x, n); return;
    case DS4_ACT_Q256: k->quantize_q256((ds4_q256 *)(void *)out, x, n); return;
    }
}

/* Integer weight types against float activations: decode a row, multiply as F32. */
static void multiply_precise(const ds4_dev *dev, const cpu_slab *s, uint64_t from, uint64_t to, float *row)
{
    for (uint64_t r = from; r < to; r++) {
        dev->k.decode[s->dtype](row, s->w + r * s->row_bytes, s->n_in);
        dev->k.matmul[DS4_F32](s->y + r, s->y_stride, row, 0, 1, s->x, s->x_stride, s->n_tokens, s->n_in);
    }
}

void cpu_multiply(const ds4_dev *dev, const cpu_slab *s, uint64_t from, uint64_t to, float *row)
{
    if (s->precise && ds4_act_of(s->dtype) != DS4_ACT_F32) {
        multiply_precise(dev, s, from, to, row);
        return;
    }
    ds4_matmul_fn *matmul = dev->k.matmul[s->dtype];
    for (uint64_t r = from; r < to; r += ROWS_AT_ONCE) {
        const uint64_t n_rows = to - r < ROWS_AT_ONCE ? to - r : ROWS_AT_ONCE;
        for (uint32_t t = 0; t < s->n_tokens; t += TOKENS_AT_ONCE) {
            const uint32_t left = s->n_tokens - t;
            matmul(s->y + t * s->y_stride + r, s->y_stride, s->w + r * s->row_bytes, s->row_bytes, n_rows,
                   s->x + t * s->x_stride, s->x_stride, left < TOKENS_AT_ONCE ? left : TOKENS_AT_ONCE, s->n_in);
        }
    }
}

/* ---- one operation ---------------------------------------------------------------------- */

typedef struct project_job {
    ds4_dev              *dev;
    const ds4_op_project *op;
    uint32_t              n_rows;
    ds4_act               act[DS4_MAX_PROJECT];
    const uint8_t        *x[DS4_MAX_PROJECT];           /* what each part multiplies */
    uint64_t              x_stride[DS4_MAX_PROJECT];    /* bytes */
    uint8_t              *encoded[DS4_MAX_PROJECT];     /* where this part's input is made; NULL: not here */
} project_job;

static bool same_input(const ds4_product *a, const ds4_product *b)
{
    return a->x.at.buf == b->x.at.buf && a->x.at.off == b->x.at.off && a->w.n_in == b->w.n_in;
}

/* Give every part its input: float rows as they lie, or an encoded copy that parts with
 * the same input and form share. */
static void plan_inputs(project_job *job)
{
    const ds4_op_project *op = job->op;
    uint8_t              *next = job->dev->act;

    for (uint32_t i = 0; i < op->n; i++) {
        const ds4_product *p = &op->part[i];
        uint32_t           j = 0;

        job->act[i] = p->precise ? DS4_ACT_F32 : ds4_act_of(p->w.dtype);
        job->encoded[i] = NULL;
        if (job->act[i] == DS4_ACT_F32) {
            job->x[i] = cpu_at(p->x.at);
            job->x_stride[i] = (uint64_t)p->x.stride * sizeof(float);
            continue;
        }
        while (j < i && !(job->act[j] == job->act[i] && same_input(&op->part[j], p))) j++;
        if (j == i) {
            job->encoded[i] = next;
            job->x_stride[i] = ds4_act_bytes(job->act[i], p->w.n_in);
            next += job->n_rows * job->x_stride[i];
        }
        job->x[i] = j == i ? job->encoded[i] : job->x[j];
        job->x_stride[i] = j == i ? job->x_stride[i] : job->x_stride[j];
    }
}

static void encode_inputs(void *ctx, uint32_t member, uint32_t n_members)
{
    const project_job *job = ctx;
    uint64_t           from, to;

    ds4_team_share(job->n_rows, 1, member, n_members, &from, &to);
    for (uint32_t i = 0; i < job->op->n; i++) {
        const ds4_product *p = &job->op->part[i];
        for (uint64_t t = from; job->encoded[i] && t < to; t++) {
            cpu_encode(&job->dev->k, job->act[i], job->encoded[i] + t * job->x_stride[i],
                       cpu_row(p->x, (uint32_t)t), p->w.n_in);
        }
    }
}

static void multiply_share(void *ctx, uint32_t member, uint32_t n_members)
{
    const project_job *job = ctx;

    for (uint32_t i = 0; i < job->op->n; i++) {
        const ds4_product *p = &job->op->part[i];
        const cpu_slab     slab = {
            .w = cpu_at(p->w.at), .dtype = p->w.dtype, .n_in = p->w.n_in, .row_bytes = p->w.row_bytes,
            .x = job->x[i], .x_stride = job->x_stride[i], .n_tokens = job->n_rows,
            .y = cpu_floats(p->y.at), .y_stride = p->y.stride, .precise = p->precise,
        };
        uint64_t from, to;
        ds4_team_share(p->w.n_out, GRAIN, member, n_members, &from, &to);
        cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
    }
}

void cpu_project(ds4_dev *dev, const ds4_op_project *op)
{
    project_job job = { .dev = dev, .op = op, .n_rows = op->n_rows ? op->n_rows : dev->batch->n_tokens };
    bool        any = false;

    plan_inputs(&job);
    for (uint32_t i = 0; i < op->n; i++) any |= job.encoded[i] != NULL;
    if (any) cpu_run(dev, encode_inputs, &job, job.n_rows);
    ds4_team_run(dev->team, multiply_share, &job);
}
