/* cpu_program.c - a list of operations made ready, and run.
 *
 * The weights that each operation reads are the same in every step: they are gathered once,
 * for looking ahead (cpu_ahead.c) and for the bytes that timing tells. */
#include "backend/cpu/cpu_ops.h"

#include "base/clock.h"

#include <stdlib.h>

struct ds4_program {
    const ds4_op *op;               /* [n] lent */
    uint32_t      n;
    cpu_step     *step;             /* [n] */
    cpu_part     *parts;            /* of all steps */
    cpu_input    *inputs;
};

/* ---- compiling ----------------------------------------------------------------------------- */

static cpu_part part_of(const ds4_matrix *w, uint32_t i_mat)
{
    return (cpu_part){ .w = cpu_weights(w, i_mat), .n_rows = w->n_out, .dtype = w->dtype,
                       .row_bytes = ds4_row_bytes(w->dtype, w->n_in) };
}

static ds4_rows moved(ds4_rows rows, uint64_t n_floats)
{
    rows.at.off += n_floats * sizeof(float);
    return rows;
}

static bool is_same(const cpu_input *a, const cpu_input *b)
{
    return a->act == b->act && a->x.at.buf == b->x.at.buf && a->x.at.off == b->x.at.off && a->n_in == b->n_in;
}

static void add_product(cpu_step *step, const ds4_product *p)
{
    for (uint32_t m = 0; m < p->w.n_mats; m++) {
        const uint32_t i = step->n_parts++;
        cpu_input     *in = &step->inputs[i];

        step->parts[i] = part_of(&p->w, m);
        step->weight_bytes += step->parts[i].n_rows * step->parts[i].row_bytes;
        *in = (cpu_input){ .x = moved(p->x, (uint64_t)m * p->x_step),
                           .y = moved(p->y, (uint64_t)m * p->y_step),
                           .n_in = p->w.n_in, .precise = p->precise,
                           .act = p->precise ? DS4_ACT_F32 : ds4_act_of(p->w.dtype) };
        while (in->same < i && !is_same(&step->inputs[in->same], in)) in->same++;
    }
}

static void add_project(cpu_step *step, const ds4_op_project *op)
{
    for (uint32_t i = 0; i < op->n; i++) add_product(step, &op->part[i]);
    step->is_head = op->is_head;
}

/* The shared expert is known before the routed ones are chosen. Lines of its own type are cut
 * alike with and without them. */
static void add_experts(cpu_step *step, const ds4_op_experts *op)
{
    step->is_chosen = true;
    if (op->shared_gate.dtype == op->up.dtype) return;
    step->parts[0] = part_of(&op->shared_gate, 0);
    step->parts[1] = part_of(&op->shared_up, 0);
    step->n_parts = 2;
}

/* Matrices of an operation that are known before it runs. */
static uint32_t count_parts(const ds4_op *op)
{
    uint32_t n = 0;

    if (op->kind == DS4_OP_EXPERTS) return 2;
    if (op->kind != DS4_OP_PROJECT) return 0;
    for (uint32_t i = 0; i < op->project.n; i++) n += op->project.part[i].w.n_mats;
    return n;
}

static ds4_status check(const ds4_op *op, ds4_err *err)
{
    if ((unsigned)op->kind >= DS4_N_OPS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %d (%s) is unknown to the CPU backend",
                        (int)op->kind, op->name);
    }
    if (count_parts(op) > CPU_MAX_PARTS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s multiplies %u matrices, expected up to %d",
                        op->name, count_parts(op), CPU_MAX_PARTS);
    }
    return DS4_OK;
}

static ds4_program *new_program(const ds4_op *ops, uint32_t n, uint32_t n_parts)
{
    ds4_program *p = calloc(1, sizeof *p);

    if (!p) return NULL;
    *p = (ds4_program){ .op = ops, .n = n, .step = calloc(n + 1, sizeof *p->step),
                        .parts = calloc(n_parts + 1, sizeof *p->parts),
                        .inputs = calloc(n_parts + 1, sizeof *p->inputs) };
    if (p->step && p->parts && p->inputs) return p;
    cpu_drop_program(NULL, p);
    return NULL;
}

ds4_status cpu_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err)
{
    const cpu_sizes sizes = cpu_sizes_of(ops, n, dev->limits.kv, dev->limits.max_ctx);
    uint32_t        n_parts = 0;

    for (uint32_t i = 0; i < n; i++) {
        DS4_TRY(check(&ops[i], err));
        n_parts += count_parts(&ops[i]);
    }
    DS4_TRY(cpu_scratch_grow(dev, &sizes, err));
    ds4_program *p = new_program(ops, n, n_parts);
    if (!p) return ds4_fail(err, DS4_E_NOMEM, "no memory for a program of %u operations", n);
    n_parts = 0;
    for (uint32_t i = 0; i < n; i++) {
        p->step[i].parts = p->parts + n_parts;
        p->step[i].inputs = p->inputs + n_parts;
        if (ops[i].kind == DS4_OP_PROJECT) add_project(&p->step[i], &ops[i].project);
        if (ops[i].kind == DS4_OP_EXPERTS) add_experts(&p->step[i], &ops[i].experts);
        n_parts += count_parts(&ops[i]);
    }
    *out = p;
    return DS4_OK;
}

void cpu_drop_program(ds4_dev *dev, ds4_program *p)
{
    (void)dev;
    if (!p) return;
    free(p->step);
    free(p->parts);
    free(p->inputs);
    free(p);
}

/* ---- running ------------------------------------------------------------------------------- */

static ds4_status run_one(ds4_dev *dev, const ds4_op *op, ds4_err *err)
{
    switch (op->kind) {
    case DS4_OP_ANGLES:      cpu_angles(dev, &op->angles); return DS4_OK;
    case DS4_OP_EMBED:       cpu_embed(dev, &op->embed); return DS4_OK;
    case DS4_OP_PROJECT:     cpu_project(dev, &op->project); return DS4_OK;
    case DS4_OP_HC_ENTER:    cpu_hc_enter(dev, &op->hc_enter); return DS4_OK;
    case DS4_OP_HC_LEAVE:    cpu_hc_leave(dev, &op->hc_leave); return DS4_OK;
    case DS4_OP_NORM:        cpu_norm(dev, &op->norm); return DS4_OK;
    case DS4_OP_HEADS:       cpu_heads(dev, &op->heads); return DS4_OK;
    case DS4_OP_KV_ROW:      cpu_kv_row(dev, &op->kv_row); return DS4_OK;
    case DS4_OP_COMPRESS:    return cpu_compress(dev, &op->compress, err);
    case DS4_OP_INDEX_QUERY: cpu_index_query(dev, &op->index_query); return DS4_OK;
    case DS4_OP_SELECT:      cpu_select(dev, &op->select); return DS4_OK;
    case DS4_OP_ATTEND:      return cpu_attend(dev, &op->attend, err);
    case DS4_OP_WINDOW:      cpu_window(dev, &op->window); return DS4_OK;
    case DS4_OP_ROUTE:       cpu_route(dev, &op->route); return DS4_OK;
    case DS4_OP_EXPERTS:     return cpu_experts(dev, &op->experts, err);
    case DS4_OP_HC_MERGE:    cpu_hc_merge(dev, &op->hc_merge); return DS4_OK;
    case DS4_OP_PREFETCH:    cpu_prefetch(dev, &op->prefetch); return DS4_OK;
    case DS4_OP_SAMPLE:      cpu_sample(dev, &op->sample); return DS4_OK;
    case DS4_OP_HC_SUM:      cpu_hc_sum(dev, &op->hc_sum); return DS4_OK;
    case DS4_OP_ATTEND_BLOCK: cpu_attend_block(dev, &op->attend_block); return DS4_OK;
    case DS4_OP_GUESS:       cpu_guess(dev, &op->guess); return DS4_OK;
    case DS4_OP_STEER:       cpu_steer(dev, &op->steer); return DS4_OK;
    case DS4_N_OPS:          break;
    }
    return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %d (%s) is unknown to the CPU backend",
                    (int)op->kind, op->name);
}

ds4_status cpu_run_program(ds4_dev *dev, const ds4_program *p, const ds4_batch *batch, ds4_ticket *ticket,
                           ds4_err *err)
{
    dev->batch = batch;
    dev->step_end = p->step + p->n;
    if (dev->time_fn) dev->marked_ns = ds4_now_ns();
    for (uint32_t i = 0; i < p->n; i++) {
        dev->step = &p->step[i];
        DS4_TRY(run_one(dev, &p->op[i], err));
        cpu_mark(dev, p->op[i].name, p->step[i].weight_bytes);
    }
    *ticket = ++dev->n_runs;
    return DS4_OK;
}
