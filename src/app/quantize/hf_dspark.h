/* hf_dspark.h - what a checkpoint says of its DSpark drafter. */
#ifndef DS4_APP_HF_DSPARK_H
#define DS4_APP_HF_DSPARK_H

#include "app/quantize/hf_config.h"
#include "format/checkpoint.h"

enum { HF_MAX_STAGES = 16, HF_MAX_TAPS = 16 };

typedef struct hf_dspark {
    uint32_t n_block;                       /* tokens drafted at once */
    uint32_t noise_id;                      /* stands where no token is known yet */
    uint32_t rank;                          /* of the bigram tables */
    uint32_t n_taps, tap[HF_MAX_TAPS];      /* layers of the model whose output is read, from 0, ascending */
    uint32_t n_stages;                      /* layers of the drafter */
} hf_dspark;

/* Read and check the keys dspark_* of DIR/config.json. The stages are counted among the tensors, since
 * num_nextn_predict_layers of published checkpoints says another number.
 *
 *   c   config.json of the same folder
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT, also when the checkpoint has no drafter. */
DS4_MUST_CHECK ds4_status hf_dspark_read(const char *dir, const hf_config *c, const ds4_checkpoint *tensors,
                                         hf_dspark *out, ds4_err *err);

/* The keys of a support file, as the published ones have them. */
void hf_dspark_put(const hf_dspark *d, const hf_config *c, ds4_gguf_writer *w);

#endif
