/* store_index_rows.c - see store_index.h: the rows of blocks, tails and their endings. */
#include "service/store/store_index_local.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ENDINGS = 8, MAX_WANTED = 4096 };

enum {
    BLOCKS, CHILDREN, BLOCK_BY_KEY, BLOCK_ADD, BLOCK_LOSE, BLOCK_DROP,
    TAILS, TAILS_AT, TAIL_BY_KEY, TAIL_ADD, TAIL_DROP, TAIL_TOUCH, TAIL_RAISE,
    ENDINGS, ENDING_ADD, ENDING_PRUNE, ENDINGS_DROP, WANT, WANT_PRUNE,
    N_STATEMENTS
};

#define BLOCK_COLUMNS "SELECT id, model, parent, key, pos, size, tokens, text FROM block"
#define TAIL_COLUMNS \
    "SELECT id, model, block, key, kind, pos, size, hits, made, used, tokens, text FROM tail"

static const char *const sql[N_STATEMENTS] = {
    [BLOCKS] = BLOCK_COLUMNS " ORDER BY id",
    [CHILDREN] = BLOCK_COLUMNS " WHERE model = ? AND parent = ? AND size > 0",
    [BLOCK_BY_KEY] = BLOCK_COLUMNS " WHERE key = ?",
    [BLOCK_ADD] =
        "INSERT INTO block(model, parent, key, pos, size, tokens, text)"
        " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET model = excluded.model,"
        " parent = excluded.parent, pos = excluded.pos, size = excluded.size,"
        " tokens = excluded.tokens, text = excluded.text"
        " RETURNING id",
    [BLOCK_LOSE] = "UPDATE block SET size = 0 WHERE id = ?",
    [BLOCK_DROP] = "DELETE FROM block WHERE id = ?",
    [TAILS] = TAIL_COLUMNS " ORDER BY id",
    [TAILS_AT] = TAIL_COLUMNS " WHERE model = ? AND block = ?",
    [TAIL_BY_KEY] = TAIL_COLUMNS " WHERE key = ?",
    [TAIL_ADD] =
        "INSERT INTO tail(model, block, key, kind, pos, size, hits, made, used, tokens, text)"
        " VALUES(?, ?, ?, ?, ?, ?, 0, " DS4_SQL_NOW ", " DS4_SQL_NOW ", ?, ?)"
        " ON CONFLICT(key) DO UPDATE SET model = excluded.model, block = excluded.block,"
        " pos = excluded.pos, size = excluded.size, tokens = excluded.tokens,"
        " text = excluded.text RETURNING id",
    [TAIL_DROP] = "DELETE FROM tail WHERE id = ?",
    [TAIL_TOUCH] = "UPDATE tail SET used = " DS4_SQL_NOW ", hits = hits + ?2 WHERE id = ?1",
    [TAIL_RAISE] = "UPDATE tail SET kind = ?2 WHERE id = ?1 AND kind > ?2",
    [ENDINGS] = "SELECT id, tail, tokens, text FROM ending WHERE tail = ? ORDER BY id DESC",
    [ENDING_ADD] = "INSERT OR REPLACE INTO ending(tail, tokens, text) VALUES(?, ?, ?)",
    [ENDING_PRUNE] = ("DELETE FROM ending WHERE tail = ?1 AND id NOT IN"
                      " (SELECT id FROM ending WHERE tail = ?1 ORDER BY id DESC LIMIT ?2)"),
    [ENDINGS_DROP] = "DELETE FROM ending WHERE tail = ?",
    [WANT] = "INSERT OR IGNORE INTO wanted(key) VALUES(?)",
    [WANT_PRUNE] = "DELETE FROM wanted WHERE id <= (SELECT MAX(id) FROM wanted) - ?",
};

static ds4_status ready(ds4_index *ix, int which, ds4_sql_row **row, ds4_err *err)
{
    return ds4_sql_ready(ds4_index_sql(ix), sql[which], row, err);
}

/* ---- blocks ------------------------------------------------------------------------------------ */

static ds4_status each_block(ds4_index *ix, ds4_sql_row *row, ds4_index_block_fn *fn, void *ctx,
                             ds4_err *err)
{
    ds4_status st;

    while (ds4_sql_next(ds4_index_sql(ix), row, &st, err)) {
        const ds4_index_block b = {
            .id = ds4_sql_get_number(row, 0), .model = ds4_sql_get_number(row, 1),
            .parent = ds4_sql_get_number(row, 2), .key = store_key_at(row, 3),
            .pos = (uint32_t)ds4_sql_get_number(row, 4), .size = (uint64_t)ds4_sql_get_number(row, 5),
            .tokens = ds4_sql_get_bytes(row, 6), .text = ds4_sql_get_bytes(row, 7),
        };
        if (fn(ctx, &b)) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

ds4_status ds4_index_all_blocks(ds4_index *ix, ds4_index_block_fn *fn, void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, BLOCKS, &row, err));
    return each_block(ix, row, fn, ctx, err);
}

ds4_status ds4_index_children(ds4_index *ix, int64_t model, int64_t parent, ds4_index_block_fn *fn,
                              void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, CHILDREN, &row, err));
    ds4_sql_number(row, 1, model);
    ds4_sql_number(row, 2, parent);
    return each_block(ix, row, fn, ctx, err);
}

ds4_status ds4_index_block_by_key(ds4_index *ix, const ds4_kv_key *key, ds4_index_block_fn *fn,
                                  void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, BLOCK_BY_KEY, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(key));
    return each_block(ix, row, fn, ctx, err);
}

ds4_status ds4_index_add_block(ds4_index *ix, const ds4_index_block *b, int64_t *id, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, BLOCK_ADD, &row, err));
    ds4_sql_number(row, 1, b->model);
    ds4_sql_number(row, 2, b->parent);
    ds4_sql_bytes(row, 3, store_bytes_of(&b->key));
    ds4_sql_number(row, 4, b->pos);
    ds4_sql_number(row, 5, (int64_t)b->size);
    ds4_sql_bytes(row, 6, b->tokens);
    ds4_sql_bytes(row, 7, b->text);
    return ds4_sql_run_number(ds4_index_sql(ix), row, id, err);
}

/* Run a statement over one id. */
static ds4_status over_id(ds4_index *ix, int which, int64_t id, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, which, &row, err));
    ds4_sql_number(row, 1, id);
    return ds4_sql_run(ds4_index_sql(ix), row, err);
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

static ds4_status each_tail(ds4_index *ix, ds4_sql_row *row, ds4_index_tail_fn *fn, void *ctx, ds4_err *err)
{
    ds4_status st;

    while (ds4_sql_next(ds4_index_sql(ix), row, &st, err)) {
        const ds4_index_tail t = {
            .id = ds4_sql_get_number(row, 0), .model = ds4_sql_get_number(row, 1),
            .block = ds4_sql_get_number(row, 2), .key = store_key_at(row, 3),
            .kind = (ds4_tail_kind)ds4_sql_get_number(row, 4),
            .pos = (uint32_t)ds4_sql_get_number(row, 5), .size = (uint64_t)ds4_sql_get_number(row, 6),
            .hits = (uint64_t)ds4_sql_get_number(row, 7), .made = ds4_sql_get_number(row, 8),
            .used = ds4_sql_get_number(row, 9), .tokens = ds4_sql_get_bytes(row, 10),
            .text = ds4_sql_get_bytes(row, 11),
        };
        if (fn(ctx, &t)) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

ds4_status ds4_index_all_tails(ds4_index *ix, ds4_index_tail_fn *fn, void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAILS, &row, err));
    return each_tail(ix, row, fn, ctx, err);
}

ds4_status ds4_index_tails_at(ds4_index *ix, int64_t model, int64_t block, ds4_index_tail_fn *fn,
                              void *ctx, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAILS_AT, &row, err));
    ds4_sql_number(row, 1, model);
    ds4_sql_number(row, 2, block);
    return each_tail(ix, row, fn, ctx, err);
}

ds4_status ds4_index_tail_by_key(ds4_index *ix, const ds4_kv_key *key, ds4_index_tail_fn *fn, void *ctx,
                                 ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAIL_BY_KEY, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(key));
    return each_tail(ix, row, fn, ctx, err);
}

ds4_status ds4_index_add_tail(ds4_index *ix, const ds4_index_tail *t, int64_t *id, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAIL_ADD, &row, err));
    ds4_sql_number(row, 1, t->model);
    ds4_sql_number(row, 2, t->block);
    ds4_sql_bytes(row, 3, store_bytes_of(&t->key));
    ds4_sql_number(row, 4, (int)t->kind);
    ds4_sql_number(row, 5, t->pos);
    ds4_sql_number(row, 6, (int64_t)t->size);
    ds4_sql_bytes(row, 7, t->tokens);
    ds4_sql_bytes(row, 8, t->text);
    return ds4_sql_run_number(ds4_index_sql(ix), row, id, err);
}

ds4_status ds4_index_drop_tail(ds4_index *ix, int64_t id, ds4_err *err)
{
    DS4_TRY(over_id(ix, ENDINGS_DROP, id, err));
    return over_id(ix, TAIL_DROP, id, err);
}

ds4_status ds4_index_touch_tail(ds4_index *ix, int64_t id, bool hit, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAIL_TOUCH, &row, err));
    ds4_sql_number(row, 1, id);
    ds4_sql_number(row, 2, hit);
    return ds4_sql_run(ds4_index_sql(ix), row, err);
}

ds4_status ds4_index_raise_tail(ds4_index *ix, int64_t id, ds4_tail_kind kind, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, TAIL_RAISE, &row, err));
    ds4_sql_number(row, 1, id);
    ds4_sql_number(row, 2, kind);
    return ds4_sql_run(ds4_index_sql(ix), row, err);
}

ds4_status ds4_index_want(ds4_index *ix, const ds4_kv_key *key, bool *before, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, WANT, &row, err));
    ds4_sql_bytes(row, 1, store_bytes_of(key));
    DS4_TRY(ds4_sql_run(ds4_index_sql(ix), row, err));
    *before = ds4_sql_n_changes(ds4_index_sql(ix)) == 0;
    return *before ? DS4_OK : over_id(ix, WANT_PRUNE, MAX_WANTED, err);
}

ds4_status ds4_index_endings(ds4_index *ix, int64_t tail, ds4_index_ending_fn *fn, void *ctx,
                             ds4_err *err)
{
    ds4_sql_row *row;
    ds4_status   st;

    DS4_TRY(ready(ix, ENDINGS, &row, err));
    ds4_sql_number(row, 1, tail);
    while (ds4_sql_next(ds4_index_sql(ix), row, &st, err)) {
        const ds4_index_ending e = { .id = ds4_sql_get_number(row, 0),
                                     .tail = ds4_sql_get_number(row, 1),
                                     .tokens = ds4_sql_get_bytes(row, 2), .text = ds4_sql_get_bytes(row, 3) };
        if (fn(ctx, &e)) continue;
        ds4_sql_stop(row);
        break;
    }
    return st;
}

ds4_status ds4_index_add_ending(ds4_index *ix, const ds4_index_ending *e, ds4_err *err)
{
    ds4_sql_row *row;

    DS4_TRY(ready(ix, ENDING_ADD, &row, err));
    ds4_sql_number(row, 1, e->tail);
    ds4_sql_bytes(row, 2, e->tokens);
    ds4_sql_bytes(row, 3, e->text);
    DS4_TRY(ds4_sql_run(ds4_index_sql(ix), row, err));
    DS4_TRY(ready(ix, ENDING_PRUNE, &row, err));
    ds4_sql_number(row, 1, e->tail);
    ds4_sql_number(row, 2, MAX_ENDINGS);
    return ds4_sql_run(ds4_index_sql(ix), row, err);
}
