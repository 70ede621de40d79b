/* small_float_test.c - every code of the narrow number formats. */
#include "testing.h"

#include <math.h>

#include "format/small_float.h"

static uint32_t bits_of(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float of_bits(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

static void test_every_f16_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = ds4_f16_to_f32((uint16_t)h);
        if (isnan(f)) {
            assert_true(isnan(ds4_f16_to_f32(ds4_f32_to_f16(f))));
        } else {
            assert_int_equal(ds4_f32_to_f16(f), h);
        }
    }
    assert_true(ds4_f16_to_f32(0x3c01) == 1.0009765625f);
    assert_true(ds4_f16_to_f32(1) == 0x1p-24f);
    assert_true(signbit(ds4_f16_to_f32(0x8000)) && ds4_f16_to_f32(0x8000) == 0);
}

/* Between any two neighbouring halves: below the middle, the middle, above it. */
static void test_f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const double a = ds4_f16_to_f32((uint16_t)h), b = ds4_f16_to_f32((uint16_t)(h + 1));
        const float  middle = (float)((a + b) / 2);
        assert_int_equal(ds4_f32_to_f16(middle), h % 2 ? h + 1 : h);
        assert_int_equal(ds4_f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(ds4_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(ds4_f32_to_f16(-middle), 0x8000 | (h % 2 ? h + 1 : h));
    }
    assert_int_equal(ds4_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(ds4_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(ds4_f32_to_f16(3e38f), 0x7c00);
    assert_int_equal(ds4_f32_to_f16(-INFINITY), 0xfc00);
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = ds4_bf16_to_f32((uint16_t)h);
        if (!isnan(f)) assert_int_equal(ds4_f32_to_bf16(f), h);
    }
    assert_true(ds4_bf16_to_f32(0x3f81) == 1.0078125f);
    assert_int_equal(ds4_f32_to_bf16(of_bits(0x3f808000)), 0x3f80);     /* ties to even */
    assert_int_equal(ds4_f32_to_bf16(of_bits(0x3f818000)), 0x3f82);
    assert_int_equal(ds4_f32_to_bf16(of_bits(0x3f808001)), 0x3f81);
    assert_true(isnan(ds4_bf16_to_f32(ds4_f32_to_bf16(of_bits(0x7f800001)))));
}

static void test_e4m3_table(void **state)
{
    FILE *fp = fopen("tests/format/data/e4m3.csv", "r");
    char  line[128];
    int   n = 0;

    (void)state;
    assert_non_null(fp);
    while (fgets(line, sizeof line, fp)) {
        unsigned code = 0;
        char     value[64];
        if (sscanf(line, "%u,%63[^,\n]", &code, value) != 2) continue;         /* the heading */
        n++;
        const float want = strtof(value, NULL), got = ds4_e4m3_to_f32((uint8_t)code);
        assert_true(isnan(want) ? isnan(got) : bits_of(got) == bits_of(want));
    }
    fclose(fp);
    assert_int_equal(n, 256);
}

static void test_e4m3_anchors(void **state)
{
    (void)state;
    assert_true(ds4_e4m3_to_f32(0x7e) == 448);
    assert_true(ds4_e4m3_to_f32(0x01) == 0x1p-9f);
    assert_true(ds4_e4m3_to_f32(0xb8) == -1);
    assert_true(isnan(ds4_e4m3_to_f32(0x7f)) && isnan(ds4_e4m3_to_f32(0xff)));
}

static void test_e8m0(void **state)
{
    (void)state;
    for (int e = 0; e < 255; e++) assert_true(ds4_e8m0_to_f32((uint8_t)e) == ldexpf(1, e - 127));
    assert_int_equal(bits_of(ds4_e8m0_to_f32(0)), 0x00400000);
    assert_true(isnan(ds4_e8m0_to_f32(255)));
}

static void test_e2m1(void **state)
{
    static const float ties[][2] = { { 0.25f, 0 }, { 0.75f, 1 }, { 1.25f, 1 }, { 1.75f, 2 }, { 2.5f, 2 },
                                     { 3.5f, 4 }, { 5, 4 }, { 100, 6 }, { INFINITY, 6 } };

    (void)state;
    for (uint8_t c = 0; c < 16; c++) assert_int_equal(ds4_f32_to_e2m1(ds4_e2m1_to_f32(c)), c);
    for (size_t i = 0; i < sizeof ties / sizeof ties[0]; i++) {
        assert_true(ds4_e2m1_to_f32(ds4_f32_to_e2m1(ties[i][0])) == ties[i][1]);
        assert_true(ds4_e2m1_to_f32(ds4_f32_to_e2m1(-ties[i][0])) == -ties[i][1]);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_f16_comes_back),
    cmocka_unit_test(test_f16_rounds_to_nearest_even),
    cmocka_unit_test(test_bf16),
    cmocka_unit_test(test_e4m3_table),
    cmocka_unit_test(test_e4m3_anchors),
    cmocka_unit_test(test_e8m0),
    cmocka_unit_test(test_e2m1),
};

TEST_MAIN(tests)
