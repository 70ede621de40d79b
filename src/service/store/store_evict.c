/* store_evict.c - what leaves the KV store when room is needed.
 *
 * Files set aside go first. Texts (responses and turns) are small beside rows and cannot be computed
 * again: they may take half of the budget before their oldest go, and beyond it only what rows leave.
 *
 * A tail makes a position usable; blocks serve the tails behind them and go with the last
 * of these. The tail that was not used for longest goes first. Each doubling of its hits
 * counts like six hours; a tail that has a longer one on its only way on is worth less,
 * because that one serves in its place. A tail from which several ways lead stays as long
 * as there is any other. */
#include "service/store/store_local.h"

#include "service/store/store_text_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HOUR_MS (3600.0 * 1000)
#define HIT_MS  (6 * HOUR_MS)           /* for each doubling */
#define SUPERSEDED_MS (12 * HOUR_MS)
#define SLACK (UINT64_C(128) << 10)     /* for the index and its journal to grow */

/* Up to this length a conversation may keep SHORT_TAILS tails on its way; longer ones as
 * many as TAIL_BYTES_PER_TOKEN allow. With 3,514.25 bytes of rows for a token of V4 Flash,
 * tails of 3.6 MB and 15 bytes for tokens, texts and names everything stays below 3,600. */
enum { HALF = 128 };                    /* tails lie at its multiples, as a rule */

enum { SHORT_WAY = 65536, SHORT_TAILS = 4, TAIL_BYTES_PER_TOKEN = 62 };

typedef struct node {
    int64_t    id;
    uint32_t   up;                      /* index of the block before + 1; 0: none */
    uint32_t   n_children, n_tails;     /* tails at it and behind it */
    uint32_t   child, sibling;          /* lists of blocks: index + 1; 0: the end */
    uint32_t   tail;                    /* tails at it, the same */
    int32_t    next[2];                 /* its first token, and that after HALF tokens */
    ds4_kv_key half;                    /* hash of its first HALF tokens */
    uint64_t   size;
    ds4_kv_key key;
    bool       keep, gone;
} node;

typedef struct leaf {
    int64_t       id, model;
    uint32_t      at;                   /* index of its block + 1; 0: none */
    uint32_t      pos;
    uint32_t      beside;               /* list of tails at one block: index + 1; 0: the end */
    ds4_kv_key    key;
    ds4_tail_kind kind;
    uint64_t      size, hits;
    int64_t       used;
    uint32_t      n_behind;             /* longer tails behind it */
    bool          forks;                /* several ways lead on from it */
    uint8_t      *tokens;               /* those after its block; owned */
    uint32_t      token_bytes;
    bool          gone, pinned;
} leaf;

typedef struct tree {
    node    *block;
    leaf    *tail;
    uint32_t n_blocks, n_tails, block_capacity, tail_capacity;
    uint32_t short_tail;                /* list of those that have no block */
    bool     failed;
} tree;

/* ---- reading the index ----------------------------------------------------------------------- */

/* Ids grow from one row to the next, so the rows are sorted by them. */
static uint32_t find_block(const tree *t, int64_t id)
{
    uint32_t low = 0, high = t->n_blocks;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (t->block[middle].id < id) low = middle + 1;
        else high = middle;
    }
    return low < t->n_blocks && t->block[low].id == id ? low + 1 : 0;
}

static bool grow(void **items, uint32_t n, uint32_t *capacity, size_t item_bytes)
{
    if (n < *capacity) return true;
    const uint32_t more = *capacity ? 2 * *capacity : 256;
    void          *grew = realloc(*items, more * item_bytes);
    if (!grew) return false;
    *items = grew;
    *capacity = more;
    return true;
}

static bool add_node(void *ctx, const ds4_index_block *b)
{
    tree *t = ctx;
    void *items = t->block;

    if (!grow(&items, t->n_blocks, &t->block_capacity, sizeof *t->block)) {
        t->failed = true;
        return false;
    }
    t->block = items;
    node *n = &t->block[t->n_blocks];
    *n = (node){ .id = b->id, .up = find_block(t, b->parent), .size = b->size, .key = b->key };
    t->n_blocks++;
    if (b->tokens.n_bytes > 4 * HALF) {
        const uint8_t *tokens = (const uint8_t *)b->tokens.data;
        n->next[0] = ds4_kv_token(tokens, 0);
        n->next[1] = ds4_kv_token(tokens, HALF);
        n->half = ds4_kv_hash(tokens, 4 * HALF);
    }
    return true;
}

static bool add_leaf(void *ctx, const ds4_index_tail *x)
{
    tree    *t = ctx;
    void    *items = t->tail;
    uint8_t *tokens = malloc(x->tokens.n_bytes + 1);

    if (!tokens || !grow(&items, t->n_tails, &t->tail_capacity, sizeof *t->tail)) {
        free(tokens);
        t->failed = true;
        return false;
    }
    t->tail = items;
    if (x->tokens.n_bytes) memcpy(tokens, x->tokens.data, x->tokens.n_bytes);
    t->tail[t->n_tails++] = (leaf){
        .id = x->id, .model = x->model, .at = find_block(t, x->block), .pos = x->pos,
        .key = x->key, .kind = x->kind, .size = x->size, .hits = x->hits, .used = x->used, .tokens = tokens,
        .token_bytes = (uint32_t)x->tokens.n_bytes,
    };
    return true;
}

static void free_tree(tree *t)
{
    for (uint32_t i = 0; i < t->n_tails; i++) free(t->tail[i].tokens);
    free(t->tail);
    free(t->block);
}

/* The token that a longer tail at the same block goes on with behind x; -1: it does not
 * follow x. */
static int32_t next_beside(const leaf *x, const leaf *other)
{
    if (other->model != x->model || other->pos <= x->pos) return -1;
    if (memcmp(other->tokens, x->tokens, x->token_bytes) != 0) return -1;
    return ds4_kv_token(other->tokens, x->token_bytes / 4);
}

/* Find the token that a block behind x's goes on with; -1: it has none. */
static int32_t next_block(const leaf *x, const ds4_kv_key *half, const node *b)
{
    if (b->n_tails == 0) return -1;
    if (x->token_bytes == 0) return b->next[0];
    return x->token_bytes == 4 * HALF && ds4_kv_key_eq(half, &b->half) ? b->next[1] : -1;
}

/* Count the ways that lead on from a tail: more than one token may follow. */
static void count_ways(const tree *t, leaf *x)
{
    const ds4_kv_key half = ds4_kv_hash(x->tokens, x->token_bytes);
    int32_t          first = -1;

    for (uint32_t i = x->at ? t->block[x->at - 1].tail : t->short_tail; i; i = t->tail[i - 1].beside) {
        const int32_t next = next_beside(x, &t->tail[i - 1]);
        if (next < 0) continue;
        x->n_behind++;
        x->forks |= first >= 0 && next != first;
        first = next;
    }
    for (uint32_t i = x->at ? t->block[x->at - 1].child : 0; i; i = t->block[i - 1].sibling) {
        const int32_t next = next_block(x, &half, &t->block[i - 1]);
        if (next < 0) continue;
        x->n_behind += t->block[i - 1].n_tails;
        x->forks |= first >= 0 && next != first;
        first = next;
    }
}

static void count(tree *t)
{
    for (uint32_t i = 0; i < t->n_tails; i++) {
        leaf     *x = &t->tail[i];
        uint32_t *list = x->at ? &t->block[x->at - 1].tail : &t->short_tail;
        if (x->at) t->block[x->at - 1].n_tails++;
        x->beside = *list;
        *list = i + 1;
    }
    for (uint32_t i = t->n_blocks; i-- > 0;) {
        node *b = &t->block[i];
        if (!b->up) continue;
        node *up = &t->block[b->up - 1];
        up->n_children++;
        up->n_tails += b->n_tails;
        b->sibling = up->child;
        up->child = i + 1;
    }
    for (uint32_t i = 0; i < t->n_tails; i++) count_ways(t, &t->tail[i]);
}

static ds4_status read_tree(ds4_store *s, tree *t, ds4_err *err)
{
    DS4_TRY(ds4_index_all_blocks(s->index, add_node, t, err));
    DS4_TRY(ds4_index_all_tails(s->index, add_leaf, t, err));
    if (t->failed) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its tree", s->dir);
    count(t);
    return DS4_OK;
}

/* ---- removing ------------------------------------------------------------------------------------ */

/* Remove a block that serves nobody, and those before it that then serve nobody either. */
static ds4_status remove_blocks(ds4_store *s, tree *t, uint32_t at, uint64_t *freed, ds4_err *err)
{
    char name[STORE_NAME];

    while (at) {
        node *b = &t->block[at - 1];
        if (b->gone || b->keep || b->n_tails > 0 || b->n_children > 0) return DS4_OK;
        store_name(DS4_KV_BLOCK, &b->key, name);
        if (!store_remove(s, name)) return DS4_OK;
        DS4_TRY(ds4_index_drop_block(s->index, b->id, err));
        b->gone = true;
        *freed += b->size;
        at = b->up;
        if (at) t->block[at - 1].n_children--;
    }
    return DS4_OK;
}

static ds4_status remove_tail(ds4_store *s, tree *t, leaf *x, uint64_t *freed, ds4_err *err)
{
    char name[STORE_NAME];

    store_name(DS4_KV_TAIL, &x->key, name);
    if (!store_remove(s, name)) {
        x->pinned = true;
        return DS4_OK;
    }
    DS4_TRY(ds4_index_drop_tail(s->index, x->id, err));
    x->gone = true;
    *freed += x->size;
    for (uint32_t at = x->at; at; at = t->block[at - 1].up) t->block[at - 1].n_tails--;
    return remove_blocks(s, t, x->at, freed, err);
}

static double worth(const leaf *x)
{
    const double less = x->n_behind > 0 && !x->forks ? SUPERSEDED_MS : 0;
    return (double)x->used + HIT_MS * log2(1.0 + (double)x->hits) - less;
}

static leaf *cheapest(tree *t)
{
    leaf *best = NULL;

    for (int forks = 0; forks < 2 && !best; forks++) {
        for (uint32_t i = 0; i < t->n_tails; i++) {
            leaf *x = &t->tail[i];
            if (x->gone || x->pinned || x->forks != (forks == 1)) continue;
            if (!best || worth(x) < worth(best)) best = x;
        }
    }
    return best;
}

/* Blocks that serve nobody, left by a writer that was cut short. */
static ds4_status remove_idle(ds4_store *s, tree *t, uint64_t *freed, ds4_err *err)
{
    for (uint32_t i = t->n_blocks; i > 0; i--) DS4_TRY(remove_blocks(s, t, i, freed, err));
    return DS4_OK;
}

/* The first file set aside; they go before anything that is good. */
typedef struct first_aside {
    char     name[DS4_INDEX_NAME];
    uint64_t size;
} first_aside;

static bool take_aside(void *ctx, const char *name, uint64_t n_bytes)
{
    first_aside *a = ctx;

    memcpy(a->name, name, strlen(name) + 1);
    a->size = n_bytes;
    return false;
}

static ds4_status remove_aside(ds4_store *s, uint64_t enough, uint64_t *freed, ds4_err *err)
{
    while (*freed < enough) {
        first_aside a = { .size = 0 };
        DS4_TRY(ds4_index_each_aside(s->index, take_aside, &a, err));
        if (!a.name[0]) break;
        /* A folder may come from somebody else: a row does not decide what is removed. */
        const bool ours = store_name_is_aside(a.name);
        if (ours && !store_remove(s, a.name)) break;
        DS4_TRY(ds4_index_set_aside(s->index, a.name, 0, err));
        if (ours) *freed += a.size;
    }
    return DS4_OK;
}

static bool any_pinned(const tree *t)
{
    for (uint32_t i = 0; i < t->n_tails; i++) {
        if (!t->tail[i].gone) return true;
    }
    return false;
}

/* Texts that take more than their half. */
static ds4_status shrink_texts(ds4_store *s, uint64_t enough, uint64_t most, uint64_t *freed, ds4_err *err)
{
    ds4_text_sums sums;

    if (*freed >= enough) return DS4_OK;
    DS4_TRY(ds4_text_sum(s->index, &sums, err));
    if (sums.n_bytes <= most) return DS4_OK;
    const uint64_t over = sums.n_bytes - most, want = enough - *freed;
    uint64_t       n = 0;
    DS4_TRY(ds4_text_shrink(s->index, over < want ? over : want, &n, err));
    *freed += n;
    return DS4_OK;
}

static ds4_status free_tails(ds4_store *s, tree *t, uint64_t enough, int64_t keep_block, uint64_t *freed,
                             ds4_err *err)
{
    if (*freed >= enough) return DS4_OK;
    DS4_TRY(read_tree(s, t, err));
    for (uint32_t at = find_block(t, keep_block); at; at = t->block[at - 1].up) {
        t->block[at - 1].keep = true;
    }
    DS4_TRY(remove_idle(s, t, freed, err));
    while (*freed < enough) {
        leaf *x = cheapest(t);
        if (!x) break;
        DS4_TRY(remove_tail(s, t, x, freed, err));
    }
    return DS4_OK;
}

static ds4_status free_bytes(ds4_store *s, tree *t, uint64_t enough, uint64_t max_bytes, int64_t keep_block,
                             ds4_err *err)
{
    uint64_t freed = 0;

    DS4_TRY(remove_aside(s, enough, &freed, err));
    DS4_TRY(shrink_texts(s, enough, max_bytes / 2, &freed, err));
    DS4_TRY(free_tails(s, t, enough, keep_block, &freed, err));
    DS4_TRY(shrink_texts(s, enough, 0, &freed, err));
    if (freed >= enough) return DS4_OK;
    return ds4_fail(err, DS4_E_LIMIT, "%s: %s", s->dir,
                    any_pinned(t) ? "what it keeps is in use" : "its budget is too small");
}

ds4_status store_make_room(ds4_store *s, uint64_t need, uint64_t max_bytes, int64_t keep_block,
                           ds4_err *err)
{
    ds4_index_sums sums;
    tree           t = { .failed = false };

    DS4_TRY(ds4_index_sum(s->index, &sums, err));
    const uint64_t used = sums.block_bytes + sums.tail_bytes + sums.reserved + sums.aside + sums.database;
    const uint64_t want = used + need + (need ? SLACK : 0);
    if (want <= max_bytes) return DS4_OK;
    /* Nothing goes for what could not stay. */
    if (need && sums.reserved + need + SLACK > max_bytes) {
        return ds4_fail(err, DS4_E_LIMIT, "%s: its budget is too small", s->dir);
    }
    const ds4_status st = free_bytes(s, &t, want - max_bytes, max_bytes, keep_block, err);
    free_tree(&t);
    return st;
}

/* ---- thinning out --------------------------------------------------------------------------------- */

/* Does a tail lie on the way of these tokens? */
static bool on_way(const leaf *x, const int32_t *tokens)
{
    const uint32_t  n = x->token_bytes / 4;
    const ds4_slice own = { (const char *)x->tokens, x->token_bytes };

    return store_same_tokens(own, tokens + x->pos - n, n);
}

/* A beginning that others share, or that has served before, is not this way's to give up. */
static bool is_shared(const leaf *x)
{
    return x->forks || (x->kind == DS4_TAIL_ANCHOR && x->hits > 0);
}

/* Places on the way first, then older turns, the end of the system prompt last. */
static bool goes_before(const leaf *a, const leaf *b)
{
    if (a->kind != b->kind) return a->kind > b->kind;
    return a->pos < b->pos;
}

static uint32_t most_tails(const leaf *last)
{
    const uint64_t n = (uint64_t)TAIL_BYTES_PER_TOKEN * last->pos / (last->size + 1);

    if (last->pos < SHORT_WAY) return SHORT_TAILS;
    return n < 1 ? 1 : (uint32_t)n;
}

static ds4_status thin_out(ds4_store *s, tree *t, int64_t tail, const int32_t *tokens, ds4_err *err)
{
    leaf    *last = NULL;
    uint64_t freed = 0;

    for (uint32_t i = 0; i < t->n_tails; i++) {
        if (t->tail[i].id == tail) last = &t->tail[i];
    }
    if (!last) return DS4_OK;
    for (uint32_t at = last->at; at; at = t->block[at - 1].up) t->block[at - 1].keep = true;
    for (;;) {
        leaf    *first = NULL;
        uint32_t n = 1;
        for (uint32_t i = 0; i < t->n_tails; i++) {
            leaf *x = &t->tail[i];
            if (x == last || x->gone || x->pinned || x->pos >= last->pos || is_shared(x)) continue;
            if (x->model != last->model || (x->at && !t->block[x->at - 1].keep)) continue;
            if (!on_way(x, tokens)) continue;
            n++;
            if (!first || goes_before(x, first)) first = x;
        }
        if (n <= most_tails(last)) return DS4_OK;
        DS4_TRY(remove_tail(s, t, first, &freed, err));
    }
}

ds4_status store_thin_out(ds4_store *s, int64_t tail, const int32_t *tokens, ds4_err *err)
{
    tree       t = { .failed = false };
    ds4_status st = read_tree(s, &t, err);

    if (st == DS4_OK) st = thin_out(s, &t, tail, tokens, err);
    free_tree(&t);
    return st;
}

/* ---- for the program --------------------------------------------------------------------------- */

ds4_status ds4_store_set_rows(ds4_store *s, uint64_t n_bytes, ds4_err *err)
{
    const uint64_t more = n_bytes > s->rows_bytes ? n_bytes - s->rows_bytes : 0;

    if (n_bytes == s->rows_bytes) return DS4_OK;
    if (s->stopped || !s->index) {              /* they are counted when it is opened again */
        s->rows_bytes = n_bytes;
        return DS4_OK;
    }
    DS4_TRY(ds4_index_begin(s->index, err));
    ds4_status st = store_make_room(s, more, s->max_bytes, 0, err);
    if (st == DS4_E_LIMIT) {
        st = ds4_fail(err, DS4_E_LIMIT,
                      "%s: rows of the context take %llu MB there, and the budget of %llu MB has no room for"
                      " them (--kv-disk-space-mb)", s->dir, (unsigned long long)(n_bytes >> 20),
                      (unsigned long long)(s->max_bytes >> 20));
    }
    if (st == DS4_OK) st = store_be_writer(s, err);
    if (st == DS4_OK) st = ds4_index_reserve(s->index, s->writer, n_bytes, err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
    else s->rows_bytes = n_bytes;
    return st;
}

ds4_status ds4_store_prune(ds4_store *s, uint64_t n_bytes, ds4_err *err)
{
    if (!s->index) return ds4_fail(err, DS4_E_IO, "%s: its index cannot be opened", s->dir);
    DS4_TRY(ds4_index_begin(s->index, err));
    ds4_status st = store_make_room(s, 0, n_bytes, 0, err);
    if (st == DS4_OK) return ds4_index_commit(s->index, err);
    /* Files that went are gone, also when they were not enough. */
    ds4_err ignored;
    if (st != DS4_E_LIMIT || ds4_index_commit(s->index, &ignored) != DS4_OK) ds4_index_rollback(s->index);
    return st;
}
