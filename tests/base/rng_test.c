/* rng_test.c - the generator gives the published numbers, on every machine. */
#include "testing.h"

#include "base/rng.h"

/* The state 1, 2, 3, 4: the test vector that implementations of xoshiro256** share. */
static void test_small_state_gives_known_numbers(void **state)
{
    static const uint64_t expected[] = {
        11520, 0, 1509978240, 1215971899390074240u, 1216172134540287360u, 607988272756665600u,
        16172922978634559625u, 8476171486693032832u, 10595114339597558777u, 2904607092377533576u,
    };
    ds4_rng rng = { { 1, 2, 3, 4 } };

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(ds4_rng_next(&rng) == expected[i]);
    }
}

/* Computed in exact integers by a program that shares nothing with this one. */
static void test_seed_gives_known_numbers(void **state)
{
    static const struct {
        uint64_t seed, first_state, last_state, first, second, number_1000;
    } cases[] = {
        { 0, 0xe220a8397b1dcdaf, 0xf88bb8a8724c81ec,
          0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x7aac8c483a2edd2f },
        { 1, 0x910a2dec89025cc1, 0x71c18690ee42c90b,
          0xb3f2af6d0fc710c5, 0x853b559647364cea, 0xb8517c33c344d153 },
        { 42, 0xbdd732262feb6e95, 0x581ce1ff0e4ae394,
          0x15780b2e0c2ec716, 0x6104d9866d113a7e, 0x8de5848c61ab8968 },
        { UINT64_MAX, 0xe4d971771b652c20, 0x6d1db36ccba982d2,
          0x8f5520d52a7ead08, 0xc476a018caa1802d, 0xc3c93ea5cde434cc },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t last = 0;
        ds4_rng  rng;

        ds4_rng_seed(&rng, cases[i].seed);
        assert_true(rng.state[0] == cases[i].first_state);
        assert_true(rng.state[3] == cases[i].last_state);
        assert_true(ds4_rng_next(&rng) == cases[i].first);
        assert_true(ds4_rng_next(&rng) == cases[i].second);
        for (int n = 3; n <= 1000; n++) last = ds4_rng_next(&rng);
        assert_true(last == cases[i].number_1000);
    }
}

static void test_uniform_is_the_upper_53_bits(void **state)
{
    ds4_rng a, b;

    (void)state;
    ds4_rng_seed(&a, 7);
    b = a;
    for (int i = 0; i < 1000; i++) {
        const double u = ds4_rng_uniform(&a);
        assert_true(u >= 0 && u < 1);
        assert_true(u * 0x1p53 == (double)(ds4_rng_next(&b) >> 11));
    }
}

static void test_uniform_fills_the_interval(void **state)
{
    enum { N = 100000, N_BINS = 10 };
    int     bins[N_BINS] = { 0 };
    ds4_rng rng;

    (void)state;
    ds4_rng_seed(&rng, 2024);
    for (int i = 0; i < N; i++) bins[(int)(ds4_rng_uniform(&rng) * N_BINS)]++;
    /* Standard deviation of a bin is 95. */
    for (int i = 0; i < N_BINS; i++) {
        assert_true(bins[i] >= N / N_BINS - 500);
        assert_true(bins[i] <= N / N_BINS + 500);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_small_state_gives_known_numbers),
    cmocka_unit_test(test_seed_gives_known_numbers),
    cmocka_unit_test(test_uniform_is_the_upper_53_bits),
    cmocka_unit_test(test_uniform_fills_the_interval),
};
TEST_MAIN(tests)
