/* request_tools.c - the tools of a request: how they are declared, and those that the conversation
 * finds only later. See request_members.h. */
#include "app/server/request_members.h"

#include "text/dsml_scan.h"

#include <stdlib.h>
#include <string.h>

/* ---- declarations ------------------------------------------------------------------------------- */

/* The function object that the model sees is made anew, so that it does not change with what
 * clients put beside it. */
static ds4_status add_tool(ds4_request *rq, const ds4_tool *tool, ds4_slice description,
                           ds4_slice parameters, const char *where, ds4_err *err)
{
    ds4_str json = { 0 };

    if (!ds4_dsml_can_name(tool->name)) {
        return ds4_refuse(
            &rq->refusal, err, DS4_E_FORMAT, where, "name",
            "has characters that no tool's name can have: letters, digits, _ and - are safe");
    }
    ds4_tool *tools =
        ds4_arena_grow(&rq->arena, rq->tools, rq->n_tools, &rq->cap_tools, sizeof *tools);
    ds4_slice *texts =
        ds4_arena_grow(&rq->arena, rq->tool_json, rq->n_tools, &rq->cap_tool_json, sizeof *texts);

    if (!tools || !texts) return ds4_fail(err, DS4_E_NOMEM, "no memory for a tool");
    rq->tools = tools;
    rq->tool_json = texts;
    ds4_str_add_text(&json, "{\"name\": ");
    ds4_pyjson_add_string(&json, tool->name);
    if (description.n_bytes) {
        ds4_str_add_text(&json, ", \"description\": ");
        ds4_pyjson_add_string(&json, description);
    }
    if (parameters.n_bytes) {
        ds4_str_add_text(&json, ", \"parameters\": ");
        ds4_str_add(&json, parameters.data, parameters.n_bytes);
    }
    ds4_str_add_text(&json, "}");
    rq->tools[rq->n_tools] = *tool;
    rq->tool_json[rq->n_tools++] = ds4_arena_take(&rq->arena, &json);
    return rq->arena.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a tool") : DS4_OK;
}

ds4_slice ds4_full_name(ds4_request *rq, ds4_slice space, ds4_slice name)
{
    ds4_str both = { 0 };

    if (space.n_bytes == 0) return name;
    ds4_str_add(&both, space.data, space.n_bytes);
    ds4_str_add(&both, name.data, name.n_bytes);
    return ds4_arena_take(&rq->arena, &both);
}

ds4_slice ds4_custom_arguments(ds4_request *rq, ds4_slice input)
{
    ds4_str json = { 0 };

    ds4_str_add_text(&json, "{\"input\": ");
    ds4_pyjson_add_string(&json, input);
    ds4_str_add_text(&json, "}");
    return ds4_arena_take(&rq->arena, &json);
}

ds4_status ds4_need_name(ds4_request *rq, const ds4_fields *f, ds4_slice name, ds4_err *err)
{
    if (name.n_bytes > 0) return DS4_OK;
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, "name", "is missing");
}

/* A schema stands in "parameters" or, as the other API has it, in "input_schema". */
static ds4_status read_schema(ds4_request *rq, const ds4_fields *f, ds4_slice *out, ds4_err *err)
{
    static const char *const names[] = { "parameters", "input_schema", NULL };

    *out = (ds4_slice){ 0 };
    for (size_t i = 0; names[i]; i++) {
        if (!ds4_fields_get(f, names[i], out)) continue;
        if (ds4_pyjson_kind(*out) == DS4_JSON_OBJECT) return DS4_OK;
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, names[i], "must be an object");
    }
    return DS4_OK;
}

/* The grammar that a tool's free text must follow is told to the model in its description. */
static ds4_status read_custom_format(ds4_request *rq, const ds4_fields *f, ds4_slice *description,
                                     ds4_err *err)
{
    ds4_fields format, grammar;
    ds4_slice  syntax = { 0 }, definition = { 0 };
    ds4_str    text = { 0 };
    bool       given, nested;

    DS4_TRY(ds4_fields_object(f, "format", &format, &given, &rq->refusal, err));
    if (!given) return DS4_OK;
    DS4_TRY(ds4_fields_object(&format, "grammar", &grammar, &nested, &rq->refusal, err));
    if (!nested) grammar = format;
    DS4_TRY(ds4_fields_text(&grammar, "syntax", &syntax, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&grammar, "definition", &definition, &rq->refusal, err));
    if (definition.n_bytes == 0) return DS4_OK;
    ds4_str_add(&text, description->data, description->n_bytes);
    ds4_str_addf(&text, "%sThe input must follow this %.20s grammar:\n", text.n_bytes ? "\n\n" : "",
                 syntax.data);
    ds4_str_add(&text, definition.data, definition.n_bytes);
    *description = ds4_arena_take(&rq->arena, &text);
    return DS4_OK;
}

ds4_status ds4_read_tool(ds4_request *rq, const ds4_fields *f, ds4_tool *tool, ds4_err *err)
{
    static const char custom_schema[] = "{\"type\": \"object\", \"properties\": {\"input\": "
                                        "{\"type\": \"string\"}}, \"required\": [\"input\"]}";
    ds4_fields        inner;
    ds4_slice         description = { 0 }, parameters = DS4_SLICE(custom_schema);
    bool              nested;

    DS4_TRY(ds4_fields_bool(f, "defer_loading", &tool->deferred, &rq->refusal, err));
    DS4_TRY(ds4_fields_object(f, tool->custom ? "custom" : "function", &inner, &nested,
                              &rq->refusal, err));
    if (!nested) inner = *f;
    DS4_TRY(ds4_fields_text(&inner, "name", &tool->own_name, &rq->refusal, err));
    DS4_TRY(ds4_need_name(rq, &inner, tool->own_name, err));
    DS4_TRY(ds4_fields_text(&inner, "description", &description, &rq->refusal, err));
    DS4_TRY(ds4_fields_bool(&inner, "strict", &tool->strict, &rq->refusal, err));
    rq->strict_tools |= tool->strict;
    tool->name = ds4_full_name(rq, tool->space, tool->own_name);
    if (tool->custom) {
        DS4_TRY(read_custom_format(rq, &inner, &description, err));
    } else {
        DS4_TRY(read_schema(rq, &inner, &parameters, err));
    }
    return add_tool(rq, tool, description, parameters, inner.where, err);
}

/* ---- which of them the answer may call ---------------------------------------------------------- */

/* The name in a choice: {"name"}, {"function": {"name"}} or {"custom": {"name"}}. */
static ds4_status read_chosen_name(ds4_request *rq, const ds4_fields *choice, ds4_slice *name,
                                   ds4_err *err)
{
    ds4_fields inner;
    bool       given;

    *name = (ds4_slice){ 0 };
    DS4_TRY(ds4_fields_object(choice, "function", &inner, &given, &rq->refusal, err));
    if (!given) DS4_TRY(ds4_fields_object(choice, "custom", &inner, &given, &rq->refusal, err));
    return ds4_fields_text(given ? &inner : choice, "name", name, &rq->refusal, err);
}

static ds4_status allow_tool(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                             ds4_err *err)
{
    ds4_fields f;
    ds4_slice  name;

    (void)ctx;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, json, where, err));
    DS4_TRY(read_chosen_name(rq, &f, &name, err));
    for (uint32_t i = 0; i < rq->n_tools; i++) {
        if (ds4_slice_eq(rq->tools[i].name, name)) rq->tools[i].barred = false;
    }
    return DS4_OK;
}

/* {"mode", "tools"}: all tools are described, so that the prompt stays as it was, and some may be
 * called. */
static ds4_status read_allowed_tools(ds4_request *rq, const ds4_fields *choice, ds4_err *err)
{
    ds4_fields inner;
    ds4_slice  mode = { 0 };
    bool       nested;

    DS4_TRY(ds4_fields_object(choice, "allowed_tools", &inner, &nested, &rq->refusal, err));
    if (!nested) inner = *choice;
    DS4_TRY(ds4_fields_text(&inner, "mode", &mode, &rq->refusal, err));
    for (uint32_t i = 0; i < rq->n_tools; i++) rq->tools[i].barred = true;
    DS4_TRY(ds4_read_list(rq, &inner, "tools", allow_tool, NULL, err));
    rq->strict_tools = true;
    if (ds4_slice_is(mode, "required")) rq->tool_choice = DS4_TOOLS_REQUIRED;
    return DS4_OK;
}

static bool is_plain_choice(ds4_slice word, ds4_tool_choice *choice)
{
    static const struct {
        const char     *word;
        ds4_tool_choice choice;
    } words[] = { { "auto", DS4_TOOLS_AUTO },
                  { "none", DS4_TOOLS_NONE },
                  { "required", DS4_TOOLS_REQUIRED },
                  { "any", DS4_TOOLS_REQUIRED } };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!ds4_slice_is(word, words[i].word)) continue;
        *choice = words[i].choice;
        return true;
    }
    return false;
}

ds4_status ds4_read_tool_choice(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice  value, word = { 0 };
    ds4_fields choice;
    bool       given;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    if (ds4_pyjson_kind(value) == DS4_JSON_STRING) {
        DS4_TRY(ds4_fields_text(f, name, &word, &rq->refusal, err));
        if (is_plain_choice(word, &rq->tool_choice)) return DS4_OK;
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", name,
                          "must be auto, none, required or name a tool");
    }
    DS4_TRY(ds4_fields_object(f, name, &choice, &given, &rq->refusal, err));
    DS4_TRY(
        ds4_fields_bool(&choice, "disable_parallel_tool_use", &rq->single_call, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&choice, "type", &word, &rq->refusal, err));
    if (is_plain_choice(word, &rq->tool_choice)) return DS4_OK;
    if (ds4_slice_is(word, "allowed_tools")) return read_allowed_tools(rq, &choice, err);
    DS4_TRY(read_chosen_name(rq, &choice, &rq->tool_name, err));
    rq->tool_choice = DS4_TOOLS_NAMED;
    if (rq->tool_name.n_bytes > 0) return DS4_OK;
    return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, "", name,
                      "must be auto, none, required or name a tool");
}

/* ---- deferred tools ----------------------------------------------------------------------------- */

/* A deferred tool, in the order of names. */
struct ds4_deferred_tool {
    ds4_slice name;
    uint32_t  i_tool;
};

static int compare_names(ds4_slice a, ds4_slice b)
{
    const size_t n = a.n_bytes < b.n_bytes ? a.n_bytes : b.n_bytes;
    const int    order = n ? memcmp(a.data, b.data, n) : 0;

    return order ? order : (a.n_bytes > b.n_bytes) - (a.n_bytes < b.n_bytes);
}

static int compare_deferred(const void *a, const void *b)
{
    const ds4_deferred_tool *x = a, *y = b;
    const int                order = compare_names(x->name, y->name);
    return order ? order : (x->i_tool > y->i_tool) - (x->i_tool < y->i_tool);
}

static int find_deferred(const void *name, const void *tool)
{
    return compare_names(*(const ds4_slice *)name, ((const ds4_deferred_tool *)tool)->name);
}

ds4_status ds4_request_defer_tools(ds4_request *rq, ds4_err *err)
{
    ds4_deferred_tool *list = ds4_arena_alloc(&rq->arena, rq->n_tools + 1, sizeof *list);
    uint32_t           n = 0;

    if (!list) return ds4_fail(err, DS4_E_NOMEM, "no memory for tools");
    for (uint32_t i = 0; i < rq->n_tools; i++) {
        if (rq->tools[i].deferred) list[n++] = (ds4_deferred_tool){ rq->tools[i].name, i };
    }
    if (n == rq->n_tools || rq->defer_none) {
        for (uint32_t i = 0; i < rq->n_tools; i++) rq->tools[i].deferred = false;
        n = 0;
    }
    qsort(list, n, sizeof *list, compare_deferred);
    rq->deferred = list;
    rq->n_deferred = n;
    return DS4_OK;
}

ds4_status ds4_request_load_tool(ds4_request *rq, ds4_slice name, ds4_str *out, ds4_err *err)
{
    const ds4_deferred_tool *found =
        rq->n_deferred ? bsearch(&name, rq->deferred, rq->n_deferred, sizeof *found, find_deferred)
                       : NULL;

    if (out->n_bytes) ds4_str_add_char(out, '\n');
    if (found && !rq->tools[found->i_tool].loaded) {
        rq->tools[found->i_tool].loaded = true;
        ds4_str_add_text(out, "This tool can be called from now on:\n");
        return ds4_pyjson_dump(rq->tool_json[found->i_tool], out, err);
    }
    ds4_str_add_text(out, "Tool: ");
    ds4_str_add(out, name.data, name.n_bytes);
    return DS4_OK;
}

ds4_status ds4_request_settle_tools(ds4_request *rq, ds4_err *err)
{
    ds4_slice *front = ds4_arena_alloc(&rq->arena, rq->n_tools + 1, sizeof *front);
    uint32_t   n = 0;

    if (!front) return ds4_fail(err, DS4_E_NOMEM, "no memory for tools");
    for (uint32_t i = 0; i < rq->n_tools; i++) {
        ds4_tool *tool = &rq->tools[i];
        if (rq->tool_choice == DS4_TOOLS_NAMED && ds4_slice_eq(tool->name, rq->tool_name) &&
            !tool->loaded)
            tool->deferred = false;
        if (!tool->deferred) front[rq->chat.n_tools++] = rq->tool_json[i];
        if (tool->barred || (tool->deferred && !tool->loaded)) continue;
        rq->tools[n] = *tool;
        rq->tool_json[n++] = rq->tool_json[i];
    }
    rq->n_tools = n;
    rq->chat.tools = front;
    return DS4_OK;
}
