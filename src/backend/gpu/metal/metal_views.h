/* metal_views.h - how a mapped file is cut into buffers. Numbers only: no Metal in it. */
#ifndef DS4_BACKEND_METAL_VIEWS_H
#define DS4_BACKEND_METAL_VIEWS_H

#include "backend/gpu/gpu.h"

/* Whole pages from `from` to `to`, an address of the host each. */
typedef struct metal_view {
    uint64_t from, to;
} metal_view;

/* Cut so that every piece of memory lies in one view, no view has more than most_bytes, and none reaches over
 * pages where there is no piece.
 *
 *   maps    [n] in the order of their addresses
 *   page    of the system, a power of two
 *   out     [n] at most
 *   n_out   views made
 *
 * Returns DS4_E_UNSUPPORTED with the numbers where a piece alone is too large.                  */
DS4_MUST_CHECK ds4_status metal_views_plan(const gpu_map *maps, uint32_t n, uint64_t page,
                                           uint64_t most_bytes, metal_view *out, uint32_t *n_out,
                                           ds4_err *err);

#endif
