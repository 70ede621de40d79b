/* plan.h - what a model takes in memory, from its file's directory alone. */
#ifndef DS4_MODEL_PLAN_H
#define DS4_MODEL_PLAN_H

#include "backend/backend.h"
#include "backend/expert_cache.h"
#include "format/gguf.h"
#include "model/kv_layout.h"
#include "model/shape.h"

/* Does a context of n_ctx tokens make the indexer choose rows? */
bool ds4_plan_uses_index(const ds4_shape *s, uint32_t n_ctx);

/* The places of the routed experts in the files: layer receives [n_layers] entries
 * that the result points to; its paths are lent by g. Tensors that are missing count as empty. */
ds4_expert_file ds4_plan_experts(const ds4_gguf *g, const ds4_shape *s, ds4_expert_layer *layer);

/* The plan's inputs beside the options. */
typedef struct ds4_plan_parts {
    const ds4_gguf      *g;
    const ds4_shape     *s;
    const ds4_kv_layout *kv;        /* of the sessions' state */
    const ds4_dev_info  *info;      /* of the device */
    uint64_t             scratch[2];    /* activations and working memory: experts resident, streamed */
    uint64_t             draft;     /* weights of a drafter */
    uint64_t             tables;    /* operation lists and the like */
} ds4_plan_parts;

/* Fill *out for an opened file. */
void ds4_plan_compute(const ds4_plan_parts *parts, const ds4_engine_options *opt, ds4_plan *out);

/* Options with the plan's defaults in place of zeros. */
uint32_t ds4_plan_batch(const ds4_engine_options *opt);     /* tokens in a step */
uint32_t ds4_plan_ctx(const ds4_engine_options *opt);       /* tokens of a session */
uint32_t ds4_plan_sessions(const ds4_engine_options *opt);

#endif
