/* store_index.c - see store_index.h.
 *
 * A rollback journal rather than a write-ahead log: between transactions the database is
 * one file, whose size is all that counts against the budget. */
#include "service/store/store_index.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 20000, MAX_ENDINGS = 8, APPLICATION = 0x4b345344, SCHEMA = 2 };

static const char schema[] =
    "CREATE TABLE model(id INTEGER PRIMARY KEY, root BLOB NOT NULL UNIQUE, name TEXT, path TEXT);"
    "CREATE TABLE block(id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL,"
    " parent INTEGER NOT NULL, key BLOB NOT NULL UNIQUE, pos INTEGER NOT NULL,"
    " size INTEGER NOT NULL, tokens BLOB NOT NULL, text BLOB NOT NULL);"
    "CREATE INDEX block_parent ON block(model, parent);"
    "CREATE TABLE tail(id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL,"
    " block INTEGER NOT NULL, key BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " pos INTEGER NOT NULL, size INTEGER NOT NULL, hits INTEGER NOT NULL, made INTEGER NOT NULL,"
    " used INTEGER NOT NULL, tokens BLOB NOT NULL, text BLOB NOT NULL);"
    "CREATE INDEX tail_block ON tail(model, block);"
    "CREATE TABLE ending(id INTEGER PRIMARY KEY AUTOINCREMENT, tail INTEGER NOT NULL,"
    " tokens BLOB NOT NULL, text BLOB NOT NULL, UNIQUE(tail, tokens));"
    "CREATE TABLE wanted(key BLOB PRIMARY KEY) WITHOUT ROWID;"
    "CREATE TABLE writer(name TEXT PRIMARY KEY, reserved INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE aside(name TEXT PRIMARY KEY, size INTEGER NOT NULL) WITHOUT ROWID;";

/* One prepared statement for each. */
enum {
    MODELS, MODEL_ADD, MODEL_NAME, MODEL_ID,
    BLOCKS, CHILDREN, BLOCK_BY_KEY, BLOCK_ADD, BLOCK_LOSE, BLOCK_DROP,
    TAILS, TAILS_AT, TAIL_BY_KEY, TAIL_ADD, TAIL_DROP, TAIL_TOUCH,
    ENDINGS, ENDING_ADD, ENDING_PRUNE, ENDINGS_DROP,
    WANT, SUMS, WRITER_SET, WRITER_FORGET, WRITERS, ASIDE_SET, ASIDE_FORGET, ASIDES,
    N_STATEMENTS
};

#define BLOCK_COLUMNS "SELECT id, model, parent, key, pos, size, tokens, text FROM block"
#define TAIL_COLUMNS \
    "SELECT id, model, block, key, kind, pos, size, hits, made, used, tokens, text FROM tail"
#define NOW "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

static const char *const sql[N_STATEMENTS] = {
    [MODELS] = "SELECT id, root, name, path FROM model ORDER BY id",
    [MODEL_ADD] = "INSERT OR IGNORE INTO model(root) VALUES(?)",
    [MODEL_NAME] = "UPDATE model SET name = ?2, path = ?3 WHERE root = ?1"
                   " AND (name IS NOT ?2 OR path IS NOT ?3)",
    [MODEL_ID] = "SELECT id FROM model WHERE root = ?",
    [BLOCKS] = BLOCK_COLUMNS " ORDER BY id",
    [CHILDREN] = BLOCK_COLUMNS " WHERE model = ? AND parent = ? AND size > 0",
    [BLOCK_BY_KEY] = BLOCK_COLUMNS " WHERE key = ?",
    [BLOCK_ADD] = "INSERT INTO block(model, parent, key, pos, size, tokens, text)"
                  " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET model = excluded.model,"
                  " parent = excluded.parent, pos = excluded.pos, size = excluded.size,"
                  " tokens = excluded.tokens, text = excluded.text"
                  " RETURNING id",
    [BLOCK_LOSE] = "UPDATE block SET size = 0 WHERE id = ?",
    [BLOCK_DROP] = "DELETE FROM block WHERE id = ?",
    [TAILS] = TAIL_COLUMNS " ORDER BY id",
    [TAILS_AT] = TAIL_COLUMNS " WHERE model = ? AND block = ?",
    [TAIL_BY_KEY] = TAIL_COLUMNS " WHERE key = ?",
    [TAIL_ADD] = "INSERT INTO tail(model, block, key, kind, pos, size, hits, made, used, tokens, text)"
                 " VALUES(?, ?, ?, ?, ?, ?, 0, " NOW ", " NOW ", ?, ?)"
                 " ON CONFLICT(key) DO UPDATE SET model = excluded.model, block = excluded.block,"
                 " pos = excluded.pos, size = excluded.size, tokens = excluded.tokens,"
                 " text = excluded.text RETURNING id",
    [TAIL_DROP] = "DELETE FROM tail WHERE id = ?",
    [TAIL_TOUCH] = "UPDATE tail SET used = " NOW ", hits = hits + ?2 WHERE id = ?1",
    [ENDINGS] = "SELECT id, tail, tokens, text FROM ending WHERE tail = ? ORDER BY id DESC",
    [ENDING_ADD] = "INSERT OR REPLACE INTO ending(tail, tokens, text) VALUES(?, ?, ?)",
    [ENDING_PRUNE] = "DELETE FROM ending WHERE tail = ?1 AND id NOT IN"
                     " (SELECT id FROM ending WHERE tail = ?1 ORDER BY id DESC LIMIT ?2)",
    [ENDINGS_DROP] = "DELETE FROM ending WHERE tail = ?",
    [WANT] = "INSERT OR IGNORE INTO wanted(key) VALUES(?)",
    [SUMS] = "SELECT (SELECT COUNT(*) FROM block), (SELECT COUNT(*) FROM tail),"
             " (SELECT COALESCE(SUM(size), 0) FROM block), (SELECT COALESCE(SUM(size), 0) FROM tail),"
             " (SELECT COALESCE(SUM(reserved), 0) FROM writer),"
             " (SELECT COALESCE(SUM(size), 0) FROM aside),"
             " (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size)",
    [WRITER_SET] = "INSERT OR REPLACE INTO writer(name, reserved) VALUES(?, ?)",
    [WRITER_FORGET] = "DELETE FROM writer WHERE name = ?",
    [WRITERS] = "SELECT name, reserved FROM writer",
    [ASIDE_SET] = "INSERT OR REPLACE INTO aside(name, size) VALUES(?, ?)",
    [ASIDE_FORGET] = "DELETE FROM aside WHERE name = ?",
    [ASIDES] = "SELECT name, size FROM aside",
};

struct ds4_index {
    sqlite3      *db;
    char         *path;
    sqlite3_stmt *stmt[N_STATEMENTS];
    bool          in_transaction;
};

/* ---- errors and statements --------------------------------------------------------------- */

static ds4_status failed(const ds4_index *ix, int code, ds4_err *err)
{
    const char *why = ix->db ? sqlite3_errmsg(ix->db) : sqlite3_errstr(code);

    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the index", ix->path);
    case SQLITE_CORRUPT: case SQLITE_NOTADB: case SQLITE_FORMAT: case SQLITE_ERROR:
    case SQLITE_MISMATCH: case SQLITE_CONSTRAINT: case SQLITE_SCHEMA:
        return ds4_fail(err, DS4_E_FORMAT, "%s: the index is damaged: %s", ix->path, why);
    default:
        return ds4_fail(err, DS4_E_IO, "%s: %s", ix->path, why);
    }
}

static ds4_status execute(ds4_index *ix, const char *text, ds4_err *err)
{
    const int code = sqlite3_exec(ix->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? DS4_OK : failed(ix, code, err);
}

/* The statement, made on first use, without values. NULL with *st set on failure. */
static sqlite3_stmt *ready(ds4_index *ix, int which, ds4_status *st, ds4_err *err)
{
    if (!ix->stmt[which]) {
        const int code = sqlite3_prepare_v3(ix->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                                            &ix->stmt[which], NULL);
        if (code != SQLITE_OK) {
            *st = failed(ix, code, err);
            return NULL;
        }
    }
    *st = DS4_OK;
    sqlite3_clear_bindings(ix->stmt[which]);
    return ix->stmt[which];
}

/* Run a statement that gives no rows. */
static ds4_status finish(ds4_index *ix, sqlite3_stmt *s, ds4_err *err)
{
    const int        code = sqlite3_step(s);
    const ds4_status st = code == SQLITE_DONE ? DS4_OK : failed(ix, code, err);

    sqlite3_reset(s);
    return st;
}

/* Run one that gives one number. */
static ds4_status finish_id(ds4_index *ix, sqlite3_stmt *s, int64_t *id, ds4_err *err)
{
    int code = sqlite3_step(s);

    if (code == SQLITE_ROW) {
        *id = sqlite3_column_int64(s, 0);
        code = sqlite3_step(s);
    }
    const ds4_status st = code == SQLITE_DONE ? DS4_OK : failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

static void bind_slice(sqlite3_stmt *s, int at, ds4_slice value)
{
    sqlite3_bind_blob64(s, at, value.n_bytes ? value.data : "", value.n_bytes, SQLITE_STATIC);
}

static void bind_key(sqlite3_stmt *s, int at, const ds4_kv_key *key)
{
    sqlite3_bind_blob(s, at, key->b, sizeof key->b, SQLITE_STATIC);
}

static ds4_slice column_slice(sqlite3_stmt *s, int at)
{
    const void *data = sqlite3_column_blob(s, at);
    return (ds4_slice){ data, data ? (size_t)sqlite3_column_bytes(s, at) : 0 };
}

static ds4_kv_key column_key(sqlite3_stmt *s, int at)
{
    const ds4_slice bytes = column_slice(s, at);
    ds4_kv_key      key = { { 0 } };

    if (bytes.n_bytes == sizeof key.b) memcpy(key.b, bytes.data, sizeof key.b);
    return key;
}

/* ---- opening -------------------------------------------------------------------------------- */

static ds4_status read_number(ds4_index *ix, const char *text, int64_t *out, ds4_err *err)
{
    sqlite3_stmt *s = NULL;
    const int     code = sqlite3_prepare_v2(ix->db, text, -1, &s, NULL);
    ds4_status    st = code == SQLITE_OK ? DS4_OK : failed(ix, code, err);

    *out = 0;
    if (st == DS4_OK) st = finish_id(ix, s, out, err);
    sqlite3_finalize(s);
    return st;
}

static ds4_status make_schema(ds4_index *ix, ds4_err *err)
{
    int64_t application, version, n_tables;

    DS4_TRY(read_number(ix, "SELECT COUNT(*) FROM sqlite_master", &n_tables, err));
    DS4_TRY(read_number(ix, "PRAGMA application_id", &application, err));
    DS4_TRY(read_number(ix, "PRAGMA user_version", &version, err));
    if (n_tables > 0) {
        if (application == APPLICATION && version == SCHEMA) return DS4_OK;
        return ds4_fail(err, DS4_E_FORMAT, "%s: not an index of this version", ix->path);
    }
    DS4_TRY(execute(ix, "PRAGMA application_id = 1261720388", err));    /* APPLICATION */
    DS4_TRY(execute(ix, schema, err));
    return execute(ix, "PRAGMA user_version = 2", err);                 /* SCHEMA */
}

/* Two processes may find it empty at once: whoever comes second sees the tables. */
static ds4_status set_up(ds4_index *ix, ds4_err *err)
{
    sqlite3_busy_timeout(ix->db, BUSY_MS);
    sqlite3_extended_result_codes(ix->db, 1);
    DS4_TRY(execute(ix, "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = DELETE;"
                        "PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;"
                        "PRAGMA auto_vacuum = FULL", err));
    DS4_TRY(ds4_index_begin(ix, err));
    const ds4_status st = make_schema(ix, err);
    if (st == DS4_OK) return ds4_index_commit(ix, err);
    ds4_index_rollback(ix);
    return st;
}

ds4_status ds4_index_open(ds4_index **out, const char *path, ds4_err *err)
{
    ds4_index *ix = calloc(1, sizeof *ix);
    char      *copy = malloc(strlen(path) + 1);

    if (!ix || !copy) {
        free(ix);
        free(copy);
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the index", path);
    }
    ix->path = strcpy(copy, path);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(path, &ix->db, flags, NULL);
    ds4_status st = code == SQLITE_OK ? set_up(ix, err) : failed(ix, code, err);
    if (st != DS4_OK) {
        ds4_index_close(ix);
        return st;
    }
    *out = ix;
    return DS4_OK;
}

void ds4_index_close(ds4_index *ix)
{
    if (!ix) return;
    ds4_index_rollback(ix);
    for (int i = 0; i < N_STATEMENTS; i++) sqlite3_finalize(ix->stmt[i]);
    sqlite3_close(ix->db);
    free(ix->path);
    free(ix);
}

ds4_status ds4_index_begin(ds4_index *ix, ds4_err *err)
{
    DS4_TRY(execute(ix, "BEGIN IMMEDIATE", err));
    ix->in_transaction = true;
    return DS4_OK;
}

ds4_status ds4_index_commit(ds4_index *ix, ds4_err *err)
{
    DS4_TRY(execute(ix, "COMMIT", err));
    ix->in_transaction = false;
    return DS4_OK;
}

void ds4_index_rollback(ds4_index *ix)
{
    /* SQLite itself rolls back after some failures; then this one has nothing to do. */
    if (ix->in_transaction) sqlite3_exec(ix->db, "ROLLBACK", NULL, NULL, NULL);
    ix->in_transaction = false;
}

/* ---- models ------------------------------------------------------------------------------------ */

ds4_status ds4_index_models(ds4_index *ix, ds4_index_model_fn *fn, void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, MODELS, &st, err);
    int           code = SQLITE_DONE;
    bool          more = true;

    if (!s) return st;
    while (more && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const ds4_index_model m = { .id = sqlite3_column_int64(s, 0), .root = column_key(s, 1),
                                    .name = column_slice(s, 2), .path = column_slice(s, 3) };
        more = fn(ctx, &m);
    }
    if (more && code != SQLITE_DONE) st = failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

ds4_status ds4_index_model_id(ds4_index *ix, const ds4_kv_key *root, const char *name,
                              const char *path, int64_t *id, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, MODEL_ADD, &st, err);

    if (!s) return st;
    bind_key(s, 1, root);
    DS4_TRY(finish(ix, s, err));
    if (name && path) {
        if (!(s = ready(ix, MODEL_NAME, &st, err))) return st;
        bind_key(s, 1, root);
        sqlite3_bind_text(s, 2, name, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 3, path, -1, SQLITE_STATIC);
        DS4_TRY(finish(ix, s, err));
    }
    if (!(s = ready(ix, MODEL_ID, &st, err))) return st;
    bind_key(s, 1, root);
    return finish_id(ix, s, id, err);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static ds4_status each_block(ds4_index *ix, sqlite3_stmt *s, ds4_index_block_fn *fn, void *ctx,
                             ds4_err *err)
{
    ds4_status st = DS4_OK;
    int        code = SQLITE_DONE;
    bool       more = true;

    while (more && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const ds4_index_block b = {
            .id = sqlite3_column_int64(s, 0), .model = sqlite3_column_int64(s, 1),
            .parent = sqlite3_column_int64(s, 2), .key = column_key(s, 3),
            .pos = (uint32_t)sqlite3_column_int64(s, 4), .size = (uint64_t)sqlite3_column_int64(s, 5),
            .tokens = column_slice(s, 6), .text = column_slice(s, 7),
        };
        more = fn(ctx, &b);
    }
    if (more && code != SQLITE_DONE) st = failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

ds4_status ds4_index_all_blocks(ds4_index *ix, ds4_index_block_fn *fn, void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, BLOCKS, &st, err);
    return s ? each_block(ix, s, fn, ctx, err) : st;
}

ds4_status ds4_index_children(ds4_index *ix, int64_t model, int64_t parent, ds4_index_block_fn *fn,
                              void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, CHILDREN, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, model);
    sqlite3_bind_int64(s, 2, parent);
    return each_block(ix, s, fn, ctx, err);
}

ds4_status ds4_index_block_by_key(ds4_index *ix, const ds4_kv_key *key, ds4_index_block_fn *fn,
                                  void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, BLOCK_BY_KEY, &st, err);

    if (!s) return st;
    bind_key(s, 1, key);
    return each_block(ix, s, fn, ctx, err);
}

ds4_status ds4_index_add_block(ds4_index *ix, const ds4_index_block *b, int64_t *id, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, BLOCK_ADD, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, b->model);
    sqlite3_bind_int64(s, 2, b->parent);
    bind_key(s, 3, &b->key);
    sqlite3_bind_int64(s, 4, b->pos);
    sqlite3_bind_int64(s, 5, (int64_t)b->size);
    bind_slice(s, 6, b->tokens);
    bind_slice(s, 7, b->text);
    return finish_id(ix, s, id, err);
}

/* Run a statement over one id. */
static ds4_status over_id(ds4_index *ix, int which, int64_t id, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, which, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, id);
    return finish(ix, s, err);
}

ds4_status ds4_index_lose_block(ds4_index *ix, int64_t id, ds4_err *err)
{
    return over_id(ix, BLOCK_LOSE, id, err);
}

ds4_status ds4_index_drop_block(ds4_index *ix, int64_t id, ds4_err *err)
{
    return over_id(ix, BLOCK_DROP, id, err);
}

/* ---- tails ------------------------------------------------------------------------------------- */

static ds4_status each_tail(ds4_index *ix, sqlite3_stmt *s, ds4_index_tail_fn *fn, void *ctx,
                            ds4_err *err)
{
    ds4_status st = DS4_OK;
    int        code = SQLITE_DONE;
    bool       more = true;

    while (more && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const ds4_index_tail t = {
            .id = sqlite3_column_int64(s, 0), .model = sqlite3_column_int64(s, 1),
            .block = sqlite3_column_int64(s, 2), .key = column_key(s, 3),
            .kind = (ds4_tail_kind)sqlite3_column_int(s, 4),
            .pos = (uint32_t)sqlite3_column_int64(s, 5), .size = (uint64_t)sqlite3_column_int64(s, 6),
            .hits = (uint64_t)sqlite3_column_int64(s, 7), .made = sqlite3_column_int64(s, 8),
            .used = sqlite3_column_int64(s, 9), .tokens = column_slice(s, 10),
            .text = column_slice(s, 11),
        };
        more = fn(ctx, &t);
    }
    if (more && code != SQLITE_DONE) st = failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

ds4_status ds4_index_all_tails(ds4_index *ix, ds4_index_tail_fn *fn, void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, TAILS, &st, err);
    return s ? each_tail(ix, s, fn, ctx, err) : st;
}

ds4_status ds4_index_tails_at(ds4_index *ix, int64_t model, int64_t block, ds4_index_tail_fn *fn,
                              void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, TAILS_AT, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, model);
    sqlite3_bind_int64(s, 2, block);
    return each_tail(ix, s, fn, ctx, err);
}

ds4_status ds4_index_tail_by_key(ds4_index *ix, const ds4_kv_key *key, ds4_index_tail_fn *fn, void *ctx,
                                 ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, TAIL_BY_KEY, &st, err);

    if (!s) return st;
    bind_key(s, 1, key);
    return each_tail(ix, s, fn, ctx, err);
}

ds4_status ds4_index_add_tail(ds4_index *ix, const ds4_index_tail *t, int64_t *id, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, TAIL_ADD, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, t->model);
    sqlite3_bind_int64(s, 2, t->block);
    bind_key(s, 3, &t->key);
    sqlite3_bind_int(s, 4, (int)t->kind);
    sqlite3_bind_int64(s, 5, t->pos);
    sqlite3_bind_int64(s, 6, (int64_t)t->size);
    bind_slice(s, 7, t->tokens);
    bind_slice(s, 8, t->text);
    return finish_id(ix, s, id, err);
}

ds4_status ds4_index_drop_tail(ds4_index *ix, int64_t id, ds4_err *err)
{
    DS4_TRY(over_id(ix, ENDINGS_DROP, id, err));
    return over_id(ix, TAIL_DROP, id, err);
}

ds4_status ds4_index_touch_tail(ds4_index *ix, int64_t id, bool hit, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, TAIL_TOUCH, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, id);
    sqlite3_bind_int(s, 2, hit);
    return finish(ix, s, err);
}

ds4_status ds4_index_want(ds4_index *ix, const ds4_kv_key *key, bool *before, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, WANT, &st, err);

    if (!s) return st;
    bind_key(s, 1, key);
    DS4_TRY(finish(ix, s, err));
    *before = sqlite3_changes(ix->db) == 0;
    return DS4_OK;
}

ds4_status ds4_index_endings(ds4_index *ix, int64_t tail, ds4_index_ending_fn *fn, void *ctx,
                             ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, ENDINGS, &st, err);
    int           code = SQLITE_DONE;
    bool          more = true;

    if (!s) return st;
    sqlite3_bind_int64(s, 1, tail);
    while (more && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const ds4_index_ending e = { .id = sqlite3_column_int64(s, 0),
                                     .tail = sqlite3_column_int64(s, 1),
                                     .tokens = column_slice(s, 2), .text = column_slice(s, 3) };
        more = fn(ctx, &e);
    }
    if (more && code != SQLITE_DONE) st = failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

ds4_status ds4_index_add_ending(ds4_index *ix, const ds4_index_ending *e, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, ENDING_ADD, &st, err);

    if (!s) return st;
    sqlite3_bind_int64(s, 1, e->tail);
    bind_slice(s, 2, e->tokens);
    bind_slice(s, 3, e->text);
    DS4_TRY(finish(ix, s, err));
    if (!(s = ready(ix, ENDING_PRUNE, &st, err))) return st;
    sqlite3_bind_int64(s, 1, e->tail);
    sqlite3_bind_int(s, 2, MAX_ENDINGS);
    return finish(ix, s, err);
}

/* ---- accounts ---------------------------------------------------------------------------------- */

ds4_status ds4_index_sum(ds4_index *ix, ds4_index_sums *out, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, SUMS, &st, err);
    uint64_t      n[7] = { 0 };

    if (!s) return st;
    const int code = sqlite3_step(s);
    for (int i = 0; code == SQLITE_ROW && i < 7; i++) n[i] = (uint64_t)sqlite3_column_int64(s, i);
    if (code != SQLITE_ROW) st = failed(ix, code, err);
    sqlite3_reset(s);
    *out = (ds4_index_sums){ .n_blocks = n[0], .n_tails = n[1], .block_bytes = n[2],
                             .tail_bytes = n[3], .reserved = n[4], .aside = n[5], .database = n[6] };
    return st;
}

static ds4_status set_named(ds4_index *ix, int which, const char *name, uint64_t n_bytes, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, which, &st, err);

    if (!s) return st;
    sqlite3_bind_text(s, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_bind_parameter_count(s) > 1) sqlite3_bind_int64(s, 2, (int64_t)n_bytes);
    return finish(ix, s, err);
}

static ds4_status each_named(ds4_index *ix, int which, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    ds4_status    st;
    sqlite3_stmt *s = ready(ix, which, &st, err);
    int           code = SQLITE_DONE;
    bool          more = true;

    if (!s) return st;
    while (more && (code = sqlite3_step(s)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        more = fn(ctx, name ? name : "", (uint64_t)sqlite3_column_int64(s, 1));
    }
    if (more && code != SQLITE_DONE) st = failed(ix, code, err);
    sqlite3_reset(s);
    return st;
}

ds4_status ds4_index_reserve(ds4_index *ix, const char *writer, uint64_t n_bytes, ds4_err *err)
{
    return set_named(ix, WRITER_SET, writer, n_bytes, err);
}

ds4_status ds4_index_forget_writer(ds4_index *ix, const char *writer, ds4_err *err)
{
    return set_named(ix, WRITER_FORGET, writer, 0, err);
}

ds4_status ds4_index_writers(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    return each_named(ix, WRITERS, fn, ctx, err);
}

ds4_status ds4_index_set_aside(ds4_index *ix, const char *name, uint64_t size, ds4_err *err)
{
    return set_named(ix, size ? ASIDE_SET : ASIDE_FORGET, name, size, err);
}

ds4_status ds4_index_each_aside(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    return each_named(ix, ASIDES, fn, ctx, err);
}
