/* calls_random_test.c - tools with schemas at random: the calls that a grammar writes are read back as
 * calls, and their arguments fit. And calls at random, written as history and read back. */
#include "random_schema.h"

#include "small_vocab.h"

#include "text/dsml.h"

/* ---- calls that a grammar writes ------------------------------------------------------------ */

/* Write tokens of single bytes and markers at random until the end; false when it got too long. */
static bool write_call(ds4_rng *r, const ds4_grammar *g, ds4_tokens *out)
{
    static const char closing[] = "<\"]}\n0123456789 e";
    ds4_grammar_walk *w = NULL;
    bool              ended = false;

    assert_int_equal(ds4_grammar_walk_create(g, &w, NULL), DS4_OK);
    for (int i = 0; i < 3000 && !ended; i++) {
        int32_t id = -1;
        if (ds4_grammar_fits(w, DS4_SLICE(""), true)) id = SMALL_DSML;
        for (size_t k = 0; id < 0 && (below(r, 3) == 0 || i > 300) && closing[k]; k++) {
            if (ds4_grammar_fits(w, (ds4_slice){ &closing[k], 1 }, false)) id = closing[k];
        }
        for (uint32_t k = 0, from = below(r, 256); k < 256 && id < 0; k++) {
            const char byte = (char)((from + k) % 256);
            if (ds4_grammar_fits(w, (ds4_slice){ &byte, 1 }, false)) id = (unsigned char)byte;
        }
        assert_true(id >= 0);
        const char byte = (char)id;
        assert_true(ds4_grammar_take(w, (ds4_slice){ &byte, id < 256 }, id == SMALL_DSML));
        ds4_tokens_append(out, &id, 1);
        ended = ds4_grammar_must_end(w);
    }
    ds4_grammar_walk_free(w);
    return ended;
}

static ds4_dsml *read_tokens(const ds4_vocab *v, const ds4_tokens *tokens, ds4_slice tool)
{
    const ds4_dsml_options opt = { .vocab = v, .tools = &tool, .n_tools = tool.n_bytes ? 1 : 0 };
    ds4_dsml              *reader = NULL;

    assert_int_equal(ds4_dsml_create(&opt, &reader, NULL), DS4_OK);
    for (size_t i = 0; i < tokens->n; i++) {
        assert_int_equal(ds4_dsml_token(reader, tokens->ids[i], NULL), DS4_OK);
    }
    assert_int_equal(ds4_dsml_token(reader, SMALL_EOS, NULL), DS4_OK);
    assert_int_equal(ds4_dsml_finish(reader, false, NULL), DS4_OK);
    return reader;
}

static void test_calls_by_a_grammar_are_read_back(void **state)
{
    const char *more = getenv("DS4_RANDOM_SCHEMAS");
    const long  n = more ? atol(more) : 2000;
    ds4_vocab  *v = small_vocab();
    uint32_t    n_calls = 0;

    (void)state;
    for (long i = 0; i < n; i++) {
        const bool   strict = true;
        ds4_str      schema = { 0 }, tool = { 0 }, both = { 0 };
        ds4_grammar *g = NULL;
        make_schema((uint64_t)i, ",\"type\":\"object\"", &schema);
        ds4_str_addf(&tool, "{\"name\": \"t\", \"parameters\": %s}", ds4_str_text(&schema));
        const ds4_slice         json = { ds4_str_text(&tool), tool.n_bytes };
        const ds4_grammar_calls calls = { .tools = &json, .strict = &strict, .n_tools = 1 };
        if (ds4_grammar_of_calls(&calls, NULL, &g, NULL) != DS4_OK) g = NULL;
        for (uint64_t k = 0; g && k < 3; k++) {
            ds4_segments opening = { 0 };
            ds4_tokens   tokens = { 0 };
            ds4_rng      r;
            ds4_segments_own(&opening, "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"");
            assert_int_equal(ds4_segments_encode(v, &opening, &tokens, NULL), DS4_OK);
            ds4_rng_seed(&r, (uint64_t)i * 3 + k);
            if (write_call(&r, g, &tokens)) {
                ds4_dsml              *reader = read_tokens(v, &tokens, json);
                const ds4_dsml_result *got = ds4_dsml_get(reader);
                if (got->n_calls != 1)
                    fail_msg("seed %ld: no call for %s", i, ds4_str_text(&schema));
                put_value(ds4_str_text(&schema), got->calls[0].arguments, &both);
                if (!fits_schema(ds4_str_text(&both))) {
                    fail_msg("seed %ld: %s gave %.*s", i, ds4_str_text(&schema),
                             (int)got->calls[0].arguments.n_bytes, got->calls[0].arguments.data);
                }
                n_calls++;
                ds4_dsml_free(reader);
            }
            ds4_segments_clear(&opening);
            ds4_tokens_clear(&tokens);
        }
        ds4_grammar_free(g);
        ds4_str_clear(&schema);
        ds4_str_clear(&tool);
        ds4_str_clear(&both);
    }
    print_message("# %u calls\n", n_calls);
    assert_true(n_calls > n / 4);
    ds4_vocab_free(v);
}

/* ---- calls of history ----------------------------------------------------------------------- */

static const char *const PIECES[] = {
    "a",
    "\\n",
    "\\\"",
    "</\xef\xbd\x9c"
    "DSML\xef\xbd\x9cparameter>",
    "<\xef\xbd\x9c"
    "DSML\xef\xbd\x9cinvoke name=\\\"x\\\">",
    "<think>",
    "</think>",
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
    "\xf0\x9f\x98\x80",
    "\xc3\xa9",
    "\\u0000",
    "\\u001f",
    "\\\\",
    "/",
    "<",
    ">",
    "&lt;",
    " ",
    "\\t",
    "\\r\\n",
    "string=\\\"true\\\"",
    "\xe2\x80\xa8",
    "]]>",
    "\\ud83d\\ude00",
};

static void add_text(ds4_rng *r, ds4_str *out, uint32_t most)
{
    ds4_str_add_char(out, '"');
    for (uint32_t i = 0, n = below(r, most); i < n; i++) {
        ds4_str_add_text(out, PIECES[below(r, sizeof PIECES / sizeof *PIECES)]);
    }
    ds4_str_add_char(out, '"');
}

static void add_argument(ds4_rng *r, ds4_str *out, int depth)
{
    static const char *const plain[] = { "0", "-1.50", "1e3", "true", "false", "null", "[]", "{}" };

    if (below(r, 2) == 0) {
        add_text(r, out, 8);
    } else if (depth == 0 || below(r, 2) == 0) {
        ds4_str_add_text(out, plain[below(r, 8)]);
    } else {
        const bool list = below(r, 2);
        ds4_str_add_char(out, list ? '[' : '{');
        for (uint32_t i = 0, n = below(r, 3); i < n; i++) {
            if (i) ds4_str_add_text(out, ", ");
            if (!list) ds4_str_addf(out, "\"k%u\": ", i);
            add_argument(r, out, depth - 1);
        }
        ds4_str_add_char(out, list ? ']' : '}');
    }
}

/* Whatever an argument holds, it is read back as it was written. */
static void test_calls_of_history_are_read_back(void **state)
{
    ds4_vocab *v = small_vocab();

    (void)state;
    for (uint64_t seed = 0; seed < 4000; seed++) {
        ds4_segments text = { 0 };
        ds4_tokens   tokens = { 0 };
        ds4_str      arguments = { 0 }, dumped = { 0 };
        ds4_rng      r;
        ds4_rng_seed(&r, seed);
        ds4_str_add_char(&arguments, '{');
        for (uint32_t i = 0, n = below(&r, 5); i < n; i++) {
            ds4_str_addf(&arguments, "%s\"name %u/\xc3\xa9\": ", i ? ", " : "", i);
            add_argument(&r, &arguments, 2);
        }
        ds4_str_add_char(&arguments, '}');
        const ds4_slice json = { ds4_str_text(&arguments), arguments.n_bytes };
        const ds4_call  call = { .id = DS4_SLICE("c"),
                                 .name = DS4_SLICE("a.b/c d"),
                                 .arguments = json };
        assert_int_equal(ds4_pyjson_dump(json, &dumped, NULL), DS4_OK);
        assert_int_equal(ds4_dsml_write(&call, 1, &text, NULL), DS4_OK);
        assert_int_equal(ds4_segments_encode(v, &text, &tokens, NULL), DS4_OK);
        ds4_dsml              *reader = read_tokens(v, &tokens, (ds4_slice){ 0 });
        const ds4_dsml_result *got = ds4_dsml_get(reader);
        if (got->n_calls != 1 || got->oddities != 0 ||
            !ds4_slice_eq(got->calls[0].name, call.name) ||
            !ds4_slice_eq(got->calls[0].arguments,
                          (ds4_slice){ ds4_str_text(&dumped), dumped.n_bytes })) {
            fail_msg("seed %llu, oddities %x: %s became %.*s", (unsigned long long)seed,
                     got->oddities, ds4_str_text(&dumped),
                     got->n_calls ? (int)got->calls[0].arguments.n_bytes : 0,
                     got->n_calls ? got->calls[0].arguments.data : "");
        }
        ds4_dsml_free(reader);
        ds4_segments_clear(&text);
        ds4_tokens_clear(&tokens);
        ds4_str_clear(&arguments);
        ds4_str_clear(&dumped);
    }
    ds4_vocab_free(v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_calls_by_a_grammar_are_read_back),
    cmocka_unit_test(test_calls_of_history_are_read_back),
};

TEST_MAIN(tests)
