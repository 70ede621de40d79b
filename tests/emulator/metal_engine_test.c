/* metal_engine_test.c - a whole engine on the Metal device's own code over a fake Metal: answers, sessions
 * that are saved, forked and taken back, and the device's manners from load to unload. */
#include "testing.h"

#ifdef DS4_HAVE_FAKE_METAL
#include "base/rng.h"
#include "ds4.h"
#include "emulator/fake_metal.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

enum { N_TOKENS = 29, N_ANSWER = 5, N_CTX = 160, BATCH = 48 };

static char    model_path[256];
static int32_t text[N_TOKENS];
static float   whole[N_TOKENS][TINY_VOCAB];         /* logits of the text in one piece */

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static ds4_engine *open_engine(const char *backend)
{
    const ds4_engine_options opt = { .model_path = model_path, .backend = backend, .n_threads = 1,
                                     .max_batch = BATCH, .plan_ctx = N_CTX, .plan_sessions = 3,
                                     .experts = DS4_EXPERTS_RESIDENT };
    ds4_engine *e = NULL;
    ds4_err     err = { 0 };

    check(ds4_engine_open(&e, &opt, &err), &err);
    return e;
}

static ds4_session *open_session(ds4_engine *e)
{
    ds4_session *s = NULL;
    ds4_err      err = { 0 };

    check(ds4_session_create(e, N_CTX, &s, &err), &err);
    return s;
}

static ds4_work work_of(ds4_session *s, const int32_t *tokens, uint32_t n, float *logits)
{
    return (ds4_work){ .session = s, .tokens = tokens, .n_tokens = n, .logits = logits, .all_logits = true };
}

static void step(ds4_engine *e, ds4_session *s, const int32_t *tokens, uint32_t n, float *logits)
{
    const ds4_work work = work_of(s, tokens, n, logits);
    ds4_err        err = { 0 };
    check(ds4_engine_step(e, &work, 1, &err), &err);
}

/* Tokens from .. to of the text: the bits are those of one piece. */
static void step_alike(ds4_engine *e, ds4_session *s, uint32_t from, uint32_t to)
{
    static float logits[N_TOKENS][TINY_VOCAB];

    step(e, s, text + from, to - from, logits[0]);
    assert_memory_equal(logits, whole[from], (to - from) * sizeof *logits);
}

static int32_t best_of(const float *logits)
{
    int32_t best = 0;
    for (int32_t i = 1; i < TINY_VOCAB; i++) best = logits[i] > logits[best] ? i : best;
    return best;
}

static void answer(const char *backend, int32_t out[N_ANSWER])
{
    static float logits[N_TOKENS][TINY_VOCAB];
    ds4_engine  *e = open_engine(backend);
    ds4_session *s = open_session(e);

    step(e, s, text, 12, logits[0]);
    out[0] = best_of(logits[11]);
    for (int i = 1; i < N_ANSWER; i++) {
        step(e, s, &out[i - 1], 1, logits[0]);
        out[i] = best_of(logits[0]);
    }
    ds4_session_free(s);
    ds4_engine_close(e);
}

static int set_up(void **state)
{
    const tiny_model t = { .seed = 9, .dense = DS4_Q8_0, .gate_up = DS4_MXFP4, .down = DS4_MXFP4,
                           .precise = DS4_F16, .n_embd = 64 };
    ds4_rng          rng;

    (void)state;
    test_temp_path(model_path, "metal_engine_test.gguf");
    tiny_model_write(&t, model_path);
    ds4_rng_seed(&rng, 4);
    for (int i = 0; i < N_TOKENS; i++) text[i] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(model_path);
}

static void expect_clean(void)
{
    if (fake_metal_misuse()) fail_msg("%s", fake_metal_misuse());
    const fake_metal_counts c = fake_metal_count();
    assert_int_equal(c.n_live, 0);
    assert_int_equal(c.n_made, c.n_released);
    assert_int_equal(c.n_submitters, 1);
    assert_false(c.is_left_resident);
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void test_the_likeliest_answer_is_the_cpus(void **state)
{
    int32_t cpu[N_ANSWER], metal[N_ANSWER];

    (void)state;
    fake_metal_reset();
    answer("cpu", cpu);
    answer("metal", metal);
    assert_memory_equal(cpu, metal, sizeof cpu);
    expect_clean();
}

static void test_sessions_are_saved_forked_taken_back_and_batched(void **state)
{
    static float  logits[2][TINY_VOCAB];
    ds4_snapshot *kept = NULL;
    ds4_err       err = { 0 };

    (void)state;
    fake_metal_reset();
    ds4_engine             *e = open_engine("metal");
    ds4_session            *s = open_session(e), *other = open_session(e);
    const fake_metal_counts loaded = fake_metal_count();

    step(e, s, text, N_TOKENS, whole[0]);
    ds4_session_clear(s);
    step_alike(e, s, 0, 17);
    check(ds4_session_snapshot(s, &kept, &err), &err);
    step_alike(e, s, 17, 26);
    check(ds4_session_rewind(s, 5, &err), &err);
    step_alike(e, s, 21, 26);
    check(ds4_session_restore(other, kept, &err), &err);    /* a fork */
    step_alike(e, other, 17, 26);
    const ds4_work both[] = { work_of(s, text + 26, 1, logits[0]),
                              work_of(other, text + 26, 1, logits[1]) };
    check(ds4_engine_step(e, both, 2, &err), &err);
    for (int i = 0; i < 2; i++) assert_memory_equal(logits[i], whole[26], sizeof logits[i]);

    assert_int_equal(fake_metal_count().n_made, loaded.n_made);     /* none between load and unload */
    assert_int_equal(fake_metal_count().n_released, 0);
    assert_true(loaded.n_views > 0);
    ds4_snapshot_free(kept);
    ds4_session_free(s);
    ds4_session_free(other);
    assert_int_equal(fake_metal_count().n_released, 0);
    ds4_engine_close(e);
    expect_clean();
}

/* Small buffers, no residency sets, no addresses: a paravirtual GPU. */
static void test_a_poor_system_gives_the_same_bits(void **state)
{
    (void)state;
    fake_metal_limits *limits = fake_metal_reset();
    limits->has_residency = limits->has_addresses = false;
    limits->max_buffer = 70 << 20;
    ds4_engine  *e = open_engine("metal");
    ds4_session *s = open_session(e);
    step_alike(e, s, 0, 9);
    ds4_session_free(s);
    ds4_engine_close(e);
    expect_clean();
}

static void test_lost_work_ends_a_step_with_a_reason(void **state)
{
    static float logits[4][TINY_VOCAB];
    ds4_err      err = { 0 };

    (void)state;
    fake_metal_reset();
    ds4_engine    *e = open_engine("metal");
    ds4_session   *s = open_session(e);
    const ds4_work work = work_of(s, text, 4, logits[0]);
    fake_metal_fail(FAKE_WORK, 1);
    assert_int_equal(ds4_engine_step(e, &work, 1, &err), DS4_E_DEVICE);
    assert_non_null(strstr(err.text, "GPU Timeout"));
    ds4_session_free(s);
    ds4_engine_close(e);
    expect_clean();
}

static void test_memory_that_runs_out_while_loading_is_an_error(void **state)
{
    const ds4_engine_options opt = { .model_path = model_path, .backend = "metal", .max_batch = BATCH };

    (void)state;
    for (int view = 0; view < 2; view++) {
        ds4_engine *e = NULL;
        ds4_err     err = { 0 };
        fake_metal_reset();
        fake_metal_fail(view ? FAKE_VIEW : FAKE_BUFFER, 1);
        assert_int_equal(ds4_engine_open(&e, &opt, &err), DS4_E_NOMEM);
        assert_null(e);
        assert_int_equal(fake_metal_count().n_live, 0);
        if (fake_metal_misuse()) fail_msg("%s", fake_metal_misuse());
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_the_likeliest_answer_is_the_cpus),
    cmocka_unit_test(test_sessions_are_saved_forked_taken_back_and_batched),
    cmocka_unit_test(test_a_poor_system_gives_the_same_bits),
    cmocka_unit_test(test_lost_work_ends_a_step_with_a_reason),
    cmocka_unit_test(test_memory_that_runs_out_while_loading_is_an_error),
};
#else
static void test_an_engine_on_metal(void **state)
{
    (void)state;
    skip();                             /* a Mac, or no GNU runtime of Objective-C */
}

static int set_up(void **state)
{
    (void)state;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return 0;
}

static const struct CMUnitTest tests[] = { cmocka_unit_test(test_an_engine_on_metal) };
#endif

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
