/* grammar_lang.c - languages over characters: intersection, trimming, and their bytes. */
#include "text/grammar_lang.h"

#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

void ds4_lang_free(ds4_lang *l)
{
    if (!l) return;
    free(l->state);
    free(l->edge);
    free(l);
}

uint32_t ds4_lang_add_state(ds4_grammar *g, ds4_lang *l, bool accepts)
{
    if (!ds4_g_pay(g, 1)) return 0;
    void *p = ds4_g_room(g, l->state, l->n_states, &l->cap_states, sizeof *l->state);
    if (!p) return 0;
    l->state = p;
    l->state[l->n_states] = (ds4_lang_state){ .first = l->n_edges, .accepts = accepts };
    return l->n_states++;
}

void ds4_lang_add_edge(ds4_grammar *g, ds4_lang *l, ds4_lang_edge edge)
{
    if (!ds4_g_pay(g, 1)) return;
    ds4_lang_state *s = &l->state[l->n_states - 1];
    ds4_lang_edge  *last = s->n ? &l->edge[l->n_edges - 1] : NULL;
    if (last && last->to == edge.to && last->up_to + 1 == edge.from) {
        last->up_to = edge.up_to;
        return;
    }
    void *p = ds4_g_room(g, l->edge, l->n_edges, &l->cap_edges, sizeof *l->edge);
    if (!p) return;
    l->edge = p;
    l->edge[l->n_edges++] = edge;
    s->n++;
}

/* The edge of a state that takes a character, or the next one behind it; NULL if none. */
static const ds4_lang_edge *edge_at(const ds4_lang *l, uint32_t state, uint32_t c)
{
    const ds4_lang_state *s = &l->state[state];
    uint32_t              low = s->first, high = s->first + s->n;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (l->edge[middle].up_to < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->first + s->n ? &l->edge[low] : NULL;
}

bool ds4_lang_has(const ds4_lang *l, ds4_slice text)
{
    uint32_t state = 0;

    if (l->n_states == 0) return false;
    for (size_t i = 0; i < text.n_bytes;) {
        uint32_t  c = 0;
        const int n = ds4_utf8_read(text.data + i, text.n_bytes - i, &c);
        if (n <= 0) return false;
        const ds4_lang_edge *e = edge_at(l, state, c);
        if (!e || e->from > c) return false;
        state = e->to;
        i += (size_t)n;
    }
    return l->state[state].accepts;
}

/* ---- what leads to no end ------------------------------------------------------------------- */

/* Marks the states from which an end can be reached. */
static void mark_useful(const ds4_lang *l, bool *useful, uint32_t *work)
{
    uint32_t *first = work, *next = first + l->n_states, *from = next + l->n_edges,
             *queue = from + l->n_edges, n = 0;

    for (uint32_t s = 0; s < l->n_states; s++) {
        for (uint32_t i = 0; i < l->state[s].n; i++) {
            const uint32_t e = l->state[s].first + i;
            from[e] = s;
            next[e] = first[l->edge[e].to];
            first[l->edge[e].to] = e + 1;
        }
        if (!l->state[s].accepts) continue;
        useful[s] = true;
        queue[n++] = s;
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t e = first[queue[i]]; e; e = next[e - 1]) {
            if (useful[from[e - 1]]) continue;
            useful[from[e - 1]] = true;
            queue[n++] = from[e - 1];
        }
    }
}

void ds4_lang_trim(ds4_grammar *g, ds4_lang *l)
{
    const size_t n_work = 2 * (size_t)l->n_states + 2 * (size_t)l->n_edges + 1;

    if (!ds4_g_pay(g, l->n_states + l->n_edges)) return;
    uint32_t *work = calloc(n_work, sizeof *work),
             *number = calloc(l->n_states + 1, sizeof *number);
    bool *useful = calloc(l->n_states + 1, sizeof *useful);
    if (work && number && useful) {
        uint32_t n_states = 0, n_edges = 0;
        mark_useful(l, useful, work);
        for (uint32_t s = 0; s < l->n_states; s++) number[s] = useful[s] ? n_states++ : UINT32_MAX;
        if (l->n_states && !useful[0]) n_states = 0;
        for (uint32_t s = 0; n_states && s < l->n_states; s++) {
            const ds4_lang_state old = l->state[s];
            const uint32_t       first = n_edges;
            if (!useful[s]) continue;
            for (uint32_t i = old.first; i < old.first + old.n; i++) {
                if (!useful[l->edge[i].to]) continue;
                l->edge[n_edges] = l->edge[i];
                l->edge[n_edges].to = number[l->edge[i].to];
                n_edges++;
            }
            l->state[number[s]] =
                (ds4_lang_state){ .first = first, .n = n_edges - first, .accepts = old.accepts };
        }
        l->n_states = n_states;
        l->n_edges = n_edges;
    } else {
        ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    }
    free(work);
    free(number);
    free(useful);
}

/* ---- texts of a list ------------------------------------------------------------------------ */

/* A tree of characters, children by first child and sibling. */
typedef struct tree_node {
    uint32_t c, child, sibling;
    bool     end;
} tree_node;

typedef struct tree {
    ds4_grammar *g;
    tree_node   *node;
    uint32_t     n, capacity;
} tree;

static uint32_t new_node(tree *t, uint32_t c, uint32_t sibling)
{
    if (!ds4_g_pay(t->g, 1)) return 0;
    void *p = ds4_g_room(t->g, t->node, t->n, &t->capacity, sizeof *t->node);
    if (!p) return 0;
    t->node = p;
    t->node[t->n] = (tree_node){ .c = c, .sibling = sibling };
    return t->n++;
}

/* The child for a character, kept in ascending order. */
static uint32_t child_for(tree *t, uint32_t parent, uint32_t c)
{
    uint32_t before = 0, at = t->node[parent].child;

    for (; at && t->node[at].c < c && ds4_g_pay(t->g, 1); at = t->node[at].sibling) before = at;
    if (at && t->node[at].c == c) return at;
    const uint32_t made = new_node(t, c, at);
    if (t->g->failed != DS4_OK) return 0;
    if (before)
        t->node[before].sibling = made;
    else
        t->node[parent].child = made;
    return made;
}

static void tree_add(tree *t, ds4_slice text)
{
    uint32_t at = 0;

    for (size_t i = 0; i < text.n_bytes && t->g->failed == DS4_OK;) {
        uint32_t  c = 0xFFFD;
        const int n = ds4_utf8_read(text.data + i, text.n_bytes - i, &c);
        at = child_for(t, at, c);
        i += n > 0 ? (size_t)n : 1;
    }
    if (t->g->failed == DS4_OK) t->node[at].end = true;
}

ds4_status ds4_lang_of_texts(ds4_grammar *g, const ds4_slice *texts, uint32_t n, ds4_lang **out,
                             ds4_err *err)
{
    tree      t = { .g = g };
    ds4_lang *l = calloc(1, sizeof *l);

    if (!l) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    new_node(&t, 0, 0);
    for (uint32_t i = 0; i < n && g->failed == DS4_OK; i++) tree_add(&t, texts[i]);
    for (uint32_t i = 0; i < t.n && g->failed == DS4_OK; i++) {
        ds4_lang_add_state(g, l, t.node[i].end);
        for (uint32_t k = t.node[i].child; k; k = t.node[k].sibling) {
            ds4_lang_add_edge(g, l, (ds4_lang_edge){ t.node[k].c, t.node[k].c, k });
        }
    }
    free(t.node);
    if (g->failed != DS4_OK) {
        ds4_lang_free(l);
        return ds4_fail(err, g->failed, "%s", g->why);
    }
    *out = l;
    return DS4_OK;
}

/* ---- intersection --------------------------------------------------------------------------- */

enum { GONE = UINT32_MAX, BUCKETS = 4096 };

/* One state of the intersection: that of each part, and the characters so far. A part that is
 * to be avoided is GONE when it cannot come true any more. */
typedef struct tuple {
    uint32_t at[DS4_LANG_MAX_PARTS], count;
    uint32_t next; /* in the bucket */
} tuple;

typedef struct meeting {
    ds4_grammar          *g;
    const ds4_lang_parts *p;
    ds4_lang             *l;
    tuple                *list;
    uint32_t              n, capacity, bucket[BUCKETS]; /* numbers + 1 */
} meeting;

static bool tuple_accepts(const meeting *m, const tuple *t)
{
    for (uint32_t i = 0; i < m->p->n; i++) {
        const bool in = t->at[i] != GONE && m->p->part[i]->state[t->at[i]].accepts;
        if (in == m->p->without[i]) return false;
    }
    return t->count >= m->p->least;
}

static uint32_t tuple_number(meeting *m, const tuple *t)
{
    uint32_t h = t->count;

    for (uint32_t i = 0; i < m->p->n; i++) h = (h ^ t->at[i]) * 0x9E3779B1u ^ h >> 15;
    uint32_t *bucket = &m->bucket[h % BUCKETS];
    for (uint32_t i = *bucket; i; i = m->list[i - 1].next) {
        const tuple *k = &m->list[i - 1];
        if (k->count == t->count && memcmp(k->at, t->at, m->p->n * sizeof *t->at) == 0)
            return i - 1;
    }
    if (m->n == DS4_LANG_MAX_STATES) {
        ds4_g_give_up(m->g, DS4_E_LIMIT,
                      "a string's patterns and lengths need more than 8192 states together");
    }
    if (!ds4_g_pay(m->g, 1)) return 0;
    void *p = ds4_g_room(m->g, m->list, m->n, &m->capacity, sizeof *m->list);
    if (!p) return 0;
    m->list = p;
    m->list[m->n] = *t;
    m->list[m->n].next = *bucket;
    *bucket = ++m->n;
    return m->n - 1;
}

/* Move all parts by characters from `c` on: the next tuple and the last character that
 * leads there. False when a part takes nothing there; then `up_to` ends the gap. */
static bool go(const meeting *m, const tuple *t, uint32_t c, tuple *to, uint32_t *up_to)
{
    bool all = true;

    *up_to = DS4_LANG_LAST;
    for (uint32_t i = 0; i < m->p->n; i++) {
        const ds4_lang_edge *e = t->at[i] == GONE ? NULL : edge_at(m->p->part[i], t->at[i], c);
        const bool           takes = e && e->from <= c;
        const uint32_t       border = !e ? DS4_LANG_LAST : takes ? e->up_to : e->from - 1;
        if (border < *up_to) *up_to = border;
        to->at[i] = takes ? e->to : GONE;
        all &= takes || m->p->without[i];
    }
    return all;
}

static void explore(meeting *m, uint32_t number)
{
    const uint32_t most = m->p->most, least = m->p->least;
    const tuple    t = m->list[number];
    tuple          to = { .count = t.count };

    ds4_lang_add_state(m->g, m->l, tuple_accepts(m, &t));
    if (t.count == most) return;
    if (most != UINT32_MAX || t.count < least) to.count++;
    for (uint32_t c = 0, up_to; c <= DS4_LANG_LAST && m->g->failed == DS4_OK; c = up_to + 1) {
        if (!ds4_g_pay(m->g, 1 + 2 * m->p->n)) return;
        if (!go(m, &t, c, &to, &up_to)) continue;
        const uint32_t next = tuple_number(m, &to);
        ds4_lang_add_edge(m->g, m->l, (ds4_lang_edge){ c, up_to, next });
    }
}

ds4_status ds4_lang_meet(ds4_grammar *g, const ds4_lang_parts *p, ds4_lang **out, ds4_err *err)
{
    meeting *m = calloc(1, sizeof *m);
    bool     empty = p->least > p->most;

    if (m) m->l = calloc(1, sizeof *m->l);
    if (!m || !m->l) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    for (uint32_t i = 0; i < p->n; i++) empty |= !p->without[i] && p->part[i]->n_states == 0;
    if (g->failed == DS4_OK && !empty) {
        tuple begin = { .count = 0 };
        m->g = g;
        m->p = p;
        for (uint32_t i = 0; i < p->n; i++) begin.at[i] = p->part[i]->n_states ? 0 : GONE;
        tuple_number(m, &begin);
        for (uint32_t i = 0; i < m->n && g->failed == DS4_OK; i++) explore(m, i);
        ds4_lang_trim(g, m->l);
    }
    ds4_lang *made = m ? m->l : NULL;
    if (m) free(m->list);
    free(m);
    if (g->failed != DS4_OK) {
        ds4_lang_free(made);
        return ds4_fail(err, g->failed, "%s", g->why);
    }
    *out = made;
    return DS4_OK;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Characters that are written in the same number of bytes, split until the ranges of their
 * bytes are independent of each other. */
static void utf8_range(ds4_grammar *g, uint32_t at, uint32_t from, uint32_t up_to, uint32_t to)
{
    char      low[4], high[4];
    const int n = ds4_utf8_write(from, low);

    ds4_utf8_write(up_to, high);
    for (int i = n - 1; i > 0; i--) {
        const uint32_t rest = (1u << 6 * i) - 1; /* what the last i bytes hold */
        if ((from & ~rest) == (up_to & ~rest)) continue;
        if (from & rest) {
            utf8_range(g, at, from, from | rest, to);
            utf8_range(g, at, (from | rest) + 1, up_to, to);
            return;
        }
        if ((up_to & rest) != rest) {
            utf8_range(g, at, from, (up_to & ~rest) - 1, to);
            utf8_range(g, at, up_to & ~rest, up_to, to);
            return;
        }
    }
    for (int i = 0; i < n; i++) {
        const uint32_t next = i + 1 == n ? to : ds4_g_state_new(g);
        ds4_g_bytes(g, at, (unsigned char)low[i], (unsigned char)high[i], next);
        at = next;
    }
}

/* The characters of a range that are written in more than one byte; surrogates are none. */
static void wide_range(ds4_grammar *g, uint32_t at, const ds4_lang_edge *range, uint32_t to)
{
    static const uint32_t border[][2] = {
        { 0x80, 0x7FF }, { 0x800, 0xD7FF }, { 0xE000, 0xFFFF }, { 0x10000, 0x10FFFF }
    };

    for (int i = 0; i < 4; i++) {
        const uint32_t low = range->from > border[i][0] ? range->from : border[i][0];
        const uint32_t high = range->up_to < border[i][1] ? range->up_to : border[i][1];
        if (low <= high) utf8_range(g, at, low, high, to);
    }
}

void ds4_wide_clear(ds4_wide *w)
{
    free(w->list);
    free(w->range);
    *w = (ds4_wide){ 0 };
}

static bool same_set(const ds4_wide *w, uint32_t i, const ds4_lang_edge *range, uint32_t n)
{
    if (w->list[i].n != n) return false;
    for (uint32_t k = 0; k < n; k++) {
        const ds4_lang_edge *own = &w->range[w->list[i].first + k];
        if (own->from != range[k].from || own->up_to != range[k].up_to) return false;
    }
    return true;
}

static uint32_t wide_rule(ds4_grammar *g, ds4_wide *w, const ds4_lang_edge *range, uint32_t n)
{
    uint32_t h = 0;

    for (uint32_t i = 0; i < n; i++) h = ((h ^ range[i].from) * 0x9E3779B1u ^ range[i].up_to) + h;
    if (!ds4_g_pay(g, 1 + n / 4 + w->n / 16)) return 0;
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->list[i].hash == h && same_set(w, i, range, n)) return w->list[i].rule;
    }
    void *p = ds4_g_room(g, w->list, w->n, &w->capacity, sizeof *w->list);
    if (!p) return 0;
    w->list = p;
    const uint32_t rule = ds4_g_state_new(g), end = ds4_g_state_new(g), first = w->n_ranges;
    ds4_g_end(g, end);
    for (uint32_t i = 0; i < n && g->failed == DS4_OK; i++) {
        p = ds4_g_room(g, w->range, w->n_ranges, &w->cap_ranges, sizeof *w->range);
        if (!p) return 0;
        w->range = p;
        w->range[w->n_ranges++] = range[i];
        wide_range(g, rule, &range[i], end);
    }
    w->list[w->n].first = first;
    w->list[w->n].n = n;
    w->list[w->n].hash = h;
    w->list[w->n++].rule = rule;
    return rule;
}

void ds4_g_any_character(ds4_grammar *g, ds4_wide *wide, uint32_t at, uint32_t to)
{
    const ds4_lang_edge all = { .from = 0x80, .up_to = DS4_LANG_LAST };

    ds4_g_bytes(g, at, 0, 0x7F, to);
    ds4_g_call(g, at, wide_rule(g, wide, &all, 1), to);
}

/* ASCII characters of which JSON writes some with a backslash. */
static void quoted_ascii(ds4_grammar *g, uint32_t at, uint32_t from, uint32_t up_to, uint32_t to)
{
    static const char NAMED[] = "btn\0fr"; /* for 8..13; 11 has no name */
    char              text[8] = "\\u0000";

    for (uint32_t c = from; c <= up_to && g->failed == DS4_OK; c++) {
        if (c >= ' ' && c != '"' && c != '\\') {
            const uint32_t border = c < '"' ? '!' : c < '\\' ? '\\' - 1 : 0x7F;
            const uint32_t last = up_to < border ? up_to : border;
            ds4_g_bytes(g, at, c, last, to);
            c = last;
            continue;
        }
        const bool named = c >= 8 && c <= 13 && NAMED[c - 8];
        uint32_t   n = 2;
        text[1] = c >= ' ' ? (char)c : named ? NAMED[c - 8] : 'u';
        if (text[1] == 'u') {
            n = 6;
            text[4] = c < 16 ? '0' : '1';
            text[5] = "0123456789abcdef"[c & 15];
        }
        const uint32_t      before = ds4_g_text(g, at, (ds4_slice){ text, n - 1 });
        const unsigned char last = (unsigned char)text[n - 1];
        ds4_g_bytes(g, before, last, last, to);
    }
}

static int by_target(const void *a, const void *b)
{
    const ds4_lang_edge *x = a, *y = b;

    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* All edges of a state; those beyond ASCII are one for each state that they lead to. */
static void write_edges(ds4_grammar *g, ds4_wide *wide, ds4_lang_edge *edge, uint32_t n,
                        bool quoted, uint32_t at, const uint32_t *state)
{
    if (n > 1) qsort(edge, n, sizeof *edge, by_target);
    for (uint32_t i = 0, end; i < n && g->failed == DS4_OK; i = end) {
        const uint32_t to = state[edge[i].to];
        uint32_t       begin = i;
        for (end = i; end < n && edge[end].to == edge[i].to; end++) {
            ds4_lang_edge *e = &edge[end];
            if (e->from > 0x7F) continue;
            const uint32_t last = e->up_to < 0x7F ? e->up_to : 0x7F;
            if (quoted)
                quoted_ascii(g, at, e->from, last, to);
            else
                ds4_g_bytes(g, at, e->from, last, to);
            if (e->up_to <= 0x7F) begin = end + 1;
            e->from = 0x80;
        }
        if (begin < end) ds4_g_call(g, at, wide_rule(g, wide, &edge[begin], end - begin), to);
    }
}

void ds4_lang_write(ds4_grammar *g, ds4_wide *wide, const ds4_lang *l, bool quoted, uint32_t at,
                    uint32_t to)
{
    uint32_t      *state = calloc(l->n_states + 1, sizeof *state);
    ds4_lang_edge *edge = malloc((l->n_edges + 1) * sizeof *edge);

    if (!state || !edge) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    for (uint32_t i = 0; i < l->n_states && g->failed == DS4_OK; i++) state[i] = ds4_g_state_new(g);
    if (l->n_states && g->failed == DS4_OK) ds4_g_go(g, at, state[0]);
    for (uint32_t i = 0; i < l->n_states && ds4_g_pay(g, 1 + l->state[i].n); i++) {
        const ds4_lang_state *s = &l->state[i];
        if (s->n) memcpy(edge, l->edge + s->first, s->n * sizeof *edge);
        write_edges(g, wide, edge, s->n, quoted, state[i], state);
        if (s->accepts) ds4_g_go(g, state[i], to);
    }
    free(state);
    free(edge);
}
