/* suffix_index_test.c - the longest end that a text had before, against looking everywhere. */
#include "testing.h"

#include "base/rng.h"
#include "service/suffix_index.h"

enum { LONGEST = 700 };

/* Whether the last len tokens of text[n] stand before `end` too. */
static bool stands_before(const int32_t *text, uint32_t n, uint32_t end, uint32_t len)
{
    return end >= len && end < n && !memcmp(text + end - len, text + n - len, len * sizeof *text);
}

static uint32_t longest_match(const int32_t *text, uint32_t n)
{
    uint32_t best = 0;

    for (uint32_t end = 1; end < n; end++) {
        while (stands_before(text, n, end, best + 1)) best++;
    }
    return best;
}

/* Texts of few and of many different tokens, random and periodic. */
static void test_matches_are_the_longest(void **state)
{
    ds4_rng rng;

    (void)state;
    ds4_rng_seed(&rng, 11);
    for (uint32_t round = 0; round < 24; round++) {
        const uint32_t n_tokens = 1 + round % 6 * round, period = round % 3 == 2 ? 7 + round : 0;
        suffix_index   x = { .max_tokens = LONGEST };
        int32_t        text[LONGEST];
        for (uint32_t n = 0; n < LONGEST; n++) {
            text[n] = (int32_t)(ds4_rng_next(&rng) % n_tokens);
            if (period && n >= period && ds4_rng_next(&rng) % 20 > 0) text[n] = text[n - period];
            suffix_index_add(&x, text[n]);
            uint32_t       end = 0;
            const uint32_t len = suffix_index_match(&x, &end);
            assert_int_equal(len, longest_match(text, n + 1));
            if (len > 0) assert_true(stands_before(text, n + 1, end, len));
        }
        suffix_index_clear(&x);
    }
}

/* Behind its limit the index knows the newer part of the text, half of the limit at least. */
static void test_the_older_half_goes(void **state)
{
    enum { LIMIT = 128, N = 3000 };
    suffix_index x = { .max_tokens = LIMIT };
    int32_t     *text = malloc(N * sizeof *text);
    ds4_rng      rng;

    (void)state;
    ds4_rng_seed(&rng, 5);
    for (uint32_t n = 0; n < N; n++) {
        text[n] = (int32_t)(ds4_rng_next(&rng) % 9);
        suffix_index_add(&x, text[n]);
        assert_true(x.n_text <= LIMIT && (n + 1 < LIMIT / 2 || x.n_text >= LIMIT / 2));
        const int32_t *known = text + n + 1 - x.n_text;
        assert_memory_equal(known, x.text, x.n_text * sizeof *text);
        uint32_t       end = 0;
        const uint32_t len = suffix_index_match(&x, &end);
        assert_int_equal(len, longest_match(known, x.n_text));
        if (len > 0) assert_true(stands_before(known, x.n_text, end, len));
    }
    suffix_index_clear(&x);
    suffix_index_add(&x, text[0]);
    uint32_t end;
    assert_int_equal(suffix_index_match(&x, &end), 0);
    suffix_index_clear(&x);
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_matches_are_the_longest),
    cmocka_unit_test(test_the_older_half_goes),
};

TEST_MAIN(tests)
