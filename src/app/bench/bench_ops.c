/* bench_ops.c - where the time of prefill and decoding goes, by kind of operation; see bench.h. */
#include "app/bench/bench.h"

#include "engine/timing.h"

#include <stdlib.h>
#include <string.h>

/* ---- counting ---------------------------------------------------------------------------- */

/* An operation that finds no place in the table counts towards "outside". */
static void add(void *ctx, const char *name, uint64_t ns, uint64_t weight_bytes)
{
    bench_ops *ops = ctx;
    uint32_t   i = 0;

    if (ops->trace) ds4_op_trace_add(ops->trace, name, ns, weight_bytes);
    while (i < ops->n_ops && ops->op[i].name != name && strcmp(ops->op[i].name, name) != 0) i++;
    if (i == BENCH_MAX_OPS) return;
    if (i == ops->n_ops) ops->op[ops->n_ops++] = (bench_op){ .name = name };
    ops->op[i].n++;
    ops->op[i].ns += ns;
    ops->op[i].weight_bytes += weight_bytes;
}

void bench_ops_begin(bench_ops *ops, uint32_t phase, ds4_engine *e, ds4_op_trace *trace)
{
    if (ops) {
        ops[phase].trace = trace;
        ds4_engine_time(e, add, &ops[phase]);
    } else if (trace) {
        ds4_engine_time(e, ds4_op_trace_add, trace);
    }
}

void bench_ops_end(bench_ops *ops, uint32_t phase, ds4_engine *e, uint64_t n_tokens, uint64_t n_steps,
                   double seconds)
{
    ds4_engine_time(e, NULL, NULL);
    if (!ops) return;
    ops[phase].n_tokens += n_tokens;
    ops[phase].n_steps += n_steps;
    ops[phase].all_ns += (uint64_t)(seconds * 1e9);
}

/* ---- the table ---------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    const bench_op *x = *(const bench_op *const *)a, *y = *(const bench_op *const *)b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

static void add_line(ds4_str *out, const bench_ops *ops, const bench_op *op)
{
    const double per_step = (double)op->n / (double)ops->n_steps;
    const double ms = (double)op->ns * 1e-6 / (double)ops->n_tokens;

    ds4_str_addf(out, "  %-18s %9.1f %10.3f %9.1f %5.1f %%", op->name, per_step, ms,
                 op->n ? (double)op->ns * 1e-3 / (double)op->n : 0.0,
                 100.0 * (double)op->ns / (double)ops->all_ns);
    if (op->weight_bytes) {
        ds4_str_addf(out, " %7.1f", (double)op->weight_bytes / (double)(op->ns ? op->ns : 1));
    }
    ds4_str_add_char(out, '\n');
}

static void add_phase(ds4_str *out, const char *title, const bench_ops *ops)
{
    const bench_op *sorted[BENCH_MAX_OPS];
    bench_op        rest = { .name = "outside", .n = ops->n_steps, .ns = ops->all_ns };

    if (ops->n_tokens == 0 || ops->all_ns == 0) return;
    for (uint32_t i = 0; i < ops->n_ops; i++) {
        sorted[i] = &ops->op[i];
        rest.ns -= ops->op[i].ns < rest.ns ? ops->op[i].ns : rest.ns;
    }
    qsort(sorted, ops->n_ops, sizeof *sorted, by_time);
    ds4_str_addf(out, "%s: %llu tokens, %.3f ms each\n", title, (unsigned long long)ops->n_tokens,
                 (double)ops->all_ns * 1e-6 / (double)ops->n_tokens);
    ds4_str_addf(out, "  %-18s %9s %10s %9s %7s %7s\n", "operation", "per step", "ms/token", "us each",
                 "share", "GB/s");
    for (uint32_t i = 0; i < ops->n_ops; i++) add_line(out, ops, sorted[i]);
    add_line(out, ops, &rest);
}

void bench_ops_table(const bench_ops *ops, ds4_str *out)
{
    add_phase(out, "prefill", &ops[BENCH_PREFILL]);
    add_phase(out, "decode", &ops[BENCH_DECODE]);
}
