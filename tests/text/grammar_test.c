/* grammar_test.c - what a schema lets through byte by byte, and what it stops. */
#include "grammar_walks.h"

#include "base/str.h"

static void test_plain_types(void **state)
{
    (void)state;
    accepts("{\"type\":\"string\"}",
            LIST("\"\"", "\"a\\n\\u00e9\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\\\"\""),
            LIST("a", "\"", "\"a", "\"\n\"", "\"\\x\"", "\"\xff\"", "\"\xc3\"", "\"\\ud800\"",
                 "\"a\" "));
    accepts("{\"type\":\"integer\"}", LIST("0", "-1", "12", "900"),
            LIST("-", "01", "1.5", "1e3", "+1", "", "111111111111111111111111111"));
    accepts("{\"type\":\"integer\",\"minimum\":0}", LIST("0", "7"), LIST("-1", "-0"));
    accepts("{\"type\":\"integer\",\"minimum\":1}", LIST("1", "10"), LIST("0", "-1"));
    accepts("{\"type\":\"integer\",\"exclusiveMinimum\":0,\"maximum\":9007199254740991}", LIST("3"),
            LIST("0"));
    accepts("{\"type\":\"number\"}", LIST("0", "-0.5", "1e9", "2.5E-3"),
            LIST(".5", "1.", "1e", "NaN"));
    accepts("{\"type\":\"boolean\"}", LIST("true", "false"), LIST("tru", "True", "null"));
    accepts("{\"type\":[\"string\",\"null\"]}", LIST("null", "\"x\""), LIST("1"));
    accepts("{\"type\":\"number\",\"nullable\":true}", LIST("null", "4"), LIST("\"\""));
    accepts("{\"enum\":[\"red\",1,null,{\"a\":1}]}", LIST("\"red\"", "1", "null", "{\"a\": 1}"),
            LIST("\"blue\"", "2", "\"re\""));
    accepts("{\"const\":\"x\\ny\"}", LIST("\"x\\ny\""), LIST("\"x\""));
    accepts("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
            LIST("\"ab\"", "\"a\xc3\xa9z\""), LIST("\"a\"", "\"abcd\""));
    accepts("{}", LIST("1", "[]", "{\"a\":[1, {}]}", "\"s\""), LIST("x", "[1,]", "{,}"));
}

static void test_objects(void **state)
{
    (void)state;
    accepts("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
            "\"string\"},"
            "\"c\":{\"type\":\"boolean\"}},\"required\":[\"b\"],\"additionalProperties\":false}",
            LIST("{\"b\":\"x\"}", "{\"a\": 1, \"b\": \"x\", \"c\": true}",
                 "{\"b\":\"\",\"c\":false}", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"),
            LIST("{}", "{\"a\":1}", "{\"b\":\"x\",\"a\":1}", "{\"b\":\"x\",\"d\":1}",
                 "{\"b\":\"x\",}", "{,\"b\":\"x\"}", "{\"b\":\"x\"\"c\":true}", "{\"a\":1,}"));
    accepts(
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false}",
        LIST("{}", "{\"a\":1}", "{\"b\":[1,2]}", "{\"a\":1,\"b\":2}"),
        LIST("{\"b\":1,\"a\":1}", "{\"c\":1}"));
    accepts("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
            LIST("{}", "{\"x\":1}", "{\"x\":1, \"y\":2}"), LIST("{\"x\":\"y\"}"));
    accepts("{\"type\":\"object\"}", LIST("{}", "{\"x\":[]}"), LIST("[]"));
    accepts("{\"properties\":{\"a\":{\"type\":\"null\"}},\"required\":[\"a\",\"z\"]}",
            LIST("{\"a\":null,\"z\":1}"), LIST("{\"a\":null}"));
}

static void test_arrays_and_references(void **state)
{
    (void)state;
    accepts("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
            LIST("[1]", "[1, 2, 3]", "[1,2]"), LIST("[]", "[1,2,3,4]", "[\"a\"]", "[1 2]"));
    accepts("{\"type\":\"array\"}", LIST("[]", "[1,\"a\",{}]"), LIST("[,]", "{}"));
    accepts("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],"
            "\"items\":false}",
            LIST("[1,\"a\"]"), LIST("[1]", "[\"a\",1]", "[1,\"a\",2]"));
    accepts(
        "{\"$ref\":\"#/$defs/"
        "n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
        "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/"
        "n\"},{\"type\":\"null\"}]}},\"required\":[\"v\",\"next\"]}}}",
        LIST("{\"v\":1,\"next\":null}",
             "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}"),
        LIST("{\"v\":1}", "{\"v\":1,\"next\":{}}"));
}

static void test_many_optional_members(void **state)
{
    ds4_str      schema = { 0 };
    ds4_grammar *g;

    (void)state;
    ds4_str_add_text(&schema, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 120; i++)
        ds4_str_addf(&schema, "%s\"member%d\":{\"type\":\"integer\"}", i ? "," : "", i);
    ds4_str_add_text(&schema, "}}");
    g = compile(ds4_str_text(&schema), true);
    assert_int_equal(fitting(g, "{\"member7\": 1, \"member119\": 2}", false), 30);
    assert_true(fitting(g, "{\"member7\": 1, \"member6\": 2}", false) < 28);
    ds4_grammar_free(g);
    ds4_str_clear(&schema);
}

static void test_refusals_name_the_keyword(void **state)
{
    (void)state;
    refuses("{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", true, "back-reference");
    refuses("{\"type\":\"string\",\"pattern\":\"a(\"}", true, "pattern");
    refuses("{\"not\":{\"minimum\":1}}", true, "not");
    refuses("{\"type\":\"array\",\"uniqueItems\":true}", true, "uniqueItems");
    refuses("{\"type\":\"array\",\"contains\":{}}", true, "contains");
    refuses("{\"type\":\"string\",\"format\":\"ean\"}", true, "ean");
    refuses("{\"type\":\"thing\"}", false, "\"thing\"");
    refuses("{\"$ref\":\"#/$defs/none\"}", false, "not there");
    refuses("{\"$ref\":\"#\"}", false, "no value");
    refuses("{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", false, "no value");
    refuses("{\"anyOf\":[]}", false, "anyOf");
    refuses("[]", false, "schema");
    refuses("{", false, "JSON");
}

static void test_calls_beside_a_schema(void **state)
{
    ds4_grammar      *g = compile("{\"type\":\"integer\"}", true);
    ds4_grammar_walk *w = NULL;

    (void)state;
    assert_int_equal(ds4_grammar_or_calls(g, NULL), DS4_OK);
    assert_int_equal(fitting(g, "12", false), 2);
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    assert_true(ds4_grammar_take(w, DS4_SLICE("\n\n<"), false));
    assert_false(ds4_grammar_fits(w, DS4_SLICE("t"), false));
    assert_true(ds4_grammar_take(w, DS4_SLICE(""), true));
    assert_true(ds4_grammar_take(w, DS4_SLICE("tool_calls>\n<"), false));
    assert_true(ds4_grammar_take(w, DS4_SLICE(""), true));
    ds4_grammar_walk_free(w);
    ds4_grammar_free(g);
}

/* Bytes with * for the special token; true when all fit. */
static bool takes(ds4_grammar_walk *w, const char *text)
{
    for (; *text; text++) {
        const ds4_slice byte = { text, *text == '*' ? 0 : 1 };
        if (!ds4_grammar_take(w, byte, *text == '*')) return false;
    }
    return true;
}

static void test_calls(void **state)
{
    static const ds4_slice tools[] = {
        DS4_SLICE("{\"name\": \"read\", \"parameters\": {\"type\": \"object\", \"properties\": "
                  "{\"path\": {\"type\": "
                  "\"string\"}, \"n\": {\"type\": \"integer\"}, \"mode\": {\"type\": \"string\", "
                  "\"enum\": [\"a\", "
                  "\"b\"]}, \"odd\": {\"type\": \"array\", \"uniqueItems\": true}}, \"required\": "
                  "[\"path\"]}}"),
        DS4_SLICE("{\"name\": \"now\"}"),
    };
    static const struct {
        bool        good;
        const char *text;
    } list[] = {
        { true, "read\">\n<*parameter name=\"path\" string=\"true\">a <b> "
                "</c\n</*parameter>\n</*invoke>\n</*tool_calls>" },
        { true, "now\">\n\n</*invoke>\n<*invoke name=\"now\">\n</*invoke>\n</*tool_calls>" },
        { true, "read\">\n<*parameter name=\"path\" string=\"true\">a</*parameter>\n<*parameter "
                "name=\"n\" string=\"false\">12</*parameter>\n"
                "<*parameter name=\"mode\" string=\"true\">b</*parameter>\n<*parameter "
                "name=\"odd\" string=\"false\">[1, 1]</*parameter>\n</*invoke>\n</*tool_calls>" },
        { false, "write" },
        { false, "read\">\n</*invoke>" },
        { false, "read\">\n<*parameter name=\"path\" string=\"false\">" },
        { false, "read\">\n<*parameter name=\"path\" string=\"true\">a</*parameter>\n<*parameter "
                 "name=\"n\" string=\"false\">x" },
        { false, "read\">\n<*parameter name=\"path\" string=\"true\">a</*parameter>\n<*parameter "
                 "name=\"mode\" string=\"true\">c" },
        { false, "read\">\n<*parameter name=\"path\" string=\"true\">a<*" },
    };
    const ds4_grammar_calls calls = { .tools = tools, .n_tools = 2, .many = true }, beside = {
        .tools = tools, .n_tools = 2, .many = true, .text_before = true
    };
    ds4_grammar      *g = NULL, *t = NULL;
    ds4_grammar_walk *w = NULL;

    (void)state;
    assert_int_equal(ds4_grammar_of_calls(&calls, NULL, &g, NULL), DS4_OK);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
        if (takes(w, list[i].text) != list[i].good) fail_msg("%s", list[i].text);
        if (list[i].good) assert_true(ds4_grammar_must_end(w));
        ds4_grammar_walk_free(w);
    }
    assert_int_equal(ds4_grammar_of_calls(&beside, NULL, &t, NULL), DS4_OK);
    assert_int_equal(ds4_grammar_walk_create(t, &w, NULL), DS4_OK);
    assert_true(takes(w, "plain < text") && ds4_grammar_may_end(w));
    assert_false(takes(w, "*"));
    assert_true(takes(w, "\n\n<*tool_calls>\n<*invoke name=\"now\">\n</*invoke>\n</*tool_calls>"));
    ds4_grammar_walk_free(w);
    ds4_grammar_free(t);
    ds4_grammar_free(g);
}

/* Tools that cost much have free parameters; those behind them are still held to their schemas. */
static void test_dear_tools_leave_work_to_others(void **state)
{
    enum { N = 300 };
    ds4_str           text[N] = { { 0 } };
    ds4_slice         tools[N];
    ds4_grammar_calls calls = { .tools = tools, .n_tools = N };
    ds4_grammar      *g = NULL;
    ds4_err           err = { .code = DS4_OK };

    (void)state;
    for (int i = 0; i < N; i++) {
        ds4_str_addf(
            &text[i], "{\"name\": \"t%d\", \"parameters\": {\"properties\": {\"a\": {%s}}}}", i,
            i < 6 ? "\"type\": \"string\", \"pattern\": \"a.{20}$\"" : "\"type\": \"integer\"");
        tools[i] = (ds4_slice){ ds4_str_text(&text[i]), text[i].n_bytes };
    }
    if (ds4_grammar_of_calls(&calls, NULL, &g, &err) != DS4_OK) fail_msg("%s", err.text);
    all_fit(g, "t0 and t299",
            LIST("t0\">\n<*parameter name=\"a\" "
                 "string=\"false\">[1]</*parameter>\n</*invoke>\n</*tool_calls>",
                 "t299\">\n<*parameter name=\"a\" "
                 "string=\"false\">1</*parameter>\n</*invoke>\n</*tool_calls>"),
            LIST("t299\">\n<*parameter name=\"a\" "
                 "string=\"false\">[1]</*parameter>\n</*invoke>\n</*tool_calls>"),
            true);
    for (int i = 0; i < N; i++) ds4_str_clear(&text[i]);
}

static void test_one_of(void **state)
{
    const ds4_slice texts[] = { DS4_SLICE("read\">"), DS4_SLICE("reader\">"), DS4_SLICE("w\">") };
    ds4_grammar    *g = NULL;

    (void)state;
    assert_int_equal(ds4_grammar_one_of(texts, 3, &g, NULL), DS4_OK);
    assert_int_equal(fitting(g, "read\">", false), 6);
    assert_int_equal(fitting(g, "reader\">", false), 8);
    assert_int_equal(fitting(g, "reads", false), 4);
    assert_int_equal(fitting(g, "read", false), -1);
    ds4_grammar_free(g);
}

static void test_looking_has_a_bound(void **state)
{
    ds4_grammar      *g = compile("{\"type\":\"string\"}", true);
    ds4_grammar_walk *w = NULL;

    (void)state;
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    assert_true(ds4_grammar_fits(w, DS4_SLICE("\"a"), false));
    ds4_grammar_allow(w, 0);
    assert_true(ds4_grammar_fits(w, DS4_SLICE("\"a"), false)); /* is known already */
    assert_false(ds4_grammar_fits(w, DS4_SLICE("\"a\\n"), false));
    assert_true(ds4_grammar_take(w, DS4_SLICE("\"a\\n"), false));
    ds4_grammar_allow(w, UINT32_MAX);
    assert_true(ds4_grammar_fits(w, DS4_SLICE("b\""), false));
    ds4_grammar_walk_free(w);
    ds4_grammar_free(g);
}

static void test_whole_answers_by_a_regular_expression(void **state)
{
    static const ds4_grammar_options strict = { .strict = true };
    ds4_grammar                     *g = NULL;
    ds4_err                          err;

    (void)state;
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE("[a-c]+|\xc3\xa4\"\\n?"), &strict, &g, &err),
                     DS4_OK);
    all_fit(g, "[a-c]+|...", LIST("a", "cab", "\xc3\xa4\"", "\xc3\xa4\"\n"),
            LIST("", "ad", "\xc3\xa4", "a\n"), false);
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE("a(?=b)"), &strict, &g, &err),
                     DS4_E_UNSUPPORTED);
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE("[b-a]"), &strict, &g, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE("a$b"), &strict, &g, &err), DS4_E_FORMAT);
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE("(.{900}){900}"), &strict, &g, &err),
                     DS4_E_LIMIT);
}

static bool stop_at_once(const void *ctx)
{
    (void)ctx;
    return true;
}

static void test_making_one_can_be_stopped(void **state)
{
    const ds4_grammar_options opt = { .stop = stop_at_once };
    ds4_grammar              *g = NULL;
    ds4_err                   err;

    (void)state;
    assert_int_equal(ds4_grammar_from_regex(DS4_SLICE(".*a.{9}"), &opt, &g, &err), DS4_E_CANCELLED);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_plain_types),
    cmocka_unit_test(test_objects),
    cmocka_unit_test(test_arrays_and_references),
    cmocka_unit_test(test_many_optional_members),
    cmocka_unit_test(test_refusals_name_the_keyword),
    cmocka_unit_test(test_calls_beside_a_schema),
    cmocka_unit_test(test_calls),
    cmocka_unit_test(test_dear_tools_leave_work_to_others),
    cmocka_unit_test(test_one_of),
    cmocka_unit_test(test_looking_has_a_bound),
    cmocka_unit_test(test_whole_answers_by_a_regular_expression),
    cmocka_unit_test(test_making_one_can_be_stopped),
};

TEST_MAIN(tests)
