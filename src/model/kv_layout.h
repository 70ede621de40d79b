/* kv_layout.h - the layout of a session's state for the sizes of a model.
 *
 * Types and addresses are in backend/kv_state.h. Source: docs/MODEL.md sections 6 and 7. */
#ifndef DS4_MODEL_KV_LAYOUT_H
#define DS4_MODEL_KV_LAYOUT_H

#include "backend/kv_state.h"
#include "model/shape.h"

/* Fill *out.
 *
 *   form     of rows in the tail and in warm memory
 *   cold     of rows in cold memory: records where the device fetches single rows from files
 *   layers   [n_layers and the drafter's stages] receives entries that out points to */
void ds4_kv_layout_make(const ds4_shape *s, ds4_kv_form form, ds4_kv_form cold, ds4_kv_layer *layers,
                        ds4_kv_layout *out);

/* Blocks that n_tokens tokens touch. */
uint32_t ds4_kv_blocks(uint32_t n_tokens);

#endif
