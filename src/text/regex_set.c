/* regex_set.c - see regex_set.h. */
#include "text/regex_set.h"

#include "text/char_table.h"
#include "text/pretok.h"

#include <stdlib.h>
#include <string.h>

enum { LAST = 0x10FFFF };

void ds4_char_set_clear(ds4_char_set *s)
{
    free(s->list);
    *s = (ds4_char_set){ 0 };
}

void ds4_char_set_add(ds4_char_set *s, uint32_t from, uint32_t up_to)
{
    if (s->n == s->capacity) {
        const uint32_t more = s->capacity ? 2 * s->capacity : 16;
        void          *list = realloc(s->list, more * sizeof *s->list);
        if (!list) {
            s->failed = true;
            return;
        }
        s->list = list;
        s->capacity = more;
    }
    s->list[s->n++] = (ds4_char_range){ from, up_to };
}

static int by_begin(const void *a, const void *b)
{
    const ds4_char_range *x = a, *y = b;

    return x->from < y->from ? -1 : x->from > y->from;
}

void ds4_char_set_sort(ds4_char_set *s)
{
    uint32_t n = 0;

    if (s->n == 0) return;
    qsort(s->list, s->n, sizeof *s->list, by_begin);
    for (uint32_t i = 0; i < s->n; i++) {
        const ds4_char_range r = s->list[i];
        if (n > 0 && r.from <= s->list[n - 1].up_to + 1) {
            if (r.up_to > s->list[n - 1].up_to) s->list[n - 1].up_to = r.up_to;
        } else {
            s->list[n++] = r;
        }
    }
    s->n = n;
}

void ds4_char_set_invert(ds4_char_set *s)
{
    ds4_char_set other = { 0 };
    uint32_t     next = 0;

    ds4_char_set_sort(s);
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->list[i].from > next) ds4_char_set_add(&other, next, s->list[i].from - 1);
        next = s->list[i].up_to + 1;
    }
    if (next <= LAST) ds4_char_set_add(&other, next, LAST);
    other.failed |= s->failed;
    free(s->list);
    *s = other;
}

static void add_all(ds4_char_set *s, ds4_char_set *from, bool not )
{
    if (not ) ds4_char_set_invert(from);
    for (uint32_t i = 0; i < from->n; i++) {
        ds4_char_set_add(s, from->list[i].from, from->list[i].up_to);
    }
    s->failed |= from->failed;
    ds4_char_set_clear(from);
}

void ds4_char_set_add_class(ds4_char_set *s, char kind)
{
    static const ds4_char_range digits[] = { { '0', '9' } },
                                word[] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } },
                                blank[] = { { 9, 13 },          { ' ', ' ' },
                                            { 0xA0, 0xA0 },     { 0x1680, 0x1680 },
                                            { 0x2000, 0x200A }, { 0x2028, 0x2029 },
                                            { 0x202F, 0x202F }, { 0x205F, 0x205F },
                                            { 0x3000, 0x3000 }, { 0xFEFF, 0xFEFF } },
                                ends[] = { { '\n', '\n' }, { '\r', '\r' }, { 0x2028, 0x2029 } };
    const ds4_char_range *list = digits;
    ds4_char_set          set = { 0 };
    size_t                n = 1;

    if ((kind | 0x20) == 'w') {
        list = word;
        n = sizeof word / sizeof *word;
    } else if ((kind | 0x20) == 's') {
        list = blank;
        n = sizeof blank / sizeof *blank;
    } else if (kind == '.') {
        list = ends;
        n = sizeof ends / sizeof *ends;
    }
    for (size_t i = 0; i < n; i++) ds4_char_set_add(&set, list[i].from, list[i].up_to);
    add_all(s, &set, kind == '.' || (kind >= 'A' && kind <= 'Z'));
}

/* The characters of a general category, as far as the tokenizer's table knows them. */
static void add_category(ds4_char_set *s, unsigned class)
{
    for (uint32_t i = 0; i < ds4_n_char_runs; i++) {
        const uint32_t next = i + 1 < ds4_n_char_runs ? ds4_char_runs[i + 1] >> 3 : LAST + 1u;
        if ((ds4_char_runs[i] & 7) == class) ds4_char_set_add(s, ds4_char_runs[i] >> 3, next - 1);
    }
}

bool ds4_char_set_add_property(ds4_char_set *s, ds4_slice text, size_t *pos, bool not )
{
    static const struct {
        const char *name;
        unsigned class;
    } known[] = {
        { "L", DS4_CHAR_LETTER },          { "Letter", DS4_CHAR_LETTER },
        { "Alphabetic", DS4_CHAR_LETTER }, { "M", DS4_CHAR_MARK },
        { "Mark", DS4_CHAR_MARK },         { "N", DS4_CHAR_NUMBER },
        { "Number", DS4_CHAR_NUMBER },
    };
    size_t begin = *pos, n = 1, end = begin + 1;

    if (begin < text.n_bytes && text.data[begin] == '{') {
        for (begin++, n = 0; begin + n < text.n_bytes && text.data[begin + n] != '}';) n++;
        end = begin + n + 1;
    }
    for (size_t i = 0; end <= text.n_bytes && i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) != n || memcmp(known[i].name, text.data + begin, n) != 0)
            continue;
        ds4_char_set set = { 0 };
        add_category(&set, known[i].class);
        ds4_char_set_sort(&set);
        add_all(s, &set, not );
        *pos = end;
        return true;
    }
    return false;
}
