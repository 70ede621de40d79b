/* block_call.h - one product of encoded rows with encoded tokens, as the functions of a set of
 * instructions hand it down: y[token][row] = w[row] . x[token]. */
#ifndef DS4_KERNELS_BLOCK_CALL_H
#define DS4_KERNELS_BLOCK_CALL_H

#include <stddef.h>
#include <stdint.h>

/* Strides of w and x are bytes from row to row and from token to token, that of y counts floats. */
typedef struct block_call {
    float         *y;
    size_t         y_stride;
    const uint8_t *w;
    size_t         w_stride, n_rows;
    const uint8_t *x;
    size_t         x_stride, n_tokens, n_blocks;
} block_call;

#endif
