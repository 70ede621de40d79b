/* steering_test.c - steered outputs are y - F v dot(v, y), from one step to the next and never for what is
 * there already; other files than directions are refused; rows have names of their own. */
#include "testing.h"

#include <math.h>

#include "base/str.h"
#include "ds4.h"
#include "engine/watch.h"
#include "model/steering.h"
#include "service/store/store_identity.h"

enum { N_LAYERS = 7, N_EMBD = 128, N_VOCAB = 384, N_TOKENS = 60, ZERO_LAYER = 4 };

static const char golden[] = "tests/golden/flashlike.gguf";
static char       path[256];
static float      v[N_LAYERS][N_EMBD];

static void write_file(size_t n_bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(v, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

/* Directions of length 1; one layer has none. The bytes of this machine's floats are a file's. */
static int make_file(void **state)
{
    uint32_t x = 7;

    (void)state;
    test_temp_path(path, "steering.f32");
    for (int l = 0; l < N_LAYERS; l++) {
        double square = 0.0;
        for (int i = 0; i < N_EMBD; i++) {
            x = x * 1664525u + 1013904223u;
            v[l][i] = l == ZERO_LAYER ? 0.0f : (float)(x >> 8) / (1 << 23) - 1.0f;
            square += (double)v[l][i] * (double)v[l][i];
        }
        for (int i = 0; i < N_EMBD && square > 0.0; i++) v[l][i] = (float)((double)v[l][i] / sqrt(square));
    }
    write_file(sizeof v);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static ds4_engine *open_engine(bool steered)
{
    const ds4_engine_options opt = { .model_path = golden, .n_threads = 2,
                                     .steering_path = steered ? path : NULL };
    ds4_engine *e = NULL;
    ds4_err     err = { 0 };

    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return e;
}

static void steer(ds4_engine *e, float attn, float ffn)
{
    ds4_err err = { 0 };
    if (ds4_engine_steer(e, (ds4_steering){ attn, ffn }, &err) != DS4_OK) fail_msg("%s", err.text);
}

static ds4_session *new_session(ds4_engine *e)
{
    ds4_session *s = NULL;
    ds4_err      err = { 0 };
    if (ds4_session_create(e, 256, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

/* Evaluate n tokens of the text from the session's position on; logits of all of them. */
static void run(ds4_engine *e, ds4_session *s, uint32_t n, float *logits)
{
    int32_t        tokens[N_TOKENS];
    const uint32_t pos = ds4_session_pos(s);
    const ds4_work work = { .session = s, .tokens = tokens, .n_tokens = n, .logits = logits,
                            .all_logits = true };
    ds4_err        err = { 0 };

    for (uint32_t i = 0; i < n; i++) tokens[i] = (int32_t)((pos + i) * 89 + 11) % N_VOCAB;
    if (ds4_engine_step(e, &work, 1, &err) != DS4_OK) fail_msg("%s", err.text);
}

/* ---- what is computed -------------------------------------------------------------------------- */

typedef struct seen {
    float    y[N_TOKENS][N_EMBD];       /* the output that comes next before it is steered */
    float    factor[2];
    uint32_t n_checked;
} seen;

static void compare(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                    const float *values)
{
    seen      *s = ctx;
    const bool ffn = strcmp(name, "ffn.steer") == 0;

    if (strcmp(name, "attn.o_b") == 0 || strcmp(name, "ffn.experts") == 0) {
        memcpy(s->y, values, (size_t)n_tokens * n_values * sizeof *values);
    }
    if (!ffn && strcmp(name, "attn.steer") != 0) return;
    for (uint32_t t = 0; t < n_tokens; t++) {
        double dot = 0.0;
        for (int i = 0; i < N_EMBD; i++) dot += (double)v[layer][i] * (double)s->y[t][i];
        for (int i = 0; i < N_EMBD; i++) {
            const double want = (double)s->y[t][i] - (double)s->factor[ffn] * (double)v[layer][i] * dot;
            const double got = (double)values[t * n_values + i];
            if (!(fabs(got - want) <= 1e-5)) fail_msg("%s of layer %d", name, layer);
        }
    }
    s->n_checked++;
}

static void test_outputs_lose_a_share_of_the_direction(void **state)
{
    static seen  s;
    static float logits[N_TOKENS * N_VOCAB];

    (void)state;
    ds4_engine  *e = open_engine(true);
    ds4_session *session = new_session(e);
    s.factor[0] = 0.75f;
    s.factor[1] = -1.5f;
    steer(e, s.factor[0], s.factor[1]);
    ds4_engine_watch(e, compare, &s);
    run(e, session, N_TOKENS, logits);
    assert_int_equal(s.n_checked, 2 * N_LAYERS);
    ds4_session_free(session);
    ds4_engine_close(e);
}

static void test_nothing_is_steered_by_0(void **state)
{
    static float plain[N_TOKENS * N_VOCAB], steered[N_TOKENS * N_VOCAB], more[N_TOKENS * N_VOCAB];

    (void)state;
    for (int with = 0; with < 2; with++) {
        ds4_engine  *e = open_engine(with);
        ds4_session *s = new_session(e);
        assert_int_equal(ds4_engine_can_steer(e), with);
        run(e, s, N_TOKENS, with ? steered : plain);
        if (with) {
            ds4_session_clear(s);
            steer(e, 0.0f, 1.0f);
            run(e, s, N_TOKENS, more);
        }
        ds4_session_free(s);
        ds4_engine_close(e);
    }
    assert_memory_equal(plain, steered, sizeof plain);
    assert_memory_not_equal(plain, more, sizeof plain);
}

/* The first half is not computed again, and the second one stands on it as it was: the same bits as in a
 * session whose first half came in one piece and whose second one is steered token by token. */
static void test_a_change_is_for_tokens_to_come(void **state)
{
    enum { HALF = N_TOKENS / 2 };
    static float first[HALF * N_VOCAB], whole[HALF * N_VOCAB], single[HALF * N_VOCAB], plain[HALF * N_VOCAB];

    (void)state;
    ds4_engine  *e = open_engine(true);
    ds4_session *a = new_session(e), *b = new_session(e), *c = new_session(e);
    run(e, a, HALF, first);
    run(e, b, HALF, first);
    run(e, c, HALF, first);
    run(e, c, HALF, plain);
    steer(e, 1.0f, 1.0f);
    assert_int_equal(ds4_session_pos(a), HALF);
    run(e, a, HALF, whole);
    for (uint32_t i = 0; i < HALF; i++) run(e, b, 1, single + i * N_VOCAB);
    assert_memory_equal(whole, single, sizeof whole);
    assert_memory_not_equal(whole, plain, sizeof whole);
    ds4_session_free(a);
    ds4_session_free(b);
    ds4_session_free(c);
    ds4_engine_close(e);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

static void refused(const char *word)
{
    const ds4_engine_options opt = { .model_path = golden, .n_threads = 1, .steering_path = path };
    ds4_engine              *e = NULL;
    ds4_err                  err = { 0 };

    if (ds4_engine_open(&e, &opt, &err) == DS4_OK) fail_msg("a file was opened, expected: %s", word);
    if (!strstr(err.text, word) || !strstr(err.text, path)) fail_msg("%s", err.text);
}

static void test_other_files_are_refused(void **state)
{
    const float first = v[3][0];

    (void)state;
    write_file(sizeof v - 4);
    refused("expected 3584: 7 layers of 128 float32");
    v[3][0] = NAN;
    write_file(sizeof v);
    refused("layer 3");
    v[3][0] = 2.0f;
    write_file(sizeof v);
    refused("expected 1");
    unlink(path);
    refused(path);
    v[3][0] = first;
    write_file(sizeof v);
}

static void test_factors_out_of_range(void **state)
{
    ds4_engine *e = open_engine(true), *without = open_engine(false);
    ds4_err     err = { 0 };

    (void)state;
    assert_int_equal(ds4_engine_steer(e, (ds4_steering){ 0.0f, 101.0f }, &err), DS4_E_ARG);
    assert_int_equal(ds4_engine_steer(e, (ds4_steering){ NAN, 1.0f }, &err), DS4_E_ARG);
    assert_true(ds4_engine_steering(e).ffn == 0.0f);
    assert_int_equal(ds4_engine_steer(without, (ds4_steering){ 1.0f, 1.0f }, &err), DS4_E_ARG);
    ds4_engine_close(e);
    ds4_engine_close(without);
}

/* ---- names of rows --------------------------------------------------------------------------------- */

static ds4_identity *identity_of(const ds4_engine *e)
{
    const ds4_identity_options opt = { .engine = e };
    ds4_identity              *id = NULL;
    ds4_err                    err = { 0 };

    if (ds4_identity_open(&id, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    ds4_identity_settle(id);
    return id;
}

/* The name of rows of a new engine that is steered so. */
static ds4_kv_key name_of(bool steered, float attn, float ffn)
{
    ds4_engine *e = open_engine(steered);
    if (steered) steer(e, attn, ffn);
    ds4_identity            *id = identity_of(e);
    const ds4_identity_names names = ds4_identity_get(id);
    assert_true(names.is_known);
    ds4_identity_close(id);
    ds4_engine_close(e);
    return names.by_content;
}

static void test_rows_of_each_steering_have_their_own_name(void **state)
{
    const ds4_kv_key plain = name_of(false, 0, 0), by_0 = name_of(true, 0.0f, -0.0f);
    const ds4_kv_key ffn = name_of(true, 0, 1);
    const ds4_kv_key same = name_of(true, 0, 1), attn = name_of(true, 1, 0), half = name_of(true, 0, 0.5f);

    (void)state;
    assert_true(ds4_kv_key_eq(&plain, &by_0));
    assert_true(ds4_kv_key_eq(&ffn, &same));
    assert_false(ds4_kv_key_eq(&plain, &ffn));
    assert_false(ds4_kv_key_eq(&attn, &ffn));
    assert_false(ds4_kv_key_eq(&half, &ffn));
    v[0][0] = -v[0][0];
    write_file(sizeof v);
    const ds4_kv_key other = name_of(true, 0, 1);
    assert_false(ds4_kv_key_eq(&other, &ffn));
}

static void test_rows_of_several_steerings_have_no_name(void **state)
{
    ds4_engine *e = open_engine(true);

    (void)state;
    steer(e, 0.0f, 1.0f);
    ds4_identity *id = identity_of(e);
    steer(e, 0.0f, 1.0f);                       /* no change */
    assert_false(ds4_identity_get(id).is_changed);
    steer(e, 0.0f, 2.0f);
    assert_true(ds4_identity_get(id).is_changed);
    steer(e, 0.0f, 1.0f);                       /* sessions may still hold rows of 2 */
    assert_true(ds4_identity_get(id).is_changed);
    assert_false(ds4_identity_get(id).is_known);
    ds4_identity_close(id);
    ds4_engine_close(e);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_outputs_lose_a_share_of_the_direction),
    cmocka_unit_test(test_nothing_is_steered_by_0),
    cmocka_unit_test(test_a_change_is_for_tokens_to_come),
    cmocka_unit_test(test_other_files_are_refused),
    cmocka_unit_test(test_factors_out_of_range),
    cmocka_unit_test(test_rows_of_each_steering_have_their_own_name),
    cmocka_unit_test(test_rows_of_several_steerings_have_no_name),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
