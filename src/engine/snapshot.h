/* snapshot.h - the parts of a snapshot, for those who keep it elsewhere. See ds4.h. */
#ifndef DS4_ENGINE_SNAPSHOT_H
#define DS4_ENGINE_SNAPSHOT_H

#include "backend/kv_state.h"
#include "base/err.h"
#include "base/file.h"

/* The state of an engine's sessions has this form; equal numbers mean that blocks and
 * tails can be exchanged between files of the same model. */
typedef struct ds4_state_form {
    uint32_t version;           /* DS4_KV_TAIL_VERSION */
    ds4_kv_form rows;           /* of rows; blocks and tails are copied as they lie */
    uint32_t block_tokens;
    uint64_t block_bytes;       /* of a full block as ds4_snapshot_block() gives it */
} ds4_state_form;

/* Write the name of the backend and of its kernels, as "cpu avx2". Rows that another family
 * computed differ in their last bits. At most n_bytes are written, the final zero included. */
void           ds4_engine_family(const ds4_engine *e, char *text, size_t n_bytes);

/* The directions that rows computed now are steered by, lent; *n floats. NULL: they are not steered. */
const float   *ds4_engine_directions(const ds4_engine *e, size_t *n);

/* Changes of the steering so far: a session that lived through one has rows of several kinds. Any thread
 * may ask. */
uint32_t       ds4_engine_steer_changes(const ds4_engine *e);

/* The files of the model, as they were when they were mapped. */
uint32_t       ds4_engine_n_files(const ds4_engine *e);
const char    *ds4_engine_file(const ds4_engine *e, uint32_t i, ds4_file_facts *facts);

ds4_state_form ds4_engine_state_form(const ds4_engine *e);
uint64_t       ds4_engine_tail_bytes(const ds4_engine *e, uint32_t pos);

/* Bytes of memory. */
uint64_t       ds4_engine_kept_bytes(const ds4_engine *e);      /* blocks that only snapshots hold */
uint64_t       ds4_engine_cold_bytes(const ds4_engine *e);      /* cold rows in memory, for tests */
uint64_t       ds4_engine_rows_on_disk(const ds4_engine *e);    /* files of cold rows, planned or taken */
uint64_t       ds4_snapshot_bytes(const ds4_snapshot *p);       /* its own: the tail and the tokens */

/* Add a holder to a snapshot; each holder frees it. Sharing and freeing are for the engine's
 * thread, and another thread may read the snapshot meanwhile. */
ds4_snapshot  *ds4_snapshot_share(const ds4_snapshot *p);

uint32_t       ds4_snapshot_n_blocks(const ds4_snapshot *p);            /* full ones */
const uint8_t *ds4_snapshot_tail(const ds4_snapshot *p, uint64_t *n_bytes);

/* Copy out full block i. bytes [block_bytes]. Returns DS4_OK; DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_snapshot_block(const ds4_snapshot *p, uint32_t i, uint8_t *bytes, ds4_err *err);

/* Gives full block i of a snapshot under construction: bytes [block_bytes]. */
typedef ds4_status ds4_block_source(void *ctx, uint32_t i, uint8_t *bytes, ds4_err *err);

/* The parts of a snapshot. */
typedef struct ds4_snapshot_parts {
    const int32_t      *tokens;     /* [pos] */
    uint32_t            pos;
    const ds4_snapshot *base;       /* its blocks serve as far as its tokens are these; NULL: none */
    ds4_block_source   *source;     /* asked for the other full blocks, in order */
    void               *ctx;        /* for source */
    const uint8_t      *tail;       /* [tail_bytes] */
    uint64_t            tail_bytes;
} ds4_snapshot_parts;

/* Make a snapshot from its parts, which are copied.
 *
 * Returns DS4_OK; DS4_E_FORMAT when tail_bytes is not what pos needs; the source's
 * failure; DS4_E_NOMEM; DS4_E_DEVICE.                                                   */
DS4_MUST_CHECK ds4_status ds4_snapshot_make(ds4_engine *e, const ds4_snapshot_parts *parts,
                                            ds4_snapshot **out, ds4_err *err);

#endif
