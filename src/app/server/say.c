/* say.c - see say.h: lines of the log. */
#include "app/server/say.h"

#include "app/common/app.h"
#include "base/knob.h"
#include "format/gguf_text.h"
#include "text/pyjson.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 1600 };

const char *const ds4_say_formats[] = { "text", "json", NULL };
const char *const ds4_say_levels[] = { "error", "warn", "info", "debug", NULL };

/* A program has one standard error. */
static struct {
    ds4_say_format format;
    ds4_log_level  most;
    bool           journal;
} say_state = { .most = DS4_LOG_INFO };

/* systemd names the device and inode of the journal's socket. */
static bool is_journal(void)
{
    const char *name = ds4_knob_text(DS4_KNOB_JOURNAL_STREAM);
    struct stat st;
    char        found[64];

    if (!name || fstat(STDERR_FILENO, &st) != 0) return false;
    snprintf(found, sizeof found, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    return !strcmp(name, found);
}

static void stamp(char out[48])
{
    struct timespec now;
    struct tm       tm;
    char            date[24], zone[8];

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(zone, sizeof zone, "%z", &tm);
    snprintf(out, 48, "%s.%03ld%.3s:%.2s", date, now.tv_nsec / 1000000, zone,
             strlen(zone) == 5 ? zone + 3 : "00");
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void add_string(ds4_str *out, const char *text, size_t n)
{
    ds4_pyjson_add_string(out, (ds4_slice){ text, n });
}

/* A decimal number as JSON writes it, short enough to stay what it is. */
static bool is_number(const char *text, size_t n)
{
    size_t i = 0, n_whole;

    for (n_whole = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++) n_whole++;
    if (n_whole == 0 || n_whole > 15 || (n_whole > 1 && text[0] == '0')) return false;
    if (i == n) return true;
    if (text[i++] != '.') return false;
    const size_t fraction = i;
    while (i < n && text[i] >= '0' && text[i] <= '9') i++;
    return i == n && i > fraction;
}

static bool is_name(const char *text, size_t n)
{
    return n > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == n;
}

/* key=value becomes a member, other words become the message. */
static void add_members(ds4_str *out, const char *text)
{
    ds4_str message = { 0 };

    while (*(text += strspn(text, " "))) {
        const size_t n_name = strcspn(text, "= \"");
        const char  *value = text + n_name + 1;
        if (text[n_name] != '=' || !is_name(text, n_name)) {
            const size_t n = strcspn(text, " ");
            if (message.n_bytes) ds4_str_add_char(&message, ' ');
            ds4_str_add(&message, text, n);
            text += n;
            continue;
        }
        const bool   quoted = *value == '"';
        const size_t n = strcspn(value += quoted, quoted ? "\"" : " ");
        ds4_str_add_char(out, ',');
        add_string(out, text, n_name);
        ds4_str_add_char(out, ':');
        if (!quoted && (is_number(value, n) || (n == 4 && !strncmp(value, "true", 4)))) {
            ds4_str_add(out, value, n);
        } else {
            add_string(out, value, n);
        }
        text = value + n + (quoted && value[n]);
    }
    if (message.n_bytes) {
        ds4_str_add_text(out, ",\"message\":");
        add_string(out, message.data, message.n_bytes);
    }
    ds4_str_clear(&message);
}

/* ---- lines ------------------------------------------------------------------------------------- */

static void add_line(ds4_str *out, ds4_log_level level, const char *subject, const char *text)
{
    static const char priorities[] = "3467"; /* of syslog: err, warning, info, debug */
    char              at[48];

    stamp(at);
    if (say_state.format == DS4_SAY_JSON) {
        ds4_str_addf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"subject\":", at,
                     ds4_say_levels[level], DS4_SERVER_NAME);
        add_string(out, subject, strlen(subject));
        add_members(out, text);
        ds4_str_add_char(out, '}');
    } else if (say_state.journal) {
        ds4_str_addf(out, "<%c>%s %s", priorities[level], subject, text);
    } else {
        ds4_str_addf(out, "%s %s %s: %s %s", at, ds4_say_levels[level], DS4_SERVER_NAME, subject,
                     text);
    }
    ds4_str_add_char(out, '\n');
}

/* The line goes out in one write, so that threads do not mix. */
static void say(ds4_log_level level, const char *subject, const char *text)
{
    ds4_str clean = { 0 }, line = { 0 };

    if (level > say_state.most) return;
    ds4_text_clean((ds4_slice){ text, strlen(text) }, TEXT_BYTES, &clean);
    add_line(&line, level, subject, ds4_str_text(&clean));
    if (line.failed || write(STDERR_FILENO, line.data, line.n_bytes) < 0) {
        /* nowhere left to say so */
    }
    ds4_str_clear(&line);
    ds4_str_clear(&clean);
}

static void library_line(void *ctx, ds4_log_level level, const char *subject, const char *text)
{
    (void)ctx;
    say(level, subject, text);
}

/* Put the lines that all programs print, at their start and end, into the log's form. */
static void app_line(const char *text)
{
    say(DS4_LOG_INFO, "program", text);
}

void ds4_say_as(ds4_say_format format, ds4_log_level most)
{
    say_state.format = format;
    say_state.most = most;
    say_state.journal = is_journal();
    ds4_log_to(library_line, NULL, most);
    if (format == DS4_SAY_JSON || say_state.journal) ds4_app_say_with(app_line);
}

void ds4_server_log(ds4_log_level level, const char *subject, const char *fmt, ...)
{
    char    text[TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    say(level, subject, text);
}

void ds4_server_say(const char *subject, const char *fmt, ...)
{
    char    text[TEXT_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    say(DS4_LOG_INFO, subject, text);
}

void ds4_server_note(void *ctx, const char *subject, const char *text)
{
    (void)ctx;
    say(DS4_LOG_INFO, subject, text);
}
