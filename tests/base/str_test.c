/* str_test.c - growing strings keep every byte, end in zero, and remember a failure. */
#include "testing.h"

#include "base/str.h"

static void test_empty_string_is_text(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    assert_string_equal(ds4_str_text(&s), "");
    assert_null(ds4_str_take(&s));
    ds4_str_truncate(&s, 0);
    ds4_str_clear(&s);
    ds4_str_add(&s, "", 0);
    assert_string_equal(ds4_str_text(&s), "");
    assert_int_equal(s.n_bytes, 0);
    ds4_str_clear(&s);
}

static void test_appends_of_every_size_add_up(void **state)
{
    ds4_str s = { 0 };
    char    piece[300];
    size_t  total = 0;

    (void)state;
    for (size_t n = 0; n < sizeof piece; n++) {
        memset(piece, (int)(n & 0xff), n);
        ds4_str_add(&s, piece, n);
        total += n;
        assert_int_equal(s.n_bytes, total);
        assert_int_equal(s.data[total], 0);
        assert_true(s.capacity > total);
    }
    size_t at = 0;
    for (size_t n = 0; n < sizeof piece; n++) {
        for (size_t i = 0; i < n; i++) assert_int_equal((unsigned char)s.data[at++], n & 0xff);
    }
    ds4_str_clear(&s);
    assert_null(s.data);
}

static void test_zero_bytes_are_kept(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_add(&s, "a\0b", 3);
    ds4_str_add_char(&s, '\0');
    ds4_str_add_text(&s, "c\0d");
    assert_int_equal(s.n_bytes, 5);
    assert_memory_equal(s.data, "a\0b\0c", 6);
    ds4_str_clear(&s);
}

static void test_formatting_longer_than_the_buffer(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_addf(&s, "%d-%s", 7, "x");
    assert_string_equal(ds4_str_text(&s), "7-x");
    ds4_str_addf(&s, "%1000s|%s", "y", "");
    assert_int_equal(s.n_bytes, 3 + 1001);
    assert_int_equal(s.data[1002], 'y');
    assert_int_equal(s.data[1003], '|');
    assert_int_equal(s.data[1004], 0);
    ds4_str_clear(&s);
}

static void test_truncate_only_shortens(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_add_text(&s, "abcdef");
    ds4_str_truncate(&s, 100);
    assert_string_equal(ds4_str_text(&s), "abcdef");
    ds4_str_truncate(&s, 2);
    assert_string_equal(ds4_str_text(&s), "ab");
    ds4_str_add_text(&s, "z");
    assert_string_equal(ds4_str_text(&s), "abz");
    ds4_str_clear(&s);
}

static void test_take_hands_the_bytes_over(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_add_text(&s, "mine now");
    char *text = ds4_str_take(&s);
    assert_string_equal(text, "mine now");
    assert_null(s.data);
    assert_int_equal(s.capacity, 0);
    free(text);
}

/* A length that cannot exist fails before any byte is read or written. */
static void test_failure_is_remembered(void **state)
{
    ds4_str s = { 0 };

    (void)state;
    ds4_str_add_text(&s, "kept");
    ds4_str_add(&s, "x", SIZE_MAX / 2);
    assert_true(s.failed);
    ds4_str_add_text(&s, "more");
    ds4_str_addf(&s, "%d", 1);
    assert_string_equal(ds4_str_text(&s), "kept");
    assert_null(ds4_str_take(&s));
    assert_false(s.failed);
    assert_null(s.data);
}

static void test_slices_compare_bytes(void **state)
{
    (void)state;
    assert_true(ds4_slice_eq(DS4_SLICE("ab"), (ds4_slice){ "abc", 2 }));
    assert_false(ds4_slice_eq(DS4_SLICE("ab"), DS4_SLICE("abc")));
    assert_false(ds4_slice_eq(DS4_SLICE("a\0b"), DS4_SLICE("a\0c")));
    assert_true(ds4_slice_eq((ds4_slice){ NULL, 0 }, DS4_SLICE("")));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_empty_string_is_text),
    cmocka_unit_test(test_appends_of_every_size_add_up),
    cmocka_unit_test(test_zero_bytes_are_kept),
    cmocka_unit_test(test_formatting_longer_than_the_buffer),
    cmocka_unit_test(test_truncate_only_shortens),
    cmocka_unit_test(test_take_hands_the_bytes_over),
    cmocka_unit_test(test_failure_is_remembered),
    cmocka_unit_test(test_slices_compare_bytes),
};
TEST_MAIN(tests)
