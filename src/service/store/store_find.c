/* store_find.c - what the KV store has of a conversation, by its tokens or by its text. */
#include "service/store/store_local.h"

#include "text/bpe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- by tokens ------------------------------------------------------------------------------ */

typedef struct candidate {
    int64_t    id;
    uint32_t   pos;
    ds4_kv_key key, identity;
} candidate;

/* The walk from block to block along the tokens. */
typedef struct token_walk {
    const int32_t *tokens;
    uint32_t       n_tokens, max_pos;
    uint32_t       block_tokens, i_block;
    int64_t        block;               /* row of block i_block - 1; 0 at the beginning */
    bool           found;
    const store_view *view;
    candidate     *list;                /* tails that fit, shortest first */
    uint32_t       n, capacity;
    bool           failed;
} token_walk;

static bool step_on(void *ctx, const ds4_index_block *b)
{
    token_walk *w = ctx;

    w->found = b->size > 0 && b->parent == w->block
            && store_same_tokens(b->tokens, w->tokens + (size_t)w->i_block * w->block_tokens,
                                 w->block_tokens);
    if (w->found) w->block = b->id;
    return false;
}

static bool fits(void *ctx, const ds4_index_tail *t)
{
    token_walk    *w = ctx;
    const uint32_t from = w->i_block * w->block_tokens;

    if (t->pos < from || t->pos > w->max_pos || t->pos > w->n_tokens) return true;
    if (!store_same_tokens(t->tokens, w->tokens + from, t->pos - from)) return true;
    if (w->n == w->capacity) {
        const uint32_t more = w->capacity ? 2 * w->capacity : 32;
        void          *grew = realloc(w->list, more * sizeof *w->list);
        if (!grew) {
            w->failed = true;
            return false;
        }
        w->list = grew;
        w->capacity = more;
    }
    w->list[w->n++] = (candidate){ t->id, t->pos, t->key, w->view->owner.identity };
    return true;
}

static ds4_status walk_tokens(ds4_store *s, token_walk *w, ds4_err *err)
{
    ds4_kv_key key = w->view->root;

    w->i_block = 0;
    w->block = 0;
    for (;;) {
        DS4_TRY(ds4_index_tails_at(s->index, w->view->model, w->block, fits, w, err));
        const uint32_t from = w->i_block * w->block_tokens;
        if (w->failed || w->n_tokens - from < w->block_tokens || from + w->block_tokens > w->max_pos) break;
        key = ds4_kv_name(DS4_KV_BLOCK, &key, w->tokens + from, w->block_tokens);
        w->found = false;
        DS4_TRY(ds4_index_block_by_key(s->index, &key, step_on, w, err));
        if (!w->found) break;
        w->i_block++;
    }
    return w->failed ? ds4_fail(err, DS4_E_NOMEM, "%s: no memory to look there", s->dir) : DS4_OK;
}

/* Under every name that the model has. */
static ds4_status walk_views(ds4_store *s, token_walk *w, ds4_err *err)
{
    bool usable;

    w->n = 0;
    DS4_TRY(store_learn_names(s, &usable, err));
    for (uint32_t i = 0; usable && i < s->n_views; i++) {
        w->view = &s->view[i];
        DS4_TRY(walk_tokens(s, w, err));
    }
    return DS4_OK;
}

static int longer_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->pos > y->pos ? -1 : x->pos < y->pos;
}

ds4_status ds4_store_find(ds4_store *s, const int32_t *tokens, uint32_t n_tokens, uint32_t max_pos,
                          ds4_stored *out, ds4_err *err)
{
    token_walk w = { .tokens = tokens, .n_tokens = n_tokens, .max_pos = max_pos,
                     .block_tokens = s->form.block_tokens };

    *out = (ds4_stored){ .fd = -1 };
    if (!s->engine) return ds4_fail(err, DS4_E_ARG, "%s: opened without a model", s->dir);
    if (!store_is_there(s)) return DS4_OK;
    ds4_err    why = { .code = DS4_OK };
    ds4_status st = walk_views(s, &w, &why);
    if (st == DS4_E_FORMAT && (st = store_rebuild(s, &why, &why)) == DS4_OK) st = walk_views(s, &w, &why);
    if (st != DS4_OK && err) *err = why;
    if (st == DS4_OK && w.n > 0) qsort(w.list, w.n, sizeof *w.list, longer_first);
    for (uint32_t i = 0; st == DS4_OK && i < w.n; i++) {
        char name[STORE_NAME];
        store_name(DS4_KV_TAIL, &w.list[i].key, name);
        const int fd = store_pin(s, name);
        if (fd < 0) continue;
        *out = (ds4_stored){ .tail = w.list[i].id, .pos = w.list[i].pos, .fd = fd,
                              .identity = w.list[i].identity };
        break;
    }
    free(w.list);
    return st;
}

void ds4_store_unpin(ds4_stored *found)
{
    if (found->pos > 0 && found->fd >= 0) close(found->fd);
    *found = (ds4_stored){ .fd = -1 };
}

/* ---- by text --------------------------------------------------------------------------------- */

/* A block whose text lies on the way; what it follows has a lower number. */
typedef struct place {
    int64_t  id;
    uint32_t up;                        /* number of the one before + 1; 0: the beginning */
    uint32_t n_blocks;                  /* with this one */
    size_t   upto;                      /* bytes of the text */
    uint8_t *tokens;                    /* of the block; owned */
    uint32_t token_bytes;
} place;

/* Something that covers much of the text. */
typedef struct memory {
    uint32_t at;                        /* number of the place + 1; 0: the beginning */
    size_t   n_covered;                 /* bytes of the text, those of the place too */
    uint8_t *tokens;                    /* after the place; owned */
    uint32_t token_bytes;
} memory;

enum { MAX_PLACES = 16384, BEST = 4 };

typedef struct text_walk {
    ds4_store *s;
    int64_t    model;
    ds4_slice  text;
    place     *place;
    uint32_t   n, capacity;
    uint32_t   at;                      /* place looked at + 1 */
    size_t     upto;                    /* its bytes */
    memory     best[BEST];              /* most covered first */
    ds4_str    tail_tokens;             /* of the tail looked at */
    size_t     tail_upto;
    bool       failed;
} text_walk;

static size_t common_bytes(ds4_slice text, size_t from, ds4_slice other)
{
    const size_t left = text.n_bytes - from, most = other.n_bytes < left ? other.n_bytes : left;
    size_t       n = 0;

    while (n < most && text.data[from + n] == other.data[n]) n++;
    return n;
}

static bool add_place(void *ctx, const ds4_index_block *b)
{
    text_walk *w = ctx;

    if (b->text.n_bytes == 0 || common_bytes(w->text, w->upto, b->text) < b->text.n_bytes) return true;
    if (w->n == MAX_PLACES) return false;
    if (w->n == w->capacity) {
        const uint32_t more = w->capacity ? 2 * w->capacity : 64;
        void          *grew = realloc(w->place, more * sizeof *w->place);
        w->failed = !grew;
        if (!grew) return false;
        w->place = grew;
        w->capacity = more;
    }
    uint8_t *tokens = malloc(b->tokens.n_bytes + 1);
    w->failed = !tokens;
    if (!tokens) return false;
    memcpy(tokens, b->tokens.data, b->tokens.n_bytes);
    const uint32_t n_blocks = w->at ? w->place[w->at - 1].n_blocks + 1 : 1;
    w->place[w->n++] = (place){ .id = b->id, .up = w->at, .n_blocks = n_blocks,
                                .upto = w->upto + b->text.n_bytes, .tokens = tokens,
                                .token_bytes = (uint32_t)b->tokens.n_bytes };
    return true;
}

/* Remember tokens behind the place looked at, if they are among the best. */
static void offer(text_walk *w, size_t n_covered, ds4_slice first, ds4_slice second)
{
    uint32_t at = 0;

    while (at < BEST && w->best[at].tokens && w->best[at].n_covered >= n_covered) at++;
    if (at == BEST) return;
    uint8_t *tokens = malloc(first.n_bytes + second.n_bytes + 1);
    if (!tokens) {
        w->failed = true;
        return;
    }
    if (first.n_bytes) memcpy(tokens, first.data, first.n_bytes);
    if (second.n_bytes) memcpy(tokens + first.n_bytes, second.data, second.n_bytes);
    free(w->best[BEST - 1].tokens);
    memmove(&w->best[at + 1], &w->best[at], (BEST - 1 - at) * sizeof *w->best);
    w->best[at] = (memory){ .at = w->at, .n_covered = n_covered, .tokens = tokens,
                            .token_bytes = (uint32_t)(first.n_bytes + second.n_bytes) };
}

static bool see_ending(void *ctx, const ds4_index_ending *e)
{
    text_walk      *w = ctx;
    const ds4_slice before = { ds4_str_text(&w->tail_tokens), w->tail_tokens.n_bytes };

    offer(w, w->tail_upto + common_bytes(w->text, w->tail_upto, e->text), before, e->tokens);
    return !w->failed;
}

/* Tails at the place looked at whose own text fits; their endings are read afterwards. */
typedef struct tail_list {
    text_walk *w;
    struct {
        int64_t id;
        ds4_str tokens;
        size_t  upto;
    } item[32];
    uint32_t n;
} tail_list;

static bool see_tail(void *ctx, const ds4_index_tail *t)
{
    tail_list *l = ctx;
    text_walk *w = l->w;

    if (common_bytes(w->text, w->upto, t->text) < t->text.n_bytes) return true;
    l->item[l->n].id = t->id;
    l->item[l->n].tokens = (ds4_str){ 0 };
    l->item[l->n].upto = w->upto + t->text.n_bytes;
    ds4_str_add(&l->item[l->n].tokens, t->tokens.data, t->tokens.n_bytes);
    if (l->item[l->n].tokens.failed) w->failed = true;
    l->n++;
    return !w->failed && l->n < sizeof l->item / sizeof *l->item;
}

static ds4_status look_around(text_walk *w, ds4_err *err)
{
    const ds4_slice none = { NULL, 0 };
    const int64_t   id = w->at ? w->place[w->at - 1].id : 0;
    tail_list       l = { .w = w };

    w->upto = w->at ? w->place[w->at - 1].upto : 0;
    if (w->at) offer(w, w->upto, none, none);
    ds4_status st = ds4_index_tails_at(w->s->index, w->model, id, see_tail, &l, err);
    for (uint32_t i = 0; i < l.n; i++) {
        w->tail_tokens = l.item[i].tokens;
        w->tail_upto = l.item[i].upto;
        const ds4_slice own = { ds4_str_text(&w->tail_tokens), w->tail_tokens.n_bytes };
        if (st == DS4_OK) offer(w, w->tail_upto, own, none);
        if (st == DS4_OK) st = ds4_index_endings(w->s->index, l.item[i].id, see_ending, w, err);
        ds4_str_clear(&w->tail_tokens);
    }
    if (st == DS4_OK) st = ds4_index_children(w->s->index, w->model, id, add_place, w, err);
    if (st == DS4_OK && w->failed) st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory to look there", w->s->dir);
    return st;
}

static void append_tokens(ds4_tokens *to, const uint8_t *bytes, uint32_t n_bytes)
{
    for (uint32_t i = 0; i < n_bytes / 4; i++) ds4_tokens_add(to, ds4_kv_token(bytes, i));
}

/* Put together the tokens from the beginning. */
static void gather(const text_walk *w, const memory *m, uint32_t *way, ds4_tokens *out)
{
    uint32_t n = 0;

    for (uint32_t at = m->at; at; at = w->place[at - 1].up) way[n++] = at - 1;
    while (n > 0) {
        const place *p = &w->place[way[--n]];
        append_tokens(out, p->tokens, p->token_bytes);
    }
    append_tokens(out, m->tokens, m->token_bytes);
}

static ds4_status hand_out(const text_walk *w, ds4_store_recall_fn *fn, void *ctx, ds4_err *err)
{
    uint32_t *way = malloc((w->n + 1ull) * sizeof *way);
    bool      failed = !way;

    for (int i = 0; !failed && i < BEST && w->best[i].tokens; i++) {
        ds4_tokens tokens = { 0 };
        gather(w, &w->best[i], way, &tokens);
        failed = tokens.failed;
        if (!failed) fn(ctx, tokens.ids, tokens.n);
        ds4_tokens_clear(&tokens);
    }
    free(way);
    return failed ? ds4_fail(err, DS4_E_NOMEM, "%s: no memory to look there", w->s->dir) : DS4_OK;
}

static ds4_status recall_view(ds4_store *s, int64_t model, ds4_slice text, ds4_store_recall_fn *fn, void *ctx,
                              ds4_err *err)
{
    text_walk  w = { .s = s, .model = model, .text = text };
    ds4_status st = look_around(&w, err);

    for (w.at = 1; st == DS4_OK && w.at <= w.n; w.at++) st = look_around(&w, err);
    if (st == DS4_OK) st = hand_out(&w, fn, ctx, err);
    for (uint32_t i = 0; i < w.n; i++) free(w.place[i].tokens);
    for (int i = 0; i < BEST; i++) free(w.best[i].tokens);
    free(w.place);
    return st;
}

ds4_status ds4_store_recall(ds4_store *s, ds4_slice text, ds4_store_recall_fn *fn, void *ctx, ds4_err *err)
{
    bool usable;

    if (!s->engine) return ds4_fail(err, DS4_E_ARG, "%s: opened without a model", s->dir);
    if (!store_is_there(s)) return DS4_OK;
    DS4_TRY(store_learn_names(s, &usable, err));
    for (uint32_t i = 0; usable && i < s->n_views; i++) {
        DS4_TRY(recall_view(s, s->view[i].model, text, fn, ctx, err));
    }
    return DS4_OK;
}

/* ---- loading ---------------------------------------------------------------------------------- */

typedef struct loader {
    ds4_store        *s;
    const int32_t    *tokens;
    const ds4_kv_key *keys;
    store_view        view;
    ds4_kv_kind       bad_kind;         /* what could not be used */
    ds4_kv_key        bad_key;
    bool              is_bad, is_gone;
} loader;

/* A file is used only if all that it says is what was looked for. */
static ds4_status check_file(const loader *l, const char *name, const ds4_kv_file *f, ds4_kv_kind kind,
                             const ds4_kv_key *parent, const ds4_kv_key *key, uint32_t pos, ds4_err *err)
{
    const ds4_slice stored = { (const char *)f->tokens, 4ull * f->n_tokens };

    if (f->kind == kind && f->pos == pos && ds4_kv_owner_eq(&f->owner, &l->view.owner)
        && ds4_kv_key_eq(&f->parent, parent) && ds4_kv_key_eq(&f->key, key)
        && store_same_tokens(stored, l->tokens + pos - f->n_tokens, f->n_tokens)) {
        return DS4_OK;
    }
    return ds4_fail(err, DS4_E_FORMAT, "%s/%s: holds something else", l->s->dir, name);
}

/* Read one file of the way. pos: tokens up to its end. The caller frees *bytes. */
static ds4_status read_one(loader *l, ds4_kv_kind kind, uint32_t pos, int fd, uint8_t **bytes,
                           ds4_kv_file *f, ds4_err *err)
{
    ds4_store       *s = l->s;
    const uint32_t   n = s->form.block_tokens;
    const uint32_t   before = kind == DS4_KV_BLOCK ? pos / n - 1 : pos / n;
    const ds4_kv_key key = kind == DS4_KV_BLOCK
        ? l->keys[before + 1]
        : ds4_kv_name(kind, &l->keys[before], l->tokens + (size_t)before * n, pos % n);
    char             name[STORE_NAME];
    uint64_t         n_bytes = 0;

    store_name(kind, &key, name);
    ds4_status st = store_read(s, name, fd, bytes, &n_bytes, err);
    if (st == DS4_OK) st = ds4_kv_file_parse(name, *bytes, n_bytes, f, err);
    if (st == DS4_OK) st = check_file(l, name, f, kind, &l->keys[before], &key, pos, err);
    if (st == DS4_E_FORMAT || st == DS4_E_IO) {
        l->bad_kind = kind;
        l->bad_key = key;
        l->is_bad = st == DS4_E_FORMAT;
        l->is_gone = st == DS4_E_IO && faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
    }
    return st;
}

static ds4_status give_block(void *ctx, uint32_t i, uint8_t *to, ds4_err *err)
{
    loader      *l = ctx;
    uint8_t     *bytes = NULL;
    ds4_kv_file  f;
    ds4_status   st = read_one(l, DS4_KV_BLOCK, (i + 1) * l->s->form.block_tokens, -1, &bytes, &f,
                               err);

    if (st == DS4_OK) memcpy(to, f.content, (size_t)f.n_bytes);
    free(bytes);
    return st;
}

/* A position that could not be used does not come up again. */
static void put_away(const loader *l, const ds4_err *why)
{
    ds4_store *s = l->s;
    char       name[STORE_NAME];
    ds4_err    err;

    if (!l->is_bad && !l->is_gone) return;
    store_name(l->bad_kind, &l->bad_key, name);
    ds4_status st = ds4_index_begin(s->index, &err);
    if (st == DS4_OK && l->is_bad) st = store_set_aside(s, name, why->text, &err);
    if (st == DS4_OK) st = store_lose(s, l->bad_kind, &l->bad_key, &err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, &err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
}

void ds4_store_count_hit(ds4_store *s, int64_t tail)
{
    ds4_err    err;
    if (!s->index || s->stopped) return;
    ds4_status st = ds4_index_begin(s->index, &err);
    if (st == DS4_OK) st = ds4_index_touch_tail(s->index, tail, true, &err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, &err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
}

ds4_status ds4_store_load(ds4_store *s, const ds4_stored *found, const int32_t *tokens,
                          const ds4_snapshot *base, ds4_snapshot **out, ds4_err *err)
{
    ds4_err     mine;
    ds4_err    *why = err ? err : &mine;
    loader      l = { .s = s, .tokens = tokens };
    uint8_t    *bytes = NULL;
    ds4_kv_file f = { 0 };

    if (!s->engine || found->pos == 0) return ds4_fail(err, DS4_E_ARG, "%s: nothing to load", s->dir);
    if (!s->index) return ds4_fail(err, DS4_E_IO, "%s: its index cannot be opened", s->dir);
    l.view.owner = (ds4_kv_owner){ .identity = found->identity, .form = s->form };
    l.view.root = ds4_kv_root(&l.view.owner);
    ds4_kv_key *keys = store_keys(&l.view, tokens, found->pos / s->form.block_tokens);
    if (!keys) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to load from it", s->dir);
    l.keys = keys;
    ds4_status st = read_one(&l, DS4_KV_TAIL, found->pos, found->fd, &bytes, &f, why);
    if (st == DS4_OK && f.n_bytes != ds4_engine_tail_bytes(s->engine, found->pos)) {
        l.is_bad = true;
        l.bad_kind = DS4_KV_TAIL;
        l.bad_key = f.key;
        st = ds4_fail(why, DS4_E_FORMAT, "%s: a tail of another size", s->dir);
    }
    if (st == DS4_OK) {
        const ds4_snapshot_parts parts = { .tokens = tokens, .pos = found->pos, .base = base,
                                           .source = give_block, .ctx = &l,
                                           .tail = f.content, .tail_bytes = f.n_bytes };
        st = ds4_snapshot_make(s->engine, &parts, out, why);
    }
    free(bytes);
    free(keys);
    if (st != DS4_OK) put_away(&l, why);
    else if (!s->defers_hits) ds4_store_count_hit(s, found->tail);
    return st;
}
