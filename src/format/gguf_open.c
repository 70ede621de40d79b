/* gguf_open.c - see gguf.h: a model's file on disk, or its files when it comes in pieces. */
#include "format/gguf_file.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PIECES = 1000 };             /* llama.cpp's names have five digits; nobody needs more */

/* ---- one file ------------------------------------------------------------------------------- */

static ds4_status open_one(const char *path, ds4_gguf **out, ds4_err *err)
{
    ds4_map   map = { 0 };
    ds4_gguf *g = NULL;

    DS4_TRY(ds4_map_open(&map, path, err));
    const ds4_status parsed = ds4_gguf_open_bytes(path, map.data, map.n_bytes, &g, err);
    const ds4_status whole = ds4_map_check(&map, path, err);
    if (parsed == DS4_OK && whole == DS4_OK) {
        g->map = map;
        *out = g;
        return DS4_OK;
    }
    ds4_gguf_close(g);
    ds4_map_close(&map);
    return whole != DS4_OK ? whole : parsed;
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* A piece's number and count, from its own keys. */
typedef struct place {
    uint64_t no, count;                 /* 0 <= no < count */
} place;

static ds4_status read_place(const ds4_gguf *g, place *out, ds4_err *err)
{
    *out = (place){ 0, 1 };
    DS4_TRY(ds4_gguf_opt_u64(g, "split.count", 0, MAX_PIECES, 1, &out->count, err));
    if (out->count <= 1) return DS4_OK;
    return ds4_gguf_get_u64(g, "split.no", 0, out->count - 1, &out->no, err);
}

static void ending(char out[32], uint64_t no, uint64_t count)
{
    snprintf(out, 32, "-%05u-of-%05u.gguf", (uint32_t)no + 1, (uint32_t)count);
}

/* The bytes of a path in front of a piece's ending; 0: it has another ending. */
static size_t stem_of(const char *path, const place *at)
{
    char         end[32];
    const size_t n = strlen(path);

    ending(end, at->no, at->count);
    const size_t n_end = strlen(end);
    return n > n_end && strcmp(path + n - n_end, end) == 0 ? n - n_end : 0;
}

/* The path of a piece beside another. A link, as caches of downloads have them, may have any name:
 * then the file behind it says where the others are. */
static ds4_status find_stem(const char *path, const place *at, char stem[PATH_MAX], ds4_err *err)
{
    char   end[32];
    size_t n = stem_of(path, at);

    if (n > 0 && n < PATH_MAX) {
        memcpy(stem, path, n);
    } else {
        n = realpath(path, stem) ? stem_of(stem, at) : 0;
    }
    if (n > 0 && n < PATH_MAX) {
        stem[n] = '\0';
        return DS4_OK;
    }
    ending(end, at->no, at->count);
    return ds4_fail(err, DS4_E_FORMAT, "%s: is piece %u of %u of a split model, and its name does not end"
                    " in %s: the other pieces cannot be found", path, (uint32_t)at->no + 1,
                    (uint32_t)at->count, end);
}

static ds4_status open_piece(const char *stem, const place *want, ds4_gguf **out, ds4_err *err)
{
    char      path[PATH_MAX], end[32];
    ds4_gguf *g = NULL;
    ds4_err   why = { .code = DS4_OK };
    place     at;

    ending(end, want->no, want->count);
    const int n = snprintf(path, sizeof path, "%s%s", stem, end);
    if (n < 0 || (size_t)n >= sizeof path) return ds4_fail(err, DS4_E_IO, "%s: path too long", stem);
    const ds4_status st = open_one(path, &g, &why);
    if (st != DS4_OK) {
        return ds4_fail(err, st, "%s (piece %u of %u of a split model)", why.text, (uint32_t)want->no + 1,
                        (uint32_t)want->count);
    }
    const ds4_status read = read_place(g, &at, err);
    if (read == DS4_OK && at.no == want->no && at.count == want->count) {
        *out = g;
        return DS4_OK;
    }
    ds4_gguf_close(g);
    if (read != DS4_OK) return read;
    return ds4_fail(err, DS4_E_FORMAT, "%s: says that it is piece %u of %u", path, (uint32_t)at.no + 1,
                    (uint32_t)at.count);
}

/* The tensors of all pieces become those of the first. */
static ds4_status merge(ds4_gguf *g, ds4_err *err)
{
    uint64_t n = g->n_tensors, wanted;

    for (uint32_t i = 0; i < g->n_more; i++) n += g->more[i]->n_tensors;
    DS4_TRY(ds4_gguf_opt_u64(g, "split.tensors.count", 0, UINT32_MAX, n, &wanted, err));
    if (n != wanted || n > DS4_GGUF_MAX_TENSORS) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: the pieces have %llu tensors together, expected %llu",
                        g->path, (unsigned long long)n, (unsigned long long)wanted);
    }
    ds4_gguf_tensor *all = realloc(g->tensors, (n + 1) * sizeof *all);
    if (all) g->tensors = all;
    void *by_name = realloc((void *)g->by_name, (n + 1) * sizeof *g->by_name);
    if (by_name) g->by_name = by_name;
    if (!all || !by_name) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the pieces' tensors", g->path);
    for (uint32_t i = 0; i < g->n_more; i++) {
        memcpy(all + g->n_tensors, g->more[i]->tensors, g->more[i]->n_tensors * sizeof *all);
        g->n_tensors += g->more[i]->n_tensors;
    }
    return ds4_gguf_index_tensors(g, err);
}

static ds4_status open_others(ds4_gguf *g, const char *stem, uint64_t count, ds4_err *err)
{
    const char **paths = realloc((void *)g->paths, count * sizeof *paths);

    if (paths) g->paths = paths;
    g->more = calloc(count, sizeof *g->more);
    if (!paths || !g->more) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its pieces", g->path);
    for (uint64_t i = 1; i < count; i++) {
        const place want = { i, count };
        DS4_TRY(open_piece(stem, &want, &g->more[i - 1], err));
        g->n_more = (uint32_t)i;
        g->paths[i] = g->more[i - 1]->path;
    }
    return merge(g, err);
}

ds4_status ds4_gguf_open(const char *path, ds4_gguf **out, ds4_err *err)
{
    ds4_gguf  *g = NULL;
    char       stem[PATH_MAX];
    place      at;

    DS4_TRY(open_one(path, &g, err));
    ds4_status st = read_place(g, &at, err);
    if (st == DS4_OK && at.count > 1) {
        st = find_stem(path, &at, stem, err);
        if (st == DS4_OK && at.no > 0) {            /* some other piece was named */
            ds4_gguf_close(g);
            g = NULL;
            st = open_piece(stem, &(place){ 0, at.count }, &g, err);
        }
        if (st == DS4_OK) st = open_others(g, stem, at.count, err);
    }
    if (st == DS4_OK) {
        *out = g;
    } else {
        ds4_gguf_close(g);
    }
    return st;
}

/* ---- the files of a model ---------------------------------------------------------------------- */

static const ds4_gguf *piece(const ds4_gguf *g, uint32_t i)
{
    return i == 0 ? g : g->more[i - 1];
}

uint32_t ds4_gguf_n_files(const ds4_gguf *g)
{
    return g->map.data ? 1 + g->n_more : 0;
}

const char *ds4_gguf_file(const ds4_gguf *g, uint32_t i, ds4_file_facts *facts)
{
    assert(i < ds4_gguf_n_files(g));
    *facts = piece(g, i)->map.facts;
    return g->paths[i];
}

const char *const *ds4_gguf_paths(const ds4_gguf *g, uint32_t *n_files)
{
    *n_files = 1 + g->n_more;
    return g->paths;
}

uint64_t ds4_gguf_file_bytes(const ds4_gguf *g)
{
    uint64_t n = g->n_bytes;
    for (uint32_t i = 0; i < g->n_more; i++) n += g->more[i]->n_bytes;
    return n;
}

uint32_t ds4_gguf_tensor_file(const ds4_gguf *g, const ds4_gguf_tensor *t)
{
    const uintptr_t at = (uintptr_t)t->data;

    for (uint32_t i = 1; i <= g->n_more; i++) {
        const ds4_gguf *p = piece(g, i);
        if (at >= (uintptr_t)p->data && at - (uintptr_t)p->data < p->n_bytes) return i;
    }
    return 0;
}

uint64_t ds4_gguf_tensor_offset(const ds4_gguf *g, const ds4_gguf_tensor *t)
{
    return (uint64_t)(t->data - piece(g, ds4_gguf_tensor_file(g, t))->data);
}

ds4_status ds4_gguf_check(const ds4_gguf *g, ds4_err *err)
{
    for (uint32_t i = 0; i <= g->n_more; i++) DS4_TRY(ds4_map_check(&piece(g, i)->map, g->paths[i], err));
    return DS4_OK;
}

void ds4_gguf_forget(const ds4_gguf *g, const ds4_gguf_tensor *t)
{
    if (!g->map.data) return;
    if (t) {
        ds4_map_forget(t->data, t->n_bytes);
        return;
    }
    for (uint32_t i = 0; i <= g->n_more; i++) ds4_map_forget(piece(g, i)->map.data, piece(g, i)->map.n_bytes);
}
