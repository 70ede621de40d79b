/* stream_bench.c - speed of streamed experts beside what the disk allows at the same time.
 *
 *   make && cc -std=c11 -O2 -D_GNU_SOURCE -Iinclude -Isrc lab/stream_bench.c build/libds4.a \
 *      -luring -lm -lpthread -o build/stream_bench
 *   build/stream_bench FILE CACHE_MB [PREFILL [ROUNDS [WARMUP [SESSIONS]]]]
 *
 * Prefills random tokens, decodes WARMUP random tokens that do not count, then ROUNDS times:
 * reads random experts for half a second, decodes 8 tokens for each of SESSIONS, one for each
 * in a step. A disk that others use too changes from second to second, so each round is
 * compared with its own measurement. Experts
 * that are read again may come from a cache of the host, faster than random reads; so the
 * rate while the disk was busy decoding is a second, stricter measure. Time in which nothing
 * waits for the disk is time of the cores. At the end one token is repeated until nearly all
 * experts are in memory: what computing alone takes. CACHE_MB 0: resident. */
#include "base/aio.h"
#include "base/clock.h"
#include "ds4.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TOKENS = 8, N_READS = 48, MAX_ROUNDS = 200, MAX_SESSIONS = 16 };

static uint64_t seed = 88172645463325252u;
static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void must(ds4_status st, const ds4_err *err)
{
    if (st == DS4_OK) return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

/* The size of a third of an expert, in whole pages. */
static uint64_t part_bytes(ds4_engine *e)
{
    ds4_expert_stats s;

    ds4_engine_expert_stats(e, &s);
    return s.n_slots ? s.cache_bytes / s.n_slots / 3 / DS4_AIO_ALIGN * DS4_AIO_ALIGN : 0;
}

/* GB/s of random reads of `part` bytes, all in flight at once. */
static double probe_disk(const char *path, uint64_t part, double seconds)
{
    static ds4_aio_read reads[N_READS];
    static uint8_t     *buffer;
    ds4_aio            *aio;
    ds4_err             err;
    struct stat         info;
    uint64_t            seen = 0, n_bytes = 0;

    if (!buffer) buffer = aligned_alloc(DS4_AIO_ALIGN, (size_t)N_READS * part);
    if (!buffer || stat(path, &info) != 0) exit(1);
    must(ds4_aio_open(&aio, &path, 1, NULL, &err), &err);
    const uint64_t n_places = ((uint64_t)info.st_size - part) / DS4_AIO_ALIGN;
    const uint64_t start = ds4_now_ns(), end = start + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < N_READS; i++) reads[i] = (ds4_aio_read){ .state = DS4_AIO_IDLE };
    while (ds4_now_ns() < end) {
        for (int i = 0; i < N_READS; i++) {
            const ds4_aio_state state = ds4_aio_state_of(aio, &reads[i]);
            if (state == DS4_AIO_QUEUED) continue;
            if (state == DS4_AIO_DONE) n_bytes += part;
            reads[i].offset = next_random() % n_places * DS4_AIO_ALIGN;
            reads[i].n_bytes = part;
            reads[i].buffer = buffer + (size_t)i * part;
            ds4_aio_submit(aio, &reads[i], true);
        }
        seen = ds4_aio_wait(aio, seen);
    }
    const double took = (double)(ds4_now_ns() - start) / 1e9;
    ds4_aio_close(aio);
    return (double)n_bytes / took / 1e9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, uint32_t n)
{
    qsort(x, n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static void report(const char *what, uint32_t n, double seconds, const ds4_expert_stats *a,
                   const ds4_expert_stats *b)
{
    const double needed = (double)(b->bytes_needed - a->bytes_needed);
    const double read = (double)(b->bytes_read - a->bytes_read);
    const double hits = (double)(b->n_hits - a->n_hits), all = hits
                      + (double)(b->n_prefetched - a->n_prefetched + b->n_misses - a->n_misses);

    printf("%s: %u tokens, %.2f tokens/s; hits %.1f %%, read ahead %.1f %%, missed %.1f %%, wrong"
           " guesses %.1f %%; a token: %.1f MB needed, %.1f MB read; disk busy %.1f %%, waited"
           " %.1f %%\n",
           what, n, n / seconds, 100 * hits / all,
           100 * (double)(b->n_prefetched - a->n_prefetched) / all,
           100 * (double)(b->n_misses - a->n_misses) / all,
           100 * (double)(b->n_wasted - a->n_wasted) / all, needed / n / 1e6, read / n / 1e6,
           (double)(b->busy_ns - a->busy_ns) / seconds / 1e7,
           (double)(b->wait_ns - a->wait_ns) / seconds / 1e7);
    fflush(stdout);
}

/* Milliseconds of a token, and what bounds them. */
typedef struct token_time {
    double all[MAX_ROUNDS];             /* as it was */
    double random[MAX_ROUNDS];          /* its missing bytes at the rate of random reads beside it */
    double busy[MAX_ROUNDS];            /* and at the disk's rate while decoding kept it busy */
    double cores[MAX_ROUNDS];           /* without waiting */
    double share[3][MAX_ROUNDS];        /* of `all`: random, busy, the larger of busy and cores */
} token_time;

static void note(token_time *t, uint32_t r, uint32_t n_tokens, double seconds, double disk_gbs,
                 const ds4_expert_stats *a, const ds4_expert_stats *z)
{
    const double needed = (double)(z->bytes_needed - a->bytes_needed) / n_tokens;
    const double read = (double)(z->bytes_read - a->bytes_read), busy_ns = (double)(z->busy_ns - a->busy_ns);

    t->all[r] = seconds * 1e3 / n_tokens;
    t->random[r] = needed / (disk_gbs + 1e-9) / 1e6;
    t->busy[r] = read > 0 ? needed / (read / busy_ns) / 1e6 : 0.0;
    t->cores[r] = t->all[r] - (double)(z->wait_ns - a->wait_ns) / 1e6 / n_tokens;
    t->share[0][r] = t->random[r] / t->all[r];
    t->share[1][r] = t->busy[r] / t->all[r];
    t->share[2][r] = (t->busy[r] > t->cores[r] ? t->busy[r] : t->cores[r]) / t->all[r];
}

typedef struct bench {
    ds4_engine  *e;
    ds4_session *s[MAX_SESSIONS];
    uint32_t     n_sessions;
    float       *logits;                /* [n_sessions][n_vocab] */
    uint32_t     n_vocab;
} bench;

/* n tokens for each session; token < 0: random ones. Returns seconds. */
static double decode(bench *b, uint32_t n, int32_t token)
{
    const uint64_t start = ds4_now_ns();
    int32_t        tokens[MAX_SESSIONS];
    ds4_work       work[MAX_SESSIONS];
    ds4_err        err;

    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t s = 0; s < b->n_sessions; s++) {
            tokens[s] = token < 0 ? (int32_t)(next_random() % b->n_vocab) : token;
            work[s] = (ds4_work){ .session = b->s[s], .tokens = &tokens[s], .n_tokens = 1,
                                  .logits = b->logits + (size_t)s * b->n_vocab };
        }
        must(ds4_engine_step(b->e, work, b->n_sessions, &err), &err);
    }
    return (double)(ds4_now_ns() - start) / 1e9;
}

static void prefill(bench *b, uint32_t n)
{
    int32_t          *tokens = malloc(n * sizeof *tokens);
    ds4_expert_stats  before = { 0 }, after = { 0 };
    ds4_err           err;
    const ds4_prefill p = { .tokens = tokens, .n_tokens = n, .logits = b->logits };

    for (uint32_t i = 0; i < n; i++) tokens[i] = (int32_t)(next_random() % b->n_vocab);
    ds4_engine_expert_stats(b->e, &before);
    const uint64_t start = ds4_now_ns();
    must(ds4_session_prefill(b->s[0], &p, &err), &err);
    ds4_engine_expert_stats(b->e, &after);
    report("prefill", n, (double)(ds4_now_ns() - start) / 1e9, &before, &after);
    free(tokens);
}

static void open_engine(bench *b, const char *path, uint64_t cache_bytes)
{
    ds4_engine_options opt = { .model_path = path, .n_threads = 2, .max_batch = 256,
                               .mem_bytes = 100ull << 30, .expert_cache_bytes = cache_bytes };
    ds4_err            err;

    opt.experts = cache_bytes ? DS4_EXPERTS_STREAM : DS4_EXPERTS_RESIDENT;
    must(ds4_engine_open(&b->e, &opt, &err), &err);
    for (uint32_t s = 0; s < b->n_sessions; s++)
        must(ds4_session_create(b->e, 4096, &b->s[s], &err), &err);
    b->n_vocab = ds4_engine_info(b->e)->n_vocab;
    b->logits = malloc((size_t)b->n_sessions * b->n_vocab * sizeof *b->logits);
    if (!b->logits) exit(1);
}

static void print_bounds(token_time *t, double *disk, uint32_t n_rounds)
{
    printf("medians of %u rounds: %.2f tokens/s, %.1f ms; random reads %.2f GB/s; what is missing takes"
           " %.1f ms at that rate (%.0f %%), %.1f ms at the rate while busy (%.0f %%), the cores"
           " %.1f ms; the larger of the last two is %.0f %%\n",
           n_rounds, 1e3 / median(t->all, n_rounds), median(t->all, n_rounds),
           median(disk, n_rounds), median(t->random, n_rounds), 100 * median(t->share[0], n_rounds),
           median(t->busy, n_rounds), 100 * median(t->share[1], n_rounds),
           median(t->cores, n_rounds), 100 * median(t->share[2], n_rounds));
}

int main(int argc, char **argv)
{
    const uint64_t cache_bytes = argc > 2 ? strtoull(argv[2], NULL, 10) * 1000000 : 0;
    const uint32_t n_prefill = argc > 3 ? (uint32_t)atoi(argv[3]) : 32;
    const uint32_t n_rounds = argc > 4 ? (uint32_t)atoi(argv[4]) : 8;
    const uint32_t n_warmup = argc > 5 ? (uint32_t)atoi(argv[5]) : 32;
    ds4_expert_stats   first = { 0 }, a = { 0 }, z = { 0 };
    static double      disk[MAX_ROUNDS];
    static token_time  t;
    double             total = 0.0;
    bench              b = { .n_sessions = argc > 6 ? (uint32_t)atoi(argv[6]) : 1 };

    if (argc < 3 || n_rounds < 1 || n_rounds > MAX_ROUNDS) return 2;
    if (b.n_sessions < 1 || b.n_sessions > MAX_SESSIONS) return 2;
    const uint64_t start = ds4_now_ns();
    open_engine(&b, argv[1], cache_bytes);
    const double opened = (double)(ds4_now_ns() - start) / 1e9;

    if (n_prefill) prefill(&b, n_prefill);
    decode(&b, n_warmup, -1);
    ds4_engine_expert_stats(b.e, &first);
    for (uint32_t r = 0; r < n_rounds; r++) {
        disk[r] = cache_bytes ? probe_disk(argv[1], part_bytes(b.e), 0.5) : 0.0;
        ds4_engine_expert_stats(b.e, &a);
        const double seconds = decode(&b, TOKENS, -1);
        ds4_engine_expert_stats(b.e, &z);
        total += seconds;
        note(&t, r, TOKENS * b.n_sessions, seconds, disk[r], &a, &z);
    }
    report("decode", n_rounds * TOKENS * b.n_sessions, total, &first, &z);
    if (n_prefill) prefill(&b, n_prefill);
    decode(&b, 12, 7);
    ds4_engine_expert_stats(b.e, &a);
    const double alone = decode(&b, 12, 7);
    ds4_expert_stats end = { 0 };
    ds4_engine_expert_stats(b.e, &end);
    report("one token repeated", 12 * b.n_sessions, alone, &a, &end);
    printf("%u sessions, cache %.2f GB, %u of %u experts, opened in %.1f s\n", b.n_sessions,
           (double)z.cache_bytes / 1e9, z.n_slots, z.n_experts, opened);
    print_bounds(&t, disk, n_rounds);
    for (uint32_t s = 0; s < b.n_sessions; s++) ds4_session_free(b.s[s]);
    ds4_engine_close(b.e);
    free(b.logits);
    return 0;
}
