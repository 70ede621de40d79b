/* bind.h - tensors of a file become matrices of a backend, and vectors in one of its buffers.
 *
 * Vectors and tables are gathered in host memory and written at once. */
#ifndef DS4_MODEL_BIND_H
#define DS4_MODEL_BIND_H

#include "model/tensors.h"

/* The caller fills the first five. */
typedef struct ds4_binder {
    const ds4_gguf    *g;
    const ds4_shape   *s;
    const ds4_backend *backend;
    ds4_dev           *dev;
    bool               stream;      /* routed experts get no place, only a shape */
    ds4_buf           *buf;         /* of vectors and tables */
    uint8_t           *vectors;     /* what it will hold */
    uint64_t           n_used;
} ds4_binder;

/* Bytes that a vector or table takes; 0 for a matrix. */
uint64_t ds4_bind_bytes(const ds4_tensor_want *want);

/* Take a buffer for n_bytes of vectors. Call ds4_bind_end() in any case. Returns DS4_OK; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_bind_begin(ds4_binder *b, uint64_t n_bytes, ds4_buf **buf, ds4_err *err);

/* Find a tensor, check its type and dimensions, and put it at base + want->field: a ds4_matrix or a ds4_view.
 * One that may be missing leaves it as it is. Returns DS4_OK; DS4_E_FORMAT or DS4_E_UNSUPPORTED naming file,
 * tensor, found and expected; as ds4_backend.bind(). */
DS4_MUST_CHECK ds4_status ds4_bind_tensor(ds4_binder *b, const ds4_tensor_want *want, void *base,
                                          ds4_err *err);

/* The shape and type of a matrix as the directory says, without a place, to plan with. */
void ds4_weights_describe_one(const ds4_gguf *g, const ds4_tensor_want *want, void *base);

/* Room for n_bytes more in the buffer: the host writes there until the end, *out is where it will be. */
void *ds4_bind_room(ds4_binder *b, uint64_t n_bytes, ds4_view *out);

/* Write the vectors to the device, unless st is a failure. Returns st, or the failure to write. */
DS4_MUST_CHECK ds4_status ds4_bind_end(ds4_binder *b, ds4_status st, ds4_err *err);

#endif
