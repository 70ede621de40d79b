/* rpc_fuzz.c - any bytes as a stream of messages or of events: what comes out does not depend on the pieces
 * they came in, and is within the bounds that were set. */
#include "agent/mcp_sse.h"
#include "agent/rpc.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void answer_it(void *ctx, const ds4_rpc_message *m)
{
    ds4_str *out = ctx;

    if (m->kind == DS4_RPC_REQUEST && (!m->id || !m->method)) abort();
    if (m->kind == DS4_RPC_RESULT && !m->result) abort();
    if (m->kind == DS4_RPC_ERROR && !m->text) abort();
    ds4_rpc_add_error(out, m->id, DS4_RPC_NO_METHOD, m->method ? m->method : "none");
}

static void lines_in_steps(const char *bytes, size_t n, size_t step, ds4_str *out)
{
    ds4_rpc_lines l = { .max_bytes = MAX_LINE };
    ds4_slice     line;

    for (size_t at = 0; at < n; at += step) {
        ds4_rpc_lines_add(&l, bytes + at, n - at < step ? n - at : step);
        while (ds4_rpc_lines_next(&l, &line)) {
            if (line.n_bytes > MAX_LINE || memchr(line.data, '\n', line.n_bytes)) abort();
            ds4_str_add(out, line.data, line.n_bytes);
            ds4_str_add_char(out, '\n');
        }
        if (l.held.n_bytes > MAX_LINE + step) abort();
    }
    ds4_rpc_lines_clear(&l);
}

static void keep_event(void *ctx, const ds4_sse_event *event)
{
    if (event->data.n_bytes > MAX_LINE) abort();
    ds4_str_add(ctx, event->data.data, event->data.n_bytes);
    ds4_str_add(ctx, "|", 1);
    ds4_str_add(ctx, event->id.data, event->id.n_bytes);
    ds4_str_add(ctx, "\n", 1);
}

static void events_in_steps(const char *bytes, size_t n, size_t step, ds4_str *out)
{
    ds4_sse s = { .max_bytes = MAX_LINE };

    for (size_t at = 0; at < n; at += step) {
        if (!ds4_sse_add(&s, bytes + at, n - at < step ? n - at : step, keep_event, out)) break;
    }
    ds4_sse_clear(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static void (*const cut[])(const char *, size_t, size_t, ds4_str *) = { lines_in_steps, events_in_steps };
    const char *bytes = (const char *)data;
    ds4_str     replies = { 0 };

    for (int i = 0; i < 2; i++) {
        ds4_str whole = { 0 }, pieces = { 0 };
        cut[i](bytes, n_bytes, n_bytes + 1, &whole);
        cut[i](bytes, n_bytes, 1, &pieces);
        if (whole.n_bytes != pieces.n_bytes ||
            (whole.n_bytes && memcmp(whole.data, pieces.data, whole.n_bytes)))
            abort();
        ds4_str_clear(&whole);
        ds4_str_clear(&pieces);
    }
    const ds4_status st = ds4_rpc_each((ds4_slice){ bytes, n_bytes }, answer_it, &replies, NULL);
    if (st == DS4_OK && (replies.failed || replies.n_bytes == 0)) abort();
    ds4_str_clear(&replies);
    return 0;
}
