/* recall_test.c - responses are found with all before them, forgotten in order of use, and outlive
 * the program. */
#include "testing.h"

#include "app/server/recall.h"
#include "service/record_log.h"

static void keep(ds4_recall *r, const char *id, const char *before, const char *items)
{
    ds4_recall_keep(r, id, (ds4_slice){ before, strlen(before) },
                    (ds4_slice){ items, strlen(items) }, DS4_SLICE("a"));
}

static bool finds(ds4_recall *r, const char *id, const char *expected)
{
    ds4_arena  arena = { 0 };
    ds4_slice  items = { 0 };
    const bool found = ds4_recall_find(r, (ds4_slice){ id, strlen(id) }, &arena, &items);

    if (found) assert_true(ds4_slice_eq(items, (ds4_slice){ expected, strlen(expected) }));
    ds4_arena_clear(&arena);
    return found;
}

static ds4_recall *new_recall(size_t max_bytes, const char *path)
{
    ds4_recall *r = NULL;
    assert_int_equal(ds4_recall_create(max_bytes, &r, NULL), DS4_OK);
    if (path) assert_int_equal(ds4_recall_open(r, path, NULL), DS4_OK);
    return r;
}

static void test_with_all_before(void **state)
{
    ds4_recall *r = new_recall(1 << 20, NULL);

    (void)state;
    keep(r, "r1", "", "1");
    keep(r, "r2", "r1", "2");
    keep(r, "r3", "r2", "3");
    keep(r, "r3b", "r2", "3b");
    keep(r, "lost", "r0", "x");
    assert_true(finds(r, "r1", "1,a"));
    assert_true(finds(r, "r3", "1,a,2,a,3,a"));
    assert_true(finds(r, "r3b", "1,a,2,a,3b,a"));
    assert_false(finds(r, "lost", ""));
    assert_false(finds(r, "r4", ""));
    assert_false(finds(r, "", ""));
    ds4_recall_free(r);
}

static void test_forgets_in_order_of_use(void **state)
{
    ds4_recall *r = new_recall(4096, NULL);
    char        id[32];

    (void)state;
    keep(r, "r1", "", "1");
    keep(r, "r2", "r1", "2");
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "other%d", i);
        keep(r, id, "", "x");
        assert_true(finds(r, "r2", "1,a,2,a"));
        assert_true(ds4_recall_bytes(r) <= 4096);
    }
    assert_true(finds(r, "other199", "x,a"));
    assert_false(finds(r, "other3", ""));
    ds4_recall_free(r);
}

static void test_outlives_the_program(void **state)
{
    char path[256];

    (void)state;
    test_temp_path(path, "responses.bin");
    ds4_recall *r = new_recall(1 << 20, path);
    keep(r, "r1", "", "1");
    keep(r, "r2", "r1", "2");
    ds4_recall_free(r);
    for (int cut = 0; cut < 2; cut++) {
        r = new_recall(1 << 20, path);
        assert_true(finds(r, "r1", "1,a"));
        assert_int_equal(finds(r, "r2", "1,a,2,a"), !cut);
        keep(r, "r9", "r1", "9");
        ds4_recall_free(r);
        assert_int_equal(truncate(path, 40), 0);
    }
    unlink(path);
}

static void test_the_file_is_bounded(void **state)
{
    char  path[256], id[32];
    FILE *f;

    (void)state;
    test_temp_path(path, "responses.bin");
    ds4_recall *r = new_recall(8192, path);
    for (int i = 0; i < 3000; i++) {
        snprintf(id, sizeof id, "r%d", i);
        keep(r, id, "", "0123456789");
    }
    ds4_recall_free(r);
    f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    assert_true(ftell(f) <= 2 * 8192 + 200);
    fclose(f);
    r = new_recall(8192, path);
    assert_true(finds(r, "r2999", "0123456789,a"));
    ds4_recall_free(r);
    unlink(path);
}

static void test_a_circle_is_not_followed(void **state)
{
    static const char first[] = "a\0b\0x", second[] = "b\0a\0y", bare[] = "no zeros";
    ds4_record_log   *l = NULL;
    char              path[256];

    (void)state;
    test_temp_path(path, "responses.bin");
    ds4_recall *r = new_recall(1 << 20, path);
    ds4_recall_free(r);
    assert_int_equal(ds4_record_log_open(&l, path, 1 << 20, &(ds4_record_owner){ 0 }, NULL), DS4_OK);
    ds4_record_log_append(l, (ds4_slice){ first, sizeof first - 1 });
    ds4_record_log_append(l, (ds4_slice){ second, sizeof second - 1 });
    ds4_record_log_append(l, (ds4_slice){ bare, sizeof bare - 1 });
    ds4_record_log_append(l, (ds4_slice){ "", 0 });
    ds4_record_log_close(l);
    r = new_recall(1 << 20, path);
    assert_false(finds(r, "a", ""));
    assert_false(finds(r, "b", ""));
    ds4_recall_free(r);
    unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_with_all_before),          cmocka_unit_test(test_forgets_in_order_of_use),
    cmocka_unit_test(test_outlives_the_program),     cmocka_unit_test(test_the_file_is_bounded),
    cmocka_unit_test(test_a_circle_is_not_followed),
};

TEST_MAIN(tests)
