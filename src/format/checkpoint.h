/* checkpoint.h - a folder of safetensors files as one set of tensors.
 *
 * The folder has either model.safetensors, or model.safetensors.index.json, which says
 * for each tensor in which shard it lies.                                            */
#ifndef DS4_FORMAT_CHECKPOINT_H
#define DS4_FORMAT_CHECKPOINT_H

#include "format/safetensors.h"

typedef struct ds4_checkpoint ds4_checkpoint;

/* Open every shard and find every tensor the index names.
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT and so on as ds4_safetensors_open(), also for an
 * index that leaves the folder or names a tensor its shard does not have.             */
DS4_MUST_CHECK ds4_status ds4_checkpoint_open(const char *dir, ds4_checkpoint **out, ds4_err *err);
void                      ds4_checkpoint_close(ds4_checkpoint *c);      /* NULL is fine */

/* Did everything read so far come from the files? As ds4_gguf_check(). */
DS4_MUST_CHECK ds4_status ds4_checkpoint_check(const ds4_checkpoint *c, ds4_err *err);

uint32_t             ds4_checkpoint_count(const ds4_checkpoint *c);
const ds4_st_tensor *ds4_checkpoint_at(const ds4_checkpoint *c, uint32_t i);       /* sorted by name */
const ds4_st_tensor *ds4_checkpoint_find(const ds4_checkpoint *c, const char *name);       /* or NULL */
const char          *ds4_checkpoint_dir(const ds4_checkpoint *c);

/* Append names, sizes and times of the shards: another text, another checkpoint. */
void                 ds4_checkpoint_describe(const ds4_checkpoint *c, ds4_str *out);

#endif
