/* aio_test.c - asynchronous reads: every byte arrives, errors are said, giving up is safe,
 * through io_uring and through threads. */
#include "testing.h"

#include "base/aio.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>

enum { FILE_BYTES = 3000001, N_READS = 40 };

static char     path[256];
static uint8_t *content;

static int write_file(void **state)
{
    ds4_rng rng;

    (void)state;
    content = malloc(FILE_BYTES);
    ds4_rng_seed(&rng, 3);
    for (int i = 0; i < FILE_BYTES; i++) content[i] = (uint8_t)ds4_rng_next(&rng);
    test_temp_path(path, "aio.bin");
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, content, FILE_BYTES) != FILE_BYTES) return -1;
    return close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    free(content);
    return unlink(path);
}

static ds4_aio *open_it(ds4_aio_options opt)
{
    const char *file = path;
    ds4_aio    *aio = NULL;
    ds4_err     err = { 0 };

    if (ds4_aio_open(&aio, &file, 1, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return aio;
}

static void new_read(ds4_aio_read *r, uint64_t offset, uint64_t n_bytes)
{
    *r = (ds4_aio_read){ .offset = offset, .n_bytes = n_bytes };
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, DS4_AIO_ALIGN, ds4_aio_room(offset, n_bytes)), 0);
    r->buffer = p;
}

static void wait_for(ds4_aio *aio, const ds4_aio_read *r)
{
    uint64_t seen = ds4_aio_ended(aio);
    while (ds4_aio_state_of(aio, r) == DS4_AIO_QUEUED) seen = ds4_aio_wait(aio, seen);
}

static void assert_content(const ds4_aio_read *r)
{
    assert_int_equal(r->state, DS4_AIO_DONE);
    assert_memory_equal(r->buffer + r->offset % DS4_AIO_ALIGN, content + r->offset, r->n_bytes);
}

/* Many reads of any offset and size, urgent and not, in small pieces. */
static void read_much(bool threads_only, uint32_t depth)
{
    const ds4_aio_options opt = { .depth = depth, .calm_depth = 2, .piece_bytes = 16384,
                                  .threads_only = threads_only };
    ds4_aio     *aio = open_it(opt);
    ds4_aio_read r[N_READS];
    ds4_rng      rng;
    uint64_t     wanted = 0;

    ds4_rng_seed(&rng, depth);
    for (int i = 0; i < N_READS; i++) {
        const uint64_t n = 1 + ds4_rng_next(&rng) % 200000;
        const uint64_t offset = ds4_rng_next(&rng) % (FILE_BYTES - n + 1);
        new_read(&r[i], i == 7 ? FILE_BYTES - n : offset, n);
        ds4_aio_submit(aio, &r[i], i % 3 == 0);
        wanted += n;
    }
    for (int i = 0; i < N_READS; i += 5) ds4_aio_hurry(aio, &r[i]);
    for (int i = 0; i < N_READS; i++) {
        wait_for(aio, &r[i]);
        assert_content(&r[i]);
        free(r[i].buffer);
    }
    ds4_aio_stats stats;
    ds4_aio_get_stats(aio, &stats);
    assert_true(stats.n_bytes >= wanted);
    assert_true(stats.busy_ns > 0);
    if (threads_only) assert_string_equal(stats.method, "threads");
    ds4_aio_close(aio);
}

static void test_every_byte_arrives(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        read_much(threads, 1);
        read_much(threads, 5);
        read_much(threads, 64);
    }
}

static void test_reading_past_the_end_is_an_error(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        ds4_aio     *aio = open_it((ds4_aio_options){ .threads_only = threads });
        ds4_aio_read r;
        ds4_err      err = { 0 };

        new_read(&r, FILE_BYTES - 1000, 1001);
        ds4_aio_submit(aio, &r, true);
        wait_for(aio, &r);
        assert_int_equal(r.state, DS4_AIO_FAILED);
        assert_int_equal(ds4_aio_reason(aio, &r, &err), DS4_E_IO);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, "1001 bytes at offset 2999001"));
        assert_non_null(strstr(err.text, "truncated"));
        free(r.buffer);
        ds4_aio_close(aio);
    }
}

typedef struct faults {
    int until, seen, reason;
} faults;

static int fail_nth(void *ctx, uint64_t offset, uint64_t n_bytes)
{
    faults *f = ctx;
    (void)offset;
    (void)n_bytes;
    return __atomic_add_fetch(&f->seen, 1, __ATOMIC_RELAXED) == f->until ? f->reason : 0;
}

/* The N-th piece fails, for every N: exactly one read ends as failed, the others are whole. */
static void test_any_piece_may_fail(void **state)
{
    (void)state;
    for (int n = 1; n <= 12; n++) {
        faults       f = { .until = n, .reason = EIO };
        const ds4_aio_options opt = { .depth = 3, .piece_bytes = 4096, .threads_only = n % 2,
                                      .fault = fail_nth, .fault_ctx = &f };
        ds4_aio     *aio = open_it(opt);
        ds4_aio_read r[3];
        int          n_failed = 0;
        ds4_err      err = { 0 };

        for (int i = 0; i < 3; i++) {
            new_read(&r[i], (uint64_t)i * 4096, 4 * 4096);
            ds4_aio_submit(aio, &r[i], true);
        }
        for (int i = 0; i < 3; i++) {
            wait_for(aio, &r[i]);
            if (r[i].state != DS4_AIO_FAILED) {
                assert_content(&r[i]);
            } else {
                n_failed++;
                assert_int_equal(ds4_aio_reason(aio, &r[i], &err), DS4_E_IO);
                assert_non_null(strstr(err.text, strerror(EIO)));
            }
            free(r[i].buffer);
        }
        assert_int_equal(n_failed, 1);
        ds4_aio_close(aio);
    }
}

static void test_interrupted_pieces_are_read_again(void **state)
{
    faults       f = { .until = 2, .reason = EINTR };
    ds4_aio     *aio = open_it((ds4_aio_options){ .piece_bytes = 4096, .fault = fail_nth,
                                                  .fault_ctx = &f });
    ds4_aio_read r;

    (void)state;
    new_read(&r, 5, 30000);
    ds4_aio_submit(aio, &r, true);
    wait_for(aio, &r);
    assert_content(&r);
    free(r.buffer);
    ds4_aio_close(aio);
}

static void test_giving_up_ends_a_read(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        const ds4_aio_options opt = { .depth = 2, .calm_depth = 1, .piece_bytes = 4096,
                                      .threads_only = threads };
        ds4_aio     *aio = open_it(opt);
        ds4_aio_read r[8];

        for (int i = 0; i < 8; i++) {
            new_read(&r[i], (uint64_t)i * 300000, 300000);
            ds4_aio_submit(aio, &r[i], false);
        }
        for (int i = 0; i < 8; i += 2) ds4_aio_cancel(aio, &r[i]);
        for (int i = 0; i < 8; i++) {
            wait_for(aio, &r[i]);
            if (i % 2) assert_content(&r[i]);
            else assert_true(r[i].state == DS4_AIO_CANCELLED || r[i].state == DS4_AIO_DONE);
            ds4_aio_submit(aio, &r[i], true);       /* it may be used again */
        }
        ds4_aio_close(aio);                         /* with reads under way */
        for (int i = 0; i < 8; i++) free(r[i].buffer);
    }
}

static void test_refusals_name_the_file(void **state)
{
    ds4_aio *aio = NULL;
    ds4_err  err = { 0 };

    (void)state;
    assert_int_equal(ds4_aio_open(&aio, (const char *[]){ "tests/no such file" }, 1, NULL, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, "tests/no such file: "));
    assert_int_equal(ds4_aio_open(&aio, (const char *[]){ "tests" }, 1, NULL, &err), DS4_E_IO);
    assert_null(aio);
    ds4_aio_close(NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_byte_arrives),
    cmocka_unit_test(test_reading_past_the_end_is_an_error),
    cmocka_unit_test(test_any_piece_may_fail),
    cmocka_unit_test(test_interrupted_pieces_are_read_again),
    cmocka_unit_test(test_giving_up_ends_a_read),
    cmocka_unit_test(test_refusals_name_the_file),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, write_file, remove_file);
}
