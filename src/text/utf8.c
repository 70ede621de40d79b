/* utf8.c - see utf8.h. */
#include "text/utf8.h"

#include <string.h>

static const char REPLACEMENT[] = "\xEF\xBF\xBD";       /* U+FFFD */

/* Bytes a character takes by its lead byte; 0 for a byte that leads nothing. */
static int lead_bytes(uint8_t lead)
{
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) return 3;
    if (lead >= 0xF0 && lead <= 0xF4) return 4;
    return 0;
}

/* The second byte is narrower after four leads: no overlong forms, no surrogates, nothing
 * above U+10FFFF. */
static bool second_fits(uint8_t lead, uint8_t second)
{
    switch (lead) {
    case 0xE0: return second >= 0xA0 && second <= 0xBF;
    case 0xED: return second >= 0x80 && second <= 0x9F;
    case 0xF0: return second >= 0x90 && second <= 0xBF;
    case 0xF4: return second >= 0x80 && second <= 0x8F;
    default:   return second >= 0x80 && second <= 0xBF;
    }
}

int ds4_utf8_read(const char *data, size_t n_bytes, uint32_t *code)
{
    if (n_bytes == 0) return 0;
    const uint8_t *p = (const uint8_t *)data;
    const int n = lead_bytes(p[0]);

    if (n == 0) return -1;
    if (n == 1) {
        *code = p[0];
        return 1;
    }
    if (n_bytes < 2) return 0;
    if (!second_fits(p[0], p[1])) return -1;
    uint32_t value = (uint32_t)(p[0] & (0x7F >> n)) << 6 | (p[1] & 0x3F);
    for (int i = 2; i < n; i++) {
        if (n_bytes <= (size_t)i) return 0;
        if ((p[i] & 0xC0) != 0x80) return -i;
        value = value << 6 | (p[i] & 0x3F);
    }
    *code = value;
    return n;
}

int ds4_utf8_write(uint32_t code, char out[4])
{
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) code = 0xFFFD;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const int n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)((0xF00 >> n & 0xFF) | code);
    return n;
}

/* The whole characters at the beginning of data; stops at a damaged or unfinished one. */
static size_t valid_bytes(const char *data, size_t n_bytes)
{
    size_t pos = 0;
    while (pos < n_bytes) {
        uint32_t code;
        const int n = ds4_utf8_read(data + pos, n_bytes - pos, &code);
        if (n <= 0) break;
        pos += (size_t)n;
    }
    return pos;
}

bool ds4_utf8_valid(const char *data, size_t n_bytes)
{
    return valid_bytes(data, n_bytes) == n_bytes;
}

size_t ds4_utf8_safe_bytes(const char *data, size_t n_bytes)
{
    /* An unfinished character is a lead byte and at most two more at the very end. */
    for (size_t back = 1; back <= 3 && back <= n_bytes; back++) {
        uint32_t code;
        const uint8_t byte = (uint8_t)data[n_bytes - back];
        if ((byte & 0xC0) == 0x80) continue;
        const bool unfinished = ds4_utf8_read(data + n_bytes - back, back, &code) == 0;
        return unfinished ? n_bytes - back : n_bytes;
    }
    return n_bytes;
}

/* Append whole characters and replacements; returns the bytes used, all but an unfinished
 * character at the end. */
static size_t repair_whole(const char *data, size_t n_bytes, ds4_str *out)
{
    size_t pos = 0;
    for (;;) {
        const size_t n_valid = valid_bytes(data + pos, n_bytes - pos);
        ds4_str_add(out, data + pos, n_valid);
        pos += n_valid;
        uint32_t code;
        const int n = ds4_utf8_read(data + pos, n_bytes - pos, &code);
        if (n == 0) return pos;
        ds4_str_add_text(out, REPLACEMENT);
        pos += (size_t)-n;
    }
}

void ds4_utf8_repair(const char *data, size_t n_bytes, ds4_str *out)
{
    if (repair_whole(data, n_bytes, out) < n_bytes) ds4_str_add_text(out, REPLACEMENT);
}

void ds4_utf8_stream_add(ds4_utf8_stream *s, const char *data, size_t n_bytes, ds4_str *out)
{
    size_t pos = 0;
    while (s->n_held > 0 && pos < n_bytes) {
        uint32_t code;
        s->held[s->n_held++] = data[pos++];
        const int n = ds4_utf8_read(s->held, s->n_held, &code);
        if (n == 0) continue;
        if (n > 0) {
            ds4_str_add(out, s->held, (size_t)n);
        } else {
            ds4_str_add_text(out, REPLACEMENT);
            pos--;              /* the byte that did not fit is read again */
        }
        s->n_held = 0;
    }
    if (s->n_held > 0) return;

    pos += repair_whole(data + pos, n_bytes - pos, out);
    s->n_held = (uint8_t)(n_bytes - pos);
    if (s->n_held) memcpy(s->held, data + pos, s->n_held);
}

void ds4_utf8_stream_flush(ds4_utf8_stream *s, ds4_str *out)
{
    if (s->n_held) ds4_str_add_text(out, REPLACEMENT);
    s->n_held = 0;
}
