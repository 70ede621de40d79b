/* rewrite.c - see rewrite.h. */
#include "app/quantize/rewrite.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/quantize/slab.h"

enum { MAX_PIECES = 1000, COPY_BYTES = 8 << 20 };

/* One tensor of the output. */
typedef struct item {
    const ds4_gguf        *file;
    const ds4_gguf_tensor *tensor;
    char                   name[128];
    uint32_t               dtype;
    uint64_t               n_bytes;
    uint32_t               piece;
} item;

typedef struct rewriter {
    const rewrite_options *opt;
    ds4_kernels            kernels;
    item                  *items;       /* [n] */
    uint32_t               n, n_pieces;
    uint64_t               n_read, n_total;     /* bytes */
    slab                  *slab;
    rewrite_result        *result;
} rewriter;

/* ---- which tensors ---------------------------------------------------------------------------- */

/* "blk.7.ffn_down_exps.weight" is "ffn_down_exps" of layer 7. */
static uint32_t name_parts(const char *name, char base[128])
{
    uint32_t     layer = DS4_RECIPE_NO_LAYER;
    unsigned     number = 0;
    int          n = 0;

    if (sscanf(name, "blk.%3u.%n", &number, &n) == 1 && n > 0) {
        layer = number;
        name += n;
    } else if (strncmp(name, "mtp.0.", 6) == 0) {
        layer = DS4_RECIPE_MTP;
        name += 6;
    }
    snprintf(base, 128, "%s", name);
    char *end = strrchr(base, '.');
    if (end && (strcmp(end, ".weight") == 0 || strcmp(end, ".bias") == 0)) *end = 0;
    return layer;
}

/* The type that the ds4_recipe wants; vectors, tables and rows that are no whole blocks keep theirs. */
static uint32_t new_type(const rewriter *w, const item *it, const char *base, uint32_t layer)
{
    const ds4_gguf_tensor *t = it->tensor;
    uint32_t               wanted;

    if (!w->opt->types || !ds4_recipe_type(w->opt->types, base, layer, &wanted)) return t->dtype;
    if (t->n_dims < 2 || !ds4_dtype_get(t->dtype)->is_matrix) return t->dtype;
    if (layer == DS4_RECIPE_MTP && t->dtype == DS4_F32) return t->dtype;
    return ds4_row_bytes(wanted, t->dim[0]) != 0 ? wanted : t->dtype;
}

static ds4_status take_from_other(const rewriter *w, item *it, const char *base, uint32_t layer, ds4_err *err)
{
    uint32_t ignored;

    if (!w->opt->other || !ds4_recipe_type(w->opt->take, base, layer, &ignored)) return DS4_OK;
    const ds4_gguf_tensor *t = ds4_gguf_tensor_find(w->opt->other, it->name);
    if (!t) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: has no tensor \"%s\" to take", ds4_gguf_path(w->opt->other),
                        it->name);
    }
    if (t->n_dims != it->tensor->n_dims || memcmp(t->dim, it->tensor->dim, sizeof t->dim) != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" has another shape than in %s",
                        ds4_gguf_path(w->opt->other), it->name, ds4_gguf_path(w->opt->from));
    }
    it->file = w->opt->other;
    it->tensor = t;
    return DS4_OK;
}

static ds4_status add_item(rewriter *w, const ds4_gguf_tensor *t, ds4_err *err)
{
    item *it = &w->items[w->n++];
    char  base[128];

    *it = (item){ .file = w->opt->from, .tensor = t };
    snprintf(it->name, sizeof it->name, "%.*s", (int)t->name.n_bytes, t->name.data);
    const uint32_t layer = name_parts(it->name, base);
    DS4_TRY(take_from_other(w, it, base, layer, err));
    it->dtype = new_type(w, it, base, layer);
    it->n_bytes = it->tensor->n_bytes;
    if (it->dtype != it->tensor->dtype) {
        it->n_bytes =
            it->n_bytes / ds4_row_bytes(it->tensor->dtype, t->dim[0]) * ds4_row_bytes(it->dtype, t->dim[0]);
    }
    w->n_total += it->tensor->n_bytes;
    w->result->n_changed += it->dtype != it->tensor->dtype || it->file != w->opt->from;
    return DS4_OK;
}

/* Whole tensors in their order, as many as a piece holds. */
static ds4_status cut_pieces(rewriter *w, ds4_err *err)
{
    const uint64_t most = w->opt->piece_bytes;
    uint64_t       n_bytes = 0;
    uint32_t       piece = 0;

    for (uint32_t i = 0; i < w->n; i++) {
        item *it = &w->items[i];
        if (most && it->n_bytes > most) {
            return ds4_fail(err, DS4_E_LIMIT, "tensor \"%s\" has %llu bytes, more than a piece of %llu holds",
                            it->name, (unsigned long long)it->n_bytes, (unsigned long long)most);
        }
        if (most && n_bytes + it->n_bytes > most) {
            piece++;
            n_bytes = 0;
        }
        n_bytes += it->n_bytes;
        it->piece = piece;
    }
    w->n_pieces = piece + 1;
    if (w->n_pieces <= MAX_PIECES) return DS4_OK;
    return ds4_fail(err, DS4_E_LIMIT, "%s: %u pieces, expected at most %d", w->opt->out, w->n_pieces,
                    MAX_PIECES);
}

static ds4_status list_items(rewriter *w, ds4_err *err)
{
    const uint32_t n = ds4_gguf_n_tensors(w->opt->from);
    bool           knows = false;

    w->items = calloc((size_t)n + 1, sizeof *w->items);
    if (!w->items) return ds4_fail(err, DS4_E_NOMEM, "no memory for the list of tensors");
    for (uint32_t i = 0; i < n; i++) DS4_TRY(add_item(w, ds4_gguf_tensor_at(w->opt->from, i), err));
    if (w->opt->types) DS4_TRY(ds4_recipe_check_used(w->opt->types, err));
    if (w->opt->other) DS4_TRY(ds4_recipe_check_used(w->opt->take, err));
    w->result->n_tensors = n;
    for (uint32_t i = 0; i < n && !knows; i++) knows = importance_knows(w->opt->weights, w->items[i].name);
    if (!knows) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: has nothing about any tensor of the model",
                        w->opt->weights->path);
    }
    return cut_pieces(w, err);
}

/* ---- bytes ------------------------------------------------------------------------------------- */

static ds4_status go_on(rewriter *w, const item *it, uint64_t n_bytes, ds4_err *err)
{
    w->n_read += n_bytes;
    if (w->opt->progress) w->opt->progress(w->opt->ctx, w->n_read, w->n_total, it->name);
    if (w->opt->cancel && w->opt->cancel->stop)
        return ds4_fail(err, DS4_E_CANCELLED, "%s: stopped", w->opt->out);
    return DS4_OK;
}

/* Bytes that came from a file which is still whole may be marked as safe. */
static ds4_status keep_so_far(const rewriter *w, const item *it, ds4_gguf_writer *writer, ds4_err *err)
{
    DS4_TRY(ds4_gguf_check(it->file, err));
    return ds4_gguf_writer_mark(writer, w->opt->save_every, err);
}

static ds4_status copy_tensor(rewriter *w, const item *it, ds4_gguf_writer *writer, ds4_err *err)
{
    for (uint64_t at = 0; at < it->n_bytes; at += COPY_BYTES) {
        const uint64_t n = it->n_bytes - at < COPY_BYTES ? it->n_bytes - at : COPY_BYTES;
        if (!ds4_gguf_writer_has(writer, n)) {
            DS4_TRY(ds4_gguf_writer_append(writer, it->tensor->data + at, n, err));
            DS4_TRY(keep_so_far(w, it, writer, err));
        }
        DS4_TRY(go_on(w, it, n, err));
    }
    return DS4_OK;
}

static ds4_status encode_tensor(rewriter *w, const item *it, ds4_gguf_writer *writer, ds4_err *err)
{
    const uint64_t n_parts = it->tensor->dim[2];

    for (uint64_t i = 0; i < n_parts; i++) {
        source from;
        DS4_TRY(source_of_tensor(it->tensor, i, &w->kernels, &from, err));
        const float *weights = NULL;
        DS4_TRY(importance_of(w->opt->weights, it->name, i, n_parts, from.n_columns, &weights, err));
        DS4_TRY(slab_write(w->slab, &from, it->dtype, weights, writer, err));
        DS4_TRY(keep_so_far(w, it, writer, err));
        DS4_TRY(go_on(w, it, it->tensor->n_bytes / n_parts, err));
    }
    return DS4_OK;
}

static ds4_status write_tensor(rewriter *w, const item *it, ds4_gguf_writer *writer, ds4_err *err)
{
    if (it->dtype == it->tensor->dtype) DS4_TRY(copy_tensor(w, it, writer, err));
    else DS4_TRY(encode_tensor(w, it, writer, err));
    ds4_gguf_forget(it->file, it->tensor);
    return DS4_OK;
}

static ds4_status take_memory(rewriter *w, ds4_err *err)
{
    slab_options room = { .n_threads = w->opt->n_threads, .effort = w->opt->effort, .cancel = w->opt->cancel,
                          .out = w->opt->out };

    ds4_kernels_init(&w->kernels, ds4_cpu_features());
    for (uint32_t i = 0; i < w->n; i++) {
        const item    *it = &w->items[i];
        const uint64_t row_bytes = ds4_row_bytes(it->dtype, it->tensor->dim[0]);
        if (it->dtype == it->tensor->dtype) continue;
        if (it->tensor->dim[0] > room.n_columns) room.n_columns = it->tensor->dim[0];
        if (row_bytes > room.row_bytes) room.row_bytes = row_bytes;
    }
    return room.n_columns > 0 ? slab_create(&w->slab, &room, err) : DS4_OK;
}

/* ---- files -------------------------------------------------------------------------------------- */

static bool starts_with(ds4_slice s, const char *start)
{
    const size_t n = strlen(start);

    return s.n_bytes >= n && memcmp(s.data, start, n) == 0;
}

static void put_small(ds4_gguf_writer *writer, const char *key, ds4_gguf_type type, uint32_t value)
{
    const uint8_t     bytes[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                                   (uint8_t)(value >> 24) };
    const ds4_gguf_key entry = { .key = { key, strlen(key) },
                             .value = { type, 1, bytes, type == DS4_GGUF_U16 ? 2 : 4 } };

    ds4_gguf_put_key(writer, &entry);
}

/* Keys in the types that other programs look for. */
static void put_piece(const rewriter *w, uint32_t piece, ds4_gguf_writer *writer)
{
    put_small(writer, "split.no", DS4_GGUF_U16, piece);
    put_small(writer, "split.count", DS4_GGUF_U16, w->n_pieces);
    put_small(writer, "split.tensors.count", DS4_GGUF_I32, w->n);
}

/* The keys of the model, those of its pieces and of the layout left out. */
static void put_keys(const rewriter *w, ds4_gguf_writer *writer)
{
    for (uint32_t i = 0; i < ds4_gguf_n_keys(w->opt->from); i++) {
        const ds4_gguf_key *entry = ds4_gguf_key_at(w->opt->from, i);
        const ds4_slice     key = entry->key;
        if (starts_with(key, "split.") || ds4_slice_eq(key, DS4_SLICE("general.alignment"))) continue;
        if (w->opt->types && importance_is_key(key)) continue;
        if (w->opt->types && ds4_slice_eq(key, DS4_SLICE("general.file_type"))) continue;
        ds4_gguf_put_key(writer, entry);
    }
    if (!w->opt->types) return;
    ds4_gguf_put_u32(writer, "general.file_type", w->opt->types->file_type);
    importance_put_keys(w->opt->weights, writer);
}

static ds4_status piece_path(const rewriter *w, uint32_t piece, char path[PATH_MAX], ds4_err *err)
{
    const int n = w->opt->piece_bytes
                      ? snprintf(path, PATH_MAX, "%s-%05u-of-%05u.gguf", w->opt->out, piece + 1, w->n_pieces)
                      : snprintf(path, PATH_MAX, "%s", w->opt->out);

    if (n > 0 && n < PATH_MAX) return DS4_OK;
    return ds4_fail(err, DS4_E_IO, "%s: path too long", w->opt->out);
}

static void describe(const ds4_gguf *g, ds4_str *out)
{
    for (uint32_t i = 0; g && i < ds4_gguf_n_files(g); i++) {
        ds4_file_facts facts;
        const char    *path = ds4_gguf_file(g, i, &facts);
        ds4_str_addf(out, "%s %llu %lld\n", path, (unsigned long long)facts.n_bytes,
                     (long long)facts.mtime_ns);
    }
}

/* A single file can be gone on with: its bytes depend on keys and entries, on the files read and on this
 * version's encoders. */
static ds4_status begin(const rewriter *w, const char *path, ds4_gguf_writer *writer, ds4_err *err)
{
    ds4_str from = { 0 };

    if (w->opt->piece_bytes) return ds4_gguf_writer_begin(writer, path, err);
    ds4_str_addf(&from, "%s\n", DS4_VERSION);
    describe(w->opt->from, &from);
    describe(w->opt->other, &from);
    importance_describe(w->opt->weights, &from);
    if (w->opt->effort != DS4_ENCODE_BEST) ds4_str_add_text(&from, "standard encoders\n");
    ds4_status st = from.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for the names of files") : DS4_OK;
    if (st == DS4_OK) {
        st = ds4_gguf_writer_begin_partial(writer, path, from.data, from.n_bytes, w->opt->resume, err);
    }
    ds4_str_clear(&from);
    return st;
}

static ds4_status fill_piece(rewriter *w, uint32_t piece, ds4_gguf_writer *writer, ds4_err *err)
{
    char path[PATH_MAX];

    DS4_TRY(piece_path(w, piece, path, err));
    if (piece == 0) put_keys(w, writer);
    if (w->opt->piece_bytes) put_piece(w, piece, writer);
    for (uint32_t i = 0; i < w->n; i++) {
        const item *it = &w->items[i];
        if (it->piece == piece)
            ds4_gguf_declare(writer, it->name, it->dtype, it->tensor->n_dims, it->tensor->dim);
    }
    DS4_TRY(begin(w, path, writer, err));
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->items[i].piece == piece) DS4_TRY(write_tensor(w, &w->items[i], writer, err));
    }
    DS4_TRY(ds4_gguf_writer_finish(writer, err));
    w->result->file_bytes += ds4_gguf_writer_bytes(writer);
    w->result->n_files++;
    return DS4_OK;
}

static ds4_status write_pieces(rewriter *w, ds4_err *err)
{
    DS4_TRY(list_items(w, err));
    DS4_TRY(take_memory(w, err));
    for (uint32_t piece = 0; piece < w->n_pieces; piece++) {
        ds4_gguf_writer *writer = NULL;
        DS4_TRY(ds4_gguf_writer_create(&writer, 0, err));
        const ds4_status st = fill_piece(w, piece, writer, err);
        ds4_gguf_writer_free(writer);
        if (st != DS4_OK) return st;
    }
    return DS4_OK;
}

ds4_status rewrite_model(const rewrite_options *opt, rewrite_result *out, ds4_err *err)
{
    rewriter w = { .opt = opt, .result = out };

    *out = (rewrite_result){ 0 };
    const ds4_status st = write_pieces(&w, err);
    slab_free(w.slab);
    free(w.items);
    return st;
}
