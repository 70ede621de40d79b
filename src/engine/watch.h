/* watch.h - see what every operation of a step wrote: for dumps, goldens and debugging. */
#ifndef DS4_ENGINE_WATCH_H
#define DS4_ENGINE_WATCH_H

#include "ds4.h"

/* name and layer of an operation (-1 outside layers), values [n_tokens][n_values], valid
 * during the call. The residual streams after a layer are the output of "ffn.leave".
 * "ffn.route.experts" are the numbers of the experts that a token chose, in the order of
 * their ranks, and "ffn.experts.inputs" what their down products read, [n_used][n_ffn] with
 * the router's weights in it: together with what "attn.enter", "attn.q_a_norm",
 * "attn.attend", "attn.o_a" and "ffn.enter" wrote, the inputs of all large matrices. */
typedef void ds4_watch_fn(void *ctx, const char *name, int32_t layer, uint32_t n_tokens,
                          uint32_t n_values, const float *values);

/* fn NULL ends it. A watched step runs one operation at a time and is slower. */
void ds4_engine_watch(ds4_engine *e, ds4_watch_fn *fn, void *ctx);

#endif
