/* store.c - see store.h: opening, keeping a position, care.
 *
 * A position is kept in three steps, so that a crash at any moment loses nothing that was
 * there and leaves nothing half: room is made and reserved (a transaction); the files are
 * written and synced under temporary names; in a second transaction they get their names,
 * the folder is synced, and the rows are added. */
#include "service/store/store_local.h"

#include "base/log.h"
#include "text/bpe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    INDEX_BYTES_PER_TOKEN = 16,         /* tokens, texts and names in the index, with room */
    RETRY_MS = 5000,
};

/* ---- opening ---------------------------------------------------------------------------------- */

ds4_status ds4_store_open(ds4_store **out, const ds4_store_options *opt, ds4_err *err)
{
    ds4_store *s = calloc(1, sizeof *s);

    if (!s) return ds4_fail(err, DS4_E_NOMEM, "%s: no memory to open it", opt->dir);
    s->fd = s->writer_fd = -1;
    s->engine = opt->engine;
    s->max_bytes = opt->max_bytes ? opt->max_bytes : DS4_STORE_BYTES;
    s->min_tokens = opt->min_tokens ? opt->min_tokens : DS4_STORE_MIN_TOKENS;
    s->defers_hits = opt->defers_hits;
    s->keeps_texts = opt->keeps_texts;
    s->silent = opt->silent || !opt->engine;
    s->wait_ns = (opt->retry_ms ? opt->retry_ms : RETRY_MS) * UINT64_C(1000000);
    s->dir = malloc(strlen(opt->dir) + 1);
    ds4_status st = s->dir ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for a folder's name");
    if (s->dir) strcpy(s->dir, opt->dir);
    if (st == DS4_OK && s->engine) {
        const ds4_identity_options identity = { .engine = s->engine };
        s->form = ds4_engine_state_form(s->engine);
        if (!opt->identity) st = ds4_identity_open(&s->own_identity, &identity, err);
        s->identity = opt->identity ? opt->identity : s->own_identity;
    }
    if (st == DS4_OK) st = store_begin(s, err);
    if (st == DS4_OK && s->identity) ds4_identity_start(s->identity);
    if (st == DS4_OK && opt->rows_bytes) st = ds4_store_set_rows(s, opt->rows_bytes, err);
    if (st != DS4_OK) {
        ds4_store_close(s);
        return st;
    }
    *out = s;
    return DS4_OK;
}

void ds4_store_close(ds4_store *s)
{
    if (!s) return;
    store_end(s);
    ds4_identity_close(s->own_identity);
    free(s->dir);
    free(s);
}

bool ds4_store_writes(const ds4_store *s)
{
    return s->engine && s->index && !s->stopped;
}

uint64_t ds4_store_n_stops(const ds4_store *s)
{
    return s->n_stops;
}

uint64_t ds4_store_budget(const ds4_store *s)
{
    return s->max_bytes;
}

ds4_index *ds4_store_index(ds4_store *s)
{
    return s->index;
}

/* ---- keeping ------------------------------------------------------------------------------------ */

/* The files and rows to write for one position. */
typedef struct job {
    ds4_store          *s;
    const ds4_snapshot *p;
    ds4_tail_kind       kind;
    const int32_t      *tokens, *after;
    uint32_t            pos, n_after, block_tokens, n_blocks;
    ds4_kv_key         *keys;           /* see store_keys() */
    ds4_kv_key          tail_key;
    uint32_t            n_have;         /* leading blocks that are there */
    int64_t             last;           /* row of the last of them; 0: none */
    int64_t             tail;           /* row of the tail; 0: none */
    uint64_t            need;           /* bytes of the files to write */
    char              (*temp)[STORE_NAME];  /* [n_blocks + 1] names, "" where none was written */
    uint8_t            *bytes;          /* room for the largest file */
} job;

/* A row that the index has, and whether it is right: a row may be damaged too. */
typedef struct row {
    const ds4_index_block *block;       /* wanted, or NULL */
    const ds4_index_tail  *tail;
    int64_t                id, parent;
    uint64_t               size;
    bool                   right;
} row;

static bool take_block_row(void *ctx, const ds4_index_block *b)
{
    row                   *r = ctx;
    const ds4_index_block *want = r->block;

    r->id = b->id;
    r->parent = b->parent;
    r->size = b->size;
    r->right = want && b->model == want->model && b->parent == want->parent && b->pos == want->pos
            && b->size == want->size && ds4_slice_eq(b->tokens, want->tokens)
            && ds4_slice_eq(b->text, want->text);
    return false;
}

static bool take_tail_row(void *ctx, const ds4_index_tail *t)
{
    row                  *r = ctx;
    const ds4_index_tail *want = r->tail;

    r->id = t->id;
    r->parent = t->block;
    r->size = t->size;
    r->right = want && t->model == want->model && t->block == want->block && t->pos == want->pos
            && t->size == want->size && ds4_slice_eq(t->tokens, want->tokens)
            && ds4_slice_eq(t->text, want->text);
    return false;
}

static uint64_t block_file_bytes(const job *j)
{
    return ds4_kv_file_bytes(j->block_tokens, j->s->form.block_bytes);
}

static uint64_t tail_file_bytes(const job *j)
{
    uint64_t n_bytes;

    (void)ds4_snapshot_tail(j->p, &n_bytes);
    return ds4_kv_file_bytes(j->pos % j->block_tokens, n_bytes);
}

/* See what is there already. */
static ds4_status look(job *j, ds4_err *err)
{
    row tail = { .id = 0 };

    j->last = 0;
    j->need = 0;
    for (j->n_have = 0; j->n_have < j->n_blocks; j->n_have++) {
        row r = { .id = 0 };
        DS4_TRY(ds4_index_block_by_key(j->s->index, &j->keys[j->n_have + 1], take_block_row, &r, err));
        if (r.id == 0 || r.parent != j->last) break;
        /* Blocks behind one whose file was lost may still be there. */
        if (r.size == 0) j->need += block_file_bytes(j);
        j->last = r.id;
    }
    j->need += (j->n_blocks - j->n_have) * block_file_bytes(j);
    DS4_TRY(ds4_index_tail_by_key(j->s->index, &j->tail_key, take_tail_row, &tail, err));
    j->tail = tail.id;
    if (tail.id == 0) j->need += tail_file_bytes(j);
    return DS4_OK;
}

/* The first transaction. */
static ds4_status reserve(job *j, ds4_err *err)
{
    ds4_store     *s = j->s;
    const uint64_t rows = (uint64_t)(j->n_blocks - j->n_have + 1) * j->block_tokens * INDEX_BYTES_PER_TOKEN;

    DS4_TRY(ds4_index_begin(s->index, err));
    ds4_status st = store_make_room(s, j->need + rows, s->max_bytes, j->last, err);
    if (st == DS4_OK) st = store_enter_names(s, err);
    if (st == DS4_OK) st = store_check_disk(s, j->need, err);
    if (st == DS4_OK) st = store_be_writer(s, err);
    if (st == DS4_OK) st = ds4_index_reserve(s->index, s->writer, s->rows_bytes + j->need + rows, err);
    if (st == DS4_OK) return ds4_index_commit(s->index, err);
    /* Files that went are gone, also when they were not enough. */
    ds4_err ignored;
    if (st != DS4_E_LIMIT || ds4_index_commit(s->index, &ignored) != DS4_OK) ds4_index_rollback(s->index);
    return st;
}

static ds4_kv_file head_of(const job *j, ds4_kv_kind kind, uint32_t pos, uint64_t n_bytes)
{
    const uint32_t n = j->block_tokens, before = kind == DS4_KV_BLOCK ? pos / n - 1 : pos / n;

    return (ds4_kv_file){
        .kind = kind,
        .owner = j->s->view[0].owner,
        .pos = pos,
        .n_tokens = kind == DS4_KV_BLOCK ? n : pos % n,
        .parent = j->keys[before],
        .key = kind == DS4_KV_BLOCK ? j->keys[before + 1] : j->tail_key,
        .n_bytes = n_bytes,
    };
}

static ds4_status write_block(job *j, uint32_t i, ds4_err *err)
{
    const uint32_t    n = j->block_tokens;
    const ds4_kv_file f = head_of(j, DS4_KV_BLOCK, (i + 1) * n, j->s->form.block_bytes);

    DS4_TRY(ds4_snapshot_block(j->p, i, j->bytes + ds4_kv_file_content(n), err));
    ds4_kv_file_seal(&f, j->tokens + (size_t)i * n, j->bytes);
    return store_write_temp(j->s, j->bytes, block_file_bytes(j), j->temp[i], err);
}

static ds4_status write_tail(job *j, ds4_err *err)
{
    const uint32_t in_block = j->pos % j->block_tokens;
    uint64_t       n_bytes;
    const uint8_t *tail = ds4_snapshot_tail(j->p, &n_bytes);
    const ds4_kv_file f = head_of(j, DS4_KV_TAIL, j->pos, n_bytes);

    memcpy(j->bytes + ds4_kv_file_content(in_block), tail, (size_t)n_bytes);
    ds4_kv_file_seal(&f, j->tokens + j->pos - in_block, j->bytes);
    return store_write_temp(j->s, j->bytes, tail_file_bytes(j), j->temp[j->n_blocks], err);
}

static ds4_status write_files(job *j, ds4_err *err)
{
    for (uint32_t i = 0; i < j->n_blocks; i++) {
        row r = { .id = 0 };
        if (i < j->n_have) {
            DS4_TRY(ds4_index_block_by_key(j->s->index, &j->keys[i + 1], take_block_row, &r, err));
        }
        if (r.size == 0) DS4_TRY(write_block(j, i, err));
    }
    if (!j->tail) DS4_TRY(write_tail(j, err));
    for (uint32_t i = 0; i <= j->n_blocks; i++) {
        if (j->temp[i][0]) DS4_TRY(store_sync_temp(j->s, j->temp[i], err));
    }
    return DS4_OK;
}

static ds4_slice text_of(const job *j, const int32_t *tokens, uint32_t n, ds4_str *text)
{
    ds4_str_truncate(text, 0);
    ds4_vocab_decode(ds4_engine_vocab(j->s->engine), tokens, n, 0, text);
    return (ds4_slice){ ds4_str_text(text), text->n_bytes };
}

static ds4_slice token_bytes(const int32_t *tokens, uint32_t n, ds4_str *bytes)
{
    ds4_str_truncate(bytes, 0);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t t = (uint32_t)tokens[i];
        const uint8_t  b[4] = { (uint8_t)t, (uint8_t)(t >> 8), (uint8_t)(t >> 16), (uint8_t)(t >> 24) };
        ds4_str_add(bytes, b, sizeof b);
    }
    return (ds4_slice){ ds4_str_text(bytes), bytes->n_bytes };
}

static void drop_temp(job *j, uint32_t i)
{
    if (j->temp[i][0]) unlinkat(j->s->fd, j->temp[i], 0);
    j->temp[i][0] = '\0';
}

/* Give the files their names, then let the folder and the rows follow. */
static ds4_status name_files(job *j, ds4_err *err)
{
    char name[STORE_NAME];

    for (uint32_t i = 0; i <= j->n_blocks; i++) {
        if (!j->temp[i][0]) continue;
        store_name(i < j->n_blocks ? DS4_KV_BLOCK : DS4_KV_TAIL,
                   i < j->n_blocks ? &j->keys[i + 1] : &j->tail_key, name);
        DS4_TRY(store_rename(j->s, j->temp[i], name, err));
        j->temp[i][0] = '\0';
    }
    return store_sync(j->s, err);
}

/* Blocks without a file of this process's writing must be there: *missing says if not. */
static ds4_status add_rows(job *j, bool *missing, ds4_str *bytes, ds4_str *text, ds4_err *err)
{
    ds4_store *s = j->s;
    int64_t    parent = 0;

    for (uint32_t i = 0; i < j->n_blocks; i++) {
        const int32_t        *tokens = j->tokens + (size_t)i * j->block_tokens;
        const ds4_index_block b = {
            .model = s->view[0].model, .parent = parent, .key = j->keys[i + 1],
            .pos = (i + 1) * j->block_tokens, .size = block_file_bytes(j),
            .tokens = token_bytes(tokens, j->block_tokens, bytes),
            .text = text_of(j, tokens, j->block_tokens, text),
        };
        row r = { .block = &b };
        DS4_TRY(ds4_index_block_by_key(s->index, &b.key, take_block_row, &r, err));
        *missing = r.size == 0 && !j->temp[i][0];
        if (*missing) return DS4_OK;
        if (r.size > 0) drop_temp(j, i);        /* another process was faster */
        if (!r.right) DS4_TRY(ds4_index_add_block(s->index, &b, &r.id, err));
        parent = r.id;
    }
    const uint32_t       in_block = j->pos % j->block_tokens;
    const int32_t       *rest = j->tokens + j->pos - in_block;
    const ds4_index_tail t = {
        .model = s->view[0].model, .block = parent, .key = j->tail_key, .kind = j->kind, .pos = j->pos,
        .size = tail_file_bytes(j), .tokens = token_bytes(rest, in_block, bytes),
        .text = text_of(j, rest, in_block, text),
    };
    row r = { .tail = &t };
    DS4_TRY(ds4_index_tail_by_key(s->index, &j->tail_key, take_tail_row, &r, err));
    *missing = r.id == 0 && !j->temp[j->n_blocks][0];
    j->tail = r.id;
    if (r.id) drop_temp(j, j->n_blocks);
    if (*missing || r.right) return DS4_OK;
    DS4_TRY(ds4_index_add_tail(s->index, &t, &j->tail, err));
    /* The end of a system prompt that comes again has shown its worth. */
    bool before = false;
    if (j->kind == DS4_TAIL_ANCHOR) DS4_TRY(ds4_index_want(s->index, &t.key, &before, err));
    return before ? ds4_index_touch_tail(s->index, j->tail, true, err) : DS4_OK;
}

static ds4_status add_ending(job *j, ds4_str *bytes, ds4_str *text, ds4_err *err)
{
    if (j->n_after == 0) return DS4_OK;
    const ds4_index_ending e = { .tail = j->tail, .tokens = token_bytes(j->after, j->n_after, bytes),
                                 .text = text_of(j, j->after, j->n_after, text) };
    if (bytes->failed || text->failed) return ds4_fail(err, DS4_E_NOMEM, "no memory to store a turn");
    return ds4_index_add_ending(j->s->index, &e, err);
}

static ds4_status use_tail(const job *j, ds4_err *err)
{
    DS4_TRY(ds4_index_raise_tail(j->s->index, j->tail, j->kind, err));
    return ds4_index_touch_tail(j->s->index, j->tail, false, err);
}

/* The second transaction. */
static ds4_status finish(job *j, bool *missing, ds4_err *err)
{
    ds4_store *s = j->s;
    ds4_str    bytes = { 0 }, text = { 0 };
    ds4_status st = ds4_index_begin(s->index, err);

    if (st == DS4_OK) st = add_rows(j, missing, &bytes, &text, err);
    if (st == DS4_OK && !*missing && (bytes.failed || text.failed)) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory to store a conversation");
    }
    if (st == DS4_OK && !*missing) {
        st = name_files(j, err);
        if (st == DS4_OK) st = add_ending(j, &bytes, &text, err);
        if (st == DS4_OK) st = use_tail(j, err);
        if (st == DS4_OK) st = store_thin_out(s, j->tail, j->tokens, err);
        if (st == DS4_OK) st = ds4_index_reserve(s->index, s->writer, s->rows_bytes, err);
        if (st == DS4_OK) st = ds4_index_commit(s->index, err);
    }
    if (st != DS4_OK || *missing) ds4_index_rollback(s->index);
    ds4_str_clear(&bytes);
    ds4_str_clear(&text);
    return st;
}

/* Nothing but the ending or the time of use is new. */
static ds4_status note_use(job *j, ds4_err *err)
{
    ds4_str    bytes = { 0 }, text = { 0 };
    ds4_status st = ds4_index_begin(j->s->index, err);

    if (st == DS4_OK) st = add_ending(j, &bytes, &text, err);
    if (st == DS4_OK) st = use_tail(j, err);
    if (st == DS4_OK) st = ds4_index_commit(j->s->index, err);
    if (st != DS4_OK) ds4_index_rollback(j->s->index);
    ds4_str_clear(&bytes);
    ds4_str_clear(&text);
    return st;
}

/* A reservation must not count on when nothing came of it. */
static void unreserve(job *j)
{
    ds4_store *s = j->s;
    ds4_err    err;

    if (!s->writer[0] || ds4_index_begin(s->index, &err) != DS4_OK) return;
    if (ds4_index_reserve(s->index, s->writer, 0, &err) != DS4_OK
        || ds4_index_commit(s->index, &err) != DS4_OK) {
        ds4_index_rollback(s->index);
    }
}

static ds4_status carry_out(job *j, ds4_err *err)
{
    /* Another process may evict what was counted on; then everything is looked at again. */
    for (int tries = 0; tries < 3; tries++) {
        bool missing = false;
        DS4_TRY(look(j, err));
        if (j->need == 0) return note_use(j, err);
        ds4_status st = reserve(j, err);
        if (st == DS4_OK) st = write_files(j, err);
        if (st == DS4_OK) st = finish(j, &missing, err);
        for (uint32_t i = 0; i <= j->n_blocks; i++) drop_temp(j, i);
        if (st != DS4_OK || missing) unreserve(j);
        if (st != DS4_OK || !missing) return st;
    }
    ds4_log(DS4_LOG_DEBUG, "kv", "not stored: others are evicting tokens=%u", j->pos);
    return DS4_OK;
}

/* Room for a job's names and files. */
static ds4_status prepare(job *j, ds4_err *err)
{
    const store_view *v = &j->s->view[0];
    const uint32_t    in_block = j->pos % j->block_tokens;
    const uint64_t    block = block_file_bytes(j), tail = tail_file_bytes(j);

    j->keys = store_keys(v, j->tokens, j->n_blocks);
    j->temp = calloc(j->n_blocks + 1ull, sizeof *j->temp);
    j->bytes = malloc((size_t)(block > tail ? block : tail));
    if (!j->keys || !j->temp || !j->bytes) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory to store %u tokens", j->pos);
    }
    j->tail_key = ds4_kv_name(DS4_KV_TAIL, &j->keys[j->n_blocks], j->tokens + j->pos - in_block, in_block);
    return DS4_OK;
}

/* The names are those of the model as it is now. */
static ds4_status carry_out_named(job *j, ds4_err *err)
{
    bool usable;

    DS4_TRY(store_learn_names(j->s, &usable, err));
    if (!usable) return DS4_OK;
    ds4_status st = prepare(j, err);
    if (st == DS4_OK) st = carry_out(j, err);
    free(j->keys);
    free(j->temp);
    free(j->bytes);
    return st;
}

/* A damaged index is made anew, a folder that has gone too, and then it is tried once more. */
static ds4_status carry_out_twice(job *j, ds4_err *err)
{
    ds4_store *s = j->s;

    if (ds4_store_retry_ns(s) > 0) return ds4_fail(err, DS4_E_IO, "%s: not written for now", s->dir);
    ds4_status st = store_may_write(s, err);
    if (st == DS4_OK) st = carry_out_named(j, err);
    if (st == DS4_E_FORMAT && (st = store_rebuild(s, err, err)) == DS4_OK) st = carry_out_named(j, err);
    if (st == DS4_E_IO && store_is_lost(s)) {
        st = store_may_write(s, err);
        if (st == DS4_OK) st = carry_out_named(j, err);
    }
    if (st == DS4_E_IO || st == DS4_E_FORMAT) return store_stop(s, DS4_E_IO, err);
    if (st == DS4_OK) store_works(s);
    return st;
}

ds4_status ds4_store_save(ds4_store *s, const ds4_snapshot *p, ds4_tail_kind kind, const int32_t *after,
                          uint32_t n_after, ds4_err *err)
{
    ds4_err mine;
    job     j = { .s = s, .p = p, .kind = kind, .tokens = ds4_snapshot_tokens(p), .after = after,
                  .pos = ds4_snapshot_pos(p), .n_after = n_after, .block_tokens = s->form.block_tokens };

    if (!s->engine || j.pos < s->min_tokens) return DS4_OK;
    j.n_blocks = ds4_snapshot_n_blocks(p);
    assert(j.n_blocks == j.pos / j.block_tokens);
    return carry_out_twice(&j, err ? err : &mine);
}
