/* rpc.h - JSON-RPC 2.0 over lines of text: messages of MCP servers and of editors, read and written.
 *
 * Peers may be hostile: a line has a length, a text has a depth (DS4_PYJSON_MAX_DEPTH), a batch has a
 * number, and damaged UTF-8 and halves of surrogate pairs become U+FFFD before anybody looks at them. */
#ifndef DS4_AGENT_RPC_H
#define DS4_AGENT_RPC_H

#include "base/err.h"
#include "base/str.h"

#include <jansson.h>

enum {
    DS4_RPC_MAX_BATCH        = 256,
    /* JSON-RPC's own codes. */
    DS4_RPC_BAD_JSON         = -32700,
    DS4_RPC_BAD_REQUEST      = -32600,
    DS4_RPC_NO_METHOD        = -32601,
    DS4_RPC_BAD_PARAMS       = -32602,
    DS4_RPC_INTERNAL         = -32603,
};

typedef enum ds4_rpc_kind {
    DS4_RPC_REQUEST,            /* id, method, params */
    DS4_RPC_NOTIFICATION,       /* method, params */
    DS4_RPC_RESULT,             /* id, result */
    DS4_RPC_ERROR,              /* id (may be null), code, text */
    DS4_RPC_WRONG,              /* none of these; id, if it has one */
} ds4_rpc_kind;

/* Everything is lent by the tree that was read. */
typedef struct ds4_rpc_message {
    ds4_rpc_kind  kind;
    const json_t *id;           /* a string, a number or null; NULL where there is none */
    const char   *method;
    const json_t *params;       /* an object or an array; NULL for none */
    const json_t *result;       /* any value */
    int64_t       code;
    const char   *text;         /* of an error; "" for none */
} ds4_rpc_message;

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Parse JSON from outside. With an integer beyond 64 bits all integers become reals.
 *
 *   out   receives a new reference
 *
 * Returns DS4_OK; DS4_E_FORMAT; DS4_E_LIMIT when nested too deeply; DS4_E_NOMEM.       */
DS4_MUST_CHECK ds4_status ds4_rpc_parse(ds4_slice text, json_t **out, ds4_err *err);

typedef void ds4_rpc_each_fn(void *ctx, const ds4_rpc_message *message);

/* Call each() for the message of a text, or for those of a batch in their order.
 *
 * Returns DS4_OK; as ds4_rpc_parse(); DS4_E_FORMAT for an empty batch; DS4_E_LIMIT for a large one. */
DS4_MUST_CHECK ds4_status ds4_rpc_each(ds4_slice text, ds4_rpc_each_fn *each, void *ctx, ds4_err *err);

/* Is the id the integer n, as we number requests? */
bool ds4_rpc_id_is(const json_t *id, uint64_t n);

/* Text members of an object; "" when there is none or it is no text. Lent by the object. */
const char *ds4_rpc_text(const json_t *object, const char *name);
ds4_slice   ds4_rpc_slice(const json_t *object, const char *name);      /* may hold zero bytes */

/* ---- lines ----------------------------------------------------------------------------------- */

/* Cuts a stream into lines. Zeroed, with max_bytes, is ready. */
typedef struct ds4_rpc_lines {
    size_t  max_bytes;          /* of a line; longer ones are dropped */
    ds4_str held;
    size_t  at;                 /* where the next line begins in held */
    size_t  seen;               /* held has no newline before it */
    bool    dropping;           /* inside a line that is too long */
    bool    dropped;            /* set when one was; the caller clears it */
} ds4_rpc_lines;

void ds4_rpc_lines_add(ds4_rpc_lines *l, const char *data, size_t n_bytes);
/* The next whole line that is not blank, without its end; lent until the next add. False: none yet. */
bool ds4_rpc_lines_next(ds4_rpc_lines *l, ds4_slice *line);
void ds4_rpc_lines_clear(ds4_rpc_lines *l);

/* ---- writing --------------------------------------------------------------------------------- */

/* A JSON string of any bytes; damaged UTF-8 becomes U+FFFD. NULL only without memory. */
json_t *ds4_rpc_string(ds4_slice text);

/* Append one message as a line. They take the reference of params or result, which may be NULL; without
 * memory out->failed is set. */
void ds4_rpc_add_request(ds4_str *out, uint64_t id, const char *method, json_t *params);
void ds4_rpc_add_notification(ds4_str *out, const char *method, json_t *params);
void ds4_rpc_add_result(ds4_str *out, const json_t *id, json_t *result);
void ds4_rpc_add_error(ds4_str *out, const json_t *id, int code, const char *text);

#endif
