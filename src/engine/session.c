/* session.c - one conversation's state: a tail, blocks of compressed rows, its tokens. */
#include "engine/engine_local.h"

#include <stdlib.h>

static ds4_status open_session(ds4_session *s, ds4_err *err)
{
    const ds4_network *m = &s->engine->network;
    const uint32_t   n_blocks = ds4_kv_blocks(s->n_ctx);

    s->tokens = malloc(s->n_ctx * sizeof *s->tokens);
    s->block = malloc(n_blocks * sizeof *s->block);
    s->at = malloc(n_blocks * sizeof *s->at);
    if (!s->tokens || !s->block || !s->at) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a session of %u tokens", s->n_ctx);
    }
    return ds4_backend_take(m->backend, m->dev, DS4_MEM_DEVICE, m->kv.tail_bytes, &s->tail, err);
}

ds4_status ds4_session_create(ds4_engine *e, uint32_t n_ctx, ds4_session **out, ds4_err *err)
{
    if (n_ctx < 1 || n_ctx > DS4_MAX_CONTEXT) {
        return ds4_fail(err, DS4_E_ARG, "a context of %u tokens, expected 1..%d", n_ctx, DS4_MAX_CONTEXT);
    }
    DS4_TRY(ds4_block_pool_allow(&e->blocks, ds4_kv_blocks(n_ctx), err));
    ds4_session *s = calloc(1, sizeof *s);
    if (!s) {
        ds4_block_pool_disallow(&e->blocks, ds4_kv_blocks(n_ctx));
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a session");
    }
    s->engine = e;
    s->n_ctx = n_ctx;
    const ds4_status st = open_session(s, err);
    if (st != DS4_OK) {
        ds4_session_free(s);
        return st;
    }
    *out = s;
    return DS4_OK;
}

static void drop_blocks(ds4_session *s)
{
    ds4_block_pool *pool = &s->engine->blocks;

    for (uint32_t i = 0; i < s->n_blocks; i++) {
        ds4_block_leave(pool, s->block[i]);
        ds4_block_drop(pool, s->block[i]);
    }
    s->n_blocks = 0;
}

void ds4_session_free(ds4_session *s)
{
    if (!s) return;
    const ds4_network *m = &s->engine->network;
    const uint32_t   n_more = ds4_kv_blocks(s->n_ctx) - s->n_blocks;

    drop_blocks(s);
    ds4_block_pool_disallow(&s->engine->blocks, n_more);
    m->backend->free(m->dev, s->tail);
    free(s->at);
    free(s->block);
    free(s->tokens);
    free(s);
}

/* Nothing of the tail is zeroed: a row or a place of a ring is read only once a token of this
 * conversation wrote it. */
void ds4_session_clear(ds4_session *s)
{
    ds4_err          ignored;
    const uint32_t   n = s->n_blocks;
    ds4_block_pool  *pool = &s->engine->blocks;

    drop_blocks(s);
    s->pos = s->base = s->furthest = s->draft_from = 0;
    s->is_broken = false;
    /* A snapshot may still hold them; then the budget needs other places. Should that fail, the
     * session keeps less room than it was created with. */
    if (ds4_block_pool_allow(pool, n, &ignored) != DS4_OK) {
        const uint32_t most = (ds4_kv_blocks(s->n_ctx) - n) * DS4_BLOCK_TOKENS;
        s->n_ctx = most < s->n_ctx ? most : s->n_ctx;
    }
}

ds4_status ds4_session_grow(ds4_session *s, uint32_t n_tokens, ds4_err *err)
{
    const uint32_t n = ds4_kv_blocks(s->pos + n_tokens);

    for (; s->n_blocks < n; s->n_blocks++) {
        ds4_kv_block *b;
        DS4_TRY(ds4_block_take(&s->engine->blocks, &b, err));
        ds4_block_enter(&s->engine->blocks, b);
        s->block[s->n_blocks] = b;
        s->at[s->n_blocks] = b->at;
    }
    return DS4_OK;
}

/* ---- taking tokens back ---------------------------------------------------------------------- */

uint32_t ds4_session_rewindable(const ds4_session *s)
{
    const uint32_t since = s->pos - s->base, gone = s->furthest - s->pos;
    const uint32_t left = DS4_MAX_DRAFT - gone;         /* gone is never more: it was checked */

    if (s->is_broken) return 0;
    return since < left ? since : left;
}

static ds4_status copy_block(const ds4_network *m, const ds4_block *from, const ds4_block *to, ds4_err *err)
{
    const uint64_t cold = m->kv.cold_bytes, warm = m->kv.warm_bytes, most = cold > warm ? cold : warm;
    uint8_t       *bytes = malloc(most + 1);

    if (!bytes) return ds4_fail(err, DS4_E_NOMEM, "no memory to copy a block of KV rows");
    ds4_status st = ds4_backend_read(m->backend, m->dev, from->cold, bytes, cold, err);
    if (st == DS4_OK) st = ds4_backend_write(m->backend, m->dev, to->cold, bytes, cold, err);
    if (st == DS4_OK) st = ds4_backend_read(m->backend, m->dev, from->warm, bytes, warm, err);
    if (st == DS4_OK) st = ds4_backend_write(m->backend, m->dev, to->warm, bytes, warm, err);
    free(bytes);
    return st;
}

/* Give the session a block i of its own: it is going to write rows of it anew, and snapshots
 * that share the block keep what it holds. */
static ds4_status own_block(ds4_session *s, uint32_t i, ds4_err *err)
{
    ds4_block_pool *pool = &s->engine->blocks;
    ds4_kv_block   *old = s->block[i];

    if (old->refs == 1) return DS4_OK;
    ds4_kv_block *own;
    DS4_TRY(ds4_block_take_more(pool, &own, err));
    const ds4_status st = copy_block(&s->engine->network, &old->at, &own->at, err);
    if (st != DS4_OK) {
        ds4_block_drop(pool, own);
        return st;
    }
    ds4_block_enter(pool, own);
    s->block[i] = own;
    s->at[i] = own->at;
    ds4_block_leave(pool, old);
    ds4_block_drop(pool, old);
    return DS4_OK;
}

/* Rows and places in rings are functions of position, so going back is a subtraction: later
 * tokens write over what the tokens left. Their blocks stay with the session. */
ds4_status ds4_session_rewind(ds4_session *s, uint32_t n_tokens, ds4_err *err)
{
    if (s->is_broken) {
        return ds4_fail(err, DS4_E_ARG, "a session whose last step failed must be cleared first");
    }
    if (n_tokens > ds4_session_rewindable(s)) {
        return ds4_fail(err, DS4_E_LIMIT,
                        "%u tokens cannot be taken back, %u at most: %u tokens came since the session was"
                        " created, cleared or restored, and %u of the last %d are taken back already",
                        n_tokens, ds4_session_rewindable(s), s->pos - s->base, s->furthest - s->pos,
                        DS4_MAX_DRAFT);
    }
    const uint32_t pos = s->pos - n_tokens;
    if (n_tokens > 0 && pos % DS4_BLOCK_TOKENS != 0) DS4_TRY(own_block(s, pos / DS4_BLOCK_TOKENS, err));
    s->pos = pos;
    return DS4_OK;
}

/* ---- what is known about it ------------------------------------------------------------------- */

ds4_kv_place ds4_session_place(const ds4_session *s, uint32_t pos)
{
    const ds4_network *m = &s->engine->network;
    ds4_kv_place     place = { .backend = m->backend, .dev = m->dev, .kv = &m->kv, .tail = { s->tail, 0 } };

    if (pos % DS4_BLOCK_TOKENS) place.last = s->at[pos / DS4_BLOCK_TOKENS];
    return place;
}

uint32_t ds4_session_pos(const ds4_session *s)
{
    return s->pos;
}

uint32_t ds4_session_capacity(const ds4_session *s)
{
    return s->n_ctx;
}

const int32_t *ds4_session_tokens(const ds4_session *s)
{
    return s->tokens;
}
