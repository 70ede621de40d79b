/* token_weights_test.c - biases and penalties are added to the logits of the tokens they are for. */
#include "testing.h"

#include "service/token_weights.h"

enum { N_VOCAB = 5 };

static const float logits[N_VOCAB] = { 1, -2, 3, 0.5f, 0 };

static void apply(const ds4_penalties *p, const int32_t *written, uint32_t n_written, const float *expected)
{
    ds4_token_weights *w = NULL;

    assert_int_equal(DS4_OK, ds4_token_weights_create(p, N_VOCAB, &w, NULL));
    assert_non_null(w);
    for (uint32_t i = 0; i < n_written; i++) ds4_token_weights_note(w, written[i]);
    const float *got = ds4_token_weights_apply(w, logits);
    for (uint32_t i = 0; i < N_VOCAB; i++) {
        if (!(got[i] - expected[i] <= 1e-6f && expected[i] - got[i] <= 1e-6f))
            fail_msg("token %u: %g, expected %g", i, (double)got[i], (double)expected[i]);
    }
    ds4_token_weights_free(w);
}

static const int32_t written[] = { 2, 2, 1, -1, 99 };   /* the last two are no tokens */

static void test_frequency_and_presence(void **state)
{
    (void)state;
    apply(&(ds4_penalties){ .frequency = 0.5f }, written, 5, (const float[]){ 1, -2.5f, 2, 0.5f, 0 });
    apply(&(ds4_penalties){ .presence = -1 }, written, 5, (const float[]){ 1, -1, 4, 0.5f, 0 });
    apply(&(ds4_penalties){ .frequency = 0.5f, .presence = 1 }, written, 5,
          (const float[]){ 1, -3.5f, 1, 0.5f, 0 });
}

static void test_repetition(void **state)
{
    (void)state;
    apply(&(ds4_penalties){ .repetition = 2 }, written, 5, (const float[]){ 1, -4, 1.5f, 0.5f, 0 });
}

static void test_bias(void **state)
{
    const ds4_token_bias bias[] = { { 0, -100 }, { 4, 7 }, { 5, 3 }, { -1, 3 } };

    (void)state;
    apply(&(ds4_penalties){ .bias = bias, .n_bias = 4 }, NULL, 0, (const float[]){ -99, -2, 3, 0.5f, 7 });
}

static void test_nothing_is_asked_for(void **state)
{
    ds4_token_weights *w = (ds4_token_weights *)state;

    const ds4_penalties none = { .repetition = 1 };
    assert_int_equal(DS4_OK, ds4_token_weights_create(&none, N_VOCAB, &w, NULL));
    assert_null(w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_frequency_and_presence),
    cmocka_unit_test(test_repetition),
    cmocka_unit_test(test_bias),
    cmocka_unit_test(test_nothing_is_asked_for),
};

TEST_MAIN(tests)
