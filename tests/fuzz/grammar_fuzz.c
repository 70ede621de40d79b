/* grammar_fuzz.c - any bytes as a schema, then as the answer: up to the first zero byte it is
 * the schema. Whatever may end must be JSON, and trying must not move. */
#include "text/grammar.h"
#include "text/pyjson.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool holds)
{
    if (!holds) abort();
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
        if (ds4_grammar_may_end(w)) {
            require(ds4_pyjson_check((ds4_slice){ text, i + 1 }, NULL) == DS4_OK);
        }
    }
    ds4_grammar_walk_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char  *text = (const char *)data;
    const char  *zero = n_bytes ? memchr(text, 0, n_bytes) : NULL;
    const size_t n_schema = zero ? (size_t)(zero - text) : n_bytes;
    ds4_grammar *g = NULL;
    ds4_err      err = { .code = DS4_OK };

    if (ds4_grammar_from_schema((ds4_slice){ text, n_schema }, NULL, &g, &err) != DS4_OK) {
        require(err.text[0] != '\0');
        return 0;
    }
    if (zero) walk(g, zero + 1, n_bytes - n_schema - 1);
    ds4_grammar_free(g);
    return 0;
}
