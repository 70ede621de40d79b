/* output.c - see output.h. */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINKS = 40 };            /* as Linux follows them */

struct ds4_output {
    int  fd;
    char path[PATH_MAX];            /* as the user wrote it, for messages */
    char target[PATH_MAX];          /* the file that the temporary one replaces */
    char temp[PATH_MAX];            /* empty: written in place */
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

ds4_status ds4_output_write(ds4_output *o, const void *data, size_t n_bytes, ds4_err *err)
{
    const uint8_t *p = data;

    while (n_bytes > 0) {
        const ssize_t n = write(o->fd, p, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path, strerror(errno));
        p += n;
        n_bytes -= (size_t)n;
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

    /* What is written in place need not know how to sync. */
    if (o->temp[0] && fsync(o->fd) != 0) reason = errno;
    if (close(o->fd) != 0 && reason == 0) reason = errno;
    o->fd = -1;
    if (reason == 0 && o->temp[0] && rename(o->temp, o->target) != 0) reason = errno;
    const ds4_status st = reason == 0 ? DS4_OK : ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", o->path,
                                                          strerror(reason));
    if (reason == 0) o->temp[0] = '\0';
    ds4_output_drop(o);
    return st;
}

void ds4_output_drop(ds4_output *o)
{
    if (!o) return;
    if (o->fd >= 0) close(o->fd);
    if (o->temp[0]) unlink(o->temp);
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
