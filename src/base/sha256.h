/* sha256.h - SHA-256, for names that must not lead back to what they name. */
#ifndef DS4_BASE_SHA256_H
#define DS4_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { DS4_SHA256_BYTES = 32 };

/* Source: FIPS 180-4, sections 4.1.2, 4.2.2, 5.1.1, 5.3.3 and 6.2. */
void ds4_sha256(const void *data, size_t n_bytes, uint8_t out[DS4_SHA256_BYTES]);

#endif
