/* dsml_scan.c - see dsml_scan.h. A matcher walks along the text; each step either goes on, or
 * leaves NO or MORE as the answer. The bytes looked ahead are bounded, so that reading
 * token by token stays linear. */
#include "text/dsml_scan.h"

#include "text/markers.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_NAME_BYTES = 512, /* of a tool or parameter */
    MAX_SPACE_BYTES = 16, /* between the wrapper and its first invoke */
    MAX_EXTRA_BARS = 2,
};

static const char BAR[] = "｜"; /* U+FF5C */

typedef struct spelling {
    const char *text;
    ds4_sign    sign;
} spelling;

static const spelling SPELLINGS[] = {
    { DS4_MARK_THINK, DS4_SIGN_THINK }, { DS4_MARK_THINK_CLOSE, DS4_SIGN_THINK_CLOSE },
    { DS4_MARK_DSML, DS4_SIGN_DSML },   { DS4_MARK_EOS, DS4_SIGN_END },
    { DS4_MARK_EOT, DS4_SIGN_END },
};
enum { N_SPELLINGS = sizeof SPELLINGS / sizeof SPELLINGS[0] };

/* ---- the text and its special tokens ---- */

static ds4_sign sign_of_id(const ds4_vocab *v, int32_t id)
{
    const ds4_specials *s = ds4_vocab_specials(v);

    if (id < 0) return DS4_SIGN_NONE;
    if (id == s->think_open) return DS4_SIGN_THINK;
    if (id == s->think_close) return DS4_SIGN_THINK_CLOSE;
    if (id == s->dsml) return DS4_SIGN_DSML;
    return ds4_vocab_is_end(v, id) ? DS4_SIGN_END : DS4_SIGN_NONE;
}

bool ds4_dsml_text_add_token(ds4_dsml_text *t, int32_t id)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(t->vocab, id);
    const ds4_sign  sign = sign_of_id(t->vocab, id);

    t->by_id = true;
    if (sign != DS4_SIGN_NONE && bytes.n_bytes > 0) {
        if (t->n_places == t->capacity) {
            const size_t    capacity = t->capacity ? t->capacity * 2 : 32;
            ds4_dsml_place *places = realloc(t->places, capacity * sizeof *places);
            if (!places) return false;
            t->places = places;
            t->capacity = capacity;
        }
        t->places[t->n_places++] = (ds4_dsml_place){ t->bytes.n_bytes, bytes.n_bytes, sign };
    }
    ds4_str_add(&t->bytes, bytes.data, bytes.n_bytes);
    return !t->bytes.failed;
}

void ds4_dsml_text_clear(ds4_dsml_text *t)
{
    ds4_str_clear(&t->bytes);
    free(t->places);
    *t = (ds4_dsml_text){ 0 };
}

static ds4_sign sign_by_place(const ds4_dsml_text *t, size_t at, size_t *n_bytes)
{
    size_t low = 0, high = t->n_places; /* the first place >= at is in low .. high */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (t->places[middle].pos < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == t->n_places || t->places[low].pos != at) return DS4_SIGN_NONE;
    *n_bytes = t->places[low].n_bytes;
    return t->places[low].sign;
}

ds4_sign ds4_dsml_sign_at(const ds4_dsml_text *t, size_t at, size_t *n_bytes)
{
    if (t->by_id) return sign_by_place(t, at, n_bytes);

    const size_t left = t->bytes.n_bytes - at;
    bool         more = false;
    for (int i = 0; i < N_SPELLINGS; i++) {
        const size_t n = strlen(SPELLINGS[i].text), n_there = left < n ? left : n;
        if (memcmp(t->bytes.data + at, SPELLINGS[i].text, n_there) != 0) continue;
        if (n_there == n) {
            *n_bytes = n;
            return SPELLINGS[i].sign;
        }
        more = n_there > 0;
    }
    return more && !t->final ? DS4_SIGN_MORE : DS4_SIGN_NONE;
}

size_t ds4_dsml_next_candidate(const ds4_dsml_text *t, size_t at)
{
    const char *data = t->bytes.data;
    for (; at < t->bytes.n_bytes; at++) {
        if (data[at] == '<' || data[at] == BAR[0]) break;
    }
    return at;
}

/* ---- a matcher ---- */

typedef struct matcher {
    const ds4_dsml_text *t;
    size_t               at;
    ds4_found            found; /* YES while it fits */
    bool                 real, odd;
} matcher;

static matcher match_from(const ds4_dsml_text *t, size_t at)
{
    return (matcher){ .t = t, .at = at, .found = DS4_FOUND_YES };
}

/* Give up; false, so that a step can return it. */
static bool fails(matcher *m, bool at_the_end)
{
    m->found = at_the_end && !m->t->final ? DS4_FOUND_MORE : DS4_FOUND_NO;
    return false;
}

/* Go past `text` if it is there. Leaves MORE if it is begun, and YES if it is not. */
static bool accept(matcher *m, const char *text)
{
    const size_t left = m->t->bytes.n_bytes - m->at, n = strlen(text);
    const size_t n_there = left < n ? left : n;

    if (memcmp(ds4_str_text(&m->t->bytes) + m->at, text, n_there) != 0) return false;
    if (n_there < n) return fails(m, true);
    m->at += n;
    return true;
}

/* Go past `text` or give up. */
static bool need(matcher *m, const char *text)
{
    if (accept(m, text)) return true;
    return m->found == DS4_FOUND_YES ? fails(m, false) : false;
}

static bool accept_bar(matcher *m)
{
    if (accept(m, "|")) return true;
    return m->found == DS4_FOUND_YES && accept(m, BAR);
}

static bool need_bar(matcher *m)
{
    if (accept_bar(m)) return true;
    return m->found == DS4_FOUND_YES ? fails(m, false) : false;
}

static void skip_space(matcher *m, size_t most)
{
    for (; most > 0 && m->at < m->t->bytes.n_bytes; most--, m->at++) {
        if (!strchr(" \t\r\n", m->t->bytes.data[m->at]) || !m->t->bytes.data[m->at]) return;
    }
}

/* The special token, or its letters between bars. Any other number of bars than one on each
 * side is odd; without the special token there must be one behind the letters. */
static bool need_mark(matcher *m)
{
    size_t n_sign;
    int    n_before = 0;

    for (;; n_before++) {
        if (m->at >= m->t->bytes.n_bytes) return fails(m, true);
        const ds4_sign sign = ds4_dsml_sign_at(m->t, m->at, &n_sign);
        if (sign == DS4_SIGN_MORE) return fails(m, true);
        if (sign == DS4_SIGN_DSML) {
            m->real = true;
            m->at += n_sign;
            break;
        }
        if (sign != DS4_SIGN_NONE) return fails(m, false);
        if (n_before == MAX_EXTRA_BARS || !accept_bar(m)) break;
    }
    if (m->found != DS4_FOUND_YES) return false;
    if (n_before > 0 || !m->real) m->odd = true;
    if (!m->real && (!need(m, "DSML") || !need_bar(m))) return false;
    if (accept_bar(m)) m->odd = true;
    if (m->found == DS4_FOUND_YES && accept(m, " ")) m->odd = true;
    return m->found == DS4_FOUND_YES;
}

static bool need_wrapper_word(matcher *m)
{
    if (accept(m, "tool_calls>")) return true;
    if (m->found != DS4_FOUND_YES || !need(m, "toolcalls>")) return false;
    m->odd = true;
    return true;
}

/* Go past one of the marks that open a quotation; *close receives its counterpart. */
static bool need_open_quote(matcher *m, const char **close)
{
    static const char *const quotes[][2] = { { "\"", "\"" }, { "'", "'" }, { "“", "”" } };

    for (size_t i = 0; i < sizeof quotes / sizeof *quotes; i++) {
        if (accept(m, quotes[i][0])) {
            *close = quotes[i][1];
            if (i > 0) m->odd = true;
            return true;
        }
        if (m->found != DS4_FOUND_YES) return false;
    }
    return fails(m, false);
}

/* A quoted value. Tag names hold no line ends and no '<'. */
static bool need_quoted(matcher *m, ds4_slice *value)
{
    const char *close = NULL;

    if (!need_open_quote(m, &close)) return false;
    const char  *begin = m->t->bytes.data + m->at;
    const size_t n_close = strlen(close);
    for (size_t n = 0; n <= MAX_NAME_BYTES; n++) {
        const size_t left = m->t->bytes.n_bytes - m->at - n;
        if (memcmp(begin + n, close, left < n_close ? left : n_close) == 0) {
            if (left < n_close) return fails(m, true);
            *value = (ds4_slice){ begin, n };
            m->at += n + n_close;
            return true;
        }
        if (begin[n] == '\n' || begin[n] == '<') break;
    }
    return fails(m, false);
}

bool ds4_dsml_can_name(ds4_slice name)
{
    if (name.n_bytes == 0 || name.n_bytes > MAX_NAME_BYTES) return false;
    for (size_t i = 0; i < name.n_bytes; i++) {
        const unsigned char c = (unsigned char)name.data[i];
        if (c < ' ' || c == 0x7f || c == '"' || c == '<' || c == '>') return false;
    }
    return true;
}

/* A quoted value, or true and false without quotes. */
static bool need_truth(matcher *m, ds4_slice *value)
{
    static const ds4_slice words[] = { { "true", 4 }, { "false", 5 } };

    for (size_t i = 0; i < 2; i++) {
        if (accept(m, words[i].data)) {
            *value = words[i];
            m->odd = true;
            return true;
        }
        if (m->found != DS4_FOUND_YES) return false;
    }
    return need_quoted(m, value);
}

static ds4_found finish(const matcher *m, ds4_dsml_tag *tag)
{
    if (m->found == DS4_FOUND_YES) {
        tag->end = m->at;
        tag->real = m->real;
        tag->odd = m->odd;
    }
    return m->found;
}

/* ---- tags ---- */

ds4_found ds4_dsml_match_opener(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag)
{
    matcher m = match_from(t, at);

    *tag = (ds4_dsml_tag){ 0 };
    if (!need(&m, "<") || !need_mark(&m)) return m.found;
    const bool alone = accept(&m, "invoke name=");
    if (m.found != DS4_FOUND_YES) return m.found;
    if (alone) {
        m.at = at;
        m.odd = true;
        return finish(&m, tag);
    }
    if (!need_wrapper_word(&m)) return m.found;
    skip_space(&m, MAX_SPACE_BYTES);
    const size_t invoke = m.at;
    if (!need(&m, "<") || !need_mark(&m) || !need(&m, "invoke name=")) return m.found;
    m.at = invoke;
    tag->wrapped = true;
    return finish(&m, tag);
}

ds4_found ds4_dsml_match_invoke(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag)
{
    matcher m = match_from(t, at);

    *tag = (ds4_dsml_tag){ 0 };
    if (!need(&m, "<") || !need_mark(&m) || !need(&m, "invoke name=")) return m.found;
    if (!need_quoted(&m, &tag->name)) return m.found;
    if (accept(&m, " ")) m.odd = true;
    if (m.found == DS4_FOUND_YES) need(&m, ">");
    return finish(&m, tag);
}

ds4_found ds4_dsml_match_parameter(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag)
{
    matcher   m = match_from(t, at);
    ds4_slice is_string = { "", 0 };

    *tag = (ds4_dsml_tag){ 0 };
    if (!need(&m, "<") || !need_mark(&m) || !need(&m, "parameter name=")) return m.found;
    if (!need_quoted(&m, &tag->name)) return m.found;
    const bool said = accept(&m, " string=");
    if (m.found != DS4_FOUND_YES) return m.found;
    if (said && !need_truth(&m, &is_string)) return m.found;
    if (ds4_slice_eq(is_string, DS4_SLICE("true"))) tag->string = DS4_STRING_TRUE;
    if (ds4_slice_eq(is_string, DS4_SLICE("false"))) tag->string = DS4_STRING_FALSE;
    if (tag->string == DS4_STRING_UNSAID) m.odd = true;
    if (accept(&m, " ")) m.odd = true;
    if (m.found == DS4_FOUND_YES) need(&m, ">");
    return finish(&m, tag);
}

ds4_found ds4_dsml_match_close_block(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag)
{
    matcher m = match_from(t, at);

    if (need(&m, "</") && need_mark(&m)) need_wrapper_word(&m);
    return finish(&m, tag);
}

ds4_found ds4_dsml_match_close_invoke(const ds4_dsml_text *t, size_t at, ds4_dsml_tag *tag)
{
    matcher m = match_from(t, at);

    if (need(&m, "</") && need_mark(&m)) need(&m, "invoke>");
    return finish(&m, tag);
}

ds4_found ds4_dsml_match_close_parameter(const ds4_dsml_text *t, size_t at, bool real_only,
                                         ds4_dsml_tag *tag)
{
    matcher m = match_from(t, at);

    if (need(&m, "</") && need_mark(&m)) {
        if (real_only && !m.real) return DS4_FOUND_NO;
        need(&m, "parameter>");
    }
    return finish(&m, tag);
}

bool ds4_dsml_tag_has_begun(const ds4_dsml_text *t, size_t at)
{
    matcher m = match_from(t, at);

    if (at >= t->bytes.n_bytes || !need(&m, "<")) return false;
    accept(&m, "/");
    need_mark(&m);
    return m.real;
}
