/* loop_watch.h - notices a model that repeats itself without end.
 *
 * A loop is a run of tokens that equals itself shifted by a period: it must be long, and
 * hold the period many times, so that tables and padding in honest answers do not count. */
#ifndef DS4_SERVICE_LOOP_WATCH_H
#define DS4_SERVICE_LOOP_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DS4_LOOP_MAX_PERIOD = 256,  /* tokens */
    DS4_LOOP_REPEATS    = 8,
};

/* Zeroed is ready. */
typedef struct ds4_loop_watch {
    int32_t  token[DS4_LOOP_MAX_PERIOD];        /* ring of the newest */
    uint32_t run[DS4_LOOP_MAX_PERIOD + 1];      /* by period: tokens that repeated it in a row */
    uint64_t n;
} ds4_loop_watch;

/* Take one token. Returns true when at least `limit` tokens, and the period
 * DS4_LOOP_REPEATS times, were repetition; limit 0: never. */
bool ds4_loop_watch_token(ds4_loop_watch *w, int32_t id, uint32_t limit);

#endif
