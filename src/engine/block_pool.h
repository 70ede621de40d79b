/* block_pool.h - the memory of compressed rows: blocks of 256 tokens, counted and shared.
 *
 * A block that is full never changes, so sessions and snapshots with the same beginning
 * hold the same blocks. Places for blocks come in slabs, address space or files; the memory of
 * a block is taken from the device when somebody takes the block, which may fail, and goes
 * back when nobody holds it any more. A session has a budget, the blocks of its context, and
 * the pool has places for all budgets: a step makes no slab, and a full disk refuses a session
 * instead of a step. */
#ifndef DS4_ENGINE_BLOCK_POOL_H
#define DS4_ENGINE_BLOCK_POOL_H

#include "backend/backend.h"

typedef struct ds4_kv_block {
    ds4_block            at;
    uint32_t             refs;
    uint32_t             n_sessions;    /* of the holders */
    struct ds4_kv_block *next;      /* while free */
} ds4_kv_block;

typedef struct ds4_block_pool {
    const ds4_backend *backend;
    ds4_dev           *dev;
    uint64_t           cold_bytes, warm_bytes;  /* of a block, whole pages */
    struct slab       *slabs;
    ds4_kv_block      *free;
    uint32_t           n_total, n_in_use;
    uint32_t           n_budget;            /* blocks that sessions may still take */
    uint32_t           n_live;              /* in use by at least one session */
} ds4_block_pool;

void ds4_block_pool_init(ds4_block_pool *p, const ds4_backend *backend, ds4_dev *dev,
                         const ds4_kv_layout *kv);
void ds4_block_pool_clear(ds4_block_pool *p);       /* all blocks must have been dropped */

/* Allow n more blocks to be taken, or n less; the pool makes places for all that are allowed.
 * Returns DS4_OK; DS4_E_NOMEM, DS4_E_IO (nothing has changed).                          */
DS4_MUST_CHECK ds4_status ds4_block_pool_allow(ds4_block_pool *p, uint32_t n, ds4_err *err);
void                      ds4_block_pool_disallow(ds4_block_pool *p, uint32_t n);

/* Bytes of the cold parts when at least n blocks were allowed. */
uint64_t ds4_block_pool_cold_bytes(const ds4_block_pool *p, uint32_t n);

/* Take a block, one of those that are allowed, with its memory; refs is 1. Returns DS4_OK;
 * DS4_E_NOMEM, DS4_E_IO, DS4_E_DEVICE (nothing has changed). */
DS4_MUST_CHECK ds4_status ds4_block_take(ds4_block_pool *p, ds4_kv_block **out, ds4_err *err);

/* Take a block beyond those that sessions are allowed, for a snapshot. Returns as
 * ds4_block_take(). */
DS4_MUST_CHECK ds4_status ds4_block_take_more(ds4_block_pool *p, ds4_kv_block **out, ds4_err *err);

void          ds4_block_share(ds4_kv_block *b);                 /* one more holder */
void          ds4_block_drop(ds4_block_pool *p, ds4_kv_block *b);   /* one holder less */

/* The holder is a session, from now on or until now: only for counting. */
void ds4_block_enter(ds4_block_pool *p, ds4_kv_block *b);
void ds4_block_leave(ds4_block_pool *p, ds4_kv_block *b);

#endif
