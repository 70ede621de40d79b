/* err.h - raising and passing errors (floor 0). The types are in the public ds4.h. */
#ifndef DS4_BASE_ERR_H
#define DS4_BASE_ERR_H

#include "ds4.h"

/* Record an error and return its code, so that a refusal is one statement:
 *     return ds4_fail(err, DS4_E_FORMAT, "%s: bad magic 0x%08x", path, magic);
 * err may be NULL when the caller does not want the text. */
#define ds4_fail(err, code, ...) ds4_fail_at((err), (code), __FILE__, __LINE__, __VA_ARGS__)

ds4_status ds4_fail_at(ds4_err *err, ds4_status code, const char *file, int line,
                       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Pass a failure up unchanged. Only in functions that own nothing yet. */
#define DS4_TRY(expr)                    \
    do {                                 \
        ds4_status try_ = (expr);        \
        if (try_ != DS4_OK) return try_; \
    } while (0)

#endif
