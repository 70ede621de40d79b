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

/* Which numbers an engine computes, as "cpu avx2": rows of one are not those of another to
 * the bit. Writes at most n_bytes with the final zero. */
void           ds4_engine_family(const ds4_engine *e, char *text, size_t n_bytes);

/* The files of the model, as they were when they were mapped. */
uint32_t       ds4_engine_n_files(const ds4_engine *e);
const char    *ds4_engine_file(const ds4_engine *e, uint32_t i, ds4_file_facts *facts);

ds4_state_form ds4_engine_state_form(const ds4_engine *e);
uint64_t       ds4_engine_tail_bytes(const ds4_engine *e, uint32_t pos);

/* Memory: of blocks that only snapshots hold, all of them together; and what a snapshot has
 * for itself. */
uint64_t       ds4_engine_kept_bytes(const ds4_engine *e);
uint64_t       ds4_engine_cold_bytes(const ds4_engine *e);  /* resident of those that may leave */
uint64_t       ds4_engine_rows_on_disk(const ds4_engine *e);    /* their files, planned or taken */
uint64_t       ds4_snapshot_bytes(const ds4_snapshot *p);

/* One more holder of the same snapshot; each frees it. On the engine's thread, as freeing is;
 * another thread may read what it holds. */
ds4_snapshot  *ds4_snapshot_share(const ds4_snapshot *p);

uint32_t       ds4_snapshot_n_blocks(const ds4_snapshot *p);            /* full ones */
const uint8_t *ds4_snapshot_tail(const ds4_snapshot *p, uint64_t *n_bytes);

/* Copy out full block i. bytes [block_bytes]. Returns DS4_OK; DS4_E_DEVICE. */
DS4_MUST_CHECK ds4_status ds4_snapshot_block(const ds4_snapshot *p, uint32_t i, uint8_t *bytes, ds4_err *err);

/* Gives full block i of a snapshot under construction: bytes [block_bytes]. */
typedef ds4_status ds4_block_source(void *ctx, uint32_t i, uint8_t *bytes, ds4_err *err);

/* Make a snapshot from its parts.
 *
 *   tokens   [pos], copied
 *   base     NULL, or a snapshot whose blocks serve as far as its tokens are the same
 *   source   asked for the other full blocks, in order
 *   tail     [tail_bytes], copied
 *
 * Returns DS4_OK; DS4_E_FORMAT when tail_bytes is not what pos needs; the source's
 * failure; DS4_E_NOMEM; DS4_E_DEVICE.                                                   */
DS4_MUST_CHECK ds4_status ds4_snapshot_make(ds4_engine *e, const int32_t *tokens, uint32_t pos,
                                            const ds4_snapshot *base, ds4_block_source *source, void *ctx,
                                            const uint8_t *tail, uint64_t tail_bytes, ds4_snapshot **out,
                                            ds4_err *err);

#endif
