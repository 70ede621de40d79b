/* network.h - one opened model on one device: shape, weights, step buffers, operation lists. */
#ifndef DS4_MODEL_NETWORK_H
#define DS4_MODEL_NETWORK_H

#include "backend/backend.h"
#include "model/draft_file.h"
#include "model/emit.h"
#include "model/kv_layout.h"

/* A list of operations with their products, and the program that it became. */
typedef struct ds4_step_list {
    ds4_op      *op;            /* [n] */
    uint32_t     n;
    ds4_product *part;
    ds4_program *program;
} ds4_step_list;

typedef struct ds4_network {
    ds4_gguf          *file;
    ds4_shape          shape;
    ds4_kv_layer       kv_layers[DS4_MAX_LAYERS];
    ds4_kv_layout      kv;
    const ds4_backend *backend;
    ds4_dev_info       info;
    ds4_limits         limits;      /* that the device was opened with */
    uint32_t           n_threads;
    ds4_dev           *dev;
    ds4_weights        weights;
    ds4_step_buffers   buffers;
    ds4_steer_places   steer;
    float             *directions;  /* [n_layers][n_embd] that are steered by; NULL: none */
    ds4_step_list      step[2];     /* without and with the indexer's selection */
    ds4_gguf          *draft_file;  /* of a drafter; NULL: there is none */
    ds4_draft_layout   draft_layout;
    ds4_step_list      block, guess;        /* of a drafter: see emit.h */
    ds4_program       *head;        /* their end: logits of rows of the batch that ran last */
    ds4_op             sample_op;
    ds4_program       *sample;      /* tokens from them; NULL: the device leaves that to the host */
    ds4_buf           *watched;     /* inputs of down products while somebody watches; NULL before */
    ds4_expert_cache  *cache;       /* of streamed experts; NULL: resident */
    uint32_t           max_batch;
    ds4_plan           plan;
} ds4_network;

/* Set what is steered: attention's outputs and the experts' in all layers, from the next step on.
 * Returns DS4_OK; DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_network_steer(ds4_network *m, float attn, float experts, ds4_err *err);

/* Called after every operation with what it wrote: name and layer of the operation,
 * values [n_tokens][n_values]. */
typedef void ds4_network_watch_fn(void *ctx, const char *name, int32_t layer, uint32_t n_tokens,
                                uint32_t n_values, const float *values);
typedef struct ds4_network_watch {
    ds4_network_watch_fn *fn;         /* NULL: nobody watches */
    void               *ctx;
} ds4_network_watch;

/* Open a file on the device that the options name. *m is cleared first; after a failure ds4_network_unload()
 * must still be called.
 * Returns DS4_OK; DS4_E_IO, DS4_E_FORMAT, DS4_E_UNSUPPORTED, DS4_E_NOMEM.            */
DS4_MUST_CHECK ds4_status ds4_network_load(ds4_network *m, const ds4_engine_options *opt, ds4_err *err);
void                      ds4_network_unload(ds4_network *m);

/* Queue a step: the sessions' state advances, and the logits of the rows that the batch names
 * are computed. The batch stays as it is until ds4_network_wait(). */
DS4_MUST_CHECK ds4_status ds4_network_run(ds4_network *m, const ds4_batch *batch,
                                          const ds4_network_watch *watch, ds4_ticket *ticket, ds4_err *err);

/* Queue the head alone for the batch that ran last, which now names other rows. */
DS4_MUST_CHECK ds4_status ds4_network_run_head(ds4_network *m, const ds4_batch *batch, ds4_ticket *ticket,
                                               ds4_err *err);

/* Guess what follows in several sessions, with the drafter.
 *
 *   block   a span for each session: n_block tokens behind what it holds, the chosen one and noise; every
 * row of
 *           it is named in order, ds4_head_rows() at most. No state advances
 *   most    guesses of each, 1 .. n_block
 *   out     [n_spans][most]; a token below 0 ends a chain early
 *
 * Returns as ds4_network_run() and ds4_network_wait(). */
DS4_MUST_CHECK ds4_status ds4_network_draft(ds4_network *m, const ds4_batch *block, uint32_t most,
                                            ds4_guessed *out, ds4_err *err);

/* Wait for what was queued. Returns DS4_OK; DS4_E_IO when the file was cut meanwhile; DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_network_wait(ds4_network *m, ds4_ticket ticket, ds4_err *err);

/* Read the logits that the batch's last run computed.
 *   logits   [n_logit_rows] pointers to [n_vocab]; NULL: those are not wanted
 * Returns DS4_OK; DS4_E_DEVICE when a value is not finite.                            */
DS4_MUST_CHECK ds4_status ds4_network_logits(ds4_network *m, const ds4_batch *batch, float *const *logits,
                                             ds4_err *err);

/* Read the tokens that were chosen, for rows with a pick.
 *   picked   [n_logit_rows] pointers; those of rows without a pick are not used
 * Returns DS4_OK; DS4_E_DEVICE when a logit is not finite; DS4_E_NOMEM.               */
DS4_MUST_CHECK ds4_status ds4_network_picked(ds4_network *m, const ds4_batch *batch,
                                             ds4_picked *const *picked, ds4_err *err);

#endif
