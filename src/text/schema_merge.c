/* schema_merge.c - what all schemas of a leaf say about strings, numbers and arrays, as one. */
#include "text/schema.h"

#include <stdlib.h>
#include <string.h>

static const ds4_words *member_words(ds4_schema *s, uint32_t set, uint32_t i)
{
    return ds4_schema_words(s, s->member[s->set[set].first + i]);
}

/* ---- values that are listed ----------------------------------------------------------------- */

bool ds4_leaf_values(ds4_schema *s, const ds4_leaf *leaf, uint32_t **out, uint32_t *n)
{
    const uint32_t set = leaf->set;
    uint32_t       list = 0, single = 0;

    *out = NULL;
    *n = 0;
    for (uint32_t i = 0; i < s->set[set].n && ds4_schema_ok(s); i++) {
        const ds4_words *w = member_words(s, set, i);
        if (w->at[DS4_W_CONST]) single = w->at[DS4_W_CONST];
        if (w->at[DS4_W_ENUM] && !list) list = w->at[DS4_W_ENUM];
    }
    if (!list && !single) return false;
    const uint32_t most = single ? 1 : s->tree.node[list].n;
    *out = malloc((most + 1) * sizeof **out);
    if (!*out) {
        ds4_g_give_up(s->g, DS4_E_NOMEM, "no memory for a schema");
        return true;
    }
    for (uint32_t i = single ? single : s->tree.node[list].first; i && ds4_schema_ok(s);
         i = single ? 0 : s->tree.node[i].next) {
        if (ds4_schema_fits_leaf(s, i, single ? 0 : list, leaf)) (*out)[(*n)++] = i;
    }
    return true;
}

/* ---- numbers -------------------------------------------------------------------------------- */

bool ds4_leaf_number(ds4_schema *s, uint32_t set, ds4_number *out)
{
    *out = (ds4_number){ .integer = false };
    for (uint32_t i = 0; i < s->set[set].n && ds4_schema_ok(s); i++) {
        const ds4_words w = *member_words(s, set, i);
        ds4_schema_bounds(s, &w, out);
    }
    return out->has_low || out->has_high || out->step;
}

/* ---- strings -------------------------------------------------------------------------------- */

typedef struct string_parts {
    ds4_lang_parts p;
    uint32_t       n_patterns; /* the first so many are no formats */
    ds4_lang      *own[DS4_LANG_MAX_PARTS];
    uint32_t       n_own;
} string_parts;

static void add_part(ds4_schema *s, string_parts *parts, const ds4_lang *l, bool without)
{
    if (!l) return;
    for (uint32_t i = 0; i < parts->p.n; i++) {
        if (parts->p.part[i] == l) return;
    }
    if (parts->p.n == DS4_LANG_MAX_PARTS) {
        ds4_schema_ignore(s, DS4_SLICE("more than 12 patterns for one string"));
        return;
    }
    parts->p.part[parts->p.n] = l;
    parts->p.without[parts->p.n++] = without;
}

static void gather_patterns(ds4_schema *s, uint32_t set, string_parts *parts, ds4_string_form *out)
{
    for (uint32_t i = 0; i < s->set[set].n && ds4_schema_ok(s); i++) {
        const ds4_words w = *member_words(s, set, i);
        const uint32_t  least = ds4_schema_count(s, w.at[DS4_W_MIN_LENGTH], 0);
        const uint32_t  most = ds4_schema_count(s, w.at[DS4_W_MAX_LENGTH], UINT32_MAX);
        if (least > out->least) out->least = least;
        if (most < out->most) out->most = most;
        if (w.at[DS4_W_PATTERN])
            add_part(s, parts, ds4_schema_pattern(s, w.at[DS4_W_PATTERN]), false);
    }
}

/* The strings of a leaf that must not fit, as a language to be freed. */
static ds4_lang *strings_of(ds4_schema *s, const ds4_leaf *leaf)
{
    ds4_string_form form = { 0 };
    uint32_t       *values = NULL, n = 0, n_texts = 0;

    if (ds4_leaf_values(s, leaf, &values, &n)) {
        ds4_slice *texts = calloc(n + 1, sizeof *texts);
        for (uint32_t i = 0; texts && i < n; i++) {
            const ds4_json_node *value = &s->tree.node[values[i]];
            if (value->kind == DS4_JSON_STRING) texts[n_texts++] = value->string;
        }
        if (!texts || ds4_lang_of_texts(s->g, texts, n_texts, &form.lang, NULL) != DS4_OK) {
            form.lang = NULL;
        }
        free(texts);
        free(values);
        return form.lang;
    }
    ds4_leaf_string(s, leaf, &form);
    if (!form.lang && ds4_schema_ok(s)) {
        const ds4_lang_parts p = { .least = form.least, .most = form.most };
        if (ds4_lang_meet(s->g, &p, &form.lang, NULL) != DS4_OK) form.lang = NULL;
    }
    return form.lang;
}

static void exclude_nots(ds4_schema *s, uint32_t nots, string_parts *parts)
{
    if (s->set[nots].n > 0 && s->n_nots_in_each_other == DS4_MAX_NOTS) {
        ds4_schema_ignore(s, DS4_SLICE("not in each other"));
        return;
    }
    s->n_nots_in_each_other++;
    for (uint32_t i = 0; i < s->set[nots].n && ds4_schema_ok(s); i++) {
        uint32_t   node = s->member[s->set[nots].first + i];
        ds4_leaves leaves;
        ds4_schema_spread(s, ds4_schema_set_of(s, &node, 1), &leaves);
        for (uint32_t k = 0; k < leaves.n && ds4_schema_ok(s); k++) {
            if (!(leaves.list[k].kinds & DS4_IS_STRING)) continue;
            if (parts->n_own == DS4_LANG_MAX_PARTS) {
                ds4_schema_ignore(s, DS4_SLICE("more than 12 texts that must not fit"));
                break;
            }
            ds4_lang *l = strings_of(s, &leaves.list[k]);
            if (!l) continue;
            parts->own[parts->n_own++] = l;
            add_part(s, parts, l, true);
        }
        free(leaves.list);
    }
    s->n_nots_in_each_other--;
}

static void gather_formats(ds4_schema *s, uint32_t set, string_parts *parts)
{
    for (uint32_t i = 0; i < s->set[set].n && ds4_schema_ok(s); i++) {
        const ds4_words w = *member_words(s, set, i);
        bool            known = true;
        if (!w.at[DS4_W_FORMAT]) continue;
        add_part(s, parts, ds4_schema_format(s, w.at[DS4_W_FORMAT], &known), false);
        if (!known && !w.at[DS4_W_PATTERN]) {
            ds4_schema_ignore(s, s->tree.node[w.at[DS4_W_FORMAT]].text);
        }
    }
}

/* Lengths multiply the states of a language. A shorter limit is kept instead of one for which
 * there is no room: what is written still fits. */
static void count_characters(ds4_schema *s, ds4_string_form *out)
{
    const uint32_t room = (DS4_LANG_MAX_STATES - 64) / (out->lang->n_states + 1);
    ds4_lang_parts p = { .part = { out->lang }, .n = 1, .least = out->least, .most = out->most };
    ds4_lang      *counted = NULL;

    if (out->most != UINT32_MAX && out->most > room) p.most = room > out->least ? room : out->least;
    const ds4_status st = ds4_lang_meet(s->g, &p, &counted, NULL);
    if (st != DS4_OK && !s->strict && ds4_g_forgive(s->g)) return;
    if (st != DS4_OK) return;
    ds4_lang_free(out->lang);
    out->lang = counted;
}

/* A format is dropped where a pattern contradicts it: the pattern was meant. */
static void meet(ds4_schema *s, string_parts *parts, ds4_string_form *out)
{
    parts->p.most = UINT32_MAX;
    ds4_status st = ds4_lang_meet(s->g, &parts->p, &out->lang, NULL);
    if (st == DS4_OK && out->lang->n_states == 0 && parts->n_patterns > 0 &&
        parts->p.n > parts->n_patterns) {
        ds4_lang_free(out->lang);
        out->lang = NULL;
        parts->p.n = parts->n_patterns;
        st = ds4_lang_meet(s->g, &parts->p, &out->lang, NULL);
    }
    if (st != DS4_OK && !s->strict && ds4_g_forgive(s->g)) return;
    if (st == DS4_OK && (out->least > 0 || out->most != UINT32_MAX)) count_characters(s, out);
}

void ds4_leaf_string(ds4_schema *s, const ds4_leaf *leaf, ds4_string_form *out)
{
    string_parts parts = { .n_own = 0 };

    *out = (ds4_string_form){ .most = UINT32_MAX };
    gather_patterns(s, leaf->set, &parts, out);
    exclude_nots(s, leaf->nots, &parts);
    parts.n_patterns = parts.p.n;
    gather_formats(s, leaf->set, &parts);
    if (ds4_schema_ok(s) && parts.p.n > 0) meet(s, &parts, out);
    for (uint32_t i = 0; i < parts.n_own; i++) ds4_lang_free(parts.own[i]);
    ds4_schema_ok(s);
}

const ds4_lang *ds4_leaf_only_lang(ds4_schema *s, const ds4_leaf *leaf)
{
    string_parts    parts = { .n_own = 0 };
    ds4_string_form form = { .most = UINT32_MAX };

    if (s->set[leaf->nots].n > 0) return NULL;
    gather_patterns(s, leaf->set, &parts, &form);
    gather_formats(s, leaf->set, &parts);
    const bool only =
        ds4_schema_ok(s) && parts.p.n == 1 && form.least == 0 && form.most == UINT32_MAX;
    return only ? parts.p.part[0] : NULL;
}

/* ---- arrays --------------------------------------------------------------------------------- */

/* A list in `items` is the old way to say prefixItems. */
static void array_words(const ds4_schema *s, const ds4_words *w, uint32_t *tuple, uint32_t *rest)
{
    const uint32_t items = w->at[DS4_W_ITEMS];
    const bool     old = items && s->tree.node[items].kind == DS4_JSON_ARRAY;

    *tuple = old ? items : w->at[DS4_W_PREFIX_ITEMS];
    *rest = old ? w->at[DS4_W_ADDITIONAL_ITEMS] : items;
}

/* The set of item i, or of those behind all tuples: of each schema the item's own, or else that
 * of all others. */
static uint32_t item_set(ds4_schema *s, uint32_t set, uint32_t i, uint32_t *nodes)
{
    uint32_t n = 0;

    for (uint32_t m = 0; m < s->set[set].n && ds4_schema_ok(s); m++) {
        const ds4_words *w = member_words(s, set, m);
        uint32_t         tuple, rest;
        array_words(s, w, &tuple, &rest);
        uint32_t at = tuple ? s->tree.node[tuple].first : 0;
        for (uint32_t k = 0; at && k < i && ds4_g_pay(s->g, 1); k++) at = s->tree.node[at].next;
        if (!at) at = rest;
        if (at) nodes[n++] = at;
    }
    return ds4_schema_set_of(s, nodes, n);
}

void ds4_leaf_array(ds4_schema *s, uint32_t set, ds4_array_form *out)
{
    bool says_rest = false;

    *out = (ds4_array_form){ .most = UINT32_MAX };
    for (uint32_t m = 0; m < s->set[set].n && ds4_schema_ok(s); m++) {
        const ds4_words *w = member_words(s, set, m);
        const uint32_t   least = ds4_schema_count(s, w->at[DS4_W_MIN_ITEMS], 0);
        const uint32_t   most = ds4_schema_count(s, w->at[DS4_W_MAX_ITEMS], UINT32_MAX);
        const uint32_t   unique = w->at[DS4_W_UNIQUE_ITEMS];
        uint32_t         tuple, rest;
        array_words(s, w, &tuple, &rest);
        if (least > out->least) out->least = least;
        if (most < out->most) out->most = most;
        if (unique && s->tree.node[unique].kind == DS4_JSON_TRUE) out->unique = true;
        if (tuple && s->tree.node[tuple].n > out->n_tuple) out->n_tuple = s->tree.node[tuple].n;
        says_rest |= rest != 0;
        if (rest && s->tree.node[rest].kind == DS4_JSON_FALSE) {
            const uint32_t n = tuple ? s->tree.node[tuple].n : 0;
            if (n < out->most) out->most = n;
        }
    }
    if (out->n_tuple > DS4_SCHEMA_MAX_TUPLE) out->n_tuple = DS4_SCHEMA_MAX_TUPLE;
    if (out->n_tuple > out->most) out->n_tuple = out->most;
    if (out->n_tuple && !says_rest && out->most == UINT32_MAX) {
        out->most = out->least > out->n_tuple ? out->least : out->n_tuple;
    }
    out->tuple = malloc((out->n_tuple + 1) * sizeof *out->tuple);
    uint32_t *nodes = malloc((s->set[set].n + 1) * sizeof *nodes);
    if (!out->tuple || !nodes) ds4_g_give_up(s->g, DS4_E_NOMEM, "no memory for a schema");
    for (uint32_t i = 0; i < out->n_tuple && ds4_schema_ok(s); i++) {
        out->tuple[i] = item_set(s, set, i, nodes);
    }
    if (ds4_schema_ok(s)) out->rest = item_set(s, set, UINT32_MAX, nodes);
    free(nodes);
}
