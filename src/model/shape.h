/* shape.h - the sizes and constants of one model, read from its file and validated.
 *
 * The structure of the graph is fixed in emit_*.c; everything here may differ from file
 * to file. Source: docs/MODEL.md section 1. */
#ifndef DS4_MODEL_SHAPE_H
#define DS4_MODEL_SHAPE_H

#include "base/err.h"
#include "format/gguf.h"

enum { DS4_MAX_LAYERS = 128, DS4_MAX_CONTEXT = 1048576 };

/* A drafter with weights. Its stages are layers of ratio 0 behind the model's own, numbered n_layers ..
 * n_layers + n_stages - 1. Source: docs/SPECULATION.md, DSpark. */
enum { DS4_MAX_TAPS = 8, DS4_MAX_STAGES = 8 };
typedef struct ds4_draft_shape {
    uint32_t n_stages;                          /* 0: there is no drafter */
    uint32_t n_block;                           /* rows that are computed at once, tokens that are guessed */
    uint32_t n_taps, tap[DS4_MAX_TAPS];         /* layers whose streams it reads, ascending */
    uint32_t n_rank;                            /* of the bias by the token before */
    int32_t  noise;                             /* the token in all rows of a block but the first */
} ds4_draft_shape;

typedef struct ds4_shape {
    uint32_t n_layers, n_embd, n_vocab, n_context;
    uint32_t n_heads, n_head, n_rot;            /* query heads, values of a head, its rotated tail */
    uint32_t q_rank, o_rank, o_groups;
    uint32_t n_window;
    uint32_t index_heads, n_index, top_k;       /* 0 without a ratio-4 layer */
    uint32_t n_experts, n_used, n_ffn, n_hash;  /* the first n_hash layers route by token id */
    uint32_t least_experts;                     /* of a layer; n_experts is the most */
    uint32_t n_draft_blocks;                    /* that block_count has beyond the layers */
    uint32_t n_hc, hc_iters;
    float    norm_eps, hc_eps, expert_scale;
    bool     expert_normalize;
    float    rope_base, compress_base, yarn_factor, yarn_fast, yarn_slow;
    uint32_t yarn_context;
    uint32_t ratio[DS4_MAX_LAYERS];             /* 0, 4 or 128 */
    float    clamp[DS4_MAX_LAYERS];             /* of gate and up */
    uint32_t experts[DS4_MAX_LAYERS];           /* routed experts of each layer; pruned files differ */
    ds4_draft_shape draft;
} ds4_shape;

/* Read and check every key. A file of another structure is refused by name.
 * Returns DS4_OK; DS4_E_FORMAT or DS4_E_UNSUPPORTED with file, key, found, expected.   */
DS4_MUST_CHECK ds4_status ds4_shape_read(const ds4_gguf *g, ds4_shape *out, ds4_err *err);

/* Rotation frequencies [n_rot / 2]: plain, or the YaRN blend of compressed layers.
 * Source: docs/MODEL.md section 3.5.                                                   */
void ds4_shape_frequencies(const ds4_shape *s, bool compressed, float *out);

#endif
