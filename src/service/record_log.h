/* record_log.h - records in a file: appended one by one, read whole when it is opened.
 *
 * It is readable for its owner only. Several processes may append to one file. A record that
 * is damaged or cut ends the reading; what comes behind it is lost. Not for several threads
 * at a time. */
#ifndef DS4_SERVICE_RECORD_LOG_H
#define DS4_SERVICE_RECORD_LOG_H

#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

typedef struct ds4_record_log ds4_record_log;

/* Whose records they are. */
typedef struct ds4_record_owner {
    void (*take)(void *ctx, ds4_slice record);          /* one of the file */
    void (*put_all)(void *ctx, ds4_record_log *l);      /* append all that are still wanted */
    void  *ctx;
} ds4_record_owner;

/* Open or create a file, and hand its records to owner->take in order.
 *
 *   max_bytes   when it is larger, or damaged, its content is replaced at once by what
 *               owner->put_all appends: now, and later at the end of an append. Failing leaves
 *               the old one, which may then double before it is tried again.
 *   owner       copied
 *
 * Returns DS4_OK; DS4_E_IO naming the file, also for a symbolic link; DS4_E_NOMEM.       */
DS4_MUST_CHECK ds4_status ds4_record_log_open(ds4_record_log **out, const char *path, uint64_t max_bytes,
                                              const ds4_record_owner *owner, ds4_err *err);
void                      ds4_record_log_close(ds4_record_log *l);      /* NULL is fine */

/* Append a record of at most 1 GiB, which put_all must know of already. When that fails nothing
 * is written any longer. NULL is fine. */
void ds4_record_log_append(ds4_record_log *l, ds4_slice record);

#endif
