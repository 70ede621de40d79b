/* hf_json.c - see hf_json.h. */
#include "app/quantize/hf_json.h"

#include "base/file.h"

enum { MAX_JSON_BYTES = 16 << 20 };

ds4_status hf_json_load(const char *path, json_t **out, ds4_err *err)
{
    ds4_str      text = { 0 };
    json_error_t why;
    ds4_status   st = ds4_file_read(path, MAX_JSON_BYTES, &text, err);

    if (st == DS4_OK) {
        *out = json_loadb(ds4_str_text(&text), text.n_bytes, JSON_REJECT_DUPLICATES, &why);
        if (!json_is_object(*out)) {
            st = *out ? ds4_fail(err, DS4_E_FORMAT, "%s: no JSON object", path)
                      : ds4_fail(err, DS4_E_FORMAT, "%s: line %d: %s", path, why.line, why.text);
            json_decref(*out);
            *out = NULL;
        }
    }
    ds4_str_clear(&text);
    return st;
}

ds4_status hf_json_int(const char *path, const json_t *o, const char *name, uint32_t lo, uint32_t hi,
                       uint32_t *out, ds4_err *err)
{
    const json_t *v = json_object_get(o, name);

    if (!v) return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is missing", path, name);
    const json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    if (n < (json_int_t)lo || n > (json_int_t)hi) {
        return ds4_fail(err, DS4_E_FORMAT, "%s: \"%s\" is not an integer in %u..%u", path, name, lo, hi);
    }
    *out = (uint32_t)n;
    return DS4_OK;
}
