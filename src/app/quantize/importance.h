/* importance.h - the importance of columns that --imatrix gives, for the matrices of one file. */
#ifndef DS4_APP_IMPORTANCE_H
#define DS4_APP_IMPORTANCE_H

#include "format/gguf_write.h"
#include "format/imatrix.h"

/* For one thread. A zeroed one is none: every column of every matrix is alike. */
typedef struct importance {
    const char *path;           /* NULL: none */
    ds4_imatrix file;
    char        digest[65];     /* of the file's bytes */
    float      *row;            /* [room] of the matrix asked for last */
    uint64_t    room;
} importance;

/* path outlives *out. importance_close() also after a failure.
 * Returns DS4_OK; as ds4_imatrix_read().                                               */
DS4_MUST_CHECK ds4_status importance_open(importance *out, const char *path, ds4_err *err);
void                      importance_close(importance *im);

/* Look up the importance of each column of one matrix, in the form that ds4_encode_row() takes.
 *
 *   tensor  its name in the model file
 *   mat     which of n_mats
 *   out     receives [n_columns], lent until the next call; NULL when nothing is known
 *
 * Returns DS4_OK; DS4_E_FORMAT when the file is that of another model; DS4_E_NOMEM.    */
DS4_MUST_CHECK ds4_status importance_of(importance *im, const char *tensor, uint64_t mat, uint64_t n_mats,
                                        uint64_t n_columns, const float **out, ds4_err *err);

/* Does it say anything about this tensor? True for none. */
bool importance_knows(const importance *im, const char *tensor);

/* The keys by which a model file says what it was made with, and the text that a partial file
 * depends on. Nothing for none. */
void importance_put_keys(const importance *im, ds4_gguf_writer *w);
void importance_describe(const importance *im, ds4_str *out);

/* Keys that an older run may have left in a model file: they are written anew. */
bool importance_is_key(ds4_slice key);

#endif
