/* regex.c - see regex.h. A reader by recursive descent: alternatives, sequences, repetitions,
 * atoms. */
#include "text/regex.h"

#include "text/regex_set.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
    ds4_slice  text;
    size_t     pos;
    ds4_regex *r;
    ds4_err   *err;
    unsigned   depth;
} reader;

void ds4_regex_clear(ds4_regex *r)
{
    free(r->node);
    free(r->range);
    *r = (ds4_regex){ 0 };
}

static int peek(const reader *p)
{
    return p->pos < p->text.n_bytes ? (unsigned char)p->text.data[p->pos] : -1;
}

static bool accept(reader *p, const char *word)
{
    const size_t n = strlen(word);

    if (p->text.n_bytes - p->pos < n || memcmp(p->text.data + p->pos, word, n) != 0) return false;
    p->pos += n;
    return true;
}

static ds4_status unsupported(reader *p, const char *what)
{
    return ds4_fail(p->err, DS4_E_UNSUPPORTED, "the pattern has %s at byte %zu, which %s", what,
                    p->pos, "cannot be enforced");
}

static ds4_status wrong(reader *p, const char *what)
{
    return ds4_fail(p->err, DS4_E_FORMAT, "the pattern has %s at byte %zu", what, p->pos);
}

static ds4_status add(reader *p, ds4_regex_node node, uint32_t *out)
{
    ds4_regex *r = p->r;

    if (r->n_nodes == r->cap_nodes) {
        const uint32_t more = r->cap_nodes ? 2 * r->cap_nodes : 64;
        void          *list = realloc(r->node, more * sizeof *r->node);
        if (!list) return ds4_fail(p->err, DS4_E_NOMEM, "no memory for a pattern");
        r->node = list;
        r->cap_nodes = more;
    }
    r->node[r->n_nodes] = node;
    *out = r->n_nodes++;
    return DS4_OK;
}

/* ---- sets ----------------------------------------------------------------------------------- */

static ds4_status add_set(reader *p, ds4_char_set *set, uint32_t *out)
{
    ds4_regex *r = p->r;

    ds4_char_set_sort(set);
    const uint32_t n = r->n_ranges + set->n;
    if (set->failed) return ds4_fail(p->err, DS4_E_NOMEM, "no memory for a pattern");
    if (n > r->cap_ranges) {
        void *list = realloc(r->range, 2 * (size_t)n * sizeof *r->range);
        if (!list) return ds4_fail(p->err, DS4_E_NOMEM, "no memory for a pattern");
        r->range = list;
        r->cap_ranges = 2 * n;
    }
    if (set->n) memcpy(r->range + r->n_ranges, set->list, set->n * sizeof *set->list);
    const ds4_regex_node node = { .kind = DS4_REGEX_SET, .a = r->n_ranges, .b = set->n };
    r->n_ranges = n;
    return add(p, node, out);
}

static ds4_status read_character(reader *p, uint32_t *c)
{
    const int n = ds4_utf8_read(p->text.data + p->pos, p->text.n_bytes - p->pos, c);

    if (n <= 0) return wrong(p, "bytes that are no UTF-8");
    p->pos += (size_t)n;
    return DS4_OK;
}

static ds4_status read_hex(reader *p, int n_digits, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < n_digits; i++, p->pos++) {
        const int c = peek(p), low = c | 0x20;
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            *out = *out * 16 + (uint32_t)(low - 'a' + 10);
        else
            return wrong(p, "an escape without its hexadecimal digits");
    }
    return DS4_OK;
}

/* Behind \u: four digits, two times four for a pair, or any number in braces. */
static ds4_status read_unicode(reader *p, uint32_t *c)
{
    uint32_t low = 0;

    if (accept(p, "{")) {
        for (*c = 0; !accept(p, "}");) {
            DS4_TRY(read_hex(p, 1, &low));
            *c = *c * 16 + low;
            if (*c > 0x10FFFF) return wrong(p, "an escape beyond the last character");
        }
        return DS4_OK;
    }
    DS4_TRY(read_hex(p, 4, c));
    const size_t behind = p->pos;
    if (*c >= 0xD800 && *c <= 0xDBFF && accept(p, "\\u")) {
        DS4_TRY(read_hex(p, 4, &low));
        if (low >= 0xDC00 && low <= 0xDFFF)
            *c = 0x10000 + ((*c - 0xD800) << 10) + (low - 0xDC00);
        else
            p->pos = behind;
    }
    return DS4_OK;
}

/* Behind a backslash: a class of characters is added to the set and *c is UINT32_MAX, or *c is
 * the one that is meant. */
static ds4_status read_escape(reader *p, ds4_char_set *set, uint32_t *c)
{
    static const char CONTROLS[] = "tnvfr", VALUES[] = "\t\n\v\f\r";
    const int         kind = peek(p);
    const char       *control = kind > 0 ? strchr(CONTROLS, kind) : NULL;

    *c = UINT32_MAX;
    if (kind < 0) return wrong(p, "a backslash at its end");
    if (kind > 0x7F || strchr("^$\\.*+?()[]{}|/-,:;<=>@!#%&'\"`~_ ", kind))
        return read_character(p, c);
    if (strchr("dDwWsS", kind)) {
        ds4_char_set_add_class(set, (char)kind);
        p->pos++;
        return DS4_OK;
    }
    if (kind == 'p' || kind == 'P') {
        const size_t at = p->pos;
        p->pos++;
        if (ds4_char_set_add_property(set, p->text, &p->pos, kind == 'P')) return DS4_OK;
        p->pos = at;
        return unsupported(p, "a property of characters that is not known");
    }
    if (kind >= '1' && kind <= '9') return unsupported(p, "a back-reference");
    if (kind == 'k') return unsupported(p, "a back-reference");
    p->pos++;
    if (control)
        *c = (unsigned char)VALUES[control - CONTROLS];
    else if (kind == '0')
        *c = 0;
    else if (kind == 'x')
        return read_hex(p, 2, c);
    else if (kind == 'u')
        return read_unicode(p, c);
    else if (kind == 'c' && ((peek(p) | 0x20) >= 'a' && (peek(p) | 0x20) <= 'z')) {
        *c = (uint32_t)peek(p) & 31;
        p->pos++;
    } else {
        p->pos--;
        return wrong(p, "an escape that means nothing");
    }
    return DS4_OK;
}

static ds4_status read_class_atom(reader *p, ds4_char_set *set, uint32_t *c)
{
    if (!accept(p, "\\")) return read_character(p, c);
    if (accept(p, "b")) {
        *c = '\b';
        return DS4_OK;
    }
    return read_escape(p, set, c);
}

static ds4_status read_class_body(reader *p, ds4_char_set *set)
{
    uint32_t from, up_to;

    while (!accept(p, "]")) {
        if (peek(p) < 0) return wrong(p, "[ without ]");
        DS4_TRY(read_class_atom(p, set, &from));
        if (from == UINT32_MAX) continue;
        const size_t dash = p->pos;
        up_to = from;
        if (accept(p, "-") && peek(p) != ']') {
            DS4_TRY(read_class_atom(p, set, &up_to));
            if (up_to == UINT32_MAX) { /* a class behind the dash: the dash is itself */
                ds4_char_set_add(set, '-', '-');
                up_to = from;
            }
        } else {
            p->pos = dash;
        }
        if (up_to < from) return wrong(p, "a range that ends before it begins");
        ds4_char_set_add(set, from, up_to);
    }
    return DS4_OK;
}

static ds4_status read_class(reader *p, uint32_t *out)
{
    ds4_char_set set = { 0 };
    const bool not = accept(p, "^");
    ds4_status st = read_class_body(p, &set);

    if (st == DS4_OK && not ) ds4_char_set_invert(&set);
    if (st == DS4_OK) st = add_set(p, &set, out);
    ds4_char_set_clear(&set);
    return st;
}

/* ---- atoms ---------------------------------------------------------------------------------- */

static ds4_status read_or(reader *p, uint32_t *out);

static ds4_status read_group(reader *p, uint32_t *out)
{
    if (accept(p, "?")) {
        if (peek(p) == '=' || peek(p) == '!') return unsupported(p, "a look ahead in its middle");
        if (accept(p, "<=") || accept(p, "<!")) return unsupported(p, "a look behind");
        if (accept(p, "<") || accept(p, "P<")) {
            while (peek(p) >= 0 && peek(p) != '>') p->pos++;
            if (!accept(p, ">")) return wrong(p, "a name of a group without >");
        } else if (!accept(p, ":")) {
            return unsupported(p, "flags or a kind of group");
        }
    }
    if (p->depth == DS4_REGEX_MAX_DEPTH) {
        return ds4_fail(p->err, DS4_E_LIMIT, "the pattern has more than %d groups in each other",
                        DS4_REGEX_MAX_DEPTH);
    }
    p->depth++;
    DS4_TRY(read_or(p, out));
    p->depth--;
    return accept(p, ")") ? DS4_OK : wrong(p, "( without )");
}

static ds4_status read_plain(reader *p, uint32_t *out)
{
    ds4_char_set set = { 0 };
    uint32_t     c;
    ds4_status   st;

    if (accept(p, ".")) {
        c = UINT32_MAX;
        ds4_char_set_add_class(&set, '.');
        st = DS4_OK;
    } else if (accept(p, "\\")) {
        st = read_escape(p, &set, &c);
    } else {
        st = read_character(p, &c);
    }
    if (st == DS4_OK && c != UINT32_MAX) ds4_char_set_add(&set, c, c);
    if (st == DS4_OK) st = add_set(p, &set, out);
    ds4_char_set_clear(&set);
    return st;
}

static ds4_status read_atom(reader *p, uint32_t *out)
{
    const int c = peek(p);

    if (c == '*' || c == '+' || c == '?') return wrong(p, "a repetition of nothing");
    if (accept(p, "^") || accept(p, "\\A")) {
        return add(p, (ds4_regex_node){ .kind = DS4_REGEX_BEGIN }, out);
    }
    if (accept(p, "$") || accept(p, "\\z") || accept(p, "\\Z")) {
        return add(p, (ds4_regex_node){ .kind = DS4_REGEX_END }, out);
    }
    if (accept(p, "\\b") || accept(p, "\\B")) return unsupported(p, "a word boundary");
    if (accept(p, "(")) return read_group(p, out);
    if (accept(p, "[")) return read_class(p, out);
    return read_plain(p, out);
}

/* ---- repetition, sequences, alternatives ---------------------------------------------------- */

static bool read_number(reader *p, uint32_t *out)
{
    const size_t begin = p->pos;

    for (*out = 0; peek(p) >= '0' && peek(p) <= '9'; p->pos++) {
        if (*out <= DS4_REGEX_MAX_COUNT) *out = *out * 10 + (uint32_t)(peek(p) - '0');
    }
    return p->pos > begin;
}

/* {n}, {n,} or {n,m}; anything else in braces is plain text. */
static bool read_braces(reader *p, uint32_t *least, uint32_t *most)
{
    const size_t begin = p->pos;

    if (accept(p, "{") && read_number(p, least)) {
        *most = *least;
        if (accept(p, ",") && !read_number(p, most)) *most = UINT32_MAX;
        if (accept(p, "}")) return true;
    }
    p->pos = begin;
    return false;
}

static ds4_status read_repeat(reader *p, uint32_t *out)
{
    uint32_t least = 0, most = UINT32_MAX;

    DS4_TRY(read_atom(p, out));
    if (accept(p, "+")) {
        least = 1;
    } else if (accept(p, "?")) {
        most = 1;
    } else if (!accept(p, "*") && !read_braces(p, &least, &most)) {
        return DS4_OK;
    }
    if (least > DS4_REGEX_MAX_COUNT || (most != UINT32_MAX && most > DS4_REGEX_MAX_COUNT)) {
        return ds4_fail(p->err, DS4_E_LIMIT, "the pattern repeats more than %d times at byte %zu",
                        DS4_REGEX_MAX_COUNT, p->pos);
    }
    if (most < least) return wrong(p, "a repetition whose limits are the wrong way round");
    accept(p, "?"); /* lazy: as a language it is equal */
    const int c = peek(p);
    if (c == '*' || c == '+' || c == '?') return wrong(p, "a repetition of a repetition");
    return add(
        p, (ds4_regex_node){ .kind = DS4_REGEX_REPEAT, .a = *out, .least = least, .most = most },
        out);
}

static ds4_status read_seq(reader *p, uint32_t *out)
{
    uint32_t next;

    DS4_TRY(add(p, (ds4_regex_node){ .kind = DS4_REGEX_EMPTY }, out));
    for (bool first = true; peek(p) >= 0 && peek(p) != '|' && peek(p) != ')'; first = false) {
        DS4_TRY(read_repeat(p, &next));
        if (first) {
            *out = next;
            continue;
        }
        DS4_TRY(add(p, (ds4_regex_node){ .kind = DS4_REGEX_SEQ, .a = *out, .b = next }, out));
    }
    return DS4_OK;
}

static ds4_status read_or(reader *p, uint32_t *out)
{
    uint32_t next;

    DS4_TRY(read_seq(p, out));
    while (accept(p, "|")) {
        DS4_TRY(read_seq(p, &next));
        DS4_TRY(add(p, (ds4_regex_node){ .kind = DS4_REGEX_OR, .a = *out, .b = next }, out));
    }
    return DS4_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* (?=...) and (?!...) at the very beginning of the text. */
static ds4_status read_aheads(reader *p)
{
    for (;;) {
        const size_t begin = p->pos;
        const bool   yes = accept(p, "(?="), not = !yes && accept(p, "(?!");
        if (!yes && !not ) return DS4_OK;
        if (p->r->n_ahead == DS4_REGEX_MAX_AHEAD) {
            return ds4_fail(p->err, DS4_E_LIMIT, "the pattern looks ahead more than %d times",
                            DS4_REGEX_MAX_AHEAD);
        }
        ds4_regex_ahead *one = &p->r->ahead[p->r->n_ahead];
        one->not = not ;
        DS4_TRY(read_or(p, &one->node));
        if (!accept(p, ")")) return wrong(p, "( without )");
        if (strchr("*+?{", peek(p) < 0 ? 'x' : peek(p))) {
            p->pos = begin;
            return unsupported(p, "a look ahead that repeats");
        }
        p->r->n_ahead++;
    }
}

ds4_status ds4_regex_read(ds4_slice pattern, bool whole, ds4_regex *out, ds4_err *err)
{
    reader p = { .text = pattern, .r = out, .err = err };

    *out = (ds4_regex){ 0 };
    if (pattern.n_bytes > DS4_REGEX_MAX_BYTES) {
        return ds4_fail(err, DS4_E_LIMIT, "the pattern has %zu bytes, expected at most %d",
                        pattern.n_bytes, DS4_REGEX_MAX_BYTES);
    }
    const bool begins = accept(&p, "^") || whole;
    if (begins) DS4_TRY(read_aheads(&p));
    if (out->n_ahead == 0) p.pos = 0;
    const size_t body = p.pos;
    DS4_TRY(read_or(&p, &out->root));
    if (peek(&p) == ')') return wrong(&p, ") without (");
    /* The aheads, and the ^ in front of them, belong to the first alternative only. */
    if (out->n_ahead > 0 && out->node[out->root].kind == DS4_REGEX_OR) {
        p.pos = body;
        return unsupported(&p, "a look ahead in one of several alternatives");
    }
    if (out->n_ahead == 0) return DS4_OK;
    uint32_t begin;
    DS4_TRY(add(&p, (ds4_regex_node){ .kind = DS4_REGEX_BEGIN }, &begin));
    return add(&p, (ds4_regex_node){ .kind = DS4_REGEX_SEQ, .a = begin, .b = out->root },
               &out->root);
}
