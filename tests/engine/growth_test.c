/* growth_test.c - a device that has no memory for more rows refuses a step and changes nothing;
 * when it has some again, everything goes on as if it had never been short. */
#include "testing.h"

#include "base/rng.h"
#include "engine/engine_local.h"
#include "engine/snapshot.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

enum { N_TOKENS = 600, N_CTX = 768 };

static char        model_path[256];
static int32_t     text[N_TOKENS];
static float      *expected;            /* [N_TOKENS][TINY_VOCAB] */
static ds4_engine *engine;
static ds4_backend short_of_memory;     /* the engine's, whose commit() fails when n_left is used up */
static const ds4_backend *engines;
static uint32_t    n_left;

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static ds4_status commit(ds4_dev *dev, ds4_view at, uint64_t n_bytes, ds4_err *err)
{
    if (n_left == 0) return ds4_fail(err, DS4_E_NOMEM, "no memory for more rows");
    n_left--;
    return engines->commit(dev, at, n_bytes, err);
}

static ds4_session *new_session(void)
{
    ds4_session *s;
    ds4_err      err = { 0 };

    check(ds4_session_create(engine, N_CTX, &s, &err), &err);
    return s;
}

static ds4_status step(ds4_session *s, uint32_t n, float *logits, ds4_err *err)
{
    const ds4_work work = { .session = s, .tokens = text + ds4_session_pos(s), .n_tokens = n,
                            .logits = logits };
    return ds4_engine_step(engine, &work, 1, err);
}

static int set_up(void **state)
{
    const tiny_model         t = { .seed = 3, .dense = DS4_Q8_0, .gate_up = DS4_MXFP4, .down = DS4_MXFP4,
                                   .precise = DS4_F16, .n_embd = 64 };
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = N_TOKENS };
    ds4_rng                  rng;
    ds4_err                  err = { 0 };

    (void)state;
    test_temp_path(model_path, "growth_test.gguf");
    tiny_model_write(&t, model_path);
    ds4_rng_seed(&rng, 1);
    for (int i = 0; i < N_TOKENS; i++) text[i] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
    expected = malloc(sizeof(float) * N_TOKENS * TINY_VOCAB);
    check(ds4_engine_open(&engine, &opt, &err), &err);
    ds4_session   *s = new_session();
    const ds4_work work = { .session = s, .tokens = text, .n_tokens = N_TOKENS, .logits = expected,
                            .all_logits = true };
    check(ds4_engine_step(engine, &work, 1, &err), &err);
    ds4_session_free(s);
    engines = engine->network.backend;
    short_of_memory = *engines;
    short_of_memory.commit = commit;
    engine->blocks.backend = &short_of_memory;
    n_left = UINT32_MAX;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_engine_close(engine);
    free(expected);
    return unlink(model_path);
}

static void assert_nothing_held(void)
{
    assert_int_equal(engine->blocks.n_in_use, 0);
    assert_int_equal(engine->blocks.n_live, 0);
    assert_int_equal(engine->blocks.n_budget, 0);
}

static void expect_logits(const float *got, uint32_t pos)
{
    assert_memory_equal(got, expected + (size_t)pos * TINY_VOCAB, sizeof(float) * TINY_VOCAB);
}

/* The step needs three blocks with two parts each: it fails at each of the six. */
static void test_a_refused_step_changes_nothing(void **state)
{
    ds4_err err = { 0 };
    float   logits[TINY_VOCAB];

    (void)state;
    for (uint32_t n = 0; n < 6; n++) {
        ds4_session *s = new_session();
        n_left = n;
        assert_int_equal(step(s, N_TOKENS - 1, logits, &err), DS4_E_NOMEM);
        assert_int_equal(ds4_session_pos(s), 0);
        n_left = UINT32_MAX;
        check(step(s, N_TOKENS - 1, logits, &err), &err);
        expect_logits(logits, N_TOKENS - 2);
        ds4_session_free(s);
    }
    assert_nothing_held();
}

/* One of two sessions needs a block that is not there: neither moves, and the other may go on. */
static void test_company_of_a_refused_session(void **state)
{
    ds4_session *s[2] = { new_session(), new_session() };
    ds4_err      err = { 0 };
    float        logits[TINY_VOCAB];

    (void)state;
    check(step(s[0], 256, NULL, &err), &err);
    check(step(s[1], 10, NULL, &err), &err);
    n_left = 1;
    const ds4_work work[2] = { { .session = s[0], .tokens = text + 256, .n_tokens = 1 },
                               { .session = s[1], .tokens = text + 10, .n_tokens = 1 } };
    assert_int_equal(ds4_engine_step(engine, work, 2, &err), DS4_E_NOMEM);
    assert_int_equal(ds4_session_pos(s[0]), 256);
    assert_int_equal(ds4_session_pos(s[1]), 10);
    n_left = 0;
    check(step(s[1], 20, logits, &err), &err);
    expect_logits(logits, 29);
    n_left = UINT32_MAX;
    check(step(s[0], 30, logits, &err), &err);
    expect_logits(logits, 285);
    ds4_session_free(s[0]);
    ds4_session_free(s[1]);
    assert_nothing_held();
}

static ds4_status give_block(void *ctx, uint32_t i, uint8_t *bytes, ds4_err *err)
{
    return ds4_snapshot_block(ctx, i, bytes, err);
}

/* Restoring, taking back and loading need blocks too. */
static void test_snapshots_of_a_full_device(void **state)
{
    ds4_session   *s = new_session(), *t = new_session();
    ds4_snapshot  *p, *copy = NULL;
    ds4_err        err = { 0 };
    float          logits[TINY_VOCAB];
    uint64_t       n_bytes;

    (void)state;
    check(step(s, 520, NULL, &err), &err);
    check(ds4_session_snapshot(s, &p, &err), &err);
    n_left = 0;
    assert_int_equal(ds4_session_rewind(s, 12, &err), DS4_E_NOMEM);     /* into the shared block */
    assert_int_equal(ds4_session_pos(s), 520);
    assert_int_equal(ds4_session_restore(t, p, &err), DS4_E_NOMEM);
    assert_int_equal(ds4_session_pos(t), 0);
    const uint8_t *tail = ds4_snapshot_tail(p, &n_bytes);
    const ds4_snapshot_parts parts = { .tokens = text, .pos = 520, .source = give_block, .ctx = p,
                                       .tail = tail, .tail_bytes = n_bytes };
    for (n_left = 0; n_left < 4; n_left++) {
        const uint32_t kept = n_left;
        assert_int_equal(ds4_snapshot_make(engine, &parts, &copy, &err), DS4_E_NOMEM);
        n_left = kept;
    }
    assert_null(copy);
    n_left = UINT32_MAX;
    check(ds4_session_rewind(s, 12, &err), &err);
    check(step(s, 40, logits, &err), &err);
    expect_logits(logits, 547);
    check(ds4_session_restore(t, p, &err), &err);
    check(step(t, 40, logits, &err), &err);
    expect_logits(logits, 559);
    ds4_snapshot_free(p);
    ds4_session_free(s);
    ds4_session_free(t);
    assert_nothing_held();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_refused_step_changes_nothing),
    cmocka_unit_test(test_company_of_a_refused_session),
    cmocka_unit_test(test_snapshots_of_a_full_device),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
