/* turn_replay_test.c - a turn is recognised by a call's id or by its conversation, only with
 * the same visible text, and forgotten in order of use. */
#include "testing.h"

#include "service/turn_replay.h"

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

static bool finds(ds4_replay *r, uint64_t key, ds4_slice content, const char *id,
                  const char *arguments)
{
    const ds4_call    c = { .id = { id, strlen(id) },
                            .name = TEXT("f"),
                            .arguments = { arguments, strlen(arguments) } };
    const ds4_message m = {
        .role = DS4_ROLE_ASSISTANT, .content = content, .calls = &c, .n_calls = 1
    };
    ds4_message out = { .role = DS4_ROLE_ASSISTANT };
    void       *block = NULL;

    if (!ds4_replay_find(r, key, &m, &out, &block)) return false;
    assert_true(ds4_slice_eq(out.reasoning, TEXT("why")));
    assert_true(ds4_slice_eq(out.content, TEXT("Look.\n")));
    assert_true(ds4_slice_eq(out.raw_calls, TEXT("RAW")));
    free(block);
    return true;
}

static void test_by_id_and_by_conversation(void **state)
{
    const ds4_message m = sampled();
    ds4_replay       *r = NULL;

    (void)state;
    assert_int_equal(ds4_replay_create(1 << 20, 1000, &r, NULL), DS4_OK);
    ds4_replay_keep(r, 77, &m);
    assert_true(finds(r, 1, TEXT("Look."), "call_1", "{\"a\":1}"));
    assert_true(finds(r, 77, TEXT(" Look.\n"), "call_9", "{ \"a\" : 1 }"));
    assert_false(finds(r, 1, TEXT("Look."), "call_9", "{\"a\":1}"));
    assert_false(finds(r, 77, TEXT("Look!"), "call_1", "{\"a\":1}"));
    assert_false(finds(r, 77, TEXT("Look."), "call_1", "{\"a\":2}"));
    ds4_replay_free(r);
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
    ds4_message m = sampled();
    ds4_replay *r = NULL;
    ds4_call    c = call;
    char        id[24];

    (void)state;
    assert_int_equal(ds4_replay_create(4096, 1000, &r, NULL), DS4_OK);
    m.calls = &c;
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "call_%d", i);
        c.id = (ds4_slice){ id, strlen(id) };
        ds4_replay_keep(r, (uint64_t)i + 1000, &m);
        assert_true(finds(r, 0, TEXT("Look."), "call_0", "{\"a\":1}"));
        assert_true(ds4_replay_bytes(r) <= 4096);
    }
    assert_true(finds(r, 0, TEXT("Look."), "call_99", "{\"a\":1}"));
    assert_false(finds(r, 0, TEXT("Look."), "call_5", "{\"a\":1}"));
    ds4_replay_free(r);
}

static void test_a_file_outlives_it(void **state)
{
    const ds4_message m = sampled();
    ds4_replay       *r = NULL;
    char              path[256];

    (void)state;
    test_temp_path(path, "turns.bin");
    assert_int_equal(ds4_replay_create(1 << 20, 1000, &r, NULL), DS4_OK);
    assert_int_equal(ds4_replay_open(r, path, NULL), DS4_OK);
    ds4_replay_keep(r, 77, &m);
    ds4_replay_keep(r, 78, &m);
    ds4_replay_free(r);
    for (int cut = 0; cut < 2; cut++) {
        assert_int_equal(ds4_replay_create(1 << 20, 1000, &r, NULL), DS4_OK);
        assert_int_equal(ds4_replay_open(r, path, NULL), DS4_OK);
        assert_true(finds(r, 77, TEXT("Look."), "none", "{\"a\":1}"));
        assert_int_equal(finds(r, 78, TEXT("Look."), "none", "{\"a\":1}"), !cut);
        ds4_replay_free(r);
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        fseek(f, -3, SEEK_END);
        fputc('x', f);
        fclose(f);
    }
    unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_by_id_and_by_conversation),
    cmocka_unit_test(test_key_is_of_what_clients_send),
    cmocka_unit_test(test_forgets_in_order_of_use),
    cmocka_unit_test(test_a_file_outlives_it),
};

TEST_MAIN(tests)
