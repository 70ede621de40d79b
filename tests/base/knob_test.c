/* knob_test.c - what the environment says reaches the program, and nothing else does. */
#include "testing.h"

#include "base/knob.h"

static void test_unset_knob_is_null(void **state)
{
    (void)state;
    unsetenv("DS4_CPU_MASK");
    assert_null(ds4_knob_text(DS4_KNOB_CPU_MASK));
    assert_true(ds4_knob_u64(DS4_KNOB_CPU_MASK, 77) == 77);
}

static void test_numbers_are_read_whole(void **state)
{
    static const struct {
        const char *text;
        uint64_t    value;          /* 77: not a number */
    } cases[] = {
        { "0", 0 }, { "3", 3 }, { "0x10", 16 }, { "18446744073709551615", UINT64_MAX },
        { "", 77 }, { "x", 77 }, { "3 ", 77 }, { "3x", 77 }, { "0x", 77 }, { "1.5", 77 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("DS4_CPU_MASK", cases[i].text, 1);
        assert_string_equal(ds4_knob_text(DS4_KNOB_CPU_MASK), cases[i].text);
        assert_true(ds4_knob_u64(DS4_KNOB_CPU_MASK, 77) == cases[i].value);
    }
    unsetenv("DS4_CPU_MASK");
}

static void test_each_knob_has_its_own_name(void **state)
{
    static const char *const names[DS4_N_KNOBS] = {
        [DS4_KNOB_CPU_MASK] = "DS4_CPU_MASK",
        [DS4_KNOB_HOME] = "HOME",
        [DS4_KNOB_NO_COLOR] = "NO_COLOR",
        [DS4_KNOB_TERM] = "TERM",
        [DS4_KNOB_API_KEY] = "DS4_API_KEY",
        [DS4_KNOB_JOURNAL_STREAM] = "JOURNAL_STREAM",
        [DS4_KNOB_NOTIFY_SOCKET] = "NOTIFY_SOCKET",
        [DS4_KNOB_CREDENTIALS] = "CREDENTIALS_DIRECTORY",
    };

    (void)state;
    for (int k = 0; k < DS4_N_KNOBS; k++) {
        assert_non_null(names[k]);
        setenv(names[k], names[k], 1);
    }
    for (int k = 0; k < DS4_N_KNOBS; k++) assert_string_equal(ds4_knob_text((ds4_knob)k), names[k]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_unset_knob_is_null),
    cmocka_unit_test(test_numbers_are_read_whole),
    cmocka_unit_test(test_each_knob_has_its_own_name),
};
TEST_MAIN(tests)
