/* suffix_index.c - see suffix_index.h.
 *
 * The automaton has a state for each set of places at which some pieces of the text end, at
 * most 2 n of them, and at most 3 n edges. The link of the state of the whole text is the set of
 * its longest end that occurs twice: that is the match. */
#include "service/suffix_index.h"

#include <stdlib.h>
#include <string.h>

struct suffix_state {
    uint32_t len;               /* of its longest piece */
    uint32_t link;              /* the state of its longest end with more places */
    uint32_t seen;              /* behind the last place where it ends, as far as known */
    uint32_t edges;             /* the first of a list; NONE: none */
};

struct suffix_edge {
    uint32_t from, to;
    int32_t  token;
    uint32_t next;              /* of the same state */
    uint32_t next_in_bucket;
};

#define NONE UINT32_MAX

enum {
    MAX_TOUCHED = 24,           /* shorter ends whose last place is brought up to date with a token */
};

/* The text is empty from now on. */
static void forget(suffix_index *x)
{
    x->n_text = x->n_states = x->n_edges = 0;
    x->last = x->match = x->match_end = 0;
    if (x->bucket) memset(x->bucket, 0xff, x->n_buckets * sizeof *x->bucket);
}

void suffix_index_clear(suffix_index *x)
{
    free(x->text);
    free(x->state);
    free(x->edge);
    free(x->bucket);
    *x = (suffix_index){ .max_tokens = x->max_tokens };
}

/* ---- memory -------------------------------------------------------------------------------- */

/* Make room for n items; what was there stays on failure. */
static bool grow(void **items, uint32_t *room, uint32_t n, size_t item_bytes)
{
    uint32_t want = *room ? *room : 256;

    if (n <= *room) return true;
    while (want < n) want *= 2;
    void *more = realloc(*items, want * item_bytes);
    if (!more) return false;
    *items = more;
    *room = want;
    return true;
}

static uint32_t bucket_of(const suffix_index *x, uint32_t state, int32_t token)
{
    const uint64_t key = ((uint64_t)state << 32 | (uint32_t)token) * UINT64_C(0x9e3779b97f4a7c15);

    return (uint32_t)(key >> 32) & (x->n_buckets - 1);
}

static bool grow_buckets(suffix_index *x)
{
    const uint32_t n = x->n_buckets ? x->n_buckets * 2 : 512;
    uint32_t      *more = realloc(x->bucket, n * sizeof *more);

    if (!more) return false;
    memset(more, 0xff, n * sizeof *more);
    x->bucket = more;
    x->n_buckets = n;
    for (uint32_t i = 0; i < x->n_edges; i++) {
        uint32_t *head = &more[bucket_of(x, x->edge[i].from, x->edge[i].token)];
        x->edge[i].next_in_bucket = *head;
        *head = i;
    }
    return true;
}

/* Room for one token: two states, and edges, of which a copied state may need any number. */
static bool make_room(suffix_index *x)
{
    return grow((void **)&x->text, &x->text_room, x->n_text + 1, sizeof *x->text)
        && grow((void **)&x->state, &x->state_room, x->n_states + 3, sizeof *x->state)
        && (x->n_buckets > 0 || grow_buckets(x));
}

/* ---- the automaton --------------------------------------------------------------------------- */

static uint32_t find_edge(const suffix_index *x, uint32_t state, int32_t token)
{
    uint32_t i = x->bucket[bucket_of(x, state, token)];

    while (i != NONE && (x->edge[i].from != state || x->edge[i].token != token)) {
        i = x->edge[i].next_in_bucket;
    }
    return i;
}

static void add_edge(suffix_index *x, uint32_t from, int32_t token, uint32_t to)
{
    if (x->failed || !grow((void **)&x->edge, &x->edge_room, x->n_edges + 1, sizeof *x->edge)
        || (x->n_edges >= x->n_buckets && !grow_buckets(x))) {
        x->failed = true;
        return;
    }
    uint32_t *head = &x->bucket[bucket_of(x, from, token)];
    x->edge[x->n_edges] = (suffix_edge){ .from = from, .to = to, .token = token,
                                         .next = x->state[from].edges, .next_in_bucket = *head };
    x->state[from].edges = *head = x->n_edges++;
}

static uint32_t add_state(suffix_index *x, uint32_t len, uint32_t link, uint32_t seen)
{
    x->state[x->n_states] = (suffix_state){ .len = len, .link = link, .seen = seen, .edges = NONE };
    return x->n_states++;
}

/* The places of state q are parted: those where it is behind p's piece become a state of their own. */
static uint32_t part_state(suffix_index *x, uint32_t p, uint32_t q, int32_t token)
{
    const uint32_t own = add_state(x, x->state[p].len + 1, x->state[q].link, x->state[q].seen);

    for (uint32_t i = x->state[q].edges; i != NONE; i = x->edge[i].next) {
        add_edge(x, own, x->edge[i].token, x->edge[i].to);
    }
    while (p != NONE) {
        const uint32_t i = find_edge(x, p, token);
        if (i == NONE || x->edge[i].to != q) break;
        x->edge[i].to = own;
        p = x->state[p].link;
    }
    x->state[q].link = own;
    return own;
}

/* The last places of the text's ends are here now. */
static void touch(suffix_index *x)
{
    uint32_t s = x->state[x->last].link;

    for (int n = 0; n < MAX_TOUCHED && s != 0; n++, s = x->state[s].link) x->state[s].seen = x->n_text;
}

static void extend(suffix_index *x, int32_t token)
{
    if (x->n_states == 0) add_state(x, 0, NONE, 0);
    x->text[x->n_text++] = token;
    const uint32_t now = add_state(x, x->state[x->last].len + 1, 0, x->n_text);
    uint32_t       p = x->last, i = NONE;

    for (; p != NONE && (i = find_edge(x, p, token)) == NONE; p = x->state[p].link) {
        add_edge(x, p, token, now);
        if (x->failed) return;
    }
    if (p != NONE) {
        const uint32_t q = x->edge[i].to;
        const bool     whole = x->state[q].len == x->state[p].len + 1;
        x->state[now].link = whole ? q : part_state(x, p, q, token);
    }
    x->last = now;
    x->match = x->state[x->state[now].link].len;
    x->match_end = x->state[x->state[now].link].seen;
    touch(x);
}

/* Begin anew with the newer half. */
static void forget_half(suffix_index *x)
{
    const uint32_t n = x->n_text / 2;
    int32_t       *text = x->text;

    /* The text is written over behind the place that is read. */
    memmove(text, text + (x->n_text - n), n * sizeof *text);
    forget(x);
    for (uint32_t i = 0; i < n && !x->failed; i++) {
        if (make_room(x)) extend(x, x->text[i]);
        else x->failed = true;
    }
}

void suffix_index_add(suffix_index *x, int32_t token)
{
    if (x->failed) return;
    if (x->n_text >= x->max_tokens) forget_half(x);
    if (!x->failed && make_room(x)) extend(x, token);
    else x->failed = true;
    if (x->failed) {
        suffix_index_clear(x);
        x->failed = true;
    }
}

uint32_t suffix_index_match(const suffix_index *x, uint32_t *end)
{
    *end = x->match_end;
    return x->match;
}
