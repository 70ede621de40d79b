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
};

/* ---- compiling ----------------------------------------------------------------------------- */

static cpu_part part_of(const ds4_matrix *w)
{
    return (cpu_part){ .w = cpu_at(w->at), .n_rows = w->n_out, .row_bytes = w->row_bytes, .dtype = w->dtype };
}

static void add_project(cpu_step *step, const ds4_op_project *op)
{
    for (uint32_t i = 0; i < op->n; i++) {
        step->parts[i] = part_of(&op->part[i].w);
        step->weight_bytes += step->parts[i].n_rows * step->parts[i].row_bytes;
    }
    step->n_parts = op->n;
    step->is_head = op->is_head;
}

/* The shared expert is known before the routed ones are chosen. Lines of its own type are cut
 * alike with and without them. */
static void add_experts(cpu_step *step, const ds4_op_experts *op)
{
    step->is_chosen = true;
    if (op->shared_gate.dtype == op->up.dtype) return;
    step->parts[0] = part_of(&op->shared_gate);
    step->parts[1] = part_of(&op->shared_up);
    step->n_parts = 2;
}

static ds4_status check(const ds4_op *op, ds4_err *err)
{
    if ((unsigned)op->kind >= DS4_N_OPS) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %d (%s) is unknown to the CPU backend",
                        (int)op->kind, op->name);
    }
    if (op->kind == DS4_OP_PROJECT && op->project.n > DS4_MAX_PROJECT) {
        return ds4_fail(err, DS4_E_UNSUPPORTED, "operation %s has %u products, expected up to %d", op->name,
                        op->project.n, DS4_MAX_PROJECT);
    }
    return DS4_OK;
}

ds4_status cpu_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err)
{
    ds4_program *p = calloc(1, sizeof *p);
    uint32_t     n_parts = 0;

    (void)dev;
    for (uint32_t i = 0; i < n; i++) {
        const ds4_status st = check(&ops[i], err);
        if (st != DS4_OK) {
            free(p);
            return st;
        }
        n_parts += ops[i].kind == DS4_OP_PROJECT ? ops[i].project.n : ops[i].kind == DS4_OP_EXPERTS ? 2 : 0;
    }
    if (p) *p = (ds4_program){ .op = ops, .n = n, .step = calloc(n + 1, sizeof *p->step),
                               .parts = calloc(n_parts + 1, sizeof *p->parts) };
    if (!p || !p->step || !p->parts) {
        cpu_drop_program(dev, p);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a program of %u operations", n);
    }
    cpu_part *next = p->parts;
    for (uint32_t i = 0; i < n; i++) {
        p->step[i].parts = next;
        if (ops[i].kind == DS4_OP_PROJECT) add_project(&p->step[i], &ops[i].project);
        if (ops[i].kind == DS4_OP_EXPERTS) add_experts(&p->step[i], &ops[i].experts);
        next += p->step[i].n_parts;
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
