/* gguf_filled.c - see gguf.h: parts of a model file that were never written. */
#include "format/gguf_file.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Small tensors may be zeros in earnest; so may rows of the token table and of the head, for tokens
 * that nobody trained. */
enum { LARGE_BYTES = 128 << 10, PAGE_BYTES = 4096, N_LOOKS = 4, MANY_ZEROS = 2 };

static bool all_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, PAGE_BYTES - 1) == 0;
}

static bool is_unfilled(const ds4_gguf_tensor *t)
{
    uint32_t n_zeros = 0;

    if (t->n_bytes < LARGE_BYTES || ds4_slice_eq(t->name, DS4_SLICE("token_embd.weight"))
        || ds4_slice_eq(t->name, DS4_SLICE("output.weight"))) return false;
    for (uint64_t i = 0; i < N_LOOKS; i++) {
        n_zeros += all_zero(t->data + (t->n_bytes - PAGE_BYTES) / (N_LOOKS - 1) * i);
    }
    return n_zeros >= MANY_ZEROS;
}

/* The first byte of a hole at or behind off; n_bytes when there is none or the system cannot tell. */
static uint64_t next_hole(int fd, uint64_t off, uint64_t n_bytes)
{
#ifdef SEEK_HOLE
    const off_t at = fd < 0 ? -1 : lseek(fd, (off_t)off, SEEK_HOLE);
    return at < 0 || (uint64_t)at > n_bytes ? n_bytes : (uint64_t)at;
#else
    (void)fd, (void)off;
    return n_bytes;
#endif
}

static ds4_status refuse(const ds4_gguf *g, uint32_t i_file, const ds4_gguf_tensor *t, ds4_err *err)
{
    char shown[DS4_GGUF_SHOWN_BYTES + 4];

    return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" was never written, or not all of it:"
                    " a download that did not end?", g->paths[i_file], ds4_gguf_shown(t->name, shown));
}

/* A hole may pad tensors apart; a page inside one may be none. */
static ds4_status check_file(const ds4_gguf *g, uint32_t i_file, ds4_err *err)
{
    const uint64_t n_bytes = i_file == 0 ? g->n_bytes : g->more[i_file - 1]->n_bytes;
    const int      fd = open(g->paths[i_file], O_RDONLY | O_CLOEXEC);
    ds4_status     st = DS4_OK;

    for (uint32_t i = 0; st == DS4_OK && i < g->n_tensors; i++) {
        const ds4_gguf_tensor *t = &g->tensors[i];
        if (ds4_gguf_tensor_file(g, t) != i_file) continue;
        const uint64_t from = ds4_gguf_tensor_offset(g, t);
        if (next_hole(fd, from, n_bytes) + PAGE_BYTES <= from + t->n_bytes || is_unfilled(t)) {
            st = refuse(g, i_file, t, err);
        }
    }
    if (fd >= 0) close(fd);
    return st;
}

ds4_status ds4_gguf_check_filled(const ds4_gguf *g, ds4_err *err)
{
    for (uint32_t i = 0; i < ds4_gguf_n_files(g); i++) DS4_TRY(check_file(g, i, err));
    return DS4_OK;
}
