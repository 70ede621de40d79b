/* synth_write.c - see synth_write.h.
 *
 * Each tensor is cut into pieces of about a megabyte at places that depend on its type
 * alone. A piece has its own random generator, made from the seed and the piece's number;
 * threads take pieces in turn and write them where they belong. */
#include "app/quantize/synth_write.h"

#include "app/quantize/synth_fill.h"
#include "base/rng.h"
#include "base/team.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20 };

typedef struct writing {
    const synth_job *job;
    int              fd;
    uint64_t         data_off;          /* of the data section in the file */
    uint64_t        *first_piece;       /* [n_tensors + 1] number of each tensor's first piece */
    uint64_t         base;              /* random: distinguishes seeds */
    uint8_t        **buffer;            /* [n_threads][PIECE_BYTES and a word] */
    atomic_ullong    next, n_done;      /* piece, bytes */
    atomic_int       reason;            /* errno of the first write that failed; 0: none */
} writing;

static uint64_t piece_bytes(const synth_tensor *t)
{
    const uint64_t unit = synth_unit_bytes(t);
    return PIECE_BYTES / unit * unit;
}

static bool plan_pieces(writing *w)
{
    const synth_model *m = w->job->model;

    w->first_piece = malloc((m->n_tensors + 1) * sizeof *w->first_piece);
    if (!w->first_piece) return false;
    w->first_piece[0] = 0;
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const uint64_t size = piece_bytes(&m->tensors[i]);
        w->first_piece[i + 1] = w->first_piece[i] + (m->tensors[i].n_bytes + size - 1) / size;
    }
    return true;
}

static bool make_buffers(writing *w)
{
    w->buffer = calloc(w->job->n_threads, sizeof *w->buffer);
    for (uint32_t i = 0; w->buffer && i < w->job->n_threads; i++) {
        w->buffer[i] = malloc(PIECE_BYTES + 8);
        if (!w->buffer[i]) return false;
    }
    return w->buffer != NULL;
}

static void clear(writing *w)
{
    for (uint32_t i = 0; w->buffer && i < w->job->n_threads; i++) free(w->buffer[i]);
    free(w->buffer);
    free(w->first_piece);
}

/* Returns 0 or the reason. */
static int write_at(int fd, const uint8_t *data, uint64_t n_bytes, uint64_t off)
{
    while (n_bytes > 0) {
        const ssize_t n = pwrite(fd, data, (size_t)n_bytes, (off_t)off);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        data += n;
        off += (uint64_t)n;
        n_bytes -= (uint64_t)n;
    }
    return 0;
}

static void write_piece(writing *w, uint32_t i_tensor, uint64_t piece, uint8_t *buffer)
{
    const synth_model  *m = w->job->model;
    const synth_tensor *t = &m->tensors[i_tensor];
    const uint64_t      size = piece_bytes(t), from = (piece - w->first_piece[i_tensor]) * size;
    const uint64_t      n_bytes = t->n_bytes - from < size ? t->n_bytes - from : size;
    ds4_rng             rng;

    ds4_rng_seed(&rng, w->base ^ piece * 0xd1342543de82ef95u);
    synth_fill(buffer, n_bytes, t, m->shape.n_experts, &rng);
    const int reason = write_at(w->fd, buffer, n_bytes, w->data_off + t->off + from);
    if (reason) atomic_store(&w->reason, reason);
    atomic_fetch_add(&w->n_done, n_bytes);
}

static bool stopped(writing *w)
{
    return atomic_load(&w->reason) != 0 || (w->job->cancel && w->job->cancel->stop);
}

static void write_share(void *ctx, uint32_t member, uint32_t n_members)
{
    writing           *w = ctx;
    const synth_model *m = w->job->model;
    uint32_t           i_tensor = 0;

    (void)n_members;
    while (!stopped(w)) {
        const uint64_t piece = atomic_fetch_add(&w->next, 1);
        while (i_tensor < m->n_tensors && piece >= w->first_piece[i_tensor + 1]) i_tensor++;
        if (i_tensor == m->n_tensors) return;
        write_piece(w, i_tensor, piece, w->buffer[member]);
        if (member == 0 && w->job->progress) {
            w->job->progress(atomic_load(&w->n_done), m->data_bytes);
        }
    }
}

/* The whole content into an open file. */
static ds4_status write_content(writing *w, const ds4_str *header, const char *temp, ds4_err *err)
{
    const synth_model *m = w->job->model;
    ds4_team          *team = NULL;

    /* The length first: padding between tensors is never written, it reads as zeros. */
    if (ftruncate(w->fd, (off_t)(w->data_off + m->data_bytes)) != 0) {
        return ds4_fail(err, DS4_E_IO, "%s: cannot make it %llu bytes long: %s", temp,
                        (unsigned long long)(w->data_off + m->data_bytes), strerror(errno));
    }
    DS4_TRY(ds4_team_create(&team, w->job->n_threads, err));
    atomic_store(&w->reason, write_at(w->fd, (const uint8_t *)header->data, header->n_bytes, 0));
    ds4_team_run(team, write_share, w);
    ds4_team_free(team);

    const int reason = atomic_load(&w->reason);
    if (reason) return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", temp, strerror(reason));
    if (w->job->cancel && w->job->cancel->stop) {
        return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", temp);
    }
    if (fsync(w->fd) == 0) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: cannot sync: %s", temp, strerror(errno));
}

static ds4_status check_room(const writing *w, ds4_err *err)
{
    const uint64_t need = w->data_off + w->job->model->data_bytes;
    struct statvfs fs;

    if (fstatvfs(w->fd, &fs) != 0 || fs.f_frsize == 0) return DS4_OK;
    if ((uint64_t)fs.f_bavail >= need / fs.f_frsize + 1) return DS4_OK;
    return ds4_fail(err, DS4_E_LIMIT, "%s: the file takes %llu bytes, the disk has %llu free",
                    w->job->path, (unsigned long long)need, (unsigned long long)fs.f_bavail * fs.f_frsize);
}

static ds4_status write_file(writing *w, const ds4_str *header, ds4_err *err)
{
    const char  *path = w->job->path;
    const size_t room = strlen(path) + 32;
    char        *temp = malloc(room);

    if (!temp) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its name", path);
    snprintf(temp, room, "%s.tmp.%ld", path, (long)getpid());
    w->fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    ds4_status st = w->fd >= 0 ? check_room(w, err)
                               : ds4_fail(err, DS4_E_IO, "%s: %s", temp, strerror(errno));
    if (st == DS4_OK) st = write_content(w, header, temp, err);
    if (w->fd >= 0 && close(w->fd) != 0 && st == DS4_OK) {
        st = ds4_fail(err, DS4_E_IO, "%s: cannot close: %s", temp, strerror(errno));
    }
    if (st == DS4_OK && rename(temp, path) != 0) {
        st = ds4_fail(err, DS4_E_IO, "%s: cannot rename it to %s: %s", temp, path, strerror(errno));
    }
    if (w->fd >= 0 && st != DS4_OK) unlink(temp);
    free(temp);
    return st;
}

ds4_status synth_header(const synth_model *m, ds4_str *out, ds4_err *err)
{
    ds4_gguf_writer *w = NULL;

    DS4_TRY(ds4_gguf_writer_create(&w, 0, err));
    ds4_status st = synth_model_declare(m, w, err);
    if (st == DS4_OK) st = ds4_gguf_writer_header(w, out, err);
    ds4_gguf_writer_free(w);
    return st;
}

ds4_status synth_write(const synth_job *job, ds4_err *err)
{
    writing    w = { .job = job, .fd = -1 };
    ds4_str    header = { 0 };
    ds4_rng    rng;
    ds4_status st = synth_header(job->model, &header, err);

    ds4_rng_seed(&rng, job->seed);
    w.base = ds4_rng_next(&rng);
    w.data_off = header.n_bytes;
    if (st == DS4_OK && (!plan_pieces(&w) || !make_buffers(&w))) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for the buffers of %u threads", job->n_threads);
    }
    if (st == DS4_OK) st = write_file(&w, &header, err);
    clear(&w);
    ds4_str_clear(&header);
    return st;
}
