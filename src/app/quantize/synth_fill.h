/* synth_fill.h - random bytes that are sensible weights. */
#ifndef DS4_APP_SYNTH_FILL_H
#define DS4_APP_SYNTH_FILL_H

#include "app/quantize/synth_model.h"

/* Bytes of a tensor that are made together; every piece but the last is a multiple of it. */
uint64_t synth_unit_bytes(const synth_tensor *t);

/* Fill one piece of a tensor.
 *
 *   out         [n_bytes], 8-byte aligned, with room for a whole number of 8-byte words
 *   n_bytes     whole units of the tensor
 *   n_experts   entries of a token table are below it
 *   rng         decides everything; it is used up                                       */
void synth_fill(void *out, uint64_t n_bytes, const synth_tensor *t, uint32_t n_experts,
                ds4_rng *rng);

#endif
