/* cpu.c - the CPU backend: opening, memory, and running a list of operations.
 *
 * Memory is plain host memory, so views are pointers and run() has finished when it
 * returns. Every operation splits its work by a fixed rule over independent outputs;
 * nothing is ever summed across threads, which is why results do not depend on their
 * number. */
#include "backend/cpu/cpu_local.h"

#include "base/clock.h"
#include "base/knob.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

void *cpu_reserve(uint64_t n_bytes)
{
    void *p = mmap(NULL, (size_t)(n_bytes ? n_bytes : 1), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void cpu_release(void *data, uint64_t n_bytes)
{
    if (data) munmap(data, (size_t)(n_bytes ? n_bytes : 1));
}

/* ---- opening -------------------------------------------------------------------------- */

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

/* ---- memory --------------------------------------------------------------------------- */

static ds4_status new_buf(void *data, uint64_t n_bytes, bool is_mapped, ds4_buf **out, ds4_err *err)
{
    ds4_buf *buf = data ? malloc(sizeof *buf) : NULL;
    if (!buf) {
        if (!is_mapped) cpu_release(data, n_bytes);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %llu bytes", (unsigned long long)n_bytes);
    }
    *buf = (ds4_buf){ .data = data, .n_bytes = n_bytes, .is_mapped = is_mapped };
    *out = buf;
    return DS4_OK;
}

/* Large buffers get large pages where the system has them: fewer address translations for
 * weights that every token reads. */
static ds4_status cpu_alloc(ds4_dev *dev, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    enum { LARGE = 64 << 20 };
    void *data = cpu_reserve(n_bytes);

    (void)dev;
#ifdef MADV_HUGEPAGE
    if (data && n_bytes >= LARGE) madvise(data, (size_t)n_bytes, MADV_HUGEPAGE);
#endif
    return new_buf(data, n_bytes, false, out, err);
}

static ds4_status cpu_alloc_spill(ds4_dev *dev, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    cpu_spill_buf *spill = NULL;

    if (!dev->spill) return cpu_alloc(dev, n_bytes, out, err);
    DS4_TRY(cpu_spill_alloc(dev->spill, n_bytes, &spill, err));
    ds4_buf *buf = malloc(sizeof *buf);
    if (!buf) {
        cpu_spill_release(spill);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a buffer of rows");
    }
    *buf = (ds4_buf){ .n_bytes = n_bytes, .spill = spill };
    *out = buf;
    return DS4_OK;
}

static uint64_t cpu_resident(const ds4_dev *dev)
{
    return dev->spill ? cpu_spill_resident(dev->spill) : 0;
}

static ds4_status cpu_map(ds4_dev *dev, const void *host, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    (void)dev;
    return new_buf((void *)(uintptr_t)host, n_bytes, true, out, err);
}

static void cpu_free(ds4_dev *dev, ds4_buf *buf)
{
    (void)dev;
    if (!buf) return;
    if (buf->spill) cpu_spill_release(buf->spill);
    else if (!buf->is_mapped) cpu_release(buf->data, buf->n_bytes);
    free(buf);
}

static ds4_status check_range(ds4_view v, uint64_t n_bytes, ds4_err *err)
{
    if (v.off <= v.buf->n_bytes && n_bytes <= v.buf->n_bytes - v.off) return DS4_OK;
    return ds4_fail(err, DS4_E_ARG, "%llu bytes at %llu are outside a buffer of %llu",
                    (unsigned long long)n_bytes, (unsigned long long)v.off,
                    (unsigned long long)v.buf->n_bytes);
}

static ds4_status cpu_write(ds4_dev *dev, ds4_view to, const void *from, uint64_t n_bytes, ds4_err *err)
{
    (void)dev;
    DS4_TRY(check_range(to, n_bytes, err));
    if (to.buf->spill) return cpu_spill_write(to.buf->spill, to.off, from, n_bytes, err);
    memcpy(cpu_at(to), from, (size_t)n_bytes);
    return DS4_OK;
}

static ds4_status cpu_read(ds4_dev *dev, ds4_view from, void *to, uint64_t n_bytes, ds4_err *err)
{
    (void)dev;
    DS4_TRY(check_range(from, n_bytes, err));
    if (from.buf->spill) return cpu_spill_read(from.buf->spill, from.off, to, n_bytes, err);
    memcpy(to, cpu_at(from), (size_t)n_bytes);
    return DS4_OK;
}

/* The inner pages go back to the system. */
static void cpu_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    const uint64_t page = 4096;
    const uint64_t from = (at.off + page - 1) / page * page, to = (at.off + n_bytes) / page * page;

    (void)dev;
    /* Files keep their space, and a row is written before it is read again. */
    if (at.buf->spill || at.buf->is_mapped || from >= to) return;
    madvise(at.buf->data + from, (size_t)(to - from), MADV_DONTNEED);
}

/* ---- running -------------------------------------------------------------------------- */

void cpu_run(ds4_dev *dev, ds4_team_fn *fn, void *ctx, uint64_t n_items)
{
    if (n_items < 2) fn(ctx, 0, 1);
    else ds4_team_run(dev->team, fn, ctx);
}

void cpu_angle(float *c, float *s, uint32_t pos, float freq)
{
    const float angle = (float)pos * freq;
    *c = (float)cos((double)angle);
    *s = (float)sin((double)angle);
}

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

void cpu_note(ds4_dev *dev, const char *name, uint64_t weight_bytes)
{
    const uint64_t now = ds4_now_ns();

    dev->time_fn(dev->time_ctx, name, now - dev->marked_ns, weight_bytes);
    dev->marked_ns = now;
}

static uint64_t project_bytes(const ds4_op_project *op)
{
    uint64_t n_bytes = 0;
    for (uint32_t i = 0; i < op->n; i++) n_bytes += op->part[i].w.n_out * op->part[i].w.row_bytes;
    return n_bytes;
}

static ds4_status cpu_run_ops(ds4_dev *dev, const ds4_batch *batch, const ds4_op *ops, uint32_t n,
                              ds4_err *err)
{
    dev->batch = batch;
    if (dev->time_fn) dev->marked_ns = ds4_now_ns();
    dev->op_end = ops + n;
    for (uint32_t i = 0; i < n; i++) {
        dev->op = &ops[i];
        DS4_TRY(run_one(dev, &ops[i], err));
        cpu_mark(dev, ops[i].name, ops[i].kind == DS4_OP_PROJECT ? project_bytes(&ops[i].project) : 0);
    }
    return DS4_OK;
}

static void cpu_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx)
{
    dev->time_fn = fn;
    dev->time_ctx = ctx;
}

static ds4_status cpu_sync(ds4_dev *dev, ds4_err *err)
{
    (void)dev;
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
    .alloc_spill = cpu_alloc_spill,
    .spill_resident = cpu_resident,
    .map = cpu_map,
    .free = cpu_free,
    .write = cpu_write,
    .read = cpu_read,
    .discard = cpu_discard,
    .run = cpu_run_ops,
    .sync = cpu_sync,
    .time = cpu_time,
};
