/* tensors.h - the inventory: every tensor that a step needs, with name, shape and use.
 *
 * Weights are bound and plans are added up from this one list. A tensor of the file that is not
 * in it, such as those of the draft layer (mtp.*), is neither read nor counted.
 * Source: docs/MODEL.md section 2. */
#ifndef DS4_MODEL_TENSORS_H
#define DS4_MODEL_TENSORS_H

#include "backend/backend.h"
#include "model/shape.h"

typedef enum ds4_tensor_kind {
    DS4_TENSOR_MATRIX,
    DS4_TENSOR_VECTOR,              /* float32 in memory, whatever the file has */
    DS4_TENSOR_TABLE,               /* int32: experts of each token */
} ds4_tensor_kind;

/* The sum of the plan that a tensor counts in. */
typedef enum ds4_tensor_part {
    DS4_PART_OTHER, DS4_PART_ATTENTION, DS4_PART_COMPRESSORS, DS4_PART_SHARED, DS4_PART_HEAD,
    DS4_PART_EMBEDDING, DS4_PART_EXPERTS, DS4_N_PARTS
} ds4_tensor_part;

typedef struct ds4_tensor_want {
    char            name[64];       /* in the file */
    ds4_tensor_kind kind;
    ds4_tensor_part part;
    uint64_t        n_in, n_out;    /* a matrix [n_out][n_in]; a vector or table of n_out rows */
    uint32_t        n_mats;         /* matrices one behind the other */
    uint32_t        n_experts;      /* of a table: every entry is below it */
    bool            is_stacked;     /* the file has them as one matrix of n_mats * n_out rows */
    bool            is_optional;
    bool            by_rows;        /* single rows are read, nothing is multiplied with it */
    bool            may_be_coded;   /* a vector that may be Q8_0 */
    size_t          field;          /* of ds4_layer_weights, or of ds4_weights outside layers */
} ds4_tensor_want;

/* The tensors of a layer, or with layer -1 those outside layers. Returns how many. */
enum { DS4_MAX_WANTS = 40 };
uint32_t ds4_tensors_list(const ds4_shape *s, int32_t layer, ds4_tensor_want out[DS4_MAX_WANTS]);

/* The tensors of a layer under other names: what is "blk.N." there, is `prefix`. Returns how many. */
uint32_t ds4_tensors_list_as(const ds4_shape *s, uint32_t layer, const char *prefix,
                             ds4_tensor_want out[DS4_MAX_WANTS]);

/* Bytes in memory of a tensor that has n_bytes in the file. */
uint64_t ds4_tensor_memory(const ds4_tensor_want *want, uint64_t n_bytes);

/* Steps read a tensor of n_bytes as often as this says. */
ds4_use ds4_tensor_use(const ds4_tensor_want *want, uint64_t n_bytes);

#endif
