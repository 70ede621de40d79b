/* schema_test.c - the keywords of JSON schemas, beside each other and behind references. */
#include "grammar_walks.h"

static void test_words_beside_a_list_count(void **state)
{
    (void)state;
    accepts(
        "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":"
        "[\"a\"]}],\"properties\":{\"b\":{\"type\":\"null\"}},\"required\":[\"b\"]}",
        LIST("{\"b\":null,\"a\":null}"), LIST("{\"a\": null}", "{\"b\":null}", "{}"));
    accepts(
        "{\"$ref\":\"#/$defs/B\",\"properties\":{\"b\":{\"type\":\"null\"}},\"required\":[\"b\"],"
        "\"$defs\":{\"B\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}}}}}",
        LIST("{\"b\":null}", "{\"b\":null,\"a\":null}"), LIST("{\"a\": null}", "{}"));
    accepts("{\"type\":\"object\",\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
            LIST("{\"a\":1}", "{\"b\":[]}"), LIST("[1]", "{}", "{\"c\":1}"));
    accepts("{\"type\":\"object\",\"required\":[\"a\"],\"anyOf\":[{\"type\":\"object\"},{\"type\":"
            "\"null\"}]}",
            LIST("{\"a\":1}"), LIST("null", "{}"));
    accepts("{\"enum\":[\"a\",\"bbbb\"],\"maxLength\":2}", LIST("\"a\""), LIST("\"bbbb\""));
    accepts("{\"enum\":[1,\"1\"],\"type\":\"string\"}", LIST("\"1\""), LIST("1"));
    refuses("{\"type\":\"string\",\"const\":5}", false, "no value");
    accepts("{\"anyOf\":[{\"type\":\"array\"}],\"maxItems\":1}", LIST("[]", "[1]"), LIST("[1, 2]"));
    refuses("{\"anyOf\":[{\"type\":\"string\"}],\"oneOf\":[{\"type\":\"null\"}]}", false,
            "no value");
    accepts("{\"anyOf\":[{\"minimum\":3},{\"maximum\":-3}],\"type\":\"integer\",\"multipleOf\":2}",
            LIST("4", "-4", "10"), LIST("2", "-2", "5", "3"));
    accepts("{\"const\":{\"a\":1},\"enum\":[1,{\"a\":1.0}]}", LIST("{\"a\": 1}"), LIST("1"));
    accepts("{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},"
            "\"required\":[\"a\"]},{\"properties\":{\"a\":{\"maximum\":9}}}]}",
            LIST("{\"a\":9}"), LIST("{\"a\":10}"));
    accepts("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"allOf\":[{\"properties\":{"
            "\"a\":{}},\"additionalProperties\":false}]}",
            LIST("{\"a\":1}", "{}"), LIST("{\"b\":1}", "{\"a\":1,\"b\":1}"));
}

static void test_numbers_keep_their_bounds(void **state)
{
    (void)state;
    accepts("{\"type\":\"integer\",\"minimum\":1,\"maximum\":10}", LIST("1", "9", "10"),
            LIST("0", "11", "100", "-1", "1.5", "01"));
    accepts("{\"type\":\"number\",\"exclusiveMinimum\":0}", LIST("0.1", "3", "0.001", "12.5"),
            LIST("0", "-1", "0.0", "-0"));
    accepts("{\"type\":\"number\",\"multipleOf\":0.5}", LIST("0", "1", "-2.5", "3.0", "10.5"),
            LIST("0.3", "1.25", "0.55"));
    accepts("{\"type\":\"number\",\"minimum\":-1.25,\"maximum\":2.5}",
            LIST("-1.25", "-1.2", "0", "2.5", "2.49", "-0.5", "2.50"),
            LIST("-1.26", "-2", "2.51", "3", "2.500001", "1e3"));
    accepts("{\"type\":\"integer\",\"exclusiveMinimum\":-10,\"exclusiveMaximum\":-7}",
            LIST("-9", "-8"), LIST("-10", "-7", "0", "8"));
    accepts("{\"type\":\"integer\",\"minimum\":5,\"exclusiveMinimum\":true}", LIST("6"), LIST("5"));
    accepts("{\"type\":\"integer\",\"multipleOf\":15,\"minimum\":1,\"maximum\":100}",
            LIST("15", "30", "90"), LIST("0", "10", "105", "16"));
    accepts("{\"type\":\"integer\",\"minimum\":-9007199254740991,\"maximum\":9007199254740991}",
            LIST("0", "-12", "123456789012345"), LIST("1.5"));
    accepts("{\"type\":\"number\",\"minimum\":1e2,\"maximum\":1.5E+2}",
            LIST("100", "150.0", "149.9"), LIST("99", "151", "150.1"));
    accepts("{\"type\":\"number\",\"maximum\":1e400}", LIST("12"), LIST("x"));
    refuses("{\"type\":\"number\",\"minimum\":1e400}", false, "no value");
    accepts("{\"type\":[\"integer\",\"string\"],\"maximum\":3,\"minimum\":3}", LIST("3", "\"4\""),
            LIST("4"));
    accepts("{\"type\":\"integer\",\"format\":\"int32\"}", LIST("2147483647", "-2147483648"),
            LIST("2147483648", "99999999999"));
    accepts("{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":0,\"maximum\":1}",
            LIST("0.25", "1", "1.00", "0.1"), LIST("0.255", "1.01", "2"));
}

static void test_strings_keep_patterns_and_formats(void **state)
{
    (void)state;
    accepts("{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}[0-9]+$\"}", LIST("\"AB1\"", "\"XY009\""),
            LIST("\"A1\"", "\"AB\"", "\"AB1x\"", "\"\""));
    accepts("{\"type\":\"string\",\"pattern\":\"b+\"}",
            LIST("\"b\"", "\"xxb\\\"yy\"",
                 "\"\xc3\xa9"
                 "b\""),
            LIST("\"\"", "\"xx\""));
    accepts("{\"type\":\"string\",\"pattern\":\"^\\\"?\\\\\\\\$\",\"maxLength\":2}",
            LIST("\"\\\\\"", "\"\\\"\\\\\""), LIST("\"\"", "\"a\""));
    accepts("{\"type\":\"string\",\"pattern\":\"^a*$\",\"minLength\":2,\"maxLength\":4}",
            LIST("\"aa\"", "\"aaaa\""), LIST("\"a\"", "\"aaaaa\"", "\"ab\""));
    accepts("{\"type\":\"string\",\"format\":\"date\"}", LIST("\"2024-02-29\"", "\"1999-12-31\""),
            LIST("\"2023-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"", "\"1900-02-29\""));
    accepts("{\"type\":\"string\",\"format\":\"date-time\"}",
            LIST("\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.5+05:30\""),
            LIST("\"2024-01-01\"", "\"2024-01-01T24:00:00Z\"", "\"2024-01-01T00:00:00\""));
    accepts("{\"type\":\"string\",\"format\":\"time\"}", LIST("\"12:00:00Z\""), LIST("\"12:00\""));
    accepts("{\"type\":\"string\",\"format\":\"duration\"}",
            LIST("\"P1D\"", "\"PT5M\"", "\"P1Y2M3DT4H\"", "\"P3W\""),
            LIST("\"P\"", "\"PT\"", "\"1D\"", "\"P1D2Y\""));
    accepts("{\"type\":\"string\",\"format\":\"email\"}",
            LIST("\"a.b@c.de\"", "\"x@sub.host.org\""),
            LIST("\"a\"", "\"a@b\"", "\"@c.de\"", "\".a@c.de\"", "\"a..b@c.de\""));
    accepts(
        "{\"type\":\"string\",\"format\":\"uuid\"}",
        LIST("\"123e4567-e89b-12d3-a456-426614174000\""),
        LIST("\"123e4567e89b12d3a456426614174000\"", "\"g23e4567-e89b-12d3-a456-426614174000\""));
    accepts("{\"type\":\"string\",\"format\":\"ipv4\"}", LIST("\"255.0.10.1\""),
            LIST("\"256.0.0.1\"", "\"1.2.3\""));
    accepts("{\"type\":\"string\",\"format\":\"ipv6\"}",
            LIST("\"::1\"", "\"::\"", "\"2001:db8::ff00:42:8329\"", "\"1:2:3:4:5:6:7:8\""),
            LIST("\":::\"", "\"1:2:3:4:5:6:7\"", "\"12345::\"", "\"1::2::3\""));
    accepts("{\"type\":\"string\",\"format\":\"uri\"}",
            LIST("\"https://example.org/a?b=c#d\"", "\"mailto:a@b.c\"", "\"ftp://h:21/x\""),
            LIST("\"example\"", "\"//x\"", "\"https://\"", "\"https://a b\""));
    accepts("{\"type\":\"string\",\"format\":\"hostname\"}",
            LIST("\"a.example.org\"", "\"localhost\""), LIST("\"-a\"", "\"a..b\"", "\"a_b\""));
    /* A pattern that contradicts its format was meant. */
    accepts("{\"type\":\"string\",\"format\":\"time\",\"pattern\":\"^[0-9]{2}:[0-9]{2}$\"}",
            LIST("\"12:00\""), LIST("\"12:00:00Z\""));
    accepts("{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1,\"maxLength\":2083}",
            LIST("\"https://example.org/\""), LIST("\"\""));
    accepts("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"b\"]}}",
            LIST("\"c\"", "\"ab\"", "\"\""), LIST("\"a\"", "\"b\"", "1"));
    accepts("{\"not\":{\"type\":\"string\"}}", LIST("1", "{}"), LIST("\"a\""));
}

static void test_exactly_one_and_none(void **state)
{
    (void)state;
    accepts("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", LIST("1.5", "-0.25"),
            LIST("1", "2.0", "0"));
    accepts("{\"oneOf\":[{\"type\":\"string\",\"maxLength\":2},{\"type\":\"string\",\"pattern\":\"^"
            "a\"}]}",
            LIST("\"b\"", "\"abc\"", "\"\""), LIST("\"a\"", "\"ab\"", "\"bcd\""));
    accepts("{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"x\":{}}},"
            "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"y\":{}}}]}",
            LIST("{\"k\":\"a\",\"x\":1}", "{\"k\":\"b\"}"),
            LIST("{}", "{\"x\":1}", "{\"k\":\"c\"}"));
    accepts("{\"oneOf\":[{\"enum\":[1,2,3]},{\"enum\":[3,4]}]}", LIST("1", "4"), LIST("3"));
    refuses("{\"oneOf\":[{\"type\":\"array\"},{\"type\":\"array\",\"maxItems\":3}]}", true,
            "oneOf");
    refuses("{\"oneOf\":[{},{}]}", false, "no value");
    accepts("{\"not\":{\"type\":[\"object\",\"array\"]}}", LIST("1", "null"), LIST("[]", "{}"));
    accepts("{\"type\":\"string\",\"not\":{\"minLength\":2}}", LIST("\"\"", "\"a\""),
            LIST("\"ab\""));
    accepts("{\"enum\":[1,2,\"a\"],\"not\":{\"minimum\":2}}", LIST("1"), LIST("2"));
    refuses("{\"not\":{}}", false, "no value");
}

static void test_long_strings_and_lists_are_counted(void **state)
{
    ds4_str      text = { 0 };
    ds4_grammar *g = compile("{\"type\":\"string\",\"minLength\":1000,\"maxLength\":100000}", true);

    (void)state;
    ds4_str_add_char(&text, '"');
    for (int i = 0; i < 999; i++) ds4_str_add_char(&text, 'x');
    ds4_str_add_char(&text, '"');
    assert_int_equal(fitting(g, ds4_str_text(&text), false), 1000);
    ds4_str_truncate(&text, 1000);
    for (int i = 0; i < 99001; i++) ds4_str_add_text(&text, "\xc3\xa9");
    ds4_str_add_text(&text, "\"");
    assert_int_equal(fitting(g, ds4_str_text(&text), false), (long)text.n_bytes);
    ds4_str_truncate(&text, text.n_bytes - 1);
    ds4_str_add_text(&text, "x\"");
    assert_int_equal(fitting(g, ds4_str_text(&text), false), (long)text.n_bytes - 2);
    ds4_grammar_free(g);
    g = compile("{\"type\":\"array\",\"items\":{\"const\":1},\"minItems\":37,\"maxItems\":41}",
                true);
    for (int n = 30; n < 50; n++) {
        ds4_str_truncate(&text, 0);
        for (int i = 0; i < n; i++) ds4_str_add_text(&text, i ? ",1" : "[1");
        ds4_str_add_text(&text, "]");
        const bool fits = fitting(g, ds4_str_text(&text), false) == (long)text.n_bytes;
        assert_int_equal(fits, n >= 37 && n <= 41);
    }
    ds4_grammar_free(g);
    ds4_str_clear(&text);
}

static void test_references_find_their_way(void **state)
{
    (void)state;
    accepts(
        "{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":"
        "\"#/anyOf/1\"}}}]}",
        LIST("null", "{}", "{\"next\":{\"next\":{}}}"), LIST("{\"next\":null}"));
    accepts("{\"$ref\":\"#/$defs/a~1b~0c%25d%20e\",\"$defs\":{\"a/b~c%d e\":{\"type\":\"null\"}}}",
            LIST("null"), LIST("1"));
    accepts("{\"$ref\":\"#/$defs/~01\",\"$defs\":{\"~1\":{\"type\":\"null\"}}}", LIST("null"),
            LIST("1"));
    accepts("{\"$defs\":{\"x\":{\"$anchor\":\"here\",\"type\":\"boolean\"}},\"$ref\":\"#here\"}",
            LIST("true"), LIST("1"));
    accepts("{\"$id\":\"https://x.org/s\",\"$ref\":\"https://x.org/s#/$defs/y\",\"$defs\":{\"y\":{"
            "\"const\":1}}}",
            LIST("1"), LIST("2"));
    refuses("{\"$ref\":\"https://elsewhere.org/s\"}", true, "elsewhere");
    refuses("{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":"
            "\"#/$defs/a\"}}}",
            false, "no value");
    refuses(
        "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#/$defs/n\"}},"
        "\"required\":[\"n\"]}},\"$ref\":\"#/$defs/n\"}",
        false, "no value");
    accepts("{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", LIST("null"), LIST("1"));
}

/* Values may recurse, but not without end: and then they can still be closed. */
static void test_recursion_ends_where_it_can_close(void **state)
{
    ds4_grammar *g =
        compile("{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"object\","
                "\"properties\":{\"m\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},"
                "\"required\":[\"m\"],\"additionalProperties\":false}},"
                "\"required\":[\"n\"],\"additionalProperties\":false}",
                true);
    ds4_grammar_walk *w = NULL;
    int               depth = 0;

    (void)state;
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    while (ds4_grammar_take(w, DS4_SLICE("{\"n\":{\"m\":"), false)) depth++;
    assert_true(depth > 20 && depth < 64);
    assert_true(ds4_grammar_take(w, DS4_SLICE("null"), false));
    for (; depth > 0; depth--) assert_true(ds4_grammar_take(w, DS4_SLICE("}}"), false));
    assert_true(ds4_grammar_must_end(w));
    ds4_grammar_walk_free(w);
    ds4_grammar_free(g);
}

static void test_maps_and_names(void **state)
{
    (void)state;
    accepts("{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-z]+$\"},"
            "\"additionalProperties\":{"
            "\"type\":\"integer\"}}",
            LIST("{}", "{\"ab\":1,\"c\":2}"), LIST("{\"A\":1}", "{\"a\":\"x\"}", "{\"\":1}"));
    accepts(
        "{\"type\":\"object\",\"propertyNames\":{\"enum\":[\"a\",\"b\"]},\"additionalProperties\":{"
        "\"type\":\"integer\"},\"required\":[\"a\"]}",
        LIST("{\"a\":1}", "{\"a\":1,\"b\":2}"), LIST("{\"c\":1}", "{\"b\":1}", "{}"));
    accepts("{\"type\":\"object\",\"patternProperties\":{\"^n_\":{\"type\":\"integer\"},\"_s$\":{"
            "\"type\":"
            "\"string\"}},\"additionalProperties\":false}",
            LIST("{\"n_a\":1}", "{\"a_s\":\"x\",\"n_b\":2}", "{}"),
            LIST("{\"x\":1}", "{\"n_a\":\"x\"}", "{\"n_s\":1}"));
    accepts(
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"}},\"additionalProperties\":{"
        "\"type\":\"integer\"}}",
        LIST("{\"a\":null,\"b\":1}", "{\"ab\":2}", "{\"\":2}"),
        LIST("{\"a\":1}", "{\"b\":1,\"a\":1}"));
    accepts(
        "{\"type\":\"object\",\"additionalProperties\":{},\"minProperties\":1,\"maxProperties\":2}",
        LIST("{\"a\":1}", "{\"a\":1,\"b\":1}"), LIST("{}", "{\"a\":1,\"b\":1,\"c\":1}"));
    accepts("{\"type\":\"object\",\"properties\":{}}", LIST("{}"), LIST("{\"a\":1}"));
    accepts("{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true,"
            "\"minItems\":1}",
            LIST("[\"a\"]", "[\"c\",\"a\",\"b\"]"),
            LIST("[]", "[\"a\",\"a\"]", "[\"a\",\"b\",\"a\"]"));
    accepts("{\"type\":\"array\",\"items\":[{\"type\":\"null\"},{\"type\":\"boolean\"}],"
            "\"additionalItems\":{\"type\":\"integer\"}}",
            LIST("[null, true]", "[null,true,1,2]"), LIST("[true]", "[null,true,null]"));
}

/* What is not asked for strictly is enforced as far as it can be. */
static void test_what_is_not_strict_is_enforced_as_far_as_can_be(void **state)
{
    static const char *const list[][3] = {
        { "{\"type\":\"string\",\"pattern\":\"(a)\\\\1\",\"maxLength\":2}", "\"zz\"", "\"zzz\"" },
        { "{\"type\":\"array\",\"uniqueItems\":true,\"maxItems\":2}", "[1,1]", "[1,2,3]" },
        { "{\"type\":\"integer\",\"multipleOf\":99991,\"minimum\":3}", "4", "2" },
        { "{\"type\":\"object\",\"if\":{},\"then\":{},\"properties\":{\"a\":{\"type\":\"null\"}}}",
          "{\"a\":null}", "{\"a\":1}" },
        { "{\"$ref\":\"https://elsewhere.org/s\",\"type\":\"null\"}", "null", "1" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        refuses(list[i][0], true, "enforced");
        all_fit(compile(list[i][0], false), list[i][0], LIST(list[i][1]), LIST(list[i][2]), false);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_words_beside_a_list_count),
    cmocka_unit_test(test_numbers_keep_their_bounds),
    cmocka_unit_test(test_strings_keep_patterns_and_formats),
    cmocka_unit_test(test_exactly_one_and_none),
    cmocka_unit_test(test_long_strings_and_lists_are_counted),
    cmocka_unit_test(test_references_find_their_way),
    cmocka_unit_test(test_recursion_ends_where_it_can_close),
    cmocka_unit_test(test_maps_and_names),
    cmocka_unit_test(test_what_is_not_strict_is_enforced_as_far_as_can_be),
};

TEST_MAIN(tests)
