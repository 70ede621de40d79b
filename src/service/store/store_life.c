/* store_life.c - the life of a KV store: opened, stopped by its disk, lost, found again.
 *
 * A program that runs for weeks meets a full disk, a folder that somebody cleans, a file system that
 * becomes read-only. Nothing of that ends storing for good: what is there is read as long as it can
 * be, and writing is tried again, after some seconds at first and every minute later. */
#include "service/store/store_local.h"

#include "base/clock.h"
#include "base/log.h"
#include "service/store/store_text_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK_RESERVE (UINT64_C(64) << 20)

enum { MOST_DOUBLINGS = 4 };            /* of the time between two tries */

/* ---- the index -------------------------------------------------------------------------------- */

/* SQLite takes files of these names for parts of the database: anything else of such a name is
 * put aside, as no content of a folder may end the start. */
static ds4_status clear_way(const ds4_store *s, ds4_err *err)
{
    static const char *const names[] = { "index.sqlite", "index.sqlite-journal", "index.sqlite-wal",
                                         "index.sqlite-shm" };
    struct stat              info;
    char                     bad[STORE_NAME];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (fstatat(s->fd, names[i], &info, AT_SYMLINK_NOFOLLOW) != 0 || S_ISREG(info.st_mode)) continue;
        snprintf(bad, sizeof bad, "%s.bad", names[i]);
        if (renameat(s->fd, names[i], s->fd, bad) != 0) {
            return ds4_fail(err, DS4_E_IO, "%s/%s: not a file", s->dir, names[i]);
        }
        ds4_log(DS4_LOG_WARN, "kv", "%s/%s is not a file; it is set aside", s->dir, names[i]);
    }
    return DS4_OK;
}

/* SQLite would make it readable for others. One that is there is not opened: closing it again would
 * undo the locks of another store of this process. */
static ds4_status make_index_file(const ds4_store *s, ds4_err *err)
{
    const int fd = openat(s->fd, "index.sqlite", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && errno != EEXIST) {
        return ds4_fail(err, DS4_E_IO, "%s/index.sqlite: %s", s->dir, strerror(errno));
    }
    if (fd >= 0) close(fd);
    return DS4_OK;
}

static ds4_status open_index_named(const ds4_store *s, const char *name, ds4_sql_mode mode, ds4_index **out,
                                   ds4_err *err)
{
    const size_t n = strlen(s->dir) + strlen(name) + 2;
    char        *path = malloc(n);

    if (!path) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to open it", s->dir);
    snprintf(path, n, "%s/%s", s->dir, name);
    const ds4_status st = ds4_index_open(out, path, mode, err);
    free(path);
    return st;
}

static ds4_status open_index(ds4_store *s, ds4_sql_mode mode, ds4_err *err)
{
    return open_index_named(s, "index.sqlite", mode, &s->index, err);
}

/* Identify the folder and the index that the names lead to; zero where they lead nowhere. */
static ds4_kv_key look_at_place(const ds4_store *s)
{
    struct stat dir, index;
    uint64_t    what[3];

    if (stat(s->dir, &dir) != 0 || fstatat(s->fd, "index.sqlite", &index, AT_SYMLINK_NOFOLLOW) != 0) {
        return (ds4_kv_key){ { 0 } };
    }
    what[0] = (uint64_t)dir.st_dev;
    what[1] = (uint64_t)dir.st_ino;
    what[2] = (uint64_t)index.st_ino;
    return ds4_kv_hash(what, sizeof what);
}

/* ---- the folder ------------------------------------------------------------------------------- */

static ds4_status sweep(ds4_store *s, ds4_err *err)
{
    DS4_TRY(ds4_index_begin(s->index, err));
    ds4_status st = ds4_index_mend(s->index, err);
    if (st == DS4_OK && s->engine) {
        bool usable;
        st = ds4_identity_read(s->identity, s->index, err);
        if (st == DS4_OK) st = store_learn_names(s, &usable, err);
        if (st == DS4_OK) st = store_enter_names(s, err);
    }
    if (st == DS4_OK) st = store_sweep(s, err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
    return st;
}

/* Bring the folder within its budget; what others have pinned stays beyond it. */
static ds4_status shrink(ds4_store *s, ds4_err *err)
{
    if (!s->engine && !s->keeps_texts) return DS4_OK;
    const ds4_status st = ds4_store_prune(s, s->max_bytes, err);
    return st == DS4_E_LIMIT ? DS4_OK : st;
}

/* Folder and index for writing. */
static ds4_status open_tree(ds4_store *s, ds4_err *err)
{
    DS4_TRY(clear_way(s, err));
    DS4_TRY(make_index_file(s, err));
    s->place = look_at_place(s);
    DS4_TRY(open_index(s, DS4_SQL_WRITE, err));
    DS4_TRY(sweep(s, err));
    return shrink(s, err);
}

/* A folder that cannot be written can often be read. */
static void open_for_reading(ds4_store *s)
{
    ds4_err err;

    if (s->fd < 0) return;
    if (!s->index && open_index(s, DS4_SQL_READ, &err) != DS4_OK) return;
    if (s->engine && ds4_identity_read(s->identity, s->index, &err) != DS4_OK) {
        ds4_index_close(s->index);
        s->index = NULL;
        return;
    }
    s->place = look_at_place(s);
}

/* A writer that ends in order takes its lock and its row with it. */
static void end_writer(ds4_store *s)
{
    char    name[STORE_NAME];
    ds4_err err;

    if (!s->writer[0]) return;
    if (s->index && ds4_index_begin(s->index, &err) == DS4_OK) {
        if (ds4_index_forget_writer(s->index, s->writer, &err) != DS4_OK
            || ds4_index_commit(s->index, &err) != DS4_OK) {
            ds4_index_rollback(s->index);
        }
    }
    snprintf(name, sizeof name, "writer-%s.lock", s->writer);
    unlinkat(s->fd, name, 0);
    close(s->writer_fd);
    s->writer_fd = -1;
    s->writer[0] = '\0';
}

void store_end(ds4_store *s)
{
    end_writer(s);
    ds4_index_close(s->index);
    s->index = NULL;
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

/* Open all of it. Returns DS4_E_IO when it can be read at most. */
static ds4_status open_all(ds4_store *s, bool *unsafe, ds4_err *err)
{
    const uint64_t rows = s->rows_bytes;
    ds4_err        why = { .code = DS4_OK };

    DS4_TRY(store_dir_open(s->dir, &s->fd, unsafe, err));
    ds4_status st = open_tree(s, &why);
    if (st == DS4_E_FORMAT) st = store_rebuild(s, &why, &why);
    if (st == DS4_OK && rows > 0) {
        s->rows_bytes = 0;
        st = ds4_store_set_rows(s, rows, &why);
        if (st != DS4_OK) s->rows_bytes = rows;
    }
    if (st != DS4_OK && err) *err = why;
    if (st == DS4_E_FORMAT || st == DS4_E_IO) open_for_reading(s);
    return st == DS4_E_FORMAT ? DS4_E_IO : st;
}

ds4_status store_begin(ds4_store *s, ds4_err *err)
{
    bool             unsafe = false;
    ds4_err          mine, *why = err ? err : &mine;
    const ds4_status st = open_all(s, &unsafe, why);

    if (st != DS4_E_IO || unsafe) return st;
    if (!s->engine && !s->keeps_texts && !s->index) return st;     /* there is nothing to look at */
    (void)store_stop(s, st, why);
    return DS4_OK;
}

/* Responses cannot be made anew from files: those that can still be read are taken over. */
static void take_over_responses(ds4_store *s)
{
    ds4_index *old = NULL;
    uint32_t   n = 0;
    ds4_err    err;

    if (open_index_named(s, "index.sqlite.bad", DS4_SQL_RESCUE, &old, &err) != DS4_OK) return;
    if (ds4_index_begin(s->index, &err) == DS4_OK) {
        (void)!ds4_text_copy_responses(old, s->index, &n, &err);
        if (ds4_index_commit(s->index, &err) != DS4_OK) ds4_index_rollback(s->index);
    }
    ds4_index_close(old);
    if (n > 0) ds4_log(DS4_LOG_WARN, "kv", "%u stored responses were taken over from the damaged index", n);
}

ds4_status store_rebuild(ds4_store *s, const ds4_err *why, ds4_err *err)
{
    const ds4_kv_key now = look_at_place(s);

    ds4_index_close(s->index);
    s->index = NULL;
    /* Somebody else may have made it anew meanwhile. */
    if (!ds4_kv_key_eq(&now, &s->place)) return open_tree(s, err);
    ds4_log(DS4_LOG_WARN, "kv", "%s; it is set aside and made anew", why->text);
    if (renameat(s->fd, "index.sqlite", s->fd, "index.sqlite.bad") != 0
        || (unlinkat(s->fd, "index.sqlite-journal", 0) != 0 && errno != ENOENT)) {
        return ds4_fail(err, DS4_E_IO, "%s/index.sqlite: %s", s->dir, strerror(errno));
    }
    DS4_TRY(open_tree(s, err));
    take_over_responses(s);
    return shrink(s, err);
}

/* ---- stopped and working ---------------------------------------------------------------------- */

uint64_t ds4_store_retry_ns(const ds4_store *s)
{
    const uint64_t now = s->n_failures > 0 ? ds4_now_ns() : 0;
    return s->retry_ns > now && s->n_failures > 0 ? s->retry_ns - now : 0;
}

void ds4_store_retry_now(ds4_store *s)
{
    s->retry_ns = 0;
}

bool store_is_lost(const ds4_store *s)
{
    const ds4_kv_key now = s->fd >= 0 ? look_at_place(s) : (ds4_kv_key){ { 0 } };
    return !s->index || !ds4_kv_key_eq(&now, &s->place);
}

ds4_status store_stop(ds4_store *s, ds4_status st, const ds4_err *err)
{
    const uint32_t doublings = s->n_failures < MOST_DOUBLINGS ? s->n_failures : MOST_DOUBLINGS;

    if (!s->stopped && !s->silent) {
        const bool gone = s->index && store_is_lost(s);
        ds4_log(DS4_LOG_WARN, "kv", "conversations are not stored for now: %s%s; it is tried again",
                gone ? s->dir : err->text, gone ? " is gone" : "");
    }
    s->stopped = true;
    s->n_failures++;
    s->n_stops++;
    s->retry_ns = ds4_now_ns() + (s->wait_ns << doublings);
    return st;
}

void store_works(ds4_store *s)
{
    if (s->stopped && !s->silent) ds4_log(DS4_LOG_WARN, "kv", "conversations are stored again in %s", s->dir);
    s->stopped = false;
    s->n_failures = 0;
}

static ds4_status open_again(ds4_store *s, ds4_err *err)
{
    const bool was_working = s->index && !s->stopped && !s->silent;
    bool       unsafe;

    store_end(s);
    const ds4_status st = open_all(s, &unsafe, err);
    if (st == DS4_OK && was_working) ds4_log(DS4_LOG_WARN, "kv", "%s was gone; it is made anew", s->dir);
    return st;
}

bool store_is_there(ds4_store *s)
{
    ds4_err err = { .code = DS4_OK };

    if (!store_is_lost(s)) return true;
    if (ds4_store_retry_ns(s) > 0) return s->index != NULL;
    const ds4_status st = open_again(s, &err);
    if (st != DS4_OK) (void)store_stop(s, st, &err);
    return s->index != NULL;
}

ds4_status store_may_write(ds4_store *s, ds4_err *err)
{
    if (!s->stopped && !store_is_lost(s)) return DS4_OK;
    return open_again(s, err);
}

ds4_status store_check_disk(const ds4_store *s, uint64_t n_bytes, ds4_err *err)
{
    struct statvfs info;

    if (fstatvfs(s->fd, &info) != 0) return DS4_OK;
    const uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= n_bytes && free_bytes - n_bytes >= DISK_RESERVE) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: %llu MB are free on its disk and %llu MB would be written",
                    s->dir, (unsigned long long)(free_bytes >> 20), (unsigned long long)(n_bytes >> 20));
}
