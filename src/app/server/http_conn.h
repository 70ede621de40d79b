/* http_conn.h - one connection of the HTTP server. */
#ifndef DS4_APP_SERVER_HTTP_CONN_H
#define DS4_APP_SERVER_HTTP_CONN_H

#include "app/server/http.h"
#include "app/server/http_wire.h"

#include <stdatomic.h>

typedef struct ds4_http_conn {
    const ds4_http_options *opt;
    const atomic_bool      *draining;   /* an answer is the last one */
    atomic_uint            *n_busy;     /* requests at work, of all connections */
    bool                    crowded;    /* one too many: refuse */
    char                    client[64];
    ds4_wire                wire;
} ds4_http_conn;

/* Answer requests until the connection ends or an answer is the last one. The socket stays open
 * and is the caller's to close. */
void ds4_http_conn_serve(ds4_http_conn *c);

#endif
