/* engine_local.h - the inside of engines and sessions; for src/engine only. */
#ifndef DS4_ENGINE_LOCAL_H
#define DS4_ENGINE_LOCAL_H

#include "engine/watch.h"
#include "model/model.h"

struct ds4_engine {
    ds4_model       model;
    ds4_vocab      *vocab;
    ds4_model_info  info;
    char           *path, *name;
    ds4_model_watch watch;
    uint32_t        n_sessions;
    uint32_t        step;           /* counts steps, to find a session named twice in one */
    /* The batch under construction, [max_batch] each. */
    int32_t        *token;
    uint32_t       *pos, *span_of;
    ds4_span       *span;
};

struct ds4_session {
    ds4_engine *engine;
    uint32_t    n_ctx, pos;
    uint32_t    in_step;            /* last step that named this session */
    int32_t    *tokens;             /* [n_ctx] */
    ds4_buf    *tail, *pool;
    ds4_view   *blocks;             /* [ds4_kv_blocks(n_ctx)] parts of pool */
};

#endif
