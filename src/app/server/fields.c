/* fields.c - see fields.h. */
#include "app/server/fields.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ds4_slice_is(ds4_slice s, const char *text)
{
    return s.n_bytes == strlen(text) && !memcmp(s.data, text, s.n_bytes);
}

bool ds4_json_text_is(ds4_slice json, const char *text)
{
    const size_t n = strlen(text);
    return json.n_bytes == n + 2 && json.data[0] == '"' && !memcmp(json.data + 1, text, n);
}

ds4_status ds4_refuse(ds4_refusal *why, ds4_err *err, ds4_status code, const char *where,
                      const char *name, const char *what)
{
    if (why) snprintf(why->param, sizeof why->param, "%s%s", where, name);
    return ds4_fail(err, code, "'%s%s' %s", where, name, what);
}

static ds4_slice decode(ds4_arena *arena, ds4_slice json)
{
    ds4_str text = { 0 };

    if (ds4_pyjson_decode_string(json, &text, NULL) != DS4_OK) arena->failed = true;
    return ds4_arena_take(arena, &text);
}

ds4_status ds4_fields_open(ds4_fields *f, ds4_arena *arena, ds4_slice object, const char *where,
                           ds4_err *err)
{
    ds4_pyjson_iter it;
    ds4_slice       name, value;
    uint32_t        n = 0;

    *f = (ds4_fields){ .arena = arena };
    snprintf(f->where, sizeof f->where, "%s", where);
    DS4_TRY(ds4_pyjson_open(&it, object, err));
    if (it.kind != DS4_JSON_OBJECT) return ds4_fail(err, DS4_E_FORMAT, "expected a JSON object");
    ds4_pyjson_iter count = it;
    while (ds4_pyjson_next(&count, &name, &value)) n++;
    f->name = ds4_arena_alloc(arena, n + 1, sizeof *f->name);
    f->value = ds4_arena_alloc(arena, n + 1, sizeof *f->value);
    if (!f->name || !f->value) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    while (f->n < n && ds4_pyjson_next(&it, &name, &value)) {
        f->name[f->n] = decode(arena, name);
        f->value[f->n++] = value;
    }
    return arena->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a request") : DS4_OK;
}

bool ds4_fields_get(const ds4_fields *f, const char *name, ds4_slice *value)
{
    for (uint32_t i = f->n; i-- > 0;) {
        if (!ds4_slice_is(f->name[i], name)) continue;
        *value = f->value[i];
        return ds4_pyjson_kind(*value) != DS4_JSON_NULL;
    }
    return false;
}

ds4_status ds4_fields_text(const ds4_fields *f, const char *name, ds4_slice *out, ds4_refusal *why,
                           ds4_err *err)
{
    ds4_slice value;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, "must be a string");
    }
    *out = decode(f->arena, value);
    return f->arena->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a request") : DS4_OK;
}

ds4_status ds4_fields_bool(const ds4_fields *f, const char *name, bool *out, ds4_refusal *why,
                           ds4_err *err)
{
    ds4_slice value;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    const ds4_json_kind kind = ds4_pyjson_kind(value);
    if (kind != DS4_JSON_TRUE && kind != DS4_JSON_FALSE) {
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, "must be true or false");
    }
    *out = kind == DS4_JSON_TRUE;
    return DS4_OK;
}

ds4_status ds4_fields_number(const ds4_fields *f, const char *name, double least, double most,
                             double *out, ds4_refusal *why, ds4_err *err)
{
    ds4_slice value;
    char      text[64], what[96];

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) != DS4_JSON_NUMBER || value.n_bytes >= sizeof text) {
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, "must be a number");
    }
    memcpy(text, value.data, value.n_bytes);
    text[value.n_bytes] = '\0';
    const double number = strtod(text, NULL);
    if (!(number >= least && number <= most)) {
        snprintf(what, sizeof what, "must lie between %g and %g", least, most);
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, what);
    }
    *out = number;
    return DS4_OK;
}

ds4_status ds4_fields_u32(const ds4_fields *f, const char *name, uint32_t least, uint32_t most,
                          uint32_t *out, ds4_refusal *why, ds4_err *err)
{
    double number = *out;

    DS4_TRY(ds4_fields_number(f, name, least, most, &number, why, err));
    if (number != floor(number)) {
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, "must be a whole number");
    }
    *out = (uint32_t)number;
    return DS4_OK;
}

ds4_status ds4_fields_object(const ds4_fields *f, const char *name, ds4_fields *out, bool *given,
                             ds4_refusal *why, ds4_err *err)
{
    ds4_slice value;
    char      where[128];

    *given = ds4_fields_get(f, name, &value);
    if (!*given) return DS4_OK;
    if (ds4_pyjson_kind(value) != DS4_JSON_OBJECT) {
        return ds4_refuse(why, err, DS4_E_FORMAT, f->where, name, "must be an object");
    }
    snprintf(where, sizeof where, "%s%s.", f->where, name);
    return ds4_fields_open(out, f->arena, value, where, err);
}
