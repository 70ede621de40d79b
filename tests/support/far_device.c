/* far_device.c - see far_device.h. */
#include "support/far_device.h"

#include "backend/op_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRANULE = 16, MAX_JOBS = 256, MAX_LAYOUTS = 1 << 16, FEW_BLOCKS = 1 << 12, RUBBISH = 0xa5 };

typedef struct far_buf {
    ds4_buf  head;                  /* host NULL */
    ds4_buf *near;                  /* of the CPU */
    uint8_t *committed;             /* a bit for each GRANULE bytes */
} far_buf;

struct ds4_program {
    ds4_op      *op;                /* [n] with the CPU's views and layouts */
    ds4_product *part;
    ds4_program *near;
};

typedef struct far_job {
    const ds4_program *program;     /* NULL: discard */
    const ds4_batch   *batch;
    ds4_view           at;
    uint64_t           n_bytes;
} far_job;

struct ds4_dev {
    ds4_dev          *near;
    ds4_limits        limits;
    const ds4_layout *layout[MAX_LAYOUTS];
    uint32_t          n_layouts;
    far_job           job[MAX_JOBS];        /* queued */
    uint32_t          n_jobs;
    uint64_t          n_queued, n_done;     /* tickets */
    ds4_span         *span;                 /* of the batch that runs, with the CPU's views */
    ds4_block        *block;
    uint64_t          n_blocks;             /* room */
    /* The thread that works. */
    pthread_t         thread;
    pthread_mutex_t   lock;
    pthread_cond_t    changed;
    uint32_t          n_asked;              /* jobs to be done now */
    bool              stops;
    ds4_status        status;
    ds4_err           err;
};

static atomic_uint commits_left, n_live;

void far_fail_commit(uint32_t number)
{
    atomic_store(&commits_left, number);
}

uint32_t far_live(void)
{
    return atomic_load(&n_live);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static far_buf *far_of(ds4_view v)
{
    return (far_buf *)(void *)v.buf;
}

static ds4_view near_view(ds4_view v)
{
    return (ds4_view){ v.buf ? far_of(v)->near : NULL, v.off };
}

static void mark(ds4_view at, uint64_t n_bytes, bool is_there)
{
    uint8_t *bits = far_of(at)->committed;

    for (uint64_t i = at.off / GRANULE; i < (at.off + n_bytes + GRANULE - 1) / GRANULE; i++) {
        if (is_there) bits[i / 8] |= (uint8_t)(1u << i % 8);
        else bits[i / 8] &= (uint8_t)~(1u << i % 8);
    }
}

static ds4_status check_there(ds4_view at, uint64_t n_bytes, const char *who, ds4_err *err)
{
    DS4_TRY(ds4_view_check(&ds4_backend_far, at, n_bytes, err));
    const uint8_t *bits = far_of(at)->committed;
    for (uint64_t i = at.off / GRANULE; i < (at.off + n_bytes + GRANULE - 1) / GRANULE; i++) {
        if (bits[i / 8] >> i % 8 & 1) continue;
        return ds4_fail(err, DS4_E_DEVICE, "%s touches memory at %llu that was not committed", who,
                        (unsigned long long)(i * GRANULE));
    }
    return DS4_OK;
}

static ds4_status far_alloc(ds4_dev *dev, ds4_mem kind, uint64_t n_bytes, ds4_buf **out, ds4_err *err)
{
    far_buf *buf = calloc(1, sizeof *buf);

    if (!buf) return ds4_fail(err, DS4_E_NOMEM, "no memory for a far buffer");
    buf->head = (ds4_buf){ .backend = &ds4_backend_far, .kind = kind, .n_bytes = n_bytes };
    buf->committed = calloc(n_bytes / GRANULE / 8 + 2, 1);
    const ds4_status st = buf->committed ? ds4_backend_cpu.alloc(dev->near, kind, n_bytes, &buf->near, err)
                                         : ds4_fail(err, DS4_E_NOMEM, "no memory for a far buffer");
    if (st != DS4_OK) {
        free(buf->committed);
        free(buf);
        return st;
    }
    atomic_fetch_add(&n_live, 1);
    *out = &buf->head;
    return DS4_OK;
}

static ds4_status far_commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err)
{
    unsigned left = atomic_load(&commits_left);

    DS4_TRY(ds4_view_check(&ds4_backend_far, at, n_bytes, err));
    if (left > 0) atomic_store(&commits_left, left - 1);
    if (left == 1) return ds4_fail(err, DS4_E_NOMEM, "the far device has no more memory");
    DS4_TRY(ds4_backend_cpu.commit(dev->near, near_view(at), n_bytes, err));
    mark(at, n_bytes, true);
    return DS4_OK;
}

/* What is committed may still hold what it held: rubbish then. */
static void discard_now(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    uint8_t *rubbish = malloc(n_bytes + 1);

    if (rubbish) {
        memset(rubbish, RUBBISH, n_bytes);
        if (ds4_backend_write(&ds4_backend_cpu, dev->near, near_view(at), rubbish, n_bytes, NULL) != DS4_OK)
            fprintf(stderr, "far device: rubbish could not be written\n");
    }
    free(rubbish);
}

static void finish(ds4_dev *dev, uint32_t n_jobs);

static void far_discard(ds4_dev *dev, ds4_view at, uint64_t n_bytes)
{
    mark(at, n_bytes, false);
    if (dev->n_jobs == 0) {
        discard_now(dev, at, n_bytes);
        return;
    }
    if (dev->n_jobs == MAX_JOBS) finish(dev, dev->n_jobs);
    dev->job[dev->n_jobs++] = (far_job){ .at = at, .n_bytes = n_bytes };
}

static void far_free(ds4_dev *dev, ds4_buf *buf)
{
    if (!buf) return;
    finish(dev, dev->n_jobs);
    far_buf *far = (far_buf *)(void *)buf;
    ds4_backend_cpu.free(dev->near, far->near);
    free(far->committed);
    free(far);
    atomic_fetch_sub(&n_live, 1);
}

static uint64_t far_resident(const ds4_dev *dev, ds4_mem kind)
{
    return ds4_backend_cpu.resident(dev->near, kind);
}

/* One copy after the other: a list is not longer than what it copies is slow. */
static ds4_status far_read(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const ds4_copy c = { near_view(copies[i].at), copies[i].n_bytes, copies[i].host };
        DS4_TRY(check_there(copies[i].at, copies[i].n_bytes, "read()", err));
        DS4_TRY(ds4_backend_cpu.read(dev->near, &c, 1, err));
    }
    return DS4_OK;
}

static ds4_status far_write(ds4_dev *dev, const ds4_copy *copies, uint32_t n, ds4_err *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const ds4_copy c = { near_view(copies[i].at), copies[i].n_bytes, copies[i].host };
        DS4_TRY(check_there(copies[i].at, copies[i].n_bytes, "write()", err));
        DS4_TRY(ds4_backend_cpu.write(dev->near, &c, 1, err));
    }
    return DS4_OK;
}

/* ---- weights --------------------------------------------------------------------------------------- */

/* Layouts are numbers from 1 on: to follow one is a fault. */
static ds4_status far_bind(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err)
{
    if (dev->n_layouts + 1 == MAX_LAYOUTS) return ds4_fail(err, DS4_E_NOMEM, "too many far tensors");
    DS4_TRY(ds4_backend_cpu.bind(dev->near, t, out, err));
    dev->layout[++dev->n_layouts] = out->layout;
    out->layout = (const ds4_layout *)(uintptr_t)dev->n_layouts;
    return DS4_OK;
}

static ds4_status far_load(ds4_dev *dev, const ds4_loading *told, ds4_err *err)
{
    return ds4_backend_cpu.load(dev->near, told, err);
}

/* ---- programs -------------------------------------------------------------------------------------- */

static uint64_t far_scratch_bytes(const ds4_limits *limits, const ds4_op *ops, uint32_t n, uint32_t n_ctx)
{
    return ds4_backend_cpu.scratch_bytes(limits, ops, n, n_ctx);
}

static void far_drop_program(ds4_dev *dev, ds4_program *p)
{
    if (!p) return;
    if (dev) finish(dev, dev->n_jobs);
    if (p->near) ds4_backend_cpu.drop_program(dev->near, p->near);
    free(p->op);
    free(p->part);
    free(p);
}

/* Put the CPU's places into a copy of an operation. */
static ds4_status translate(ds4_dev *dev, ds4_op *op, ds4_err *err)
{
    ds4_touch         t[DS4_MAX_TOUCHES];
    const ds4_matrix *w[DS4_MAX_MATRICES];
    const uint32_t    n = ds4_op_touches(op, &dev->limits, t), n_matrices = ds4_op_matrices(op, w);

    for (uint32_t i = 0; i < n; i++) {
        ds4_view *view = (ds4_view *)(uintptr_t)t[i].view;
        DS4_TRY(check_there(*view, t[i].n_bytes, op->name, err));
        *view = near_view(*view);
    }
    for (uint32_t i = 0; i < n_matrices; i++) {
        ds4_matrix *m = (ds4_matrix *)(uintptr_t)w[i];
        if (m->layout) m->layout = dev->layout[(uintptr_t)m->layout];
    }
    return DS4_OK;
}

static ds4_status translate_all(ds4_dev *dev, ds4_program *p, uint32_t n, ds4_err *err)
{
    ds4_product *part = p->part;

    for (uint32_t i = 0; i < n; i++) {
        ds4_op *op = &p->op[i];
        if (op->kind == DS4_OP_PROJECT) {
            memcpy(part, op->project.part, op->project.n * sizeof *part);
            op->project.part = part;
            part += op->project.n;
        }
        DS4_TRY(translate(dev, op, err));
    }
    return DS4_OK;
}

static ds4_status far_compile(ds4_dev *dev, const ds4_op *ops, uint32_t n, ds4_program **out, ds4_err *err)
{
    ds4_program *p = calloc(1, sizeof *p);

    if (!p) return ds4_fail(err, DS4_E_NOMEM, "no memory for a far program");
    p->op = malloc((n + 1) * sizeof *p->op);
    p->part = malloc((n + 1ull) * DS4_MAX_PROJECT * sizeof *p->part);
    ds4_status st = p->op && p->part ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for a far program");
    if (st == DS4_OK) {
        memcpy(p->op, ops, n * sizeof *ops);
        st = translate_all(dev, p, n, err);
    }
    if (st == DS4_OK) st = ds4_backend_cpu.compile(dev->near, p->op, n, &p->near, err);
    if (st != DS4_OK) {
        far_drop_program(NULL, p);
        return st;
    }
    *out = p;
    return DS4_OK;
}

static ds4_status far_run(ds4_dev *dev, const ds4_program *program, const ds4_batch *batch,
                          ds4_ticket *ticket, ds4_err *err)
{
    if (dev->n_jobs == MAX_JOBS) return ds4_fail(err, DS4_E_DEVICE, "%d programs wait already", MAX_JOBS);
    dev->job[dev->n_jobs++] = (far_job){ .program = program, .batch = batch };
    *ticket = ++dev->n_queued;
    return DS4_OK;
}

/* ---- the thread that works ---------------------------------------------------------------------------- */

static bool make_room(ds4_dev *dev, const ds4_batch *b)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < b->n_spans; i++) n += (b->span[i].pos + b->span[i].n) / DS4_BLOCK_TOKENS + 1;
    if (n <= dev->n_blocks) return true;
    ds4_block *more = realloc(dev->block, n * sizeof *more);
    if (!more) return false;
    dev->block = more;
    dev->n_blocks = n;
    return true;
}

/* Spans with the CPU's places, where all that a step may touch has been committed. */
static ds4_status translate_batch(ds4_dev *dev, const ds4_batch *b, ds4_batch *out, ds4_err *err)
{
    const ds4_kv_layout *kv = b->kv;
    ds4_block           *next = dev->block;

    for (uint32_t i = 0; i < b->n_spans; i++) {
        const ds4_span *s = &b->span[i];
        const uint32_t  n = (s->pos + s->n + DS4_BLOCK_TOKENS - 1) / DS4_BLOCK_TOKENS;
        DS4_TRY(check_there(s->tail, kv->tail_bytes, "a session's tail", err));
        dev->span[i] = *s;
        dev->span[i].tail = near_view(s->tail);
        dev->span[i].blocks = next;
        for (uint32_t j = 0; j < n; j++) {
            DS4_TRY(check_there(s->blocks[j].cold, kv->cold_bytes, "a session's block", err));
            DS4_TRY(check_there(s->blocks[j].warm, kv->warm_bytes, "a session's block", err));
            *next++ = (ds4_block){ near_view(s->blocks[j].cold), near_view(s->blocks[j].warm) };
        }
    }
    *out = *b;
    out->span = dev->span;
    return DS4_OK;
}

static ds4_status work(ds4_dev *dev, const far_job *job, ds4_err *err)
{
    ds4_batch  near;
    ds4_ticket ticket;

    if (!job->program) {
        discard_now(dev, job->at, job->n_bytes);
        return DS4_OK;
    }
    if (!make_room(dev, job->batch)) return ds4_fail(err, DS4_E_NOMEM, "no memory for a far batch");
    DS4_TRY(translate_batch(dev, job->batch, &near, err));
    DS4_TRY(ds4_backend_cpu.run(dev->near, job->program->near, &near, &ticket, err));
    return ds4_backend_cpu.wait(dev->near, ticket, err);
}

/* After a failure what was queued behind it is not done. */
static void *work_main(void *arg)
{
    ds4_dev *dev = arg;

    pthread_mutex_lock(&dev->lock);
    for (;;) {
        while (dev->n_asked == 0 && !dev->stops) pthread_cond_wait(&dev->changed, &dev->lock);
        if (dev->stops) break;
        for (uint32_t i = 0; i < dev->n_asked; i++) {
            if (dev->status == DS4_OK || !dev->job[i].program) {
                const ds4_status st = work(dev, &dev->job[i], &dev->err);
                if (st != DS4_OK) dev->status = st;
            }
        }
        dev->n_asked = 0;
        pthread_cond_broadcast(&dev->changed);
    }
    pthread_mutex_unlock(&dev->lock);
    return NULL;
}

/* Have the first n_jobs of the queue done. */
static void finish(ds4_dev *dev, uint32_t n_jobs)
{
    if (n_jobs == 0) return;
    pthread_mutex_lock(&dev->lock);
    dev->n_asked = n_jobs;
    pthread_cond_broadcast(&dev->changed);
    while (dev->n_asked > 0) pthread_cond_wait(&dev->changed, &dev->lock);
    pthread_mutex_unlock(&dev->lock);
    for (uint32_t i = 0; i < n_jobs; i++) dev->n_done += dev->job[i].program != NULL;
    memmove(dev->job, dev->job + n_jobs, (dev->n_jobs - n_jobs) * sizeof *dev->job);
    dev->n_jobs -= n_jobs;
}

static ds4_status far_wait(ds4_dev *dev, ds4_ticket ticket, ds4_err *err)
{
    uint64_t n_programs = 0;
    uint32_t n = 0;

    while (n < dev->n_jobs && dev->n_done + n_programs < ticket) n_programs += dev->job[n++].program != NULL;
    finish(dev, n);
    if (dev->status == DS4_OK) return DS4_OK;
    const ds4_status st = dev->status;
    dev->status = DS4_OK;
    if (err) *err = dev->err;
    return st;
}

static void far_time(ds4_dev *dev, ds4_time_fn *fn, void *ctx)
{
    ds4_backend_cpu.time(dev->near, fn, ctx);
}

/* ---- opening --------------------------------------------------------------------------------------- */

static ds4_status far_probe(uint32_t i_dev, ds4_dev_info *out, ds4_err *err)
{
    const char *cut = getenv("DS4_FAR_CUT");

    DS4_TRY(ds4_backend_cpu.probe(i_dev, out, err));
    out->unified = false;
    out->page_bytes = 64 << 10;
    out->cut = cut ? (uint32_t)strtoul(cut, NULL, 10) : 128;
    out->kv_form = DS4_KV_PLANES;
    return DS4_OK;
}

static void far_close(ds4_dev *dev)
{
    if (!dev) return;
    finish(dev, dev->n_jobs);
    pthread_mutex_lock(&dev->lock);
    dev->stops = true;
    pthread_cond_broadcast(&dev->changed);
    pthread_mutex_unlock(&dev->lock);
    pthread_join(dev->thread, NULL);
    ds4_backend_cpu.close(dev->near);
    free(dev->span);
    free(dev->block);
    free(dev);
}

static ds4_status far_open(uint32_t i_dev, const ds4_limits *limits, ds4_dev **out, ds4_err *err)
{
    ds4_dev *dev = calloc(1, sizeof *dev);

    if (!dev) return ds4_fail(err, DS4_E_NOMEM, "no memory for a far device");
    dev->limits = *limits;
    dev->span = malloc((limits->max_batch + 1) * sizeof *dev->span);
    dev->n_blocks = FEW_BLOCKS;
    dev->block = malloc(dev->n_blocks * sizeof *dev->block);
    const ds4_status st = dev->span && dev->block ? ds4_backend_cpu.open(i_dev, limits, &dev->near, err)
                                    : ds4_fail(err, DS4_E_NOMEM, "no memory for a far device");
    if (st != DS4_OK) {
        free(dev->span);
        free(dev->block);
        free(dev);
        return st;
    }
    pthread_mutex_init(&dev->lock, NULL);
    pthread_cond_init(&dev->changed, NULL);
    if (pthread_create(&dev->thread, NULL, work_main, dev) != 0) {
        ds4_backend_cpu.close(dev->near);
        free(dev->span);
        free(dev->block);
        free(dev);
        return ds4_fail(err, DS4_E_NOMEM, "no thread for a far device");
    }
    *out = dev;
    return DS4_OK;
}

const ds4_backend ds4_backend_far = {
    .name = "far",
    .probe = far_probe,
    .open = far_open,
    .close = far_close,
    .scratch_bytes = far_scratch_bytes,
    .alloc = far_alloc,
    .commit = far_commit,
    .discard = far_discard,
    .free = far_free,
    .resident = far_resident,
    .read = far_read,
    .write = far_write,
    .bind = far_bind,
    .load = far_load,
    .compile = far_compile,
    .drop_program = far_drop_program,
    .run = far_run,
    .wait = far_wait,
    .time = far_time,
};
