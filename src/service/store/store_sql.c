/* store_sql.c - see store_sql.h. */
#include "service/store/store_sql.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 20000, MAX_STATEMENTS = 96 };

typedef struct statement {
    const char   *text;
    sqlite3_stmt *stmt;
} statement;

struct ds4_sql {
    sqlite3  *db;
    char     *path;
    statement list[MAX_STATEMENTS];     /* [n] */
    int       n;
    bool      in_transaction;
};

/* ---- failures --------------------------------------------------------------------------------- */

static ds4_status failed(const ds4_sql *db, int code, ds4_err *err)
{
    const char *why = db->db ? sqlite3_errmsg(db->db) : sqlite3_errstr(code);

    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the index", db->path);
    case SQLITE_CORRUPT: case SQLITE_NOTADB: case SQLITE_FORMAT: case SQLITE_ERROR:
    case SQLITE_MISMATCH: case SQLITE_CONSTRAINT: case SQLITE_SCHEMA:
        return ds4_fail(err, DS4_E_FORMAT, "%s: the index is damaged: %s", db->path, why);
    default:
        return ds4_fail(err, DS4_E_IO, "%s: %s", db->path, why);
    }
}

/* ---- opening ---------------------------------------------------------------------------------- */

/* Deleted rows are overwritten where that costs nothing: pages that leave the file do anyhow. */
static const char settings[] =
    "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;"
    "PRAGMA cell_size_check = ON; PRAGMA auto_vacuum = FULL; PRAGMA secure_delete = FAST";

ds4_status ds4_sql_open(ds4_sql **out, const char *path, ds4_sql_mode mode, ds4_err *err)
{
    const char *name = path ? path : "memory";
    ds4_sql    *db = calloc(1, sizeof *db);
    char       *copy = malloc(strlen(name) + 1);

    if (!db || !copy) {
        free(db);
        free(copy);
        return ds4_fail(err, DS4_E_NOMEM, "%s: no memory for the index", name);
    }
    db->path = strcpy(copy, name);
    const bool writes = mode == DS4_SQL_WRITE;
    const int  how = writes ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    const int code = sqlite3_open_v2(path ? path : ":memory:", &db->db, how | SQLITE_OPEN_NOMUTEX, NULL);
    ds4_status st = code == SQLITE_OK ? DS4_OK : failed(db, code, err);
    if (st == DS4_OK) {
        sqlite3_busy_timeout(db->db, BUSY_MS);
        sqlite3_extended_result_codes(db->db, 1);
        st = ds4_sql_do(db, writes ? settings : "PRAGMA trusted_schema = OFF", err);
    }
    if (st == DS4_OK && mode == DS4_SQL_RESCUE) {
        /* A file that was cut is then read as far as it goes. */
        st = ds4_sql_do(db, "PRAGMA writable_schema = ON", err);
    }
    if (st != DS4_OK) {
        ds4_sql_close(db);
        return st;
    }
    *out = db;
    return DS4_OK;
}

void ds4_sql_close(ds4_sql *db)
{
    if (!db) return;
    ds4_sql_rollback(db);
    for (int i = 0; i < db->n; i++) sqlite3_finalize(db->list[i].stmt);
    sqlite3_close(db->db);
    free(db->path);
    free(db);
}

const char *ds4_sql_path(const ds4_sql *db)
{
    return db->path;
}

/* ---- transactions ----------------------------------------------------------------------------- */

ds4_status ds4_sql_do(ds4_sql *db, const char *text, ds4_err *err)
{
    const int code = sqlite3_exec(db->db, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? DS4_OK : failed(db, code, err);
}

ds4_status ds4_sql_begin(ds4_sql *db, ds4_err *err)
{
    DS4_TRY(ds4_sql_do(db, "BEGIN IMMEDIATE", err));
    db->in_transaction = true;
    return DS4_OK;
}

ds4_status ds4_sql_commit(ds4_sql *db, ds4_err *err)
{
    DS4_TRY(ds4_sql_do(db, "COMMIT", err));
    db->in_transaction = false;
    return DS4_OK;
}

void ds4_sql_rollback(ds4_sql *db)
{
    /* SQLite itself rolls back after some failures; then this one has nothing to do. */
    if (db->in_transaction) sqlite3_exec(db->db, "ROLLBACK", NULL, NULL, NULL);
    db->in_transaction = false;
}

/* ---- statements ------------------------------------------------------------------------------- */

ds4_status ds4_sql_ready(ds4_sql *db, const char *text, ds4_sql_row **row, ds4_err *err)
{
    int i = 0;

    *row = NULL;
    while (i < db->n && db->list[i].text != text) i++;
    if (i == db->n) {
        if (i == MAX_STATEMENTS) return ds4_fail(err, DS4_E_LIMIT, "%s: too many statements", db->path);
        const int code = sqlite3_prepare_v3(db->db, text, -1, SQLITE_PREPARE_PERSISTENT, &db->list[i].stmt,
                                            NULL);
        if (code != SQLITE_OK) return failed(db, code, err);
        db->list[db->n++].text = text;
    }
    *row = db->list[i].stmt;
    sqlite3_clear_bindings(*row);
    return DS4_OK;
}

void ds4_sql_number(ds4_sql_row *row, int at, int64_t value)
{
    sqlite3_bind_int64(row, at, value);
}

void ds4_sql_bytes(ds4_sql_row *row, int at, ds4_slice value)
{
    sqlite3_bind_blob64(row, at, value.n_bytes ? value.data : "", value.n_bytes, SQLITE_STATIC);
}

void ds4_sql_text(ds4_sql_row *row, int at, ds4_slice value)
{
    sqlite3_bind_text64(row, at, value.n_bytes ? value.data : "", value.n_bytes, SQLITE_STATIC, SQLITE_UTF8);
}

ds4_status ds4_sql_run(ds4_sql *db, ds4_sql_row *row, ds4_err *err)
{
    const int        code = sqlite3_step(row);
    const ds4_status st = code == SQLITE_DONE ? DS4_OK : failed(db, code, err);

    sqlite3_reset(row);
    return st;
}

ds4_status ds4_sql_run_number(ds4_sql *db, ds4_sql_row *row, int64_t *out, ds4_err *err)
{
    int code = sqlite3_step(row);

    if (code == SQLITE_ROW) {
        *out = sqlite3_column_int64(row, 0);
        code = sqlite3_step(row);
    }
    const ds4_status st = code == SQLITE_DONE ? DS4_OK : failed(db, code, err);
    sqlite3_reset(row);
    return st;
}

bool ds4_sql_next(ds4_sql *db, ds4_sql_row *row, ds4_status *st, ds4_err *err)
{
    const int code = sqlite3_step(row);

    *st = DS4_OK;
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) *st = failed(db, code, err);
    sqlite3_reset(row);
    return false;
}

void ds4_sql_stop(ds4_sql_row *row)
{
    sqlite3_reset(row);
}

int64_t ds4_sql_get_number(ds4_sql_row *row, int at)
{
    return sqlite3_column_int64(row, at);
}

ds4_slice ds4_sql_get_bytes(ds4_sql_row *row, int at)
{
    const void *data = sqlite3_column_blob(row, at);
    return (ds4_slice){ data, data ? (size_t)sqlite3_column_bytes(row, at) : 0 };
}

uint32_t ds4_sql_n_changes(ds4_sql *db)
{
    return (uint32_t)sqlite3_changes(db->db);
}

static uint64_t pragma(ds4_sql *db, const char *text)
{
    ds4_sql_row *row;
    int64_t      n = 0;

    if (ds4_sql_ready(db, text, &row, NULL) != DS4_OK) return 0;
    return ds4_sql_run_number(db, row, &n, NULL) == DS4_OK && n > 0 ? (uint64_t)n : 0;
}

uint64_t ds4_sql_size(ds4_sql *db)
{
    static const char pages[] = "PRAGMA page_count", idle[] = "PRAGMA freelist_count",
                      size[] = "PRAGMA page_size";
    const uint64_t    n = pragma(db, pages), n_idle = pragma(db, idle);

    return (n > n_idle ? n - n_idle : 0) * pragma(db, size);
}
