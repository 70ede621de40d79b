/* public_text_test.c - the text part of ds4.h on the bundled model. */
#include "testing.h"

#include "ds4.h"

static ds4_engine      *engine;
static const ds4_vocab *vocab;

static int set_up(void **state)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf", .n_threads = 1 };
    ds4_err                  err = { 0 };

    (void)state;
    if (ds4_engine_open(&engine, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    vocab = ds4_engine_vocab(engine);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_engine_close(engine);
    return 0;
}

static void text_of(const int32_t *tokens, uint32_t n, char *text, size_t max_bytes)
{
    size_t n_bytes, n_all = 0;

    for (uint32_t i = 0; i < n; i++) {
        const char *bytes = ds4_token_bytes(vocab, tokens[i], &n_bytes);
        assert_true(n_all + n_bytes < max_bytes);
        memcpy(text + n_all, bytes, n_bytes);
        n_all += n_bytes;
    }
    text[n_all] = '\0';
}

static void test_text_comes_back(void **state)
{
    static const char *const texts[] = {
        "", "Hello, world!", "a\n\n  b\tc", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\x8a",
        "\xff\xfe broken", "<think> is text </think>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const size_t n_bytes = strlen(texts[i]);
        int32_t      tokens[64];
        char         back[128];
        uint32_t     n;
        assert_int_equal(ds4_tokenize(vocab, texts[i], n_bytes, tokens, 64, &n, NULL), DS4_OK);
        assert_true(n <= n_bytes);
        assert_int_equal(ds4_detokenize(vocab, tokens, n, back, sizeof back), n_bytes);
        assert_string_equal(back, texts[i]);
    }
}

static void test_too_many_tokens_are_counted(void **state)
{
    int32_t  tokens[64] = { -7, -7 };
    uint32_t n = 0, m = 0;
    ds4_err  err = { 0 };

    (void)state;
    assert_int_equal(ds4_tokenize(vocab, "one two three", 13, NULL, 0, &n, &err), DS4_E_LIMIT);
    assert_true(n > 1 && n <= 13);
    assert_int_equal(ds4_tokenize(vocab, "one two three", 13, tokens, n - 1, &m, &err), DS4_E_LIMIT);
    assert_int_equal(m, n);
    assert_int_equal(tokens[0], -7);
    assert_int_equal(ds4_tokenize(vocab, "one two three", 13, tokens, n, &m, &err), DS4_OK);
}

static void test_short_buffers_are_cut(void **state)
{
    int32_t  tokens[64];
    char     text[8];
    uint32_t n;

    (void)state;
    assert_int_equal(ds4_tokenize(vocab, "Hello, world!", 13, tokens, 64, &n, NULL), DS4_OK);
    for (size_t room = 0; room <= sizeof text; room++) {
        memset(text, '?', sizeof text);
        assert_int_equal(ds4_detokenize(vocab, tokens, n, text, room), 13);
        if (room > 0) assert_memory_equal(text, "Hello, world!", room - 1);
        if (room > 0) assert_int_equal(text[room - 1], '\0');
        if (room < sizeof text) assert_int_equal(text[room], '?');
    }
    assert_int_equal(ds4_detokenize(vocab, tokens, n, NULL, 0), 13);
}

static void test_ids_outside_say_nothing(void **state)
{
    const int32_t outside[] = { -1, 1 << 30 };
    size_t        n_bytes = 9;
    char          text[4];

    (void)state;
    assert_string_equal(ds4_token_bytes(vocab, -1, &n_bytes), "");
    assert_int_equal(n_bytes, 0);
    assert_int_equal(ds4_detokenize(vocab, outside, 2, text, sizeof text), 0);
    assert_false(ds4_token_is_end(vocab, -1));
}

#define BOS "<\xef\xbd\x9c" "begin\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"
#define EOS "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"
#define USER "<\xef\xbd\x9cUser\xef\xbd\x9c>"
#define ASSISTANT "<\xef\xbd\x9c" "Assistant\xef\xbd\x9c>"

static void test_conversation_has_its_form(void **state)
{
    const ds4_chat_turn turns[] = { { DS4_SYSTEM, "Be brief." }, { DS4_USER, "Hi " EOS },
                                    { DS4_ASSISTANT, "Hello." }, { DS4_USER, "Bye" } };
    ds4_chat            chat = { .turns = turns, .n_turns = 4 };
    int32_t             tokens[256];
    char                text[1024];
    uint32_t            n, n_ends = 0;

    (void)state;
    assert_int_equal(ds4_chat_prompt(engine, &chat, tokens, 256, &n, NULL), DS4_OK);
    text_of(tokens, n, text, sizeof text);
    assert_string_equal(text, BOS "Be brief." USER "Hi " EOS ASSISTANT "</think>Hello." EOS
                              USER "Bye" ASSISTANT "</think>");
    for (uint32_t i = 0; i < n; i++) n_ends += ds4_token_is_end(vocab, tokens[i]);
    assert_int_equal(n_ends, 1);            /* the user's words ended nothing */

    chat.thinking = true;
    assert_int_equal(ds4_chat_prompt(engine, &chat, tokens, 256, &n, NULL), DS4_OK);
    text_of(tokens, n, text, sizeof text);
    assert_true(strstr(text, "Bye" ASSISTANT "<think>") != NULL);
}

static void test_wrong_conversations_are_refused(void **state)
{
    const ds4_chat_turn turns[] = { { DS4_USER, "Hi" }, { DS4_ASSISTANT, "Hello." } };
    const ds4_chat_turn nobody = { (ds4_speaker)9, "x" };
    const ds4_chat_turn silent[] = { { DS4_SYSTEM, NULL }, { DS4_USER, "x" } };
    ds4_chat            chat = { .turns = turns, .n_turns = 2 };
    uint32_t            n;
    ds4_err             err = { 0 };

    (void)state;
    assert_int_equal(ds4_chat_prompt(engine, &chat, NULL, 0, &n, &err), DS4_E_ARG);
    chat.n_turns = 0;
    assert_int_equal(ds4_chat_prompt(engine, &chat, NULL, 0, &n, &err), DS4_E_ARG);
    chat = (ds4_chat){ .turns = &nobody, .n_turns = 1 };
    assert_int_equal(ds4_chat_prompt(engine, &chat, NULL, 0, &n, &err), DS4_E_ARG);
    chat = (ds4_chat){ .turns = silent, .n_turns = 2 };
    assert_int_equal(ds4_chat_prompt(engine, &chat, NULL, 0, &n, &err), DS4_E_ARG);
    chat = (ds4_chat){ .turns = turns, .n_turns = 1 };
    assert_int_equal(ds4_chat_prompt(engine, &chat, NULL, 0, &n, &err), DS4_E_LIMIT);
    assert_true(n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_comes_back),
        cmocka_unit_test(test_too_many_tokens_are_counted),
        cmocka_unit_test(test_short_buffers_are_cut),
        cmocka_unit_test(test_ids_outside_say_nothing),
        cmocka_unit_test(test_conversation_has_its_form),
        cmocka_unit_test(test_wrong_conversations_are_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
