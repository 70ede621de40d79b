/* store_verify.c - read every file of the KV store and compare it with its row. */
#include "service/store/store_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct item {
    ds4_kv_kind kind;
    ds4_kv_key  key;
    ds4_kv_key  tokens;                 /* hash of the row's tokens */
    uint32_t    pos;
} item;

typedef struct items {
    item    *list;
    uint32_t n, capacity;
    bool     failed;
} items;

static bool add(items *l, const item *what)
{
    if (l->n == l->capacity) {
        const uint32_t more = l->capacity ? 2 * l->capacity : 256;
        void          *grew = realloc(l->list, more * sizeof *l->list);
        l->failed = !grew;
        if (!grew) return false;
        l->list = grew;
        l->capacity = more;
    }
    l->list[l->n++] = *what;
    return true;
}

static bool add_block(void *ctx, const ds4_index_block *b)
{
    const item what = { DS4_KV_BLOCK, b->key, ds4_kv_hash(b->tokens.data, b->tokens.n_bytes), b->pos };
    return b->size == 0 || add(ctx, &what);
}

static bool add_tail(void *ctx, const ds4_index_tail *t)
{
    const item what = { DS4_KV_TAIL, t->key, ds4_kv_hash(t->tokens.data, t->tokens.n_bytes), t->pos };
    return add(ctx, &what);
}

/* *bad_row: the file is good, and what the index says of it is not. */
static ds4_status check(ds4_store *s, const item *x, const char *name, bool *bad_row, ds4_err *why)
{
    uint8_t    *bytes = NULL;
    uint64_t    n_bytes = 0;
    ds4_kv_file f = { 0 };
    ds4_status  st = store_read(s, name, -1, &bytes, &n_bytes, why);

    if (st == DS4_OK) st = ds4_kv_file_parse(name, bytes, n_bytes, &f, why);
    if (st == DS4_OK) {
        const ds4_kv_key tokens = ds4_kv_hash(f.tokens, 4ull * f.n_tokens);
        *bad_row = f.pos != x->pos || !ds4_kv_key_eq(&tokens, &x->tokens);
        if (f.kind != x->kind || !ds4_kv_key_eq(&f.key, &x->key)) {
            *bad_row = false;
            st = ds4_fail(why, DS4_E_FORMAT, "%s/%s: holds something else", s->dir, name);
        } else if (*bad_row) {
            st = ds4_fail(why, DS4_E_FORMAT, "%s/%s: the index had it wrong", s->dir, name);
        }
    }
    free(bytes);
    return st;
}

/* A bad file is set aside; a good one gets a new row. */
static ds4_status put_away(ds4_store *s, const item *x, const char *name, bool bad_row, const char *why,
                           ds4_err *err)
{
    DS4_TRY(ds4_index_begin(s->index, err));
    ds4_status st = bad_row ? DS4_OK : store_set_aside(s, name, why, err);
    if (st == DS4_OK) st = store_lose(s, x->kind, &x->key, err);
    if (st == DS4_OK && bad_row) st = store_sweep(s, err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
    return st;
}

/* A file may have been evicted since it was listed; that is no fault. */
static ds4_status check_all(ds4_store *s, const items *l, ds4_store_verify_fn *fn, void *ctx, ds4_err *err)
{
    for (uint32_t i = 0; i < l->n; i++) {
        const item *x = &l->list[i];
        char        name[STORE_NAME];
        ds4_err     why = { 0 };
        store_name(x->kind, &x->key, name);
        bool             bad_row = false;
        const ds4_status st = check(s, x, name, &bad_row, &why);
        if (st == DS4_E_IO && faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (st == DS4_E_NOMEM) return ds4_fail(err, st, "%s", why.text);
        fn(ctx, name, st == DS4_OK ? NULL : why.text);
        if (st != DS4_OK) DS4_TRY(put_away(s, x, name, bad_row, why.text, err));
    }
    return DS4_OK;
}

ds4_status ds4_store_verify(ds4_store *s, ds4_store_verify_fn *fn, void *ctx, ds4_err *err)
{
    items      l = { .failed = false };
    ds4_status st = s->index ? DS4_OK : ds4_fail(err, DS4_E_IO, "%s: its index cannot be opened", s->dir);
    if (st == DS4_OK) st = ds4_index_all_blocks(s->index, add_block, &l, err);

    if (st == DS4_OK) st = ds4_index_all_tails(s->index, add_tail, &l, err);
    if (st == DS4_OK && l.failed) st = ds4_fail(err, DS4_E_NOMEM, "%s: no memory for its listing", s->dir);
    if (st == DS4_OK) st = check_all(s, &l, fn, ctx, err);
    free(l.list);
    return st;
}
