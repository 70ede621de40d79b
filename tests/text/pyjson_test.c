/* pyjson_test.c - JSON text the way Python writes it, and refusals that name the byte. */
#include "testing.h"

#include "base/clock.h"
#include "text/pyjson.h"
#include "text/utf8.h"

static void expect_dump(ds4_slice json, const char *expected)
{
    ds4_str out = { 0 };
    ds4_err err;
    ds4_str_add_text(&out, ">");
    if (ds4_pyjson_dump(json, &out, &err) != DS4_OK) fail_msg("%s: %s", json.data, err.text);
    assert_string_equal(out.data + 1, expected);
    assert_int_equal(ds4_pyjson_check(json, &err), DS4_OK);
    ds4_str_clear(&out);
}

#define EXPECT_DUMP(json, expected) expect_dump(DS4_SLICE(json), (expected))

static void test_separators_and_order(void **state)
{
    (void)state;
    EXPECT_DUMP("{}", "{}");
    EXPECT_DUMP(" [ ] ", "[]");
    EXPECT_DUMP("{\"b\":1,\"a\":[1,2,{\"c\":null}],\"t\":true,\"f\":false}",
                "{\"b\": 1, \"a\": [1, 2, {\"c\": null}], \"t\": true, \"f\": false}");
    EXPECT_DUMP("\t{ \"a\" :\n[ ] , \"b\"\r:{ } }\n", "{\"a\": [], \"b\": {}}");
}

static void test_numbers_keep_their_digits(void **state)
{
    (void)state;
    EXPECT_DUMP("[0, -0, 1.50, 1e5, 1E+16, 0.1, -12.5e-3, 123456789012345678901234567890]",
                "[0, -0, 1.50, 1e5, 1E+16, 0.1, -12.5e-3, 123456789012345678901234567890]");
}

static void test_strings(void **state)
{
    (void)state;
    EXPECT_DUMP("\"\\u00e9\\/\\ud83d\\ude00\\n\\t\\r\\b\\f\\\"\\\\\"",
                "\"é/😀\\n\\t\\r\\b\\f\\\"\\\\\"");
    EXPECT_DUMP("\"\\u0001\\u001F\\u007f\\u2028\"", "\"\\u0001\\u001f\x7f\u2028\"");
    EXPECT_DUMP("\"\\ud800\"", "\"\uFFFD\"");
    EXPECT_DUMP("\"\\udc00x\"", "\"\uFFFDx\"");
    EXPECT_DUMP("\"\\ud800\\ud83d\\ude00\"", "\"\uFFFD😀\"");
    EXPECT_DUMP("\"\\ud800\\u0041\"", "\"\uFFFDA\"");
    EXPECT_DUMP("\"\\u0000\"", "\"\\u0000\"");
    EXPECT_DUMP("\"\"", "\"\"");
}

static void test_last_of_same_names_holds(void **state)
{
    (void)state;
    EXPECT_DUMP("{\"a\":1,\"b\":2,\"a\":3}", "{\"a\": 3, \"b\": 2}");
    EXPECT_DUMP("{\"a\":1,\"\\u0061\":2}", "{\"a\": 2}");
    EXPECT_DUMP("{\"a\":{\"x\":1,\"x\":2},\"b\":[{\"y\":1,\"z\":0,\"y\":[]}],\"a\":0}",
                "{\"a\": 0, \"b\": [{\"y\": [], \"z\": 0}]}");
    EXPECT_DUMP("{\"\":1,\"\":2}", "{\"\": 2}");
}

static void expect_error(ds4_slice json, ds4_status code, const char *words)
{
    ds4_str out = { 0 };
    ds4_err err;
    ds4_str_add_text(&out, "kept");
    assert_int_equal(ds4_pyjson_dump(json, &out, &err), code);
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_string_equal(out.data, "kept");
    assert_int_equal(ds4_pyjson_check(json, NULL), code);
    ds4_str_clear(&out);
}

#define EXPECT_ERROR(json, words) expect_error(DS4_SLICE(json), DS4_E_FORMAT, (words))

static void test_errors_name_the_byte(void **state)
{
    (void)state;
    EXPECT_ERROR("", "ends at byte 0");
    EXPECT_ERROR("  ", "ends at byte 2");
    EXPECT_ERROR("{\"a\":1,}", "byte 7");
    EXPECT_ERROR("{\"a\" 1}", "byte 5 is '1', expected ':'");
    EXPECT_ERROR("{a:1}", "byte 1");
    EXPECT_ERROR("[1 2]", "byte 3");
    EXPECT_ERROR("[1,]", "byte 3");
    EXPECT_ERROR("[1", "ends at byte 2");
    EXPECT_ERROR("01", "byte 1");
    EXPECT_ERROR("1.", "ends at byte 2");
    EXPECT_ERROR(".5", "byte 0");
    EXPECT_ERROR("+1", "byte 0");
    EXPECT_ERROR("1e", "ends at byte 2");
    EXPECT_ERROR("-", "ends at byte 1");
    EXPECT_ERROR("NaN", "byte 0");
    EXPECT_ERROR("nul", "expected a value");
    EXPECT_ERROR("{} x", "byte 3");
    EXPECT_ERROR("\"a", "ends at byte 2");
    EXPECT_ERROR("\"\\x\"", "byte 2");
    EXPECT_ERROR("\"\\u12g4\"", "byte 5");
    EXPECT_ERROR("\"\\ud800\\u12", "ends at byte 11");
    EXPECT_ERROR("\"a\nb\"", "byte 2 is 0x0a");
    EXPECT_ERROR("\"\xE4\xBD\"", "not valid UTF-8");
    EXPECT_ERROR("\"\0\"", "0x00");
    EXPECT_ERROR("'a'", "byte 0");
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    char deep[2 * (DS4_PYJSON_MAX_DEPTH + 1)];
    const size_t n = DS4_PYJSON_MAX_DEPTH;
    memset(deep, '[', n);
    memset(deep + n, ']', n);
    assert_int_equal(ds4_pyjson_check((ds4_slice){ deep, 2 * n }, NULL), DS4_OK);
    memset(deep, '[', n + 1);
    memset(deep + n + 1, ']', n + 1);
    expect_error((ds4_slice){ deep, 2 * n + 2 }, DS4_E_LIMIT, "nested");
}

static void test_walk_over_members(void **state)
{
    (void)state;
    ds4_pyjson_iter it;
    ds4_slice name, value;
    const ds4_slice object = DS4_SLICE(" { \"a\" : [1, 2] , \"b\\n\":\"x\" }");
    const ds4_slice array = DS4_SLICE("[1,{\"q\":[]} ,\"]\"]");

    assert_int_equal(ds4_pyjson_open(&it, object, NULL), DS4_OK);
    assert_true(ds4_pyjson_next(&it, &name, &value));
    assert_true(ds4_slice_eq(name, DS4_SLICE("\"a\"")) && ds4_slice_eq(value, DS4_SLICE("[1, 2]")));
    assert_true(ds4_pyjson_next(&it, &name, &value));
    assert_true(ds4_slice_eq(name, DS4_SLICE("\"b\\n\"")) &&
                ds4_slice_eq(value, DS4_SLICE("\"x\"")));
    assert_false(ds4_pyjson_next(&it, &name, &value));

    assert_int_equal(ds4_pyjson_open(&it, array, NULL), DS4_OK);
    for (int i = 0; i < 3; i++) assert_true(ds4_pyjson_next(&it, NULL, &value));
    assert_true(ds4_slice_eq(value, DS4_SLICE("\"]\"")));
    assert_false(ds4_pyjson_next(&it, NULL, &value));

    assert_int_equal(ds4_pyjson_open(&it, DS4_SLICE("{}"), NULL), DS4_OK);
    assert_false(ds4_pyjson_next(&it, &name, &value));
    assert_int_equal(ds4_pyjson_open(&it, DS4_SLICE("3"), NULL), DS4_E_FORMAT);
}

static void test_get_takes_the_last(void **state)
{
    (void)state;
    ds4_slice value;
    assert_true(ds4_pyjson_get(DS4_SLICE("{\"a\": 1, \"\\u0061\": 2, \"b\": 3}"), "a", &value));
    assert_true(ds4_slice_eq(value, DS4_SLICE("2")));
    assert_false(ds4_pyjson_get(DS4_SLICE("{\"a\": 1}"), "x", &value));
    assert_false(ds4_pyjson_get(DS4_SLICE("[1]"), "a", &value));
    assert_false(ds4_pyjson_get(DS4_SLICE("{\"a\": 1"), "a", &value));
}

static void test_text_to_string_and_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x3000; code++) {
        char bytes[4];
        const ds4_slice text = { bytes, (size_t)ds4_utf8_write(code, bytes) };
        ds4_str json = { 0 }, back = { 0 };
        ds4_pyjson_add_string(&json, text);
        assert_int_equal(
            ds4_pyjson_decode_string((ds4_slice){ json.data, json.n_bytes }, &back, NULL), DS4_OK);
        assert_true(ds4_slice_eq((ds4_slice){ back.data, back.n_bytes }, text));
        ds4_str_clear(&json);
        ds4_str_clear(&back);
    }
    ds4_str json = { 0 };
    ds4_pyjson_add_string(&json, DS4_SLICE("a\xFF"));
    assert_string_equal(json.data, "\"a\uFFFD\"");
    ds4_str_clear(&json);
}

static void test_many_members_take_no_quadratic_time(void **state)
{
    (void)state;
    ds4_str json = { 0 }, out = { 0 };
    ds4_err err;
    ds4_str_add_char(&json, '{');
    for (int i = 0; i < 200000; i++) {
        ds4_str_addf(&json, "%s\"k%d\":%d", i ? "," : "", i % 100000, i);
    }
    ds4_str_add_char(&json, '}');
    const uint64_t begin = ds4_now_ns();
    assert_int_equal(ds4_pyjson_dump((ds4_slice){ json.data, json.n_bytes }, &out, &err), DS4_OK);
    assert_true((double)(ds4_now_ns() - begin) * 1e-9 < 5.0);
    assert_int_equal(strncmp(out.data, "{\"k0\": 100000, \"k1\": 100001, ", 28), 0);
    ds4_str_clear(&json);
    ds4_str_clear(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_separators_and_order),
    cmocka_unit_test(test_numbers_keep_their_digits),
    cmocka_unit_test(test_strings),
    cmocka_unit_test(test_last_of_same_names_holds),
    cmocka_unit_test(test_errors_name_the_byte),
    cmocka_unit_test(test_depth_is_limited),
    cmocka_unit_test(test_walk_over_members),
    cmocka_unit_test(test_get_takes_the_last),
    cmocka_unit_test(test_text_to_string_and_back),
    cmocka_unit_test(test_many_members_take_no_quadratic_time),
};
TEST_MAIN(tests)
