/* file_forms.h - the files of the V4 family that people have, and what differs between them.
 *
 * | form                 | known by                             | what is done                        |
 * |----------------------|--------------------------------------|-------------------------------------|
 * | V4 Flash, 0731       | -                                    | entries of compress_ratios beyond   |
 * |                      |                                      | the layers are not looked at        |
 * | V4 Pro, Pro 0813     | its sizes, all from keys             | as above                            |
 * | drafts inside        | tensors mtp.*                        | not read, not counted               |
 * | llama.cpp's          | blk.N.nextn.* in the last blocks     | block_count without these blocks;   |
 * |                      |                                      | missing keys from the tensors       |
 * | Vision-Exp           | vision.*, aligner.*, *bias_vl        | text alone; epsilon from its key    |
 * | pruned               | the third dimension of ffn_gate_exps | experts of each layer by itself;    |
 * |                      |                                      | expert_count is not looked at       |
 * | top-4                | expert_used_count                    | token tables have as many columns   |
 *
 * A file between two forms, such as one whose router has rows for experts that it lacks, is refused by
 * the checks of weights.c, which name the tensor. Source: docs/MODEL.md section 9.6. */
#ifndef DS4_MODEL_FILE_FORMS_H
#define DS4_MODEL_FILE_FORMS_H

#include "base/str.h"
#include "model/shape.h"

/* Blocks at the end of n_blocks that draft tokens and are no layers. n_blocks <= DS4_MAX_LAYERS. */
uint32_t ds4_file_forms_draft_blocks(const ds4_gguf *g, uint32_t n_blocks);

/* Layers at the beginning that have a table of experts for each token, for files that do not say. */
uint32_t ds4_file_forms_hash_layers(const ds4_gguf *g, uint32_t n_layers);

/* The routed experts of a layer; 0: its tensor is missing or has an impossible count. */
uint32_t ds4_file_forms_experts(const ds4_gguf *g, uint32_t layer);

/* Is a layer of multi-token prediction in the file? */
bool ds4_file_forms_has_mtp(const ds4_gguf *g, const ds4_shape *s);

/* Append the tensors that text does not need, drafts excepted: how many of each kind, and what they are
 * for. Nothing is appended where there are none. Returns DS4_OK; DS4_E_NOMEM.              */
DS4_MUST_CHECK ds4_status ds4_file_forms_unused(const ds4_gguf *g, const ds4_shape *s, ds4_str *out,
                                                ds4_err *err);

#endif
