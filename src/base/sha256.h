/* sha256.h - SHA-256 (FIPS 180-4): for names that must not lead back to what they name, and for
 * files that are compared with a published digest. */
#ifndef DS4_BASE_SHA256_H
#define DS4_BASE_SHA256_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DS4_SHA256_BYTES = 32 };

/* Hash bytes that lie in memory. The program ends when libcrypto has no memory for it. */
void ds4_sha256(const void *data, size_t n_bytes, uint8_t out[DS4_SHA256_BYTES]);

/* A hash of bytes that come in parts. */
typedef struct ds4_sha256_run ds4_sha256_run;

/* Returns DS4_OK; DS4_E_NOMEM.                                                         */
DS4_MUST_CHECK ds4_status ds4_sha256_begin(ds4_sha256_run **out, ds4_err *err);
void                      ds4_sha256_add(ds4_sha256_run *run, const void *data, size_t n_bytes);
/* The run is gone, also when it is NULL or out is. Returns false when there is no digest. */
bool                      ds4_sha256_end(ds4_sha256_run *run, uint8_t out[DS4_SHA256_BYTES]);

/* As 64 digits and a zero. */
void ds4_sha256_text(const uint8_t digest[DS4_SHA256_BYTES], char out[2 * DS4_SHA256_BYTES + 1]);

#endif
