/* request_form.c - the form that a request wants the answer to have. Servers have a dozen names for
 * the few things that can be asked: any JSON object, JSON that fits a schema, one of some texts, text
 * that a regular expression matches. All names are read, in all APIs; what cannot be enforced is
 * refused by its name, for a program behind it would parse the answer. See request_members.h. */
#include "app/server/request_members.h"

#include <stdio.h>
#include <string.h>

static ds4_status refuse_form(ds4_request *rq, const ds4_fields *f, const char *name,
                              const char *what, ds4_err *err)
{
    return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, f->where, name, what);
}

/* Note the one form that there may be. `name` says in refusals where it came from. */
static ds4_status set_form(ds4_request *rq, const ds4_fields *f, const char *name,
                           const ds4_form *form, ds4_err *err)
{
    char what[128];

    if (rq->form.kind != DS4_FORM_FREE) {
        snprintf(what, sizeof what, "cannot be given together with '%.80s'", rq->form.member);
        return refuse_form(rq, f, name, what, err);
    }
    rq->form = *form;
    snprintf(rq->form.member, sizeof rq->form.member, "%s%s", f->where, name);
    return DS4_OK;
}

/* Some front ends send every member they know, empty. */
static bool is_given(const ds4_fields *f, const char *name, ds4_slice *value)
{
    return ds4_fields_get(f, name, value) && !ds4_slice_is(*value, "\"\"") &&
           !ds4_slice_is(*value, "false");
}

/* ---- the forms ---------------------------------------------------------------------------------- */

static ds4_status read_object(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice value;

    if (!is_given(f, name, &value)) return DS4_OK;
    return set_form(rq, f, name, &(ds4_form){ .kind = DS4_FORM_OBJECT }, err);
}

/* A schema, its JSON text, or {"name", "schema", "strict"} around it. */
static ds4_status read_schema(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_form   form = { .kind = DS4_FORM_SCHEMA };
    ds4_slice  inner, named;
    ds4_fields around;
    bool       given;

    if (!is_given(f, name, &form.text)) return DS4_OK;
    if (ds4_pyjson_kind(form.text) == DS4_JSON_STRING) {
        DS4_TRY(ds4_fields_text(f, name, &form.text, &rq->refusal, err));
    }
    if (ds4_pyjson_kind(form.text) != DS4_JSON_OBJECT ||
        ds4_pyjson_check(form.text, NULL) != DS4_OK) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, name,
                          "must be a JSON schema, an object");
    }
    if (ds4_pyjson_get(form.text, "schema", &inner) && ds4_pyjson_kind(inner) == DS4_JSON_OBJECT &&
        ds4_pyjson_get(form.text, "name", &named) && ds4_pyjson_kind(named) == DS4_JSON_STRING) {
        DS4_TRY(ds4_fields_object(f, name, &around, &given, &rq->refusal, err));
        DS4_TRY(ds4_fields_bool(&around, "strict", &form.strict, &rq->refusal, err));
        form.text = inner;
    }
    return set_form(rq, f, name, &form, err);
}

static ds4_status take_choice(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                              ds4_err *err)
{
    ds4_form *form = ctx;
    ds4_str   text = { 0 };

    if (ds4_pyjson_kind(json) != DS4_JSON_STRING) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "", "must be a string");
    }
    const ds4_status st = ds4_pyjson_decode_string(json, &text, err);
    ds4_slice       *grown = ds4_arena_grow(&rq->arena, form->choices, form->n_choices,
                                            &form->cap_choices, sizeof *grown);
    const ds4_slice  choice = ds4_arena_take(&rq->arena, &text);
    if (!grown) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    form->choices = grown;
    form->choices[form->n_choices++] = choice;
    return st;
}

static ds4_status read_choice(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_form  form = { .kind = DS4_FORM_CHOICE };
    ds4_slice value;

    if (!is_given(f, name, &value)) return DS4_OK;
    DS4_TRY(ds4_read_list(rq, f, name, take_choice, &form, err));
    if (form.n_choices > 0) return set_form(rq, f, name, &form, err);
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, f->where, name,
                      "must have at least one text");
}

static ds4_status read_regex(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_form form = { .kind = DS4_FORM_REGEX };

    if (!is_given(f, name, &form.text)) return DS4_OK;
    DS4_TRY(ds4_fields_text(f, name, &form.text, &rq->refusal, err));
    return set_form(rq, f, name, &form, err);
}

static ds4_status refuse_grammar(ds4_request *rq, const ds4_fields *f, const char *name,
                                 ds4_err *err)
{
    ds4_slice value;

    if (!is_given(f, name, &value)) return DS4_OK;
    return refuse_form(rq, f, name,
                       "is not supported by this server: a JSON schema, a choice or a regex are",
                       err);
}

/* {"type": "text" | "json_object" | "json_schema" | "regex", ...}, as response_format (nested) and
 * text.format (flat) write it. */
static ds4_status read_typed(ds4_request *rq, const ds4_fields *outer, const char *name,
                             ds4_err *err)
{
    ds4_fields f, nested;
    ds4_slice  type = { 0 }, value;
    bool       given;

    if (!ds4_fields_get(outer, name, &value)) return DS4_OK;
    DS4_TRY(ds4_fields_object(outer, name, &f, &given, &rq->refusal, err));
    DS4_TRY(ds4_fields_text(&f, "type", &type, &rq->refusal, err));
    if (ds4_slice_is(type, "text")) return DS4_OK;
    const bool object = ds4_slice_is(type, "json_object") || ds4_slice_is(type, "json");
    if (object && !is_given(&f, "schema", &value)) {
        if (is_given(&f, "value", &value)) return read_schema(rq, &f, "value", err);
        return set_form(rq, outer, name, &(ds4_form){ .kind = DS4_FORM_OBJECT }, err);
    }
    if (ds4_slice_is(type, "regex"))
        return read_regex(rq, &f, is_given(&f, "value", &value) ? "value" : "pattern", err);
    if (!object && !ds4_slice_is(type, "json_schema")) {
        return refuse_form(rq, &f, "type", "must be text, json_object, json_schema or regex", err);
    }
    DS4_TRY(ds4_fields_object(&f, "json_schema", &nested, &given, &rq->refusal, err));
    if (!given) nested = f;
    if (!is_given(&nested, "schema", &value)) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, nested.where, "schema",
                          "must be an object");
    }
    DS4_TRY(read_schema(rq, &nested, "schema", err));
    return ds4_fields_bool(&nested, "strict", &rq->form.strict, &rq->refusal, err);
}

/* "json", or a schema. */
static ds4_status read_format(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err)
{
    ds4_slice value;

    if (!ds4_fields_get(f, name, &value)) return DS4_OK;
    return ds4_json_text_is(value, "json") ? read_object(rq, f, name, err)
                                           : read_schema(rq, f, name, err);
}

/* ---- where they stand --------------------------------------------------------------------------- */

typedef struct form_member {
    const char *name;
    ds4_status (*read)(ds4_request *rq, const ds4_fields *f, const char *name, ds4_err *err);
} form_member;

static ds4_status read_members(ds4_request *rq, const ds4_fields *f, const form_member *list,
                               ds4_err *err)
{
    for (; list->name; list++) DS4_TRY(list->read(rq, f, list->name, err));
    return DS4_OK;
}

/* An object that holds some of them; another value is of a member with the same name that is none. */
static ds4_status read_within(ds4_request *rq, const ds4_fields *f, const char *name,
                              const form_member *list, ds4_err *err)
{
    ds4_fields inner;
    ds4_slice  value;
    bool       given;

    if (!ds4_fields_get(f, name, &value) || ds4_pyjson_kind(value) != DS4_JSON_OBJECT)
        return DS4_OK;
    DS4_TRY(ds4_fields_object(f, name, &inner, &given, &rq->refusal, err));
    return read_members(rq, &inner, list, err);
}

static const form_member own[] = {
    { "response_format", read_typed },
    { "output_format", read_typed },
    { "format", read_format },
    { "json_schema", read_schema },
    { "guided_json", read_schema },
    { "guided_json_object", read_object },
    { "guided_choice", read_choice },
    { "guided_regex", read_regex },
    { "guided_grammar", refuse_grammar },
    { "regex", read_regex },
    { "grammar", refuse_grammar },
    { "grammar_lazy", refuse_grammar },
    { "ebnf", refuse_grammar },
    { "structural_tag", refuse_grammar },
    { NULL, NULL },
};

static const form_member structured[] = {
    { "json", read_schema }, { "json_object", read_object }, { "choice", read_choice },
    { "regex", read_regex }, { "grammar", refuse_grammar },  { "structural_tag", refuse_grammar },
    { NULL, NULL },
};

static const form_member formats[] = { { "format", read_typed }, { NULL, NULL } };

ds4_status ds4_read_form(ds4_request *rq, const ds4_fields *f, ds4_err *err)
{
    DS4_TRY(read_members(rq, f, own, err));
    DS4_TRY(read_within(rq, f, "structured_outputs", structured, err));
    DS4_TRY(read_within(rq, f, "text", formats, err));
    DS4_TRY(read_within(rq, f, "output_config", formats, err));
    DS4_TRY(read_within(rq, f, "nvext", own, err));
    DS4_TRY(read_within(rq, f, "extra_body", own, err));
    return DS4_OK;
}
