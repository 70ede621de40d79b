/* http.c - see http.h: listening, and the connections that there are. */
#include "app/server/http_conn.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 512, STACK_BYTES = 512 << 10, SPARE_CONNECTIONS = 16 };

/* A connection, while it is open. */
typedef struct client {
    struct client *next, **link;
    ds4_http      *http;
    ds4_http_conn  conn;
} client;

struct ds4_http {
    ds4_http_options opt;
    int              listener, wake[2]; /* a byte in the pipe ends the thread that listens */
    pthread_t        thread;
    pthread_attr_t   attr; /* of the connections' threads */
    pthread_mutex_t  lock; /* of the clients */
    client          *clients;
    atomic_bool      draining;
    atomic_uint      n_busy;
    atomic_ullong    n_connections, n_closed; /* since the start */
};

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* ---- connections ------------------------------------------------------------------------------ */

static void add_client(client *c)
{
    ds4_http *h = c->http;

    pthread_mutex_lock(&h->lock);
    c->next = h->clients;
    c->link = &h->clients;
    if (c->next) c->next->link = &c->next;
    h->clients = c;
    pthread_mutex_unlock(&h->lock);
    atomic_fetch_add(&h->n_connections, 1);
}

/* The socket is closed under the lock: ds4_http_stop() ends those in the list by their number. The
 * count is the last use of the server, which may be gone behind it. */
static void remove_client(client *c)
{
    ds4_http *h = c->http;

    pthread_mutex_lock(&h->lock);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    close(c->conn.wire.fd);
    free(c);
    atomic_fetch_add(&h->n_closed, 1);
    pthread_mutex_unlock(&h->lock);
}

static void *serve(void *arg)
{
    client *c = arg;

#ifdef __linux__
    pthread_setname_np(pthread_self(), "http");
#endif
    ds4_http_conn_serve(&c->conn);
    remove_client(c);
    return NULL;
}

static void begin_client(ds4_http *h, int fd, const struct sockaddr *from, socklen_t n_from)
{
    const int      on = 1;
    client        *c = calloc(1, sizeof *c);
    pthread_t      thread;
    const uint64_t n_open = ds4_http_open(h);

    if (!c || n_open >= (uint64_t)h->opt.max_connections + SPARE_CONNECTIONS) {
        close(fd);
        free(c);
        return;
    }
    c->http = h;
    c->conn = (ds4_http_conn){ .opt = &h->opt,
                               .draining = &h->draining,
                               .n_busy = &h->n_busy,
                               .crowded = n_open >= h->opt.max_connections,
                               .client = "-",
                               .wire = { .fd = fd } };
    getnameinfo(from, n_from, c->conn.client, sizeof c->conn.client, NULL, 0, NI_NUMERICHOST);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    add_client(c);
    if (pthread_create(&thread, &h->attr, serve, c) != 0) remove_client(c);
}

/* A lack of descriptors or memory, which keeps connections out, passes when another one ends. */
static void take_client(ds4_http *h)
{
    struct sockaddr_storage from;
    socklen_t               n_from = sizeof from;
    const int               fd = accept(h->listener, (struct sockaddr *)&from, &n_from);

    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        begin_client(h, fd, (struct sockaddr *)&from, n_from);
        return;
    }
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
    ds4_log(DS4_LOG_WARN, "http", "no connection taken: %s", strerror(errno));
    pause_ms(100);
}

static void *take_clients(void *arg)
{
    ds4_http     *h = arg;
    struct pollfd p[2] = { { .fd = h->listener, .events = POLLIN },
                           { .fd = h->wake[0], .events = POLLIN } };

    for (;;) {
        if (poll(p, 2, -1) < 0 && errno != EINTR) return NULL;
        if (p[1].revents) return NULL;
        if (p[0].revents) take_client(h);
    }
}

/* ---- life ------------------------------------------------------------------------------------- */

static ds4_status open_socket(const ds4_http_options *opt, int *out, ds4_err *err)
{
    struct addrinfo  want = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char             port[16];
    const int        on = 1;
    int              fd = -1;

    snprintf(port, sizeof port, "%u", opt->port);
    if (!strcmp(opt->host, "localhost"))
        want.ai_family = AF_INET;
    else
        want.ai_flags |= AI_NUMERICHOST;
    const int rc = getaddrinfo(opt->host, port, &want, &found);
    if (rc != 0) return ds4_fail(err, DS4_E_ARG, "--host %s: %s", opt->host, gai_strerror(rc));
    fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        const ds4_status st = ds4_fail(err, DS4_E_IO, "cannot listen on %s port %u: %s", opt->host,
                                       opt->port, strerror(errno));
        if (fd >= 0) close(fd);
        freeaddrinfo(found);
        return st;
    }
    freeaddrinfo(found);
    *out = fd;
    return DS4_OK;
}

ds4_status ds4_http_start(const ds4_http_options *opt, ds4_http **out, ds4_err *err)
{
    ds4_http *h = calloc(1, sizeof *h);

    if (!h) return ds4_fail(err, DS4_E_NOMEM, "no memory for the HTTP server");
    h->opt = *opt;
    ds4_status st = open_socket(opt, &h->listener, err);
    if (st != DS4_OK) goto no_socket;
    if (pipe(h->wake) != 0) goto no_pipe;
    if (pthread_mutex_init(&h->lock, NULL) != 0) goto no_lock;
    if (pthread_attr_init(&h->attr) != 0) goto no_attr;
    pthread_attr_setdetachstate(&h->attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&h->attr, STACK_BYTES);
    if (pthread_create(&h->thread, NULL, take_clients, h) == 0) {
        *out = h;
        return DS4_OK;
    }
    pthread_attr_destroy(&h->attr);
no_attr:
    pthread_mutex_destroy(&h->lock);
no_lock:
    close(h->wake[0]);
    close(h->wake[1]);
no_pipe:
    close(h->listener);
    st = ds4_fail(err, DS4_E_IO, "cannot start the HTTP server: %s", strerror(errno));
no_socket:
    free(h);
    return st;
}

uint32_t ds4_http_port(const ds4_http *h)
{
    struct sockaddr_storage at;
    socklen_t               n = sizeof at;

    if (getsockname(h->listener, (struct sockaddr *)&at, &n) != 0) return 0;
    return at.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&at)->sin6_port)
                                    : ntohs(((struct sockaddr_in *)&at)->sin_port);
}

void ds4_http_drain(ds4_http *h)
{
    atomic_store(&h->draining, true);
}

bool ds4_http_idle(ds4_http *h, uint32_t wait_ms)
{
    const uint64_t end_ns = ds4_now_ns() + (uint64_t)wait_ms * 1000000;

    while (atomic_load(&h->n_busy) > 0) {
        if (ds4_now_ns() >= end_ns) return false;
        pause_ms(10);
    }
    return true;
}

/* The threads of the connections end when their sockets do; the last one is waited for. */
void ds4_http_stop(ds4_http *h)
{
    if (!h) return;
    if (write(h->wake[1], "", 1) != 1)
        ds4_log(DS4_LOG_WARN, "http", "the end waits for a connection");
    pthread_join(h->thread, NULL);
    close(h->listener);
    pthread_mutex_lock(&h->lock);
    for (const client *c = h->clients; c; c = c->next) shutdown(c->conn.wire.fd, SHUT_RDWR);
    pthread_mutex_unlock(&h->lock);
    while (ds4_http_open(h) > 0) pause_ms(5);
    pthread_mutex_lock(&h->lock); /* the last one has left it */
    pthread_mutex_unlock(&h->lock);
    close(h->wake[0]);
    close(h->wake[1]);
    pthread_attr_destroy(&h->attr);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

uint64_t ds4_http_connections(const ds4_http *h)
{
    return atomic_load(&h->n_connections);
}

uint64_t ds4_http_open(const ds4_http *h)
{
    const uint64_t n_closed = atomic_load(&h->n_closed);
    return atomic_load(&h->n_connections) - n_closed;
}

bool ds4_http_is_loopback(const char *host)
{
    struct in_addr  v4;
    struct in6_addr v6;

    if (!strcasecmp(host, "localhost")) return true;
    if (inet_pton(AF_INET6, host, &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}
