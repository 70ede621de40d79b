/* http_head.h - the head of an HTTP/1.x request: where it ends, what it says, what is wrong with it.
 *
 * The reader takes what RFC 9110 and 9112 call a request and nothing beside it. Whatever a proxy
 * in front may read in another way than we do (two lengths, bare line feeds, folded lines, a
 * blank before a colon, codings other than chunked) is refused, so that no two of us disagree
 * where a request ends. */
#ifndef DS4_APP_SERVER_HTTP_HEAD_H
#define DS4_APP_SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DS4_HTTP_MAX_FIELDS = 100, DS4_HTTP_MAX_PARAMS = 32 };

typedef struct ds4_http_field {
    const char *name, *value;   /* value without blanks around it */
} ds4_http_field;

/* Texts lie in the head's own bytes and end with a zero byte. */
typedef struct ds4_http_head {
    const char    *method;
    const char    *path;        /* without the query, percent escapes resolved */
    ds4_http_field param[DS4_HTTP_MAX_PARAMS];  /* [n_params] of the query; more are passed over */
    uint32_t       n_params;
    uint32_t       minor;       /* of HTTP/1.minor */
    ds4_http_field field[DS4_HTTP_MAX_FIELDS];  /* [n_fields] in their order */
    uint32_t       n_fields;
    bool           chunked;     /* the body comes in chunks; else it has n_body bytes */
    uint64_t       n_body;
    bool           keep;        /* the connection may serve another request */
    bool           expects;     /* the client waits for "100 Continue" */
} ds4_http_head;

/* The fault of a head: the status of the answer, and a sentence. */
typedef struct ds4_http_fault {
    int         status;
    const char *message;
} ds4_http_fault;

/* Look for the end of a head.
 *
 *   bytes   [n] what has arrived; the first *seen of them were looked at before, and have no end
 *
 * Returns the length of the head with its empty line; 0 when that has not come yet. A line that
 * does not end with CR LF is a fault at once: its head would never end. */
size_t ds4_http_head_end(const char *bytes, size_t n, size_t *seen, ds4_http_fault *fault);

/* Read a head of n bytes, as ds4_http_head_end() measured it, which begins with no empty line; its
 * bytes are changed. False with
 * a fault when it is refused; method and path are then what was read of them, or "". */
bool ds4_http_head_read(char *bytes, size_t n, ds4_http_head *head, ds4_http_fault *fault);

/* The value of a field, in any case of its name; NULL when there is none. */
const char *ds4_http_head_get(const ds4_http_head *head, const char *name);

#endif
