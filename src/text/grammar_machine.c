/* grammar_machine.c - putting the automaton of a grammar together, and what is known of it. */
#include "text/grammar_machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ds4_status ds4_g_new(const ds4_grammar_options *opt, ds4_grammar **out, ds4_err *err)
{
    ds4_grammar *g = calloc(1, sizeof *g);

    if (!g) return ds4_fail(err, DS4_E_NOMEM, "no memory for a grammar");
    g->work = DS4_G_MAX_WORK;
    if (opt) g->opt = *opt;
    g->n_states = g->n_edges = 1; /* 0 means none */
    *out = g;
    return DS4_OK;
}

void ds4_grammar_free(ds4_grammar *g)
{
    if (!g) return;
    free(g->state);
    free(g->edge);
    free(g);
}

/* ---- failures and their bounds -------------------------------------------------------------- */

void ds4_g_give_up(ds4_grammar *g, ds4_status code, const char *why)
{
    if (g->failed != DS4_OK) return;
    g->failed = code;
    snprintf(g->why, sizeof g->why, "%s", why);
}

bool ds4_g_forgive(ds4_grammar *g)
{
    const bool room = g->work > 0 && g->n_states < DS4_G_MAX_STATES && g->n_edges < DS4_G_MAX_EDGES;

    if (g->failed == DS4_OK) return true;
    if (g->failed != DS4_E_LIMIT || !room) return false;
    g->failed = DS4_OK;
    return true;
}

static void give_up_over(ds4_grammar *g, int most, const char *what)
{
    char why[160];

    snprintf(why, sizeof why, "the grammar would need more than %d %s, which is the bound", most,
             what);
    ds4_g_give_up(g, DS4_E_LIMIT, why);
}

bool ds4_g_pay(ds4_grammar *g, uint32_t units)
{
    if (g->failed != DS4_OK) return false;
    if (units > g->work) {
        g->work = 0;
        give_up_over(g, DS4_G_MAX_WORK, "units of work to be made");
        return false;
    }
    const uint32_t before = g->work >> 16;
    g->work -= units;
    if (g->work >> 16 != before && g->opt.stop && g->opt.stop(g->opt.stop_ctx)) {
        ds4_g_give_up(g, DS4_E_CANCELLED, "cancelled while a grammar was made");
        return false;
    }
    return true;
}

/* ---- states and edges ----------------------------------------------------------------------- */

void *ds4_g_room(ds4_grammar *g, void *array, uint32_t n, uint32_t *capacity, size_t each)
{
    if (n < *capacity) return array;
    const uint32_t more = *capacity ? 2 * *capacity : 64;
    void          *p = realloc(array, more * each);

    if (!p) {
        ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
        return NULL;
    }
    *capacity = more;
    return p;
}

uint32_t ds4_g_state_new(ds4_grammar *g)
{
    if (!ds4_g_pay(g, 1)) return 0;
    if (g->n_states == DS4_G_MAX_STATES) {
        give_up_over(g, DS4_G_MAX_STATES, "states");
        return 0;
    }
    void *p = ds4_g_room(g, g->state, g->n_states, &g->cap_states, sizeof *g->state);
    if (!p) return 0;
    g->state = p;
    g->state[g->n_states] = (ds4_g_state){ 0 };
    return g->n_states++;
}

void ds4_g_end(ds4_grammar *g, uint32_t state)
{
    if (g->failed == DS4_OK) g->state[state].ends = true;
}

static void add_edge(ds4_grammar *g, uint32_t at, ds4_g_edge edge)
{
    if (!ds4_g_pay(g, 1)) return;
    if (g->n_edges == DS4_G_MAX_EDGES) {
        give_up_over(g, DS4_G_MAX_EDGES, "transitions");
        return;
    }
    void *p = ds4_g_room(g, g->edge, g->n_edges, &g->cap_edges, sizeof *g->edge);
    if (!p) return;
    g->edge = p;
    edge.next = g->state[at].first;
    g->state[at].first = g->n_edges;
    g->edge[g->n_edges++] = edge;
}

void ds4_g_bytes(ds4_grammar *g, uint32_t at, unsigned from, unsigned up_to, uint32_t to)
{
    add_edge(g, at,
             (ds4_g_edge){
                 .to = to, .kind = DS4_G_BYTES, .from = (uint8_t)from, .up_to = (uint8_t)up_to });
}

void ds4_g_marker(ds4_grammar *g, uint32_t at, uint32_t to)
{
    add_edge(g, at, (ds4_g_edge){ .to = to, .kind = DS4_G_MARKER });
}

void ds4_g_go(ds4_grammar *g, uint32_t at, uint32_t to)
{
    add_edge(g, at, (ds4_g_edge){ .to = to, .kind = DS4_G_GO });
}

void ds4_g_call(ds4_grammar *g, uint32_t at, uint32_t rule, uint32_t to)
{
    add_edge(g, at, (ds4_g_edge){ .to = to, .rule = rule, .kind = DS4_G_CALL });
}

uint32_t ds4_g_text(ds4_grammar *g, uint32_t at, ds4_slice text)
{
    for (size_t i = 0; i < text.n_bytes && g->failed == DS4_OK; i++) {
        const unsigned char byte = (unsigned char)text.data[i];
        const uint32_t      to = ds4_g_state_new(g);
        ds4_g_bytes(g, at, byte, byte, to);
        at = to;
    }
    return at;
}

uint32_t ds4_g_literal(ds4_grammar *g, uint32_t at, const char *text)
{
    return ds4_g_text(g, at, (ds4_slice){ text, strlen(text) });
}

/* ---- repetition ----------------------------------------------------------------------------- */

enum { MAX_POWERS = 32, MAX_CHAIN = 128 };

/* Rules that take a part 1, 2, 4, ... times, each made of two of the one before. */
typedef struct powers {
    uint32_t rule[MAX_POWERS], n;
} powers;

static uint32_t power(ds4_grammar *g, powers *p, uint32_t i)
{
    for (; p->n <= i && g->failed == DS4_OK; p->n++) {
        const uint32_t half = p->rule[p->n - 1];
        const uint32_t begin = ds4_g_state_new(g), middle = ds4_g_state_new(g),
                       end = ds4_g_state_new(g);
        ds4_g_call(g, begin, half, middle);
        ds4_g_call(g, middle, half, end);
        ds4_g_end(g, end);
        p->rule[p->n] = begin;
    }
    return p->rule[i];
}

static uint32_t highest_bit(uint32_t n)
{
    uint32_t i = 0;

    while (n >> i > 1) i++;
    return i;
}

static uint32_t exactly(ds4_grammar *g, powers *p, uint32_t n, uint32_t at)
{
    while (n > 0 && g->failed == DS4_OK) {
        const uint32_t i = highest_bit(n), to = ds4_g_state_new(g);
        ds4_g_call(g, at, power(g, p, i), to);
        at = to;
        n -= 1u << i;
    }
    return at;
}

/* A count up to n has fewer bits than n, each of which may be set; or it begins with the
 * highest bit of n, and the rest is a count up to the rest. */
static void at_most(ds4_grammar *g, powers *p, uint32_t n, uint32_t at, uint32_t to)
{
    while (n > 0 && g->failed == DS4_OK) {
        const uint32_t top = highest_bit(n);
        uint32_t       below = at;
        for (uint32_t i = top; i-- > 0;) {
            const uint32_t next = ds4_g_state_new(g);
            ds4_g_call(g, below, power(g, p, i), next);
            ds4_g_go(g, below, next);
            below = next;
        }
        ds4_g_go(g, below, to);
        const uint32_t behind = ds4_g_state_new(g);
        ds4_g_call(g, at, power(g, p, top), behind);
        at = behind;
        n -= 1u << top;
    }
    ds4_g_go(g, at, to);
}

/* Small counts are a chain: a walk has less to follow in it. */
static void chain(ds4_grammar *g, uint32_t part, uint32_t least, uint32_t most, uint32_t at,
                  uint32_t to)
{
    for (uint32_t i = 0; i < most && g->failed == DS4_OK; i++) {
        const uint32_t next = ds4_g_state_new(g);
        if (i >= least) ds4_g_go(g, at, to);
        ds4_g_call(g, at, part, next);
        at = next;
    }
    ds4_g_go(g, at, to);
}

void ds4_g_repeat(ds4_grammar *g, uint32_t part, uint32_t least, uint32_t most, uint32_t at,
                  uint32_t to)
{
    powers p = { .rule = { part }, .n = 1 };

    if (most <= MAX_CHAIN) {
        chain(g, part, least, most, at, to);
        return;
    }
    at = exactly(g, &p, least, at);
    if (most != UINT32_MAX) {
        at_most(g, &p, most - least, at, to);
        return;
    }
    const uint32_t loop = ds4_g_state_new(g);
    ds4_g_go(g, at, loop);
    ds4_g_call(g, loop, part, loop);
    ds4_g_go(g, loop, to);
}

/* ---- what is known of the whole ------------------------------------------------------------- */

/* Bytes between two neighbouring borders of ranges behave alike. */
static void find_classes(ds4_grammar *g)
{
    bool border[257] = { [0] = true };

    for (uint32_t i = 1; i < g->n_edges; i++) {
        if (g->edge[i].kind != DS4_G_BYTES) continue;
        border[g->edge[i].from] = true;
        border[g->edge[i].up_to + 1] = true;
    }
    g->n_classes = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        if (border[byte]) g->byte_of[g->n_classes++] = (uint8_t)byte;
        g->class_of[byte] = (uint8_t)(g->n_classes - 1);
    }
}

/* For needs: which edges lead to a state or call it. */
typedef struct needs {
    uint32_t *first;     /* [n_states] edge into the state; 0: none */
    uint32_t *call;      /* [n_states] edge that calls it */
    uint32_t *next;      /* [n_edges] the next edge into the same state */
    uint32_t *next_call; /* [n_edges] */
    uint32_t *from;      /* [n_edges] the edge's state */
    uint32_t *queue;     /* [n_states] states in the order in which their need was found */
    uint32_t  n_queue;
} needs;

static void find_sources(const ds4_grammar *g, needs *n)
{
    for (uint32_t s = 1; s < g->n_states; s++) {
        for (uint32_t i = g->state[s].first; i; i = g->edge[i].next) {
            const ds4_g_edge *e = &g->edge[i];
            n->from[i] = s;
            n->next[i] = n->first[e->to];
            n->first[e->to] = i;
            if (e->kind != DS4_G_CALL) continue;
            n->next_call[i] = n->call[e->rule];
            n->call[e->rule] = i;
        }
    }
}

static void found(ds4_grammar *g, needs *n, uint32_t state, uint32_t need)
{
    if (g->state[state].need != DS4_G_NEVER) return;
    g->state[state].need = (uint8_t)need;
    n->queue[n->n_queue++] = state;
}

/* A state whose need is known tells it to those in front of it, for needs up to `level`. */
static void spread(ds4_grammar *g, needs *n, uint32_t state, uint32_t level)
{
    for (uint32_t i = n->first[state]; i; i = n->next[i]) {
        const ds4_g_edge *e = &g->edge[i];
        if (e->kind == DS4_G_CALL && g->state[e->rule].need + 1u > level) continue;
        found(g, n, n->from[i], level);
    }
    for (uint32_t i = n->call[state]; i; i = n->next_call[i]) {
        const uint32_t behind = g->state[g->edge[i].to].need;
        if (g->state[state].need + 1u > level || behind > level) continue;
        found(g, n, n->from[i], level);
    }
}

/* Level by level: first all states that need no call, then those that need one, ... A state
 * that was found at a lower level is looked at again one level later, because then a call
 * of it is affordable. */
static void find_needs(ds4_grammar *g, needs *n)
{
    uint32_t previous = 0; /* where the finds of the level before begin */

    for (uint32_t s = 1; s < g->n_states; s++) g->state[s].need = DS4_G_NEVER;
    for (uint32_t s = 1; s < g->n_states; s++) {
        if (g->state[s].ends) found(g, n, s, 0);
    }
    for (uint32_t level = 0; level < DS4_G_MAX_STACK; level++) {
        const uint32_t begin = level ? n->n_queue : 0;
        for (uint32_t i = previous; i < n->n_queue; i++) spread(g, n, n->queue[i], level);
        if (n->n_queue == begin) break;
        previous = begin;
    }
}

ds4_status ds4_g_analyse(ds4_grammar *g, ds4_err *err)
{
    needs     n = { 0 };
    uint32_t *all = NULL;

    if (g->failed == DS4_OK) {
        all = calloc(3 * (size_t)g->n_states + 3 * (size_t)g->n_edges, sizeof *all);
        if (!all) ds4_g_give_up(g, DS4_E_NOMEM, "no memory for a grammar");
    }
    if (g->failed != DS4_OK) return ds4_fail(err, g->failed, "%s", g->why);
    n.first = all;
    n.call = n.first + g->n_states;
    n.queue = n.call + g->n_states;
    n.next = n.queue + g->n_states;
    n.next_call = n.next + g->n_edges;
    n.from = n.next_call + g->n_edges;
    find_sources(g, &n);
    find_needs(g, &n);
    free(all);
    find_classes(g);
    if (g->state[g->start].need != DS4_G_NEVER) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "no value can fit the schema");
}

ds4_status ds4_g_finish(ds4_grammar *g, ds4_grammar **out, ds4_err *err)
{
    const ds4_status st = ds4_g_analyse(g, err);

    if (st != DS4_OK) {
        ds4_grammar_free(g);
        return st;
    }
    *out = g;
    return DS4_OK;
}
