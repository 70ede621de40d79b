/* vocab_test.c - vocabularies good and bad, and the tokenizer.json they come from. */
#include "text_golden.h"

#include "small_vocab.h"

static ds4_status create(const ds4_slice *tokens, const int32_t *types, uint32_t n, ds4_vocab **v,
                         ds4_err *err)
{
    const ds4_vocab_source src = {
        .tokens = tokens, .types = types, .n_tokens = n, .bos_id = -1, .eos_id = -1
    };
    return ds4_vocab_create(&src, v, err);
}

static void test_small_vocabulary(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    const ds4_specials *s = ds4_vocab_specials(v);
    assert_int_equal(ds4_vocab_size(v), SMALL_N);
    assert_int_equal(s->bos, SMALL_BOS);
    assert_int_equal(s->dsml, SMALL_DSML);
    assert_int_equal(s->fim_end, SMALL_FIM_END);
    assert_int_equal(s->system, -1);
    assert_int_equal(ds4_vocab_find(v, "<｜User｜>"), SMALL_USER);
    assert_int_equal(ds4_vocab_find(v, "abc"), SMALL_ABC);
    assert_int_equal(ds4_vocab_find(v, " "), ' ');
    assert_int_equal(ds4_vocab_find(v, "abcd"), -1);
    assert_int_equal(ds4_vocab_find(v, ""), -1);
    assert_true(ds4_vocab_is_special(v, SMALL_THINK) && !ds4_vocab_is_special(v, SMALL_ABC));
    assert_true(ds4_vocab_is_end(v, SMALL_EOS) && ds4_vocab_is_end(v, SMALL_EOT) &&
                !ds4_vocab_is_end(v, -1));
    assert_int_equal(ds4_vocab_check_chat(v, NULL), DS4_OK);
    ds4_vocab_free(v);
}

static void test_ids_outside_are_empty(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    assert_int_equal(ds4_vocab_token_bytes(v, -1).n_bytes, 0);
    assert_int_equal(ds4_vocab_token_bytes(v, SMALL_N).n_bytes, 0);
    assert_int_equal(ds4_vocab_token_type(v, INT32_MAX), DS4_TOKEN_UNUSED);
    assert_false(ds4_vocab_is_special(v, SMALL_N));
    ds4_vocab_free(v);
}

static void test_plain_vocabulary_opens(void **state)
{
    (void)state;
    const ds4_slice tokens[] = { DS4_SLICE("t0"), DS4_SLICE("t1"), DS4_SLICE(""), DS4_SLICE("t1") };
    ds4_vocab *v;
    ds4_err    err;
    assert_int_equal(create(tokens, NULL, 4, &v, &err), DS4_OK);
    assert_int_equal(ds4_vocab_find(v, "t1"), 1);
    assert_int_equal(ds4_vocab_token_bytes(v, 3).n_bytes, 2);
    assert_int_equal(ds4_vocab_specials(v)->bos, -1);
    assert_int_equal(ds4_vocab_check_chat(v, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "begin▁of▁sentence"));
    ds4_vocab_free(v);
}

static void test_types_are_told_from_spelling(void **state)
{
    (void)state;
    const ds4_slice tokens[] = { DS4_SLICE("Ġa"), DS4_SLICE("<think>"), DS4_SLICE("<｜action｜>"),
                                 DS4_SLICE("<｜end▁of▁sentence｜>") };
    ds4_vocab *v;
    assert_int_equal(create(tokens, NULL, 4, &v, NULL), DS4_OK);
    assert_int_equal(ds4_vocab_find(v, " a"), 0);
    assert_int_equal(ds4_vocab_token_type(v, 0), DS4_TOKEN_NORMAL);
    assert_int_equal(ds4_vocab_token_type(v, 1), DS4_TOKEN_USER);
    assert_int_equal(ds4_vocab_token_type(v, 2), DS4_TOKEN_USER);
    assert_int_equal(ds4_vocab_token_type(v, 3), DS4_TOKEN_CONTROL);
    ds4_vocab_free(v);
}

/* The special token is preferred, the normal one still takes part in merges. */
static void test_same_text_twice(void **state)
{
    (void)state;
    const ds4_slice tokens[] = { DS4_SLICE("a"), DS4_SLICE("b"), DS4_SLICE("ab"), DS4_SLICE("ab"),
                                 DS4_SLICE("ab") };
    const int32_t   types[] = { 1, 1, 1, 4, 1 };
    const ds4_slice merges[] = { DS4_SLICE("a b"), DS4_SLICE("a b"), DS4_SLICE("x y") };
    const ds4_vocab_source src = { tokens, types, 5, merges, 3, -1, -1 };
    ds4_vocab *v;
    ds4_tokens t = { 0 };
    assert_int_equal(ds4_vocab_create(&src, &v, NULL), DS4_OK);
    assert_int_equal(ds4_vocab_find(v, "ab"), 3);
    assert_int_equal(ds4_vocab_encode(v, "ab", 2, 0, &t, NULL), DS4_OK);
    assert_int_equal(ds4_vocab_encode(v, "ab", 2, DS4_ENCODE_SPECIALS, &t, NULL), DS4_OK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.ids[0], 2);
    assert_int_equal(t.ids[1], 3);
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

static void test_bad_sources_are_refused(void **state)
{
    (void)state;
    const ds4_slice tokens[] = { DS4_SLICE("a"), DS4_SLICE("b") };
    const int32_t   bad_type[] = { 1, 9 };
    const char *const bad_merges[] = { "", " ", "ab", "a ", " b", "a b c", "a  b" };
    ds4_vocab *v = NULL;
    ds4_err    err;

    assert_int_equal(create(tokens, NULL, 0, &v, &err), DS4_E_FORMAT);
    assert_int_equal(create(tokens, bad_type, 2, &v, &err), DS4_E_FORMAT);
    assert_non_null(strstr(err.text, "token 1: type 9"));
    for (size_t i = 0; i < sizeof bad_merges / sizeof bad_merges[0]; i++) {
        const ds4_slice merge = { bad_merges[i], strlen(bad_merges[i]) };
        const ds4_vocab_source src = { tokens, NULL, 2, &merge, 1, -1, -1 };
        assert_int_equal(ds4_vocab_create(&src, &v, &err), DS4_E_FORMAT);
        assert_non_null(strstr(err.text, "merge 0"));
    }
    const ds4_vocab_source bad_bos = { tokens, NULL, 2, NULL, 0, 2, -1 };
    assert_int_equal(ds4_vocab_create(&bad_bos, &v, &err), DS4_E_FORMAT);
    char *big = calloc(1, DS4_VOCAB_MAX_TOKEN_BYTES + 1);
    const ds4_slice long_token = { big, DS4_VOCAB_MAX_TOKEN_BYTES + 1 };
    assert_int_equal(create(&long_token, NULL, 1, &v, &err), DS4_E_FORMAT);
    free(big);
    assert_null(v);
}

/* ---- tokenizer.json ---- */

static void test_tokenizer_json(void **state)
{
    (void)state;
    const ds4_slice text = DS4_SLICE(
        "{\"added_tokens\": [{\"id\": 5, \"content\": \"<think>\", \"special\": false},"
        "{\"id\": 6, \"content\": \"<｜end▁of▁sentence｜>\", \"special\": true}],"
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2, \"aba\": 3},"
        "\"merges\": [\"a b\", [\"ab\", \"a\"]]}}");
    ds4_vocab_json j = { 0 };
    ds4_vocab *v;
    ds4_tokens t = { 0 };
    ds4_err    err;

    assert_int_equal(ds4_vocab_json_read("t.json", text, &j, &err), DS4_OK);
    assert_int_equal(j.source.n_tokens, 7);
    assert_int_equal(j.types[4], DS4_TOKEN_UNUSED);
    assert_int_equal(j.types[5], DS4_TOKEN_USER);
    assert_int_equal(j.types[6], DS4_TOKEN_CONTROL);
    assert_true(ds4_slice_eq(j.tokens[4], DS4_SLICE("[PAD4]")));
    assert_int_equal(ds4_vocab_create(&j.source, &v, &err), DS4_OK);
    ds4_vocab_json_clear(&j);
    assert_int_equal(ds4_vocab_encode(v, "aba<think>", 10, DS4_ENCODE_SPECIALS, &t, NULL), DS4_OK);
    assert_int_equal(t.n, 2);
    assert_int_equal(t.ids[0], 3);
    assert_int_equal(ds4_vocab_specials(v)->eos, 6);
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

static void test_bad_tokenizer_json(void **state)
{
    (void)state;
    static const char *const BAD[] = {
        "",
        "[",
        "[]",
        "{}",
        "{\"model\": 3}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": {}}}",
        "{\"model\": {\"type\": \"Unigram\", \"vocab\": {}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"vocab\": {}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"0\"}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [3]}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}",
        "{\"added_tokens\": [{\"id\": 0}],\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        ds4_vocab_json j = { 0 };
        ds4_err err;
        assert_true(ds4_vocab_json_read("t.json", (ds4_slice){ BAD[i], strlen(BAD[i]) }, &j,
                                        &err) != DS4_OK);
        assert_int_equal(strncmp(err.text, "t.json", 6), 0);
        assert_null(j.tokens);
    }
}

static void test_reference_vocabulary(void **state)
{
    (void)state;
    ds4_vocab *v = golden_vocab();
    ds4_err    err;
    assert_int_equal(ds4_vocab_size(v), 129280);
    if (ds4_vocab_check_chat(v, &err) != DS4_OK) fail_msg("%s", err.text);
    const ds4_specials *s = ds4_vocab_specials(v);
    const ds4_specials  expected = { 0,      1,      128803, 128804, 128821, 128822, 128825,
                                     128828, 128801, 128800, 128802, 128805, -1 };
    assert_memory_equal(s, &expected, sizeof expected);
    assert_int_equal(ds4_vocab_find(v, " Hello"), 45948);
    assert_int_equal(ds4_vocab_token_type(v, 128000), DS4_TOKEN_CONTROL);
    assert_int_equal(ds4_vocab_token_type(v, 128821), DS4_TOKEN_USER);
    ds4_vocab_free(v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_small_vocabulary),
    cmocka_unit_test(test_ids_outside_are_empty),
    cmocka_unit_test(test_plain_vocabulary_opens),
    cmocka_unit_test(test_types_are_told_from_spelling),
    cmocka_unit_test(test_same_text_twice),
    cmocka_unit_test(test_bad_sources_are_refused),
    cmocka_unit_test(test_tokenizer_json),
    cmocka_unit_test(test_bad_tokenizer_json),
    cmocka_unit_test(test_reference_vocabulary),
};
TEST_MAIN(tests)
