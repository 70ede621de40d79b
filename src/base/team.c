/* team.c - see team.h.
 *
 * One word holds the number of the run and the next share of it. A thread takes a share by
 * raising the word; that fails if the run has changed meanwhile, so a thread that wakes
 * late can never do a share of a run with the function of another. */
#include "base/team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_MEMBERS = 256, SPINS = 4000 };

struct ds4_team {
    uint32_t         n_members;
    uint32_t         n_started;         /* threads to join */
    _Atomic uint64_t next;              /* run << 32 | next share; all taken at n_members */
    atomic_uint      n_done;            /* shares of this run that are finished */
    _Atomic(ds4_team_fn *) fn;          /* NULL ends the threads */
    _Atomic(void *)  ctx;
    atomic_uint      n_asleep;
    pthread_mutex_t  lock;
    pthread_cond_t   wake;
    pthread_t        thread[];          /* [n_members - 1] */
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint32_t run_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t share_of(uint64_t word)
{
    return (uint32_t)word;
}

/* Take and do shares until none is left. Returns false when the team is to end. */
static bool do_shares(ds4_team *team)
{
    uint64_t word = atomic_load_explicit(&team->next, memory_order_acquire);

    while (share_of(word) < team->n_members) {
        /* Valid if the exchange succeeds: until every share is done, the run stays. */
        ds4_team_fn *fn = atomic_load_explicit(&team->fn, memory_order_relaxed);
        void        *ctx = atomic_load_explicit(&team->ctx, memory_order_relaxed);
        if (!fn) return false;
        if (!atomic_compare_exchange_weak_explicit(&team->next, &word, word + 1, memory_order_acq_rel,
                                                   memory_order_acquire)) {
            continue;
        }
        fn(ctx, share_of(word), team->n_members);
        atomic_fetch_add_explicit(&team->n_done, 1, memory_order_release);
        word = atomic_load_explicit(&team->next, memory_order_acquire);
    }
    return true;
}

static void wait_for_run(ds4_team *team, uint32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (run_of(atomic_load_explicit(&team->next, memory_order_acquire)) != seen) return;
        relax();
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->n_asleep, 1);
    while (run_of(atomic_load(&team->next)) == seen) pthread_cond_wait(&team->wake, &team->lock);
    atomic_fetch_sub(&team->n_asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *arg)
{
    ds4_team *team = arg;
    uint32_t  seen = 0;

    do {
        wait_for_run(team, seen);
        seen = run_of(atomic_load(&team->next));
    } while (do_shares(team));
    return NULL;
}

static void start_run(ds4_team *team, ds4_team_fn *fn, void *ctx)
{
    const uint64_t run = run_of(atomic_load_explicit(&team->next, memory_order_relaxed)) + 1u;

    atomic_store_explicit(&team->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&team->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&team->n_done, 0, memory_order_relaxed);
    atomic_store(&team->next, run << 32);
    /* A member that is about to sleep holds the lock from counting itself to waiting, and
     * looks at the run in between: taking the lock here means it either saw the new run or
     * is really waiting. Both operations are sequentially consistent, so one side sees
     * the other. */
    if (atomic_load(&team->n_asleep) > 0) {
        pthread_mutex_lock(&team->lock);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->lock);
    }
}

ds4_status ds4_team_create(ds4_team **out, uint32_t n_members, ds4_err *err)
{
    if (n_members < 1 || n_members > MAX_MEMBERS) {
        return ds4_fail(err, DS4_E_ARG, "a team of %u threads, expected 1..%d", n_members, MAX_MEMBERS);
    }
    ds4_team *team = calloc(1, sizeof *team + n_members * sizeof team->thread[0]);
    if (!team) return ds4_fail(err, DS4_E_NOMEM, "no memory for a team of %u threads", n_members);

    team->n_members = n_members;
    atomic_store(&team->next, (uint64_t)n_members);     /* run 0: nothing to take */
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (uint32_t i = 1; i < n_members; i++) {
        if (pthread_create(&team->thread[i - 1], NULL, member_main, team) != 0) {
            ds4_team_free(team);
            return ds4_fail(err, DS4_E_NOMEM, "cannot start thread %u of %u", i + 1, n_members);
        }
        team->n_started = i;
    }
    *out = team;
    return DS4_OK;
}

void ds4_team_free(ds4_team *team)
{
    if (!team) return;
    if (team->n_started > 0) start_run(team, NULL, NULL);
    for (uint32_t i = 0; i < team->n_started; i++) pthread_join(team->thread[i], NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

uint32_t ds4_team_size(const ds4_team *team)
{
    return team->n_members;
}

void ds4_team_run(ds4_team *team, ds4_team_fn *fn, void *ctx)
{
    if (team->n_members == 1) {
        fn(ctx, 0, 1);
        return;
    }
    start_run(team, fn, ctx);
    do_shares(team);
    for (unsigned spins = 0; atomic_load_explicit(&team->n_done, memory_order_acquire) < team->n_members;) {
        if (++spins < SPINS) relax();
        else sched_yield();             /* whoever does the last share may need this processor */
    }
}

void ds4_team_share(uint64_t n, uint64_t grain, uint32_t share, uint32_t n_shares, uint64_t *from,
                    uint64_t *to)
{
    const uint64_t n_grains = (n + grain - 1) / grain;
    const uint64_t first = n_grains * share / n_shares * grain;
    const uint64_t last = n_grains * (share + 1) / n_shares * grain;

    *from = first < n ? first : n;
    *to = last < n ? last : n;
}

uint32_t ds4_cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        const int n = CPU_COUNT(&set);
        if (n > 0) return (uint32_t)n;
    }
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}
