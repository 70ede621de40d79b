/* keep.h - contents that are kept for later, each once, in one file that only grows.
 *
 * A content is found again by its SHA-256. The file is a row of records (magic, size, hash, bytes); what a
 * crash left unfinished at its end is cut off when it is opened. */
#ifndef DS4_AGENT_KEEP_H
#define DS4_AGENT_KEEP_H

#include "base/err.h"
#include "base/sha256.h"
#include "base/str.h"

typedef struct ds4_keep ds4_keep;

/* Open or make the file `name` in the folder dir_fd, which is lent. Returns DS4_OK; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_keep_open(ds4_keep **out, int dir_fd, const char *name, ds4_err *err);
void                      ds4_keep_close(ds4_keep *k);      /* NULL is fine */

/* Keep a content; hash receives its name. It is on the disk after ds4_keep_sync() only.
 * Returns DS4_OK; DS4_E_IO (a full disk): nothing was added; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_keep_add(ds4_keep *k, ds4_slice content, uint8_t hash[DS4_SHA256_BYTES],
                                       ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_keep_sync(ds4_keep *k, ds4_err *err);

/* Read a content; appended to *out. Returns DS4_OK; DS4_E_ARG when it is not there; DS4_E_FORMAT when its
 * bytes are not what they were; DS4_E_IO; DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_keep_get(ds4_keep *k, const uint8_t hash[DS4_SHA256_BYTES], ds4_str *out,
                                       ds4_err *err);

uint64_t ds4_keep_bytes(const ds4_keep *k);     /* of the file */

#endif
