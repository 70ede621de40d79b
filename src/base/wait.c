/* wait.c - see wait.h. */
#include "base/wait.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

static struct timespec time_of(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
                              .tv_nsec = (long)(ns % 1000000000u) };
}

#ifdef __APPLE__

int ds4_cond_init(pthread_cond_t *cond)
{
    return pthread_cond_init(cond, NULL);
}

bool ds4_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
    const uint64_t        now = ds4_now_ns();
    const struct timespec left = time_of(until_ns > now ? until_ns - now : 0);

    return pthread_cond_timedwait_relative_np(cond, lock, &left) != ETIMEDOUT;
}

#else

int ds4_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int                rc = pthread_condattr_init(&attr);

    if (rc != 0) return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (rc == 0) rc = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return rc;
}

bool ds4_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
    const struct timespec until = time_of(until_ns);

    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}

#endif
