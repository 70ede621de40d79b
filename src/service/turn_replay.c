/* turn_replay.c - see turn_replay.h: turns in order of use, found through a table of hashes. */
#include "service/turn_replay.h"

#include "base/file.h"
#include "text/pyjson.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    turn           *newest, *oldest;
    handle         *bucket[N_BUCKETS];
    int             log; /* turns are appended here; -1: nowhere */
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

/* A record: this head, the hashes, the texts, and a checksum of all that. */
typedef struct record_head {
    uint32_t magic, n_links;
    uint32_t n_bytes[4]; /* visible, reasoning, content, raw_calls */
} record_head;

enum { RECORD_MAGIC = 0x31545344, MAX_LINKS = 4096, MAX_FILE_BYTES = 1 << 30 };

static void write_record(const turn *t, ds4_str *out)
{
    const ds4_slice text[4] = { t->visible, t->reasoning, t->content, t->raw_calls };
    record_head     head = { .magic = RECORD_MAGIC, .n_links = t->n_links };
    const size_t    begin = out->n_bytes;

    for (int i = 0; i < 4; i++) head.n_bytes[i] = (uint32_t)text[i].n_bytes;
    ds4_str_add(out, &head, sizeof head);
    for (uint32_t i = 0; i < t->n_links; i++) {
        ds4_str_add(out, &t->links[i].hash, sizeof t->links[i].hash);
    }
    for (int i = 0; i < 4; i++) ds4_str_add(out, text[i].data, text[i].n_bytes);
    if (out->failed) return;
    const uint64_t sum = hash_bytes(0, out->data + begin, out->n_bytes - begin);
    ds4_str_add(out, &sum, sizeof sum);
}

/* One write, so that a reader finds whole records unless the disk is full. */
static void append(ds4_replay *r, const ds4_str *record)
{
    if (r->log < 0 || record->failed || record->n_bytes == 0) return;
    if (write(r->log, record->data, record->n_bytes) == (ssize_t)record->n_bytes) return;
    close(r->log);
    r->log = -1;
}

/* The turn of a record at data, or NULL; *n_record receives the record's bytes. */
static turn *read_record(const char *data, size_t n_left, size_t *n_record)
{
    record_head head;
    ds4_slice   text[4];
    uint64_t    sum;

    if (n_left < sizeof head) return NULL;
    memcpy(&head, data, sizeof head);
    if (head.magic != RECORD_MAGIC || head.n_links == 0 || head.n_links > MAX_LINKS) return NULL;
    uint64_t n = sizeof head + head.n_links * sizeof(uint64_t);
    for (int i = 0; i < 4; i++) {
        text[i] = (ds4_slice){ data + n, head.n_bytes[i] };
        n += head.n_bytes[i];
    }
    if (n + sizeof sum > n_left) return NULL;
    memcpy(&sum, data + n, sizeof sum);
    if (hash_bytes(0, data, (size_t)n) != sum) return NULL;
    turn *t = new_turn(head.n_links, text);
    for (uint32_t i = 0; t && i < head.n_links; i++) {
        memcpy(&t->links[i].hash, data + sizeof head + i * sizeof(uint64_t), sizeof(uint64_t));
    }
    *n_record = (size_t)n + sizeof sum;
    return t;
}

/* Called with the lock held. */
static void add_turn(ds4_replay *r, turn *t)
{
    while (r->oldest && r->n_bytes + t->n_bytes > r->max_bytes) drop(r, r->oldest);
    add_newest(r, t);
    for (uint32_t i = 0; i < t->n_links; i++) {
        handle **bucket = &r->bucket[t->links[i].hash % N_BUCKETS];
        t->links[i].next = *bucket;
        *bucket = &t->links[i];
    }
    r->n_bytes += t->n_bytes;
}

void ds4_replay_keep(ds4_replay *r, uint64_t key, const ds4_message *m)
{
    ds4_str visible = { 0 }, record = { 0 };

    add_visible(m, &visible);
    const ds4_slice shown = { ds4_str_text(&visible), visible.n_bytes };
    turn           *t = visible.failed ? NULL : make_turn(key, m, shown);
    ds4_str_clear(&visible);
    if (!t || t->n_bytes > r->max_bytes) {
        free(t);
        return;
    }
    write_record(t, &record);
    pthread_mutex_lock(&r->lock);
    add_turn(r, t);
    append(r, &record);
    pthread_mutex_unlock(&r->lock);
    ds4_str_clear(&record);
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

/* ---- opening the file ------------------------------------------------------------------------- */

static ds4_status write_anew(ds4_replay *r, const char *path, ds4_err *err)
{
    ds4_str all = { 0 };

    for (turn *t = r->oldest; t; t = t->newer) write_record(t, &all);
    const ds4_status st = all.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for %s", path)
                                     : ds4_file_replace(path, ds4_str_text(&all), all.n_bytes, err);
    ds4_str_clear(&all);
    return st;
}

ds4_status ds4_replay_open(ds4_replay *r, const char *path, ds4_err *err)
{
    ds4_str    text = { 0 };
    size_t     at = 0, n_record = 0;
    ds4_status st = DS4_OK;

    if (ds4_file_exists(path)) st = ds4_file_read(path, MAX_FILE_BYTES, &text, err);
    pthread_mutex_lock(&r->lock);
    while (st == DS4_OK && at < text.n_bytes) {
        turn *t = read_record(text.data + at, text.n_bytes - at, &n_record);
        if (!t) break;
        at += n_record;
        if (t->n_bytes > r->max_bytes) {
            free(t);
            continue;
        }
        add_turn(r, t);
    }
    const bool damaged = at < text.n_bytes;
    if (st == DS4_E_LIMIT || (st == DS4_OK && (damaged || text.n_bytes / 2 > r->max_bytes))) {
        st = write_anew(r, path, err);
    }
    if (st == DS4_OK) {
        r->log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (r->log < 0) st = ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    }
    pthread_mutex_unlock(&r->lock);
    ds4_str_clear(&text);
    return st;
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
    r->log = -1;
    *out = r;
    return DS4_OK;
}

void ds4_replay_free(ds4_replay *r)
{
    if (!r) return;
    while (r->oldest) drop(r, r->oldest);
    if (r->log >= 0) close(r->log);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
