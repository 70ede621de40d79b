/* model_pieces.h - a model file cut into pieces, for tests: NAME-00001-of-0000N.gguf and so on. */
#ifndef DS4_TESTS_MODEL_PIECES_H
#define DS4_TESTS_MODEL_PIECES_H

#include "format/gguf.h"

typedef struct model_piece {
    uint32_t first, last;       /* tensors first .. last - 1 of the whole model */
    uint32_t no, count;         /* what it says that it is */
    uint32_t n_all;             /* and how many tensors all pieces have together */
} model_piece;

/* Write one piece, which may lie; the first has the model's keys. Fails the test on failure. */
void model_piece_write(const ds4_gguf *g, const char *path, const model_piece *piece);

/* The path of piece no (from 0) in a folder. */
void model_piece_path(char path[400], const char *folder, uint32_t no, uint32_t count);

/* Cut a model into count pieces, with a like number of tensors each. Fails the test on failure. */
void model_pieces_write(const char *whole, const char *folder, uint32_t count);

#endif
