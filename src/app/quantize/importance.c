/* importance.c - see importance.h. */
#include "app/quantize/importance.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/sha256.h"

ds4_status importance_open(importance *out, const char *path, ds4_err *err)
{
    ds4_map map = { 0 };
    uint8_t digest[DS4_SHA256_BYTES];

    *out = (importance){ .path = path };
    DS4_TRY(ds4_map_open(&map, path, err));
    ds4_sha256(map.data, map.n_bytes, digest);
    ds4_sha256_text(digest, out->digest);
    ds4_status st = ds4_imatrix_read_bytes(&out->file, path, map.data, map.n_bytes, err);
    if (st == DS4_OK) st = ds4_map_check(&map, path, err);
    ds4_map_close(&map);
    return st;
}

void importance_close(importance *im)
{
    ds4_imatrix_clear(&im->file);
    free(im->row);
    *im = (importance){ 0 };
}

ds4_status importance_of(importance *im, const char *tensor, uint64_t mat, uint64_t n_mats,
                         uint64_t n_columns, const float **out, ds4_err *err)
{
    ds4_status st = DS4_OK;

    *out = NULL;
    if (!im->path) return DS4_OK;
    if (n_columns > im->room) {
        float *row = realloc(im->row, n_columns * sizeof *row);
        if (!row) return ds4_fail(err, DS4_E_NOMEM, "no memory for the importance of a row");
        im->row = row;
        im->room = n_columns;
    }
    if (ds4_imatrix_row(&im->file, tensor, mat, n_mats, n_columns, im->row, &st, err)) *out = im->row;
    return st;
}

bool importance_knows(const importance *im, const char *tensor)
{
    const size_t n = strlen(tensor);

    if (!im->path) return true;
    for (uint32_t i = 0; i < im->file.n; i++) {
        if (strncmp(im->file.entries[i].name, tensor, n) == 0) return true;
    }
    return false;
}

void importance_put_keys(const importance *im, ds4_gguf_writer *w)
{
    const char *slash = im->path ? strrchr(im->path, '/') : NULL;
    const char *name = slash ? slash + 1 : im->path;

    if (!name) return;
    ds4_gguf_put_string(w, "quantize.imatrix.file", (ds4_slice){ name, strlen(name) });
    ds4_gguf_put_string(w, "quantize.imatrix.dataset",
                        (ds4_slice){ ds4_str_text(&im->file.dataset), im->file.dataset.n_bytes });
    ds4_gguf_put_u32(w, "quantize.imatrix.entries_count", im->file.n);
    ds4_gguf_put_u32(w, "quantize.imatrix.chunks_count", im->file.n_chunks);
}

void importance_describe(const importance *im, ds4_str *out)
{
    if (im->path) ds4_str_addf(out, "imatrix %s\n", im->digest);
}

bool importance_is_key(ds4_slice key)
{
    static const char start[] = "quantize.imatrix.";

    return key.n_bytes >= sizeof start - 1 && memcmp(key.data, start, sizeof start - 1) == 0;
}
