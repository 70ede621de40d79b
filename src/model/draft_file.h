/* draft_file.h - a support file: the weights of a DSpark drafter, in the three layouts that are in use.
 *
 * The drafter's layers have the sizes of the model's own; the file adds what it says under its keys. Every
 * tensor of the file must have a use: a loader that overlooked one would give a drafter that guesses badly
 * and says nothing. Source: docs/SPECULATION.md, DSpark. */
#ifndef DS4_MODEL_DRAFT_FILE_H
#define DS4_MODEL_DRAFT_FILE_H

#include "model/tensors.h"
#include "model/weights.h"

typedef enum ds4_draft_layout {
    DS4_DRAFT_STAGES,           /* A: mtp.S.NAME, general.architecture deepseek4-dspark */
    DS4_DRAFT_NAMED,            /* B: dspark.S.NAME, the same architecture */
    DS4_DRAFT_BLOCKS,           /* C: blk.S.NAME, architecture dflash */
    DS4_N_DRAFT_LAYOUTS
} ds4_draft_layout;

/* Open a support file for a model and describe its drafter.
 *
 *   model   the model's file, to tell drafters of another generation by what both say of themselves
 *   s       the model's shape; receives the drafter's, and its layers behind the model's
 *   out     receives the file; the caller closes it
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT or DS4_E_UNSUPPORTED with file, field, found and expected. */
DS4_MUST_CHECK ds4_status ds4_draft_open(const char *path, const ds4_gguf *model, ds4_shape *s,
                                         ds4_gguf **out, ds4_draft_layout *layout, ds4_err *err);

/* Read a drafter from a file that is open, and leave it open; public for tests, which have files in memory.
 * Arguments and errors are those of ds4_draft_open(). */
DS4_MUST_CHECK ds4_status ds4_draft_read(const ds4_gguf *g, const ds4_gguf *model, ds4_shape *s,
                                         ds4_draft_layout *layout, ds4_err *err);

/* The tensors of stage i, or with stage -1 those of the drafter as a whole; their fields are of
 * ds4_layer_weights or ds4_draft_weights. Returns how many. */
uint32_t ds4_draft_list(const ds4_shape *s, ds4_draft_layout layout, int32_t stage,
                        ds4_tensor_want out[DS4_MAX_WANTS]);

/* Bytes of the drafter's weights in memory. A tensor that is missing counts as empty. */
uint64_t ds4_draft_bytes(const ds4_gguf *g, const ds4_shape *s, ds4_draft_layout layout);

/* Shapes and types without places, to plan with: as ds4_weights_describe(). */
void ds4_draft_weights_describe(ds4_weights *w, const ds4_gguf *g, const ds4_shape *s,
                                ds4_draft_layout layout);

/* Bind them, after ds4_weights_open() on the same weights; ds4_weights_close() gives them back.
 * Returns as ds4_weights_open(); DS4_E_FORMAT for a tensor that nothing needs. */
DS4_MUST_CHECK ds4_status ds4_draft_weights_open(ds4_weights *w, const ds4_gguf *g, const ds4_shape *s,
                                                 ds4_draft_layout layout, const ds4_backend *backend,
                                                 ds4_dev *dev, const ds4_loading *told, ds4_err *err);

#endif
