/* http.h - an HTTP/1.1 server as the rest of the program sees it.
 *
 * One thread for each connection. The handler runs on it, may block, and either fills in a
 * whole answer or gives a source that is read until it ends. Each request, whatever becomes of
 * it, is told once at its end.
 *
 *     http.c              listens, counts connections, ends them
 *     http_conn.c         one connection: requests in turn, their bodies, their answers
 *     http_head.c         what a head says, and what is wrong with it
 *     http_wire.c         bytes of a socket, and by when */
#ifndef DS4_APP_SERVER_HTTP_H
#define DS4_APP_SERVER_HTTP_H

#include "app/server/budget.h"
#include "base/err.h"
#include "base/str.h"

typedef struct ds4_http ds4_http;
typedef struct ds4_http_call ds4_http_call;     /* one request; belongs to its thread */

typedef struct ds4_http_request {
    const char    *method, *path;       /* path without the query, percent escapes resolved */
    ds4_slice      body;
    const char    *client;              /* address, for the log */
    ds4_purse     *purse;               /* that its memory is taken from, until the answer is over */
    ds4_http_call *call;
} ds4_http_request;

/* The value of a header, NULL when absent; lent until the handler returns. */
const char *ds4_http_header(const ds4_http_request *rq, const char *name);

/* The value of a parameter of the query, NULL when absent; the same. */
const char *ds4_http_query(const ds4_http_request *rq, const char *name);

/* Add words to the line of the request in the log: key=value, parted by blanks. */
void ds4_http_note(ds4_http_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ds4_http_note_text(ds4_http_call *call, const char *key, const char *text);        /* key="text" */

typedef enum ds4_http_peer {
    DS4_HTTP_THERE,
    DS4_HTTP_HALF,              /* has closed its side: only what is sent to it can tell if it listens */
    DS4_HTTP_GONE,
} ds4_http_peer;

/* Is the client still there? Cheap; also for use while a source is read. A client that has closed
 * its side and gets no stream is sent "100 Continue" now and then, which any client passes over
 * and a connection that is gone answers with a reset. */
ds4_http_peer ds4_http_look(ds4_http_call *call);

/* Write at most max bytes to out; wait if there are none yet.
 * Returns the bytes, 0 at the end, -1 to break the connection off.                     */
typedef long ds4_http_read_fn(void *ctx, char *out, size_t max);
typedef void ds4_http_free_fn(void *ctx);

typedef struct ds4_http_answer {
    int               status;           /* 0: break the connection off */
    char              reason[160];      /* of a refusal, for the log; "": none */
    const char       *type;             /* content type; NULL: application/json */
    ds4_str           headers;          /* lines, see ds4_http_add_header() */
    ds4_str           body;             /* taken over, like the headers */
    const char       *fixed;            /* [n_fixed] instead of body: bytes that live for ever */
    size_t            n_fixed;
    ds4_http_read_fn *read;             /* instead of body */
    ds4_http_free_fn *free;             /* called once, when the source is no longer needed */
    void             *ctx;
} ds4_http_answer;

/* Control characters of the value become blanks. */
void ds4_http_add_header(ds4_http_answer *a, const char *name, const char *value);

/* Called when the head of a request is there, with an empty body. It may refuse the request (true,
 * with an answer): the body is then not read. */
typedef bool ds4_http_check_fn(void *ctx, const ds4_http_request *rq, ds4_http_answer *a);
/* Called when it is complete. */
typedef void ds4_http_handle_fn(void *ctx, const ds4_http_request *rq, ds4_http_answer *a);
/* Fills in the answer to what is no request, is too large or too many: method and path may be "". */
typedef void ds4_http_refuse_fn(void *ctx, const ds4_http_request *rq, int status, const char *message,
                                ds4_http_answer *a);

typedef struct ds4_http_outcome {
    int         status;         /* of the answer; 0: there was none */
    bool        whole;          /* it was sent to its end */
    size_t      n_received, n_sent;     /* bytes */
    uint64_t    ns;             /* from the end of the head to that of the answer */
    const char *note;           /* see ds4_http_note() */
} ds4_http_outcome;
typedef void ds4_http_done_fn(void *ctx, const ds4_http_request *rq, const ds4_http_outcome *o);

typedef struct ds4_http_options {
    const char         *host;           /* numeric address or "localhost" */
    uint32_t            port;           /* 0: any free one */
    size_t              max_body;       /* bytes */
    uint32_t            max_connections;        /* more are answered with 503 */
    uint32_t            idle_seconds;   /* a connection without a request, or a stalled one */
    uint32_t            head_seconds;   /* longest that a connection may be without a whole head */
    uint32_t            body_seconds;   /* longest that a body may take to arrive */
    ds4_budget         *budget;         /* of the requests' memory; NULL: no limit */
    ds4_http_check_fn  *check;
    ds4_http_handle_fn *handle;
    ds4_http_refuse_fn *refuse;
    ds4_http_done_fn   *done;           /* NULL: nobody wants to know */
    void               *ctx;
} ds4_http_options;

/* Returns DS4_OK; DS4_E_IO naming the address when it cannot listen. */
DS4_MUST_CHECK ds4_status ds4_http_start(const ds4_http_options *opt, ds4_http **out, ds4_err *err);
uint32_t                  ds4_http_port(const ds4_http *h);

/* From now on each answer is the last one of its connection. New ones are still taken, so that
 * the handler can say why it refuses. */
void ds4_http_drain(ds4_http *h);
bool ds4_http_idle(ds4_http *h, uint32_t wait_ms);      /* no request is at work; false: it took longer */
void ds4_http_stop(ds4_http *h);                        /* ends all of them; NULL is fine */

uint64_t ds4_http_connections(const ds4_http *h);       /* since the start */
uint64_t ds4_http_open(const ds4_http *h);              /* of these now */

/* Is the address one that only this machine can reach? */
bool ds4_http_is_loopback(const char *host);

#endif
