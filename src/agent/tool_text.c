/* tool_text.c - results as the model reads them: clean, cut by lines, and saying what was cut. */
#include "agent/tools_local.h"

#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { SENTENCE_BYTES = 160, LEAST_ROOM = 512 };

/* The line at `at` without its line feed; *next is behind it. */
static ds4_slice line_at(ds4_slice text, size_t at, size_t *next)
{
    const char  *end = memchr(text.data + at, '\n', text.n_bytes - at);
    const size_t n = end ? (size_t)(end - text.data) - at : text.n_bytes - at;

    *next = at + n + (end ? 1 : 0);
    return (ds4_slice){ text.data + at, n };
}

size_t tool_count_lines(ds4_slice text)
{
    size_t n = 0;

    for (size_t at = 0; at < text.n_bytes; n++) line_at(text, at, &at);
    return n;
}

size_t tool_line_bytes(size_t room)
{
    return room / 2 < TOOLS_LINE_BYTES ? room / 2 : TOOLS_LINE_BYTES;
}

void tool_add_cut_line(ds4_slice line, size_t most, ds4_str *out)
{
    if (line.n_bytes <= most) {
        ds4_str_add(out, line.data, line.n_bytes);
        return;
    }
    /* Not in the middle of a character. */
    const size_t n = ds4_utf8_safe_bytes(line.data, most > 80 ? most - 40 : most / 2);
    ds4_str_add(out, line.data, n);
    ds4_str_addf(out, " [%zu more bytes in this line]", line.n_bytes - n);
}

size_t tool_add_lines(ds4_slice text, size_t first, size_t max_bytes, ds4_str *out)
{
    const size_t most = tool_line_bytes(max_bytes);
    size_t       at = 0, number = 1, next = 0;

    for (; at < text.n_bytes && number < first; number++) line_at(text, at, &at);
    for (size_t begin = out->n_bytes; at < text.n_bytes; number++, at = next) {
        const ds4_slice line = line_at(text, at, &next);
        const size_t    shown = line.n_bytes < most ? line.n_bytes : most;
        if (out->n_bytes - begin + shown + 1 > max_bytes) break;
        tool_add_cut_line(line, most, out);
        ds4_str_add_char(out, '\n');
    }
    return number;
}

/* Find the first of the last lines that fit. */
static size_t tail_line(ds4_slice text, size_t n_lines, size_t max_bytes)
{
    const size_t most = tool_line_bytes(max_bytes);
    size_t       at = text.n_bytes, number = n_lines + 1, used = 0;

    while (at > 0) {
        size_t from = at - 1;
        while (from > 0 && text.data[from - 1] != '\n') from--;
        const size_t n = at - from, shown = n < most ? n : most;
        if (used + shown + 1 > max_bytes) break;
        used += shown + 1;
        at = from;
        number--;
    }
    return number;
}

static void keep_rest(ds4_tools *t, const ds4_str *text, size_t next)
{
    ds4_str_clear(&t->rest.text);
    free(t->rest.file);
    t->rest.file = NULL;
    ds4_str_add(&t->rest.text, ds4_str_text(text), text->n_bytes);
    t->rest.next = next;
}

static void cut(tool_run *r, size_t room)
{
    ds4_str         out = { 0 };
    const ds4_slice all = { ds4_str_text(&r->body), r->body.n_bytes };
    const size_t    n_lines = tool_count_lines(all), most = room - SENTENCE_BYTES;
    const size_t    head = r->shows_ends ? most / 3 : most;
    const size_t    next = tool_add_lines(all, 1, head, &out);
    const size_t    tail = r->shows_ends ? tail_line(all, n_lines, most - out.n_bytes) : n_lines + 1;

    if (next < tail)
        ds4_str_addf(&out,
                     "[Lines %zu to %zu of %zu are not shown: call more to read on, or ask for less.]\n",
                         next,
                     tail - 1, n_lines);
    if (r->shows_ends) tool_add_lines(all, next < tail ? tail : next, most, &out);
    keep_rest(r->t, &r->body, next);
    ds4_str_clear(&r->body);
    r->body = out;
}

void tool_text_finish(tool_run *r)
{
    ds4_str      text = { 0 };
    const size_t room = r->t->room > LEAST_ROOM ? r->t->room : LEAST_ROOM;
    bool         long_line = false;

    if (!r->t->allow_secrets && r->t->secrets) ds4_secrets_hide(r->t->secrets, &r->body);
    ds4_utf8_repair(ds4_str_text(&r->body), r->body.n_bytes, &text);
    ds4_str_clear(&r->body);
    r->body = text;
    const ds4_slice all = { ds4_str_text(&r->body), r->body.n_bytes };
    for (size_t at = 0; at < all.n_bytes && !long_line; )
        long_line = line_at(all, at, &at).n_bytes > TOOLS_LINE_BYTES;
    if (!r->is_more && (r->body.n_bytes > room || long_line)) cut(r, room);
}

bool tool_is_binary(ds4_slice text)
{
    return memchr(text.data, '\0', text.n_bytes < 65536 ? text.n_bytes : 65536) != NULL;
}

/* ---- output of programs ------------------------------------------------------------------------ */

/* The bytes of the escape sequence at p, 0 when it is not whole. */
static size_t escape_bytes(const char *p, size_t n)
{
    size_t i = 2;

    if (n < 2) return n;
    if (p[1] == '[') {
        while (i < n && !(p[i] >= '@' && p[i] <= '~')) i++;
        return i < n ? i + 1 : n;
    }
    if (p[1] == ']') {
        while (i < n && p[i] != '\a' && p[i] != '\n' && !(p[i] == '\033' && i + 1 < n && p[i + 1] == '\\'))
            i++;
        if (i < n && p[i] == '\033') i++;
        return i < n && p[i] != '\n' ? i + 1 : i;
    }
    return 2;
}

void tool_clean_output(ds4_slice bytes, ds4_str *out)
{
    size_t line = out->n_bytes;

    for (size_t i = 0; i < bytes.n_bytes; ) {
        const char c = bytes.data[i];
        if (c == '\033') {
            i += escape_bytes(bytes.data + i, bytes.n_bytes - i);
            continue;
        }
        if (c == '\r') {
            /* A line that is written over itself: what comes next replaces it. */
            if (i + 1 < bytes.n_bytes && bytes.data[i + 1] != '\n' && bytes.data[i + 1] != '\r')
                ds4_str_truncate(out, line);
        } else if (c == '\b') {
            if (out->n_bytes > line) ds4_str_truncate(out, out->n_bytes - 1);
        } else if ((unsigned char)c >= ' ' || c == '\n' || c == '\t') {
            ds4_str_add_char(out, c);
        }
        if (c == '\n') line = out->n_bytes;
        i++;
    }
}
