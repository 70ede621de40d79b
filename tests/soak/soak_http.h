/* soak_http.h - a small HTTP/1.1 client for tests: blocking sockets, one connection kept alive. */
#ifndef DS4_SOAK_HTTP_H
#define DS4_SOAK_HTTP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct soak_conn {
    int      port; /* of 127.0.0.1 */
    int      fd;   /* -1: closed */
    char     in[64 << 10];
    size_t   begin, end; /* of what was received and not yet read */
    unsigned n_opened;
} soak_conn;

/* Bytes of a body; false to leave: the connection is then closed. */
typedef bool soak_body_fn(void *ctx, const char *data, size_t n_bytes);

void soak_conn_init(soak_conn *c, int port);
void soak_conn_close(soak_conn *c, bool reset); /* reset: without a farewell */

/* Connect, with at most `seconds` for every wait; -1 on failure. */
int  soak_connect(int port, int seconds);
bool soak_send(int fd, const void *data, size_t n_bytes);

/* Post JSON (body NULL: get) and hand the answer's body to `take`. Returns the status; 0
 * when the connection broke, -1 when `take` left. *chunked says how the body came.       */
int soak_http(soak_conn *c, const char *path, const char *body, soak_body_fn *take, void *ctx,
              bool *chunked);

/* GET a path as text, "" on failure; the caller frees it. */
char *soak_get(int port, const char *path);

/* The number behind a name on /metrics; -1: none. */
double soak_metric(int port, const char *name);

double soak_now(void); /* seconds of a clock that only goes forward */

#endif
