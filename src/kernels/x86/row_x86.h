/* row_x86.h - one token: what the x86 products that read rows one after another share.
 *
 * With one token every weight is read once, and memory is the limit. Rows are then read whole,
 * in the order in which they lie, which a processor's own prefetching follows best; the exact
 * sums of their blocks are kept, and a tile of rows later continues its chains of floats side by
 * side, block after block, as the products of several tokens do. */
#ifndef DS4_KERNELS_ROW_X86_H
#define DS4_KERNELS_ROW_X86_H

#include "kernels/x86/kernel_x86.h"

/* y = W x; see ds4_matvec_fn. */
typedef struct row_call {
    float         *y;
    const uint8_t *w;
    size_t         w_stride, n_rows;
    const void    *x;
    size_t         n_blocks;
} row_call;

/* ---- asking for weights ahead -------------------------------------------------------------- */

enum {
    LINE_BYTES = 64,
    PAGE_BYTES = 4096,
    PAGES = 4,                  /* asked for by turns */
    AHEAD_BYTES = 16384,
};

/* A reader asks memory for the weights that are needed soon. A processor's own prefetching ends with
 * each page of 4 KiB and begins slowly with the next; four pages by turns keep it, and memory,
 * busy. Only into the second cache: the first has fewer places for what is under way. */
typedef struct reader {
    uintptr_t at, end;
    size_t    due;              /* bytes to be asked for */
} reader;

INLINE reader read_ahead(const uint8_t *w, size_t n_bytes)
{
    const uintptr_t page = (uintptr_t)w & ~(uintptr_t)(PAGE_BYTES - 1);
    return (reader){ page + AHEAD_BYTES, (uintptr_t)w + n_bytes, 0 };
}

INLINE void ask(reader *r, size_t n_bytes)
{
    for (r->due += n_bytes; r->due >= PAGES * LINE_BYTES; r->due -= PAGES * LINE_BYTES) {
        if (r->at >= r->end) return;
        UNROLL
        for (int i = 0; i < PAGES; i++)
            _mm_prefetch((const void *)(r->at + (uintptr_t)i * PAGE_BYTES), _MM_HINT_T1);
        r->at += LINE_BYTES;
        if (r->at % PAGE_BYTES == 0) r->at += (PAGES - 1) * PAGE_BYTES;
    }
}

/* Of a unit of a tile of rows, the most is asked for while the units of each row are summed, and
 * the rest while the chains continue: there is no time in which nothing is under way. */
INLINE size_t due_in_row(size_t unit_bytes, size_t tile_rows)
{
    return unit_bytes - unit_bytes / tile_rows;
}

INLINE size_t due_in_chain(size_t unit_bytes, size_t tile_rows)
{
    return unit_bytes / tile_rows * tile_rows;
}

#endif
