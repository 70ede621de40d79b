/* mini_grade.c - see mini_case.h: is the reply what was expected. */
#include "app/eval/mini_case.h"

#include "text/pyjson.h"

#include <jansson.h>
#include <string.h>

static ds4_slice trim(ds4_slice s)
{
    while (s.n_bytes > 0 && strchr(" \t\r\n", s.data[0])) {
        s = (ds4_slice){ s.data + 1, s.n_bytes - 1 };
    }
    while (s.n_bytes > 0 && strchr(" \t\r\n", s.data[s.n_bytes - 1])) s.n_bytes--;
    return s;
}

static bool holds(ds4_slice text, const json_t *part)
{
    const size_t n = json_string_length(part);
    return n == 0 ||
           (n <= text.n_bytes && memmem(text.data, text.n_bytes, json_string_value(part), n));
}

/* Count the strings of a list that the text holds. */
static size_t count_held(ds4_slice text, const json_t *list)
{
    size_t  i, n = 0;
    json_t *part;

    json_array_foreach(list, i, part) n += json_is_string(part) && holds(text, part);
    return n;
}

static bool same_call(const json_t *expected, const ds4_dsml_call *call)
{
    const json_t *name = json_object_get(expected, "name");
    const json_t *arguments = json_object_get(expected, "arguments");
    json_t *given = json_loadb(call->arguments.data, call->arguments.n_bytes, JSON_ALLOW_NUL, NULL);
    const bool same_name =
        json_string_length(name) == call->name.n_bytes && call->name.n_bytes > 0 &&
        memcmp(json_string_value(name), call->name.data, call->name.n_bytes) == 0;
    const bool    same = same_name && given && json_equal(arguments, given);

    json_decref(given);
    return same;
}

/* Every expected call is there once; their order does not matter. */
static bool same_calls(const json_t *list, const ds4_reply_result *r)
{
    bool    used[64] = { false };
    size_t  i;
    json_t *expected;

    if (json_array_size(list) != r->n_calls || r->n_calls > 64) return false;
    json_array_foreach(list, i, expected) {
        uint32_t k = 0;
        while (k < r->n_calls && (used[k] || !same_call(expected, &r->calls[k]))) k++;
        if (k == r->n_calls) return false;
        used[k] = true;
    }
    return true;
}

/* One member of `expect`; an unknown one cannot be kept. */
static bool kept(const char *name, const json_t *value, const ds4_reply_result *r)
{
    const ds4_slice text = trim(r->content);

    if (strcmp(name, "contains") == 0) return count_held(text, value) == json_array_size(value);
    if (strcmp(name, "any") == 0) return json_array_size(value) == 0 || count_held(text, value) > 0;
    if (strcmp(name, "calls") == 0) return same_calls(value, r);
    if (strcmp(name, "no_calls") == 0) return r->n_calls == 0 || !json_is_true(value);
    if (strcmp(name, "equals") != 0 || !json_is_string(value)) return false;
    const ds4_slice want = trim((ds4_slice){ json_string_value(value), json_string_length(value) });
    return ds4_slice_eq(text, want);
}

bool ds4_case_passed(const ds4_case *c, const ds4_reply_result *r, ds4_str *why)
{
    json_t     *expect = json_loadb(c->expect.data, c->expect.n_bytes, JSON_ALLOW_NUL, NULL);
    const char *name;
    json_t     *value;
    bool        passed = expect && json_object_size(expect) > 0;

    if (!passed) ds4_str_add_text(why, "nothing can be expected");
    if (passed && r->finish != DS4_FINISH_END && r->finish != DS4_FINISH_CALLS) {
        passed = false;
        ds4_str_addf(why, "ended by %s", ds4_finish_name(r->finish));
    }
    if (passed) {
        json_object_foreach(expect, name, value) {
            if (kept(name, value, r)) continue;
            passed = false;
            ds4_str_addf(why, "%s%s", why->n_bytes ? ", " : "", name);
        }
    }
    json_decref(expect);
    return passed;
}
