/* expert_cache_test.c - never wrong bytes, whatever is needed, guessed or broken; what is
 * lent stays; and the choice of what to evict beats the least recently used. */
#include "testing.h"

#include "backend/expert_cache.h"
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>

enum { N_LAYERS = 6, N_EXPERTS = 40, N_USED = 4 };

/* Odd sizes and offsets; the last two layers are larger. */
static ds4_expert_layer layers[N_LAYERS];
static char             path[256];
static const char *const paths[] = { path };
static uint64_t         file_bytes;

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)((offset * 0x9e3779b97f4a7c15u) >> 37);
}

static void write_content(void)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (uint64_t i = 0; i < file_bytes; i++) putc(byte_at(i), f);
    assert_int_equal(fclose(f), 0);
}

static int write_file(void **state)
{
    (void)state;
    file_bytes = 777;
    for (int l = 0; l < N_LAYERS; l++) {
        layers[l].n_experts = N_EXPERTS;
        for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
            layers[l].matrix[p].offset = file_bytes;
            layers[l].matrix[p].n_bytes = (p == 2 ? 992 : 608) * (l < 4 ? 1 : 9);
            file_bytes += N_EXPERTS * layers[l].matrix[p].n_bytes;
        }
    }
    test_temp_path(path, "expert_cache.bin");
    write_content();
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static ds4_expert_file file_of(void)
{
    return (ds4_expert_file){ .paths = paths, .n_files = 1, .n_layers = N_LAYERS, .n_experts = N_EXPERTS,
                              .n_used = N_USED, .layer = layers };
}

static ds4_expert_cache *open_cache(uint64_t n_bytes, const ds4_aio_options *opt)
{
    const ds4_expert_file file = file_of();
    ds4_expert_cache     *c = NULL;
    ds4_err               err = { 0 };

    if (ds4_expert_cache_open(&c, &file, n_bytes, opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return c;
}

static void assert_content(const ds4_expert_ready *r, uint32_t layer)
{
    for (int p = 0; p < DS4_EXPERT_MATRICES; p++) {
        const uint64_t n = layers[layer].matrix[p].n_bytes;
        const uint64_t offset = layers[layer].matrix[p].offset + r->expert * n;
        for (uint64_t i = 0; i < n; i++) {
            if (r->matrix[p][i] == byte_at(offset + i)) continue;
            fail_msg("layer %u, expert %u, part %d: wrong byte", layer, r->expert, p);
        }
    }
}

/* One visit; checks that exactly the needed experts come, each once, with their bytes. */
static ds4_status visit(ds4_expert_cache *c, uint32_t layer, const uint32_t *count,
                        uint32_t n_tokens, ds4_err *err)
{
    ds4_expert_ready ready[N_EXPERTS];
    bool             seen[N_EXPERTS] = { false };
    uint32_t         n = 0;
    ds4_status       st;

    ds4_expert_cache_begin(c, layer, count, n_tokens);
    while ((st = ds4_expert_cache_next(c, ready, &n, err)) == DS4_OK && n > 0) {
        for (uint32_t i = 0; i < n; i++) {
            assert_true(count[ready[i].expert] > 0);
            assert_false(seen[ready[i].expert]);
            seen[ready[i].expert] = true;
            assert_content(&ready[i], layer);
        }
    }
    ds4_expert_cache_end(c);
    for (uint32_t e = 0; st == DS4_OK && e < N_EXPERTS; e++) {
        assert_int_equal(seen[e], count[e] > 0);
    }
    return st;
}

/* n_tokens tokens choose N_USED experts each, low ones more often. */
static void choose(ds4_rng *rng, uint32_t *count, uint32_t n_tokens)
{
    memset(count, 0, N_EXPERTS * sizeof *count);
    for (uint32_t t = 0; t < n_tokens; t++) {
        bool taken[N_EXPERTS] = { false };
        for (uint32_t i = 0; i < N_USED;) {
            const uint32_t e = (uint32_t)(ds4_rng_next(rng) % (1 + ds4_rng_next(rng) % N_EXPERTS));
            if (taken[e]) continue;
            taken[e] = true;
            count[e]++;
            i++;
        }
    }
}

/* Random visits of one and of many tokens, with right, wrong and no guesses before them. */
static void visit_at_random(uint64_t n_bytes, uint64_t seed, const ds4_aio_options *opt)
{
    ds4_expert_cache *c = open_cache(n_bytes, opt);
    uint32_t          count[N_EXPERTS], guess[N_EXPERTS];
    ds4_rng           rng;
    ds4_err           err = { 0 };

    ds4_rng_seed(&rng, seed);
    for (uint32_t i = 0; i < 600; i++) {
        const bool     is_chunk = ds4_rng_next(&rng) % 4 == 0;
        const uint32_t n_tokens = is_chunk ? 1 + (uint32_t)(ds4_rng_next(&rng) % 30) : 1;
        const uint32_t layer = i % N_LAYERS, mood = (uint32_t)(ds4_rng_next(&rng) % 4);
        choose(&rng, count, n_tokens);
        choose(&rng, guess, n_tokens);
        if (mood == 1) ds4_expert_cache_prefetch(c, layer, count);
        if (mood == 2) ds4_expert_cache_prefetch(c, layer, guess);
        if (mood == 3) ds4_expert_cache_prefetch(c, (layer + 1) % N_LAYERS, guess);
        if (visit(c, layer, count, n_tokens, &err) != DS4_OK) fail_msg("%s", err.text);
    }
    ds4_expert_stats s;
    ds4_expert_cache_get_stats(c, &s);
    assert_true(s.n_hits + s.n_prefetched + s.n_misses > 600);
    assert_true(s.bytes_read >= s.bytes_needed);
    ds4_expert_cache_close(c);
}

static void test_never_wrong_bytes(void **state)
{
    const ds4_expert_file file = file_of();
    const uint64_t        least = ds4_expert_cache_least(&file);
    const ds4_aio_options threads = { .threads_only = true, .depth = 5, .calm_depth = 2 };
    const ds4_aio_options small = { .piece_bytes = 4096, .depth = 3, .calm_depth = 1 };

    (void)state;
    visit_at_random(least, 1, NULL);
    visit_at_random(least, 2, &threads);
    visit_at_random(least * 3 / 2, 3, &small);
    visit_at_random(least * 4, 4, NULL);
    visit_at_random(least * 4, 5, &threads);
    visit_at_random(UINT64_MAX / 4, 6, &small);
}

static void test_full_size_reads_each_expert_once(void **state)
{
    ds4_expert_cache *c = open_cache(UINT64_MAX / 4, NULL);
    uint32_t          count[N_EXPERTS];
    ds4_err           err = { 0 };
    ds4_expert_stats  s;

    (void)state;
    for (uint32_t e = 0; e < N_EXPERTS; e++) count[e] = 1 + e % 3;
    for (uint32_t i = 0; i < 3 * N_LAYERS; i++) {
        assert_int_equal(visit(c, i % N_LAYERS, count, 100, &err), DS4_OK);
    }
    ds4_expert_cache_get_stats(c, &s);
    assert_int_equal(s.n_entries, N_LAYERS * N_EXPERTS);
    assert_int_equal(s.n_misses, N_LAYERS * N_EXPERTS);
    assert_int_equal(s.n_hits, 2 * N_LAYERS * N_EXPERTS);
    ds4_expert_cache_close(c);
}

static void test_too_small_is_refused_with_the_number(void **state)
{
    const ds4_expert_file file = file_of();
    const uint64_t        least = ds4_expert_cache_least(&file);
    ds4_expert_cache     *c = NULL;
    ds4_err               err = { 0 };
    char                  number[32];

    (void)state;
    snprintf(number, sizeof number, "%llu bytes", (unsigned long long)least);
    assert_int_equal(ds4_expert_cache_open(&c, &file, least - 1, NULL, &err), DS4_E_LIMIT);
    assert_non_null(strstr(err.text, number));
    assert_null(c);
}

/* ---- broken disks ---------------------------------------------------------------------------- */

typedef struct faults {
    int until, seen;
} faults;

static int fail_nth(void *ctx, uint64_t offset, uint64_t n_bytes)
{
    faults *f = ctx;
    (void)offset;
    (void)n_bytes;
    return __atomic_add_fetch(&f->seen, 1, __ATOMIC_RELAXED) == f->until ? EIO : 0;
}

/* The N-th read fails: the visit says so unless the read was a mere guess, and the cache
 * goes on with right bytes. */
static void test_any_read_may_fail(void **state)
{
    const ds4_expert_file file = file_of();
    int                   n_errors = 0;

    (void)state;
    for (int n = 1; n <= 60; n++) {
        faults                f = { .until = n };
        const ds4_aio_options opt = { .fault = fail_nth, .fault_ctx = &f, .threads_only = n % 2 };
        ds4_expert_cache     *c = open_cache(ds4_expert_cache_least(&file) * 2, &opt);
        uint32_t              count[N_EXPERTS], guess[N_EXPERTS];
        ds4_rng               rng;

        ds4_rng_seed(&rng, (uint64_t)n);
        for (uint32_t i = 0; i < 12; i++) {
            ds4_err err = { 0 };
            choose(&rng, count, 1);
            choose(&rng, guess, 1);
            ds4_expert_cache_prefetch(c, i % N_LAYERS, i % 2 ? guess : count);
            if (visit(c, i % N_LAYERS, count, 1, &err) == DS4_OK) continue;
            n_errors++;
            assert_int_equal(err.code, DS4_E_IO);
            assert_non_null(strstr(err.text, path));
            assert_non_null(strstr(err.text, strerror(EIO)));
            assert_non_null(strstr(err.text, "(layer "));
        }
        ds4_expert_cache_close(c);
    }
    assert_true(n_errors > 20);
}

static void test_truncated_file_is_an_error(void **state)
{
    const ds4_expert_file file = file_of();
    ds4_expert_cache     *c = open_cache(ds4_expert_cache_least(&file), NULL);
    uint32_t              count[N_EXPERTS] = { 0 };
    ds4_err               err = { 0 };

    (void)state;
    count[3] = count[30] = 1;
    assert_int_equal(visit(c, 5, count, 1, &err), DS4_OK);
    assert_int_equal(truncate(path, (off_t)layers[5].matrix[1].offset), 0);
    count[30] = 0;
    count[31] = 1;
    assert_int_equal(visit(c, 5, count, 1, &err), DS4_E_IO);
    assert_non_null(strstr(err.text, "truncated"));
    assert_non_null(strstr(err.text, "(layer 5, expert 31)"));
    write_content();
    assert_int_equal(visit(c, 5, count, 1, &err), DS4_OK);
    ds4_expert_cache_close(c);
}

/* ---- what to evict ----------------------------------------------------------------------------- */

/* Routes as models show them: a few experts are liked by all texts, some by the text at
 * hand, which changes now and then, and a token likes what the one before it chose. */
typedef struct route {
    double  favour[N_LAYERS][N_EXPERTS];
    double  topic[N_LAYERS][N_EXPERTS];
    uint8_t last[N_LAYERS][N_EXPERTS];
    double  stick, skew;
} route;

static void next_route(route *r, ds4_rng *rng, uint32_t token, uint32_t layer, uint32_t *count)
{
    double score[N_EXPERTS];

    for (uint32_t e = 0; e < N_EXPERTS; e++) {
        if (token == 0) r->favour[layer][e] = -r->skew * log(ds4_rng_uniform(rng) + 1e-9);
        if (token % 200 == 0) r->topic[layer][e] = -r->skew * log(ds4_rng_uniform(rng) + 1e-9);
        score[e] = r->favour[layer][e] + r->topic[layer][e] + r->stick * r->last[layer][e]
                 - log(-log(ds4_rng_uniform(rng) + 1e-12) + 1e-12);
    }
    memset(count, 0, N_EXPERTS * sizeof *count);
    for (uint32_t i = 0; i < N_USED; i++) {
        uint32_t best = N_EXPERTS;
        for (uint32_t e = 0; e < N_EXPERTS; e++) {
            if (!count[e] && (best == N_EXPERTS || score[e] > score[best])) best = e;
        }
        count[best] = 1;
    }
    for (uint32_t e = 0; e < N_EXPERTS; e++) r->last[layer][e] = count[e] > 0;
}

/* Hits of a plain least-recently-used cache of n entries. */
typedef struct lru {
    uint64_t used[N_LAYERS * N_EXPERTS], now;   /* 0: not in memory */
    uint32_t n, capacity;
    uint64_t n_hits;
} lru;

static void lru_use(lru *l, uint32_t key)
{
    uint32_t oldest = UINT32_MAX;

    if (l->used[key]) l->n_hits++;
    else if (l->n < l->capacity) l->n++;
    else {
        for (uint32_t k = 0; k < N_LAYERS * N_EXPERTS; k++) {
            if (l->used[k] && (oldest == UINT32_MAX || l->used[k] < l->used[oldest])) oldest = k;
        }
        l->used[oldest] = 0;
    }
    l->used[key] = ++l->now;
}

static void compare_with_lru(double skew, double stick, uint32_t part, uint64_t seed)
{
    static route          r;
    static lru            plain;
    ds4_expert_layer      same[N_LAYERS];
    const ds4_expert_file file = { .paths = paths, .n_files = 1, .n_layers = N_LAYERS, .n_experts = N_EXPERTS,
                                   .n_used = N_USED, .layer = same };
    ds4_expert_cache     *c = NULL;
    ds4_expert_ready      ready[N_EXPERTS];
    uint32_t              count[N_EXPERTS], n;
    ds4_expert_stats      s;
    ds4_rng               rng;
    ds4_err               err = { 0 };

    for (int l = 0; l < N_LAYERS; l++) same[l] = layers[0];
    ds4_rng_seed(&rng, seed);
    memset(&r, 0, sizeof r);
    r.skew = skew;
    r.stick = stick;
    const uint64_t entry_bytes = ds4_expert_cache_least(&file) / N_USED;
    plain = (lru){ .capacity = N_LAYERS * N_EXPERTS / part };
    const uint64_t n_bytes = plain.capacity * entry_bytes;
    assert_int_equal(ds4_expert_cache_open(&c, &file, n_bytes, NULL, &err), DS4_OK);
    for (uint32_t t = 0; t < 500; t++) {
        for (uint32_t l = 0; l < N_LAYERS; l++) {
            next_route(&r, &rng, t, l, count);
            for (uint32_t e = 0; e < N_EXPERTS; e++) {
                if (count[e]) lru_use(&plain, l * N_EXPERTS + e);
            }
            ds4_expert_cache_begin(c, l, count, 1);
            do {
                assert_int_equal(ds4_expert_cache_next(c, ready, &n, &err), DS4_OK);
            } while (n > 0);
            ds4_expert_cache_end(c);
        }
    }
    ds4_expert_cache_get_stats(c, &s);
    print_message("# skew %.1f, stick %.1f, 1/%u of all: %.1f %% hits, by recency alone %.1f %%\n",
                  skew, stick, part, 100.0 * (double)s.n_hits / (double)(s.n_hits + s.n_misses),
                  100.0 * (double)plain.n_hits / (double)plain.now);
    assert_true(s.n_hits * 1000 >= plain.n_hits * 995);
    ds4_expert_cache_close(c);
}

static void test_evicts_no_worse_than_lru(void **state)
{
    (void)state;
    for (uint32_t part = 2; part <= 8; part *= 4) {
        compare_with_lru(0.0, 0.0, part, 20 + part);
        compare_with_lru(0.5, 0.5, part, 40 + part);
        compare_with_lru(1.0, 0.0, part, 60 + part);
        compare_with_lru(1.0, 1.5, part, 80 + part);
        compare_with_lru(0.2, 3.0, part, 90 + part);
    }
}

/* Chunks that need every expert of every layer, one after the other: the least recently used
 * would be the next one needed each time, and nothing would ever be found. */
static void test_sweeps_keep_a_part(void **state)
{
    ds4_expert_layer      same[N_LAYERS];
    const ds4_expert_file file = { .paths = paths, .n_files = 1, .n_layers = N_LAYERS, .n_experts = N_EXPERTS,
                                   .n_used = N_USED, .layer = same };
    ds4_expert_cache     *c = NULL;
    ds4_expert_ready      ready[N_EXPERTS];
    uint32_t              count[N_EXPERTS], n;
    ds4_expert_stats      before, after;
    ds4_err               err = { 0 };

    (void)state;
    for (int l = 0; l < N_LAYERS; l++) same[l] = layers[0];
    for (int e = 0; e < N_EXPERTS; e++) count[e] = 100;
    const uint64_t entry_bytes = ds4_expert_cache_least(&file) / N_USED;
    const uint64_t half = N_LAYERS * N_EXPERTS / 2 * entry_bytes;
    assert_int_equal(ds4_expert_cache_open(&c, &file, half, NULL, &err), DS4_OK);
    for (uint32_t i = 0; i < 5 * N_LAYERS; i++) {
        if (i == 2 * N_LAYERS) ds4_expert_cache_get_stats(c, &before);
        ds4_expert_cache_prefetch(c, i % N_LAYERS, count);
        ds4_expert_cache_begin(c, i % N_LAYERS, count, 1000);
        do {
            assert_int_equal(ds4_expert_cache_next(c, ready, &n, &err), DS4_OK);
        } while (n > 0);
        ds4_expert_cache_end(c);
    }
    ds4_expert_cache_get_stats(c, &after);
    const uint64_t needed = 3 * N_LAYERS * N_EXPERTS, hits = after.n_hits - before.n_hits;
    print_message("# %.1f %% hits with half of the experts\n", 100.0 * (double)hits / (double)needed);
    assert_true(hits * 100 >= needed * 35);
    ds4_expert_cache_close(c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_never_wrong_bytes),
    cmocka_unit_test(test_full_size_reads_each_expert_once),
    cmocka_unit_test(test_too_small_is_refused_with_the_number),
    cmocka_unit_test(test_any_read_may_fail),
    cmocka_unit_test(test_truncated_file_is_an_error),
    cmocka_unit_test(test_evicts_no_worse_than_lru),
    cmocka_unit_test(test_sweeps_keep_a_part),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, write_file, remove_file);
}
