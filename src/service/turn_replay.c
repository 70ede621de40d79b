/* turn_replay.c - see turn_replay.h: turns in order of use, found through a table of hashes. */
#include "service/turn_replay.h"

#include "text/pyjson.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_BUCKETS = 1 << 14 };

typedef struct turn turn;

/* One way to find a turn: by the id of a call, or by the conversation. */
typedef struct link {
    struct link *next; /* in the same bucket */
    turn        *owner;
    uint64_t     hash;
} link;

struct turn {
    turn     *newer, *older;
    ds4_slice visible; /* content without white space around, and the calls */
    ds4_slice reasoning, content, raw_calls;
    size_t    n_bytes; /* of the whole block */
    uint32_t  n_links;
    link      links[]; /* [n_links], then the texts */
};

struct ds4_replay {
    pthread_mutex_t lock;
    size_t          max_bytes, n_bytes;
    turn           *newest, *oldest;
    link           *bucket[N_BUCKETS];
};

/* ---- what counts ---------------------------------------------------------------------------- */

/* FNV-1a; turns are compared in full, so a collision costs a look and nothing else. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t n_bytes)
{
    const unsigned char *p = data;

    if (hash == 0) hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n_bytes; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static ds4_slice trimmed(ds4_slice s)
{
    while (s.n_bytes && is_space(s.data[0])) {
        s.data++;
        s.n_bytes--;
    }
    while (s.n_bytes && is_space(s.data[s.n_bytes - 1])) s.n_bytes--;
    return s;
}

/* Append what a message shows: trimmed text, then names and arguments of calls. */
static void add_visible(const ds4_message *m, ds4_str *out)
{
    const ds4_slice text = trimmed(m->content);

    ds4_str_addf(out, "%d:%zu:", (int)m->role, text.n_bytes);
    ds4_str_add(out, text.data, text.n_bytes);
    for (uint32_t i = 0; i < m->n_parts; i++) {
        ds4_str_addf(out, "|%zu:", m->parts[i].text.n_bytes);
        ds4_str_add(out, m->parts[i].text.data, m->parts[i].text.n_bytes);
    }
    for (uint32_t i = 0; i < m->n_calls; i++) {
        const ds4_call *call = &m->calls[i];
        ds4_str_addf(out, "\n%zu:", call->name.n_bytes);
        ds4_str_add(out, call->name.data, call->name.n_bytes);
        ds4_str_add_char(out, ' ');
        if (ds4_pyjson_dump(call->arguments, out, NULL) != DS4_OK) {
            ds4_str_add(out, call->arguments.data, call->arguments.n_bytes);
        }
    }
}

uint64_t ds4_replay_key(uint64_t before, const ds4_message *m)
{
    ds4_str  visible = { 0 };
    uint64_t key = before;

    if (m->role == DS4_ROLE_SYSTEM || m->role == DS4_ROLE_DEVELOPER) return before;
    add_visible(m, &visible);
    key = hash_bytes(key, ds4_str_text(&visible), visible.n_bytes + 1);
    ds4_str_clear(&visible);
    return key;
}

static uint64_t id_hash(ds4_slice id)
{
    return hash_bytes(hash_bytes(0, "id", 2), id.data, id.n_bytes);
}

/* ---- keeping -------------------------------------------------------------------------------- */

static void unlink_turn(ds4_replay *r, turn *t)
{
    for (uint32_t i = 0; i < t->n_links; i++) {
        link **at = &r->bucket[t->links[i].hash % N_BUCKETS];
        while (*at && *at != &t->links[i]) at = &(*at)->next;
        if (*at) *at = t->links[i].next;
    }
    if (t->newer)
        t->newer->older = t->older;
    else
        r->newest = t->older;
    if (t->older)
        t->older->newer = t->newer;
    else
        r->oldest = t->newer;
}

static void drop(ds4_replay *r, turn *t)
{
    unlink_turn(r, t);
    r->n_bytes -= t->n_bytes;
    free(t);
}

static void add_newest(ds4_replay *r, turn *t)
{
    t->newer = NULL;
    t->older = r->newest;
    if (r->newest) r->newest->newer = t;
    r->newest = t;
    if (!r->oldest) r->oldest = t;
}

static ds4_slice put(char **at, ds4_slice s)
{
    if (s.n_bytes) memcpy(*at, s.data, s.n_bytes);
    const ds4_slice copy = { *at, s.n_bytes };
    *at += s.n_bytes;
    return copy;
}

static turn *make_turn(uint64_t key, const ds4_message *m, ds4_slice visible)
{
    const uint32_t n_links = m->n_calls + 1;
    const size_t   n_bytes = sizeof(turn) + n_links * sizeof(link) + visible.n_bytes +
                           m->reasoning.n_bytes + m->content.n_bytes + m->raw_calls.n_bytes;
    turn *t = calloc(1, n_bytes);

    if (!t) return NULL;
    char *at = (char *)&t->links[n_links];
    t->n_bytes = n_bytes;
    t->n_links = n_links;
    t->visible = put(&at, visible);
    t->reasoning = put(&at, m->reasoning);
    t->content = put(&at, m->content);
    t->raw_calls = put(&at, m->raw_calls);
    for (uint32_t i = 0; i < n_links; i++) {
        t->links[i] = (link){ .owner = t, .hash = i ? id_hash(m->calls[i - 1].id) : key };
    }
    return t;
}

void ds4_replay_keep(ds4_replay *r, uint64_t key, const ds4_message *m)
{
    ds4_str visible = { 0 };

    add_visible(m, &visible);
    const ds4_slice shown = { ds4_str_text(&visible), visible.n_bytes };
    turn           *t = visible.failed ? NULL : make_turn(key, m, shown);
    ds4_str_clear(&visible);
    if (!t || t->n_bytes > r->max_bytes) {
        free(t);
        return;
    }
    pthread_mutex_lock(&r->lock);
    while (r->oldest && r->n_bytes + t->n_bytes > r->max_bytes) drop(r, r->oldest);
    add_newest(r, t);
    for (uint32_t i = 0; i < t->n_links; i++) {
        link **bucket = &r->bucket[t->links[i].hash % N_BUCKETS];
        t->links[i].next = *bucket;
        *bucket = &t->links[i];
    }
    r->n_bytes += t->n_bytes;
    pthread_mutex_unlock(&r->lock);
}

/* ---- finding -------------------------------------------------------------------------------- */

static turn *look_up(const ds4_replay *r, uint64_t hash, ds4_slice visible)
{
    for (link *l = r->bucket[hash % N_BUCKETS]; l; l = l->next) {
        if (l->hash == hash && ds4_slice_eq(l->owner->visible, visible)) return l->owner;
    }
    return NULL;
}

static bool copy_out(const turn *t, ds4_message *out, void **block)
{
    char *at = malloc(t->reasoning.n_bytes + t->content.n_bytes + t->raw_calls.n_bytes + 1);

    if (!at) return false;
    *block = at;
    out->reasoning = put(&at, t->reasoning);
    out->content = put(&at, t->content);
    out->raw_calls = put(&at, t->raw_calls);
    return true;
}

bool ds4_replay_find(ds4_replay *r, uint64_t key, const ds4_message *m, ds4_message *out,
                     void **block)
{
    ds4_str visible = { 0 };
    turn   *t = NULL;
    bool    found = false;

    add_visible(m, &visible);
    const ds4_slice shown = { ds4_str_text(&visible), visible.n_bytes };
    pthread_mutex_lock(&r->lock);
    for (uint32_t i = 0; i < m->n_calls && !t; i++) t = look_up(r, id_hash(m->calls[i].id), shown);
    if (!t) t = look_up(r, key, shown);
    if (t && copy_out(t, out, block)) {
        found = true;
        if (r->newest != t) {
            if (t->newer) t->newer->older = t->older;
            if (t->older)
                t->older->newer = t->newer;
            else
                r->oldest = t->newer;
            add_newest(r, t);
        }
    }
    pthread_mutex_unlock(&r->lock);
    ds4_str_clear(&visible);
    return found;
}

size_t ds4_replay_bytes(ds4_replay *r)
{
    pthread_mutex_lock(&r->lock);
    const size_t n = r->n_bytes;
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* ---- life ----------------------------------------------------------------------------------- */

ds4_status ds4_replay_create(size_t max_bytes, ds4_replay **out, ds4_err *err)
{
    ds4_replay *r = calloc(1, sizeof *r);

    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for remembered turns");
    }
    r->max_bytes = max_bytes;
    *out = r;
    return DS4_OK;
}

void ds4_replay_free(ds4_replay *r)
{
    if (!r) return;
    while (r->oldest) drop(r, r->oldest);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
