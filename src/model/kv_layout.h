/* kv_layout.h - where the parts of a session's state lie, for all sessions of a model.
 *
 * A session is a tail (what only its last position needs: raw windows and compressor
 * rings of all layers) and blocks (the compressed rows of all layers for 256 tokens each).
 * Source: docs/MODEL.md sections 6 and 7. */
#ifndef DS4_MODEL_KV_LAYOUT_H
#define DS4_MODEL_KV_LAYOUT_H

#include "backend/op.h"
#include "model/shape.h"

/* Fill *out; layers receives [n_layers] entries that out points to. */
void ds4_kv_layout_make(const ds4_shape *s, bool exact, ds4_kv_layer *layers, ds4_kv_layout *out);

/* Blocks that n_tokens tokens touch. */
uint32_t ds4_kv_blocks(uint32_t n_tokens);

#endif
