/* pick_test.c - one token from a row of logits: filters, masks, ties, log-probabilities, and
 * draws that follow the random number. */
#include "testing.h"

#include <math.h>

#include "backend/pick.h"
#include "base/rng.h"

enum { N = 100 };

static float         logits[N];
static ds4_candidate scratch[N];

static ds4_picked pick_of(const ds4_pick *pick)
{
    ds4_picked out;
    assert_true(ds4_pick_one(logits, N, pick, scratch, &out));
    return out;
}

static void fill(uint64_t seed)
{
    ds4_rng rng;

    ds4_rng_seed(&rng, seed);
    for (int i = 0; i < N; i++) logits[i] = (float)(8.0 * ds4_rng_uniform(&rng) - 4.0);
}

static void test_greedy_takes_the_lowest_of_equals(void **state)
{
    const ds4_pick greedy = { .u = 0.99 };
    const ds4_pick one = { .how = { .temperature = 1, .top_p = 1, .top_k = 1 }, .u = 0.99 };

    (void)state;
    fill(1);
    logits[70] = logits[30] = logits[90] = 9.0f;
    assert_int_equal(pick_of(&greedy).token, 30);
    assert_int_equal(pick_of(&one).token, 30);
}

/* The share of draws of each token, with u on a fine grid, is its probability. */
static void test_draws_follow_the_probabilities(void **state)
{
    enum { STEPS = 20000 };
    ds4_pick pick = { .how = { .temperature = 0.8f, .top_p = 1 } };
    uint32_t count[N] = { 0 };
    double   total = 0.0;

    (void)state;
    fill(2);
    for (int i = 0; i < STEPS; i++) {
        pick.u = (i + 0.5) / STEPS;
        count[pick_of(&pick).token]++;
    }
    for (int i = 0; i < N; i++) total += exp(logits[i] / 0.8);
    for (int i = 0; i < N; i++) {
        const double want = exp(logits[i] / 0.8) / total, found = (double)count[i] / STEPS;
        if (!(fabs(want - found) <= 2.0 / STEPS)) fail_msg("token %d: %g, expected %g", i, found, want);
    }
}

static void test_filters_leave_out_what_they_say(void **state)
{
    ds4_pick pick = { .how = { .temperature = 1, .top_p = 1, .top_k = 3 }, .u = 0.999999 };

    (void)state;
    for (int i = 0; i < N; i++) logits[i] = (float)-i;
    assert_int_equal(pick_of(&pick).token, 2);
    pick.how = (ds4_sampling){ .temperature = 1, .top_p = 1, .min_p = 0.1f };   /* e^-2 is above, e^-3 not */
    assert_int_equal(pick_of(&pick).token, 2);
    pick.how = (ds4_sampling){ .temperature = 1, .top_p = 0.8f };                  /* 0.632, 0.865 */
    assert_int_equal(pick_of(&pick).token, 1);
}

static void test_a_mask_allows_its_tokens_only(void **state)
{
    uint32_t mask[(N + 31) / 32] = { 0 };
    ds4_pick pick = { .how = { .temperature = 1.5f, .top_p = 1 }, .mask = mask };

    (void)state;
    fill(3);
    assert_int_equal(pick_of(&pick).token, -1);
    mask[1] = 1u << 5 | 1u << 9;
    mask[3] = 1u << 3;
    for (int i = 0; i < 100; i++) {
        pick.u = i / 100.0;
        const int32_t token = pick_of(&pick).token;
        if (token != 37 && token != 41 && token != 99) fail_msg("token %d is not allowed", token);
    }
    pick.how.temperature = 0;
    const int32_t best = logits[37] >= logits[41] ? 37 : 41;
    assert_int_equal(pick_of(&pick).token, logits[99] > logits[best] ? 99 : best);
}

static void test_log_probabilities_are_the_models(void **state)
{
    uint32_t       mask[(N + 31) / 32] = { 1u << 17 };
    const ds4_pick pick = { .how = { .temperature = 2, .top_p = 0.5f }, .mask = mask, .logprobs = true,
                            .n_top = 7 };
    double         total = 0.0;

    (void)state;
    fill(4);
    logits[50] = logits[20] = 5.0f;
    const ds4_picked p = pick_of(&pick);
    for (int i = 0; i < N; i++) total += exp(logits[i]);
    assert_int_equal(p.token, 17);
    assert_float_equal(p.logprob, logits[17] - log(total), 1e-5);
    assert_int_equal(p.n_top, 7);
    assert_int_equal(p.top[0].id, 20);
    assert_int_equal(p.top[1].id, 50);
    for (uint32_t i = 0; i < p.n_top; i++) {
        uint32_t n_above = 0;
        for (int j = 0; j < N; j++) n_above += logits[j] > logits[p.top[i].id];
        assert_true(n_above <= i);
        assert_float_equal(p.top[i].value, logits[p.top[i].id] - log(total), 1e-5);
    }
}

static void test_what_is_not_finite_is_refused(void **state)
{
    const ds4_pick greedy = { .u = 0 };
    ds4_picked     out;

    (void)state;
    fill(5);
    logits[99] = NAN;
    assert_false(ds4_pick_one(logits, N, &greedy, scratch, &out));
    assert_int_equal(out.token, -1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_greedy_takes_the_lowest_of_equals),
    cmocka_unit_test(test_draws_follow_the_probabilities),
    cmocka_unit_test(test_filters_leave_out_what_they_say),
    cmocka_unit_test(test_a_mask_allows_its_tokens_only),
    cmocka_unit_test(test_log_probabilities_are_the_models),
    cmocka_unit_test(test_what_is_not_finite_is_refused),
};

TEST_MAIN(tests)
