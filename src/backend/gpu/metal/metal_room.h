/* metal_room.h - which parts of the device's buffers are taken. Numbers only: no Metal in it. */
#ifndef DS4_BACKEND_METAL_ROOM_H
#define DS4_BACKEND_METAL_ROOM_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct room_part {
    uint64_t at, n_bytes;
    uint32_t slab;                      /* parts of two slabs are never one, though they touch */
    bool     taken;
} room_part;

/* Parts lie side by side in the order of their addresses; zeroed it is empty. */
typedef struct metal_room {
    room_part *part;
    uint32_t   n, capacity, n_slabs;
} metal_room;

enum { METAL_ALIGN = 256 };

/* One more slab at address `at`, a multiple of METAL_ALIGN as n_bytes is. DS4_E_NOMEM leaves all as it is. */
DS4_MUST_CHECK ds4_status metal_room_add(metal_room *r, uint64_t at, uint64_t n_bytes, ds4_err *err);

/* Take n_bytes > 0 in one piece, rounded up to METAL_ALIGN: the smallest free part that has room, of those
 * the first. Sets *found to false where no slab has it. */
DS4_MUST_CHECK ds4_status metal_room_take(metal_room *r, uint64_t n_bytes, uint64_t *at, bool *found,
                                          ds4_err *err);

/* Give back what take() gave; false: nothing was taken at this address. */
bool metal_room_give(metal_room *r, uint64_t at);

void metal_room_clear(metal_room *r);

#endif
