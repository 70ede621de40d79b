/* aio_threads.c - a pool of threads, each of which reads one piece at a time. */
#include "base/aio_local.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* More threads than this gain nothing: a piece keeps a disk busy for a while. */
enum { MAX_THREADS = 32, STACK_BYTES = 128 * 1024 };

typedef struct pool {
    uint32_t  n;
    pthread_t thread[MAX_THREADS];
} pool;

static void *read_pieces(void *arg)
{
    ds4_aio  *aio = arg;
    aio_piece p;

    while (aio_take(aio, &p, true)) {
        ssize_t n;
        do {
            n = pread(aio_file_of(aio, p.read)->fd, p.to, p.n_bytes, (off_t)p.offset);
        } while (aio_give(aio, &p, n < 0 ? -errno : n));
    }
    return NULL;
}

static bool start(ds4_aio *aio)
{
    const uint32_t n = aio->opt.depth < MAX_THREADS ? aio->opt.depth : MAX_THREADS;
    pool          *own = calloc(1, sizeof *own);
    pthread_attr_t attr;

    if (!own) return false;
    aio->carrier_state = own;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (own->n < n && pthread_create(&own->thread[own->n], &attr, read_pieces, aio) == 0) {
        own->n++;
    }
    pthread_attr_destroy(&attr);
    if (own->n > 0) return true;
    free(own);
    return false;
}

static void kick(ds4_aio *aio)
{
    pthread_cond_broadcast(&aio->work);
}

static void stop(ds4_aio *aio)
{
    pool *own = aio->carrier_state;

    for (uint32_t i = 0; i < own->n; i++) pthread_join(own->thread[i], NULL);
    free(own);
}

const aio_carrier aio_threads = { .name = "threads", .start = start, .kick = kick, .stop = stop };
