/* draft_fuzz.c - any bytes as a drafter's support file: refused, or described within bounds. */
#include "model/draft_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* A model of few layers, so that numbers of layers are hit by chance. */
static ds4_shape model_shape(void)
{
    ds4_shape s = { .n_layers = 4, .n_embd = 64, .n_vocab = 272, .n_heads = 4, .n_head = 96, .n_rot = 32,
                    .q_rank = 64, .o_rank = 128, .o_groups = 2, .n_window = 16, .n_experts = 6, .n_used = 2,
                    .n_ffn = 64, .n_hc = 4 };

    for (uint32_t i = 0; i < s.n_layers; i++) {
        s.clamp[i] = 10.0f;
        s.experts[i] = s.n_experts;
    }
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static volatile uint64_t sink;
    ds4_tensor_want          wants[DS4_MAX_WANTS];
    ds4_shape                s = model_shape();
    ds4_draft_layout         layout;
    ds4_gguf                *g = NULL;
    ds4_err                  err;

    if (ds4_gguf_open_bytes("fuzz-0731", data, n_bytes, &g, &err) != DS4_OK) return 0;
    if (ds4_draft_read(g, g, &s, &layout, &err) == DS4_OK) {
        const ds4_draft_shape *d = &s.draft;
        for (uint32_t i = 0; i < d->n_taps; i++) {
            if (d->tap[i] >= s.n_layers || (i > 0 && d->tap[i] <= d->tap[i - 1])) __builtin_trap();
        }
        if (d->n_stages < 1 || d->n_block < 1 || d->n_block >= DS4_MAX_BLOCK || d->noise < 0
            || (uint32_t)d->noise >= s.n_vocab)
            __builtin_trap();
        for (int32_t i = -1; i < (int32_t)d->n_stages; i++) {
            const uint32_t n = ds4_draft_list(&s, layout, i, wants);
            for (uint32_t k = 0; k < n; k++) sink += strlen(wants[k].name);
        }
        sink += ds4_draft_bytes(g, &s, layout);
    }
    ds4_gguf_close(g);
    return (int)(sink & 0);
}
