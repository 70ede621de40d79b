/* tool_args.c - the arguments of a call: JSON of any size, types and names, until it was looked at. */
#include "agent/tools_local.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_known(const char *name, const char *const *known)
{
    for (; *known; known++) {
        if (strcmp(name, *known) == 0) return true;
    }
    return false;
}

static void name_them(const char *const *known, ds4_str *out)
{
    for (size_t i = 0; known[i]; i++) ds4_str_addf(out, "%s%s", i ? ", " : "", known[i]);
}

bool tool_args_open(tool_run *r, const char *const *known)
{
    json_error_t why;
    const char  *name;
    json_t      *value;
    ds4_slice    text = r->call->arguments;

    if (text.n_bytes == 0) text = DS4_SLICE("{}");
    if (text.n_bytes > TOOLS_MOST_ARGUMENTS) {
        tool_fail(r, "the arguments have %zu bytes, at most %d are read", text.n_bytes, TOOLS_MOST_ARGUMENTS);
        return false;
    }
    /* No text of it has a zero byte: jansson refuses those unless it is told otherwise. */
    r->args = json_loadb(text.data, text.n_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(r->args)) {
        if (r->args) tool_fail(r, "the arguments must be a JSON object");
        else         tool_fail(r, "the arguments are no JSON: %s", why.text);
        return false;
    }
    json_object_foreach(r->args, name, value) {
        if (is_known(name, known)) continue;
        ds4_str list = { 0 };
        name_them(known, &list);
        tool_fail(r, "there is no argument '%.100s'; there are: %s", name, ds4_str_text(&list));
        ds4_str_clear(&list);
        return false;
    }
    return true;
}

const char *tool_arg_text(tool_run *r, const char *name, bool required, size_t max_bytes, size_t *n_bytes)
{
    const json_t *value = json_object_get(r->args, name);

    *n_bytes = 0;
    if (r->failed) return NULL;
    if (!value || json_is_null(value)) {
        if (required) tool_fail(r, "the argument '%s' is missing", name);
        return NULL;
    }
    if (!json_is_string(value)) {
        tool_fail(r, "the argument '%s' must be a text", name);
        return NULL;
    }
    *n_bytes = json_string_length(value);
    if (*n_bytes > max_bytes) {
        tool_fail(r, "the argument '%s' has %zu bytes, at most %zu are possible", name, *n_bytes, max_bytes);
        return NULL;
    }
    return json_string_value(value);
}

/* Models write numbers as texts now and then. */
static bool number_of(const json_t *value, int64_t *out)
{
    char *end = NULL;

    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    if (json_is_real(value)) {
        const double d = json_real_value(value);
        if (!(d > -1e15 && d < 1e15) || d != (double)(int64_t)d) return false;
        *out = (int64_t)d;
        return true;
    }
    const char *text = json_string_value(value);
    if (!text || !(isdigit((unsigned char)text[0]) || text[0] == '-')) return false;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' && end != text;
}

int64_t tool_arg_int(tool_run *r, const char *name, int64_t least, int64_t most, int64_t otherwise)
{
    const json_t *value = json_object_get(r->args, name);
    int64_t       n = otherwise;

    if (r->failed || !value || json_is_null(value)) return otherwise;
    if (!number_of(value, &n) || n < least || n > most) {
        tool_fail(r, "the argument '%s' must be a whole number from %lld to %lld", name, (long long)least,
                  (long long)most);
        return otherwise;
    }
    return n;
}

bool tool_arg_bool(tool_run *r, const char *name, bool otherwise)
{
    const json_t *value = json_object_get(r->args, name);
    const char   *text = json_string_value(value);

    if (r->failed || !value || json_is_null(value)) return otherwise;
    if (json_is_boolean(value)) return json_is_true(value);
    if (text && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) return text[0] == 't';
    tool_fail(r, "the argument '%s' must be true or false", name);
    return otherwise;
}

bool tool_arg_path(tool_run *r, const char *name, bool required, char out[DS4_ROOT_NAME_BYTES])
{
    size_t      n = 0;
    ds4_err     err;
    const char *text = tool_arg_text(r, name, required, DS4_ROOT_NAME_BYTES - 1, &n);

    if (r->failed) return false;
    memcpy(out, ".", 2);
    if (!text || n == 0) return true;
    if (ds4_root_name(r->t->root, (ds4_slice){ text, n }, out, &err) == DS4_OK) return true;
    tool_fail(r, "%s", err.text);
    return false;
}
