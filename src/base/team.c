/* team.c - see team.h.
 *
 * Runs are numbered, and a share is taken by raising its own number from the last run to
 * this one. That fails if the run has changed meanwhile, so a thread that wakes late can
 * never do a share of a run with the function of another. A thread tries its own share
 * first: what it works on then is in its cache from the last time. */
#include "base/team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_MEMBERS = 256, SPINS = 4000 };

typedef struct member {
    ds4_team *team;
    uint32_t  index;
    pthread_t thread;
} member;

struct ds4_team {
    uint32_t         n_members;
    uint32_t         n_started;         /* threads to join */
    atomic_uint      run;
    atomic_uint      n_done;            /* shares of this run that are finished */
    _Atomic(ds4_team_fn *) fn;          /* NULL ends the threads */
    _Atomic(void *)  ctx;
    _Atomic(ds4_team_idle_fn *) idle_fn;    /* NULL: nothing to do while waiting */
    void            *idle_ctx;          /* written before idle_fn, once */
    atomic_uint      n_asleep;
    pthread_mutex_t  lock;
    pthread_cond_t   wake;
    atomic_uint     *taken;             /* [n_members] the last run whose share was taken */
    member           members[];         /* [n_members], the owner first */
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take and do shares until none is left. Returns false when the team is to end. */
static bool do_shares(ds4_team *team, uint32_t first)
{
    const unsigned run = atomic_load_explicit(&team->run, memory_order_acquire);
    /* Valid if a share is taken below: until every share is done, the run stays. */
    ds4_team_fn   *fn = atomic_load_explicit(&team->fn, memory_order_relaxed);
    void          *ctx = atomic_load_explicit(&team->ctx, memory_order_relaxed);

    if (!fn) return false;
    for (uint32_t i = 0; i < team->n_members; i++) {
        const uint32_t share = (first + i) % team->n_members;
        unsigned       before = run - 1;
        if (atomic_load_explicit(&team->taken[share], memory_order_relaxed) != before) continue;
        if (!atomic_compare_exchange_strong_explicit(&team->taken[share], &before, run, memory_order_acq_rel,
                                                     memory_order_relaxed)) {
            continue;
        }
        fn(ctx, share, team->n_members);
        atomic_fetch_add_explicit(&team->n_done, 1, memory_order_release);
    }
    return true;
}

/* A moment of waiting. */
static void idle(const ds4_team *team, uint32_t index)
{
    ds4_team_idle_fn *fn = atomic_load_explicit(&team->idle_fn, memory_order_acquire);
    if (!fn || !fn(team->idle_ctx, index)) relax();
}

static void wait_for_run(ds4_team *team, uint32_t index, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&team->run, memory_order_acquire) != seen) return;
        idle(team, index);
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->n_asleep, 1);
    while (atomic_load(&team->run) == seen) pthread_cond_wait(&team->wake, &team->lock);
    atomic_fetch_sub(&team->n_asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *arg)
{
    const member *me = arg;
    unsigned      seen = 0;

    do {
        wait_for_run(me->team, me->index, seen);
        seen = atomic_load(&me->team->run);
    } while (do_shares(me->team, me->index));
    return NULL;
}

static void start_run(ds4_team *team, ds4_team_fn *fn, void *ctx)
{
    const unsigned run = atomic_load_explicit(&team->run, memory_order_relaxed) + 1;

    atomic_store_explicit(&team->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&team->ctx, ctx, memory_order_relaxed);
    atomic_store_explicit(&team->n_done, 0, memory_order_relaxed);
    atomic_store(&team->run, run);
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
    ds4_team *team = calloc(1, sizeof *team + n_members * sizeof team->members[0]);
    if (!team) return ds4_fail(err, DS4_E_NOMEM, "no memory for a team of %u threads", n_members);

    team->n_members = n_members;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    team->taken = calloc(n_members, sizeof *team->taken);
    if (!team->taken) {
        ds4_team_free(team);
        return ds4_fail(err, DS4_E_NOMEM, "no memory for a team of %u threads", n_members);
    }
    for (uint32_t i = 1; i < n_members; i++) {
        member *m = &team->members[i];
        *m = (member){ .team = team, .index = i };
        if (pthread_create(&m->thread, NULL, member_main, m) != 0) {
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
    for (uint32_t i = 1; i <= team->n_started; i++) pthread_join(team->members[i].thread, NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team->taken);
    free(team);
}

uint32_t ds4_team_size(const ds4_team *team)
{
    return team->n_members;
}

void ds4_team_set_idle(ds4_team *team, ds4_team_idle_fn *fn, void *ctx)
{
    team->idle_ctx = ctx;
    atomic_store_explicit(&team->idle_fn, fn, memory_order_release);
}

void ds4_team_run(ds4_team *team, ds4_team_fn *fn, void *ctx)
{
    if (team->n_members == 1) {
        fn(ctx, 0, 1);
        return;
    }
    start_run(team, fn, ctx);
    do_shares(team, 0);
    for (unsigned spins = 0; atomic_load_explicit(&team->n_done, memory_order_acquire) < team->n_members;) {
        if (++spins < SPINS) idle(team, 0);
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
