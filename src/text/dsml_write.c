/* dsml_write.c - writes tool calls in the form the model was trained on.
 * Source: docs/PROMPT.md section 5. */
#include "text/dsml.h"

#include "text/markers.h"
#include "text/pyjson.h"

static ds4_slice slice_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

static void add_parameter(ds4_segments *out, ds4_slice name, bool is_string, ds4_slice value)
{
    ds4_segments_own(out, "<" DS4_MARK_DSML "parameter name=\"");
    ds4_segments_foreign(out, name);
    ds4_segments_own(out, is_string ? "\" string=\"true\">" : "\" string=\"false\">");
    ds4_segments_foreign(out, value);
    ds4_segments_own(out, "</" DS4_MARK_DSML "parameter>");
}

/* The parameters of an object written by ds4_pyjson_dump(), one on a line. */
static ds4_status add_members(ds4_segments *out, ds4_slice object, ds4_err *err)
{
    ds4_status      st = DS4_OK;
    ds4_pyjson_iter it;
    ds4_slice       name, value;
    ds4_str         name_text = { 0 }, value_text = { 0 };

    DS4_TRY(ds4_pyjson_open(&it, object, err));
    for (bool first = true; st == DS4_OK && ds4_pyjson_next(&it, &name, &value); first = false) {
        const bool is_string = value.data[0] == '"';
        ds4_str_truncate(&name_text, 0);
        ds4_str_truncate(&value_text, 0);
        st = ds4_pyjson_decode_string(name, &name_text, err);
        if (st == DS4_OK && is_string) st = ds4_pyjson_decode_string(value, &value_text, err);
        if (!first) ds4_segments_own(out, "\n");
        add_parameter(out, slice_of(&name_text), is_string,
                      is_string ? slice_of(&value_text) : value);
    }
    ds4_str_clear(&name_text);
    ds4_str_clear(&value_text);
    return st;
}

static ds4_status add_invoke(ds4_segments *out, const ds4_call *call, ds4_err *err)
{
    const ds4_slice none = DS4_SLICE("{}");
    const ds4_slice arguments = call->arguments.data ? call->arguments : none;
    ds4_str         object = { 0 };

    ds4_segments_own(out, "<" DS4_MARK_DSML "invoke name=\"");
    ds4_segments_foreign(out, call->name);
    ds4_segments_own(out, "\">\n");
    ds4_status st = ds4_pyjson_dump(arguments, &object, NULL);
    if (st == DS4_E_NOMEM) {
        ds4_fail(err, st, "no memory for the arguments of a call");
    } else if (st == DS4_OK && object.data[0] == '{') {
        st = add_members(out, slice_of(&object), err);
    } else {
        add_parameter(out, DS4_SLICE("arguments"), true, arguments);
        st = DS4_OK;
    }
    ds4_segments_own(out, "\n</" DS4_MARK_DSML "invoke>");
    ds4_str_clear(&object);
    return st;
}

ds4_status ds4_dsml_write(const ds4_call *calls, uint32_t n_calls, ds4_segments *out, ds4_err *err)
{
    ds4_segments_own(out, "\n\n<" DS4_MARK_DSML "tool_calls>\n");
    for (uint32_t i = 0; i < n_calls; i++) {
        if (i > 0) ds4_segments_own(out, "\n");
        DS4_TRY(add_invoke(out, &calls[i], err));
    }
    ds4_segments_own(out, "\n</" DS4_MARK_DSML "tool_calls>");
    return out->failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for tool calls") : DS4_OK;
}
