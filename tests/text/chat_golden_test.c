/* chat_golden_test.c - rendered conversations are those of the official encoder, byte for
 * byte and token for token. Needs the reference data. */
#include "chat_json.h"

typedef struct golden {
    ds4_vocab *v;
    chat_json  chat;
} golden;

static void render(chat_json *c, ds4_segments *out)
{
    ds4_err err;
    if (ds4_chat_render(c->messages, c->n_messages, &c->opt, out, &err) != DS4_OK) {
        fail_msg("%s", err.text);
    }
}

static void expect_text(const ds4_segments *s, ds4_slice expected, const char *name)
{
    const ds4_slice got = ds4_segments_text(s);
    if (ds4_slice_eq(got, expected)) return;
    size_t i = 0;
    while (i < got.n_bytes && i < expected.n_bytes && got.data[i] == expected.data[i]) i++;
    fail_msg("%s: differs from byte %zu on: found \"%.60s\", expected \"%.60s\"", name, i,
             got.data + i, expected.data + i);
}

static void check_prompt(const json_t *row, void *ctx)
{
    golden     *g = ctx;
    const char *name = json_string_value(json_object_get(row, "name"));
    ds4_segments s = { 0 };
    ds4_tokens   t = { 0 };
    ds4_err      err;

    chat_json_read(&g->chat, json_object_get(row, "args"));
    render(&g->chat, &s);
    const ds4_slice text = golden_string(json_object_get(row, "rendered"));
    expect_text(&s, text, name);
    assert_int_equal(ds4_segments_encode(g->v, &s, &t, &err), DS4_OK);
    golden_same_ids(&t, json_object_get(row, "ids"), name);

    size_t n_bytes;
    assert_int_equal(ds4_segments_match(g->v, &s, t.ids, t.n, &n_bytes), t.n);
    assert_int_equal(n_bytes, text.n_bytes);
    ds4_tokens_clear(&t);
    ds4_segments_clear(&s);
    chat_json_clear(&g->chat);
}

static void test_reference_prompts(void **state)
{
    (void)state;
    golden g = { .v = golden_vocab() };
    assert_int_equal(golden_rows("prompt_golden.jsonl", check_prompt, &g), 28);
    ds4_vocab_free(g.v);
}

static void check_fixture(int number, bool thinking)
{
    char input[64], output[64];
    ds4_str in = { 0 }, expected = { 0 };
    ds4_segments s = { 0 };
    chat_json c;

    snprintf(input, sizeof input, "official_encoding_fixtures/test_input_%d.json", number);
    snprintf(output, sizeof output, "official_encoding_fixtures/test_output_%d.txt", number);
    golden_file(input, &in);
    golden_file(output, &expected);
    json_t *root = json_loadb(in.data, in.n_bytes, 0, NULL);
    json_t *args = json_is_array(root) ? json_pack("{s:O}", "messages", root) : json_incref(root);
    assert_non_null(args);
    chat_json_read(&c, args);
    c.opt.thinking = thinking;
    render(&c, &s);
    expect_text(&s, (ds4_slice){ expected.data, expected.n_bytes }, input);
    ds4_segments_clear(&s);
    chat_json_clear(&c);
    json_decref(args);
    json_decref(root);
    ds4_str_clear(&in);
    ds4_str_clear(&expected);
}

static void test_official_fixtures(void **state)
{
    (void)state;
    check_fixture(1, true);
    check_fixture(2, true);
    check_fixture(3, true);
    check_fixture(4, false);
}

static void check_api_case(const json_t *row, void *ctx)
{
    golden *g = ctx;
    const ds4_message      m = { .role = DS4_ROLE_USER,
                                 .content = golden_string(json_object_get(row, "prompt")) };
    const ds4_chat_options opt = { .thinking = false };
    ds4_segments s = { 0 };
    ds4_tokens   t = { 0 };
    ds4_err      err;

    assert_int_equal(ds4_chat_render(&m, 1, &opt, &s, &err), DS4_OK);
    assert_int_equal(ds4_segments_encode(g->v, &s, &t, &err), DS4_OK);
    assert_int_equal(t.n, json_integer_value(json_object_get(row, "official_prompt_tokens")));
    if (json_object_get(row, "ids")) golden_same_ids(&t, json_object_get(row, "ids"), "API case");
    ds4_tokens_clear(&t);
    ds4_segments_clear(&s);
}

static void test_billed_prompt_tokens(void **state)
{
    (void)state;
    golden g = { .v = golden_vocab() };
    assert_int_equal(golden_rows("official_api_cases.jsonl", check_api_case, &g), 5);
    ds4_vocab_free(g.v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reference_prompts),
    cmocka_unit_test(test_official_fixtures),
    cmocka_unit_test(test_billed_prompt_tokens),
};
TEST_MAIN(tests)
