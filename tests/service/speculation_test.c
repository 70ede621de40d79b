/* speculation_test.c - guessed tokens change the number of steps and nothing else: the same answers,
 * likelihoods and positions, whatever is guessed and however much of it is right. */
#include "testing.h"

#include "format/dtype.h"
#include "service/model_open.h"
#include "service/scheduler.h"
#include "support/oracle_drafter.h"
#include "support/tiny_draft.h"
#include "support/tiny_model.h"

#include <math.h>

enum { N_CTX = 1024, MAX_JOBS = 4, ANSWER = 500 };

static char      model_path[256], draft_path[256];
static ds4_model model;

static int open_model(void **state)
{
    const tiny_model t = { .seed = 5, .dense = DS4_Q8_0, .gate_up = DS4_IQ2_XXS, .down = DS4_Q2_K,
                           .precise = DS4_F16, .n_embd = 256 };

    (void)state;
    test_temp_path(model_path, "speculation_test.gguf");
    tiny_model_write(&t, model_path);
    const tiny_draft d = { .seed = 6, .dtype = DS4_Q8_0, .n_embd = 256 };
    test_temp_path(draft_path, "speculation_test_draft.gguf");
    tiny_draft_write(&d, draft_path);
    const ds4_engine_options opt = { .model_path = model_path, .dspark_path = draft_path, .backend = "cpu",
                                     .n_threads = 2, .max_batch = 80 };
    return ds4_model_open(&opt, &model, NULL) == DS4_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    ds4_model_close(&model);
    unlink(draft_path);
    return unlink(model_path);
}

/* ---- one request ------------------------------------------------------------------------------ */

/* How answers may differ from the plain one. */
typedef struct manner {
    const char *name;
    float       temperature;
    uint32_t    max_tokens;
    bool        thinking, logprobs, object;     /* a JSON object is the answer */
    const char *stop, *opening;
    uint32_t    budget;
    float       frequency, repetition;
    bool        endless;        /* no token ends it */
} manner;

static const manner manners[] = {
    { "greedy", .max_tokens = ANSWER, .endless = true },
    { "drawn", .temperature = 1, .max_tokens = ANSWER, .endless = true },
    { "with likelihoods", .temperature = 0.8f, .max_tokens = 150, .logprobs = true },
    { "a stop text", .temperature = 1, .max_tokens = ANSWER, .stop = "e" },
    { "an object", .temperature = 1, .max_tokens = 200, .object = true },
    { "reasoning that is cut", .temperature = 1, .max_tokens = 160, .thinking = true, .budget = 70,
      .opening = "Well: " },
    { "an object after reasoning", .temperature = 1, .max_tokens = 200, .thinking = true, .budget = 40,
      .object = true, .logprobs = true },
    { "penalties", .temperature = 0.7f, .max_tokens = 200, .frequency = 0.3f, .repetition = 1.2f },
    { "one token", .temperature = 1, .max_tokens = 1 },
    { "two tokens", .max_tokens = 2 },
};

enum { N_MANNERS = sizeof manners / sizeof *manners };

static ds4_token_bias never[2];         /* tokens that end an answer */

typedef struct asked {
    ds4_segments text;
    ds4_tokens   tokens;
    ds4_slice    stop;
    ds4_grammar *grammar;
    ds4_channel *channel;
    ds4_job     *job;
    ds4_str      said;          /* all pieces in a row with their kinds, and likelihoods */
    bool         over;
} asked;

static ds4_job_spec spec_of(asked *a, const manner *m, const char *prompt)
{
    const ds4_message      said = { .role = DS4_ROLE_USER, .content = { prompt, strlen(prompt) } };
    const ds4_chat_options chat = { .protocol = DS4_PROTOCOL_V4, .thinking = m->thinking };

    *a = (asked){ .over = false };
    assert_int_equal(ds4_chat_render(&said, 1, &chat, &a->text, NULL), DS4_OK);
    assert_int_equal(ds4_segments_encode(ds4_engine_vocab(model.engine), &a->text, &a->tokens, NULL),
                     DS4_OK);
    assert_int_equal(ds4_channel_create(&a->channel, NULL), DS4_OK);
    if (m->object) assert_int_equal(ds4_grammar_any_object(&a->grammar, NULL), DS4_OK);
    if (m->stop) a->stop = (ds4_slice){ m->stop, strlen(m->stop) };
    ds4_job_spec spec = { .text = &a->text, .tokens = &a->tokens,
                          .sampling = { .temperature = m->temperature, .top_p = 0.98f, .min_p = 0.01f },
                          .penalties = { .frequency = m->frequency, .repetition = m->repetition },
                          .seed = 11, .max_tokens = m->max_tokens, .client = "", .out = a->channel,
                          .stops = &a->stop, .n_stops = m->stop ? 1 : 0,
                          .choose = { .thinking_budget = m->budget, .grammar = a->grammar,
                                      .grammar_ends = true, .logprobs = m->logprobs, .n_top = 3 } };
    const ds4_specials *specials = ds4_vocab_specials(ds4_engine_vocab(model.engine));
    never[0] = (ds4_token_bias){ specials->eos, -1000 };
    never[1] = (ds4_token_bias){ specials->eot, -1000 };
    if (m->endless) spec.penalties.bias = never;
    if (m->endless) spec.penalties.n_bias = 2;
    if (m->opening) spec.choose.opening = (ds4_slice){ m->opening, strlen(m->opening) };
    return spec;
}

static void submit(ds4_scheduler *s, asked *a, const ds4_job_spec *spec)
{
    ds4_err err = { .code = DS4_OK };
    if (ds4_scheduler_submit(s, spec, &a->job, &err) != DS4_OK) fail_msg("%s", err.text);
}

static void wait_for(asked *a)
{
    while (!a->over) {
        ds4_event *e = ds4_channel_get(a->channel, 20000);
        if (!e) fail_msg("no event for 20 seconds");
        if (e->kind == DS4_EVENT_PIECE) {
            ds4_str_add_char(&a->said, (char)('0' + e->piece));
            ds4_str_add(&a->said, e->text.data, e->text.n_bytes);
        }
        if (e->kind == DS4_EVENT_TOKEN) {
            ds4_str_add(&a->said, &e->token, sizeof e->token);
            ds4_str_add(&a->said, e->top, e->n_top * sizeof *e->top);
        }
        a->over = e->kind == DS4_EVENT_END;
        free(e);
    }
    if (ds4_job_error(a->job)->code != DS4_OK) fail_msg("%s", ds4_job_error(a->job)->text);
}

static void done(asked *a)
{
    ds4_job_free(a->job);
    ds4_channel_free(a->channel);
    ds4_grammar_free(a->grammar);
    ds4_str_clear(&a->said);
    ds4_tokens_clear(&a->tokens);
    ds4_segments_clear(&a->text);
}

static void assert_same(const char *name, const asked *a, const asked *b)
{
    const ds4_reply_result *x = ds4_job_result(a->job), *y = ds4_job_result(b->job);
    const bool same = x->n_tokens == y->n_tokens && x->finish == y->finish
                   && (x->n_tokens == 0 || !memcmp(x->tokens, y->tokens, x->n_tokens * sizeof *x->tokens))
                   && a->said.n_bytes == b->said.n_bytes
                   && !memcmp(ds4_str_text(&a->said), ds4_str_text(&b->said), a->said.n_bytes);

    if (!same) fail_msg("%s: another answer (%u and %u tokens)", name, x->n_tokens, y->n_tokens);
}

/* ---- schedulers ---------------------------------------------------------------------------------- */

static ds4_status make_oracle(void *ctx, uint32_t i_seat, ds4_drafter **out, ds4_err *err)
{
    (void)err;
    *out = oracle_drafter((oracle *)ctx + i_seat);
    return DS4_OK;
}

/* o [n_slots]; NULL: no guesses. */
static ds4_scheduler *new_scheduler(uint32_t n_slots, oracle *o)
{
    const ds4_scheduler_options opt = {
        .engine = model.engine, .n_ctx = N_CTX, .n_slots = n_slots, .max_waiting = 8,
        .speculation = { .how = o ? DS4_SPECULATE_AUTO : DS4_SPECULATE_OFF, .make = make_oracle,
                         .make_ctx = o, .always = true },
    };
    ds4_scheduler *s = NULL;
    ds4_err        err = { .code = DS4_OK };

    if (ds4_scheduler_create(&opt, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

/* With the engine's own drafter, all of whose guesses are used; and beside it with what texts had. */
static ds4_scheduler *own_scheduler(uint32_t n_slots, ds4_speculate how)
{
    const ds4_scheduler_options opt = { .engine = model.engine, .n_ctx = N_CTX, .n_slots = n_slots,
                                        .max_waiting = 8, .speculation = { .how = how, .always = true } };
    ds4_scheduler *s = NULL;
    ds4_err        err = { .code = DS4_OK };

    if (ds4_scheduler_create(&opt, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

/* Prompts of other lengths, so that answers meet the ends of blocks and windows at other places. */
static const char *const prompts[MAX_JOBS] = {
    "Tell me about it.", "What is a window of tokens, and where does it end?",
    "abcabcabcabcabcabcabcabcabcabcabcabcabcabc", "No.",
};

/* The answer without guesses, and the text that an oracle then knows. */
static void answer_plainly(const manner *m, const char *prompt, asked *a, ds4_tokens *text)
{
    ds4_scheduler *s = new_scheduler(1, NULL);
    ds4_job_spec   spec = spec_of(a, m, prompt);

    submit(s, a, &spec);
    wait_for(a);
    assert_int_equal(ds4_job_stats_get(a->job)->n_guessed, 0);
    ds4_tokens_append(text, a->tokens.ids, a->tokens.n);
    ds4_tokens_append(text, ds4_job_result(a->job)->tokens, ds4_job_result(a->job)->n_tokens);
    ds4_scheduler_free(s);
}

static void forget(oracle *o, const ds4_tokens *text, uint32_t n_guesses)
{
    *o = (oracle){ .text = text->ids, .n_text = text->n, .n_guesses = n_guesses, .n_vocab = TINY_VOCAB };
}

/* ---- tests ------------------------------------------------------------------------------------- */

/* The answer is the plain one for every accepted length, over the ends of windows and blocks; and so is
 * the answer to a prompt that goes on from where the session was left. */
static void test_every_accepted_length(void **state)
{
    uint32_t seen[DS4_DRAFT_TOKENS + 1][DS4_DRAFT_TOKENS + 1] = { { 0 } };

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        asked      plain;
        ds4_tokens text = { 0 };
        answer_plainly(&manners[i % 2], prompts[i], &plain, &text);
        for (uint32_t k = 1; k <= DS4_DRAFT_TOKENS; k++) {
            oracle o;
            asked  a;
            forget(&o, &text, k);
            ds4_scheduler     *s = new_scheduler(1, &o);
            const ds4_job_spec spec = spec_of(&a, &manners[i % 2], prompts[i]);
            submit(s, &a, &spec);
            wait_for(&a);
            assert_same(manners[i % 2].name, &plain, &a);
            assert_int_equal(o.n_astray, 0);
            for (uint32_t j = 0; j <= k; j++) seen[k][j] += o.n_checked[j];
            assert_true(ds4_job_stats_get(a.job)->n_guessed > 0);
            done(&a);
            ds4_scheduler_free(s);
        }
        done(&plain);
        ds4_tokens_clear(&text);
    }
    for (uint32_t k = 1; k <= DS4_DRAFT_TOKENS; k++) {
        for (uint32_t j = 0; j <= k; j++) {
            if (seen[k][j] == 0) fail_msg("no step advanced by 1 + %u of %u guesses", j, k);
        }
    }
}

static void test_every_manner(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_MANNERS; i++) {
        const manner *m = &manners[i];
        asked         plain, a;
        ds4_tokens    text = { 0 };
        oracle        o;

        answer_plainly(m, prompts[i % MAX_JOBS], &plain, &text);
        forget(&o, &text, 5);
        ds4_scheduler     *s = new_scheduler(1, &o);
        const ds4_job_spec spec = spec_of(&a, m, prompts[i % MAX_JOBS]);
        submit(s, &a, &spec);
        wait_for(&a);
        assert_same(m->name, &plain, &a);
        if (m->max_tokens > 2) assert_true(ds4_job_stats_get(a.job)->n_agreed > 0);
        if (m->max_tokens == 1) assert_int_equal(ds4_job_stats_get(a.job)->n_guessed, 0);
        done(&plain);
        done(&a);
        ds4_scheduler_free(s);
        ds4_tokens_clear(&text);
    }
}

/* Four answers of other widths in each step, two of them in other manners. */
static void test_company(void **state)
{
    static const uint32_t manner_of[MAX_JOBS] = { 1, 0, 2, 7 };
    asked      plain[MAX_JOBS], a[MAX_JOBS];
    ds4_tokens text[MAX_JOBS] = { 0 };
    oracle     o[MAX_JOBS];

    (void)state;
    for (uint32_t i = 0; i < MAX_JOBS; i++) {
        answer_plainly(&manners[manner_of[i]], prompts[i], &plain[i], &text[i]);
    }
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < MAX_JOBS; i++) forget(&o[i], &text[i], 1 + (3 * i + 5 * round) % 15);
        ds4_scheduler *s = new_scheduler(MAX_JOBS, o);
        for (uint32_t i = 0; i < MAX_JOBS; i++) {
            const ds4_job_spec spec = spec_of(&a[i], &manners[manner_of[i]], prompts[i]);
            submit(s, &a[i], &spec);
        }
        for (uint32_t i = 0; i < MAX_JOBS; i++) {
            wait_for(&a[i]);
            assert_same(manners[manner_of[i]].name, &plain[i], &a[i]);
            assert_int_equal(o[i].n_astray, 0);
            assert_true(ds4_job_stats_get(a[i].job)->n_agreed > 0);
        }
        for (uint32_t i = 0; i < MAX_JOBS; i++) done(&a[i]);
        ds4_scheduler_free(s);
    }
    for (uint32_t i = 0; i < MAX_JOBS; i++) {
        done(&plain[i]);
        ds4_tokens_clear(&text[i]);
    }
}

/* A drafter with weights, here of noise: its guesses are computed between the steps of answers, and change
 * none of them, alone and in company. */
static void test_computed_guesses(void **state)
{
    static const ds4_speculate how[] = { DS4_SPECULATE_DSPARK, DS4_SPECULATE_AUTO };
    asked                      plain[MAX_JOBS], a[MAX_JOBS];
    ds4_tokens                 text[MAX_JOBS] = { 0 };

    (void)state;
    for (uint32_t i = 0; i < MAX_JOBS; i++) answer_plainly(&manners[i], prompts[i], &plain[i], &text[i]);
    for (uint32_t round = 0; round < 4; round++) {
        const uint32_t n = round < 2 ? 1 : MAX_JOBS;
        ds4_scheduler *s = own_scheduler(n, how[round % 2]);
        for (uint32_t i = 0; i < MAX_JOBS; i++) {
            const ds4_job_spec spec = spec_of(&a[i], &manners[i], prompts[i]);
            submit(s, &a[i], &spec);
        }
        for (uint32_t i = 0; i < MAX_JOBS; i++) {
            wait_for(&a[i]);
            assert_same(manners[i].name, &plain[i], &a[i]);
            assert_true(ds4_job_stats_get(a[i].job)->n_guessed > 0);
        }
        ds4_scheduler_stats stats;
        ds4_scheduler_stats_get(s, &stats);
        assert_true(stats.speculation.n_computed >= 100 && stats.speculation.computed_ns > 0);
        for (uint32_t i = 0; i < MAX_JOBS; i++) done(&a[i]);
        ds4_scheduler_free(s);
    }
    for (uint32_t i = 0; i < MAX_JOBS; i++) {
        done(&plain[i]);
        ds4_tokens_clear(&text[i]);
    }
}

/* A session after a turn with guesses, and the positions kept on the way, serve later prompts as after a
 * plain one. */
static void test_positions_are_kept_alike(void **state)
{
    asked      plain, first, next[2];
    ds4_tokens text = { 0 };
    oracle     o;

    (void)state;
    answer_plainly(&manners[1], prompts[1], &plain, &text);
    for (int with = 0; with < 2; with++) {
        forget(&o, &text, 6);
        ds4_scheduler *s = new_scheduler(1, with ? &o : NULL);
        ds4_job_spec   spec = spec_of(&first, &manners[1], prompts[1]);
        submit(s, &first, &spec);
        wait_for(&first);
        assert_same("the first turn", &plain, &first);
        /* The same conversation goes on, and then another one from a place inside of the answer. */
        spec = spec_of(&next[with], &manners[1], "");
        next[with].tokens.n = 0;
        ds4_tokens_append(&next[with].tokens, text.ids, text.n);
        ds4_tokens_add(&next[with].tokens, 'x');
        spec.exact = true;
        submit(s, &next[with], &spec);
        wait_for(&next[with]);
        assert_true(ds4_job_stats_get(next[with].job)->n_cached + 2 >= text.n);
        done(&first);
        ds4_scheduler_free(s);
    }
    assert_same("the next turn", &next[0], &next[1]);
    assert_int_equal(ds4_job_stats_get(next[0].job)->n_cached, ds4_job_stats_get(next[1].job)->n_cached);
    done(&next[0]);
    done(&next[1]);
    done(&plain);
    ds4_tokens_clear(&text);
}

/* A new seat's drafter is told of earlier conversations of its reader, and of nobody else's. */
static void test_texts_stay_with_their_reader(void **state)
{
    static const uint8_t readers[3] = { 1, 2, 1 };
    static const char *const said[3] = { "A first conversation.", "Of somebody else.", "Quite another one." };
    oracle         o[3];
    ds4_scheduler *s;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) forget(&o[i], &(ds4_tokens){ 0 }, 1);
    s = new_scheduler(3, o);
    for (uint32_t i = 0; i < 3; i++) {
        asked        a;
        ds4_job_spec spec = spec_of(&a, &manners[9], said[i]);
        memset(&spec.reader, readers[i], sizeof spec.reader);
        submit(s, &a, &spec);
        wait_for(&a);
        done(&a);
    }
    assert_int_equal(o[0].n_texts, 0);
    assert_int_equal(o[1].n_texts, 0);
    assert_int_equal(o[2].n_texts, 1);
    ds4_scheduler_free(s);
}

/* ---- frequencies -------------------------------------------------------------------------------- */

enum { N_DRAWS = 1500 };

static ds4_status make_suffix(void *ctx, uint32_t i_seat, ds4_drafter **out, ds4_err *err)
{
    (void)ctx;
    (void)i_seat;
    return ds4_drafter_suffix_create(4096, out, err);
}

/* How often each of the likeliest tokens came third, in answers of three tokens with their own seeds. */
static void count_thirds(ds4_scheduler *s, float temperature, uint64_t seed, uint32_t count[TINY_VOCAB])
{
    const manner m = { "three tokens", .temperature = temperature, .max_tokens = 3 };

    memset(count, 0, TINY_VOCAB * sizeof *count);
    for (uint32_t i = 0; i < N_DRAWS; i++) {
        asked        a;
        ds4_job_spec spec = spec_of(&a, &m, prompts[0]);
        spec.seed = seed + i;
        spec.sampling.top_p = 1;
        submit(s, &a, &spec);
        wait_for(&a);
        const ds4_reply_result *r = ds4_job_result(a.job);
        if (r->n_tokens == 3) count[r->tokens[2]]++;
        done(&a);
    }
}

/* One draw in ten takes the token that is the likeliest, as with drafts that are accepted unseen. */
static void plant_error(const uint32_t *count, uint32_t planted[TINY_VOCAB])
{
    uint32_t top = 0;

    for (uint32_t i = 0; i < TINY_VOCAB; i++) top = count[i] > count[top] ? i : top;
    memcpy(planted, count, TINY_VOCAB * sizeof *count);
    for (uint32_t i = 0, left = N_DRAWS / 10; left > 0; i = (i + 1) % TINY_VOCAB) {
        if (i == top || planted[i] == 0) continue;
        planted[i]--;
        planted[top]++;
        left--;
    }
}

/* The statistic over the tokens that both samples have often enough, the rest together; *freedom
 * receives its degrees. */
static double chi_square(const uint32_t *a, const uint32_t *b, uint32_t *freedom)
{
    double   sum = 0, rest_a = 0, rest_b = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < TINY_VOCAB; i++) {
        const double x = a[i], y = b[i];
        if (x + y < 20) {
            rest_a += x;
            rest_b += y;
            continue;
        }
        sum += (x - y) * (x - y) / (x + y);
        n++;
    }
    if (rest_a + rest_b > 0) sum += (rest_a - rest_b) * (rest_a - rest_b) / (rest_a + rest_b);
    *freedom = n;
    return sum;
}

/* Whether such a sum comes by chance less than once in some 10,000 samples (Wilson and Hilferty). */
static bool is_unlikely(double sum, uint32_t freedom)
{
    const double k = freedom, z = (cbrt(sum / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k));

    return z > 3.7;
}

static void test_frequencies(void **state)
{
    const ds4_scheduler_options opt = {
        .engine = model.engine, .n_ctx = 256, .n_slots = 1, .max_waiting = 8,
        .speculation = { .make = make_suffix, .always = true },
    };
    uint32_t       plain[TINY_VOCAB], guessed[TINY_VOCAB], planted[TINY_VOCAB], n = 0;
    ds4_scheduler *off = new_scheduler(1, NULL), *on = NULL;

    (void)state;
    assert_int_equal(ds4_scheduler_create(&opt, &on, NULL), DS4_OK);
    count_thirds(off, 0.8f, 1, plain);
    count_thirds(on, 0.8f, 2000001, guessed);
    ds4_scheduler_stats stats;
    ds4_scheduler_stats_get(on, &stats);
    assert_true(stats.speculation.n_guessed > N_DRAWS / 2);
    const double same = chi_square(plain, guessed, &n);
    if (is_unlikely(same, n)) fail_msg("chi-square of %g with %u degrees of freedom", same, n);
    plant_error(guessed, planted);
    const double other = chi_square(plain, planted, &n);
    if (!is_unlikely(other, n)) fail_msg("a planted error was not seen: %g with %u degrees", other, n);
    ds4_scheduler_free(off);
    ds4_scheduler_free(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_accepted_length), cmocka_unit_test(test_every_manner),
        cmocka_unit_test(test_company), cmocka_unit_test(test_computed_guesses),
        cmocka_unit_test(test_positions_are_kept_alike),
        cmocka_unit_test(test_texts_stay_with_their_reader), cmocka_unit_test(test_frequencies),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_model, close_model);
}
