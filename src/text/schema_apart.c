/* schema_apart.c - what must not fit: `not`, and the other alternatives of oneOf. A leaf keeps the
 * kinds of values for which it is apart from them, or can be kept apart. */
#include "text/schema.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4 };

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
                told = !ds4_schema_sets_meet(s, own.list[i].set, other.list[k].set);
            }
            if (told) leaf->forced[leaf->n_forced++] = own.list[i].name;
        }
        ds4_object_form_clear(&own);
        ds4_object_form_clear(&other);
    }
    free(leaves.list);
    return told;
}

bool ds4_schema_sets_meet(ds4_schema *s, uint32_t a, uint32_t b)
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
