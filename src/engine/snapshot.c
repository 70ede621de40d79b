/* snapshot.c - a position to come back to: shared blocks, and a copy of the tail. */
#include "engine/snapshot.h"
#include "engine/engine_local.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything but the blocks' content and the tail's. */
static ds4_status new_snapshot(ds4_engine *e, const int32_t *tokens, uint32_t pos,
                               ds4_snapshot **out, ds4_err *err)
{
    ds4_snapshot *p = calloc(1, sizeof *p);

    if (p) {
        p->engine = e;
        p->n_holders = 1;
        p->pos = pos;
        p->tail_bytes = ds4_kv_tail_bytes(&e->network.kv, pos);
        p->tokens = malloc((pos + 1) * sizeof *p->tokens);
        p->block = malloc((pos / DS4_BLOCK_TOKENS + 1) * sizeof *p->block);
        p->tail = malloc(p->tail_bytes + 1);
    }
    if (!p || !p->tokens || !p->block || !p->tail) {
        ds4_snapshot_free(p);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a snapshot at %u tokens", pos);
    }
    memcpy(p->tokens, tokens, pos * sizeof *tokens);
    *out = p;
    return DS4_OK;
}

static void share_block(ds4_snapshot *p, ds4_kv_block *b)
{
    ds4_block_share(b);
    p->block[p->n_blocks++] = b;
}

ds4_status ds4_session_snapshot(ds4_session *s, ds4_snapshot **out, ds4_err *err)
{
    const ds4_kv_place place = ds4_session_place(s, s->pos);
    ds4_snapshot      *p;

    if (s->is_broken) {
        return ds4_fail(err, DS4_E_ARG, "a session whose last step failed has no state to keep");
    }
    DS4_TRY(new_snapshot(s->engine, s->tokens, s->pos, &p, err));
    const ds4_status st = ds4_kv_tail_save(&place, s->pos, p->tail, err);
    if (st != DS4_OK) {
        ds4_snapshot_free(p);
        return st;
    }
    for (uint32_t i = 0; i < s->pos / DS4_BLOCK_TOKENS; i++) share_block(p, s->block[i]);
    *out = p;
    return DS4_OK;
}

void ds4_snapshot_free(ds4_snapshot *p)
{
    if (!p || --p->n_holders > 0) return;
    for (uint32_t i = 0; i < p->n_blocks; i++) ds4_block_drop(&p->engine->blocks, p->block[i]);
    free(p->tail);
    free(p->block);
    free(p->tokens);
    free(p);
}

ds4_snapshot *ds4_snapshot_share(const ds4_snapshot *p)
{
    ds4_snapshot *shared = (ds4_snapshot *)(uintptr_t)p;

    shared->n_holders++;
    return shared;
}

uint32_t ds4_snapshot_pos(const ds4_snapshot *p)
{
    return p->pos;
}

const int32_t *ds4_snapshot_tokens(const ds4_snapshot *p)
{
    return p->tokens;
}

ds4_status ds4_session_restore(ds4_session *s, const ds4_snapshot *p, ds4_err *err)
{
    if (p->engine != s->engine) return ds4_fail(err, DS4_E_ARG, "a snapshot of another engine");
    if (p->pos > s->n_ctx) {
        return ds4_fail(err, DS4_E_LIMIT, "a snapshot of %u tokens does not fit a context of %u",
                        p->pos, s->n_ctx);
    }
    ds4_session_clear(s);
    for (uint32_t i = 0; i < p->n_blocks; i++) {
        ds4_block_share(p->block[i]);
        ds4_block_enter(&s->engine->blocks, p->block[i]);
        s->block[i] = p->block[i];
        s->at[i] = p->block[i]->at;
    }
    s->n_blocks = p->n_blocks;
    ds4_block_pool_disallow(&s->engine->blocks, p->n_blocks);
    memcpy(s->tokens, p->tokens, p->pos * sizeof *p->tokens);
    ds4_status st = ds4_session_grow(s, p->pos, err);
    if (st == DS4_OK) {
        const ds4_kv_place place = ds4_session_place(s, p->pos);
        st = ds4_kv_tail_load(&place, p->pos, p->tail, err);
    }
    if (st != DS4_OK) ds4_session_clear(s);
    else s->pos = s->base = s->furthest = s->draft_from = p->pos;
    return st;
}

/* ---- parts ------------------------------------------------------------------------------------ */

uint32_t ds4_engine_n_files(const ds4_engine *e)
{
    return ds4_gguf_n_files(e->network.file);
}

const char *ds4_engine_file(const ds4_engine *e, uint32_t i, ds4_file_facts *facts)
{
    return ds4_gguf_file(e->network.file, i, facts);
}

void ds4_engine_family(const ds4_engine *e, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "%s %s", e->network.backend->name, e->network.info.family);
}

ds4_state_form ds4_engine_state_form(const ds4_engine *e)
{
    const ds4_kv_layout *kv = &e->network.kv;
    return (ds4_state_form){ .version = DS4_KV_TAIL_VERSION,
                             .rows = kv->form,
                             .block_tokens = DS4_BLOCK_TOKENS,
                             .block_bytes = kv->cold_bytes + kv->warm_bytes };
}

uint64_t ds4_engine_tail_bytes(const ds4_engine *e, uint32_t pos)
{
    return ds4_kv_tail_bytes(&e->network.kv, pos);
}

uint64_t ds4_engine_kept_bytes(const ds4_engine *e)
{
    const ds4_block_pool *pool = &e->blocks;
    return (pool->n_in_use - pool->n_live) * (pool->cold_bytes + pool->warm_bytes);
}

uint64_t ds4_engine_cold_bytes(const ds4_engine *e)
{
    return e->network.backend->resident(e->network.dev, DS4_MEM_COLD);
}

/* The files that the plan's sessions need, or those that there are if they are more. */
uint64_t ds4_engine_rows_on_disk(const ds4_engine *e)
{
    const ds4_plan *plan = &e->network.plan;

    if (plan->kv_cold == UINT64_MAX) return 0;
    return ds4_block_pool_cold_bytes(&e->blocks, plan->n_sessions * ds4_kv_blocks(plan->n_ctx));
}

uint64_t ds4_snapshot_bytes(const ds4_snapshot *p)
{
    return p->tail_bytes + (p->pos + 1ull) * sizeof *p->tokens;
}

uint32_t ds4_snapshot_n_blocks(const ds4_snapshot *p)
{
    return p->n_blocks;
}

const uint8_t *ds4_snapshot_tail(const ds4_snapshot *p, uint64_t *n_bytes)
{
    *n_bytes = p->tail_bytes;
    return p->tail;
}

ds4_status ds4_snapshot_block(const ds4_snapshot *p, uint32_t i, uint8_t *bytes, ds4_err *err)
{
    const ds4_network *m = &p->engine->network;

    const ds4_copy both[] = { { p->block[i]->at.cold, m->kv.cold_bytes, bytes },
                              { p->block[i]->at.warm, m->kv.warm_bytes, bytes + m->kv.cold_bytes } };
    return m->backend->read(m->dev, both, 2, err);
}

/* Take a block beyond those that sessions are allowed, and fill it. */
static ds4_status load_block(ds4_snapshot *p, const ds4_snapshot_parts *parts, uint8_t *bytes, ds4_err *err)
{
    ds4_engine        *e = p->engine;
    const ds4_network *m = &e->network;
    ds4_kv_block      *b;

    DS4_TRY(parts->source(parts->ctx, p->n_blocks, bytes, err));
    DS4_TRY(ds4_block_take_more(&e->blocks, &b, err));
    p->block[p->n_blocks++] = b;
    const ds4_copy both[] = { { b->at.cold, m->kv.cold_bytes, bytes },
                              { b->at.warm, m->kv.warm_bytes, bytes + m->kv.cold_bytes } };
    return m->backend->write(m->dev, both, 2, err);
}

static uint32_t common_blocks(const ds4_snapshot_parts *parts)
{
    const ds4_snapshot *base = parts->base;
    const int32_t      *tokens = parts->tokens;
    uint32_t            n = 0;

    if (!base) return 0;
    while (n < base->n_blocks && (n + 1) * DS4_BLOCK_TOKENS <= parts->pos
           && memcmp(base->tokens + n * DS4_BLOCK_TOKENS, tokens + n * DS4_BLOCK_TOKENS,
                     DS4_BLOCK_TOKENS * sizeof *tokens) == 0) {
        n++;
    }
    return n;
}

static ds4_status load_blocks(ds4_snapshot *p, const ds4_snapshot_parts *parts, ds4_err *err)
{
    uint8_t   *bytes = malloc(ds4_engine_state_form(p->engine).block_bytes + 1);
    ds4_status st = bytes ? DS4_OK : ds4_fail(err, DS4_E_NOMEM, "no memory for a block of KV rows");

    while (st == DS4_OK && p->n_blocks < p->pos / DS4_BLOCK_TOKENS) st = load_block(p, parts, bytes, err);
    free(bytes);
    return st;
}

ds4_status ds4_snapshot_make(ds4_engine *e, const ds4_snapshot_parts *parts, ds4_snapshot **out, ds4_err *err)
{
    const uint64_t want = ds4_kv_tail_bytes(&e->network.kv, parts->pos);
    ds4_snapshot  *p;

    if (parts->tail_bytes != want) {
        return ds4_fail(err, DS4_E_FORMAT, "a tail of %llu bytes, expected %llu at %u tokens",
                        (unsigned long long)parts->tail_bytes, (unsigned long long)want, parts->pos);
    }
    DS4_TRY(new_snapshot(e, parts->tokens, parts->pos, &p, err));
    memcpy(p->tail, parts->tail, parts->tail_bytes);
    for (uint32_t i = 0, n = common_blocks(parts); i < n; i++) share_block(p, parts->base->block[i]);
    const ds4_status st = load_blocks(p, parts, err);
    if (st != DS4_OK) {
        ds4_snapshot_free(p);
        return st;
    }
    *out = p;
    return DS4_OK;
}
