/* gpu_multiply.h - one product on a GPU: a matrix with the rows of a step, or an expert with its
 * visitors.
 *
 * Where a weight type wants int8 activations (kernels/product_i8.k), gpu_round() makes them first, in
 * scratch memory that the caller names; the products read them there. */
#ifndef DS4_BACKEND_GPU_MULTIPLY_H
#define DS4_BACKEND_GPU_MULTIPLY_H

#include "backend/gpu/gpu_local.h"

typedef struct gpu_product {
    const ds4_matrix *w;
    gpu_at            x, y;
    uint32_t          x_stride, y_stride, n_tokens;
    uint32_t          x_step, y_step;   /* from matrix to matrix */
    bool              precise;          /* activations stay float32, see ds4_product */
} gpu_product;

/* Pairs of a token and one of its experts. */
typedef struct gpu_pairs {
    const ds4_matrix *w;
    gpu_at            x, y;             /* y has a row for each pair */
    gpu_at            expert, order, tile;      /* as experts_sort writes them, if sorted */
    gpu_at            own_order, own_begin, own_tiles;  /* the same of a device's own sort */
    uint32_t          x_stride, n_pairs, n_used;
    bool              x_by_token;       /* else x has a row for each pair */
    bool              sorted;
} gpu_pairs;

/* The activations that a product wants: group values have one scale, 0: floats; in the order of a form of
 * weights. */
typedef struct gpu_rounding {
    uint32_t group, form;
} gpu_rounding;
gpu_rounding gpu_rounding_of(const ds4_matrix *w, bool precise);

/* Bytes of so many rounded rows, in any form. */
uint64_t gpu_round_bytes(const ds4_matrix *w, uint64_t n_rows);

/* Nothing to do where a product takes floats. */
DS4_MUST_CHECK ds4_status gpu_round(ds4_dev *dev, const gpu_product *p, gpu_at to, ds4_err *err);

/* act: what gpu_round() wrote. */
DS4_MUST_CHECK ds4_status gpu_multiply(ds4_dev *dev, const gpu_product *p, gpu_at act, const char *name,
                                       ds4_err *err);
DS4_MUST_CHECK ds4_status gpu_multiply_pairs(ds4_dev *dev, const gpu_pairs *p, gpu_at act, const char *name,
                                             ds4_err *err);

/* Tiles of up to KD_TOKENS pairs of one expert, at most. */
uint32_t gpu_most_tiles(uint32_t n_pairs, uint32_t n_experts);

/* The kernel that reads rows of a table. */
DS4_MUST_CHECK ds4_status gpu_embed_kernel(gpu_kernel *out, const ds4_matrix *table, const char *name,
                                           ds4_err *err);

#endif
