/* expert_cache.c - see expert_cache.h.
 *
 * Layers whose experts have the same size share a class of entries. An entry is evicted when
 * its expert is expected to be needed last (expert_policy.h); never while it is lent out,
 * wanted by the visit in progress or being read. */
#include "backend/expert_cache.h"

#include "backend/expert_policy.h"
#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

/* Experts of a visit being read at once: enough for a deep queue, few enough that a chunk
 * which needs every expert does not push out what the next layers will find. */
enum { WINDOW = 16, MAX_CLASSES = 16 };

typedef enum entry_state { FREE, READING, DROPPING, READY } entry_state;

typedef struct entry {
    uint8_t     *data;
    entry_state  state;
    uint32_t     layer, expert;     /* unless FREE or DROPPING */
    bool         lent;
    bool         ahead;             /* read on a guess and not used yet */
    bool         expected;          /* by a guess about a visit to come */
    ds4_aio_read read[DS4_EXPERT_MATRICES];
} entry;

typedef struct entry_class {
    uint64_t entry_bytes;
    uint64_t matrix_bytes[DS4_EXPERT_MATRICES];    /* room, a multiple of DS4_AIO_ALIGN */
    uint32_t first, n;                      /* entries */
    uint32_t n_layers, n_experts;           /* of all its layers together */
    uint32_t n_ahead;
} entry_class;

struct ds4_expert_cache {
    ds4_aio          *aio;
    ds4_expert_policy policy;
    uint32_t          n_layers, n_experts;
    ds4_expert_layer *layer;        /* [n_layers] */
    uint8_t          *class_of;     /* [n_layers] */
    int32_t          *entry_of;     /* [n_layers][n_experts], -1: not in memory */
    entry_class       classes[MAX_CLASSES];
    uint32_t          n_classes, n_entries;
    entry            *entries;
    uint8_t          *arena;
    uint64_t          arena_bytes;
    uint32_t         *flying;       /* [n_flying] entries READING or DROPPING */
    uint32_t          n_flying;

    /* The visit in progress. */
    bool              is_visiting;
    uint32_t          at;           /* its layer */
    uint32_t         *need;         /* [n_need] experts not handed out yet */
    uint32_t         *missing;      /* [n_missing] experts whose read is not submitted yet */
    uint32_t         *lent;         /* [n_lent] entries */
    uint32_t          n_need, n_missing, next_missing, n_lent;
    bool             *is_wanted;    /* [n_experts] */
    uint32_t         *order;        /* [n_experts] */
    bool              has_failed;
    ds4_err           failure;

    ds4_expert_stats  stats;
};

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t matrix_room(uint64_t offset, uint64_t n_bytes)
{
    const uint64_t mask = DS4_AIO_ALIGN - 1;
    const bool     aligned = ((offset | n_bytes) & mask) == 0;
    return aligned ? n_bytes : (((n_bytes + mask) & ~mask) + DS4_AIO_ALIGN);
}

static void class_of_layer(const ds4_expert_layer *l, entry_class *out)
{
    *out = (entry_class){ 0 };
    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
        out->matrix_bytes[p] = matrix_room(l->matrix[p].offset, l->matrix[p].n_bytes);
        out->entry_bytes += out->matrix_bytes[p];
    }
}

/* Sort layers into classes; class_of may be NULL. Returns the number of classes; layers
 * beyond MAX_CLASSES sizes join the last one, whose entries are then as large as needed. */
static uint32_t classify(const ds4_expert_file *file, entry_class classes[MAX_CLASSES],
                         uint8_t *class_of)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < file->n_layers; i++) {
        entry_class c;
        uint32_t   k = 0;
        class_of_layer(&file->layer[i], &c);
        while (k < n && memcmp(classes[k].matrix_bytes, c.matrix_bytes, sizeof c.matrix_bytes) != 0) k++;
        if (k == MAX_CLASSES) {
            k--;
            classes[k].entry_bytes = 0;
            for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
                uint64_t *room = &classes[k].matrix_bytes[p];
                if (c.matrix_bytes[p] > *room) *room = c.matrix_bytes[p];
                classes[k].entry_bytes += *room;
            }
        } else if (k == n) {
            classes[n++] = c;
        }
        classes[k].n_layers++;
        classes[k].n_experts += file->layer[i].n_experts;
        if (class_of) class_of[i] = (uint8_t)k;
    }
    return n;
}

uint64_t ds4_expert_cache_least(const ds4_expert_file *file)
{
    entry_class    classes[MAX_CLASSES];
    const uint32_t n = classify(file, classes, NULL);
    uint64_t       total = 0;

    for (uint32_t k = 0; k < n; k++) total += classes[k].entry_bytes * file->n_used;
    return total;
}

/* Every class gets what one token needs and a part of the rest by the size of its layers.
 * Returns the bytes of all entries; n_entries receives their number. */
static uint64_t share_entries(entry_class *classes, uint32_t n_classes, const ds4_expert_file *file,
                              uint64_t n_bytes, uint32_t *n_entries)
{
    const uint64_t least = ds4_expert_cache_least(file);
    double         weight = 0.0;
    uint64_t       total = 0;

    *n_entries = 0;
    for (uint32_t k = 0; k < n_classes; k++) {
        weight += (double)classes[k].entry_bytes * classes[k].n_layers;
    }
    for (uint32_t k = 0; k < n_classes; k++) {
        entry_class    *s = &classes[k];
        const double   part = (double)s->entry_bytes * s->n_layers / weight;
        const uint64_t rest = (uint64_t)((double)(n_bytes - least) * part) / s->entry_bytes;
        const uint64_t want = file->n_used + rest;
        s->first = *n_entries;
        s->n = (uint32_t)(want < s->n_experts ? want : s->n_experts);
        *n_entries += s->n;
        total += s->n * s->entry_bytes;
    }
    return total;
}

uint64_t ds4_expert_cache_bytes(const ds4_expert_file *file, uint64_t n_bytes)
{
    entry_class    classes[MAX_CLASSES];
    uint32_t       n_entries;
    const uint32_t n = classify(file, classes, NULL);

    for (uint32_t k = 0; k < n; k++) {
        if (classes[k].entry_bytes == 0) return n_bytes;     /* a broken file: opening refuses it */
    }
    if (n_bytes < ds4_expert_cache_least(file)) return n_bytes;             /* and this */
    return share_entries(classes, n, file, n_bytes, &n_entries);
}

static ds4_status reserve_arena(ds4_expert_cache *c, ds4_err *err)
{
    void *p = mmap(NULL, (size_t)c->arena_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return ds4_fail(err, DS4_E_NOMEM, "no address space for %" PRIu64 " bytes of experts",
                        c->arena_bytes);
    }
    c->arena = p;
#ifdef MADV_HUGEPAGE
    madvise(p, (size_t)c->arena_bytes, MADV_HUGEPAGE);
#endif
    uint8_t *at = c->arena;
    for (uint32_t k = 0; k < c->n_classes; k++) {
        const entry_class *s = &c->classes[k];
        for (uint32_t i = 0; i < s->n; i++, at += s->entry_bytes) c->entries[s->first + i].data = at;
    }
    return DS4_OK;
}

static ds4_status open_tables(ds4_expert_cache *c, const ds4_expert_file *file, ds4_err *err)
{
    const size_t n = (size_t)c->n_layers * c->n_experts;

    c->layer = malloc(c->n_layers * sizeof *c->layer);
    c->class_of = malloc(c->n_layers);
    c->entry_of = malloc(n * sizeof *c->entry_of);
    c->need = malloc(c->n_experts * sizeof *c->need);
    c->missing = malloc(c->n_experts * sizeof *c->missing);
    c->lent = malloc(c->n_experts * sizeof *c->lent);
    c->order = malloc(c->n_experts * sizeof *c->order);
    c->is_wanted = calloc(c->n_experts, sizeof *c->is_wanted);
    if (!c->layer || !c->class_of || !c->entry_of || !c->need || !c->missing || !c->lent || !c->order
        || !c->is_wanted) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a table of %zu experts", n);
    }
    memcpy(c->layer, file->layer, c->n_layers * sizeof *c->layer);
    for (size_t i = 0; i < n; i++) c->entry_of[i] = -1;
    c->n_classes = classify(file, c->classes, c->class_of);
    return ds4_expert_policy_create(&c->policy, c->n_layers, c->n_experts, file->n_used, err);
}

static ds4_status open_entries(ds4_expert_cache *c, const ds4_expert_file *file, uint64_t n_bytes,
                             ds4_err *err)
{
    const uint64_t least = ds4_expert_cache_least(file);

    if (n_bytes < least) {
        return ds4_fail(err, DS4_E_LIMIT, "a cache of %" PRIu64 " bytes for streamed experts is too"
                        " small for one token: %s needs at least %" PRIu64 " bytes (%.1f MB)",
                        n_bytes, file->paths[0], least, (double)least / 1e6);
    }
    c->arena_bytes = share_entries(c->classes, c->n_classes, file, n_bytes, &c->n_entries);
    c->entries = calloc(c->n_entries, sizeof *c->entries);
    c->flying = malloc(c->n_entries * sizeof *c->flying);
    if (!c->entries || !c->flying) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for %u entries", c->n_entries);
    }
    return reserve_arena(c, err);
}

ds4_status ds4_expert_cache_open(ds4_expert_cache **out, const ds4_expert_file *file,
                                 uint64_t n_bytes, const ds4_aio_options *opt, ds4_err *err)
{
    ds4_expert_cache *c = calloc(1, sizeof *c);

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory for a cache of experts");
    c->n_layers = file->n_layers;
    c->n_experts = file->n_experts;
    ds4_status st = open_tables(c, file, err);
    if (st == DS4_OK) st = open_entries(c, file, n_bytes, err);
    if (st == DS4_OK) st = ds4_aio_open(&c->aio, file->paths, file->n_files, opt, err);
    if (st != DS4_OK) {
        ds4_expert_cache_close(c);
        return st;
    }
    c->stats = (ds4_expert_stats){ .cache_bytes = c->arena_bytes, .n_entries = c->n_entries };
    for (uint32_t k = 0; k < c->n_classes; k++) c->stats.n_experts += c->classes[k].n_experts;
    *out = c;
    return DS4_OK;
}

void ds4_expert_cache_close(ds4_expert_cache *c)
{
    if (!c) return;
    ds4_aio_close(c->aio);
    if (c->arena) munmap(c->arena, (size_t)c->arena_bytes);
    ds4_expert_policy_clear(&c->policy);
    free(c->layer);
    free(c->class_of);
    free(c->entry_of);
    free(c->need);
    free(c->missing);
    free(c->lent);
    free(c->order);
    free(c->is_wanted);
    free(c->entries);
    free(c->flying);
    free(c);
}

/* ---- entries --------------------------------------------------------------------------------- */

static int32_t *place_of(ds4_expert_cache *c, uint32_t layer, uint32_t expert)
{
    return &c->entry_of[(size_t)layer * c->n_experts + expert];
}

static bool is_wanted(const ds4_expert_cache *c, const entry *s)
{
    return c->is_visiting && s->layer == c->at && c->is_wanted[s->expert];
}

static void set_ahead(ds4_expert_cache *c, entry *s, bool ahead)
{
    if (s->ahead == ahead) return;
    s->ahead = ahead;
    c->classes[c->class_of[s->layer]].n_ahead += ahead ? 1 : UINT32_MAX;
}

/* The entry no longer stands for its expert. */
static void forget(ds4_expert_cache *c, entry *s, entry_state state)
{
    c->stats.n_wasted += s->ahead;
    set_ahead(c, s, false);
    s->expected = false;
    *place_of(c, s->layer, s->expert) = -1;
    s->state = state;
}

/* Give up a read on a guess. */
static void drop(ds4_expert_cache *c, entry *s)
{
    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) ds4_aio_cancel(c->aio, &s->read[p]);
    forget(c, s, DROPPING);
}

static void fail_visit(ds4_expert_cache *c, const entry *s, const ds4_aio_read *r)
{
    ds4_err reason;

    if (c->has_failed) return;
    c->has_failed = true;
    const ds4_status st = ds4_aio_reason(c->aio, r, &reason);
    ds4_fail(&c->failure, st, "%s (layer %u, expert %u)", reason.text, s->layer, s->expert);
}

/* Has an entry's reading ended? Then it is READY or FREE afterwards. */
static bool has_landed(ds4_expert_cache *c, entry *s)
{
    const ds4_aio_read *failed = NULL;
    bool                whole = true;

    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
        const ds4_aio_state state = ds4_aio_state_of(c->aio, &s->read[p]);
        if (state == DS4_AIO_QUEUED) return false;
        if (state == DS4_AIO_FAILED) failed = &s->read[p];
        whole &= state == DS4_AIO_DONE;
    }
    if (s->state == DROPPING) {
        s->state = FREE;
    } else if (whole) {
        s->state = READY;
    } else {
        if (failed && is_wanted(c, s)) fail_visit(c, s, failed);
        forget(c, s, FREE);
    }
    return true;
}

static void collect(ds4_expert_cache *c)
{
    for (uint32_t i = 0; i < c->n_flying;) {
        if (has_landed(c, &c->entries[c->flying[i]])) c->flying[i] = c->flying[--c->n_flying];
        else i++;
    }
}

/* The entry to use for an expert of a layer: a free one, else the one needed last. Entries of
 * experts that are expected soon only if `any`. NULL: none can be had now. */
static entry *find_victim(ds4_expert_cache *c, uint32_t layer, bool any)
{
    const entry_class *k = &c->classes[c->class_of[layer]];
    entry            *best = NULL;
    float             farthest = -1.0f;

    for (uint32_t i = k->first; i < k->first + k->n; i++) {
        entry *s = &c->entries[i];
        if (s->state == FREE) return s;
        if (s->state != READY || s->lent || is_wanted(c, s) || (s->expected && !any)) continue;
        const float distance = ds4_expert_policy_distance(&c->policy, s->layer, s->expert);
        if (distance <= farthest) continue;
        farthest = distance;
        best = s;
    }
    return best;
}

static void start_reading(ds4_expert_cache *c, entry *s, uint32_t layer, uint32_t expert,
                          bool urgent)
{
    const entry_class *k = &c->classes[c->class_of[layer]];
    uint8_t          *to = s->data;

    if (s->state == READY) forget(c, s, FREE);
    s->layer = layer;
    s->expert = expert;
    s->state = READING;
    s->lent = false;
    *place_of(c, layer, expert) = (int32_t)(s - c->entries);
    c->flying[c->n_flying++] = (uint32_t)(s - c->entries);
    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
        const uint64_t n_bytes = c->layer[layer].matrix[p].n_bytes;
        s->read[p] = (ds4_aio_read){ .file = c->layer[layer].matrix[p].file,
                                     .offset = c->layer[layer].matrix[p].offset + expert * n_bytes,
                                     .n_bytes = n_bytes, .buffer = to };
        ds4_aio_submit(c->aio, &s->read[p], urgent);
        to += k->matrix_bytes[p];
    }
}

static uint64_t expert_bytes(const ds4_expert_cache *c, uint32_t layer)
{
    uint64_t n = 0;
    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) n += c->layer[layer].matrix[p].n_bytes;
    return n;
}

/* ---- a visit --------------------------------------------------------------------------------- */

/* Settle what a guess brought for an expert of the layer that is visited now. */
static void settle(ds4_expert_cache *c, entry *s, bool needed)
{
    s->expected = false;
    if (needed && s->ahead) {
        c->stats.n_prefetched++;
        c->stats.bytes_needed += expert_bytes(c, s->layer);
    } else if (needed) {
        c->stats.n_hits++;
    }
    if (needed && s->state == READING) {
        for (int p = 0; p < DS4_EXPERT_MATRICES; p++) ds4_aio_hurry(c->aio, &s->read[p]);
    } else if (s->state == READING) {
        drop(c, s);
        return;
    }
    if (!needed && s->ahead) c->stats.n_wasted++;
    set_ahead(c, s, false);
}

static uint32_t n_reading(const ds4_expert_cache *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_flying; i++) {
        const entry *s = &c->entries[c->flying[i]];
        n += s->state == READING && is_wanted(c, s);
    }
    return n;
}

/* Keep WINDOW experts on their way. */
static void read_missing(ds4_expert_cache *c)
{
    for (uint32_t n = n_reading(c); n < WINDOW && c->next_missing < c->n_missing; n++) {
        entry *s = find_victim(c, c->at, false);
        if (!s && n == 0) s = find_victim(c, c->at, true);
        if (!s) return;
        start_reading(c, s, c->at, c->missing[c->next_missing++], true);
    }
}

void ds4_expert_cache_begin(ds4_expert_cache *c, uint32_t layer, const uint32_t *count,
                            uint32_t n_tokens)
{
    assert(!c->is_visiting && layer < c->n_layers);
    collect(c);
    ds4_expert_policy_visit(&c->policy, layer, count, c->layer[layer].n_experts, n_tokens);
    c->is_visiting = true;
    c->has_failed = false;
    c->at = layer;
    c->n_need = c->n_missing = c->next_missing = c->n_lent = 0;
    for (uint32_t e = 0; e < c->layer[layer].n_experts; e++) {
        const int32_t place = *place_of(c, layer, e);
        c->is_wanted[e] = count[e] > 0;
        if (place >= 0) settle(c, &c->entries[place], count[e] > 0);
        if (count[e] == 0) continue;
        c->need[c->n_need++] = e;
        if (place >= 0) continue;
        c->missing[c->n_missing++] = e;
        c->stats.n_misses++;
        c->stats.bytes_needed += expert_bytes(c, layer);
    }
    read_missing(c);
}

static void take_back(ds4_expert_cache *c)
{
    for (uint32_t i = 0; i < c->n_lent; i++) c->entries[c->lent[i]].lent = false;
    c->n_lent = 0;
}

/* Lend what has arrived; the rest of the needed experts keep their order. */
static uint32_t lend(ds4_expert_cache *c, ds4_expert_ready *out)
{
    const entry_class *k = &c->classes[c->class_of[c->at]];
    uint32_t          n = 0, n_left = 0;

    for (uint32_t i = 0; i < c->n_need; i++) {
        const uint32_t e = c->need[i];
        const int32_t  place = *place_of(c, c->at, e);
        if (place < 0 || c->entries[place].state != READY) {
            c->need[n_left++] = e;
            continue;
        }
        entry    *s = &c->entries[place];
        uint8_t *at = s->data;
        s->lent = true;
        c->lent[c->n_lent++] = (uint32_t)place;
        c->is_wanted[e] = false;
        out[n].expert = e;
        for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
            const ds4_expert_layer *l = &c->layer[c->at];
            out[n].matrix[p] = at + (l->matrix[p].offset + e * l->matrix[p].n_bytes) % DS4_AIO_ALIGN;
            at += k->matrix_bytes[p];
        }
        n++;
    }
    c->n_need = n_left;
    return n;
}

/* Nothing of this visit is on its way, so guesses must make room. */
static void drop_guesses(ds4_expert_cache *c)
{
    for (uint32_t i = 0; i < c->n_flying; i++) {
        entry *s = &c->entries[c->flying[i]];
        if (s->state == READING && !is_wanted(c, s)) drop(c, s);
    }
}

ds4_status ds4_expert_cache_next(ds4_expert_cache *c, ds4_expert_ready *out, uint32_t *n,
                                 ds4_err *err)
{
    assert(c->is_visiting);
    take_back(c);
    *n = 0;
    while (c->n_need > 0) {
        const uint64_t seen = ds4_aio_ended(c->aio);
        collect(c);
        if (c->has_failed) return ds4_fail(err, c->failure.code, "%s", c->failure.text);
        *n = lend(c, out);
        read_missing(c);
        if (*n > 0) return DS4_OK;
        if (n_reading(c) == 0) drop_guesses(c);
        assert(c->n_flying > 0);

        const uint64_t start = ds4_now_ns();
        ds4_aio_wait(c->aio, seen);
        c->stats.wait_ns += ds4_now_ns() - start;
    }
    return DS4_OK;
}

void ds4_expert_cache_end(ds4_expert_cache *c)
{
    take_back(c);
    c->is_visiting = false;
}

/* ---- reading ahead --------------------------------------------------------------------------- */

/* Experts with a count, largest first; equal counts in ascending order. */
static uint32_t sort_by_count(uint32_t *order, const uint32_t *count, uint32_t n_experts)
{
    uint32_t n = 0;

    for (uint32_t e = 0; e < n_experts; e++) {
        if (count[e] == 0) continue;
        uint32_t i = n++;
        for (; i > 0 && count[order[i - 1]] < count[e]; i--) order[i] = order[i - 1];
        order[i] = e;
    }
    return n;
}

void ds4_expert_cache_prefetch(ds4_expert_cache *c, uint32_t layer, const uint32_t *count)
{
    entry_class    *k = &c->classes[c->class_of[layer]];
    const uint32_t n = sort_by_count(c->order, count, c->layer[layer].n_experts);

    assert(!c->is_visiting || c->at != layer);
    collect(c);
    for (uint32_t e = 0; e < c->layer[layer].n_experts; e++) {
        const int32_t place = *place_of(c, layer, e);
        if (place < 0) continue;
        entry *s = &c->entries[place];
        s->expected = count[e] > 0;
        if (s->state == READING && s->ahead && !s->expected) drop(c, s);
    }
    for (uint32_t i = 0; i < n && k->n_ahead < k->n / 4; i++) {
        if (*place_of(c, layer, c->order[i]) >= 0) continue;
        entry *s = find_victim(c, layer, false);
        if (!s) return;
        start_reading(c, s, layer, c->order[i], false);
        s->expected = true;
        set_ahead(c, s, true);
    }
}

ds4_status ds4_expert_cache_check(const ds4_expert_cache *c, ds4_err *err)
{
    return ds4_aio_check(c->aio, err);
}

void ds4_expert_cache_get_stats(ds4_expert_cache *c, ds4_expert_stats *out)
{
    ds4_aio_stats io;

    ds4_aio_get_stats(c->aio, &io);
    *out = c->stats;
    out->method = io.method;
    out->is_direct = io.is_direct;
    out->bytes_read = io.n_bytes;
    out->busy_ns = io.busy_ns;
}
