/* grammar_json.c - the rules of JSON as grammars. What is regular is written as a regular
 * expression over the bytes of JSON text; values, arrays and objects call each other. */
#include "text/grammar_json.h"

#include <stdlib.h>
#include <string.h>

/* White space has no room for going on without end; every whole number stays a safe one; no
 * escape is half of a surrogate pair. */
#define CHARACTER                                                                              \
    "[^\"\\\\\\x00-\\x1f]|\\\\(?:[\"\\\\/bfnrt]|u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]{3}|[dD][0-7]" \
    "[0-9a-fA-F]{2}))"
#define INTEGER "-?(?:0|[1-9][0-9]{0,14})"

static const char *const REGULAR[DS4_N_RULES] = {
    [DS4_RULE_SPACE] = " ?|\\n[ \\t]{0,32}",
    [DS4_RULE_CHARACTER] = CHARACTER,
    [DS4_RULE_STRING] = "\"(?:" CHARACTER ")*\"",
    [DS4_RULE_INTEGER] = INTEGER,
    [DS4_RULE_NUMBER] = INTEGER "(?:\\.[0-9]{1,16})?(?:[eE][+-]?[0-9]{1,2})?",
    [DS4_RULE_WORD] = "true|false|null",
    [DS4_RULE_BOOLEAN] = "true|false",
    [DS4_RULE_RAW] = "[^]",
};

static void make_regular(ds4_g_build *b, ds4_rule rule)
{
    const char *text = REGULAR[rule];
    ds4_lang   *l = NULL;

    if (ds4_lang_from_regex(b->g, (ds4_slice){ text, strlen(text) }, true, &l, NULL) != DS4_OK)
        return;
    b->rule[rule] = ds4_g_state_new(b->g);
    const uint32_t end = ds4_g_state_new(b->g);
    ds4_g_end(b->g, end);
    ds4_lang_write(b->g, &b->wide, l, false, b->rule[rule], end);
    ds4_lang_free(l);
}

/* Entries between brackets: any number, or none. `key`: each has a name. */
static void make_entries(ds4_g_build *b, ds4_rule rule, char open, char close, bool key)
{
    ds4_grammar   *g = b->g;
    const uint32_t begin = ds4_g_state_new(g), first = ds4_g_state_new(g),
                   entry = ds4_g_state_new(g), value = ds4_g_state_new(g),
                   behind = ds4_g_state_new(g), again = ds4_g_state_new(g),
                   last = ds4_g_state_new(g), end = ds4_g_state_new(g);

    b->rule[rule] = begin;
    ds4_g_bytes(g, begin, (unsigned char)open, (unsigned char)open, first);
    ds4_g_bytes(g, first, (unsigned char)close, (unsigned char)close, end);
    ds4_g_use(b, first, DS4_RULE_SPACE, entry);
    if (key) {
        const uint32_t name = ds4_g_state_new(g), colon = ds4_g_state_new(g);
        ds4_g_use(b, entry, DS4_RULE_STRING, name);
        ds4_g_bytes(g, name, ':', ':', colon);
        ds4_g_use(b, colon, DS4_RULE_SPACE, value);
    } else {
        ds4_g_go(g, entry, value);
    }
    ds4_g_use(b, value, DS4_RULE_VALUE, behind);
    ds4_g_bytes(g, behind, ',', ',', again);
    ds4_g_use(b, again, DS4_RULE_SPACE, entry);
    ds4_g_use(b, behind, DS4_RULE_SPACE, last);
    ds4_g_bytes(g, last, (unsigned char)close, (unsigned char)close, end);
    ds4_g_end(g, end);
}

/* A value is one of the other rules: each is gone on to and ends in place of this one, so that values
 * in each other cost one call for a level. */
static void make_value(ds4_g_build *b, ds4_rule rule)
{
    static const ds4_rule kinds[] = { DS4_RULE_NUMBER, DS4_RULE_WORD, DS4_RULE_ARRAY,
                                      DS4_RULE_OBJECT, DS4_RULE_STRING };
    const size_t          n = rule == DS4_RULE_VALUE ? 5 : 4;

    b->rule[rule] = ds4_g_state_new(b->g);
    for (size_t i = 0; i < n; i++) {
        const uint32_t begin = ds4_g_rule(b, kinds[i]);
        ds4_g_go(b->g, b->rule[rule], begin);
    }
}

uint32_t ds4_g_rule(ds4_g_build *b, ds4_rule rule)
{
    if (b->rule[rule] || b->g->failed != DS4_OK) return b->rule[rule];
    switch (rule) {
    case DS4_RULE_ARRAY: make_entries(b, rule, '[', ']', false); break;
    case DS4_RULE_OBJECT: make_entries(b, rule, '{', '}', true); break;
    case DS4_RULE_VALUE:
    case DS4_RULE_PLAIN: make_value(b, rule); break;
    default: make_regular(b, rule); break;
    }
    return b->rule[rule];
}

void ds4_g_use(ds4_g_build *b, uint32_t at, ds4_rule rule, uint32_t to)
{
    const uint32_t start = ds4_g_rule(b, rule);

    ds4_g_call(b->g, at, start, to);
}

void ds4_g_build_clear(ds4_g_build *b)
{
    ds4_wide_clear(&b->wide);
}
