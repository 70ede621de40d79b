/* grammar_schema.c - values that fit a JSON schema as a grammar of JSON text. */
#include "text/grammar_schema.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_UNIQUE = 8 };

static bool ok(ds4_g_schema *x)
{
    return ds4_schema_ok(x->s);
}

static uint32_t new_state(ds4_g_schema *x)
{
    return ds4_g_state_new(x->b->g);
}

static uint32_t literal(ds4_g_schema *x, uint32_t at, const char *text)
{
    return ds4_g_literal(x->b->g, at, text);
}

/* ---- rules ---------------------------------------------------------------------------------- */

uint32_t ds4_g_set_rule(ds4_g_schema *x, uint32_t set, bool without_strings)
{
    const uint32_t which = 2 * set + without_strings;

    if (!ok(x)) return 0;
    if (set >= x->cap_rules) {
        uint32_t more = x->cap_rules ? x->cap_rules : 64;
        while (more <= set) more *= 2;
        uint32_t *rule = realloc(x->rule, 2 * (size_t)more * sizeof *rule);
        if (!rule) {
            ds4_g_give_up(x->b->g, DS4_E_NOMEM, "no memory for a grammar");
            return 0;
        }
        memset(rule + 2 * x->cap_rules, 0, 2 * (size_t)(more - x->cap_rules) * sizeof *rule);
        x->rule = rule;
        x->cap_rules = more;
    }
    if (x->rule[which]) return x->rule[which];
    void *p = ds4_g_room(x->b->g, x->queue, x->n_queue, &x->cap_queue, sizeof *x->queue);
    if (!p) return 0;
    x->queue = p;
    x->queue[x->n_queue++] = which;
    return x->rule[which] = new_state(x);
}

bool ds4_g_branch(ds4_g_schema *x)
{
    if (x->n_branches++ < DS4_G_MAX_BRANCHES) return ok(x);
    ds4_g_give_up(x->b->g, DS4_E_LIMIT,
                  "the schema has more than 4096 alternatives, which is the bound");
    return false;
}

void ds4_g_schema_clear(ds4_g_schema *x)
{
    free(x->rule);
    free(x->queue);
    free(x->text);
}

/* ---- plain values --------------------------------------------------------------------------- */

static void write_listed(ds4_g_schema *x, uint32_t value, uint32_t at, uint32_t end)
{
    ds4_str          text = { 0 };
    const ds4_status st = ds4_pyjson_dump(x->s->tree.node[value].text, &text, NULL);

    if (st != DS4_OK || text.failed) ds4_g_give_up(x->b->g, DS4_E_NOMEM, "no memory for a grammar");
    ds4_g_go(x->b->g, ds4_g_text(x->b->g, at, (ds4_slice){ ds4_str_text(&text), text.n_bytes }),
             end);
    ds4_str_clear(&text);
}

uint32_t ds4_g_text_rule(ds4_g_schema *x, const ds4_lang *lang, bool quoted)
{
    ds4_grammar *g = x->b->g;

    for (uint32_t i = 0; i < x->n_texts; i++) {
        if (x->text[i].lang == lang && x->text[i].quoted == quoted) return x->text[i].rule;
    }
    void *p = ds4_g_room(g, x->text, x->n_texts, &x->cap_texts, sizeof *x->text);
    if (!p) return 0;
    const uint32_t rule = new_state(x), end = new_state(x);
    x->text = p;
    x->text[x->n_texts].lang = lang;
    x->text[x->n_texts].quoted = quoted;
    x->text[x->n_texts++].rule = rule;
    const uint32_t open = quoted ? literal(x, rule, "\"") : rule, close = new_state(x);
    ds4_lang_write(g, &x->b->wide, lang, quoted, open, close);
    ds4_g_go(g, quoted ? literal(x, close, "\"") : close, end);
    ds4_g_end(g, end);
    return rule;
}

static void write_string(ds4_g_schema *x, const ds4_leaf *leaf, uint32_t at, uint32_t end)
{
    ds4_grammar    *g = x->b->g;
    ds4_string_form form;

    const ds4_lang *only = ds4_leaf_only_lang(x->s, leaf);
    if (only) {
        if (ds4_g_branch(x)) ds4_g_go(g, at, ds4_g_text_rule(x, only, true));
        return;
    }
    ds4_leaf_string(x->s, leaf, &form);
    if (!ok(x)) {
        /* the failure says it */
    } else if (!form.lang && form.least == 0 && form.most == UINT32_MAX) {
        ds4_g_go(g, at, ds4_g_rule(x->b, DS4_RULE_STRING));
    } else if (ds4_g_branch(x) && form.most >= form.least) {
        const uint32_t open = literal(x, at, "\""), close = new_state(x);
        if (form.lang) {
            ds4_lang_write(g, &x->b->wide, form.lang, true, open, close);
        } else {
            ds4_g_repeat(g, ds4_g_rule(x->b, DS4_RULE_CHARACTER), form.least, form.most, open,
                         close);
        }
        ds4_g_bytes(g, close, '"', '"', end);
    }
    ds4_lang_free(form.lang);
}

static void write_number(ds4_g_schema *x, const ds4_leaf *leaf, uint32_t at, uint32_t end)
{
    const bool integer = !(leaf->kinds & DS4_IS_FRACTION);
    ds4_number n;
    ds4_lang  *l = NULL;

    const bool limited = ds4_leaf_number(x->s, leaf->set, &n);
    n.integer = integer;
    n.fraction = !(leaf->kinds & DS4_IS_WHOLE);
    if (!limited && !n.fraction) {
        ds4_g_go(x->b->g, at, ds4_g_rule(x->b, integer ? DS4_RULE_INTEGER : DS4_RULE_NUMBER));
        return;
    }
    if (!ok(x) || !ds4_g_branch(x)) return;
    if (ds4_number_language(x->b->g, &n, &l, NULL) == DS4_OK) {
        ds4_lang_write(x->b->g, &x->b->wide, l, false, at, end);
    } else if (!x->s->strict && n.step && ds4_g_forgive(x->b->g)) {
        /* A step for which there is no room is ignored, the bounds are not. */
        n.step = 0;
        if (ds4_number_language(x->b->g, &n, &l, NULL) == DS4_OK) {
            ds4_lang_write(x->b->g, &x->b->wide, l, false, at, end);
        }
    }
    ds4_lang_free(l);
}

/* ---- arrays --------------------------------------------------------------------------------- */

/* A comma, white space, and a value of the set. */
static void write_next(ds4_g_schema *x, uint32_t set, uint32_t at, uint32_t to)
{
    const uint32_t comma = literal(x, at, ","), item = new_state(x);

    ds4_g_use(x->b, comma, DS4_RULE_SPACE, item);
    ds4_g_call(x->b->g, item, ds4_g_set_rule(x, set, false), to);
}

/* The values that an item may have when they are few and listed; false otherwise. */
static bool few_values(ds4_g_schema *x, uint32_t set, uint32_t value[MAX_UNIQUE], uint32_t *n)
{
    ds4_leaves leaves = { 0 };
    bool       few = true;

    *n = 0;
    ds4_schema_spread(x->s, set, &leaves);
    for (uint32_t i = 0; i < leaves.n && few && ok(x); i++) {
        uint32_t *list = NULL, n_list = 0;
        few = ds4_leaf_values(x->s, &leaves.list[i], &list, &n_list);
        for (uint32_t k = 0; k < n_list && few; k++) {
            bool known = false;
            for (uint32_t j = 0; j < *n; j++) known |= ds4_json_equal(x->s, value[j], list[k]);
            if (known) continue;
            few = *n < MAX_UNIQUE;
            if (few) value[(*n)++] = list[k];
        }
        free(list);
    }
    free(leaves.list);
    return few && ok(x);
}

/* Each of the values at most once: a state for each set of those that are used. */
static void write_unique(ds4_g_schema *x, const ds4_array_form *a, const uint32_t *value,
                         uint32_t n, uint32_t open, uint32_t close)
{
    ds4_grammar *g = x->b->g;
    uint32_t     state[1 << MAX_UNIQUE];

    for (uint32_t used = 0; used < 1u << n; used++) state[used] = new_state(x);
    ds4_g_go(g, open, state[0]);
    for (uint32_t used = 0; used < 1u << n && ok(x); used++) {
        uint32_t count = 0, item = state[used];
        for (uint32_t i = 0; i < n; i++) count += used >> i & 1;
        if (count >= a->least) ds4_g_go(g, state[used], close);
        if (count >= a->most) continue;
        if (used) item = literal(x, item, ",");
        const uint32_t at = new_state(x);
        ds4_g_use(x->b, item, DS4_RULE_SPACE, at);
        for (uint32_t i = 0; i < n; i++) {
            if (!(used >> i & 1)) write_listed(x, value[i], at, state[used | 1u << i]);
        }
    }
}

/* Items behind the tuple, or all of them. */
static void write_rest(ds4_g_schema *x, const ds4_array_form *a, uint32_t at, uint32_t close)
{
    ds4_grammar   *g = x->b->g;
    const uint32_t n = a->n_tuple, part = new_state(x), part_end = new_state(x);
    uint32_t       least = a->least > n ? a->least - n : 0;
    uint32_t       most = a->most == UINT32_MAX ? a->most : a->most - n;

    write_next(x, a->rest, part, part_end);
    ds4_g_end(g, part_end);
    if (n == 0 && least == 0) ds4_g_go(g, at, close);
    if (n == 0 && most > 0) {
        const uint32_t item = new_state(x), behind = new_state(x);
        ds4_g_use(x->b, at, DS4_RULE_SPACE, item);
        ds4_g_call(g, item, ds4_g_set_rule(x, a->rest, false), behind);
        at = behind;
        least = least ? least - 1 : 0;
        most = most == UINT32_MAX ? most : most - 1;
    }
    if (n > 0 || a->most > 0) ds4_g_repeat(g, part, least, most, at, close);
}

static void write_items(ds4_g_schema *x, const ds4_array_form *a, uint32_t at, uint32_t end)
{
    ds4_grammar *g = x->b->g;
    uint32_t     value[MAX_UNIQUE], n = 0;

    const uint32_t close = new_state(x), last = new_state(x);
    at = literal(x, at, "[");
    ds4_g_use(x->b, close, DS4_RULE_SPACE, last);
    ds4_g_bytes(g, last, ']', ']', end);
    if (a->unique && a->most > 1) {
        if (a->n_tuple == 0 && few_values(x, a->rest, value, &n)) {
            write_unique(x, a, value, n, at, close);
            return;
        }
        ds4_schema_ignore(x->s, DS4_SLICE("uniqueItems"));
    }
    for (uint32_t i = 0; i < a->n_tuple && ok(x); i++) {
        const uint32_t behind = new_state(x);
        if (i == 0) {
            const uint32_t item = new_state(x);
            ds4_g_use(x->b, at, DS4_RULE_SPACE, item);
            ds4_g_call(g, item, ds4_g_set_rule(x, a->tuple[i], false), behind);
        } else {
            write_next(x, a->tuple[i], at, behind);
        }
        at = behind;
    }
    write_rest(x, a, at, close);
}

static void write_array(ds4_g_schema *x, uint32_t set, uint32_t at, uint32_t end)
{
    ds4_array_form a;

    ds4_leaf_array(x->s, set, &a);
    if (ok(x) && ds4_g_branch(x) && a.least <= a.most) write_items(x, &a, at, end);
    free(a.tuple);
}

/* ---- objects -------------------------------------------------------------------------------- */

void ds4_g_check_counts(ds4_g_schema *x, ds4_object_form *o, bool *empty)
{
    uint32_t n_required = 0;

    for (uint32_t i = 0; i < o->n; i++) n_required += o->list[i].required;
    *empty = n_required == 0 && o->least == 0;
    if (o->least > 1 && o->least > n_required) ds4_schema_ignore(x->s, DS4_SLICE("minProperties"));
    if (o->most < n_required) o->impossible = true;
    if (o->most < o->n || (o->most != UINT32_MAX && o->n_others > 0 && o->n > 0)) {
        ds4_schema_ignore(x->s, DS4_SLICE("maxProperties"));
    }
}

/* A name, a colon and a value. */
static void write_member(ds4_g_schema *x, const ds4_member_form *m, uint32_t at, uint32_t to)
{
    ds4_str        name = { 0 };
    const uint32_t value = new_state(x);

    ds4_pyjson_add_string(&name, m->name);
    ds4_str_add_char(&name, ':');
    if (name.failed) ds4_g_give_up(x->b->g, DS4_E_NOMEM, "no memory for a grammar");
    at = ds4_g_text(x->b->g, at, (ds4_slice){ ds4_str_text(&name), name.n_bytes });
    ds4_g_use(x->b, at, DS4_RULE_SPACE, value);
    ds4_g_call(x->b->g, value, ds4_g_set_rule(x, m->set, false), to);
    ds4_str_clear(&name);
}

static void write_other(ds4_g_schema *x, const ds4_other_form *o, uint32_t at, uint32_t to)
{
    const uint32_t colon = new_state(x), value = new_state(x);

    if (o->names) {
        const uint32_t open = literal(x, at, "\""), close = new_state(x);
        ds4_lang_write(x->b->g, &x->b->wide, o->names, true, open, close);
        ds4_g_bytes(x->b->g, close, '"', '"', colon);
    } else {
        ds4_g_use(x->b, at, DS4_RULE_STRING, colon);
    }
    ds4_g_use(x->b, literal(x, colon, ":"), DS4_RULE_SPACE, value);
    ds4_g_call(x->b->g, value, ds4_g_set_rule(x, o->set, false), to);
}

static void write_others(ds4_g_schema *x, const ds4_object_form *o, uint32_t at, uint32_t to)
{
    for (uint32_t i = 0; i < o->n_others; i++) write_other(x, &o->other[i], at, to);
}

/* Only members without names: they are counted. */
static void write_map(ds4_g_schema *x, const ds4_object_form *o, uint32_t at, uint32_t close)
{
    const uint32_t entry = new_state(x), behind = new_state(x), part = new_state(x),
                   part_key = new_state(x), part_end = new_state(x);

    if (o->most == 0 || o->n_others == 0) return;
    ds4_g_use(x->b, literal(x, part, ","), DS4_RULE_SPACE, part_key);
    write_others(x, o, part_key, part_end);
    ds4_g_end(x->b->g, part_end);
    ds4_g_use(x->b, at, DS4_RULE_SPACE, entry);
    write_others(x, o, entry, behind);
    ds4_g_repeat(x->b->g, part, o->least ? o->least - 1 : 0,
                 o->most == UINT32_MAX ? o->most : o->most - 1, behind, close);
}

/* Members in their order, then others. From the last to the first: `key` is where the name of
 * this member may stand, or of a later one when this may be left out; behind its value the
 * object closes, unless one that is required comes later, or a comma and a later name follow. */
static void write_chain(ds4_g_schema *x, const ds4_object_form *o, uint32_t at, uint32_t close)
{
    ds4_grammar *g = x->b->g;
    uint32_t     later = 0;
    bool         missing = false;

    if (o->n_others > 0) {
        const uint32_t behind = new_state(x);
        later = new_state(x);
        write_others(x, o, later, behind);
        ds4_g_go(g, behind, close);
        ds4_g_use(x->b, literal(x, behind, ","), DS4_RULE_SPACE, later);
    }
    for (uint32_t i = o->n; i-- > 0 && ok(x);) {
        const uint32_t key = new_state(x), behind = new_state(x);
        write_member(x, &o->list[i], key, behind);
        if (!missing) ds4_g_go(g, behind, close);
        if (later) ds4_g_use(x->b, literal(x, behind, ","), DS4_RULE_SPACE, later);
        if (later && !o->list[i].required) ds4_g_go(g, key, later);
        missing |= o->list[i].required;
        later = key;
    }
    if (later) ds4_g_use(x->b, at, DS4_RULE_SPACE, later);
}

static void write_object(ds4_g_schema *x, const ds4_leaf *leaf, uint32_t at, uint32_t end)
{
    ds4_object_form o;
    bool            empty;

    ds4_leaf_object(x->s, leaf, &o);
    ds4_g_check_counts(x, &o, &empty);
    if (ok(x) && !o.impossible && ds4_g_branch(x)) {
        const uint32_t close = new_state(x), last = new_state(x);
        at = literal(x, at, "{");
        if (empty) ds4_g_bytes(x->b->g, at, '}', '}', end);
        ds4_g_use(x->b, close, DS4_RULE_SPACE, last);
        ds4_g_bytes(x->b->g, last, '}', '}', end);
        if (o.n == 0)
            write_map(x, &o, at, close);
        else
            write_chain(x, &o, at, close);
    }
    ds4_object_form_clear(&o);
}

/* ---- any value ------------------------------------------------------------------------------ */

static void write_leaf(ds4_g_schema *x, ds4_leaf *leaf, uint32_t at, uint32_t end)
{
    ds4_grammar *g = x->b->g;
    uint32_t    *values = NULL, n = 0;

    if (leaf->kinds == DS4_IS_ANY && !ds4_leaf_limits(x->s, leaf, DS4_IS_ANY)) {
        ds4_g_go(g, at, ds4_g_rule(x->b, DS4_RULE_VALUE));
        return;
    }
    if (ds4_leaf_values(x->s, leaf, &values, &n)) {
        for (uint32_t i = 0; i < n && ok(x); i++) {
            const bool string = x->s->tree.node[values[i]].kind == DS4_JSON_STRING;
            if (!string || leaf->kinds & DS4_IS_STRING) write_listed(x, values[i], at, end);
        }
        free(values);
        return;
    }
    ds4_leaf_settle(x->s, leaf);
    if (leaf->kinds & DS4_IS_NULL) ds4_g_go(g, literal(x, at, "null"), end);
    if (leaf->kinds & DS4_IS_BOOLEAN) ds4_g_go(g, at, ds4_g_rule(x->b, DS4_RULE_BOOLEAN));
    if (leaf->kinds & (DS4_IS_WHOLE | DS4_IS_FRACTION)) write_number(x, leaf, at, end);
    if (leaf->kinds & DS4_IS_STRING) write_string(x, leaf, at, end);
    if (leaf->kinds & DS4_IS_ARRAY) write_array(x, leaf->set, at, end);
    if (leaf->kinds & DS4_IS_OBJECT) write_object(x, leaf, at, end);
}

static void write_rule(ds4_g_schema *x, uint32_t which)
{
    const uint32_t at = x->rule[which], end = new_state(x);
    ds4_leaves     leaves = { 0 };

    ds4_g_end(x->b->g, end);
    ds4_schema_spread(x->s, which / 2, &leaves);
    for (uint32_t i = 0; i < leaves.n && ok(x); i++) {
        ds4_leaf leaf = leaves.list[i];
        if (which & 1) leaf.kinds &= (uint8_t)~DS4_IS_STRING;
        write_leaf(x, &leaf, at, end);
    }
    free(leaves.list);
}

void ds4_g_write_rules(ds4_g_schema *x)
{
    for (; x->n_written < x->n_queue && ok(x); x->n_written++) {
        write_rule(x, x->queue[x->n_written]);
    }
}

ds4_status ds4_grammar_from_schema(ds4_slice schema, const ds4_grammar_options *opt,
                                   ds4_grammar **out, ds4_err *err)
{
    ds4_g_build  b = { .g = NULL };
    ds4_schema   s;
    ds4_g_schema x = { .b = &b, .s = &s };

    DS4_TRY(ds4_g_new(opt, &b.g, err));
    ds4_status st = ds4_schema_open(&s, schema, b.g, opt && opt->strict, err);
    if (st == DS4_OK) {
        uint32_t root = 1;
        b.g->start = ds4_g_set_rule(&x, ds4_schema_set_of(&s, &root, 1), false);
        ds4_g_write_rules(&x);
        ok(&x);
        st = s.failed;
    }
    ds4_g_schema_clear(&x);
    ds4_schema_close(&s);
    ds4_g_build_clear(&b);
    if (st == DS4_OK) return ds4_g_finish(b.g, out, err);
    ds4_grammar_free(b.g);
    return st;
}
