/* err.c - one sentence for each failure, made where it happened. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

ds4_status ds4_fail_at(ds4_err *err, ds4_status code, const char *file, int line, const char *fmt, ...)
{
    if (!err) return code;

    va_list args;
    va_start(args, fmt);
    err->code = code;
    err->file = file;
    err->line = line;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return code;
}
