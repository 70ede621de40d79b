/* bench_probe.c - how fast this machine reads memory; see bench.h. */
#include "app/bench/bench.h"

#include "base/clock.h"
#include "base/sysmem.h"
#include "base/team.h"

#include <stdlib.h>
#include <string.h>

/* Much larger than any cache; small machines get a quarter of what is free. Each member reads at
 * four places by turns, and asks for what comes next: one place alone keeps less under way, and
 * on some machines reads at little more than half the speed. */
enum {
    N_ROUNDS = 7,
    PLACES = 4,
    AHEAD_BYTES = 2048,
    GRAIN_BYTES = PLACES * 64,      /* a wide register of each place */
    MOST_BYTES = 1 << 30,
    LEAST_BYTES = 1 << 26,
};

/* A wide register of integers, or several narrow ones where the machine has no such. */
typedef uint64_t wide __attribute__((vector_size(64)));

typedef struct probe {
    const uint8_t *data;
    uint64_t       n_bytes;         /* a multiple of grain_bytes */
    uint64_t       sum[256];        /* [n_members], so that no load can be left out */
} probe;

static void read_share(void *ctx, uint32_t member, uint32_t n_members)
{
    probe   *p = ctx;
    wide     sum[PLACES] = { { 0 } };
    uint64_t from, to;

    ds4_team_share(p->n_bytes, GRAIN_BYTES, member, n_members, &from, &to);
    const uint64_t apart = (to - from) / PLACES;
    for (uint64_t i = 0; i < apart; i += sizeof(wide)) {
        for (int k = 0; k < PLACES; k++) {
            const uint8_t *at = p->data + from + (uint64_t)k * apart + i;
            __builtin_prefetch(at + AHEAD_BYTES, 0, 2);
            sum[k] += *(const wide *)(const void *)at;
        }
    }
    for (int k = 1; k < PLACES; k++) sum[0] += sum[k];
    for (int i = 0; i < 8; i++) p->sum[member] += sum[0][i];
}

static void touch_share(void *ctx, uint32_t member, uint32_t n_members)
{
    probe   *p = ctx;
    uint64_t from, to;

    ds4_team_share(p->n_bytes, GRAIN_BYTES, member, n_members, &from, &to);
    memset((uint8_t *)(uintptr_t)p->data + from, (int)member + 1, (size_t)(to - from));
}

static uint64_t probe_bytes(void)
{
    const uint64_t quarter = ds4_sysmem_get().free_bytes / 4;

    if (quarter == 0 || quarter > MOST_BYTES) return MOST_BYTES;
    return quarter < LEAST_BYTES ? LEAST_BYTES : quarter / GRAIN_BYTES * GRAIN_BYTES;
}

ds4_status bench_probe(uint32_t n_threads, double *gbps, ds4_err *err)
{
    static const size_t alignment = 1 << 21;        /* so that large pages are possible */
    probe               p = { .n_bytes = probe_bytes() };
    ds4_team           *team = NULL;
    void               *data = NULL;
    uint64_t            best_ns = UINT64_MAX;

    if (posix_memalign(&data, alignment, (size_t)p.n_bytes) != 0) {
        return ds4_fail(err, DS4_E_NOMEM, "no memory for the bandwidth probe of %llu bytes",
                        (unsigned long long)p.n_bytes);
    }
    const ds4_status st = ds4_team_create(&team, n_threads, err);
    if (st == DS4_OK) {
        p.data = data;
        ds4_team_run(team, touch_share, &p);
        for (int i = 0; i < N_ROUNDS; i++) {
            const uint64_t start_ns = ds4_now_ns();
            ds4_team_run(team, read_share, &p);
            const uint64_t ns = ds4_now_ns() - start_ns;
            if (ns < best_ns) best_ns = ns;
        }
        *gbps = (double)p.n_bytes / (double)(best_ns ? best_ns : 1);
    }
    ds4_team_free(team);
    free(data);
    return st;
}
