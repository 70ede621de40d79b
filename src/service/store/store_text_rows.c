/* store_text_rows.c - see store_text_rows.h. */
#include "service/store/store_text_rows.h"

#include <string.h>

enum { ROW_BYTES = 256, HANDLE_BYTES = 64 };    /* of a row and a key beside their texts */

static const char add_response[] =
    "INSERT OR REPLACE INTO response(id, owner, used, size, before, input, output, head, rest)"
    " VALUES(?1, ?2, COALESCE(?3, " DS4_SQL_NOW "), ?4, ?5, ?6, ?7, ?8, ?9)";
static const char get_items[] = "SELECT before, input, output FROM response WHERE id = ? AND owner = ?";
static const char get_whole[] = "SELECT before, input, output, head, rest FROM response"
                                " WHERE id = ? AND owner = ?";
static const char drop_response[] = "DELETE FROM response WHERE id = ? AND owner = ?";
static const char use_response[] =
    "UPDATE response SET used = COALESCE(?2, " DS4_SQL_NOW ") WHERE id = ?1"
    " AND (?2 IS NOT NULL OR used < " DS4_SQL_NOW " - 3600000)";

static const char add_turn[] = "INSERT INTO turn(used, size, reasoning, content, calls, tokens)"
                               " VALUES(COALESCE(?1, " DS4_SQL_NOW "), ?2, ?3, ?4, ?5, ?6) RETURNING id";
static const char add_handle[] = "INSERT OR REPLACE INTO handle(key, turn) VALUES(?, ?)";
static const char get_turn[] = "SELECT reasoning, content, calls, tokens FROM turn"
                               " WHERE id = (SELECT turn FROM handle WHERE key = ?)";
static const char use_turn[] =
    "UPDATE turn SET used = COALESCE(?2, " DS4_SQL_NOW ") WHERE id = (SELECT turn FROM handle WHERE key = ?1)"
    " AND (?2 IS NOT NULL OR used < " DS4_SQL_NOW " - 3600000)";
static const char find_turn[] = "SELECT turn FROM handle WHERE key = ?";
static const char drop_turn[] = "DELETE FROM turn WHERE id = ?";
static const char drop_handles[] = "DELETE FROM handle WHERE turn = ?";

static const char sum_bytes[] = "SELECT (SELECT COALESCE(SUM(MIN(size, 1099511627776)), 0) FROM response)"
                                " + (SELECT COALESCE(SUM(MIN(size, 1099511627776)), 0) FROM turn)";
static const char sum_handles[] = "SELECT COUNT(*) FROM handle";
static const char oldest[] =
    "SELECT * FROM (SELECT 0, rowid, used, size FROM response ORDER BY used, rowid LIMIT 1)"
    " UNION ALL SELECT * FROM (SELECT 1, id, used, size FROM turn ORDER BY used, id LIMIT 1)"
    " ORDER BY used LIMIT 1";
static const char drop_old_response[] = "DELETE FROM response WHERE rowid = ?";

static ds4_slice key_bytes(const ds4_kv_key *key)
{
    return (ds4_slice){ (const char *)key->b, sizeof key->b };
}

/* A time that is not bound is NULL in the statement. */
static void bind_time(ds4_sql_row *row, int at, ds4_text_time used)
{
    if (used) ds4_sql_number(row, at, used);
}

/* ---- responses -------------------------------------------------------------------------------- */

uint64_t ds4_text_response_size(const ds4_text_response *r)
{
    return ROW_BYTES + r->id.n_bytes + r->before.n_bytes + r->input.n_bytes + r->output.n_bytes
         + r->head.n_bytes + r->rest.n_bytes;
}

ds4_status ds4_text_add_response(ds4_index *ix, const ds4_kv_key *owner, const ds4_text_response *r,
                                 ds4_text_time used, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;

    DS4_TRY(ds4_sql_ready(db, add_response, &row, err));
    ds4_sql_text(row, 1, r->id);
    ds4_sql_bytes(row, 2, key_bytes(owner));
    bind_time(row, 3, used);
    ds4_sql_number(row, 4, (int64_t)ds4_text_response_size(r));
    ds4_sql_text(row, 5, r->before);
    ds4_sql_bytes(row, 6, r->input);
    ds4_sql_bytes(row, 7, r->output);
    ds4_sql_bytes(row, 8, r->head);
    ds4_sql_bytes(row, 9, r->rest);
    return ds4_sql_run(db, row, err);
}

ds4_status ds4_text_get_response(ds4_index *ix, const ds4_kv_key *owner, ds4_slice id, bool whole,
                                 ds4_text_response_fn *fn, void *ctx, bool *found, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;
    ds4_status   st;

    *found = false;
    DS4_TRY(ds4_sql_ready(db, whole ? get_whole : get_items, &row, err));
    ds4_sql_text(row, 1, id);
    ds4_sql_bytes(row, 2, key_bytes(owner));
    while (ds4_sql_next(db, row, &st, err)) {
        ds4_text_response r = { .id = id,
                                .before = ds4_sql_get_bytes(row, 0),
                                .input = ds4_sql_get_bytes(row, 1),
                                .output = ds4_sql_get_bytes(row, 2) };
        if (whole) {
            r.head = ds4_sql_get_bytes(row, 3);
            r.rest = ds4_sql_get_bytes(row, 4);
        }
        fn(ctx, &r);
        *found = true;
    }
    return st;
}

ds4_status ds4_text_drop_response(ds4_index *ix, const ds4_kv_key *owner, ds4_slice id, bool *was_there,
                                  ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;

    DS4_TRY(ds4_sql_ready(db, drop_response, &row, err));
    ds4_sql_text(row, 1, id);
    ds4_sql_bytes(row, 2, key_bytes(owner));
    DS4_TRY(ds4_sql_run(db, row, err));
    *was_there = ds4_sql_n_changes(db) > 0;
    return DS4_OK;
}

ds4_status ds4_text_use_response(ds4_index *ix, ds4_slice id, ds4_text_time used, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;

    DS4_TRY(ds4_sql_ready(db, use_response, &row, err));
    ds4_sql_text(row, 1, id);
    bind_time(row, 2, used);
    return ds4_sql_run(db, row, err);
}

ds4_status ds4_text_copy_responses(ds4_index *from, ds4_index *to, uint32_t *n, ds4_err *err)
{
    static const char all[] = "SELECT id, owner, used, before, input, output, head, rest FROM response";
    ds4_sql          *db = ds4_index_sql(from);
    ds4_sql_row      *row;
    ds4_status        st;

    *n = 0;
    DS4_TRY(ds4_sql_ready(db, all, &row, err));
    while (ds4_sql_next(db, row, &st, err)) {
        const ds4_slice         owner = ds4_sql_get_bytes(row, 1);
        const ds4_text_response r = { .id = ds4_sql_get_bytes(row, 0), .before = ds4_sql_get_bytes(row, 3),
                                      .input = ds4_sql_get_bytes(row, 4), .output = ds4_sql_get_bytes(row, 5),
                                      .head = ds4_sql_get_bytes(row, 6), .rest = ds4_sql_get_bytes(row, 7) };
        ds4_kv_key              key;
        if (owner.n_bytes != sizeof key.b) continue;
        memcpy(key.b, owner.data, sizeof key.b);
        st = ds4_text_add_response(to, &key, &r, ds4_sql_get_number(row, 2), err);
        *n += st == DS4_OK;
        if (st == DS4_OK) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

/* ---- turns ------------------------------------------------------------------------------------ */

uint64_t ds4_text_turn_size(const ds4_text_turn *t, uint32_t n_keys)
{
    return ROW_BYTES + (uint64_t)n_keys * HANDLE_BYTES + t->reasoning.n_bytes + t->content.n_bytes
         + t->calls.n_bytes + t->tokens.n_bytes;
}

static ds4_status drop_turn_of(ds4_index *ix, int64_t id, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;

    DS4_TRY(ds4_sql_ready(db, drop_handles, &row, err));
    ds4_sql_number(row, 1, id);
    DS4_TRY(ds4_sql_run(db, row, err));
    DS4_TRY(ds4_sql_ready(db, drop_turn, &row, err));
    ds4_sql_number(row, 1, id);
    return ds4_sql_run(db, row, err);
}

ds4_status ds4_text_drop_turn(ds4_index *ix, const ds4_kv_key *key, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;
    int64_t      id = 0;

    DS4_TRY(ds4_sql_ready(db, find_turn, &row, err));
    ds4_sql_bytes(row, 1, key_bytes(key));
    DS4_TRY(ds4_sql_run_number(db, row, &id, err));
    return id ? drop_turn_of(ix, id, err) : DS4_OK;
}

ds4_status ds4_text_add_turn(ds4_index *ix, const ds4_kv_key *keys, uint32_t n_keys, const ds4_text_turn *t,
                             ds4_text_time used, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;
    int64_t      id = 0;

    for (uint32_t i = 0; i < n_keys; i++) DS4_TRY(ds4_text_drop_turn(ix, &keys[i], err));
    DS4_TRY(ds4_sql_ready(db, add_turn, &row, err));
    bind_time(row, 1, used);
    ds4_sql_number(row, 2, (int64_t)ds4_text_turn_size(t, n_keys));
    ds4_sql_bytes(row, 3, t->reasoning);
    ds4_sql_bytes(row, 4, t->content);
    ds4_sql_bytes(row, 5, t->calls);
    ds4_sql_bytes(row, 6, t->tokens);
    DS4_TRY(ds4_sql_run_number(db, row, &id, err));
    for (uint32_t i = 0; i < n_keys; i++) {
        DS4_TRY(ds4_sql_ready(db, add_handle, &row, err));
        ds4_sql_bytes(row, 1, key_bytes(&keys[i]));
        ds4_sql_number(row, 2, id);
        DS4_TRY(ds4_sql_run(db, row, err));
    }
    return DS4_OK;
}

ds4_status ds4_text_get_turn(ds4_index *ix, const ds4_kv_key *key, ds4_text_turn_fn *fn, void *ctx,
                             bool *found, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;
    ds4_status   st;

    *found = false;
    DS4_TRY(ds4_sql_ready(db, get_turn, &row, err));
    ds4_sql_bytes(row, 1, key_bytes(key));
    while (ds4_sql_next(db, row, &st, err)) {
        const ds4_text_turn t = { ds4_sql_get_bytes(row, 0), ds4_sql_get_bytes(row, 1),
                                  ds4_sql_get_bytes(row, 2), ds4_sql_get_bytes(row, 3) };
        fn(ctx, &t);
        *found = true;
    }
    return st;
}

ds4_status ds4_text_use_turn(ds4_index *ix, const ds4_kv_key *key, ds4_text_time used, ds4_err *err)
{
    ds4_sql     *db = ds4_index_sql(ix);
    ds4_sql_row *row;

    DS4_TRY(ds4_sql_ready(db, use_turn, &row, err));
    ds4_sql_bytes(row, 1, key_bytes(key));
    bind_time(row, 2, used);
    return ds4_sql_run(db, row, err);
}

/* ---- room ------------------------------------------------------------------------------------- */

static ds4_status sum(ds4_index *ix, const char *text, uint64_t *out, ds4_err *err)
{
    ds4_sql_row *row;
    int64_t      n = 0;

    DS4_TRY(ds4_sql_ready(ds4_index_sql(ix), text, &row, err));
    DS4_TRY(ds4_sql_run_number(ds4_index_sql(ix), row, &n, err));
    *out = n > 0 ? (uint64_t)n : 0;
    return DS4_OK;
}

ds4_status ds4_text_sum(ds4_index *ix, ds4_text_sums *out, ds4_err *err)
{
    DS4_TRY(sum(ix, sum_bytes, &out->n_bytes, err));
    return sum(ix, sum_handles, &out->n_handles, err);
}

ds4_status ds4_text_shrink(ds4_index *ix, uint64_t enough, uint64_t *freed, ds4_err *err)
{
    ds4_sql *db = ds4_index_sql(ix);

    while (*freed < enough) {
        ds4_sql_row *row;
        ds4_status   st;
        int64_t      id = 0, size = 0;
        bool         is_turn = false;
        DS4_TRY(ds4_sql_ready(db, oldest, &row, err));
        while (ds4_sql_next(db, row, &st, err)) {
            is_turn = ds4_sql_get_number(row, 0) != 0;
            id = ds4_sql_get_number(row, 1);
            size = ds4_sql_get_number(row, 3);
        }
        if (st != DS4_OK || id == 0) return st;
        if (is_turn) {
            DS4_TRY(drop_turn_of(ix, id, err));
        } else {
            DS4_TRY(ds4_sql_ready(db, drop_old_response, &row, err));
            ds4_sql_number(row, 1, id);
            DS4_TRY(ds4_sql_run(db, row, err));
        }
        *freed += size > 0 ? (uint64_t)size : 0;
    }
    return DS4_OK;
}
