/* metal_device_test.c - the Metal device's own code over a fake Metal: memory, order, errors, manners; and
 * the fake finds wrong uses. Where neither clang nor the GNU runtime of Objective-C is, nothing is tested. */
#include "testing.h"

#ifdef DS4_HAVE_FAKE_METAL
#include "backend/gpu/args.h"
#include "backend/gpu/metal/metal_device.h"
#include "backend/gpu/metal/metal_pace.h"
#include "emulator/fake_metal.h"

#include <pthread.h>
#include <sys/mman.h>

enum { N = 64 };

static const gpu_api *const api = &metal_api;

static void must(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static gpu_device *open_device(void)
{
    gpu_device *dev = NULL;
    ds4_err     err;

    must(api->open(0, &dev, &err), &err);
    return dev;
}

static gpu_at take(gpu_device *dev, uint64_t n_bytes)
{
    gpu_at  at;
    ds4_err err;

    must(api->alloc(dev, n_bytes, &at, &err), &err);
    assert_int_not_equal(at, 0);
    return at;
}

static void close_clean(gpu_device *dev)
{
    api->close(dev);
    if (fake_metal_misuse()) fail_msg("%s", fake_metal_misuse());
    const fake_metal_counts c = fake_metal_count();
    assert_int_equal(c.n_live, 0);
    assert_int_equal(c.n_made, c.n_released);
    assert_false(c.is_left_resident);
}

/* y = rms(x). */
static ds4_status norm(gpu_device *dev, gpu_at x, gpu_at y, ds4_err *err)
{
    const norm_args  a = { .n = N, .x_stride = N, .y_stride = N, .eps = 1e-6f };
    const gpu_launch l = { .kernel = GPU_KERNEL_rms_norm, .args = &a, .args_bytes = sizeof a,
                           .buffer = (const gpu_at[]){ x, 0, y }, .groups = { 1, 1, 1 },
                           .n_threads = KD_GROUP };
    return api->launch(dev, &l, err);
}

static void fill(gpu_device *dev, gpu_at at, float value)
{
    float   x[N];
    ds4_err err;

    for (int i = 0; i < N; i++) x[i] = i % 2 ? value : -value;
    must(api->write(dev, at, x, sizeof x, &err), &err);
}

static float last_of(gpu_device *dev, gpu_at at)
{
    float          x[N];
    const gpu_copy c = { at, x, sizeof x };
    ds4_err        err;

    must(api->read(dev, &c, 1, &err), &err);
    return x[N - 1];
}

/* ---- order ----------------------------------------------------------------------------------------- */

static void test_each_launch_sees_what_those_before_wrote(void **state)
{
    ds4_err err;

    (void)state;
    for (int way = 0; way < 2; way++) {
        fake_metal_reset();
        fake_metal_backwards(way == 1);
        gpu_device  *dev = open_device();
        const gpu_at x = take(dev, sizeof(float[N])), y = take(dev, sizeof(float[N])),
                     z = take(dev, sizeof(float[N]));
        fill(dev, x, 3.0f);
        must(norm(dev, x, y, &err), &err);
        must(norm(dev, y, z, &err), &err);
        assert_float_equal(last_of(dev, z), 0.0, 0.0);      /* nothing is done before somebody waits */
        must(api->wait(dev, &err), &err);
        assert_float_equal(last_of(dev, z), 1.0, 1e-5);
        const float nine[N] = { [N - 1] = 9.0f };           /* in line: behind the launch that reads x */
        must(norm(dev, x, y, &err), &err);
        must(api->queue_write(dev, x, nine, sizeof nine, &err), &err);
        must(norm(dev, x, z, &err), &err);
        must(api->wait(dev, &err), &err);
        assert_float_equal(last_of(dev, y), 1.0, 1e-5);
        assert_float_equal(last_of(dev, z), 8.0, 1e-3);
        assert_true(fake_metal_count().n_barriers >= 1);
        close_clean(dev);
    }
}

static void test_command_buffers_are_bounded(void **state)
{
    ds4_err err;

    (void)state;
    fake_metal_reset()->s_per_thread = 1e-5;                /* 256 threads: 2.6 ms */
    gpu_device  *dev = open_device();
    const gpu_at x = take(dev, sizeof(float[N])), y = take(dev, sizeof(float[N]));
    for (int i = 0; i < 2 * METAL_MOST_LAUNCHES; i++) must(norm(dev, x, y, &err), &err);
    assert_int_equal(fake_metal_count().n_most_launches, METAL_MOST_LAUNCHES);
    must(api->wait(dev, &err), &err);
    const uint32_t before = fake_metal_count().n_commits;
    for (int i = 0; i < 100; i++) must(norm(dev, x, y, &err), &err);
    must(api->wait(dev, &err), &err);
    assert_true(fake_metal_count().n_commits >= before + 2);        /* 100 launches take 0.26 s */
    assert_int_equal(fake_metal_count().n_submitters, 1);
    close_clean(dev);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static void test_memory_is_zeroed_and_used_again(void **state)
{
    enum { MANY = 300 };
    gpu_at at[MANY];

    (void)state;
    fake_metal_reset();
    gpu_device *dev = open_device();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            at[i] = take(dev, sizeof(float[N]) * (1 + i % 7));
            assert_float_equal(last_of(dev, at[i]), 0.0, 0.0);
            fill(dev, at[i], 5.0f);
        }
        for (int i = 0; i < MANY; i++) api->free(dev, at[(i * 7) % MANY]);
    }
    api->free(dev, 0);
    assert_int_equal(fake_metal_count().n_made, 1);         /* one buffer, never released before the end */
    assert_int_equal(fake_metal_count().n_released, 0);
    close_clean(dev);
}

static void test_a_file_is_read_where_it_is_mapped(void **state)
{
    enum { PIECES = 5, PIECE = 3 * 4096 + 256 };
    gpu_map maps[PIECES];
    ds4_err err;

    (void)state;
    fake_metal_reset()->max_buffer = 32 << 20;
    gpu_device *dev = open_device();
    uint8_t    *file = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PIECES; i++) {
        maps[i] = (gpu_map){ .bytes = file + 32 + (PIECES - 1 - i) * PIECE, .n_bytes = PIECE };
        float *x = (float *)(void *)(file + 32 + (PIECES - 1 - i) * PIECE);
        for (int k = 0; k < N; k++) x[k] = (float)(i + 1);
    }
    must(api->map(dev, maps, PIECES, &err), &err);
    assert_int_equal(fake_metal_count().n_views, 1);
    const gpu_at y = take(dev, sizeof(float[N]));
    for (int i = 0; i < PIECES; i++) {
        assert_float_equal(last_of(dev, maps[i].at), (float)(i + 1), 0.0);
        must(norm(dev, maps[i].at, y, &err), &err);
        must(api->wait(dev, &err), &err);
        assert_float_equal(last_of(dev, y), 1.0, 1e-5);
    }
    close_clean(dev);
    munmap(file, 1 << 20);
}

static void test_views_respect_the_largest_buffer(void **state)
{
    gpu_map maps[8];
    ds4_err err;

    (void)state;
    fake_metal_limits *limits = fake_metal_reset();
    gpu_device        *dev = open_device();
    uint8_t           *file = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)take(dev, 1);
    limits->max_buffer = 2 << 20;
    for (int i = 0; i < 8; i++) maps[i] = (gpu_map){ .bytes = file + (i << 20), .n_bytes = 1 << 20 };
    must(api->map(dev, maps, 8, &err), &err);
    assert_int_equal(fake_metal_count().n_views, 4);
    limits->max_buffer = 1 << 19;
    assert_int_equal(api->map(dev, maps, 1, &err), DS4_E_UNSUPPORTED);
    close_clean(dev);
    munmap(file, 8 << 20);
}

/* Without addresses of the GPU memory cannot be added: rows would be looked for in the wrong place. */
static void test_a_system_without_addresses_has_what_was_planned(void **state)
{
    gpu_at  at;
    ds4_err err;

    (void)state;
    fake_metal_limits *limits = fake_metal_reset();
    limits->has_addresses = limits->has_residency = false;
    gpu_device *dev = open_device();
    must(api->reserve(dev, 64 << 20, &err), &err);
    (void)take(dev, 60 << 20);
    assert_int_equal(api->alloc(dev, 32 << 20, &at, &err), DS4_E_NOMEM);
    const gpu_at x = take(dev, sizeof(float[N])), y = take(dev, sizeof(float[N]));
    fill(dev, x, 2.0f);
    must(norm(dev, x, y, &err), &err);
    must(api->wait(dev, &err), &err);
    assert_float_equal(last_of(dev, y), 1.0, 1e-5);
    close_clean(dev);
}

static void *read_elsewhere(void *arg)
{
    gpu_device *dev = ((void **)arg)[0];
    for (int i = 0; i < 1000; i++) (void)last_of(dev, *(gpu_at *)((void **)arg)[1]);
    return NULL;
}

static void test_any_thread_may_read(void **state)
{
    pthread_t thread;

    (void)state;
    fake_metal_reset();
    gpu_device *dev = open_device();
    gpu_at      x = take(dev, sizeof(float[N]));
    void       *arg[2] = { dev, &x };
    assert_int_equal(pthread_create(&thread, NULL, read_elsewhere, arg), 0);
    for (int i = 0; i < 4; i++) (void)take(dev, 40 << 20);
    pthread_join(thread, NULL);
    close_clean(dev);
}

/* ---- errors ---------------------------------------------------------------------------------------- */

static void test_what_fails_while_opening_leaves_nothing(void **state)
{
    static const fake_metal_kind kinds[] = { FAKE_QUEUE, FAKE_LIBRARY, FAKE_FUNCTION, FAKE_PIPELINE,
                                             FAKE_RESIDENCY };

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        gpu_device *dev = NULL;
        ds4_err     err;
        fake_metal_reset();
        fake_metal_fail(kinds[i], kinds[i] == FAKE_PIPELINE ? 30 : 1);
        assert_int_equal(api->open(0, &dev, &err), DS4_E_DEVICE);
        assert_null(dev);
        assert_non_null(strstr(err.text, "Metal"));
        if (kinds[i] == FAKE_LIBRARY) assert_non_null(strstr(err.text, "unknown type name"));
        assert_int_equal(fake_metal_count().n_live, 0);
        if (fake_metal_misuse()) fail_msg("%s", fake_metal_misuse());
    }
}

static void test_a_system_that_does_not_suffice_is_refused(void **state)
{
    gpu_info    info;
    gpu_device *dev;
    ds4_err     err;

    (void)state;
    fake_metal_reset()->has_device = false;
    assert_int_equal(api->probe(0, &info, &err), DS4_E_UNSUPPORTED);
    fake_metal_reset()->is_unified = false;
    assert_int_equal(api->probe(0, &info, &err), DS4_E_UNSUPPORTED);
    fake_metal_reset()->width = 16;
    assert_int_equal(api->open(0, &dev, &err), DS4_E_UNSUPPORTED);
    fake_metal_reset();
    assert_int_equal(api->probe(1, &info, &err), DS4_E_UNSUPPORTED);
    must(api->probe(0, &info, &err), &err);
    assert_true(info.unified);
    assert_int_equal(info.mem_free, 48ull << 30);
    assert_int_equal(fake_metal_count().n_live, 0);
}

static void test_groups_that_a_kernel_cannot_have_are_refused(void **state)
{
    ds4_err err;

    (void)state;
    fake_metal_reset()->max_threads = 128;                  /* a kernel that takes many registers */
    gpu_device  *dev = open_device();
    const gpu_at x = take(dev, sizeof(float[N]));
    assert_int_equal(norm(dev, x, x, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "rms_norm"));
    close_clean(dev);
}

static void test_full_memory_is_told_and_loses_nothing(void **state)
{
    gpu_at  at;
    gpu_map map = { .n_bytes = 4096 };
    ds4_err err;

    (void)state;
    fake_metal_reset();
    gpu_device *dev = open_device();
    fake_metal_fail(FAKE_BUFFER, 1);
    assert_int_equal(api->alloc(dev, 1, &at, &err), DS4_E_NOMEM);
    (void)take(dev, 1);
    fake_metal_fail(FAKE_BUFFER, 1);
    assert_int_equal(api->alloc(dev, 1 << 30, &at, &err), DS4_E_NOMEM);
    assert_non_null(strstr(err.text, "GiB"));
    assert_int_equal(api->alloc(dev, UINT64_MAX, &at, &err), DS4_E_NOMEM);
    map.bytes = &map;
    fake_metal_fail(FAKE_VIEW, 1);
    assert_int_equal(api->map(dev, &map, 1, &err), DS4_E_NOMEM);
    assert_int_equal(api->write(dev, 1ull << 60, &map, 8, &err), DS4_E_ARG);
    (void)take(dev, 100);
    close_clean(dev);
}

static void test_lost_work_is_an_error_in_the_systems_words(void **state)
{
    ds4_err err;

    (void)state;
    fake_metal_reset();
    gpu_device  *dev = open_device();
    const gpu_at x = take(dev, sizeof(float[N]));
    must(norm(dev, x, x, &err), &err);
    fake_metal_fail(FAKE_WORK, 1);
    assert_int_equal(api->wait(dev, &err), DS4_E_DEVICE);
    assert_non_null(strstr(err.text, "GPU Timeout"));
    close_clean(dev);
    dev = open_device();
    const gpu_at y = take(dev, sizeof(float[N]));
    fake_metal_fail(FAKE_COMMAND_BUFFER, 1);
    assert_int_equal(norm(dev, y, y, &err), DS4_E_DEVICE);
    close_clean(dev);
}

/* Residency that no command used is never given back by some systems. */
static void test_one_command_before_the_end(void **state)
{
    (void)state;
    fake_metal_reset();
    gpu_device *dev = open_device();
    (void)take(dev, 1);
    assert_int_equal(fake_metal_count().n_commits, 0);
    close_clean(dev);
    assert_int_equal(fake_metal_count().n_commits, 1);
}

/* ---- the fake itself ------------------------------------------------------------------------------- */

static void test_wrong_uses_are_found(void **state)
{
    (void)state;
    for (uint32_t way = 0; way < FAKE_N_MISUSES; way++) {
        fake_metal_reset();
        assert_null(fake_metal_misuse());
        fake_metal_use_wrongly(way);
        if (!fake_metal_misuse()) fail_msg("wrong use %u was not found", way);
    }
    assert_int_equal(fake_metal_count().n_live, 0);
    fake_metal_reset();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_each_launch_sees_what_those_before_wrote),
    cmocka_unit_test(test_command_buffers_are_bounded),
    cmocka_unit_test(test_memory_is_zeroed_and_used_again),
    cmocka_unit_test(test_a_file_is_read_where_it_is_mapped),
    cmocka_unit_test(test_views_respect_the_largest_buffer),
    cmocka_unit_test(test_a_system_without_addresses_has_what_was_planned),
    cmocka_unit_test(test_any_thread_may_read),
    cmocka_unit_test(test_what_fails_while_opening_leaves_nothing),
    cmocka_unit_test(test_a_system_that_does_not_suffice_is_refused),
    cmocka_unit_test(test_groups_that_a_kernel_cannot_have_are_refused),
    cmocka_unit_test(test_full_memory_is_told_and_loses_nothing),
    cmocka_unit_test(test_lost_work_is_an_error_in_the_systems_words),
    cmocka_unit_test(test_one_command_before_the_end),
    cmocka_unit_test(test_wrong_uses_are_found),
};
#else
static void test_the_metal_device(void **state)
{
    (void)state;
    skip();                             /* a Mac, or no GNU runtime of Objective-C */
}

static const struct CMUnitTest tests[] = { cmocka_unit_test(test_the_metal_device) };
#endif
TEST_MAIN(tests)
