/* store_dir.c - the folder of the KV store: opened with care, files written whole. */
#include "base/log.h"
#include "service/store/store_local.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE_BYTES (UINT64_C(1) << 32)

/* ---- the folder ----------------------------------------------------------------------------- */

/* Make the folder and those above it that are missing. */
static ds4_status make_dirs(const char *dir, ds4_err *err)
{
    char         path[PATH_MAX];
    const size_t n = strlen(dir);

    if (n == 0 || n >= sizeof path) {
        return ds4_fail(err, DS4_E_IO, "the KV folder's name has %zu bytes", n);
    }
    memcpy(path, dir, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        path[i] = '\0';
        const int why = mkdir(path, 0700) == 0 ? 0 : errno;
        if (why && why != EEXIST && why != EISDIR && access(path, F_OK) != 0) {
            return ds4_fail(err, DS4_E_IO, "%s: cannot make the folder: %s", path, strerror(why));
        }
        path[i] = dir[i];
    }
    return DS4_OK;
}

ds4_status store_dir_open(const char *dir, int *fd, bool *unsafe, ds4_err *err)
{
    struct stat info;

    *unsafe = false;
    DS4_TRY(make_dirs(dir, err));
    const int open_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (open_fd < 0) {
        *unsafe = errno == ENOTDIR;
        return ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    }
    ds4_status st = DS4_OK;
    if (fstat(open_fd, &info) != 0) {
        st = ds4_fail(err, DS4_E_IO, "%s: %s", dir, strerror(errno));
    } else if (info.st_uid != geteuid()) {
        st = ds4_fail(err, DS4_E_IO, "%s: belongs to user %ld; a KV folder must be one's own", dir,
                      (long)info.st_uid);
    } else if (info.st_mode & (S_IWGRP | S_IWOTH)) {
        st = ds4_fail(err, DS4_E_IO, "%s: others may write there (mode %03o); chmod 700 makes it safe",
                      dir, (unsigned)info.st_mode & 0777);
    }
    *unsafe = st != DS4_OK;
    if (st != DS4_OK) close(open_fd);
    else *fd = open_fd;
    return st;
}

/* ---- names ---------------------------------------------------------------------------------- */

void store_name(ds4_kv_kind kind, const ds4_kv_key *key, char name[STORE_NAME])
{
    char text[DS4_KV_KEY_TEXT];

    ds4_kv_key_text(key, text);
    snprintf(name, STORE_NAME, "%s.%s", text, kind == DS4_KV_BLOCK ? "block" : "tail");
}

bool store_name_read(const char *name, ds4_kv_kind *kind, ds4_kv_key *key)
{
    char         text[DS4_KV_KEY_TEXT] = "";
    const size_t n = sizeof text - 1;

    if (strlen(name) <= n) return false;
    memcpy(text, name, n);
    *kind = strcmp(name + n, ".block") == 0 ? DS4_KV_BLOCK : DS4_KV_TAIL;
    return (*kind == DS4_KV_BLOCK || strcmp(name + n, ".tail") == 0) && ds4_kv_key_read(text, key);
}

/* Files that were the index, or that an older version kept beside it. */
static const char *const others[] = { "index.sqlite", "index.sqlite-journal", "index.sqlite-wal",
                                      "index.sqlite-shm", "server-turns.bin", "server-responses.bin" };

bool store_name_is_aside(const char *name)
{
    char         stem[STORE_NAME] = "";
    const size_t n = strlen(name);
    ds4_kv_kind  kind;
    ds4_kv_key   key;

    if (n < 5 || n - 4 >= sizeof stem || strcmp(name + n - 4, ".bad") != 0) return false;
    memcpy(stem, name, n - 4);
    if (store_name_read(stem, &kind, &key)) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (strcmp(stem, others[i]) == 0) return true;
    }
    return false;
}

/* ---- reading and writing ---------------------------------------------------------------------- */

static bool read_all(int fd, uint8_t *to, uint64_t n_bytes)
{
    for (uint64_t at = 0; at < n_bytes;) {
        const ssize_t n = pread(fd, to + at, (size_t)(n_bytes - at), (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO;
        if (n <= 0) return false;
        at += (uint64_t)n;
    }
    return true;
}

static ds4_status read_fd(const ds4_store *s, const char *name, int fd, uint8_t **bytes,
                          uint64_t *n_bytes, ds4_err *err)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return ds4_fail(err, DS4_E_IO, "%s/%s: %s", s->dir, name, strerror(errno));
    }
    if (!S_ISREG(info.st_mode) || info.st_size < 0 || (uint64_t)info.st_size > MAX_FILE_BYTES) {
        return ds4_fail(err, DS4_E_FORMAT, "%s/%s: not a KV file", s->dir, name);
    }
    uint8_t *data = malloc((size_t)info.st_size + 1);
    if (!data) return ds4_fail(err, DS4_E_NOMEM, "%s/%s: no memory for it", s->dir, name);
    if (!read_all(fd, data, (uint64_t)info.st_size)) {
        const int reason = errno;
        free(data);
        return ds4_fail(err, DS4_E_IO, "%s/%s: %s", s->dir, name, strerror(reason));
    }
    *bytes = data;
    *n_bytes = (uint64_t)info.st_size;
    return DS4_OK;
}

ds4_status store_read(const ds4_store *s, const char *name, int fd, uint8_t **bytes, uint64_t *n_bytes,
                      ds4_err *err)
{
    if (fd >= 0) return read_fd(s, name, fd, bytes, n_bytes, err);
    const int own = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (own < 0) return ds4_fail(err, DS4_E_IO, "%s/%s: %s", s->dir, name, strerror(errno));
    const ds4_status st = read_fd(s, name, own, bytes, n_bytes, err);
    close(own);
    return st;
}

static bool write_all(int fd, const uint8_t *data, uint64_t n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = write(fd, data, (size_t)n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        data += n;
        n_bytes -= (uint64_t)n;
    }
    return true;
}

ds4_status store_write_temp(ds4_store *s, const uint8_t *bytes, uint64_t n_bytes, char name[STORE_NAME],
                            ds4_err *err)
{
    snprintf(name, STORE_NAME, "tmp-%s-%u", s->writer, s->n_temp++);
    const int fd = openat(s->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return ds4_fail(err, DS4_E_IO, "%s/%s: %s", s->dir, name, strerror(errno));

    bool ok = write_all(fd, bytes, n_bytes);
    int  reason = errno;
#ifdef __linux__
    if (ok) sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);   /* begin; store_sync_temp() waits */
#endif
    if (close(fd) != 0 && ok) {
        ok = false;
        reason = errno;
    }
    if (ok) return DS4_OK;
    unlinkat(s->fd, name, 0);
    return ds4_fail(err, DS4_E_IO, "%s/%s: cannot write: %s", s->dir, name, strerror(reason));
}

ds4_status store_sync_temp(ds4_store *s, const char *name, ds4_err *err)
{
    const int  fd = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    const bool ok = fd >= 0 && fsync(fd) == 0;
    const int  reason = errno;

    if (fd >= 0) close(fd);
    if (ok) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s/%s: cannot be synced: %s", s->dir, name, strerror(reason));
}

ds4_status store_rename(ds4_store *s, const char *from, const char *to, ds4_err *err)
{
    if (renameat(s->fd, from, s->fd, to) == 0) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s/%s: cannot be renamed to %s: %s", s->dir, from, to,
                    strerror(errno));
}

ds4_status store_sync(ds4_store *s, ds4_err *err)
{
    if (fsync(s->fd) == 0 || errno == EINVAL) return DS4_OK;    /* some file systems cannot */
    return ds4_fail(err, DS4_E_IO, "%s: cannot be synced: %s", s->dir, strerror(errno));
}

/* ---- pins -------------------------------------------------------------------------------------- */

/* A shared lock on an open file is the pin: it ends with the process at the latest. */
int store_pin(const ds4_store *s, const char *name)
{
    struct stat info;
    const int   fd = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) return -1;
    /* Whoever holds it alone is about to remove it. */
    if (flock(fd, LOCK_SH | LOCK_NB) == 0 && fstat(fd, &info) == 0 && info.st_nlink > 0) return fd;
    close(fd);
    return -1;
}

bool store_remove(ds4_store *s, const char *name)
{
    const int fd = openat(s->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) return true;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return false;
    }
    /* A link or anything else that cannot be opened is removed as such. */
    const bool gone = unlinkat(s->fd, name, 0) == 0 || errno == ENOENT
                   || unlinkat(s->fd, name, AT_REMOVEDIR) == 0;
    if (fd >= 0) close(fd);
    return gone;
}

/* ---- mishaps ------------------------------------------------------------------------------------ */

ds4_status store_set_aside(ds4_store *s, const char *name, const char *why, ds4_err *err)
{
    char        bad[STORE_NAME + 8];
    struct stat info;

    if (!s->said_damaged) {
        ds4_log(DS4_LOG_WARN, "kv", "%s; it is set aside, and so will others be", why);
        s->said_damaged = true;
    }
    snprintf(bad, sizeof bad, "%.*s.bad", STORE_NAME, name);
    if (renameat(s->fd, name, s->fd, bad) != 0) return DS4_OK;      /* gone by itself */
    const bool there = fstatat(s->fd, bad, &info, AT_SYMLINK_NOFOLLOW) == 0;
    return ds4_index_set_aside(s->index, bad, there && info.st_size > 0 ? (uint64_t)info.st_size : 1,
                               err);
}
