/* pretok_test.c - where text is cut, case by case. Pieces are written with bars between. */
#include "testing.h"

#include "base/rng.h"
#include "base/str.h"
#include "text/pretok.h"

static ds4_char_map *map;

static int make_map(void **state)
{
    (void)state;
    map = ds4_char_map_create();
    return map ? 0 : -1;
}

static int free_map(void **state)
{
    (void)state;
    ds4_char_map_free(map);
    return 0;
}

/* expected: the same text with '~' between the pieces. */
static void expect_cuts(ds4_slice text, const char *expected)
{
    ds4_pretok p;
    ds4_str    got = { 0 };
    size_t     begin, n, end = 0;

    ds4_pretok_begin(&p, map, text.data, text.n_bytes);
    while (ds4_pretok_next(&p, &begin, &n)) {
        assert_int_equal(begin, end);
        assert_true(n > 0);
        if (begin > 0) ds4_str_add_char(&got, '~');
        ds4_str_add(&got, text.data + begin, n);
        end = begin + n;
    }
    assert_int_equal(end, text.n_bytes);
    assert_string_equal(ds4_str_text(&got), expected);
    ds4_str_clear(&got);
}

#define EXPECT_CUTS(text, expected) expect_cuts(DS4_SLICE(text), (expected))

static void test_digits_in_threes(void **state)
{
    (void)state;
    EXPECT_CUTS("1234567", "123~456~7");
    EXPECT_CUTS(" 12 345", " ~12~ ~345");
    EXPECT_CUTS("a1b22", "a~1~b~22");
    EXPECT_CUTS("½²①Ⅷ", "½²①~Ⅷ");
    EXPECT_CUTS("٣٤", "٣٤");
}

static void test_cjk_runs(void **state)
{
    (void)state;
    EXPECT_CUTS("中文English混合123", "中文~English~混合~123");
    EXPECT_CUTS("カタカナー、ひらがな", "カタカナー~、~ひらがな");
    EXPECT_CUTS("一龥", "一龥");
    EXPECT_CUTS("龥龦", "龥~龦");           /* U+9FA6 is a letter like others */
    EXPECT_CUTS(" 你好", " ~你好");
}

static void test_words_and_punctuation(void **state)
{
    (void)state;
    EXPECT_CUTS("foo.bar()", "foo~.bar~()");
    EXPECT_CUTS("don't", "don~'t");
    EXPECT_CUTS("...abc", "...~abc");
    EXPECT_CUTS("(abc", "(abc");
    EXPECT_CUTS("=x ＝x", "=x~ ＝~x");
    EXPECT_CUTS(" {\n}", " {\n~}");
    EXPECT_CUTS("};\n\nx", "};\n\n~x");
    EXPECT_CUTS("。\n“引号”", "。\n~“~引号~”");
    EXPECT_CUTS("she’s café", "she~’~s~ café");
    EXPECT_CUTS("e\xCC\x81x \xCC\x81", "e\xCC\x81x~ \xCC\x81");
}

static void test_white_space(void **state)
{
    (void)state;
    EXPECT_CUTS("   x", "  ~ x");
    EXPECT_CUTS("   {", "  ~ {");
    EXPECT_CUTS("a  1", "a~  ~1");          /* for the third split the text ends before the digit */
    EXPECT_CUTS("a  你", "a~  ~你");
    EXPECT_CUTS("x  ", "x~  ");
    EXPECT_CUTS("a \n b", "a~ \n~ b");
    EXPECT_CUTS("a\r\n\r\n  b", "a~\r\n\r\n~ ~ b");
    EXPECT_CUTS("\ta", "\ta");
    EXPECT_CUTS("\t\ta", "\t~\ta");
    EXPECT_CUTS("\t1", "\t~1");
    EXPECT_CUTS("\xC2\xA0\n", "\xC2\xA0\n");
    EXPECT_CUTS("\xE3\x80\x80你", "\xE3\x80\x80~你");
}

static void test_gaps_are_one_piece(void **state)
{
    (void)state;
    EXPECT_CUTS("\x01\x02", "\x01\x02");
    EXPECT_CUTS("\x01\x02" "a", "\x01~\x02" "a");
    EXPECT_CUTS("\xE2\x80\x8B\xE2\x80\x8B.", "\xE2\x80\x8B\xE2\x80\x8B~.");
    EXPECT_CUTS("\x01 x", "\x01~ x");
    EXPECT_CUTS("\xFF\xFE", "\xFF\xFE");
    EXPECT_CUTS("a\xFF.", "a~\xFF~.");
    EXPECT_CUTS("\xE4\xBD", "\xE4\xBD");
}

static void test_every_byte_is_in_one_piece(void **state)
{
    (void)state;
    static const char *const BITS[] = { "a",    "1",    " ",    "\n",           ".", "你", "é",
                                        "\xFF", "\x01", "\xE4", "\xE2\x80\x8B", "'" };
    ds4_rng rng;
    ds4_rng_seed(&rng, 2);
    for (int round = 0; round < 20000; round++) {
        ds4_str text = { 0 };
        ds4_pretok p;
        size_t begin, n, end = 0;
        for (int i = 0; i < 12; i++) ds4_str_add_text(&text, BITS[ds4_rng_next(&rng) % 12]);
        ds4_pretok_begin(&p, map, text.data, text.n_bytes);
        for (; ds4_pretok_next(&p, &begin, &n); end += n) assert_true(begin == end && n > 0);
        assert_int_equal(end, text.n_bytes);
        ds4_str_clear(&text);
    }
}

static void test_classes(void **state)
{
    (void)state;
    assert_int_equal(ds4_char_map_get(map, 'a'), DS4_CHAR_LETTER);
    assert_int_equal(ds4_char_map_get(map, '~'), DS4_CHAR_PUNCT);
    assert_int_equal(ds4_char_map_get(map, 0x85), DS4_CHAR_SPACE);
    /* No white space since Unicode 6.3. */
    assert_int_equal(ds4_char_map_get(map, 0x180E), DS4_CHAR_OTHER);
    assert_int_equal(ds4_char_map_get(map, 0x0301), DS4_CHAR_MARK);
    assert_int_equal(ds4_char_map_get(map, 0x1F600), DS4_CHAR_PUNCT);
    assert_int_equal(ds4_char_map_get(map, 0x20000), DS4_CHAR_LETTER); /* beyond the flat part */
    assert_int_equal(ds4_char_map_get(map, 0x2EBF0), DS4_CHAR_LETTER); /* new in Unicode 15.1 */
    assert_int_equal(ds4_char_map_get(map, 0xE0100), DS4_CHAR_MARK);
    assert_int_equal(ds4_char_map_get(map, 0x10FFFF), DS4_CHAR_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digits_in_threes),
        cmocka_unit_test(test_cjk_runs),
        cmocka_unit_test(test_words_and_punctuation),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_gaps_are_one_piece),
        cmocka_unit_test(test_every_byte_is_in_one_piece),
        cmocka_unit_test(test_classes),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_map, free_map);
}
