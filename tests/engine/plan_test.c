/* plan_test.c - the plan is what is used: private memory and pages of the model file, after
 * full contexts with every way to run, stay within 2 % of what was said before opening.
 *
 * DS4_PLAN_MODEL names another file than the bundled one, DS4_PLAN_CONTEXTS the contexts. */
#include "testing.h"

#include "ds4.h"
#include "base/rng.h"

#include <fcntl.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum { HEAD_ROWS = 16, MAX_CONTEXTS = 8 };

static const char *model_path(void)
{
    const char *path = getenv("DS4_PLAN_MODEL");
    return path ? path : "models/ds4-mini.gguf";
}

/* Bytes of memory that this process alone holds, and of the model file's pages that it has
 * mapped and touched. 0 where the system does not tell. */
static uint64_t memory_in_use(void)
{
    FILE         *file = fopen("/proc/self/smaps", "r");
    char          line[4200];
    const char   *slash = strrchr(model_path(), '/'), *name = slash ? slash : model_path();
    bool          is_model = false;
    unsigned long rss = 0, kib, total = 0;

    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        const char *path = strchr(line, '/');
        if (sscanf(line, "%lx-%*x", &kib) == 1 && strchr(line, '-')) {
            is_model = path && strstr(path, name);
        } else if (sscanf(line, "Rss: %lu", &rss) == 1) {
            total += is_model ? rss : 0;
        } else if (sscanf(line, "Anonymous: %lu", &kib) == 1) {
            total += is_model ? 0 : kib;
        }
    }
    fclose(file);
    return (uint64_t)total * 1024;
}

/* Drop the model file from the page cache. What was written or read in large pieces lies there in pages
 * of up to 2 MiB, of which a touch of 4 KiB then maps the whole; the engine's own reads do not. */
static void forget_pages(void)
{
    const int fd = open(model_path(), O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
#if defined(POSIX_FADV_DONTNEED)
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
#endif
    close(fd);
}

/* Every expert, row of scratch and row of logits is wanted once. */
static void use_everything(ds4_engine *e, uint32_t n_ctx, ds4_session *s, float *logits)
{
    const uint32_t n_vocab = ds4_engine_info(e)->n_vocab, n_most = ds4_engine_max_batch(e);
    const uint32_t n_rows = n_most < HEAD_ROWS ? n_most : HEAD_ROWS;
    int32_t       *tokens = malloc(n_ctx * sizeof *tokens);
    ds4_err        err = { 0 };
    ds4_rng        rng;

    ds4_rng_seed(&rng, 17);
    for (uint32_t i = 0; i < n_ctx; i++) tokens[i] = (int32_t)(ds4_rng_next(&rng) % n_vocab);
    const uint32_t    n = n_ctx - n_rows;
    const ds4_prefill all = { .tokens = tokens, .n_tokens = n };
    const ds4_work    last = { .session = s, .tokens = tokens + n, .n_tokens = n_rows, .logits = logits,
                               .all_logits = true };
    if (ds4_session_prefill(s, &all, &err) != DS4_OK) fail_msg("%s", err.text);
    if (ds4_engine_step(e, &last, 1, &err) != DS4_OK) fail_msg("%s", err.text);
    free(tokens);
}

/* Open and close once: pages of the program and the C library that this touches are not the engine's. */
static void warm_up(const ds4_engine_options *opt)
{
    ds4_engine *e;
    ds4_err     err = { 0 };

    if (ds4_engine_open(&e, opt, &err) != DS4_OK) fail_msg("%s", err.text);
    ds4_engine_close(e);
}

/* Returns used over planned. */
static double measure(const ds4_engine_options *opt, const char *what)
{
    ds4_engine  *e = NULL;
    ds4_session *s = NULL;
    ds4_err      err = { 0 };
    ds4_plan     plan;

    if (ds4_plan_make(opt, &plan, &err) != DS4_OK) fail_msg("%s", err.text);
    warm_up(opt);
    forget_pages();
    const uint64_t before = memory_in_use();
    if (ds4_engine_open(&e, opt, &err) != DS4_OK) fail_msg("%s", err.text);
    const uint64_t rows_bytes = (uint64_t)HEAD_ROWS * ds4_engine_info(e)->n_vocab * sizeof(float);
    float *logits = mmap(NULL, rows_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ds4_session_create(e, opt->plan_ctx, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    use_everything(e, opt->plan_ctx, s, logits);
    munmap(logits, rows_bytes);     /* the caller's, not the engine's */
    const uint64_t used = memory_in_use() - before, planned = plan.total;
    ds4_session_free(s);
    ds4_engine_close(e);
    print_message("# %s, context %u: %.2f MiB planned, %.2f used, %+.2f %%\n", what, opt->plan_ctx,
                  (double)planned / (1 << 20), (double)used / (1 << 20),
                  100.0 * ((double)used / (double)planned - 1.0));
    return (double)used / (double)planned;
}

static uint32_t contexts(uint32_t out[MAX_CONTEXTS])
{
    const char *at = getenv("DS4_PLAN_CONTEXTS");
    uint32_t    n = 0;

    for (at = at ? at : "512 1536"; *at && n < MAX_CONTEXTS; n++) {
        char *end;
        out[n] = (uint32_t)strtoul(at, &end, 10);
        at = *end ? end + 1 : end;
    }
    return n;
}

static void check(ds4_engine_options opt, const char *what)
{
    uint32_t       ctx[MAX_CONTEXTS];
    const uint32_t n = contexts(ctx);

    opt.model_path = model_path();
    opt.n_threads = 2;
    for (uint32_t i = 0; i < n; i++) {
        opt.plan_ctx = ctx[i];
        const double ratio = measure(&opt, what);
        if (!(ratio >= 0.98 && ratio <= 1.02)) fail_msg("%s: used %.2f %% of the plan", what, 100.0 * ratio);
    }
}

static void skip_without_numbers(void)
{
    if (SANITIZED || memory_in_use() == 0 || access(model_path(), R_OK) != 0) skip();
}

static void test_resident_experts(void **state)
{
    (void)state;
    skip_without_numbers();
    check((ds4_engine_options){ .experts = DS4_EXPERTS_RESIDENT }, "resident");
    check((ds4_engine_options){ .experts = DS4_EXPERTS_RESIDENT, .max_batch = 32 }, "resident, steps of 32");
}

/* Half of the experts, and whatever a budget leaves for them. */
static void test_streamed_experts(void **state)
{
    const ds4_engine_options all = { .model_path = model_path(), .n_threads = 2, .plan_ctx = 512,
                                     .experts = DS4_EXPERTS_STREAM };
    ds4_plan plan;
    ds4_err  err = { 0 };

    (void)state;
    skip_without_numbers();
    if (ds4_plan_make(&all, &plan, &err) != DS4_OK) fail_msg("%s", err.text);
    check((ds4_engine_options){ .experts = DS4_EXPERTS_STREAM }, "streamed, room for all");
    check((ds4_engine_options){ .experts = DS4_EXPERTS_STREAM, .expert_cache_bytes = plan.experts / 2 },
          "streamed, a half");
    const uint64_t budget = plan.total - plan.expert_cache / 4;
    check((ds4_engine_options){ .mem_bytes = budget }, "streamed, what a budget leaves");
}

/* An advice in options, applied. False: the sentence names none. */
static bool follow(const char *advice, ds4_engine_options *opt)
{
    const char        *at = strrchr(advice, ':');
    unsigned long long n;

    if (sscanf(at, ": --ctx %llu would fit", &n) == 1) opt->plan_ctx = (uint32_t)n;
    else if (sscanf(at, ": --expert-cache %lluM would fit", &n) == 1) opt->expert_cache_bytes = n << 20;
    else if (strcmp(at, ": --experts stream would fit") == 0) opt->experts = DS4_EXPERTS_STREAM;
    else return false;
    return true;
}

/* Budgets from nothing to everything: what fits opens, and what is advised fits and opens. */
static void test_advice_fits(void **state)
{
    const ds4_engine_options ways[] = {
        { .experts = DS4_EXPERTS_AUTO, .plan_ctx = 100000 },
        { .experts = DS4_EXPERTS_RESIDENT, .plan_ctx = 30000, .plan_sessions = 3 },
        { .experts = DS4_EXPERTS_STREAM, .plan_ctx = 4096, .max_batch = 16 },
        { .expert_cache_bytes = 7 << 20, .plan_ctx = 20000 },
    };
    uint32_t n_followed = 0;

    (void)state;
    /* The budgets below are for the bundled model. */
    if (getenv("DS4_PLAN_MODEL") || access(model_path(), R_OK) != 0) skip();
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (uint32_t mib = 4; mib < 64; mib += 3) {
            ds4_engine_options opt = ways[i];
            ds4_engine        *e = NULL;
            ds4_plan           plan;
            ds4_err            err = { 0 };

            opt.model_path = model_path();
            opt.n_threads = 1;
            opt.mem_bytes = (uint64_t)mib << 20;
            if (ds4_plan_make(&opt, &plan, &err) != DS4_OK) fail_msg("%s", err.text);
            if (!plan.fits && !follow(plan.advice, &opt)) continue;
            n_followed += !plan.fits;
            if (ds4_engine_open(&e, &opt, &err) != DS4_OK) fail_msg("%s, then %s", plan.advice, err.text);
            ds4_engine_close(e);
        }
    }
    assert_true(n_followed > 20);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_resident_experts),
    cmocka_unit_test(test_streamed_experts),
    cmocka_unit_test(test_advice_fits),
};

TEST_MAIN(tests)
