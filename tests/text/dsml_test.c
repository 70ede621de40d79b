/* dsml_test.c - reading tool calls: trained form, damaged forms, any cut of the stream. */
#include "text_golden.h"

#include "base/clock.h"
#include "base/rng.h"
#include "small_vocab.h"
#include "text/dsml.h"
#include "text/pyjson.h"

#define D "｜DSML｜"
#define EOS "<｜end▁of▁sentence｜>"
#define OPEN "<" D "tool_calls>\n"
#define CLOSE "</" D "tool_calls>"
#define INVOKE(name) "<" D "invoke name=\"" name "\">\n"
#define END_INVOKE "</" D "invoke>\n"
#define STRING(name, value) \
    "<" D "parameter name=\"" name "\" string=\"true\">" value "</" D "parameter>\n"
#define JSON(name, value) \
    "<" D "parameter name=\"" name "\" string=\"false\">" value "</" D "parameter>\n"
#define ONE_CALL INVOKE("bash") STRING("command", "ls") END_INVOKE

/* Bits that say that a strict parser refuses the output. */
enum { STRICT = DS4_DSML_BAD_VALUE - 1 };

static ds4_dsml *reader(bool thinking, const ds4_vocab *v, const ds4_slice *tools, uint32_t n_tools)
{
    const ds4_dsml_options opt = {
        .thinking = thinking, .vocab = v, .tools = tools, .n_tools = n_tools
    };
    ds4_dsml *r;
    ds4_err   err;
    assert_int_equal(ds4_dsml_create(&opt, &r, &err), DS4_OK);
    return r;
}

/* Feed text in pieces of at most `piece` bytes and finish. */
static ds4_dsml *read_pieces(bool thinking, ds4_slice text, size_t piece, bool cut)
{
    ds4_dsml *r = reader(thinking, NULL, NULL, 0);
    for (size_t i = 0; i < text.n_bytes; i += piece) {
        const size_t n = text.n_bytes - i < piece ? text.n_bytes - i : piece;
        assert_int_equal(ds4_dsml_bytes(r, text.data + i, n, NULL), DS4_OK);
    }
    assert_int_equal(ds4_dsml_finish(r, cut, NULL), DS4_OK);
    return r;
}

static void expect_slice(ds4_slice got, ds4_slice expected)
{
    if (ds4_slice_eq(got, expected)) return;
    fail_msg("found \"%.*s\", expected \"%.*s\"", (int)got.n_bytes, got.data, (int)expected.n_bytes,
             expected.data);
}

static void expect_text(ds4_slice got, const char *expected)
{
    expect_slice(got, (ds4_slice){ expected, strlen(expected) });
}

static void expect_same(const ds4_dsml_result *a, const ds4_dsml_result *b)
{
    expect_slice(a->reasoning, b->reasoning);
    expect_slice(a->content, b->content);
    expect_slice(a->rest, b->rest);
    expect_slice(a->raw_calls, b->raw_calls);
    assert_int_equal(a->oddities, b->oddities);
    assert_int_equal(a->n_calls, b->n_calls);
    for (uint32_t i = 0; i < a->n_calls; i++) {
        expect_slice(a->calls[i].name, b->calls[i].name);
        expect_slice(a->calls[i].arguments, b->calls[i].arguments);
    }
}

/* ---- the cases by hand ---- */

typedef struct expectation {
    bool        thinking;
    const char *text;
    const char *reasoning, *content, *rest;
    const char *calls;          /* "name arguments" of each call, one on a line */
    unsigned    oddities;
} expectation;

static const expectation CASES[] = {
    { false, "Hi" EOS, "", "Hi", "", "", 0 },
    { true, "r</think>\n\n" OPEN ONE_CALL CLOSE EOS, "r", "", "", "bash {\"command\": \"ls\"}\n",
      0 },
    { true, "only" EOS, "only", "", "", "", DS4_DSML_NO_THINK_CLOSE },
    { true, "only", "only", "", "", "", DS4_DSML_NO_THINK_CLOSE },
    { false, "x\n\n" OPEN ONE_CALL CLOSE " tail" EOS, "", "x", " tail",
      "bash {\"command\": \"ls\"}\n", DS4_DSML_TEXT_AFTER },
    { false, "x\n\n\n" OPEN ONE_CALL CLOSE, "", "x\n", "", "bash {\"command\": \"ls\"}\n", 0 },
    { false, "x\n" OPEN ONE_CALL CLOSE, "", "x", "", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_SPACING },
    { false, "x" OPEN ONE_CALL CLOSE, "", "x", "", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_SPACING },
    /* a call inside the reasoning counts when it is whole */
    { true, "hm\n\n" OPEN ONE_CALL CLOSE EOS, "hm", "", "", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_CALL_IN_THINK },
    { true,
      "hm\n\n" OPEN INVOKE("bash") "no"
                                   "</think>ok" EOS,
      "hm\n\n" OPEN INVOKE("bash") "no", "ok", "", "", DS4_DSML_MALFORMED },
    { true, "a " OPEN INVOKE("bash") "<" D "parameter name=\"c\" string=\"true\">x</think>b" EOS,
      "a " OPEN INVOKE("bash") "<" D "parameter name=\"c\" string=\"true\">x", "b", "", "",
      DS4_DSML_MALFORMED },
    /* spellings seen in the wild */
    { false,
      "\n\n<|DSML|tool_calls>\n<|DSML|invoke name=\"a\">\n<|DSML|parameter name=\"t\" "
      "string=\"true\">x"
      "</|DSML|parameter>\n</|DSML|invoke>\n</|DSML|tool_calls>",
      "", "", "", "a {\"t\": \"x\"}\n", DS4_DSML_VARIANT },
    { false,
      "\n\n<｜" D "｜tool_calls>\n<｜" D "｜invoke name=\"a\">\n</｜" D "｜invoke>\n</｜" D
      "｜tool_calls>",
      "", "", "", "a {}\n", DS4_DSML_VARIANT },
    { false,
      "\n\n<DSML｜tool_calls>\n<DSML｜invoke name=\"a\">\n</DSML｜invoke>\n</DSML｜tool_calls>", "",
      "", "", "a {}\n", DS4_DSML_VARIANT },
    { false, "\n\n<" D "toolcalls>\n" ONE_CALL "</" D "toolcalls>", "", "", "",
      "bash {\"command\": \"ls\"}\n", DS4_DSML_VARIANT },
    { false, "\n\n" ONE_CALL EOS, "", "", "", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_VARIANT | DS4_DSML_SPACING },
    { false, "\n\n" ONE_CALL "and more" EOS, "", "", "\nand more", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_VARIANT | DS4_DSML_SPACING | DS4_DSML_TEXT_AFTER },
    { false, "\n\n" OPEN ONE_CALL EOS, "", "", "", "bash {\"command\": \"ls\"}\n",
      DS4_DSML_UNCLOSED },
    { false, "\n\n" OPEN INVOKE("a") STRING("t", "x"), "", "", "", "a {\"t\": \"x\"}\n",
      DS4_DSML_UNCLOSED },
    { false,
      "\n\n<" D " tool_calls>\n<" D " invoke name=\"a\">\n</" D " invoke>\n</" D " tool_calls>", "",
      "", "", "a {}\n", DS4_DSML_VARIANT },
    /* not calls */
    { false, "Write <" D "tool_calls> to call." EOS, "", "Write <" D "tool_calls> to call.", "", "",
      DS4_DSML_STRAY_SPECIAL },
    { false, "<tool_calls>\n<invoke name=\"a\">\n</invoke>\n</tool_calls>", "",
      "<tool_calls>\n<invoke name=\"a\">\n</invoke>\n</tool_calls>", "", "", 0 },
    { false,
      "so: <|DSML|tool_calls>\n<|DSML|invoke name=\"a\">\n</|DSML|invoke>\n</|DSML|tool_calls>", "",
      "so: <|DSML|tool_calls>\n<|DSML|invoke name=\"a\">\n</|DSML|invoke>\n</|DSML|tool_calls>", "",
      "", 0 },
    { false, "if a < b and c <= d </", "", "if a < b and c <= d </", "", "", 0 },
    { false, "x\n\n", "", "x\n\n", "", "", 0 },
    /* damaged blocks */
    { false, "x\n\n" OPEN INVOKE("a") "garbage" EOS, "", "x\n\n" OPEN INVOKE("a") "garbage", "", "",
      DS4_DSML_MALFORMED },
    { false, "\n\n" OPEN ONE_CALL INVOKE("b") "garbage" EOS, "", "", "\n" INVOKE("b") "garbage",
      "bash {\"command\": \"ls\"}\n", DS4_DSML_MALFORMED | DS4_DSML_TEXT_AFTER },
    { false, "\n\n" OPEN INVOKE("a") "<" D "parameter name=\"t\" string=\"true\">never closed" EOS,
      "", "\n\n" OPEN INVOKE("a") "<" D "parameter name=\"t\" string=\"true\">never closed", "", "",
      DS4_DSML_MALFORMED },
    { false, "\n\n" OPEN INVOKE("a") "bad\n\n" OPEN ONE_CALL CLOSE, "",
      "\n\n" OPEN INVOKE("a") "bad", "", "bash {\"command\": \"ls\"}\n", DS4_DSML_MALFORMED },
    { false, "\n\n" OPEN "<" D "invoke name=\"a<b\">" EOS, "",
      "\n\n" OPEN "<" D "invoke name=\"a<b\">", "", "",
      DS4_DSML_MALFORMED | DS4_DSML_STRAY_SPECIAL },
    /* values */
    { false, "\n\n" OPEN INVOKE("a") STRING("t", "x") STRING("t", "y") END_INVOKE CLOSE, "", "", "",
      "a {\"t\": \"y\"}\n", DS4_DSML_REPEATED },
    { false, "\n\n" OPEN INVOKE("a") JSON("n", "[1,") END_INVOKE CLOSE, "", "", "",
      "a {\"n\": \"[1,\"}\n", DS4_DSML_BAD_VALUE },
    { false, "\n\n" OPEN INVOKE("a") JSON("n", " [1,{\"b\":2}] ") END_INVOKE CLOSE, "", "", "",
      "a {\"n\": [1, {\"b\": 2}]}\n", 0 },
    { false,
      "\n\n" OPEN INVOKE("a") "<" D "parameter name=\"n\">7</" D "parameter>\n"
                              "<" D "parameter name=\"s\">seven</" D
                              "parameter>\n" END_INVOKE CLOSE,
      "", "", "", "a {\"n\": 7, \"s\": \"seven\"}\n", DS4_DSML_VARIANT },
    { false,
      "\n\n" OPEN    INVOKE("a") STRING("t", "&lt;b&gt; &amp; <" D "invoke name=\"q\"> </p>")
          END_INVOKE CLOSE,
      "", "", "", "a {\"t\": \"&lt;b&gt; &amp; <" D "invoke name=\\\"q\\\"> </p>\"}\n", 0 },
    { false, "\n\n" OPEN INVOKE("a") STRING("t", "say </|DSML|parameter>") END_INVOKE CLOSE, "", "",
      "", "a {\"t\": \"say </|DSML|parameter>\"}\n", 0 },
    { false, "\n\n" OPEN INVOKE("a") STRING("t", "") END_INVOKE CLOSE, "", "", "",
      "a {\"t\": \"\"}\n", 0 },
    /* special tokens in the wrong place */
    { true, "<think>r</think>x" EOS, "r", "x", "", "", DS4_DSML_STRAY_SPECIAL },
    { false, "<think>r</think>x" EOS, "r", "x", "", "", DS4_DSML_STRAY_SPECIAL },
    { false, "</think>x" EOS, "", "x", "", "", DS4_DSML_STRAY_SPECIAL },
    { true, "r</think>a</think>b", "r", "a</think>b", "", "", DS4_DSML_STRAY_SPECIAL },
    { true, "r<think>s</think>a", "r<think>s", "a", "", "", DS4_DSML_STRAY_SPECIAL },
};

static void check_calls(const ds4_dsml_result *res, const char *expected)
{
    ds4_str got = { 0 };
    ds4_err err;
    for (uint32_t i = 0; i < res->n_calls; i++) {
        const ds4_dsml_call *c = &res->calls[i];
        assert_true(c->complete);
        assert_int_equal(ds4_pyjson_check(c->arguments, &err), DS4_OK);
        ds4_str_add(&got, c->name.data, c->name.n_bytes);
        ds4_str_add_char(&got, ' ');
        ds4_str_add(&got, c->arguments.data, c->arguments.n_bytes);
        ds4_str_add_char(&got, '\n');
    }
    expect_text((ds4_slice){ ds4_str_text(&got), got.n_bytes }, expected);
    ds4_str_clear(&got);
}

static void check_case(const expectation *e, size_t piece)
{
    const ds4_slice text = { e->text, strlen(e->text) };
    ds4_dsml *r = read_pieces(e->thinking, text, piece, false);
    const ds4_dsml_result *res = ds4_dsml_get(r);
    expect_text(res->reasoning, e->reasoning);
    expect_text(res->content, e->content);
    expect_text(res->rest, e->rest);
    check_calls(res, e->calls);
    if (res->oddities != e->oddities) {
        fail_msg("oddities 0x%x, expected 0x%x: %s", res->oddities, e->oddities, e->text);
    }
    assert_int_equal(res->state, DS4_DSML_DONE);
    ds4_dsml_free(r);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) check_case(&CASES[i], SIZE_MAX);
}

static void test_cases_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        for (size_t piece = 1; piece < 8; piece++) check_case(&CASES[i], piece);
    }
}

/* ---- tokens ---- */

static void feed_tokens(ds4_dsml *r, const ds4_tokens *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        assert_int_equal(ds4_dsml_token(r, t->ids[i], NULL), DS4_OK);
    }
}

static void test_only_special_tokens_count(void **state)
{
    (void)state;
    ds4_vocab *v = small_vocab();
    ds4_tokens t = { 0 };
    ds4_dsml  *r = reader(true, v, NULL, 0);
    const char typed[] = "I close with </think> and " D " and " EOS ".";

    assert_int_equal(ds4_vocab_encode(v, typed, sizeof typed - 1, 0, &t, NULL), DS4_OK);
    ds4_tokens_add(&t, SMALL_THINK_CLOSE);
    ds4_tokens_add(&t, 'x');
    ds4_tokens_add(&t, SMALL_EOS);
    feed_tokens(r, &t);
    expect_text(ds4_dsml_get(r)->reasoning, typed);
    expect_text(ds4_dsml_get(r)->content, "x");
    assert_int_equal(ds4_dsml_get(r)->state, DS4_DSML_DONE);
    assert_int_equal(ds4_dsml_get(r)->oddities, 0);
    ds4_dsml_free(r);
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

/* A file about this very markup, written by a call: only the special token closes it. */
static void test_value_may_quote_closing_tag(void **state)
{
    (void)state;
    ds4_vocab   *v = small_vocab();
    ds4_tokens   t = { 0 };
    ds4_segments s = { 0 };
    ds4_dsml    *r = reader(false, v, NULL, 0);
    const ds4_slice arguments = DS4_SLICE("{\"text\": \"a</" D "parameter>\\n</" D "invoke>b\"}");
    const ds4_call  call = { .name = DS4_SLICE("write"), .arguments = arguments };

    assert_int_equal(ds4_dsml_write(&call, 1, &s, NULL), DS4_OK);
    assert_int_equal(ds4_segments_encode(v, &s, &t, NULL), DS4_OK);
    feed_tokens(r, &t);
    assert_int_equal(ds4_dsml_get(r)->state, DS4_DSML_DONE);
    assert_int_equal(ds4_dsml_get(r)->n_calls, 1);
    expect_slice(ds4_dsml_get(r)->calls[0].arguments, arguments);
    expect_slice(ds4_dsml_get(r)->raw_calls, ds4_segments_text(&s));
    ds4_dsml_free(r);
    ds4_segments_clear(&s);
    ds4_tokens_clear(&t);
    ds4_vocab_free(v);
}

/* ---- streams ---- */

static void test_arguments_grow(void **state)
{
    (void)state;
    const ds4_slice text = DS4_SLICE("\n\n" OPEN         INVOKE("w") STRING("p", "é\"\n") JSON(
                "n", "{\"a\":1}") STRING("q", "</x>") END_INVOKE CLOSE);
    ds4_dsml *r = reader(false, NULL, NULL, 0);
    ds4_str   seen = { 0 };
    bool      opened = false;

    for (size_t i = 0; i < text.n_bytes; i++) {
        assert_int_equal(ds4_dsml_bytes(r, text.data + i, 1, NULL), DS4_OK);
        const ds4_dsml_result *res = ds4_dsml_get(r);
        if (!res->open && res->n_calls == 0) continue;
        const ds4_slice stream = res->calls[0].stream;
        opened = opened || (res->open && stream.n_bytes > 10);
        assert_true(stream.n_bytes >= seen.n_bytes);
        assert_memory_equal(stream.data, ds4_str_text(&seen), seen.n_bytes);
        ds4_str_add(&seen, stream.data + seen.n_bytes, stream.n_bytes - seen.n_bytes);
    }
    assert_true(opened);
    expect_text((ds4_slice){ seen.data, seen.n_bytes },
                "{\"p\": \"é\\\"\\n\", \"n\": {\"a\": 1}, \"q\": \"</x>\"}");
    assert_int_equal(ds4_dsml_get(r)->state, DS4_DSML_DONE);
    ds4_str_clear(&seen);
    ds4_dsml_free(r);
}

static void test_text_is_not_held_for_long(void **state)
{
    (void)state;
    ds4_dsml *r = reader(false, NULL, NULL, 0);
    assert_int_equal(ds4_dsml_bytes(r, "a < b", 5, NULL), DS4_OK);
    expect_text(ds4_dsml_get(r)->content, "a < b");
    assert_int_equal(ds4_dsml_bytes(r, " \xE4\xBD", 3, NULL), DS4_OK);
    expect_text(ds4_dsml_get(r)->content, "a < b ");
    assert_int_equal(ds4_dsml_bytes(r, "\xA0\n\n\n<", 5, NULL), DS4_OK);
    expect_text(ds4_dsml_get(r)->content, "a < b 你\n");
    assert_int_equal(ds4_dsml_bytes(r, "b", 1, NULL), DS4_OK);
    expect_text(ds4_dsml_get(r)->content, "a < b 你\n\n\n<b");
    ds4_dsml_free(r);
}

static void test_structure_is_told(void **state)
{
    (void)state;
    ds4_dsml *r = reader(false, NULL, NULL, 0);
    assert_int_equal(ds4_dsml_bytes(r, "Hi\n\n", 4, NULL), DS4_OK);
    assert_false(ds4_dsml_in_structure(r));
    const char tag[] = "<" D "tool";
    assert_int_equal(ds4_dsml_bytes(r, tag, sizeof tag - 1, NULL), DS4_OK);
    assert_true(ds4_dsml_in_structure(r));
    const char more[] = "_calls>\n" INVOKE("a") "<" D "parameter name=\"t\" string=\"true\">";
    assert_int_equal(ds4_dsml_bytes(r, more, sizeof more - 1, NULL), DS4_OK);
    assert_false(ds4_dsml_in_structure(r));
    assert_int_equal(ds4_dsml_bytes(r, "text </", 7, NULL), DS4_OK);
    assert_false(ds4_dsml_in_structure(r));
    assert_int_equal(ds4_dsml_bytes(r, D, sizeof D - 1, NULL), DS4_OK);
    assert_true(ds4_dsml_in_structure(r));
    ds4_dsml_free(r);
}

static void test_cut_output(void **state)
{
    (void)state;
    const ds4_slice text =
        DS4_SLICE("x\n\n" OPEN ONE_CALL INVOKE("b") STRING("t", "1") STRING("u", "2"));
    for (size_t n = 0; n <= text.n_bytes; n++) {
        ds4_dsml *r = read_pieces(false, (ds4_slice){ text.data, n }, 3, true);
        const ds4_dsml_result *res = ds4_dsml_get(r);
        assert_true(res->n_calls <= 1 && !res->open);
        assert_int_equal(res->state, DS4_DSML_DONE);
        if (res->n_calls == 1) expect_text(res->calls[0].arguments, "{\"command\": \"ls\"}");
        if (n > 100) assert_true(res->oddities & DS4_DSML_CUT);
        if (n >= 3 + sizeof D) expect_text(res->content, "x"); /* also when the opener is cut */
        ds4_dsml_free(r);
    }
}

/* ---- tools ---- */

static const ds4_slice TOOLS[] = {
    { "{\"name\": \"bash\", \"parameters\": {\"properties\": {\"command\": {}}}}", 63 },
    { "{\"name\": \"raw\", \"parameters\": {\"properties\": {\"input\": {}}}}", 60 },
};

static void expect_with_tools(bool thinking, ds4_slice text, const char *calls, unsigned oddities)
{
    ds4_dsml *r = reader(thinking, NULL, TOOLS, 2);
    for (size_t i = 0; i < text.n_bytes; i++) {
        assert_int_equal(ds4_dsml_bytes(r, text.data + i, 1, NULL), DS4_OK);
    }
    assert_int_equal(ds4_dsml_finish(r, false, NULL), DS4_OK);
    check_calls(ds4_dsml_get(r), calls);
    assert_int_equal(ds4_dsml_get(r)->oddities, oddities);
    ds4_dsml_free(r);
}

#define WITH_TOOLS(thinking, text, ...) expect_with_tools((thinking), DS4_SLICE(text), __VA_ARGS__)

static void test_wrapped_arguments(void **state)
{
    (void)state;
    WITH_TOOLS(false,
               "\n\n" OPEN    INVOKE("bash") JSON("arguments", "{\"command\":\"ls\"}")
                   END_INVOKE CLOSE,
               "bash {\"command\": \"ls\"}\n", DS4_DSML_UNWRAPPED);
    WITH_TOOLS(false,
               "\n\n" OPEN INVOKE("bash") STRING("input", "{\"command\":\"ls\"}") END_INVOKE CLOSE,
               "bash {\"command\": \"ls\"}\n", DS4_DSML_UNWRAPPED);
    WITH_TOOLS(false, "\n\n" OPEN INVOKE("raw") JSON("input", "{\"a\":1}") END_INVOKE CLOSE,
               "raw {\"input\": {\"a\": 1}}\n", 0);
    WITH_TOOLS(false,
               "\n\n" OPEN    INVOKE("bash") STRING("input", "{\"a\":1}") STRING("t", "x")
                   END_INVOKE CLOSE,
               "bash {\"input\": \"{\\\"a\\\":1}\", \"t\": \"x\"}\n", 0);
    WITH_TOOLS(false, "\n\n" OPEN INVOKE("bash") STRING("input", "5") END_INVOKE CLOSE,
               "bash {\"input\": \"5\"}\n", 0);
    WITH_TOOLS(false, "\n\n" OPEN INVOKE("other") JSON("input", "{\"a\":1}") END_INVOKE CLOSE,
               "other {\"input\": {\"a\": 1}}\n", 0);
}

static void test_call_in_reasoning_needs_a_tool(void **state)
{
    (void)state;
    WITH_TOOLS(true, "r\n\n" OPEN ONE_CALL CLOSE, "bash {\"command\": \"ls\"}\n",
               DS4_DSML_CALL_IN_THINK);
    WITH_TOOLS(true, "r\n\n" OPEN INVOKE("other") END_INVOKE CLOSE "</think>x", "",
               DS4_DSML_MALFORMED | DS4_DSML_STRAY_SPECIAL);
}

/* ---- any output at all ---- */

/* A random mixture of the pieces that matter. */
static void random_output(ds4_rng *rng, ds4_str *out)
{
    static const char *const PIECES[] = {
        "<",
        "</",
        D,
        "tool_calls>",
        "invoke",
        " name=\"",
        "a",
        "\"",
        ">",
        "\n",
        "\n\n",
        "parameter",
        " string=\"true\"",
        " string=\"false\"",
        "</think>",
        "<think>",
        EOS,
        "|",
        "｜",
        "DSML",
        "{}",
        "1",
        "é",
        "\xE4",
        " ",
        OPEN,
        CLOSE,
        ONE_CALL,
        INVOKE("b"),
        END_INVOKE,
        STRING("k", "v"),
        JSON("j", "[]"),
        "toolcalls>",
        "\n\n" OPEN,
    };
    const uint64_t n = ds4_rng_next(rng) % 24;
    for (uint64_t i = 0; i < n; i++) {
        ds4_str_add_text(out, PIECES[ds4_rng_next(rng) % (sizeof PIECES / sizeof PIECES[0])]);
    }
}

static void test_any_cut_reads_the_same(void **state)
{
    (void)state;
    ds4_rng rng;
    ds4_rng_seed(&rng, 5);
    for (int round = 0; round < 4000; round++) {
        ds4_str text = { 0 };
        random_output(&rng, &text);
        const ds4_slice all = { ds4_str_text(&text), text.n_bytes };
        ds4_dsml *whole = read_pieces(round & 1, all, SIZE_MAX, round & 2);
        ds4_dsml *bytes = read_pieces(round & 1, all, 1, round & 2);
        expect_same(ds4_dsml_get(whole), ds4_dsml_get(bytes));
        ds4_dsml_free(whole);
        ds4_dsml_free(bytes);
        ds4_str_clear(&text);
    }
}

static void test_long_output_takes_no_quadratic_time(void **state)
{
    (void)state;
    static const char *const UNITS[] = { "<",
                                         "\n",
                                         "｜",
                                         OPEN,
                                         "\n\n" OPEN INVOKE("a"),
                                         "<" D "tool_calls>\n\n\n",
                                         OPEN INVOKE("a") "<" D
                                                          "parameter name=\"x\" string=\"true\">",
                                         ("x</" D) };
    for (size_t u = 0; u < sizeof UNITS / sizeof UNITS[0]; u++) {
        ds4_str text = { 0 };
        while (text.n_bytes < 300000) ds4_str_add_text(&text, UNITS[u]);
        const uint64_t begin = ds4_now_ns();
        ds4_dsml *r = read_pieces(u & 1, (ds4_slice){ text.data, text.n_bytes }, 4, false);
        const double seconds = (double)(ds4_now_ns() - begin) * 1e-9;
        if (!(seconds < 5.0)) fail_msg("unit %zu: 300 KB took %.1f s", u, seconds);
        ds4_dsml_free(r);
        ds4_str_clear(&text);
    }
}

/* ---- reference rows ---- */

static void check_official(const json_t *row, const ds4_dsml_result *res)
{
    const json_t *official = json_object_get(row, "official");
    const char *name = json_string_value(json_object_get(row, "name"));
    const json_t *calls = json_object_get(official, "tool_calls"), *call;
    size_t i;

    if (json_object_get(official, "official_error")) {
        if (!(res->oddities & STRICT)) fail_msg("%s: the official parser refuses it", name);
        return;
    }
    if (res->oddities & STRICT) fail_msg("%s: oddities 0x%x", name, res->oddities);
    expect_slice(res->content, golden_string(json_object_get(official, "content")));
    expect_slice(res->reasoning, golden_string(json_object_get(official, "reasoning_content")));
    assert_int_equal(res->n_calls, json_array_size(calls));
    json_array_foreach(calls, i, call) {
        const json_t *function = json_object_get(call, "function");
        expect_slice(res->calls[i].name, golden_string(json_object_get(function, "name")));
        /* There the official parser gives text that is no JSON; here it becomes a string. */
        if (strcmp(name, "bad-json-value") == 0) continue;
        expect_slice(res->calls[i].arguments,
                     golden_string(json_object_get(function, "arguments")));
    }
}

static void check_row(const json_t *row, void *ctx)
{
    const ds4_slice text = golden_string(json_object_get(row, "completion"));
    const bool thinking = strcmp(json_string_value(json_object_get(row, "mode")), "thinking") == 0;
    ds4_vocab *v = ctx;
    ds4_tokens t = { 0 };

    ds4_dsml *bytes = read_pieces(thinking, text, 1, false);
    check_official(row, ds4_dsml_get(bytes));

    ds4_dsml *tokens = reader(thinking, v, NULL, 0);
    assert_int_equal(ds4_vocab_encode(v, text.data, text.n_bytes, DS4_ENCODE_SPECIALS, &t, NULL),
                     DS4_OK);
    feed_tokens(tokens, &t);
    assert_int_equal(ds4_dsml_finish(tokens, false, NULL), DS4_OK);
    expect_same(ds4_dsml_get(bytes), ds4_dsml_get(tokens));
    ds4_tokens_clear(&t);
    ds4_dsml_free(bytes);
    ds4_dsml_free(tokens);
}

static void test_official_results(void **state)
{
    (void)state;
    ds4_vocab *v = golden_vocab();
    assert_int_equal(golden_rows("parse_golden.jsonl", check_row, v), 21);
    ds4_vocab_free(v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_cases),
    cmocka_unit_test(test_cases_byte_by_byte),
    cmocka_unit_test(test_only_special_tokens_count),
    cmocka_unit_test(test_value_may_quote_closing_tag),
    cmocka_unit_test(test_arguments_grow),
    cmocka_unit_test(test_text_is_not_held_for_long),
    cmocka_unit_test(test_structure_is_told),
    cmocka_unit_test(test_cut_output),
    cmocka_unit_test(test_wrapped_arguments),
    cmocka_unit_test(test_call_in_reasoning_needs_a_tool),
    cmocka_unit_test(test_any_cut_reads_the_same),
    cmocka_unit_test(test_long_output_takes_no_quadratic_time),
    cmocka_unit_test(test_official_results),
};
TEST_MAIN(tests)
