/* safetensors.c - see safetensors.h. */
#include "format/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_HEADER_BYTES = 100000000 };

static const uint64_t max_number = (uint64_t)1 << 53;       /* what JSON can carry exactly */

struct ds4_safetensors {
    char          *path;
    ds4_map        map;         /* owned; zero when the bytes belong to the caller */
    const uint8_t *data;        /* the data section */
    uint64_t       n_bytes;     /* of the data section */
    uint32_t       n_tensors;
    ds4_st_tensor *tensors;     /* [n_tensors] sorted by name; the names are owned */
};

static const struct { const char *name; uint32_t bytes; } dtypes[DS4_ST_N_DTYPES] = {
    [DS4_ST_F32] = { "F32", 4 },         [DS4_ST_F16] = { "F16", 2 },
    [DS4_ST_BF16] = { "BF16", 2 },       [DS4_ST_F8_E4M3] = { "F8_E4M3", 1 },
    [DS4_ST_F8_E8M0] = { "F8_E8M0", 1 }, [DS4_ST_I8] = { "I8", 1 },
    [DS4_ST_U8] = { "U8", 1 },           [DS4_ST_I32] = { "I32", 4 },
    [DS4_ST_I64] = { "I64", 8 },
};

const char *ds4_st_dtype_name(ds4_st_dtype dtype)
{
    return (uint32_t)dtype < DS4_ST_N_DTYPES ? dtypes[dtype].name : "?";
}

uint32_t ds4_st_dtype_bytes(ds4_st_dtype dtype)
{
    return (uint32_t)dtype < DS4_ST_N_DTYPES ? dtypes[dtype].bytes : 0;
}

/* ---- one entry of the header ----------------------------------------------------------- */

static ds4_status fail_entry(const ds4_safetensors *s, const char *name, const char *what, ds4_err *err)
{
    return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%.100s\": %s", s->path, name, what);
}

/* A plain integer below 2^53. */
static bool get_number(const json_t *v, uint64_t *out)
{
    if (!json_is_integer(v)) return false;
    const json_int_t n = json_integer_value(v);
    if (n < 0 || (uint64_t)n >= max_number) return false;
    *out = (uint64_t)n;
    return true;
}

static ds4_status get_dtype(const ds4_safetensors *s, const char *name, const json_t *entry,
                            ds4_st_dtype *out, ds4_err *err)
{
    const char *text = json_string_value(json_object_get(entry, "dtype"));

    if (!text) return fail_entry(s, name, "\"dtype\" is missing or no string", err);
    for (uint32_t i = 0; i < DS4_ST_N_DTYPES; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            *out = (ds4_st_dtype)i;
            return DS4_OK;
        }
    }
    return ds4_fail(err, DS4_E_UNSUPPORTED,
                    "%s: tensor \"%.100s\": element type \"%.40s\" is not known", s->path, name, text);
}

static ds4_status get_shape(const ds4_safetensors *s, const json_t *entry, ds4_st_tensor *t, ds4_err *err)
{
    const json_t *shape = json_object_get(entry, "shape");

    if (!json_is_array(shape)) return fail_entry(s, t->name, "\"shape\" is missing or no array", err);
    if (json_array_size(shape) > DS4_ST_MAX_DIMS) {
        return fail_entry(s, t->name, "more than 8 dimensions", err);
    }
    t->n_dims = (uint32_t)json_array_size(shape);
    t->n_elems = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (!get_number(json_array_get(shape, i), &t->dim[i])) {
            return fail_entry(s, t->name, "a dimension is no integer in 0..2^53", err);
        }
        if (t->dim[i] != 0 && t->n_elems > max_number / t->dim[i]) {
            return fail_entry(s, t->name, "the shape has 2^53 elements or more", err);
        }
        t->n_elems *= t->dim[i];
    }
    return DS4_OK;
}

static ds4_status get_place(const ds4_safetensors *s, const json_t *entry, ds4_st_tensor *t, ds4_err *err)
{
    const json_t *place = json_object_get(entry, "data_offsets");
    uint64_t      from = 0, to = 0;

    if (!json_is_array(place) || json_array_size(place) != 2 ||
        !get_number(json_array_get(place, 0), &from) || !get_number(json_array_get(place, 1), &to)) {
        return fail_entry(s, t->name, "\"data_offsets\" is not a pair of integers in 0..2^53", err);
    }
    if (from > to || to > s->n_bytes) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tensor \"%.100s\": bytes %llu..%llu, but the data has %llu", s->path,
                        t->name, (unsigned long long)from, (unsigned long long)to,
                        (unsigned long long)s->n_bytes);
    }
    /* At most 2^53 elements of 8 bytes: no overflow. */
    const uint64_t expected = t->n_elems * ds4_st_dtype_bytes(t->dtype);
    if (to - from != expected) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tensor \"%.100s\": %llu bytes, but its shape takes %llu", s->path, t->name,
                        (unsigned long long)(to - from), (unsigned long long)expected);
    }
    t->data = s->data + from;
    return DS4_OK;
}

static ds4_status read_entry(ds4_safetensors *s, const char *name, const json_t *entry, ds4_err *err)
{
    ds4_st_tensor *t = &s->tensors[s->n_tensors];

    if (!json_is_object(entry)) return fail_entry(s, name, "its entry is no object", err);
    t->name = strdup(name);
    if (!t->name) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its tensors", s->path);
    s->n_tensors++;                     /* owned from here on */
    DS4_TRY(get_dtype(s, name, entry, &t->dtype, err));
    DS4_TRY(get_shape(s, entry, t, err));
    return get_place(s, entry, t, err);
}

/* ---- the whole header -------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const ds4_st_tensor *)a)->name, ((const ds4_st_tensor *)b)->name);
}

static int compare_places(const void *a, const void *b)
{
    const ds4_st_tensor *p = a, *q = b;
    if (p->data != q->data) return (p->data > q->data) - (p->data < q->data);
    return (p->n_elems > q->n_elems) - (p->n_elems < q->n_elems);       /* empty ones first */
}

static ds4_status check_overlap(const ds4_safetensors *s, ds4_err *err)
{
    for (uint32_t i = 1; i < s->n_tensors; i++) {
        const ds4_st_tensor *before = &s->tensors[i - 1], *t = &s->tensors[i];
        if ((uint64_t)(t->data - before->data) < before->n_elems * ds4_st_dtype_bytes(before->dtype)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: tensors \"%.100s\" and \"%.100s\" overlap", s->path,
                            before->name, t->name);
        }
    }
    return DS4_OK;
}

static ds4_status read_entries(ds4_safetensors *s, json_t *root, ds4_err *err)
{
    const char *name;
    json_t     *entry;

    s->tensors = calloc(json_object_size(root) + 1, sizeof *s->tensors);
    if (!s->tensors) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its tensors", s->path);
    json_object_foreach(root, name, entry) {
        if (strcmp(name, "__metadata__") != 0) DS4_TRY(read_entry(s, name, entry, err));
    }
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_places);
    DS4_TRY(check_overlap(s, err));
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
    return DS4_OK;
}

static ds4_status parse(ds4_safetensors *s, const uint8_t *data, uint64_t n_bytes, ds4_err *err)
{
    uint64_t     n = 0;
    json_error_t why;

    if (n_bytes < 8) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: shorter than 8 bytes, not a safetensors file", s->path);
    }
    for (int i = 7; i >= 0; i--) n = n << 8 | data[i];
    if (n < 2 || n > n_bytes - 8) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: a header of %llu bytes in a file of %llu", s->path,
                        (unsigned long long)n, (unsigned long long)n_bytes);
    }
    if (n > MAX_HEADER_BYTES) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: a header of %llu bytes, expected at most %d", s->path,
                        (unsigned long long)n, MAX_HEADER_BYTES);
    }
    if (data[8] != '{') return ds4_fail(err, DS4_E_FORMAT, "%s: the header does not begin with {", s->path);
    s->data = data + 8 + n;
    s->n_bytes = n_bytes - 8 - n;
    json_t *root = json_loadb((const char *)data + 8, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!root) return ds4_fail(err, DS4_E_FORMAT, "%s: header: %s", s->path, why.text);
    const ds4_status st = read_entries(s, root, err);
    json_decref(root);
    return st;
}

ds4_status ds4_safetensors_open_bytes(const char *name, const void *data, uint64_t n_bytes,
                                      ds4_safetensors **out, ds4_err *err)
{
    ds4_safetensors *s = calloc(1, sizeof *s);

    if (s) s->path = strdup(name);
    if (!s || !s->path) {
        free(s);
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to open it", name);
    }
    const ds4_status st = parse(s, data, n_bytes, err);
    if (st == DS4_OK) {
        *out = s;
    } else {
        ds4_safetensors_close(s);
    }
    return st;
}

ds4_status ds4_safetensors_open(const char *path, ds4_safetensors **out, ds4_err *err)
{
    ds4_map map = { 0 };

    DS4_TRY(ds4_map_open(&map, path, err));
    ds4_safetensors *s = NULL;
    const ds4_status parsed = ds4_safetensors_open_bytes(path, map.data, map.n_bytes, &s, err);
    const ds4_status whole = ds4_map_check(&map, path, err);
    if (parsed == DS4_OK && whole == DS4_OK) {
        s->map = map;
        *out = s;
        return DS4_OK;
    }
    ds4_safetensors_close(s);
    ds4_map_close(&map);
    return whole != DS4_OK ? whole : parsed;
}

const ds4_file_facts *ds4_safetensors_facts(const ds4_safetensors *s)
{
    return &s->map.facts;
}

ds4_status ds4_safetensors_check(const ds4_safetensors *s, ds4_err *err)
{
    return ds4_map_check(&s->map, s->path, err);
}

void ds4_safetensors_close(ds4_safetensors *s)
{
    if (!s) return;
    for (uint32_t i = 0; i < s->n_tensors; i++) free((void *)(uintptr_t)s->tensors[i].name);
    free(s->tensors);
    ds4_map_close(&s->map);
    free(s->path);
    free(s);
}

uint32_t ds4_safetensors_count(const ds4_safetensors *s)
{
    return s->n_tensors;
}

const ds4_st_tensor *ds4_safetensors_at(const ds4_safetensors *s, uint32_t i)
{
    return i < s->n_tensors ? &s->tensors[i] : NULL;
}

const ds4_st_tensor *ds4_safetensors_find(const ds4_safetensors *s, const char *name)
{
    const ds4_st_tensor wanted = { .name = name };

    return bsearch(&wanted, s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
}
