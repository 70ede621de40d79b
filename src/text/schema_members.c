/* schema_members.c - see schema_members.h. */
#include "text/schema_members.h"

#include <stdlib.h>
#include <string.h>

uint32_t ds4_members_number(ds4_members *m, ds4_slice name)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < name.n_bytes; i++) h = (h ^ (unsigned char)name.data[i]) * 16777619u;
    uint32_t *bucket = &m->bucket[h % DS4_NAME_BUCKETS];
    for (uint32_t i = *bucket; i && ds4_g_pay(m->s->g, 1); i = m->list[i - 1].next) {
        if (ds4_slice_eq(m->list[i - 1].name, name)) return i - 1;
    }
    if (!ds4_g_pay(m->s->g, 2)) return 0;
    void *p = ds4_g_room(m->s->g, m->list, m->n, &m->cap, sizeof *m->list);
    if (!p) return 0;
    m->list = p;
    p = ds4_g_room(m->s->g, m->first, m->n, &m->cap_first, sizeof *m->first);
    if (!p) return 0;
    m->first = p;
    m->list[m->n] = (ds4_named){ .name = name, .next = *bucket };
    m->first[m->n] = 0;
    *bucket = ++m->n;
    return m->n - 1;
}

static void add_demand(ds4_members *m, uint32_t member, uint32_t node)
{
    if (!ds4_g_pay(m->s->g, 1)) return;
    void *p = ds4_g_room(m->s->g, m->demands, m->n_demands, &m->cap_demands, sizeof *m->demands);
    if (!p) return;
    m->demands = p;
    m->demands[m->n_demands] = (ds4_demand){ member, node, m->first[member] };
    m->first[member] = ++m->n_demands;
}

/* ---- names ---------------------------------------------------------------------------------- */

void ds4_members_add_named(ds4_members *m, const ds4_words *w)
{
    const uint32_t list = w->at[DS4_W_PROPERTIES], required = w->at[DS4_W_REQUIRED];

    for (uint32_t i = list ? ds4_members_node(m, list)->first : 0; i && ds4_schema_ok(m->s);
         i = ds4_members_node(m, i)->next) {
        const uint32_t at = ds4_members_number(m, ds4_members_node(m, i)->name);
        if (!ds4_schema_ok(m->s)) return;
        if (m->list[at].list == list)
            m->demands[m->first[at] - 1].node = i; /* the last one counts */
        else
            add_demand(m, at, i);
        m->list[at].list = list;
    }
    for (uint32_t i = required ? ds4_members_node(m, required)->first : 0; i && ds4_schema_ok(m->s);
         i = ds4_members_node(m, i)->next) {
        if (ds4_members_node(m, i)->kind != DS4_JSON_STRING) continue;
        const uint32_t at = ds4_members_number(m, ds4_members_node(m, i)->string);
        if (m->n) m->list[at].required = true;
    }
}

void ds4_members_demand_unnamed(ds4_members *m, uint32_t number, const ds4_words *w)
{
    const uint32_t list = w->at[DS4_W_PROPERTIES], others = w->at[DS4_W_ADDITIONAL_PROPERTIES],
                   patterns = w->at[DS4_W_PATTERN_PROPERTIES];

    if (!others && !patterns) return;
    for (uint32_t i = list ? ds4_members_node(m, list)->first : 0; i && ds4_schema_ok(m->s);
         i = ds4_members_node(m, i)->next) {
        m->list[ds4_members_number(m, ds4_members_node(m, i)->name)].covered = number + 1;
    }
    for (uint32_t k = 0; k < m->n && ds4_g_pay(m->s->g, 1); k++) {
        bool covered = m->list[k].covered == number + 1;
        for (uint32_t i = patterns ? ds4_members_node(m, patterns)->first : 0; i;
             i = ds4_members_node(m, i)->next) {
            const ds4_lang *l = ds4_schema_pattern(m->s, i);
            if (!l || !ds4_g_pay(m->s->g, 4) || !ds4_lang_has(l, m->list[k].name)) continue;
            covered = true;
            add_demand(m, k, i);
        }
        if (!covered && others) add_demand(m, k, others);
    }
}

/* ---- members without a name ----------------------------------------------------------------- */

/* All patterns of patternProperties in the leaf. */
typedef struct patterns {
    uint32_t node[4], n;
} patterns;

static void gather_patterns(ds4_members *m, patterns *p)
{
    for (uint32_t i = 0; i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = ds4_members_words(m, i);
        const uint32_t  list = w.at[DS4_W_PATTERN_PROPERTIES];
        for (uint32_t k = list ? ds4_members_node(m, list)->first : 0; k; k = ds4_members_node(m, k)->next) {
            if (!ds4_schema_pattern(m->s, k)) continue;
            if (p->n == 4) {
                ds4_schema_ignore(m->s, DS4_SLICE("more than 4 patterns in patternProperties"));
                return;
            }
            p->node[p->n++] = k;
        }
    }
}

/* Does one of the schema's own patterns stand among those of `which`? */
static bool has_pattern(ds4_members *m, uint32_t list, const patterns *p, uint32_t which,
                        uint32_t *nodes, uint32_t *n)
{
    bool found = false;

    for (uint32_t k = list ? ds4_members_node(m, list)->first : 0; k; k = ds4_members_node(m, k)->next) {
        for (uint32_t i = 0; i < p->n; i++) {
            if (p->node[i] != k || !(which >> i & 1)) continue;
            nodes[(*n)++] = k;
            found = true;
        }
    }
    return found;
}

/* The set for members whose names match exactly the patterns of `which`; false when one of
 * the schemas forbids them. */
static bool other_set(ds4_members *m, const patterns *p, uint32_t which, uint32_t *out)
{
    uint32_t *nodes = malloc((m->s->set[m->set].n + 5) * sizeof *nodes), n = 0;
    bool      allowed = nodes != NULL;

    for (uint32_t i = 0; nodes && i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = ds4_members_words(m, i);
        const uint32_t  others = w.at[DS4_W_ADDITIONAL_PROPERTIES];
        if (has_pattern(m, w.at[DS4_W_PATTERN_PROPERTIES], p, which, nodes, &n) || !others)
            continue;
        nodes[n++] = others;
    }
    for (uint32_t i = 0; i < n; i++) allowed &= ds4_members_node(m, nodes[i])->kind != DS4_JSON_FALSE;
    if (allowed) *out = ds4_schema_set_of(m->s, nodes, n);
    free(nodes);
    return allowed && ds4_schema_ok(m->s);
}

/* Names that match the patterns of `which` and no others, and are none of those that are named. */
static void add_other(ds4_members *m, const patterns *p, uint32_t which, const ds4_lang *names,
                      const ds4_lang *taken)
{
    ds4_lang_parts parts = { .most = UINT32_MAX };
    ds4_other_form one = { 0 };

    if (which == 0 && p->n > 0 && !m->additional) return; /* only what the patterns speak of */
    if (!other_set(m, p, which, &one.set)) return;
    if (names) parts.part[parts.n++] = names;
    if (taken) {
        parts.without[parts.n] = true;
        parts.part[parts.n++] = taken;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        parts.without[parts.n] = !(which >> i & 1);
        parts.part[parts.n++] = ds4_schema_pattern(m->s, p->node[i]);
    }
    if (parts.n > 0 && ds4_lang_meet(m->s->g, &parts, &one.names, NULL) != DS4_OK) return;
    if (one.names && one.names->n_states == 0) {
        ds4_lang_free(one.names);
        return;
    }
    m->out->other[m->out->n_others++] = one;
}

void ds4_members_add_others(ds4_members *m, const ds4_lang *names)
{
    patterns   p = { .n = 0 };
    ds4_lang  *taken = NULL;
    ds4_slice *list;

    gather_patterns(m, &p);
    if (!ds4_schema_ok(m->s) || m->closed || (!m->open && (m->listed || m->n > 0))) return;
    list = calloc(m->n + 1, sizeof *list);
    for (uint32_t i = 0; list && i < m->n; i++) list[i] = m->list[i].name;
    if (list && m->n > 0 && ds4_lang_of_texts(m->s->g, list, m->n, &taken, NULL) != DS4_OK)
        taken = NULL;
    free(list);
    for (uint32_t which = 0; which < 1u << p.n && ds4_schema_ok(m->s); which++) {
        add_other(m, &p, which, names, taken);
    }
    ds4_lang_free(taken);
}
