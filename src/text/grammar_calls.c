/* grammar_calls.c - the markup of tool calls as a grammar: names, parameters, values. */
#include "text/grammar_schema.h"

#include "text/dsml_scan.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_TOOLS = 1024 };

/* The state that all calls of one grammar share. */
typedef struct caller {
    ds4_g_build *b;
    uint32_t  open, close; /* rules of a parameter's tags: up to its name, and behind its value */
    uint32_t  is_string, is_json; /* between the name and the value */
    uint32_t  free_text;          /* a string without limits, with its closing tag */
    ds4_lang *names;              /* that a parameter can have */
} caller;

static uint32_t tag(ds4_grammar *g, uint32_t at, const char *before, const char *behind)
{
    const uint32_t marked = ds4_g_state_new(g);

    ds4_g_marker(g, ds4_g_literal(g, at, before), marked);
    return ds4_g_literal(g, marked, behind);
}

static uint32_t tag_rule(ds4_grammar *g, const char *before, const char *behind)
{
    const uint32_t rule = ds4_g_state_new(g);

    ds4_g_end(g, tag(g, rule, before, behind));
    return rule;
}

static uint32_t text_rule(ds4_grammar *g, const char *text)
{
    const uint32_t rule = ds4_g_state_new(g);

    ds4_g_end(g, ds4_g_literal(g, rule, text));
    return rule;
}

/* Behind a rule. */
static uint32_t by_rule(ds4_grammar *g, uint32_t at, uint32_t rule)
{
    const uint32_t behind = ds4_g_state_new(g);

    ds4_g_call(g, at, rule, behind);
    return behind;
}

static ds4_status open_caller(caller *c, ds4_g_build *b, ds4_err *err)
{
    ds4_grammar *g = b->g;

    *c = (caller){ .b = b };
    c->open = tag_rule(g, "<", "parameter name=\"");
    c->close = tag_rule(g, "</", "parameter>\n");
    c->is_string = text_rule(g, "\" string=\"true\">");
    c->is_json = text_rule(g, "\" string=\"false\">");
    c->free_text = ds4_g_state_new(g);
    ds4_g_any_character(g, &b->wide, c->free_text, c->free_text);
    ds4_g_end(g, by_rule(g, c->free_text, c->close));
    return ds4_lang_from_regex(g, DS4_SLICE("[^\"<\\x00-\\x1f]{1,64}"), true, &c->names, err);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* A string as it is, from behind its tag to behind the closing one. */
static void write_raw_leaf(caller *c, ds4_g_schema *x, const ds4_leaf *leaf, uint32_t at,
                           uint32_t to)
{
    ds4_grammar    *g = c->b->g;
    uint32_t       *values = NULL, n = 0;
    ds4_string_form form;

    if (ds4_leaf_values(x->s, leaf, &values, &n)) {
        for (uint32_t i = 0; i < n && ds4_schema_ok(x->s); i++) {
            const ds4_json_node *value = &x->s->tree.node[values[i]];
            if (value->kind == DS4_JSON_STRING) {
                ds4_g_call(g, ds4_g_text(g, at, value->string), c->close, to);
            }
        }
        free(values);
        return;
    }
    const ds4_lang *only = ds4_leaf_only_lang(x->s, leaf);
    if (only) {
        if (!ds4_g_branch(x)) return;
        ds4_g_call(g, by_rule(g, at, ds4_g_text_rule(x, only, false)), c->close, to);
        return;
    }
    ds4_leaf_string(x->s, leaf, &form);
    const bool limited = form.least > 0 || form.most != UINT32_MAX;
    if (!ds4_schema_ok(x->s)) {
        /* the failure says it */
    } else if (!form.lang && !limited) {
        ds4_g_call(g, at, c->free_text, to);
    } else if (ds4_g_branch(x) && form.least <= form.most) {
        const uint32_t close = ds4_g_state_new(g);
        if (form.lang) {
            ds4_lang_write(g, &c->b->wide, form.lang, false, at, close);
        } else {
            ds4_g_repeat(g, ds4_g_rule(c->b, DS4_RULE_RAW), form.least, form.most, at, close);
        }
        ds4_g_call(g, close, c->close, to);
    }
    ds4_lang_free(form.lang);
}

/* Behind a parameter's name: strings are written as they are, everything else as JSON. */
static void write_value(caller *c, ds4_g_schema *x, uint32_t set, uint32_t at, uint32_t to)
{
    ds4_grammar *g = c->b->g;
    ds4_leaves   leaves = { 0 };
    uint8_t      kinds = 0;
    uint32_t     raw = 0;

    ds4_schema_spread(x->s, set, &leaves);
    for (uint32_t i = 0; i < leaves.n && ds4_schema_ok(x->s); i++) {
        ds4_leaf_settle(x->s, &leaves.list[i]);
        kinds |= leaves.list[i].kinds;
        if (!(leaves.list[i].kinds & DS4_IS_STRING)) continue;
        if (!raw) raw = by_rule(g, at, c->is_string);
        write_raw_leaf(c, x, &leaves.list[i], raw, to);
    }
    free(leaves.list);
    if (!(kinds & ~DS4_IS_STRING)) return;
    const uint32_t json = by_rule(g, at, c->is_json);
    ds4_g_call(g, by_rule(g, json, ds4_g_set_rule(x, set, true)), c->close, to);
}

static void write_any_value(caller *c, uint32_t at, uint32_t to)
{
    ds4_grammar   *g = c->b->g;
    const uint32_t json = by_rule(g, at, c->is_json), behind = ds4_g_state_new(g);

    ds4_g_call(g, by_rule(g, at, c->is_string), c->free_text, to);
    ds4_g_use(c->b, json, DS4_RULE_PLAIN, behind);
    ds4_g_call(g, behind, c->close, to);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void write_parameter(caller *c, ds4_g_schema *x, const ds4_member_form *m, uint32_t at,
                            uint32_t to)
{
    at = ds4_g_text(c->b->g, by_rule(c->b->g, at, c->open), m->name);
    write_value(c, x, m->set, at, to);
}

/* A parameter whose name is in a language, and that tags can hold. */
static uint32_t write_name(caller *c, const ds4_lang *names, uint32_t at)
{
    ds4_grammar   *g = c->b->g;
    ds4_lang_parts p = { .part = { c->names, names }, .n = names ? 2 : 1, .most = UINT32_MAX };
    ds4_lang      *both = NULL;
    const uint32_t behind = ds4_g_state_new(g);

    at = by_rule(g, at, c->open);
    if (ds4_lang_meet(g, &p, &both, NULL) == DS4_OK) {
        ds4_lang_write(g, &c->b->wide, both, false, at, behind);
    }
    ds4_lang_free(both);
    return behind;
}

/* One parameter that the schema does not name. */
static void write_other(caller *c, ds4_g_schema *x, const ds4_object_form *o, uint32_t at,
                        uint32_t to)
{
    for (uint32_t i = 0; i < o->n_others; i++) {
        write_value(c, x, o->other[i].set, write_name(c, o->other[i].names, at), to);
    }
}

/* Only parameters that are not named: they are counted. */
static void write_map(caller *c, ds4_g_schema *x, const ds4_object_form *o, uint32_t at,
                      uint32_t to)
{
    ds4_grammar   *g = c->b->g;
    const uint32_t part = ds4_g_state_new(g), end = ds4_g_state_new(g);

    write_other(c, x, o, part, end);
    ds4_g_end(g, end);
    ds4_g_repeat(g, part, o->least, o->most, at, to);
}

/* Parameters in the order of the schema; what is not required may be left out. `none` is where
 * nothing has been written so far, `some` where something has. */
static void write_chain(caller *c, ds4_g_schema *x, const ds4_object_form *o, bool empty,
                        uint32_t none, uint32_t to)
{
    ds4_grammar *g = c->b->g;
    uint32_t     some = ds4_g_state_new(g);

    for (uint32_t i = 0; i <= o->n && ds4_schema_ok(x->s); i++) {
        const ds4_member_form *m = i < o->n ? &o->list[i] : NULL;
        if (m && !ds4_dsml_can_name(m->name)) {
            if (m->required) ds4_schema_ignore(x->s, DS4_SLICE("a name that calls cannot have"));
            empty |= m->required;
            continue;
        }
        const uint32_t key = ds4_g_state_new(g);
        ds4_g_go(g, none, key);
        ds4_g_go(g, some, key);
        if (!m) { /* behind all that are named */
            write_other(c, x, o, key, some);
            break;
        }
        const uint32_t next_none = ds4_g_state_new(g), next_some = ds4_g_state_new(g);
        write_parameter(c, x, m, key, next_some);
        if (!m->required) ds4_g_go(g, none, next_none);
        if (!m->required) ds4_g_go(g, some, next_some);
        none = next_none;
        some = next_some;
    }
    if (empty) ds4_g_go(g, none, to);
    ds4_g_go(g, some, to);
}

static void write_parameters(caller *c, ds4_g_schema *x, const ds4_object_form *o, bool empty,
                             uint32_t at, uint32_t to)
{
    if (empty)
        ds4_g_bytes(c->b->g, at, '\n', '\n', to); /* as the model was trained to write none */
    if (o->n == 0 && o->n_others > 0)
        write_map(c, x, o, at, to);
    else
        write_chain(c, x, o, empty, at, to);
}

/* The members of an object that is listed, each with its value. */
static void write_listed(caller *c, const ds4_schema *s, uint32_t object, uint32_t at, uint32_t to)
{
    ds4_grammar *g = c->b->g;

    if (s->tree.node[object].n == 0) ds4_g_bytes(g, at, '\n', '\n', to);
    for (uint32_t i = s->tree.node[object].first; i; i = s->tree.node[i].next) {
        const ds4_json_node *member = &s->tree.node[i];
        const bool           string = member->kind == DS4_JSON_STRING;
        ds4_str              json = { 0 };
        if (!ds4_dsml_can_name(member->name)) return;
        const bool dumped = ds4_pyjson_dump(member->text, &json, NULL) == DS4_OK && !json.failed;
        if (!dumped) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
        at = ds4_g_text(g, by_rule(g, at, c->open), member->name);
        at = by_rule(g, at, string ? c->is_string : c->is_json);
        at = ds4_g_text(g, at,
                        string ? member->string : (ds4_slice){ ds4_str_text(&json), json.n_bytes });
        at = by_rule(g, at, c->close);
        ds4_str_clear(&json);
    }
    ds4_g_go(g, at, to);
}

/* One combination of alternatives; false when no object fits it. */
static bool write_leaf(caller *c, ds4_g_schema *x, ds4_leaf *leaf, uint32_t at, uint32_t to)
{
    ds4_object_form o;
    uint32_t       *values = NULL, n = 0;
    bool            empty, fits = false;

    leaf->kinds &= DS4_IS_OBJECT;
    if (leaf->kinds && ds4_leaf_values(x->s, leaf, &values, &n)) {
        for (uint32_t i = 0; i < n; i++) write_listed(c, x->s, values[i], at, to);
        free(values);
        return n > 0;
    }
    ds4_leaf_settle(x->s, leaf);
    if (!leaf->kinds) return false;
    ds4_leaf_object(x->s, leaf, &o);
    ds4_g_check_counts(x, &o, &empty);
    if (ds4_g_branch(x) && !o.impossible) {
        write_parameters(c, x, &o, empty, at, to);
        fits = true;
    }
    ds4_object_form_clear(&o);
    return fits;
}

/* Any parameters at all. */
static void write_free(caller *c, uint32_t at, uint32_t to)
{
    ds4_grammar   *g = c->b->g;
    const uint32_t loop = ds4_g_state_new(g);

    ds4_g_bytes(g, at, '\n', '\n', to);
    ds4_g_go(g, at, loop);
    write_any_value(c, write_name(c, NULL, loop), loop);
    ds4_g_go(g, loop, to);
}

/* Write the rule for values that fit a schema; a failure is the schema's. */
static void write_schema(caller *c, ds4_schema *s, uint32_t at, uint32_t to)
{
    ds4_g_schema x = { .b = c->b, .s = s };
    ds4_leaves   leaves = { 0 };
    uint32_t     root = 1, n = 0;

    ds4_schema_spread(s, ds4_schema_set_of(s, &root, 1), &leaves);
    for (uint32_t i = 0; i < leaves.n && ds4_schema_ok(s); i++) {
        n += write_leaf(c, &x, &leaves.list[i], at, to);
    }
    ds4_g_write_rules(&x);
    if (n == 0) ds4_schema_fail(s, DS4_E_FORMAT, "has no object that fits", DS4_SLICE("it"));
    ds4_g_schema_clear(&x);
    free(leaves.list);
}

/* ---- calls ------------------------------------------------------------------------------------- */

/* Parameters by the tool's schema. One that is not strict and cannot be enforced as a whole, or
 * not for its share of the work, has any. */
static ds4_status write_tool_schema(caller *c, ds4_slice schema, bool strict, uint32_t at,
                                    uint32_t to, ds4_err *err)
{
    ds4_grammar   *g = c->b->g;
    const uint32_t first = ds4_g_state_new(g), last = ds4_g_state_new(g);
    ds4_schema     s;

    ds4_status st = ds4_schema_open(&s, schema, g, strict, err);
    if (st == DS4_OK) write_schema(c, &s, first, last);
    if (st == DS4_OK) st = ds4_schema_ok(&s) ? DS4_OK : s.failed;
    ds4_schema_close(&s);
    if (st == DS4_OK) {
        ds4_g_go(g, at, first);
        ds4_g_go(g, last, to);
    }
    return st;
}

/* From behind a tool's name to the end of its call. */
static ds4_status write_call(caller *c, ds4_slice tool, bool strict, uint32_t share, uint32_t at,
                             uint32_t to, ds4_err *err)
{
    ds4_grammar   *g = c->b->g;
    const uint32_t behind = ds4_g_state_new(g);
    ds4_slice      schema;

    at = ds4_g_literal(g, at, "\">\n");
    if (ds4_pyjson_get(tool, "parameters", &schema)) {
        const uint32_t before = g->work, limit = before < share ? before : share;
        g->work = limit;
        ds4_status     st = write_tool_schema(c, schema, strict, at, behind, err);
        const uint32_t used = limit - g->work;
        if (st != DS4_OK && (strict || st == DS4_E_NOMEM || st == DS4_E_CANCELLED)) return st;
        if (st != DS4_OK) {
            g->work = before - used;
            if (!ds4_g_forgive(g)) return st;
            write_free(c, at, behind);
        }
        g->work = before - used;
    } else {
        write_free(c, at, behind);
    }
    ds4_g_go(g, tag(g, behind, "</", "invoke>"), to);
    return DS4_OK;
}

static ds4_status write_name_and_call(caller *c, const ds4_grammar_calls *calls, uint32_t i,
                                      uint32_t at, uint32_t to, ds4_err *err)
{
    const ds4_slice tool = calls->tools[i];
    ds4_str         text = { 0 };
    ds4_slice       name;

    if (!ds4_pyjson_get(tool, "name", &name))
        return ds4_fail(err, DS4_E_FORMAT, "a tool has no name");
    ds4_status st = ds4_pyjson_decode_string(name, &text, err);
    if (st == DS4_OK) {
        const bool strict = calls->strict && calls->strict[i];
        /* A tool that may have free parameters leaves most of the work to those behind it. */
        const uint32_t share = c->b->g->work / (strict ? 1 : 4);
        at = ds4_g_text(c->b->g, at, (ds4_slice){ ds4_str_text(&text), text.n_bytes });
        st = write_call(c, tool, strict, share, at, to, err);
    }
    ds4_str_clear(&text);
    return st;
}

static ds4_status write_calls(caller *c, const ds4_grammar_calls *calls, uint32_t at, ds4_err *err)
{
    ds4_grammar *g = c->b->g;

    if (calls->n_tools == 0 || calls->n_tools > MAX_TOOLS) {
        return ds4_fail(err, DS4_E_LIMIT, "%u tools, expected 1..%d", calls->n_tools, MAX_TOOLS);
    }
    const uint32_t again = ds4_g_state_new(g), behind = ds4_g_state_new(g);
    ds4_g_go(g, at, again);
    for (uint32_t i = 0; i < calls->n_tools; i++) {
        DS4_TRY(write_name_and_call(c, calls, i, again, behind, err));
    }
    if (calls->many) ds4_g_go(g, tag(g, behind, "\n<", "invoke name=\""), again);
    ds4_g_end(g, tag(g, behind, "\n</", "tool_calls>"));
    return DS4_OK;
}

ds4_status ds4_grammar_of_calls(const ds4_grammar_calls *calls, const ds4_grammar_options *opt,
                                ds4_grammar **out, ds4_err *err)
{
    ds4_g_build b = { .g = NULL };
    caller      c;

    DS4_TRY(ds4_g_new(opt, &b.g, err));
    ds4_status st = open_caller(&c, &b, err);
    uint32_t   at = b.g->start = ds4_g_state_new(b.g);
    /* Before the opening tag there may be any text; its own marker begins the calls. */
    if (st == DS4_OK && calls->text_before) {
        ds4_g_bytes(b.g, at, 0, 255, at);
        ds4_g_end(b.g, at);
        at = tag(b.g, tag(b.g, at, "<", "tool_calls>\n"), "<", "invoke name=\"");
    }
    if (st == DS4_OK) st = write_calls(&c, calls, at, err);
    ds4_lang_free(c.names);
    ds4_g_build_clear(&b);
    if (st == DS4_OK) return ds4_g_finish(b.g, out, err);
    ds4_grammar_free(b.g);
    return st;
}
