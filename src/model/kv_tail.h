/* kv_tail.h - the tail of a session as bytes: what makes its position resumable.
 *
 * Beside the full blocks a position needs the raw windows, the tokens that wait in the
 * compressors, and the rows of the unfinished block. A tail holds no more than a later token
 * can read, in an order that depends on positions alone: the size of the rings does not
 * show. A drafter's windows are not in it: they are filled anew by the tokens that follow.
 * At a multiple of 128 a tail of V4 Flash has 3.6 MB. Source: docs/MODEL.md section 6. */
#ifndef DS4_MODEL_KV_TAIL_H
#define DS4_MODEL_KV_TAIL_H

#include "backend/backend.h"

/* Changes whenever the bytes would be read differently. */
enum { DS4_KV_TAIL_VERSION = 1 };

/* Memory that an extent of a tail lies in: the session's own, or a part of its unfinished
 * block. */
typedef enum ds4_kv_memory { DS4_KV_OWN, DS4_KV_COLD, DS4_KV_WARM } ds4_kv_memory;

/* A run of bytes in one memory. The bytes of a tail are its extents, one behind the other. */
typedef struct ds4_kv_extent {
    ds4_kv_memory memory;
    uint64_t      off, n_bytes;
} ds4_kv_extent;

/* List the extents of the tail at pos: some 200 to 1,000 for V4 Flash. Measuring, saving and
 * loading go by this list, so they cannot disagree.
 *
 *   out   [max] receives as many as fit; may be NULL with max 0
 *
 * Returns how many there are. Public for tests, which compare the list with the layout.     */
uint32_t ds4_kv_tail_extents(const ds4_kv_layout *kv, uint32_t pos, ds4_kv_extent *out, uint32_t max);

uint64_t ds4_kv_tail_bytes(const ds4_kv_layout *kv, uint32_t pos);

/* A session's state on a device. */
typedef struct ds4_kv_place {
    const ds4_backend   *backend;
    ds4_dev             *dev;
    const ds4_kv_layout *kv;
    ds4_view             tail;
    ds4_block            last;      /* the unfinished block; not touched if pos is a multiple of 256 */
} ds4_kv_place;

/* Copy the tail at pos out of a session, or into one. bytes [ds4_kv_tail_bytes(kv, pos)].
 * Returns DS4_OK; DS4_E_NOMEM; DS4_E_IO or DS4_E_DEVICE as the backend does.             */
DS4_MUST_CHECK ds4_status ds4_kv_tail_save(const ds4_kv_place *from, uint32_t pos, uint8_t *bytes,
                                           ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_kv_tail_load(const ds4_kv_place *to, uint32_t pos,
                                           const uint8_t *bytes, ds4_err *err);

#endif
