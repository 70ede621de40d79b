/* schema_check.c - does a value that stands in the schema's own text fit? That is asked of the
 * values of enum and const, before they are offered. */
#include "text/schema.h"

#include <string.h>

enum { MAX_DEPTH = 256 };

static const ds4_json_node *node_of(const ds4_schema *s, uint32_t node)
{
    return &s->tree.node[node];
}

static bool numbers_equal(ds4_slice a, ds4_slice b)
{
    ds4_decimal x, y;
    bool        inexact_x, inexact_y;

    if (ds4_slice_eq(a, b)) return true;
    if (!ds4_decimal_read(a, &x, &inexact_x) || !ds4_decimal_read(b, &y, &inexact_y)) return false;
    return !inexact_x && !inexact_y && ds4_decimal_compare(&x, &y) == 0;
}

bool ds4_json_equal(const ds4_schema *s, uint32_t a, uint32_t b)
{
    const ds4_json_node *x = node_of(s, a), *y = node_of(s, b);

    if (!ds4_g_pay(s->g, 1) || x->kind != y->kind || x->n != y->n) return false;
    if (x->kind == DS4_JSON_STRING) return ds4_slice_eq(x->string, y->string);
    if (x->kind == DS4_JSON_NUMBER) return numbers_equal(x->text, y->text);
    uint32_t k = y->first;
    for (uint32_t i = x->first; i; i = node_of(s, i)->next) {
        const uint32_t other =
            x->kind == DS4_JSON_OBJECT ? ds4_json_tree_member(&s->tree, b, node_of(s, i)->name) : k;
        if (!ds4_g_pay(s->g, x->n) || !other || !ds4_json_equal(s, i, other)) return false;
        k = k ? node_of(s, k)->next : 0;
    }
    return true;
}

uint8_t ds4_schema_kind(const ds4_schema *s, uint32_t value)
{
    static const ds4_number whole = { .integer = true };

    switch (node_of(s, value)->kind) {
    case DS4_JSON_OBJECT: return DS4_IS_OBJECT;
    case DS4_JSON_ARRAY: return DS4_IS_ARRAY;
    case DS4_JSON_STRING: return DS4_IS_STRING;
    case DS4_JSON_TRUE:
    case DS4_JSON_FALSE: return DS4_IS_BOOLEAN;
    case DS4_JSON_NULL: return DS4_IS_NULL;
    case DS4_JSON_NUMBER:
        return ds4_number_has(&whole, node_of(s, value)->text) ? DS4_IS_WHOLE : DS4_IS_FRACTION;
    case DS4_JSON_NONE: break;
    }
    return 0;
}

static bool fits(ds4_schema *s, uint32_t value, uint32_t schema, unsigned depth);

static bool string_fits(ds4_schema *s, uint32_t value, const ds4_words *w)
{
    const ds4_slice text = node_of(s, value)->string;
    const uint32_t  pattern = w->at[DS4_W_PATTERN];
    uint32_t        n = 0;

    for (size_t i = 0; i < text.n_bytes; i++) n += (text.data[i] & 0xC0) != 0x80;
    if (n < ds4_schema_count(s, w->at[DS4_W_MIN_LENGTH], 0) ||
        n > ds4_schema_count(s, w->at[DS4_W_MAX_LENGTH], UINT32_MAX))
        return false;
    const ds4_lang *l = pattern ? ds4_schema_pattern(s, pattern) : NULL;
    return !l || (ds4_g_pay(s->g, n) && ds4_lang_has(l, text));
}

static bool array_fits(ds4_schema *s, uint32_t value, const ds4_words *w, unsigned depth)
{
    const uint32_t n = node_of(s, value)->n, items = w->at[DS4_W_ITEMS];
    const bool     old = items && node_of(s, items)->kind == DS4_JSON_ARRAY;
    uint32_t       tuple = old                         ? node_of(s, items)->first
                           : w->at[DS4_W_PREFIX_ITEMS] ? node_of(s, w->at[DS4_W_PREFIX_ITEMS])->first
                                                       : 0;
    const uint32_t rest = old ? w->at[DS4_W_ADDITIONAL_ITEMS] : items;

    if (n < ds4_schema_count(s, w->at[DS4_W_MIN_ITEMS], 0) ||
        n > ds4_schema_count(s, w->at[DS4_W_MAX_ITEMS], UINT32_MAX))
        return false;
    for (uint32_t i = node_of(s, value)->first; i; i = node_of(s, i)->next) {
        const uint32_t schema = tuple ? tuple : rest;
        if (schema && !fits(s, i, schema, depth)) return false;
        if (tuple) tuple = node_of(s, tuple)->next;
        if (!w->at[DS4_W_UNIQUE_ITEMS] ||
            node_of(s, w->at[DS4_W_UNIQUE_ITEMS])->kind != DS4_JSON_TRUE)
            continue;
        for (uint32_t k = node_of(s, i)->next; k; k = node_of(s, k)->next) {
            if (ds4_json_equal(s, i, k)) return false;
        }
    }
    return true;
}

/* A name is no value of the tree: for the while it stands where none is. */
static bool name_fits(ds4_schema *s, ds4_slice name, uint32_t schema, unsigned depth)
{
    const ds4_json_node before = s->tree.node[0];

    s->tree.node[0] = (ds4_json_node){ .kind = DS4_JSON_STRING, .string = name };
    const bool fit = fits(s, 0, schema, depth);
    s->tree.node[0] = before;
    return fit;
}

static bool member_fits(ds4_schema *s, uint32_t member, const ds4_words *w, unsigned depth)
{
    const ds4_slice name = node_of(s, member)->name;
    const uint32_t  others = w->at[DS4_W_ADDITIONAL_PROPERTIES], named = w->at[DS4_W_PROPERTIES],
                   patterns = w->at[DS4_W_PATTERN_PROPERTIES];
    uint32_t schema = named ? ds4_json_tree_member(&s->tree, named, name) : 0;
    bool     covered = schema != 0;

    if (!ds4_g_pay(s->g, named ? node_of(s, named)->n : 1)) return false;
    if (schema && !fits(s, member, schema, depth)) return false;
    for (uint32_t i = patterns ? node_of(s, patterns)->first : 0; i; i = node_of(s, i)->next) {
        const ds4_lang *l = ds4_schema_pattern(s, i);
        if (!l || !ds4_lang_has(l, name)) continue;
        covered = true;
        if (!fits(s, member, i, depth)) return false;
    }
    return covered || !others || fits(s, member, others, depth);
}

static bool object_fits(ds4_schema *s, uint32_t value, const ds4_words *w, unsigned depth)
{
    const uint32_t n = node_of(s, value)->n, required = w->at[DS4_W_REQUIRED],
                   names = w->at[DS4_W_PROPERTY_NAMES];

    if (n < ds4_schema_count(s, w->at[DS4_W_MIN_PROPERTIES], 0) ||
        n > ds4_schema_count(s, w->at[DS4_W_MAX_PROPERTIES], UINT32_MAX))
        return false;
    for (uint32_t i = required ? node_of(s, required)->first : 0; i; i = node_of(s, i)->next) {
        if (!ds4_g_pay(s->g, n + 1) ||
            !ds4_json_tree_member(&s->tree, value, node_of(s, i)->string))
            return false;
    }
    for (uint32_t i = node_of(s, value)->first; i; i = node_of(s, i)->next) {
        if (!member_fits(s, i, w, depth)) return false;
        if (names && !name_fits(s, node_of(s, i)->name, names, depth)) return false;
    }
    return true;
}

static bool among(const ds4_schema *s, uint32_t value, uint32_t list)
{
    for (uint32_t i = node_of(s, list)->first; i; i = node_of(s, i)->next) {
        if (ds4_json_equal(s, value, i)) return true;
    }
    return false;
}

/* Check a value against a schema's own keywords, without references and alternatives. */
static bool words_fit(ds4_schema *s, uint32_t value, ds4_words w, unsigned depth)
{
    const uint8_t kind = ds4_schema_kind(s, value);
    ds4_number    n = { .integer = false };

    if (!(kind & w.kinds)) return false;
    if (w.at[DS4_W_ENUM] && !among(s, value, w.at[DS4_W_ENUM])) return false;
    if (w.at[DS4_W_CONST] && !ds4_json_equal(s, value, w.at[DS4_W_CONST])) return false;
    if (w.at[DS4_W_NOT] && fits(s, value, w.at[DS4_W_NOT], depth)) return false;
    switch (kind) {
    case DS4_IS_STRING: return string_fits(s, value, &w);
    case DS4_IS_ARRAY: return array_fits(s, value, &w, depth);
    case DS4_IS_OBJECT: return object_fits(s, value, &w, depth);
    case DS4_IS_WHOLE:
    case DS4_IS_FRACTION:
        ds4_schema_bounds(s, &w, &n);
        return ds4_number_has(&n, node_of(s, value)->text);
    default: return true;
    }
}

static uint32_t count_fitting(ds4_schema *s, uint32_t value, uint32_t list, unsigned depth)
{
    uint32_t n = 0;

    for (uint32_t i = node_of(s, list)->first; i && ds4_schema_ok(s); i = node_of(s, i)->next) {
        n += fits(s, value, i, depth);
    }
    return n;
}

static bool fits(ds4_schema *s, uint32_t value, uint32_t schema, unsigned depth)
{
    if (!ds4_g_pay(s->g, 4) || depth > MAX_DEPTH) {
        ds4_g_give_up(s->g, DS4_E_LIMIT,
                      "the schema's enum or const needs more than 256 steps in "
                      "each other to be checked, which is the bound");
        return false;
    }
    const ds4_words w = *ds4_schema_words(s, schema);
    if (!ds4_schema_ok(s)) return false;
    if (w.at[DS4_W_NULLABLE] && ds4_schema_kind(s, value) == DS4_IS_NULL) return true;
    if (!words_fit(s, value, w, depth + 1)) return false;
    if (w.target && !fits(s, value, w.target, depth + 1)) return false;
    if (w.at[DS4_W_ALL_OF] &&
        count_fitting(s, value, w.at[DS4_W_ALL_OF], depth + 1) != node_of(s, w.at[DS4_W_ALL_OF])->n)
        return false;
    if (w.at[DS4_W_ANY_OF] && !count_fitting(s, value, w.at[DS4_W_ANY_OF], depth + 1)) return false;
    return !w.at[DS4_W_ONE_OF] || count_fitting(s, value, w.at[DS4_W_ONE_OF], depth + 1) == 1;
}

bool ds4_schema_fits(ds4_schema *s, uint32_t value, uint32_t schema)
{
    return fits(s, value, schema, 0);
}

bool ds4_schema_fits_leaf(ds4_schema *s, uint32_t value, uint32_t list, const ds4_leaf *leaf)
{
    const ds4_schema_set all = s->set[leaf->set], nots = s->set[leaf->nots];

    if (!(ds4_schema_kind(s, value) & leaf->kinds)) return false;
    for (uint32_t i = 0; i < nots.n; i++) {
        if (fits(s, value, s->member[nots.first + i], 0)) return false;
    }
    for (uint32_t i = 0; i < all.n; i++) {
        ds4_words w = *ds4_schema_words(s, s->member[all.first + i]);
        if (w.at[DS4_W_ENUM] == list) w.at[DS4_W_ENUM] = 0;
        w.at[DS4_W_NOT] = 0; /* it is among those that were looked at */
        if (!ds4_schema_ok(s) || !words_fit(s, value, w, 0)) return false;
    }
    return true;
}
