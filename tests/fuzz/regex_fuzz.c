/* regex_fuzz.c - any bytes as a regular expression, then as the answer: up to the first zero byte
 * it is the pattern. Trying must not move, and where the answer stands an end must be in reach. */
#include "text/grammar.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) abort();
}

static bool goes_on(ds4_grammar_walk *w)
{
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        if (ds4_grammar_fits(w, (ds4_slice){ &c, 1 }, false)) return true;
    }
    return false;
}

static void walk(const ds4_grammar *g, const char *text, size_t n_bytes)
{
    ds4_grammar_walk *w = NULL;

    require(ds4_grammar_walk_create(g, &w, NULL) == DS4_OK);
    for (size_t i = 0; i < n_bytes; i++) {
        const ds4_slice byte = { text + i, 1 };
        const bool      fits = ds4_grammar_fits(w, byte, false);
        require(ds4_grammar_take(w, byte, false) == fits);
        if (!fits) break;
    }
    require(ds4_grammar_may_end(w) || goes_on(w));
    require(ds4_grammar_must_end(w) || goes_on(w));
    ds4_grammar_walk_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char  *text = (const char *)data;
    const char  *zero = n_bytes ? memchr(text, 0, n_bytes) : NULL;
    const size_t n_pattern = zero ? (size_t)(zero - text) : n_bytes;
    ds4_grammar *g = NULL;
    ds4_err      err = { .code = DS4_OK };

    if (ds4_grammar_from_regex((ds4_slice){ text, n_pattern }, NULL, &g, &err) != DS4_OK) {
        require(err.text[0] != '\0');
        return 0;
    }
    if (zero) walk(g, zero + 1, n_bytes - n_pattern - 1);
    ds4_grammar_free(g);
    return 0;
}
