/* schema_object.c - what all schemas of a leaf say about an object's members, as one. */
#include "text/schema.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_BUCKETS = 1024 };

/* A member that is named, and by which of the schemas it is spoken of. */
typedef struct named {
    ds4_slice name;
    uint32_t  next;    /* in the bucket */
    uint32_t  covered; /* schema (number in the leaf, + 1) that has named it last */
    uint32_t  list;    /* `properties` that has named it last */
    bool      required, banned;
} named;

/* A member's value must fit a schema. */
typedef struct demand {
    uint32_t member, node, next; /* next: of that member, + 1 */
} demand;

typedef struct merger {
    ds4_schema      *s;
    uint32_t         set;
    ds4_object_form *out;
    named           *list;
    demand          *demands;
    uint32_t        *first; /* [n] of each member, + 1 */
    uint32_t         n, cap, n_demands, cap_demands, cap_first;
    uint32_t         bucket[NAME_BUCKETS];
    bool             open, closed; /* others are spoken of, or forbidden */
    bool             listed;       /* there is a list of members, even an empty one */
    bool             additional;   /* additionalProperties allows what no pattern matches */
} merger;

static const ds4_json_node *node_of(const merger *m, uint32_t node)
{
    return &m->s->tree.node[node];
}

static ds4_words words_of(merger *m, uint32_t i)
{
    return *ds4_schema_words(m->s, m->s->member[m->s->set[m->set].first + i]);
}

/* The number of a member, new or not. */
static uint32_t number_of(merger *m, ds4_slice name)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < name.n_bytes; i++) h = (h ^ (unsigned char)name.data[i]) * 16777619u;
    uint32_t *bucket = &m->bucket[h % NAME_BUCKETS];
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
    m->list[m->n] = (named){ .name = name, .next = *bucket };
    m->first[m->n] = 0;
    *bucket = ++m->n;
    return m->n - 1;
}

static void add_demand(merger *m, uint32_t member, uint32_t node)
{
    if (!ds4_g_pay(m->s->g, 1)) return;
    void *p = ds4_g_room(m->s->g, m->demands, m->n_demands, &m->cap_demands, sizeof *m->demands);
    if (!p) return;
    m->demands = p;
    m->demands[m->n_demands] = (demand){ member, node, m->first[member] };
    m->first[member] = ++m->n_demands;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void add_named(merger *m, const ds4_words *w)
{
    const uint32_t list = w->at[DS4_W_PROPERTIES], required = w->at[DS4_W_REQUIRED];

    for (uint32_t i = list ? node_of(m, list)->first : 0; i && ds4_schema_ok(m->s);
         i = node_of(m, i)->next) {
        const uint32_t at = number_of(m, node_of(m, i)->name);
        if (!ds4_schema_ok(m->s)) return;
        if (m->list[at].list == list)
            m->demands[m->first[at] - 1].node = i; /* the last one counts */
        else
            add_demand(m, at, i);
        m->list[at].list = list;
    }
    for (uint32_t i = required ? node_of(m, required)->first : 0; i && ds4_schema_ok(m->s);
         i = node_of(m, i)->next) {
        if (node_of(m, i)->kind != DS4_JSON_STRING) continue;
        const uint32_t at = number_of(m, node_of(m, i)->string);
        if (m->n) m->list[at].required = true;
    }
}

/* What a schema says about members that its own list does not name. */
static void demand_of_unnamed(merger *m, uint32_t number, const ds4_words *w)
{
    const uint32_t list = w->at[DS4_W_PROPERTIES], others = w->at[DS4_W_ADDITIONAL_PROPERTIES],
                   patterns = w->at[DS4_W_PATTERN_PROPERTIES];

    if (!others && !patterns) return;
    for (uint32_t i = list ? node_of(m, list)->first : 0; i && ds4_schema_ok(m->s);
         i = node_of(m, i)->next) {
        m->list[number_of(m, node_of(m, i)->name)].covered = number + 1;
    }
    for (uint32_t k = 0; k < m->n && ds4_g_pay(m->s->g, 1); k++) {
        bool covered = m->list[k].covered == number + 1;
        for (uint32_t i = patterns ? node_of(m, patterns)->first : 0; i; i = node_of(m, i)->next) {
            const ds4_lang *l = ds4_schema_pattern(m->s, i);
            if (!l || !ds4_g_pay(m->s->g, 4) || !ds4_lang_has(l, m->list[k].name)) continue;
            covered = true;
            add_demand(m, k, i);
        }
        if (!covered && others) add_demand(m, k, others);
    }
}

/* ---- propertyNames -------------------------------------------------------------------------- */

/* Listed names: each may stand; no others. */
static void allow_listed(merger *m, const uint32_t *values, uint32_t n)
{
    bool *allowed = NULL;

    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        if (node_of(m, values[i])->kind == DS4_JSON_STRING)
            number_of(m, node_of(m, values[i])->string);
    }
    allowed = calloc(m->n + 1, sizeof *allowed);
    for (uint32_t i = 0; allowed && i < n && ds4_schema_ok(m->s); i++) {
        if (node_of(m, values[i])->kind != DS4_JSON_STRING) continue;
        allowed[number_of(m, node_of(m, values[i])->string)] = true;
    }
    for (uint32_t k = 0; allowed && k < m->n; k++) m->list[k].banned |= !allowed[k];
    free(allowed);
    m->closed = true;
}

/* What the schemas say about names: the list of them, or a language, which is given. */
static ds4_lang *name_language(merger *m)
{
    uint32_t       *nodes = malloc((m->s->set[m->set].n + 1) * sizeof *nodes), n = 0;
    ds4_leaves      leaves = { 0 };
    ds4_string_form form = { 0 };

    for (uint32_t i = 0; nodes && i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = words_of(m, i);
        if (w.at[DS4_W_PROPERTY_NAMES]) nodes[n++] = w.at[DS4_W_PROPERTY_NAMES];
    }
    if (n > 0) {
        ds4_schema_spread(m->s, ds4_schema_set_of(m->s, nodes, n), &leaves);
        uint32_t *values = NULL, n_values = 0, n_strings = 0;
        for (uint32_t i = 0; i < leaves.n; i++) {
            ds4_leaf_settle(m->s, &leaves.list[i]);
            if (leaves.list[i].kinds & DS4_IS_STRING) leaves.list[n_strings++] = leaves.list[i];
        }
        leaves.n = n_strings;
        if (leaves.n == 0) {
            allow_listed(m, NULL, 0);
        } else if (leaves.n > 1) {
            ds4_schema_ignore(m->s, DS4_SLICE("alternatives in propertyNames"));
        } else if (ds4_leaf_values(m->s, &leaves.list[0], &values, &n_values)) {
            allow_listed(m, values, n_values);
        } else {
            ds4_leaf_string(m->s, &leaves.list[0], &form);
            if (!form.lang && (form.least > 0 || form.most != UINT32_MAX)) {
                const ds4_lang_parts p = { .least = form.least, .most = form.most };
                if (ds4_lang_meet(m->s->g, &p, &form.lang, NULL) != DS4_OK) form.lang = NULL;
            }
        }
        free(values);
    }
    for (uint32_t k = 0; form.lang && k < m->n; k++) {
        m->list[k].banned |= !ds4_lang_has(form.lang, m->list[k].name);
    }
    free(nodes);
    free(leaves.list);
    return form.lang;
}

/* ---- members without a name ----------------------------------------------------------------- */

/* All patterns of patternProperties in the leaf. */
typedef struct patterns {
    uint32_t node[4], n;
} patterns;

static void gather_patterns(merger *m, patterns *p)
{
    for (uint32_t i = 0; i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = words_of(m, i);
        const uint32_t  list = w.at[DS4_W_PATTERN_PROPERTIES];
        for (uint32_t k = list ? node_of(m, list)->first : 0; k; k = node_of(m, k)->next) {
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
static bool has_pattern(merger *m, uint32_t list, const patterns *p, uint32_t which,
                        uint32_t *nodes, uint32_t *n)
{
    bool found = false;

    for (uint32_t k = list ? node_of(m, list)->first : 0; k; k = node_of(m, k)->next) {
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
static bool other_set(merger *m, const patterns *p, uint32_t which, uint32_t *out)
{
    uint32_t *nodes = malloc((m->s->set[m->set].n + 5) * sizeof *nodes), n = 0;
    bool      allowed = nodes != NULL;

    for (uint32_t i = 0; nodes && i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = words_of(m, i);
        const uint32_t  others = w.at[DS4_W_ADDITIONAL_PROPERTIES];
        if (has_pattern(m, w.at[DS4_W_PATTERN_PROPERTIES], p, which, nodes, &n) || !others)
            continue;
        nodes[n++] = others;
    }
    for (uint32_t i = 0; i < n; i++) allowed &= node_of(m, nodes[i])->kind != DS4_JSON_FALSE;
    if (allowed) *out = ds4_schema_set_of(m->s, nodes, n);
    free(nodes);
    return allowed && ds4_schema_ok(m->s);
}

/* Names that match the patterns of `which` and no others, and are none of those that are named. */
static void add_other(merger *m, const patterns *p, uint32_t which, const ds4_lang *names,
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

static void add_others(merger *m, const ds4_lang *names)
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

/* ---- the whole ------------------------------------------------------------------------------ */

static void read_leaf(merger *m)
{
    const uint32_t n = m->s->set[m->set].n;

    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = words_of(m, i);
        const uint32_t  others = w.at[DS4_W_ADDITIONAL_PROPERTIES],
                       rest = w.at[DS4_W_UNEVALUATED_PROPERTIES];
        const uint32_t least = ds4_schema_count(m->s, w.at[DS4_W_MIN_PROPERTIES], 0);
        const uint32_t most = ds4_schema_count(m->s, w.at[DS4_W_MAX_PROPERTIES], UINT32_MAX);
        add_named(m, &w);
        m->listed |= w.at[DS4_W_PROPERTIES] != 0;
        if (least > m->out->least) m->out->least = least;
        if (most < m->out->most) m->out->most = most;
        if (others && node_of(m, others)->kind != DS4_JSON_FALSE) m->open = m->additional = true;
        if (w.at[DS4_W_PATTERN_PROPERTIES]) m->open = true;
        if (rest && node_of(m, rest)->kind == DS4_JSON_FALSE && !w.at[DS4_W_PATTERN_PROPERTIES]) {
            m->closed = true;
        }
    }
    ds4_lang *names = name_language(m);
    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = words_of(m, i);
        demand_of_unnamed(m, i, &w);
    }
    if (ds4_schema_ok(m->s)) add_others(m, names);
    ds4_lang_free(names);
}

static void write_members(merger *m)
{
    ds4_object_form *out = m->out;
    uint32_t        *nodes = malloc((m->n_demands + 1) * sizeof *nodes);

    out->list = calloc(m->n + 1, sizeof *out->list);
    if (!nodes || !out->list) ds4_g_give_up(m->s->g, DS4_E_NOMEM, "no memory for a schema");
    for (uint32_t k = 0; k < m->n && ds4_schema_ok(m->s); k++) {
        uint32_t n = 0;
        bool     banned = m->list[k].banned;
        for (uint32_t i = m->first[k]; i; i = m->demands[i - 1].next) {
            nodes[n++] = m->demands[i - 1].node;
            banned |= node_of(m, nodes[n - 1])->kind == DS4_JSON_FALSE;
        }
        out->impossible |= banned && m->list[k].required;
        if (banned) continue;
        out->list[out->n++] = (ds4_member_form){ .name = m->list[k].name,
                                                 .set = ds4_schema_set_of(m->s, nodes, n),
                                                 .required = m->list[k].required };
    }
    free(nodes);
}

void ds4_leaf_object(ds4_schema *s, const ds4_leaf *leaf, ds4_object_form *out)
{
    merger *m = calloc(1, sizeof *m);

    *out = (ds4_object_form){ .most = UINT32_MAX };
    if (m) {
        m->s = s;
        m->set = leaf->set;
        m->out = out;
        read_leaf(m);
        for (uint32_t i = 0; i < leaf->n_forced && ds4_schema_ok(s); i++) {
            const uint32_t at = number_of(m, leaf->forced[i]);
            if (m->n) m->list[at].required = true;
        }
        write_members(m);
        free(m->list);
        free(m->demands);
        free(m->first);
    } else {
        ds4_g_give_up(s->g, DS4_E_NOMEM, "no memory for a schema");
    }
    free(m);
    ds4_schema_ok(s);
}

void ds4_object_form_clear(ds4_object_form *o)
{
    for (uint32_t i = 0; i < o->n_others; i++) ds4_lang_free(o->other[i].names);
    free(o->list);
    *o = (ds4_object_form){ 0 };
}
