/* stream_test.c - streamed experts: the same logits bit for bit as resident ones, whatever
 * the size of the cache, the cut of the prompt and the company; clear errors. */
#include "testing.h"

#include "ds4.h"
#include "base/rng.h"
#include "format/dtype.h"
#include "support/tiny_model.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { N_TOKENS = 160, N_CTX = 512, N_EXPERTS = 24, N_LAYERS = 4, N_USED = 2 };

static char     model_path[256];
static int32_t  text[3][N_TOKENS];
static float   *expected[3];        /* [N_TOKENS][TINY_VOCAB] with resident experts */
static uint64_t all_bytes;          /* of a cache that holds every expert */

/* ---- helpers ----------------------------------------------------------------------------------- */

static ds4_engine *open_engine(ds4_experts experts, uint64_t cache_bytes, uint32_t max_batch)
{
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = max_batch,
                                     .experts = experts, .expert_cache_bytes = cache_bytes };
    ds4_engine *e = NULL;
    ds4_err     err = { 0 };

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

static void write_file(void)
{
    const tiny_model t = { .seed = 9, .dense = DS4_Q8_0, .gate_up = DS4_IQ2_XXS, .down = DS4_Q2_K,
                           .precise = DS4_F16, .n_embd = 256, .n_experts = N_EXPERTS };
    tiny_model_write(&t, model_path);
}

static int prepare(void **state)
{
    ds4_rng rng;

    (void)state;
    test_temp_path(model_path, "stream.gguf");
    write_file();
    ds4_rng_seed(&rng, 12);
    ds4_engine *e = open_engine(DS4_EXPERTS_RESIDENT, 0, N_TOKENS);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < N_TOKENS; j++) text[i][j] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
        ds4_session *s = new_session(e);
        expected[i] = malloc(sizeof(float) * N_TOKENS * TINY_VOCAB);
        step(e, &(ds4_work){ .session = s, .tokens = text[i], .n_tokens = N_TOKENS,
                             .logits = expected[i], .all_logits = true }, 1);
        ds4_session_free(s);
    }
    ds4_engine_close(e);

    ds4_expert_stats stats;
    e = open_engine(DS4_EXPERTS_STREAM, UINT64_MAX / 4, 8);
    assert_true(ds4_engine_expert_stats(e, &stats));
    all_bytes = stats.cache_bytes;
    ds4_engine_close(e);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) free(expected[i]);
    return unlink(model_path);
}

/* One token's experts in every class of sizes; the tiny model has one. */
static uint64_t least_bytes(void)
{
    return all_bytes / N_EXPERTS / N_LAYERS * N_USED;
}

static void assert_same(const float *got, int which, uint32_t pos, uint32_t n)
{
    const float *want = expected[which] + (size_t)pos * TINY_VOCAB;
    if (memcmp(got, want, sizeof(float) * n * TINY_VOCAB) != 0) fail_msg("logits at %u differ", pos);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void run_in_chunks(uint64_t cache_bytes, uint32_t chunk)
{
    ds4_engine      *e = open_engine(DS4_EXPERTS_STREAM, cache_bytes, chunk);
    ds4_session     *s = new_session(e);
    float           *logits = malloc(sizeof(float) * chunk * TINY_VOCAB);
    ds4_expert_stats stats;

    for (uint32_t pos = 0; pos < N_TOKENS; pos += chunk) {
        const uint32_t n = N_TOKENS - pos < chunk ? N_TOKENS - pos : chunk;
        step(e, &(ds4_work){ .session = s, .tokens = text[0] + pos, .n_tokens = n, .logits = logits,
                             .all_logits = true }, 1);
        assert_same(logits, 0, pos, n);
    }
    assert_true(ds4_engine_expert_stats(e, &stats));
    assert_true(stats.cache_bytes <= cache_bytes);
    assert_true(stats.n_misses + stats.n_prefetched > 0);
    if (cache_bytes == all_bytes) assert_true(stats.n_misses + stats.n_prefetched <= stats.n_experts);
    free(logits);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_logits_equal_those_of_resident_experts(void **state)
{
    const uint64_t sizes[] = { least_bytes(), least_bytes() * 3, all_bytes / 3, all_bytes };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        run_in_chunks(sizes[i], 1);
        run_in_chunks(sizes[i], 7);
        run_in_chunks(sizes[i], 64);
        run_in_chunks(sizes[i], N_TOKENS);
    }
}

static void test_company_does_not_show(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        ds4_engine  *e = open_engine(DS4_EXPERTS_STREAM, round ? all_bytes / 2 : least_bytes(), 64);
        ds4_session *s[3];
        uint32_t     pos[3] = { 0 };
        float       *logits = malloc(sizeof(float) * 3 * 16 * TINY_VOCAB);

        for (int i = 0; i < 3; i++) s[i] = new_session(e);
        for (uint32_t turn = 0; pos[0] < N_TOKENS; turn++) {
            ds4_work work[3];
            uint32_t n = 0, who[3];
            for (uint32_t i = 0; i < 3; i++) {
                const uint32_t left = N_TOKENS - pos[i], want = (turn + i) % 3 ? 1 : 16;
                if (left == 0) continue;
                who[n] = i;
                work[n] = (ds4_work){ .session = s[i], .tokens = text[i] + pos[i],
                                      .n_tokens = want < left ? want : left,
                                      .logits = logits + (size_t)n * 16 * TINY_VOCAB,
                                      .all_logits = true };
                n++;
            }
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
}

static void test_too_small_a_cache_is_refused_with_the_number(void **state)
{
    const ds4_engine_options opt = { .model_path = model_path, .experts = DS4_EXPERTS_STREAM,
                                     .expert_cache_bytes = least_bytes() - 1 };
    ds4_engine *e = NULL;
    ds4_err     err = { 0 };
    char        number[40];

    (void)state;
    snprintf(number, sizeof number, "at least %llu bytes", (unsigned long long)least_bytes());
    assert_int_equal(ds4_engine_open(&e, &opt, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, number));
    assert_null(e);
}

static uint8_t *read_bytes(size_t n)
{
    uint8_t *bytes = malloc(n);
    FILE    *f = fopen(model_path, "rb");

    assert_non_null(f);
    assert_int_equal(fread(bytes, 1, n, f), n);
    fclose(f);
    return bytes;
}

/* Into the same file, which the engine has open. */
static void write_bytes(const uint8_t *bytes, size_t n)
{
    FILE *f = fopen(model_path, "r+b");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* The file loses its experts while the engine runs: the step says so, other sessions and,
 * when the file is back, the same one go on. */
static void test_truncated_file_is_an_error(void **state)
{
    ds4_engine  *e = open_engine(DS4_EXPERTS_STREAM, least_bytes(), 64);
    ds4_session *s = new_session(e), *other = new_session(e);
    struct stat  info;
    float        logits[TINY_VOCAB];
    ds4_err      err = { 0 };
    ds4_work     work = { .session = s, .tokens = text[0], .n_tokens = 40 };

    (void)state;
    assert_int_equal(stat(model_path, &info), 0);
    uint8_t *bytes = read_bytes((size_t)info.st_size);
    step(e, &work, 1);
    step(e, &(ds4_work){ .session = other, .tokens = text[1], .n_tokens = 30 }, 1);
    assert_int_equal(truncate(model_path, info.st_size / 2), 0);

    work.tokens = text[0] + 40;
    assert_int_equal(ds4_engine_step(e, &work, 1, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, model_path));
    assert_non_null(strstr(err.text, "truncated"));
    assert_int_equal(ds4_session_pos(s), 40);
    write_bytes(bytes, (size_t)info.st_size);
    free(bytes);
    assert_int_equal(ds4_engine_step(e, &work, 1, &err), DS4_E_ARG);
    assert_non_null(strstr(err.text, "must be cleared"));

    step(e, &(ds4_work){ .session = other, .tokens = text[1] + 30, .n_tokens = 1, .logits = logits }, 1);
    assert_same(logits, 1, 30, 1);
    ds4_session_clear(s);
    step(e, &(ds4_work){ .session = s, .tokens = text[2], .n_tokens = 64, .logits = logits }, 1);
    assert_same(logits, 2, 63, 1);
    ds4_session_free(s);
    ds4_session_free(other);
    ds4_engine_close(e);
}

/* The engine's descriptor of the model file; -1: this system does not tell. */
static int find_descriptor(void)
{
    struct stat model, info;

    assert_int_equal(stat(model_path, &model), 0);
    for (int fd = 3; fd < 256; fd++) {
        if (fstat(fd, &info) == 0 && info.st_dev == model.st_dev && info.st_ino == model.st_ino) return fd;
    }
    return -1;
}

/* Every read of the disk is refused, as by one that fails: behind the engine's back its
 * descriptor becomes one that cannot be read. The step says so; when the disk is back, the
 * session goes on after clearing, and others at once. */
static void test_disk_error_is_an_error(void **state)
{
    ds4_engine  *e = open_engine(DS4_EXPERTS_STREAM, least_bytes(), 64);
    ds4_session *s = new_session(e), *other = new_session(e);
    const int    fd = find_descriptor(), whole = dup(fd), deaf = open(model_path, O_WRONLY);
    float        logits[TINY_VOCAB];
    ds4_err      err = { 0 };

    (void)state;
    assert_true(fd >= 0 && whole >= 0 && deaf >= 0);
    step(e, &(ds4_work){ .session = other, .tokens = text[1], .n_tokens = 30 }, 1);
    assert_true(dup2(deaf, fd) == fd);
    const ds4_work work = { .session = s, .tokens = text[0], .n_tokens = 40 };
    assert_int_equal(ds4_engine_step(e, &work, 1, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, model_path));
    assert_non_null(strstr(err.text, "cannot read"));
    assert_int_equal(ds4_session_pos(s), 0);
    assert_true(dup2(whole, fd) == fd);

    step(e, &(ds4_work){ .session = other, .tokens = text[1] + 30, .n_tokens = 1, .logits = logits }, 1);
    assert_same(logits, 1, 30, 1);
    ds4_session_clear(s);
    step(e, &(ds4_work){ .session = s, .tokens = text[2], .n_tokens = 64, .logits = logits }, 1);
    assert_same(logits, 2, 63, 1);
    close(whole);
    close(deaf);
    ds4_session_free(s);
    ds4_session_free(other);
    ds4_engine_close(e);
}

/* ---- what is told while a model loads ------------------------------------------------------------ */

typedef struct heard {
    uint32_t n;
    uint64_t last, total;
} heard;

static void hear(void *ctx, uint64_t n_done, uint64_t n_total)
{
    heard *h = ctx;

    assert_true(n_done > h->last && n_done <= n_total);
    assert_true(h->n == 0 || n_total == h->total);
    *h = (heard){ h->n + 1, n_done, n_total };
}

/* Weights that stay in the file are not copied: nobody is told anything. */
static void test_loading_is_told(void **state)
{
    for (int stream = 0; stream < 2; stream++) {
        heard              h = { 0 };
        ds4_engine        *e;
        ds4_err            err;
        ds4_engine_options opt = { .model_path = model_path, .n_threads = 1, .loading = { hear, &h },
                                   .experts = stream ? DS4_EXPERTS_STREAM : DS4_EXPERTS_RESIDENT };
        (void)state;
        if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
        ds4_engine_close(e);
        assert_int_equal(h.n > 0, stream);
        assert_int_equal(h.last, h.total);
        assert_int_equal(h.total > 100000, stream);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_loading_is_told),
    cmocka_unit_test(test_logits_equal_those_of_resident_experts),
    cmocka_unit_test(test_company_does_not_show),
    cmocka_unit_test(test_too_small_a_cache_is_refused_with_the_number),
    cmocka_unit_test(test_truncated_file_is_an_error),
    cmocka_unit_test(test_disk_error_is_an_error),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
