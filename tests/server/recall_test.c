/* recall_test.c - stored responses: found with all before them, by whom they belong to; shown, listed
 * and deleted; forgotten in order of use; on disk shared, bounded, and there after a restart. */
#include "testing.h"

#include "app/server/recall.h"
#include "support/kv_dir.h"

static const ds4_kv_key nobody, alice = { { 1 } }, bob = { { 2 } };

static ds4_slice text(const char *s)
{
    return (ds4_slice){ s, strlen(s) };
}

static ds4_texts *open_texts(const char *dir, uint64_t mem_bytes, uint64_t dir_bytes)
{
    const ds4_texts_options opt = { .dir = dir, .mem_bytes = mem_bytes, .dir_bytes = dir_bytes };
    ds4_texts              *t = NULL;
    ds4_err                 err = { .code = DS4_OK };

    if (ds4_texts_open(&t, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return t;
}

static bool keep_as(ds4_texts *t, const ds4_kv_key *owner, const char *id, const char *before,
                    const char *input)
{
    const ds4_text_response r = { .id = text(id), .before = text(before), .input = text(input),
                                  .output = DS4_SLICE("\"a\""), .head = DS4_SLICE("{\"output\":["),
                                  .rest = DS4_SLICE("]}") };
    return ds4_texts_keep_response(t, owner, &r);
}

static bool keep(ds4_texts *t, const char *id, const char *before, const char *input)
{
    return keep_as(t, &nobody, id, before, input);
}

static bool finds_as(ds4_texts *t, const ds4_kv_key *owner, const char *id, const char *expected)
{
    ds4_recall r = { t, *owner };
    ds4_arena  arena = { 0 };
    ds4_slice  items = { 0 };
    const bool found = ds4_recall_find(&r, text(id), &arena, &items);

    if (found && !ds4_slice_eq(items, text(expected)))
        fail_msg("%s is %.*s", id, (int)items.n_bytes, items.data);
    ds4_arena_clear(&arena);
    return found;
}

static bool finds(ds4_texts *t, const char *id, const char *expected)
{
    return finds_as(t, &nobody, id, expected);
}

static void test_with_all_before(void **state)
{
    ds4_texts *t = open_texts(NULL, 1 << 20, 0);

    (void)state;
    assert_true(keep(t, "r1", "", "1"));
    assert_true(keep(t, "r2", "r1", "2"));
    assert_true(keep(t, "r3", "r2", ""));
    assert_true(keep(t, "r3b", "r2", "3"));
    assert_true(keep(t, "lost", "r0", "9"));
    assert_true(keep(t, "c1", "c2", "1"));
    assert_true(keep(t, "c2", "c1", "2"));
    assert_true(finds(t, "r1", "1,\"a\""));
    assert_true(finds(t, "r3", "1,\"a\",2,\"a\",\"a\""));
    assert_true(finds(t, "r3b", "1,\"a\",2,\"a\",3,\"a\""));
    assert_false(finds(t, "lost", ""));
    assert_false(finds(t, "c1", ""));               /* a circle */
    assert_false(finds(t, "r4", ""));
    assert_false(finds(t, "", ""));
    ds4_texts_close(t);
}

static void test_forgets_in_order_of_use(void **state)
{
    ds4_texts *t = open_texts(NULL, 8192, 0);
    char       id[32];

    (void)state;
    assert_true(keep(t, "r1", "", "1"));
    assert_true(keep(t, "r2", "r1", "2"));
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "other%d", i);
        assert_true(keep(t, id, "", "0"));
        assert_true(finds(t, "r2", "1,\"a\",2,\"a\""));
        assert_true(ds4_texts_bytes(t) <= 8192);
    }
    assert_true(finds(t, "other199", "0,\"a\""));
    assert_false(finds(t, "other3", ""));
    ds4_texts_close(t);
}

/* For everybody else a response is unknown, in memory and on disk. */
static void test_belongs_to_its_owner(void **state)
{
    char dir[256];

    (void)state;
    kv_dir_name(dir, "texts");
    for (int disk = 0; disk < 2; disk++) {
        ds4_texts *t = open_texts(disk ? dir : NULL, 1 << 20, 0);
        bool       was_there = true;
        ds4_str    out = { 0 };
        const ds4_recall bobs = { t, bob };
        assert_true(keep_as(t, &alice, "r1", "", "1"));
        assert_true(keep_as(t, &bob, "r2", "r1", "2"));
        assert_true(finds_as(t, &alice, "r1", "1,\"a\""));
        assert_false(finds_as(t, &bob, "r1", ""));
        assert_false(finds_as(t, &nobody, "r1", ""));
        assert_false(finds_as(t, &bob, "r2", ""));
        assert_false(ds4_recall_show(&bobs, text("r1"), &out));
        assert_int_equal(DS4_E_IO, ds4_recall_list(&bobs, text("r1"), NULL, NULL, NULL, &out, NULL));
        assert_int_equal(DS4_OK, ds4_texts_drop_response(t, &bob, text("r1"), NULL, &was_there, NULL));
        assert_false(was_there);
        assert_true(finds_as(t, &alice, "r1", "1,\"a\""));
        ds4_texts_close(t);
    }
    kv_dir_remove(dir);
}

static void test_shown_and_listed(void **state)
{
    ds4_texts       *t = open_texts(NULL, 1 << 20, 0);
    const ds4_recall r = { t, nobody };
    ds4_str          out = { 0 };

    (void)state;
    assert_true(
        keep(t, "resp_1", "",
             "{\"role\":\"user\",\"content\":\"hi\"},{\"type\":\"x\",\"id\":\"i2\"},{\"role\":"
             "\"assistant\",\"content\":\"ho\"}"));
    assert_true(ds4_recall_show(&r, text("resp_1"), &out));
    assert_string_equal(ds4_str_text(&out), "{\"output\":[\"a\"]}");
    ds4_str_truncate(&out, 0);
    assert_int_equal(DS4_OK, ds4_recall_list(&r, text("resp_1"), "2", "asc", NULL, &out, NULL));
    assert_string_equal(
        ds4_str_text(&out),
        "{\"object\":\"list\",\"data\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
        "\"text\":\"hi\"}],"
        "\"type\":\"message\",\"status\":\"completed\",\"id\":\"msg_1_0\"},{\"type\":\"x\",\"id\":"
        "\"i2\",\"status\":"
        "\"completed\"}],\"first_id\":\"msg_1_0\",\"last_id\":\"i2\",\"has_more\":true}");
    ds4_str_truncate(&out, 0);
    assert_int_equal(DS4_OK, ds4_recall_list(&r, text("resp_1"), NULL, NULL, "i2", &out, NULL));
    assert_non_null(strstr(ds4_str_text(&out), "msg_1_0"));
    assert_null(strstr(ds4_str_text(&out), "i2\",\"status"));
    assert_non_null(strstr(ds4_str_text(&out), "\"has_more\":false"));
    assert_int_equal(DS4_E_ARG, ds4_recall_list(&r, text("resp_1"), "0", NULL, NULL, &out, NULL));
    assert_int_equal(DS4_E_ARG, ds4_recall_list(&r, text("resp_1"), NULL, "up", NULL, &out, NULL));
    assert_int_equal(DS4_E_IO, ds4_recall_list(&r, text("resp_2"), NULL, NULL, NULL, &out, NULL));
    ds4_str_clear(&out);
    ds4_texts_close(t);
}

static void look_for(void *ctx, const char *path, const char *name)
{
    static char data[1 << 20];
    FILE       *f = fopen(path, "rb");
    const size_t n = f ? fread(data, 1, sizeof data, f) : 0;

    (void)name;
    if (f) fclose(f);
    *(bool *)ctx |= memmem(data, n, "my secret number", 16) != NULL;
}

/* A deleted response has left the folder, with the turn that belongs to it. */
static void test_deleted(void **state)
{
    const ds4_kv_key    keys[2] = { { { 7 } }, { { 8 } } };
    const ds4_text_turn turn = {
        DS4_SLICE("my secret number in thoughts"), DS4_SLICE("c"), DS4_SLICE(""), { 0 }
    };
    char                dir[256];
    bool                was_there = false, in_clear = false;

    (void)state;
    kv_dir_name(dir, "texts");
    ds4_texts *t = open_texts(dir, 1 << 20, 0);
    assert_true(keep(t, "r0", "", "\"stays\""));
    assert_true(keep(t, "r1", "", "\"my secret number is 1\""));
    ds4_texts_keep_turn(t, keys, 2, &turn);
    ds4_texts_settle(t);
    kv_dir_each(dir, look_for, &in_clear);
    assert_true(in_clear);
    assert_int_equal(DS4_OK, ds4_texts_drop_response(t, &nobody, text("r1"), &keys[1], &was_there, NULL));
    assert_true(was_there);
    assert_false(finds(t, "r1", ""));
    assert_true(finds(t, "r0", "\"stays\",\"a\""));
    in_clear = false;
    kv_dir_each(dir, look_for, &in_clear);
    assert_false(in_clear);
    assert_int_equal(DS4_OK, ds4_texts_drop_response(t, &nobody, text("r1"), NULL, &was_there, NULL));
    assert_false(was_there);
    ds4_texts_close(t);
    kv_dir_remove(dir);
}

static void test_shared_and_there_after_a_restart(void **state)
{
    char dir[256];

    (void)state;
    kv_dir_name(dir, "texts");
    ds4_texts *a = open_texts(dir, 1 << 20, 0), *b = open_texts(dir, 1 << 20, 0);
    assert_true(keep(a, "r1", "", "1"));
    assert_true(keep(b, "r2", "r1", "2"));
    assert_true(finds(a, "r2", "1,\"a\",2,\"a\""));
    assert_true(finds(b, "r1", "1,\"a\""));
    ds4_texts_close(a);
    ds4_texts_close(b);
    a = open_texts(dir, 1 << 20, 0);
    assert_true(finds(a, "r2", "1,\"a\",2,\"a\""));
    ds4_texts_close(a);
    kv_dir_remove(dir);
}

/* The budget is the folder's: large responses leave it, the newest stays, and one that is larger than
 * all of it is not said to be kept. */
static void test_the_folder_is_bounded(void **state)
{
    enum { BUDGET = 4 << 20, LARGE = 1500000 };
    char  dir[256], id[32];
    char *large = malloc(2 * BUDGET);

    (void)state;
    memset(large, '1', 2 * BUDGET);
    kv_dir_name(dir, "texts");
    ds4_texts *t = open_texts(dir, 1 << 20, BUDGET);
    for (int i = 0; i < 12; i++) {
        large[LARGE] = '\0';
        snprintf(id, sizeof id, "r%d", i);
        assert_true(keep(t, id, "", large));
        large[LARGE] = '1';
        ds4_texts_settle(t);
        assert_true(kv_dir_bytes(dir) <= BUDGET);
    }
    ds4_recall r = { t, nobody };
    ds4_arena  arena = { 0 };
    ds4_slice  items = { 0 };
    assert_true(ds4_recall_find(&r, text("r11"), &arena, &items));
    assert_false(ds4_recall_find(&r, text("r1"), &arena, &items));
    large[2 * BUDGET - 1] = '\0';
    assert_false(keep(t, "huge", "", large));
    assert_true(ds4_recall_find(&r, text("r11"), &arena, &items));
    assert_true(keep(t, "after", "", "1"));
    assert_true(kv_dir_bytes(dir) <= BUDGET);
    ds4_arena_clear(&arena);
    ds4_texts_close(t);
    kv_dir_remove(dir);
    free(large);
}

/* While the disk fails a response is found, and not said to be kept; then all goes on. */
static void test_a_disk_that_fails(void **state)
{
    const ds4_texts_options opt = { .mem_bytes = 1 << 20, .retry_ms = 1 };
    ds4_texts_options       with_dir = opt;
    ds4_texts              *t = NULL;
    char                    dir[256];

    (void)state;
    kv_dir_name(dir, "texts");
    with_dir.dir = dir;
    assert_int_equal(DS4_OK, ds4_texts_open(&t, &with_dir, NULL));
    assert_true(keep(t, "r1", "", "1"));
    kv_dir_remove(dir);
    fclose(fopen(dir, "w"));
    assert_false(keep(t, "r2", "", "2"));
    assert_true(finds(t, "r2", "2,\"a\""));
    unlink(dir);
    bool kept = false;
    for (int i = 0; i < 300 && !kept; i++) {
        usleep(2000);
        kept = keep(t, "r3", "r2", "3");
    }
    assert_true(kept);
    assert_true(finds(t, "r3", "2,\"a\",3,\"a\""));
    ds4_texts_close(t);
    kv_dir_remove(dir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_with_all_before),
    cmocka_unit_test(test_forgets_in_order_of_use),
    cmocka_unit_test(test_belongs_to_its_owner),
    cmocka_unit_test(test_shown_and_listed),
    cmocka_unit_test(test_deleted),
    cmocka_unit_test(test_shared_and_there_after_a_restart),
    cmocka_unit_test(test_the_folder_is_bounded),
    cmocka_unit_test(test_a_disk_that_fails),
};

TEST_MAIN(tests)
