/* tiny_model.h - a random model file with every feature of the structure, for tests.
 *
 * The weights are noise of a sensible scale and the tokenizer is 256 single bytes plus
 * the protocol tokens, so that a chat can be rendered and any text encoded. */
#ifndef DS4_TESTS_TINY_MODEL_H
#define DS4_TESTS_TINY_MODEL_H

#include <stdint.h>

typedef struct tiny_model {
    uint64_t seed;
    uint32_t dense;         /* dtype of attention, shared experts and head */
    uint32_t gate_up, down; /* dtypes of routed experts */
    uint32_t precise;       /* dtype of router, hyper-connections, compressors, indexer, embedding */
    uint32_t n_embd;        /* 64, or 256 for types with blocks of 256 */
    uint32_t n_experts;     /* 0: 6; two are used */
} tiny_model;

enum { TINY_VOCAB = 272, TINY_WINDOW = 16, TINY_TOP_K = 8 };

/* Write the file; aborts on failure. Layers have ratios 0, 4, 128, 4; the first two route
 * by token id. */
void tiny_model_write(const tiny_model *t, const char *path);

#endif
