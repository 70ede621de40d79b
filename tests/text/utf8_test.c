/* utf8_test.c - whole characters only, whatever the pieces. */
#include "testing.h"

#include "base/rng.h"
#include "text/utf8.h"

static void expect_repaired(ds4_slice text, const char *expected)
{
    ds4_str out = { 0 };
    ds4_utf8_repair(text.data, text.n_bytes, &out);
    assert_string_equal(ds4_str_text(&out), expected);
    assert_int_equal(ds4_utf8_valid(text.data, text.n_bytes), strcmp(text.data, expected) == 0);
    ds4_str_clear(&out);
}

#define EXPECT_REPAIRED(text, expected) expect_repaired(DS4_SLICE(text), (expected))

static void test_damage_becomes_replacements(void **state)
{
    (void)state;
    EXPECT_REPAIRED("", "");
    EXPECT_REPAIRED("a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80z", "aé你😀z");
    EXPECT_REPAIRED("\x80", "\uFFFD");
    EXPECT_REPAIRED("\xC0\xAF", "\uFFFD\uFFFD");                    /* overlong */
    EXPECT_REPAIRED("\xE0\x80\xAF", "\uFFFD\uFFFD\uFFFD");
    EXPECT_REPAIRED("\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD");          /* a surrogate */
    EXPECT_REPAIRED("\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD");    /* above U+10FFFF */
    EXPECT_REPAIRED("\xF5\xFF", "\uFFFD\uFFFD");
    EXPECT_REPAIRED("\xE4\xBD", "\uFFFD");                          /* unfinished */
    EXPECT_REPAIRED("\xF0\x9F\x98" "a", "\uFFFD" "a");              /* cut short by another */
    EXPECT_REPAIRED("\xE4\xBD\xE4\xBD\xA0", "\uFFFD你");
    EXPECT_REPAIRED("\xF4\x8F\xBF\xBF\xEF\xBF\xBF", "\U0010FFFF\uFFFF");
}

static void test_safe_bytes_hold_the_tail(void **state)
{
    (void)state;
    assert_int_equal(ds4_utf8_safe_bytes("", 0), 0);
    assert_int_equal(ds4_utf8_safe_bytes("ab", 2), 2);
    assert_int_equal(ds4_utf8_safe_bytes("a\xC3", 2), 1);
    assert_int_equal(ds4_utf8_safe_bytes("a\xE4\xBD", 3), 1);
    assert_int_equal(ds4_utf8_safe_bytes("\xF0\x9F\x98", 3), 0);
    assert_int_equal(ds4_utf8_safe_bytes("\xF0\x9F\x98\x80", 4), 4);
    assert_int_equal(ds4_utf8_safe_bytes("a\xFF", 2), 2);           /* never becomes a character */
    assert_int_equal(ds4_utf8_safe_bytes("\xC0\x80\x80", 3), 3);
    assert_int_equal(ds4_utf8_safe_bytes("\x80\x80\x80\x80", 4), 4);
    assert_int_equal(ds4_utf8_safe_bytes("\xED\xA0", 2), 2);
}

static void test_every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x110000; code++) {
        char bytes[4];
        uint32_t back = 0;
        const int n = ds4_utf8_write(code, bytes);
        assert_int_equal(ds4_utf8_read(bytes, (size_t)n, &back), n);
        const bool scalar = code < 0xD800 || (code > 0xDFFF && code < 0x110000);
        assert_int_equal(back, scalar ? code : 0xFFFD);
        for (int i = 0; i < n; i++) assert_int_equal(ds4_utf8_read(bytes, (size_t)i, &back), 0);
    }
}

/* Bytes that make all kinds of damage likely. */
static size_t random_bytes(ds4_rng *rng, char *data, size_t most)
{
    static const unsigned char BYTES[] = { 'a',  0x80, 0xBF, 0x9F, 0xA0, 0xC3, 0xE0,
                                           0xE4, 0xED, 0xF0, 0xF4, 0xFF, 0xC0 };
    const size_t n = ds4_rng_next(rng) % most;
    for (size_t i = 0; i < n; i++) data[i] = (char)BYTES[ds4_rng_next(rng) % sizeof BYTES];
    return n;
}

static void test_stream_equals_whole(void **state)
{
    (void)state;
    ds4_rng rng;
    ds4_rng_seed(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        char data[40];
        const size_t n = random_bytes(&rng, data, sizeof data);
        ds4_str whole = { 0 }, pieces = { 0 };
        ds4_utf8_stream s = { .n_held = 0 };
        ds4_utf8_repair(data, n, &whole);
        for (size_t i = 0; i < n;) {
            size_t step = 1 + ds4_rng_next(&rng) % 5;
            if (step > n - i) step = n - i;
            ds4_utf8_stream_add(&s, data + i, step, &pieces);
            i += step;
            assert_true(ds4_utf8_valid(ds4_str_text(&pieces), pieces.n_bytes));
            assert_int_equal(s.n_held, i - ds4_utf8_safe_bytes(data, i));
        }
        ds4_utf8_stream_flush(&s, &pieces);
        assert_string_equal(ds4_str_text(&whole), ds4_str_text(&pieces));
        assert_true(ds4_utf8_valid(ds4_str_text(&whole), whole.n_bytes));
        ds4_str_clear(&whole);
        ds4_str_clear(&pieces);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_damage_becomes_replacements),
    cmocka_unit_test(test_safe_bytes_hold_the_tail),
    cmocka_unit_test(test_every_code_point_comes_back),
    cmocka_unit_test(test_stream_equals_whole),
};
TEST_MAIN(tests)
