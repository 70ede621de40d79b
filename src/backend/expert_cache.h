/* expert_cache.h - routed experts in a fixed amount of memory, read from the model file as
 * tokens need them.
 *
 * An entry holds the three matrices of one expert. Layers are visited one at a time: begin()
 * says which experts a step needs, next() hands them out as they arrive, those in memory
 * first, and end() closes the visit. prefetch() reads ahead for a later visit and never
 * holds one up. Used by one thread. */
#ifndef DS4_BACKEND_EXPERT_CACHE_H
#define DS4_BACKEND_EXPERT_CACHE_H

#include "base/aio.h"

typedef struct ds4_expert_cache ds4_expert_cache;

enum { DS4_EXPERT_MATRICES = 3 };          /* gate, up, down */

/* The place of a layer's experts in the files: expert e of a matrix lies at offset + e * n_bytes. */
typedef struct ds4_expert_layer {
    struct {
        uint32_t file;
        uint64_t offset, n_bytes;
    } matrix[DS4_EXPERT_MATRICES];
    uint32_t n_experts;                     /* of this layer, up to the file's n_experts */
} ds4_expert_layer;

typedef struct ds4_expert_file {
    const char *const      *paths;                          /* [n_files] */
    uint32_t                n_files;
    uint32_t                n_layers;
    uint32_t                n_experts, n_used;      /* most of a layer; chosen by one token */
    const ds4_expert_layer *layer;                          /* [n_layers] */
} ds4_expert_file;

/* Open the file and reserve the entries; memory is taken as they fill.
 *
 *   out        receives the cache; untouched on failure
 *   file       read during the call only
 *   n_bytes    of all entries; more than the experts need is not taken
 *   opt        of the reads; NULL: defaults
 *
 * Returns DS4_OK; DS4_E_LIMIT when not even one token's experts fit, with the least size;
 * DS4_E_IO; DS4_E_NOMEM.                                                               */
DS4_MUST_CHECK ds4_status ds4_expert_cache_open(ds4_expert_cache **out, const ds4_expert_file *file,
                                                uint64_t n_bytes, const ds4_aio_options *opt,
                                                ds4_err *err);
void                      ds4_expert_cache_close(ds4_expert_cache *c);      /* NULL is fine */

/* The memory that a cache of n_bytes takes: whole entries, and none that stay empty. */
uint64_t ds4_expert_cache_bytes(const ds4_expert_file *file, uint64_t n_bytes);

/* The least n_bytes that ds4_expert_cache_open() accepts. */
uint64_t ds4_expert_cache_least(const ds4_expert_file *file);

/* Begin a visit.
 *
 *   count      [the layer's experts] tokens that chose each one; 0: not needed
 *   n_tokens   of the step
 */
void ds4_expert_cache_begin(ds4_expert_cache *c, uint32_t layer, const uint32_t *count,
                            uint32_t n_tokens);

typedef struct ds4_expert_ready {
    uint32_t       expert;
    const uint8_t *matrix[DS4_EXPERT_MATRICES];  /* in place until the next next() or end() */
} ds4_expert_ready;

/* Hand out the experts of the visit that have arrived; waits for at least one. What the
 * call before handed out is taken back.
 *
 *   out   [n_experts]
 *   n     receives how many; 0: all were handed out
 *
 * Returns DS4_OK; DS4_E_IO when the disk refuses or the file was cut: call end().      */
DS4_MUST_CHECK ds4_status ds4_expert_cache_next(ds4_expert_cache *c, ds4_expert_ready *out,
                                                uint32_t *n, ds4_err *err);
void                      ds4_expert_cache_end(ds4_expert_cache *c);

/* Is the file still whole? Pages of a mapping beyond its end must not be touched.
 * Returns DS4_OK; DS4_E_IO. */
DS4_MUST_CHECK ds4_status ds4_expert_cache_check(const ds4_expert_cache *c, ds4_err *err);

/* Start reading experts that the next visit of a layer will probably need, after those of
 * the visit in progress. A later guess about the same layer replaces the one before.
 *   count      [the layer's experts] as for begin(), a guess; larger comes first
 */
void ds4_expert_cache_prefetch(ds4_expert_cache *c, uint32_t layer, const uint32_t *count);

void ds4_expert_cache_get_stats(ds4_expert_cache *c, ds4_expert_stats *out);

#endif
