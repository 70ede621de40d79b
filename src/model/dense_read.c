/* dense_read.c - see dense_read.h. */
#include "model/dense_read.h"

#include "base/aio.h"

#include <stdlib.h>

enum { N_BUFFERS = 12, CHUNK_BYTES = 4 << 20, ROOM_BYTES = CHUNK_BYTES + 2 * DS4_AIO_ALIGN };

/* A chunk on its way to device memory. */
typedef struct chunk {
    ds4_aio_read read;
    uint64_t     to;
    bool         is_busy;
} chunk;

typedef struct reader {
    const ds4_dense_copy *copies;
    uint32_t              n, i_copy;
    uint64_t              done;         /* bytes of copies[i_copy] that were submitted */
    ds4_aio              *aio;
    chunk                 chunks[N_BUFFERS];
    uint8_t              *buffers;
} reader;

/* Returns false when nothing is left to submit. */
static bool submit_next(reader *r, chunk *c)
{
    while (r->i_copy < r->n && r->done == r->copies[r->i_copy].n_bytes) {
        r->i_copy++;
        r->done = 0;
    }
    if (r->i_copy == r->n) return false;
    const ds4_dense_copy *copy = &r->copies[r->i_copy];
    const uint64_t        left = copy->n_bytes - r->done;

    c->read = (ds4_aio_read){ .offset = copy->offset + r->done,
                              .n_bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES,
                              .buffer = r->buffers + (size_t)(c - r->chunks) * ROOM_BYTES };
    c->to = copy->to + r->done;
    c->is_busy = true;
    r->done += c->read.n_bytes;
    ds4_aio_submit(r->aio, &c->read, true);
    return true;
}

/* Move what has arrived on to the device. Returns in *n_busy how many are still out. */
static ds4_status take_arrived(reader *r, const ds4_backend *backend, ds4_dev *dev, ds4_buf *to,
                               uint32_t *n_busy, ds4_err *err)
{
    *n_busy = 0;
    for (uint32_t i = 0; i < N_BUFFERS; i++) {
        chunk              *c = &r->chunks[i];
        const ds4_aio_state state = ds4_aio_state_of(r->aio, &c->read);

        if (c->is_busy && state == DS4_AIO_FAILED) return ds4_aio_reason(r->aio, &c->read, err);
        if (c->is_busy && state == DS4_AIO_DONE) {
            const uint8_t *data = c->read.buffer + c->read.offset % DS4_AIO_ALIGN;
            DS4_TRY(backend->write(dev, (ds4_view){ to, c->to }, data, c->read.n_bytes, err));
            c->is_busy = false;
        }
        if (!c->is_busy) submit_next(r, c);
        *n_busy += c->is_busy;
    }
    return DS4_OK;
}

ds4_status ds4_dense_read(const char *path, const ds4_dense_copy *copies, uint32_t n,
                          const ds4_backend *backend, ds4_dev *dev, ds4_buf *to, ds4_err *err)
{
    reader     r = { .copies = copies, .n = n };
    void      *buffers = NULL;
    ds4_status st = DS4_OK;
    uint32_t   n_busy = 1;

    if (posix_memalign(&buffers, DS4_AIO_ALIGN, (size_t)N_BUFFERS * ROOM_BYTES) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read its weights", path);
    }
    r.buffers = buffers;
    st = ds4_aio_open(&r.aio, path, NULL, err);
    while (st == DS4_OK && n_busy > 0) {
        const uint64_t seen = ds4_aio_ended(r.aio);
        st = take_arrived(&r, backend, dev, to, &n_busy, err);
        if (st == DS4_OK && n_busy > 0) ds4_aio_wait(r.aio, seen);
    }
    ds4_aio_close(r.aio);
    free(buffers);
    return st;
}
