/* cpu_ahead.c - members that wait read ahead.
 *
 * With one token nearly all time is reading weights, and the memory would be idle while a
 * region ends, while one thread does what is too little to share, and while the team meets
 * again. What each member will read next is known from the program, so a member
 * that waits brings the beginning of it into its cache.
 *
 * A plan may change while members follow it. They read its fields one by one and may mix two
 * plans, so that they prefetch something useless; a prefetch never faults. */
#include "backend/cpu/cpu_local.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_RANGES = 6,
    MOST_TOKENS = 4,                /* more are bound by arithmetic */
    AHEAD_BYTES = 256 << 10,        /* for each member: a small part of its cache */
    STEP_BYTES = 1024,              /* brought before looking whether there is work */
    LINE_BYTES = 64,
};

typedef struct range {
    _Atomic(const uint8_t *) at;
    atomic_uint              n_bytes;
} range;

/* The ranges that one member reads ahead. */
typedef struct ahead {
    _Alignas(128) range range[MOST_RANGES];
    uint32_t n_ranges, n_bytes;     /* of the plan being made; the owner's */
    unsigned seen;                  /* the plan that is followed, and how far; the member's */
    uint32_t i_range, off;
} ahead;

struct cpu_ahead {
    uint32_t    n_members;
    atomic_uint plan;               /* counts plans */
    ahead       of[];               /* [n_members] */
};

/* ---- following ----------------------------------------------------------------------------- */

static bool step(void *ctx, uint32_t member)
{
    struct cpu_ahead *all = ctx;
    ahead            *a = &all->of[member];
    const unsigned    plan = atomic_load_explicit(&all->plan, memory_order_acquire);
    uint32_t          n_bytes = 0;

    if (a->seen != plan) {
        a->seen = plan;
        a->i_range = a->off = 0;
    }
    for (; a->i_range < MOST_RANGES; a->i_range++, a->off = 0) {
        n_bytes = atomic_load_explicit(&a->range[a->i_range].n_bytes, memory_order_relaxed);
        if (a->off < n_bytes) break;
    }
    if (a->i_range == MOST_RANGES) return false;
    const uint8_t *at = atomic_load_explicit(&a->range[a->i_range].at, memory_order_relaxed);
    for (uint32_t i = 0; i < STEP_BYTES; i += LINE_BYTES) __builtin_prefetch(at + a->off + i, 0, 2);
    a->off += STEP_BYTES;
    return true;
}

/* ---- planning ------------------------------------------------------------------------------ */

static void add_stretch(void *ctx, uint32_t member, const cpu_part *part, uint64_t from, uint64_t to)
{
    ahead         *a = &((struct cpu_ahead *)ctx)->of[member];
    const uint64_t n_bytes = (to - from) * part->row_bytes, left = AHEAD_BYTES - a->n_bytes;

    if (a->n_ranges == MOST_RANGES || left == 0) return;
    range *r = &a->range[a->n_ranges++];
    atomic_store_explicit(&r->at, part->w + from * part->row_bytes, memory_order_relaxed);
    atomic_store_explicit(&r->n_bytes, (unsigned)(n_bytes < left ? n_bytes : left), memory_order_relaxed);
    a->n_bytes += (uint32_t)(n_bytes < left ? n_bytes : left);
}

static void add_parts(struct cpu_ahead *all, const cpu_part *parts, uint32_t n_parts)
{
    if (n_parts) cpu_parts_begin(parts, n_parts, all->n_members, add_stretch, all);
}

static bool is_full(const struct cpu_ahead *all)
{
    return all->of[0].n_bytes >= AHEAD_BYTES / 2;
}

void cpu_look_ahead(ds4_dev *dev, const cpu_part *parts, uint32_t n_parts)
{
    struct cpu_ahead *all = dev->ahead;
    const uint32_t    n_tokens = dev->batch->n_tokens;

    if (n_tokens > MOST_TOKENS || all->n_members < 2) return;
    for (uint32_t m = 0; m < all->n_members; m++) all->of[m].n_ranges = all->of[m].n_bytes = 0;
    add_parts(all, parts, n_parts);
    for (const cpu_step *step = dev->step + 1; step < dev->step_end && !is_full(all); step++) {
        const uint32_t n_rows = cpu_project_rows(dev->batch, step->is_head);
        cpu_part       next[CPU_MAX_PARTS];
        if (step->n_parts && n_rows) {
            cpu_step_parts(step, n_rows, next);
            add_parts(all, next, step->n_parts);
        }
        if (step->is_chosen) break;
    }
    for (uint32_t m = 0; m < all->n_members; m++) {
        ahead *a = &all->of[m];
        for (uint32_t i = a->n_ranges; i < MOST_RANGES; i++) {
            atomic_store_explicit(&a->range[i].n_bytes, 0, memory_order_relaxed);
        }
    }
    atomic_fetch_add_explicit(&all->plan, 1, memory_order_release);
}

/* ---- life ---------------------------------------------------------------------------------- */

ds4_status cpu_ahead_create(ds4_dev *dev, ds4_err *err)
{
    const uint32_t    n = ds4_team_size(dev->team);
    const size_t      n_bytes = sizeof(struct cpu_ahead) + n * sizeof(ahead);
    struct cpu_ahead *all = aligned_alloc(_Alignof(ahead), n_bytes);

    if (!all) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u threads", n);
    memset(all, 0, n_bytes);
    all->n_members = n;
    dev->ahead = all;
    ds4_team_set_idle(dev->team, step, all);
    return DS4_OK;
}

void cpu_ahead_free(ds4_dev *dev)
{
    free(dev->ahead);
}
