/* source.h - a weight matrix of a checkpoint or of a model file, decoded row by row.
 *
 * Published forms: BF16, F16, F32; FP8 E4M3 with one E8M0 scale for each tile; FP4, two
 * codes a byte, with one E8M0 scale for 32 weights of a row. docs/MODEL.md section 9.  */
#ifndef DS4_APP_SOURCE_H
#define DS4_APP_SOURCE_H

#include "format/checkpoint.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

typedef enum source_kind { SOURCE_FLOAT, SOURCE_FP8, SOURCE_FP4, SOURCE_BLOCKS } source_kind;

/* Immutable after source_find(): any thread may decode rows of it. */
typedef struct source {
    source_kind          kind;
    char                 name[128];
    const ds4_st_tensor *weight, *scale;        /* of a checkpoint; scale NULL for SOURCE_FLOAT */
    const uint8_t       *blocks;                /* SOURCE_BLOCKS: rows of the model file's type */
    uint32_t             dtype;
    void               (*decode)(float *out, const void *row, size_t n);
    uint64_t             n_rows, n_columns;     /* of weights: a vector is one row */
    uint32_t             tile_rows, tile_columns;       /* SOURCE_FP8 */
} source;

/* Find NAME (and NAME with .weight replaced by .scale) and check that both fit together.
 *
 *   tile_rows, tile_columns   weights that share an FP8 scale
 *
 * Returns DS4_OK; DS4_E_FORMAT if the tensor is missing or its scale does not fit;
 * DS4_E_UNSUPPORTED for another form.                                                   */
DS4_MUST_CHECK ds4_status source_find(const ds4_checkpoint *c, const char *name, uint32_t tile_rows,
                                      uint32_t tile_columns, source *out, ds4_err *err);

/* One matrix of a tensor of a model file, e.g. one expert of many.
 *
 *   part   which matrix, below dim[2]
 *   k      outlives *out
 *
 * Returns DS4_OK; DS4_E_UNSUPPORTED when its type has no decoder.                       */
DS4_MUST_CHECK ds4_status source_of_tensor(const ds4_gguf_tensor *t, uint64_t part, const ds4_kernels *k,
                                           source *out, ds4_err *err);

/* Decode one row; every weight is finite.
 *
 *   out   [n_columns]
 *
 * Returns DS4_OK; DS4_E_FORMAT naming the tensor for NaN or infinity.                   */
DS4_MUST_CHECK ds4_status source_row(const source *s, uint64_t row, float *out, ds4_err *err);

/* Repack one row of SOURCE_FP4 as MXFP4 blocks, without loss.
 *
 *   out   [n_columns / 32 * 17]                                                         */
DS4_MUST_CHECK ds4_status source_row_mxfp4(const source *s, uint64_t row, uint8_t *out, ds4_err *err);

#endif
