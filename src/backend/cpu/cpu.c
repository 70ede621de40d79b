/* cpu.c - the CPU backend: opening, and the table of its functions.
 *
 * Memory is plain host memory, so views are pointers and run() has finished when it
 * returns. Every operation splits its work by a fixed rule over independent outputs;
 * nothing is ever summed across threads, which is why results do not depend on their
 * number. */
#include "backend/cpu/cpu_ops.h"

#include "base/knob.h"

#include <stdlib.h>

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t score_floats(const ds4_limits *l)
{
    const uint64_t index = l->max_top_k ? INDEX_QUERIES * INDEX_RUN : 0;
    return larger(larger(larger(l->max_heads, ATTEND_HEADS) * l->max_rows, index), l->max_experts);
}

static uint64_t row_floats(const ds4_limits *l)
{
    return ((uint64_t)l->max_rows + ATTEND_TOKENS) * l->max_head;
}

static uint64_t pointers(const ds4_limits *l)
{
    return 2 * (uint64_t)l->max_rows + ATTEND_TOKENS;
}

static uint64_t packed_bytes(const ds4_limits *l)
{
    return CPU_SPILL_BATCH * l->spill_row;
}

static uint64_t pick_bytes(const ds4_limits *l)
{
    return l->max_top_k ? (INDEX_QUERIES + 1) * cpu_pick_slots(l) * sizeof(uint64_t) : 0;
}

static void free_own(cpu_own *own, const ds4_limits *l)
{
    cpu_release(own->row, (uint64_t)l->max_in * sizeof(float));
    cpu_release(own->rows, row_floats(l) * sizeof(float));
    cpu_release(own->packed, packed_bytes(l));
    cpu_release((void *)own->row_at, pointers(l) * sizeof(float *));
    cpu_release(own->scores, score_floats(l) * sizeof(float));
    cpu_release(own->picks, pick_bytes(l));
}

static bool reserve_own(cpu_own *own, const ds4_limits *l)
{
    own->row = cpu_reserve((uint64_t)l->max_in * sizeof(float));
    own->rows = cpu_reserve(row_floats(l) * sizeof(float));
    own->packed = cpu_reserve(packed_bytes(l));
    own->row_at = cpu_reserve(pointers(l) * sizeof(float *));
    own->scores = cpu_reserve(score_floats(l) * sizeof(float));
    own->picks = cpu_reserve(pick_bytes(l));
    return own->row && own->rows && own->packed && own->row_at && own->scores && own->picks;
}

static void cpu_close(ds4_dev *dev)
{
    if (!dev) return;
    const uint32_t n = dev->team ? ds4_team_size(dev->team) : 0;
    for (uint32_t i = 0; dev->own && i < n; i++) free_own(&dev->own[i], &dev->limits);
    cpu_moe_free(dev);
    cpu_weights_free(dev);
    cpu_spill_free(dev->spill);
    free(dev->own);
    cpu_release(dev->act, dev->act_bytes);
    ds4_team_free(dev->team);
    cpu_ahead_free(dev);            /* members look at it while they wait */
    free(dev);
}

static ds4_status open_scratch(ds4_dev *dev, ds4_err *err)
{
    const ds4_limits *l = &dev->limits;
    const uint32_t    n = ds4_team_size(dev->team);

    dev->own = calloc(n, sizeof *dev->own);
    /* ds4_q32 takes 36 bytes for 32 values, less than the 40 that are counted here. */
    dev->act_bytes = (uint64_t)l->max_batch * l->max_in * 40 / 32 + 64;
    dev->act = cpu_reserve(dev->act_bytes);
    bool ok = dev->own && dev->act;
    for (uint32_t i = 0; ok && i < n; i++) ok = reserve_own(&dev->own[i], l);
    if (!ok) return ds4_fail(err, DS4_E_NOMEM, "no memory for the scratch of %u threads", n);
    DS4_TRY(cpu_weights_create(dev, err));
    DS4_TRY(cpu_ahead_create(dev, err));
    return cpu_moe_create(dev, err);
}

static ds4_status cpu_open(ds4_dev **out, const ds4_limits *limits, ds4_err *err)
{
    const uint64_t unused = ds4_knob_u64(DS4_KNOB_CPU_MASK, 0);
    ds4_dev       *dev = calloc(1, sizeof *dev);

    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a device");
    dev->limits = *limits;
    dev->features = ds4_cpu_features() & ~(unsigned)unused;
    ds4_kernels_init(&dev->k, dev->features);

    ds4_status st = ds4_team_create(&dev->team, limits->n_threads ? limits->n_threads : ds4_cpu_count(), err);
    if (st == DS4_OK) st = open_scratch(dev, err);
    if (st == DS4_OK && limits->spill_dir) {
        st = cpu_spill_create(limits->spill_dir, limits->spill_bytes, limits->spill_row, &dev->spill, err);
    }
    if (st != DS4_OK) {
        cpu_close(dev);
        return st;
    }
    *out = dev;
    return DS4_OK;
}

static const char *cpu_family(const ds4_dev *dev)
{
    return ds4_cpu_features_text(dev->features);
}

static uint32_t cpu_threads(const ds4_dev *dev)
{
    return ds4_team_size(dev->team);
}

/* A token's pairs and rows are side by side in each array, so what is touched is what is
 * used; a thread's arrays are touched from their beginning. */
static uint64_t cpu_scratch_bytes(const ds4_limits *l)
{
    enum { PAIR_TABLES = 12 };
    const uint64_t n_threads = l->n_threads ? l->n_threads : ds4_cpu_count();
    const uint64_t queries = l->n_top_k ? cpu_index_group(l->max_batch, (uint32_t)n_threads) : 0;
    const uint64_t scores = larger(larger(l->max_heads, ATTEND_HEADS) * l->n_rows, queries * INDEX_RUN);
    const uint64_t picks = queries ? (queries + 1) * cpu_pick_slots(l) * sizeof(uint64_t) : 0;
    const uint64_t rows = (l->n_rows + ATTEND_TOKENS) * (uint64_t)l->max_head + scores;
    const uint64_t own = rows * sizeof(float) + l->n_rows * sizeof(float *) + picks;
    const uint64_t n_tokens = l->max_batch, n_routed = n_tokens * l->max_used, pairs = n_routed + n_tokens;
    const uint64_t inputs = n_tokens * (l->moe_x_bytes[0] + l->moe_x_bytes[1]) + n_routed * l->moe_x_bytes[0];
    const uint64_t outputs = (2 * (uint64_t)l->max_ffn + l->max_embd) * sizeof(float);

    return n_threads * own + n_tokens * l->act_bytes + inputs
         + pairs * (PAIR_TABLES + l->moe_h_bytes + outputs);
}

static void cpu_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx)
{
    dev->time_fn = fn;
    dev->time_ctx = ctx;
}

static ds4_status cpu_wait(ds4_dev *dev, ds4_ticket ticket, ds4_err *err)
{
    (void)dev;
    (void)ticket;
    (void)err;
    return DS4_OK;
}

const ds4_backend ds4_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .threads = cpu_threads,
    .family = cpu_family,
    .scratch_bytes = cpu_scratch_bytes,
    .alloc = cpu_alloc,
    .commit = cpu_commit,
    .resident = cpu_resident,
    .free = cpu_free,
    .write = cpu_write,
    .read = cpu_read,
    .discard = cpu_discard,
    .bind = cpu_bind,
    .load = cpu_load,
    .compile = cpu_compile,
    .drop_program = cpu_drop_program,
    .run = cpu_run_program,
    .wait = cpu_wait,
    .time = cpu_time,
};
