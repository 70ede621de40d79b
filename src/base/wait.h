/* wait.h - condition variables with monotonic times: a wall clock that is set makes no wait longer
 * or shorter. */
#ifndef DS4_BASE_WAIT_H
#define DS4_BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Make a condition for ds4_cond_wait_until(). Returns as pthread_cond_init(). */
int ds4_cond_init(pthread_cond_t *cond);

/* As pthread_cond_timedwait(), until a time of ds4_now_ns(); false when that has come. */
bool ds4_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns);

#endif
