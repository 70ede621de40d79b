/* blocks_test.c - the small number formats against their definition, found by trying every
 * code. The kernels share these functions, so comparing kernels cannot find a fault here. */
#include "testing.h"

#include "base/rng.h"
#include "kernels/blocks.h"
#include "kernels/kernels.h"

enum { N_RANDOM = 200000 };

/* The code whose value is nearest to |v|, the even one of two; codes 0..n-1 ascend. */
static unsigned nearest_code(double v, unsigned n, float (*value)(unsigned code))
{
    unsigned best = 0;
    for (unsigned c = 1; c < n; c++) {
        const double now = fabs(v - value(best)), next = fabs(v - value(c));
        if (next < now || (next == now && c % 2 == 0)) best = c;
    }
    return best;
}

static float e4m3_value(unsigned c)
{
    const int exp = (int)(c >> 3), frac = (int)(c & 7);
    return exp ? ldexpf(8.0f + (float)frac, exp - 10) : ldexpf((float)frac, -9);
}

static float e2m1_value(unsigned c)
{
    static const float value[8] = { 0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f };
    return value[c];
}

static float half_value(unsigned c)
{
    const int exp = (int)(c >> 10), frac = (int)(c & 1023);
    return exp ? ldexpf(1024.0f + (float)frac, exp - 25) : ldexpf((float)frac, -24);
}

static float random_magnitude(ds4_rng *rng, int low_exp, int high_exp)
{
    const int exp = low_exp + (int)(ds4_rng_next(rng) % (uint64_t)(high_exp - low_exp));
    return ldexpf(1.0f + (float)ds4_rng_uniform(rng), exp);
}

/* Every value, every midpoint, and the floats on both sides of each. */
static void check_around(unsigned n, float (*value)(unsigned code), unsigned (*encode)(float v))
{
    for (unsigned c = 0; c + 1 < n; c++) {
        const float at[2] = { value(c), 0.5f * (value(c) + value(c + 1)) };
        for (int i = 0; i < 2; i++) {
            const float v[3] = { at[i], nextafterf(at[i], 1e30f),
                                 at[i] > 0.0f ? nextafterf(at[i], 0.0f) : 0.0f };
            for (int j = 0; j < 3; j++)
                assert_int_equal(encode(v[j]), nearest_code(v[j], n, value));
        }
    }
}

static unsigned encode_e4m3(float v)
{
    return float_to_e4m3(v);
}

static unsigned encode_e2m1(float v)
{
    return float_to_e2m1(v);
}

static void test_e4m3_rounds_to_nearest_even(void **state)
{
    ds4_rng rng = { { 1, 2, 3, 4 } };

    (void)state;
    check_around(127, e4m3_value, encode_e4m3);
    for (int i = 0; i < N_RANDOM / 20; i++) {
        const float    v = random_magnitude(&rng, -14, 12);
        const unsigned c = nearest_code(v, 127, e4m3_value);        /* beyond 448: the last */
        assert_int_equal(float_to_e4m3(v), c);
        assert_int_equal(float_to_e4m3(-v), c | 0x80);
        assert_true(e4m3_to_float((uint8_t)c) == e4m3_value(c));
    }
}

static void test_e2m1_rounds_to_nearest_even(void **state)
{
    ds4_rng rng = { { 1, 2, 3, 5 } };

    (void)state;
    check_around(8, e2m1_value, encode_e2m1);
    for (int i = 0; i < N_RANDOM; i++) {
        const float    v = random_magnitude(&rng, -6, 5);
        const unsigned c = nearest_code(v, 8, e2m1_value);
        assert_int_equal(float_to_e2m1(v), c);
        assert_int_equal(float_to_e2m1(-v), c | 8);
        assert_true(e2m1_to_float(c | 8) == -e2m1_value(c) &&
                    e2m1_twice(c) == 2.0f * e2m1_value(c));
    }
}

/* Against the two halves around the value, which the bits give. */
static void test_half_rounds_to_nearest_even(void **state)
{
    ds4_rng rng = { { 1, 2, 3, 6 } };

    (void)state;
    for (int i = 0; i < N_RANDOM; i++) {
        const float v = random_magnitude(&rng, -27, 15);
        unsigned low = 0, high = 0x7bff;
        while (high - low > 1) {
            const unsigned middle = (low + high) / 2;
            if (half_value(middle) <= v) low = middle;
            else high = middle;
        }
        const double below = (double)v - half_value(low), above = (double)half_value(high) - v;
        const unsigned want = below < above || (below == above && low % 2 == 0) ? low : high;
        assert_int_equal(float_to_half(v), want);
        assert_int_equal(float_to_half(-v), want | 0x8000);
    }
    assert_int_equal(float_to_half(65519.0f), 0x7bff);
    assert_int_equal(float_to_half(65520.0f), 0x7c00);
    assert_int_equal(float_to_half(INFINITY), 0x7c00);
    assert_true(isnan(half_to_float(float_to_half(NAN))));
}

/* The scale is the smallest power of two that keeps amax inside the format's range. */
static void check_scale(const ds4_kernels *k, float amax, bool kv)
{
    float   x[64] = { 0.0f };
    uint8_t row[80];
    const double limit = kv ? 448.0 : 6.0, least = kv ? 1e-4f : 6.0 * 0x1p-126;

    x[17] = -amax;
    if (kv) k->kv_pack(row, x, 64, 0);
    else k->index_pack(row, x, 64);
    const double scale = ldexp(1.0, row[kv ? 64 : 32] - 127);
    const double need = fmax(amax, least) / limit;
    assert_true(scale >= need && scale < 2.0 * need);
}

static void test_scales_round_up_to_a_power_of_two(void **state)
{
    ds4_rng     rng = { { 1, 2, 3, 7 } };
    ds4_kernels k;

    (void)state;
    ds4_kernels_init(&k, 0);
    for (int e = -30; e < 100; e++) {
        for (int kv = 0; kv < 2; kv++) {
            const float at = ldexpf(kv ? 448.0f : 6.0f, e);
            check_scale(&k, at, kv);
            check_scale(&k, nextafterf(at, 1e38f), kv);
            check_scale(&k, nextafterf(at, 0.0f), kv);
            for (int i = 0; i < 20; i++) check_scale(&k, random_magnitude(&rng, e, e + 1), kv);
        }
    }
    check_scale(&k, 0.0f, true);
    check_scale(&k, 0.0f, false);
}

static void test_scales_of_e8m0(void **state)
{
    (void)state;
    for (int e = 0; e < 255; e++) assert_true(e8m0_to_float((uint8_t)e) == ldexpf(1.0f, e - 127));
    assert_true(isnan(e8m0_to_float(255)));
}

static void test_row_sizes(void **state)
{
    (void)state;
    assert_int_equal(ds4_kv_row_bytes(448, 64), 584);
    assert_int_equal(ds4_kv_row_bytes(32, 32), 40 + 64);
    assert_int_equal(ds4_index_row_bytes(128), 68);
    assert_int_equal(ds4_index_row_bytes(64), 34);
    assert_int_equal(ds4_act_bytes(DS4_ACT_Q32, 4096), 128 * 36);
    assert_int_equal(ds4_act_bytes(DS4_ACT_Q256, 4096), 16 * 292);
    assert_int_equal(ds4_act_bytes(DS4_ACT_F32, 4096), 4096 * 4);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_e4m3_rounds_to_nearest_even),
    cmocka_unit_test(test_e2m1_rounds_to_nearest_even),
    cmocka_unit_test(test_half_rounds_to_nearest_even),
    cmocka_unit_test(test_scales_round_up_to_a_power_of_two),
    cmocka_unit_test(test_scales_of_e8m0),
    cmocka_unit_test(test_row_sizes),
};
TEST_MAIN(tests)
