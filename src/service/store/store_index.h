/* store_index.h - the index of the KV store: which blocks and tails there are, what they
 * follow, their tokens and text, sizes, and when they were used.
 *
 * An SQLite database that several processes share. Blocks form trees: block 0 of a model
 * has no parent. Reading needs no transaction; changes are made between begin and commit,
 * which one process holds at a time. Rows that a function hands out are lent for the call. */
#ifndef DS4_SERVICE_STORE_INDEX_H
#define DS4_SERVICE_STORE_INDEX_H

#include "service/store/store_file.h"
#include "service/store/store_sql.h"

typedef struct ds4_index ds4_index;

enum { DS4_INDEX_NAME = 72 };           /* bytes of a name with its zero; longer ones are given as "" */

/* Milliseconds since 1970, in a statement. */
#define DS4_SQL_NOW "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

typedef struct ds4_index_model {
    int64_t    id;
    ds4_kv_key root, identity;      /* the root is the identity's */
    ds4_slice  name, path;          /* as the file said when it was last used */
} ds4_index_model;

typedef struct ds4_index_block {
    int64_t    id, model, parent;   /* parent 0: the first of its model; parents have lower ids */
    ds4_kv_key key;
    uint32_t   pos;                 /* tokens up to its end */
    uint64_t   size;                /* of its file; 0: the file is lost, what follows waits */
    ds4_slice  tokens, text;        /* little endian tokens; the bytes they stand for */
} ds4_index_block;

/* The reason for which a tail was kept: what is given up first comes last. */
typedef enum ds4_tail_kind { DS4_TAIL_ANCHOR = 1, DS4_TAIL_TURN, DS4_TAIL_WAY } ds4_tail_kind;

typedef struct ds4_index_tail {
    int64_t       id, model, block; /* block 0: shorter than one block */
    ds4_kv_key    key;
    ds4_tail_kind kind;
    uint32_t      pos;
    uint64_t      size, hits;
    int64_t       made, used;       /* milliseconds since 1970 */
    ds4_slice     tokens, text;     /* those after the block */
} ds4_index_tail;

/* Tokens that followed a tail, so that a text finds them as they were sampled. */
typedef struct ds4_index_ending {
    int64_t   id, tail;
    ds4_slice tokens, text;
} ds4_index_ending;

/* Return false to stop. */
typedef bool ds4_index_model_fn(void *ctx, const ds4_index_model *m);
typedef bool ds4_index_block_fn(void *ctx, const ds4_index_block *b);
typedef bool ds4_index_tail_fn(void *ctx, const ds4_index_tail *t);
typedef bool ds4_index_ending_fn(void *ctx, const ds4_index_ending *e);

/* Open or make the database file; one of the version before is brought up to this one.
 *
 *   path   NULL: in memory
 *   mode   DS4_SQL_READ: nothing is made or changed
 *
 * Returns DS4_OK; DS4_E_FORMAT when the file is damaged or none of ours; DS4_E_IO;
 * DS4_E_NOMEM.                                                                          */
DS4_MUST_CHECK ds4_status ds4_index_open(ds4_index **out, const char *path, ds4_sql_mode mode, ds4_err *err);
void                      ds4_index_close(ds4_index *ix);       /* NULL is fine */
ds4_sql                  *ds4_index_sql(ds4_index *ix);         /* lent: for other tables of it */

DS4_MUST_CHECK ds4_status ds4_index_begin(ds4_index *ix, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_commit(ds4_index *ix, ds4_err *err);
void                      ds4_index_rollback(ds4_index *ix);    /* without a begin it does nothing */

/* All below return DS4_OK; DS4_E_FORMAT for a damaged database; DS4_E_IO. */

/* Rows that cannot be true go; what they stood for is found again. Inside a transaction. */
DS4_MUST_CHECK ds4_status ds4_index_mend(ds4_index *ix, ds4_err *err);

DS4_MUST_CHECK ds4_status ds4_index_models(ds4_index *ix, ds4_index_model_fn *fn, void *ctx,
                                           ds4_err *err);
/* The id of a root, which becomes known by this. Name and path are noted if not NULL. */
DS4_MUST_CHECK ds4_status ds4_index_model_id(ds4_index *ix, const ds4_kv_key *root,
                                             const ds4_kv_key *identity, const char *name, const char *path,
                                             int64_t *id, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_find_model(ds4_index *ix, const ds4_kv_key *root, int64_t *id,
                                               ds4_err *err);   /* 0: it is not known */

/* Roots whose model was seen to have this content, newest first; and saying so of one. */
DS4_MUST_CHECK ds4_status ds4_index_models_of(ds4_index *ix, const ds4_kv_key *content,
                                              ds4_index_model_fn *fn, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_set_content(ds4_index *ix, const ds4_kv_key *root,
                                                const ds4_kv_key *content, ds4_err *err);

DS4_MUST_CHECK ds4_status ds4_index_all_blocks(ds4_index *ix, ds4_index_block_fn *fn, void *ctx,
                                               ds4_err *err);   /* parents first */
DS4_MUST_CHECK ds4_status ds4_index_children(ds4_index *ix, int64_t model, int64_t parent,
                                             ds4_index_block_fn *fn, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_block_by_key(ds4_index *ix, const ds4_kv_key *key,
                                                 ds4_index_block_fn *fn, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_all_tails(ds4_index *ix, ds4_index_tail_fn *fn, void *ctx,
                                              ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_tails_at(ds4_index *ix, int64_t model, int64_t block,
                                             ds4_index_tail_fn *fn, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_tail_by_key(ds4_index *ix, const ds4_kv_key *key,
                                                ds4_index_tail_fn *fn, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_endings(ds4_index *ix, int64_t tail, ds4_index_ending_fn *fn,
                                            void *ctx, ds4_err *err);       /* newest first */

/* Inside a transaction. Adding what is there already sets its row right. */
DS4_MUST_CHECK ds4_status ds4_index_add_block(ds4_index *ix, const ds4_index_block *b, int64_t *id,
                                              ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_add_tail(ds4_index *ix, const ds4_index_tail *t, int64_t *id,
                                             ds4_err *err);
/* Remember that a tail was wanted; *before: it was so already, perhaps long ago. */
DS4_MUST_CHECK ds4_status ds4_index_want(ds4_index *ix, const ds4_kv_key *key, bool *before, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_add_ending(ds4_index *ix, const ds4_index_ending *e, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_lose_block(ds4_index *ix, int64_t id, ds4_err *err); /* size 0 */
DS4_MUST_CHECK ds4_status ds4_index_drop_block(ds4_index *ix, int64_t id, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_drop_tail(ds4_index *ix, int64_t id, ds4_err *err); /* endings too */
DS4_MUST_CHECK ds4_status ds4_index_touch_tail(ds4_index *ix, int64_t id, bool hit, ds4_err *err);
/* A tail that is stored once more for a better reason has that. */
DS4_MUST_CHECK ds4_status ds4_index_raise_tail(ds4_index *ix, int64_t id, ds4_tail_kind kind, ds4_err *err);

/* ---- accounts ---------------------------------------------------------------------------- */

typedef struct ds4_index_sums {
    uint64_t n_blocks, n_tails, block_bytes, tail_bytes;
    uint64_t reserved;              /* by writers, for files under way */
    uint64_t aside;                 /* bytes of files that were set aside */
    uint64_t database;              /* the index itself, with turns and responses */
    uint64_t n_responses, n_turns;
} ds4_index_sums;
DS4_MUST_CHECK ds4_status ds4_index_sum(ds4_index *ix, ds4_index_sums *out, ds4_err *err);

/* A writer has a name of its own; what it reserves counts until it is changed or the
 * writer is forgotten. */
DS4_MUST_CHECK ds4_status ds4_index_reserve(ds4_index *ix, const char *writer, uint64_t n_bytes,
                                            ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_forget_writer(ds4_index *ix, const char *writer, ds4_err *err);
typedef bool ds4_index_name_fn(void *ctx, const char *name, uint64_t n_bytes);
DS4_MUST_CHECK ds4_status ds4_index_writers(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err);

/* Files set aside; size 0 forgets one. */
DS4_MUST_CHECK ds4_status ds4_index_set_aside(ds4_index *ix, const char *name, uint64_t size, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_index_each_aside(ds4_index *ix, ds4_index_name_fn *fn, void *ctx, ds4_err *err);

#endif
