/* mcp_sse.c - see mcp_sse.h. The format is that of the HTML standard, section 9.2.6. */
#include "agent/mcp_sse.h"

#include <string.h>

enum { MAX_ID = 1024, MAX_RETRY_MS = 3600000 };

static void end_event(ds4_sse *s, ds4_sse_fn *event, void *ctx)
{
    if (s->has_data) {
        const ds4_sse_event e = { .data = { ds4_str_text(&s->data), s->data.n_bytes },
                                  .id = { ds4_str_text(&s->id), s->id.n_bytes } };
        event(ctx, &e);
    }
    ds4_str_truncate(&s->data, 0);
    s->has_data = false;
}

static void set_retry(ds4_sse *s, const char *value, size_t n)
{
    uint32_t ms = 0;

    if (n == 0) return;
    for (size_t i = 0; i < n; i++) {
        if (value[i] < '0' || value[i] > '9') return;
        ms = ms > MAX_RETRY_MS ? ms : ms * 10 + (uint32_t)(value[i] - '0');
    }
    s->retry_ms = ms > MAX_RETRY_MS ? MAX_RETRY_MS : ms;
}

static void end_line(ds4_sse *s, ds4_sse_fn *event, void *ctx)
{
    const char  *line = ds4_str_text(&s->line);
    const size_t n = s->line.n_bytes;
    const char  *colon = n ? memchr(line, ':', n) : NULL;
    const size_t n_name = colon ? (size_t)(colon - line) : n;
    size_t       at = colon ? n_name + 1 : n;

    if (at < n && line[at] == ' ') at++;
    const char  *value = line + at;
    const size_t n_value = n - at;
    if (n == 0) {
        end_event(s, event, ctx);
    } else if (n_name == 4 && memcmp(line, "data", 4) == 0) {
        if (s->has_data) ds4_str_add_char(&s->data, '\n');
        ds4_str_add(&s->data, value, n_value);
        s->has_data = true;
        if (s->data.n_bytes > s->max_bytes) s->too_long = true;
    } else if (n_name == 2 && memcmp(line, "id", 2) == 0) {
        if (n_value <= MAX_ID && !memchr(value, '\0', n_value)) {
            ds4_str_truncate(&s->id, 0);
            ds4_str_add(&s->id, value, n_value);
        }
    } else if (n_name == 5 && memcmp(line, "retry", 5) == 0) {
        set_retry(s, value, n_value);
    }
    ds4_str_truncate(&s->line, 0);
}

bool ds4_sse_add(ds4_sse *s, const char *bytes, size_t n_bytes, ds4_sse_fn *event, void *ctx)
{
    for (size_t i = 0; i < n_bytes && !s->too_long;) {
        if (s->after_cr && bytes[i] == '\n') i++;
        s->after_cr = false;
        size_t end = i;
        while (end < n_bytes && bytes[end] != '\n' && bytes[end] != '\r') end++;
        ds4_str_add(&s->line, bytes + i, end - i);
        if (s->line.n_bytes > s->max_bytes) s->too_long = true;
        if (s->line.failed || s->data.failed || s->id.failed) s->too_long = true;
        if (end < n_bytes && !s->too_long) {
            s->after_cr = bytes[end] == '\r';
            end_line(s, event, ctx);
        }
        i = end + 1;
    }
    return !s->too_long;
}

void ds4_sse_clear(ds4_sse *s)
{
    ds4_str_clear(&s->line);
    ds4_str_clear(&s->data);
    ds4_str_clear(&s->id);
    *s = (ds4_sse){ .max_bytes = s->max_bytes };
}
