/* mcp_result.c - what an MCP server answers to a call, as text for a model that reads text only. */
#include "agent/mcp_local.h"

#include "text/utf8.h"

#include <string.h>

enum { MAX_BLOCKS = 1024, MAX_LABEL = 512 };

typedef struct writer {
    ds4_str *out;
    size_t   most, from;        /* most bytes; where the text begins in out */
    size_t   n_cut;             /* bytes that were left out */
} writer;

static void write_bytes(writer *w, const char *data, size_t n_bytes)
{
    const size_t used = w->out->n_bytes - w->from, room = used < w->most && !w->n_cut ? w->most - used : 0;
    size_t       n = n_bytes < room ? n_bytes : room;

    if (n < n_bytes) n = ds4_utf8_safe_bytes(data, n);
    ds4_str_add(w->out, data, n);
    w->n_cut += n_bytes - n;
}

static void write_text(writer *w, ds4_slice text)
{
    if (w->out->n_bytes > w->from) write_bytes(w, "\n", 1);
    write_bytes(w, text.data, text.n_bytes);
}

/* A line in brackets about something that is no text; each of its parts is bounded. */
static void write_label(writer *w, const char *what, ds4_slice a, ds4_slice b, size_t n_bytes)
{
    ds4_str line = { 0 };

    ds4_str_addf(&line, "[%s", what);
    const ds4_slice part[] = { a, b };
    for (int i = 0; i < 2; i++) {
        if (!part[i].n_bytes) continue;
        ds4_str_add_char(&line, ' ');
        const size_t most = part[i].n_bytes < MAX_LABEL ? part[i].n_bytes : MAX_LABEL;
        ds4_str_add(&line, part[i].data, ds4_utf8_safe_bytes(part[i].data, most));
    }
    if (n_bytes) ds4_str_addf(&line, ", %zu bytes, not shown", n_bytes);
    ds4_str_add_char(&line, ']');
    write_text(w, (ds4_slice){ ds4_str_text(&line), line.n_bytes });
    ds4_str_clear(&line);
}

static size_t decoded_bytes(const json_t *block, const char *name)
{
    return json_string_length(json_object_get(block, name)) / 4 * 3;
}

static void write_resource(writer *w, const json_t *resource)
{
    write_label(w, "resource", ds4_rpc_slice(resource, "uri"), ds4_rpc_slice(resource, "mimeType"),
                decoded_bytes(resource, "blob"));
    if (json_is_string(json_object_get(resource, "text"))) write_text(w, ds4_rpc_slice(resource, "text"));
}

static void write_block(writer *w, const json_t *block)
{
    const char *type = ds4_rpc_text(block, "type");

    if (strcmp(type, "text") == 0) {
        write_text(w, ds4_rpc_slice(block, "text"));
    } else if (strcmp(type, "image") == 0 || strcmp(type, "audio") == 0) {
        write_label(w, type, ds4_rpc_slice(block, "mimeType"), DS4_SLICE(""), decoded_bytes(block, "data"));
    } else if (strcmp(type, "resource_link") == 0) {
        write_label(w, "link", ds4_rpc_slice(block, "uri"), ds4_rpc_slice(block, "description"), 0);
    } else if (strcmp(type, "resource") == 0) {
        write_resource(w, json_object_get(block, "resource"));
    } else {
        write_label(w, "content of a kind that is not known:", ds4_rpc_slice(block, "type"), DS4_SLICE(""),
                    0);
    }
}

static int write_piece(const char *data, size_t n_bytes, void *w)
{
    write_bytes(w, data, n_bytes);
    return 0;
}

bool mcp_result_text(const json_t *result, size_t max_bytes, ds4_str *out)
{
    const json_t *content = json_object_get(result, "content");
    const json_t *structured = json_object_get(result, "structuredContent");
    const size_t  n = json_array_size(content);
    writer        w = { .out = out, .most = max_bytes, .from = out->n_bytes };

    for (size_t i = 0; i < n && i < MAX_BLOCKS; i++) write_block(&w, json_array_get(content, i));
    if (n > MAX_BLOCKS) ds4_str_addf(out, "\n[%zu more blocks, not shown]", n - MAX_BLOCKS);
    /* Servers say the same as text, for clients as this one; those that do not are read all the same. */
    if (n == 0 && json_is_object(structured)) json_dump_callback(structured, write_piece, &w, JSON_COMPACT);
    if (w.n_cut) ds4_str_addf(out, "\n[%zu more bytes, not shown]", w.n_cut);
    if (out->n_bytes == w.from) ds4_str_add_text(out, "[no content]");
    return json_is_true(json_object_get(result, "isError"));
}
