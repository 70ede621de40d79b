/* bench_probe.c - how fast this machine reads memory; see bench.h. */
#include "app/bench/bench.h"

#include "base/clock.h"
#include "base/sysmem.h"
#include "base/team.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Much larger than any cache; small machines get a quarter of what is free. Who is free takes the
 * next deal, reads at eight places of it by turns, and asks for what comes next. One place alone
 * keeps less under way, on some machines little more than half. Found by trial on 2 and on 16
 * cores, docs/SPEED.md: others are up to a fifth slower; pages in order, which are 4 % faster on 16
 * cores, are that much slower on 2. */
enum {
    PLACES = 8,
    SUMS = 4,
    AHEAD_BYTES = 1024,
    GRAIN_BYTES = PLACES * 64,      /* a wide register of each place */
    DEAL_BYTES = 1 << 18,
    MOST_BYTES = 1 << 30,
    LEAST_BYTES = 1 << 26,
    REST_NS = 5000000,              /* see rest() */
};

/* A wide register of integers, or several narrow ones where the machine has no such. */
typedef uint64_t wide __attribute__((vector_size(64)));

struct bench_probe {
    ds4_team *team;
    uint8_t  *data;
    uint64_t  n_bytes;              /* a multiple of GRAIN_BYTES */
    uint64_t  peak_before;          /* of the process, when there was no buffer */
    atomic_ullong next;             /* where the next deal begins */
    uint64_t  sum[256];             /* [n_members], so that no load can be left out */
};

/* `sum` continued over n_bytes. */
static void read_deal(wide sum[SUMS], const uint8_t *data, uint64_t n_bytes)
{
    const uint64_t apart = n_bytes / PLACES;

    for (uint64_t i = 0; i < apart; i += sizeof(wide)) {
        for (int k = 0; k < PLACES; k++) {
            const uint8_t *at = data + (uint64_t)k * apart + i;
            __builtin_prefetch(at + AHEAD_BYTES, 0, 2);
            sum[k % SUMS] += *(const wide *)(const void *)at;
        }
    }
}

/* As in the engine: with equal shares a round would take as long as the processor that others slow
 * down most. */
static void read_deals(void *ctx, uint32_t member, uint32_t n_members)
{
    bench_probe *p = ctx;
    wide         sum[SUMS] = { { 0 } };
    uint64_t     at;

    (void)n_members;
    while ((at = atomic_fetch_add(&p->next, DEAL_BYTES)) < p->n_bytes) {
        const uint64_t left = p->n_bytes - at;
        read_deal(sum, p->data + at, left < DEAL_BYTES ? left : DEAL_BYTES);
    }
    for (int k = 1; k < SUMS; k++) sum[0] += sum[k];
    for (int i = 0; i < 8; i++) p->sum[member] += sum[0][i];
}

static void touch_share(void *ctx, uint32_t member, uint32_t n_members)
{
    bench_probe *p = ctx;
    uint64_t     from, to;

    ds4_team_share(p->n_bytes, GRAIN_BYTES, member, n_members, &from, &to);
    memset(p->data + from, (int)member + 1, (size_t)(to - from));
}

/* The buffer stays while the engine works, so what the engine has planned and not yet taken
 * is not free. */
static uint64_t buffer_bytes(const ds4_plan *plan)
{
    const uint64_t free_bytes = ds4_sysmem_get().free_bytes, used = ds4_sysmem_used();
    const uint64_t coming = plan->total > used ? plan->total - used : 0;
    const uint64_t quarter = free_bytes > coming ? (free_bytes - coming) / 4 : 0;

    if (free_bytes == 0 || quarter > MOST_BYTES) return MOST_BYTES;
    return quarter < LEAST_BYTES ? LEAST_BYTES : quarter / GRAIN_BYTES * GRAIN_BYTES;
}

/* Members of a team that have nothing to do look for work some thousand times before they
 * sleep: 0.1 ms on an idle machine, 4 where others take the processors meanwhile. Two teams on
 * the same processors would disturb each other for that long. */
static void rest(void)
{
    const struct timespec t = { .tv_nsec = REST_NS };
    nanosleep(&t, NULL);
}

ds4_status bench_probe_open(bench_probe **out, ds4_engine *e, ds4_err *err)
{
    static const size_t alignment = 1 << 21;        /* so that large pages are possible */
    bench_probe        *p = calloc(1, sizeof *p);
    void               *data = NULL;
    ds4_status          st;

    if (!p) return ds4_fail(err, DS4_E_NOMEM, "no memory for the bandwidth probe");
    p->n_bytes = buffer_bytes(ds4_engine_plan(e));
    p->peak_before = ds4_sysmem_peak();
    if (posix_memalign(&data, alignment, (size_t)p->n_bytes) == 0) {
        p->data = data;
        st = ds4_team_create(&p->team, ds4_engine_threads(e), err);
    } else {
        st = ds4_fail(err, DS4_E_NOMEM, "no memory for the bandwidth probe of %llu bytes",
                      (unsigned long long)p->n_bytes);
    }
    if (st != DS4_OK) {
        bench_probe_close(p);
        return st;
    }
    ds4_team_run(p->team, touch_share, p);
    bench_probe_round(p);               /* the first is slower */
    *out = p;
    return DS4_OK;
}

void bench_probe_close(bench_probe *p)
{
    if (!p) return;
    ds4_team_free(p->team);
    free(p->data);
    free(p);
}

double bench_probe_round(bench_probe *p)
{
    rest();
    const uint64_t start_ns = ds4_now_ns();
    atomic_store(&p->next, 0);
    ds4_team_run(p->team, read_deals, p);
    const uint64_t ns = ds4_now_ns() - start_ns;
    rest();
    return (double)p->n_bytes / (double)(ns ? ns : 1);
}

uint64_t bench_probe_peak(const bench_probe *p)
{
    const uint64_t with = ds4_sysmem_peak();
    const uint64_t without = with > p->n_bytes ? with - p->n_bytes : 0;
    return without > p->peak_before ? without : p->peak_before;
}
