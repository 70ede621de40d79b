/* output.c - see output.h. */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINKS = 40 };            /* as Linux follows them */

struct ds4_output {
    int  fd;
    char path[PATH_MAX];            /* as the user wrote it, for messages */
    char target[PATH_MAX];          /* the file that the temporary one replaces */
    char temp[PATH_MAX];            /* empty: written in place */
    bool is_partial;                /* temp outlives the program as far as it was marked */
    char id[65];                    /* of a partial file, as digits */
    uint64_t n_bytes, n_marked;     /* written; safe */
};

/* Replace a link's name by what it points to: relative to the folder of the link. */
static bool follow(char *path)
{
    char          to[PATH_MAX], joined[PATH_MAX];
    const ssize_t n = readlink(path, to, sizeof to - 1);

    if (n <= 0) return false;
    to[n] = '\0';
    const char *slash = to[0] == '/' ? NULL : strrchr(path, '/');
    const int   n_folder = slash ? (int)(slash + 1 - path) : 0;
    const int   n_joined = snprintf(joined, sizeof joined, "%.*s%s", n_folder, path, to);
    if (n_joined < 0 || (size_t)n_joined >= sizeof joined) return false;
    memcpy(path, joined, (size_t)n_joined + 1);
    return true;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Find the name that a temporary file can take: `there` describes what lies under the path, NULL
 * for nothing. A link of /proc names no path that could be replaced: false. */
static bool find_target(ds4_output *o, const struct stat *there)
{
    struct stat info;

    memcpy(o->target, o->path, strlen(o->path) + 1);
    for (int i = 0; lstat(o->target, &info) == 0; i++) {
        if (!S_ISLNK(info.st_mode)) return there && is_same_file(&info, there);
        if (i == MAX_LINKS || !follow(o->target)) return false;
    }
    return !there;
}

static bool is_file_of(int fd, const struct stat *there)
{
    struct stat info;
    return fstat(fd, &info) == 0 && is_same_file(&info, there);
}

/* Open what is there and is not to be replaced. Standard output and standard error stay open
 * files of their own, whatever name leads to them: a second opening would start at offset 0. */
static int open_in_place(const ds4_output *o, const struct stat *there)
{
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (is_file_of(fd, there)) return dup(fd);
    }
    return open(o->path, O_WRONLY | O_CLOEXEC | O_NOCTTY | (S_ISREG(there->st_mode) ? O_TRUNC : 0));
}

/* Open the temporary neighbour; a stale one of a process with this number goes. */
static int open_temporary(ds4_output *o, const struct stat *there)
{
    const int n = snprintf(o->temp, sizeof o->temp, "%s.tmp.%ld", o->target, (long)getpid());

    if (n < 0 || (size_t)n >= sizeof o->temp) {
        errno = ENAMETOOLONG;
        return -1;
    }
    unlink(o->temp);
    const int fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd >= 0 && there && fchmod(fd, there->st_mode & 0777) != 0) {
        close(fd);
        unlink(o->temp);
        return -1;
    }
    return fd;
}

static int open_named(ds4_output *o)
{
    struct stat  info;
    const bool   exists = stat(o->path, &info) == 0;
    const struct stat *there = exists ? &info : NULL;

    if (!exists && errno != ENOENT) return -1;
    if (exists && S_ISDIR(info.st_mode)) {
        errno = EISDIR;
        return -1;
    }
    const bool own = exists && (is_file_of(STDOUT_FILENO, there) || is_file_of(STDERR_FILENO, there));
    if (own || (exists && !S_ISREG(info.st_mode)) || !find_target(o, there)) {
        return exists ? open_in_place(o, there) : -1;
    }
    if (exists && access(o->path, W_OK) != 0) return -1;    /* a file that says no is not replaced */
    const int fd = open_temporary(o, there);
    if (fd >= 0 || !exists || (errno != EACCES && errno != EPERM && errno != ENAMETOOLONG)) return fd;
    o->temp[0] = '\0';                  /* the folder takes no new file; the old one may be written */
    return open_in_place(o, there);
}

ds4_status ds4_output_open(ds4_output **out, const char *path, ds4_err *err)
{
    const size_t n = strlen(path);
    ds4_output  *o;

    if (n == 0 || n >= sizeof o->path) {
        return ds4_fail(err, DS4_E_IO, "%.60s: %s", path, strerror(n ? ENAMETOOLONG : ENOENT));
    }
    o = calloc(1, sizeof *o);
    if (!o) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its name", path);
    memcpy(o->path, path, n + 1);
    fflush(NULL);                       /* what was printed before comes before */
    if (strcmp(path, "-") == 0) {
        o->fd = dup(STDOUT_FILENO);
        strcpy(o->path, "standard output");
    } else {
        o->fd = open_named(o);
    }
    if (o->fd < 0) {
        const int reason = errno;
        free(o);
        return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(reason));
    }
    *out = o;
    return DS4_OK;
}

/* ---- partial files -------------------------------------------------------------------------- */

static bool mark_path(const ds4_output *o, char path[PATH_MAX])
{
    const int n = snprintf(path, PATH_MAX, "%s.mark", o->temp);

    return n > 0 && n < PATH_MAX;
}

static void remove_mark(const ds4_output *o)
{
    char path[PATH_MAX];

    if (mark_path(o, path)) unlink(path);
}

/* Read the mark. Returns false when there is none that can be read. */
static bool read_mark(const ds4_output *o, char id[65], uint64_t *n_bytes)
{
    char  path[PATH_MAX];
    bool  found = false;
    FILE *f = mark_path(o, path) ? fopen(path, "re") : NULL;

    if (!f) return false;
    found = fscanf(f, "%64[0-9a-f] %20" SCNu64, id, n_bytes) == 2 && strlen(id) == 64;
    fclose(f);
    return found;
}

/* Bring an opened partial file to the bytes that the mark says are safe. */
static ds4_status go_on_behind_mark(ds4_output *o, uint64_t *n_kept, ds4_err *err)
{
    struct stat info;
    char        id[65];

    if (!read_mark(o, id, &o->n_marked)) o->n_marked = 0;
    else if (strcmp(id, o->id) != 0) {
        o->n_marked = UINT64_MAX;       /* it is not this program's to remove */
        return ds4_fail(err, DS4_E_ARG,
                        "%s was begun from another input or recipe; without --resume it begins"
                        " anew",
                        o->temp);
    }
    if (fstat(o->fd, &info) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", o->temp, strerror(errno));
    if ((uint64_t)info.st_size < o->n_marked) o->n_marked = 0;
    *n_kept = o->n_bytes = o->n_marked;
    return DS4_OK;
}

static ds4_status begin_partial(ds4_output *o, bool resume, uint64_t *n_kept, ds4_err *err)
{
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0) {
        o->n_marked = UINT64_MAX;
        return ds4_fail(err, DS4_E_IO, "%s: another program is writing it", o->temp);
    }
    *n_kept = 0;
    if (resume) DS4_TRY(go_on_behind_mark(o, n_kept, err));
    else remove_mark(o);
    if (ftruncate(o->fd, (off_t)*n_kept) == 0 && lseek(o->fd, (off_t)*n_kept, SEEK_SET) >= 0) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->temp, strerror(errno));
}

ds4_status ds4_output_open_partial(ds4_output **out, const char *path, const uint8_t id[32], bool resume,
                                   uint64_t *n_kept, ds4_err *err)
{
    ds4_output *o = NULL;

    *n_kept = 0;
    DS4_TRY(ds4_output_open(&o, path, err));
    if (!o->temp[0]) {
        *out = o;
        return DS4_OK;
    }
    close(o->fd);                       /* the name of this run alone: another run would not find it */
    unlink(o->temp);
    const int n = snprintf(o->temp, sizeof o->temp, "%s.partial", o->target);
    o->fd = n > 0 && (size_t)n < sizeof o->temp
                ? open(o->temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    for (int i = 0; i < 32; i++) snprintf(o->id + 2 * i, 3, "%02x", id[i]);
    o->is_partial = true;
    const ds4_status st = o->fd >= 0 ? begin_partial(o, resume, n_kept, err)
                                     : ds4_fail(err, DS4_E_IO, "%s: %s", o->temp, strerror(errno));
    if (st == DS4_OK) *out = o;
    else ds4_output_drop(o);
    return st;
}

ds4_status ds4_output_mark(ds4_output *o, ds4_err *err)
{
    char path[PATH_MAX], text[128];

    if (!o->is_partial || o->n_bytes == o->n_marked) return DS4_OK;
    if (fdatasync(o->fd) != 0)
        return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path, strerror(errno));
    /* One write of as many bytes each time: a kill cannot tear it, and leaves no temporary file. */
    const int n = snprintf(text, sizeof text, "%s %020" PRIu64 "\n", o->id, o->n_bytes);
    const int fd = mark_path(o, path) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666) : -1;
    const bool done = fd >= 0 && pwrite(fd, text, (size_t)n, 0) == n && fdatasync(fd) == 0;
    const int  reason = errno;
    if (fd >= 0) close(fd);
    if (!done) return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path, strerror(reason));
    o->n_marked = o->n_bytes;
    return DS4_OK;
}

/* ---- writing ---------------------------------------------------------------------------------- */

ds4_status ds4_output_write(ds4_output *o, const void *data, size_t n_bytes, ds4_err *err)
{
    const uint8_t *p = data;

    while (n_bytes > 0) {
        const ssize_t n = write(o->fd, p, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path, strerror(errno));
        p += n;
        n_bytes -= (size_t)n;
        o->n_bytes += (uint64_t)n;
    }
    return DS4_OK;
}

int ds4_output_fd(const ds4_output *o, bool *replaces)
{
    *replaces = o->temp[0] != '\0';
    return o->fd;
}

ds4_status ds4_output_commit(ds4_output *o, ds4_err *err)
{
    int reason = 0;

    /* A device or a pipe, written in place, need not know how to sync. */
    if (o->temp[0] && fsync(o->fd) != 0) reason = errno;
    if (close(o->fd) != 0 && reason == 0) reason = errno;
    o->fd = -1;
    if (reason == 0 && o->temp[0] && rename(o->temp, o->target) != 0) reason = errno;
    const ds4_status st = reason == 0 ? DS4_OK : ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path,
                                                          strerror(reason));
    if (reason == 0 && o->is_partial) remove_mark(o);
    if (reason == 0) o->temp[0] = '\0';
    ds4_output_drop(o);
    return st;
}

void ds4_output_drop(ds4_output *o)
{
    if (!o) return;
    if (o->fd >= 0) close(o->fd);
    if (o->temp[0] && o->n_marked == 0) unlink(o->temp);
    free(o);
}

ds4_status ds4_output_put(const char *path, const void *data, size_t n_bytes, ds4_err *err)
{
    ds4_output *o = NULL;

    DS4_TRY(ds4_output_open(&o, path, err));
    const ds4_status st = ds4_output_write(o, data, n_bytes, err);
    if (st == DS4_OK) return ds4_output_commit(o, err);
    ds4_output_drop(o);
    return st;
}
