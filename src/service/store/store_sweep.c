/* store_sweep.c - bring the folder of the KV store and its index together.
 *
 * Files get their names inside a transaction of the index, so that whoever holds one and
 * finds a file without a row knows that its writer died, or that the index was lost. */
#include "service/store/store_local.h"

#include "base/clock.h"
#include "base/log.h"
#include "text/bpe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct entry {
    ds4_kv_kind kind;
    ds4_kv_key  key;
} entry;

typedef struct entries {
    entry   *item;
    uint32_t n, capacity;
    bool     failed;
} entries;

typedef struct names {
    char   (*item)[STORE_WRITER];
    uint32_t n, capacity;
    bool     failed;
} names;

typedef struct sweep {
    ds4_store *s;
    entries    files, rows;
    names      living;              /* writers whose lock is held */
    names      known;               /* writers in the index */
    ds4_err   *err;
    ds4_status st;
} sweep;

static void *grown(void *items, uint32_t n, uint32_t *capacity, size_t item_bytes, bool *failed)
{
    if (n < *capacity) return items;
    const uint32_t more = *capacity ? 2 * *capacity : 64;
    void          *grew = realloc(items, more * item_bytes);
    if (!grew) {
        *failed = true;
        return items;
    }
    *capacity = more;
    return grew;
}

static void add_entry(entries *e, ds4_kv_kind kind, const ds4_kv_key *key)
{
    e->item = grown(e->item, e->n, &e->capacity, sizeof *e->item, &e->failed);
    if (!e->failed) e->item[e->n++] = (entry){ kind, *key };
}

static void add_name(names *l, const char *name)
{
    l->item = grown(l->item, l->n, &l->capacity, sizeof *l->item, &l->failed);
    if (!l->failed) snprintf(l->item[l->n++], STORE_WRITER, "%s", name);
}

static bool has_name(const names *l, const char *name)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (strncmp(l->item[i], name, STORE_WRITER - 1) == 0) return true;
    }
    return false;
}

static int compare_entries(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return memcmp(x->key.b, y->key.b, sizeof x->key.b);
}

static bool has_entry(const entries *e, const entry *what)
{
    return e->n > 0 && bsearch(what, e->item, e->n, sizeof *e->item, compare_entries);
}

/* ---- writers ------------------------------------------------------------------------------------ */

static bool writer_lives(const ds4_store *s, const char *lock_name)
{
    const int fd = openat(s->fd, lock_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    const bool lives = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return lives;
}

static bool is_lock(const char *name)
{
    return strncmp(name, "writer-", 7) == 0 && strlen(name) == 7 + 16 + 5
        && strcmp(name + 7 + 16, ".lock") == 0;
}

ds4_status store_be_writer(ds4_store *s, ds4_err *err)
{
    char     name[STORE_NAME];
    uint64_t seed[3] = { ds4_now_ns(), (uint64_t)getpid(), (uint64_t)(uintptr_t)s };

    if (s->writer[0]) return DS4_OK;
    for (int tries = 0; tries < 100; tries++, seed[0]++) {
        char             text[DS4_KV_KEY_TEXT];
        const ds4_kv_key key = ds4_kv_hash(seed, sizeof seed);
        ds4_kv_key_text(&key, text);
        text[STORE_WRITER - 1] = '\0';
        snprintf(name, sizeof name, "writer-%s.lock", text);
        const int fd = openat(s->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST) continue;
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
            const int reason = errno;
            if (fd >= 0) close(fd);
            return ds4_fail(err, DS4_E_IO, "%s/%s: %s", s->dir, name, strerror(reason));
        }
        s->writer_fd = fd;
        memcpy(s->writer, text, STORE_WRITER);
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_IO, "%s: no free name for a writer", s->dir);
}

static bool note_writer(void *ctx, const char *name, uint64_t n_bytes)
{
    (void)n_bytes;
    add_name(ctx, name);
    return true;
}

/* ---- what there is ------------------------------------------------------------------------------- */

static void keep_going(sweep *w, ds4_status st)
{
    if (w->st == DS4_OK) w->st = st;
}

static bool row_of_block(void *ctx, const ds4_index_block *b)
{
    if (b->size > 0) add_entry(ctx, DS4_KV_BLOCK, &b->key);
    return true;
}

static bool row_of_tail(void *ctx, const ds4_index_tail *t)
{
    add_entry(ctx, DS4_KV_TAIL, &t->key);
    return true;
}

static bool aside_is_there(void *ctx, const char *name, uint64_t n_bytes)
{
    const ds4_store *s = ctx;
    struct stat      info;

    (void)n_bytes;
    return store_name_is_aside(name) && fstatat(s->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Turns and responses as an older version kept them: without an owner, in files of their own. */
static bool is_of_old(const char *name)
{
    return strcmp(name, "server-turns.bin") == 0 || strcmp(name, "server-responses.bin") == 0;
}

static void put_old_aside(sweep *w, const char *name)
{
    ds4_log(DS4_LOG_WARN, "kv", "%s/%s is of an older version, and nobody's: it is set aside", w->s->dir,
            name);
    w->s->said_damaged = true;
    keep_going(w, store_set_aside(w->s, name, name, w->err));
    w->s->said_damaged = false;
}

/* Each name of the folder, once for the locks and once for all others. */
static void look_at(sweep *w, const char *name, bool locks)
{
    ds4_store  *s = w->s;
    ds4_kv_kind kind;
    ds4_kv_key  key;
    struct stat info;
    const size_t n = strlen(name);

    if (is_lock(name)) {
        if (!locks) return;
        if (writer_lives(s, name)) add_name(&w->living, name + 7);
        else unlinkat(s->fd, name, 0);
    } else if (locks) {
        return;
    } else if (strncmp(name, "tmp-", 4) == 0) {
        if (n < 4 + STORE_WRITER || !has_name(&w->living, name + 4)) unlinkat(s->fd, name, 0);
    } else if (store_name_read(name, &kind, &key)) {
        add_entry(&w->files, kind, &key);
    } else if (is_of_old(name)) {
        put_old_aside(w, name);
    } else if (store_name_is_aside(name) && fstatat(s->fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        keep_going(w, ds4_index_set_aside(s->index, name, info.st_size > 0 ? (uint64_t)info.st_size : 1,
                                          w->err));
    }
}

static ds4_status read_dir(sweep *w, bool locks)
{
    /* A folder opened anew has its own place in the listing. */
    const int fd = openat(w->s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR      *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir) {
        const int reason = errno;
        if (fd >= 0) close(fd);
        return ds4_fail(w->err, DS4_E_IO, "%s: %s", w->s->dir, strerror(reason));
    }
    for (struct dirent *e; w->st == DS4_OK && (e = readdir(dir));) look_at(w, e->d_name, locks);
    closedir(dir);
    return w->st;
}

/* ---- losses ------------------------------------------------------------------------------------------ */

static bool note_block_id(void *ctx, const ds4_index_block *b)
{
    *(int64_t *)ctx = b->id;
    return false;
}

static bool note_tail_id(void *ctx, const ds4_index_tail *t)
{
    *(int64_t *)ctx = t->id;
    return false;
}

ds4_status store_lose(ds4_store *s, ds4_kv_kind kind, const ds4_kv_key *key, ds4_err *err)
{
    int64_t id = 0;

    if (kind == DS4_KV_BLOCK) {
        DS4_TRY(ds4_index_block_by_key(s->index, key, note_block_id, &id, err));
        return id ? ds4_index_lose_block(s->index, id, err) : DS4_OK;
    }
    DS4_TRY(ds4_index_tail_by_key(s->index, key, note_tail_id, &id, err));
    return id ? ds4_index_drop_tail(s->index, id, err) : DS4_OK;
}

/* ---- taking over ------------------------------------------------------------------------------------ */

typedef struct parent_row {
    int64_t  id, model;
    uint32_t pos;
} parent_row;

static bool note_parent(void *ctx, const ds4_index_block *b)
{
    *(parent_row *)ctx = (parent_row){ b->id, b->model, b->pos };
    return false;
}

static void decode(const ds4_store *s, const ds4_kv_file *f, ds4_str *text)
{
    if (!s->engine || !store_view_of(s, &f->owner.identity)) return;
    for (uint32_t i = 0; i < f->n_tokens; i++) {
        const int32_t id = ds4_kv_token(f->tokens, i);
        ds4_vocab_decode(ds4_engine_vocab(s->engine), &id, 1, 0, text);
    }
}

/* Give a whole file its row, if what it follows has one. *fits says whether it has. */
static ds4_status adopt(ds4_store *s, const ds4_kv_file *f, uint64_t size, bool *fits, ds4_err *err)
{
    const ds4_kv_key root = ds4_kv_root(&f->owner);
    const uint32_t   before = f->pos - f->n_tokens;
    parent_row       parent = { 0 };
    ds4_str          text = { 0 };
    int64_t          id = 0;

    if (before == 0) {
        *fits = ds4_kv_key_eq(&root, &f->parent);
        if (!*fits) return DS4_OK;
        DS4_TRY(ds4_index_model_id(s->index, &root, &f->owner.identity, NULL, NULL, &parent.model,
                                   err));
    } else {
        DS4_TRY(ds4_index_block_by_key(s->index, &f->parent, note_parent, &parent, err));
        *fits = parent.id != 0 && parent.pos == before;
        if (!*fits) return DS4_OK;
    }
    decode(s, f, &text);
    const ds4_slice tokens = { (const char *)f->tokens, 4ull * f->n_tokens };
    const ds4_slice bytes = { ds4_str_text(&text), text.n_bytes };
    ds4_status      st;
    if (f->kind == DS4_KV_BLOCK) {
        const ds4_index_block b = { .model = parent.model, .parent = parent.id, .key = f->key,
                                    .pos = f->pos, .size = size, .tokens = tokens, .text = bytes };
        st = ds4_index_add_block(s->index, &b, &id, err);
    } else {
        const ds4_index_tail t = { .model = parent.model, .block = parent.id, .key = f->key,
                                   .kind = DS4_TAIL_TURN, .pos = f->pos, .size = size,
                                   .tokens = tokens, .text = bytes };
        st = ds4_index_add_tail(s->index, &t, &id, err);
    }
    ds4_str_clear(&text);
    return st;
}

/* A file without a row, and how far its tokens reach. */
typedef struct orphan {
    entry    what;
    uint32_t pos;
} orphan;

static int compare_orphans(const void *a, const void *b)
{
    const orphan *x = a, *y = b;
    if (x->pos != y->pos) return x->pos < y->pos ? -1 : 1;
    return x->what.kind < y->what.kind ? -1 : x->what.kind > y->what.kind;
}

/* Read one, and adopt it or only learn its place. What is damaged is set aside. */
static ds4_status take_orphan(ds4_store *s, orphan *o, bool learn, ds4_err *err)
{
    char        name[STORE_NAME];
    uint8_t    *bytes = NULL;
    uint64_t    n_bytes = 0;
    ds4_kv_file f = { 0 };
    ds4_err     why = { 0 };
    bool        fits = false;

    store_name(o->what.kind, &o->what.key, name);
    ds4_status st = store_read(s, name, -1, &bytes, &n_bytes, &why);
    if (st == DS4_OK) st = ds4_kv_file_parse(name, bytes, n_bytes, &f, &why);
    if (st == DS4_OK && (f.kind != o->what.kind || !ds4_kv_key_eq(&f.key, &o->what.key))) {
        st = ds4_fail(&why, DS4_E_FORMAT, "%s/%s: holds something else", s->dir, name);
    }
    o->pos = st == DS4_OK ? f.pos : 0;
    if (st == DS4_E_FORMAT || st == DS4_E_IO) {
        st = store_set_aside(s, name, why.text, err);
        if (st == DS4_OK) st = store_lose(s, o->what.kind, &o->what.key, err);
    } else if (st == DS4_OK && !learn) {
        st = adopt(s, &f, n_bytes, &fits, err);
        if (st == DS4_OK && !fits) unlinkat(s->fd, name, 0);    /* nothing leads to it */
    }
    free(bytes);
    return st;
}

static ds4_status take_orphans(sweep *w)
{
    orphan    *list = NULL;
    uint32_t   n = 0, capacity = 0;
    bool       failed = false;
    ds4_status st = DS4_OK;

    for (uint32_t i = 0; i < w->files.n; i++) {
        if (has_entry(&w->rows, &w->files.item[i])) continue;
        list = grown(list, n, &capacity, sizeof *list, &failed);
        if (!failed) list[n++] = (orphan){ w->files.item[i], 0 };
    }
    if (failed) st = ds4_fail(w->err, DS4_E_NOMEM, "%s: no memory for its listing", w->s->dir);
    for (uint32_t i = 0; st == DS4_OK && i < n; i++) st = take_orphan(w->s, &list[i], true, w->err);
    if (n > 0) qsort(list, n, sizeof *list, compare_orphans);
    for (uint32_t i = 0; st == DS4_OK && i < n; i++) {
        if (list[i].pos > 0) st = take_orphan(w->s, &list[i], false, w->err);
    }
    free(list);
    return st;
}

/* Blocks that were taken in without their model at hand, so that their text is missing. */
typedef struct bare {
    ds4_kv_key *key;
    uint32_t    n, capacity;
    int64_t     model;
    bool        failed;
} bare;

static bool note_bare(void *ctx, const ds4_index_block *b)
{
    bare *l = ctx;

    if (b->model != l->model || b->text.n_bytes > 0 || b->size == 0) return true;
    l->key = grown(l->key, l->n, &l->capacity, sizeof *l->key, &l->failed);
    if (!l->failed) l->key[l->n++] = b->key;
    return true;
}

static ds4_status name_texts(ds4_store *s, int64_t model, ds4_err *err)
{
    bare       l = { .model = model };
    ds4_status st = ds4_index_all_blocks(s->index, note_bare, &l, err);

    for (uint32_t i = 0; st == DS4_OK && i < l.n; i++) {
        orphan o = { { DS4_KV_BLOCK, l.key[i] }, 0 };
        st = take_orphan(s, &o, false, err);
    }
    free(l.key);
    return st;
}

/* ---- all of it ---------------------------------------------------------------------------------------- */

static ds4_status compare(sweep *w)
{
    ds4_store *s = w->s;

    DS4_TRY(read_dir(w, true));
    DS4_TRY(read_dir(w, false));
    DS4_TRY(ds4_index_all_blocks(s->index, row_of_block, &w->rows, w->err));
    DS4_TRY(ds4_index_all_tails(s->index, row_of_tail, &w->rows, w->err));
    DS4_TRY(ds4_index_writers(s->index, note_writer, &w->known, w->err));
    if (w->files.failed || w->rows.failed || w->living.failed || w->known.failed) {
        return ds4_fail(w->err, DS4_E_NOMEM, "%s: no memory for its listing", s->dir);
    }
    if (w->files.n) qsort(w->files.item, w->files.n, sizeof *w->files.item, compare_entries);
    if (w->rows.n) qsort(w->rows.item, w->rows.n, sizeof *w->rows.item, compare_entries);
    for (uint32_t i = 0; i < w->known.n; i++) {
        if (has_name(&w->living, w->known.item[i])) continue;
        DS4_TRY(ds4_index_forget_writer(s->index, w->known.item[i], w->err));
    }
    for (uint32_t i = 0; i < w->rows.n; i++) {
        const entry *e = &w->rows.item[i];
        if (!has_entry(&w->files, e)) DS4_TRY(store_lose(s, e->kind, &e->key, w->err));
    }
    return take_orphans(w);
}

/* Forget files set aside that somebody removed, one in each round. */
typedef struct first_gone {
    ds4_store *s;
    char       name[DS4_INDEX_NAME];
} first_gone;

static bool find_gone(void *ctx, const char *name, uint64_t n_bytes)
{
    first_gone *g = ctx;

    if (aside_is_there(g->s, name, n_bytes)) return true;
    snprintf(g->name, sizeof g->name, "%s", name);
    return false;
}

static ds4_status forget_gone(ds4_store *s, ds4_err *err)
{
    for (;;) {
        first_gone g = { .s = s };
        DS4_TRY(ds4_index_each_aside(s->index, find_gone, &g, err));
        if (!g.name[0]) return DS4_OK;
        DS4_TRY(ds4_index_set_aside(s->index, g.name, 0, err));
    }
}

ds4_status store_sweep(ds4_store *s, ds4_err *err)
{
    sweep      w = { .s = s, .err = err };
    ds4_status st = compare(&w);

    if (st == DS4_OK) st = forget_gone(s, err);
    for (uint32_t i = 0; st == DS4_OK && s->engine && i < s->n_views; i++) {
        st = name_texts(s, s->view[i].model, err);
    }
    free(w.files.item);
    free(w.rows.item);
    free(w.living.item);
    free(w.known.item);
    return st;
}
