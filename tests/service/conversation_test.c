/* conversation_test.c - what a session still holds is not evaluated again, and it makes no
 * difference to the answer. */
#include "testing.h"

#include "service/conversation.h"
#include "service/model_open.h"

static ds4_model model;

static int open_model(void **state)
{
    const ds4_engine_options opt = { .model_path = "tests/golden/flashlike.gguf", .n_threads = 1 };
    ds4_err                  err = { .code = DS4_OK };

    (void)state;
    if (ds4_model_open(&opt, &model, &err) == DS4_OK) return 0;
    fprintf(stderr, "# %s\n", err.text);
    return -1;
}

static int close_model(void **state)
{
    (void)state;
    ds4_model_close(&model);
    return 0;
}

static ds4_conversation *begin(uint32_t n_ctx)
{
    ds4_conversation *c = NULL;
    assert_int_equal(DS4_OK,
                     ds4_conversation_create(model.engine, n_ctx, model.protocol, &c, NULL));
    assert_int_equal(DS4_OK, ds4_history_add_text(ds4_conversation_history(c), DS4_ROLE_SYSTEM,
                                                  DS4_SLICE("Be brief."), NULL));
    return c;
}

static void say(ds4_conversation *c, const char *text)
{
    assert_int_equal(DS4_OK, ds4_history_add_text(ds4_conversation_history(c), DS4_ROLE_USER,
                                                  (ds4_slice){ text, strlen(text) }, NULL));
}

static uint64_t seed = 1;           /* of every reply */
static bool     keep_reasoning;

static ds4_turn settings(ds4_rng *rng, bool thinking, uint32_t max_tokens)
{
    ds4_rng_seed(rng, seed);
    return (ds4_turn){ .chat = { .thinking = thinking, .keep_reasoning = keep_reasoning },
                       .sampling = { .temperature = 1, .top_p = 1 },
                       .rng = rng,
                       .max_tokens = max_tokens };
}

static ds4_status reply(ds4_conversation *c, bool thinking, uint32_t max_tokens)
{
    ds4_rng        rng;
    const ds4_turn turn = settings(&rng, thinking, max_tokens);
    return ds4_conversation_reply(c, &turn, NULL);
}

/* The model's weights are noise, so that most answers are broken UTF-8, which a session
 * and a repaired text do not share. This asks something and sets the seed to one that
 * gives a clean answer. */
static void ask(ds4_conversation *c, bool thinking, uint32_t max_tokens)
{
    const ds4_history *h = ds4_conversation_history(c);
    bool               found = false;

    say(c, "Tell me more about it.");
    for (seed = 1; seed < 1000 && !found; seed += !found) {
        ds4_conversation *probe = NULL;
        assert_int_equal(DS4_OK,
                         ds4_conversation_create(model.engine, 4096, model.protocol, &probe, NULL));
        for (uint32_t k = 0; k < h->n; k++) {
            assert_int_equal(
                DS4_OK, ds4_history_add(ds4_conversation_history(probe), &h->messages[k], NULL));
        }
        assert_int_equal(DS4_OK, reply(probe, thinking, max_tokens));
        const ds4_reply_result *r = ds4_conversation_result(probe);
        const bool clean = r->oddities == 0 || r->oddities == DS4_DSML_NO_THINK_CLOSE;
        found = clean && r->content.n_bytes + r->reasoning.n_bytes == max_tokens;
        ds4_conversation_free(probe);
    }
    assert_true(found);
}

/* The last answer in this conversation equals that of a new one with the same history. */
static void assert_equals_cold(ds4_conversation *c, bool thinking, uint32_t max_tokens)
{
    const ds4_history *h = ds4_conversation_history(c);
    ds4_conversation  *cold = NULL;

    assert_int_equal(DS4_OK,
                     ds4_conversation_create(model.engine, 4096, model.protocol, &cold, NULL));
    for (uint32_t i = 0; i + 1 < h->n; i++) {
        assert_int_equal(DS4_OK,
                         ds4_history_add(ds4_conversation_history(cold), &h->messages[i], NULL));
    }
    assert_int_equal(DS4_OK, reply(cold, thinking, max_tokens));
    assert_int_equal(0, ds4_conversation_stats(cold)->n_cached);
    const ds4_reply_result *a = ds4_conversation_result(c), *b = ds4_conversation_result(cold);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_true(ds4_slice_eq(a->content, b->content));
    assert_true(ds4_slice_eq(a->reasoning, b->reasoning));
    ds4_conversation_free(cold);
}

static void test_only_the_new_tail_is_evaluated(void **state)
{
    ds4_conversation *c = begin(4096);
    uint32_t          held = 0;

    (void)state;
    for (int i = 0; i < 4; i++) {
        ask(c, false, 2);
        assert_int_equal(DS4_OK, reply(c, false, 2));
        assert_int_equal(held, ds4_conversation_stats(c)->n_cached);
        assert_true(ds4_conversation_stats(c)->n_prompt > held);
        assert_true(ds4_conversation_stats(c)->first_token_ns > 0);
        assert_equals_cold(c, false, 2);
        held = ds4_conversation_pos(c);
    }
    assert_int_equal(1 + 2 * 4, ds4_conversation_history(c)->n);
    ds4_conversation_free(c);
}

static void test_kept_reasoning_keeps_the_session(void **state)
{
    ds4_conversation *c = begin(4096);

    (void)state;
    keep_reasoning = true;
    ask(c, true, 2);
    assert_int_equal(DS4_OK, reply(c, true, 2));
    const uint32_t held = ds4_conversation_pos(c);
    say(c, "two");
    assert_int_equal(DS4_OK, reply(c, true, 2));
    assert_int_equal(held, ds4_conversation_stats(c)->n_cached);
    assert_equals_cold(c, true, 2);
    keep_reasoning = false;
    ds4_conversation_free(c);
}

/* The prompt before, without the token that opened its reasoning, is still there. */
static void test_dropped_reasoning_goes_back_one_turn(void **state)
{
    ds4_conversation *c = begin(4096);
    uint32_t          n_shared = 0;

    (void)state;
    for (int i = 0; i < 6; i++) {
        say(c, "go on");
        assert_int_equal(DS4_OK, reply(c, true, 30));
        assert_int_equal(n_shared, ds4_conversation_stats(c)->n_cached);
        assert_equals_cold(c, true, 30);
        n_shared = ds4_conversation_stats(c)->n_prompt - 1;
    }
    ds4_conversation_free(c);
}

static void test_another_system_text_begins_anew(void **state)
{
    ds4_conversation *c = begin(4096);

    (void)state;
    say(c, "one");
    assert_int_equal(DS4_OK, reply(c, false, 10));
    ds4_history_truncate(ds4_conversation_history(c), 0);
    say(c, "two");
    assert_int_equal(DS4_OK, reply(c, false, 10));
    assert_int_equal(1, ds4_conversation_history(c)->n - 1);
    assert_int_equal(0, ds4_conversation_stats(c)->n_cached);
    assert_equals_cold(c, false, 10);
    ds4_conversation_free(c);
}

static void test_another_mode_goes_back_one_turn(void **state)
{
    ds4_conversation *c = begin(4096);

    (void)state;
    say(c, "one");
    assert_int_equal(DS4_OK, reply(c, true, 20));
    const uint32_t n_shared = ds4_conversation_stats(c)->n_prompt - 1;
    say(c, "two");
    assert_int_equal(DS4_OK, reply(c, false, 20));
    assert_int_equal(n_shared, ds4_conversation_stats(c)->n_cached);
    assert_equals_cold(c, false, 20);
    ds4_conversation_free(c);
}

static void test_resize_keeps_the_history(void **state)
{
    ds4_conversation *c = begin(512);

    (void)state;
    say(c, "one");
    assert_int_equal(DS4_OK, reply(c, false, 10));
    assert_int_equal(DS4_OK, ds4_conversation_resize(c, 1024, NULL));
    assert_int_equal(1024, ds4_conversation_capacity(c));
    assert_int_equal(3, ds4_conversation_history(c)->n);
    say(c, "two");
    assert_int_equal(DS4_OK, reply(c, false, 10));
    assert_true(ds4_conversation_stats(c)->n_cached > 0);
    assert_equals_cold(c, false, 10);
    assert_int_equal(DS4_E_ARG, ds4_conversation_resize(c, 0, NULL));
    assert_int_equal(1024, ds4_conversation_capacity(c));
    ds4_conversation_free(c);
}

static void test_a_prompt_that_does_not_fit(void **state)
{
    ds4_conversation *c = begin(64);
    ds4_rng           rng;
    const ds4_turn    turn = settings(&rng, false, 10);
    ds4_err           err = { .code = DS4_OK };
    char              text[101] = { 0 };

    (void)state;
    memset(text, 'x', 100);
    say(c, text);
    assert_int_equal(DS4_E_LIMIT, ds4_conversation_reply(c, &turn, &err));
    assert_non_null(strstr(err.text, "64"));
    assert_int_equal(2, ds4_conversation_history(c)->n);
    assert_int_equal(0, ds4_conversation_pos(c));
    ds4_conversation_free(c);
}

static void test_a_full_context_ends_the_answer(void **state)
{
    ds4_conversation *c = begin(64);

    (void)state;
    say(c, "go on");
    assert_int_equal(DS4_OK, reply(c, false, 1000));
    const ds4_finish finish = ds4_conversation_result(c)->finish;
    assert_true(finish == DS4_FINISH_CONTEXT || finish == DS4_FINISH_END);
    assert_true(ds4_conversation_pos(c) <= 64);
    ds4_conversation_free(c);
}

/* Stops the reply after a number of pieces. */
typedef struct stopper {
    ds4_cancel cancel;
    uint32_t   left;
} stopper;

static void stop_later(void *ctx, const ds4_piece *piece)
{
    stopper *s = ctx;
    (void)piece;
    if (s->left > 0 && --s->left == 0) s->cancel.stop = 1;
}

static void stop_now(void *ctx, uint32_t n_done, uint32_t n_total)
{
    stopper *s = ctx;
    (void)n_done;
    (void)n_total;
    s->cancel.stop = 1;
}

static void test_a_cancelled_answer_is_kept(void **state)
{
    ds4_conversation *c = begin(4096);
    stopper           s = { .left = 1 };
    ds4_rng           rng;

    (void)state;
    ask(c, false, 1);
    ds4_turn turn = settings(&rng, false, 400);
    turn.cancel = &s.cancel;
    turn.piece = stop_later;
    turn.ctx = &s;
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(DS4_FINISH_CANCELLED, ds4_conversation_result(c)->finish);
    assert_int_equal(3, ds4_conversation_history(c)->n);
    assert_true(ds4_conversation_history(c)->messages[2].content.n_bytes > 0);
    const uint32_t held = ds4_conversation_pos(c);
    say(c, "and now?");
    assert_int_equal(DS4_OK, reply(c, false, 12));
    assert_int_equal(held, ds4_conversation_stats(c)->n_cached);
    assert_equals_cold(c, false, 12);
    ds4_conversation_free(c);
}

/* A conversation alone obeys a grammar, as the server's answers do. */
static void test_grammar_holds(void **state)
{
    const ds4_slice   texts[] = { DS4_SLICE("yes"), DS4_SLICE("no"), DS4_SLICE("perhaps") };
    ds4_conversation *c = begin(4096);
    ds4_grammar      *grammar = NULL;
    ds4_rng           rng;

    (void)state;
    assert_int_equal(DS4_OK, ds4_grammar_one_of(texts, 3, &grammar, NULL));
    for (seed = 1; seed <= 4; seed++) {
        ds4_turn turn = settings(&rng, false, 60);
        turn.choose.grammar = grammar;
        turn.choose.grammar_ends = true;
        say(c, "Is it so?");
        assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
        const ds4_reply_result *r = ds4_conversation_result(c);
        assert_int_equal(DS4_FINISH_END, r->finish);
        bool known = false;
        for (int i = 0; i < 3; i++) {
            known |= r->content.n_bytes == texts[i].n_bytes
                  && !memcmp(r->content.data, texts[i].data, texts[i].n_bytes);
        }
        assert_true(known);
    }
    seed = 1;
    ds4_grammar_free(grammar);
    ds4_conversation_free(c);
}

static void test_reasoning_has_a_budget(void **state)
{
    ds4_conversation *c = begin(4096);
    ds4_rng           rng;
    ds4_turn          turn = settings(&rng, true, 40);

    (void)state;
    say(c, "Think.");
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_true(ds4_conversation_result(c)->n_reasoning_tokens > 20);
    ds4_history_truncate(ds4_conversation_history(c), 2);
    ds4_rng_seed(&rng, seed);
    turn.choose.thinking_budget = 7;
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(7 + 1, ds4_conversation_result(c)->n_reasoning_tokens);    /* and the tag */
    ds4_conversation_free(c);
}

static void test_a_loop_is_ended(void **state)
{
    char              text[601] = { 0 };
    ds4_conversation *c = begin(4096);
    ds4_grammar      *grammar = NULL;
    ds4_rng           rng;
    ds4_turn          turn = settings(&rng, false, 1000);

    (void)state;
    memset(text, 'a', 600);
    const ds4_slice only = { text, 600 };
    assert_int_equal(DS4_OK, ds4_grammar_one_of(&only, 1, &grammar, NULL));
    turn.choose.grammar = grammar;
    turn.choose.grammar_ends = true;
    turn.loop_tokens = 50;
    turn.sampling.temperature = 0;
    say(c, "Say it again.");
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(DS4_FINISH_LOOP, ds4_conversation_result(c)->finish);
    assert_true(ds4_conversation_result(c)->content.n_bytes < 600);
    turn.loop_tokens = 0;
    ds4_rng_seed(&rng, 1);
    say(c, "Say it again.");
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(DS4_FINISH_END, ds4_conversation_result(c)->finish);
    assert_int_equal(600, ds4_conversation_result(c)->content.n_bytes);
    ds4_grammar_free(grammar);
    ds4_conversation_free(c);
}

static void test_a_cancelled_prompt_is_resumed(void **state)
{
    ds4_conversation *c = begin(4096);
    stopper           s = { .left = 0 };
    ds4_rng           rng;
    ds4_turn          turn = settings(&rng, false, 8);
    char              text[1001] = { 0 };

    (void)state;
    memset(text, 'y', 1000);
    say(c, text);
    turn.cancel = &s.cancel;
    turn.progress = stop_now;
    turn.ctx = &s;
    assert_int_equal(DS4_E_CANCELLED, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(2, ds4_conversation_history(c)->n);
    const uint32_t held = ds4_conversation_pos(c);
    assert_true(held > 0 && held < 1000);
    assert_int_equal(DS4_OK, reply(c, false, 8));
    assert_int_equal(held, ds4_conversation_stats(c)->n_cached);
    assert_equals_cold(c, false, 8);
    ds4_conversation_free(c);
}

static void test_raw_text_is_continued(void **state)
{
    ds4_conversation *c = begin(256);
    ds4_segments      text = { 0 };
    ds4_rng           rng;
    const ds4_turn    turn = settings(&rng, false, 6);

    (void)state;
    ds4_chat_render_raw(DS4_SLICE("hello"), &text);
    assert_int_equal(DS4_OK, ds4_conversation_complete(c, &text, &turn, NULL));
    assert_int_equal(6, ds4_conversation_stats(c)->n_prompt);      /* BOS and five bytes */
    assert_int_equal(1, ds4_conversation_history(c)->n);
    const uint32_t n = ds4_conversation_result(c)->n_tokens;
    assert_int_equal(DS4_OK, ds4_conversation_complete(c, &text, &turn, NULL));
    assert_int_equal(n, ds4_conversation_result(c)->n_tokens);
    ds4_segments_clear(&text);
    ds4_conversation_free(c);
}

static void test_measure(void **state)
{
    ds4_conversation *c = begin(512);
    ds4_rng           rng;
    const ds4_turn    turn = settings(&rng, true, 4);
    uint32_t          n = 0;

    (void)state;
    say(c, "how long is this?");
    assert_int_equal(DS4_OK, ds4_conversation_measure(c, &turn.chat, &n, NULL));
    assert_int_equal(DS4_OK, ds4_conversation_reply(c, &turn, NULL));
    assert_int_equal(n, ds4_conversation_stats(c)->n_prompt);
    ds4_conversation_free(c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_only_the_new_tail_is_evaluated),
    cmocka_unit_test(test_kept_reasoning_keeps_the_session),
    cmocka_unit_test(test_dropped_reasoning_goes_back_one_turn),
    cmocka_unit_test(test_another_mode_goes_back_one_turn),
    cmocka_unit_test(test_another_system_text_begins_anew),
    cmocka_unit_test(test_resize_keeps_the_history),
    cmocka_unit_test(test_a_prompt_that_does_not_fit),
    cmocka_unit_test(test_a_full_context_ends_the_answer),
    cmocka_unit_test(test_a_cancelled_answer_is_kept),
    cmocka_unit_test(test_grammar_holds),
    cmocka_unit_test(test_reasoning_has_a_budget),
    cmocka_unit_test(test_a_loop_is_ended),
    cmocka_unit_test(test_a_cancelled_prompt_is_resumed),
    cmocka_unit_test(test_raw_text_is_continued),
    cmocka_unit_test(test_measure),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_model, close_model);
}
