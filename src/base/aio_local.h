/* aio_local.h - between the queue of reads and what carries its pieces to the disk. */
#ifndef DS4_BASE_AIO_LOCAL_H
#define DS4_BASE_AIO_LOCAL_H

#include "base/aio.h"

#include <pthread.h>

/* A part of a read, DS4_AIO_ALIGN aligned at both ends. */
typedef struct aio_piece {
    ds4_aio_read *read;
    uint64_t      offset;
    uint32_t      n_bytes;
    uint8_t      *to;
} aio_piece;

/* One way to read pieces. start() returns false when this system does not allow it. */
typedef struct aio_carrier {
    const char *name;
    bool (*start)(ds4_aio *aio);
    void (*kick)(ds4_aio *aio);         /* there are pieces to take, or an end to see */
    void (*stop)(ds4_aio *aio);         /* returns when no piece is under way any more */
} aio_carrier;

typedef struct aio_list {
    ds4_aio_read *first, *last;
} aio_list;

typedef struct aio_file {
    char    *path;
    int      fd;
    bool     is_direct;
    uint64_t n_bytes;                   /* when it was opened */
} aio_file;

struct ds4_aio {
    aio_file          *files;           /* [n_files] */
    uint32_t           n_files;
    ds4_aio_options    opt;
    const aio_carrier *carrier;
    void              *carrier_state;

    pthread_mutex_t    lock;            /* guards everything below and all reads queued */
    pthread_cond_t     work, ended;
    aio_list           urgent, calm;    /* reads with pieces left to issue */
    uint32_t           n_under_way;
    uint64_t           n_ended, n_bytes, busy_ns, busy_since;
    bool               is_closing;
};

static inline const aio_file *aio_file_of(const ds4_aio *aio, const ds4_aio_read *r)
{
    return &aio->files[r->file];
}

static inline uint64_t aio_align_down(uint64_t x)
{
    return x & ~(uint64_t)(DS4_AIO_ALIGN - 1);
}

/* ---- aio_queue.c; the lock is held ---- */

void      aio_list_add(aio_list *l, ds4_aio_read *r);
void      aio_list_remove(aio_list *l, ds4_aio_read *r);       /* nothing for a read that is in none */
aio_list *aio_list_of(ds4_aio *aio, const ds4_aio_read *r);

/* End a read when nothing of it is left to issue and nothing is under way. */
void aio_end_if_over(ds4_aio *aio, ds4_aio_read *r);

/* ---- aio_queue.c, for carriers; the lock is not held ---- */

/* The next piece that may go to the disk. With `block` waits for one; returns false when
 * there is none (never with block, except at closing). */
bool aio_take(ds4_aio *aio, aio_piece *out, bool block);

/* A piece came back: the number of bytes read, or -errno. Returns true when *piece is now
 * the rest, which the carrier must read as well. */
bool aio_give(ds4_aio *aio, aio_piece *piece, int64_t result);

/* ---- the carriers ---- */

extern const aio_carrier aio_threads;
#ifdef DS4_HAVE_URING
extern const aio_carrier aio_uring;
#endif

#endif
