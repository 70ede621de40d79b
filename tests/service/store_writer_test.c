/* store_writer_test.c - positions that another thread stores: all are there when it has
 * stopped, what cannot be written is tried again, and the budget holds with rows of a context
 * in the folder. */
#include "testing.h"

#include "base/clock.h"
#include "base/log.h"
#include "service/store/store_writer.h"
#include "support/kv_dir.h"

static kv_texts texts;
static char     dir[256];
static uint32_t retry_ms;

static int set_up(void **state)
{
    (void)state;
    kv_texts_make(&texts, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kv_texts_free(&texts);
    return 0;
}

static ds4_store_writer *start(ds4_engine *e, uint64_t max_bytes)
{
    const ds4_store_options opt = { .dir = dir, .engine = e, .max_bytes = max_bytes, .min_tokens = 1,
                                    .retry_ms = retry_ms };
    ds4_store_writer       *w = NULL;
    ds4_err                 err = { .code = DS4_OK };

    if (ds4_store_writer_start(&opt, &w, &err) != DS4_OK) fail_msg("%s", err.text);
    return w;
}

/* The caller gives its own hold back at once; the session behind it is long gone. */
static void save(ds4_store_writer *w, ds4_engine *e, int which, uint32_t pos, ds4_tail_kind kind)
{
    ds4_snapshot *p = kv_position(&texts, e, which, pos);

    ds4_store_writer_save(w, p, kind, texts.text[which] + pos, 3);
    ds4_snapshot_free(p);
}

static void test_what_waits_is_stored(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        kv_dir_name(dir, "kv_writer");
        ds4_engine       *e = kv_open(&texts);
        ds4_store_writer *w = start(e, 0);
        for (int i = 0; i < KV_TEXTS; i++) {
            save(w, e, i, 300, DS4_TAIL_TURN);
            save(w, e, i, 1000, DS4_TAIL_TURN);
        }
        if (round == 0) ds4_store_writer_settle(w);
        assert_true(ds4_store_writer_works(w));
        if (round == 1) ds4_store_writer_stop(w);       /* with what still waits */
        ds4_store *s = kv_store_open(dir, e, 0);
        for (int i = 0; i < KV_TEXTS; i++) {
            assert_int_equal(1000, kv_probe(&texts, s, e, i, KV_TOKENS));
            assert_int_equal(300, kv_probe(&texts, s, e, i, 900));
        }
        ds4_store_close(s);
        if (round == 0) ds4_store_writer_stop(w);
        ds4_engine_close(e);
        kv_dir_remove(dir);
    }
}

/* While it writes, the same folder is read and a session computes. */
static void test_reading_meanwhile(void **state)
{
    (void)state;
    kv_dir_name(dir, "kv_writer");
    ds4_engine       *e = kv_open(&texts);
    ds4_store        *s = kv_store_open(dir, e, 0);
    ds4_store_writer *w = start(e, 0);
    for (uint32_t i = 0; i < 40; i++) {
        const int which = (int)(i % KV_TEXTS);
        save(w, e, which, 100 + 25 * i, i % 3 ? DS4_TAIL_WAY : DS4_TAIL_TURN);
        kv_probe(&texts, s, e, which, KV_TOKENS);
        ds4_store_writer_hit(w, i);
        ds4_store_writer_tidy(w);
    }
    ds4_store_writer_stop(w);
    assert_int_equal(1075, kv_probe(&texts, s, e, 39 % KV_TEXTS, KV_TOKENS));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

static void count_warnings(void *ctx, ds4_log_level level, const char *subject, const char *text)
{
    (void)subject;
    (void)text;
    if (level <= DS4_LOG_WARN) ++*(int *)ctx;
}

static void test_a_folder_that_goes_is_made_anew(void **state)
{
    int n_warnings = 0;

    (void)state;
    kv_dir_name(dir, "kv_writer");
    ds4_engine       *e = kv_open(&texts);
    ds4_store        *s = kv_store_open(dir, e, 0);
    ds4_store_writer *w = start(e, 0);
    save(w, e, 0, 700, DS4_TAIL_TURN);
    ds4_store_writer_settle(w);
    ds4_log_to(count_warnings, &n_warnings, DS4_LOG_WARN);
    kv_dir_remove(dir);
    for (int i = 1; i < KV_TEXTS; i++) save(w, e, i, 700, DS4_TAIL_TURN);
    ds4_store_writer_settle(w);
    assert_true(ds4_store_writer_works(w));
    assert_int_equal(1, n_warnings);
    assert_int_equal(0, ds4_store_writer_failures(w));
    for (int i = 1; i < KV_TEXTS; i++) assert_int_equal(700, kv_probe(&texts, s, e, i, KV_TOKENS));
    ds4_log_to(NULL, NULL, DS4_LOG_WARN);
    ds4_store_writer_stop(w);
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* A place where nothing can be written, for a while: said once, tried again, nothing lost. */
static void test_a_failure_is_over_some_time(void **state)
{
    int n_warnings = 0;

    (void)state;
    kv_dir_name(dir, "kv_writer");
    retry_ms = 20;
    ds4_engine       *e = kv_open(&texts);
    ds4_store_writer *w = start(e, 0);
    ds4_log_to(count_warnings, &n_warnings, DS4_LOG_WARN);
    kv_dir_remove(dir);
    fclose(fopen(dir, "w"));                    /* in place of the folder */
    const uint64_t began = ds4_now_ns();
    for (int i = 0; i < KV_TEXTS; i++) save(w, e, i, 700, DS4_TAIL_TURN);
    ds4_store_writer_settle(w);
    assert_false(ds4_store_writer_works(w));
    usleep(200000);
    for (int i = 0; i < 500 && ds4_store_writer_failures(w) < 2; i++) usleep(10000);
    const uint64_t n_failures = ds4_store_writer_failures(w);
    assert_true(n_failures > 1 && n_failures <= (ds4_now_ns() - began) / 20000000 + 1);
    assert_int_equal(1, n_warnings);            /* that nothing is stored */
    unlink(dir);
    ds4_store_writer_flush(w);
    for (int i = 0; i < 500 && !ds4_store_writer_works(w); i++) usleep(10000);
    assert_true(ds4_store_writer_works(w));
    ds4_store_writer_settle(w);
    assert_int_equal(2, n_warnings);            /* and that it is again */
    ds4_log_to(NULL, NULL, DS4_LOG_WARN);
    ds4_store_writer_stop(w);
    retry_ms = 0;
    ds4_store *s = kv_store_open(dir, e, 0);
    for (int i = 0; i < KV_TEXTS; i++) assert_int_equal(700, kv_probe(&texts, s, e, i, KV_TOKENS));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* It starts, too, where it cannot write; and it ends although it never could. */
static void test_a_start_without_a_disk(void **state)
{
    int     n_warnings = 0;
    char    inner[300];
    ds4_err err = { .code = DS4_OK };

    (void)state;
    kv_dir_name(dir, "kv_writer");
    snprintf(inner, sizeof inner, "/proc/self/%s", strrchr(dir, '/') + 1);
    if (access("/proc/self", F_OK) != 0) skip();
    ds4_engine             *e = kv_open(&texts);
    const ds4_store_options opt = { .dir = inner, .engine = e, .min_tokens = 1 };
    ds4_store_writer       *w = NULL;
    ds4_log_to(count_warnings, &n_warnings, DS4_LOG_WARN);
    assert_int_equal(DS4_OK, ds4_store_writer_start(&opt, &w, &err));
    assert_int_equal(1, n_warnings);
    save(w, e, 0, 700, DS4_TAIL_TURN);
    ds4_store_writer_settle(w);
    assert_false(ds4_store_writer_works(w));
    assert_int_equal(1, n_warnings);
    ds4_store_writer_stop(w);
    ds4_log_to(NULL, NULL, DS4_LOG_WARN);
    ds4_engine_close(e);
}

/* Rows of the context take their part, and evict what is stored. */
static void test_rows_count(void **state)
{
    ds4_index_sums sums;
    ds4_err        err = { .code = DS4_OK };

    (void)state;
    kv_dir_name(dir, "kv_writer");
    ds4_engine       *e = kv_open(&texts);
    ds4_store        *s = kv_store_open(dir, e, 8 << 20);
    ds4_store_writer *w = start(e, 8 << 20);
    for (int i = 0; i < KV_TEXTS; i++) save(w, e, i, 1000, DS4_TAIL_TURN);
    ds4_store_writer_settle(w);
    assert_int_equal(DS4_OK, ds4_index_sum(ds4_store_index(s), &sums, &err));
    const uint64_t files = sums.block_bytes + sums.tail_bytes, rows = (8 << 20) - files / 2;
    assert_int_equal(DS4_E_LIMIT, ds4_store_set_rows(s, 9 << 20, &err));
    assert_non_null(strstr(err.text, "--kv-disk-space-mb"));
    assert_int_equal(DS4_OK, ds4_store_set_rows(s, rows, &err));
    for (int i = 0; i < 2 * KV_TEXTS; i++) {
        save(w, e, i % KV_TEXTS, 900, DS4_TAIL_TURN);
        ds4_store_writer_settle(w);
        assert_int_equal(DS4_OK, ds4_index_sum(ds4_store_index(s), &sums, &err));
        assert_true(sums.reserved == rows);
        assert_true(kv_dir_bytes(dir) + rows <= 8 << 20);
    }
    ds4_store_writer_stop(w);
    ds4_store_close(s);
    s = kv_store_open(dir, e, 8 << 20);                 /* they went with their process */
    assert_int_equal(DS4_OK, ds4_index_sum(ds4_store_index(s), &sums, &err));
    assert_int_equal(0, sums.reserved);
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_what_waits_is_stored),
    cmocka_unit_test(test_reading_meanwhile),
    cmocka_unit_test(test_a_folder_that_goes_is_made_anew),
    cmocka_unit_test(test_a_failure_is_over_some_time),
    cmocka_unit_test(test_a_start_without_a_disk),
    cmocka_unit_test(test_rows_count),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
