/* plan.h - what a model takes in memory, from its file's directory alone. */
#ifndef DS4_MODEL_PLAN_H
#define DS4_MODEL_PLAN_H

#include "backend/backend.h"
#include "format/gguf.h"
#include "model/kv_layout.h"
#include "model/shape.h"

/* The most that any step asks of a device. */
ds4_limits ds4_plan_limits(const ds4_shape *s, uint32_t n_threads, uint32_t max_batch);

/* Fill *out for an opened file.
 *
 *   kv        layout of the sessions' state
 *   scratch   bytes of activations and working memory
 */
void ds4_plan_compute(const ds4_gguf *g, const ds4_kv_layout *kv, uint64_t scratch,
                      const ds4_engine_options *opt, ds4_plan *out);

/* Options with the plan's defaults in place of zeros. */
uint32_t ds4_plan_batch(const ds4_engine_options *opt);     /* tokens in a step */

#endif
