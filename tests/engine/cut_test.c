/* cut_test.c - on a device whose prompts may be cut at multiples of 128 only, they are. */
#include "testing.h"

#include "engine/engine_local.h"

enum { CUT = 128, MAX_STEPS = 16 };

typedef struct steps {
    uint32_t n, n_tokens[MAX_STEPS];
} steps;

static void note(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                 const float *values)
{
    steps *s = ctx;

    (void)layer;
    (void)n_values;
    (void)values;
    if (strcmp(name, "embed") == 0 && s->n < MAX_STEPS) s->n_tokens[s->n++] = n_tokens;
}

/* Steps of a prefill of n tokens behind n_before others. */
static steps prefill(uint32_t cut, uint32_t n_before, uint32_t n, uint32_t chunk)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf", .n_threads = 2 };
    static int32_t           tokens[1024];
    steps                    s = { 0 };
    ds4_engine              *e;
    ds4_session             *session;
    ds4_err                  err;

    for (int i = 0; i < 1024; i++) tokens[i] = 5 + i % 2000;
    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    e->network.info.cut = cut;
    if (ds4_session_create(e, 1024, &session, &err) != DS4_OK) fail_msg("%s", err.text);
    const ds4_prefill before = { .tokens = tokens, .n_tokens = n_before };
    if (n_before > 0) assert_int_equal(ds4_session_prefill(session, &before, &err), DS4_OK);
    ds4_engine_watch(e, note, &s);
    const ds4_prefill all = { .tokens = tokens + n_before, .n_tokens = n, .chunk = chunk };
    assert_int_equal(ds4_session_prefill(session, &all, &err), DS4_OK);
    ds4_session_free(session);
    ds4_engine_close(e);
    return s;
}

static void assert_steps(steps found, const uint32_t *expected, uint32_t n)
{
    assert_int_equal(found.n, n);
    for (uint32_t i = 0; i < n; i++) assert_int_equal(found.n_tokens[i], expected[i]);
}

static void test_prefill_cuts_where_it_may(void **state)
{
    const uint32_t whole[] = { 128, 128, 128, 116 }, pairs[] = { 256, 244 }, behind[] = { 28, 128, 44 };
    const uint32_t anywhere[] = { 200, 200, 100 };

    (void)state;
    assert_steps(prefill(CUT, 0, 500, 200), whole, 4);
    assert_steps(prefill(CUT, 0, 500, 0), pairs, 2);
    assert_steps(prefill(CUT, 100, 200, 128), behind, 3);
    assert_steps(prefill(1, 0, 500, 200), anywhere, 3);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_prefill_cuts_where_it_may),
};

TEST_MAIN(tests)
