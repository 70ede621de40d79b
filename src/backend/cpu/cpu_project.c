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
    ds4_dev        *dev;
    const cpu_step *step;
    uint32_t        n_rows;
    const uint8_t  *x[CPU_MAX_PARTS];           /* what each part multiplies */
    uint64_t        x_stride[CPU_MAX_PARTS];    /* bytes */
    uint8_t        *encoded[CPU_MAX_PARTS];     /* where this part's input is made; NULL: not here */
} project_job;

/* Give every part its input: float rows as they lie, or an encoded copy that parts with
 * the same input and form share. */
static void plan_inputs(project_job *job)
{
    uint8_t *next = job->dev->act;

    for (uint32_t i = 0; i < job->step->n_parts; i++) {
        const cpu_input *in = &job->step->inputs[i];

        job->encoded[i] = NULL;
        if (in->act == DS4_ACT_F32) {
            job->x[i] = cpu_at(in->x.at);
            job->x_stride[i] = (uint64_t)in->x.stride * sizeof(float);
            continue;
        }
        if (in->same == i) {
            job->x[i] = job->encoded[i] = next;
            job->x_stride[i] = ds4_act_bytes(in->act, in->n_in);
            next += job->n_rows * job->x_stride[i];
        }
        job->x[i] = job->x[in->same];
        job->x_stride[i] = job->x_stride[in->same];
    }
}

/* Items are pairs of a part and an activation row. */
static void encode_inputs(void *ctx, uint32_t member, uint32_t n_members)
{
    const project_job *job = ctx;
    uint64_t           from, to;

    ds4_team_share((uint64_t)job->step->n_parts * job->n_rows, 1, member, n_members, &from, &to);
    for (uint64_t item = from; item < to; item++) {
        const uint32_t   i = (uint32_t)(item / job->n_rows), t = (uint32_t)(item % job->n_rows);
        const cpu_input *in = &job->step->inputs[i];
        if (!job->encoded[i]) continue;
        cpu_encode(&job->dev->k, in->act, job->encoded[i] + t * job->x_stride[i], cpu_row(in->x, t),
                   in->n_in);
    }
}

static void encode(project_job *job)
{
    uint64_t n_values = 0;

    for (uint32_t i = 0; i < job->step->n_parts; i++) {
        if (job->encoded[i]) n_values += (uint64_t)job->n_rows * job->step->inputs[i].n_in;
    }
    if (n_values == 0) return;
    cpu_run(job->dev, encode_inputs, job, n_values < ENCODE_VALUES ? 1 : job->step->n_parts * job->n_rows);
}

/* Part i with n_tokens activation rows from t on. */
static cpu_slab slab_of(const project_job *job, uint32_t i, uint32_t t, uint32_t n_tokens)
{
    const cpu_part  *p = &job->step->parts[i];
    const cpu_input *in = &job->step->inputs[i];

    return (cpu_slab){
        .w = p->w, .dtype = p->dtype, .n_in = in->n_in, .row_bytes = p->row_bytes,
        .x = job->x[i] + t * job->x_stride[i], .x_stride = job->x_stride[i], .n_tokens = n_tokens,
        .y = cpu_row(in->y, t), .y_stride = in->y.stride, .precise = in->precise,
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
        cpu_multiply(job->dev, &slab, 0, job->step->parts[0].n_rows, job->dev->own[member].row);
    }
}

static bool shares_tokens(const project_job *job)
{
    return job->step->n_parts == 1 && job->step->parts[0].n_rows <= FEW_ROWS
        && job->n_rows >= FEW_TOKENS * ds4_team_size(job->dev->team);
}

void cpu_project(ds4_dev *dev, const ds4_op_project *op)
{
    const uint32_t n_rows = cpu_project_rows(dev->batch, op->is_head);
    project_job    job = { .dev = dev, .step = dev->step, .n_rows = n_rows };
    cpu_part       parts[CPU_MAX_PARTS];

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
    cpu_run_parts(dev, parts, dev->step->n_parts, multiply_part, &job);
}
