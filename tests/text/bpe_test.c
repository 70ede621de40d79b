/* bpe_test.c - text to tokens and back: the reference rows, any bytes, and long words. */
#include "text_golden.h"

#include "base/clock.h"
#include "base/rng.h"
#include "small_vocab.h"

static void encode(const ds4_vocab *v, ds4_slice text, unsigned flags, ds4_tokens *out)
{
    ds4_err err;
    out->n = 0;
    if (ds4_vocab_encode(v, text.data, text.n_bytes, flags, out, &err) != DS4_OK) {
        fail_msg("%s", err.text);
    }
}

static bool decodes_to(const ds4_vocab *v, const ds4_tokens *t, ds4_slice text)
{
    ds4_str back = { 0 };
    ds4_vocab_decode(v, t->ids, t->n, 0, &back);
    const bool same = ds4_slice_eq((ds4_slice){ back.data, back.n_bytes }, text);
    ds4_str_clear(&back);
    return same;
}

/* ---- a small vocabulary, always there ---- */

static void expect_ids(const ds4_vocab *v, ds4_slice text, unsigned flags, const int32_t *ids,
                       uint32_t n)
{
    ds4_tokens t = { 0 };
    encode(v, text, flags, &t);
    assert_int_equal(t.n, n);
    if (n) assert_memory_equal(t.ids, ids, n * sizeof *ids);
    assert_true(decodes_to(v, &t, text));
    ds4_tokens_clear(&t);
}

#define EXPECT_IDS(v, text, flags, ...)                                                         \
    expect_ids((v), DS4_SLICE(text), (flags), (const int32_t[]){ __VA_ARGS__ },                 \
               sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

static void test_lowest_rank_merges_first(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    EXPECT_IDS(v, "ab", 0, SMALL_AB);
    EXPECT_IDS(v, "abc", 0, SMALL_ABC);
    EXPECT_IDS(v, "bc", 0, SMALL_BC);
    EXPECT_IDS(v, "aabc", 0, 'a', SMALL_ABC);
    EXPECT_IDS(v, "xyz", 0, 'x', 'y', 'z');
    expect_ids(v, DS4_SLICE(""), 0, NULL, 0);
    ds4_vocab_free(v);
}

static void test_ties_go_to_the_left(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    EXPECT_IDS(v, "aaa", 0, SMALL_AA, 'a');
    EXPECT_IDS(v, "aaaaa", 0, SMALL_AA, SMALL_AA, 'a');
    ds4_vocab_free(v);
}

static void test_zero_bytes_are_text(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    EXPECT_IDS(v, "ab\0ab", 0, SMALL_AB, 0, SMALL_AB);
    EXPECT_IDS(v, "\0", 0, 0);
    ds4_vocab_free(v);
}

static void test_specials_only_when_asked(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    EXPECT_IDS(v, "ab<think>ab", DS4_ENCODE_SPECIALS, SMALL_AB, SMALL_THINK, SMALL_AB);
    EXPECT_IDS(v, "<think>", 0, '<', 't', 'h', 'i', 'n', 'k', '>');
    EXPECT_IDS(v, "<<think><thin", DS4_ENCODE_SPECIALS, '<', SMALL_THINK, '<', 't', 'h', 'i', 'n');
    EXPECT_IDS(v, "<think>er", DS4_ENCODE_SPECIALS, SMALL_THINKER);
    ds4_vocab_free(v);
}

static void test_missing_byte_is_an_error(void **state)
{
    (void)state;
    const ds4_slice tokens[] = { DS4_SLICE("a"), DS4_SLICE("t17") };
    const ds4_vocab_source src = { .tokens = tokens, .n_tokens = 2, .bos_id = -1, .eos_id = -1 };
    ds4_vocab *v;
    ds4_err    err;
    ds4_tokens t = { 0 };
    assert_int_equal(ds4_vocab_create(&src, &v, &err), DS4_OK);
    assert_int_equal(ds4_vocab_encode(v, "ab", 2, 0, &t, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "0x62"));
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

/* Random letters a..c in words of any length: the heap and the short scan must agree with
 * merging pair by pair, written here as plainly as it can be. */
static void merge_plainly(int32_t *ids, uint32_t *n)
{
    static const int32_t MERGES[][3] = SMALL_MERGES;
    for (;;) {
        uint32_t best = UINT32_MAX, place = 0;
        for (uint32_t i = 0; i + 1 < *n; i++) {
            for (uint32_t m = 0; m < sizeof MERGES / sizeof MERGES[0]; m++) {
                if (ids[i] != MERGES[m][0] || ids[i + 1] != MERGES[m][1] || m >= best) continue;
                best = m;
                place = i;
            }
        }
        if (best == UINT32_MAX) return;
        ids[place] = MERGES[best][2];
        memmove(ids + place + 1, ids + place + 2, (*n - place - 2) * sizeof *ids);
        --*n;
    }
}

static void test_merging_equals_the_definition(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    ds4_tokens t = { 0 };
    ds4_rng    rng;
    ds4_rng_seed(&rng, 7);
    for (int round = 0; round < 400; round++) {
        char     word[120];
        int32_t  ids[120];
        uint32_t n = 1 + (uint32_t)(ds4_rng_next(&rng) % sizeof word);
        for (uint32_t i = 0; i < n; i++) ids[i] = word[i] = (char)('a' + ds4_rng_next(&rng) % 3);
        encode(v, (ds4_slice){ word, n }, 0, &t);
        merge_plainly(ids, &n);
        assert_int_equal(t.n, n);
        assert_memory_equal(t.ids, ids, n * sizeof *ids);
    }
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

static void test_random_bytes_come_back(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    ds4_tokens t = { 0 };
    ds4_rng    rng;
    ds4_rng_seed(&rng, 11);
    for (int round = 0; round < 300; round++) {
        char data[300];
        const size_t n = ds4_rng_next(&rng) % sizeof data;
        for (size_t i = 0; i < n; i++) data[i] = (char)(ds4_rng_next(&rng) >> 40);
        encode(v, (ds4_slice){ data, n }, round & 1, &t);
        assert_true(decodes_to(v, &t, (ds4_slice){ data, n }));
    }
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

/* ---- the real vocabulary ---- */

typedef struct golden {
    ds4_vocab *v;
    ds4_tokens t;
} golden;

static void check_row(const json_t *row, void *ctx)
{
    golden *g = ctx;
    const ds4_slice text = golden_string(json_object_get(row, "text"));
    const json_t *ids = json_object_get(row, "ids"), *plain = json_object_get(row, "ids_plain");

    encode(g->v, text, DS4_ENCODE_SPECIALS, &g->t);
    golden_same_ids(&g->t, ids, text.data);
    assert_true(decodes_to(g->v, &g->t, text));
    encode(g->v, text, 0, &g->t);
    golden_same_ids(&g->t, plain ? plain : ids, text.data);
    assert_true(decodes_to(g->v, &g->t, text));
}

static void test_reference_rows(void **state)
{
    (void)state;
    golden g = { golden_vocab(), { 0 } };
    assert_int_equal(golden_rows("tokenizer_golden.jsonl", check_row, &g), 262);
    ds4_tokens_clear(&g.t);
    ds4_vocab_free(g.v);
}

static double megabytes_per_second(const ds4_vocab *v, ds4_slice text)
{
    ds4_tokens t = { 0 };
    const uint64_t begin = ds4_now_ns();
    encode(v, text, 0, &t);
    const double seconds = (double)(ds4_now_ns() - begin) * 1e-9;
    assert_true(decodes_to(v, &t, text));
    ds4_tokens_clear(&t);
    return (double)text.n_bytes / 1e6 / seconds;
}

static void add_api_prompt(const json_t *row, void *ctx)
{
    const ds4_slice prompt = golden_string(json_object_get(row, "prompt"));
    ds4_str_add(ctx, prompt.data, prompt.n_bytes);
}

/* Prints the speed; fails only when a text takes as long as something quadratic would. */
static void test_speed_of_real_text(void **state)
{
    (void)state;
    ds4_vocab *v = golden_vocab();
    ds4_str    spec = { 0 }, mixed = { 0 }, english = { 0 };

    golden_rows("official_api_cases.jsonl", add_api_prompt, &english);
    assert_int_equal(ds4_file_read("docs/MODEL.md", 1 << 20, &spec, NULL), DS4_OK);
    while (mixed.n_bytes < 4u << 20) ds4_str_add(&mixed, spec.data, spec.n_bytes);
    const double prose = megabytes_per_second(v, (ds4_slice){ english.data, english.n_bytes });
    const double document = megabytes_per_second(v, (ds4_slice){ spec.data, spec.n_bytes });
    const double repeated = megabytes_per_second(v, (ds4_slice){ mixed.data, mixed.n_bytes });
    print_message("# MB/s: prose %.1f, a document %.1f, repeated to 4 MB %.1f\n", prose, document,
                  repeated);
    assert_true(document > 0.2);
    ds4_str_clear(&english);
    ds4_str_clear(&spec);
    ds4_str_clear(&mixed);
    ds4_vocab_free(v);
}

static void test_long_words_take_no_quadratic_time(void **state)
{
    (void)state;
    ds4_vocab *v = golden_vocab();
    const size_t n = 1u << 20;
    char *word = malloc(n);
    ds4_rng rng;

    assert_non_null(word);
    ds4_rng_seed(&rng, 3);
    memset(word, 'a', n);
    const double same = megabytes_per_second(v, (ds4_slice){ word, n });
    for (size_t i = 0; i < n; i++) word[i] = (char)('a' + ds4_rng_next(&rng) % 26);
    const double letters = megabytes_per_second(v, (ds4_slice){ word, n });
    memset(word, ' ', n);
    const double spaces = megabytes_per_second(v, (ds4_slice){ word, n });
    for (size_t i = 0; i < n; i++) word[i] = (char)(ds4_rng_next(&rng) >> 40);
    const double noise = megabytes_per_second(v, (ds4_slice){ word, n });
    print_message("# MB/s: one letter %.2f, random letters %.2f, spaces %.2f, random bytes %.2f\n",
                  same, letters, spaces, noise);
    assert_true(same > 0.05 && letters > 0.05 && spaces > 0.05 && noise > 0.05);
    free(word);
    ds4_vocab_free(v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_lowest_rank_merges_first),
    cmocka_unit_test(test_ties_go_to_the_left),
    cmocka_unit_test(test_zero_bytes_are_text),
    cmocka_unit_test(test_specials_only_when_asked),
    cmocka_unit_test(test_missing_byte_is_an_error),
    cmocka_unit_test(test_merging_equals_the_definition),
    cmocka_unit_test(test_random_bytes_come_back),
    cmocka_unit_test(test_reference_rows),
    cmocka_unit_test(test_speed_of_real_text),
    cmocka_unit_test(test_long_words_take_no_quadratic_time),
};
TEST_MAIN(tests)
