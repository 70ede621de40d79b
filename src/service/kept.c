/* kept.c - see kept.h. */
#include "service/kept.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    ds4_snapshot *p;
    ds4_kept_kind kind;
    uint64_t      used;                 /* counts uses */
    ds4_kv_key    reader;
} entry;

struct ds4_kept {
    ds4_engine *engine;
    uint64_t    max_bytes, clock;
    entry      *item;
    uint32_t    n, capacity;
    uint64_t    own_bytes;              /* of tails and tokens */
    ds4_kv_key  reader;                 /* of what is kept and found now */
};

ds4_status ds4_kept_create(ds4_engine *e, uint64_t max_bytes, ds4_kept **out, ds4_err *err)
{
    ds4_kept *k = calloc(1, sizeof *k);

    if (!k) return ds4_fail(err, DS4_E_NOMEM, "no memory to keep positions in");
    k->engine = e;
    k->max_bytes = max_bytes;
    *out = k;
    return DS4_OK;
}

void ds4_kept_set_reader(ds4_kept *k, const ds4_kv_key *reader)
{
    k->reader = *reader;
}

static void drop(ds4_kept *k, uint32_t i)
{
    k->own_bytes -= ds4_snapshot_bytes(k->item[i].p);
    ds4_snapshot_free(k->item[i].p);
    k->item[i] = k->item[--k->n];
}

void ds4_kept_clear(ds4_kept *k)
{
    while (k->n > 0) drop(k, k->n - 1);
}

void ds4_kept_free(ds4_kept *k)
{
    if (!k) return;
    ds4_kept_clear(k);
    free(k->item);
    free(k);
}

uint32_t ds4_kept_n(const ds4_kept *k)
{
    return k->n;
}

uint64_t ds4_kept_bytes(const ds4_kept *k)
{
    return k->own_bytes + ds4_engine_kept_bytes(k->engine);
}

const ds4_snapshot *ds4_kept_at(const ds4_kept *k, uint32_t i)
{
    return k->item[i].p;
}

/* ---- the budget ------------------------------------------------------------------------------- */

/* The last token differs more often than the first thousands. */
static bool begins(const ds4_snapshot *p, const int32_t *tokens, uint32_t n_tokens)
{
    const uint32_t pos = ds4_snapshot_pos(p);
    const int32_t *own = ds4_snapshot_tokens(p);

    return pos <= n_tokens && own[pos - 1] == tokens[pos - 1]
        && memcmp(own, tokens, pos * sizeof *own) == 0;
}

static bool is_superseded(const ds4_kept *k, uint32_t i)
{
    for (uint32_t j = 0; j < k->n; j++) {
        const ds4_snapshot *other = k->item[j].p;
        if (ds4_snapshot_pos(other) > ds4_snapshot_pos(k->item[i].p)
            && ds4_kv_key_eq(&k->item[j].reader, &k->item[i].reader)
            && begins(k->item[i].p, ds4_snapshot_tokens(other), ds4_snapshot_pos(other))) {
            return true;
        }
    }
    return false;
}

const ds4_snapshot *ds4_kept_before(const ds4_kept *k, const ds4_kv_key *reader, uint64_t *used)
{
    const entry *best = NULL;

    for (uint32_t i = 0; i < k->n; i++) {
        const entry *e = &k->item[i];
        if (e->used >= *used || (best && e->used < best->used)) continue;
        if (ds4_kv_key_eq(&e->reader, reader) && !is_superseded(k, i)) best = e;
    }
    if (!best) return NULL;
    *used = best->used;
    return best->p;
}

/* Does a leave before b? */
static bool goes_before(const entry *a, bool a_superseded, const entry *b, bool b_superseded)
{
    if (a_superseded != b_superseded) return a_superseded;
    if (a_superseded && a->kind != b->kind) return a->kind > b->kind;
    return a->used < b->used;
}

static void make_room(ds4_kept *k)
{
    while (k->n > 0 && ds4_kept_bytes(k) > k->max_bytes) {
        uint32_t first = 0;
        bool     first_superseded = is_superseded(k, 0);
        for (uint32_t i = 1; i < k->n; i++) {
            const bool superseded = is_superseded(k, i);
            if (!goes_before(&k->item[i], superseded, &k->item[first], first_superseded)) continue;
            first = i;
            first_superseded = superseded;
        }
        drop(k, first);
    }
}

/* ---- keeping ----------------------------------------------------------------------------------- */

/* Drop the entry of this position: a position is kept once, for the better of both reasons. A new
 * trail replaces the trail that it continues. */
static ds4_kept_kind replace(ds4_kept *k, const ds4_snapshot *p, ds4_kept_kind kind)
{
    const uint32_t pos = ds4_snapshot_pos(p);

    for (uint32_t i = k->n; i-- > 0;) {
        const entry *e = &k->item[i];
        const bool   same = ds4_snapshot_pos(e->p) == pos;
        if (!same && (kind != DS4_KEPT_TRAIL || e->kind != DS4_KEPT_TRAIL)) continue;
        if (!ds4_kv_key_eq(&e->reader, &k->reader) || !begins(e->p, ds4_snapshot_tokens(p), pos)) continue;
        if (same && e->kind < kind) kind = e->kind;
        drop(k, i);
    }
    return kind;
}

void ds4_kept_give(ds4_kept *k, ds4_snapshot *p, ds4_kept_kind kind)
{
    if (ds4_snapshot_pos(p) == 0) {
        ds4_snapshot_free(p);
        return;
    }
    kind = replace(k, p, kind);
    if (k->n == k->capacity) {
        const uint32_t more = k->capacity ? 2 * k->capacity : 16;
        entry         *grew = realloc(k->item, more * sizeof *grew);
        if (!grew) {
            ds4_snapshot_free(p);
            return;
        }
        k->item = grew;
        k->capacity = more;
    }
    k->item[k->n++] = (entry){ p, kind, ++k->clock, k->reader };
    k->own_bytes += ds4_snapshot_bytes(p);
    make_room(k);
}

void ds4_kept_add(ds4_kept *k, ds4_session *s, ds4_kept_kind kind)
{
    ds4_snapshot *p = NULL;

    if (ds4_session_pos(s) == 0 || ds4_session_snapshot(s, &p, NULL) != DS4_OK) return;
    ds4_kept_give(k, p, kind);
}

/* ---- finding ------------------------------------------------------------------------------------- */

static entry *longest(ds4_kept *k, const int32_t *tokens, uint32_t n_tokens, uint32_t max_pos,
                      uint32_t multiple)
{
    entry *best = NULL;

    for (uint32_t i = 0; i < k->n; i++) {
        entry         *e = &k->item[i];
        const uint32_t pos = ds4_snapshot_pos(e->p);
        if (pos > max_pos || pos % multiple != 0) continue;
        if (best && pos <= ds4_snapshot_pos(best->p)) continue;
        if (ds4_kv_key_eq(&e->reader, &k->reader) && begins(e->p, tokens, n_tokens)) best = e;
    }
    return best;
}

const ds4_snapshot *ds4_kept_find(ds4_kept *k, const int32_t *tokens, uint32_t n_tokens,
                                  uint32_t max_pos, bool use)
{
    entry *e = longest(k, tokens, n_tokens, max_pos, 1);

    if (!e) return NULL;
    if (use) e->used = ++k->clock;
    return e->p;
}

const ds4_snapshot *ds4_kept_find_even(ds4_kept *k, const int32_t *tokens, uint32_t n_tokens,
                                       uint32_t multiple)
{
    const entry *e = longest(k, tokens, n_tokens, n_tokens, multiple);
    return e ? e->p : NULL;
}

uint32_t ds4_kept_common(const ds4_kept *k, const int32_t *tokens, uint32_t n_tokens)
{
    uint32_t best = 0;

    for (uint32_t i = 0; i < k->n; i++) {
        const int32_t *own = ds4_snapshot_tokens(k->item[i].p);
        const uint32_t pos = ds4_snapshot_pos(k->item[i].p), n = pos < n_tokens ? pos : n_tokens;
        if (n <= best || own[best] != tokens[best]) continue;
        if (!ds4_kv_key_eq(&k->item[i].reader, &k->reader)) continue;
        uint32_t at = 0;
        while (at < n && own[at] == tokens[at]) at++;
        if (at > best) best = at;
    }
    return best;
}
