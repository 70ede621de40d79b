/* trace.c - see say.h: what users and the model say, in a file for its owner. */
#include "app/server/say.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct ds4_trace {
    FILE           *file; /* whole blocks, under the lock */
    pthread_mutex_t lock;
    char            path[];
};

/* The file holds everything that is said, so its mode is 0600. A device or a pipe is the user's choice. */
static ds4_status check_mode(int fd, const char *path, ds4_err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    if (S_ISREG(st.st_mode) && (st.st_mode & 077)) {
        return ds4_fail(err, DS4_E_ARG, "%s may be used by others (mode %03o): chmod 600 it", path,
                        (unsigned)st.st_mode & 0777);
    }
    return DS4_OK;
}

static ds4_status open_file(const char *path, FILE **out, ds4_err *err)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && errno == ELOOP) return ds4_fail(err, DS4_E_ARG, "%s is a link", path);
    if (fd < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    const ds4_status st = check_mode(fd, path, err);
    FILE            *file = st == DS4_OK ? fdopen(fd, "a") : NULL;
    if (!file) {
        close(fd);
        return st != DS4_OK ? st : ds4_fail(err, DS4_E_NOMEM, "no memory for a file");
    }
    *out = file;
    return DS4_OK;
}

ds4_status ds4_trace_open(const char *path, ds4_trace **out, ds4_err *err)
{
    ds4_trace *t = calloc(1, sizeof *t + strlen(path) + 1);

    if (!t) return ds4_fail(err, DS4_E_NOMEM, "no memory for a trace");
    strcpy(t->path, path);
    const ds4_status st = open_file(path, &t->file, err);
    if (st != DS4_OK || pthread_mutex_init(&t->lock, NULL) != 0) {
        if (t->file) fclose(t->file);
        free(t);
        return st != DS4_OK ? st : ds4_fail(err, DS4_E_NOMEM, "no memory for a lock");
    }
    *out = t;
    return DS4_OK;
}

void ds4_trace_add(ds4_trace *t, const char *id, const char *what, ds4_slice text)
{
    struct timespec now;
    struct tm       tm;
    char            at[32];

    if (!t || text.n_bytes == 0) return;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &tm);
    pthread_mutex_lock(&t->lock);
    fprintf(t->file, "=== %s.%03ld %s %s %zu bytes\n", at, now.tv_nsec / 1000000, id, what,
            text.n_bytes);
    fwrite(text.data, 1, text.n_bytes, t->file);
    fputc('\n', t->file);
    fflush(t->file);
    pthread_mutex_unlock(&t->lock);
}

void ds4_trace_reopen(ds4_trace *t)
{
    ds4_err err = { .code = DS4_OK };
    FILE   *fresh = NULL;

    if (!t) return;
    if (open_file(t->path, &fresh, &err) != DS4_OK) {
        ds4_server_log(DS4_LOG_ERROR, "trace", "goes on in the old file: %s", err.text);
        return;
    }
    pthread_mutex_lock(&t->lock);
    fclose(t->file);
    t->file = fresh;
    pthread_mutex_unlock(&t->lock);
}

void ds4_trace_close(ds4_trace *t)
{
    if (!t) return;
    fclose(t->file);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
