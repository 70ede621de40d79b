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

typedef void ds4_record_fn(void *ctx, ds4_slice record);

/* Open or create a file, and hand its records to `take` in order.
 *
 *   max_bytes   it is full when it is larger
 *
 * Returns DS4_OK; DS4_E_IO naming the file, also for a symbolic link; DS4_E_NOMEM.       */
DS4_MUST_CHECK ds4_status ds4_record_log_open(ds4_record_log **out, const char *path, uint64_t max_bytes,
                                              ds4_record_fn *take, void *ctx, ds4_err *err);
void                      ds4_record_log_close(ds4_record_log *l);      /* NULL is fine */

/* Append a record of at most 1 GiB. When that fails nothing is written any longer. NULL is
 * fine. */
void ds4_record_log_append(ds4_record_log *l, ds4_slice record);

/* It is too large or was damaged: what is still wanted should be written anew. */
bool ds4_record_log_full(const ds4_record_log *l);

/* Replace its content at once by what put_all appends to it. Failing leaves the old one,
 * which then counts as full no more. */
typedef void ds4_record_put_fn(void *ctx, ds4_record_log *l);
void ds4_record_log_renew(ds4_record_log *l, ds4_record_put_fn *put_all, void *ctx);

#endif
