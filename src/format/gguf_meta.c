/* gguf_meta.c - typed reading of GGUF metadata; see gguf.h. */
#include "format/gguf_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An integer of any of the eight types: value is its magnitude. */
typedef struct integer {
    bool     negative;
    uint64_t magnitude;
} integer;

static bool is_integer(ds4_gguf_type type)
{
    return type <= DS4_GGUF_I32 || type == DS4_GGUF_U64 || type == DS4_GGUF_I64;
}

static integer from_signed(int64_t v)
{
    return (integer){ v < 0, v < 0 ? -(uint64_t)v : (uint64_t)v };
}

static integer load_integer(ds4_gguf_type type, const uint8_t *p)
{
    switch (type) {
    case DS4_GGUF_U8:  return (integer){ false, p[0] };
    case DS4_GGUF_I8:  return from_signed((int8_t)p[0]);
    case DS4_GGUF_U16: return (integer){ false, (uint64_t)p[0] | (uint64_t)p[1] << 8 };
    case DS4_GGUF_I16: return from_signed((int16_t)(uint16_t)(p[0] | p[1] << 8));
    case DS4_GGUF_U32: return (integer){ false, ds4_load_u32(p) };
    case DS4_GGUF_I32: return from_signed((int32_t)ds4_load_u32(p));
    case DS4_GGUF_U64: return (integer){ false, ds4_load_u64(p) };
    default:           return from_signed((int64_t)ds4_load_u64(p));
    }
}

static bool is_number(ds4_gguf_type type)
{
    return is_integer(type) || type == DS4_GGUF_F32 || type == DS4_GGUF_F64;
}

static float load_float(ds4_gguf_type type, const uint8_t *p)
{
    if (type == DS4_GGUF_F32) {
        const uint32_t bits = ds4_load_u32(p);
        float          f;
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    if (type == DS4_GGUF_F64) {
        const uint64_t bits = ds4_load_u64(p);
        double         d;
        memcpy(&d, &bits, sizeof d);
        /* Beyond the range of float the conversion would be undefined. */
        return fabs(d) <= 3.4028234663852886e38 ? (float)d : NAN;
    }
    const integer i = load_integer(type, p);
    return i.negative ? -(float)i.magnitude : (float)i.magnitude;
}

/* ---- finding a key of the right kind ---------------------------------------------------- */

static ds4_status fail_kind(const ds4_gguf *g, const ds4_gguf_key *entry, const char *expected, ds4_err *err)
{
    char shown[DS4_GGUF_SHOWN_BYTES + 4];

    return ds4_fail(err, DS4_E_FORMAT, "%s: key \"%s\": found %s%s, expected %s", g->path,
                    ds4_gguf_shown(entry->key, shown), entry->is_array ? "an array of " : "",
                    ds4_gguf_type_name(entry->value.type), expected);
}

static ds4_status find(const ds4_gguf *g, const char *key, const ds4_gguf_key **out, ds4_err *err)
{
    *out = ds4_gguf_key_find(g, key);
    return *out ? DS4_OK : ds4_fail(err, DS4_E_FORMAT, "%s: key \"%s\" is missing", g->path, key);
}

ds4_status ds4_gguf_get_array(const ds4_gguf *g, const char *key, ds4_gguf_array *out, ds4_err *err)
{
    const ds4_gguf_key *entry = NULL;

    DS4_TRY(find(g, key, &entry, err));
    if (!entry->is_array) return fail_kind(g, entry, "an array", err);
    *out = entry->value;
    return DS4_OK;
}

/* ---- single values -------------------------------------------------------------------------- */

ds4_status ds4_gguf_get_u64(const ds4_gguf *g, const char *key, uint64_t lo, uint64_t hi, uint64_t *out,
                            ds4_err *err)
{
    const ds4_gguf_key *entry = NULL;

    DS4_TRY(find(g, key, &entry, err));
    if (entry->is_array || !is_integer(entry->value.type)) return fail_kind(g, entry, "an integer", err);
    const integer i = load_integer(entry->value.type, entry->value.data);
    if (i.negative || i.magnitude < lo || i.magnitude > hi) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: key \"%s\": found %s%llu, expected %llu..%llu", g->path, key,
                        i.negative ? "-" : "", (unsigned long long)i.magnitude, (unsigned long long)lo,
                        (unsigned long long)hi);
    }
    *out = i.magnitude;
    return DS4_OK;
}

ds4_status ds4_gguf_get_f32(const ds4_gguf *g, const char *key, float *out, ds4_err *err)
{
    const ds4_gguf_key *entry = NULL;

    DS4_TRY(find(g, key, &entry, err));
    if (entry->is_array || !is_number(entry->value.type)) return fail_kind(g, entry, "a number", err);
    const float f = load_float(entry->value.type, entry->value.data);
    if (!isfinite(f)) {
        return ds4_fail(err, DS4_E_FORMAT,
                        "%s: key \"%s\": found infinity, NaN or a number beyond float, expected a "
                        "finite one",
                        g->path, key);
    }
    *out = f;
    return DS4_OK;
}

static ds4_status get_bool(const ds4_gguf *g, const char *key, bool *out, ds4_err *err)
{
    const ds4_gguf_key *entry = NULL;

    DS4_TRY(find(g, key, &entry, err));
    if (entry->is_array || entry->value.type != DS4_GGUF_BOOL) return fail_kind(g, entry, "bool", err);
    *out = entry->value.data[0] != 0;
    return DS4_OK;
}

ds4_status ds4_gguf_get_string(const ds4_gguf *g, const char *key, ds4_slice *out, ds4_err *err)
{
    const ds4_gguf_key *entry = NULL;

    DS4_TRY(find(g, key, &entry, err));
    if (entry->is_array || entry->value.type != DS4_GGUF_STRING) return fail_kind(g, entry, "string", err);
    *out = (ds4_slice){ (const char *)entry->value.data + 8, (size_t)(entry->value.n_bytes - 8) };
    return DS4_OK;
}

ds4_status ds4_gguf_opt_u64(const ds4_gguf *g, const char *key, uint64_t lo, uint64_t hi,
                            uint64_t otherwise, uint64_t *out, ds4_err *err)
{
    if (ds4_gguf_has(g, key)) return ds4_gguf_get_u64(g, key, lo, hi, out, err);
    *out = otherwise;
    return DS4_OK;
}

ds4_status ds4_gguf_opt_f32(const ds4_gguf *g, const char *key, float otherwise, float *out, ds4_err *err)
{
    if (ds4_gguf_has(g, key)) return ds4_gguf_get_f32(g, key, out, err);
    *out = otherwise;
    return DS4_OK;
}

ds4_status ds4_gguf_opt_bool(const ds4_gguf *g, const char *key, bool otherwise, bool *out, ds4_err *err)
{
    if (ds4_gguf_has(g, key)) return get_bool(g, key, out, err);
    *out = otherwise;
    return DS4_OK;
}

ds4_status ds4_gguf_opt_string(const ds4_gguf *g, const char *key, ds4_slice otherwise, ds4_slice *out,
                               ds4_err *err)
{
    if (ds4_gguf_has(g, key)) return ds4_gguf_get_string(g, key, out, err);
    *out = otherwise;
    return DS4_OK;
}

/* ---- whole arrays ----------------------------------------------------------------------------- */

/* Memory for n elements of at most 16 bytes; each has at least one byte in the file. */
static ds4_status take_array(const ds4_gguf *g, const char *key, uint64_t n, size_t elem_bytes, void **out,
                             ds4_err *err)
{
    if (n < SIZE_MAX / elem_bytes) *out = malloc(((size_t)n + 1) * elem_bytes);
    if (*out) return DS4_OK;
    return ds4_fail(err, DS4_E_NOMEM, "%s: key \"%s\": no memory for %llu elements", g->path, key,
                    (unsigned long long)n);
}

static ds4_status find_array(const ds4_gguf *g, const char *key, bool fits(ds4_gguf_type),
                             const char *expected, ds4_gguf_array *out, ds4_err *err)
{
    DS4_TRY(ds4_gguf_get_array(g, key, out, err));
    return fits(out->type) ? DS4_OK : fail_kind(g, ds4_gguf_key_find(g, key), expected, err);
}

static bool is_string(ds4_gguf_type type)
{
    return type == DS4_GGUF_STRING;
}

static bool integer_in(integer i, int64_t lo, int64_t hi, int64_t *out)
{
    if (i.magnitude > (uint64_t)INT64_MAX) return false;
    *out = i.negative ? -(int64_t)i.magnitude : (int64_t)i.magnitude;
    return *out >= lo && *out <= hi;
}

ds4_status ds4_gguf_copy_i64s(const ds4_gguf *g, const char *key, int64_t lo, int64_t hi, int64_t **out,
                              uint64_t *n, ds4_err *err)
{
    ds4_gguf_array a;
    void          *p = NULL;

    DS4_TRY(find_array(g, key, is_integer, "an array of integers", &a, err));
    DS4_TRY(take_array(g, key, a.count, sizeof **out, &p, err));
    int64_t       *v = p;
    const uint32_t elem_bytes = ds4_gguf_type_bytes(a.type);
    for (uint64_t i = 0; i < a.count; i++) {
        const integer x = load_integer(a.type, a.data + i * elem_bytes);
        if (!integer_in(x, lo, hi, &v[i])) {
            free(p);
            return ds4_fail(err, DS4_E_FORMAT, "%s: key \"%s\": element %llu is %s%llu, expected %lld..%lld",
                            g->path, key, (unsigned long long)i, x.negative ? "-" : "",
                            (unsigned long long)x.magnitude, (long long)lo, (long long)hi);
        }
    }
    *out = v;
    *n = a.count;
    return DS4_OK;
}

ds4_status ds4_gguf_copy_f32s(const ds4_gguf *g, const char *key, float **out, uint64_t *n, ds4_err *err)
{
    ds4_gguf_array a;
    void          *p = NULL;

    DS4_TRY(find_array(g, key, is_number, "an array of numbers", &a, err));
    DS4_TRY(take_array(g, key, a.count, sizeof **out, &p, err));
    float         *v = p;
    const uint32_t elem_bytes = ds4_gguf_type_bytes(a.type);
    for (uint64_t i = 0; i < a.count; i++) {
        v[i] = load_float(a.type, a.data + i * elem_bytes);
        if (!isfinite(v[i])) {
            free(p);
            return ds4_fail(err, DS4_E_FORMAT, "%s: key \"%s\": element %llu is not a finite float", g->path,
                            key, (unsigned long long)i);
        }
    }
    *out = v;
    *n = a.count;
    return DS4_OK;
}

ds4_status ds4_gguf_copy_strings(const ds4_gguf *g, const char *key, ds4_slice **out, uint64_t *n,
                                 ds4_err *err)
{
    ds4_gguf_array a;
    void          *p = NULL;

    DS4_TRY(find_array(g, key, is_string, "an array of strings", &a, err));
    DS4_TRY(take_array(g, key, a.count, sizeof **out, &p, err));
    ds4_slice     *v = p;
    const uint8_t *at = a.data;
    for (uint64_t i = 0; i < a.count; i++) {
        v[i] = (ds4_slice){ (const char *)at + 8, (size_t)ds4_load_u64(at) };
        at += 8 + v[i].n_bytes;
    }
    *out = v;
    *n = a.count;
    return DS4_OK;
}
