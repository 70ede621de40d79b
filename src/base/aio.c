/* aio.c - reads as their owners see them: opening, asking, waiting, errors. See aio.h. */
#include "base/aio_local.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH = 32, CALM_DEPTH = 4, MAX_DEPTH = 256, PIECE_BYTES = 1024 * 1024 };

/* ---- opening --------------------------------------------------------------------------------- */

/* A descriptor for direct reads, or -1. Some file systems accept the flag and refuse the
 * first read. */
static int open_direct(const char *path)
{
#ifdef O_DIRECT
    void     *probe = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);

    if (fd < 0) return -1;
    const bool ok = posix_memalign(&probe, DS4_AIO_ALIGN, DS4_AIO_ALIGN) == 0
                    && pread(fd, probe, DS4_AIO_ALIGN, 0) >= 0;
    free(probe);
    if (ok) return fd;
    close(fd);
#else
    (void)path;
#endif
    return -1;
}

static ds4_status open_file(aio_file *f, const char *path, ds4_err *err)
{
    struct stat info;

    f->path = strdup(path);
    if (!f->path) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read it", path);
    f->fd = open_direct(path);
    f->is_direct = f->fd >= 0;
    if (f->fd < 0) f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
#ifdef F_NOCACHE
    f->is_direct = fcntl(f->fd, F_NOCACHE, 1) == 0;
#endif
    if (fstat(f->fd, &info) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return ds4_fail(err, DS4_E_IO, "%s: not a regular file", path);
    f->n_bytes = (uint64_t)info.st_size;
    return DS4_OK;
}

static ds4_status open_files(ds4_aio *aio, const char *const *paths, uint32_t n, ds4_err *err)
{
    aio->files = calloc(n, sizeof *aio->files);
    if (!aio->files) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read it", paths[0]);
    for (uint32_t i = 0; i < n; i++) {
        aio->files[i].fd = -1;
        aio->n_files = i + 1;
        DS4_TRY(open_file(&aio->files[i], paths[i], err));
    }
    return DS4_OK;
}

static void set_options(ds4_aio *aio, const ds4_aio_options *opt)
{
    if (opt) aio->opt = *opt;
    if (aio->opt.depth == 0) aio->opt.depth = DEPTH;
    if (aio->opt.depth > MAX_DEPTH) aio->opt.depth = MAX_DEPTH;
    if (aio->opt.calm_depth == 0) aio->opt.calm_depth = CALM_DEPTH;
    if (aio->opt.calm_depth > aio->opt.depth) aio->opt.calm_depth = aio->opt.depth;
    aio->opt.piece_bytes = (uint32_t)aio_align_down(aio->opt.piece_bytes);
    if (aio->opt.piece_bytes == 0) aio->opt.piece_bytes = PIECE_BYTES;
}

static ds4_status start_carrier(ds4_aio *aio, ds4_err *err)
{
#ifdef DS4_HAVE_URING
    if (!aio->opt.threads_only) {
        aio->carrier = &aio_uring;
        if (aio->carrier->start(aio)) return DS4_OK;
    }
#endif
    aio->carrier = &aio_threads;
    if (aio->carrier->start(aio)) return DS4_OK;
    aio->carrier = NULL;
    return ds4_fail(err, DS4_E_NOMEM, "%s: cannot start threads to read it", aio->files->path);
}

ds4_status ds4_aio_open(ds4_aio **out, const char *const *paths, uint32_t n_files,
                        const ds4_aio_options *opt, ds4_err *err)
{
    assert(n_files >= 1 && n_files <= DS4_AIO_MAX_FILES);
    ds4_aio *aio = calloc(1, sizeof *aio);
    if (!aio) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read it", paths[0]);

    pthread_mutex_init(&aio->lock, NULL);
    pthread_cond_init(&aio->work, NULL);
    pthread_cond_init(&aio->ended, NULL);
    set_options(aio, opt);
    ds4_status st = open_files(aio, paths, n_files, err);
    if (st == DS4_OK) st = start_carrier(aio, err);
    if (st != DS4_OK) {
        ds4_aio_close(aio);
        return st;
    }
    *out = aio;
    return DS4_OK;
}

static void give_up(ds4_aio *aio, ds4_aio_read *r)
{
    r->gave_up = true;
    aio_list_remove(aio_list_of(aio, r), r);
    aio_end_if_over(aio, r);
}

void ds4_aio_close(ds4_aio *aio)
{
    if (!aio) return;
    pthread_mutex_lock(&aio->lock);
    while (aio->urgent.first) give_up(aio, aio->urgent.first);
    while (aio->calm.first) give_up(aio, aio->calm.first);
    aio->is_closing = true;
    pthread_cond_broadcast(&aio->work);
    pthread_mutex_unlock(&aio->lock);
    if (aio->carrier) aio->carrier->stop(aio);
    for (uint32_t i = 0; i < aio->n_files; i++) {
        if (aio->files[i].fd >= 0) close(aio->files[i].fd);
        free(aio->files[i].path);
    }
    free(aio->files);
    pthread_mutex_destroy(&aio->lock);
    pthread_cond_destroy(&aio->work);
    pthread_cond_destroy(&aio->ended);
    free(aio);
}

/* ---- the caller's side ----------------------------------------------------------------------- */

/* Equal pieces near the wanted size, so that none is a small rest. */
static uint32_t piece_bytes(const ds4_aio *aio, const ds4_aio_read *r)
{
    const uint64_t room = ds4_aio_room(r->offset, r->n_bytes), about = aio->opt.piece_bytes;
    const uint64_t n = room < about ? 1 : (room + about / 2) / about;
    return (uint32_t)aio_align_down((room + n - 1) / n + DS4_AIO_ALIGN - 1);
}

void ds4_aio_submit(ds4_aio *aio, ds4_aio_read *r, bool urgent)
{
    pthread_mutex_lock(&aio->lock);
    assert(r->state != DS4_AIO_QUEUED && r->n_bytes > 0);
    assert(((uintptr_t)r->buffer & (DS4_AIO_ALIGN - 1)) == 0);
    r->state = DS4_AIO_QUEUED;
    r->urgent = urgent;
    r->gave_up = r->failed = false;
    r->issued = 0;
    r->reason = 0;
    r->n_under_way = 0;
    r->piece_bytes = piece_bytes(aio, r);
    r->is_linked = false;
    aio_list_add(aio_list_of(aio, r), r);
    pthread_mutex_unlock(&aio->lock);
    aio->carrier->kick(aio);
}

void ds4_aio_hurry(ds4_aio *aio, ds4_aio_read *r)
{
    pthread_mutex_lock(&aio->lock);
    const bool waits = r->state == DS4_AIO_QUEUED && !r->urgent && r->is_linked;
    if (waits) {
        aio_list_remove(&aio->calm, r);
        r->urgent = true;
        aio_list_add(&aio->urgent, r);
    }
    pthread_mutex_unlock(&aio->lock);
    if (waits) aio->carrier->kick(aio);
}

void ds4_aio_cancel(ds4_aio *aio, ds4_aio_read *r)
{
    pthread_mutex_lock(&aio->lock);
    if (r->state == DS4_AIO_QUEUED && r->is_linked) give_up(aio, r);
    pthread_mutex_unlock(&aio->lock);
}

ds4_aio_state ds4_aio_state_of(ds4_aio *aio, const ds4_aio_read *r)
{
    pthread_mutex_lock(&aio->lock);
    const ds4_aio_state state = r->state;
    pthread_mutex_unlock(&aio->lock);
    return state;
}

ds4_status ds4_aio_check(const ds4_aio *aio, ds4_err *err)
{
    struct stat info;

    for (uint32_t i = 0; i < aio->n_files; i++) {
        const aio_file *f = &aio->files[i];
        if (fstat(f->fd, &info) != 0) return ds4_fail(err, DS4_E_IO, "%s: %s", f->path, strerror(errno));
        if ((uint64_t)info.st_size >= f->n_bytes) continue;
        return ds4_fail(err, DS4_E_IO,
                        "%s: truncated: the file had %" PRIu64 " bytes and has %" PRIu64 " now", f->path,
                        f->n_bytes, (uint64_t)info.st_size);
    }
    return DS4_OK;
}

uint64_t ds4_aio_ended(ds4_aio *aio)
{
    pthread_mutex_lock(&aio->lock);
    const uint64_t n = aio->n_ended;
    pthread_mutex_unlock(&aio->lock);
    return n;
}

uint64_t ds4_aio_wait(ds4_aio *aio, uint64_t seen)
{
    pthread_mutex_lock(&aio->lock);
    while (aio->n_ended <= seen) pthread_cond_wait(&aio->ended, &aio->lock);
    const uint64_t n = aio->n_ended;
    pthread_mutex_unlock(&aio->lock);
    return n;
}

ds4_status ds4_aio_reason(const ds4_aio *aio, const ds4_aio_read *r, ds4_err *err)
{
    if (r->reason == 0) {
        return ds4_fail(err, DS4_E_IO,
                        "%s: truncated: the file ends before the %" PRIu64 " bytes at offset %" PRIu64,
                        aio_file_of(aio, r)->path, r->n_bytes, r->offset);
    }
    return ds4_fail(err, DS4_E_IO, "%s: cannot read %" PRIu64 " bytes at offset %" PRIu64 ": %s",
                    aio_file_of(aio, r)->path, r->n_bytes, r->offset, strerror(r->reason));
}

static bool all_direct(const ds4_aio *aio)
{
    for (uint32_t i = 0; i < aio->n_files; i++) {
        if (!aio->files[i].is_direct) return false;
    }
    return true;
}

void ds4_aio_get_stats(ds4_aio *aio, ds4_aio_stats *out)
{
    pthread_mutex_lock(&aio->lock);
    *out = (ds4_aio_stats){
        .method = aio->carrier->name, .is_direct = all_direct(aio), .n_bytes = aio->n_bytes,
        .busy_ns = aio->busy_ns + (aio->n_under_way ? ds4_now_ns() - aio->busy_since : 0),
    };
    pthread_mutex_unlock(&aio->lock);
}
