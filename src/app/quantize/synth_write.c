/* synth_write.c - see synth_write.h.
 *
 * Each tensor is cut into pieces of about a megabyte at places that depend on its type
 * alone. A piece has its own random generator, made from the seed and the piece's number;
 * threads take pieces in turn and write them where they belong. */
#include "app/quantize/synth_write.h"

#include "app/quantize/synth_fill.h"
#include "base/output.h"
#include "base/rng.h"
#include "base/team.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PIECE_BYTES = 1 << 20 };

typedef struct writing {
    const synth_job *job;
    int              fd;
    bool             replaces;          /* a file of our own: it can be sized */
    bool             in_order;          /* a pipe, or what others write to: one byte after the other */
    uint64_t         pos;               /* in order: bytes written so far */
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

static ssize_t write_some(writing *w, const uint8_t *data, uint64_t n_bytes, uint64_t off)
{
    if (!w->in_order) return pwrite(w->fd, data, (size_t)n_bytes, (off_t)off);
    const ssize_t n = write(w->fd, data, (size_t)n_bytes);
    if (n > 0) w->pos += (uint64_t)n;
    return n;
}

/* Returns 0 or the reason. */
static int write_at(writing *w, const uint8_t *data, uint64_t n_bytes, uint64_t off)
{
    static const uint8_t zeros[4096];

    while (w->in_order && w->pos < off) {       /* padding in front */
        const uint64_t gap = off - w->pos;
        const int      reason = write_at(w, zeros, gap < sizeof zeros ? gap : sizeof zeros, w->pos);
        if (reason) return reason;
    }
    while (n_bytes > 0) {
        const ssize_t n = write_some(w, data, n_bytes, off);
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
    const int reason = write_at(w, buffer, n_bytes, w->data_off + t->off + from);
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
static ds4_status write_content(writing *w, const ds4_str *header, ds4_err *err)
{
    const synth_model *m = w->job->model;
    const char        *path = w->job->path;
    ds4_team          *team = NULL;

    /* The length first: padding between tensors is never written, it reads as zeros. */
    if (w->replaces && ftruncate(w->fd, (off_t)(w->data_off + m->data_bytes)) != 0) {
        return ds4_fail(err, DS4_E_IO, "%s: cannot make it %llu bytes long: %s", path,
                        (unsigned long long)(w->data_off + m->data_bytes), strerror(errno));
    }
    DS4_TRY(ds4_team_create(&team, w->in_order ? 1 : w->job->n_threads, err));
    atomic_store(&w->reason, write_at(w, (const uint8_t *)header->data, header->n_bytes, 0));
    ds4_team_run(team, write_share, w);
    ds4_team_free(team);

    int reason = atomic_load(&w->reason);
    if (reason == 0 && !stopped(w)) reason = write_at(w, NULL, 0, w->data_off + m->data_bytes);
    if (reason) return ds4_fail(err, DS4_E_IO, "%s: cannot write: %s", path, strerror(reason));
    if (w->job->cancel && w->job->cancel->stop) return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", path);
    return DS4_OK;
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

/* Threads write where their pieces belong, if the output has places. */
static void look_at_output(writing *w, const ds4_output *out)
{
    struct stat info;

    w->fd = ds4_output_fd(out, &w->replaces);
    w->in_order = !w->replaces && (fstat(w->fd, &info) != 0 || S_ISREG(info.st_mode)
                                   || lseek(w->fd, 0, SEEK_CUR) < 0);
}

static ds4_status write_file(writing *w, const ds4_str *header, ds4_err *err)
{
    ds4_output *out = NULL;

    DS4_TRY(ds4_output_open(&out, w->job->path, err));
    look_at_output(w, out);
    ds4_status st = w->replaces ? check_room(w, err) : DS4_OK;
    if (st == DS4_OK) st = write_content(w, header, err);
    if (st == DS4_OK) return ds4_output_commit(out, err);
    ds4_output_drop(out);
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
