/* loop_watch.c - see loop_watch.h. */
#include "service/loop_watch.h"

bool ds4_loop_watch_token(ds4_loop_watch *w, int32_t id, uint32_t limit)
{
    bool looping = false;

    for (uint32_t p = 1; p <= DS4_LOOP_MAX_PERIOD && p <= w->n; p++) {
        if (w->token[(w->n - p) % DS4_LOOP_MAX_PERIOD] != id) {
            w->run[p] = 0;
            continue;
        }
        w->run[p]++;
        looping |= limit > 0 && w->run[p] >= limit && w->run[p] >= DS4_LOOP_REPEATS * p;
    }
    w->token[w->n++ % DS4_LOOP_MAX_PERIOD] = id;
    return looping;
}
