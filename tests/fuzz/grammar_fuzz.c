/* grammar_fuzz.c - any bytes as a schema, then as the answer: up to the first zero byte it is
 * the schema, strict or not by its length, of an answer and of a tool. Whatever may end must be
 * JSON, and trying must not move. */
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

/* Take the schema for a tool's, and any bytes for a call. */
static void as_tool(const char *schema, size_t n_schema, const char *call, size_t n_call)
{
    const bool              strict = n_schema & 1;
    ds4_str                 tool = { 0 };
    ds4_grammar            *g = NULL;
    ds4_grammar_walk       *w = NULL;
    ds4_err                 err = { .code = DS4_OK };

    ds4_str_add_text(&tool, "{\"name\": \"t\", \"parameters\": ");
    ds4_str_add(&tool, schema, n_schema);
    ds4_str_add_text(&tool, "}");
    const ds4_slice         json = { ds4_str_text(&tool), tool.n_bytes };
    const ds4_grammar_calls calls = { .tools = &json, .strict = &strict, .n_tools = 1, .many = true };
    if (ds4_pyjson_check(json, NULL) == DS4_OK) {
        if (ds4_grammar_of_calls(&calls, NULL, &g, &err) == DS4_OK) {
            require(ds4_grammar_walk_create(g, &w, NULL) == DS4_OK);
            require(ds4_grammar_take(w, DS4_SLICE("t\">\n"), false));
            for (size_t i = 0; i < n_call; i++) {
                const bool marker = call[i] == '*';
                if (!ds4_grammar_take(w, (ds4_slice){ call + i, marker ? 0 : 1 }, marker)) break;
            }
            ds4_grammar_walk_free(w);
        } else {
            require(err.text[0] != '\0');
        }
        ds4_grammar_free(g);
    }
    ds4_str_clear(&tool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char  *text = (const char *)data;
    const char  *zero = n_bytes ? memchr(text, 0, n_bytes) : NULL;
    const size_t n_schema = zero ? (size_t)(zero - text) : n_bytes;
    ds4_grammar *g = NULL;
    ds4_err      err = { .code = DS4_OK };

    const ds4_grammar_options opt = { .strict = n_schema & 1 };
    if (zero) as_tool(text, n_schema, zero + 1, n_bytes - n_schema - 1);
    if (ds4_grammar_from_schema((ds4_slice){ text, n_schema }, &opt, &g, &err) != DS4_OK) {
        require(err.text[0] != '\0');
        return 0;
    }
    if (zero) walk(g, zero + 1, n_bytes - n_schema - 1);
    ds4_grammar_free(g);
    return 0;
}
