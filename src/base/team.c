/* team.c - see team.h. */

#include "base/team.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_MEMBERS = 256, SPINS = 4000 };

typedef struct member {
    ds4_team *team;
    pthread_t thread;
    uint32_t  index;
} member;

struct ds4_team {
    uint32_t        n_members;
    uint32_t        n_started;          /* threads to join */
    ds4_team_fn    *fn;                 /* NULL ends the threads */
    void           *ctx;
    atomic_uint     turn;               /* counts runs; a change is the starting shot */
    atomic_uint     n_busy;             /* members that have not finished this run */
    atomic_uint     n_asleep;
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    member          members[];          /* [n_members]; member 0 is the caller */
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_turn(ds4_team *team, unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&team->turn, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&team->lock);
    atomic_fetch_add(&team->n_asleep, 1);
    while (atomic_load(&team->turn) == seen) pthread_cond_wait(&team->wake, &team->lock);
    atomic_fetch_sub(&team->n_asleep, 1);
    pthread_mutex_unlock(&team->lock);
}

static void *member_main(void *arg)
{
    const member *m = arg;
    ds4_team     *team = m->team;
    unsigned      seen = 0;

    for (;;) {
        wait_for_turn(team, seen);
        seen++;
        if (!team->fn) return NULL;
        team->fn(team->ctx, m->index, team->n_members);
        atomic_fetch_sub_explicit(&team->n_busy, 1, memory_order_release);
    }
}

static void start_turn(ds4_team *team, ds4_team_fn *fn, void *ctx)
{
    team->fn = fn;
    team->ctx = ctx;
    atomic_store_explicit(&team->n_busy, team->n_members - 1, memory_order_relaxed);
    atomic_fetch_add(&team->turn, 1);
    /* A member that is about to sleep holds the lock from counting itself to waiting, and
     * looks at turn in between: taking the lock here means it either saw the new turn or
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
    for (uint32_t i = 1; i < n_members; i++) {
        member *m = &team->members[i];
        *m = (member){ .team = team, .index = i };
        if (pthread_create(&m->thread, NULL, member_main, m) != 0) {
            team->n_started = i - 1;
            ds4_team_free(team);
            return ds4_fail(err, DS4_E_NOMEM, "cannot start thread %u of %u", i + 1, n_members);
        }
    }
    team->n_started = n_members - 1;
    *out = team;
    return DS4_OK;
}

void ds4_team_free(ds4_team *team)
{
    if (!team) return;
    if (team->n_started > 0) start_turn(team, NULL, NULL);
    for (uint32_t i = 1; i <= team->n_started; i++) pthread_join(team->members[i].thread, NULL);
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
    if (team->n_members > 1) start_turn(team, fn, ctx);
    fn(ctx, 0, team->n_members);
    if (team->n_members == 1) return;

    unsigned spins = 0;
    while (atomic_load_explicit(&team->n_busy, memory_order_acquire) != 0) {
        if (++spins < SPINS) relax();
        else sched_yield();             /* more threads than processors: let them run */
    }
}

void ds4_team_share(uint64_t n, uint64_t grain, uint32_t member_index, uint32_t n_members,
                    uint64_t *from, uint64_t *to)
{
    const uint64_t n_grains = (n + grain - 1) / grain;
    const uint64_t first = n_grains * member_index / n_members * grain;
    const uint64_t last = n_grains * (member_index + 1) / n_members * grain;

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
