/* pretok.c - see pretok.h. Written by hand instead of as regular expressions: one pass, no
 * limits on matching, and a defined answer for bytes that are no UTF-8. */
#include "text/pretok.h"

#include "text/char_table.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { FLAT_CODES = 0x20000 };      /* beyond them lie rare ideographs: searched, not looked up */

struct ds4_char_map {
    uint8_t classes[FLAT_CODES];    /* ds4_char_class */
};

ds4_char_map *ds4_char_map_create(void)
{
    ds4_char_map *map = malloc(sizeof *map);
    if (!map) return NULL;
    for (uint32_t i = 0; i < ds4_n_char_runs; i++) {
        const uint32_t first = ds4_char_runs[i] >> 3;
        uint32_t end = i + 1 < ds4_n_char_runs ? ds4_char_runs[i + 1] >> 3 : FLAT_CODES;
        if (end > FLAT_CODES) end = FLAT_CODES;
        if (first >= end) break;
        memset(map->classes + first, (int)(ds4_char_runs[i] & 7), end - first);
    }
    return map;
}

void ds4_char_map_free(ds4_char_map *map)
{
    free(map);
}

ds4_char_class ds4_char_map_get(const ds4_char_map *map, uint32_t code)
{
    if (code < FLAT_CODES) return (ds4_char_class)map->classes[code];

    uint32_t low = 0, high = ds4_n_char_runs;       /* the run is in low .. high-1 */
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (ds4_char_runs[middle] >> 3 <= code) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (ds4_char_class)(ds4_char_runs[low] & 7);
}

/* One character of the text; past the end its n_bytes is 0. */
typedef struct character {
    uint32_t       code;        /* 0xFFFFFFFF for a byte that is no UTF-8 */
    ds4_char_class class;
    size_t         n_bytes;
} character;

static character read_at(const ds4_pretok *p, size_t pos, size_t end)
{
    if (pos >= end) return (character){ 0 };
    const uint8_t byte = (uint8_t)p->text[pos];
    if (byte < 0x80) return (character){ byte, (ds4_char_class)p->map->classes[byte], 1 };

    uint32_t code;
    const int n = ds4_utf8_read(p->text + pos, end - pos, &code);
    if (n <= 0) return (character){ UINT32_MAX, DS4_CHAR_OTHER, 1 };
    return (character){ code, ds4_char_map_get(p->map, code), (size_t)n };
}

/* The characters of the second split. */
static bool is_cjk(uint32_t code)
{
    return code >= 0x3040 && code <= 0x9FA5 && (code >= 0x4E00 || code <= 0x30FF);
}

static bool is_line_end(uint32_t code)
{
    return code == '\r' || code == '\n';
}

static bool is_ascii_letter(uint32_t code)
{
    return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
}

static bool is_word(character c)
{
    return c.class == DS4_CHAR_LETTER || c.class == DS4_CHAR_MARK;
}

static size_t skip_word(const ds4_pretok *p, size_t pos)
{
    for (;;) {
        const character c = read_at(p, pos, p->limit);
        if (c.n_bytes == 0 || !is_word(c)) return pos;
        pos += c.n_bytes;
    }
}

/* Punctuation and symbols, then line ends; pos itself when none is there. */
static size_t skip_punct(const ds4_pretok *p, size_t pos)
{
    const size_t begin = pos;
    character c = read_at(p, pos, p->limit);
    while (c.n_bytes && c.class == DS4_CHAR_PUNCT) {
        pos += c.n_bytes;
        c = read_at(p, pos, p->limit);
    }
    if (pos == begin) return pos;
    while (pos < p->limit && is_line_end((uint8_t)p->text[pos])) pos++;
    return pos;
}

/* White space at pos: up to its last line end; else all of it at the end of the text; else
 * all but its last character, which belongs to what follows, unless it is the only one. */
static size_t skip_space(const ds4_pretok *p, size_t pos)
{
    const size_t begin = pos;
    size_t after_line_end = 0, last = pos;

    for (;;) {
        const character c = read_at(p, pos, p->limit);
        if (c.n_bytes == 0 || c.class != DS4_CHAR_SPACE) break;
        last = pos;
        pos += c.n_bytes;
        if (is_line_end(c.code)) after_line_end = pos;
    }
    if (after_line_end) return after_line_end;
    if (pos >= p->limit || last == begin) return pos;
    return last;
}

/* Return the end of the third split's match that begins at pos; pos when there is none. */
static size_t match_third(const ds4_pretok *p, size_t pos)
{
    const character first = read_at(p, pos, p->limit);
    const size_t    next = pos + first.n_bytes;

    if (first.code < 0x80 && first.class == DS4_CHAR_PUNCT) {
        size_t end = next;
        while (end < p->limit && is_ascii_letter((uint8_t)p->text[end])) end++;
        if (end > next) return end;
    }
    if (first.class == DS4_CHAR_LETTER) return skip_word(p, next);
    if (first.class != DS4_CHAR_PUNCT && !is_line_end(first.code)) {
        const size_t end = skip_word(p, next);
        if (end > next || is_word(first)) return end;
    }
    if (first.class == DS4_CHAR_PUNCT) return skip_punct(p, pos);
    if (first.code == ' ') {
        const size_t end = skip_punct(p, next);
        if (end > next) return end;
    }
    return first.class == DS4_CHAR_SPACE ? skip_space(p, pos) : pos;
}

/* The first and the second split cut before the third one looks: for it the text ends
 * before the next number or CJK character. */
static size_t find_limit(const ds4_pretok *p, size_t pos)
{
    while (pos < p->n_bytes) {
        const character c = read_at(p, pos, p->n_bytes);
        if (c.class == DS4_CHAR_NUMBER || is_cjk(c.code)) break;
        pos += c.n_bytes;
    }
    return pos;
}

static size_t skip_digits(const ds4_pretok *p, size_t pos)
{
    for (int i = 0; i < 3; i++) {
        const character c = read_at(p, pos, p->n_bytes);
        if (c.n_bytes == 0 || c.class != DS4_CHAR_NUMBER) break;
        pos += c.n_bytes;
    }
    return pos;
}

static size_t skip_cjk(const ds4_pretok *p, size_t pos)
{
    for (;;) {
        const character c = read_at(p, pos, p->n_bytes);
        if (c.n_bytes == 0 || !is_cjk(c.code)) return pos;
        pos += c.n_bytes;
    }
}

void ds4_pretok_begin(ds4_pretok *p, const ds4_char_map *map, const char *text, size_t n_bytes)
{
    *p = (ds4_pretok){ .map = map, .text = text, .n_bytes = n_bytes };
}

bool ds4_pretok_next(ds4_pretok *p, size_t *begin, size_t *n_bytes)
{
    if (p->pos >= p->n_bytes) return false;
    const size_t from = p->pos;

    if (p->limit <= from) p->limit = find_limit(p, from);
    if (p->limit == from) {
        p->pos = skip_digits(p, from);
        if (p->pos == from) p->pos = skip_cjk(p, from);
    } else {
        p->pos = match_third(p, from);
        if (p->pos == from) {
            /* Characters that begin no match form one piece up to the next that does. */
            do p->pos += read_at(p, p->pos, p->limit).n_bytes;
            while (p->pos < p->limit && match_third(p, p->pos) == p->pos);
        }
    }
    *begin = from;
    *n_bytes = p->pos - from;
    return true;
}
