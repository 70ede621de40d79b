/* store.h - positions of conversations kept on disk: a folder that several processes share.
 *
 * A position is kept as a tail (ds4_snapshot) and the blocks before it. Blocks are shared: a
 * longer conversation adds only its own, and so does another one with the same beginning.
 * A budget holds for the whole folder at all times, with files under way; what was not
 * used for longest goes first, ends of conversations before their beginnings, and never
 * what somebody has pinned. Damaged files are set aside under another name. When writing
 * fails, reading goes on and writing is tried again after a while; a folder that has gone is
 * made anew.
 *
 * The folder has mode 0700 and its files 0600: they hold conversations in clear. One that
 * belongs to somebody else or that others may write is refused, and links in it are not
 * followed.
 *
 * One thread at a time. Nothing is printed; what a user must know goes to ds4_log(). */
#ifndef DS4_SERVICE_STORE_H
#define DS4_SERVICE_STORE_H

#include "service/store/store_identity.h"
#include "service/store/store_index.h"

typedef struct ds4_store ds4_store;

enum { DS4_STORE_MIN_TOKENS = 512 };
#define DS4_STORE_BYTES (UINT64_C(8192) << 20)

typedef struct ds4_store_options {
    const char *dir;            /* made if it is missing */
    uint64_t    max_bytes;      /* of everything in the folder; 0: DS4_STORE_BYTES */
    uint32_t    min_tokens;     /* shorter positions are not kept; 0: DS4_STORE_MIN_TOKENS */
    uint64_t    rows_bytes;     /* of max_bytes that files outside the store take, see
                                   ds4_store_set_rows() */
    bool        defers_hits;    /* the caller counts them: ds4_store_count_hit() */
    bool        keeps_texts;    /* stays although nothing can be read at first, see store_texts.h */
    bool        silent;         /* another store of this process says that writing failed */
    uint32_t    retry_ms;       /* after a failure; 0: 5000. It doubles up to sixteen times that */
    ds4_engine *engine;         /* NULL: only to look at it, check it and prune it */
    ds4_identity *identity;     /* of the engine's model, lent; NULL: the store finds out itself */
} ds4_store_options;

/* Open a folder; what a killed process left is cleaned up or taken over, and the index is
 * made anew from the files when it is damaged. Where the disk is full or cannot be written the
 * store has what can be read, says so, and is DS4_OK.
 *
 *   out   receives the store; untouched on failure
 *
 * Returns DS4_OK; DS4_E_IO for a folder that must not be used; DS4_E_LIMIT, see
 * ds4_store_set_rows(); DS4_E_NOMEM.                                                     */
DS4_MUST_CHECK ds4_status ds4_store_open(ds4_store **out, const ds4_store_options *opt, ds4_err *err);
void                      ds4_store_close(ds4_store *s);        /* NULL is fine */

/* Rows of --kv-mem lie in the same folder, in files without a name: they count against
 * the budget from now on with so many bytes. Returns DS4_OK; DS4_E_LIMIT when the budget has
 * no room for them (the number before holds); DS4_E_IO; ...                              */
DS4_MUST_CHECK ds4_status ds4_store_set_rows(ds4_store *s, uint64_t n_bytes, ds4_err *err);

bool        ds4_store_writes(const ds4_store *s);   /* false from a failure on until it works; for tests */
uint64_t    ds4_store_retry_ns(const ds4_store *s);     /* until writing is tried again; 0: now */
void        ds4_store_retry_now(ds4_store *s);          /* the next to write may try */
uint64_t    ds4_store_n_stops(const ds4_store *s);      /* times that writing failed */
uint64_t    ds4_store_budget(const ds4_store *s);
ds4_index  *ds4_store_index(ds4_store *s);      /* lent, for reading; NULL: it cannot be opened now */

/* Keep and find for this reader from now on: what was kept for another one is not found. Zero, as at
 * the beginning: for all. */
void ds4_store_set_reader(ds4_store *s, const ds4_kv_key *reader);

/* ---- keeping ------------------------------------------------------------------------------- */

/* Keep a position. Tails are smallest at multiples of 128, so a caller keeps such a one
 * and names the tokens that followed.
 *
 *   after    [n_after] tokens that followed the position
 *
 * Returns DS4_OK, also when it is too short to keep or the model's file was changed; DS4_E_LIMIT
 * when the budget cannot hold it; DS4_E_IO, after which ds4_store_retry_ns() says when to come
 * again; DS4_E_NOMEM; DS4_E_DEVICE.                                                      */
DS4_MUST_CHECK ds4_status ds4_store_save(ds4_store *s, const ds4_snapshot *p, ds4_tail_kind kind,
                                         const int32_t *after, uint32_t n_after, ds4_err *err);

/* ---- finding ------------------------------------------------------------------------------- */

/* A stored position. It is pinned: no process evicts it or what it needs. */
typedef struct ds4_stored {
    int64_t    tail;
    uint32_t   pos;             /* tokens; 0: none was found */
    int        fd;              /* of the tail's file, locked */
    ds4_kv_key identity;        /* under which it is kept */
} ds4_stored;

/* The longest stored position of at most max_pos tokens that is a beginning of the given.
 * Returns DS4_OK, also when there is none; DS4_E_IO; DS4_E_FORMAT; DS4_E_NOMEM.          */
DS4_MUST_CHECK ds4_status ds4_store_find(ds4_store *s, const int32_t *tokens, uint32_t n_tokens,
                                         uint32_t max_pos, ds4_stored *out, ds4_err *err);
void                      ds4_store_unpin(ds4_stored *found);   /* a zeroed one is fine */

/* Load what was found.
 *
 *   tokens   as for ds4_store_find()
 *   base     NULL, or a snapshot whose blocks serve as far as its tokens are the same
 *
 * Returns DS4_OK; DS4_E_FORMAT or DS4_E_IO when a file was lost or damaged: it is set
 * aside, and finding again gives the next best; DS4_E_NOMEM; DS4_E_DEVICE.               */
DS4_MUST_CHECK ds4_status ds4_store_load(ds4_store *s, const ds4_stored *found, const int32_t *tokens,
                                         const ds4_snapshot *base, ds4_snapshot **out, ds4_err *err);

/* A stored position was of use. Failure does not matter. */
void ds4_store_count_hit(ds4_store *s, int64_t tail);

/* Gives tokens that stand for a beginning of a text. */
typedef void ds4_store_recall_fn(void *ctx, const int32_t *tokens, uint32_t n_tokens);

/* The tokens that were evaluated when a text was met before: a few candidates, those that
 * cover most of the text. Their bytes agree with the text up to the last tokens, which may
 * lead elsewhere. What may be a special token is for the caller to judge.
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT; DS4_E_NOMEM.                                   */
DS4_MUST_CHECK ds4_status ds4_store_recall(ds4_store *s, ds4_slice text, ds4_store_recall_fn *fn,
                                           void *ctx, ds4_err *err);

/* ---- care ---------------------------------------------------------------------------------- */

/* Evict until everything takes at most n_bytes. Returns DS4_OK; DS4_E_LIMIT when what is
 * pinned takes more; DS4_E_IO.                                                           */
DS4_MUST_CHECK ds4_status ds4_store_prune(ds4_store *s, uint64_t n_bytes, ds4_err *err);

/* Says how a file is: NULL for good, else the reason; it was set aside. */
typedef void ds4_store_verify_fn(void *ctx, const char *name, const char *wrong);

/* Read and check every file. Returns DS4_OK, also when some were bad; DS4_E_IO; ...       */
DS4_MUST_CHECK ds4_status ds4_store_verify(ds4_store *s, ds4_store_verify_fn *fn, void *ctx, ds4_err *err);

#endif
