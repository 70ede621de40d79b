/* turn_replay.c - see turn_replay.h: turns in order of use, found through a table of hashes. */
#include "service/turn_replay.h"

#include "service/record_log.h"
#include "text/pyjson.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { N_BUCKETS = 1 << 14 };

typedef struct turn turn;

/* One way to find a turn: by the id of a call, or by the conversation. */
typedef struct handle {
    struct handle *next; /* in the same bucket */
    turn          *owner;
    uint64_t       hash;
} handle;

struct turn {
    turn     *newer, *older;
    ds4_slice visible; /* content without white space around, and the calls */
    ds4_slice reasoning, content, raw_calls;
    size_t    n_bytes; /* of the whole block */
    uint32_t  n_links;
    handle    links[]; /* [n_links], then the texts */
};

struct ds4_replay {
    pthread_mutex_t lock;
    size_t          max_bytes, n_bytes;
    uint32_t        max_handles, n_handles;
    turn           *newest, *oldest;
    handle         *bucket[N_BUCKETS];
    ds4_record_log *log; /* turns are appended here; NULL: nowhere */
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

/* ---- turns -------------------------------------------------------------------------------- */

static void unlink_turn(ds4_replay *r, turn *t)
{
    for (uint32_t i = 0; i < t->n_links; i++) {
        handle **at = &r->bucket[t->links[i].hash % N_BUCKETS];
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
    r->n_handles -= t->n_links;
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

/* A turn with room for its links and texts; the caller fills in the hashes. */
static turn *new_turn(uint32_t n_links, const ds4_slice text[4])
{
    size_t n_bytes = sizeof(turn) + n_links * sizeof(handle);

    for (int i = 0; i < 4; i++) n_bytes += text[i].n_bytes;
    turn *t = calloc(1, n_bytes);
    if (!t) return NULL;
    char *at = (char *)&t->links[n_links];
    t->n_bytes = n_bytes;
    t->n_links = n_links;
    t->visible = put(&at, text[0]);
    t->reasoning = put(&at, text[1]);
    t->content = put(&at, text[2]);
    t->raw_calls = put(&at, text[3]);
    for (uint32_t i = 0; i < n_links; i++) t->links[i].owner = t;
    return t;
}

static turn *make_turn(uint64_t key, const ds4_message *m, ds4_slice visible)
{
    const ds4_slice text[4] = { visible, m->reasoning, m->content, m->raw_calls };
    turn           *t = new_turn(m->n_calls + 1, text);

    for (uint32_t i = 0; t && i < t->n_links; i++) {
        t->links[i].hash = i ? id_hash(m->calls[i - 1].id) : key;
    }
    return t;
}

/* ---- the file ------------------------------------------------------------------------------------ */

/* A record: this head, the hashes, the texts. */
typedef struct turn_head {
    uint32_t n_links;
    uint32_t n_bytes[4]; /* visible, reasoning, content, raw_calls */
} turn_head;

enum { MAX_LINKS = 4096 };

static void write_record(const turn *t, ds4_record_log *to)
{
    const ds4_slice text[4] = { t->visible, t->reasoning, t->content, t->raw_calls };
    turn_head       head = { .n_links = t->n_links };
    ds4_str         out = { 0 };

    if (!to) return;
    for (int i = 0; i < 4; i++) head.n_bytes[i] = (uint32_t)text[i].n_bytes;
    ds4_str_add(&out, &head, sizeof head);
    for (uint32_t i = 0; i < t->n_links; i++) {
        ds4_str_add(&out, &t->links[i].hash, sizeof t->links[i].hash);
    }
    for (int i = 0; i < 4; i++) ds4_str_add(&out, text[i].data, text[i].n_bytes);
    if (!out.failed) ds4_record_log_append(to, (ds4_slice){ ds4_str_text(&out), out.n_bytes });
    ds4_str_clear(&out);
}

/* The turn of a record, or NULL. */
static turn *read_record(ds4_slice record)
{
    turn_head head;
    ds4_slice text[4];

    if (record.n_bytes < sizeof head) return NULL;
    memcpy(&head, record.data, sizeof head);
    if (head.n_links == 0 || head.n_links > MAX_LINKS) return NULL;
    uint64_t n = sizeof head + head.n_links * sizeof(uint64_t);
    for (int i = 0; i < 4; i++) n += head.n_bytes[i];
    if (n != record.n_bytes) return NULL;
    const char *at = record.data + sizeof head + head.n_links * sizeof(uint64_t);
    for (int i = 0; i < 4; at += head.n_bytes[i++]) text[i] = (ds4_slice){ at, head.n_bytes[i] };
    turn *t = new_turn(head.n_links, text);
    for (uint32_t i = 0; t && i < head.n_links; i++) {
        memcpy(&t->links[i].hash, record.data + sizeof head + i * sizeof(uint64_t), sizeof(uint64_t));
    }
    return t;
}

/* Called with the lock held. */
static void add_turn(ds4_replay *r, turn *t)
{
    while (r->oldest &&
           (r->n_bytes + t->n_bytes > r->max_bytes || r->n_handles + t->n_links > r->max_handles)) {
        drop(r, r->oldest);
    }
    add_newest(r, t);
    for (uint32_t i = 0; i < t->n_links; i++) {
        handle **bucket = &r->bucket[t->links[i].hash % N_BUCKETS];
        t->links[i].next = *bucket;
        *bucket = &t->links[i];
    }
    r->n_bytes += t->n_bytes;
    r->n_handles += t->n_links;
}

/* ---- finding -------------------------------------------------------------------------------- */

static turn *look_up(const ds4_replay *r, uint64_t hash, ds4_slice visible)
{
    for (handle *l = r->bucket[hash % N_BUCKETS]; l; l = l->next) {
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

static void make_newest(ds4_replay *r, turn *t)
{
    if (r->newest == t) return;
    if (t->newer) t->newer->older = t->older;
    if (t->older)
        t->older->newer = t->newer;
    else
        r->oldest = t->newer;
    add_newest(r, t);
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
        make_newest(r, t);
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

/* ---- keeping ------------------------------------------------------------------------------------ */

static void write_all(void *ctx, ds4_record_log *to)
{
    const ds4_replay *r = ctx;
    for (const turn *t = r->oldest; t; t = t->newer) write_record(t, to);
}

/* The same request has had the same answer before: nothing new to know, unless it has calls
 * with new ids. */
static turn *look_up_same(const ds4_replay *r, uint64_t key, const turn *t)
{
    turn *known = t->n_links == 1 ? look_up(r, key, t->visible) : NULL;

    if (!known || !ds4_slice_eq(known->reasoning, t->reasoning)) return NULL;
    return ds4_slice_eq(known->content, t->content) ? known : NULL;
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
    turn *known = look_up_same(r, key, t);
    if (known) {
        make_newest(r, known);
        free(t);
    } else {
        add_turn(r, t);
        write_record(t, r->log);
    }
    pthread_mutex_unlock(&r->lock);
}

static void take_record(void *ctx, ds4_slice record)
{
    ds4_replay *r = ctx;
    turn       *t = read_record(record);

    if (t && t->n_bytes <= r->max_bytes)
        add_turn(r, t);
    else
        free(t);
}

ds4_status ds4_replay_open(ds4_replay *r, const char *path, ds4_err *err)
{
    pthread_mutex_lock(&r->lock);
    const ds4_record_owner owner = { .take = take_record, .put_all = write_all, .ctx = r };
    const ds4_status       st = ds4_record_log_open(&r->log, path, 2 * (uint64_t)r->max_bytes, &owner, err);
    pthread_mutex_unlock(&r->lock);
    return st;
}

/* ---- life ----------------------------------------------------------------------------------- */

ds4_status ds4_replay_create(size_t max_bytes, uint32_t max_handles, ds4_replay **out, ds4_err *err)
{
    ds4_replay *r = calloc(1, sizeof *r);

    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for remembered turns");
    }
    r->max_bytes = max_bytes;
    r->max_handles = max_handles;
    *out = r;
    return DS4_OK;
}

void ds4_replay_free(ds4_replay *r)
{
    if (!r) return;
    while (r->oldest) drop(r, r->oldest);
    ds4_record_log_close(r->log);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
