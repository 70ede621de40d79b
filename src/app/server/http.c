/* http.c - see http.h: on libmicrohttpd, one thread for each connection. */
#include "app/server/http.h"

#include "base/clock.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER_BYTES = 64 << 10, STACK_BYTES = 512 << 10, BLOCK_BYTES = 16 << 10 };

/* A connection, while it is open. */
typedef struct client {
    struct client *next, **link;
    int            fd;
    uint64_t       since_ns; /* waiting for the head of a request; 0: at work */
} client;

struct ds4_http {
    ds4_http_options   opt;
    struct MHD_Daemon *daemon;
    int                listener; /* after quiescing: ours to close; else -1 */
    atomic_ullong      n_connections; /* since the start */
    atomic_ullong      n_closed;
    pthread_mutex_t    lock; /* of the clients */
    pthread_cond_t     wake;
    client            *clients;
    bool               stop;
    pthread_t          watch;
};

struct ds4_http_call {
    ds4_http              *http;
    struct MHD_Connection *connection;
    ds4_str                body;
    bool                   too_large;
    uint64_t               begin_ns;
};

const char *ds4_http_header(const ds4_http_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->call->connection, MHD_HEADER_KIND, name);
}

const char *ds4_http_query(const ds4_http_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->call->connection, MHD_GET_ARGUMENT_KIND, name);
}

void ds4_http_add_header(ds4_http_answer *a, const char *name, const char *value)
{
    if (a->n_headers == DS4_HTTP_MAX_HEADERS) return;
    snprintf(a->header[a->n_headers].name, sizeof a->header->name, "%s", name);
    snprintf(a->header[a->n_headers].value, sizeof a->header->value, "%s", value);
    a->n_headers++;
}

/* A closed connection is readable and gives no bytes; one with a further request is
 * readable too, but gives some. */
bool ds4_http_gone(const ds4_http_call *call)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;

    if (!info) return true;
    struct pollfd p = { .fd = info->connect_fd, .events = POLLIN };
    if (poll(&p, 1, 0) <= 0) return false;
    if (p.revents & (POLLERR | POLLHUP | POLLNVAL)) return true;
    const ssize_t n = recv(p.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool ds4_http_is_loopback(const char *host)
{
    struct in_addr v4;

    if (!strcmp(host, "localhost") || !strcmp(host, "::1")) return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* ---- answering ------------------------------------------------------------------------------ */

typedef struct source {
    ds4_http_read_fn *read;
    ds4_http_free_fn *free;
    void             *ctx;
} source;

static ssize_t read_source(void *ctx, uint64_t pos, char *out, size_t max)
{
    source    *s = ctx;
    const long n = s->read(s->ctx, out, max);

    (void)pos;
    if (n > 0) return n;
    return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_source(void *ctx)
{
    source *s = ctx;
    if (s->free) s->free(s->ctx);
    free(s);
}

static struct MHD_Response *make_response(ds4_http_answer *a)
{
    if (a->read) {
        source *s = malloc(sizeof *s);
        if (!s) return NULL;
        *s = (source){ a->read, a->free, a->ctx };
        struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                                   read_source, s, free_source);
        if (!r) free(s);
        return r;
    }
    if (a->fixed) {
        return MHD_create_response_from_buffer(a->n_fixed, (void *)(uintptr_t)a->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    }
    const size_t n = a->body.n_bytes;
    char        *data = ds4_str_take(&a->body);
    if (!data)
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    return MHD_create_response_from_buffer(n, data, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, ds4_http_answer *a)
{
    struct MHD_Response *r = make_response(a);

    if (!r) {
        if (a->read && a->free) a->free(a->ctx);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                            a->type ? a->type : "application/json");
    for (uint32_t i = 0; i < a->n_headers; i++) {
        MHD_add_response_header(r, a->header[i].name, a->header[i].value);
    }
    const enum MHD_Result queued = MHD_queue_response(connection, (unsigned)a->status, r);
    MHD_destroy_response(r);
    return queued;
}

/* ---- a request ------------------------------------------------------------------------------ */

static void describe_client(struct MHD_Connection *connection, char out[64])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

    snprintf(out, 64, "-");
    if (!info || !info->client_addr) return;
    const socklen_t n = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                 : sizeof(struct sockaddr_in);
    getnameinfo(info->client_addr, n, out, 64, NULL, 0, NI_NUMERICHOST);
}

static enum MHD_Result take_body(ds4_http_call *call, const char *data, size_t *n_bytes)
{
    const ds4_http_options *opt = &call->http->opt;

    if (ds4_now_ns() - call->begin_ns > (uint64_t)opt->body_seconds * 1000000000u) return MHD_NO;
    if (call->too_large || *n_bytes > opt->max_body - call->body.n_bytes) {
        /* The rest is read and dropped, so that the client sees the answer; but not for ever. */
        call->too_large = true;
        if (call->body.n_bytes > opt->max_body) return MHD_NO;
    }
    if (!call->too_large) ds4_str_add(&call->body, data, *n_bytes);
    *n_bytes = 0;
    return call->body.failed ? MHD_NO : MHD_YES;
}

static bool declared_too_large(const ds4_http_request *rq, size_t max_body)
{
    const char *text = ds4_http_header(rq, "Content-Length");
    return text && strtoull(text, NULL, 10) > max_body;
}

/* Waiting in the handler must not count as an idle connection. */
static void set_timeout(struct MHD_Connection *connection, uint32_t seconds)
{
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)seconds);
}

/* Note when a client begins to wait for a head, or that it has sent one. */
static void set_since(ds4_http *h, struct MHD_Connection *connection, uint64_t since_ns)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    client *c = info ? info->socket_context : NULL;

    if (!c) return;
    pthread_mutex_lock(&h->lock);
    c->since_ns = since_ns;
    pthread_mutex_unlock(&h->lock);
}

static enum MHD_Result begin_call(ds4_http *h, struct MHD_Connection *connection,
                                  ds4_http_request *rq, void **state)
{
    ds4_http_call  *call = calloc(1, sizeof *call);
    ds4_http_answer a = { .status = 200 };

    if (!call) return MHD_NO;
    call->http = h;
    call->connection = connection;
    call->begin_ns = ds4_now_ns();
    *state = rq->call = call;
    set_since(h, connection, 0);
    if (h->opt.check(h->opt.ctx, rq, &a)) return send_answer(connection, &a);
    if (declared_too_large(rq, h->opt.max_body)) {
        h->opt.too_large(h->opt.ctx, rq, &a);
        return send_answer(connection, &a);
    }
    return MHD_YES;
}

/* Bases that end in a slash and paths that begin with one make two of them. A path that is too
 * long for `out` is cut: it is none of ours. */
static void tidy_path(const char *url, char *out, size_t n_out)
{
    size_t n = 0;

    for (; *url && n + 1 < n_out; url++) {
        if (*url != '/' || n == 0 || out[n - 1] != '/') out[n++] = *url;
    }
    if (n > 1 && out[n - 1] == '/') n--;
    out[n] = '\0';
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *n_upload, void **state)
{
    ds4_http        *h = ctx;
    ds4_http_call   *call = *state;
    ds4_http_request rq = { .method = method, .call = call };
    ds4_http_answer  a = { .status = 200 };

    (void)version;
    tidy_path(url, rq.path, sizeof rq.path);
    describe_client(connection, rq.client);
    if (!call) return begin_call(h, connection, &rq, state);
    if (*n_upload > 0) return take_body(call, upload, n_upload);
    rq.body = (ds4_slice){ ds4_str_text(&call->body), call->body.n_bytes };
    set_timeout(connection, 0);
    if (call->too_large) {
        h->opt.too_large(h->opt.ctx, &rq, &a);
    } else {
        h->opt.handle(h->opt.ctx, &rq, &a);
    }
    set_timeout(connection, h->opt.idle_seconds);
    if (a.status == 0) return MHD_NO;
    return send_answer(connection, &a);
}

static void end_call(void *ctx, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode why)
{
    ds4_http_call *call = *state;

    (void)why;
    if (!call) return;
    set_since(ctx, connection, ds4_now_ns());
    ds4_str_clear(&call->body);
    free(call);
    *state = NULL;
}

static void add_client(ds4_http *h, int fd, void **state)
{
    client *c = calloc(1, sizeof *c);

    if (!c) return;
    c->fd = fd;
    c->since_ns = ds4_now_ns();
    pthread_mutex_lock(&h->lock);
    c->next = h->clients;
    c->link = &h->clients;
    if (c->next) c->next->link = &c->next;
    h->clients = c;
    pthread_mutex_unlock(&h->lock);
    *state = c;
}

static void remove_client(ds4_http *h, void **state)
{
    client *c = *state;

    if (!c) return;
    pthread_mutex_lock(&h->lock);
    *c->link = c->next;
    if (c->next) c->next->link = c->link;
    pthread_mutex_unlock(&h->lock);
    free(c);
    *state = NULL;
}

static void note_connection(void *ctx, struct MHD_Connection *connection, void **state,
                            enum MHD_ConnectionNotificationCode what)
{
    ds4_http                       *h = ctx;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&h->n_connections, 1);
        if (info) add_client(h, info->connect_fd, state);
    } else {
        atomic_fetch_add(&h->n_closed, 1);
        remove_client(h, state);
    }
}

/* The library closes what is silent; a head that comes byte by byte never is. */
static void *watch(void *arg)
{
    ds4_http      *h = arg;
    const uint64_t most = (uint64_t)h->opt.head_seconds * 1000000000u;

    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        struct timespec until;
        const uint64_t  now = ds4_now_ns();
        for (const client *c = h->clients; c; c = c->next) {
            if (c->since_ns > 0 && now > c->since_ns + most) shutdown(c->fd, SHUT_RDWR);
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&h->wake, &h->lock, &until);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static void log_line(void *ctx, const char *fmt, va_list args)
{
    char text[256];

    (void)ctx;
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    ds4_log(DS4_LOG_DEBUG, "http", "%s", text);
}

static void end_watch(ds4_http *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_cond_signal(&h->wake);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->watch, NULL);
}

/* ---- life ----------------------------------------------------------------------------------- */

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
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 128) != 0) {
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

static struct MHD_Daemon *start_daemon(ds4_http *h, int fd)
{
    return MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ERROR_LOG | MHD_USE_ITC,
        0, NULL, NULL, handle, h, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->opt.max_connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)h->opt.idle_seconds, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED, end_call,
        h, MHD_OPTION_NOTIFY_CONNECTION, note_connection, h, MHD_OPTION_END);
}

ds4_status ds4_http_start(const ds4_http_options *opt, ds4_http **out, ds4_err *err)
{
    ds4_http *h = calloc(1, sizeof *h);
    int       fd = -1;

    if (!h) return ds4_fail(err, DS4_E_NOMEM, "no memory for the HTTP server");
    h->opt = *opt;
    h->listener = -1;
    ds4_status st = open_socket(opt, &fd, err);
    if (st != DS4_OK) goto no_socket;
    if (pthread_mutex_init(&h->lock, NULL) != 0) goto no_lock;
    if (pthread_cond_init(&h->wake, NULL) != 0) goto no_cond;
    if (pthread_create(&h->watch, NULL, watch, h) != 0) goto no_watch;
    h->daemon = start_daemon(h, fd);
    if (h->daemon) {
        *out = h;
        return DS4_OK;
    }
    end_watch(h);
no_watch:
    pthread_cond_destroy(&h->wake);
no_cond:
    pthread_mutex_destroy(&h->lock);
no_lock:
    st = ds4_fail(err, DS4_E_IO, "cannot start the HTTP server: %s", strerror(errno));
    close(fd);
no_socket:
    free(h);
    return st;
}

uint32_t ds4_http_port(const ds4_http *h)
{
    struct sockaddr_storage     at;
    socklen_t                   n = sizeof at;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_LISTEN_FD);

    if (!info || getsockname(info->listen_fd, (struct sockaddr *)&at, &n) != 0) return 0;
    return at.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&at)->sin6_port)
                                    : ntohs(((struct sockaddr_in *)&at)->sin_port);
}

void ds4_http_quiesce(ds4_http *h)
{
    if (h->listener < 0) h->listener = MHD_quiesce_daemon(h->daemon);
}

void ds4_http_stop(ds4_http *h)
{
    if (!h) return;
    MHD_stop_daemon(h->daemon);
    if (h->listener >= 0) close(h->listener);
    end_watch(h);
    pthread_cond_destroy(&h->wake);
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
