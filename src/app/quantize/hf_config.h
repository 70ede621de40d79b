/* hf_config.h - the config.json of a checkpoint, and the model keys of a GGUF file. */
#ifndef DS4_APP_HF_CONFIG_H
#define DS4_APP_HF_CONFIG_H

#include "base/err.h"
#include "format/gguf_write.h"

enum { HF_MAX_LAYERS = 256 };

typedef struct hf_config {
    uint32_t n_layers, n_embd, n_vocab, n_context;
    uint32_t n_heads, n_kv_heads, n_head, n_rot;
    uint32_t q_rank, o_groups, o_rank, n_window;
    uint32_t index_heads, n_index, top_k;
    uint32_t n_experts, n_used, n_shared, n_ffn, n_hash;
    uint32_t n_hc, hc_iters;
    float    norm_eps, hc_eps, expert_scale, clamp;
    float    rope_base, compress_base, yarn_factor, yarn_fast, yarn_slow;
    uint32_t yarn_context;
    bool     norm_topk;
    uint32_t n_ratios;                      /* >= n_layers */
    uint32_t ratio[HF_MAX_LAYERS];
    uint32_t fp8_rows, fp8_columns;         /* of the tile that shares one FP8 scale */
} hf_config;

/* Read and check DIR/config.json. A checkpoint of another structure is refused by name.
 * Returns DS4_OK; DS4_E_IO; DS4_E_FORMAT; DS4_E_UNSUPPORTED.                           */
DS4_MUST_CHECK ds4_status hf_config_read(const char *dir, hf_config *out, ds4_err *err);

/* The keys deepseek4.* of the file. */
void hf_config_put(const hf_config *c, ds4_gguf_writer *w);

/* The keys general.sampling.* from DIR/generation_config.json, if there is one.
 * Returns DS4_OK; DS4_E_FORMAT.                                                        */
DS4_MUST_CHECK ds4_status hf_sampling_put(const char *dir, ds4_gguf_writer *w, ds4_err *err);

#endif
