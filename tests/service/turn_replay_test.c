/* turn_replay_test.c - a turn is recognised by a call's id or by its conversation, only with
 * the same visible text, and forgotten in order of use. */
#include "testing.h"

#include "service/turn_replay.h"
#include "support/kv_dir.h"

#define TEXT(s) DS4_SLICE(s)

static const ds4_call call = { .id = { "call_1", 6 },
                               .name = { "f", 1 },
                               .arguments = { "{\"a\": 1}", 8 } };

static ds4_message sampled(void)
{
    return (ds4_message){ .role = DS4_ROLE_ASSISTANT,
                          .content = TEXT("Look.\n"),
                          .reasoning = TEXT("why"),
                          .raw_calls = TEXT("RAW"),
                          .calls = &call,
                          .n_calls = 1 };
}

static const ds4_replay_scope mine = { .n_models = 1 };

static ds4_texts *open_texts(const char *dir, uint64_t mem_bytes, uint32_t max_keys)
{
    const ds4_texts_options opt = { .dir = dir, .mem_bytes = mem_bytes, .max_keys = max_keys };
    ds4_texts              *t = NULL;
    ds4_err                 err = { .code = DS4_OK };

    if (ds4_texts_open(&t, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return t;
}

static void keep(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, const ds4_message *m)
{
    static const int32_t tokens[3] = { 7, 100000, 3 };
    ds4_replay_keep(t, scope, key, m, tokens, 3, TEXT(""));
}

static bool finds_as(ds4_texts *t, const ds4_replay_scope *scope, uint64_t key, ds4_slice content,
                     const char *id, const char *arguments)
{
    const ds4_call    c = { .id = { id, strlen(id) },
                            .name = TEXT("f"),
                            .arguments = { arguments, strlen(arguments) } };
    const ds4_message m = {
        .role = DS4_ROLE_ASSISTANT, .content = content, .calls = &c, .n_calls = 1
    };
    ds4_replayed out;

    if (!ds4_replay_find(t, scope, key, &m, &out)) return false;
    assert_true(ds4_slice_eq(out.reasoning, TEXT("why")));
    assert_true(ds4_slice_eq(out.content, TEXT("Look.\n")));
    assert_true(ds4_slice_eq(out.raw_calls, TEXT("RAW")));
    assert_int_equal(3, out.n_tokens);
    assert_int_equal(100000, out.tokens[1]);
    free(out.block);
    return true;
}

static bool finds(ds4_texts *t, uint64_t key, ds4_slice content, const char *id, const char *arguments)
{
    return finds_as(t, &mine, key, content, id, arguments);
}

static void test_by_id_and_by_conversation(void **state)
{
    const ds4_message m = sampled();
    ds4_texts        *t = open_texts(NULL, 1 << 20, 0);

    (void)state;
    keep(t, &mine, 77, &m);
    assert_true(finds(t, 1, TEXT("Look."), "call_1", "{\"a\":1}"));
    assert_true(finds(t, 77, TEXT(" Look.\n"), "call_9", "{ \"a\" : 1 }"));
    assert_false(finds(t, 1, TEXT("Look."), "call_9", "{\"a\":1}"));
    assert_false(finds(t, 77, TEXT("Look!"), "call_1", "{\"a\":1}"));
    assert_false(finds(t, 77, TEXT("Look."), "call_1", "{\"a\":2}"));
    ds4_texts_close(t);
}

/* Neither another key's client nor another model gets it; a model that has a second name does. */
static void test_of_its_owner_and_model(void **state)
{
    const ds4_message      m = sampled();
    const ds4_replay_scope other = { .owner = { { 1 } }, .n_models = 1 };
    const ds4_replay_scope model = { .model = { { { 2 } } }, .n_models = 1 };
    const ds4_replay_scope both = { .model = { { { 2 } } }, .n_models = 2 };
    ds4_texts             *t = open_texts(NULL, 1 << 20, 0);

    (void)state;
    keep(t, &mine, 77, &m);
    assert_true(finds_as(t, &mine, 77, TEXT("Look."), "call_1", "{\"a\":1}"));
    assert_false(finds_as(t, &other, 77, TEXT("Look."), "call_1", "{\"a\":1}"));
    assert_false(finds_as(t, &model, 77, TEXT("Look."), "call_1", "{\"a\":1}"));
    assert_true(finds_as(t, &both, 77, TEXT("Look."), "call_1", "{\"a\":1}"));
    ds4_texts_close(t);
}

static void test_key_is_of_what_clients_send(void **state)
{
    ds4_message user = { .role = DS4_ROLE_USER, .content = TEXT("hi") };
    ds4_message system = { .role = DS4_ROLE_SYSTEM, .content = TEXT("today is Monday") };
    ds4_message answer = sampled(), other = sampled();

    (void)state;
    other.reasoning = TEXT("");
    other.content = TEXT("Look.");
    const uint64_t key = ds4_replay_key(ds4_replay_key(0, &user), &answer);
    assert_true(key == ds4_replay_key(ds4_replay_key(ds4_replay_key(0, &system), &user), &other));
    user.content = TEXT("ho");
    assert_true(key != ds4_replay_key(ds4_replay_key(0, &user), &answer));
}

static void test_forgets_in_order_of_use(void **state)
{
    (void)state;
    for (int by_keys = 0; by_keys < 2; by_keys++) {
        ds4_message m = sampled();
        ds4_texts  *t = by_keys ? open_texts(NULL, 1 << 20, 20) : open_texts(NULL, 4096, 0);
        ds4_call    c = call;
        char        id[24];
        m.calls = &c;
        for (int i = 0; i < 100; i++) {
            snprintf(id, sizeof id, "call_%d", i);
            c.id = (ds4_slice){ id, strlen(id) };
            keep(t, &mine, (uint64_t)i + 1000, &m);
            assert_true(finds(t, 0, TEXT("Look."), "call_0", "{\"a\":1}"));
            assert_true(ds4_texts_bytes(t) <= (by_keys ? 20000 : 4096));
        }
        assert_true(finds(t, 0, TEXT("Look."), "call_99", "{\"a\":1}"));
        assert_false(finds(t, 0, TEXT("Look."), "call_5", "{\"a\":1}"));
        ds4_texts_close(t);
    }
}

static void test_a_folder_outlives_it(void **state)
{
    const ds4_message m = sampled();
    char              dir[256];

    (void)state;
    kv_dir_name(dir, "turns");
    ds4_texts *t = open_texts(dir, 1 << 20, 0);
    keep(t, &mine, 77, &m);
    ds4_texts *other = open_texts(dir, 1 << 20, 0);     /* another server of the folder */
    ds4_texts_settle(t);
    assert_true(finds(other, 77, TEXT("Look."), "none", "{\"a\":1}"));
    keep(t, &mine, 78, &m);
    ds4_texts_close(t);
    ds4_texts_close(other);
    t = open_texts(dir, 1 << 20, 0);
    assert_true(finds(t, 78, TEXT("Look."), "none", "{\"a\":1}"));
    ds4_texts_close(t);
    kv_dir_remove(dir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_by_id_and_by_conversation),
    cmocka_unit_test(test_of_its_owner_and_model),
    cmocka_unit_test(test_key_is_of_what_clients_send),
    cmocka_unit_test(test_forgets_in_order_of_use),
    cmocka_unit_test(test_a_folder_outlives_it),
};

TEST_MAIN(tests)
