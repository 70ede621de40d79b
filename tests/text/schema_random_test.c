/* schema_random_test.c - schemas at random: each is taken or refused in bounded time, and what a
 * grammar writes fits the schema that it was made from, by a check that shares nothing with it
 * but the reading of keywords. */
#include "random_schema.h"

#include "text/grammar.h"

#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MOST_MS = 2000 };
#else
enum { MOST_MS = 200 };
#endif

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* Write at random until the end; false when it became too long. */
static bool write_answer(ds4_rng *r, const ds4_grammar *g, ds4_str *out)
{
    static const char closing[] = "\"]}0123456789 e";
    ds4_grammar_walk *w = NULL;
    bool              ended = false;

    ds4_str_truncate(out, 0);
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    for (int i = 0; i < 2000 && !ended; i++) {
        const bool close = below(r, 3) == 0 || i > 300;
        char       byte = 0;
        bool       fits = false;
        for (size_t k = 0; close && closing[k] && !fits; k++) {
            byte = closing[(k + below(r, 2)) % (sizeof closing - 1)];
            fits = ds4_grammar_fits(w, (ds4_slice){ &byte, 1 }, false);
        }
        for (uint32_t k = 0, from = below(r, 256); k < 256 && !fits; k++) {
            byte = (char)((from + k) % 256);
            fits = ds4_grammar_fits(w, (ds4_slice){ &byte, 1 }, false);
        }
        ended = ds4_grammar_may_end(w) && (!fits || below(r, 2) == 0);
        /* From every place an end can be reached. */
        if (!fits && !ended) fail_msg("stuck behind %s", ds4_str_text(out));
        if (ended) break;
        assert_true(ds4_grammar_take(w, (ds4_slice){ &byte, 1 }, false));
        ds4_str_add_char(out, byte);
    }
    ds4_grammar_walk_free(w);
    return ended;
}

static void check_answers(uint64_t seed, const char *schema, const ds4_grammar *g, uint32_t *n)
{
    ds4_str answer = { 0 }, both = { 0 };
    ds4_rng r;

    ds4_rng_seed(&r, seed);
    for (int i = 0; i < 4; i++) {
        if (!write_answer(&r, g, &answer)) continue;
        if (ds4_pyjson_check((ds4_slice){ ds4_str_text(&answer), answer.n_bytes }, NULL) !=
            DS4_OK) {
            fail_msg("%s gave %s, which is no JSON", schema, ds4_str_text(&answer));
        }
        put_value(schema, (ds4_slice){ ds4_str_text(&answer), answer.n_bytes }, &both);
        if (!fits_schema(ds4_str_text(&both))) {
            fail_msg("seed %llu: %s gave %s", (unsigned long long)seed, schema,
                     ds4_str_text(&answer));
        }
        ++*n;
    }
    ds4_str_clear(&answer);
    ds4_str_clear(&both);
}

static void test_random_schemas_in_bounded_time(void **state)
{
    const char *more = getenv("DS4_RANDOM_SCHEMAS");
    const long  n = more ? atol(more) : 10000;
    double      most = 0;
    uint32_t    n_taken = 0, n_answers = 0;
    ds4_str     text = { 0 };

    (void)state;
    for (long i = 0; i < n; i++) {
        const bool                strict = i % 4 != 0;
        const ds4_grammar_options opt = { .strict = strict };
        ds4_grammar              *g = NULL;
        ds4_err                   err = { .code = DS4_OK };
        make_schema((uint64_t)i, "", &text);
        const double     begin = cpu_ms();
        const ds4_status st = ds4_grammar_from_schema(
            (ds4_slice){ ds4_str_text(&text), text.n_bytes }, &opt, &g, &err);
        const double took = cpu_ms() - begin;
        most = took > most ? took : most;
        if (took > MOST_MS) fail_msg("%.0f ms for %s", took, ds4_str_text(&text));
        if (st != DS4_OK) {
            assert_true(err.text[0] != '\0');
            continue;
        }
        n_taken++;
        if (strict) check_answers((uint64_t)i, ds4_str_text(&text), g, &n_answers);
        ds4_grammar_free(g);
    }
    print_message("# %ld schemas, %u taken, %u answers fit, at most %.1f ms\n", n, n_taken,
                  n_answers, most);
    assert_true(n_taken > n / 4 && n_answers > n / 4);
    ds4_str_clear(&text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_random_schemas_in_bounded_time),
};

TEST_MAIN(tests)
