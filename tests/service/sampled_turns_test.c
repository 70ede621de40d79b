/* sampled_turns_test.c - a prompt with turns as they were sampled: their tokens where their bytes are the
 * text's, the encoding everywhere else, and always the same text. */
#include "testing.h"

#include "base/rng.h"
#include "service/sampled_turns.h"
#include "model/vocab_gguf.h"

static ds4_gguf  *file;
static ds4_vocab *vocab;


static int set_up(void **state)
{
    const char *mini = "models/ds4-mini.gguf";

    (void)state;
    if (access(mini, R_OK) != 0) return -1;
    if (ds4_gguf_open(mini, &file, NULL) != DS4_OK) return -1;
    return ds4_vocab_from_gguf(file, &vocab, NULL) == DS4_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_vocab_free(vocab);
    ds4_gguf_close(file);
    return 0;
}

static ds4_tokens encode(const char *text)
{
    ds4_tokens t = { 0 };

    assert_int_equal(DS4_OK, ds4_vocab_encode(vocab, text, strlen(text), 0, &t, NULL));
    return t;
}

/* Each byte by itself, as no encoder would. */
static void add_split(ds4_tokens *to, const char *text)
{
    for (; *text; text++) {
        ds4_tokens one = encode((const char[2]){ *text, '\0' });
        ds4_tokens_append(to, one.ids, one.n);
        ds4_tokens_clear(&one);
    }
}

static void add(ds4_tokens *to, const char *text)
{
    ds4_tokens t = encode(text);
    ds4_tokens_append(to, t.ids, t.n);
    ds4_tokens_clear(&t);
}

static void same(const ds4_tokens *a, const ds4_tokens *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->ids, b->ids, a->n * sizeof *a->ids);
}

/* Question, reasoning (shown or not), answer, end; twice. */
static ds4_tokens prompt(bool split_first, bool shows_reasoning, bool split_reasoning)
{
    const ds4_specials *sp = ds4_vocab_specials(vocab);
    ds4_tokens          t = { 0 };

    ds4_tokens_add(&t, sp->bos);
    for (int i = 0; i < 2; i++) {
        ds4_tokens_add(&t, sp->user);
        add(&t, "What is it called?");
        ds4_tokens_add(&t, sp->assistant);
        if (shows_reasoning) {
            ds4_tokens_add(&t, sp->think_open);
            if (split_reasoning && i == 0) add_split(&t, "They mean the cat.");
            else add(&t, "They mean the cat.");
        }
        ds4_tokens_add(&t, sp->think_close);
        if (split_first && i == 0) add_split(&t, "The cat is called Mimi.");
        else add(&t, "The cat is called Mimi.");
        ds4_tokens_add(&t, sp->eos);
    }
    return t;
}

static ds4_tokens sampled_turn(void)
{
    ds4_tokens t = { 0 };

    add_split(&t, "They mean the cat.");
    ds4_tokens_add(&t, ds4_vocab_specials(vocab)->think_close);
    add_split(&t, "The cat is called Mimi.");
    return t;
}

static void check(const ds4_sampled_turn *turn, uint32_t n, bool reasoning, ds4_tokens expected,
                  uint32_t n_expected)
{
    ds4_tokens p = prompt(false, reasoning, false);
    uint32_t   n_others = 99;

    assert_int_equal(DS4_OK, ds4_put_sampled(vocab, &p, turn, n, &n_others, NULL));
    same(&expected, &p);
    assert_int_equal(n_expected, n_others);
    ds4_tokens_clear(&p);
    ds4_tokens_clear(&expected);
}

static void test_whole_turns_and_answers(void **state)
{
    ds4_tokens             t = sampled_turn();
    const ds4_sampled_turn whole[2] = { { t.ids, t.n }, { NULL, 0 } };

    (void)state;
    check(whole, 2, true, prompt(true, true, true), t.n);
    check(whole, 2, false, prompt(true, false, false), 23);     /* letters of the answer alone */
    check(whole, 1, true, prompt(true, true, true), t.n);
    check(whole, 0, true, prompt(false, true, false), 0);
    ds4_tokens_clear(&t);
}

/* Sampled tokens that are those of the encoding change nothing, nor do those of another text. */
static void test_nothing_to_put(void **state)
{
    ds4_tokens plain = { 0 }, other = { 0 }, longer = { 0 };

    (void)state;
    add(&plain, "They mean the cat.");
    ds4_tokens_add(&plain, ds4_vocab_specials(vocab)->think_close);
    add(&plain, "The cat is called Mimi.");
    add_split(&other, "The dog is called Mimi.");
    add_split(&longer, "No! The cat is called Mimi.");
    const ds4_sampled_turn as_encoded[2] = { { plain.ids, plain.n }, { plain.ids, plain.n } };
    const ds4_sampled_turn others[2] = { { other.ids, other.n }, { longer.ids, longer.n } };
    check(as_encoded, 2, true, prompt(false, true, false), 0);
    check(others, 2, true, prompt(false, true, false), 0);
    ds4_tokens_clear(&plain);
    ds4_tokens_clear(&other);
    ds4_tokens_clear(&longer);
}

/* The text stays the same, whatever is put in. */
static void test_the_text_stays(void **state)
{
    ds4_rng rng;

    (void)state;
    ds4_rng_seed(&rng, 11);
    for (int round = 0; round < 500; round++) {
        ds4_tokens p = prompt(false, true, false), t = sampled_turn();
        ds4_str    before = { 0 }, after = { 0 };
        uint32_t   n_others;
        const uint32_t from = (uint32_t)(ds4_rng_next(&rng) % t.n),
                       n = (uint32_t)(ds4_rng_next(&rng) % (t.n - from)) + 1;
        const ds4_sampled_turn turn[3] = { { t.ids + from, n },
                                           { t.ids, t.n - (uint32_t)(round % 3) },
                                           { t.ids, 5 } };
        ds4_vocab_decode(vocab, p.ids, p.n, 0, &before);
        assert_int_equal(DS4_OK, ds4_put_sampled(vocab, &p, turn, 3, &n_others, NULL));
        ds4_vocab_decode(vocab, p.ids, p.n, 0, &after);
        assert_string_equal(ds4_str_text(&before), ds4_str_text(&after));
        ds4_str_clear(&before);
        ds4_str_clear(&after);
        ds4_tokens_clear(&p);
        ds4_tokens_clear(&t);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_whole_turns_and_answers),
    cmocka_unit_test(test_nothing_to_put),
    cmocka_unit_test(test_the_text_stays),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
