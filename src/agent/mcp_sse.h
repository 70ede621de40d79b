/* mcp_sse.h - server-sent events as an MCP server streams them: bytes in, events out. */
#ifndef DS4_AGENT_MCP_SSE_H
#define DS4_AGENT_MCP_SSE_H

#include "base/str.h"

#include <stdint.h>

typedef struct ds4_sse_event {
    ds4_slice data;             /* lines of data, joined by newlines */
    ds4_slice id;               /* the last one that was given on this stream, this event's included */
} ds4_sse_event;

typedef void ds4_sse_fn(void *ctx, const ds4_sse_event *event);

/* Zeroed, with max_bytes, is ready. */
typedef struct ds4_sse {
    size_t   max_bytes;         /* of an event */
    ds4_str  line, data, id;
    bool     after_cr;          /* a newline that follows belongs to the carriage return before it */
    bool     has_data, too_long;
    uint32_t retry_ms;          /* as the server last asked; 0: it did not */
} ds4_sse;

/* Feed bytes; event() is called for each event that ended. The result does not depend on how the bytes were
 * cut. Returns false from when an event was too long or memory short: the stream is of no more use. */
bool ds4_sse_add(ds4_sse *s, const char *bytes, size_t n_bytes, ds4_sse_fn *event, void *ctx);
void ds4_sse_clear(ds4_sse *s);         /* usable again; the id is forgotten */

#endif
