/* grammar_walk.c - walking through a grammar, byte by byte.
 *
 * A walk stands in all states that the bytes so far allow at once. Each state has a set of
 * stacks: what may follow when its rule is over. Both are kept once (equal sets have equal
 * numbers), so a place is a number too, and where a byte leads from a place is found once and
 * then looked up. Stacks that differ only in their top share the rest, and states that differ
 * only in their stacks are one: their count is bounded by the grammar's, no branch is
 * ever dropped, and a value that could nest without end costs no more than one that does not. */
#include "text/grammar_machine.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 4096,
    SEEN_BUCKETS = 512,
    UNKNOWN = 0,
    NOWHERE = UINT32_MAX,
    MAX_KEPT_BYTES = 4 << 20, /* of what is remembered; then all but the present is forgotten */
};

/* A set of stacks: each link is a state to return to and the stacks below it. */
typedef struct link {
    uint32_t back, below;
} link;

typedef struct stack_set {
    uint32_t first, n; /* links, by ascending `back` */
    uint32_t next;     /* in the bucket */
    uint8_t  depth;    /* of its least deep stack */
    bool     bottom;   /* the empty stack is one of them */
} stack_set;

/* A state that waits for a byte or a marker, with its stacks. */
typedef struct item {
    uint32_t state, stacks;
} item;

typedef struct place {
    uint32_t first, n; /* items, by ascending state */
    uint32_t next;     /* in the bucket */
    bool     end;      /* the outermost rule may be over here */
} place;

/* stacks `c` are those of `a` and of `b` together */
typedef struct merge {
    uint32_t a, b, c, next;
} merge;

/* An array that grows. */
typedef struct pool {
    void    *data;
    uint32_t n, capacity;
} pool;

/* A walk remembers these; numbers begin at 1. */
typedef struct memory {
    pool     stacks, links, places, items, merges, moves; /* moves [n places][n_classes + 1] */
    uint32_t stack_bucket[BUCKETS], place_bucket[BUCKETS], merge_bucket[BUCKETS];
} memory;

struct ds4_grammar_walk {
    const ds4_grammar *g;
    memory             m;
    uint32_t           now, here; /* where it stands, and where it looks */
    pool               seen;      /* items of the step under way: those to follow and those done */
    uint32_t           seen_bucket[SEEN_BUCKETS];
    pool               seen_next;
    uint32_t           allowance; /* items that may still be followed while looking */
    bool               end;
    bool               failed; /* memory was short: nothing fits any more */
};

/* Room for n more elements, and the first of them; NULL when memory is short. */
static void *room(ds4_grammar_walk *w, pool *p, uint32_t n, size_t each)
{
    if (p->n + n > p->capacity) {
        uint32_t capacity = p->capacity ? p->capacity : 64;
        while (capacity < p->n + n) capacity *= 2;
        void *more = realloc(p->data, capacity * each);
        if (!more) {
            w->failed = true;
            return NULL;
        }
        p->data = more;
        p->capacity = capacity;
    }
    void *at = (char *)p->data + p->n * each;
    p->n += n;
    return at;
}

static stack_set *stacks_of(const ds4_grammar_walk *w)
{
    return w->m.stacks.data;
}

static link *links_of(const ds4_grammar_walk *w)
{
    return w->m.links.data;
}

static uint32_t mix(uint32_t h, uint32_t value)
{
    const uint64_t x = ((uint64_t)h << 32 | value) * 0x9E3779B97F4A7C15u;

    return (uint32_t)(x >> 32) ^ (uint32_t)(x >> 20);
}

/* ---- sets of stacks ------------------------------------------------------------------------- */

/* The number of the set that has these links. */
static uint32_t stack_number(ds4_grammar_walk *w, const link *list, uint32_t n, bool bottom)
{
    uint32_t h = bottom, depth = bottom ? 0 : UINT8_MAX;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t d = stacks_of(w)[list[i].below].depth + 1u;
        h = mix(mix(h, list[i].back), list[i].below);
        depth = d < depth ? d : depth;
    }
    uint32_t *bucket = &w->m.stack_bucket[h % BUCKETS];
    for (uint32_t s = *bucket; s; s = stacks_of(w)[s].next) {
        const stack_set *k = &stacks_of(w)[s];
        if (k->n == n && k->bottom == bottom &&
            (n == 0 || memcmp(links_of(w) + k->first, list, n * sizeof *list) == 0))
            return s;
    }
    const uint32_t first = w->m.links.n;
    if (n > 0) {
        link *copy = room(w, &w->m.links, n, sizeof *copy);
        if (!copy) return 0;
        memcpy(copy, list, n * sizeof *copy);
    }
    stack_set *set = room(w, &w->m.stacks, 1, sizeof *set);
    if (!set) return 0;
    *set = (stack_set){
        .first = first, .n = n, .next = *bucket, .depth = (uint8_t)depth, .bottom = bottom
    };
    *bucket = w->m.stacks.n - 1;
    return *bucket;
}

static uint32_t push(ds4_grammar_walk *w, uint32_t back, uint32_t below)
{
    const link one = { back, below };

    return stack_number(w, &one, 1, false);
}

static uint32_t merge_stacks(ds4_grammar_walk *w, uint32_t a, uint32_t b);

/* The links of both, merged by where they return to. */
static uint32_t merge_links(ds4_grammar_walk *w, uint32_t a, uint32_t b)
{
    const stack_set x = stacks_of(w)[a], y = stacks_of(w)[b];
    link           *list = malloc((x.n + y.n + 1) * sizeof *list);
    uint32_t        i = 0, k = 0, n = 0;

    if (!list) {
        w->failed = true;
        return 0;
    }
    while ((i < x.n || k < y.n) && !w->failed) {
        const link *l = &links_of(w)[x.first + i], *r = &links_of(w)[y.first + k];
        if (k == y.n || (i < x.n && l->back < r->back)) {
            list[n++] = *l;
            i++;
        } else if (i == x.n || r->back < l->back) {
            list[n++] = *r;
            k++;
        } else {
            const uint32_t back = l->back;
            list[n++] = (link){ back, merge_stacks(w, l->below, r->below) };
            i++;
            k++;
        }
    }
    const uint32_t both = w->failed ? 0 : stack_number(w, list, n, x.bottom || y.bottom);
    free(list);
    return both;
}

static uint32_t merge_stacks(ds4_grammar_walk *w, uint32_t a, uint32_t b)
{
    if (a == b) return a;
    if (a > b) return merge_stacks(w, b, a);
    uint32_t *bucket = &w->m.merge_bucket[mix(a, b) % BUCKETS];
    for (uint32_t i = *bucket; i;) {
        const merge *m = (const merge *)w->m.merges.data + i;
        if (m->a == a && m->b == b) return m->c;
        i = m->next;
    }
    const uint32_t c = merge_links(w, a, b);
    merge         *m = w->failed ? NULL : room(w, &w->m.merges, 1, sizeof *m);
    if (!m) return 0;
    *m = (merge){ a, b, c, *bucket };
    *bucket = w->m.merges.n - 1;
    return c;
}

/* ---- places --------------------------------------------------------------------------------- */

static uint32_t place_number(ds4_grammar_walk *w, const item *list, uint32_t n, bool end)
{
    uint32_t h = end;

    for (uint32_t i = 0; i < n; i++) h = mix(mix(h, list[i].state), list[i].stacks);
    uint32_t *bucket = &w->m.place_bucket[h % BUCKETS];
    for (uint32_t p = *bucket; p;) {
        const place *k = (const place *)w->m.places.data + p;
        if (k->n == n && k->end == end &&
            (n == 0 || memcmp((item *)w->m.items.data + k->first, list, n * sizeof *list) == 0))
            return p;
        p = k->next;
    }
    const uint32_t first = w->m.items.n, n_moves = w->g->n_classes + 1;
    item          *copy = n ? room(w, &w->m.items, n, sizeof *copy) : NULL;
    place         *p = room(w, &w->m.places, 1, sizeof *p);
    uint32_t      *moves = room(w, &w->m.moves, n_moves, sizeof *moves);
    if (w->failed || !p || !moves) return 0;
    if (n > 0) memcpy(copy, list, n * sizeof *copy);
    memset(moves, 0, n_moves * sizeof *moves);
    *p = (place){ .first = first, .n = n, .next = *bucket, .end = end };
    *bucket = w->m.places.n - 1;
    return *bucket;
}

/* One more item of the step under way, unless it is there or nothing could follow it. */
static void see(ds4_grammar_walk *w, uint32_t state, uint32_t stacks)
{
    uint32_t *bucket = &w->seen_bucket[mix(state, stacks) % SEEN_BUCKETS];

    if (w->failed) return;
    if (stacks_of(w)[stacks].depth + w->g->state[state].need > DS4_G_MAX_STACK) return;
    for (uint32_t i = *bucket; i; i = ((uint32_t *)w->seen_next.data)[i - 1]) {
        const item *k = (const item *)w->seen.data + i - 1;
        if (k->state == state && k->stacks == stacks) return;
    }
    item     *one = room(w, &w->seen, 1, sizeof *one);
    uint32_t *next = room(w, &w->seen_next, 1, sizeof *next);
    if (!one || !next) return;
    *one = (item){ state, stacks };
    *next = *bucket;
    *bucket = w->seen.n;
}

/* A rule is over: go on wherever it was called from. */
static void see_returns(ds4_grammar_walk *w, uint32_t stacks)
{
    const stack_set s = stacks_of(w)[stacks];

    if (s.bottom) w->end = true;
    for (uint32_t i = 0; i < s.n; i++) {
        const link l = links_of(w)[s.first + i];
        see(w, l.back, l.below);
    }
}

/* Follow what takes no byte. True when the item itself waits for one. */
static bool follow(ds4_grammar_walk *w, item from)
{
    const ds4_grammar *g = w->g;
    bool               waits = false;

    if (w->allowance > 0) w->allowance--;
    if (g->state[from.state].ends) see_returns(w, from.stacks);
    for (uint32_t i = g->state[from.state].first; i && !w->failed; i = g->edge[i].next) {
        const ds4_g_edge e = g->edge[i];
        const unsigned   depth = stacks_of(w)[from.stacks].depth;
        switch ((ds4_g_kind)e.kind) {
        case DS4_G_BYTES:
        case DS4_G_MARKER: waits = true; break;
        case DS4_G_GO: see(w, e.to, from.stacks); break;
        case DS4_G_CALL:
            if (depth + 1 + g->state[e.rule].need > DS4_G_MAX_STACK ||
                depth + g->state[e.to].need > DS4_G_MAX_STACK)
                break;
            see(w, e.rule, push(w, e.to, from.stacks));
            break;
        }
    }
    return waits;
}

static int by_state(const void *a, const void *b)
{
    const item *x = a, *y = b;

    if (x->state != y->state) return x->state < y->state ? -1 : 1;
    return x->stacks < y->stacks ? -1 : x->stacks > y->stacks;
}

/* The stacks of n items as one set: neighbours first, so that no set is copied often. */
static uint32_t merge_run(ds4_grammar_walk *w, item *list, uint32_t n)
{
    while (n > 1 && !w->failed) {
        for (uint32_t i = 0; i + 1 < n; i += 2) {
            list[i / 2].stacks = merge_stacks(w, list[i].stacks, list[i + 1].stacks);
        }
        if (n & 1) list[n / 2].stacks = list[n - 1].stacks;
        n = (n + 1) / 2;
    }
    return list[0].stacks;
}

static void begin_step(ds4_grammar_walk *w)
{
    memset(w->seen_bucket, 0, sizeof w->seen_bucket);
    w->seen.n = w->seen_next.n = 0;
    w->end = false;
}

/* From what was seen to the place that it is. */
static uint32_t end_step(ds4_grammar_walk *w)
{
    uint32_t n = 0, n_states = 0;

    /* Those that wait move to the front, behind which the list still grows. */
    for (uint32_t i = 0; i < w->seen.n && !w->failed; i++) {
        const item one = ((item *)w->seen.data)[i];
        if (!follow(w, one)) ((item *)w->seen.data)[i].state = 0;
    }
    if (w->failed) return NOWHERE;
    item *list = w->seen.data;
    for (uint32_t i = 0; i < w->seen.n; i++) {
        if (list[i].state) list[n++] = list[i];
    }
    if (n == 0 && !w->end) return NOWHERE;
    if (n > 1) qsort(list, n, sizeof *list, by_state);
    for (uint32_t i = 0, next; i < n && !w->failed; i = next) {
        for (next = i; next < n && list[next].state == list[i].state;) next++;
        list[n_states++] = (item){ list[i].state, merge_run(w, &list[i], next - i) };
    }
    const uint32_t p = w->failed ? 0 : place_number(w, list, n_states, w->end);
    return p ? p : NOWHERE;
}

/* ---- memory --------------------------------------------------------------------------------- */

static bool begin_memory(ds4_grammar_walk *w)
{
    w->m = (memory){ 0 };
    /* Number 0 means none. */
    stack_set *s = room(w, &w->m.stacks, 1, sizeof *s);
    merge     *m = room(w, &w->m.merges, 1, sizeof *m);
    place     *p = room(w, &w->m.places, 1, sizeof *p);
    uint32_t  *moves = room(w, &w->m.moves, w->g->n_classes + 1, sizeof *moves);
    if (!s || !m || !p || !moves) return false;
    *s = (stack_set){ 0 };
    *m = (merge){ 0 };
    *p = (place){ 0 };
    memset(moves, 0, (w->g->n_classes + 1) * sizeof *moves);
    return true;
}

static void free_memory(memory *m)
{
    free(m->stacks.data);
    free(m->links.data);
    free(m->places.data);
    free(m->items.data);
    free(m->merges.data);
    free(m->moves.data);
}

static size_t kept_bytes(const memory *m)
{
    return m->stacks.n * sizeof(stack_set) + m->links.n * sizeof(link) +
           m->places.n * sizeof(place) + m->items.n * sizeof(item) + m->merges.n * sizeof(merge) +
           m->moves.n * sizeof(uint32_t);
}

/* `moved` [old stacks] numbers of those that were kept so far. */
static uint32_t keep_stacks(ds4_grammar_walk *w, const memory *old, uint32_t s, uint32_t *moved)
{
    const stack_set *set = (const stack_set *)old->stacks.data + s;

    if (moved[s] || w->failed) return moved[s];
    link *list = malloc((set->n + 1) * sizeof *list);
    if (!list) {
        w->failed = true;
        return 0;
    }
    for (uint32_t i = 0; i < set->n; i++) {
        const link l = ((const link *)old->links.data)[set->first + i];
        list[i] = (link){ l.back, keep_stacks(w, old, l.below, moved) };
    }
    if (!w->failed) moved[s] = stack_number(w, list, set->n, set->bottom);
    free(list);
    return moved[s];
}

static uint32_t keep_place(ds4_grammar_walk *w, const memory *old, uint32_t p, uint32_t *moved)
{
    const place *k = (const place *)old->places.data + p;
    const item  *from = (const item *)old->items.data + k->first;
    item        *list = malloc((k->n + 1) * sizeof *list);

    if (!list) {
        w->failed = true;
        return 0;
    }
    for (uint32_t i = 0; i < k->n; i++) {
        list[i] = (item){ from[i].state, keep_stacks(w, old, from[i].stacks, moved) };
    }
    p = w->failed ? 0 : place_number(w, list, k->n, k->end);
    free(list);
    return p;
}

/* Forget everything but the two places that are in use. */
static void tidy(ds4_grammar_walk *w)
{
    memory    old = w->m;
    uint32_t *moved = calloc(old.stacks.n, sizeof *moved);

    if (moved && begin_memory(w)) {
        w->now = keep_place(w, &old, w->now, moved);
        w->here = keep_place(w, &old, w->here, moved);
    } else {
        w->failed = true;
    }
    free(moved);
    free_memory(&old);
}

/* ---- moving --------------------------------------------------------------------------------- */

static uint32_t find_move(ds4_grammar_walk *w, uint32_t class)
{
    const place p = ((const place *)w->m.places.data)[w->here];

    begin_step(w);
    for (uint32_t i = 0; i < p.n; i++) {
        const item one = ((const item *)w->m.items.data)[p.first + i];
        for (uint32_t k = w->g->state[one.state].first; k; k = w->g->edge[k].next) {
            const ds4_g_edge *e = &w->g->edge[k];
            const bool        fits = class == w->g->n_classes
                                         ? e->kind == DS4_G_MARKER
                                         : e->kind == DS4_G_BYTES && w->g->byte_of[class] >= e->from &&
                                        w->g->byte_of[class] <= e->up_to;
            if (fits) see(w, e->to, one.stacks);
        }
    }
    return end_step(w);
}

/* Move `here` by a class of bytes or, by n_classes, by a marker. */
static bool move(ds4_grammar_walk *w, uint32_t class)
{
    const uint32_t n_moves = w->g->n_classes + 1;

    if (w->failed) return false;
    uint32_t to = ((const uint32_t *)w->m.moves.data)[w->here * n_moves + class];
    if (to == UNKNOWN) {
        if (w->allowance == 0) return false;
        if (kept_bytes(&w->m) > MAX_KEPT_BYTES) tidy(w);
        if (!w->failed) to = find_move(w, class);
        if (w->failed) return false;
        ((uint32_t *)w->m.moves.data)[w->here * n_moves + class] = to;
    }
    if (to == NOWHERE) return false;
    w->here = to;
    return true;
}

bool ds4_grammar_fits(ds4_grammar_walk *w, ds4_slice bytes, bool marker)
{
    w->here = w->now;
    if (marker) return move(w, w->g->n_classes);
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        if (!move(w, w->g->class_of[(unsigned char)bytes.data[i]])) return false;
    }
    return true;
}

void ds4_grammar_allow(ds4_grammar_walk *w, uint32_t work)
{
    w->allowance = work;
}

bool ds4_grammar_take(ds4_grammar_walk *w, ds4_slice bytes, bool marker)
{
    const uint32_t allowance = w->allowance;

    w->allowance = UINT32_MAX;
    const bool fits = ds4_grammar_fits(w, bytes, marker);
    w->allowance = allowance;
    if (fits) w->now = w->here;
    return fits;
}

bool ds4_grammar_may_end(const ds4_grammar_walk *w)
{
    return ((const place *)w->m.places.data)[w->now].end;
}

bool ds4_grammar_must_end(const ds4_grammar_walk *w)
{
    return ((const place *)w->m.places.data)[w->now].n == 0;
}

ds4_status ds4_grammar_walk_create(const ds4_grammar *g, ds4_grammar_walk **out, ds4_err *err)
{
    ds4_grammar_walk *w = calloc(1, sizeof *w);

    if (w) {
        w->g = g;
        w->allowance = UINT32_MAX;
        w->failed = !begin_memory(w);
        begin_step(w);
        if (!w->failed) see(w, g->start, stack_number(w, NULL, 0, true));
        w->now = w->here = end_step(w);
        if (!w->failed && w->now != NOWHERE) {
            *out = w;
            return DS4_OK;
        }
    }
    ds4_grammar_walk_free(w);
    return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
}

void ds4_grammar_walk_free(ds4_grammar_walk *w)
{
    if (!w) return;
    free_memory(&w->m);
    free(w->seen.data);
    free(w->seen_next.data);
    free(w);
}
