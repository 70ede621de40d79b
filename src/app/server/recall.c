/* recall.c - see recall.h. */
#include "app/server/recall.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    struct entry *next; /* newer */
    char          id[64];
    size_t        n_bytes;
    char          items[];
} entry;

struct ds4_recall {
    pthread_mutex_t lock;
    entry          *oldest, **end;
    size_t          n_bytes, max_bytes;
};

ds4_status ds4_recall_create(size_t max_bytes, ds4_recall **out, ds4_err *err)
{
    ds4_recall *r = calloc(1, sizeof *r);

    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for earlier responses");
    }
    r->max_bytes = max_bytes;
    r->end = &r->oldest;
    *out = r;
    return DS4_OK;
}

static void drop_oldest(ds4_recall *r)
{
    entry *e = r->oldest;

    r->oldest = e->next;
    if (!r->oldest) r->end = &r->oldest;
    r->n_bytes -= sizeof *e + e->n_bytes;
    free(e);
}

void ds4_recall_free(ds4_recall *r)
{
    if (!r) return;
    while (r->oldest) drop_oldest(r);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void ds4_recall_keep(ds4_recall *r, const char *id, ds4_slice input, ds4_slice output)
{
    const bool   both = input.n_bytes && output.n_bytes;
    const size_t n_bytes = input.n_bytes + output.n_bytes + (both ? 1 : 0);
    entry       *e = malloc(sizeof *e + n_bytes);

    if (!e || sizeof *e + n_bytes > r->max_bytes) {
        free(e);
        return;
    }
    e->next = NULL;
    e->n_bytes = n_bytes;
    snprintf(e->id, sizeof e->id, "%s", id);
    memcpy(e->items, input.data ? input.data : "", input.n_bytes);
    if (both) e->items[input.n_bytes] = ',';
    memcpy(e->items + input.n_bytes + (both ? 1 : 0), output.data ? output.data : "",
           output.n_bytes);
    pthread_mutex_lock(&r->lock);
    while (r->oldest && r->n_bytes + sizeof *e + n_bytes > r->max_bytes) drop_oldest(r);
    *r->end = e;
    r->end = &e->next;
    r->n_bytes += sizeof *e + n_bytes;
    pthread_mutex_unlock(&r->lock);
}

bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items)
{
    ds4_recall *r = recall;
    bool        found = false;

    pthread_mutex_lock(&r->lock);
    for (entry *e = r->oldest; e && !found; e = e->next) {
        if (strlen(e->id) != id.n_bytes || memcmp(e->id, id.data, id.n_bytes) != 0) continue;
        *items = ds4_arena_copy(arena, (ds4_slice){ e->items, e->n_bytes });
        found = true;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}
