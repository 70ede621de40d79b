/* store_local.h - between the parts of the KV store. */
#ifndef DS4_SERVICE_STORE_LOCAL_H
#define DS4_SERVICE_STORE_LOCAL_H

#include "service/store/store.h"
#include "service/store/store_identity.h"

enum { STORE_NAME = 64, STORE_WRITER = 17 };    /* bytes of a file name; of a writer's name */

enum { STORE_VIEWS = 8 };

/* A name of the model, and its row: -1 when it has none yet. */
typedef struct store_view {
    ds4_kv_owner owner;
    ds4_kv_key   root;
    int64_t      model;
} store_view;

struct ds4_store {
    char        *dir;                   /* as it was named, for messages and SQLite */
    int          fd;                    /* of the folder */
    ds4_index   *index;
    uint64_t     max_bytes;
    uint32_t     min_tokens;
    uint64_t     rows_bytes;            /* see ds4_store_set_rows() */
    bool         defers_hits, silent, keeps_texts;
    bool         said_damaged;
    bool         stopped;               /* writing has failed, and is tried again at retry_ns */
    uint32_t     n_failures;            /* in a row */
    uint64_t     n_stops;               /* all of them */
    uint64_t     retry_ns, wait_ns;     /* wait_ns: until the first new try */
    ds4_kv_key   place;                 /* which folder and index were opened, see store_life.c */
    ds4_engine  *engine;                /* NULL: none */
    ds4_identity *identity, *own_identity;      /* of its model; the second is closed with the store */
    ds4_state_form form;
    ds4_kv_key   reader;                /* see ds4_store_set_reader() */
    store_view   view[STORE_VIEWS];     /* [n_views] see store_names.c; rows are kept under the first */
    uint32_t     n_views;
    ds4_kv_key   by_facts;
    bool         is_known;              /* the content of the model's files */
    char         writer[STORE_WRITER];  /* "" until the first file is written */
    int          writer_fd;             /* its lock */
    uint32_t     n_temp;                /* numbers temporary files */
};

/* ---- store_life.c: opened, lost, found again ------------------------------------------------- */

/* Open folder and index. A disk that cannot be written leaves a store that is stopped, and has what
 * can be read: DS4_OK. Returns DS4_E_IO for a folder that must not be used; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status store_begin(ds4_store *s, ds4_err *err);
void                      store_end(ds4_store *s);

/* The index is damaged: it is put aside and made anew from the files, which say everything
 * but how often they were used. s->index is NULL on failure. */
DS4_MUST_CHECK ds4_status store_rebuild(ds4_store *s, const ds4_err *why, ds4_err *err);

/* Is there something to read? A folder that somebody removed or replaced is opened anew. */
bool store_is_there(ds4_store *s);

/* Somebody removed or replaced the folder or its index. */
bool store_is_lost(const ds4_store *s);

/* Is there something to write to? A store that has stopped is opened anew. */
DS4_MUST_CHECK ds4_status store_may_write(ds4_store *s, ds4_err *err);

/* Writing has failed: say so once, and when it is tried again. Passes st on. The other: it works. */
ds4_status store_stop(ds4_store *s, ds4_status st, const ds4_err *err);
void       store_works(ds4_store *s);

/* Does the disk have room for so many bytes? It is not filled to its last byte, whatever the budget
 * says. Returns DS4_OK; DS4_E_IO with the numbers. */
DS4_MUST_CHECK ds4_status store_check_disk(const ds4_store *s, uint64_t n_bytes, ds4_err *err);

/* ---- store_dir.c: files --------------------------------------------------------------------- */

/* Make and open a folder. *unsafe: it is there and must not be used. */
DS4_MUST_CHECK ds4_status store_dir_open(const char *dir, int *fd, bool *unsafe, ds4_err *err);

void store_name(ds4_kv_kind kind, const ds4_kv_key *key, char name[STORE_NAME]);
bool store_name_read(const char *name, ds4_kv_kind *kind, ds4_kv_key *key);
bool store_name_is_aside(const char *name);     /* one that store_set_aside() could have given */

/* Read a whole file of the folder; the caller frees *bytes. fd -1: it is opened.
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT when it is no regular file or too large. */
DS4_MUST_CHECK ds4_status store_read(const ds4_store *s, const char *name, int fd, uint8_t **bytes,
                                     uint64_t *n_bytes, ds4_err *err);

/* Write a new temporary file, name receives its name; then wait until it is on the disk. Many
 * files are written first and waited for together, which takes far less time. */
DS4_MUST_CHECK ds4_status store_write_temp(ds4_store *s, const uint8_t *bytes, uint64_t n_bytes,
                                           char name[STORE_NAME], ds4_err *err);
DS4_MUST_CHECK ds4_status store_sync_temp(ds4_store *s, const char *name, ds4_err *err);
DS4_MUST_CHECK ds4_status store_rename(ds4_store *s, const char *from, const char *to, ds4_err *err);
DS4_MUST_CHECK ds4_status store_sync(ds4_store *s, ds4_err *err);     /* of the folder */

/* Remove a file unless somebody has it pinned. Returns true when it is gone. */
bool store_remove(ds4_store *s, const char *name);

/* Open a file and hold it against removal; -1 when it is not there. */
int store_pin(const ds4_store *s, const char *name);

/* Rename a file to NAME.bad and note it. Inside a transaction. Logged once. */
DS4_MUST_CHECK ds4_status store_set_aside(ds4_store *s, const char *name, const char *why, ds4_err *err);

/* ---- store_names.c ---------------------------------------------------------------------------- */

/* Ask what the model is called now. *usable: its files have not been changed meanwhile. */
DS4_MUST_CHECK ds4_status store_learn_names(ds4_store *s, bool *usable, ds4_err *err);

/* Give the first name a row, and note what has become known; inside a transaction. */
DS4_MUST_CHECK ds4_status store_enter_names(ds4_store *s, ds4_err *err);

const store_view *store_view_of(const ds4_store *s, const ds4_kv_key *identity);        /* NULL: not ours */

/* ---- store_sweep.c ---------------------------------------------------------------------------- */

/* Bring folder and index together; inside a transaction. Files that are whole and fit are
 * taken into the index, those of dead writers go, rows without a file become losses. */
DS4_MUST_CHECK ds4_status store_sweep(ds4_store *s, ds4_err *err);

/* A name and a locked file for this process's writing; inside a transaction. */
DS4_MUST_CHECK ds4_status store_be_writer(ds4_store *s, ds4_err *err);

/* A file has gone or went bad: its row becomes a loss or goes. Inside a transaction. */
DS4_MUST_CHECK ds4_status store_lose(ds4_store *s, ds4_kv_kind kind, const ds4_kv_key *key, ds4_err *err);

/* ---- store_evict.c ---------------------------------------------------------------------------- */

/* Make room for `need` bytes within max_bytes; inside a transaction. Blocks from keep_block up
 * to their root stay (0: none). Returns DS4_OK; DS4_E_LIMIT. */
DS4_MUST_CHECK ds4_status store_make_room(ds4_store *s, uint64_t need, uint64_t max_bytes,
                                          int64_t keep_block, ds4_err *err);

/* Of the tails on the way to this one, leave as many as its length may carry; inside a
 * transaction.
 *
 *   tokens   [tail's pos] of the whole way                                               */
DS4_MUST_CHECK ds4_status store_thin_out(ds4_store *s, int64_t tail, const int32_t *tokens, ds4_err *err);

/* ---- store_find.c -------------------------------------------------------------------------------- */

/* Names of the blocks of a token sequence: keys[0] is the root, keys[i] block i-1. The
 * caller frees it; NULL without memory. */
ds4_kv_key *store_keys(const store_view *v, const int32_t *tokens, uint32_t n_blocks);
bool        store_same_tokens(ds4_slice stored, const int32_t *tokens, uint32_t n_tokens);

#endif
