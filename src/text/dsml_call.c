/* dsml_call.c - see dsml_call.h. */
#include "text/dsml_call.h"

#include "text/dsml.h"
#include "text/pyjson.h"

static ds4_slice slice_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

/* True when the JSON string `json` is the text `wanted`. */
static bool string_is(ds4_slice json, ds4_slice wanted)
{
    ds4_str text = { 0 };
    const bool same = ds4_pyjson_decode_string(json, &text, NULL) == DS4_OK &&
                      ds4_slice_eq(slice_of(&text), wanted);
    ds4_str_clear(&text);
    return same;
}

/* Find the tool that is called and what it says about its parameters. */
static void find_tool(ds4_dsml_build *b, const ds4_slice *tools, uint32_t n_tools)
{
    ds4_slice name, parameters, properties;

    b->known = n_tools == 0;
    for (uint32_t i = 0; i < n_tools; i++) {
        if (!ds4_pyjson_get(tools[i], "name", &name) || !string_is(name, slice_of(&b->name))) {
            continue;
        }
        b->known = true;
        if (ds4_pyjson_get(tools[i], "parameters", &parameters) &&
            ds4_pyjson_get(parameters, "properties", &properties)) {
            b->properties = properties;
        }
        return;
    }
}

void ds4_dsml_build_open(ds4_dsml_build *b, ds4_slice name, const ds4_slice *tools,
                         uint32_t n_tools)
{
    *b = (ds4_dsml_build){ 0 };
    ds4_utf8_repair(name.data, name.n_bytes, &b->name);
    find_tool(b, tools, n_tools);
    ds4_str_add_char(&b->stream, '{');
}

/* Write the key of the open parameter and what separates it from the one before. */
static void add_key(ds4_dsml_build *b)
{
    if (b->stream.n_bytes > 1) ds4_str_add(&b->stream, ", ", 2);
    ds4_str_add(&b->stream, b->key.data, b->key.n_bytes);
    ds4_str_add(&b->stream, ": ", 2);
}

/* The first of several parameters turned out to be an ordinary one. */
static void settle_wrapped(ds4_dsml_build *b)
{
    if (b->wrapped.n_bytes == 0) return;
    add_key(b);
    ds4_str_add(&b->stream, b->plain.data, b->plain.n_bytes);
    ds4_str_clear(&b->wrapped);
}

/* Models put all arguments into one parameter of these names though the tool has no such. */
static bool may_wrap(const ds4_dsml_build *b, ds4_slice name)
{
    const bool named =
        ds4_slice_eq(name, DS4_SLICE("arguments")) || ds4_slice_eq(name, DS4_SLICE("input"));
    ds4_slice ignored;

    if (!named || b->n_parameters > 0 || b->properties.n_bytes == 0) return false;
    return !ds4_pyjson_get(b->properties, name.data[0] == 'a' ? "arguments" : "input", &ignored);
}

void ds4_dsml_build_parameter(ds4_dsml_build *b, const ds4_dsml_tag *tag)
{
    const bool wraps = may_wrap(b, tag->name);

    settle_wrapped(b);
    ds4_str_truncate(&b->key, 0);
    ds4_pyjson_add_string(&b->key, tag->name);
    b->n_parameters++;
    b->utf8 = (ds4_utf8_stream){ .n_held = 0 };
    b->said = tag->string;
    b->kind = tag->string == DS4_STRING_TRUE ? DS4_VALUE_STRING : DS4_VALUE_JSON;
    if (wraps) b->kind = DS4_VALUE_WRAPPED;
    if (b->kind == DS4_VALUE_STRING) {
        add_key(b);
        ds4_str_add_char(&b->stream, '"');
    }
}

void ds4_dsml_build_value(ds4_dsml_build *b, const char *data, size_t n_bytes)
{
    ds4_str whole = { 0 };

    if (b->kind != DS4_VALUE_STRING || n_bytes == 0) return;
    ds4_utf8_stream_add(&b->utf8, data, n_bytes, &whole);
    ds4_pyjson_add_escaped(&b->stream, slice_of(&whole));
    if (whole.failed) b->stream.failed = true;
    ds4_str_clear(&whole);
}

/* Append a value as JSON: itself if it is, else as a string. */
static void add_json(ds4_dsml_build *b, ds4_slice whole, ds4_str *out)
{
    const size_t before = out->n_bytes;
    ds4_str      nested = { 0 };

    /* One level must be left for the object around it. */
    bool valid = ds4_pyjson_dump(whole, out, NULL) == DS4_OK;
    if (valid) {
        ds4_str_add_char(&nested, '[');
        ds4_str_add(&nested, out->data + before, out->n_bytes - before);
        ds4_str_add_char(&nested, ']');
        valid = !nested.failed && ds4_pyjson_check(slice_of(&nested), NULL) == DS4_OK;
        ds4_str_clear(&nested);
    }
    if (valid) return;
    ds4_str_truncate(out, before);
    ds4_pyjson_add_string(out, whole);
    if (b->said == DS4_STRING_FALSE) b->oddities |= DS4_DSML_BAD_VALUE;
}

/* The end of a value that was not said to be a string, or may be all arguments. */
static void end_json(ds4_dsml_build *b, ds4_slice whole)
{
    ds4_str_truncate(&b->plain, 0);
    if (b->said == DS4_STRING_TRUE) {
        ds4_pyjson_add_string(&b->plain, whole);
    } else {
        add_json(b, whole, &b->plain);
    }
    if (b->kind == DS4_VALUE_WRAPPED && ds4_pyjson_kind(whole) == DS4_JSON_OBJECT &&
        ds4_pyjson_dump(whole, &b->wrapped, NULL) == DS4_OK) {
        return;
    }
    add_key(b);
    ds4_str_add(&b->stream, b->plain.data, b->plain.n_bytes);
}

void ds4_dsml_build_value_end(ds4_dsml_build *b, ds4_slice whole)
{
    ds4_str tail = { 0 };

    b->n_values++;
    if (b->kind != DS4_VALUE_STRING) {
        end_json(b, whole);
        return;
    }
    ds4_utf8_stream_flush(&b->utf8, &tail);
    ds4_str_add(&b->stream, tail.data, tail.n_bytes);
    ds4_str_add_char(&b->stream, '"');
    if (tail.failed) b->stream.failed = true;
    ds4_str_clear(&tail);
}

void ds4_dsml_build_close(ds4_dsml_build *b)
{
    if (b->wrapped.n_bytes > 0) {
        ds4_str_truncate(&b->stream, 0);        /* it was "{", with which the object begins, too */
        ds4_str_add(&b->stream, b->wrapped.data, b->wrapped.n_bytes);
        ds4_str_clear(&b->wrapped);
        b->oddities |= DS4_DSML_UNWRAPPED;
    } else {
        ds4_str_add_char(&b->stream, '}');
    }
    /* Writing it once more drops repeated names, and nothing else changes. */
    if (!b->stream.failed && ds4_pyjson_dump(slice_of(&b->stream), &b->arguments, NULL) != DS4_OK) {
        b->arguments.failed = true;
    }
    if (b->arguments.n_bytes != b->stream.n_bytes) b->oddities |= DS4_DSML_REPEATED;
    b->complete = true;
}

bool ds4_dsml_build_failed(const ds4_dsml_build *b)
{
    return b->name.failed || b->stream.failed || b->arguments.failed || b->wrapped.failed ||
           b->plain.failed || b->key.failed;
}

void ds4_dsml_build_clear(ds4_dsml_build *b)
{
    ds4_str_clear(&b->name);
    ds4_str_clear(&b->stream);
    ds4_str_clear(&b->arguments);
    ds4_str_clear(&b->wrapped);
    ds4_str_clear(&b->plain);
    ds4_str_clear(&b->key);
}
