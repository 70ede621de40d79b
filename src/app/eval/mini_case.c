/* mini_case.c - see mini_case.h: reading cases. */
#include "app/eval/mini_case.h"

#include "service/openai_json.h"
#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

static ds4_status bad(ds4_err *err, const char *name, const char *expected)
{
    return ds4_fail(err, DS4_E_FORMAT, "member \"%s\": expected %s", name, expected);
}

static ds4_status get_string(ds4_slice object, const char *name, ds4_str *out, ds4_err *err)
{
    ds4_slice value;

    if (!ds4_pyjson_get(object, name, &value) || ds4_pyjson_kind(value) != DS4_JSON_STRING) {
        return bad(err, name, "a string");
    }
    return ds4_pyjson_decode_string(value, out, err);
}

static ds4_status get_number(ds4_slice object, const char *name, double min, double max,
                             double *out, ds4_err *err)
{
    ds4_slice value;
    char      digits[64];

    if (!ds4_pyjson_get(object, name, &value) || ds4_pyjson_kind(value) != DS4_JSON_NUMBER ||
        value.n_bytes >= sizeof digits) {
        return bad(err, name, "a number");
    }
    memcpy(digits, value.data, value.n_bytes);
    digits[value.n_bytes] = '\0';
    const double number = strtod(digits, NULL);
    if (!(number >= min && number <= max)) return bad(err, name, "a number in its range");
    *out = number;
    return DS4_OK;
}

static ds4_status read_context(ds4_slice context, ds4_case *out, ds4_err *err)
{
    double tokens = 0, offset = 0;

    DS4_TRY(get_number(context, "tokens", 1, 1 << 20, &tokens, err));
    DS4_TRY(get_number(context, "depth", 0, 1, &out->context_depth, err));
    DS4_TRY(get_number(context, "offset", 0, 1e15, &offset, err));
    DS4_TRY(get_string(context, "fact", &out->context_fact, err));
    out->context_tokens = (uint32_t)tokens;
    out->context_offset = (uint64_t)offset;
    out->has_context = true;
    return DS4_OK;
}

ds4_status ds4_case_read(ds4_slice line, ds4_case *out, ds4_err *err)
{
    ds4_slice value;
    double    max_tokens = 0;

    DS4_TRY(ds4_pyjson_check(line, err));
    DS4_TRY(get_string(line, "id", &out->id, err));
    DS4_TRY(get_string(line, "kind", &out->kind, err));
    DS4_TRY(get_number(line, "max_tokens", 1, 1 << 20, &max_tokens, err));
    out->max_tokens = (uint32_t)max_tokens;
    if (!ds4_pyjson_get(line, "thinking", &value)) return bad(err, "thinking", "true or false");
    out->thinking = ds4_pyjson_kind(value) == DS4_JSON_TRUE;
    if (!ds4_pyjson_get(line, "messages", &value)) return bad(err, "messages", "a list");
    DS4_TRY(ds4_openai_messages(value, &out->history, err));
    if (ds4_pyjson_get(line, "tools", &value) && ds4_pyjson_kind(value) != DS4_JSON_NULL) {
        DS4_TRY(ds4_openai_tools(value, &out->tools, &out->n_tools, err));
    }
    if (ds4_pyjson_get(line, "context", &value) && ds4_pyjson_kind(value) != DS4_JSON_NULL) {
        DS4_TRY(read_context(value, out, err));
    }
    if (!ds4_pyjson_get(line, "expect", &out->expect) ||
        ds4_pyjson_kind(out->expect) != DS4_JSON_OBJECT) {
        return bad(err, "expect", "an object");
    }
    if (out->id.failed || out->kind.failed) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a case");
    }
    return DS4_OK;
}

void ds4_case_clear(ds4_case *c)
{
    ds4_str_clear(&c->id);
    ds4_str_clear(&c->kind);
    ds4_str_clear(&c->context_fact);
    ds4_history_clear(&c->history);
    free(c->tools);
    *c = (ds4_case){ .tools = NULL };
}
