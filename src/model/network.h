/* network.h - one opened model on one device: shape, weights, step buffers, operation lists. */
#ifndef DS4_MODEL_NETWORK_H
#define DS4_MODEL_NETWORK_H

#include "backend/backend.h"
#include "model/emit.h"
#include "model/kv_layout.h"

typedef struct ds4_op_list {
    ds4_op  *op;                /* [n] */
    uint32_t n;
} ds4_op_list;

typedef struct ds4_network {
    ds4_gguf          *file;
    ds4_shape          shape;
    ds4_kv_layer       kv_layers[DS4_MAX_LAYERS];
    ds4_kv_layout      kv;
    const ds4_backend *backend;
    ds4_dev           *dev;
    ds4_weights        weights;
    ds4_step_buffers   buffers;
    ds4_op_list        layers[2];   /* without and with the indexer's selection */
    ds4_op_list        head;        /* merge, logits */
    ds4_expert_cache  *cache;       /* of streamed experts; NULL: resident */
    uint32_t           n_start;     /* operations up to the embedding, in both lists */
    uint32_t           max_batch;
    ds4_plan           plan;
} ds4_network;

/* Called after every operation with what it wrote: name and layer of the operation,
 * values [n_tokens][n_values]. */
typedef void ds4_network_watch_fn(void *ctx, const char *name, int32_t layer, uint32_t n_tokens,
                                uint32_t n_values, const float *values);
typedef struct ds4_network_watch {
    ds4_network_watch_fn *fn;         /* NULL: nobody watches */
    void               *ctx;
} ds4_network_watch;

/* Open a file on the CPU backend. *m is cleared first; after a failure ds4_network_unload()
 * must still be called.
 * Returns DS4_OK; DS4_E_IO, DS4_E_FORMAT, DS4_E_UNSUPPORTED, DS4_E_NOMEM.            */
DS4_MUST_CHECK ds4_status ds4_network_load(ds4_network *m, const ds4_engine_options *opt, ds4_err *err);
void                      ds4_network_unload(ds4_network *m);

/* Run all layers over a batch: state of the sessions advances, streams stay in the buffers. */
DS4_MUST_CHECK ds4_status ds4_network_run(ds4_network *m, const ds4_batch *batch,
                                          const ds4_network_watch *watch, ds4_err *err);

/* Logits of 1..DS4_HEAD_ROWS rows of the batch just run.
 *   row      [n_rows] indices into the batch
 *   logits   [n_rows] pointers to [n_vocab]
 * Returns DS4_OK; DS4_E_DEVICE when a value is not finite.                            */
DS4_MUST_CHECK ds4_status ds4_network_logits(ds4_network *m, const ds4_batch *batch, const uint32_t *row,
                                           uint32_t n_rows, float *const *logits, ds4_err *err);

#endif
