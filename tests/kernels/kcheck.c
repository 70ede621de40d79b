/* kcheck.c - see kcheck.h. */
#include "kcheck.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if defined(__aarch64__) && defined(__linux__)
enum { SLOW = 1 };              /* most likely an emulator */
#else
enum { SLOW = SANITIZED };
#endif

enum { N_MAPS = 40, CANARY = 0xA5, CANARY_BYTES = 256 };

typedef struct guarded {
    uint8_t *base;              /* body_bytes of memory between two unreadable pages */
    size_t   body_bytes;
    uint8_t *user;
    size_t   user_bytes;
} guarded;

static struct {
    uint64_t   rng;
    bool       bench;
    const char *slot, *set;             /* only these are tried; NULL: all */
    unsigned   n_lines, n_failed, n_used;
    guarded    map[N_MAPS];
    sigjmp_buf leave;
    volatile sig_atomic_t armed;
    char       message[400];
} kc;

static const struct { const char *name; unsigned features; } isas[] = {
    { "avx2", DS4_CPU_AVX2 },
    { "avx512", DS4_CPU_AVX2 | DS4_CPU_AVX512 },
    { "vbmi", DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI },
    { "amx", DS4_CPU_AVX2 | DS4_CPU_AVX512 | DS4_CPU_VBMI | DS4_CPU_AMX },
    { "neon", DS4_CPU_NEON },
};
enum { N_ISAS = sizeof isas / sizeof *isas };

static void on_fault(int signo)
{
    if (!kc.armed) {                    /* not a kernel: crash the ordinary way */
        signal(signo, SIG_DFL);
        return;
    }
    snprintf(kc.message, sizeof kc.message, "signal %d, most likely an access past a buffer",
             signo);
    siglongjmp(kc.leave, 1);
}

static bool have(unsigned i)
{
    return (ds4_cpu_features() & isas[i].features) == isas[i].features;
}

void kcheck_begin(int argc, char **argv, unsigned n_slots)
{
    unsigned n_isas = 0;

    kc.rng = (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) kc.bench = true;
        else if (strncmp(argv[i], "--slot=", 7) == 0 && argv[i][7]) kc.slot = argv[i] + 7;
        else if (strncmp(argv[i], "--set=", 6) == 0 && argv[i][6]) kc.set = argv[i] + 6;
        else if (argv[i][0] != '-') kc.rng = strtoull(argv[i], NULL, 0);
    }
    if (kc.rng == 0) kc.rng = 1;
    for (unsigned i = 0; i < N_ISAS; i++) n_isas += have(i);
    if (!kc.slot && !kc.set)
        printf("1..%u%s\n", n_isas * n_slots, n_isas ? "" : " # SKIP no vector instructions here");
    printf("# seed %llu\n", (unsigned long long)kc.rng);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    signal(SIGILL, on_fault);
}

int kcheck_end(void)
{
    const bool filtered = kc.slot || kc.set;

    if (filtered) printf("1..%u%s\n", kc.n_lines, kc.n_lines ? "" : " # SKIP nothing of that name here");
    return kc.n_failed != 0;
}

bool kcheck_bench(void)
{
    return kc.bench;
}

int kcheck_rounds(int n)
{
    return SLOW ? (n + 7) / 8 : n;
}

uint32_t kcheck_rand(void)
{
    kc.rng ^= kc.rng << 13;
    kc.rng ^= kc.rng >> 7;
    kc.rng ^= kc.rng << 17;
    return (uint32_t)(kc.rng >> 16);
}

uint32_t kcheck_below(uint32_t n)
{
    return (uint32_t)((uint64_t)kcheck_rand() * n >> 32);
}

float kcheck_float(kcheck_fill fill)
{
    double sum = 0.0;
    if (fill == KCHECK_ZERO) return 0.0f;
    if (fill == KCHECK_EXTREME) return kcheck_rand() & 1 ? 1.0f : -1.0f;
    for (int i = 0; i < 4; i++) sum += (double)kcheck_rand() * 0x1p-32 - 0.5;
    return (float)(sum * 1.75);
}

/* ---- memory --------------------------------------------------------------------------- */

static void map_guarded(guarded *g, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t body = (bytes + 2 * CANARY_BYTES + page - 1) / page * page;
    const int    flags = MAP_PRIVATE | MAP_ANONYMOUS;

    uint8_t *base = mmap(NULL, body + 2 * page, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED || mprotect(base, page, PROT_NONE) != 0 ||
        mprotect(base + page + body, page, PROT_NONE) != 0) {
        perror("kcheck: mmap");
        abort();
    }
    g->base = base + page;
    g->body_bytes = body;
}

static void unmap_guarded(guarded *g)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (g->base) munmap(g->base - page, g->body_bytes + 2 * page);
    g->base = NULL;
}

void *kcheck_alloc(size_t bytes)
{
    if (kc.n_used == N_MAPS) abort();
    guarded *g = &kc.map[kc.n_used++];
    if (!g->base || g->body_bytes < bytes + 2 * CANARY_BYTES) {
        unmap_guarded(g);
        map_guarded(g, bytes);
    }
    const bool at_end = kcheck_rand() % 4 != 0;
    g->user = at_end ? g->base + g->body_bytes - bytes : g->base;
    g->user_bytes = bytes;
    memset(at_end ? g->user - CANARY_BYTES : g->user + bytes, CANARY, CANARY_BYTES);
    return g->user;
}

void *kcheck_copy(const void *from, size_t bytes)
{
    return memcpy(kcheck_alloc(bytes), from, bytes);
}

void kcheck_intact(void)
{
    for (unsigned i = 0; i < kc.n_used; i++) {
        const guarded *g = &kc.map[i];
        const bool     at_front = g->user == g->base;
        const uint8_t *p = at_front ? g->user + g->user_bytes : g->user - CANARY_BYTES;
        for (int j = 0; j < CANARY_BYTES; j++)
            if (p[j] != CANARY)
                kcheck_fail("wrote %s its buffer of %zu bytes", at_front ? "behind" : "before",
                            g->user_bytes);
    }
}

void kcheck_free_all(void)
{
    kc.n_used = 0;
}

/* ---- comparing ------------------------------------------------------------------------ */

void kcheck_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(kc.message, sizeof kc.message, fmt, args);
    va_end(args);
    siglongjmp(kc.leave, 1);
}

void kcheck_near_at(double got, double want, double bound, const char *what, ...)
{
    char    text[160];
    va_list args;

    if (fabs(got - want) <= bound || (isnan(got) && isnan(want))) return;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    kcheck_fail("%s: got %.9g, want %.9g, off by %.3g, bound %.3g", text, got, want,
                fabs(got - want), bound);
}

void kcheck_same_floats(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            kcheck_fail("%s: value %zu of %zu: got %.9g, want %.9g bit for bit", what, i, n,
                        (double)got[i], (double)want[i]);
}

void kcheck_same_bytes(const void *got, const void *want, size_t bytes, const char *what)
{
    const uint8_t *a = got, *b = want;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i])
            kcheck_fail("%s: byte %zu of %zu: got %u, want %u", what, i, bytes, a[i], b[i]);
}

static bool run_body(const kcheck *c, kcheck_body *body)
{
    if (sigsetjmp(kc.leave, 1) == 0) {
        kc.armed = 1;
        body(c);
        kc.armed = 0;
        kcheck_free_all();
        return true;
    }
    kc.armed = 0;
    kcheck_free_all();
    return false;
}

void kcheck_slot(const char *slot, size_t offset, uint32_t arg, kcheck_body *body,
                 kcheck_body *time)
{
    ds4_kernels ref, fast;

    if (kc.slot && !strcasestr(slot, kc.slot)) return;
    ds4_kernels_init(&ref, 0);
    for (unsigned i = 0; i < N_ISAS; i++) {
        if (!have(i) || (kc.set && strcmp(kc.set, isas[i].name) != 0)) continue;
        ds4_kernels_init(&fast, isas[i].features);
        kcheck c = { .ref = &ref, .fast = &fast, .isa = isas[i].name, .slot = slot, .arg = arg };
        const bool same = memcmp((const char *)&ref + offset, (const char *)&fast + offset,
                                 sizeof(void (*)(void))) == 0;
        const bool good = run_body(&c, body);
        printf("%sok %u - %s %s vs ref%s\n", good ? "" : "not ", ++kc.n_lines, slot, c.isa,
               same && good ? " # SKIP left to the reference" : "");
        if (!good) {
            printf("# %s\n", kc.message);
            kc.n_failed++;
        } else if (time && !same && !SLOW) {
            time(&c);
            kcheck_free_all();
        }
        fflush(stdout);
    }
}

/* ---- timing --------------------------------------------------------------------------- */

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double kcheck_time_ns(void (*call)(void *ctx, const ds4_kernels *k), void *ctx,
                      const ds4_kernels *k)
{
    const double budget_ns = kc.bench ? 3e7 : 3e5;
    double       best = INFINITY;
    int          n_calls = 1;

    call(ctx, k);                           /* warms the caches */
    for (int round = 0; round < 7; round++) {
        const double start = now_ns();
        for (int i = 0; i < n_calls; i++) call(ctx, k);
        const double ns = (now_ns() - start) / n_calls;
        best = fmin(best, ns);
        n_calls = (int)fmax(1.0, fmin(1e6, budget_ns / 7.0 / ns));
    }
    return best;
}

void kcheck_report(const kcheck *c, const char *size, double bytes,
                   void (*call)(void *ctx, const ds4_kernels *k), void *ctx)
{
    const double ref_ns = kcheck_time_ns(call, ctx, c->ref);
    const double fast_ns = kcheck_time_ns(call, ctx, c->fast);
    printf("# %s %s [%s]: ref %.0f ns, fast %.0f ns, %.1fx, %.1f GB/s\n", c->slot, c->isa, size,
           ref_ns, fast_ns, ref_ns / fast_ns, bytes / fast_ns);
}
