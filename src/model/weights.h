/* weights.h - where every tensor of a model is, in a backend's memory.
 *
 * The backend decides where each matrix lies. Vectors are few and small: they are converted to
 * float32 in one buffer, which token tables share.
 * Source: docs/MODEL.md sections 2 and 9. */
#ifndef DS4_MODEL_WEIGHTS_H
#define DS4_MODEL_WEIGHTS_H

#include "backend/backend.h"
#include "backend/expert_cache.h"
#include "format/gguf.h"
#include "model/shape.h"

/* The three tensors of a hyper-connection; fn is [outputs][n_hc * n_embd]. */
typedef struct ds4_hc_weights {
    ds4_matrix fn;
    ds4_view   scale, base;
} ds4_hc_weights;

typedef struct ds4_compressor_weights {
    ds4_matrix kv, gate;
    ds4_view   ape, norm;
} ds4_compressor_weights;

typedef struct ds4_layer_weights {
    ds4_hc_weights hc_attn, hc_ffn;
    ds4_view       attn_norm, ffn_norm, q_a_norm, kv_norm, sink;
    ds4_matrix     q_a, q_b, kv, o_a, o_b;  /* o_a: n_mats = o_groups */
    ds4_compressor_weights comp, icomp;     /* ratio 4 or 128; ratio 4 */
    ds4_matrix     index_q, index_w;        /* ratio 4 */
    ds4_matrix     router;
    ds4_view       router_bias;             /* buf NULL in layers routed by token */
    ds4_view       token_experts;           /* int32 [n_vocab][n_used] in those layers */
    ds4_matrix     gate, up, down;          /* n_mats = n_experts; streamed: no layout */
    ds4_matrix     shared_gate, shared_up, shared_down;
} ds4_layer_weights;

/* Weights of a drafter that belong to none of its layers. */
typedef struct ds4_draft_weights {
    ds4_buf       *vectors;
    ds4_matrix     main_proj;               /* [n_embd][n_taps * n_embd] */
    ds4_view       main_norm, norm;         /* [n_embd] */
    ds4_hc_weights hc_out;
    ds4_matrix     markov_w1, markov_w2;    /* [n_vocab][n_rank] */
    ds4_view       confidence;              /* [n_embd + n_rank] */
    float          confidence_shift;
} ds4_draft_weights;

typedef struct ds4_weights {
    ds4_buf          *vectors;              /* and tables */
    ds4_matrix        embed, head;
    ds4_hc_weights    hc_out;
    ds4_view          out_norm;
    ds4_view          freq_plain, freq_compressed;  /* float32 [n_rot / 2] */
    ds4_layer_weights layer[DS4_MAX_LAYERS];    /* the model's, then the drafter's */
    ds4_draft_weights draft;
    uint64_t          n_params, n_params_active;    /* without those of a drafter */
    bool              has_mtp;
} ds4_weights;

/* Find every tensor, check its type and dimensions, and bind it; g stays open as long as the weights.
 *
 *   out      cleared and filled; on failure call ds4_weights_close() all the same
 *   stream   routed experts get no place in memory, they are read through a cache
 *   told     of what is copied
 *
 * Returns DS4_OK; DS4_E_FORMAT naming file, tensor, found and expected; DS4_E_NOMEM;
 * DS4_E_IO.                                                                             */
DS4_MUST_CHECK ds4_status ds4_weights_open(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s,
                                           bool stream, const ds4_backend *backend, ds4_dev *dev,
                                           const ds4_loading *told, ds4_err *err);
void                      ds4_weights_close(ds4_weights *w, const ds4_backend *backend, ds4_dev *dev);

/* The shapes and types that the file's directory says, without places, to plan with. A tensor that is
 * missing or no matrix counts as float32: opening will refuse it. */
void ds4_weights_describe(ds4_weights *out, const ds4_gguf *g, const ds4_shape *s);

#endif
