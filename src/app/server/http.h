/* http.h - an HTTP/1.1 server as the rest of the program sees it; http.c alone knows the
 * library behind it.
 *
 * One thread for each connection. The handler runs on it, may block, and either fills in a
 * whole answer or gives a source that is read until it ends. */
#ifndef DS4_APP_SERVER_HTTP_H
#define DS4_APP_SERVER_HTTP_H

#include "base/err.h"
#include "base/str.h"

typedef struct ds4_http ds4_http;
typedef struct ds4_http_call ds4_http_call;     /* one request; belongs to its thread */

typedef struct ds4_http_request {
    const char    *method;
    char           path[512];           /* without the query, percent escapes resolved, one slash where
                                           several were sent and none at its end */
    ds4_slice      body;
    char           client[64];          /* address, for the log */
    ds4_http_call *call;
} ds4_http_request;

/* The value of a header, NULL when absent; lent until the handler returns. */
const char *ds4_http_header(const ds4_http_request *rq, const char *name);

/* The value of a parameter of the query, NULL when absent; the same. */
const char *ds4_http_query(const ds4_http_request *rq, const char *name);

/* The client has closed the connection. Cheap; also for use while a source is read. */
bool ds4_http_gone(const ds4_http_call *call);

/* Write at most max bytes to out; wait if there are none yet.
 * Returns the bytes, 0 at the end, -1 to break the connection off.                     */
typedef long ds4_http_read_fn(void *ctx, char *out, size_t max);
typedef void ds4_http_free_fn(void *ctx);

enum { DS4_HTTP_MAX_HEADERS = 12 };

typedef struct ds4_http_answer {
    int               status;
    const char       *type;             /* content type; NULL: application/json */
    ds4_str           body;             /* taken over */
    const char       *fixed;            /* [n_fixed] instead of body: bytes that live for ever */
    size_t            n_fixed;
    ds4_http_read_fn *read;             /* instead of body */
    ds4_http_free_fn *free;             /* called once, when the source is no longer needed */
    void             *ctx;
    struct { char name[40], value[320]; } header[DS4_HTTP_MAX_HEADERS];
    uint32_t          n_headers;
} ds4_http_answer;

void ds4_http_add_header(ds4_http_answer *a, const char *name, const char *value);

/* Called twice for a request: when its headers are there, with an empty body, and when it
 * is complete. The first call may refuse it (true, with an answer): the body is then not
 * read. */
typedef bool ds4_http_check_fn(void *ctx, const ds4_http_request *rq, ds4_http_answer *a);
typedef void ds4_http_handle_fn(void *ctx, const ds4_http_request *rq, ds4_http_answer *a);

typedef struct ds4_http_options {
    const char         *host;           /* numeric address or "localhost" */
    uint32_t            port;           /* 0: any free one */
    size_t              max_body;       /* bytes */
    uint32_t            max_connections;
    uint32_t            idle_seconds;   /* a connection without a request, or a stalled one */
    uint32_t            head_seconds;   /* longest that a connection may be without a whole head */
    uint32_t            body_seconds;   /* longest that a body may take to arrive */
    ds4_http_check_fn  *check;
    ds4_http_handle_fn *handle;
    ds4_http_handle_fn *too_large;      /* fills in the answer for a body above max_body */
    void               *ctx;
} ds4_http_options;

/* Returns DS4_OK; DS4_E_IO naming the address when it cannot listen. */
DS4_MUST_CHECK ds4_status ds4_http_start(const ds4_http_options *opt, ds4_http **out, ds4_err *err);
uint32_t                  ds4_http_port(const ds4_http *h);
void                      ds4_http_quiesce(ds4_http *h);        /* take no more connections */
void                      ds4_http_stop(ds4_http *h);           /* ends all of them; NULL is fine */
uint64_t                  ds4_http_connections(const ds4_http *h);      /* since the start */
uint64_t                  ds4_http_open(const ds4_http *h);             /* of these now */

/* Is the address one that only this machine can reach? */
bool ds4_http_is_loopback(const char *host);

#endif
