/* tiny_draft.h - a random DSpark support file for a tiny model (tiny_model.h), in each layout that is in
 * use. */
#ifndef DS4_TESTS_TINY_DRAFT_H
#define DS4_TESTS_TINY_DRAFT_H

#include <stdint.h>

enum { TINY_BLOCK = 5, TINY_RANK = 32, TINY_STAGES = 3, TINY_NOISE = 270 };

/* Zeroed but for a seed it is a good file of layout A for a model with n_embd 64 and six experts. */
typedef struct tiny_draft {
    uint64_t    seed;
    char        layout;             /* 'A', 'B', 'C'; 0: A */
    uint32_t    dtype;              /* of all matrices; 0: F32 */
    uint32_t    coded;              /* of both bias tables and the confidence; 0: as `dtype` and F32 */
    uint32_t    n_embd;             /* 0: 64 */
    uint32_t    n_experts;          /* 0: 6 */
    const char *leave_out, *add;    /* a tensor's name: is missing, is there too */
    const char *name;               /* general.name; NULL: none */
    const char *architecture;       /* NULL: the layout's */
    uint32_t    n_block, noise;     /* 0: TINY_BLOCK, TINY_NOISE */
    uint32_t    tap[3];             /* from 0; all 0: 1, 2, 3 */
} tiny_draft;

/* Write the file; aborts on failure. */
void tiny_draft_write(const tiny_draft *t, const char *path);

#endif
