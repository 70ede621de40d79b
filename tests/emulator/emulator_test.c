/* emulator_test.c - the emulator finds the faults it is there for, and none where none is. */
#include "testing.h"

#include "emulator/emulator.h"
#include "emulator/planted.h"

#include <stdbool.h>
#include <sys/wait.h>

enum { N = 256, N_ORDERS = 4 };

static const char *run_planted(int which, uint32_t order, float y[2 * N])
{
    float                 x[N];
    void                 *buffer[2] = { x, y };
    const uint32_t        n = N;
    const emulator_launch l = { .call = planted_kernels[which].call,
                                .name = planted_kernels[which].name,
                                .args = &n,
                                .buffer = buffer,
                                .groups = { 1, 1, 1 },
                                .n_threads = N };

    for (int i = 0; i < N; i++) x[i] = (float)(i + 1);
    memset(y, 0, 2 * N * sizeof *y);
    emulator_order(order);
    const char *wrong = emulator_run(&l);
    emulator_order(0);
    return wrong;
}

static void test_a_sound_kernel_gives_the_same_in_any_order(void **state)
{
    float y[2 * N];

    (void)state;
    for (uint32_t order = 0; order < 20; order++) {
        assert_null(run_planted(PLANTED_SOUND, order, y));
        for (int i = 0; i < N; i++) assert_float_equal(y[i], N * (N + 1) / 2, 0.0);
    }
}

static void assert_told(int which, const char *what)
{
    float       y[2 * N];
    const char *wrong = run_planted(which, 0, y);

    assert_non_null(wrong);
    if (!strstr(wrong, what)) fail_msg("%s, expected: %s", wrong, what);
    /* The next run is not disturbed by it. */
    assert_null(run_planted(PLANTED_SOUND, 0, y));
}

static void test_a_simd_function_needs_the_whole_simdgroup(void **state)
{
    (void)state;
    assert_told(PLANTED_HALF_A_SIMDGROUP, "a simd function that part of a simdgroup reaches");
}

static void test_a_barrier_needs_the_whole_group(void **state)
{
    (void)state;
    assert_told(PLANTED_HALF_A_GROUP, "a barrier that part of a group reaches");
}

static void test_a_write_outside_of_group_memory_is_told(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_UNDEFINED__) && !defined(DS4_SANITIZED)
    assert_told(PLANTED_OUTSIDE, "group memory was written outside of an array");
#else
    skip(); /* the sanitizer stops the program there */
#endif
}

#ifndef __SANITIZE_THREAD__
/* Without its barrier a kernel gives another result in some order, or NaN of the poison. */
static bool differs_in_some_order(int which)
{
    float expected[2 * N], y[2 * N];
    bool  differs = false;

    run_planted(which, 0, expected);
    for (uint32_t order = 0; order < N_ORDERS; order++) {
        run_planted(which, order, y);
        for (int i = 0; i < 2 * N; i++) differs |= !(y[i] == expected[i]);
    }
    return differs;
}

static void test_a_missing_barrier_shows(void **state)
{
    (void)state;
    assert_true(differs_in_some_order(PLANTED_NO_BARRIER));
    assert_true(differs_in_some_order(PLANTED_WRITE_TOO_EARLY));
    assert_false(differs_in_some_order(PLANTED_SOUND));
}
#else
/* The sanitizer ends a program that had a race with a status of its own; it does not watch a forked
 * process, so that this program is begun anew. */
static int status_of(int which)
{
    char number[8];
    int  status;

    snprintf(number, sizeof number, "%d", which);
    const pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        execl("/proc/self/exe", "emulator_test", number, (char *)NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_a_missing_barrier_shows(void **state)
{
    (void)state;
    assert_int_not_equal(status_of(PLANTED_NO_BARRIER), 0);
    assert_int_not_equal(status_of(PLANTED_WRITE_TOO_EARLY), 0);
    assert_int_equal(status_of(PLANTED_SOUND), 0);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sound_kernel_gives_the_same_in_any_order),
        cmocka_unit_test(test_a_simd_function_needs_the_whole_simdgroup),
        cmocka_unit_test(test_a_barrier_needs_the_whole_group),
        cmocka_unit_test(test_a_write_outside_of_group_memory_is_told),
        cmocka_unit_test(test_a_missing_barrier_shows),
    };
    if (argc > 1) {                         /* one planted kernel, for the thread sanitizer */
        float y[2 * N];
        return run_planted(atoi(argv[1]), 0, y) != NULL;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
