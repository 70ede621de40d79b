/* store_sql.h - an SQLite database: statements, transactions, failures in our words.
 *
 * The only file that knows SQLite. A statement is named by its text, which must have static
 * storage: it is prepared when it is first asked for and kept until the database is closed.
 * Not for several threads at a time. */
#ifndef DS4_SERVICE_STORE_SQL_H
#define DS4_SERVICE_STORE_SQL_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

typedef struct ds4_sql      ds4_sql;
typedef struct sqlite3_stmt ds4_sql_row;        /* a statement, and the row it stands at */

typedef enum ds4_sql_mode {
    DS4_SQL_WRITE,
    DS4_SQL_READ,
    DS4_SQL_RESCUE,             /* read what can be read of a damaged one */
} ds4_sql_mode;

/* Open a file, or make it. The rollback journal is used rather than a write-ahead log: between
 * transactions the database is one file, and only its size counts against a budget.
 *
 *   path   NULL: a database in memory
 *
 * Returns DS4_OK; DS4_E_FORMAT when it is no database; DS4_E_IO; DS4_E_NOMEM.              */
DS4_MUST_CHECK ds4_status ds4_sql_open(ds4_sql **out, const char *path, ds4_sql_mode mode, ds4_err *err);
void                      ds4_sql_close(ds4_sql *db);           /* NULL is fine; rolls back */
const char               *ds4_sql_path(const ds4_sql *db);

/* All below return DS4_OK; DS4_E_FORMAT for a damaged database; DS4_E_IO, also when somebody else
 * has held it for 20 seconds; DS4_E_NOMEM. */

/* Statements without values and rows, which are not kept. */
DS4_MUST_CHECK ds4_status ds4_sql_do(ds4_sql *db, const char *text, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_sql_begin(ds4_sql *db, ds4_err *err);     /* for writing */
DS4_MUST_CHECK ds4_status ds4_sql_commit(ds4_sql *db, ds4_err *err);
void                      ds4_sql_rollback(ds4_sql *db);        /* without a begin it does nothing */

/* A statement, ready for its values: *row is NULL on failure. */
DS4_MUST_CHECK ds4_status ds4_sql_ready(ds4_sql *db, const char *text, ds4_sql_row **row, ds4_err *err);

/* Values, numbered from 1. Bytes are lent until the statement has been run to its end. */
void ds4_sql_number(ds4_sql_row *row, int at, int64_t value);
void ds4_sql_bytes(ds4_sql_row *row, int at, ds4_slice value);
void ds4_sql_text(ds4_sql_row *row, int at, ds4_slice value);

/* Run a statement that gives no rows, or one number; without a row *out stays. */
DS4_MUST_CHECK ds4_status ds4_sql_run(ds4_sql *db, ds4_sql_row *row, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_sql_run_number(ds4_sql *db, ds4_sql_row *row, int64_t *out, ds4_err *err);

/* Go to the next row. Returns false at the end and on failure, which *st tells apart. Whoever
 * stops before the end calls ds4_sql_stop(). */
bool ds4_sql_next(ds4_sql *db, ds4_sql_row *row, ds4_status *st, ds4_err *err);
void ds4_sql_stop(ds4_sql_row *row);

/* Columns of the row, numbered from 0; bytes are lent until the next step. */
int64_t   ds4_sql_get_number(ds4_sql_row *row, int at);
ds4_slice ds4_sql_get_bytes(ds4_sql_row *row, int at);

uint32_t ds4_sql_n_changes(ds4_sql *db);        /* rows that the last statement changed */
uint64_t ds4_sql_size(ds4_sql *db);             /* bytes in use; what a commit gives back is not */

#endif
