/* gguf_write.c - see gguf_write.h. */
#include "format/gguf_write.h"

#include "base/output.h"
#include "base/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ds4_gguf_writer {
    uint32_t  alignment;
    uint64_t  n_keys, n_tensors;
    ds4_str   keys, entries;            /* as they stand in the file */
    uint64_t *sizes;                    /* [n_tensors] bytes without padding */
    uint64_t  data_bytes;               /* of all tensors so far, padded */
    bool      has_t66;                  /* and its key */
    bool      failed;                   /* out of memory while declaring */
    char      refused[128];             /* what a declaration got wrong; "" if nothing */

    char       *path;                   /* from begin on */
    ds4_output *out;                    /* from begin to finish */
    uint64_t    header_bytes;
    uint64_t    i_tensor, n_done;       /* the tensor being written and its bytes so far */
    uint64_t    at, n_kept, n_marked;   /* bytes of the file: so far; from an earlier run; safe */
};

static void add_u32(ds4_str *s, uint32_t v)
{
    const uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };
    ds4_str_add(s, b, sizeof b);
}

static void add_u64(ds4_str *s, uint64_t v)
{
    add_u32(s, (uint32_t)v);
    add_u32(s, (uint32_t)(v >> 32));
}

static void add_f32(ds4_str *s, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    add_u32(s, bits);
}

static void add_string(ds4_str *s, const char *data, size_t n_bytes)
{
    add_u64(s, n_bytes);
    ds4_str_add(s, data, n_bytes);
}

static uint64_t padding(uint64_t n_bytes, uint32_t alignment)
{
    return (alignment - n_bytes % alignment) % alignment;
}

static void add_zeros(ds4_str *s, uint64_t n)
{
    for (; n > 0; n--) ds4_str_add_char(s, 0);
}

ds4_status ds4_gguf_writer_create(ds4_gguf_writer **out, uint32_t alignment, ds4_err *err)
{
    if (alignment == 0) alignment = DS4_GGUF_ALIGNMENT;
    if (alignment < 8 || alignment > 1u << 20 || (alignment & (alignment - 1)) != 0) {
        return ds4_fail(err, DS4_E_ARG, "GGUF alignment %u, expected a power of two in 8..%u", alignment,
                        1u << 20);
    }
    ds4_gguf_writer *w = calloc(1, sizeof *w);
    if (!w) return ds4_fail(err, DS4_E_NOMEM, "no memory for a GGUF writer");
    w->alignment = alignment;
    if (alignment != DS4_GGUF_ALIGNMENT) ds4_gguf_put_u32(w, "general.alignment", alignment);
    *out = w;
    return DS4_OK;
}

void ds4_gguf_writer_free(ds4_gguf_writer *w)
{
    if (!w) return;
    ds4_output_drop(w->out);
    ds4_str_clear(&w->keys);
    ds4_str_clear(&w->entries);
    free(w->sizes);
    free(w->path);
    free(w);
}

/* ---- keys --------------------------------------------------------------------------------- */

static ds4_str *start_key(ds4_gguf_writer *w, const char *key, ds4_gguf_type type)
{
    if (key[0] == 0) strcpy(w->refused, "an empty key");
    add_string(&w->keys, key, strlen(key));
    add_u32(&w->keys, type);
    w->n_keys++;
    return &w->keys;
}

static ds4_str *start_array(ds4_gguf_writer *w, const char *key, ds4_gguf_type type, uint64_t n)
{
    ds4_str *s = start_key(w, key, DS4_GGUF_ARRAY);

    add_u32(s, type);
    add_u64(s, n);
    return s;
}

void ds4_gguf_put_u32(ds4_gguf_writer *w, const char *key, uint32_t value)
{
    add_u32(start_key(w, key, DS4_GGUF_U32), value);
}

void ds4_gguf_put_f32(ds4_gguf_writer *w, const char *key, float value)
{
    add_f32(start_key(w, key, DS4_GGUF_F32), value);
}

void ds4_gguf_put_bool(ds4_gguf_writer *w, const char *key, bool value)
{
    ds4_str_add_char(start_key(w, key, DS4_GGUF_BOOL), value ? 1 : 0);
}

void ds4_gguf_put_string(ds4_gguf_writer *w, const char *key, ds4_slice value)
{
    add_string(start_key(w, key, DS4_GGUF_STRING), value.data, value.n_bytes);
}

void ds4_gguf_put_u32s(ds4_gguf_writer *w, const char *key, const uint32_t *values, uint64_t n)
{
    ds4_str *s = start_array(w, key, DS4_GGUF_U32, n);

    for (uint64_t i = 0; i < n; i++) add_u32(s, values[i]);
}

void ds4_gguf_put_i32s(ds4_gguf_writer *w, const char *key, const int32_t *values, uint64_t n)
{
    ds4_str *s = start_array(w, key, DS4_GGUF_I32, n);

    for (uint64_t i = 0; i < n; i++) add_u32(s, (uint32_t)values[i]);
}

void ds4_gguf_put_f32s(ds4_gguf_writer *w, const char *key, const float *values, uint64_t n)
{
    ds4_str *s = start_array(w, key, DS4_GGUF_F32, n);

    for (uint64_t i = 0; i < n; i++) add_f32(s, values[i]);
}

void ds4_gguf_put_strings(ds4_gguf_writer *w, const char *key, const ds4_slice *values, uint64_t n)
{
    ds4_str *s = start_array(w, key, DS4_GGUF_STRING, n);

    for (uint64_t i = 0; i < n; i++) add_string(s, values[i].data, values[i].n_bytes);
}

void ds4_gguf_put_key(ds4_gguf_writer *w, const ds4_gguf_key *entry)
{
    if (ds4_slice_eq(entry->key, (ds4_slice){ DS4_T66_KEY, strlen(DS4_T66_KEY) })) return;
    add_string(&w->keys, entry->key.data, entry->key.n_bytes);
    if (entry->is_array) add_u32(&w->keys, DS4_GGUF_ARRAY);
    add_u32(&w->keys, entry->value.type);
    if (entry->is_array) add_u64(&w->keys, entry->value.count);
    ds4_str_add(&w->keys, entry->value.data, (size_t)entry->value.n_bytes);
    w->n_keys++;
}

/* ---- tensors -------------------------------------------------------------------------------- */

static bool size_of(uint32_t dtype, uint32_t n_dims, const uint64_t *dim, uint64_t *n_bytes)
{
    if (n_dims < 1 || n_dims > DS4_GGUF_MAX_DIMS) return false;
    *n_bytes = ds4_row_bytes(dtype, dim[0]);
    if (*n_bytes == 0) return false;
    for (uint32_t i = 1; i < n_dims; i++) {
        if (dim[i] == 0 || *n_bytes > ((uint64_t)1 << 51) / dim[i]) return false;
        *n_bytes *= dim[i];
    }
    return true;
}

void ds4_gguf_declare(ds4_gguf_writer *w, const char *name, uint32_t dtype, uint32_t n_dims,
                      const uint64_t *dim)
{
    uint64_t n_bytes = 0;

    if (name[0] == 0 || strlen(name) > 127 || !size_of(dtype, n_dims, dim, &n_bytes)) {
        snprintf(w->refused, sizeof w->refused, "tensor \"%.60s\" of type %u and rows of %llu", name, dtype,
                 (unsigned long long)(n_dims ? dim[0] : 0));
        return;
    }
    if ((w->n_tensors & (w->n_tensors - 1)) == 0) {         /* full at 0, 1, 2, 4, 8 ... */
        uint64_t *more = realloc(w->sizes, (w->n_tensors ? 2 * w->n_tensors : 1) * sizeof *more);
        if (!more) {
            w->failed = true;
            return;
        }
        w->sizes = more;
    }
    if (dtype == DS4_T66 && !w->has_t66) {
        ds4_gguf_put_u32(w, DS4_T66_KEY, DS4_T66_VERSION);
        w->has_t66 = true;
    }
    add_string(&w->entries, name, strlen(name));
    add_u32(&w->entries, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) add_u64(&w->entries, dim[i]);
    add_u32(&w->entries, ds4_dtype_to_file(dtype));
    add_u64(&w->entries, w->data_bytes);
    w->sizes[w->n_tensors++] = n_bytes;
    w->data_bytes += n_bytes + padding(n_bytes, w->alignment);
}

/* ---- writing ---------------------------------------------------------------------------------- */

ds4_status ds4_gguf_writer_header(const ds4_gguf_writer *w, ds4_str *out, ds4_err *err)
{
    const size_t start = out->n_bytes;

    if (w->refused[0]) return ds4_fail(err, DS4_E_ARG, "cannot write to GGUF: %s", w->refused);
    if (w->n_tensors > DS4_GGUF_MAX_TENSORS || w->n_keys > DS4_GGUF_MAX_KEYS) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "cannot write to GGUF: %llu tensors and %llu keys, expected at most %d and %d",
                        (unsigned long long)w->n_tensors, (unsigned long long)w->n_keys,
                        DS4_GGUF_MAX_TENSORS, DS4_GGUF_MAX_KEYS);
    }
    ds4_str_add(out, "GGUF", 4);
    add_u32(out, 3);
    add_u64(out, w->n_tensors);
    add_u64(out, w->n_keys);
    ds4_str_add(out, w->keys.data, w->keys.n_bytes);
    ds4_str_add(out, w->entries.data, w->entries.n_bytes);
    add_zeros(out, padding(out->n_bytes - start, w->alignment));
    if (w->failed || w->keys.failed || w->entries.failed || out->failed) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a GGUF header of %llu tensors",
                        (unsigned long long)w->n_tensors);
    }
    return DS4_OK;
}

/* The way in which the output of a header is opened. */
typedef struct opening {
    bool        is_partial, resume;
    const void *from;                   /* [n_from] */
    size_t      n_from;
} opening;

static ds4_status open_partial(ds4_gguf_writer *w, const char *path, const opening *how,
                               const ds4_str *header, ds4_err *err)
{
    ds4_sha256_run *run = NULL;
    uint8_t         id[DS4_SHA256_BYTES];

    DS4_TRY(ds4_sha256_begin(&run, err));
    ds4_sha256_add(run, header->data, header->n_bytes);
    ds4_sha256_add(run, how->from, how->n_from);
    if (!ds4_sha256_end(run, id)) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for SHA-256", path);
    return ds4_output_open_partial(&w->out, path, id, how->resume, &w->n_kept, err);
}

static ds4_status begin(ds4_gguf_writer *w, const char *path, const opening *how, ds4_err *err)
{
    ds4_str header = { 0 };

    if (w->out) return ds4_fail(err, DS4_E_ARG, "%s: the writer has a file already", path);
    free(w->path);
    w->path = strdup(path);
    if (!w->path) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its name", path);

    ds4_status st = ds4_gguf_writer_header(w, &header, err);
    if (st == DS4_OK) {
        st = how->is_partial ? open_partial(w, path, how, &header, err) : ds4_output_open(&w->out, path, err);
    }
    if (st == DS4_OK && w->n_kept == 0) st = ds4_output_write(w->out, header.data, header.n_bytes, err);
    w->header_bytes = w->at = header.n_bytes;
    w->n_marked = w->n_kept;
    ds4_str_clear(&header);
    return st;
}

ds4_status ds4_gguf_writer_begin(ds4_gguf_writer *w, const char *path, ds4_err *err)
{
    const opening how = { .is_partial = false };

    return begin(w, path, &how, err);
}

ds4_status ds4_gguf_writer_begin_partial(ds4_gguf_writer *w, const char *path, const void *from,
                                         size_t n_from, bool resume, ds4_err *err)
{
    const opening how = { true, resume, from, n_from };

    return begin(w, path, &how, err);
}

/* Count bytes of the current tensor as written. Returns the padding that follows them. */
static uint64_t advance(ds4_gguf_writer *w, uint64_t n_bytes)
{
    const uint64_t size = w->sizes[w->i_tensor];

    w->n_done += n_bytes;
    w->at += n_bytes;
    if (w->n_done < size) return 0;
    const uint64_t pad = padding(size, w->alignment);
    w->at += pad;
    w->i_tensor++;
    w->n_done = 0;
    return pad;
}

bool ds4_gguf_writer_has(ds4_gguf_writer *w, uint64_t n_bytes)
{
    if (w->i_tensor >= w->n_tensors || n_bytes > w->sizes[w->i_tensor] - w->n_done) return false;
    if (w->at + n_bytes > w->n_kept) return false;
    advance(w, n_bytes);
    return true;
}

ds4_status ds4_gguf_writer_mark(ds4_gguf_writer *w, uint64_t most, ds4_err *err)
{
    if (w->at < w->n_marked + most) return DS4_OK;
    DS4_TRY(ds4_output_mark(w->out, err));
    w->n_marked = w->at;
    return DS4_OK;
}

ds4_status ds4_gguf_writer_append(ds4_gguf_writer *w, const void *data, uint64_t n_bytes, ds4_err *err)
{
    static const uint8_t zeros[4096];
    const uint64_t       size = w->i_tensor < w->n_tensors ? w->sizes[w->i_tensor] : 0;

    if (!w->out) return ds4_fail(err, DS4_E_ARG, "append before the GGUF file was begun");
    if (n_bytes > size - w->n_done) {
        return ds4_fail(err, DS4_E_ARG, "%s: %llu bytes for tensor %llu, which lacks %llu", w->path,
                        (unsigned long long)n_bytes, (unsigned long long)w->i_tensor,
                        (unsigned long long)(size - w->n_done));
    }
    if (w->i_tensor >= w->n_tensors) return DS4_OK;     /* no bytes for no tensor */
    DS4_TRY(ds4_output_write(w->out, data, (size_t)n_bytes, err));
    for (uint64_t left = advance(w, n_bytes); left > 0;) {
        const uint64_t n = left < sizeof zeros ? left : sizeof zeros;
        DS4_TRY(ds4_output_write(w->out, zeros, (size_t)n, err));
        left -= n;
    }
    return DS4_OK;
}

ds4_status ds4_gguf_writer_finish(ds4_gguf_writer *w, ds4_err *err)
{
    if (!w->out) return ds4_fail(err, DS4_E_ARG, "finish before the GGUF file was begun");
    if (w->i_tensor < w->n_tensors) {
        return ds4_fail(err, DS4_E_ARG, "%s: %llu of %llu tensors written", w->path,
                        (unsigned long long)w->i_tensor, (unsigned long long)w->n_tensors);
    }
    ds4_output *out = w->out;
    w->out = NULL;
    return ds4_output_commit(out, err);
}

uint64_t ds4_gguf_writer_bytes(const ds4_gguf_writer *w)
{
    return w->header_bytes + w->data_bytes;
}
