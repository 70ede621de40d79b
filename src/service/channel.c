/* channel.c - see channel.h. */
#include "service/channel.h"

#include "base/clock.h"
#include "base/wait.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct ds4_channel {
    pthread_mutex_t lock;
    pthread_cond_t  filled;
    ds4_event      *first, **last;
    uint32_t        n_ends;     /* ends of jobs among them */
    bool            resting;    /* the reader wants to hear of an end only */
    bool            broken;
};

ds4_status ds4_channel_create(ds4_channel **out, ds4_err *err)
{
    ds4_channel *c = calloc(1, sizeof *c);

    if (!c) return ds4_fail(err, DS4_E_NOMEM, "no memory for a channel");
    c->last = &c->first;
    if (pthread_mutex_init(&c->lock, NULL) != 0) goto no_lock;
    if (ds4_cond_init(&c->filled) != 0) goto no_cond;
    *out = c;
    return DS4_OK;
no_cond:
    pthread_mutex_destroy(&c->lock);
no_lock:
    free(c);
    return ds4_fail(err, DS4_E_NOMEM, "no memory for the lock of a channel");
}

void ds4_channel_free(ds4_channel *c)
{
    if (!c) return;
    while (c->first) {
        ds4_event *next = c->first->next;
        free(c->first);
        c->first = next;
    }
    pthread_cond_destroy(&c->filled);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void ds4_channel_put(ds4_channel *c, const ds4_event *event)
{
    ds4_event *copy = malloc(sizeof *copy + event->text.n_bytes);

    if (copy) {
        *copy = *event;
        copy->next = NULL;
        copy->text.data = (char *)(copy + 1);
        if (event->text.n_bytes) memcpy(copy + 1, event->text.data, event->text.n_bytes);
    }
    pthread_mutex_lock(&c->lock);
    if (copy) {
        *c->last = copy;
        c->last = &copy->next;
        c->n_ends += event->kind == DS4_EVENT_END;
    } else {
        c->broken = true;
    }
    const bool wake = !c->resting || c->n_ends > 0 || c->broken;
    pthread_mutex_unlock(&c->lock);
    if (wake) pthread_cond_signal(&c->filled);
}

bool ds4_channel_broken(ds4_channel *c)
{
    pthread_mutex_lock(&c->lock);
    const bool broken = c->broken;
    pthread_mutex_unlock(&c->lock);
    return broken;
}

ds4_event *ds4_channel_get(ds4_channel *c, uint32_t wait_ms)
{
    uint64_t until_ns = 0;

    pthread_mutex_lock(&c->lock);
    if (!c->first && wait_ms > 0) until_ns = ds4_now_ns() + (uint64_t)wait_ms * 1000000u;
    while (!c->first && !c->broken && wait_ms > 0) {
        if (!ds4_cond_wait_until(&c->filled, &c->lock, until_ns)) break;
    }
    ds4_event *event = c->first;
    if (event) {
        c->first = event->next;
        if (!c->first) c->last = &c->first;
        c->n_ends -= event->kind == DS4_EVENT_END;
    }
    pthread_mutex_unlock(&c->lock);
    return event;
}

void ds4_channel_rest(ds4_channel *c, uint64_t until_ns)
{
    if (until_ns <= ds4_now_ns()) return;
    pthread_mutex_lock(&c->lock);
    c->resting = true;
    while (c->n_ends == 0 && !c->broken) {
        if (!ds4_cond_wait_until(&c->filled, &c->lock, until_ns)) break;
    }
    c->resting = false;
    pthread_mutex_unlock(&c->lock);
}
