/* schema.c - reading the keywords of JSON schemas, following references, sets of schemas. */
#include "text/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ------------------------------------------------------------------------------- */

static int shown(ds4_slice what)
{
    return (int)(what.n_bytes < 80 ? what.n_bytes : 80);
}

void ds4_schema_fail(ds4_schema *s, ds4_status code, const char *why, ds4_slice what)
{
    if (s->failed != DS4_OK) return;
    s->failed = ds4_fail(s->err, code, "the schema %s %.*s%s", why, shown(what), what.data,
                         code == DS4_E_UNSUPPORTED ? ", which cannot be enforced" : "");
}

bool ds4_schema_ok(ds4_schema *s)
{
    if (s->failed == DS4_OK && s->g->failed != DS4_OK) {
        s->failed = ds4_fail(s->err, s->g->failed, "%s", s->g->why);
    }
    return s->failed == DS4_OK;
}

void ds4_schema_ignore(ds4_schema *s, ds4_slice keyword)
{
    if (s->strict) ds4_schema_fail(s, DS4_E_UNSUPPORTED, "uses", keyword);
}

/* An array with room for one more; false, and a failure, without memory. */
static bool room(ds4_schema *s, void **array, uint32_t n, uint32_t *capacity, size_t each)
{
    void *p = ds4_g_room(s->g, *array, n, capacity, each);

    if (p) *array = p;
    return p != NULL;
}

/* ---- keywords ------------------------------------------------------------------------------- */

static const char *const WORDS[DS4_N_WORDS] = {
    [DS4_W_TYPE] = "type",
    [DS4_W_ENUM] = "enum",
    [DS4_W_CONST] = "const",
    [DS4_W_PROPERTIES] = "properties",
    [DS4_W_REQUIRED] = "required",
    [DS4_W_ADDITIONAL_PROPERTIES] = "additionalProperties",
    [DS4_W_PATTERN_PROPERTIES] = "patternProperties",
    [DS4_W_PROPERTY_NAMES] = "propertyNames",
    [DS4_W_MIN_PROPERTIES] = "minProperties",
    [DS4_W_MAX_PROPERTIES] = "maxProperties",
    [DS4_W_UNEVALUATED_PROPERTIES] = "unevaluatedProperties",
    [DS4_W_ITEMS] = "items",
    [DS4_W_PREFIX_ITEMS] = "prefixItems",
    [DS4_W_ADDITIONAL_ITEMS] = "additionalItems",
    [DS4_W_MIN_ITEMS] = "minItems",
    [DS4_W_MAX_ITEMS] = "maxItems",
    [DS4_W_UNIQUE_ITEMS] = "uniqueItems",
    [DS4_W_MIN_LENGTH] = "minLength",
    [DS4_W_MAX_LENGTH] = "maxLength",
    [DS4_W_PATTERN] = "pattern",
    [DS4_W_FORMAT] = "format",
    [DS4_W_MINIMUM] = "minimum",
    [DS4_W_MAXIMUM] = "maximum",
    [DS4_W_EXCLUSIVE_MINIMUM] = "exclusiveMinimum",
    [DS4_W_EXCLUSIVE_MAXIMUM] = "exclusiveMaximum",
    [DS4_W_MULTIPLE_OF] = "multipleOf",
    [DS4_W_ANY_OF] = "anyOf",
    [DS4_W_ONE_OF] = "oneOf",
    [DS4_W_ALL_OF] = "allOf",
    [DS4_W_REF] = "$ref",
    [DS4_W_NULLABLE] = "nullable",
    [DS4_W_NOT] = "not",
};

/* Keywords that only describe, or only matter where others refer to them. */
static bool is_annotation(ds4_slice name)
{
    static const char *const known[] = {
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "$vocabulary",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "example",
        "examples",
        "externalDocs",
        "id",
        "nullable",
        "propertyOrdering",
        "readOnly",
        "strict",
        "title",
        "writeOnly",
        "xml",
        "enumDescriptions",
        "markdownDescription",
        "errorMessage",
    };

    if (name.n_bytes >= 2 && memcmp(name.data, "x-", 2) == 0) return true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i]) == name.n_bytes && !memcmp(known[i], name.data, name.n_bytes))
            return true;
    }
    return false;
}

static uint8_t kinds_of_name(ds4_schema *s, uint32_t node)
{
    static const struct {
        const char *name;
        uint8_t     kinds;
    } known[] = {
        { "null", DS4_IS_NULL },     { "boolean", DS4_IS_BOOLEAN },
        { "integer", DS4_IS_WHOLE }, { "number", DS4_IS_WHOLE | DS4_IS_FRACTION },
        { "string", DS4_IS_STRING }, { "array", DS4_IS_ARRAY },
        { "object", DS4_IS_OBJECT },
    };
    const ds4_slice name = s->tree.node[node].string;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) == name.n_bytes &&
            !memcmp(known[i].name, name.data, name.n_bytes))
            return known[i].kinds;
    }
    ds4_schema_fail(s, DS4_E_FORMAT, "has a type that is none:", s->tree.node[node].text);
    return 0;
}

static uint8_t kinds_of(ds4_schema *s, uint32_t type)
{
    uint8_t kinds = 0;

    if (type == 0) return DS4_IS_ANY;
    if (s->tree.node[type].kind != DS4_JSON_ARRAY) return kinds_of_name(s, type);
    for (uint32_t i = s->tree.node[type].first; i && ds4_g_pay(s->g, 1); i = s->tree.node[i].next) {
        kinds |= kinds_of_name(s, i);
    }
    return kinds;
}

/* A keyword's value must be of its kind, so that nobody has to ask again. */
static void check_word(ds4_schema *s, ds4_word word, uint32_t value)
{
    static const ds4_json_kind lists[] = { DS4_JSON_ARRAY }, objects[] = { DS4_JSON_OBJECT };
    const ds4_json_kind        kind = s->tree.node[value].kind;
    ds4_json_kind              wanted;

    switch (word) {
    case DS4_W_ENUM:
    case DS4_W_REQUIRED:
    case DS4_W_PREFIX_ITEMS:
    case DS4_W_ANY_OF:
    case DS4_W_ONE_OF:
    case DS4_W_ALL_OF: wanted = *lists; break;
    case DS4_W_PROPERTIES:
    case DS4_W_PATTERN_PROPERTIES: wanted = *objects; break;
    case DS4_W_PATTERN:
    case DS4_W_FORMAT:
    case DS4_W_REF: wanted = DS4_JSON_STRING; break;
    default: return;
    }
    if (kind != wanted) {
        ds4_schema_fail(s, DS4_E_FORMAT, "has no list, object or string where it must, in",
                        s->tree.node[value].name);
    } else if ((word == DS4_W_ANY_OF || word == DS4_W_ONE_OF || word == DS4_W_ENUM) &&
               s->tree.node[value].n == 0) {
        ds4_schema_fail(s, DS4_E_FORMAT, "has an empty list of alternatives in",
                        s->tree.node[value].name);
    }
}

/* ---- references ----------------------------------------------------------------------------- */

static bool begins_with(ds4_slice text, ds4_slice with)
{
    return text.n_bytes >= with.n_bytes && memcmp(text.data, with.data, with.n_bytes) == 0;
}

static int hex_digit(char c)
{
    const char low = (char)(c | 0x20);

    if (c >= '0' && c <= '9') return c - '0';
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

/* One step of a pointer, decoded: %25 and then ~1 and ~0. */
static void decode_step(ds4_slice step, ds4_str *out)
{
    ds4_str_truncate(out, 0);
    for (size_t i = 0; i < step.n_bytes; i++) {
        char c = step.data[i];
        if (c == '%' && i + 2 < step.n_bytes && hex_digit(step.data[i + 1]) >= 0 &&
            hex_digit(step.data[i + 2]) >= 0) {
            c = (char)(hex_digit(step.data[i + 1]) * 16 + hex_digit(step.data[i + 2]));
            i += 2;
        }
        const bool tilde = out->n_bytes > 0 && out->data[out->n_bytes - 1] == '~';
        if (tilde && (c == '0' || c == '1')) {
            /* A tilde that was decoded stands as 0xFF until the end, so that ~01 is ~1. */
            out->data[out->n_bytes - 1] = c == '0' ? '\xFF' : '/';
            continue;
        }
        ds4_str_add_char(out, c);
    }
    for (size_t i = 0; i < out->n_bytes; i++) {
        if (out->data[i] == '\xFF') out->data[i] = '~';
    }
}

/* The element of a list with that number. */
static uint32_t element(ds4_schema *s, uint32_t list, ds4_slice number)
{
    uint32_t n = 0, at = s->tree.node[list].first;

    if (number.n_bytes == 0 || number.n_bytes > 8) return 0;
    for (size_t i = 0; i < number.n_bytes; i++) {
        if (number.data[i] < '0' || number.data[i] > '9') return 0;
        n = n * 10 + (uint32_t)(number.data[i] - '0');
    }
    for (; at && n > 0 && ds4_g_pay(s->g, 1); n--) at = s->tree.node[at].next;
    return at;
}

/* From the whole, by a pointer such as /$defs/a~1b/anyOf/0. */
static uint32_t follow_pointer(ds4_schema *s, ds4_slice pointer)
{
    ds4_str  step = { 0 };
    uint32_t at = 1;

    for (size_t i = 0; i < pointer.n_bytes && at;) {
        size_t end = i + 1;
        while (end < pointer.n_bytes && pointer.data[end] != '/') end++;
        decode_step((ds4_slice){ pointer.data + i + 1, end - i - 1 }, &step);
        const ds4_slice name = { ds4_str_text(&step), step.n_bytes };
        if (!ds4_g_pay(s->g, s->tree.node[at].n + 1))
            at = 0;
        else if (s->tree.node[at].kind == DS4_JSON_ARRAY)
            at = element(s, at, name);
        else
            at = ds4_json_tree_member(&s->tree, at, name);
        i = end;
    }
    ds4_str_clear(&step);
    return at;
}

/* The schema that calls itself by that name. */
static uint32_t find_anchor(ds4_schema *s, ds4_slice name, const char *keyword)
{
    const ds4_slice word = { keyword, strlen(keyword) };

    if (!ds4_g_pay(s->g, s->tree.n)) return 0;
    for (uint32_t i = 1; i < s->tree.n; i++) {
        if (s->tree.node[i].kind != DS4_JSON_OBJECT) continue;
        for (uint32_t m = s->tree.node[i].first; m; m = s->tree.node[m].next) {
            if (ds4_slice_eq(s->tree.node[m].name, word) &&
                s->tree.node[m].kind == DS4_JSON_STRING &&
                ds4_slice_eq(s->tree.node[m].string, name))
                return i;
        }
    }
    return 0;
}

/* Follow a reference: "#", "#/a/b", "#anchor", each also behind the schema's own $id. */
static uint32_t resolve(ds4_schema *s, uint32_t reference)
{
    ds4_slice      text = s->tree.node[reference].string;
    const uint32_t id = ds4_json_tree_member(&s->tree, 1, DS4_SLICE("$id"));
    uint32_t       found = 0;

    if (id && s->tree.node[id].kind == DS4_JSON_STRING && s->tree.node[id].string.n_bytes > 0 &&
        begins_with(text, s->tree.node[id].string)) {
        const size_t n = s->tree.node[id].string.n_bytes;
        text = (ds4_slice){ text.data + n, text.n_bytes - n };
        if (text.n_bytes == 0) return 1;
    }
    if (text.n_bytes > 0 && text.data[0] == '#') {
        const ds4_slice rest = { text.data + 1, text.n_bytes - 1 };
        if (rest.n_bytes == 0) return 1;
        found = rest.data[0] == '/' ? follow_pointer(s, rest) : find_anchor(s, rest, "$anchor");
    } else {
        found = find_anchor(s, text, "$id");
        if (!found) {
            ds4_schema_ignore(s, s->tree.node[reference].text);
            return 0;
        }
    }
    if (!ds4_schema_ok(s)) return 0;
    const ds4_json_kind kind = found ? s->tree.node[found].kind : DS4_JSON_NONE;
    if (kind != DS4_JSON_OBJECT && kind != DS4_JSON_TRUE && kind != DS4_JSON_FALSE) {
        ds4_schema_fail(s, DS4_E_FORMAT,
                        found ? "refers to what is no schema:" : "refers to what is not there:",
                        s->tree.node[reference].text);
        return 0;
    }
    return found;
}

/* ---- words of a schema ---------------------------------------------------------------------- */

static void read_words(ds4_schema *s, ds4_words *w)
{
    for (uint32_t i = s->tree.node[w->node].first; i && ds4_schema_ok(s);
         i = s->tree.node[i].next) {
        const ds4_slice name = s->tree.node[i].name;
        ds4_word        word = 0;
        if (!ds4_g_pay(s->g, DS4_N_WORDS / 2)) return;
        while (word < DS4_N_WORDS && (strlen(WORDS[word]) != name.n_bytes ||
                                      memcmp(WORDS[word], name.data, name.n_bytes) != 0))
            word++;
        if (word < DS4_N_WORDS) {
            check_word(s, word, i);
            w->at[word] = i;
        } else if (!is_annotation(name)) {
            ds4_schema_ignore(s, name);
        }
    }
    w->kinds = kinds_of(s, w->at[DS4_W_TYPE]);
    if (w->at[DS4_W_REF] && ds4_schema_ok(s)) w->target = resolve(s, w->at[DS4_W_REF]);
    if (w->at[DS4_W_NULLABLE] && s->tree.node[w->at[DS4_W_NULLABLE]].kind != DS4_JSON_TRUE) {
        w->at[DS4_W_NULLABLE] = 0;
    }
}

const ds4_words *ds4_schema_words(ds4_schema *s, uint32_t node)
{
    ds4_words w = { .node = node };

    if (s->words_of[node]) return &s->words[s->words_of[node]];
    if (s->tree.node[node].kind == DS4_JSON_OBJECT) {
        read_words(s, &w);
    } else if (s->tree.node[node].kind != DS4_JSON_TRUE &&
               s->tree.node[node].kind != DS4_JSON_FALSE) {
        ds4_schema_fail(s, DS4_E_FORMAT,
                        "has no object where a schema must be:", s->tree.node[node].text);
    } else {
        w.kinds = s->tree.node[node].kind == DS4_JSON_TRUE ? DS4_IS_ANY : 0;
    }
    if (!room(s, (void **)&s->words, s->n_words, &s->cap_words, sizeof *s->words))
        return &s->words[0];
    s->words[s->n_words] = w;
    s->words_of[node] = s->n_words++;
    return &s->words[s->words_of[node]];
}

/* ---- sets ----------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

uint32_t ds4_schema_set_of(ds4_schema *s, uint32_t *nodes, uint32_t n)
{
    uint32_t kept = 0, h = 0;

    if (!ds4_g_pay(s->g, 2 + n)) return 0;
    if (n > 1) qsort(nodes, n, sizeof *nodes, ascending);
    for (uint32_t i = 0; i < n; i++) {
        if (s->tree.node[nodes[i]].kind == DS4_JSON_TRUE) continue;
        if (kept == 0 || nodes[kept - 1] != nodes[i]) nodes[kept++] = nodes[i];
    }
    for (uint32_t i = 0; i < kept; i++) h = (h ^ nodes[i]) * 0x9E3779B1u ^ h >> 15;
    uint32_t *bucket = &s->bucket[h % 1024];
    for (uint32_t i = *bucket; i; i = s->set[i].next) {
        if (s->set[i].n == kept &&
            (kept == 0 || !memcmp(s->member + s->set[i].first, nodes, kept * sizeof *nodes)))
            return i;
    }
    if (s->n_sets == DS4_SCHEMA_MAX_SETS) {
        ds4_g_give_up(s->g, DS4_E_LIMIT,
                      "the schema has more than 32768 values in each other, "
                      "which is the bound");
    }
    if (!ds4_schema_ok(s) || !room(s, (void **)&s->set, s->n_sets, &s->cap_sets, sizeof *s->set))
        return 0;
    const uint32_t first = s->n_members;
    for (uint32_t i = 0; i < kept; i++) {
        if (!room(s, (void **)&s->member, s->n_members, &s->cap_members, sizeof *s->member))
            return 0;
        s->member[s->n_members++] = nodes[i];
    }
    s->set[s->n_sets] = (ds4_schema_set){ first, kept, *bucket };
    *bucket = s->n_sets;
    return s->n_sets++;
}

/* ---- the whole ------------------------------------------------------------------------------ */

ds4_status ds4_schema_open(ds4_schema *s, ds4_slice json, ds4_grammar *g, bool strict, ds4_err *err)
{
    *s = (ds4_schema){ .g = g, .strict = strict, .err = err };
    DS4_TRY(ds4_json_tree_read(json, DS4_SCHEMA_MAX_VALUES, &s->tree, err));
    s->words_of = calloc(s->tree.n, sizeof *s->words_of);
    if (!s->words_of) return ds4_fail(err, DS4_E_NOMEM, "no memory for a schema");
    ds4_g_pay(g, s->tree.n);
    if (room(s, (void **)&s->words, 0, &s->cap_words, sizeof *s->words)) {
        s->words[s->n_words++] = (ds4_words){ 0 };
    }
    if (room(s, (void **)&s->set, 0, &s->cap_sets, sizeof *s->set)) {
        s->set[s->n_sets++] = (ds4_schema_set){ 0 };
    }
    ds4_schema_set_of(s, NULL, 0);
    return ds4_schema_ok(s) ? DS4_OK : s->failed;
}

void ds4_schema_close(ds4_schema *s)
{
    ds4_json_tree_clear(&s->tree);
    for (uint32_t i = 0; i < s->n_langs; i++) ds4_lang_free(s->lang[i].lang);
    free(s->words);
    free(s->words_of);
    free(s->set);
    free(s->member);
    free(s->lang);
    *s = (ds4_schema){ 0 };
}
