/* cpu_sample.c - tokens from rows of logits; whoever is free takes the next row. */
#include "backend/cpu/cpu_ops.h"

#include "backend/pick.h"

#include <stdatomic.h>

typedef struct sample_job {
    ds4_dev             *dev;
    const ds4_op_sample *op;
    atomic_uint          next;      /* row that nobody has taken */
} sample_job;

static void sample_share(void *ctx, uint32_t member, uint32_t n_members)
{
    sample_job          *job = ctx;
    const ds4_op_sample *op = job->op;
    const ds4_batch     *batch = job->dev->batch;
    ds4_picked          *picked = (ds4_picked *)(void *)cpu_at(op->picked);

    (void)n_members;
    for (unsigned i; (i = atomic_fetch_add(&job->next, 1)) < batch->n_logit_rows;) {
        if (!batch->pick[i]) continue;
        if (!ds4_pick_one(cpu_row(op->logits, i), op->n_vocab, batch->pick[i],
                          job->dev->own[member].candidates, &picked[i])) {
            picked[i].token = DS4_PICKED_NOT_FINITE;
        }
    }
}

void cpu_sample(ds4_dev *dev, const ds4_op_sample *op)
{
    sample_job job = { .dev = dev, .op = op };

    if (dev->batch->pick) cpu_run(dev, sample_share, &job, dev->batch->n_logit_rows);
}
