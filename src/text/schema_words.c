/* schema_words.c - what one keyword says: counts, bounds of numbers, patterns. */
#include "text/schema.h"

#include <string.h>

uint32_t ds4_schema_count(const ds4_schema *s, uint32_t node, uint32_t otherwise)
{
    ds4_decimal d;
    bool        inexact;
    uint32_t    n = 0;

    if (!node || s->tree.node[node].kind != DS4_JSON_NUMBER) return otherwise;
    if (!ds4_decimal_read(s->tree.node[node].text, &d, &inexact)) return UINT32_MAX - 1;
    if (d.negative) return 0;
    if (d.n_whole > 9) return UINT32_MAX - 1;
    for (uint32_t i = 0; i < d.n_whole; i++) n = n * 10 + (uint32_t)(d.whole[i] - '0');
    return n;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void add_bound(ds4_schema *s, uint32_t node, bool is_low, bool open, ds4_number *n)
{
    const ds4_slice text = s->tree.node[node].text;
    const bool      below = text.data[0] == '-';
    ds4_decimal     bound;
    bool            inexact;

    if (!ds4_decimal_read(text, &bound, &inexact)) {
        if (below == is_low) return; /* further away than any number that is written */
        memset(&bound, 0, sizeof bound);
        bound.negative = below;
        bound.n_whole = DS4_DECIMAL_MAX;
        memset(bound.whole, '9', sizeof bound.whole);
    }
    open |= inexact && below != is_low; /* next to zero, on the side that leaves zero out */
    if (is_low)
        ds4_number_add_low(n, &bound, open);
    else
        ds4_number_add_high(n, &bound, open);
}

/* Formats of numbers are ranges too. */
static void add_format(ds4_schema *s, uint32_t format, ds4_number *n)
{
    static const struct {
        ds4_slice name, low, high;
    } known[] = {
        { DS4_SLICE("int32"), DS4_SLICE("-2147483648"), DS4_SLICE("2147483647") },
        { DS4_SLICE("uint32"), DS4_SLICE("0"), DS4_SLICE("4294967295") },
        { DS4_SLICE("uint64"), DS4_SLICE("0"), DS4_SLICE("18446744073709551615") },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ds4_decimal low, high;
        bool        inexact;
        if (!ds4_slice_eq(s->tree.node[format].string, known[i].name) ||
            !ds4_decimal_read(known[i].low, &low, &inexact) ||
            !ds4_decimal_read(known[i].high, &high, &inexact))
            continue;
        ds4_number_add_low(n, &low, false);
        ds4_number_add_high(n, &high, false);
    }
}

void ds4_schema_bounds(ds4_schema *s, const ds4_words *w, ds4_number *out)
{
    static const struct {
        ds4_word word, beside; /* beside: `true` in it makes the bound an open one */
        bool     low, open;
    } bounds[] = {
        { DS4_W_MINIMUM, DS4_W_EXCLUSIVE_MINIMUM, true, false },
        { DS4_W_MAXIMUM, DS4_W_EXCLUSIVE_MAXIMUM, false, false },
        { DS4_W_EXCLUSIVE_MINIMUM, DS4_N_WORDS, true, true },
        { DS4_W_EXCLUSIVE_MAXIMUM, DS4_N_WORDS, false, true },
    };

    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        const uint32_t at = w->at[bounds[i].word];
        bool           open = bounds[i].open;
        if (!at || s->tree.node[at].kind != DS4_JSON_NUMBER) continue;
        if (bounds[i].beside < DS4_N_WORDS && w->at[bounds[i].beside]) {
            open = s->tree.node[w->at[bounds[i].beside]].kind == DS4_JSON_TRUE;
        }
        add_bound(s, at, bounds[i].low, open, out);
    }
    const uint32_t step = w->at[DS4_W_MULTIPLE_OF];
    if (step && (s->tree.node[step].kind != DS4_JSON_NUMBER ||
                 !ds4_number_add_step(out, s->tree.node[step].text))) {
        ds4_schema_ignore(s, DS4_SLICE("multipleOf"));
    }
    if (w->at[DS4_W_FORMAT]) add_format(s, w->at[DS4_W_FORMAT], out);
}

/* ---- patterns ------------------------------------------------------------------------------- */

const ds4_lang *ds4_schema_keep_lang(ds4_schema *s, uint32_t node, ds4_lang *l)
{
    void *p = ds4_g_room(s->g, s->lang, s->n_langs, &s->cap_langs, sizeof *s->lang);

    if (!p) {
        ds4_lang_free(l);
        return NULL;
    }
    s->lang = p;
    s->lang[s->n_langs].node = node;
    s->lang[s->n_langs++].lang = l;
    return l;
}

const ds4_lang *ds4_schema_pattern(ds4_schema *s, uint32_t node)
{
    /* The name of a member of patternProperties is a pattern as well. */
    const bool own = ds4_slice_eq(s->tree.node[node].name, DS4_SLICE("pattern")) &&
                     s->tree.node[node].kind == DS4_JSON_STRING;
    const ds4_slice text = own ? s->tree.node[node].string : s->tree.node[node].name;
    ds4_lang       *l = NULL;

    for (uint32_t i = 0; i < s->n_langs && ds4_g_pay(s->g, 1); i++) {
        if (s->lang[i].node == node) return s->lang[i].lang;
    }
    if (!ds4_schema_ok(s)) return NULL;
    const ds4_status st = ds4_lang_from_regex(s->g, text, false, &l, s->strict ? s->err : NULL);
    if (st != DS4_OK && (s->strict || !ds4_g_forgive(s->g))) s->failed = st;
    if (s->failed != DS4_OK && !s->strict) ds4_fail(s->err, st, "%s", s->g->why);
    return s->failed == DS4_OK ? ds4_schema_keep_lang(s, node, l) : NULL;
}
