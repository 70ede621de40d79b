/* cpu_load.c - weights: in the mapped file, or copied out of it past the page cache.
 *
 * Beside streamed experts there is no room for a second copy in the page cache, and pages of a
 * mapping could be taken away when memory is short. So the weights that every token needs are
 * then read into memory of our own. */
#include "backend/cpu/cpu_ops.h"

#include "base/aio.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

enum { N_BUFFERS = 12, CHUNK_BYTES = 4 << 20, BUFFER_BYTES = CHUNK_BYTES + 2 * DS4_AIO_ALIGN };

/* A tensor on its way from a file to memory. */
typedef struct copy {
    const char *path;
    uint64_t    offset, n_bytes;
    uint8_t    *to;
} copy;

/* Memory of copied tensors; one that is larger than a room has a room of its own. */
typedef struct room {
    struct room *next;
    uint8_t     *data;
    uint64_t     n_bytes, n_used;
} room;

struct cpu_weights {
    room    *rooms;
    copy    *copies;                /* [n_copies] bound and not read yet */
    uint32_t n_copies, max_copies;
};

/* ---- binding ------------------------------------------------------------------------------- */

/* Rooms are large, so that they get large pages, and taken from the system as they fill. */
static uint8_t *take_room(struct cpu_weights *w, uint64_t n_bytes)
{
    enum { ROOM = 1 << 30, ALIGN = 64 };

    n_bytes = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!w->rooms || n_bytes > w->rooms->n_bytes - w->rooms->n_used) {
        room          *r = malloc(sizeof *r);
        const uint64_t size = n_bytes > ROOM ? n_bytes : ROOM;
        uint8_t       *data = r ? cpu_reserve_large(size) : NULL;
        if (!data) {
            free(r);
            return NULL;
        }
        *r = (room){ .next = w->rooms, .data = data, .n_bytes = size };
        w->rooms = r;
    }
    w->rooms->n_used += n_bytes;
    return w->rooms->data + w->rooms->n_used - n_bytes;
}

static bool add_copy(struct cpu_weights *w, const ds4_tensor *t, uint8_t *to)
{
    if (w->n_copies == w->max_copies) {
        const uint32_t most = w->max_copies ? 2 * w->max_copies : 256;
        copy          *copies = realloc(w->copies, most * sizeof *copies);
        if (!copies) return false;
        w->copies = copies;
        w->max_copies = most;
    }
    w->copies[w->n_copies++] = (copy){ t->path, t->file_offset, t->n_bytes, to };
    return true;
}

/* Weights stay in the mapped file, or are copied out of it when the device was opened so. */
ds4_status cpu_bind(ds4_dev *dev, const ds4_tensor *t, ds4_matrix *out, ds4_err *err)
{
    const uint8_t *at = t->data;

    if (dev->limits.copy_weights && t->use == DS4_USE_ALWAYS) {
        uint8_t *to = take_room(dev->weights, t->n_bytes);
        if (!to || !add_copy(dev->weights, t, to)) {
            return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for tensor \"%s\" of %llu bytes", t->path,
                            t->name, (unsigned long long)t->n_bytes);
        }
        at = to;
    }
    if (t->use == DS4_USE_ROWS) ds4_map_expect_random(t->data, t->n_bytes);
    *out = (ds4_matrix){ .dtype = t->dtype, .n_in = t->n_in, .n_out = t->n_out, .n_mats = t->n_mats,
                         .use = t->use, .layout = (const ds4_layout *)(const void *)at };
    return DS4_OK;
}

ds4_status cpu_weights_create(ds4_dev *dev, ds4_err *err)
{
    dev->weights = calloc(1, sizeof *dev->weights);
    return dev->weights ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for a list of weights");
}

void cpu_weights_free(ds4_dev *dev)
{
    if (!dev->weights) return;
    while (dev->weights->rooms) {
        room *r = dev->weights->rooms;
        dev->weights->rooms = r->next;
        cpu_release(r->data, r->n_bytes);
        free(r);
    }
    free(dev->weights->copies);
    free(dev->weights);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* A chunk on its way to memory. */
typedef struct chunk {
    ds4_aio_read read;
    uint8_t     *to;
    bool         is_busy;
} chunk;

/* Progress through all files. */
typedef struct progress {
    const ds4_loading *told;
    uint64_t           n_done, n_total;
} progress;

typedef struct reader {
    progress   *progress;
    const copy *copies;
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
    const copy    *next = &r->copies[r->i_copy];
    const uint64_t left = next->n_bytes - r->done;

    c->read = (ds4_aio_read){ .offset = next->offset + r->done,
                              .n_bytes = left < CHUNK_BYTES ? left : CHUNK_BYTES,
                              .buffer = r->buffers + (size_t)(c - r->chunks) * BUFFER_BYTES };
    c->to = next->to + r->done;
    c->is_busy = true;
    r->done += c->read.n_bytes;
    ds4_aio_submit(r->aio, &c->read, true);
    return true;
}

static void tell(progress *p, uint64_t n_bytes)
{
    p->n_done += n_bytes;
    if (p->told->fn) p->told->fn(p->told->ctx, p->n_done, p->n_total);
}

/* Move what has arrived on to its place. Returns in *n_busy how many are still out. */
static ds4_status take_arrived(reader *r, uint32_t *n_busy, ds4_err *err)
{
    *n_busy = 0;
    for (uint32_t i = 0; i < N_BUFFERS; i++) {
        chunk              *c = &r->chunks[i];
        const ds4_aio_state state = ds4_aio_state_of(r->aio, &c->read);

        if (c->is_busy && state == DS4_AIO_FAILED) return ds4_aio_reason(r->aio, &c->read, err);
        if (c->is_busy && state == DS4_AIO_DONE) {
            const uint8_t *data = c->read.buffer + c->read.offset % DS4_AIO_ALIGN;
            memcpy(c->to, data, c->read.n_bytes);
            c->is_busy = false;
            tell(r->progress, c->read.n_bytes);
        }
        if (!c->is_busy) submit_next(r, c);
        *n_busy += c->is_busy;
    }
    return DS4_OK;
}

/* Copies from one file. */
static ds4_status read_file(const copy *copies, uint32_t n, progress *p, ds4_err *err)
{
    reader     r = { .progress = p, .copies = copies, .n = n };
    void      *buffers = NULL;
    ds4_status st = DS4_OK;
    uint32_t   n_busy = 1;

    if (posix_memalign(&buffers, DS4_AIO_ALIGN, (size_t)N_BUFFERS * BUFFER_BYTES) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to read its weights", copies->path);
    }
    r.buffers = buffers;
    st = ds4_aio_open(&r.aio, &copies->path, 1, NULL, err);
    while (st == DS4_OK && n_busy > 0) {
        const uint64_t seen = ds4_aio_ended(r.aio);
        st = take_arrived(&r, &n_busy, err);
        if (st == DS4_OK && n_busy > 0) ds4_aio_wait(r.aio, seen);
    }
    ds4_aio_close(r.aio);
    free(buffers);
    return st;
}

ds4_status cpu_load(ds4_dev *dev, const ds4_loading *told, ds4_err *err)
{
    struct cpu_weights *w = dev->weights;
    progress            p = { .told = told };

    for (uint32_t i = 0; i < w->n_copies; i++) p.n_total += w->copies[i].n_bytes;
    for (uint32_t i = 0, n; i < w->n_copies; i += n) {
        for (n = 1; i + n < w->n_copies && strcmp(w->copies[i + n].path, w->copies[i].path) == 0;) n++;
        DS4_TRY(read_file(&w->copies[i], n, &p, err));
    }
    w->n_copies = 0;
    return DS4_OK;
}
