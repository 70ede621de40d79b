/* collect.h - the importance of a model's input channels, gathered while it reads.
 *
 * Watches an engine's steps (engine/watch.h) and sums the squares of what each matrix reads:
 * for routed experts, of the tokens that chose the expert, the input of down with the
 * router's weight in it. */
#ifndef DS4_APP_EVAL_COLLECT_H
#define DS4_APP_EVAL_COLLECT_H

#include "format/gguf.h"
#include "format/imatrix.h"

typedef struct ds4_collector ds4_collector;

/* Make entries for the matrices of a file.
 *
 *   to      receives the sums; entries that are there are added to. Lent for the collector's life,
 *           and nothing else may add entries to it
 *   file    the engine's own model file; needed for the call only
 *
 * Returns DS4_OK; DS4_E_FORMAT when an entry has another shape; DS4_E_NOMEM.                    */
DS4_MUST_CHECK ds4_status ds4_collector_create(ds4_collector **out, ds4_imatrix *to, const ds4_gguf *file,
                                               uint32_t n_layers, ds4_err *err);
void                      ds4_collector_free(ds4_collector *c);         /* NULL is fine */

/* A ds4_watch_fn whose ctx is the collector. */
void ds4_collector_watch(void *c, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                         const float *values);

/* The last steps could be counted: DS4_OK; DS4_E_NOMEM; DS4_E_FORMAT for NaN or infinity. */
DS4_MUST_CHECK ds4_status ds4_collector_check(const ds4_collector *c, ds4_err *err);

#endif
