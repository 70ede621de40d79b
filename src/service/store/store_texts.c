/* store_texts.c - see store_texts.h: an index in memory, and a thread before the one on disk. */
#include "service/store/store_texts.h"

#include "base/log.h"
#include "service/store/store_local.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A row costs the database this beside its own size: pages that are not full, entries of indices. */
enum { PAGE_BYTES = 4096 };
#define MOST_WAITING (UINT64_C(64) << 20)

typedef enum task_kind { KEEP_RESPONSE, DROP_RESPONSE, USE_RESPONSE, KEEP_TURN, USE_TURN } task_kind;

/* Something to write. Those with an answer belong to a thread that waits for it. */
typedef struct task {
    struct task             *next;
    task_kind                kind;
    bool                     waits, over, was_there;
    ds4_status               st;
    ds4_err                 *err;
    uint64_t                 n_bytes;
    ds4_kv_key               owner;
    const ds4_text_response *response;  /* the id alone for DROP_ and USE_RESPONSE */
    const ds4_kv_key        *keys;      /* [n_keys] of the turn */
    uint32_t                 n_keys;
    ds4_text_turn            turn;
    ds4_text_response        own;       /* response leads here when nobody waits */
} task;

struct ds4_texts {
    pthread_mutex_t lock;               /* of what lies in memory, and of the list */
    pthread_cond_t  wake, done;
    ds4_index      *memory;
    uint64_t        max_bytes, n_bytes, n_keys;
    uint32_t        max_keys;
    int64_t         n_uses;             /* numbers the uses of what lies in memory */
    task           *first, **end;
    uint64_t        waiting_bytes;
    bool            busy, stop;
    pthread_t       thread;
    pthread_mutex_t disk_lock;          /* of the store */
    ds4_store      *store;              /* NULL: in memory only, and no thread */
};

/* ---- in memory -------------------------------------------------------------------------------- */

/* Called with the lock. What does not fit is forgotten; without memory nothing is remembered. */
static void keep_within(ds4_texts *t, uint64_t n_more)
{
    uint64_t      freed = 0;
    ds4_text_sums sums = { 0 };

    t->n_bytes += n_more;
    const bool full = t->n_bytes > t->max_bytes;
    if (!full && (t->max_keys == 0 || t->n_keys <= t->max_keys)) return;
    const uint64_t over = full ? t->n_bytes - t->max_bytes : t->n_bytes / 16 + 1;
    if (ds4_text_shrink(t->memory, over, &freed, NULL) != DS4_OK) return;
    if (ds4_text_sum(t->memory, &sums, NULL) != DS4_OK) return;
    t->n_bytes = sums.n_bytes;
    t->n_keys = sums.n_handles;
}

static bool remember_response(ds4_texts *t, const ds4_kv_key *owner, const ds4_text_response *r)
{
    const uint64_t n = ds4_text_response_size(r);

    if (n > t->max_bytes) return false;
    pthread_mutex_lock(&t->lock);
    const bool ok = ds4_text_add_response(t->memory, owner, r, ++t->n_uses, NULL) == DS4_OK;
    keep_within(t, ok ? n : 0);
    pthread_mutex_unlock(&t->lock);
    return ok;
}

/* ---- on the disk ------------------------------------------------------------------------------ */

static ds4_status write_task(ds4_store *s, task *x, ds4_err *err)
{
    switch (x->kind) {
    case KEEP_RESPONSE: return ds4_text_add_response(s->index, &x->owner, x->response, 0, err);
    case USE_RESPONSE: return ds4_text_use_response(s->index, x->response->id, 0, err);
    case KEEP_TURN: return ds4_text_add_turn(s->index, x->keys, x->n_keys, &x->turn, 0, err);
    case USE_TURN: return ds4_text_use_turn(s->index, x->keys, 0, err);
    case DROP_RESPONSE: break;
    }
    if (x->n_keys) DS4_TRY(ds4_text_drop_turn(s->index, x->keys, err));
    return ds4_text_drop_response(s->index, &x->owner, x->response->id, &x->was_there, err);
}

/* Write tasks in one transaction. Room is made in one of its own, so that the pages that go
 * have left the file before others come. */
static ds4_status write_tasks(ds4_store *s, task *first, const task *behind, ds4_err *err)
{
    uint64_t   need = 0;
    bool       drops = false;
    ds4_status st = DS4_OK;

    for (task *x = first; x != behind; x = x->next) {
        need += x->n_bytes ? x->n_bytes + PAGE_BYTES : 0;
        drops |= x->kind == DROP_RESPONSE;
    }
    if (need > 0) {
        DS4_TRY(ds4_index_begin(s->index, err));
        st = store_make_room(s, need, s->max_bytes, 0, err);
        /* Rows that went are gone, also when they were not enough. */
        ds4_err          why;
        const ds4_status gone = st == DS4_OK || st == DS4_E_LIMIT ? ds4_index_commit(s->index, &why) : DS4_OK;
        if (gone != DS4_OK || (st != DS4_OK && st != DS4_E_LIMIT)) ds4_index_rollback(s->index);
        if (gone != DS4_OK) return ds4_fail(err, gone, "%s", why.text);
        if (st == DS4_OK) st = store_check_disk(s, need, err);
        if (st != DS4_OK) return st;
    }
    if (drops) DS4_TRY(ds4_sql_do(ds4_index_sql(s->index), "PRAGMA secure_delete = ON", err));
    DS4_TRY(ds4_index_begin(s->index, err));
    for (task *x = first; st == DS4_OK && x != behind; x = x->next) st = write_task(s, x, err);
    if (st == DS4_OK) st = ds4_index_commit(s->index, err);
    if (st != DS4_OK) ds4_index_rollback(s->index);
    if (drops) DS4_TRY(ds4_sql_do(ds4_index_sql(s->index), "PRAGMA secure_delete = FAST", NULL));
    return st;
}

static ds4_status write_or_stop(ds4_store *s, task *first, const task *behind, ds4_err *err)
{
    if (ds4_store_retry_ns(s) > 0) return ds4_fail(err, DS4_E_IO, "%s: not written for now", s->dir);
    ds4_status st = store_may_write(s, err);
    if (st == DS4_OK) st = write_tasks(s, first, behind, err);
    if (st == DS4_E_FORMAT && (st = store_rebuild(s, err, err)) == DS4_OK) {
        st = write_tasks(s, first, behind, err);
    }
    if (st == DS4_E_IO && store_is_lost(s)) {
        st = store_may_write(s, err);
        if (st == DS4_OK) st = write_tasks(s, first, behind, err);
    }
    if (st == DS4_E_IO || st == DS4_E_FORMAT) return store_stop(s, DS4_E_IO, err);
    if (st == DS4_OK) store_works(s);
    return st;
}

/* All together; what is too large for the budget must not keep the others out. */
static void write_list(ds4_store *s, task *first)
{
    ds4_err          err = { .code = DS4_OK };
    const ds4_status all = write_or_stop(s, first, NULL, &err);

    for (task *x = first; x; x = x->next) {
        x->st = all == DS4_E_LIMIT ? write_or_stop(s, x, x->next, &err) : all;
        if (x->err) *x->err = err;
    }
}

/* ---- the thread ------------------------------------------------------------------------------- */

static void *work(void *arg)
{
    ds4_texts *t = arg;

    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->stop && !t->first) pthread_cond_wait(&t->wake, &t->lock);
        if (!t->first) break;
        task *list = t->first;
        t->first = NULL;
        t->end = &t->first;
        t->waiting_bytes = 0;
        t->busy = true;
        pthread_mutex_unlock(&t->lock);
        pthread_mutex_lock(&t->disk_lock);
        write_list(t->store, list);
        pthread_mutex_unlock(&t->disk_lock);
        pthread_mutex_lock(&t->lock);
        t->busy = false;
        while (list) {
            task *next = list->next;
            list->over = true;
            if (!list->waits) free(list);
            list = next;
        }
        pthread_cond_broadcast(&t->done);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Called with the lock. */
static void put(ds4_texts *t, task *x)
{
    x->next = NULL;
    *t->end = x;
    t->end = &x->next;
    t->waiting_bytes += x->n_bytes;
    pthread_cond_signal(&t->wake);
}

static ds4_status put_and_wait(ds4_texts *t, task *x)
{
    x->waits = true;
    pthread_mutex_lock(&t->lock);
    put(t, x);
    while (!x->over) pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
    return x->st;
}

/* A task with copies of its own, or NULL. */
static task *new_task(task_kind kind, ds4_slice id, const ds4_kv_key *keys, uint32_t n_keys,
                      const ds4_text_turn *turn)
{
    static const ds4_text_turn none;
    const ds4_text_turn       *from = turn ? turn : &none;
    const ds4_slice            text[5] = { from->reasoning, from->content, from->calls, from->tokens, id };
    size_t                     n = sizeof(task) + n_keys * sizeof *keys;

    for (int i = 0; i < 5; i++) n += text[i].n_bytes;
    task *x = calloc(1, n);
    if (!x) return NULL;
    ds4_kv_key *own_keys = (ds4_kv_key *)(x + 1);
    char       *at = (char *)(own_keys + n_keys);
    if (n_keys) memcpy(own_keys, keys, n_keys * sizeof *keys);
    ds4_slice *const to[5] = { &x->turn.reasoning, &x->turn.content, &x->turn.calls,
                               &x->turn.tokens, &x->own.id };
    for (int i = 0; i < 5; at += text[i++].n_bytes) {
        if (text[i].n_bytes) memcpy(at, text[i].data, text[i].n_bytes);
        *to[i] = (ds4_slice){ at, text[i].n_bytes };
    }
    x->kind = kind;
    x->keys = own_keys;
    x->n_keys = n_keys;
    x->response = &x->own;
    return x;
}

/* A text that is found on the disk counts as used there. */
static void note_use(ds4_texts *t, task *x)
{
    if (!x) return;
    pthread_mutex_lock(&t->lock);
    put(t, x);
    pthread_mutex_unlock(&t->lock);
}

/* ---- responses -------------------------------------------------------------------------------- */

bool ds4_texts_keep_response(ds4_texts *t, const ds4_kv_key *owner, const ds4_text_response *r)
{
    ds4_err err = { .code = DS4_OK };
    task    x = { .kind = KEEP_RESPONSE, .owner = *owner, .response = r, .err = &err,
                  .n_bytes = ds4_text_response_size(r) };

    if (!t->store) return remember_response(t, owner, r);
    if (put_and_wait(t, &x) == DS4_OK) return true;
    (void)remember_response(t, owner, r);
    return false;
}

/* One that is there in both was kept in memory when the disk failed. */
bool ds4_texts_get_response(ds4_texts *t, const ds4_kv_key *owner, ds4_slice id, bool whole,
                            ds4_text_response_fn *fn, void *ctx)
{
    bool found = false;

    pthread_mutex_lock(&t->lock);
    if (ds4_text_get_response(t->memory, owner, id, whole, fn, ctx, &found, NULL) == DS4_OK && found) {
        if (ds4_text_use_response(t->memory, id, ++t->n_uses, NULL) != DS4_OK) t->n_uses--;
    }
    pthread_mutex_unlock(&t->lock);
    if (found || !t->store) return found;
    pthread_mutex_lock(&t->disk_lock);
    if (store_is_there(t->store)
        && ds4_text_get_response(t->store->index, owner, id, whole, fn, ctx, &found, NULL) != DS4_OK) {
        found = false;
    }
    pthread_mutex_unlock(&t->disk_lock);
    if (found) note_use(t, new_task(USE_RESPONSE, id, NULL, 0, NULL));
    return found;
}

ds4_status ds4_texts_drop_response(ds4_texts *t, const ds4_kv_key *owner, ds4_slice id,
                                   const ds4_kv_key *turn, bool *was_there, ds4_err *err)
{
    const ds4_text_response r = { .id = id };
    task x = { .kind = DROP_RESPONSE, .owner = *owner, .response = &r, .err = err, .keys = turn,
               .n_keys = turn ? 1 : 0 };

    pthread_mutex_lock(&t->lock);
    ds4_status st = ds4_text_drop_response(t->memory, owner, id, was_there, err);
    if (st == DS4_OK && turn) st = ds4_text_drop_turn(t->memory, turn, err);
    pthread_mutex_unlock(&t->lock);
    if (st != DS4_OK || !t->store) return st;
    DS4_TRY(put_and_wait(t, &x));
    *was_there |= x.was_there;
    return DS4_OK;
}

/* ---- turns ------------------------------------------------------------------------------------ */

typedef struct likeness {
    const ds4_text_turn *turn;
    bool                 same;
} likeness;

static void compare(void *ctx, const ds4_text_turn *known)
{
    likeness *l = ctx;

    l->same = ds4_slice_eq(known->reasoning, l->turn->reasoning) &&
              ds4_slice_eq(known->content, l->turn->content) &&
              ds4_slice_eq(known->calls, l->turn->calls) &&
              ds4_slice_eq(known->tokens, l->turn->tokens);
}

/* Has the same request had the same answer before? Then there is nothing to learn. Called with the lock. */
static bool is_known(ds4_texts *t, const ds4_kv_key *keys, uint32_t n_keys, const ds4_text_turn *turn)
{
    for (uint32_t i = 0; i < n_keys; i++) {
        likeness l = { .turn = turn };
        bool     found;
        if (ds4_text_get_turn(t->memory, &keys[i], compare, &l, &found, NULL) != DS4_OK || !l.same)
            return false;
        if (ds4_text_use_turn(t->memory, &keys[i], ++t->n_uses, NULL) != DS4_OK) return false;
    }
    return true;
}

void ds4_texts_keep_turn(ds4_texts *t, const ds4_kv_key *keys, uint32_t n_keys, const ds4_text_turn *turn)
{
    const uint64_t n = ds4_text_turn_size(turn, n_keys);

    pthread_mutex_lock(&t->lock);
    const bool known = is_known(t, keys, n_keys, turn);
    if (!known && n <= t->max_bytes) {
        const bool ok = ds4_text_add_turn(t->memory, keys, n_keys, turn, ++t->n_uses, NULL) == DS4_OK;
        t->n_keys += ok ? n_keys : 0;
        keep_within(t, ok ? n : 0);
    }
    task *x = NULL;
    if (!known && t->store && t->waiting_bytes + n <= MOST_WAITING) {
        x = new_task(KEEP_TURN, (ds4_slice){ 0 }, keys, n_keys, turn);
    }
    if (x) {
        x->n_bytes = n;
        put(t, x);
    }
    pthread_mutex_unlock(&t->lock);
}

bool ds4_texts_get_turn(ds4_texts *t, const ds4_kv_key *key, ds4_text_turn_fn *fn, void *ctx)
{
    bool found = false;

    pthread_mutex_lock(&t->lock);
    if (ds4_text_get_turn(t->memory, key, fn, ctx, &found, NULL) == DS4_OK && found) {
        if (ds4_text_use_turn(t->memory, key, ++t->n_uses, NULL) != DS4_OK) t->n_uses--;
    }
    pthread_mutex_unlock(&t->lock);
    if (found || !t->store) return found;
    pthread_mutex_lock(&t->disk_lock);
    if (store_is_there(t->store)
        && ds4_text_get_turn(t->store->index, key, fn, ctx, &found, NULL) != DS4_OK) {
        found = false;
    }
    pthread_mutex_unlock(&t->disk_lock);
    if (found) note_use(t, new_task(USE_TURN, (ds4_slice){ 0 }, key, 1, NULL));
    return found;
}

/* ---- life ------------------------------------------------------------------------------------- */

static ds4_status start_disk(ds4_texts *t, const ds4_texts_options *opt, ds4_err *err)
{
    const ds4_store_options store = { .dir = opt->dir, .max_bytes = opt->dir_bytes, .silent = true,
                                      .keeps_texts = true, .retry_ms = opt->retry_ms };

    DS4_TRY(ds4_store_open(&t->store, &store, err));
    if (pthread_create(&t->thread, NULL, work, t) == 0) return DS4_OK;
    ds4_store_close(t->store);
    t->store = NULL;
    return ds4_fail(err, DS4_E_NOMEM, "cannot start a thread that stores");
}

ds4_status ds4_texts_open(ds4_texts **out, const ds4_texts_options *opt, ds4_err *err)
{
    ds4_texts *t = calloc(1, sizeof *t);

    if (!t) return ds4_fail(err, DS4_E_NOMEM, "no memory for earlier responses");
    pthread_mutex_init(&t->lock, NULL);
    pthread_mutex_init(&t->disk_lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    pthread_cond_init(&t->done, NULL);
    t->end = &t->first;
    t->max_bytes = opt->mem_bytes;
    t->max_keys = opt->max_keys;
    ds4_status st = ds4_index_open(&t->memory, NULL, DS4_SQL_WRITE, err);
    if (st == DS4_OK && opt->dir) st = start_disk(t, opt, err);
    if (st != DS4_OK) {
        ds4_texts_close(t);
        return st;
    }
    *out = t;
    return DS4_OK;
}

void ds4_texts_close(ds4_texts *t)
{
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    if (t->store) pthread_join(t->thread, NULL);
    ds4_store_close(t->store);
    ds4_index_close(t->memory);
    pthread_cond_destroy(&t->wake);
    pthread_cond_destroy(&t->done);
    pthread_mutex_destroy(&t->lock);
    pthread_mutex_destroy(&t->disk_lock);
    free(t);
}

uint64_t ds4_texts_bytes(ds4_texts *t)
{
    pthread_mutex_lock(&t->lock);
    const uint64_t n = t->n_bytes;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void ds4_texts_settle(ds4_texts *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->first || t->busy) pthread_cond_wait(&t->done, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
