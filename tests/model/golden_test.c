/* golden_test.c - the forward pass against logits and streams of an independent
 * implementation: tests/golden, and a second shape where the reference data is at hand. */
#include "testing.h"

#include <math.h>

#include "ds4.h"
#include "engine/watch.h"

enum { MAX_TOKENS = 1024 };

static const char shipped[] = "tests/golden/flashlike";

/* Where a golden model's files are, without their endings; NULL: not here. */
static const char *golden(const char *name)
{
    static char path[4096];
    const char *folder = test_reference_dir();

    if (!folder) return NULL;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void *read_file(const char *base, const char *ending, size_t *n_bytes)
{
    char path[4200];
    snprintf(path, sizeof path, "%s%s", base, ending);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    fseek(file, 0, SEEK_END);
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*n_bytes);
    assert_int_equal(fread(data, 1, *n_bytes, file), *n_bytes);
    fclose(file);
    return data;
}

typedef struct run {
    ds4_engine  *engine;
    ds4_session *session;
    int32_t     *tokens;
    uint32_t     n_tokens, n_vocab;
    float       *logits;
} run;

static run evaluate(const char *base, bool exact, ds4_watch_fn *watch, void *ctx)
{
    char                     path[4200];
    const ds4_engine_options opt = { .model_path = path, .exact = exact, .max_batch = MAX_TOKENS };
    run                      r = { 0 };
    ds4_err                  err = { 0 };
    size_t                   n_bytes;

    snprintf(path, sizeof path, "%s.gguf", base);
    if (ds4_engine_open(&r.engine, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    if (ds4_session_create(r.engine, MAX_TOKENS, &r.session, &err) != DS4_OK) fail_msg("%s", err.text);
    r.tokens = read_file(base, ".tokens.i32", &n_bytes);
    r.n_tokens = (uint32_t)(n_bytes / sizeof *r.tokens);
    r.n_vocab = ds4_engine_info(r.engine)->n_vocab;
    r.logits = malloc(sizeof(float) * r.n_tokens * r.n_vocab);
    if (watch) ds4_engine_watch(r.engine, watch, ctx);
    const ds4_work work = { .session = r.session, .tokens = r.tokens, .n_tokens = r.n_tokens,
                            .logits = r.logits, .all_logits = true };
    if (ds4_engine_step(r.engine, &work, 1, &err) != DS4_OK) fail_msg("%s", err.text);
    return r;
}

static void finish(run *r)
{
    ds4_session_free(r->session);
    ds4_engine_close(r->engine);
    free(r->tokens);
    free(r->logits);
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Largest difference of each position, ascending. */
static float *worst_by_position(const run *r, const char *base, const char *ending)
{
    size_t n_bytes;
    float *want = read_file(base, ending, &n_bytes), *worst = calloc(r->n_tokens, sizeof *worst);

    assert_int_equal(n_bytes, sizeof(float) * r->n_tokens * r->n_vocab);
    for (uint32_t t = 0; t < r->n_tokens; t++) {
        for (uint32_t i = 0; i < r->n_vocab; i++) {
            const size_t at = (size_t)t * r->n_vocab + i;
            worst[t] = fmaxf(worst[t], fabsf(r->logits[at] - want[at]));
        }
    }
    free(want);
    qsort(worst, r->n_tokens, sizeof *worst, by_size);
    return worst;
}

static void check_exact(const char *base)
{
    run    r = evaluate(base, true, NULL, NULL);
    float *worst = worst_by_position(&r, base, ".exact.f32");

    if (!(worst[r.n_tokens - 1] <= 1e-4f)) fail_msg("largest difference %g", (double)worst[r.n_tokens - 1]);
    free(worst);
    finish(&r);
}

static void check_rounded(const char *base)
{
    run      r = evaluate(base, false, NULL, NULL);
    float   *worst = worst_by_position(&r, base, ".rounded.f32");
    uint32_t n_near = 0;

    for (uint32_t t = 0; t < r.n_tokens; t++) n_near += worst[t] <= 1e-2f;
    if (!(worst[r.n_tokens / 2] <= 2e-3f)) fail_msg("median %g", (double)worst[r.n_tokens / 2]);
    if (n_near < 0.97 * r.n_tokens) fail_msg("%u of %u positions within 1e-2", n_near, r.n_tokens);
    free(worst);
    finish(&r);
}

/* ---- residual streams ---------------------------------------------------------------------- */

typedef struct streams {
    const float    *want;       /* [layers][n_probes][n_values] */
    const uint32_t *probe;
    uint32_t        n_probes, n_layers;
    float           worst;
} streams;

static void compare_streams(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                            const float *values)
{
    streams *s = ctx;

    if (strcmp(name, "ffn.leave") != 0) return;
    s->n_layers++;
    for (uint32_t i = 0; i < s->n_probes; i++) {
        assert_true(s->probe[i] < n_tokens);
        const float *want = s->want + ((size_t)layer * s->n_probes + i) * n_values;
        const float *got = values + (size_t)s->probe[i] * n_values;
        for (uint32_t j = 0; j < n_values; j++) s->worst = fmaxf(s->worst, fabsf(got[j] - want[j]));
    }
}

static void check_streams(const char *base, uint32_t last)
{
    const uint32_t probe[13] = { 0, 1, 3, 4, 7, 8, 15, 16, 127, 128, 255, 256, last };
    size_t         n_bytes;
    float         *want = read_file(base, ".streams.f32", &n_bytes);
    streams        s = { .want = want, .probe = probe, .n_probes = 13 };
    run            r = evaluate(base, true, compare_streams, &s);

    assert_int_equal(s.n_layers, 7);
    if (!(s.worst <= 1e-4f)) fail_msg("largest difference of a stream %g", (double)s.worst);
    finish(&r);
    free(want);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_exact_logits(void **state)
{
    (void)state;
    check_exact(shipped);
}

static void test_rounded_logits(void **state)
{
    (void)state;
    check_rounded(shipped);
}

static void test_streams_of_every_layer(void **state)
{
    (void)state;
    check_streams(shipped, 519);
}

static void test_other_shape(void **state)
{
    const char *base = golden("prolike");

    (void)state;
    if (!base) skip();
    check_exact(base);
    check_rounded(base);
    check_streams(base, 399);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_exact_logits),
    cmocka_unit_test(test_rounded_logits),
    cmocka_unit_test(test_streams_of_every_layer),
    cmocka_unit_test(test_other_shape),
};

TEST_MAIN(tests)
