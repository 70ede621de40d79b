/* content.c - see content.h.
 *
 * The words of every kind of part are in a few members of the same names, so one walk over them
 * serves all kinds, and those that come later. */
#include "app/server/content.h"

#include "app/server/request_members.h"
#include "text/utf8.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MAX_NESTING = 8,
    MAX_KIND_BYTES = 40
}; /* of parts in parts; of a kind's name that is shown */

typedef struct reader {
    ds4_request *rq;
    ds4_err     *err;
    const char  *where; /* of the outermost part */
    uint32_t     depth;
} reader;

/* The words of a part: those that name it, and those it says. */
typedef struct words {
    ds4_str head, body;
} words;

static ds4_status add_content(reader *r, ds4_slice json, const char *between, ds4_str *out);

static ds4_slice slice_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

/* Append a text behind `between`, if there is one and it is not the first. */
static void add_joined(ds4_str *out, const char *between, ds4_slice text)
{
    if (text.n_bytes == 0) return;
    if (out->n_bytes) ds4_str_add_text(out, between);
    ds4_str_add(out, text.data, text.n_bytes);
}

static bool begins_with(ds4_slice s, const char *begin)
{
    const size_t n = strlen(begin);
    return s.n_bytes >= n && !strncasecmp(s.data, begin, n);
}

/* ---- bytes that are text ------------------------------------------------------------------------ */

static bool is_text_type(ds4_slice media_type)
{
    return begins_with(media_type, "text/") || begins_with(media_type, "application/json") ||
           begins_with(media_type, "application/xml");
}

/* The value of a digit of base64 (RFC 4648), both alphabets; -1 for others. */
static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Append what base64 stands for as valid UTF-8; false, and nothing added, when it is no base64. */
static bool add_base64(ds4_str *out, ds4_slice text)
{
    ds4_str  bytes = { 0 };
    uint32_t bits = 0, n_bits = 0;
    bool     good = true;

    for (size_t i = 0; i < text.n_bytes && good && text.data[i] != '='; i++) {
        const int digit = digit_of(text.data[i]);
        if (strchr("\r\n ", text.data[i]) && text.data[i]) continue;
        good = digit >= 0;
        bits = bits << 6 | ((uint32_t)digit & 63);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        ds4_str_add_char(&bytes, (char)(bits >> n_bits & 255));
    }
    if (good) ds4_utf8_repair(ds4_str_text(&bytes), bytes.n_bytes, out);
    out->failed |= bytes.failed;
    ds4_str_clear(&bytes);
    return good;
}

/* The text of "data:TYPE;base64,DATA", if TYPE is a text's. */
static void add_data_url(ds4_str *out, ds4_slice url)
{
    if (!begins_with(url, "data:")) return;
    const char *comma = memchr(url.data, ',', url.n_bytes);
    if (!comma) return;
    const ds4_slice type = { url.data + 5, (size_t)(comma - url.data) - 5 };
    const ds4_slice data = { comma + 1, url.n_bytes - (size_t)(comma + 1 - url.data) };
    if (is_text_type(type) && type.n_bytes > 7 && !memcmp(comma - 7, ";base64", 7))
        add_base64(out, data);
}

/* ---- the words of a part ------------------------------------------------------------------------ */

/* The strings among the members of these names, each on a line. */
static ds4_status add_strings(reader *r, const ds4_fields *f, const char *const *names,
                              ds4_str *out)
{
    ds4_slice value, text;

    for (; *names; names++) {
        if (!ds4_fields_get(f, *names, &value) || ds4_pyjson_kind(value) != DS4_JSON_STRING)
            continue;
        DS4_TRY(ds4_fields_text(f, *names, &text, &r->rq->refusal, r->err));
        if (!begins_with(text, "data:")) add_joined(out, "\n", text);
    }
    return DS4_OK;
}

/* The bytes of a source ({"type", "media_type", "data"}) or a file ("file_data"), if they are text. */
static ds4_status add_data(reader *r, const ds4_fields *f, ds4_str *out)
{
    ds4_slice type = { 0 }, media_type = { 0 }, data = { 0 }, url = { 0 };
    ds4_str   text = { 0 };

    DS4_TRY(ds4_fields_text(f, "type", &type, &r->rq->refusal, r->err));
    DS4_TRY(ds4_fields_text(f, "media_type", &media_type, &r->rq->refusal, r->err));
    DS4_TRY(ds4_fields_text(f, "data", &data, &r->rq->refusal, r->err));
    DS4_TRY(ds4_fields_text(f, "file_data", &url, &r->rq->refusal, r->err));
    if (ds4_slice_is(type, "text")) {
        add_joined(out, "\n", data);
    } else if (is_text_type(media_type)) {
        add_base64(&text, data);
    }
    add_data_url(&text, url);
    add_joined(out, "\n", slice_of(&text));
    out->failed |= text.failed;
    ds4_str_clear(&text);
    return DS4_OK;
}

/* All members that may hold words, or parts and objects with words. */
static ds4_status find_words(reader *r, const ds4_fields *f, words *w)
{
    static const char *const heads[] = {
        "title", "filename", "name", "source", "url", "uri", NULL
    };
    static const char *const bodies[] = { "context", "text",       "refusal", "stdout",
                                          "stderr",  "error_code", NULL };
    static const char *const nested[] = { "source", "file",   "resource",        "content",
                                          "output", "result", "tool_references", NULL };
    ds4_slice                value;

    DS4_TRY(add_strings(r, f, heads, &w->head));
    DS4_TRY(add_strings(r, f, bodies, &w->body));
    DS4_TRY(add_data(r, f, &w->body));
    for (size_t i = 0; nested[i]; i++) {
        if (!ds4_fields_get(f, nested[i], &value)) continue;
        const ds4_json_kind kind = ds4_pyjson_kind(value);
        ds4_fields          inner;
        if (kind == DS4_JSON_OBJECT && r->depth < MAX_NESTING) {
            DS4_TRY(ds4_fields_open(&inner, &r->rq->arena, value, r->where, r->err));
            r->depth++;
            DS4_TRY(find_words(r, &inner, w));
            r->depth--;
        } else if (kind == DS4_JSON_ARRAY || (kind == DS4_JSON_STRING && i > 0)) {
            DS4_TRY(add_content(r, value, "\n", &w->body));
        }
    }
    return DS4_OK;
}

/* ---- parts without words ------------------------------------------------------------------------ */

static bool has_no_words(ds4_slice type)
{
    static const char *const kinds[] = { "image",       "input_image", "audio",
                                         "input_audio", "video",       NULL };

    for (size_t i = 0; kinds[i]; i++) {
        if (begins_with(type, kinds[i])) return true;
    }
    return false;
}

/* A file's name is not its content. */
static bool is_file(ds4_slice type)
{
    return begins_with(type, "document") || begins_with(type, "file") ||
           begins_with(type, "input_file") || begins_with(type, "container_upload");
}

/* The line in place of a part, as "[image: this model reads text only]". */
static void add_placeholder(reader *r, ds4_slice type, ds4_slice head, ds4_str *out)
{
    static const char *const plain[] = { "image", "audio", "video", "file", NULL };
    ds4_request             *rq = r->rq;
    char                     kind[MAX_KIND_BYTES + 1];

    snprintf(kind, sizeof kind, "%.*s",
             (int)(type.n_bytes < MAX_KIND_BYTES ? type.n_bytes : MAX_KIND_BYTES),
             type.n_bytes ? type.data : "part");
    for (size_t i = 0; plain[i]; i++) {
        if (strstr(kind, plain[i])) snprintf(kind, sizeof kind, "%s", plain[i]);
    }
    ds4_str_addf(out, "[%s", kind);
    if (head.n_bytes) ds4_str_add_char(out, ' ');
    for (size_t i = 0; i < head.n_bytes; i++)
        ds4_str_add_char(out, head.data[i] == '\n' ? ' ' : head.data[i]);
    ds4_str_add_text(out, ": this model reads text only]");
    if (rq->n_messages == 0 || rq->messages[rq->n_messages - 1].role != DS4_ROLE_USER ||
        rq->after_result)
        return;
    snprintf(rq->unread_where, sizeof rq->unread_where, "%s", r->where);
    snprintf(rq->unread_kind, sizeof rq->unread_kind, "%.60s", type.n_bytes ? type.data : "");
}

ds4_status ds4_content_check(ds4_request *rq, ds4_err *err)
{
    char what[128];

    if (!rq->unread_where[0]) return DS4_OK;
    snprintf(what, sizeof what, "cannot be '%s': only text input is supported", rq->unread_kind);
    return ds4_refuse(&rq->refusal, err, DS4_E_UNSUPPORTED, rq->unread_where, "type", what);
}

/* ---- parts and contents ------------------------------------------------------------------------- */

/* A part of text may be empty; it needs nothing in its place. */
static bool is_text_kind(ds4_slice type)
{
    return type.n_bytes == 0 ||
           (type.n_bytes >= 4 && !memcmp(type.data + type.n_bytes - 4, "text", 4)) ||
           ds4_slice_is(type, "refusal");
}

static ds4_status add_part(reader *r, const ds4_fields *f, ds4_str *out)
{
    ds4_slice  type = { 0 }, text = { 0 };
    words      w = { 0 };
    ds4_status st = DS4_OK;

    DS4_TRY(ds4_fields_text(f, "type", &type, &r->rq->refusal, r->err));
    if (ds4_slice_is(type, "tool_reference")) {
        DS4_TRY(ds4_fields_text(f, "tool_name", &text, &r->rq->refusal, r->err));
        return ds4_request_load_tool(r->rq, text, out, r->err);
    }
    if (is_text_kind(type)) {
        DS4_TRY(ds4_fields_text(f, ds4_slice_is(type, "refusal") ? "refusal" : "text", &text,
                                &r->rq->refusal, r->err));
        ds4_str_add(out, text.data, text.n_bytes);
        return DS4_OK;
    }
    if (!has_no_words(type)) st = find_words(r, f, &w);
    if (st == DS4_OK && (w.body.n_bytes || (w.head.n_bytes && !is_file(type)))) {
        add_joined(out, "\n", slice_of(&w.head));
        add_joined(out, "\n", slice_of(&w.body));
    } else if (st == DS4_OK) {
        add_placeholder(r, type, slice_of(&w.head), out);
    }
    out->failed |= w.head.failed || w.body.failed;
    ds4_str_clear(&w.head);
    ds4_str_clear(&w.body);
    return st;
}

static ds4_status add_element(reader *r, ds4_slice json, const char *between, ds4_str *out)
{
    ds4_fields f;
    ds4_str    text = { 0 };
    ds4_status st;

    if (ds4_pyjson_kind(json) == DS4_JSON_STRING) {
        st = ds4_pyjson_decode_string(json, &text, r->err);
    } else {
        st = ds4_fields_open(&f, &r->rq->arena, json, r->where, r->err);
        if (st == DS4_OK) st = add_part(r, &f, &text);
    }
    add_joined(out, between, slice_of(&text));
    out->failed |= text.failed;
    ds4_str_clear(&text);
    return st;
}

static ds4_status add_content(reader *r, ds4_slice json, const char *between, ds4_str *out)
{
    ds4_pyjson_iter   it;
    ds4_slice         one;
    char              at[96];
    const char *const where = r->where;
    ds4_status        st = DS4_OK;

    if (ds4_pyjson_kind(json) != DS4_JSON_ARRAY) return add_element(r, json, between, out);
    if (r->depth >= MAX_NESTING) return DS4_OK;
    DS4_TRY(ds4_pyjson_open(&it, json, r->err));
    for (uint32_t i = 0; st == DS4_OK && ds4_pyjson_next(&it, NULL, &one); i++) {
        snprintf(at, sizeof at, "%.80s[%u].", where, i);
        if (r->depth == 0) r->where = at;
        r->depth++;
        st = add_element(r, one, between, out);
        r->depth--;
    }
    r->where = where;
    return st;
}

static ds4_status take_text(ds4_request *rq, ds4_status st, ds4_str *text, ds4_slice *out,
                            ds4_err *err)
{
    *out = ds4_arena_take(&rq->arena, text);
    if (st == DS4_OK && rq->arena.failed)
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
    return st;
}

static bool is_part(ds4_slice json)
{
    ds4_slice ignored;
    return ds4_pyjson_kind(json) == DS4_JSON_OBJECT && ds4_pyjson_get(json, "type", &ignored);
}

/* Tools give back any JSON value, which is text as it stands. */
static bool is_result(const ds4_request *rq)
{
    return rq->n_messages > 0 && rq->messages[rq->n_messages - 1].role == DS4_ROLE_TOOL;
}

ds4_status ds4_read_content(ds4_request *rq, ds4_slice json, const char *where, const char *between,
                            ds4_slice *out, ds4_err *err)
{
    reader              r = { .rq = rq, .err = err, .where = where };
    const ds4_json_kind kind = ds4_pyjson_kind(json);
    ds4_str             text = { 0 };

    if (kind == DS4_JSON_NULL) {
        *out = (ds4_slice){ 0 };
        return DS4_OK;
    }
    if (is_result(rq) && kind != DS4_JSON_STRING && kind != DS4_JSON_ARRAY && !is_part(json)) {
        *out = json;
        return DS4_OK;
    }
    if (kind != DS4_JSON_STRING && kind != DS4_JSON_ARRAY && kind != DS4_JSON_OBJECT) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, where, "",
                          "must be a string or a list of parts");
    }
    const ds4_status st = add_content(&r, json, between, &text);
    return take_text(rq, st, &text, out, err);
}

ds4_status ds4_read_part(ds4_request *rq, const ds4_fields *part, ds4_slice *out, ds4_err *err)
{
    reader           r = { .rq = rq, .err = err, .where = part->where, .depth = 1 };
    ds4_str          text = { 0 };
    const ds4_status st = add_part(&r, part, &text);

    return take_text(rq, st, &text, out, err);
}
