/* block_pool.h - the memory of compressed rows: blocks of 256 tokens, counted and shared.
 *
 * A block that is full never changes, so sessions and snapshots with the same beginning
 * hold the same blocks. Memory is reserved in slabs and taken from the system as rows are
 * written; a block that nobody holds gives its pages back. A session promises to take at
 * most its context's blocks when it is created, and the pool keeps that many free: taking
 * one during a step never allocates. */
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
    uint32_t           n_total, n_in_use, n_promised;
    uint32_t           n_live;              /* in use by at least one session */
} ds4_block_pool;

void ds4_block_pool_init(ds4_block_pool *p, const ds4_backend *backend, ds4_dev *dev,
                         const ds4_kv_layout *kv);
void ds4_block_pool_clear(ds4_block_pool *p);       /* all blocks must have been dropped */

/* Promise n more blocks, or take a promise back; the pool grows to keep all promises.
 * Returns DS4_OK; DS4_E_NOMEM (nothing was promised).                                  */
DS4_MUST_CHECK ds4_status ds4_block_pool_promise(ds4_block_pool *p, uint32_t n, ds4_err *err);
void                      ds4_block_pool_unpromise(ds4_block_pool *p, uint32_t n);

/* Bytes of the cold parts when at least n blocks were promised. */
uint64_t ds4_block_pool_cold_bytes(const ds4_block_pool *p, uint32_t n);

ds4_kv_block *ds4_block_take(ds4_block_pool *p);                /* one of the promised; refs 1 */
void          ds4_block_share(ds4_kv_block *b);                 /* one more holder */
void          ds4_block_drop(ds4_block_pool *p, ds4_kv_block *b);   /* one holder less */

/* The holder is a session, from now on or until now: only for counting. */
void ds4_block_enter(ds4_block_pool *p, ds4_kv_block *b);
void ds4_block_leave(ds4_block_pool *p, ds4_kv_block *b);

#endif
