/* resume_test.c - prompts that were met before: in the session, in memory, on disk after a
 * restart, with tokens as they were sampled; and prompts that only look so. */
#include "testing.h"

#include "base/rng.h"
#include "service/conversation.h"
#include "service/model_open.h"
#include "support/kv_dir.h"

static ds4_model model;
static char      dir[256];

static int open_model(void **state)
{
    const ds4_engine_options opt = { .model_path = "tests/golden/flashlike.gguf", .n_threads = 1 };
    ds4_err                  err = { .code = DS4_OK };

    (void)state;
    kv_dir_name(dir, "kv_resume");
    return ds4_model_open(&opt, &model, &err) == DS4_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    ds4_model_close(&model);
    kv_dir_remove(dir);
    return 0;
}

static ds4_resume *open_resume(bool on_disk, uint64_t mem_bytes)
{
    const ds4_resume_options opt = { .engine = model.engine, .mem_bytes = mem_bytes,
                                     .dir = on_disk ? dir : NULL, .min_tokens = 128 };
    ds4_resume              *r = NULL;
    ds4_err                  err = { .code = DS4_OK };

    if (ds4_resume_create(&opt, &r, &err) != DS4_OK) fail_msg("%s", err.text);
    return r;
}

/* ---- conversations ---------------------------------------------------------------------------- */

enum { N_CTX = 8192 };

static ds4_conversation *begin(ds4_resume *r)
{
    ds4_conversation *c = NULL;

    assert_int_equal(DS4_OK, ds4_conversation_create(model.engine, N_CTX, model.protocol, &c, NULL));
    if (r) ds4_conversation_use(c, r);
    return c;
}

static void add(ds4_conversation *c, ds4_role role, const char *text)
{
    assert_int_equal(DS4_OK, ds4_history_add_text(ds4_conversation_history(c), role,
                                                  (ds4_slice){ text, strlen(text) }, NULL));
}

static void copy_history(ds4_conversation *to, ds4_conversation *from, uint32_t n)
{
    const ds4_history *h = ds4_conversation_history(from);

    for (uint32_t i = 0; i < n && i < h->n; i++) {
        assert_int_equal(DS4_OK, ds4_history_add(ds4_conversation_history(to), &h->messages[i], NULL));
    }
}

/* Answers greedily and in few tokens. Returns how many tokens were there already. */
static uint32_t reply(ds4_conversation *c, bool thinking, uint32_t max_tokens)
{
    ds4_rng        rng;
    ds4_err        err = { .code = DS4_OK };
    const ds4_turn turn = { .chat = { .thinking = thinking }, .sampling = { .top_p = 1 }, .rng = &rng,
                            .max_tokens = max_tokens };

    ds4_rng_seed(&rng, 1);
    if (ds4_conversation_reply(c, &turn, &err) != DS4_OK) fail_msg("%s", err.text);
    return ds4_conversation_stats(c)->n_cached;
}

static char *words(uint32_t n, uint64_t seed)
{
    static const char *const word[] = { "house ", "cat ", "and ", "green ", "12 ", "went.\n" };
    char   *text = malloc(n * 8 + 1);
    size_t  at = 0;
    ds4_rng rng;

    ds4_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < n; i++) {
        const char *w = word[ds4_rng_next(&rng) % 6];
        memcpy(text + at, w, strlen(w));
        at += strlen(w);
    }
    text[at] = '\0';
    return text;
}

/* The last answer equals that of a conversation which knows nothing. */
static void assert_equals_cold(ds4_conversation *c, bool thinking, uint32_t max_tokens)
{
    ds4_conversation *cold = begin(NULL);

    copy_history(cold, c, ds4_conversation_history(c)->n - 1);
    assert_int_equal(0, reply(cold, thinking, max_tokens));
    const ds4_reply_result *a = ds4_conversation_result(c), *b = ds4_conversation_result(cold);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_true(ds4_slice_eq(a->content, b->content));
    assert_true(ds4_slice_eq(a->reasoning, b->reasoning));
    ds4_conversation_free(cold);
}

static void test_the_second_time_is_instant(void **state)
{
    char *text = words(500, 3);

    (void)state;
    kv_dir_remove(dir);
    for (int round = 0; round < 3; round++) {
        ds4_resume       *r = open_resume(true, 0);
        ds4_conversation *c = begin(r);
        add(c, DS4_ROLE_SYSTEM, "Be brief.");
        add(c, DS4_ROLE_USER, text);
        const uint32_t n_cached = reply(c, false, 8), n = ds4_conversation_stats(c)->n_prompt;
        if (round == 0) assert_int_equal(0, n_cached);
        else assert_true(n - n_cached <= DS4_EVEN);
        assert_equals_cold(c, false, 8);
        ds4_conversation_free(c);
        ds4_resume_free(r);
    }
    free(text);
}

/* A new conversation with the same system prompt begins at its end, also tomorrow. */
static void test_a_system_prompt_is_read_once(void **state)
{
    char *system = words(400, 4);

    (void)state;
    kv_dir_remove(dir);
    for (int round = 0; round < 4; round++) {
        ds4_resume       *r = open_resume(true, 0);
        ds4_conversation *c = begin(r);
        char              question[32];
        snprintf(question, sizeof question, "%d and %d?", round, round * 7);
        add(c, DS4_ROLE_SYSTEM, system);
        add(c, DS4_ROLE_USER, question);
        const uint32_t n_cached = reply(c, true, 8), n = ds4_conversation_stats(c)->n_prompt;
        if (round > 0) assert_true(n_cached > 0 && n - n_cached < 2 * DS4_EVEN);
        assert_equals_cold(c, true, 8);
        ds4_conversation_free(c);
        ds4_resume_free(r);
    }
    free(system);
}

/* The next turn after a restart finds what was sampled, although the text that comes back
 * would be encoded in another way. */
static void test_sampled_tokens_are_found_again(void **state)
{
    char *text = words(300, 5);

    (void)state;
    kv_dir_remove(dir);
    ds4_resume       *r = open_resume(true, 0);
    ds4_conversation *c = begin(r);
    add(c, DS4_ROLE_USER, text);
    reply(c, false, 200);
    const uint32_t held = ds4_conversation_pos(c);
    ds4_conversation *later = begin(NULL);
    copy_history(later, c, 2);
    ds4_conversation_free(c);
    ds4_resume_free(r);

    r = open_resume(true, 0);
    ds4_conversation_use(later, r);
    add(later, DS4_ROLE_USER, "And?");
    const uint32_t n_cached = reply(later, false, 8);
    /* Noise may be no text: what a repaired text does not show cannot be found. */
    if (n_cached + DS4_EVEN < held) print_message("# %u of %u tokens\n", n_cached, held);
    assert_true(n_cached > 0);
    ds4_conversation_free(later);
    ds4_resume_free(r);
    free(text);
}

/* Two conversations on one session's memory: each finds its own place again. */
static void test_two_conversations_take_turns(void **state)
{
    char             *first = words(200, 6), *second = words(220, 7);
    ds4_resume       *r = open_resume(false, 0);
    ds4_conversation *talk = begin(r), *a = begin(NULL), *b = begin(NULL);

    (void)state;
    add(a, DS4_ROLE_USER, first);
    add(b, DS4_ROLE_USER, second);
    for (int round = 0; round < 4; round++) {
        ds4_conversation *now = round % 2 ? b : a;
        ds4_history_truncate(ds4_conversation_history(talk), 0);
        copy_history(talk, now, UINT32_MAX);
        const uint32_t n_cached = reply(talk, false, 5), n = ds4_conversation_stats(talk)->n_prompt;
        if (round >= 2) assert_true(n - n_cached < 64);
        assert_equals_cold(talk, false, 5);
        ds4_history_truncate(ds4_conversation_history(now), 0);
        copy_history(now, talk, UINT32_MAX);
        add(now, DS4_ROLE_USER, "Go on.");
    }
    ds4_conversation_free(talk);
    ds4_conversation_free(a);
    ds4_conversation_free(b);
    ds4_resume_free(r);
    free(first);
    free(second);
}

/* Edited and asked again: the place before the edit is known. */
static void test_an_edited_message(void **state)
{
    char             *text = words(200, 8);
    ds4_resume       *r = open_resume(false, 0);
    ds4_conversation *c = begin(r);

    (void)state;
    add(c, DS4_ROLE_USER, text);
    reply(c, false, 6);
    const uint32_t held = ds4_conversation_pos(c);
    add(c, DS4_ROLE_USER, "A question that will be changed.");
    reply(c, false, 6);
    ds4_history_truncate(ds4_conversation_history(c), 2);
    add(c, DS4_ROLE_USER, "Another question.");
    const uint32_t again = reply(c, false, 6);
    assert_true(again + 16 >= held);
    assert_equals_cold(c, false, 6);
    /* And the same once more: everything but the last token is there. */
    ds4_history_truncate(ds4_conversation_history(c), 3);
    const uint32_t repeated = reply(c, false, 6);
    assert_int_equal(ds4_conversation_stats(c)->n_prompt - 1, repeated);
    ds4_conversation_free(c);
    ds4_resume_free(r);
    free(text);
}

/* A prompt that begins like another but goes on inside a word must not inherit the cut. */
static void test_a_longer_word_is_not_resumed_inside(void **state)
{
    ds4_resume       *r = open_resume(false, 0);
    ds4_conversation *c = begin(r);
    char              text[700];

    (void)state;
    for (int n = 500; n < 520; n++) {
        memset(text, 'a', sizeof text);
        text[n] = '\0';
        ds4_history_truncate(ds4_conversation_history(c), 0);
        add(c, DS4_ROLE_USER, text);
        reply(c, false, 4);
        assert_equals_cold(c, false, 4);
    }
    ds4_conversation_free(c);
    ds4_resume_free(r);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static void test_memory_stays_within_its_budget(void **state)
{
    const uint64_t    most = 1 << 20;
    ds4_resume       *r = open_resume(false, most);
    ds4_conversation *c = begin(r);

    (void)state;
    for (int i = 0; i < 12; i++) {
        char *text = words(300, 100 + (uint64_t)i);
        ds4_history_truncate(ds4_conversation_history(c), 0);
        add(c, DS4_ROLE_USER, text);
        reply(c, false, 4);
        assert_true(ds4_kept_bytes(ds4_resume_kept(r)) <= most);
        free(text);
    }
    assert_true(ds4_kept_n(ds4_resume_kept(r)) > 0);
    ds4_conversation_free(c);
    ds4_resume_free(r);
}

/* An idle session gives its blocks back, and comes back. */
static void test_a_parked_session(void **state)
{
    ds4_kept    *k = NULL;
    ds4_session *s = NULL;
    int32_t      tokens[700];
    ds4_err      err;

    (void)state;
    for (int i = 0; i < 700; i++) tokens[i] = 'a' + i % 23;
    assert_int_equal(DS4_OK, ds4_kept_create(model.engine, 1 << 24, &k, &err));
    assert_int_equal(DS4_OK, ds4_session_create(model.engine, 1024, &s, &err));
    const ds4_prefill fill = { .tokens = tokens, .n_tokens = 700 };
    assert_int_equal(DS4_OK, ds4_session_prefill(s, &fill, &err));
    assert_int_equal(0, ds4_kept_bytes(k));
    ds4_kept_add(k, s, DS4_KEPT_TURN);
    const uint64_t tail = ds4_kept_bytes(k);
    ds4_session_clear(s);
    assert_int_equal(0, ds4_session_pos(s));
    assert_true(ds4_kept_bytes(k) > tail);              /* the blocks are now kept alone */
    const ds4_snapshot *p = ds4_kept_find(k, tokens, 700, 700, true);
    assert_non_null(p);
    assert_int_equal(DS4_OK, ds4_session_restore(s, p, &err));
    assert_int_equal(700, ds4_session_pos(s));
    assert_int_equal(tail, ds4_kept_bytes(k));
    assert_null(ds4_kept_find(k, tokens, 700, 699, true));
    ds4_session_free(s);
    ds4_kept_free(k);
    assert_int_equal(0, ds4_engine_kept_bytes(model.engine));
}

/* The only one of its branch outlives one with a longer sibling. */
static void test_who_leaves_first(void **state)
{
    ds4_kept    *k = NULL;
    ds4_session *s = NULL;
    int32_t      tokens[256];
    ds4_err      err;

    (void)state;
    for (int i = 0; i < 256; i++) tokens[i] = 'a' + i % 23;
    assert_int_equal(DS4_OK, ds4_session_create(model.engine, 1024, &s, &err));
    ds4_prefill fill = { .tokens = tokens, .n_tokens = 10 };
    assert_int_equal(DS4_OK, ds4_session_prefill(s, &fill, &err));
    ds4_snapshot *p = NULL;
    assert_int_equal(DS4_OK, ds4_session_snapshot(s, &p, &err));
    /* Room for three of about this size. */
    assert_int_equal(DS4_OK, ds4_kept_create(model.engine, 4 * ds4_snapshot_bytes(p), &k, &err));
    ds4_kept_give(k, p, DS4_KEPT_TURN);                 /* 10 tokens, alone on its branch */
    ds4_session_clear(s);
    tokens[0] = 'z';
    for (int i = 0; i < 3; i++) {
        fill = (ds4_prefill){ .tokens = tokens + 10 * i, .n_tokens = 10 };
        assert_int_equal(DS4_OK, ds4_session_prefill(s, &fill, &err));
        ds4_kept_add(k, s, DS4_KEPT_TURN);
    }
    tokens[0] = 'a';
    assert_non_null(ds4_kept_find(k, tokens, 256, 256, false));
    tokens[0] = 'z';
    p = (ds4_snapshot *)(uintptr_t)ds4_kept_find(k, tokens, 256, 256, false);
    assert_int_equal(30, ds4_snapshot_pos(p));
    ds4_session_free(s);
    ds4_kept_free(k);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_second_time_is_instant),
    cmocka_unit_test(test_a_system_prompt_is_read_once),
    cmocka_unit_test(test_sampled_tokens_are_found_again),
    cmocka_unit_test(test_two_conversations_take_turns),
    cmocka_unit_test(test_an_edited_message),
    cmocka_unit_test(test_a_longer_word_is_not_resumed_inside),
    cmocka_unit_test(test_memory_stays_within_its_budget),
    cmocka_unit_test(test_a_parked_session),
    cmocka_unit_test(test_who_leaves_first),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_model, close_model);
}
