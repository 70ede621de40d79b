/* say.c - log lines, the trace file, random ids. */
#include "app/server/server.h"

#include "base/clock.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void stamp(char out[32])
{
    struct timespec now;
    struct tm       tm;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    const size_t n = strftime(out, 24, "%m%d %H:%M:%S", &tm);
    snprintf(out + n, 32 - n, ".%03ld", now.tv_nsec / 1000000);
}

/* The line goes out in one write, so that threads do not mix. */
static void say(const char *subject, const char *text)
{
    char line[1400], at[32];

    stamp(at);
    int n = snprintf(line, sizeof line - 1, "%s %s: %s %s", at, DS4_SERVER_NAME, subject, text);
    if (n < 0) return;
    if (n > (int)sizeof line - 2) n = (int)sizeof line - 2;
    for (int i = 0; i < n; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) line[i] = '?';
    }
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0) return; /* nowhere left to say so */
}

void ds4_server_say(const char *subject, const char *fmt, ...)
{
    char    text[1200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    say(subject, text);
}

void ds4_server_note(void *server, const char *subject, const char *text)
{
    (void)server;
    say(subject, text);
}

void ds4_server_trace(ds4_server *s, const char *id, const char *what, ds4_slice text)
{
    char at[32];

    if (!s->trace || text.n_bytes == 0) return;
    stamp(at);
    pthread_mutex_lock(&s->trace_lock);
    fprintf(s->trace, "=== %s %s %s %zu bytes\n", at, id, what, text.n_bytes);
    fwrite(text.data, 1, text.n_bytes, s->trace);
    fputc('\n', s->trace);
    fflush(s->trace);
    pthread_mutex_unlock(&s->trace_lock);
}

void ds4_random_id(const char *prefix, uint32_t n_hex, char *out, size_t n_bytes)
{
    unsigned char bytes[32] = { 0 };
    size_t        n = strlen(prefix);

    if (getentropy(bytes, sizeof bytes) != 0) {
        const uint64_t now = ds4_now_ns(); /* only uniqueness is lost a little */
        memcpy(bytes, &now, sizeof now);
    }
    snprintf(out, n_bytes, "%s", prefix);
    for (uint32_t i = 0; i < n_hex / 2 && n + 2 < n_bytes; i++, n += 2) {
        snprintf(out + n, n_bytes - n, "%02x", bytes[i % sizeof bytes]);
    }
}
