/* cpu_project.c - weight matrices times activations.
 *
 * Activations are encoded once for each form that the matrices of an operation want,
 * then every team member takes a share of each matrix's rows. The value of an output
 * depends on its own weight row and activation row only. */
#include "backend/cpu/cpu_ops.h"

enum {
    FEW_ROWS = 32,              /* too few to share when there are many tokens */
    FEW_TOKENS = 4,             /* of long rows: all meet the matrix while they are in a cache */
    ENCODE_VALUES = 16384,      /* fewer are not worth waking the team */
};

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

/* Items are pairs of a part and an activation row. */
static void encode_inputs(void *ctx, uint32_t member, uint32_t n_members)
{
    const project_job *job = ctx;
    uint64_t           from, to;

    ds4_team_share((uint64_t)job->op->n * job->n_rows, 1, member, n_members, &from, &to);
    for (uint64_t item = from; item < to; item++) {
        const uint32_t     i = (uint32_t)(item / job->n_rows), t = (uint32_t)(item % job->n_rows);
        const ds4_product *p = &job->op->part[i];
        if (!job->encoded[i]) continue;
        cpu_encode(&job->dev->k, job->act[i], job->encoded[i] + t * job->x_stride[i],
                   cpu_row(p->x, t), p->w.n_in);
    }
}

static void encode(project_job *job)
{
    const ds4_op_project *op = job->op;
    uint64_t              n_values = 0;

    for (uint32_t i = 0; i < op->n; i++) {
        if (job->encoded[i]) n_values += (uint64_t)job->n_rows * op->part[i].w.n_in;
    }
    if (n_values == 0) return;
    cpu_run(job->dev, encode_inputs, job, n_values < ENCODE_VALUES ? 1 : op->n * job->n_rows);
}

/* Part i with n_tokens activation rows from t on. */
static cpu_slab slab_of(const project_job *job, uint32_t i, uint32_t t, uint32_t n_tokens)
{
    const ds4_product *p = &job->op->part[i];

    return (cpu_slab){
        .w = cpu_at(p->w.at), .dtype = p->w.dtype, .n_in = p->w.n_in, .row_bytes = p->w.row_bytes,
        .x = job->x[i] + t * job->x_stride[i], .x_stride = job->x_stride[i], .n_tokens = n_tokens,
        .y = cpu_row(p->y, t), .y_stride = p->y.stride, .precise = p->precise,
    };
}

static void multiply_part(void *ctx, uint32_t i_part, uint64_t from, uint64_t to, uint32_t member)
{
    const project_job *job = ctx;
    const cpu_slab     slab = slab_of(job, i_part, 0, job->n_rows);

    cpu_multiply(job->dev, &slab, from, to, job->dev->own[member].row);
}

/* Few rows and many tokens, as in hyper-connections: each member takes some of the tokens. */
static void multiply_tokens(void *ctx, uint32_t member, uint32_t n_members)
{
    const project_job *job = ctx;
    uint64_t           from, to;

    ds4_team_share(job->n_rows, FEW_TOKENS, member, n_members, &from, &to);
    for (uint64_t t = from; t < to; t += FEW_TOKENS) {
        const uint64_t left = to - t, n = left < FEW_TOKENS ? left : FEW_TOKENS;
        const cpu_slab slab = slab_of(job, 0, (uint32_t)t, (uint32_t)n);
        cpu_multiply(job->dev, &slab, 0, job->op->part[0].w.n_out, job->dev->own[member].row);
    }
}

static bool shares_tokens(const project_job *job)
{
    return job->op->n == 1 && job->op->part[0].w.n_out <= FEW_ROWS
        && job->n_rows >= FEW_TOKENS * ds4_team_size(job->dev->team);
}

void cpu_project(ds4_dev *dev, const ds4_op_project *op)
{
    const uint32_t n_rows = cpu_project_rows(dev->batch, op->is_head);
    project_job    job = { .dev = dev, .op = op, .n_rows = n_rows };
    cpu_part       parts[DS4_MAX_PROJECT];

    if (n_rows == 0) return;
    plan_inputs(&job);
    encode(&job);
    cpu_mark(dev, "project.encode", 0);
    if (shares_tokens(&job)) {
        ds4_team_run(dev->team, multiply_tokens, &job);
        return;
    }
    cpu_step_parts(dev->step, n_rows, parts);
    cpu_look_ahead(dev, NULL, 0);
    cpu_run_parts(dev, parts, op->n, multiply_part, &job);
}
