/* slab.h - matrices decoded, encoded and appended to a model file, some megabytes at a time, by all
 * threads together. The bytes do not depend on the number of threads. */
#ifndef DS4_APP_SLAB_H
#define DS4_APP_SLAB_H

#include "app/quantize/source.h"
#include "base/wait.h"
#include "format/encode.h"
#include "format/gguf_write.h"

typedef struct slab slab;

typedef struct slab_options {
    uint32_t          n_threads;        /* 1..256 */
    ds4_encode_effort effort;
    uint64_t          n_columns;        /* of the longest row */
    uint64_t          row_bytes;        /* of the longest encoded row */
    const ds4_cancel *cancel;           /* NULL: never */
    const char       *out;              /* the file's name, for messages */
} slab_options;

/* Returns DS4_OK; DS4_E_NOMEM; DS4_E_IO when threads cannot be had.                    */
DS4_MUST_CHECK ds4_status slab_create(slab **out, const slab_options *opt, ds4_err *err);
void                      slab_free(slab *s);           /* NULL is fine */

/* Append one matrix as rows of a type that ds4_can_encode(). FP4 becomes MXFP4 without loss. What an
 * earlier run has written is not computed again.
 *
 *   importance  [n_columns], or NULL: all columns are alike. The standard encoder of IQ2_XXS cannot do
 *               without: it then gets the sums of the squares of each column's weights, as is usual
 *
 * Returns DS4_OK; DS4_E_FORMAT for NaN or infinity; DS4_E_UNSUPPORTED for a number that the type
 * cannot hold; DS4_E_IO; DS4_E_CANCELLED.                                              */
DS4_MUST_CHECK ds4_status slab_write(slab *s, const source *from, uint32_t dtype, const float *importance,
                                     ds4_gguf_writer *writer, ds4_err *err);

#endif
