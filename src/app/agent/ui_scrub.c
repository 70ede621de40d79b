/* ui_scrub.c - see ui_scrub.h. */
#include "app/agent/ui_scrub.h"

enum { TAB = 4 };

/* Marks that show text in another order than it has: what is read is not what runs. */
static bool turns_around(uint32_t c)
{
    return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
           turns_around(c) || (c >= 0xe0000 && c <= 0xe007f);
}

static void put(ui_scrub *s, const char *text, size_t n, ds4_str *out)
{
    if (s->returned) ds4_str_add_char(out, '\n');
    if (s->returned) s->column = 0;
    s->returned = false;
    ds4_str_add(out, text, n);
    s->column++;
}

static void take_control(ui_scrub *s, uint32_t c, ds4_str *out)
{
    if (c == '\n') {
        ds4_str_add_char(out, '\n');
        s->returned = false;
        s->column = 0;
    } else if (c == '\r') {
        s->returned = s->column > 0;
    } else if (c == '\t') {
        do put(s, " ", 1, out);
        while (s->column % TAB);
    } else if (c == 0x1b) {
        s->state = UI_SCRUB_ESC;
    } else if (c == 0x9b) {
        s->state = UI_SCRUB_CSI;
    } else if (c == 0x90 || c == 0x98 || (c >= 0x9d && c <= 0x9f)) {
        s->state = UI_SCRUB_STRING;
    }
}

/* Inside of an escape sequence. Returns false when c is no part of it. */
static bool take_escape(ui_scrub *s, uint32_t c)
{
    if (c == 0x1b && s->state != UI_SCRUB_STRING && s->state != UI_SCRUB_STRING_ESC) {
        s->state = UI_SCRUB_ESC;
        return true;
    }
    switch (s->state) {
    case UI_SCRUB_ESC:
        s->state = c == '[' ? UI_SCRUB_CSI
                   : c && c < 0x7f && (c == ']' || c == 'P' || c == '_' || c == '^' || c == 'X')
                       ? UI_SCRUB_STRING
                   : c >= 0x20 && c <= 0x2f ? UI_SCRUB_SKIP
                                            : UI_SCRUB_TEXT;
        return s->state != UI_SCRUB_TEXT || (c >= 0x30 && c <= 0x7e);
    case UI_SCRUB_CSI:
        if (c >= 0x20 && c <= 0x3f) return true;
        s->state = UI_SCRUB_TEXT;
        return c >= 0x40 && c <= 0x7e;
    case UI_SCRUB_SKIP:
        if (c >= 0x20 && c <= 0x2f) return true;
        s->state = UI_SCRUB_TEXT;
        return c >= 0x30 && c <= 0x7e;
    case UI_SCRUB_STRING_ESC:
        s->state = c == '\\' ? UI_SCRUB_TEXT : UI_SCRUB_STRING;
        return true;
    default:                            /* a string ends by BEL, ST, or at the latest with the line */
        if (c == 0x1b) s->state = UI_SCRUB_STRING_ESC;
        else if (c == 7 || c == 0x9c) s->state = UI_SCRUB_TEXT;
        else if (c == '\n') s->state = UI_SCRUB_TEXT;
        return c != '\n';
    }
}

static void take_whole(ui_scrub *s, const char *data, size_t n_bytes, ds4_str *out)
{
    for (size_t at = 0; at < n_bytes;) {
        uint32_t  c = 0;
        const int n = ds4_utf8_read(data + at, n_bytes - at, &c);
        const size_t here = at;
        at += n > 0 ? (size_t)n : 1;
        if (s->state != UI_SCRUB_TEXT && take_escape(s, c)) continue;
        if (is_control(c)) take_control(s, c, out);
        else put(s, data + here, at - here, out);
    }
}

void ui_scrub_add(ui_scrub *s, const char *data, size_t n_bytes, ds4_str *out)
{
    ds4_str whole = { 0 };

    ds4_utf8_stream_add(&s->utf8, data, n_bytes, &whole);
    if (whole.failed) out->failed = true;
    else take_whole(s, ds4_str_text(&whole), whole.n_bytes, out);
    ds4_str_clear(&whole);
}

void ui_scrub_end(ui_scrub *s, ds4_str *out)
{
    ds4_str whole = { 0 };

    ds4_utf8_stream_flush(&s->utf8, &whole);
    take_whole(s, ds4_str_text(&whole), whole.n_bytes, out);
    ds4_str_clear(&whole);
    *s = (ui_scrub){ 0 };
}

void ui_scrub_text(ds4_slice text, bool one_line, ds4_str *out)
{
    ui_scrub     s = { 0 };
    const size_t from = out->n_bytes;

    ui_scrub_add(&s, text.data, text.n_bytes, out);
    ui_scrub_end(&s, out);
    for (size_t i = from; one_line && i < out->n_bytes; i++) {
        if (out->data[i] == '\n') out->data[i] = ' ';
    }
}
