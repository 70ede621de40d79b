/* schema_random_test.c - schemas at random: each is taken or refused in bounded time, and what a
 * grammar writes fits the schema that it was made from, by a check that shares nothing with it
 * but the reading of keywords. */
#include "testing.h"

#include "base/rng.h"
#include "text/grammar.h"
#include "text/schema.h"

#include <time.h>

enum { MAX_SCHEMA_BYTES = 4096 };

static uint32_t below(ds4_rng *r, uint32_t n)
{
    return (uint32_t)(ds4_rng_next(r) % n);
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- schemas -------------------------------------------------------------------------------- */

static void add_schema(ds4_rng *r, ds4_str *out, int depth);

static void add_value(ds4_rng *r, ds4_str *out)
{
    static const char *const values[] = {
        "0",    "1",         "-3",    "2.5", "\"a\"",        "\"bb\"", "\"\"", "null",
        "true", "{\"a\":1}", "[1,2]", "[]",  "\"a\\n\\\"\"", "100",    "{}",   "\"\xc3\xa9\""
    };

    ds4_str_add_text(out, values[below(r, sizeof values / sizeof *values)]);
}

static void add_type(ds4_rng *r, ds4_str *out)
{
    static const char *const types[] = { "string", "integer", "number", "boolean",
                                         "null",   "array",   "object" };

    if (below(r, 4) > 0) {
        ds4_str_addf(out, "\"%s\"", types[below(r, 7)]);
        return;
    }
    ds4_str_addf(out, "[\"%s\",\"%s\"]", types[below(r, 7)], types[below(r, 7)]);
}

static void add_list(ds4_rng *r, ds4_str *out, int depth)
{
    const uint32_t n = 1 + below(r, 3);

    for (uint32_t i = 0; i < n; i++) {
        ds4_str_add_char(out, i ? ',' : '[');
        add_schema(r, out, depth - 1);
    }
    ds4_str_add_char(out, ']');
}

static void add_map(ds4_rng *r, ds4_str *out, int depth, const char *const *names, uint32_t n_names)
{
    const uint32_t n = below(r, 4);

    ds4_str_add_char(out, '{');
    for (uint32_t i = 0; i < n; i++) {
        ds4_str_addf(out, "%s\"%s\":", i ? "," : "", names[below(r, n_names)]);
        add_schema(r, out, depth - 1);
    }
    ds4_str_add_char(out, '}');
}

static void add_number(ds4_rng *r, ds4_str *out)
{
    static const char *const numbers[] = { "0",  "1",   "2",     "3",   "10",
                                           "-1", "0.5", "-2.25", "1e2", "7" };

    ds4_str_add_text(out, numbers[below(r, sizeof numbers / sizeof *numbers)]);
}

static void add_keyword(ds4_rng *r, ds4_str *out, int depth)
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

static void add_schema(ds4_rng *r, ds4_str *out, int depth)
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

/* `value`: stands in it as a member that means nothing; "" for none. */
static void make_schema(uint64_t seed, const char *value, ds4_str *out)
{
    ds4_rng r;

    do {
        ds4_rng_seed(&r, seed);
        ds4_str_truncate(out, 0);
        ds4_str_add_text(out, "{\"$defs\":{\"d0\":");
        add_schema(&r, out, 2);
        ds4_str_add_text(out, ",\"d1\":");
        add_schema(&r, out, 1);
        ds4_str_addf(out, "},\"x-value\":%s", *value ? value : "0");
        for (uint32_t i = 0, n = 1 + below(&r, 4); i < n; i++) {
            ds4_str_add_char(out, ',');
            add_keyword(&r, out, 4);
        }
        ds4_str_add_char(out, '}');
        seed += 1ull << 40;
    } while (!*value && out->n_bytes > MAX_SCHEMA_BYTES);
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Write at random until the end; false when it became too long. */
static bool write_answer(ds4_rng *r, const ds4_grammar *g, ds4_str *out)
{
    static const char closing[] = "\"]}0123456789 e";
    ds4_grammar_walk *w = NULL;
    bool              ended = false;

    ds4_str_truncate(out, 0);
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    for (int i = 0; i < 2000 && !ended; i++) {
        const bool close = below(r, 3) == 0 || i > 300;
        char       byte = 0;
        bool       fits = false;
        for (size_t k = 0; close && closing[k] && !fits; k++) {
            byte = closing[(k + below(r, 2)) % (sizeof closing - 1)];
            fits = ds4_grammar_fits(w, (ds4_slice){ &byte, 1 }, false);
        }
        for (uint32_t k = 0, from = below(r, 256); k < 256 && !fits; k++) {
            byte = (char)((from + k) % 256);
            fits = ds4_grammar_fits(w, (ds4_slice){ &byte, 1 }, false);
        }
        ended = ds4_grammar_may_end(w) && (!fits || below(r, 2) == 0);
        /* From every place an end can be reached. */
        if (!fits && !ended) fail_msg("stuck behind %s", ds4_str_text(out));
        if (ended) break;
        assert_true(ds4_grammar_take(w, (ds4_slice){ &byte, 1 }, false));
        ds4_str_add_char(out, byte);
    }
    ds4_grammar_walk_free(w);
    return ended;
}

/* Is the answer, standing in the schema's text, a value that fits it? */
static bool fits_schema(const char *text)
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

static void check_answers(uint64_t seed, const char *schema, const ds4_grammar *g, uint32_t *n)
{
    ds4_str answer = { 0 }, both = { 0 };
    ds4_rng r;

    ds4_rng_seed(&r, seed);
    for (int i = 0; i < 4; i++) {
        if (!write_answer(&r, g, &answer)) continue;
        if (ds4_pyjson_check((ds4_slice){ ds4_str_text(&answer), answer.n_bytes }, NULL) !=
            DS4_OK) {
            fail_msg("%s gave %s, which is no JSON", schema, ds4_str_text(&answer));
        }
        const char *slot = strstr(schema, "\"x-value\":0");
        ds4_str_truncate(&both, 0);
        ds4_str_add(&both, schema, (size_t)(slot - schema) + 10);
        ds4_str_add(&both, ds4_str_text(&answer), answer.n_bytes);
        ds4_str_add_text(&both, slot + 11);
        if (!fits_schema(ds4_str_text(&both))) {
            fail_msg("seed %llu: %s gave %s", (unsigned long long)seed, schema,
                     ds4_str_text(&answer));
        }
        ++*n;
    }
    ds4_str_clear(&answer);
    ds4_str_clear(&both);
}

static void test_random_schemas_in_bounded_time(void **state)
{
    const char *more = getenv("DS4_RANDOM_SCHEMAS");
    const long  n = more ? atol(more) : 10000;
    double      most = 0;
    uint32_t    n_taken = 0, n_answers = 0;
    ds4_str     text = { 0 };

    (void)state;
    for (long i = 0; i < n; i++) {
        const bool                strict = i % 4 != 0;
        const ds4_grammar_options opt = { .strict = strict };
        ds4_grammar              *g = NULL;
        ds4_err                   err = { .code = DS4_OK };
        make_schema((uint64_t)i, "", &text);
        const double     begin = cpu_ms();
        const ds4_status st = ds4_grammar_from_schema(
            (ds4_slice){ ds4_str_text(&text), text.n_bytes }, &opt, &g, &err);
        const double took = cpu_ms() - begin;
        most = took > most ? took : most;
        if (took > 200) fail_msg("%.0f ms for %s", took, ds4_str_text(&text));
        if (st != DS4_OK) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        n_taken++;
        if (strict) check_answers((uint64_t)i, ds4_str_text(&text), g, &n_answers);
        ds4_grammar_free(g);
    }
    print_message("# %ld schemas, %u taken, %u answers fit, at most %.1f ms\n", n, n_taken,
                  n_answers, most);
    assert_true(n_taken > n / 4 && n_answers > n / 4);
    ds4_str_clear(&text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random_schemas_in_bounded_time),
};

TEST_MAIN(tests)
