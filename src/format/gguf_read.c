/* gguf_read.c - parse and check a GGUF file; see gguf.h.
 *
 * Header, keys and tensor entries are walked with a cursor that never passes the end of
 * the file; every "needs n bytes" compares n with what remains, so that no sum can wrap. */
#include "format/gguf_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES     = 24,
    MIN_KEY_BYTES     = 13,              /* empty key 8, type 4, value 1 */
    MIN_TENSOR_BYTES = 33,              /* name 8 + 1, n_dims 4, one dim 8, type 4, offset 8 */
    MAX_KEY_BYTES    = 65535,
    MAX_NAME_BYTES   = 127,
    MAX_STRING_BYTES = 64 << 20,
    MIN_ALIGNMENT    = 8,
    MAX_ALIGNMENT    = 1 << 20,
};

static const uint64_t max_dim = (uint64_t)1 << 40;
static const uint64_t max_elems = (uint64_t)1 << 48;

typedef struct cursor {
    const char    *path;
    const uint8_t *data;                /* [n_bytes] */
    uint64_t       n_bytes, pos;        /* pos <= n_bytes */
    ds4_err       *err;
} cursor;

uint32_t ds4_load_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t ds4_load_u64(const uint8_t *p)
{
    return (uint64_t)ds4_load_u32(p) | (uint64_t)ds4_load_u32(p + 4) << 32;
}

uint32_t ds4_gguf_type_bytes(ds4_gguf_type type)
{
    static const uint8_t bytes[DS4_GGUF_N_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
    return (uint32_t)type < DS4_GGUF_N_TYPES ? bytes[type] : 0;
}

const char *ds4_gguf_type_name(ds4_gguf_type type)
{
    static const char *const names[DS4_GGUF_N_TYPES] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32",
                                                         "bool", "string", "array", "u64", "i64", "f64" };
    return (uint32_t)type < DS4_GGUF_N_TYPES ? names[type] : "?";
}

const char *ds4_gguf_shown(ds4_slice name, char buf[DS4_GGUF_SHOWN_BYTES + 4])
{
    const size_t n = name.n_bytes < DS4_GGUF_SHOWN_BYTES ? name.n_bytes : DS4_GGUF_SHOWN_BYTES;

    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)name.data[i];
        buf[i] = c < 32 || c == 127 ? '?' : (char)c;
    }
    strcpy(buf + n, n < name.n_bytes ? "..." : "");
    return buf;
}

/* ---- cursor ------------------------------------------------------------------------- */

static ds4_status need(const cursor *c, uint64_t n_bytes, const char *what)
{
    const uint64_t left = c->n_bytes - c->pos;

    if (n_bytes <= left) return DS4_OK;
    return ds4_fail(c->err, DS4_E_FORMAT, "%s: the file ends inside %s: %llu bytes needed at %llu, %llu left",
                    c->path, what, (unsigned long long)n_bytes, (unsigned long long)c->pos,
                    (unsigned long long)left);
}

static ds4_status read_u32(cursor *c, const char *what, uint32_t *out)
{
    DS4_TRY(need(c, 4, what));
    *out = ds4_load_u32(c->data + c->pos);
    c->pos += 4;
    return DS4_OK;
}

static ds4_status read_u64(cursor *c, const char *what, uint64_t *out)
{
    DS4_TRY(need(c, 8, what));
    *out = ds4_load_u64(c->data + c->pos);
    c->pos += 8;
    return DS4_OK;
}

static ds4_status read_string(cursor *c, const char *what, uint64_t max_bytes, ds4_slice *out)
{
    uint64_t n = 0;

    DS4_TRY(read_u64(c, what, &n));
    if (n > max_bytes) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: %s of %llu bytes at %llu, expected at most %llu", c->path,
                        what, (unsigned long long)n, (unsigned long long)c->pos,
                        (unsigned long long)max_bytes);
    }
    DS4_TRY(need(c, n, what));
    *out = (ds4_slice){ (const char *)c->data + c->pos, (size_t)n };
    c->pos += n;
    return DS4_OK;
}

/* ---- header (rules 1 and 2) ----------------------------------------------------------- */

static ds4_status read_counts(cursor *c, uint64_t *n_tensors, uint64_t *n_keys)
{
    const struct { uint64_t *n; uint64_t most; uint64_t min_bytes; const char *what; } counts[] = {
        { n_tensors, DS4_GGUF_MAX_TENSORS, MIN_TENSOR_BYTES, "tensors" },
        { n_keys,    DS4_GGUF_MAX_KEYS,    MIN_KEY_BYTES,     "keys"    },
    };

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        DS4_TRY(read_u64(c, "the header", counts[i].n));
        if (*counts[i].n > counts[i].most) {
            return ds4_fail(c->err, DS4_E_FORMAT, "%s: %llu %s, expected at most %llu", c->path,
                            (unsigned long long)*counts[i].n, counts[i].what,
                            (unsigned long long)counts[i].most);
        }
        /* Memory is taken by these counts: the file must be long enough to hold them. */
        if (*counts[i].n > c->n_bytes / counts[i].min_bytes) {
            return ds4_fail(c->err, DS4_E_FORMAT, "%s: %llu %s do not fit into %llu bytes", c->path,
                            (unsigned long long)*counts[i].n, counts[i].what,
                            (unsigned long long)c->n_bytes);
        }
    }
    return DS4_OK;
}

static ds4_status read_header(cursor *c, uint64_t *n_tensors, uint64_t *n_keys)
{
    uint32_t magic = 0, version = 0;

    if (c->n_bytes < HEADER_BYTES) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: %llu bytes long, a GGUF header alone has %d", c->path,
                        (unsigned long long)c->n_bytes, HEADER_BYTES);
    }
    DS4_TRY(read_u32(c, "the header", &magic));
    DS4_TRY(read_u32(c, "the header", &version));
    if (magic != 0x46554747u) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: not a GGUF file: magic 0x%08x, expected 0x46554747",
                        c->path, magic);
    }
    if (version == 0x03000000u) {
        return ds4_fail(c->err, DS4_E_UNSUPPORTED, "%s: a big-endian GGUF file, expected little endian",
                        c->path);
    }
    if (version != 3) {
        return ds4_fail(c->err, DS4_E_UNSUPPORTED, "%s: GGUF version %u, expected 3", c->path, version);
    }
    return read_counts(c, n_tensors, n_keys);
}

/* ---- keys (rules 3 to 6) ---------------------------------------------------------------- */

static ds4_status check_bools(const cursor *c, const char *key, const ds4_gguf_array *v)
{
    for (uint64_t i = 0; i < v->count; i++) {
        if (v->data[i] > 1) {
            return ds4_fail(c->err, DS4_E_FORMAT, "%s: key \"%s\": bool byte %u, expected 0 or 1", c->path,
                            key, v->data[i]);
        }
    }
    return DS4_OK;
}

/* Step over v->count elements of v->type, count not yet trusted. */
static ds4_status read_elements(cursor *c, const char *key, ds4_gguf_array *v)
{
    const uint32_t elem_bytes = v->type == DS4_GGUF_STRING ? 8 : ds4_gguf_type_bytes(v->type);
    const uint64_t start = c->pos, left = c->n_bytes - start;

    if (v->count > left / elem_bytes) {
        return ds4_fail(c->err, DS4_E_FORMAT,
                        "%s: key \"%s\": %llu elements of type %s, but only %llu bytes are left",
                        c->path, key, (unsigned long long)v->count, ds4_gguf_type_name(v->type),
                        (unsigned long long)left);
    }
    v->data = c->data + start;
    if (v->type == DS4_GGUF_STRING) {
        for (uint64_t i = 0; i < v->count; i++) {
            ds4_slice s;
            DS4_TRY(read_string(c, "a string value", MAX_STRING_BYTES, &s));
        }
    } else {
        c->pos += v->count * elem_bytes;
    }
    v->n_bytes = c->pos - start;
    return v->type == DS4_GGUF_BOOL ? check_bools(c, key, v) : DS4_OK;
}

static ds4_status read_value_type(cursor *c, const char *key, bool is_element, ds4_gguf_type *out)
{
    uint32_t type = 0;

    DS4_TRY(read_u32(c, "a value type", &type));
    if (type >= DS4_GGUF_N_TYPES) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: key \"%s\": value type %u, expected 0..%d", c->path, key,
                        type, DS4_GGUF_N_TYPES - 1);
    }
    if (is_element && type == DS4_GGUF_ARRAY) {
        return ds4_fail(c->err, DS4_E_UNSUPPORTED, "%s: key \"%s\": an array of arrays, which no model needs",
                        c->path, key);
    }
    *out = (ds4_gguf_type)type;
    return DS4_OK;
}

static ds4_status read_key(cursor *c, ds4_gguf_key *entry)
{
    char          shown[DS4_GGUF_SHOWN_BYTES + 4];
    ds4_gguf_type type = DS4_GGUF_U8;

    DS4_TRY(read_string(c, "a key", MAX_KEY_BYTES, &entry->key));
    if (entry->key.n_bytes == 0) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: empty key at %llu", c->path, (unsigned long long)c->pos);
    }
    ds4_gguf_shown(entry->key, shown);
    DS4_TRY(read_value_type(c, shown, false, &type));
    entry->is_array = type == DS4_GGUF_ARRAY;
    entry->value.type = type;
    entry->value.count = 1;
    if (entry->is_array) {
        DS4_TRY(read_value_type(c, shown, true, &entry->value.type));
        DS4_TRY(read_u64(c, "an array's count", &entry->value.count));
    }
    return read_elements(c, shown, &entry->value);
}

static int compare_names(ds4_slice a, ds4_slice b)
{
    const size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    const int    order = memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_names((*(const ds4_gguf_key *const *)a)->key, (*(const ds4_gguf_key *const *)b)->key);
}

static ds4_status read_keys(cursor *c, ds4_gguf *g, uint64_t n_keys)
{
    char shown[DS4_GGUF_SHOWN_BYTES + 4];

    g->n_keys = (uint32_t)n_keys;
    g->keys = calloc((size_t)n_keys + 1, sizeof *g->keys);
    g->keys_by_name = calloc((size_t)n_keys + 1, sizeof *g->keys_by_name);
    if (!g->keys || !g->keys_by_name) {
        return ds4_fail(c->err, DS4_E_NOMEM, "%s: no memory for %llu keys", c->path,
                        (unsigned long long)n_keys);
    }
    for (uint64_t i = 0; i < n_keys; i++) {
        DS4_TRY(read_key(c, &g->keys[i]));
        g->keys_by_name[i] = &g->keys[i];
    }
    qsort(g->keys_by_name, (size_t)n_keys, sizeof *g->keys_by_name, compare_keys);
    for (uint64_t i = 1; i < n_keys; i++) {
        if (ds4_slice_eq(g->keys_by_name[i - 1]->key, g->keys_by_name[i]->key)) {
            return ds4_fail(c->err, DS4_E_FORMAT, "%s: key \"%s\" appears twice", c->path,
                            ds4_gguf_shown(g->keys_by_name[i]->key, shown));
        }
    }
    return DS4_OK;
}

static ds4_status find_alignment(ds4_gguf *g, ds4_err *err)
{
    const ds4_gguf_key *entry = ds4_gguf_key_find(g, "general.alignment");

    g->alignment = DS4_GGUF_ALIGNMENT;
    if (!entry) return DS4_OK;
    if (entry->is_array || entry->value.type != DS4_GGUF_U32) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: key \"general.alignment\": found %s, expected u32", g->path,
                        entry->is_array ? "an array" : ds4_gguf_type_name(entry->value.type));
    }
    const uint32_t a = ds4_load_u32(entry->value.data);
    if (a < MIN_ALIGNMENT || a > MAX_ALIGNMENT || (a & (a - 1)) != 0) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: key \"general.alignment\": found %u, expected a power of two in %d..%d", g->path,
                        a, MIN_ALIGNMENT, MAX_ALIGNMENT);
    }
    g->alignment = a;
    return DS4_OK;
}

/* ---- tensor entries (rules 7 and 8) ----------------------------------------------------- */

/* Fill n_bytes from dims and type. Bounds: at most 2^48 elements of at most 8 bytes each. */
static ds4_status size_tensor(const cursor *c, const char *name, ds4_gguf_tensor *t)
{
    const ds4_dtype_info *info = ds4_dtype_get(t->dtype);
    uint64_t              n_elems = 1;

    for (uint32_t i = 0; i < t->n_dims; i++) {
        if (t->dim[i] == 0 || t->dim[i] > max_dim || t->dim[i] > max_elems / n_elems) {
            return ds4_fail(c->err, DS4_E_FORMAT,
                            "%s: tensor \"%s\": dimension %u is %llu, which makes it empty or too "
                            "large",
                            c->path, name, i, (unsigned long long)t->dim[i]);
        }
        n_elems *= t->dim[i];
    }
    if (t->dim[0] % info->block_elems != 0) {
        return ds4_fail(c->err, DS4_E_FORMAT,
                        "%s: tensor \"%s\": rows of %llu elements, expected a multiple of %u for %s",
                        c->path, name, (unsigned long long)t->dim[0], info->block_elems, info->name);
    }
    t->n_bytes = ds4_row_bytes(t->dtype, t->dim[0]) * (n_elems / t->dim[0]);
    return DS4_OK;
}

static ds4_status read_tensor(cursor *c, ds4_gguf_tensor *t, uint64_t *offset)
{
    char     shown[DS4_GGUF_SHOWN_BYTES + 4];
    uint32_t in_file = 0;

    DS4_TRY(read_string(c, "a tensor name", MAX_NAME_BYTES, &t->name));
    if (t->name.n_bytes == 0 || memchr(t->name.data, 0, t->name.n_bytes)) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: tensor name before %llu is empty or has a zero byte",
                        c->path, (unsigned long long)c->pos);
    }
    ds4_gguf_shown(t->name, shown);
    DS4_TRY(read_u32(c, "a tensor entry", &t->n_dims));
    if (t->n_dims < 1 || t->n_dims > DS4_GGUF_MAX_DIMS) {
        return ds4_fail(c->err, DS4_E_FORMAT, "%s: tensor \"%s\": %u dimensions, expected 1..%d",
                        c->path, shown, t->n_dims, DS4_GGUF_MAX_DIMS);
    }
    for (uint32_t i = 0; i < DS4_GGUF_MAX_DIMS; i++) t->dim[i] = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) DS4_TRY(read_u64(c, "a tensor entry", &t->dim[i]));
    DS4_TRY(read_u32(c, "a tensor entry", &in_file));
    DS4_TRY(read_u64(c, "a tensor entry", offset));
    t->dtype = ds4_dtype_from_file(in_file);
    if (!ds4_dtype_get(t->dtype)) {
        return ds4_fail(c->err, DS4_E_UNSUPPORTED, "%s: tensor \"%s\": element type %u is not known", c->path,
                        shown, in_file);
    }
    return size_tensor(c, shown, t);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_names((*(const ds4_gguf_tensor *const *)a)->name,
                         (*(const ds4_gguf_tensor *const *)b)->name);
}

ds4_status ds4_gguf_index_tensors(ds4_gguf *g, ds4_err *err)
{
    char shown[DS4_GGUF_SHOWN_BYTES + 4];

    for (uint32_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_tensors);
    for (uint32_t i = 1; i < g->n_tensors; i++) {
        if (ds4_slice_eq(g->by_name[i - 1]->name, g->by_name[i]->name)) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\" appears twice", g->path,
                            ds4_gguf_shown(g->by_name[i]->name, shown));
        }
    }
    return DS4_OK;
}

/* Only the version that we know is read as such. */
static ds4_status check_t66(const ds4_gguf *g, ds4_err *err)
{
    char     shown[DS4_GGUF_SHOWN_BYTES + 4];
    uint32_t version = 0;

    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const ds4_gguf_key *key = ds4_gguf_key_find(g, DS4_T66_KEY);
        if (g->tensors[i].dtype != DS4_T66) continue;
        if (key && !key->is_array && key->value.type == DS4_GGUF_U32) version = ds4_load_u32(key->value.data);
        if (version == DS4_T66_VERSION) return DS4_OK;
        return ds4_fail(err, DS4_E_UNSUPPORTED,
                        "%s: tensor \"%s\" has type T66, but key \"%s\" is not %d", g->path,
                        ds4_gguf_shown(g->tensors[i].name, shown), DS4_T66_KEY, DS4_T66_VERSION);
    }
    return DS4_OK;
}

/* ---- data section (rules 8 to 10) --------------------------------------------------------- */

static ds4_status place_tensor(ds4_gguf *g, ds4_gguf_tensor *t, uint64_t offset, ds4_err *err)
{
    char           shown[DS4_GGUF_SHOWN_BYTES + 4];
    const uint64_t section = g->n_bytes - g->data_offset;

    ds4_gguf_shown(t->name, shown);
    if (offset % g->alignment != 0) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: tensor \"%s\": offset %llu, expected a multiple of %u",
                        g->path, shown, (unsigned long long)offset, g->alignment);
    }
    if (offset > section || t->n_bytes > section - offset) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: tensor \"%s\": offset %llu + %llu bytes, but the data section has %llu "
                        "bytes",
                        g->path, shown, (unsigned long long)offset, (unsigned long long)t->n_bytes,
                        (unsigned long long)section);
    }
    t->data = g->data + g->data_offset + offset;
    return DS4_OK;
}

static int compare_places(const void *a, const void *b)
{
    const uint8_t *p = (*(const ds4_gguf_tensor *const *)a)->data;
    const uint8_t *q = (*(const ds4_gguf_tensor *const *)b)->data;
    return (p > q) - (p < q);
}

/* Offsets are aligned, so two tensors share bytes exactly if they share a padded unit.
 * Uses by_name for the order by place; the caller sorts it by name afterwards. */
static ds4_status check_overlap(ds4_gguf *g, ds4_err *err)
{
    char a[DS4_GGUF_SHOWN_BYTES + 4], b[DS4_GGUF_SHOWN_BYTES + 4];

    for (uint32_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_places);
    for (uint32_t i = 1; i < g->n_tensors; i++) {
        const ds4_gguf_tensor *before = g->by_name[i - 1], *t = g->by_name[i];
        if ((uint64_t)(t->data - before->data) < before->n_bytes) {
            return ds4_fail(err, DS4_E_FORMAT, "%s: tensors \"%s\" and \"%s\" overlap", g->path,
                            ds4_gguf_shown(before->name, a), ds4_gguf_shown(t->name, b));
        }
    }
    return DS4_OK;
}

/* The data section starts at the next multiple of the alignment. A file without tensors
 * may end before it. */
static ds4_status find_data(const cursor *c, ds4_gguf *g)
{
    const uint64_t tail = c->pos % g->alignment;
    const uint64_t padding = tail ? g->alignment - tail : 0;

    g->data_offset = c->n_bytes;
    if (g->n_tensors == 0 && padding > c->n_bytes - c->pos) return DS4_OK;
    DS4_TRY(need(c, padding, "the padding before the data"));
    g->data_offset = c->pos + padding;
    return DS4_OK;
}

static ds4_status read_tensors(cursor *c, ds4_gguf *g, uint64_t n_tensors)
{
    ds4_status st = DS4_OK;
    uint64_t  *offsets = calloc((size_t)n_tensors + 1, sizeof *offsets);

    g->n_tensors = (uint32_t)n_tensors;
    g->tensors = calloc((size_t)n_tensors + 1, sizeof *g->tensors);
    g->by_name = calloc((size_t)n_tensors + 1, sizeof *g->by_name);
    if (!offsets || !g->tensors || !g->by_name) {
        st = ds4_fail(c->err, DS4_E_NOMEM, "%s: no memory for %llu tensors", c->path,
                      (unsigned long long)n_tensors);
    }
    for (uint64_t i = 0; st == DS4_OK && i < n_tensors; i++) st = read_tensor(c, &g->tensors[i], &offsets[i]);
    if (st == DS4_OK) st = find_data(c, g);
    for (uint64_t i = 0; st == DS4_OK && i < n_tensors; i++) {
        st = place_tensor(g, &g->tensors[i], offsets[i], c->err);
    }
    free(offsets);
    if (st == DS4_OK) st = check_overlap(g, c->err);
    if (st == DS4_OK) st = ds4_gguf_index_tensors(g, c->err);
    return st;
}

/* ---- opening and closing ---------------------------------------------------------------------- */

void ds4_gguf_close(ds4_gguf *g)
{
    if (!g) return;
    for (uint32_t i = 0; i < g->n_more; i++) ds4_gguf_close(g->more[i]);
    free((void *)g->more);
    free((void *)g->paths);
    free(g->keys);
    free((void *)g->keys_by_name);
    free(g->tensors);
    free((void *)g->by_name);
    ds4_map_close(&g->map);
    free(g->path);
    free(g);
}

static ds4_status parse(ds4_gguf *g, ds4_err *err)
{
    cursor   c = { g->path, g->data, g->n_bytes, 0, err };
    uint64_t n_tensors = 0, n_keys = 0;

    DS4_TRY(read_header(&c, &n_tensors, &n_keys));
    DS4_TRY(read_keys(&c, g, n_keys));
    DS4_TRY(find_alignment(g, err));
    DS4_TRY(read_tensors(&c, g, n_tensors));
    return check_t66(g, err);
}

ds4_status ds4_gguf_open_bytes(const char *name, const void *data, uint64_t n_bytes, ds4_gguf **out,
                               ds4_err *err)
{
    ds4_gguf  *g = calloc(1, sizeof *g);
    ds4_status st = DS4_OK;

    if (g) g->path = strdup(name);
    if (g) g->paths = calloc(1, sizeof *g->paths);
    if (!g || !g->path || !g->paths) {
        ds4_gguf_close(g);
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to open it", name);
    }
    g->paths[0] = g->path;
    g->data = data;
    g->n_bytes = n_bytes;
    st = parse(g, err);
    if (st == DS4_OK) {
        *out = g;
    } else {
        ds4_gguf_close(g);
    }
    return st;
}

/* ---- looking up --------------------------------------------------------------------------------- */

const char *ds4_gguf_path(const ds4_gguf *g) { return g->path; }
uint64_t    ds4_gguf_data_offset(const ds4_gguf *g) { return g->data_offset; }
uint32_t    ds4_gguf_alignment(const ds4_gguf *g) { return g->alignment; }
uint32_t    ds4_gguf_n_tensors(const ds4_gguf *g) { return g->n_tensors; }
uint32_t    ds4_gguf_n_keys(const ds4_gguf *g) { return g->n_keys; }

const ds4_gguf_tensor *ds4_gguf_tensor_at(const ds4_gguf *g, uint32_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const ds4_gguf_key *ds4_gguf_key_at(const ds4_gguf *g, uint32_t i)
{
    return i < g->n_keys ? &g->keys[i] : NULL;
}

const ds4_gguf_tensor *ds4_gguf_tensor_find(const ds4_gguf *g, const char *name)
{
    const ds4_gguf_tensor  wanted = { .name = { name, strlen(name) } };
    const ds4_gguf_tensor *key = &wanted;

    if (g->n_tensors == 0) return NULL;
    const ds4_gguf_tensor **found =
        bsearch(&key, g->by_name, g->n_tensors, sizeof *g->by_name, compare_tensors);
    return found ? *found : NULL;
}

const ds4_gguf_key *ds4_gguf_key_find(const ds4_gguf *g, const char *key)
{
    const ds4_gguf_key  wanted = { .key = { key, strlen(key) } };
    const ds4_gguf_key *probe = &wanted;

    if (g->n_keys == 0) return NULL;
    const ds4_gguf_key **found =
        bsearch(&probe, g->keys_by_name, g->n_keys, sizeof *g->keys_by_name, compare_keys);
    return found ? *found : NULL;
}

bool ds4_gguf_has(const ds4_gguf *g, const char *key)
{
    return ds4_gguf_key_find(g, key) != NULL;
}
