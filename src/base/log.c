/* log.c - see log.h. The sink is the one piece of state of the whole process: a program
 * has one place for its messages, whatever it opens. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static struct {
    ds4_log_sink *sink;
    void         *ctx;
    ds4_log_level most;
} log_state;

void ds4_log_to(ds4_log_sink *sink, void *ctx, ds4_log_level most)
{
    log_state.sink = sink;
    log_state.ctx = ctx;
    log_state.most = most;
}

void ds4_log(ds4_log_level level, const char *subject, const char *fmt, ...)
{
    char text[512];

    if (!log_state.sink || level > log_state.most) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log_state.sink(log_state.ctx, level, subject, text);
}
