/* say.h - what ds4-server tells of itself: lines on standard error, and the trace file. */
#ifndef DS4_APP_SERVER_SAY_H
#define DS4_APP_SERVER_SAY_H

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

#define DS4_SERVER_NAME "ds4-server"

typedef enum ds4_say_format { DS4_SAY_TEXT, DS4_SAY_JSON } ds4_say_format;
extern const char *const ds4_say_formats[];     /* "text", "json", NULL */
extern const char *const ds4_say_levels[];      /* in the order of ds4_log_level, then NULL */

/* From now on lines have this form, those above `most` are dropped, and the library's own are among
 * them. Where standard error is systemd's journal, which stamps lines itself, text lines begin with
 * their priority instead of the time. */
void ds4_say_as(ds4_say_format format, ds4_log_level most);

/* One line: time, level, program, subject, and text made of words and key=value, where a value with
 * blanks stands in quotes. Control characters become question marks. */
void ds4_server_log(ds4_log_level level, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ds4_server_say(const char *subject, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ds4_server_note(void *ctx, const char *subject, const char *text);     /* a ds4_note_fn */

/* ---- trace ------------------------------------------------------------------------------------- */

typedef struct ds4_trace ds4_trace;

/* Append to a file for its owner alone. One that exists must be a regular file that nobody else may
 * read or write, and no link. Returns DS4_OK; DS4_E_ARG saying what is wrong with it; DS4_E_IO;
 * DS4_E_NOMEM. */
DS4_MUST_CHECK ds4_status ds4_trace_open(const char *path, ds4_trace **out, ds4_err *err);

/* A block in the file; lines of several threads do not mix. NULL is fine. */
void ds4_trace_add(ds4_trace *t, const char *id, const char *what, ds4_slice text);
void ds4_trace_reopen(ds4_trace *t);    /* after it was moved away; NULL is fine */
void ds4_trace_close(ds4_trace *t);     /* NULL is fine */

#endif
