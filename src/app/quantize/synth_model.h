/* synth_model.h - the tensors of a published model, without its weights: what a synthetic
 * file declares, and how large the random values of each tensor are.
 * Source: docs/MODEL.md sections 1 and 9.                                              */
#ifndef DS4_APP_SYNTH_MODEL_H
#define DS4_APP_SYNTH_MODEL_H

#include "format/gguf_write.h"
#include "model/shape.h"

typedef struct synth_tensor {
    char     name[64];
    uint32_t dtype, n_dims;
    uint64_t dim[3];
    float    mean, scale;       /* values are about mean + scale * noise; I32: expert ids */
    uint64_t n_bytes;
    uint64_t off;               /* in the data section */
} synth_tensor;

typedef struct synth_model {
    const char   *like;         /* "flash-q2" */
    ds4_shape     shape;
    uint32_t      gate_up, down;        /* ds4_dtype of the routed experts */
    synth_tensor *tensors;      /* [n_tensors] in the order of the data section */
    uint32_t      n_tensors, max_tensors;
    uint64_t      data_bytes;   /* of all tensors, each padded to 32 */
} synth_model;

/* List the tensors of a model.
 *
 *   like        the published model: flash-q2, flash-q4, flash-t2 (T66 experts) or pro-q2, or dspark, the
 *               support file with the drafter of those of Flash; another name is refused with this list
 *   n_layers    the first so many layers; 0: all
 *   n_experts   in each layer; 0: as published. Fewer than a token uses lowers that number too
 *
 * Returns DS4_OK; DS4_E_ARG for an unknown name or more layers or experts than the model
 * has; DS4_E_NOMEM. Call synth_model_clear() in any case.                              */
DS4_MUST_CHECK ds4_status synth_model_create(synth_model *out, const char *like, uint32_t n_layers,
                                             uint32_t n_experts, ds4_err *err);
void                      synth_model_clear(synth_model *m);

/* Declare all keys, the tokenizer and the tensors. The vocabulary has the byte symbols and
 * the special tokens at their published ids, fillers between them and no merges. What goes
 * wrong is reported by ds4_gguf_writer_header(). Returns DS4_OK; DS4_E_NOMEM.          */
DS4_MUST_CHECK ds4_status synth_model_declare(const synth_model *m, ds4_gguf_writer *w,
                                              ds4_err *err);

#endif
