/* block_pool.c - see block_pool.h. */
#include "engine/block_pool.h"

#include "base/mem_pages.h"

#include <assert.h>
#include <stdlib.h>

enum { SLAB_BLOCKS = 64 };

struct slab {
    struct slab *next;
    ds4_buf     *cold, *warm;
    ds4_kv_block block[SLAB_BLOCKS];
};

/* Blocks begin at pages, so that a block can give all of its memory back. */
static uint64_t whole_pages(uint64_t n_bytes)
{
    const uint64_t page = ds4_page_bytes();
    return (n_bytes + page - 1) / page * page;
}

void ds4_block_pool_init(ds4_block_pool *p, const ds4_backend *backend, ds4_dev *dev, const ds4_kv_layout *kv)
{
    *p = (ds4_block_pool){
        .backend = backend, .dev = dev,
        .cold_bytes = whole_pages(kv->cold_bytes), .warm_bytes = whole_pages(kv->warm_bytes),
    };
}

void ds4_block_pool_clear(ds4_block_pool *p)
{
    assert(p->n_in_use == 0);
    while (p->slabs) {
        struct slab *s = p->slabs;
        p->slabs = s->next;
        p->backend->free(p->dev, s->cold);
        p->backend->free(p->dev, s->warm);
        free(s);
    }
    *p = (ds4_block_pool){ 0 };
}

static ds4_status add_slab(ds4_block_pool *p, ds4_err *err)
{
    struct slab *s = calloc(1, sizeof *s);
    if (!s) return ds4_fail(err, DS4_E_NOMEM, "no memory for %d blocks of KV rows", SLAB_BLOCKS);

    ds4_status st = p->backend->alloc(p->dev, DS4_MEM_COLD, SLAB_BLOCKS * p->cold_bytes, &s->cold, err);
    if (st == DS4_OK) {
        st = p->backend->alloc(p->dev, DS4_MEM_DEVICE, SLAB_BLOCKS * p->warm_bytes, &s->warm, err);
    }
    if (st != DS4_OK) {
        p->backend->free(p->dev, s->cold);
        free(s);
        return st;
    }
    for (uint32_t i = SLAB_BLOCKS; i-- > 0;) {
        ds4_kv_block *b = &s->block[i];
        b->at = (ds4_block){ { s->cold, i * p->cold_bytes }, { s->warm, i * p->warm_bytes } };
        b->next = p->free;
        p->free = b;
    }
    s->next = p->slabs;
    p->slabs = s;
    p->n_total += SLAB_BLOCKS;
    return DS4_OK;
}

ds4_status ds4_block_pool_allow(ds4_block_pool *p, uint32_t n, ds4_err *err)
{
    while (p->n_total - p->n_in_use < p->n_budget + n) DS4_TRY(add_slab(p, err));
    p->n_budget += n;
    return DS4_OK;
}

void ds4_block_pool_disallow(ds4_block_pool *p, uint32_t n)
{
    assert(n <= p->n_budget);
    p->n_budget -= n;
}

uint64_t ds4_block_pool_cold_bytes(const ds4_block_pool *p, uint32_t n)
{
    const uint64_t slabs = ((uint64_t)n + SLAB_BLOCKS - 1) / SLAB_BLOCKS;
    const uint64_t blocks = slabs * SLAB_BLOCKS > p->n_total ? slabs * SLAB_BLOCKS : p->n_total;
    return blocks * p->cold_bytes;
}

ds4_status ds4_block_take(ds4_block_pool *p, ds4_kv_block **out, ds4_err *err)
{
    ds4_kv_block *b = p->free;

    assert(b && p->n_budget > 0);
    DS4_TRY(p->backend->commit(p->dev, b->at.cold, p->cold_bytes, err));
    const ds4_status st = p->backend->commit(p->dev, b->at.warm, p->warm_bytes, err);
    if (st != DS4_OK) {
        p->backend->discard(p->dev, b->at.cold, p->cold_bytes);
        return st;
    }
    p->free = b->next;
    p->n_budget--;
    p->n_in_use++;
    b->refs = 1;
    *out = b;
    return DS4_OK;
}

ds4_status ds4_block_take_more(ds4_block_pool *p, ds4_kv_block **out, ds4_err *err)
{
    DS4_TRY(ds4_block_pool_allow(p, 1, err));
    const ds4_status st = ds4_block_take(p, out, err);
    if (st != DS4_OK) ds4_block_pool_disallow(p, 1);
    return st;
}

void ds4_block_share(ds4_kv_block *b)
{
    b->refs++;
}

void ds4_block_enter(ds4_block_pool *p, ds4_kv_block *b)
{
    if (b->n_sessions++ == 0) p->n_live++;
}

void ds4_block_leave(ds4_block_pool *p, ds4_kv_block *b)
{
    assert(b->n_sessions > 0);
    if (--b->n_sessions == 0) p->n_live--;
}

void ds4_block_drop(ds4_block_pool *p, ds4_kv_block *b)
{
    assert(b->refs > 0);
    if (--b->refs > 0) return;
    p->backend->discard(p->dev, b->at.cold, p->cold_bytes);
    p->backend->discard(p->dev, b->at.warm, p->warm_bytes);
    b->next = p->free;
    p->free = b;
    p->n_in_use--;
}
