/* prompt_marks_test.c - where blocks begin that clients leave out later, and that a conversation goes on from
 * there: in memory, after a restart, and again where a prompt has parted before. */
#include "testing.h"

#include "base/rng.h"
#include "service/conversation.h"
#include "service/model_open.h"
#include "service/prompt_marks.h"
#include "support/kv_dir.h"

enum { N_CTX = 16384, EVEN = DS4_EVEN };

static ds4_model model;
static char      dir[256];

static int open_model(void **state)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf", .n_threads = 1 };
    ds4_err                  err = { .code = DS4_OK };

    (void)state;
    kv_dir_name(dir, "kv_marks");
    return ds4_model_open(&opt, &model, &err) == DS4_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    ds4_model_close(&model);
    kv_dir_remove(dir);
    return 0;
}

/* So many words, one line for ten of them. */
static void add_words(ds4_str *to, uint32_t n, uint64_t seed)
{
    static const char *const word[] = { "house", "cat", "and", "green", "12", "went" };
    ds4_rng rng;

    ds4_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < n; i++) {
        ds4_str_addf(to, "%s%s", word[ds4_rng_next(&rng) % 6], i % 10 == 9 ? "\n" : " ");
    }
}

/* ---- places -------------------------------------------------------------------------------------- */

static uint32_t length_of(const char *text, size_t n_bytes, ds4_tokens *out)
{
    ds4_tokens t = { 0 };

    assert_int_equal(DS4_OK, ds4_vocab_encode(ds4_engine_vocab(model.engine), text, n_bytes,
                                              DS4_ENCODE_SPECIALS, &t, NULL));
    const uint32_t n = t.n;
    if (out) *out = t;
    else ds4_tokens_clear(&t);
    return n;
}

/* The places of a prompt must be those in front of each "@" in the text, which itself is left out. */
static void check_places(const char *system, const char *text)
{
    ds4_str    plain = { 0 };
    ds4_tokens t;
    uint32_t   n = 0, want[8] = { 0 };

    ds4_str_addf(&plain, "%s", system);
    for (; *text; text++) {
        if (*text != '@') ds4_str_add(&plain, text, 1);
        else want[n++] = length_of(ds4_str_text(&plain), plain.n_bytes, NULL);
    }
    length_of(ds4_str_text(&plain), plain.n_bytes, &t);
    const ds4_prompt_marks m = ds4_prompt_marks_find(ds4_engine_vocab(model.engine), &t, 1, 1, t.n);
    assert_int_equal(n, m.n_ways);
    for (uint32_t i = 0; i < n; i++) {
        /* One token in front of a block is left out, and may be one with what is in front of it. */
        if (m.way[i] <= want[i] && m.way[i] + 2 >= want[i]) continue;
        fail_msg("%u: place %u, not %u", i, m.way[i], want[i]);
    }
    ds4_tokens_clear(&t);
    ds4_str_clear(&plain);
}

static void test_places(void **state)
{
    static const char system[] = "<｜begin▁of▁sentence｜>You are a clerk of a shop.";
    static const char first[] = "<｜begin▁of▁sentence｜>You are a clerk.<｜User｜>Hi<｜Assistant｜></think>Yes?"
                                "<｜end▁of▁sentence｜>";

    (void)state;
    check_places(system, "<｜User｜><a>\nx\n</a>@\n\n<b-2>\ny\n</b-2>@\n\nwhat?");
    check_places(system, "<｜User｜>what?@\n\n<environment_details>\nthe time\n</environment_details>");
    /* No block: attributes, no name, no blank line, inside of a line. */
    check_places(system, "<｜User｜>a\n<b>\n\n@<c d=\"1\">\nthe last paragraph");
    check_places(system, "<｜User｜>a <b> <> </c>");
    check_places(system, "<｜User｜>a\n\n<b\n\n<>\n\n@</b>");
    /* Messages begin; of all places the last ones are taken. */
    check_places(first, "@<｜User｜>more<｜Assistant｜></think>");
    check_places(first, "<｜User｜>a\n\n<b>\n1\n</b>@\n\n<c>\n2\n</c>@\n\n<d>\n3\n</d>@\n\nlast");
}

static void test_multiples(void **state)
{
    ds4_str          text = { 0 };
    ds4_tokens       t;
    ds4_prompt_marks m;

    (void)state;
    ds4_str_addf(&text, "<｜begin▁of▁sentence｜>");
    add_words(&text, 300, 1);
    ds4_str_addf(&text, "<｜User｜>");
    add_words(&text, 700, 2);
    ds4_str_addf(&text, "\n\n<a>\nb\n</a>\n\nwhat?");
    length_of(ds4_str_text(&text), text.n_bytes, &t);
    m = ds4_prompt_marks_find(ds4_engine_vocab(model.engine), &t, EVEN, EVEN, t.n);
    assert_true(m.opens && m.anchor >= 256 && m.anchor % EVEN == 0);
    assert_true(m.n_ways == 1 && m.way[0] % EVEN == 0 && m.way[0] + EVEN + 20 > t.n);
    m = ds4_prompt_marks_find(ds4_engine_vocab(model.engine), &t, EVEN, EVEN, m.way[0]);
    assert_int_equal(0, m.n_ways);
    m = ds4_prompt_marks_find(ds4_engine_vocab(model.engine), &t, EVEN, 4096, t.n);
    assert_int_equal(0, m.anchor);
    ds4_tokens_clear(&t);
    ds4_str_clear(&text);
}

/* ---- conversations ------------------------------------------------------------------------------- */

static ds4_resume *open_resume(bool on_disk)
{
    const ds4_resume_options opt = { .engine = model.engine, .dir = on_disk ? dir : NULL, .min_tokens = 128 };
    ds4_resume              *r = NULL;
    ds4_err                  err = { .code = DS4_OK };

    if (ds4_resume_create(&opt, &r, &err) != DS4_OK) fail_msg("%s", err.text);
    return r;
}

static ds4_conversation *begin(ds4_resume *r)
{
    ds4_conversation *c = NULL;

    assert_int_equal(DS4_OK, ds4_conversation_create(model.engine, N_CTX, model.protocol, &c, NULL));
    if (r) ds4_conversation_use(c, r);
    return c;
}

static void add(ds4_conversation *c, ds4_role role, const char *text)
{
    assert_int_equal(DS4_OK, ds4_history_add_text(ds4_conversation_history(c), role,
                                                  (ds4_slice){ text, strlen(text) }, NULL));
}

/* A client's request in turn n: a long system text, a first question whose block is of this turn or is
 * gone, and n - 1 answered questions more. */
static void say(ds4_conversation *c, const char *system, const char *skills, const char *date, int turn)
{
    ds4_str first = { 0 };

    ds4_history_truncate(ds4_conversation_history(c), 0);
    add(c, DS4_ROLE_SYSTEM, system);
    ds4_str_addf(&first, "<reminder>\n%s</reminder>\n\n", skills);
    if (date) ds4_str_addf(&first, "<reminder>\nThe date is %s.\n</reminder>\n\n", date);
    ds4_str_addf(&first, "What is 2 + 2?");
    add(c, DS4_ROLE_USER, ds4_str_text(&first));
    ds4_str_clear(&first);
    for (int i = 1; i < turn; i++) {
        add(c, DS4_ROLE_ASSISTANT, "It is 4.");
        add(c, DS4_ROLE_USER, "And what is it now?");
    }
}

/* Answers; returns the tokens that were there already. */
static uint32_t answer(ds4_conversation *c)
{
    ds4_rng        rng;
    ds4_err        err = { .code = DS4_OK };
    const ds4_turn turn = { .sampling = { .top_p = 1 }, .rng = &rng, .max_tokens = 4 };

    ds4_rng_seed(&rng, 1);
    if (ds4_conversation_reply(c, &turn, &err) != DS4_OK) fail_msg("%s", err.text);
    return ds4_conversation_stats(c)->n_cached;
}

typedef struct texts {
    ds4_str system, skills;
    uint32_t known;             /* tokens in front of the block with the date */
} texts;

static void make_texts(texts *t)
{
    ds4_conversation *c = begin(NULL);

    *t = (texts){ .known = 0 };
    add_words(&t->system, 1500, 3);
    add_words(&t->skills, 2300, 4);
    say(c, ds4_str_text(&t->system), ds4_str_text(&t->skills), NULL, 1);
    const ds4_chat_options chat = { .thinking = false };
    assert_int_equal(DS4_OK, ds4_conversation_measure(c, &chat, &t->known, NULL));
    t->known -= 12;                             /* the question, and what opens the answer */
    ds4_conversation_free(c);
    assert_true(t->known > 50 * EVEN);
}

static void clear_texts(texts *t)
{
    ds4_str_clear(&t->system);
    ds4_str_clear(&t->skills);
}

static void turn(ds4_conversation *c, const texts *t, const char *date, int n)
{
    say(c, ds4_str_text(&t->system), ds4_str_text(&t->skills), date, n);
}

/* The second turn's answer is that of a run which read everything. */
static void assert_equals_cold(ds4_conversation *c, const texts *t)
{
    ds4_conversation *cold = begin(NULL);

    turn(cold, t, NULL, 2);
    assert_int_equal(0, answer(cold));
    const ds4_reply_result *a = ds4_conversation_result(c), *b = ds4_conversation_result(cold);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_true(ds4_slice_eq(a->content, b->content));
    ds4_conversation_free(cold);
}

/* The client leaves its note of the date out when it goes on: 98 % of what is in front of it is there. */
static void test_a_block_that_is_left_out(void **state)
{
    texts t;

    (void)state;
    make_texts(&t);
    for (int restarts = 0; restarts < 2; restarts++) {
        kv_dir_remove(dir);
        ds4_resume       *r = open_resume(true);
        ds4_conversation *c = begin(r);
        turn(c, &t, "Monday", 1);
        assert_int_equal(0, answer(c));
        if (restarts) {
            ds4_conversation_free(c);
            ds4_resume_free(r);
            r = open_resume(true);
            c = begin(r);
        }
        turn(c, &t, NULL, 2);
        const uint32_t n_cached = answer(c);
        print_message("# %u of %u tokens in front of the change\n", n_cached, t.known);
        assert_true(n_cached * 50 >= t.known * 49);
        if (restarts) assert_equals_cold(c, &t);
        ds4_conversation_free(c);
        ds4_resume_free(r);
    }
    clear_texts(&t);
}

/* A change in the middle of a text, where no block begins: from the second time on its place is known. */
static void test_a_prompt_that_parted_before(void **state)
{
    ds4_str           common = { 0 }, rest = { 0 }, system = { 0 };
    ds4_resume       *r = open_resume(false);
    ds4_conversation *c = begin(r);

    (void)state;
    add_words(&common, 3700, 5);
    add_words(&rest, 300, 6);
    const uint32_t n_common = 1 + length_of(ds4_str_text(&common), common.n_bytes, NULL);
    for (int i = 0; i < 3; i++) {
        ds4_str_clear(&system);
        ds4_str_addf(&system, "%sit is %d o'clock\n%s", ds4_str_text(&common), 3 + i, ds4_str_text(&rest));
        say(c, ds4_str_text(&system), "", NULL, 1);
        const uint32_t n_cached = answer(c);
        print_message("# %u of %u tokens cached\n", n_cached, n_common);
        if (i == 1) assert_int_equal(DS4_PROMPT_STEP, n_cached);
        if (i == 2) assert_true(n_cached <= n_common + 8 && n_cached * 50 >= n_common * 49);
    }
    ds4_conversation_free(c);
    ds4_resume_free(r);
    ds4_str_clear(&system);
    ds4_str_clear(&common);
    ds4_str_clear(&rest);
}

static void test_a_result(void **state)
{
    static const struct { const char *text; bool is_result; } cases[] = {
        { "<｜User｜><tool_result>5</tool_result>", true },
        { "<｜User｜><tool_result>", true },
        { "<｜User｜><tool_result", false },
        { "<｜User｜><tool_results>", false },
        { "<｜User｜>a <tool_result>", false },
        { "<｜User｜><tool_result>5</tool_result><｜Assistant｜></think>Yes.<｜end▁of▁sentence｜>"
          "<｜User｜>So?", false },
    };
    ds4_tokens t;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        length_of(cases[i].text, strlen(cases[i].text), &t);
        const ds4_prompt_marks m = ds4_prompt_marks_find(ds4_engine_vocab(model.engine), &t, 1, 1, t.n);
        if (m.is_result != cases[i].is_result) fail_msg("%s", cases[i].text);
        ds4_tokens_clear(&t);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_places),
    cmocka_unit_test(test_multiples),
    cmocka_unit_test(test_a_result),
    cmocka_unit_test(test_a_block_that_is_left_out),
    cmocka_unit_test(test_a_prompt_that_parted_before),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_model, close_model);
}
