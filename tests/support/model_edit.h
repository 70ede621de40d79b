/* model_edit.h - a model file with some keys and tensors changed, to make its other forms for tests.
 * Everything fails the test on failure. */
#ifndef DS4_TESTS_MODEL_EDIT_H
#define DS4_TESTS_MODEL_EDIT_H

#include "format/gguf_write.h"

enum { EDIT_TENSORS = 512, EDIT_KEYS = 64 };

typedef struct edit_tensor {
    char     name[96];          /* "": left out of the new file */
    uint32_t dtype, n_dims;
    uint64_t dim[4], n_bytes;
    uint8_t *data;              /* [n_bytes], may be changed */
} edit_tensor;

typedef struct model_edit {
    ds4_gguf        *g;
    ds4_gguf_writer *w;         /* put further keys here */
    edit_tensor      tensor[EDIT_TENSORS];
    uint32_t         n_tensors;
    const char      *dropped[EDIT_KEYS];
    uint32_t         n_dropped;
} model_edit;

void edit_open(model_edit *m, const char *path);
void edit_write(model_edit *m, const char *path);       /* and close */

/* A key leaves the file, or gets another value. */
void edit_drop(model_edit *m, const char *key);
void edit_u32(model_edit *m, const char *key, uint32_t value);
void edit_f32(model_edit *m, const char *key, float value);

edit_tensor *edit_find(model_edit *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A new tensor of n_in x n_out float32 zeros. */
edit_tensor *edit_add(model_edit *m, uint64_t n_in, uint64_t n_out, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Keep slices of the last dimension: n of them, ascending. */
void edit_keep(edit_tensor *t, const uint32_t *slice, uint32_t n);

#endif
