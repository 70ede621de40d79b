/* grammar_regex.c - a regular expression becomes a language: its tree is written as an automaton
 * that may be in many states at once, and that one is made deterministic. */
#include "text/grammar_lang.h"
#include "text/regex.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 16384, BUCKETS = 1024 };

typedef enum move_kind {
    MOVE_SET,   /* to `a` by a character of a set */
    MOVE_ANY,   /* to `a` by any character */
    MOVE_GO,    /* to `a` and `b` without one */
    MOVE_BEGIN, /* to `a` at the beginning of the text */
    MOVE_END,   /* to `a` at its end */
    MOVE_ALL,   /* any text may follow */
} move_kind;

typedef struct node {
    move_kind kind;
    uint32_t  a, b, first, n; /* ranges of a set */
} node;

/* The states that the automaton may be in: nodes [first, first + n), ascending. */
typedef struct subset {
    uint32_t first, n, next;
} subset;

typedef struct maker {
    ds4_grammar     *g;
    const ds4_regex *r;
    node            *node; /* [n_nodes]; 0 is none */
    uint32_t         n_nodes, cap_nodes;
    subset          *subset;
    uint32_t         n_subsets, cap_subsets, bucket[BUCKETS]; /* numbers + 1 */
    uint32_t        *member;                                  /* [n_members] of subsets */
    uint32_t         n_members, cap_members;
    uint32_t        *seen, *list, stamp, n_list; /* [n_nodes] each: the closure under way */
    uint32_t        *border, cap_border;
    ds4_lang        *l;
} maker;

/* ---- from the tree to nodes ----------------------------------------------------------------- */

static uint32_t add_node(maker *m, node n)
{
    if (m->n_nodes == MAX_NODES) {
        ds4_g_give_up(m->g, DS4_E_LIMIT, "the pattern needs more than 16384 steps");
    }
    if (!ds4_g_pay(m->g, 1)) return 0;
    void *p = ds4_g_room(m->g, m->node, m->n_nodes, &m->cap_nodes, sizeof *m->node);
    if (!p) return 0;
    m->node = p;
    m->node[m->n_nodes] = n;
    return m->n_nodes++;
}

static uint32_t write_tree(maker *m, uint32_t tree, uint32_t to);

/* From the last repetition to the first: each is followed by the next, and those that may be
 * left out also lead to the end. */
static uint32_t write_repeat(maker *m, const ds4_regex_node *t, uint32_t to)
{
    uint32_t at = to, least = t->least;

    if (t->most == UINT32_MAX) {
        at = add_node(m, (node){ .kind = MOVE_GO, .b = to });
        const uint32_t again = write_tree(m, t->a, at);
        if (m->g->failed == DS4_OK) m->node[at].a = again;
    } else {
        for (uint32_t i = least; i < t->most && m->g->failed == DS4_OK; i++) {
            at = add_node(m, (node){ .kind = MOVE_GO, .a = write_tree(m, t->a, at), .b = to });
        }
    }
    for (; least > 0 && m->g->failed == DS4_OK; least--) at = write_tree(m, t->a, at);
    return at;
}

/* Gives the node that begins it. A sequence is a chain to the left, as long as the pattern. */
static uint32_t write_tree(maker *m, uint32_t tree, uint32_t to)
{
    const ds4_regex_node *t = &m->r->node[tree];

    for (; t->kind == DS4_REGEX_SEQ && m->g->failed == DS4_OK; t = &m->r->node[t->a]) {
        to = write_tree(m, t->b, to);
    }
    if (m->g->failed != DS4_OK) return 0;
    switch (t->kind) {
    case DS4_REGEX_SET:
        return add_node(m, (node){ .kind = MOVE_SET, .a = to, .first = t->a, .n = t->b });
    case DS4_REGEX_BEGIN: return add_node(m, (node){ .kind = MOVE_BEGIN, .a = to });
    case DS4_REGEX_END: return add_node(m, (node){ .kind = MOVE_END, .a = to });
    case DS4_REGEX_REPEAT: return write_repeat(m, t, to);
    case DS4_REGEX_OR: {
        uint32_t either = write_tree(m, t->b, to);
        for (t = &m->r->node[t->a]; t->kind == DS4_REGEX_OR && m->g->failed == DS4_OK;
             t = &m->r->node[t->a]) {
            const uint32_t one = write_tree(m, t->b, to);
            either = add_node(m, (node){ .kind = MOVE_GO, .a = one, .b = either });
        }
        const uint32_t first = write_tree(m, (uint32_t)(t - m->r->node), to);
        return add_node(m, (node){ .kind = MOVE_GO, .a = first, .b = either });
    }
    case DS4_REGEX_EMPTY:
    case DS4_REGEX_SEQ: break;
    }
    return to;
}

/* ---- from nodes to sets of nodes ------------------------------------------------------------ */

/* Follow what takes no character. */
static void reach(maker *m, uint32_t from, bool at_begin, bool at_end)
{
    uint32_t done = m->n_list;

    if (m->seen[from] == m->stamp) return;
    m->seen[from] = m->stamp;
    m->list[m->n_list++] = from;
    for (; done < m->n_list && ds4_g_pay(m->g, 1); done++) {
        const node n = m->node[m->list[done]];
        const bool goes = n.kind == MOVE_GO || (n.kind == MOVE_BEGIN && at_begin) ||
                          (n.kind == MOVE_END && at_end);
        const uint32_t next[2] = { goes ? n.a : 0, goes ? n.b : 0 };
        for (int i = 0; i < 2; i++) {
            if (!next[i] || m->seen[next[i]] == m->stamp) continue;
            m->seen[next[i]] = m->stamp;
            m->list[m->n_list++] = next[i];
        }
    }
}

static void begin_reach(maker *m)
{
    m->stamp++;
    m->n_list = 0;
}

static int ascending(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The number of the subset that was reached. What any text may follow swallows the others. */
static uint32_t subset_number(maker *m)
{
    uint32_t n = 0, h = 0, all = 0;

    for (uint32_t i = 0; i < m->n_list; i++) {
        const move_kind kind = m->node[m->list[i]].kind;
        if (kind == MOVE_ALL) all = m->list[i];
        if (kind != MOVE_GO && kind != MOVE_BEGIN) m->list[n++] = m->list[i];
    }
    if (all) m->list[0] = all;
    if (all) n = 1;
    qsort(m->list, n, sizeof *m->list, ascending);
    for (uint32_t i = 0; i < n; i++) h = (h ^ m->list[i]) * 0x9E3779B1u ^ h >> 15;
    uint32_t *bucket = &m->bucket[h % BUCKETS];
    for (uint32_t s = *bucket; s; s = m->subset[s - 1].next) {
        const subset *k = &m->subset[s - 1];
        if (k->n == n && (n == 0 || !memcmp(m->member + k->first, m->list, n * sizeof *m->list)))
            return s - 1;
    }
    if (m->n_subsets == DS4_LANG_MAX_STATES) {
        ds4_g_give_up(m->g, DS4_E_LIMIT, "the pattern needs more than 8192 states");
    }
    if (!ds4_g_pay(m->g, 4 + n)) return 0;
    void *p = ds4_g_room(m->g, m->subset, m->n_subsets, &m->cap_subsets, sizeof *m->subset);
    if (!p) return 0;
    m->subset = p;
    const uint32_t first = m->n_members;
    for (uint32_t i = 0; i < n; i++) {
        void *q = ds4_g_room(m->g, m->member, m->n_members, &m->cap_members, sizeof *m->member);
        if (!q) return 0;
        m->member = q;
        m->member[m->n_members++] = m->list[i];
    }
    m->subset[m->n_subsets] = (subset){ first, n, *bucket };
    *bucket = ++m->n_subsets;
    return m->n_subsets - 1;
}

static bool accepts(maker *m, const subset *s, bool first)
{
    begin_reach(m);
    for (uint32_t i = 0; i < s->n; i++) reach(m, m->member[s->first + i], first, true);
    for (uint32_t i = 0; i < m->n_list; i++) {
        if (m->node[m->list[i]].kind == MOVE_ALL) return true;
    }
    return false;
}

static void add_border(maker *m, uint32_t *n, uint32_t c)
{
    if (!ds4_g_pay(m->g, 1)) return;
    void *p = ds4_g_room(m->g, m->border, *n, &m->cap_border, sizeof *m->border);
    if (!p) return;
    m->border = p;
    m->border[(*n)++] = c;
}

/* The characters at which the behaviour of a subset changes: *n ascending ones in m->border. */
static bool find_borders(maker *m, const subset *s, uint32_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const node *k = &m->node[m->member[s->first + i]];
        if (k->kind == MOVE_ANY) {
            add_border(m, n, 0);
            add_border(m, n, DS4_LANG_LAST + 1);
        }
        for (uint32_t r = 0; k->kind == MOVE_SET && r < k->n; r++) {
            add_border(m, n, m->r->range[k->first + r].from);
            add_border(m, n, m->r->range[k->first + r].up_to + 1);
        }
    }
    if (m->g->failed != DS4_OK) return false;
    if (*n == 0) return true;
    qsort(m->border, *n, sizeof *m->border, ascending);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < *n; i++) {
        if (m->border[i] != m->border[kept - 1]) m->border[kept++] = m->border[i];
    }
    *n = kept;
    return true;
}

static bool takes(const maker *m, const node *k, uint32_t c)
{
    if (k->kind != MOVE_SET) return k->kind == MOVE_ANY;
    uint32_t low = k->first, high = k->first + k->n;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (m->r->range[middle].up_to < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < k->first + k->n && m->r->range[low].from <= c;
}

/* The ranges are the edges when only one set of characters leads on. */
static bool explore_single(maker *m, const subset *s)
{
    const node *only = NULL;

    for (uint32_t i = 0; i < s->n; i++) {
        const node *k = &m->node[m->member[s->first + i]];
        if (k->kind == MOVE_ANY || (k->kind == MOVE_SET && only)) return false;
        if (k->kind == MOVE_SET) only = k;
    }
    if (!only || only->n == 0) return true;
    begin_reach(m);
    reach(m, only->a, false, false);
    if (m->g->failed != DS4_OK) return true;
    const uint32_t to = subset_number(m);
    for (uint32_t i = 0; i < only->n && m->g->failed == DS4_OK; i++) {
        const ds4_char_range r = m->r->range[only->first + i];
        ds4_lang_add_edge(m->g, m->l, (ds4_lang_edge){ r.from, r.up_to, to });
    }
    return true;
}

static void explore(maker *m, uint32_t number)
{
    const subset s = m->subset[number];
    uint32_t     n = 0;

    ds4_lang_add_state(m->g, m->l, accepts(m, &s, number == 0));
    if (s.n == 1 && m->node[m->member[s.first]].kind == MOVE_ALL) {
        ds4_lang_add_edge(m->g, m->l, (ds4_lang_edge){ 0, DS4_LANG_LAST, number });
        return;
    }
    if (explore_single(m, &s) || !find_borders(m, &s, &n)) return;
    for (uint32_t b = 0; b + 1 < n && ds4_g_pay(m->g, 1 + s.n); b++) {
        const uint32_t c = m->border[b], up_to = m->border[b + 1] - 1;
        begin_reach(m);
        for (uint32_t i = 0; i < s.n; i++) {
            const node *k = &m->node[m->member[s.first + i]];
            if (takes(m, k, c)) reach(m, k->a, false, false);
        }
        if (m->n_list == 0 || m->g->failed != DS4_OK) continue;
        const uint32_t to = subset_number(m);
        ds4_lang_add_edge(m->g, m->l, (ds4_lang_edge){ c, up_to, to });
    }
}

/* The subset in which the automaton begins is never met again: only there ^ holds. */
static void make_deterministic(maker *m, uint32_t start)
{
    m->seen = calloc(2 * (size_t)m->n_nodes, sizeof *m->seen);
    if (!m->seen) {
        ds4_g_give_up(m->g, DS4_E_NOMEM, "no memory for a grammar");
        return;
    }
    m->list = m->seen + m->n_nodes;
    begin_reach(m);
    reach(m, start, true, false);
    subset_number(m);
    memset(m->bucket, 0, sizeof m->bucket);
    for (uint32_t i = 0; i < m->n_subsets && m->g->failed == DS4_OK; i++) explore(m, i);
    if (m->g->failed == DS4_OK) ds4_lang_trim(m->g, m->l);
}

/* Text that may stand beside a tree's match. */
typedef struct surroundings {
    bool front, behind;
} surroundings;

static void make(maker *m, uint32_t tree, surroundings any)
{
    add_node(m, (node){ .kind = MOVE_GO }); /* 0 is none */
    uint32_t end = add_node(m, (node){ .kind = MOVE_ALL });
    if (!any.behind) end = add_node(m, (node){ .kind = MOVE_END, .a = end });
    uint32_t start = write_tree(m, tree, end);
    if (any.front) {
        const uint32_t skip = add_node(m, (node){ .kind = MOVE_ANY });
        start = add_node(m, (node){ .kind = MOVE_GO, .a = start, .b = skip });
        if (m->g->failed == DS4_OK) m->node[skip].a = start;
    }
    if (m->g->failed == DS4_OK) make_deterministic(m, start);
}

static ds4_lang *tree_language(ds4_grammar *g, const ds4_regex *r, uint32_t tree, surroundings any)
{
    maker    *m = calloc(1, sizeof *m);
    ds4_lang *made = calloc(1, sizeof *made);

    if (m && made) {
        *m = (maker){ .g = g, .r = r, .l = made };
        make(m, tree, any);
        free(m->node);
        free(m->subset);
        free(m->member);
        free(m->seen);
        free(m->border);
    } else {
        ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    }
    free(m);
    return made;
}

/* Does all that a tree matches stand at the beginning of the text? */
static bool stands_at_begin(const ds4_regex *r, uint32_t tree)
{
    for (;;) {
        const ds4_regex_node *t = &r->node[tree];
        if (t->kind == DS4_REGEX_OR && !stands_at_begin(r, t->b)) return false;
        if (t->kind == DS4_REGEX_REPEAT && t->least == 0) return false;
        if (t->kind == DS4_REGEX_BEGIN) return true;
        if (t->kind != DS4_REGEX_SEQ && t->kind != DS4_REGEX_OR && t->kind != DS4_REGEX_REPEAT)
            return false;
        tree = t->a;
    }
}

/* The tree, and what it looks for ahead, as parts of one language. */
static ds4_status regex_language(ds4_grammar *g, const ds4_regex *r, bool whole, ds4_lang **out,
                                 ds4_err *err)
{
    ds4_lang      *part[DS4_REGEX_MAX_AHEAD + 1] = { NULL };
    ds4_lang_parts p = { .n = 1, .most = UINT32_MAX };
    ds4_status     st = DS4_OK;

    part[0] = tree_language(g, r, r->root,
                            (surroundings){ !whole && !stands_at_begin(r, r->root), !whole });
    for (uint32_t i = 0; i < r->n_ahead && g->failed == DS4_OK; i++) {
        part[p.n] = tree_language(g, r, r->ahead[i].node, (surroundings){ .behind = true });
        p.without[p.n++] = r->ahead[i].not ;
    }
    for (uint32_t i = 0; i < p.n; i++) p.part[i] = part[i];
    if (g->failed != DS4_OK) {
        st = ds4_fail(err, g->failed, "%s", g->why);
    } else if (p.n > 1) {
        st = ds4_lang_meet(g, &p, out, err);
    } else {
        *out = part[0];
        part[0] = NULL;
    }
    for (uint32_t i = 0; i < p.n; i++) ds4_lang_free(part[i]);
    return st;
}

ds4_status ds4_lang_from_regex(ds4_grammar *g, ds4_slice pattern, bool whole, ds4_lang **out,
                               ds4_err *err)
{
    ds4_regex  r;
    ds4_status st = DS4_OK;

    if (!ds4_g_pay(g,
                   (uint32_t)(pattern.n_bytes < DS4_REGEX_MAX_BYTES ? 8 * pattern.n_bytes : 1))) {
        return ds4_fail(err, g->failed, "%s", g->why);
    }
    st = ds4_regex_read(pattern, whole, &r, err);
    if (st == DS4_OK) st = regex_language(g, &r, whole, out, err);
    ds4_regex_clear(&r);
    return st;
}
