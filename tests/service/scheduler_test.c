/* scheduler_test.c - answers do not depend on company, nobody waits for another's answer,
 * cancelled work stays, and the line is bounded and fair. The model is random. */
#include "testing.h"

#include "base/clock.h"
#include "format/dtype.h"
#include "service/model_open.h"
#include "service/scheduler.h"
#include "support/tiny_model.h"

enum { N_CTX = 2048, N_JOBS = 6 };

static char      model_path[256];
static ds4_model model;

static int open_model(void **state)
{
    const tiny_model t = { .seed = 3, .dense = DS4_Q8_0, .gate_up = DS4_IQ2_XXS, .down = DS4_Q2_K,
                           .precise = DS4_F16, .n_embd = 256 };

    (void)state;
    test_temp_path(model_path, "scheduler_test.gguf");
    tiny_model_write(&t, model_path);
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = 64 };
    return ds4_model_open(&opt, &model, NULL) == DS4_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    ds4_model_close(&model);
    return unlink(model_path);
}

/* ---- one request ------------------------------------------------------------------------------ */

typedef struct asked {
    ds4_segments text;
    ds4_tokens   tokens;
    ds4_channel *channel;
    ds4_job     *job;
    ds4_str      said;          /* all pieces in a row, with their kinds */
    uint32_t     n_prompt, n_cached, n_progress;
    uint64_t     begun_ns, first_ns, over_ns;
    bool         over;
} asked;

static ds4_scheduler *new_scheduler(uint32_t n_slots, uint32_t max_waiting, uint32_t loop_tokens)
{
    const ds4_scheduler_options opt = { .engine = model.engine, .n_ctx = N_CTX,
                                        .n_slots = n_slots, .max_waiting = max_waiting,
                                        .loop_tokens = loop_tokens };
    ds4_scheduler *s = NULL;
    ds4_err        err = { .code = DS4_OK };

    if (ds4_scheduler_create(&opt, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

static ds4_job_spec spec_of(asked *a, const char *prompt, uint32_t max_tokens)
{
    const ds4_message      m = { .role = DS4_ROLE_USER, .content = { prompt, strlen(prompt) } };
    const ds4_chat_options chat = { .protocol = DS4_PROTOCOL_V4 };

    *a = (asked){ .begun_ns = ds4_now_ns() };
    assert_int_equal(ds4_chat_render(&m, 1, &chat, &a->text, NULL), DS4_OK);
    assert_int_equal(ds4_segments_encode(ds4_engine_vocab(model.engine), &a->text, &a->tokens, NULL),
                     DS4_OK);
    assert_int_equal(ds4_channel_create(&a->channel, NULL), DS4_OK);
    return (ds4_job_spec){ .text = &a->text, .tokens = &a->tokens,
                           .sampling = { .temperature = 1, .top_p = 1, .min_p = 0.05f },
                           .seed = 17, .max_tokens = max_tokens, .client = "", .out = a->channel };
}

static void submit(ds4_scheduler *s, asked *a, const ds4_job_spec *spec)
{
    ds4_err err = { .code = DS4_OK };
    if (ds4_scheduler_submit(s, spec, &a->job, &err) != DS4_OK) fail_msg("%s", err.text);
}

static void ask(ds4_scheduler *s, asked *a, const char *prompt, uint32_t max_tokens)
{
    const ds4_job_spec spec = spec_of(a, prompt, max_tokens);
    submit(s, a, &spec);
}

static bool hear(asked *a, uint32_t wait_ms)
{
    ds4_event *e = ds4_channel_get(a->channel, wait_ms);

    if (!e) return false;
    if (e->kind == DS4_EVENT_STARTED) a->n_prompt = e->n_prompt;
    if (e->kind == DS4_EVENT_STARTED) a->n_cached = e->n_cached;
    if (e->kind == DS4_EVENT_PROGRESS) a->n_progress++;
    if (e->kind == DS4_EVENT_PIECE) {
        if (a->said.n_bytes == 0) a->first_ns = ds4_now_ns();
        ds4_str_add_char(&a->said, (char)('0' + e->piece));
        ds4_str_add(&a->said, e->text.data, e->text.n_bytes);
    }
    if (e->kind == DS4_EVENT_END) {
        a->over_ns = ds4_now_ns();
        a->over = true;
    }
    free(e);
    return true;
}

static void wait_for(asked *a)
{
    while (!a->over) {
        if (!hear(a, 20000)) fail_msg("no event for 20 seconds");
    }
    assert_int_equal(ds4_job_error(a->job)->code, DS4_OK);
}

static void done(asked *a)
{
    ds4_job_free(a->job);
    ds4_channel_free(a->channel);
    ds4_str_clear(&a->said);
    ds4_tokens_clear(&a->tokens);
    ds4_segments_clear(&a->text);
}

static char *long_prompt(char seed, size_t n_bytes)
{
    char *text = malloc(n_bytes + 1);
    for (size_t i = 0; i < n_bytes; i++) text[i] = (char)('a' + (i * 7 + i / 11 + (size_t)seed) % 26);
    text[n_bytes] = '\0';
    return text;
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void test_company_does_not_show(void **state)
{
    static const size_t n_bytes[N_JOBS] = { 3, 40, 700, 260, 5, 999 };
    asked          alone[N_JOBS], together[N_JOBS];
    ds4_scheduler *s = new_scheduler(1, N_JOBS, 0);

    (void)state;
    for (int i = 0; i < N_JOBS; i++) {
        char *prompt = long_prompt((char)i, n_bytes[i]);
        ask(s, &alone[i], prompt, 40);
        wait_for(&alone[i]);
        free(prompt);
    }
    /* The first worker still keeps what was computed; an engine is for one thread at a time. */
    assert_true(ds4_scheduler_idle(s, 20000));
    ds4_scheduler *many = new_scheduler(3, N_JOBS, 0);
    for (int i = 0; i < N_JOBS; i++) {
        char *prompt = long_prompt((char)i, n_bytes[i]);
        ask(many, &together[i], prompt, 40);
        free(prompt);
    }
    for (int i = 0; i < N_JOBS; i++) {
        wait_for(&together[i]);
        assert_int_equal(together[i].said.n_bytes, alone[i].said.n_bytes);
        if (alone[i].said.n_bytes) {
            assert_memory_equal(together[i].said.data, alone[i].said.data, alone[i].said.n_bytes);
        }
        assert_int_equal(together[i].n_prompt, alone[i].n_prompt);
        done(&together[i]);
        done(&alone[i]);
    }
    ds4_scheduler_free(many);
    ds4_scheduler_free(s);
}

static void test_newcomer_does_not_wait(void **state)
{
    ds4_scheduler *s = new_scheduler(2, 4, 0);
    asked          slow, quick;
    char          *prompt = long_prompt(1, 1800);

    (void)state;
    ask(s, &slow, prompt, 200);
    while (slow.n_progress == 0) assert_true(hear(&slow, 20000));
    ask(s, &quick, "hi", 4);
    wait_for(&quick);
    while (hear(&slow, 0)) {}
    assert_false(slow.over);
    wait_for(&slow);
    done(&quick);
    done(&slow);
    free(prompt);
    ds4_scheduler_free(s);
}

static void test_cancelled_work_is_kept(void **state)
{
    ds4_scheduler *s = new_scheduler(1, 4, 0);
    asked          first, again;
    char          *prompt = long_prompt(2, 1800);

    (void)state;
    ask(s, &first, prompt, 8);
    while (first.n_progress < 3) assert_true(hear(&first, 20000));
    const uint64_t begin = ds4_now_ns();
    ds4_job_cancel(first.job);
    wait_for(&first);
    assert_true(ds4_now_ns() - begin < 1000000000u);
    assert_int_equal(ds4_job_result(first.job)->finish, DS4_FINISH_CANCELLED);
    done(&first);

    ask(s, &again, prompt, 8);
    wait_for(&again);
    assert_true(again.n_cached >= 128);
    done(&again);
    free(prompt);
    ds4_scheduler_free(s);
}

static void test_repeating_a_request_is_a_hit(void **state)
{
    ds4_scheduler *s = new_scheduler(2, 4, 0);
    asked          first, again;

    (void)state;
    ask(s, &first, "tell me a story", 20);
    wait_for(&first);
    ask(s, &again, "tell me a story", 20);
    wait_for(&again);
    assert_int_equal(first.n_cached, 0);
    assert_int_equal(again.n_cached, again.n_prompt - 1);
    assert_int_equal(again.said.n_bytes, first.said.n_bytes);
    assert_memory_equal(again.said.data, first.said.data, first.said.n_bytes);
    done(&again);
    done(&first);
    ds4_scheduler_free(s);
}

static void test_line_is_bounded(void **state)
{
    ds4_scheduler *s = new_scheduler(1, 1, 0);
    asked          running, waiting, refused;
    ds4_err        err;
    char          *prompt = long_prompt(3, 1800);

    (void)state;
    ask(s, &running, prompt, 100);
    while (running.n_progress == 0) assert_true(hear(&running, 20000));
    ask(s, &waiting, "b", 4);
    const ds4_job_spec spec = spec_of(&refused, "c", 4);
    assert_int_equal(ds4_scheduler_submit(s, &spec, &refused.job, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, "waiting"));
    done(&refused);
    done(&waiting);             /* leaves the line */
    ds4_scheduler_drain(s);
    const ds4_job_spec late = spec_of(&refused, "d", 4);
    assert_int_equal(ds4_scheduler_submit(s, &late, &refused.job, &err), DS4_E_CANCELLED);
    done(&refused);
    assert_false(ds4_scheduler_idle(s, 0));
    done(&running);
    assert_true(ds4_scheduler_idle(s, 1000));
    free(prompt);
    ds4_scheduler_free(s);
}

static void test_clients_take_turns(void **state)
{
    ds4_scheduler *s = new_scheduler(2, 16, 0);
    asked          greedy[5], modest;
    char          *prompt = long_prompt(4, 600);

    (void)state;
    for (int i = 0; i < 5; i++) {
        ds4_job_spec spec = spec_of(&greedy[i], prompt + i, 30);
        spec.client = "greedy";
        submit(s, &greedy[i], &spec);
    }
    ds4_job_spec spec = spec_of(&modest, "hello", 5);
    spec.client = "modest";
    submit(s, &modest, &spec);
    wait_for(&modest);
    while (hear(&greedy[4], 0)) {}
    assert_false(greedy[4].over);
    done(&modest);
    for (int i = 0; i < 5; i++) done(&greedy[i]);
    free(prompt);
    ds4_scheduler_free(s);
}

static void test_opening_is_forced(void **state)
{
    ds4_scheduler *s = new_scheduler(1, 4, 0);
    asked          a;
    ds4_job_spec   spec = spec_of(&a, "x", 12);

    (void)state;
    spec.choose.opening = DS4_SLICE("Yes: ");
    spec.choose.logprobs = true;
    spec.choose.n_top = 3;
    submit(s, &a, &spec);
    wait_for(&a);
    assert_true(a.said.n_bytes > 5);
    assert_memory_equal(ds4_job_result(a.job)->content.data, "Yes: ", 5);
    done(&a);
    ds4_scheduler_free(s);
}

static void test_too_long_a_prompt_is_refused(void **state)
{
    ds4_scheduler *s = new_scheduler(1, 4, 0);
    asked          a;
    ds4_err        err;
    char          *prompt = long_prompt(4, N_CTX + 1);
    ds4_job_spec   spec = spec_of(&a, prompt, 12);

    (void)state;
    assert_int_equal(ds4_scheduler_submit(s, &spec, &a.job, &err), DS4_E_LIMIT);
    done(&a);
    free(prompt);
    ds4_scheduler_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_company_does_not_show),
        cmocka_unit_test(test_newcomer_does_not_wait),
        cmocka_unit_test(test_cancelled_work_is_kept),
        cmocka_unit_test(test_repeating_a_request_is_a_hit),
        cmocka_unit_test(test_line_is_bounded),
        cmocka_unit_test(test_clients_take_turns),
        cmocka_unit_test(test_opening_is_forced),
        cmocka_unit_test(test_too_long_a_prompt_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, open_model, close_model);
}
