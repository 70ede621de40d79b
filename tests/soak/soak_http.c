/* soak_http.c - see soak_http.h. */
#include "soak/soak_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

double soak_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int soak_connect(int port, int seconds)
{
    const int                on = 1;
    const struct timeval     wait = { .tv_sec = seconds };
    const struct sockaddr_in at = { .sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) == 0) return fd;
    close(fd);
    return -1;
}

bool soak_send(int fd, const void *data, size_t n_bytes)
{
    const char *p = data;

    while (n_bytes > 0) {
        const ssize_t n = send(fd, p, n_bytes, MSG_NOSIGNAL);
        if (n <= 0) return false;
        p += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

void soak_conn_init(soak_conn *c, int port)
{
    c->port = port;
    c->fd = -1;
    c->begin = c->end = 0;
    c->n_opened = 0;
}

void soak_conn_close(soak_conn *c, bool reset)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };

    if (c->fd < 0) return;
    if (reset) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(c->fd);
    c->fd = -1;
    c->begin = c->end = 0;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static bool fill(soak_conn *c)
{
    if (c->begin == c->end) c->begin = c->end = 0;
    if (c->end == sizeof c->in) {
        if (c->begin == 0) return false;
        memmove(c->in, c->in + c->begin, c->end - c->begin);
        c->end -= c->begin;
        c->begin = 0;
    }
    const ssize_t n = recv(c->fd, c->in + c->end, sizeof c->in - c->end, 0);
    if (n <= 0) return false;
    c->end += (size_t)n;
    return true;
}

static bool read_line(soak_conn *c, char *line, size_t max)
{
    for (;;) {
        char        *from = c->in + c->begin;
        const size_t have = c->end - c->begin;
        char        *end = memchr(from, '\n', have);
        if (end) {
            size_t n = (size_t)(end - from);
            c->begin += n + 1;
            if (n > 0 && from[n - 1] == '\r') n--;
            if (n >= max) return false;
            memcpy(line, from, n);
            line[n] = '\0';
            return true;
        }
        if (!fill(c)) return false;
    }
}

/* Hand on n bytes: 1, or 0 when the connection broke, -1 when `take` left. */
static int pass(soak_conn *c, size_t n, soak_body_fn *take, void *ctx)
{
    while (n > 0) {
        if (c->begin == c->end && !fill(c)) return 0;
        const size_t have = c->end - c->begin, part = have < n ? have : n;
        if (!take(ctx, c->in + c->begin, part)) return -1;
        c->begin += part;
        n -= part;
    }
    return 1;
}

static int pass_chunks(soak_conn *c, soak_body_fn *take, void *ctx)
{
    char line[256];

    for (;;) {
        if (!read_line(c, line, sizeof line)) return 0;
        const size_t n = strtoull(line, NULL, 16);
        if (n == 0) return read_line(c, line, sizeof line);
        const int rc = pass(c, n, take, ctx);
        if (rc != 1) return rc;
        if (!read_line(c, line, sizeof line)) return 0;
    }
}

typedef struct head {
    int    status;
    size_t length;
    bool   chunked, closes;
} head;

static bool read_head(soak_conn *c, head *h)
{
    char line[4096];

    *h = (head){ 0 };
    if (!read_line(c, line, sizeof line) || sscanf(line, "HTTP/1.%*d %d", &h->status) != 1)
        return false;
    while (read_line(c, line, sizeof line)) {
        if (!line[0]) return true;
        if (!strncasecmp(line, "content-length:", 15)) h->length = strtoull(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding: chunked", 26)) h->chunked = true;
        if (!strncasecmp(line, "connection: close", 17)) h->closes = true;
    }
    return false;
}

static bool send_request(soak_conn *c, const char *path, const char *body)
{
    char         text[512];
    const size_t n_body = body ? strlen(body) : 0;
    const int    n = snprintf(text, sizeof text,
                              "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                           body ? "POST" : "GET", path, c->port, n_body);

    return soak_send(c->fd, text, (size_t)n) && (n_body == 0 || soak_send(c->fd, body, n_body));
}

/* A kept connection may have been closed by the server meanwhile: then once more. */
static bool send_and_read_head(soak_conn *c, const char *path, const char *body, head *h)
{
    for (int again = 0; again < 2; again++) {
        const bool fresh = c->fd < 0;
        if (fresh) {
            c->fd = soak_connect(c->port, 120);
            if (c->fd < 0) return false;
            c->n_opened++;
        }
        if (send_request(c, path, body) && read_head(c, h)) return true;
        soak_conn_close(c, false);
        if (fresh) return false;
    }
    return false;
}

int soak_http(soak_conn *c, const char *path, const char *body, soak_body_fn *take, void *ctx,
              bool *chunked)
{
    head h;

    if (!send_and_read_head(c, path, body, &h)) return 0;
    *chunked = h.chunked;
    const int rc = h.chunked ? pass_chunks(c, take, ctx) : pass(c, h.length, take, ctx);
    if (rc != 1) {
        soak_conn_close(c, rc < 0);
        return rc;
    }
    if (h.closes) soak_conn_close(c, false);
    return h.status;
}

/* ---- small questions ---------------------------------------------------------------------------- */

typedef struct text {
    char  *data;
    size_t n_bytes;
} text;

static bool append(void *ctx, const char *data, size_t n_bytes)
{
    text *t = ctx;
    char *grown = realloc(t->data, t->n_bytes + n_bytes + 1);

    if (!grown) return false;
    memcpy(grown + t->n_bytes, data, n_bytes);
    t->data = grown;
    t->n_bytes += n_bytes;
    grown[t->n_bytes] = '\0';
    return true;
}

char *soak_get(int port, const char *path)
{
    soak_conn *c = malloc(sizeof *c);
    text       t = { 0 };
    bool       chunked;

    if (c) {
        soak_conn_init(c, port);
        (void)soak_http(c, path, NULL, append, &t, &chunked);
        soak_conn_close(c, false);
        free(c);
    }
    return t.data ? t.data : strdup("");
}

double soak_metric(int port, const char *name)
{
    char  *page = soak_get(port, "/metrics");
    char   line[128];
    double value = -1;

    snprintf(line, sizeof line, "\nds4_%s ", name);
    const char *at = page ? strstr(page, line) : NULL;
    if (at) value = strtod(at + strlen(line), NULL);
    free(page);
    return value;
}
