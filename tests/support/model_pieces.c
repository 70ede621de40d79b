/* model_pieces.c - see model_pieces.h. */
#include "testing.h"

#include "support/model_pieces.h"

#include "format/gguf_write.h"

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

void model_piece_write(const ds4_gguf *g, const char *path, const model_piece *piece)
{
    ds4_gguf_writer *w = NULL;
    ds4_err          err;

    check(ds4_gguf_writer_create(&w, 0, &err), &err);
    for (uint32_t i = 0; piece->no == 0 && i < ds4_gguf_n_keys(g); i++) {
        ds4_gguf_put_key(w, ds4_gguf_key_at(g, i));
    }
    ds4_gguf_put_u32(w, "split.no", piece->no);
    ds4_gguf_put_u32(w, "split.count", piece->count);
    ds4_gguf_put_u32(w, "split.tensors.count", piece->n_all);
    for (uint32_t i = piece->first; i < piece->last; i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        char                   name[128];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.data);
        ds4_gguf_declare(w, name, t->dtype, t->n_dims, t->dim);
    }
    check(ds4_gguf_writer_begin(w, path, &err), &err);
    for (uint32_t i = piece->first; i < piece->last; i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        check(ds4_gguf_writer_append(w, t->data, t->n_bytes, &err), &err);
    }
    check(ds4_gguf_writer_finish(w, &err), &err);
    ds4_gguf_writer_free(w);
}

void model_piece_path(char path[400], const char *folder, uint32_t no, uint32_t count)
{
    snprintf(path, 400, "%.300s/m-%05u-of-%05u.gguf", folder, no + 1, count);
}

void model_pieces_write(const char *whole, const char *folder, uint32_t count)
{
    ds4_gguf *g = NULL;
    ds4_err   err;

    check(ds4_gguf_open(whole, &g, &err), &err);
    const uint32_t n = ds4_gguf_n_tensors(g);
    for (uint32_t no = 0; no < count; no++) {
        const model_piece piece = { n * no / count, n * (no + 1) / count, no, count, n };
        char              path[400];
        model_piece_path(path, folder, no, count);
        model_piece_write(g, path, &piece);
    }
    ds4_gguf_close(g);
}
