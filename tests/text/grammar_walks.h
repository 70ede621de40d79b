/* grammar_walks.h - what the tests of grammars share: texts that fit and texts that do not. */
#ifndef DS4_TESTS_GRAMMAR_WALKS_H
#define DS4_TESTS_GRAMMAR_WALKS_H

#include "testing.h"

#include "text/grammar.h"

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* The bytes of text that fit one after the other; -1 when all fit but it may not end. A star
 * stands for the special token of tool calls when `stars`. */
static inline long fitting(const ds4_grammar *g, const char *text, bool stars)
{
    ds4_grammar_walk *w = NULL;
    const size_t      n = strlen(text);
    size_t            i = 0;

    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    while (i < n) {
        const bool      star = stars && text[i] == '*';
        const ds4_slice byte = { text + i, star ? 0 : 1 };
        const bool      fits = ds4_grammar_fits(w, byte, star);
        assert_int_equal(ds4_grammar_take(w, byte, star), fits);
        if (!fits) break;
        i++;
    }
    const long result = i == n && !ds4_grammar_may_end(w) ? -1 : (long)i;
    ds4_grammar_walk_free(w);
    if (stars) return result;
    /* The same at once. */
    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    assert_int_equal(ds4_grammar_take(w, (ds4_slice){ text, n }, false), i == n);
    ds4_grammar_walk_free(w);
    return result;
}

static inline ds4_grammar *compile(const char *schema, bool strict)
{
    const ds4_grammar_options opt = { .strict = strict };
    ds4_grammar              *g = NULL;
    ds4_err                   err = { .code = DS4_OK };

    if (ds4_grammar_from_schema((ds4_slice){ schema, strlen(schema) }, &opt, &g, &err) != DS4_OK) {
        fail_msg("%s: %s", schema, err.text);
    }
    return g;
}

/* Frees the grammar. */
static inline void all_fit(ds4_grammar *g, const char *what, const char *const *good,
                           const char *const *bad, bool stars)
{
    for (; *good; good++) {
        if (fitting(g, *good, stars) != (long)strlen(*good)) fail_msg("%s refuses %s", what, *good);
    }
    for (; *bad; bad++) {
        if (fitting(g, *bad, stars) == (long)strlen(*bad))
            fail_msg("%s lets %s through", what, *bad);
    }
    ds4_grammar_free(g);
}

/* A schema that can be enforced as a whole. */
static inline void accepts(const char *schema, const char *const *good, const char *const *bad)
{
    all_fit(compile(schema, true), schema, good, bad, false);
}

/* A refusal that names something. */
static inline void refuses(const char *schema, bool strict, const char *name)
{
    const ds4_grammar_options opt = { .strict = strict };
    ds4_grammar              *g = NULL;
    ds4_err                   err = { .code = DS4_OK };

    if (ds4_grammar_from_schema((ds4_slice){ schema, strlen(schema) }, &opt, &g, &err) == DS4_OK) {
        fail_msg("%s is taken", schema);
    }
    if (!strstr(err.text, name)) fail_msg("%s: %s", schema, err.text);
}

#endif
