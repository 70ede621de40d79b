/* aio_uring.c - Linux io_uring: one thread keeps the ring full and takes what comes back.
 *
 * The thread sleeps in the kernel for completions and for the bell, an eventfd that the
 * ring itself reads, so that new work wakes it as a finished piece does. */
#include "base/aio_local.h"

#ifdef DS4_HAVE_URING

#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct ring {
    struct io_uring ring;
    pthread_t       thread;
    int             bell;
    uint64_t        rung;               /* where the ring reads the bell's count to */
    uint32_t        n_free;
    aio_piece      *piece;              /* [depth] under way or free */
    aio_piece     **free;               /* [n_free] of [depth] */
} ring;

static void release(ring *own)
{
    if (own->bell >= 0) close(own->bell);
    free(own->piece);
    free((void *)own->free);
    free(own);
}

/* The submission queue has room for every piece and the bell, so an entry is always there. */
static void queue_piece(const ds4_aio *aio, ring *own, aio_piece *p)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&own->ring);
    io_uring_prep_read(sqe, aio_file_of(aio, p->read)->fd, p->to, p->n_bytes, p->offset);
    io_uring_sqe_set_data(sqe, p);
}

static void queue_bell(ring *own)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&own->ring);
    io_uring_prep_read(sqe, own->bell, &own->rung, sizeof own->rung, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

static void fill(ds4_aio *aio, ring *own)
{
    while (own->n_free > 0 && aio_take(aio, own->free[own->n_free - 1], false)) {
        queue_piece(aio, own, own->free[--own->n_free]);
    }
}

/* Returns false when the bell rang. */
static bool take_back(ds4_aio *aio, ring *own, struct io_uring_cqe *cqe)
{
    aio_piece *p = io_uring_cqe_get_data(cqe);
    const int  result = cqe->res;

    io_uring_cqe_seen(&own->ring, cqe);
    if (!p) return false;
    if (aio_give(aio, p, result)) queue_piece(aio, own, p);
    else own->free[own->n_free++] = p;
    return true;
}

static bool is_over(ds4_aio *aio, const ring *own)
{
    pthread_mutex_lock(&aio->lock);
    const bool over = aio->is_closing && own->n_free == aio->opt.depth;
    pthread_mutex_unlock(&aio->lock);
    return over;
}

static void *keep_full(void *arg)
{
    ds4_aio             *aio = arg;
    ring                *own = aio->carrier_state;
    struct io_uring_cqe *cqe;

    queue_bell(own);
    while (!is_over(aio, own)) {
        fill(aio, own);
        io_uring_submit_and_wait(&own->ring, 1);
        while (io_uring_peek_cqe(&own->ring, &cqe) == 0) {
            if (!take_back(aio, own, cqe)) queue_bell(own);
        }
    }
    return NULL;
}

/* Kernels before 5.6 have a ring without plain reads. */
static bool open_ring(struct io_uring *u, uint32_t depth)
{
    if (io_uring_queue_init(depth + 1, u, 0) != 0) return false;
    struct io_uring_probe *probe = io_uring_get_probe_ring(u);
    const bool             can_read = probe && io_uring_opcode_supported(probe, IORING_OP_READ);
    io_uring_free_probe(probe);
    if (!can_read) io_uring_queue_exit(u);
    return can_read;
}

static bool start(ds4_aio *aio)
{
    const uint32_t depth = aio->opt.depth;
    ring          *own = calloc(1, sizeof *own);

    if (!own) return false;
    aio->carrier_state = own;
    own->bell = eventfd(0, EFD_CLOEXEC);
    own->piece = calloc(depth, sizeof *own->piece);
    own->free = calloc(depth, sizeof *own->free);
    if (own->bell < 0 || !own->piece || !own->free || !open_ring(&own->ring, depth)) {
        release(own);
        return false;
    }
    for (uint32_t i = 0; i < depth; i++) own->free[i] = &own->piece[i];
    own->n_free = depth;
    if (pthread_create(&own->thread, NULL, keep_full, aio) == 0) return true;
    io_uring_queue_exit(&own->ring);
    release(own);
    return false;
}

static void kick(ds4_aio *aio)
{
    const ring    *own = aio->carrier_state;
    const uint64_t one = 1;
    while (write(own->bell, &one, sizeof one) < 0) continue;
}

static void stop(ds4_aio *aio)
{
    ring *own = aio->carrier_state;

    kick(aio);
    pthread_join(own->thread, NULL);
    io_uring_queue_exit(&own->ring);
    release(own);
}

const aio_carrier aio_uring = { .name = "io_uring", .start = start, .kick = kick, .stop = stop };

#else
typedef int aio_uring_is_not_built;     /* C wants a declaration in every file */
#endif
