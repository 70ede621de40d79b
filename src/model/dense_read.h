/* dense_read.h - tensors from the model file into a device's memory, past the page cache. */
#ifndef DS4_MODEL_DENSE_READ_H
#define DS4_MODEL_DENSE_READ_H

#include "backend/backend.h"

/* A tensor: where it lies in the file and where it goes in the buffer. */
typedef struct ds4_dense_copy {
    uint64_t offset, n_bytes;
    uint64_t to;
} ds4_dense_copy;

/* Read all of them. Beside streamed experts there is no room for a second copy in the page
 * cache, and pages of a mapping could be taken away when memory is short.
 *
 * Returns DS4_OK; DS4_E_IO with the path and the reason; DS4_E_NOMEM.                    */
DS4_MUST_CHECK ds4_status ds4_dense_read(const char *path, const ds4_dense_copy *copies, uint32_t n,
                                         const ds4_backend *backend, ds4_dev *dev, ds4_buf *to,
                                         ds4_err *err);

#endif
