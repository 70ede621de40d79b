/* mini_test.c - the bundled model's forward pass in PyTorch, where it was trained, and in
 * this engine. The checkpoint is converted without loss, so that only the order of sums
 * and the roundings they tip over differ. */
#include "testing.h"

#include <math.h>

#include "ds4.h"

/* models/eval/logits.json: every fourth of 559 positions; the logits' standard deviation
 * is 5, so the bounds are five times those of the golden models. */
enum { N_TOKENS = 559, EVERY = 4, N_ROWS = 140, N_VOCAB = 4096 };

static char model_path[256];

static int convert(void **state)
{
    const char *out = getenv("OUT");
    char        command[640];

    (void)state;
    test_temp_path(model_path, "mini_exact.gguf");
    snprintf(command, sizeof command,
             "%s/ds4-quantize convert --from models/ds4-mini --out %s --experts bf16 --dense f32 2>/dev/null",
             out ? out : "build", model_path);
    return system(command);
}

static int clean(void **state)
{
    (void)state;
    return unlink(model_path);
}

static void *read_all(const char *path, size_t n_bytes)
{
    FILE *file = fopen(path, "rb");
    void *data = malloc(n_bytes);

    if (!file || fread(data, 1, n_bytes, file) != n_bytes) fail_msg("%s: %zu bytes expected", path, n_bytes);
    fclose(file);
    return data;
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static uint32_t likeliest(const float *logits)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < N_VOCAB; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

static float *evaluate(void)
{
    const ds4_engine_options opt = { .model_path = model_path, .max_batch = N_TOKENS };
    int32_t     *tokens = read_all("models/eval/logits.tokens.i32", N_TOKENS * sizeof *tokens);
    float       *logits = malloc(sizeof(float) * N_TOKENS * N_VOCAB);
    ds4_engine  *e;
    ds4_session *s;
    ds4_err      err = { 0 };

    if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    if (ds4_session_create(e, N_TOKENS, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    const ds4_work work = { .session = s, .tokens = tokens, .n_tokens = N_TOKENS, .logits = logits,
                            .all_logits = true };
    if (ds4_engine_step(e, &work, 1, &err) != DS4_OK) fail_msg("%s", err.text);
    ds4_session_free(s);
    ds4_engine_close(e);
    free(tokens);
    return logits;
}

static void test_pytorch_and_engine_agree(void **state)
{
    float   *want = read_all("models/eval/logits.f32", sizeof(float) * N_ROWS * N_VOCAB), *got = evaluate();
    float    worst[N_ROWS] = { 0 };
    uint32_t n_same = 0;

    (void)state;
    for (uint32_t r = 0; r < N_ROWS; r++) {
        const float *a = want + (size_t)r * N_VOCAB, *b = got + (size_t)r * EVERY * N_VOCAB;
        for (uint32_t i = 0; i < N_VOCAB; i++) worst[r] = fmaxf(worst[r], fabsf(a[i] - b[i]));
        n_same += likeliest(a) == likeliest(b);
    }
    qsort(worst, N_ROWS, sizeof worst[0], by_size);
    if (!(worst[N_ROWS / 2] <= 1e-2f))
        fail_msg("median of the largest differences %g", (double)worst[N_ROWS / 2]);
    if (!(worst[N_ROWS * 97 / 100] <= 1e-1f)) fail_msg("97 %%: %g", (double)worst[N_ROWS * 97 / 100]);
    if (n_same * 100 < N_ROWS * 98) fail_msg("the likeliest token is the same at %u of %u", n_same, N_ROWS);
    free(want);
    free(got);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pytorch_and_engine_agree),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, convert, clean);
}
