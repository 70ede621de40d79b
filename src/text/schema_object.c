/* schema_object.c - what all schemas of a leaf say about an object, and what must not fit (`not`, and the
 * other alternatives of oneOf). One asks the other: whether a name may stand is a question of what must not
 * fit it, and whether two schemas are apart may be told by an object's members. */
#include "text/schema_members.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4 };

/* ---- propertyNames -------------------------------------------------------------------------- */

/* Listed names: each may stand; no others. */
static void allow_listed(ds4_members *m, const uint32_t *values, uint32_t n)
{
    bool *allowed = NULL;

    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        if (ds4_members_node(m, values[i])->kind == DS4_JSON_STRING)
            ds4_members_number(m, ds4_members_node(m, values[i])->string);
    }
    allowed = calloc(m->n + 1, sizeof *allowed);
    for (uint32_t i = 0; allowed && i < n && ds4_schema_ok(m->s); i++) {
        if (ds4_members_node(m, values[i])->kind != DS4_JSON_STRING) continue;
        allowed[ds4_members_number(m, ds4_members_node(m, values[i])->string)] = true;
    }
    for (uint32_t k = 0; allowed && k < m->n; k++) m->list[k].banned |= !allowed[k];
    free(allowed);
    m->closed = true;
}

/* Gather what the schemas say about names: a list, which is applied, or a language, which is returned. */
static ds4_lang *name_language(ds4_members *m)
{
    uint32_t       *nodes = malloc((m->s->set[m->set].n + 1) * sizeof *nodes), n = 0;
    ds4_leaves      leaves = { 0 };
    ds4_string_form form = { 0 };

    for (uint32_t i = 0; nodes && i < m->s->set[m->set].n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = ds4_members_words(m, i);
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

/* ---- the whole ------------------------------------------------------------------------------ */

static void read_leaf(ds4_members *m)
{
    const uint32_t n = m->s->set[m->set].n;

    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = ds4_members_words(m, i);
        const uint32_t  others = w.at[DS4_W_ADDITIONAL_PROPERTIES],
                       rest = w.at[DS4_W_UNEVALUATED_PROPERTIES];
        const uint32_t least = ds4_schema_count(m->s, w.at[DS4_W_MIN_PROPERTIES], 0);
        const uint32_t most = ds4_schema_count(m->s, w.at[DS4_W_MAX_PROPERTIES], UINT32_MAX);
        ds4_members_add_named(m, &w);
        m->listed |= w.at[DS4_W_PROPERTIES] != 0;
        if (least > m->out->least) m->out->least = least;
        if (most < m->out->most) m->out->most = most;
        if (others && ds4_members_node(m, others)->kind != DS4_JSON_FALSE) m->open = m->additional = true;
        if (w.at[DS4_W_PATTERN_PROPERTIES]) m->open = true;
        if (rest && ds4_members_node(m, rest)->kind == DS4_JSON_FALSE && !w.at[DS4_W_PATTERN_PROPERTIES]) {
            m->closed = true;
        }
    }
    ds4_lang *names = name_language(m);
    for (uint32_t i = 0; i < n && ds4_schema_ok(m->s); i++) {
        const ds4_words w = ds4_members_words(m, i);
        ds4_members_demand_unnamed(m, i, &w);
    }
    if (ds4_schema_ok(m->s)) ds4_members_add_others(m, names);
    ds4_lang_free(names);
}

static void write_members(ds4_members *m)
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
            banned |= ds4_members_node(m, nodes[n - 1])->kind == DS4_JSON_FALSE;
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
    ds4_members *m = calloc(1, sizeof *m);

    *out = (ds4_object_form){ .most = UINT32_MAX };
    if (m) {
        m->s = s;
        m->set = leaf->set;
        m->out = out;
        read_leaf(m);
        for (uint32_t i = 0; i < leaf->n_forced && ds4_schema_ok(s); i++) {
            const uint32_t at = ds4_members_number(m, leaf->forced[i]);
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

static bool may_be(ds4_schema *s, uint32_t set, unsigned depth);

/* ---- is there any value at all? ------------------------------------------------------------- */

/* Each of these may say yes where there is none, but not the other way round. */

static bool number_may_be(ds4_schema *s, uint32_t set)
{
    ds4_number n;

    if (!ds4_leaf_number(s, set, &n) || !n.has_low || !n.has_high) return true;
    const int c = ds4_decimal_compare(&n.low, &n.high);
    return c < 0 || (c == 0 && !n.low_open && !n.high_open);
}

static bool string_may_be(ds4_schema *s, const ds4_leaf *leaf)
{
    ds4_string_form form;

    ds4_leaf_string(s, leaf, &form);
    const bool may = form.least <= form.most && (!form.lang || form.lang->n_states > 0);
    ds4_lang_free(form.lang);
    return may;
}

static bool array_may_be(ds4_schema *s, uint32_t set, unsigned depth)
{
    ds4_array_form a;

    ds4_leaf_array(s, set, &a);
    bool may = a.least <= a.most;
    for (uint32_t i = 0; may && i < a.n_tuple && i < a.least; i++)
        may = may_be(s, a.tuple[i], depth);
    if (may && a.least > a.n_tuple) may = may_be(s, a.rest, depth);
    free(a.tuple);
    return may;
}

static bool object_may_be(ds4_schema *s, const ds4_leaf *leaf, unsigned depth)
{
    ds4_object_form o;

    ds4_leaf_object(s, leaf, &o);
    bool may = !o.impossible;
    for (uint32_t i = 0; may && i < o.n; i++) {
        may = !o.list[i].required || may_be(s, o.list[i].set, depth);
    }
    ds4_object_form_clear(&o);
    return may;
}

/* The kinds of a leaf of which there may be a value. */
static uint8_t kinds_of_leaf(ds4_schema *s, const ds4_leaf *leaf, unsigned depth)
{
    const uint8_t numbers = DS4_IS_WHOLE | DS4_IS_FRACTION;
    uint32_t     *values = NULL, n = 0;
    uint8_t       kinds = leaf->kinds;

    if (depth > MAX_DEPTH || !ds4_schema_ok(s)) return kinds;
    if (ds4_leaf_values(s, leaf, &values, &n)) {
        kinds = 0;
        for (uint32_t i = 0; i < n; i++) kinds |= ds4_schema_kind(s, values[i]);
        free(values);
        return kinds;
    }
    if (kinds & numbers && !number_may_be(s, leaf->set)) kinds &= (uint8_t)~numbers;
    if (kinds & DS4_IS_STRING && !string_may_be(s, leaf)) kinds &= (uint8_t)~DS4_IS_STRING;
    if (kinds & DS4_IS_ARRAY && !array_may_be(s, leaf->set, depth + 1))
        kinds &= (uint8_t)~DS4_IS_ARRAY;
    if (kinds & DS4_IS_OBJECT && !object_may_be(s, leaf, depth + 1))
        kinds &= (uint8_t)~DS4_IS_OBJECT;
    return kinds;
}

/* The kinds of values that may fit a set, whatever must not fit. */
static uint8_t kinds_of_set(ds4_schema *s, uint32_t set, unsigned depth)
{
    ds4_leaves leaves;
    uint8_t    kinds = 0;

    ds4_schema_spread(s, set, &leaves);
    for (uint32_t i = 0; i < leaves.n && ds4_schema_ok(s); i++) {
        ds4_leaf leaf = leaves.list[i];
        leaf.nots = 1;
        kinds |= kinds_of_leaf(s, &leaf, depth);
    }
    free(leaves.list);
    return ds4_schema_ok(s) ? kinds : DS4_IS_ANY;
}

static bool may_be(ds4_schema *s, uint32_t set, unsigned depth)
{
    return kinds_of_set(s, set, depth) != 0;
}

/* The kinds of values that may fit the leaf and what must not fit. */
static uint8_t kinds_of_both(ds4_schema *s, uint32_t set, uint32_t node)
{
    const uint32_t n = s->set[set].n;
    uint32_t      *nodes = malloc((n + 1) * sizeof *nodes);

    if (!nodes) return DS4_IS_ANY;
    for (uint32_t i = 0; i < n; i++) nodes[i] = s->member[s->set[set].first + i];
    nodes[n] = node;
    const uint32_t both = ds4_schema_set_of(s, nodes, n + 1);
    free(nodes);
    return ds4_schema_ok(s) ? kinds_of_set(s, both, 0) : DS4_IS_ANY;
}

/* ---- keeping apart -------------------------------------------------------------------------- */

/* Keywords that limit values of some kinds. */
static bool limits(ds4_word word, uint8_t kinds)
{
    if (word == DS4_W_ENUM || word == DS4_W_CONST || word == DS4_W_NOT) return true;
    if (word == DS4_W_FORMAT)
        return (kinds & (DS4_IS_STRING | DS4_IS_WHOLE | DS4_IS_FRACTION)) != 0;
    if (word >= DS4_W_PROPERTIES && word <= DS4_W_UNEVALUATED_PROPERTIES)
        return kinds & DS4_IS_OBJECT;
    if (word >= DS4_W_ITEMS && word <= DS4_W_UNIQUE_ITEMS) return kinds & DS4_IS_ARRAY;
    if (word >= DS4_W_MIN_LENGTH && word <= DS4_W_PATTERN) return kinds & DS4_IS_STRING;
    if (word >= DS4_W_MINIMUM && word <= DS4_W_MULTIPLE_OF) {
        return (kinds & (DS4_IS_WHOLE | DS4_IS_FRACTION)) != 0;
    }
    return false;
}

bool ds4_leaf_limits(ds4_schema *s, const ds4_leaf *leaf, uint8_t kinds)
{
    if (leaf->nots != 1) return true;
    for (uint32_t i = 0; i < s->set[leaf->set].n && ds4_schema_ok(s); i++) {
        const ds4_words *w = ds4_schema_words(s, s->member[s->set[leaf->set].first + i]);
        for (ds4_word k = 0; k < DS4_N_WORDS; k++) {
            if (w->at[k] && limits(k, kinds)) return true;
        }
    }
    return false;
}

/* The kinds of which every value fits a schema. */
static uint8_t kinds_of_all(ds4_schema *s, uint32_t node)
{
    ds4_leaves leaves;
    uint8_t    all = 0;

    ds4_schema_spread(s, ds4_schema_set_of(s, &node, 1), &leaves);
    for (uint32_t i = 0; i < leaves.n && ds4_schema_ok(s); i++) {
        for (unsigned kind = 1; kind < DS4_IS_ANY; kind <<= 1) {
            const bool in = leaves.list[i].kinds & kind;
            if (in && !ds4_leaf_limits(s, &leaves.list[i], (uint8_t)kind)) all |= (uint8_t)kind;
        }
    }
    free(leaves.list);
    return all;
}

/* May a value fit two sets at once? */
static bool sets_meet(ds4_schema *s, uint32_t a, uint32_t b)
{
    const uint32_t n = s->set[a].n + s->set[b].n;
    uint32_t      *nodes = malloc((n + 1) * sizeof *nodes);

    if (!nodes) return true;
    memcpy(nodes, s->member + s->set[a].first, s->set[a].n * sizeof *nodes);
    memcpy(nodes + s->set[a].n, s->member + s->set[b].first, s->set[b].n * sizeof *nodes);
    const uint32_t both = ds4_schema_set_of(s, nodes, n);
    free(nodes);
    return !ds4_schema_ok(s) || may_be(s, both, 1);
}

/* A member that both lists name with values of which none fits both: when it is there, the two
 * are apart. It is made one that is required. */
static bool tell_by_member(ds4_schema *s, ds4_leaf *leaf, uint32_t node)
{
    ds4_leaves      leaves;
    ds4_object_form own, other;
    bool            told = false;

    ds4_schema_spread(s, ds4_schema_set_of(s, &node, 1), &leaves);
    if (leaves.n == 1 && leaf->n_forced < DS4_MAX_FORCED && ds4_schema_ok(s)) {
        ds4_leaf_object(s, leaf, &own);
        ds4_leaf_object(s, &leaves.list[0], &other);
        for (uint32_t i = 0; i < own.n && !told; i++) {
            for (uint32_t k = 0; k < other.n && !told && ds4_g_pay(s->g, 1); k++) {
                if (!ds4_slice_eq(own.list[i].name, other.list[k].name)) continue;
                told = !sets_meet(s, own.list[i].set, other.list[k].set);
            }
            if (told) leaf->forced[leaf->n_forced++] = own.list[i].name;
        }
        ds4_object_form_clear(&own);
        ds4_object_form_clear(&other);
    }
    free(leaves.list);
    return told;
}

static void settle(ds4_schema *s, ds4_leaf *leaf)
{
    const ds4_schema_set nots = s->set[leaf->nots];
    uint32_t            *values = NULL, n = 0;

    if (ds4_leaf_values(s, leaf, &values, &n)) { /* each is looked at by itself */
        free(values);
        return;
    }
    for (uint32_t i = 0; i < nots.n && leaf->kinds && ds4_schema_ok(s); i++) {
        const uint32_t node = s->member[nots.first + i];
        uint8_t        both = leaf->kinds & kinds_of_both(s, leaf->set, node);
        if (!both) continue;
        const uint8_t all = kinds_of_all(s, node);
        leaf->kinds &= (uint8_t)~all;
        both &= (uint8_t) ~(all | DS4_IS_STRING); /* strings: ds4_leaf_string() */
        if (both & DS4_IS_OBJECT && tell_by_member(s, leaf, node)) both &= (uint8_t)~DS4_IS_OBJECT;
        if (both) ds4_schema_ignore(s, DS4_SLICE("oneOf or not with values that fit both sides"));
    }
}

void ds4_leaf_settle(ds4_schema *s, ds4_leaf *leaf)
{
    if (s->set[leaf->nots].n == 0 || !ds4_schema_ok(s)) return;
    if (s->n_nots_in_each_other == DS4_MAX_NOTS) {
        ds4_schema_ignore(s, DS4_SLICE("not in each other"));
        return;
    }
    s->n_nots_in_each_other++;
    settle(s, leaf);
    s->n_nots_in_each_other--;
}
