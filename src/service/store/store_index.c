/* store_index.c - see store_index.h: the database, its models, and what takes space. */
#include "service/store/store_index_local.h"

#include <stdlib.h>
#include <string.h>

enum { APPLICATION = 0x4b345344, SCHEMA = 3, OLD_SCHEMA = 2 };

static const char tree_schema[] =
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

/* Version 3 has this beyond version 2: an index of that one is brought up to it. */
static const char newer_schema[] =
    "ALTER TABLE model ADD COLUMN identity BLOB; ALTER TABLE model ADD COLUMN content BLOB;"
    "DROP TABLE wanted;"
    "CREATE TABLE wanted(id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE);"
    "CREATE TABLE file(device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,"
    " mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, hash BLOB NOT NULL, used INTEGER NOT NULL,"
    " PRIMARY KEY(device, inode)) WITHOUT ROWID;"
    "CREATE TABLE response(id TEXT PRIMARY KEY, owner BLOB NOT NULL, used INTEGER NOT NULL,"
    " size INTEGER NOT NULL, before TEXT NOT NULL, input BLOB NOT NULL, output BLOB NOT NULL,"
    " head BLOB NOT NULL, rest BLOB NOT NULL);"
    "CREATE INDEX response_used ON response(used, size);"
    "CREATE TABLE turn(id INTEGER PRIMARY KEY AUTOINCREMENT, used INTEGER NOT NULL,"
    " size INTEGER NOT NULL, reasoning BLOB NOT NULL, content BLOB NOT NULL, calls BLOB NOT NULL,"
    " tokens BLOB NOT NULL);"
    "CREATE INDEX turn_used ON turn(used, size);"
    "CREATE TABLE handle(key BLOB PRIMARY KEY, turn INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX handle_turn ON handle(turn);";

enum {
    MODELS, MODEL_ADD, MODEL_NAME, MODEL_ID, MODEL_CONTENT, MODELS_OF_CONTENT,
    SUMS, WRITER_SET, WRITER_FORGET, WRITERS, ASIDE_SET, ASIDE_FORGET, ASIDES,
    N_STATEMENTS
};

/* Sums stay sums, whatever a row claims: see ds4_index_mend(). */
#define SUM_OF(column, table) \
    "(SELECT COALESCE(SUM(MAX(0, MIN(" column ", 1099511627776))), 0) FROM " table ")"

static const char *const sql[N_STATEMENTS] = {
    [MODELS] = "SELECT id, root, name, path, identity FROM model ORDER BY id",
    [MODEL_ADD] = "INSERT OR IGNORE INTO model(root, identity) VALUES(?, ?)",
    [MODEL_NAME] = "UPDATE model SET name = ?2, path = ?3 WHERE root = ?1"
                   " AND (name IS NOT ?2 OR path IS NOT ?3)",
    [MODEL_ID] = "SELECT id FROM model WHERE root = ?",
    [MODEL_CONTENT] = "UPDATE model SET content = ?2 WHERE root = ?1 AND content IS NOT ?2",
    [MODELS_OF_CONTENT] =
        "SELECT id, root, name, path, identity FROM model WHERE content = ? ORDER BY id DESC",
    [SUMS] = "SELECT (SELECT COUNT(*) FROM block), (SELECT COUNT(*) FROM tail),"
             SUM_OF("size", "block") "," SUM_OF("size", "tail") "," SUM_OF("reserved", "writer") ","
             SUM_OF("size", "aside") ",(SELECT COUNT(*) FROM response), (SELECT COUNT(*) FROM turn)",
    [WRITER_SET] = "INSERT OR REPLACE INTO writer(name, reserved) VALUES(?, ?)",
    [WRITER_FORGET] = "DELETE FROM writer WHERE name = ?",
    [WRITERS] = "SELECT name, reserved FROM writer",
    [ASIDE_SET] = "INSERT OR REPLACE INTO aside(name, size) VALUES(?, ?)",
    [ASIDE_FORGET] = "DELETE FROM aside WHERE name = ?",
    [ASIDES] = "SELECT name, size FROM aside",
};

struct ds4_index {
    ds4_sql *db;
};

static ds4_status ready(ds4_index *ix, int which, ds4_sql_row **row, ds4_err *err)
{
    return ds4_sql_ready(ix->db, sql[which], row, err);
}

/* ---- opening -------------------------------------------------------------------------------- */

static ds4_status read_number(ds4_index *ix, const char *text, int64_t *out, ds4_err *err)
{
    ds4_sql_row *row;

    *out = 0;
    DS4_TRY(ds4_sql_ready(ix->db, text, &row, err));
    return ds4_sql_run_number(ix->db, row, out, err);
}

static ds4_status read_version(ds4_index *ix, int64_t *version, ds4_err *err)
{
    static const char count[] = "SELECT COUNT(*) FROM sqlite_master", whose[] = "PRAGMA application_id",
                      which[] = "PRAGMA user_version";
    int64_t           n_tables, application;

    *version = 0;
    DS4_TRY(read_number(ix, count, &n_tables, err));
    if (n_tables == 0) return DS4_OK;
    DS4_TRY(read_number(ix, whose, &application, err));
    DS4_TRY(read_number(ix, which, version, err));
    if (application == APPLICATION && (*version == SCHEMA || *version == OLD_SCHEMA)) return DS4_OK;
    return ds4_fail(err, DS4_E_FORMAT, "%s: not an index of this version", ds4_sql_path(ix->db));
}

/* Two processes may find it empty at once: whoever comes second sees the tables. */
static ds4_status make_schema(ds4_index *ix, ds4_err *err)
{
    int64_t version;

    DS4_TRY(read_version(ix, &version, err));
    if (version == SCHEMA) return DS4_OK;
    if (version == 0) {
        DS4_TRY(ds4_sql_do(ix->db, "PRAGMA application_id = 1261720388", err));     /* APPLICATION */
        DS4_TRY(ds4_sql_do(ix->db, tree_schema, err));
    }
    DS4_TRY(ds4_sql_do(ix->db, newer_schema, err));
    return ds4_sql_do(ix->db, "PRAGMA user_version = 3", err);                      /* SCHEMA */
}

static ds4_status set_up(ds4_index *ix, ds4_sql_mode mode, ds4_err *err)
{
    int64_t version;

    if (mode != DS4_SQL_WRITE) {
        DS4_TRY(read_version(ix, &version, err));
        if (version == SCHEMA) return DS4_OK;
        return ds4_fail(err, DS4_E_IO, "%s: of an older version, and it cannot be written",
                        ds4_sql_path(ix->db));
    }
    DS4_TRY(ds4_index_begin(ix, err));
    const ds4_status st = make_schema(ix, err);
    if (st == DS4_OK) return ds4_index_commit(ix, err);
    ds4_index_rollback(ix);
    return st;
}

ds4_status ds4_index_open(ds4_index **out, const char *path, ds4_sql_mode mode, ds4_err *err)
{
    ds4_index *ix = calloc(1, sizeof *ix);

    if (!ix) return ds4_fail(err, DS4_E_NOMEM, "no memory for an index");
    ds4_status st = ds4_sql_open(&ix->db, path, mode, err);
    if (st == DS4_OK) st = set_up(ix, mode, err);
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
    ds4_sql_close(ix->db);
    free(ix);
}

ds4_sql *ds4_index_sql(ds4_index *ix)
{
    return ix->db;
}

ds4_status ds4_index_begin(ds4_index *ix, ds4_err *err)
{
    return ds4_sql_begin(ix->db, err);
}

ds4_status ds4_index_commit(ds4_index *ix, ds4_err *err)
{
    return ds4_sql_commit(ix->db, err);
}

void ds4_index_rollback(ds4_index *ix)
{
    ds4_sql_rollback(ix->db);
}

/* The files say what is right: a row that goes is made anew from its file by the sweep. */
ds4_status ds4_index_mend(ds4_index *ix, ds4_err *err)
{
    return ds4_sql_do(ix->db,
                      "UPDATE block SET size = 0 WHERE size NOT BETWEEN 0 AND 1099511627776;"
                      "DELETE FROM tail WHERE size NOT BETWEEN 1 AND 1099511627776;"
                      "DELETE FROM writer WHERE reserved NOT BETWEEN 0 AND 1099511627776;"
                      "DELETE FROM aside WHERE size NOT BETWEEN 0 AND 1099511627776;"
                      "DELETE FROM response WHERE size NOT BETWEEN 0 AND 1099511627776;"
                      "DELETE FROM turn WHERE size NOT BETWEEN 0 AND 1099511627776;"
                      "DELETE FROM ending WHERE tail NOT IN (SELECT id FROM tail);"
                      "DELETE FROM model WHERE id < (SELECT MAX(id) FROM model) - 64"
                      " AND id NOT IN (SELECT model FROM block UNION SELECT model FROM tail);", err);
}

/* ---- models ------------------------------------------------------------------------------------ */

static ds4_status each_model(ds4_index *ix, ds4_sql_row *row, ds4_index_model_fn *fn, void *ctx,
                             ds4_err *err)
{
    ds4_status st;

    while (ds4_sql_next(ix->db, row, &st, err)) {
        const ds4_index_model m = { .id = ds4_sql_get_number(row, 0), .root = store_key_at(row, 1),
                                    .name = ds4_sql_get_bytes(row, 2), .path = ds4_sql_get_bytes(row, 3),
                                    .identity = store_key_at(row, 4) };
        if (fn(ctx, &m)) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

ds4_status ds4_index_models(ds4_index *ix, ds4_index_model_fn *fn, void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, MODELS, &row, err));
    return each_model(ix, row, fn, ctx, err);
}

ds4_status ds4_index_find_model(ds4_index *ix, const ds4_kv_key *root, int64_t *id, ds4_err *err)
{
    ds4_sql_row *row;

    *id = 0;
    DS4_TRY(ready(ix, MODEL_ID, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(root));
    return ds4_sql_run_number(ix->db, row, id, err);
}

ds4_status ds4_index_model_id(ds4_index *ix, const ds4_kv_key *root, const ds4_kv_key *identity,
                              const char *name, const char *path, int64_t *id, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, MODEL_ADD, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(root));
    ds4_sql_bytes(row, 2, store_bytes_of(identity));
    DS4_TRY(ds4_sql_run(ix->db, row, err));
    if (name && path) {
        DS4_TRY(ready(ix, MODEL_NAME, &row, err));
        ds4_sql_bytes(row, 1, store_bytes_of(root));
        ds4_sql_text(row, 2, store_text_of(name));
        ds4_sql_text(row, 3, store_text_of(path));
        DS4_TRY(ds4_sql_run(ix->db, row, err));
    }
    return ds4_index_find_model(ix, root, id, err);
}

ds4_status ds4_index_set_content(ds4_index *ix, const ds4_kv_key *root, const ds4_kv_key *content,
                                 ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, MODEL_CONTENT, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(root));
    ds4_sql_bytes(row, 2, store_bytes_of(content));
    return ds4_sql_run(ix->db, row, err);
}

ds4_status ds4_index_models_of(ds4_index *ix, const ds4_kv_key *content, ds4_index_model_fn *fn, void *ctx,
                               ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, MODELS_OF_CONTENT, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(content));
    return each_model(ix, row, fn, ctx, err);
}

/* ---- accounts ---------------------------------------------------------------------------------- */

ds4_status ds4_index_sum(ds4_index *ix, ds4_index_sums *out, ds4_err *err)
{
    ds4_sql_row *row;
    ds4_status   st;
    uint64_t     n[8] = { 0 };

    DS4_TRY(ready(ix, SUMS, &row, err));
    while (ds4_sql_next(ix->db, row, &st, err)) {
        for (int i = 0; i < 8; i++) n[i] = (uint64_t)ds4_sql_get_number(row, i);
    }
    if (st != DS4_OK) return st;
    *out = (ds4_index_sums){ .n_blocks = n[0], .n_tails = n[1], .block_bytes = n[2],
                             .tail_bytes = n[3], .reserved = n[4], .aside = n[5], .n_responses = n[6],
                             .n_turns = n[7], .database = ds4_sql_size(ix->db) };
    return DS4_OK;
}

static ds4_status set_named(ds4_index *ix, int which, const char *name, const uint64_t *n_bytes, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, which, &row, err));
    ds4_sql_text(row, 1, store_text_of(name));
    if (n_bytes) ds4_sql_number(row, 2, (int64_t)*n_bytes);
    return ds4_sql_run(ix->db, row, err);
}

/* A name with a zero byte in it ends there. */
static ds4_status each_named(ds4_index *ix, int which, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    ds4_sql_row *row;
    ds4_status   st;

    DS4_TRY(ready(ix, which, &row, err));
    while (ds4_sql_next(ix->db, row, &st, err)) {
        const ds4_slice text = ds4_sql_get_bytes(row, 0);
        char            name[DS4_INDEX_NAME] = "";
        if (text.n_bytes < sizeof name) memcpy(name, text.n_bytes ? text.data : "", text.n_bytes);
        if (fn(ctx, name, (uint64_t)ds4_sql_get_number(row, 1))) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

ds4_status ds4_index_reserve(ds4_index *ix, const char *writer, uint64_t n_bytes, ds4_err *err)
{
    return set_named(ix, WRITER_SET, writer, &n_bytes, err);
}

ds4_status ds4_index_forget_writer(ds4_index *ix, const char *writer, ds4_err *err)
{
    return set_named(ix, WRITER_FORGET, writer, NULL, err);
}

ds4_status ds4_index_writers(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    return each_named(ix, WRITERS, fn, ctx, err);
}

ds4_status ds4_index_set_aside(ds4_index *ix, const char *name, uint64_t size, ds4_err *err)
{
    return set_named(ix, size ? ASIDE_SET : ASIDE_FORGET, name, size ? &size : NULL, err);
}

ds4_status ds4_index_each_aside(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err)
{
    return each_named(ix, ASIDES, fn, ctx, err);
}
