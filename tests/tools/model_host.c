/* model_host.c - a server of model files for the tests of download_model.sh, with faults to order.
 *
 *   model_host FILE SIZE SHA256      prints its port, serves until it is killed
 *
 * The first part of a request's path is the fault: /FAULT/OWNER/REPO/resolve/REV/NAME answers as
 * the hub does, with a redirection to http://localhost:PORT/store-FAULT, which sends the bytes. Each
 * request is a line on standard error: method, path, "token" when there was one, and the range. */
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MAX_HEAD = 16384, CUT_BYTES = 700000 };

typedef struct host {
    char       *data;
    long        n_bytes;
    const char *size, *digest;
    int         port;
    int         n_busy;                 /* answers 429 given so far */
    int         n_sent;                 /* answers of bytes given so far */
} host;

typedef struct request {
    char method[8], path[2048];
    bool head, has_token;
    long from;                          /* of a range; -1: none */
} request;

static bool read_head(int fd, request *r)
{
    char   text[MAX_HEAD + 1];
    size_t n = 0;

    while (n < MAX_HEAD) {
        const ssize_t got = read(fd, text + n, MAX_HEAD - n);
        if (got <= 0) return false;
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "\r\n\r\n")) break;
    }
    if (sscanf(text, "%7s %2047s", r->method, r->path) != 2) return false;
    const char *range = strcasestr(text, "\r\nRange: bytes=");
    r->from = range ? atol(range + strlen("\r\nRange: bytes=")) : -1;
    r->has_token = strcasestr(text, "\r\nAuthorization: Bearer ") != NULL;
    r->head = strcmp(r->method, "HEAD") == 0;
    fprintf(stderr, "%s %s%s", r->method, r->path, r->has_token ? " token" : "");
    if (r->from >= 0) fprintf(stderr, " from %ld", r->from);
    fprintf(stderr, "\n");
    return true;
}

static bool is(const request *r, const char *fault)
{
    const size_t n = strlen(fault);
    return strncmp(r->path + 1, fault, n) == 0 && (r->path[1 + n] == '/' || r->path[1 + n] == '\0');
}

static void send_all(int fd, const char *data, long n_bytes)
{
    while (n_bytes > 0) {
        const ssize_t n = write(fd, data, (size_t)n_bytes);
        if (n <= 0) return;
        data += n;
        n_bytes -= n;
    }
}

static void answer(int fd, const char *status, const char *headers, const char *body)
{
    char text[4096];
    const int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\n"
                           "Content-Length: %zu\r\n%s\r\n%s", status, strlen(body), headers, body);
    send_all(fd, text, n);
}

static const char page[] = "<html><head><title>Please sign in</title></head></html>";

/* The bytes, as much of the truth as the fault leaves. */
static void store(host *h, int fd, const request *r)
{
    const bool ignores_range = is(r, "store-norange");
    long       from = r->from > 0 && !ignores_range ? r->from : 0;
    char       text[512];

    if (is(r, "store-html")) {
        answer(fd, "200 OK", "Content-Type: text/html\r\n", page);
        return;
    }
    if (from >= h->n_bytes) {
        answer(fd, "416 Range Not Satisfiable", "", "");
        return;
    }
    const bool cuts = is(r, "store-cuts") || (is(r, "store-norange") && h->n_sent == 0);
    const bool none = is(r, "store-stuck") && h->n_sent > 0;
    long       n = h->n_bytes - from;
    if (cuts && n > CUT_BYTES) n = CUT_BYTES;
    if (is(r, "store-stuck")) n = none ? 0 : n / 2;
    h->n_sent++;
    const int n_text = is(r, "store-long")
        ? snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        : snprintf(text, sizeof text, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %ld\r\n"
                   "Content-Range: bytes %ld-%ld/%ld\r\n\r\n", from > 0 ? "206 Partial Content" : "200 OK",
                   h->n_bytes - from, from, h->n_bytes - 1, h->n_bytes);
    send_all(fd, text, n_text);
    if (r->head) return;
    send_all(fd, h->data + from, n);
    for (int i = 0; is(r, "store-long") && i < 3; i++) send_all(fd, h->data, h->n_bytes);
}

static void hub(host *h, int fd, const request *r)
{
    char        headers[1024];
    char        fault[64] = "";
    const char *other = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const char *digest = is(r, "other") ? other : h->digest;

    sscanf(r->path, "/%63[^/]", fault);
    if (is(r, "401")) answer(fd, "401 Unauthorized", "", "");
    else if (is(r, "gated") && !r->has_token) answer(fd, "401 Unauthorized", "", "");
    else if (is(r, "403")) answer(fd, "403 Forbidden", "", "");
    else if (is(r, "404")) answer(fd, "404 Not Found", "", "");
    else if (is(r, "500")) answer(fd, "500 Internal Server Error", "", "");
    else if (is(r, "page")) answer(fd, "200 OK", "Content-Type: text/html\r\n", r->head ? "" : page);
    else if (is(r, "busy") && h->n_busy++ < 2) answer(fd, "429 Too Many Requests", "Retry-After: 1\r\n", "");
    else if (is(r, "nowhere")) answer(fd, "302 Found", "Location: gopher://x\r\n", "");
    else if (is(r, "direct")) store(h, fd, r);
    else {
        snprintf(headers, sizeof headers, "X-Linked-Size: %s\r\nX-Linked-Etag: \"%s\"\r\n"
                 "Location: http://localhost:%d/store-%s\r\n", is(r, "size") ? "77" : h->size,
                 is(r, "silent") ? "" : digest, h->port, fault);
        answer(fd, "302 Found", headers, "");
    }
}

static bool load(host *h, const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file) return false;
    fseek(file, 0, SEEK_END);
    h->n_bytes = ftell(file);
    rewind(file);
    h->data = malloc((size_t)h->n_bytes);
    const bool ok = h->data && fread(h->data, 1, (size_t)h->n_bytes, file) == (size_t)h->n_bytes;
    fclose(file);
    return ok;
}

int main(int argc, char **argv)
{
    host               h = { 0 };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          n = sizeof at;
    const int          fd = socket(AF_INET, SOCK_STREAM, 0);

    if (argc != 4 || !load(&h, argv[1]) || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0
        || listen(fd, 16) != 0 || getsockname(fd, (struct sockaddr *)&at, &n) != 0) {
        fprintf(stderr, "model_host FILE SIZE SHA256\n");
        return 1;
    }
    h.size = argv[2];
    h.digest = argv[3];
    h.port = ntohs(at.sin_port);
    signal(SIGPIPE, SIG_IGN);
    alarm(600);                         /* never outlives its test by much */
    printf("%d\n", h.port);
    fclose(stdout);
    for (;;) {
        const int            client = accept(fd, NULL, NULL);
        const struct timeval limit = { .tv_sec = 10 };
        request              r = { .from = -1 };
        if (client < 0) continue;
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (read_head(client, &r)) {
            if (strncmp(r.path, "/store-", 7) == 0) store(&h, client, &r);
            else hub(&h, client, &r);
        }
        shutdown(client, SHUT_WR);
        close(client);
    }
}
