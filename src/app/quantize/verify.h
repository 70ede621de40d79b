/* verify.h - is a model file whole? Its structure, each of its weights, its digest. */
#ifndef DS4_APP_VERIFY_H
#define DS4_APP_VERIFY_H

#include "base/sha256.h"
#include "ds4.h"
#include "format/gguf.h"

typedef struct verify_options {
    uint32_t          n_threads;        /* 1..256 */
    const ds4_cancel *cancel;           /* NULL: never */
    void            (*progress)(void *ctx, uint64_t n_done, uint64_t n_total, const char *what);
    void             *ctx;
} verify_options;

/* Is something in every tensor, and is each weight a finite number?
 *
 * Returns DS4_OK; DS4_E_FORMAT with the tensor and its row; DS4_E_IO; DS4_E_NOMEM; DS4_E_CANCELLED. */
DS4_MUST_CHECK ds4_status verify_weights(const ds4_gguf *g, const verify_options *opt, ds4_err *err);

/* The digest of all bytes of a file.
 *
 * Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM; DS4_E_CANCELLED.                              */
DS4_MUST_CHECK ds4_status verify_digest(const char *path, const verify_options *opt,
                                        uint8_t digest[DS4_SHA256_BYTES], ds4_err *err);

/* An entry of the list of published files. */
typedef enum verify_known { VERIFY_UNKNOWN, VERIFY_PUBLISHED, VERIFY_SAME_SIZE } verify_known;

/* Look a file up, in lines of name, bytes, digest and file name.
 *
 *   name   receives the published name for VERIFY_PUBLISHED, and for VERIFY_SAME_SIZE: a damaged
 *          download, or another file of the same recipe                                  */
verify_known verify_look_up(ds4_slice list, uint64_t n_bytes, const char *digest, char name[64]);

#endif
