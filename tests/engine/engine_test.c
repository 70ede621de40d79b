/* engine_test.c - the promises of a step: cuts, threads and company do not show, errors
 * change nothing, and no step allocates. */
#include "testing.h"

#include "backend/pick.h"
#include "ds4.h"
#include "base/rng.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

enum { N_TOKENS = 700, N_CTX = 1024 };

/* ---- counting allocations ------------------------------------------------------------------ */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS_ALLOCATIONS 1
static volatile long n_allocations;
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t each);
extern void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n) { n_allocations++; return __libc_malloc(n); }
void *calloc(size_t n, size_t each) { n_allocations++; return __libc_calloc(n, each); }
void *realloc(void *p, size_t n) { n_allocations++; return __libc_realloc(p, n); }
#else
#define COUNTS_ALLOCATIONS 0
static volatile long n_allocations;
#endif

/* ---- a model and a text ----------------------------------------------------------------------- */

static char    model_path[256];
static int32_t text[4][N_TOKENS];

static int write_model(void **state)
{
    const tiny_model t = { .seed = 7, .dense = DS4_Q8_0, .gate_up = DS4_IQ2_XXS, .down = DS4_Q2_K,
                           .precise = DS4_F16, .n_embd = 256 };
    ds4_rng          rng;

    (void)state;
    test_temp_path(model_path, "engine_test.gguf");
    tiny_model_write(&t, model_path);
    ds4_rng_seed(&rng, 11);
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < N_TOKENS; j++) text[i][j] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
    }
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    return unlink(model_path);
}

static ds4_engine *open_engine(uint32_t n_threads, uint32_t max_batch)
{
    const ds4_engine_options opt = { .model_path = model_path,
                                     .n_threads = n_threads,
                                     .max_batch = max_batch };
    ds4_engine              *e = NULL;
    ds4_err                  err = { 0 };

    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return e;
}

static ds4_session *new_session(ds4_engine *e)
{
    ds4_session *s = NULL;
    ds4_err      err = { 0 };

    if (ds4_session_create(e, N_CTX, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

static void step(ds4_engine *e, const ds4_work *work, uint32_t n)
{
    ds4_err err = { 0 };
    if (ds4_engine_step(e, work, n, &err) != DS4_OK) fail_msg("%s", err.text);
}

/* Logits of every position of text[which], in one step on one thread. */
static float *expected(int which)
{
    static float *known[4];

    if (known[which]) return known[which];
    ds4_engine  *e = open_engine(1, N_TOKENS);
    ds4_session *s = new_session(e);
    float       *logits = malloc(sizeof(float) * N_TOKENS * TINY_VOCAB);

    step(e, &(ds4_work){ .session = s, .tokens = text[which], .n_tokens = N_TOKENS, .logits = logits,
                         .all_logits = true }, 1);
    ds4_session_free(s);
    ds4_engine_close(e);
    return known[which] = logits;
}

static void assert_same(const float *got, int which, uint32_t pos, uint32_t n)
{
    const float *want = expected(which) + (size_t)pos * TINY_VOCAB;
    if (memcmp(got, want, sizeof(float) * n * TINY_VOCAB) == 0) return;
    for (uint32_t i = 0; i < n * TINY_VOCAB; i++) {
        if (memcmp(&got[i], &want[i], sizeof(float)) == 0) continue;
        fail_msg("position %u, logit %u: %.9g instead of %.9g", pos + i / TINY_VOCAB, i % TINY_VOCAB,
                 (double)got[i], (double)want[i]);
    }
}

/* ---- tests ---------------------------------------------------------------------------------------- */

static void run_in_chunks(uint32_t n_threads, uint32_t chunk)
{
    ds4_engine  *e = open_engine(n_threads, chunk);
    ds4_session *s = new_session(e);
    float       *logits = malloc(sizeof(float) * chunk * TINY_VOCAB);

    for (uint32_t pos = 0; pos < N_TOKENS; pos += chunk) {
        const uint32_t n = N_TOKENS - pos < chunk ? N_TOKENS - pos : chunk;
        step(e, &(ds4_work){ .session = s, .tokens = text[0] + pos, .n_tokens = n, .logits = logits,
                             .all_logits = true }, 1);
        assert_same(logits, 0, pos, n);
    }
    free(logits);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_chunks_and_threads_do_not_show(void **state)
{
    (void)state;
    run_in_chunks(1, 1);
    run_in_chunks(2, 7);
    run_in_chunks(3, 128);
    run_in_chunks(4, 129);
    run_in_chunks(2, 3);
}

/* Three conversations, each cut at random, advance together in random company. */
static void test_company_does_not_show(void **state)
{
    ds4_engine  *e = open_engine(2, 96);
    ds4_session *s[3];
    uint32_t     pos[3] = { 0 };
    float       *logits = malloc(sizeof(float) * 96 * TINY_VOCAB);
    ds4_rng      rng;

    (void)state;
    ds4_rng_seed(&rng, 5);
    for (int i = 0; i < 3; i++) s[i] = new_session(e);
    while (pos[0] < N_TOKENS || pos[1] < N_TOKENS || pos[2] < N_TOKENS) {
        ds4_work work[3];
        uint32_t n = 0, first = (uint32_t)(ds4_rng_next(&rng) % 3), who[3];

        for (uint32_t j = 0; j < 3; j++) {
            const uint32_t i = (first + j) % 3, left = N_TOKENS - pos[i];
            if (left == 0 || ds4_rng_next(&rng) % 4 == 0) continue;
            uint32_t take = 1 + (uint32_t)(ds4_rng_next(&rng) % (ds4_rng_next(&rng) % 2 ? 32 : 2));
            if (take > left) take = left;
            who[n] = i;
            work[n] = (ds4_work){ .session = s[i], .tokens = text[i] + pos[i], .n_tokens = take,
                                  .logits = logits + (size_t)n * 32 * TINY_VOCAB, .all_logits = true };
            n++;
        }
        if (n == 0) continue;
        step(e, work, n);
        for (uint32_t j = 0; j < n; j++) {
            assert_same(work[j].logits, (int)who[j], pos[who[j]], work[j].n_tokens);
            pos[who[j]] += work[j].n_tokens;
        }
    }
    for (int i = 0; i < 3; i++) ds4_session_free(s[i]);
    free(logits);
    ds4_engine_close(e);
}

static void test_cleared_session_is_new(void **state)
{
    ds4_engine  *e = open_engine(2, 256);
    ds4_session *s = new_session(e);
    float        logits[TINY_VOCAB];
    ds4_err      err = { 0 };

    (void)state;
    for (int round = 0; round < 3; round++) {
        const ds4_prefill p = { .tokens = text[round], .n_tokens = 300, .logits = logits };
        assert_int_equal(ds4_session_prefill(s, &p, &err), DS4_OK);
        assert_same(logits, round, 299, 1);
        assert_int_equal(ds4_session_pos(s), 300);
        assert_memory_equal(ds4_session_tokens(s), text[round], 300 * sizeof(int32_t));
        ds4_session_clear(s);
        assert_int_equal(ds4_session_pos(s), 0);
    }
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_refusals_change_nothing(void **state)
{
    ds4_engine   *e = open_engine(1, 64);
    ds4_session  *s = new_session(e);
    const int32_t bad[2] = { 3, TINY_VOCAB };
    float         logits[TINY_VOCAB];
    ds4_err       err = { 0 };

    (void)state;
    step(e, &(ds4_work){ .session = s, .tokens = text[0], .n_tokens = 40 }, 1);
    assert_int_equal(
        ds4_engine_step(e, &(ds4_work){ .session = s, .tokens = bad, .n_tokens = 2 }, 1, &err),
        DS4_E_ARG);
    assert_non_null(strstr(err.text, "token 272"));
    assert_int_equal(
        ds4_engine_step(e, &(ds4_work){ .session = s, .tokens = text[0], .n_tokens = 65 }, 1, &err),
        DS4_E_ARG);
    assert_int_equal(
        ds4_engine_step(e, &(ds4_work){ .session = s, .tokens = text[0], .n_tokens = 0 }, 1, &err),
        DS4_E_ARG);
    const ds4_work twice[2] = { { .session = s, .tokens = text[0], .n_tokens = 1 },
                                { .session = s, .tokens = text[0], .n_tokens = 1 } };
    assert_int_equal(ds4_engine_step(e, twice, 2, &err), DS4_E_ARG);
    assert_int_equal(ds4_engine_step(e, NULL, 0, &err), DS4_E_ARG);
    const ds4_prefill huge = { .tokens = text[0], .n_tokens = N_CTX };
    assert_int_equal(ds4_session_prefill(s, &huge, &err), DS4_E_LIMIT);
    assert_int_equal(ds4_session_pos(s), 40);
    step(e, &(ds4_work){ .session = s, .tokens = text[0] + 40, .n_tokens = 1, .logits = logits }, 1);
    assert_same(logits, 0, 40, 1);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void stop_at_128(void *ctx, uint32_t n_done, uint32_t n_total)
{
    assert_int_equal(n_total, 500);
    if (n_done == 128) ((ds4_cancel *)ctx)->stop = 1;
}

static void test_cancelled_prefill_keeps_what_it_did(void **state)
{
    ds4_engine       *e = open_engine(2, 64);
    ds4_session      *s = new_session(e);
    ds4_cancel        cancel = { 0 };
    float             logits[TINY_VOCAB];
    const ds4_prefill p = { .tokens = text[1], .n_tokens = 500, .cancel = &cancel,
                            .progress = stop_at_128, .progress_ctx = &cancel };
    const ds4_prefill rest = { .tokens = text[1] + 128, .n_tokens = 372, .logits = logits };
    ds4_err           err = { 0 };

    (void)state;
    assert_int_equal(ds4_session_prefill(s, &p, &err), DS4_E_CANCELLED);
    assert_int_equal(ds4_session_pos(s), 128);
    assert_int_equal(ds4_session_prefill(s, &rest, &err), DS4_OK);
    assert_same(logits, 1, 499, 1);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_steps_do_not_allocate(void **state)
{
    (void)state;
    if (!COUNTS_ALLOCATIONS) skip();
    ds4_engine  *e = open_engine(2, 64);
    ds4_session *s = new_session(e);
    float        logits[TINY_VOCAB];
    const long   before = n_allocations;

    for (uint32_t pos = 0; pos < 320; pos += 64) {
        step(e, &(ds4_work){ .session = s, .tokens = text[0] + pos, .n_tokens = 64, .logits = logits }, 1);
    }
    for (uint32_t pos = 320; pos < 400; pos++) {
        step(e, &(ds4_work){ .session = s, .tokens = text[0] + pos, .n_tokens = 1, .logits = logits }, 1);
    }
    assert_int_equal(n_allocations - before, 0);
    ds4_session_free(s);
    ds4_engine_close(e);
}

/* Every weight type in every role: the engine opens the file and stays independent of cuts. */
static void test_every_weight_type_runs(void **state)
{
    static const uint32_t types[] = { DS4_F32, DS4_F16, DS4_BF16, DS4_Q8_0, DS4_Q2_K, DS4_Q4_K, DS4_Q6_K,
                                      DS4_IQ2_XXS, DS4_MXFP4, DS4_T66 };
    char                  path[256];

    (void)state;
    test_temp_path(path, "engine_types.gguf");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const tiny_model         t = { .seed = i, .dense = types[i], .gate_up = types[i], .down = types[i],
                                       .precise = types[i], .n_embd = 256 };
        const ds4_engine_options opt = { .model_path = path, .n_threads = 2, .max_batch = 64 };
        ds4_engine              *e;
        ds4_err                  err = { 0 };
        float                    whole[TINY_VOCAB], cut[TINY_VOCAB];

        tiny_model_write(&t, path);
        if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
        ds4_session *s = new_session(e);
        step(e, &(ds4_work){ .session = s, .tokens = text[0], .n_tokens = 64, .logits = whole }, 1);
        ds4_session_clear(s);
        for (uint32_t pos = 0; pos < 64; pos++) {
            step(e, &(ds4_work){ .session = s, .tokens = text[0] + pos, .n_tokens = 1, .logits = cut }, 1);
        }
        if (memcmp(whole, cut, sizeof cut) != 0) fail_msg("type %u: the cut shows", types[i]);
        ds4_session_free(s);
        ds4_engine_close(e);
    }
    unlink(path);
}

/* A token that a step chooses is the one that the logits give, with and without them, in company. */
static void test_a_step_chooses_tokens(void **state)
{
    ds4_engine    *e = open_engine(2, 64);
    ds4_session   *s[3] = { new_session(e), new_session(e), new_session(e) };
    static float   logits[2][TINY_VOCAB];
    uint32_t       mask[(TINY_VOCAB + 31) / 32] = { 0 };
    ds4_candidate  scratch[TINY_VOCAB];
    ds4_picked     picked[3], want;
    ds4_pick       pick[2] = {
        { .how = { .temperature = 1.3f, .top_p = 0.95f }, .logprobs = true, .n_top = 5 },
        { .how = { .temperature = 1, .top_p = 1 }, .mask = mask },
    };

    (void)state;
    mask[2] = 0x00f0f000;
    for (uint32_t n = 0; n < 20; n++) {
        pick[0].u = pick[1].u = n / 20.0;
        const ds4_work work[3] = {
            { .session = s[0], .tokens = text[0] + 3 * n, .n_tokens = 3, .pick = &pick[0],
              .picked = &picked[0] },
            { .session = s[1], .tokens = text[1] + n, .n_tokens = 1, .logits = logits[0] },
            { .session = s[2], .tokens = text[2] + 2 * n, .n_tokens = 2, .logits = logits[1],
              .pick = &pick[1], .picked = &picked[2] },
        };
        step(e, work, 3);
        assert_same(logits[0], 1, n, 1);
        assert_same(logits[1], 2, 2 * n + 1, 1);
        const float *row = expected(0) + (3 * n + 2) * TINY_VOCAB;
        assert_true(ds4_pick_one(row, TINY_VOCAB, &pick[0], scratch, &want));
        assert_memory_equal(&picked[0], &want, sizeof want);
        assert_true(ds4_pick_one(logits[1], TINY_VOCAB, &pick[1], scratch, &want));
        assert_int_equal(picked[2].token, want.token);
        assert_true(mask[picked[2].token / 32] >> picked[2].token % 32 & 1);
    }
    for (int i = 0; i < 3; i++) ds4_session_free(s[i]);
    ds4_engine_close(e);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_step_chooses_tokens),
    cmocka_unit_test(test_chunks_and_threads_do_not_show),
    cmocka_unit_test(test_company_does_not_show),
    cmocka_unit_test(test_cleared_session_is_new),
    cmocka_unit_test(test_refusals_change_nothing),
    cmocka_unit_test(test_cancelled_prefill_keeps_what_it_did),
    cmocka_unit_test(test_steps_do_not_allocate),
    cmocka_unit_test(test_every_weight_type_runs),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
