/* pthread.h - for make check-apple, see stdlib.h. */
#ifndef DS4_TESTS_APPLE_PTHREAD_H
#define DS4_TESTS_APPLE_PTHREAD_H

typedef struct {
    long words[8];
} pthread_mutex_t;

int pthread_mutex_init(pthread_mutex_t *m, const void *how);
int pthread_mutex_destroy(pthread_mutex_t *m);
int pthread_mutex_lock(pthread_mutex_t *m);
int pthread_mutex_unlock(pthread_mutex_t *m);

#endif
