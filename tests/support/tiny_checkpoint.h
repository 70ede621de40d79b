/* tiny_checkpoint.h - a small random checkpoint in the official formats, for tests. One for each process. */
#ifndef DS4_TESTS_TINY_CHECKPOINT_H
#define DS4_TESTS_TINY_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

enum { CHECKPOINT_LAYERS = 3, CHECKPOINT_EXPERTS = 2, CHECKPOINT_VOCAB = 40, CHECKPOINT_STAGES = 2 };

/* A tensor, as it is in the file. */
typedef struct checkpoint_tensor {
    char        name[80];
    const char *dtype;
    uint32_t    rows, columns;          /* as stored: FP4 has two weights in a column; rows 0: a vector */
    uint8_t    *data;
    size_t      n_bytes;
} checkpoint_tensor;

/* Make the tensors and write the whole checkpoint into a folder; fails the test on failure. */
void checkpoint_make(const char *folder);
void checkpoint_free(void);

/* The same model with a DSpark drafter of CHECKPOINT_STAGES layers in place of its MTP block: rank 32, taps
 * after the last two layers. */
void checkpoint_make_drafter(const char *folder);

/* Write config.json again with other dspark_* members, e.g. "\"dspark_block_size\":5". */
void checkpoint_put_drafter_config(const char *folder, const char *members);

/* Write the weights again, as a test has changed them. */
void checkpoint_put_weights(const char *folder);

/* The tensor of a name; fails the test when there is none. */
checkpoint_tensor *checkpoint_find(const char *name);

/* Weight i of row `row`, from the definition of the formats. */
float checkpoint_weight(const checkpoint_tensor *t, uint32_t row, uint32_t i);

#endif
