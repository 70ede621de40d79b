/* engine_local.h - the inside of engines, sessions and snapshots; for src/engine only. */
#ifndef DS4_ENGINE_LOCAL_H
#define DS4_ENGINE_LOCAL_H

#include "engine/block_pool.h"
#include "engine/watch.h"
#include "model/kv_tail.h"
#include "model/network.h"

#include <stdatomic.h>

struct ds4_engine {
    ds4_network       network;
    ds4_vocab        *vocab;
    ds4_model_info    info;
    char             *path, *name;
    ds4_str           unused;       /* what model_info.unused shows */
    ds4_network_watch watch;
    ds4_steering      steering;
    atomic_uint       n_steered;    /* changes of it */
    ds4_block_pool    blocks;
    uint32_t          step;         /* counts steps, to find a session named twice in one */
    /* The batch under construction, [max_batch] each. */
    int32_t          *token;
    uint32_t         *pos, *span_of;
    ds4_span         *span;
};

struct ds4_session {
    ds4_engine    *engine;
    uint32_t       n_ctx, pos;
    uint32_t       in_step;         /* last step that named this session */
    /* The rings hold what positions from `base` on need, as far as they are at most
     * DS4_MAX_DRAFT behind `furthest`, the last position that was reached since. */
    uint32_t       base, furthest;
    uint32_t       draft_from;      /* the drafter's windows hold rows from this position on */
    bool           is_broken;       /* a step failed half way: its state is undefined */
    int32_t       *tokens;          /* [n_ctx] */
    ds4_buf       *tail;
    uint32_t       n_blocks;        /* held; those of whole 256 tokens may be shared */
    ds4_kv_block **block;           /* [ds4_kv_blocks(n_ctx)] */
    ds4_block     *at;              /* [ds4_kv_blocks(n_ctx)] the same as views, for the backend */
};

struct ds4_snapshot {
    ds4_engine    *engine;
    uint32_t       n_holders;
    uint32_t       pos;
    int32_t       *tokens;          /* [pos] */
    uint32_t       n_blocks;        /* full ones: pos / 256 */
    ds4_kv_block **block;
    uint8_t       *tail;            /* [tail_bytes] as kv_tail.h makes it */
    uint64_t       tail_bytes;
};

/* Hold blocks for n_tokens more tokens of the session's context. What was taken before a failure
 * stays with the session, which may go on. Returns as ds4_block_take(). */
DS4_MUST_CHECK ds4_status ds4_session_grow(ds4_session *s, uint32_t n_tokens, ds4_err *err);

/* The place of a session's state when it holds pos tokens. */
ds4_kv_place ds4_session_place(const ds4_session *s, uint32_t pos);

#endif
