/* aio.h - asynchronous positioned reads from a few files into aligned buffers.
 *
 * Reads bypass the page cache where the file system allows it, so that a cache of our own
 * is the only copy in memory. A read is cut into pieces, and pieces of urgent reads go to
 * the disk before those of others; a queue of many pieces keeps the disk busy. On Linux
 * the pieces go through io_uring, elsewhere and where that is forbidden through a pool of
 * threads that read one piece each.
 *
 * One thread submits, waits and closes. */
#ifndef DS4_BASE_AIO_H
#define DS4_BASE_AIO_H

#include "base/err.h"

typedef struct ds4_aio ds4_aio;

/* Direct reads begin and end at multiples of this, in the file and in memory. */
enum { DS4_AIO_ALIGN = 4096, DS4_AIO_MAX_FILES = 1024 };

/* Bytes that a buffer needs for n_bytes at offset: the widened range. */
static inline uint64_t ds4_aio_room(uint64_t offset, uint64_t n_bytes)
{
    const uint64_t from = offset & ~(uint64_t)(DS4_AIO_ALIGN - 1);
    return (offset + n_bytes - from + DS4_AIO_ALIGN - 1) & ~(uint64_t)(DS4_AIO_ALIGN - 1);
}

typedef enum ds4_aio_state {
    DS4_AIO_IDLE,               /* never submitted */
    DS4_AIO_QUEUED,             /* pieces wait or are under way */
    DS4_AIO_DONE,               /* all bytes are there */
    DS4_AIO_FAILED,             /* see ds4_aio_reason() */
    DS4_AIO_CANCELLED,          /* given up, nothing under way: the buffer is free again */
} ds4_aio_state;

/* One read. The caller owns it and its buffer and keeps both in place until it has ended. */
typedef struct ds4_aio_read {
    uint32_t file;              /* index among the files that were opened */
    uint64_t offset, n_bytes;   /* wanted, n_bytes >= 1 */
    uint8_t *buffer;            /* DS4_AIO_ALIGN aligned, ds4_aio_room() bytes; the first wanted
                                   byte arrives at buffer + offset % DS4_AIO_ALIGN */
    /* Private from here on. */
    struct ds4_aio_read *next, *prev;
    ds4_aio_state        state;
    bool                 urgent, is_linked, gave_up, failed;
    uint32_t             n_under_way, piece_bytes;
    uint64_t             issued;            /* bytes of the widened range given to the disk */
    int                  reason;            /* errno of the first failure; 0: the file ended */
} ds4_aio_read;

/* Called before each piece; not 0: the piece fails with that errno. For tests. */
typedef int ds4_aio_fault_fn(void *ctx, uint64_t offset, uint64_t n_bytes);

typedef struct ds4_aio_options {
    uint32_t          depth;            /* pieces under way at most; 0: 32; at most 256 */
    uint32_t          calm_depth;       /* the same for reads that are not urgent; 0: 4 */
    uint32_t          piece_bytes;      /* a multiple of DS4_AIO_ALIGN; 0: 1 MiB */
    bool              threads_only;     /* do not try io_uring */
    ds4_aio_fault_fn *fault;            /* NULL: none */
    void             *fault_ctx;
} ds4_aio_options;

/* Open regular files.
 *
 *   out      receives the queue; untouched on failure
 *   paths    [n_files], 1 .. DS4_AIO_MAX_FILES
 *   opt      read during the call only; NULL: all defaults
 *
 * Returns DS4_OK; DS4_E_IO with the path and the reason; DS4_E_NOMEM.                  */
DS4_MUST_CHECK ds4_status ds4_aio_open(ds4_aio **out, const char *const *paths, uint32_t n_files,
                                       const ds4_aio_options *opt, ds4_err *err);

/* Give up what is queued, wait for what is under way, close. NULL is fine. */
void ds4_aio_close(ds4_aio *aio);

/* Queue a read that is not queued yet. It has ended when its state says so. */
void ds4_aio_submit(ds4_aio *aio, ds4_aio_read *read, bool urgent);

/* Make a queued read urgent. */
void ds4_aio_hurry(ds4_aio *aio, ds4_aio_read *read);

/* Give up a queued read: pieces not yet under way are dropped. It ends as CANCELLED, or as
 * DONE or FAILED when it was too late. */
void ds4_aio_cancel(ds4_aio *aio, ds4_aio_read *read);

ds4_aio_state ds4_aio_state_of(ds4_aio *aio, const ds4_aio_read *read);

/* Are the files as long as they were? Returns DS4_OK; DS4_E_IO with both lengths. */
DS4_MUST_CHECK ds4_status ds4_aio_check(const ds4_aio *aio, ds4_err *err);

/* The number of reads that have ended so far. */
uint64_t ds4_aio_ended(ds4_aio *aio);

/* Wait until more than `seen` reads have ended; returns their number. The caller must have
 * a read queued. */
uint64_t ds4_aio_wait(ds4_aio *aio, uint64_t seen);

/* Raise the error of a failed read: path, range, reason. Returns DS4_E_IO. */
ds4_status ds4_aio_reason(const ds4_aio *aio, const ds4_aio_read *read, ds4_err *err);

typedef struct ds4_aio_stats {
    const char *method;         /* "io_uring" or "threads" */
    bool        is_direct;      /* the page cache is bypassed, for every file */
    uint64_t    n_bytes;        /* read from the file, widening included */
    uint64_t    busy_ns;        /* time with at least one piece under way */
} ds4_aio_stats;
void ds4_aio_get_stats(ds4_aio *aio, ds4_aio_stats *out);

#endif
