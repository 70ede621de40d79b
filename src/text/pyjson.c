/* pyjson.c - see pyjson.h. One reader serves checking and writing: it copies what it has
 * read, in Python's spelling, or nothing when there is no output. */
#include "text/pyjson.h"

#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

/* The place of a member of an open object in the output. */
typedef struct member {
    size_t   begin;             /* of its name */
    size_t   name_bytes, n_bytes;       /* of the name alone; of name, ": " and value */
    uint32_t number;            /* its place in the object */
} member;

typedef struct reader {
    const char *data;
    size_t      n_bytes, pos;
    unsigned    depth;
    ds4_str    *out;            /* NULL: check only */
    member     *members;        /* [n_members] of all open objects, the innermost last */
    size_t      n_members, capacity;
    ds4_err    *err;
} reader;

static ds4_status read_value(reader *r);

static reader reader_of(ds4_slice json, ds4_str *out, ds4_err *err)
{
    return (reader){
        .data = json.data ? json.data : "", .n_bytes = json.n_bytes, .out = out, .err = err
    };
}

static ds4_status expected(reader *r, const char *what)
{
    if (r->pos >= r->n_bytes) {
        return ds4_fail(r->err, DS4_E_FORMAT, "JSON ends at byte %zu, expected %s", r->pos, what);
    }
    const unsigned char byte = (unsigned char)r->data[r->pos];
    if (byte > ' ' && byte < 0x7F) {
        return ds4_fail(r->err, DS4_E_FORMAT, "JSON byte %zu is '%c', expected %s", r->pos, byte,
                        what);
    }
    return ds4_fail(r->err, DS4_E_FORMAT, "JSON byte %zu is 0x%02x, expected %s", r->pos, byte,
                    what);
}

static void put(reader *r, const char *data, size_t n_bytes)
{
    if (r->out) ds4_str_add(r->out, data, n_bytes);
}

/* The byte at the position, or -1 at the end. */
static int peek(const reader *r)
{
    return r->pos < r->n_bytes ? (unsigned char)r->data[r->pos] : -1;
}

static bool is_space(int byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void skip_space(reader *r)
{
    while (is_space(peek(r))) r->pos++;
}

static bool accept(reader *r, char byte)
{
    if (peek(r) != byte) return false;
    r->pos++;
    return true;
}

/* ---- strings ---- */

void ds4_pyjson_add_escaped(ds4_str *out, ds4_slice text)
{
    static const char NAMED[] = "btn\0fr";      /* for 8..13; 11 has no name */
    size_t done = 0;

    for (size_t i = 0; i < text.n_bytes; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        if (c >= ' ' && c != '"' && c != '\\') continue;
        ds4_str_add(out, text.data + done, i - done);
        done = i + 1;
        if (c >= ' ' || (c >= 8 && c <= 13 && NAMED[c - 8])) {
            const char pair[2] = { '\\', c >= ' ' ? (char)c : NAMED[c - 8] };
            ds4_str_add(out, pair, 2);
        } else {
            ds4_str_addf(out, "\\u%04x", c);
        }
    }
    if (text.n_bytes > done) ds4_str_add(out, text.data + done, text.n_bytes - done);
}

void ds4_pyjson_add_string(ds4_str *out, ds4_slice text)
{
    ds4_str_add_char(out, '"');
    if (ds4_utf8_valid(text.data, text.n_bytes)) {
        ds4_pyjson_add_escaped(out, text);
    } else {
        ds4_str repaired = { 0 };
        ds4_utf8_repair(text.data, text.n_bytes, &repaired);
        ds4_pyjson_add_escaped(out, (ds4_slice){ ds4_str_text(&repaired), repaired.n_bytes });
        if (repaired.failed) out->failed = true;
        ds4_str_clear(&repaired);
    }
    ds4_str_add_char(out, '"');
}

static ds4_status read_hex4(reader *r, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, r->pos++) {
        const int c = peek(r), low = c | 0x20;
        int digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (low >= 'a' && low <= 'f') digit = low - 'a' + 10;
        else return expected(r, "a hexadecimal digit");
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return DS4_OK;
}

/* Behind "\u": a character, or a surrogate pair. ds4_utf8_write() turns a lone surrogate
 * into U+FFFD. */
static ds4_status read_unicode_escape(reader *r, uint32_t *code)
{
    DS4_TRY(read_hex4(r, code));
    if (*code < 0xD800 || *code > 0xDBFF) return DS4_OK;
    if (r->n_bytes - r->pos < 2 || memcmp(r->data + r->pos, "\\u", 2) != 0) return DS4_OK;

    const size_t before = r->pos;
    uint32_t     low;
    r->pos += 2;
    DS4_TRY(read_hex4(r, &low));
    if (low >= 0xDC00 && low <= 0xDFFF) {
        *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    } else {
        r->pos = before;        /* the second one speaks for itself */
    }
    return DS4_OK;
}

/* Behind a backslash. */
static ds4_status read_escape(reader *r, uint32_t *code)
{
    static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    const int   c = peek(r);
    const char *at = c > 0 ? strchr(FROM, c) : NULL;

    if (c == 'u') {
        r->pos++;
        return read_unicode_escape(r, code);
    }
    if (!at) return expected(r, "an escape, one of \"\\/bfnrtu");
    *code = (uint32_t)TO[at - FROM];
    r->pos++;
    return DS4_OK;
}

/* A string; what it stands for is appended to text (unless NULL), escaped if `escaped`. */
static ds4_status read_string(reader *r, ds4_str *text, bool escaped)
{
    if (!accept(r, '"')) return expected(r, "a string");
    for (;;) {
        size_t n = 0;           /* bytes that mean themselves, in the source as in the output */
        while (r->pos + n < r->n_bytes) {
            const unsigned char c = (unsigned char)r->data[r->pos + n];
            if (c < ' ' || c == '"' || c == '\\') break;
            n++;
        }
        const bool valid = ds4_utf8_valid(r->data + r->pos, n);
        if (valid && text) ds4_str_add(text, r->data + r->pos, n);
        if (!valid) {
            return ds4_fail(r->err, DS4_E_FORMAT, "JSON string at byte %zu is not valid UTF-8",
                            r->pos);
        }
        r->pos += n;
        if (accept(r, '"')) return DS4_OK;
        if (!accept(r, '\\')) return expected(r, "the end of a string");

        uint32_t code = 0;
        char     bytes[4];
        DS4_TRY(read_escape(r, &code));
        const size_t n_bytes = (size_t)ds4_utf8_write(code, bytes);
        if (text && escaped) ds4_pyjson_add_escaped(text, (ds4_slice){ bytes, n_bytes });
        if (text && !escaped) ds4_str_add(text, bytes, n_bytes);
    }
}

static ds4_status copy_string(reader *r)
{
    put(r, "\"", 1);
    DS4_TRY(read_string(r, r->out, true));
    put(r, "\"", 1);
    return DS4_OK;
}

/* ---- numbers and words ---- */

static ds4_status skip_digits(reader *r)
{
    if (peek(r) < '0' || peek(r) > '9') return expected(r, "a digit");
    while (peek(r) >= '0' && peek(r) <= '9') r->pos++;
    return DS4_OK;
}

static ds4_status copy_number(reader *r)
{
    const size_t begin = r->pos;

    accept(r, '-');
    if (!accept(r, '0')) DS4_TRY(skip_digits(r));
    if (accept(r, '.')) DS4_TRY(skip_digits(r));
    if (accept(r, 'e') || accept(r, 'E')) {
        if (!accept(r, '+')) accept(r, '-');
        DS4_TRY(skip_digits(r));
    }
    put(r, r->data + begin, r->pos - begin);
    return DS4_OK;
}

static ds4_status copy_word(reader *r, const char *word)
{
    const size_t n = strlen(word);
    if (r->n_bytes - r->pos < n || memcmp(r->data + r->pos, word, n) != 0) {
        return expected(r, "a value");
    }
    r->pos += n;
    put(r, word, n);
    return DS4_OK;
}

/* ---- arrays and objects ---- */

static ds4_status enter(reader *r)
{
    if (++r->depth <= DS4_PYJSON_MAX_DEPTH) return DS4_OK;
    return ds4_fail(r->err, DS4_E_LIMIT, "JSON byte %zu is nested more than %d deep", r->pos,
                    DS4_PYJSON_MAX_DEPTH);
}

static ds4_status copy_array(reader *r)
{
    DS4_TRY(enter(r));
    r->pos++;
    put(r, "[", 1);
    skip_space(r);
    if (!accept(r, ']')) {
        for (;;) {
            DS4_TRY(read_value(r));
            if (accept(r, ']')) break;
            if (!accept(r, ',')) return expected(r, "',' or ']'");
            put(r, ", ", 2);
        }
    }
    put(r, "]", 1);
    r->depth--;
    return DS4_OK;
}

static bool push_member(reader *r, member m)
{
    if (r->n_members == r->capacity) {
        const size_t capacity = r->capacity ? r->capacity * 2 : 32;
        member *members = realloc(r->members, capacity * sizeof *members);
        if (!members) return false;
        r->members = members;
        r->capacity = capacity;
    }
    r->members[r->n_members++] = m;
    return true;
}

static int order_of_names(const ds4_str *out, const member *a, const member *b)
{
    const size_t n = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
    const int order = memcmp(out->data + a->begin, out->data + b->begin, n);
    if (order) return order;
    if (a->name_bytes != b->name_bytes) return a->name_bytes < b->name_bytes ? -1 : 1;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Heap sort of members by name, then place: qsort() has no context argument that every
 * system agrees on, and hostile names must not make it quadratic. */
static void sort_by_name(const ds4_str *out, member *m, size_t n)
{
    for (size_t built = n / 2, end = n; end > 1;) {
        if (built > 0) {
            built--;
        } else {
            const member swap = m[--end];
            m[end] = m[0];
            m[0] = swap;
        }
        for (size_t i = built;;) {
            size_t child = 2 * i + 1;
            if (child >= end) break;
            if (child + 1 < end && order_of_names(out, &m[child], &m[child + 1]) < 0) child++;
            if (order_of_names(out, &m[i], &m[child]) >= 0) break;
            const member swap = m[i];
            m[i] = m[child];
            m[child] = swap;
            i = child;
        }
    }
}

static bool same_name(const ds4_str *out, const member *a, const member *b)
{
    return a->name_bytes == b->name_bytes &&
           memcmp(out->data + a->begin, out->data + b->begin, a->name_bytes) == 0;
}

/* The members, two or more, of an object that ends now and begins at `begin` in the output.
 * If names repeat, write it again: the first gives the place, the last the value. */
static ds4_status settle_names(reader *r, size_t begin, member *m, size_t n)
{
    ds4_str *out = r->out;
    size_t   n_kept = 0;

    if (out->failed) return DS4_OK;
    member *sorted = malloc(n * 2 * sizeof *sorted);
    if (!sorted) return ds4_fail(r->err, DS4_E_NOMEM, "no memory for %zu JSON members", n);
    member *kept = sorted + n;                  /* by place; n_bytes 0 where nothing is kept */

    memcpy(sorted, m, n * sizeof *m);
    memset(kept, 0, n * sizeof *kept);
    sort_by_name(out, sorted, n);
    for (size_t i = 0; i < n;) {
        size_t last = i;
        while (last + 1 < n && same_name(out, &sorted[i], &sorted[last + 1])) last++;
        kept[sorted[i].number] = sorted[last];
        n_kept++;
        i = last + 1;
    }
    if (n_kept < n) {
        ds4_str again = { 0 };
        for (size_t i = 0; i < n; i++) {
            if (kept[i].n_bytes == 0) continue;
            if (again.n_bytes) ds4_str_add(&again, ", ", 2);
            ds4_str_add(&again, out->data + kept[i].begin, kept[i].n_bytes);
        }
        ds4_str_truncate(out, begin);
        ds4_str_add(out, again.data, again.n_bytes);
        if (again.failed) out->failed = true;
        ds4_str_clear(&again);
    }
    free(sorted);
    return DS4_OK;
}

static ds4_status copy_member(reader *r, uint32_t number)
{
    const size_t begin = r->out ? r->out->n_bytes : 0;

    skip_space(r);
    DS4_TRY(copy_string(r));
    const size_t name_end = r->out ? r->out->n_bytes : 0;
    skip_space(r);
    if (!accept(r, ':')) return expected(r, "':'");
    put(r, ": ", 2);
    DS4_TRY(read_value(r));
    if (!r->out) return DS4_OK;
    const member m = { begin, name_end - begin, r->out->n_bytes - begin, number };
    return push_member(r, m) ? DS4_OK : ds4_fail(r->err, DS4_E_NOMEM, "no memory for JSON members");
}

static ds4_status copy_object(reader *r)
{
    const size_t first = r->n_members;

    DS4_TRY(enter(r));
    r->pos++;
    put(r, "{", 1);
    const size_t begin = r->out ? r->out->n_bytes : 0;
    skip_space(r);
    if (!accept(r, '}')) {
        for (uint32_t number = 0;; number++) {
            DS4_TRY(copy_member(r, number));
            if (accept(r, '}')) break;
            if (!accept(r, ',')) return expected(r, "',' or '}'");
            put(r, ", ", 2);
        }
    }
    if (r->n_members > first + 1) {
        DS4_TRY(settle_names(r, begin, r->members + first, r->n_members - first));
    }
    r->n_members = first;
    put(r, "}", 1);
    r->depth--;
    return DS4_OK;
}

/* A value with the white space around it. */
static ds4_status read_value(reader *r)
{
    ds4_status st;

    skip_space(r);
    switch (peek(r)) {
    case '{': st = copy_object(r); break;
    case '[': st = copy_array(r); break;
    case '"': st = copy_string(r); break;
    case 't': st = copy_word(r, "true"); break;
    case 'f': st = copy_word(r, "false"); break;
    case 'n': st = copy_word(r, "null"); break;
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        st = copy_number(r);
        break;
    default:
        return expected(r, "a value");
    }
    if (st == DS4_OK) skip_space(r);
    return st;
}

/* ---- public functions ---- */

static ds4_status read_whole(ds4_slice json, ds4_str *out, ds4_err *err)
{
    reader r = reader_of(json, out, err);
    ds4_status st = read_value(&r);

    if (st == DS4_OK && r.pos < r.n_bytes) st = expected(&r, "the end");
    if (st == DS4_OK && out && out->failed) {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for JSON text");
    }
    free(r.members);
    return st;
}

ds4_status ds4_pyjson_dump(ds4_slice json, ds4_str *out, ds4_err *err)
{
    const size_t before = out->n_bytes;
    const ds4_status st = read_whole(json, out, err);
    if (st != DS4_OK) ds4_str_truncate(out, before);
    return st;
}

ds4_status ds4_pyjson_check(ds4_slice json, ds4_err *err)
{
    return read_whole(json, NULL, err);
}

ds4_json_kind ds4_pyjson_kind(ds4_slice json)
{
    reader r = reader_of(json, NULL, NULL);
    skip_space(&r);
    switch (peek(&r)) {
    case '{': return DS4_JSON_OBJECT;
    case '[': return DS4_JSON_ARRAY;
    case '"': return DS4_JSON_STRING;
    case 't': return DS4_JSON_TRUE;
    case 'f': return DS4_JSON_FALSE;
    case 'n': return DS4_JSON_NULL;
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        return DS4_JSON_NUMBER;
    default:
        return DS4_JSON_NONE;
    }
}

ds4_status ds4_pyjson_decode_string(ds4_slice json, ds4_str *out, ds4_err *err)
{
    reader r = reader_of(json, NULL, err);
    const size_t before = out->n_bytes;

    skip_space(&r);
    ds4_status st = read_string(&r, out, false);
    skip_space(&r);
    if (st == DS4_OK && r.pos < r.n_bytes) st = expected(&r, "the end");
    if (st == DS4_OK && out->failed) st = ds4_fail(err, DS4_E_NOMEM, "no memory for a JSON string");
    if (st != DS4_OK) ds4_str_truncate(out, before);
    return st;
}

ds4_status ds4_pyjson_open(ds4_pyjson_iter *it, ds4_slice json, ds4_err *err)
{
    DS4_TRY(ds4_pyjson_check(json, err));
    const ds4_json_kind kind = ds4_pyjson_kind(json);
    if (kind != DS4_JSON_OBJECT && kind != DS4_JSON_ARRAY) {
        return ds4_fail(err, DS4_E_FORMAT, "JSON value is neither an object nor an array");
    }
    reader r = reader_of(json, NULL, NULL);
    skip_space(&r);
    *it = (ds4_pyjson_iter){ json, kind, r.pos + 1 };
    return DS4_OK;
}

/* The text was checked when the walk began, so that nothing here can fail. */
bool ds4_pyjson_next(ds4_pyjson_iter *it, ds4_slice *name, ds4_slice *value)
{
    reader    r = reader_of(it->json, NULL, NULL);
    ds4_slice found = { "", 0 };

    r.pos = it->pos;
    skip_space(&r);
    if (accept(&r, ',')) skip_space(&r);
    if (peek(&r) == '}' || peek(&r) == ']' || peek(&r) < 0) return false;
    if (it->kind == DS4_JSON_OBJECT) {
        const size_t begin = r.pos;
        if (read_string(&r, NULL, false) != DS4_OK) return false;
        found = (ds4_slice){ r.data + begin, r.pos - begin };
        skip_space(&r);
        accept(&r, ':');
        skip_space(&r);
    }
    const size_t begin = r.pos;
    if (read_value(&r) != DS4_OK) return false;
    it->pos = r.pos;
    while (r.pos > begin && is_space((unsigned char)r.data[r.pos - 1])) r.pos--;
    if (name) *name = found;
    *value = (ds4_slice){ r.data + begin, r.pos - begin };
    return true;
}

bool ds4_pyjson_get(ds4_slice json, const char *name, ds4_slice *value)
{
    const ds4_slice wanted = { name, strlen(name) };
    ds4_pyjson_iter it;
    ds4_slice       member_name, member_value;
    ds4_str         text = { 0 };
    bool            found = false;

    if (ds4_pyjson_open(&it, json, NULL) != DS4_OK || it.kind != DS4_JSON_OBJECT) return false;
    while (ds4_pyjson_next(&it, &member_name, &member_value)) {
        ds4_str_truncate(&text, 0);
        if (ds4_pyjson_decode_string(member_name, &text, NULL) != DS4_OK) continue;
        if (!ds4_slice_eq((ds4_slice){ ds4_str_text(&text), text.n_bytes }, wanted)) continue;
        *value = member_value;
        found = true;
    }
    ds4_str_clear(&text);
    return found;
}
