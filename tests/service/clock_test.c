/* clock_test.c - no wait is longer or shorter because somebody sets the wall clock. */
#include "testing.h"

#include "base/clock.h"
#include "base/wait.h"
#include "service/channel.h"

#include <time.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* The wall clock is as far ahead when the end of a wait is computed. */
static time_t ahead_s;

#ifdef __linux__
/* The program's own, in place of the system's, which waits by its own clocks. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    const int rc = (int)syscall(SYS_clock_gettime, clock, t);

    if (clock == CLOCK_REALTIME) t->tv_sec += ahead_s;
    return rc;
}
#endif

static double wait_for_channel(bool rest)
{
    ds4_channel   *c = NULL;
    const uint64_t begin_ns = ds4_now_ns();

    assert_int_equal(ds4_channel_create(&c, NULL), DS4_OK);
    if (rest) {
        ds4_channel_rest(c, begin_ns + 200000000);
    } else {
        assert_null(ds4_channel_get(c, 200));
    }
    ds4_channel_free(c);
    return (double)(ds4_now_ns() - begin_ns) / 1e9;
}

static double wait_for_condition(void)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t  cond;
    const uint64_t  begin_ns = ds4_now_ns();

    assert_int_equal(ds4_cond_init(&cond), 0);
    pthread_mutex_lock(&lock);
    while (ds4_cond_wait_until(&cond, &lock, begin_ns + 200000000)) {
    }
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
    return (double)(ds4_now_ns() - begin_ns) / 1e9;
}

static void test_waits_have_their_length(void **state)
{
    static const time_t steps[] = { 0, 3600, -3600 };

    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        ahead_s = steps[i];
        const double found[] = { wait_for_condition(), wait_for_channel(false),
                                 wait_for_channel(true) };
        for (size_t k = 0; k < sizeof found / sizeof *found; k++) {
            if (!(found[k] >= 0.199 && found[k] < 5))
                fail_msg("%.3f s, the clock %ld s ahead", found[k], (long)ahead_s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_waits_have_their_length) };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
