/* soak_rude.c - see soak_rude.h. */
#include "soak/soak_rude.h"

#include "soak/soak_http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 200, N_WAYS = 5, MAX_CLIENTS = 200 };

typedef struct client {
    int    fd;
    size_t sent;
} client;

struct soak_rude {
    int         port;
    unsigned    n_each, n_opened;
    pthread_t   thread;
    atomic_bool stop;
    client      list[MAX_CLIENTS];
};

static const char slow_request[] =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: 100000\r\n\r\n"
    "{\"messages\":[{\"role\":\"user\",\"content\":\"a long story, told slowly ";
static const char half_request[] = "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Len";
static const char unread_request[] =
    "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: 71\r\n\r\n"
    "{\"prompt\":\"one two three\",\"stream\":true,\"max_tokens\":400,\"temperature\":1}";

static void open_client(soak_rude *r, client *c, unsigned way)
{
    const int small = 2048;

    c->sent = 0;
    c->fd = soak_connect(r->port, 1);
    if (c->fd < 0) return;
    r->n_opened++;
    switch (way) {
    case 1: (void)soak_send(c->fd, half_request, sizeof half_request - 1); break;
    case 3:
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        (void)soak_send(c->fd, unread_request, sizeof unread_request - 1);
        break;
    case 4:
        (void)soak_send(c->fd, half_request, sizeof half_request - 1);
        shutdown(c->fd, SHUT_WR);
        break;
    default: break;
    }
}

/* A client does this now and then; the server may have had enough of it. */
static void tick(soak_rude *r, client *c, unsigned way)
{
    char    byte;
    ssize_t n = 1;

    if (c->fd < 0) {
        open_client(r, c, way);
        return;
    }
    if (way == 2) {
        const char *next = c->sent < sizeof slow_request - 1 ? slow_request + c->sent : "x";
        n = send(c->fd, next, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        c->sent++;
    } else if (way == 3) {
        n = recv(c->fd, &byte, 1, MSG_DONTWAIT);
    } else {
        n = recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        close(c->fd);
        c->fd = -1;
    }
}

static void *be_rude(void *arg)
{
    soak_rude     *r = arg;
    const unsigned n = r->n_each * N_WAYS;

    while (!atomic_load(&r->stop)) {
        for (unsigned i = 0; i < n; i++) tick(r, &r->list[i], i % N_WAYS);
        nanosleep(&(struct timespec){ .tv_nsec = TICK_MS * 1000000L }, NULL);
    }
    for (unsigned i = 0; i < n; i++) {
        if (r->list[i].fd >= 0) close(r->list[i].fd);
    }
    return NULL;
}

soak_rude *soak_rude_start(int port, unsigned n_each)
{
    soak_rude *r = calloc(1, sizeof *r);

    if (!r) return NULL;
    r->port = port;
    r->n_each = n_each < MAX_CLIENTS / N_WAYS ? n_each : MAX_CLIENTS / N_WAYS;
    for (unsigned i = 0; i < MAX_CLIENTS; i++) r->list[i].fd = -1;
    if (pthread_create(&r->thread, NULL, be_rude, r) == 0) return r;
    free(r);
    return NULL;
}

unsigned soak_rude_stop(soak_rude *r)
{
    if (!r) return 0;
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    const unsigned n = r->n_opened;
    free(r);
    return n;
}

/* ---- many in turn -------------------------------------------------------------------------------- */

static bool asks(soak_conn *c, const char *path)
{
    char  text[256];
    char *end = text;

    const int n = snprintf(text, sizeof text,
                           "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
    if (!soak_send(c->fd, text, (size_t)n)) return false;
    for (ssize_t got; end < text + sizeof text - 1; end += got) {
        got = recv(c->fd, end, (size_t)(text + sizeof text - 1 - end), 0);
        if (got <= 0) break;
    }
    *end = '\0';
    return !strncmp(text, "HTTP/1.1 200", 12);
}

unsigned soak_in_turn(int port, unsigned n)
{
    static const char *const paths[] = { "/health", "/v1/models", "/" };
    soak_conn               *c = malloc(sizeof *c);
    unsigned                 n_lost = 0;

    if (!c) return n;
    soak_conn_init(c, port);
    for (unsigned i = 0; i < n; i++) {
        c->fd = soak_connect(port, 10);
        if (c->fd < 0) {
            n_lost++;
            continue;
        }
        switch (i % 6) {
        case 0:
        case 1:
        case 2: n_lost += asks(c, paths[i % 6]) ? 0 : 1; break;
        case 4: (void)soak_send(c->fd, half_request, sizeof half_request - 1); break;
        case 5: (void)soak_send(c->fd, unread_request, sizeof unread_request - 1); break;
        default: break;
        }
        soak_conn_close(c, i % 2);
    }
    free(c);
    return n_lost;
}
