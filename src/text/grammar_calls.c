/* grammar_calls.c - the markup of tool calls as a grammar: names, parameters, values. */
#include "text/grammar_build.h"

#include "text/pyjson.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TOOLS = 1024 };

static void tag(ds4_grammar *g, const char *before, const char *behind)
{
    ds4_g_literal(g, before);
    ds4_g_emit(g, DS4_G_MARKER, 0, 0);
    ds4_g_literal(g, behind);
}

/* The text of a JSON string, as literal bytes. */
static ds4_status name_bytes(ds4_grammar *g, ds4_slice json, ds4_err *err)
{
    ds4_str    text = { 0 };
    ds4_status st = ds4_pyjson_decode_string(json, &text, err);

    if (st == DS4_OK) ds4_g_text(g, (ds4_slice){ ds4_str_text(&text), text.n_bytes });
    ds4_str_clear(&text);
    return st;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Free text up to the closing tag. */
static void raw_text(ds4_grammar *g)
{
    const uint32_t again = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);

    ds4_g_range(g, 0, 255);
    ds4_g_emit(g, DS4_G_JUMP, again, 0);
    ds4_g_point_b(g, again, ds4_g_here(g));
}

/* A string is written as it is; of an enumeration, one of its strings. */
static ds4_status string_value(ds4_grammar *g, ds4_slice schema, ds4_err *err)
{
    ds4_slice       list, one;
    ds4_pyjson_iter it;
    uint32_t        joins[256], n = 0, split = 0;

    ds4_g_literal(g, " string=\"true\">");
    if (!ds4_pyjson_get(schema, "enum", &list) || ds4_pyjson_kind(list) != DS4_JSON_ARRAY) {
        raw_text(g);
        return DS4_OK;
    }
    DS4_TRY(ds4_pyjson_open(&it, list, err));
    while (n < 256 && ds4_pyjson_next(&it, NULL, &one)) {
        if (ds4_pyjson_kind(one) != DS4_JSON_STRING) continue;
        split = ds4_g_emit(g, DS4_G_SPLIT, ds4_g_here(g) + 1, 0);
        DS4_TRY(name_bytes(g, one, err));
        joins[n++] = ds4_g_emit(g, DS4_G_JUMP, 0, 0);
        ds4_g_point_b(g, split, ds4_g_here(g));
    }
    if (n == 0 || n == 256) {
        raw_text(g);
    } else {
        ds4_g_point_b(g, split, split + 1);
    }
    for (uint32_t i = 0; i < n; i++) ds4_g_point(g, joins[i], ds4_g_here(g));
    return DS4_OK;
}

/* JSON that fits the schema, or any JSON when the schema cannot be enforced. */
static void json_value(ds4_g_schema *s, ds4_slice schema)
{
    const uint32_t n_code = s->g->n_code, n_refs = s->n_refs;

    ds4_g_literal(s->g, " string=\"false\">");
    const uint32_t begin = s->g->n_code;
    s->depth = 0;
    if (ds4_g_schema_value(s, schema, NULL) == DS4_OK && s->g->failed == DS4_OK) return;
    if (s->g->failed == DS4_E_LIMIT) s->g->failed = DS4_OK;
    if (s->g->failed != DS4_OK || begin < n_code) return;
    s->g->n_code = begin;
    s->n_refs = n_refs;
    ds4_g_emit(s->g, DS4_G_CALL, s->json.value, 0);
}

static bool is_string_type(ds4_slice type)
{
    return ds4_slice_eq(type, DS4_SLICE("\"string\""));
}

/* Which of the two forms a value may have. */
static void forms_of(ds4_slice schema, bool *string, bool *json)
{
    ds4_slice       type, one;
    ds4_pyjson_iter it;

    *string = *json = true;
    if (!ds4_pyjson_get(schema, "type", &type)) return;
    if (ds4_pyjson_kind(type) == DS4_JSON_STRING) {
        *string = is_string_type(type);
        *json = !*string;
        return;
    }
    if (ds4_pyjson_open(&it, type, NULL) != DS4_OK) return;
    *string = *json = false;
    while (ds4_pyjson_next(&it, NULL, &one)) {
        *string |= is_string_type(one);
        *json |= !is_string_type(one);
    }
}

static ds4_status parameter(ds4_g_schema *s, ds4_slice name, ds4_slice schema, ds4_err *err)
{
    bool string, json;

    forms_of(schema, &string, &json);
    tag(s->g, "<", "parameter name=\"");
    DS4_TRY(name_bytes(s->g, name, err));
    ds4_g_literal(s->g, "\"");
    const uint32_t split =
        string && json ? ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0) : 0;
    uint32_t join = 0;
    if (string) DS4_TRY(string_value(s->g, schema, err));
    if (split) {
        join = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        ds4_g_point_b(s->g, split, ds4_g_here(s->g));
    }
    if (json) json_value(s, schema);
    if (split) ds4_g_point(s->g, join, ds4_g_here(s->g));
    tag(s->g, "</", "parameter>\n");
    return DS4_OK;
}

/* ---- calls ------------------------------------------------------------------------------------- */

static bool is_required(ds4_slice parameters, ds4_slice name)
{
    ds4_slice       list, one;
    ds4_pyjson_iter it;

    if (!ds4_pyjson_get(parameters, "required", &list) ||
        ds4_pyjson_open(&it, list, NULL) != DS4_OK)
        return false;
    while (ds4_pyjson_next(&it, NULL, &one)) {
        if (ds4_slice_eq(one, name)) return true;
    }
    return false;
}

/* Parameters in the order of the schema; what is not required may be left out. */
static ds4_status parameters(ds4_g_schema *s, ds4_slice schema, ds4_err *err)
{
    ds4_slice       list, name, value;
    ds4_pyjson_iter it;
    bool            any = false;

    s->root = schema;
    s->n_refs = 0;
    if (ds4_pyjson_get(schema, "properties", &list)) {
        DS4_TRY(ds4_pyjson_open(&it, list, err));
        while (ds4_pyjson_next(&it, &name, &value)) {
            const bool     required = is_required(schema, name);
            const uint32_t split =
                required ? 0 : ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
            any = true;
            DS4_TRY(parameter(s, name, value, err));
            if (!required) ds4_g_point_b(s->g, split, ds4_g_here(s->g));
        }
    }
    if (!any) {
        const uint32_t split = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        ds4_g_byte(s->g, '\n');
        ds4_g_point_b(s->g, split, ds4_g_here(s->g));
    }
    return DS4_OK;
}

/* From a tool's name to the end of its call. */
static ds4_status one_call(ds4_g_schema *s, ds4_slice tool, ds4_err *err)
{
    ds4_slice name, schema = DS4_SLICE("{}");

    if (!ds4_pyjson_get(tool, "name", &name))
        return ds4_fail(err, DS4_E_FORMAT, "a tool has no name");
    ds4_pyjson_get(tool, "parameters", &schema);
    DS4_TRY(name_bytes(s->g, name, err));
    ds4_g_literal(s->g, "\">\n");
    DS4_TRY(parameters(s, schema, err));
    tag(s->g, "</", "invoke>");
    return DS4_OK;
}

static ds4_status all_calls(ds4_g_schema *s, const ds4_grammar_calls *calls, ds4_err *err)
{
    uint32_t joins[MAX_TOOLS];

    if (calls->n_tools == 0 || calls->n_tools > MAX_TOOLS) {
        return ds4_fail(err, DS4_E_LIMIT, "%u tools, expected 1..%d", calls->n_tools, MAX_TOOLS);
    }
    const uint32_t again = ds4_g_here(s->g);
    for (uint32_t i = 0; i < calls->n_tools; i++) {
        const bool     last = i + 1 == calls->n_tools;
        const uint32_t split = last ? 0 : ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        DS4_TRY(one_call(s, calls->tools[i], err));
        joins[i] = ds4_g_emit(s->g, DS4_G_JUMP, 0, 0);
        if (!last) ds4_g_point_b(s->g, split, ds4_g_here(s->g));
    }
    for (uint32_t i = 0; i < calls->n_tools; i++) ds4_g_point(s->g, joins[i], ds4_g_here(s->g));
    if (calls->many) {
        const uint32_t split = ds4_g_emit(s->g, DS4_G_SPLIT, ds4_g_here(s->g) + 1, 0);
        tag(s->g, "\n<", "invoke name=\"");
        ds4_g_emit(s->g, DS4_G_JUMP, again, 0);
        ds4_g_point_b(s->g, split, ds4_g_here(s->g));
    }
    tag(s->g, "\n</", "tool_calls>");
    ds4_g_emit(s->g, DS4_G_RETURN, 0, 0);
    return DS4_OK;
}

ds4_status ds4_grammar_of_calls(const ds4_grammar_calls *calls, ds4_grammar **out, ds4_err *err)
{
    ds4_g_schema s = { .g = NULL };

    DS4_TRY(ds4_g_new(&s.g, err));
    ds4_g_value(s.g, &s.json);
    ds4_g_number(s.g, &s.json, false);
    s.g->start = ds4_g_here(s.g);
    /* Before the opening tag there may be any text; its own marker begins the calls. */
    if (calls->text_before) {
        raw_text(s.g);
        const uint32_t none = ds4_g_emit(s.g, DS4_G_SPLIT, ds4_g_here(s.g) + 2, 0);
        ds4_g_point_b(s.g, none, ds4_g_emit(s.g, DS4_G_RETURN, 0, 0));
        tag(s.g, "<", "tool_calls>\n");
        tag(s.g, "<", "invoke name=\"");
    }
    const ds4_status st = all_calls(&s, calls, err);
    ds4_g_schema_clear(&s);
    if (st != DS4_OK) {
        ds4_grammar_free(s.g);
        return st;
    }
    return ds4_g_finish(s.g, out, err);
}
