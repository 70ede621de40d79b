/* log.h - what the library has to say while it works. It never prints: a program
 * installs a sink, and without one the lines are dropped.
 *
 * A line is a subject and key=value pairs: ds4_log(DS4_LOG_INFO, "model", "layers=%u", n). */
#ifndef DS4_BASE_LOG_H
#define DS4_BASE_LOG_H

typedef enum ds4_log_level { DS4_LOG_ERROR, DS4_LOG_WARN, DS4_LOG_INFO, DS4_LOG_DEBUG } ds4_log_level;

typedef void ds4_log_sink(void *ctx, ds4_log_level level, const char *subject, const char *text);

/* Install before any other thread logs. Lines above `most` are dropped; sink NULL drops all. */
void ds4_log_to(ds4_log_sink *sink, void *ctx, ds4_log_level most);
void ds4_log(ds4_log_level level, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
