/* schema_spread.c - a set of schemas becomes leaves: one for each combination of alternatives
 * that some kind of value can fit. */
#include "text/schema.h"

#include <stdlib.h>
#include <string.h>

/* A schema that has been gathered, and the one because of which. */
typedef struct gathered {
    uint32_t node, parent; /* number + 1 in the list; 0: none */
} gathered;

/* Alternatives that are still to be chosen from: a list, or a schema that may be null instead. */
typedef struct choice {
    uint32_t list, owner; /* owner: as parent */
    bool     only_one;    /* none of the others may fit */
} choice;

typedef struct spreader {
    ds4_schema *s;
    ds4_leaves *out;
    gathered   *list;
    uint32_t    n_list, cap_list;
    choice     *choices;
    uint32_t    n_choices, cap_choices;
    uint32_t   *nots; /* [n_nots] what must not fit */
    uint32_t    n_nots, cap_nots;
    uint8_t     kinds;
    unsigned    depth;
} spreader;

enum { MAX_DEPTH = 400 };

static bool add(spreader *x, uint32_t node, uint32_t parent, bool without_null);

static bool add_not(spreader *x, uint32_t node)
{
    void *p = ds4_g_room(x->s->g, x->nots, x->n_nots, &x->cap_nots, sizeof *x->nots);

    if (!p) return false;
    x->nots = p;
    x->nots[x->n_nots++] = node;
    return true;
}

static bool add_choice(spreader *x, uint32_t list, uint32_t owner, bool only_one)
{
    void *p = ds4_g_room(x->s->g, x->choices, x->n_choices, &x->cap_choices, sizeof *x->choices);

    if (!p) return false;
    x->choices = p;
    x->choices[x->n_choices++] = (choice){ list, owner, only_one };
    return true;
}

/* Add a schema's reference, the schemas it is made of, and its alternatives. */
static bool add_beside(spreader *x, uint32_t number, ds4_words w)
{
    const ds4_json_node *node = x->s->tree.node;

    if (w.target && !add(x, w.target, number, false)) return false;
    if (w.at[DS4_W_ALL_OF]) {
        for (uint32_t i = node[w.at[DS4_W_ALL_OF]].first; i; i = node[i].next) {
            if (!add(x, i, number, false)) return false;
        }
    }
    if (w.at[DS4_W_NOT] && !add_not(x, w.at[DS4_W_NOT])) return false;
    if (w.at[DS4_W_ANY_OF] && !add_choice(x, w.at[DS4_W_ANY_OF], number, false)) return false;
    return !w.at[DS4_W_ONE_OF] || add_choice(x, w.at[DS4_W_ONE_OF], number, true);
}

/* Gather a schema. False when no value can fit any more, as when a schema is nothing but a
 * reference to itself. */
static bool add(spreader *x, uint32_t node, uint32_t parent, bool without_null)
{
    if (!ds4_g_pay(x->s->g, 2 + x->n_list / 4) || !ds4_schema_ok(x->s)) return false;
    if (x->depth >= MAX_DEPTH) {
        ds4_g_give_up(x->s->g, DS4_E_LIMIT, "the schema refers on and on more than 400 times");
        return false;
    }
    for (uint32_t p = parent; p && !without_null; p = x->list[p - 1].parent) {
        if (x->list[p - 1].node == node) return false;
    }
    for (uint32_t i = 0; i < x->n_list && !without_null; i++) {
        if (x->list[i].node == node) return true;
    }
    const ds4_words w = *ds4_schema_words(x->s, node);
    if (!ds4_schema_ok(x->s)) return false;
    if (w.at[DS4_W_NULLABLE] && !without_null) {
        return add_choice(x, node, parent, false);
    }
    x->kinds &= w.kinds;
    if (x->kinds == 0) return false;
    void *p = ds4_g_room(x->s->g, x->list, x->n_list, &x->cap_list, sizeof *x->list);
    if (!p) return false;
    x->list = p;
    x->list[x->n_list++] = (gathered){ node, parent };
    x->depth++;
    const bool fits = add_beside(x, x->n_list, w);
    x->depth--;
    return fits;
}

static void add_leaf(spreader *x)
{
    uint32_t *nodes = malloc((x->n_list + 1) * sizeof *nodes);

    if (!nodes) {
        ds4_g_give_up(x->s->g, DS4_E_NOMEM, "no memory for a schema");
        return;
    }
    for (uint32_t i = 0; i < x->n_list; i++) nodes[i] = x->list[i].node;
    ds4_leaf leaf = { .set = ds4_schema_set_of(x->s, nodes, x->n_list), .kinds = x->kinds };
    free(nodes);
    nodes = malloc((x->n_nots + 1) * sizeof *nodes);
    if (!nodes) {
        ds4_g_give_up(x->s->g, DS4_E_NOMEM, "no memory for a schema");
        return;
    }
    for (uint32_t i = 0; i < x->n_nots; i++) {
        if (x->s->tree.node[x->nots[i]].kind == DS4_JSON_TRUE) leaf.kinds = 0; /* nothing fits */
        nodes[i] = x->nots[i];
    }
    leaf.nots = ds4_schema_set_of(x->s, nodes, x->n_nots);
    free(nodes);
    if (!leaf.kinds) return;
    for (uint32_t i = 0; i < x->out->n && ds4_g_pay(x->s->g, 1); i++) {
        const ds4_leaf *k = &x->out->list[i];
        if (k->set == leaf.set && k->nots == leaf.nots && k->kinds == leaf.kinds) return;
    }
    if (x->out->n == DS4_SCHEMA_MAX_LEAVES) {
        ds4_g_give_up(x->s->g, DS4_E_LIMIT,
                      "the schema has more than 1024 combinations of alternatives for one value, "
                      "which is the bound");
    }
    if (!ds4_schema_ok(x->s)) return;
    void *p = ds4_g_room(x->s->g, x->out->list, x->out->n, &x->out->capacity, sizeof *x->out->list);
    if (!p) return;
    x->out->list = p;
    x->out->list[x->out->n++] = leaf;
}

static void choose(spreader *x, uint32_t i_choice);

/* Go on with one alternative, and take everything back. */
static void try(spreader *x, uint32_t i_choice, uint32_t node, uint32_t owner, bool without_null)
{
    const uint32_t n_list = x->n_list, n_choices = x->n_choices, n_nots = x->n_nots;
    const uint8_t  kinds = x->kinds;
    const choice   c = x->choices[i_choice];
    bool           fits = true;

    /* The alternatives of oneOf beside the chosen one. */
    for (uint32_t i = c.only_one ? x->s->tree.node[c.list].first : 0; i && fits;
         i = x->s->tree.node[i].next) {
        if (i != node) fits = add_not(x, i) && ds4_g_pay(x->s->g, 1);
    }

    if (fits && add(x, node, owner, without_null)) choose(x, i_choice + 1);
    x->n_nots = n_nots;
    x->n_list = n_list;
    x->n_choices = n_choices;
    x->kinds = kinds;
}

/* A schema that also allows null: null alone, or all that it says. */
static void choose_null(spreader *x, uint32_t i_choice, choice c)
{
    const uint8_t kinds = x->kinds;

    try(x, i_choice, c.list, c.owner, true);
    x->kinds &= DS4_IS_NULL;
    if (x->kinds) choose(x, i_choice + 1);
    x->kinds = kinds;
}

static void choose(spreader *x, uint32_t i_choice)
{
    if (!ds4_schema_ok(x->s)) return;
    if (i_choice == x->n_choices) {
        add_leaf(x);
        return;
    }
    const choice         c = x->choices[i_choice];
    const ds4_json_node *node = x->s->tree.node;
    if (++x->depth > MAX_DEPTH) {
        ds4_g_give_up(x->s->g, DS4_E_LIMIT,
                      "the schema has more than 400 lists of alternatives "
                      "for one value, which is the bound");
    } else if (node[c.list].kind == DS4_JSON_ARRAY) {
        for (uint32_t i = node[c.list].first; i && ds4_schema_ok(x->s); i = node[i].next) {
            try(x, i_choice, i, c.owner, false);
        }
    } else {
        choose_null(x, i_choice, c);
    }
    x->depth--;
}

void ds4_schema_spread(ds4_schema *s, uint32_t set, ds4_leaves *out)
{
    spreader x = { .s = s, .out = out, .kinds = DS4_IS_ANY };
    bool     fits = true;

    *out = (ds4_leaves){ 0 };
    for (uint32_t i = 0; i < s->set[set].n && fits; i++) {
        fits = add(&x, s->member[s->set[set].first + i], 0, false);
    }
    if (fits) choose(&x, 0);
    free(x.list);
    free(x.choices);
    free(x.nots);
    ds4_schema_ok(s);
}
