/* grammar_schema.c - a JSON schema becomes a grammar. */
#include "text/grammar_build.h"

#include "text/pyjson.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_UNROLLED = 4096, MAX_MEMBERS = 1024 };

/* ---- reading schemas ------------------------------------------------------------------------ */

static bool text_is(ds4_slice json, const char *text)
{
    const size_t n = strlen(text);
    return json.n_bytes == n + 2 && json.data[0] == '"' && !memcmp(json.data + 1, text, n);
}

static ds4_status unsupported(ds4_err *err, ds4_slice what)
{
    return ds4_fail(err, DS4_E_UNSUPPORTED, "the schema uses %.*s, which cannot be enforced",
                    (int)(what.n_bytes < 80 ? what.n_bytes : 80), what.data);
}

/* Every keyword must be one that is enforced or one that only describes. */
static ds4_status check_keywords(ds4_slice schema, ds4_err *err)
{
    static const char *const known[] = {
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "definitions",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "nullable",
        "title",
        "description",
        "default",
        "examples",
        "example",
        "$schema",
        "$id",
        "$comment",
        "format",
        "readOnly",
        "writeOnly",
        "deprecated",
        "strict",
        "additionalItems",
        "contentEncoding",
        "contentMediaType",
        "propertyOrdering",
        NULL,
    };
    ds4_pyjson_iter it;
    ds4_slice       name, value;

    DS4_TRY(ds4_pyjson_open(&it, schema, err));
    while (ds4_pyjson_next(&it, &name, &value)) {
        const char *const *k = known;
        while (*k && !text_is(name, *k)) k++;
        if (!*k) return unsupported(err, name);
    }
    return DS4_OK;
}

static bool number_of(ds4_slice schema, const char *name, double *out)
{
    ds4_slice value;
    char      text[40];

    if (!ds4_pyjson_get(schema, name, &value) || ds4_pyjson_kind(value) != DS4_JSON_NUMBER ||
        value.n_bytes >= sizeof text)
        return false;
    memcpy(text, value.data, value.n_bytes);
    text[value.n_bytes] = '\0';
    *out = strtod(text, NULL);
    return true;
}

static ds4_status count_of(ds4_slice schema, const char *name, uint32_t otherwise, uint32_t *out,
                           ds4_err *err)
{
    double n = 0;

    *out = otherwise;
    if (!number_of(schema, name, &n)) return DS4_OK;
    if (!(n >= 0 && n <= MAX_UNROLLED)) {
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "the schema has a %s above %d, which cannot be "
                        "enforced",
                        name, MAX_UNROLLED);
    }
    *out = (uint32_t)n;
    return DS4_OK;
}

static void call(ds4_g_schema *s, uint32_t rule)
{
    ds4_g_emit(s->g, DS4_G_CALL, rule, 0);
}

static void space(ds4_g_schema *s)
{
    call(s, ds4_g_space(s->g, &s->json));
}

/* Code for a schema as a rule of its own, jumped over. */
static ds4_status as_rule(ds4_g_schema *s, ds4_slice schema, uint32_t *rule, ds4_err *err)
{
    const uint32_t over = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);

    *rule = ds4_g_here(s->g);
    DS4_TRY(ds4_g_schema_value(s, schema, err));
    ds4_g_emit(s->g, DS4_G_RETURN, 0, 0);
    ds4_g_point(s->g, over, ds4_g_here(s->g));
    return DS4_OK;
}

/* The JSON rules are made ahead, so that they never lie in the middle of other code. */
static void make_rules(ds4_g_schema *s)
{
    const uint32_t over = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);

    ds4_g_value(s->g, &s->json);
    ds4_g_number(s->g, &s->json, false);
    ds4_g_point(s->g, over, ds4_g_here(s->g));
}

/* ---- one of several ------------------------------------------------------------------------- */

typedef ds4_status each_fn(ds4_g_schema *s, ds4_slice one, ds4_err *err);

static ds4_status one_of(ds4_g_schema *s, ds4_slice list, each_fn *each, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       one, next;
    uint32_t        joins[256], n = 0;

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    bool any = ds4_pyjson_next(&it, NULL, &one);
    if (!any) return ds4_fail(err, DS4_E_FORMAT, "the schema has an empty list of alternatives");
    while (any) {
        any = ds4_pyjson_next(&it, NULL, &next);
        if (n == 256)
            return ds4_fail(err, DS4_E_LIMIT, "the schema has more than 256 alternatives");
        const uint32_t split = any ? ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0) : 0;
        DS4_TRY(each(s, one, err));
        joins[n++] = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        if (any) ds4_g_point_b(s->g, split, ds4_g_here(s->g));
        one = next;
    }
    for (uint32_t i = 0; i < n; i++) ds4_g_point(s->g, joins[i], ds4_g_here(s->g));
    return DS4_OK;
}

static ds4_status literal(ds4_g_schema *s, ds4_slice value, ds4_err *err)
{
    ds4_str    text = { 0 };
    ds4_status st = ds4_pyjson_dump(value, &text, err);

    if (st == DS4_OK && text.failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    if (st == DS4_OK) ds4_g_text(s->g, (ds4_slice){ ds4_str_text(&text), text.n_bytes });
    ds4_str_clear(&text);
    return st;
}

/* ---- strings and numbers -------------------------------------------------------------------- */

static ds4_status string(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    uint32_t least, most, skip[MAX_UNROLLED];

    DS4_TRY(count_of(schema, "minLength", 0, &least, err));
    DS4_TRY(count_of(schema, "maxLength", UINT32_MAX, &most, err));
    if (least == 0 && most == UINT32_MAX) {
        call(s, ds4_g_string(s->g, &s->json));
        return DS4_OK;
    }
    if (most < least)
        return ds4_fail(err, DS4_E_FORMAT, "the schema has maxLength below minLength");
    const uint32_t character = ds4_g_character(s->g, &s->json);
    ds4_g_byte(s->g, '"');
    for (uint32_t i = 0; i < least; i++) call(s, character);
    if (most == UINT32_MAX) {
        const uint32_t again = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        call(s, character);
        ds4_g_emit(s->g, DS4_G_JUMP, again, 0);
        ds4_g_point_b(s->g, again, ds4_g_here(s->g));
    } else {
        const uint32_t n = most - least;
        for (uint32_t i = 0; i < n; i++) {
            skip[i] = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
            call(s, character);
        }
        for (uint32_t i = 0; i < n; i++) ds4_g_point_b(s->g, skip[i], ds4_g_here(s->g));
    }
    ds4_g_byte(s->g, '"');
    return DS4_OK;
}

/* Bounds are enforced as far as the sign says it; libraries also write the bounds of safe
 * integers, which the number of digits keeps to. */
static ds4_status number(ds4_g_schema *s, ds4_slice schema, bool fraction, ds4_err *err)
{
    const double safe = 9007199254740991.0;
    double       least = -safe, most = safe, above = -1;
    const bool   has_above = number_of(schema, "exclusiveMinimum", &above);

    number_of(schema, "minimum", &least);
    number_of(schema, "maximum", &most);
    if (most < safe) return unsupported(err, DS4_SLICE("\"maximum\""));
    if (least > -safe && !(least >= 0 && least <= 0) && !(!fraction && least >= 1 && least <= 1)) {
        return unsupported(err, DS4_SLICE("\"minimum\""));
    }
    const bool positive = (has_above && above >= 0 && above <= 0) || least >= 1;
    if (has_above && !(above >= 0 && above <= 0))
        return unsupported(err, DS4_SLICE("\"exclusiveMinimum\""));
    if (positive && fraction) return unsupported(err, DS4_SLICE("\"exclusiveMinimum\""));
    const uint32_t rule = ds4_g_number(s->g, &s->json, fraction);
    if (least < 0 && !positive) {
        call(s, rule);
        return DS4_OK;
    }
    /* The rule begins with a split whose second branch has no sign; behind it a split
     * whose second branch is not zero. */
    uint32_t at = s->g->failed == DS4_OK ? s->g->code[rule].b : 0;
    if (positive && s->g->failed == DS4_OK) at = s->g->code[at].b;
    call(s, at);
    return DS4_OK;
}

/* ---- arrays --------------------------------------------------------------------------------- */

static void comma(ds4_g_schema *s)
{
    ds4_g_byte(s->g, ',');
    space(s);
}

static ds4_status prefix_items(ds4_g_schema *s, ds4_slice list, uint32_t *n, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       one;

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    for (; ds4_pyjson_next(&it, NULL, &one); (*n)++) {
        if (*n > 0) comma(s);
        DS4_TRY(ds4_g_schema_value(s, one, err));
    }
    return DS4_OK;
}

/* Further items: `n` are there, at least `least` and at most `most` must be. */
static ds4_status more_items(ds4_g_schema *s, uint32_t item, uint32_t n, uint32_t least,
                             uint32_t most)
{
    uint32_t skip[MAX_UNROLLED], n_skips = 0;

    for (; n < least; n++) {
        if (n > 0) comma(s);
        call(s, item);
    }
    if (n == 0 && most > 0) {
        skip[n_skips++] = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        call(s, item);
        n = 1;
    }
    if (most == UINT32_MAX) {
        const uint32_t again = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        comma(s);
        call(s, item);
        ds4_g_emit(s->g, DS4_G_JUMP, again, 0);
        ds4_g_point_b(s->g, again, ds4_g_here(s->g));
    }
    for (; most != UINT32_MAX && n < most && n_skips < MAX_UNROLLED; n++) {
        skip[n_skips++] = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        comma(s);
        call(s, item);
    }
    for (uint32_t i = 0; i < n_skips; i++) ds4_g_point_b(s->g, skip[i], ds4_g_here(s->g));
    return DS4_OK;
}

static ds4_status array(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    ds4_slice items = DS4_SLICE("true"), prefix;
    uint32_t  least, most, n = 0, item = ds4_g_value(s->g, &s->json);

    DS4_TRY(count_of(schema, "minItems", 0, &least, err));
    DS4_TRY(count_of(schema, "maxItems", UINT32_MAX, &most, err));
    if (most < least) return ds4_fail(err, DS4_E_FORMAT, "the schema has maxItems below minItems");
    const bool has_items = ds4_pyjson_get(schema, "items", &items);
    const bool closed = has_items && ds4_pyjson_kind(items) == DS4_JSON_FALSE;
    if (has_items && !closed) DS4_TRY(as_rule(s, items, &item, err));
    ds4_g_byte(s->g, '[');
    space(s);
    if (ds4_pyjson_get(schema, "prefixItems", &prefix)) {
        DS4_TRY(prefix_items(s, prefix, &n, err));
        if (!has_items && most == UINT32_MAX) most = n;
    }
    if (closed && most > n) most = n;
    if (least > most || (closed && least > n)) {
        return ds4_fail(err, DS4_E_FORMAT, "the schema asks for more items than it allows");
    }
    DS4_TRY(more_items(s, item, n, least, most));
    space(s);
    ds4_g_byte(s->g, ']');
    return DS4_OK;
}

/* ---- objects -------------------------------------------------------------------------------- */

typedef struct member {
    ds4_slice name; /* JSON string */
    uint32_t  rule;
    bool      required;
} member;

typedef struct members {
    member   list[MAX_MEMBERS];
    uint32_t n;
    bool     open;  /* others may follow */
    uint32_t other; /* the rule of their values */
} members;

static ds4_status add_member(members *m, ds4_slice name, uint32_t rule, ds4_err *err)
{
    if (m->n == MAX_MEMBERS)
        return ds4_fail(err, DS4_E_LIMIT, "the schema has an object with too many members");
    m->list[m->n++] = (member){ .name = name, .rule = rule };
    return DS4_OK;
}

static ds4_status read_members(ds4_g_schema *s, ds4_slice schema, members *m, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       list, name, value;
    uint32_t        rule;

    if (ds4_pyjson_get(schema, "properties", &list)) {
        DS4_TRY(ds4_pyjson_open(&it, list, err));
        while (ds4_pyjson_next(&it, &name, &value)) {
            DS4_TRY(as_rule(s, value, &rule, err));
            DS4_TRY(add_member(m, name, rule, err));
        }
    }
    if (ds4_pyjson_get(schema, "required", &list) && ds4_pyjson_kind(list) == DS4_JSON_ARRAY) {
        DS4_TRY(ds4_pyjson_open(&it, list, err));
        while (ds4_pyjson_next(&it, NULL, &name)) {
            uint32_t i = 0;
            while (i < m->n && !ds4_slice_eq(m->list[i].name, name)) i++;
            if (i == m->n) DS4_TRY(add_member(m, name, ds4_g_value(s->g, &s->json), err));
            m->list[i].required = true;
        }
    }
    m->open = m->n == 0;
    m->other = ds4_g_value(s->g, &s->json);
    if (!ds4_pyjson_get(schema, "additionalProperties", &value)) return DS4_OK;
    const ds4_json_kind kind = ds4_pyjson_kind(value);
    m->open = kind != DS4_JSON_FALSE;
    if (kind == DS4_JSON_OBJECT) return as_rule(s, value, &m->other, err);
    return DS4_OK;
}

/* A comma and what may follow it, `then`; or the end, when nothing is missing. */
static uint32_t go_on(ds4_g_schema *s, uint32_t then, bool missing, uint32_t out)
{
    const uint32_t at = ds4_g_here(s->g);

    if (!missing) ds4_g_emit(s->g, DS4_G_SPLIT, at + 1, out);
    comma(s);
    ds4_g_emit(s->g, DS4_G_JUMP, then, 0);
    return at;
}

/* From the last member to the first: `key` is where a name may stand, of this member or of
 * a later one when this one may be left out, and `behind` what comes after its value. */
static ds4_status chain(ds4_g_schema *s, const members *m, uint32_t out, uint32_t *key,
                        bool *missing, ds4_err *err)
{
    uint32_t behind = out;

    *key = 0;
    *missing = false;
    if (m->open) {
        const uint32_t skip = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        *key = ds4_g_here(s->g);
        call(s, ds4_g_string(s->g, &s->json));
        ds4_g_byte(s->g, ':');
        space(s);
        call(s, m->other);
        ds4_g_point(s->g, skip, ds4_g_here(s->g));
        behind = go_on(s, *key, false, out);
    }
    for (uint32_t i = m->n; i-- > 0;) {
        const uint32_t later = *key, at = ds4_g_here(s->g);
        DS4_TRY(literal(s, m->list[i].name, err));
        ds4_g_byte(s->g, ':');
        space(s);
        call(s, m->list[i].rule);
        ds4_g_emit(s->g, DS4_G_JUMP, behind, 0);
        *missing |= m->list[i].required;
        *key = m->list[i].required || later == 0 ? at : ds4_g_emit(s->g, DS4_G_SPLIT, at, later);
        behind = go_on(s, *key, *missing, out);
    }
    return DS4_OK;
}

static ds4_status object(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    members   *m = calloc(1, sizeof *m);
    uint32_t   key = 0;
    bool       missing = false;
    ds4_status st =
        m ? read_members(s, schema, m, err) : ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");

    ds4_g_byte(s->g, '{');
    const uint32_t begin = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
    const uint32_t out = ds4_g_here(s->g);
    space(s);
    const uint32_t closing = ds4_g_here(s->g);
    ds4_g_byte(s->g, '}');
    const uint32_t end = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
    if (st == DS4_OK) st = chain(s, m, out, &key, &missing, err);
    ds4_g_point(s->g, begin, key ? ds4_g_here(s->g) : closing);
    if (key && !missing) ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, closing);
    if (key) space(s);
    if (key) ds4_g_emit(s->g, DS4_G_JUMP, key, 0);
    ds4_g_point(s->g, end, ds4_g_here(s->g));
    free(m);
    return st;
}

/* ---- references ----------------------------------------------------------------------------- */

/* "#", "#/$defs/x", "#/definitions/x/properties/y". */
static ds4_status resolve(const ds4_g_schema *s, ds4_slice pointer, ds4_slice *out, ds4_err *err)
{
    char name[128];

    *out = s->root;
    if (pointer.n_bytes < 3 || pointer.data[1] != '#') return unsupported(err, pointer);
    const char *at = pointer.data + 2, *end = pointer.data + pointer.n_bytes - 1;
    while (at < end) {
        size_t n = 0;
        at++;
        while (at < end && *at != '/' && n < sizeof name - 1) {
            if (*at == '~' || *at == '\\') return unsupported(err, pointer);
            name[n++] = *at++;
        }
        name[n] = '\0';
        if (!ds4_pyjson_get(*out, name, out)) {
            return ds4_fail(err, DS4_E_FORMAT, "the schema refers to %.*s, which is not there",
                            (int)(pointer.n_bytes < 80 ? pointer.n_bytes : 80), pointer.data);
        }
    }
    return DS4_OK;
}

static ds4_status reference(ds4_g_schema *s, ds4_slice pointer, ds4_err *err)
{
    ds4_slice target;

    for (uint32_t i = 0; i < s->n_refs; i++) {
        if (!ds4_slice_eq(s->refs[i].pointer, pointer)) continue;
        call(s, s->refs[i].rule);
        return DS4_OK;
    }
    DS4_TRY(resolve(s, pointer, &target, err));
    if (s->n_refs == s->cap_refs) {
        const uint32_t capacity = s->cap_refs ? 2 * s->cap_refs : 16;
        void          *refs = realloc(s->refs, capacity * sizeof *s->refs);
        if (!refs) return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
        s->refs = refs;
        s->cap_refs = capacity;
    }
    const uint32_t over = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
    const uint32_t rule = ds4_g_here(s->g);
    s->refs[s->n_refs].pointer = pointer;
    s->refs[s->n_refs++].rule = rule;
    DS4_TRY(ds4_g_schema_value(s, target, err));
    ds4_g_emit(s->g, DS4_G_RETURN, 0, 0);
    ds4_g_point(s->g, over, ds4_g_here(s->g));
    call(s, rule);
    return DS4_OK;
}

/* ---- any schema ----------------------------------------------------------------------------- */

static ds4_status of_type(ds4_g_schema *s, ds4_slice schema, ds4_slice type, ds4_err *err)
{
    if (text_is(type, "string")) return string(s, schema, err);
    if (text_is(type, "number")) return number(s, schema, true, err);
    if (text_is(type, "integer")) return number(s, schema, false, err);
    if (text_is(type, "object")) return object(s, schema, err);
    if (text_is(type, "array")) return array(s, schema, err);
    if (text_is(type, "null")) return literal(s, DS4_SLICE("null"), err);
    if (text_is(type, "boolean")) {
        return one_of(s, DS4_SLICE("[true,false]"), literal, err);
    }
    return ds4_fail(err, DS4_E_FORMAT, "the schema has the type %.*s, which is none",
                    (int)(type.n_bytes < 40 ? type.n_bytes : 40), type.data);
}

/* A list of types: the same schema with each. */
static ds4_status of_types(ds4_g_schema *s, ds4_slice schema, ds4_slice list, ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       one;
    uint32_t        joins[16], splits[16], n = 0;

    DS4_TRY(ds4_pyjson_open(&it, list, err));
    while (n < 16 && ds4_pyjson_next(&it, NULL, &one)) {
        splits[n] = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        DS4_TRY(of_type(s, schema, one, err));
        joins[n++] = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        ds4_g_point_b(s->g, splits[n - 1], ds4_g_here(s->g));
    }
    if (n == 0) return ds4_fail(err, DS4_E_FORMAT, "the schema has an empty list of types");
    ds4_g_point_b(s->g, splits[n - 1], splits[n - 1] + 1); /* the last has no alternative */
    for (uint32_t i = 0; i < n; i++) ds4_g_point(s->g, joins[i], ds4_g_here(s->g));
    return DS4_OK;
}

static ds4_status schema_body(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    ds4_slice value, more;

    if (ds4_pyjson_get(schema, "$ref", &value)) return reference(s, value, err);
    if (ds4_pyjson_get(schema, "const", &value)) return literal(s, value, err);
    if (ds4_pyjson_get(schema, "enum", &value)) return one_of(s, value, literal, err);
    if (ds4_pyjson_get(schema, "anyOf", &value) || ds4_pyjson_get(schema, "oneOf", &value)) {
        if (ds4_pyjson_get(schema, "properties", &more)) {
            return unsupported(err, DS4_SLICE("\"properties\" beside \"anyOf\""));
        }
        return one_of(s, value, ds4_g_schema_value, err);
    }
    if (ds4_pyjson_get(schema, "allOf", &value)) {
        ds4_pyjson_iter it;
        ds4_slice       only;
        DS4_TRY(ds4_pyjson_open(&it, value, err));
        const bool one = ds4_pyjson_next(&it, NULL, &only) && !ds4_pyjson_next(&it, NULL, &more);
        if (!one) return unsupported(err, DS4_SLICE("\"allOf\" of several"));
        return ds4_g_schema_value(s, only, err);
    }
    if (!ds4_pyjson_get(schema, "type", &value)) {
        if (ds4_pyjson_get(schema, "properties", &more)) return object(s, schema, err);
        if (ds4_pyjson_get(schema, "items", &more)) return array(s, schema, err);
        call(s, ds4_g_value(s->g, &s->json));
        return DS4_OK;
    }
    if (ds4_pyjson_kind(value) == DS4_JSON_ARRAY) return of_types(s, schema, value, err);
    return of_type(s, schema, value, err);
}

ds4_status ds4_g_schema_value(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    const ds4_json_kind kind = ds4_pyjson_kind(schema);
    ds4_slice           value;

    if (s->json.value == 0) make_rules(s);
    if (kind == DS4_JSON_TRUE) {
        call(s, ds4_g_value(s->g, &s->json));
        return DS4_OK;
    }
    if (kind != DS4_JSON_OBJECT) return ds4_fail(err, DS4_E_FORMAT, "a schema must be an object");
    if (s->depth >= MAX_DEPTH) return ds4_fail(err, DS4_E_LIMIT, "the schema is nested too deeply");
    DS4_TRY(check_keywords(schema, err));
    const bool nullable =
        ds4_pyjson_get(schema, "nullable", &value) && ds4_pyjson_kind(value) == DS4_JSON_TRUE;
    const uint32_t split = nullable ? ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0) : 0;
    s->depth++;
    DS4_TRY(schema_body(s, schema, err));
    s->depth--;
    if (nullable) {
        const uint32_t over = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        ds4_g_point_b(s->g, split, ds4_g_here(s->g));
        ds4_g_literal(s->g, "null");
        ds4_g_point(s->g, over, ds4_g_here(s->g));
    }
    return DS4_OK;
}

void ds4_g_schema_clear(ds4_g_schema *s)
{
    free(s->refs);
}

/* A schema that only refers to itself has no value. */
static ds4_status check_start(const ds4_grammar *g, ds4_err *err)
{
    ds4_grammar_walk *w = NULL;

    DS4_TRY(ds4_grammar_walk_create(g, &w, err));
    const bool stuck = ds4_grammar_must_end(w);
    ds4_grammar_walk_free(w);
    return stuck ? ds4_fail(err, DS4_E_FORMAT, "no value can fit the schema") : DS4_OK;
}

ds4_status ds4_grammar_from_schema(ds4_slice schema, ds4_grammar **out, ds4_err *err)
{
    ds4_g_schema s = { .root = schema };
    ds4_grammar *made = NULL;

    DS4_TRY(ds4_pyjson_check(schema, err));
    DS4_TRY(ds4_g_new(&s.g, err));
    s.g->start = ds4_g_here(s.g);
    ds4_status st = ds4_g_schema_value(&s, schema, err);
    ds4_g_emit(s.g, DS4_G_RETURN, 0, 0);
    ds4_g_schema_clear(&s);
    if (st != DS4_OK) {
        ds4_grammar_free(s.g);
        return st;
    }
    DS4_TRY(ds4_g_finish(s.g, &made, err));
    st = check_start(made, err);
    if (st != DS4_OK) {
        ds4_grammar_free(made);
        return st;
    }
    *out = made;
    return DS4_OK;
}
