/* reply_test.c - a reply sorts, cuts, holds back and ends as its header says. The model is
 * played by logits that have one peak: the next byte or special token of a script. */
#include "testing.h"

#include "model/vocab_gguf.h"
#include "service/reply.h"

enum { MAX_SCRIPT = 512 };

typedef struct fixture {
    ds4_gguf  *g;
    ds4_vocab *v;
    uint32_t   n;               /* logits in a row: a few more than the vocabulary has */
} fixture;

static fixture fx;

static int open_vocab(void **state)
{
    (void)state;
    if (ds4_gguf_open("tests/golden/flashlike.gguf", &fx.g, NULL) != DS4_OK) return -1;
    if (ds4_vocab_from_gguf(fx.g, &fx.v, NULL) != DS4_OK) return -1;
    fx.n = ds4_vocab_size(fx.v) + 3;
    return 0;
}

static int close_vocab(void **state)
{
    (void)state;
    ds4_vocab_free(fx.v);
    ds4_gguf_close(fx.g);
    return 0;
}

/* The pieces that a reply handed out, as one text: T(..) C(..) [name] A(..) for runs of pieces. */
typedef struct heard {
    ds4_str        text;
    ds4_piece_kind last;
    bool           any;
} heard;

static void hear(void *ctx, const ds4_piece *piece)
{
    static const char *const open[] = { "T(", "C(", "[", "A(", "!" };
    heard *h = ctx;

    if (!h->any || h->last != piece->kind) {
        if (h->any) ds4_str_add_text(&h->text, ")");
        ds4_str_add_text(&h->text, open[piece->kind]);
    }
    ds4_str_add(&h->text, piece->text.data, piece->text.n_bytes);
    h->last = piece->kind;
    h->any = true;
}

typedef struct played {
    ds4_reply *reply;
    heard      heard;
    uint32_t   n_asked;         /* tokens the reply wanted evaluated */
} played;

static ds4_reply_options options(bool thinking)
{
    return (ds4_reply_options){ .vocab = fx.v,
                                .n_vocab = fx.n,
                                .sampling = { .temperature = 0, .top_p = 1 },
                                .max_tokens = MAX_SCRIPT,
                                .thinking = thinking };
}

/* Feed the tokens of a script, in which special tokens are recognised, until it or the
 * reply is over. */
static void play(played *p, ds4_reply_options opt, const char *script)
{
    ds4_tokens tokens = { 0 };
    ds4_rng    rng;
    float     *logits = calloc(fx.n, sizeof *logits);

    ds4_rng_seed(&rng, 1);
    *p = (played){ .reply = NULL };
    opt.rng = &rng;
    opt.piece = hear;
    opt.piece_ctx = &p->heard;
    assert_int_equal(DS4_OK, ds4_reply_create(&opt, &p->reply, NULL));
    assert_int_equal(
        DS4_OK, ds4_vocab_encode(fx.v, script, strlen(script), DS4_ENCODE_SPECIALS, &tokens, NULL));
    for (uint32_t i = 0; i < tokens.n && ds4_reply_get(p->reply)->finish == DS4_FINISH_NONE; i++) {
        int32_t next = -2;
        logits[tokens.ids[i]] = 9;
        assert_int_equal(DS4_OK, ds4_reply_sample(p->reply, logits, &next, NULL));
        logits[tokens.ids[i]] = 0;
        const bool over = ds4_reply_get(p->reply)->finish != DS4_FINISH_NONE;
        assert_int_equal(over ? -1 : tokens.ids[i], next);
        p->n_asked += !over;
    }
    ds4_tokens_clear(&tokens);
    free(logits);
}

static void drop(played *p)
{
    ds4_reply_free(p->reply);
    ds4_str_clear(&p->heard.text);
}

static void assert_slice(const char *expected, ds4_slice s)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", (int)s.n_bytes, s.data);
    assert_string_equal(expected, text);
}

#define EOS "<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"
#define DSML "\xef\xbd\x9c" "DSML\xef\xbd\x9c"

static void test_reasoning_and_content_are_parted(void **state)
{
    played p;
    (void)state;
    play(&p, options(true), "so</think>yes" EOS);
    const ds4_reply_result *r = ds4_reply_get(p.reply);
    assert_int_equal(DS4_FINISH_END, r->finish);
    assert_slice("so", r->reasoning);
    assert_slice("yes", r->content);
    assert_string_equal("T(so)C(yes", ds4_str_text(&p.heard.text));
    assert_int_equal(6, r->n_tokens);
    assert_int_equal(3, r->n_reasoning_tokens);
    assert_int_equal(6, p.n_asked);
    drop(&p);
}

static void test_pieces_are_whole_characters(void **state)
{
    played p;
    (void)state;
    play(&p, options(false), "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" EOS);
    assert_slice("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", ds4_reply_get(p.reply)->content);
    assert_string_equal("C(a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", ds4_str_text(&p.heard.text));
    drop(&p);
    play(&p, options(false), "a\xe2\x82" EOS);          /* broken off inside a character */
    assert_slice("a\xef\xbf\xbd", ds4_reply_get(p.reply)->content);
    drop(&p);
}

static void test_calls_end_the_reply(void **state)
{
    played p;
    (void)state;
    play(&p, options(false),
         "ok\n\n<" DSML "tool_calls>\n<" DSML "invoke name=\"f\">\n<" DSML
         "parameter name=\"a\" string=\"true\">x\"y</" DSML "parameter>\n</" DSML "invoke>\n</" DSML
         "tool_calls>never read");
    const ds4_reply_result *r = ds4_reply_get(p.reply);
    assert_int_equal(DS4_FINISH_CALLS, r->finish);
    assert_slice("ok", r->content);
    assert_int_equal(1, r->n_calls);
    assert_slice("f", r->calls[0].name);
    assert_slice("{\"a\": \"x\\\"y\"}", r->calls[0].arguments);
    assert_string_equal("C(ok)[f)A({\"a\": \"x\\\"y\"}", ds4_str_text(&p.heard.text));
    assert_true(r->raw_calls.n_bytes > 0);
    drop(&p);
}

static void test_stop_string_is_cut_off(void **state)
{
    const ds4_slice   stops[] = { DS4_SLICE("END"), DS4_SLICE("\n\n") };
    ds4_reply_options opt = options(true);
    played            p;

    (void)state;
    opt.stops = stops;
    opt.n_stops = 2;
    play(&p, opt, "END</think>E EN ENDE");      /* not looked for in the reasoning */
    assert_int_equal(DS4_FINISH_STOP, ds4_reply_get(p.reply)->finish);
    assert_slice("E EN ", ds4_reply_get(p.reply)->content);
    assert_string_equal("T(END)C(E EN ", ds4_str_text(&p.heard.text));
    drop(&p);
    play(&p, opt, "</think>no stop EN" EOS);    /* what was held back comes at the end */
    assert_int_equal(DS4_FINISH_END, ds4_reply_get(p.reply)->finish);
    assert_slice("no stop EN", ds4_reply_get(p.reply)->content);
    assert_string_equal("C(no stop EN", ds4_str_text(&p.heard.text));
    drop(&p);
}

static void test_length_ends_it(void **state)
{
    ds4_reply_options opt = options(false);
    played            p;

    (void)state;
    opt.max_tokens = 3;
    play(&p, opt, "abcdef");
    assert_int_equal(DS4_FINISH_LENGTH, ds4_reply_get(p.reply)->finish);
    assert_slice("abc", ds4_reply_get(p.reply)->content);
    assert_int_equal(3, ds4_reply_get(p.reply)->n_tokens);
    assert_int_equal(2, p.n_asked);             /* the last one need not be evaluated */
    drop(&p);
}

static void test_cancelled_from_outside(void **state)
{
    played p;
    (void)state;
    play(&p, options(true), "half a tho");
    assert_int_equal(DS4_FINISH_NONE, ds4_reply_get(p.reply)->finish);
    assert_int_equal(DS4_OK, ds4_reply_end(p.reply, DS4_FINISH_CANCELLED, NULL));
    assert_int_equal(DS4_FINISH_CANCELLED, ds4_reply_get(p.reply)->finish);
    assert_slice("half a tho", ds4_reply_get(p.reply)->reasoning);
    assert_slice("", ds4_reply_get(p.reply)->content);
    assert_int_equal(DS4_OK, ds4_reply_end(p.reply, DS4_FINISH_CONTEXT, NULL));
    assert_int_equal(DS4_FINISH_CANCELLED, ds4_reply_get(p.reply)->finish);
    drop(&p);
}

static void test_plain_text_is_left_alone(void **state)
{
    ds4_reply_options opt = options(false);
    played            p;

    (void)state;
    opt.plain = true;
    play(&p, opt, "a</think>\n\n<" DSML "tool_calls>" EOS "b");
    assert_int_equal(DS4_FINISH_END, ds4_reply_get(p.reply)->finish);
    assert_int_equal(0, ds4_reply_get(p.reply)->n_calls);
    assert_true(ds4_reply_get(p.reply)->content.n_bytes > 0);
    assert_int_equal('a', ds4_reply_get(p.reply)->content.data[0]);
    drop(&p);
}

static void test_refusals(void **state)
{
    const ds4_slice   empty[] = { { "", 0 } };
    ds4_reply_options opt = options(false);
    ds4_reply        *r = NULL;
    ds4_rng           rng;
    ds4_err           err = { .code = DS4_OK };
    int32_t           token = 0;
    float            *logits = calloc(fx.n, sizeof *logits);

    (void)state;
    ds4_rng_seed(&rng, 1);
    opt.rng = &rng;
    opt.max_tokens = 0;
    assert_int_equal(DS4_E_ARG, ds4_reply_create(&opt, &r, &err));
    opt.max_tokens = 2;
    opt.stops = empty;
    opt.n_stops = 1;
    assert_int_equal(DS4_E_ARG, ds4_reply_create(&opt, &r, &err));
    opt.n_stops = 0;
    assert_int_equal(DS4_OK, ds4_reply_create(&opt, &r, &err));
    logits[5] = (float)strtod("nan", NULL);
    assert_int_equal(DS4_E_DEVICE, ds4_reply_sample(r, logits, &token, &err));
    assert_int_equal(-1, token);
    assert_int_equal(DS4_OK, ds4_reply_end(r, DS4_FINISH_CONTEXT, &err));
    assert_int_equal(DS4_E_ARG, ds4_reply_sample(r, logits, &token, &err));
    ds4_reply_free(r);
    free(logits);
}

static void test_finish_names(void **state)
{
    (void)state;
    assert_string_equal("", ds4_finish_name(DS4_FINISH_NONE));
    assert_string_equal("stop", ds4_finish_name(DS4_FINISH_END));
    assert_string_equal("stop", ds4_finish_name(DS4_FINISH_STOP));
    assert_string_equal("tool_calls", ds4_finish_name(DS4_FINISH_CALLS));
    assert_string_equal("length", ds4_finish_name(DS4_FINISH_LENGTH));
    assert_string_equal("length", ds4_finish_name(DS4_FINISH_CONTEXT));
    assert_string_equal("cancelled", ds4_finish_name(DS4_FINISH_CANCELLED));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_reasoning_and_content_are_parted),
    cmocka_unit_test(test_pieces_are_whole_characters),
    cmocka_unit_test(test_calls_end_the_reply),
    cmocka_unit_test(test_stop_string_is_cut_off),
    cmocka_unit_test(test_length_ends_it),
    cmocka_unit_test(test_cancelled_from_outside),
    cmocka_unit_test(test_plain_text_is_left_alone),
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_finish_names),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
