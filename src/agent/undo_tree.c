/* undo_tree.c - looks at the whole tree for undo: what is there, what changed since the last look. */
#include "agent/undo_local.h"

#include "agent/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Times of files are counted in ticks of at most 10 ms: a change so soon after a look may leave the facts. */
enum { FRESH_NS = 50 * 1000 * 1000 };

/* ---- states --------------------------------------------------------------------------- */

static int64_t ns_of(const struct timespec *t)
{
    return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

#ifdef __APPLE__
#define MTIME(st) ns_of(&(st)->st_mtimespec)
#define CTIME(st) ns_of(&(st)->st_ctimespec)
#else
#define MTIME(st) ns_of(&(st)->st_mtim)
#define CTIME(st) ns_of(&(st)->st_ctim)
#endif

static ds4_status read_fd(int fd, const char *last, uint64_t max_bytes, ds4_str *out, bool *too_large,
                          ds4_err *err)
{
    char piece[65536];

    for (;;) {
        const ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", last, strerror(errno));
        if (n == 0) break;
        ds4_str_add(out, piece, (size_t)n);
        if (out->failed) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its content", last);
        if (out->n_bytes > max_bytes) {
            *too_large = true;
            break;
        }
    }
    return DS4_OK;
}

static void hash_of(const ds4_str *text, uint8_t hash[DS4_SHA256_BYTES])
{
    ds4_sha256(ds4_str_text(text), text->n_bytes, hash);
}

/* The content of a file or a link. A file that cannot be read or is too large becomes 'x'. */
static ds4_status content_at(int dir, const char *last, uint64_t max_bytes, undo_state *out, ds4_str *text,
                             ds4_err *err)
{
    char link[DS4_ROOT_NAME_BYTES];
    bool too_large = false;

    if (out->kind == 'l') {
        const ssize_t n = readlinkat(dir, last, link, sizeof link);
        if (n < 0 || n == (ssize_t)sizeof link) out->kind = 'x';
        else ds4_str_add(text, link, (size_t)n);
        return DS4_OK;
    }
    const int fd = openat(dir, last, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        out->kind = errno == ENOENT ? '-' : 'x';
        return DS4_OK;
    }
    const ds4_status rc = read_fd(fd, last, max_bytes, text, &too_large, err);
    close(fd);
    if (too_large || rc == DS4_E_IO) out->kind = 'x';
    return rc == DS4_E_NOMEM ? rc : DS4_OK;
}

/* As undo_state_now(), below an open folder; st are the facts of the name. */
static ds4_status state_at(ds4_undo *u, int dir, const char *last, const struct stat *st, uint64_t max_bytes,
                           bool keep, undo_state *out, ds4_str *content, ds4_err *err)
{
    ds4_str own = { 0 }, *text = content ? content : &own;

    memset(out, 0, sizeof *out);
    out->mode = (unsigned)st->st_mode & 0777;
    if (S_ISDIR(st->st_mode))      out->kind = 'd';
    else if (S_ISLNK(st->st_mode)) out->kind = 'l';
    else if (S_ISREG(st->st_mode)) out->kind = (uint64_t)st->st_size > max_bytes ? 'x' : 'f';
    else                           out->kind = 'x';
    ds4_status rc = DS4_OK;
    if (out->kind == 'f' || out->kind == 'l') rc = content_at(dir, last, max_bytes, out, text, err);
    if (rc == DS4_OK && (out->kind == 'f' || out->kind == 'l')) {
        const ds4_slice all = { ds4_str_text(text), text->n_bytes };
        if (keep) rc = ds4_keep_add(u->keep, all, out->hash, err);
        else      hash_of(text, out->hash);
    }
    ds4_str_clear(&own);
    return rc;
}

ds4_status undo_state_now(ds4_undo *u, const char *name, uint64_t max_bytes, bool keep, undo_state *out,
                          ds4_str *content, ds4_err *err)
{
    const char *last = NULL;
    int         dir = -1;
    struct stat st;

    memset(out, 0, sizeof *out);
    out->kind = '-';
    if (ds4_root_open_parent(u->root, name, false, &dir, &last, NULL) != DS4_OK) return DS4_OK;
    ds4_status rc = DS4_OK;
    if (fstatat(dir, last, &st, AT_SYMLINK_NOFOLLOW) == 0)
        rc = state_at(u, dir, last, &st, max_bytes, keep, out, content, err);
    close(dir);
    return rc;
}

/* ---- looking ----------------------------------------------------------------------------- */

typedef struct look {
    ds4_undo       *u;
    const undo_tree *old;
    undo_tree      *out;
    int64_t         began_ns;
    ds4_status      status;
    ds4_err        *err;
} look;

static bool add_ignored(undo_tree *t, const char *name)
{
    if (t->n_ignored == t->ignored_capacity) {
        const size_t n = t->ignored_capacity ? 2 * t->ignored_capacity : 32;
        char       **more = realloc(t->ignored, n * sizeof *more);
        if (!more) return false;
        t->ignored = more;
        t->ignored_capacity = n;
    }
    t->ignored[t->n_ignored] = strdup(name);
    return t->ignored[t->n_ignored] && ++t->n_ignored;
}

static void skipped(void *ctx, const ds4_walk_entry *e)
{
    look *l = ctx;
    if (!add_ignored(l->out, e->name)) l->status = DS4_E_NOMEM;
}

static undo_entry *add_entry(undo_tree *t, const char *name)
{
    if (t->n == t->capacity) {
        const size_t n = t->capacity ? 2 * t->capacity : 256;
        undo_entry  *more = realloc(t->entry, n * sizeof *more);
        if (!more) return NULL;
        t->entry = more;
        t->capacity = n;
    }
    undo_entry *e = &t->entry[t->n];
    memset(e, 0, sizeof *e);
    e->name = strdup(name);
    if (!e->name) return NULL;
    t->n++;
    return e;
}

static const undo_entry *find_entry(const undo_tree *t, const char *name)
{
    size_t low = 0, high = t->n;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int    c = strcmp(name, t->entry[mid].name);
        if (c == 0) return &t->entry[mid];
        if (c < 0) high = mid;
        else       low = mid + 1;
    }
    return NULL;
}

static ds4_walk_next see(void *ctx, const ds4_walk_entry *entry)
{
    look       *l = ctx;
    undo_tree  *t = l->out;
    const bool  plain = S_ISREG(entry->st->st_mode) || S_ISLNK(entry->st->st_mode) ||
        S_ISDIR(entry->st->st_mode);

    if (!plain) return DS4_WALK_ON;
    undo_entry *e = add_entry(t, entry->name);
    if (!e) {
        l->status = ds4_fail(l->err, DS4_E_NOMEM, "no memory for the list of the tree");
        return DS4_WALK_STOP;
    }
    e->inode = (uint64_t)entry->st->st_ino;
    e->n_bytes = (uint64_t)entry->st->st_size;
    e->mtime_ns = MTIME(entry->st);
    e->ctime_ns = CTIME(entry->st);
    e->fresh = e->ctime_ns > l->began_ns - FRESH_NS;
    const undo_entry *old = find_entry(l->old, entry->name);
    if (old && !old->fresh && old->inode == e->inode && old->n_bytes == e->n_bytes &&
        old->mtime_ns == e->mtime_ns &&
        old->ctime_ns == e->ctime_ns && old->state.kind != 'd') {
        e->state = old->state;
    } else {
        const bool     full = ds4_keep_bytes(l->u->keep) >= l->u->limits.max_bytes;
        const uint64_t most = full ? 0 : l->u->limits.max_file_bytes;
        l->status = state_at(l->u, entry->dir, entry->last, entry->st, most, true, &e->state, NULL,
                                  l->err);
        if (l->status != DS4_OK) return DS4_WALK_STOP;
    }
    if (e->state.kind == 'x') t->n_large++;
    return DS4_WALK_ON;
}

static int entry_order(const void *a, const void *b)
{
    return strcmp(((const undo_entry *)a)->name, ((const undo_entry *)b)->name);
}

static int text_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_tree(undo_tree *t)
{
    if (t->n) qsort(t->entry, t->n, sizeof *t->entry, entry_order);
    if (t->n_ignored) qsort(t->ignored, t->n_ignored, sizeof *t->ignored, text_order);
}

ds4_status undo_tree_look(ds4_undo *u, const undo_tree *old, undo_tree *out, ds4_err *err)
{
    struct timespec now;
    look            l = { .u = u, .old = old, .out = out, .err = err };
    ds4_walk_end    end;
    const ds4_walk_options opt = { .git = true, .max_entries = u->limits.max_entries, .see = see,
                                   .skipped = skipped,
                                   .ctx = &l };

    clock_gettime(CLOCK_REALTIME, &now);
    l.began_ns = ns_of(&now);
    DS4_TRY(ds4_walk(u->root, ".", &opt, &end, err));
    if (l.status == DS4_E_NOMEM) return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of the tree");
    if (l.status != DS4_OK) return l.status;
    out->n_unreadable = end.n_unreadable;
    out->bounded = end.bounded;
    sort_tree(out);
    return DS4_OK;
}

bool undo_tree_ignores(const undo_tree *t, const char *name)
{
    char        above[DS4_ROOT_NAME_BYTES];
    const char *key = above;

    if (t->n_ignored == 0 || strlen(name) >= sizeof above) return false;
    memcpy(above, name, strlen(name) + 1);
    for (;;) {
        if (bsearch(&key, t->ignored, t->n_ignored, sizeof *t->ignored, text_order)) return true;
        char *slash = strrchr(above, '/');
        if (!slash) return false;
        *slash = '\0';
    }
}

void undo_tree_clear(undo_tree *t)
{
    for (size_t i = 0; i < t->n; i++) free(t->entry[i].name);
    for (size_t i = 0; i < t->n_ignored; i++) free(t->ignored[i]);
    free(t->entry);
    free(t->ignored);
    memset(t, 0, sizeof *t);
}

/* ---- on the disk ----------------------------------------------------------------------------- */

static const char tree_file[] = "tree", tree_part[] = "tree.part";

static void write_tree(const undo_tree *t, ds4_str *out)
{
    for (size_t i = 0; i < t->n; i++) {
        const undo_entry *e = &t->entry[i];
        undo_state_write(out, &e->state);
        ds4_str_addf(out, " %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %d ", e->inode, e->n_bytes,
                     e->mtime_ns,
                     e->ctime_ns, e->fresh);
        undo_name_write(out, e->name);
        ds4_str_add_char(out, '\n');
    }
    for (size_t i = 0; i < t->n_ignored; i++) {
        ds4_str_add_text(out, "I ");
        undo_name_write(out, t->ignored[i]);
        ds4_str_add_char(out, '\n');
    }
    ds4_str_add_text(out, ".\n");       /* the end, so that a part is not taken for the whole */
}

ds4_status undo_tree_save(ds4_undo *u, ds4_err *err)
{
    ds4_str text = { 0 };
    size_t  done = 0;

    write_tree(&u->tree, &text);
    if (text.failed) {
        ds4_str_clear(&text);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of the tree");
    }
    const int fd = openat(u->dir, tree_part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool      ok = fd >= 0;
    while (ok && done < text.n_bytes) {
        const ssize_t n = write(fd, text.data + done, text.n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0;
        done += ok ? (size_t)n : 0;
    }
    ok = ok && fsync(fd) == 0 && renameat(u->dir, tree_part, u->dir, tree_file) == 0;
    const int e = errno;
    if (fd >= 0) close(fd);
    ds4_str_clear(&text);
    return ok ? DS4_OK : ds4_fail(err, DS4_E_IO, "the list of the tree cannot be written: %s", strerror(e));
}

static bool read_entry(undo_tree *t, char *line)
{
    undo_state  state;
    undo_entry  e = { 0 };
    int         fresh = 0, n = 0;

    if (line[0] == 'I' && line[1] == ' ') {
        char *name = undo_name_read(line + 2, strlen(line + 2));
        const bool ok = name && add_ignored(t, name);
        free(name);
        return ok;
    }
    const char *at = undo_state_read(line, &state);
    if (!at || sscanf(at, " %" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %d %n", &e.inode, &e.n_bytes,
                      &e.mtime_ns,
                      &e.ctime_ns, &fresh, &n) < 5 || n == 0) return false;
    char       *name = undo_name_read(at + n, strlen(at + n));
    undo_entry *to = name ? add_entry(t, name) : NULL;
    if (to) {
        e.name = to->name;
        e.state = state;
        e.fresh = fresh != 0;
        *to = e;
    }
    free(name);
    return to != NULL;
}

/* A list that is missing or damaged is an empty one: everything is read again. */
ds4_status undo_tree_load(ds4_undo *u, ds4_err *err)
{
    ds4_str    text = { 0 };
    bool       whole = false, too_large = false;
    const int  fd = openat(u->dir, tree_file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) return DS4_OK;
    const ds4_status rc = read_fd(fd, tree_file, 1u << 30, &text, &too_large, err);
    close(fd);
    for (char *at = text.data; rc == DS4_OK && at && *at; ) {
        char *end = strchr(at, '\n');
        if (!end) break;
        *end = '\0';
        whole = strcmp(at, ".") == 0;
        if (!whole && !read_entry(&u->tree, at)) break;
        at = end + 1;
    }
    ds4_str_clear(&text);
    if (rc == DS4_OK && !whole) undo_tree_clear(&u->tree);
    sort_tree(&u->tree);
    return rc == DS4_E_NOMEM ? rc : DS4_OK;
}
