/* random_schema.h - JSON schemas at random, and whether a value fits one. */
#ifndef DS4_TESTS_RANDOM_SCHEMA_H
#define DS4_TESTS_RANDOM_SCHEMA_H

#include "testing.h"

#include "base/rng.h"
#include "text/schema.h"

enum { MAX_SCHEMA_BYTES = 4096 };

static inline uint32_t below(ds4_rng *r, uint32_t n)
{
    return (uint32_t)(ds4_rng_next(r) % n);
}

/* ---- schemas -------------------------------------------------------------------------------- */

static inline void add_schema(ds4_rng *r, ds4_str *out, int depth);

static inline void add_value(ds4_rng *r, ds4_str *out)
{
    static const char *const values[] = {
        "0",    "1",         "-3",    "2.5", "\"a\"",        "\"bb\"", "\"\"", "null",
        "true", "{\"a\":1}", "[1,2]", "[]",  "\"a\\n\\\"\"", "100",    "{}",   "\"\xc3\xa9\""
    };

    ds4_str_add_text(out, values[below(r, sizeof values / sizeof *values)]);
}

static inline void add_type(ds4_rng *r, ds4_str *out)
{
    static const char *const types[] = { "string", "integer", "number", "boolean",
                                         "null",   "array",   "object" };

    if (below(r, 4) > 0) {
        ds4_str_addf(out, "\"%s\"", types[below(r, 7)]);
        return;
    }
    ds4_str_addf(out, "[\"%s\",\"%s\"]", types[below(r, 7)], types[below(r, 7)]);
}

static inline void add_list(ds4_rng *r, ds4_str *out, int depth)
{
    const uint32_t n = 1 + below(r, 3);

    for (uint32_t i = 0; i < n; i++) {
        ds4_str_add_char(out, i ? ',' : '[');
        add_schema(r, out, depth - 1);
    }
    ds4_str_add_char(out, ']');
}

static inline void add_map(ds4_rng *r, ds4_str *out, int depth, const char *const *names,
                           uint32_t n_names)
{
    const uint32_t n = below(r, 4);

    ds4_str_add_char(out, '{');
    for (uint32_t i = 0; i < n; i++) {
        ds4_str_addf(out, "%s\"%s\":", i ? "," : "", names[below(r, n_names)]);
        add_schema(r, out, depth - 1);
    }
    ds4_str_add_char(out, '}');
}

static inline void add_number(ds4_rng *r, ds4_str *out)
{
    static const char *const numbers[] = { "0",  "1",   "2",     "3",   "10",
                                           "-1", "0.5", "-2.25", "1e2", "7" };

    ds4_str_add_text(out, numbers[below(r, sizeof numbers / sizeof *numbers)]);
}

/* Longer than 60 lines: one case after the other, a few lines for each keyword. */
static inline void add_keyword(ds4_rng *r, ds4_str *out, int depth)
{
    static const char *const        names[] = { "a", "b", "c", "dd", "e\\\"f" },
                             *const patterns[] = { "^a",
                                                   "b$",
                                                   "^[a-c]{1,3}$",
                                                   ".",
                                                   "^(x|yy)*$",
                                                   "[^a]",
                                                   "^(?!a)[a-z]+$",
                                                   "\\\\d{2}",
                                                   "^\\\\S+@\\\\S+$" },
                             *const refs[] = { "#", "#/$defs/d0", "#/$defs/d1", "#/properties/a",
                                               "#/anyOf/0" },
                             *const counts[] = { "minLength", "maxLength",     "minItems",
                                                 "maxItems",  "minProperties", "maxProperties" },
                             *const bounds[] = { "minimum", "maximum", "exclusiveMinimum",
                                                 "exclusiveMaximum", "multipleOf" };
    static const char *const        lists[] = { "anyOf", "oneOf", "allOf", "prefixItems" };

    switch (below(r, depth > 0 ? 17 : 9)) {
    case 0:
    case 1:
        ds4_str_add_text(out, "\"type\":");
        add_type(r, out);
        break;
    case 2:
        ds4_str_add_text(out, "\"enum\":[");
        for (uint32_t i = 0, n = 1 + below(r, 4); i < n; i++) {
            if (i) ds4_str_add_char(out, ',');
            add_value(r, out);
        }
        ds4_str_add_char(out, ']');
        break;
    case 3:
        ds4_str_addf(out, "\"%s\":", bounds[below(r, 5)]);
        add_number(r, out);
        break;
    case 4: ds4_str_addf(out, "\"%s\":%u", counts[below(r, 6)], below(r, 5)); break;
    case 5: ds4_str_addf(out, "\"pattern\":\"%s\"", patterns[below(r, 9)]); break;
    case 6: ds4_str_addf(out, "\"$ref\":\"%s\"", refs[below(r, 5)]); break;
    case 7:
        ds4_str_addf(out, "\"required\":[\"%s\",\"%s\"]", names[below(r, 5)], names[below(r, 5)]);
        break;
    case 8:
        ds4_str_addf(out, "\"description\":\"x\",\"uniqueItems\":%s",
                     below(r, 2) ? "true" : "false");
        break;
    case 9:
    case 10:
        ds4_str_addf(out, "\"%s\":", lists[below(r, 4)]);
        add_list(r, out, depth);
        break;
    case 11:
    case 12:
        ds4_str_add_text(out, "\"properties\":");
        add_map(r, out, depth, names, 5);
        break;
    case 13:
        ds4_str_add_text(out, "\"patternProperties\":");
        add_map(r, out, depth, patterns, 5);
        break;
    case 14:
        ds4_str_addf(out, "\"%s\":", below(r, 2) ? "items" : "additionalProperties");
        add_schema(r, out, depth - 1);
        break;
    case 15:
        ds4_str_addf(out, "\"%s\":", below(r, 2) ? "propertyNames" : "not");
        add_schema(r, out, depth - 1);
        break;
    default:
        ds4_str_add_text(out, "\"const\":");
        add_value(r, out);
        break;
    }
}

static inline void add_schema(ds4_rng *r, ds4_str *out, int depth)
{
    const uint32_t n = below(r, 4);

    if (depth <= 0 && below(r, 6) == 0) {
        ds4_str_add_text(out, below(r, 2) ? "true" : "false");
        return;
    }
    ds4_str_add_char(out, '{');
    for (uint32_t i = 0; i < n; i++) {
        if (i) ds4_str_add_char(out, ',');
        add_keyword(r, out, depth);
    }
    ds4_str_add_char(out, '}');
}

/* With a member "x-value" that means nothing; `root` begins what its root says, "" for nothing. */
static inline void make_schema(uint64_t seed, const char *root, ds4_str *out)
{
    ds4_rng r;

    do {
        ds4_rng_seed(&r, seed);
        ds4_str_truncate(out, 0);
        ds4_str_add_text(out, "{\"$defs\":{\"d0\":");
        add_schema(&r, out, 2);
        ds4_str_add_text(out, ",\"d1\":");
        add_schema(&r, out, 1);
        ds4_str_addf(out, "},\"x-value\":0%s", root);
        for (uint32_t i = 0, n = 1 + below(&r, 4); i < n; i++) {
            ds4_str_add_char(out, ',');
            add_keyword(&r, out, 4);
        }
        ds4_str_add_char(out, '}');
        seed += 1ull << 40;
    } while (out->n_bytes > MAX_SCHEMA_BYTES);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The schema with a value in place of its member that means nothing. */
static inline void put_value(const char *schema, ds4_slice value, ds4_str *out)
{
    const char *slot = strstr(schema, "\"x-value\":0");

    ds4_str_truncate(out, 0);
    ds4_str_add(out, schema, (size_t)(slot - schema) + 10);
    ds4_str_add(out, value.data, value.n_bytes);
    ds4_str_add_text(out, slot + 11);
}

/* Is the answer, standing in the schema's text, a value that fits it? */
static inline bool fits_schema(const char *text)
{
    ds4_grammar *g = NULL;
    ds4_schema   s;

    assert_int_equal(ds4_g_new(NULL, &g, NULL), DS4_OK);
    assert_int_equal(ds4_schema_open(&s, (ds4_slice){ text, strlen(text) }, g, false, NULL),
                     DS4_OK);
    const uint32_t value = ds4_json_tree_member(&s.tree, 1, DS4_SLICE("x-value"));
    const bool     fits = ds4_schema_fits(&s, value, 1) || !ds4_schema_ok(&s);
    ds4_schema_close(&s);
    ds4_grammar_free(g);
    return fits;
}

#endif
