/* recall.c - see recall.h. */
#include "app/server/recall.h"

#include "service/record_log.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_BUCKETS = 1 << 12, ID_BYTES = 64, MAX_BEFORE = 10000 };

typedef struct entry {
    struct entry *newer, *older;
    struct entry *next;         /* in the same bucket */
    char          id[ID_BYTES], before[ID_BYTES];
    size_t        n_bytes;
    char          items[];
} entry;

struct ds4_recall {
    pthread_mutex_t lock;
    entry          *oldest, *newest;
    entry          *bucket[N_BUCKETS];
    size_t          n_bytes, max_bytes;
    ds4_record_log *log;        /* NULL: in memory only */
};

ds4_status ds4_recall_create(size_t max_bytes, ds4_recall **out, ds4_err *err)
{
    ds4_recall *r = calloc(1, sizeof *r);

    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for earlier responses");
    }
    r->max_bytes = max_bytes;
    *out = r;
    return DS4_OK;
}

/* ---- the list: in order of use ------------------------------------------------------------------ */

static entry **bucket_of(ds4_recall *r, const char *id)
{
    uint32_t hash = 2166136261u;

    for (; *id; id++) hash = (hash ^ (unsigned char)*id) * 16777619u;
    return &r->bucket[hash % N_BUCKETS];
}

static entry *look_up(ds4_recall *r, const char *id)
{
    entry *e = *bucket_of(r, id);

    while (e && strcmp(e->id, id)) e = e->next;
    return e;
}

static void unlink_entry(ds4_recall *r, entry *e)
{
    *(e->newer ? &e->newer->older : &r->newest) = e->older;
    *(e->older ? &e->older->newer : &r->oldest) = e->newer;
}

static void add_newest(ds4_recall *r, entry *e)
{
    e->newer = NULL;
    e->older = r->newest;
    if (r->newest) r->newest->newer = e;
    r->newest = e;
    if (!r->oldest) r->oldest = e;
}

static void drop(ds4_recall *r, entry *e)
{
    entry **at = bucket_of(r, e->id);

    while (*at != e) at = &(*at)->next;
    *at = e->next;
    unlink_entry(r, e);
    r->n_bytes -= sizeof *e + e->n_bytes;
    free(e);
}

static void add_entry(ds4_recall *r, entry *e)
{
    entry **bucket = bucket_of(r, e->id);

    while (r->oldest && r->n_bytes + sizeof *e + e->n_bytes > r->max_bytes) drop(r, r->oldest);
    e->next = *bucket;
    *bucket = e;
    add_newest(r, e);
    r->n_bytes += sizeof *e + e->n_bytes;
}

/* ---- the file ------------------------------------------------------------------------------------- */

/* A record: both ids with their zeros, then the items. */
static void write_entry(const entry *e, ds4_record_log *to)
{
    ds4_str out = { 0 };

    if (!to) return;
    ds4_str_add(&out, e->id, strlen(e->id) + 1);
    ds4_str_add(&out, e->before, strlen(e->before) + 1);
    ds4_str_add(&out, e->items, e->n_bytes);
    if (!out.failed) ds4_record_log_append(to, (ds4_slice){ ds4_str_text(&out), out.n_bytes });
    ds4_str_clear(&out);
}

static void write_all(void *ctx, ds4_record_log *to)
{
    const ds4_recall *r = ctx;
    for (const entry *e = r->oldest; e; e = e->newer) write_entry(e, to);
}

/* Take an id with its zero from the front of *s. */
static bool take_id(ds4_slice *s, char id[ID_BYTES])
{
    const size_t n = strnlen(s->data, s->n_bytes);

    if (n == s->n_bytes || n >= ID_BYTES) return false;
    memcpy(id, s->data, n + 1);
    s->data += n + 1;
    s->n_bytes -= n + 1;
    return true;
}

static void take_record(void *ctx, ds4_slice record)
{
    ds4_recall *r = ctx;
    entry       head = { 0 };

    if (!take_id(&record, head.id) || !take_id(&record, head.before)) return;
    if (!head.id[0] || look_up(r, head.id) || sizeof head + record.n_bytes > r->max_bytes) return;
    entry *e = malloc(sizeof *e + record.n_bytes);
    if (!e) return;
    *e = head;
    e->n_bytes = record.n_bytes;
    memcpy(e->items, record.data, record.n_bytes);
    add_entry(r, e);
}

ds4_status ds4_recall_open(ds4_recall *r, const char *path, ds4_err *err)
{
    pthread_mutex_lock(&r->lock);
    const ds4_record_owner owner = { .take = take_record, .put_all = write_all, .ctx = r };
    const ds4_status       st = ds4_record_log_open(&r->log, path, 2 * (uint64_t)r->max_bytes, &owner, err);
    pthread_mutex_unlock(&r->lock);
    return st;
}

void ds4_recall_free(ds4_recall *r)
{
    if (!r) return;
    while (r->oldest) drop(r, r->oldest);
    ds4_record_log_close(r->log);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- keeping and finding ---------------------------------------------------------------------------- */

void ds4_recall_keep(ds4_recall *r, const char *id, ds4_slice before, ds4_slice input, ds4_slice output)
{
    const bool   both = input.n_bytes && output.n_bytes;
    const size_t n_bytes = input.n_bytes + output.n_bytes + (both ? 1 : 0);

    if (strlen(id) >= ID_BYTES || before.n_bytes >= ID_BYTES) return;
    if (sizeof(entry) + n_bytes > r->max_bytes) return;
    entry *e = calloc(1, sizeof *e + n_bytes);
    if (!e) return;
    memcpy(e->id, id, strlen(id));
    memcpy(e->before, before.data ? before.data : "", before.n_bytes);
    if (input.n_bytes) memcpy(e->items, input.data, input.n_bytes);
    if (both) e->items[input.n_bytes] = ',';
    if (output.n_bytes) memcpy(e->items + n_bytes - output.n_bytes, output.data, output.n_bytes);
    e->n_bytes = n_bytes;
    pthread_mutex_lock(&r->lock);
    add_entry(r, e);
    write_entry(e, r->log);
    pthread_mutex_unlock(&r->lock);
}

/* The items of an entry and all before it, oldest first; each counts as used, and the
 * oldest of them as used first. */
static bool collect(ds4_recall *r, entry *last, ds4_arena *arena, ds4_slice *items)
{
    size_t n_bytes = 0;
    entry *e = last, *older;

    for (uint32_t i = 0;; i++, e = older) {
        n_bytes += e->n_bytes + 1;
        if (!e->before[0]) break;
        older = look_up(r, e->before);
        if (!older || i == MAX_BEFORE || n_bytes > r->max_bytes) return false;
    }
    char *all = ds4_arena_alloc(arena, n_bytes, 1), *at = all + n_bytes;
    if (!all) return false;
    for (e = last; e; e = e->before[0] ? look_up(r, e->before) : NULL) {
        if (at < all + n_bytes && e->n_bytes) *--at = ',';
        at -= e->n_bytes;
        memcpy(at, e->items, e->n_bytes);
    }
    *items = (ds4_slice){ at, (size_t)(all + n_bytes - at) };
    return true;
}

static void use(ds4_recall *r, entry *last)
{
    entry *mark = NULL; /* what was moved last stands in front of what came before it */

    for (entry *e = last; e; e = e->before[0] ? look_up(r, e->before) : NULL) {
        unlink_entry(r, e);
        if (!mark) {
            add_newest(r, e);
        } else {
            e->newer = mark;
            e->older = mark->older;
            *(mark->older ? &mark->older->newer : &r->oldest) = e;
            mark->older = e;
        }
        mark = e;
    }
}

bool ds4_recall_find(void *recall, ds4_slice id, ds4_arena *arena, ds4_slice *items)
{
    ds4_recall *r = recall;
    char        text[ID_BYTES] = "";
    bool        found = false;

    if (id.n_bytes == 0 || id.n_bytes >= ID_BYTES) return false;
    memcpy(text, id.data, id.n_bytes);
    pthread_mutex_lock(&r->lock);
    entry *e = look_up(r, text);
    if (e && collect(r, e, arena, items)) {
        use(r, e);
        found = true;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

size_t ds4_recall_bytes(ds4_recall *r)
{
    pthread_mutex_lock(&r->lock);
    const size_t n = r->n_bytes;
    pthread_mutex_unlock(&r->lock);
    return n;
}
