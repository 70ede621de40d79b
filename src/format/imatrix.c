/* imatrix.c - see imatrix.h. */
#include "format/imatrix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "format/gguf.h"
#include "format/gguf_write.h"

/* ---- entries ------------------------------------------------------------------------------------ */

void ds4_imatrix_clear(ds4_imatrix *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        free(m->entries[i].sum);
        free(m->entries[i].count);
    }
    free(m->entries);
    ds4_str_clear(&m->dataset);
    ds4_str_clear(&m->source);
    *m = (ds4_imatrix){ 0 };
}

ds4_imatrix_entry *ds4_imatrix_find(const ds4_imatrix *m, const char *name)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (strcmp(m->entries[i].name, name) == 0) return &m->entries[i];
    }
    return NULL;
}

static bool grow(ds4_imatrix *m)
{
    if (m->n < m->capacity) return true;
    if (m->capacity >= DS4_IMATRIX_MAX_ENTRIES) return false;
    const uint32_t     capacity = m->capacity ? 2 * m->capacity : 256;
    ds4_imatrix_entry *larger = realloc(m->entries, capacity * sizeof *larger);
    if (!larger) return false;
    m->entries = larger;
    m->capacity = capacity;
    return true;
}

ds4_imatrix_entry *ds4_imatrix_add(ds4_imatrix *m, const char *name, uint64_t n_columns, uint64_t n_mats)
{
    if (strlen(name) > DS4_IMATRIX_MAX_NAME || n_columns == 0 || n_mats == 0) return NULL;
    if (n_mats > SIZE_MAX / sizeof(float) / n_columns || !grow(m)) return NULL;
    ds4_imatrix_entry e = { .n_columns = n_columns, .n_mats = n_mats };
    strcpy(e.name, name);
    e.sum = calloc(n_mats * n_columns, sizeof *e.sum);
    e.count = calloc(n_mats, sizeof *e.count);
    if (!e.sum || !e.count) {
        free(e.sum);
        free(e.count);
        return NULL;
    }
    m->entries[m->n] = e;
    return &m->entries[m->n++];
}

ds4_status ds4_imatrix_merge(ds4_imatrix *to, const ds4_imatrix *from, ds4_err *err)
{
    if (!to->has_counts || !from->has_counts) {
        return ds4_fail(err, DS4_E_FORMAT, "importance without counts (.dat) cannot be added to another");
    }
    for (uint32_t i = 0; i < from->n; i++) {
        const ds4_imatrix_entry *a = &from->entries[i];
        ds4_imatrix_entry       *b = ds4_imatrix_find(to, a->name);
        if (!b) b = ds4_imatrix_add(to, a->name, a->n_columns, a->n_mats);
        if (!b) return ds4_fail(err, DS4_E_NOMEM, "no memory for the importance of \"%s\"", a->name);
        if (b->n_columns != a->n_columns || b->n_mats != a->n_mats) {
            return ds4_fail(err, DS4_E_FORMAT, "importance of \"%s\": %llu x %llu and %llu x %llu", a->name,
                            (unsigned long long)b->n_mats, (unsigned long long)b->n_columns,
                            (unsigned long long)a->n_mats, (unsigned long long)a->n_columns);
        }
        for (uint64_t k = 0; k < a->n_mats * a->n_columns; k++) b->sum[k] += a->sum[k];
        for (uint64_t k = 0; k < a->n_mats; k++) b->count[k] += a->count[k];
    }
    to->n_chunks += from->n_chunks;
    return DS4_OK;
}

/* ---- checks of what is read ------------------------------------------------------------------------ */

static float load_f32(const uint8_t *p)
{
    const uint32_t bits = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    float          x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Values are sums of squares or counts. */
static ds4_status load_values(float *out, const uint8_t *p, uint64_t n, const char *file, const char *name,
                              ds4_err *err)
{
    for (uint64_t i = 0; i < n; i++) {
        out[i] = load_f32(p + 4 * i);
        if (out[i] >= 0 && out[i] <= 3.0e38f) continue;
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" has %g, expected a number that is not negative", file,
                        name, (double)out[i]);
    }
    return DS4_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ds4_status check_twice(const ds4_imatrix *m, const char *file, ds4_err *err)
{
    const char **names = malloc(((size_t)m->n + 1) * sizeof *names);
    ds4_status   st = DS4_OK;

    if (!names) return ds4_fail(err, DS4_E_NOMEM, "no memory for %u names", m->n);
    for (uint32_t i = 0; i < m->n; i++) names[i] = m->entries[i].name;
    qsort((void *)names, m->n, sizeof *names, compare_names);
    for (uint32_t i = 1; i < m->n && st == DS4_OK; i++) {
        if (strcmp(names[i - 1], names[i]) != 0) continue;
        st = ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is there twice", file, names[i]);
    }
    free((void *)names);
    return st;
}

/* ---- the older form --------------------------------------------------------------------------------- */

typedef struct cursor {
    const char    *file;
    const uint8_t *at;
    uint64_t       n_left;
} cursor;

static bool take_i32(cursor *c, int32_t *out)
{
    if (c->n_left < 4) return false;
    *out = (int32_t)((uint32_t)c->at[0] | (uint32_t)c->at[1] << 8 | (uint32_t)c->at[2] << 16 |
                     (uint32_t)c->at[3] << 24);
    c->at += 4;
    c->n_left -= 4;
    return true;
}

/* Names are printable: they come back in messages. */
static bool take_name(cursor *c, char out[DS4_IMATRIX_MAX_NAME + 1])
{
    int32_t n = 0;

    if (!take_i32(c, &n) || n < 1 || n > DS4_IMATRIX_MAX_NAME || (uint64_t)n > c->n_left) return false;
    for (int32_t i = 0; i < n; i++) {
        if (c->at[i] <= ' ' || c->at[i] > '~') return false;
        out[i] = (char)c->at[i];
    }
    out[n] = 0;
    c->at += n;
    c->n_left -= (uint64_t)n;
    return true;
}

static ds4_status read_dat_entry(ds4_imatrix *m, cursor *c, uint32_t i, ds4_err *err)
{
    char    name[DS4_IMATRIX_MAX_NAME + 1];
    int32_t n_calls = 0, n_values = 0;

    if (!take_name(c, name)) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: entry %u has no name of 1 to %d characters", c->file, i,
                        DS4_IMATRIX_MAX_NAME);
    }
    if (!take_i32(c, &n_calls) || !take_i32(c, &n_values) || n_values < 1 ||
        (uint64_t)n_values > c->n_left / 4) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" promises %d values, the file has room for %llu",
                        c->file, name, n_values, (unsigned long long)(c->n_left / 4));
    }
    ds4_imatrix_entry *e = ds4_imatrix_add(m, name, (uint64_t)n_values, 1);
    if (!e) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for %d values", c->file, n_values);
    DS4_TRY(load_values(e->sum, c->at, (uint64_t)n_values, c->file, name, err));
    for (int32_t k = 0; n_calls > 1 && k < n_values; k++) e->sum[k] /= (float)n_calls;
    e->count[0] = 1;
    c->at += 4 * (uint64_t)n_values;
    c->n_left -= 4 * (uint64_t)n_values;
    return DS4_OK;
}

static ds4_status read_dat(ds4_imatrix *m, cursor *c, ds4_err *err)
{
    int32_t n = 0, n_chunks = 0, n_name = 0;

    if (!take_i32(c, &n) || n < 1 || n > DS4_IMATRIX_MAX_ENTRIES) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: %d entries, expected 1 to %d: no file of importance", c->file,
                        n, DS4_IMATRIX_MAX_ENTRIES);
    }
    for (int32_t i = 0; i < n; i++) DS4_TRY(read_dat_entry(m, c, (uint32_t)i, err));
    if (c->n_left == 0) return DS4_OK;
    if (!take_i32(c, &n_chunks) || !take_i32(c, &n_name) || n_name < 0 || (uint64_t)n_name != c->n_left) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: what follows the last entry does not fit its length",
                        c->file);
    }
    m->n_chunks = n_chunks > 0 ? (uint32_t)n_chunks : 0;
    ds4_str_add(&m->dataset, c->at, (size_t)n_name);
    return DS4_OK;
}

/* ---- GGUF ------------------------------------------------------------------------------------------- */

static const char sums_end[] = ".in_sum2", counts_end[] = ".counts";

static bool ends_with(ds4_slice s, const char *end)
{
    const size_t n = strlen(end);

    return s.n_bytes > n && memcmp(s.data + s.n_bytes - n, end, n) == 0;
}

static ds4_status read_gguf_entry(ds4_imatrix *m, const ds4_gguf *g, const ds4_gguf_tensor *t, ds4_err *err)
{
    const char  *file = ds4_gguf_path(g);
    char         name[DS4_IMATRIX_MAX_NAME + 1], other[DS4_IMATRIX_MAX_NAME + 16];
    const size_t n_name = t->name.n_bytes - strlen(sums_end);

    snprintf(name, sizeof name, "%.*s", (int)n_name, t->name.data);
    snprintf(other, sizeof other, "%s%s", name, counts_end);
    const ds4_gguf_tensor *c = ds4_gguf_tensor_find(g, other);
    if (!c) return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is missing", file, other);
    if (t->dtype != DS4_F32 || c->dtype != DS4_F32 || c->n_bytes / 4 != t->dim[1] * t->dim[2] * t->dim[3]) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" and its counts do not fit together", file, name);
    }
    ds4_imatrix_entry *e = ds4_imatrix_add(m, name, t->dim[0], c->n_bytes / 4);
    if (!e) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for \"%s\"", file, name);
    DS4_TRY(load_values(e->sum, t->data, e->n_mats * e->n_columns, file, name, err));
    return load_values(e->count, c->data, e->n_mats, file, other, err);
}

static ds4_status read_gguf(ds4_imatrix *m, const ds4_gguf *g, ds4_err *err)
{
    ds4_slice type, source;
    uint64_t  n_chunks = 0;

    DS4_TRY(ds4_gguf_opt_string(g, "general.type", DS4_SLICE(""), &type, err));
    if (!ds4_slice_eq(type, DS4_SLICE("imatrix"))) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: general.type is not \"imatrix\": no file of importance",
                        ds4_gguf_path(g));
    }
    DS4_TRY(ds4_gguf_opt_u64(g, "imatrix.chunk_count", 0, UINT32_MAX, 0, &n_chunks, err));
    DS4_TRY(ds4_gguf_opt_string(g, "ds4.imatrix.source", DS4_SLICE(""), &source, err));
    m->n_chunks = (uint32_t)n_chunks;
    m->has_counts = true;
    ds4_str_add(&m->source, source.data, source.n_bytes);
    if (ds4_gguf_has(g, "imatrix.datasets")) {
        ds4_slice *list = NULL;
        uint64_t   n = 0;
        DS4_TRY(ds4_gguf_copy_strings(g, "imatrix.datasets", &list, &n, err));
        for (uint64_t i = 0; i < n; i++) {
            if (i) ds4_str_add_text(&m->dataset, ", ");
            ds4_str_add(&m->dataset, list[i].data, list[i].n_bytes);
        }
        free(list);
    }
    for (uint32_t i = 0; i < ds4_gguf_n_tensors(g); i++) {
        const ds4_gguf_tensor *t = ds4_gguf_tensor_at(g, i);
        if (ends_with(t->name, sums_end)) DS4_TRY(read_gguf_entry(m, g, t, err));
    }
    if (m->n > 0) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: no tensor's name ends in %s", ds4_gguf_path(g), sums_end);
}

ds4_status ds4_imatrix_read_bytes(ds4_imatrix *out, const char *name, const void *data, uint64_t n_bytes,
                                  ds4_err *err)
{
    ds4_gguf  *g = NULL;
    ds4_status st;

    *out = (ds4_imatrix){ 0 };
    if (n_bytes >= 4 && memcmp(data, "GGUF", 4) == 0) {
        st = ds4_gguf_open_bytes(name, data, n_bytes, &g, err);
        if (st == DS4_OK) st = read_gguf(out, g, err);
    } else {
        cursor c = { name, data, n_bytes };
        st = read_dat(out, &c, err);
    }
    if (st == DS4_OK) st = check_twice(out, name, err);
    if (st == DS4_OK && (out->dataset.failed || out->source.failed)) {
        st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its name", name);
    }
    ds4_gguf_close(g);
    return st;
}

ds4_status ds4_imatrix_read(ds4_imatrix *out, const char *path, ds4_err *err)
{
    ds4_map map = { 0 };

    *out = (ds4_imatrix){ 0 };
    DS4_TRY(ds4_map_open(&map, path, err));
    ds4_status st = ds4_imatrix_read_bytes(out, path, map.data, map.n_bytes, err);
    if (st == DS4_OK) st = ds4_map_check(&map, path, err);
    ds4_map_close(&map);
    return st;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

static void declare(ds4_gguf_writer *w, const ds4_imatrix_entry *e)
{
    char           name[DS4_IMATRIX_MAX_NAME + 16];
    const uint64_t sums[2] = { e->n_columns, e->n_mats }, counts[2] = { 1, e->n_mats };

    snprintf(name, sizeof name, "%s%s", e->name, sums_end);
    ds4_gguf_declare(w, name, DS4_F32, 2, sums);
    snprintf(name, sizeof name, "%s%s", e->name, counts_end);
    ds4_gguf_declare(w, name, DS4_F32, 2, counts);
}

/* Floats are written as they lie in memory: every machine this runs on is little endian. */
static ds4_status write_all(ds4_gguf_writer *w, const ds4_imatrix *m, const char *path, ds4_err *err)
{
    const ds4_slice dataset = { ds4_str_text(&m->dataset), m->dataset.n_bytes };

    ds4_gguf_put_string(w, "general.type", DS4_SLICE("imatrix"));
    ds4_gguf_put_strings(w, "imatrix.datasets", &dataset, 1);
    ds4_gguf_put_u32(w, "imatrix.chunk_count", m->n_chunks);
    if (m->source.n_bytes) {
        ds4_gguf_put_string(w, "ds4.imatrix.source", (ds4_slice){ m->source.data, m->source.n_bytes });
    }
    for (uint32_t i = 0; i < m->n; i++) declare(w, &m->entries[i]);
    DS4_TRY(ds4_gguf_writer_begin(w, path, err));
    for (uint32_t i = 0; i < m->n; i++) {
        const ds4_imatrix_entry *e = &m->entries[i];
        DS4_TRY(ds4_gguf_writer_append(w, e->sum, e->n_mats * e->n_columns * sizeof *e->sum, err));
        DS4_TRY(ds4_gguf_writer_append(w, e->count, e->n_mats * sizeof *e->count, err));
    }
    return ds4_gguf_writer_finish(w, err);
}

ds4_status ds4_imatrix_write(const ds4_imatrix *m, const char *path, ds4_err *err)
{
    ds4_gguf_writer *w = NULL;

    if (!m->has_counts) return ds4_fail(err, DS4_E_ARG, "%s: importance without counts is not written", path);
    DS4_TRY(ds4_gguf_writer_create(&w, 0, err));
    const ds4_status st = write_all(w, m, path, err);
    ds4_gguf_writer_free(w);
    return st;
}

/* ---- use --------------------------------------------------------------------------------------------- */

/* The entry of one matrix, and the row of it; a tensor may have one for each expert. */
static const ds4_imatrix_entry *entry_of(const ds4_imatrix *m, const char *tensor, uint64_t mat, bool *alone)
{
    char name[DS4_IMATRIX_MAX_NAME + 40];

    *alone = true;
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.expert%c%llu", tensor, i ? '_' : '.', (unsigned long long)mat);
        const ds4_imatrix_entry *e = ds4_imatrix_find(m, name);
        if (e) return e;
    }
    *alone = false;
    return ds4_imatrix_find(m, tensor);
}

/* Every channel gets at least a thousandth of the average. */
static bool scale(float *out, const float *sum, uint64_t n)
{
    double total = 0;

    for (uint64_t i = 0; i < n; i++) total += (double)sum[i];
    const double mean = total / (double)n;
    if (!(mean > 0)) return false;
    for (uint64_t i = 0; i < n; i++) out[i] = (float)(((double)sum[i] / mean + 1e-3) / (1 + 1e-3));
    return true;
}

bool ds4_imatrix_row(const ds4_imatrix *m, const char *tensor, uint64_t mat, uint64_t n_mats,
                     uint64_t n_columns, float *out, ds4_status *st, ds4_err *err)
{
    bool                     alone = false;
    const ds4_imatrix_entry *e = entry_of(m, tensor, mat, &alone);

    *st = DS4_OK;
    if (!e) return false;
    const uint64_t n_rows = e->n_mats * e->n_columns / n_columns;
    const bool     fits = e->n_mats * e->n_columns == n_rows * n_columns && n_rows > 0 &&
                          (n_rows == 1 || (n_rows == n_mats && !alone));
    if (!fits) {
        *st = ds4_fail(err, DS4_E_FORMAT,
                       "importance of \"%s\": %llu values, expected %llu or %llu times so many",
                       e->name, (unsigned long long)(e->n_mats * e->n_columns),
                       (unsigned long long)n_columns, (unsigned long long)n_mats);
        return false;
    }
    return scale(out, e->sum + (n_rows == 1 ? 0 : mat * n_columns), n_columns);
}
