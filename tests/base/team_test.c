/* team_test.c - a team runs every member exactly once for each call, asleep or awake, with
 * enough processors or not. */
#include "testing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/team.h"

enum { MAX_MEMBERS = 8 };

/* Nothing here is atomic: the end of a run must make the members' writes visible. */
typedef struct counts {
    uint64_t n_runs[MAX_MEMBERS];
    uint64_t sum[MAX_MEMBERS];
    uint64_t turn;                  /* written by the caller between runs, read by all */
    uint32_t n_members;
    char     gap[64];
} counts;

static void count_run(void *ctx, uint32_t member, uint32_t n_members)
{
    counts *c = ctx;
    c->n_runs[member]++;
    c->sum[member] += c->turn * (member + 1);
    if (n_members != c->n_members) c->n_runs[member] += 1000000;
}

/* Run turns first .. first+n-1 with a pause of pause_ns * (turn % 8) before each. */
static void run_turns(ds4_team *team, counts *c, uint64_t n, uint64_t pause_ns)
{
    for (uint64_t i = 0; i < n; i++) {
        c->turn++;
        const uint64_t until = ds4_now_ns() + pause_ns * (c->turn % 8);
        while (ds4_now_ns() < until) continue;
        ds4_team_run(team, count_run, c);
        for (uint32_t m = 0; m < c->n_members; m++) {
            assert_true(c->n_runs[m] == c->turn);
            assert_true(c->sum[m] == c->turn * (c->turn + 1) / 2 * (m + 1));
        }
    }
}

static void with_team(uint32_t n_members, uint64_t n_turns, uint64_t pause_ns)
{
    ds4_team *team = NULL;
    counts    c = { .n_members = n_members };
    ds4_err   err;

    assert_int_equal(ds4_team_create(&team, n_members, &err), DS4_OK);
    assert_int_equal(ds4_team_size(team), n_members);
    run_turns(team, &c, n_turns, pause_ns);
    ds4_team_free(team);
}

static void test_every_member_runs_once_each_time(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= MAX_MEMBERS; n++) with_team(n, n <= 2 ? 3000 : 500, 0);
}

/* Pauses from nothing to beyond the time that members spin: some are awake, some fall
 * asleep at the very moment of the call. */
static void test_members_that_fall_asleep_are_woken(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= MAX_MEMBERS; n += 3) {
        with_team(n, 100, 5000);
        with_team(n, 100, 40000);
    }
}

static void test_members_that_sleep_are_woken(void **state)
{
    const struct timespec pause = { 0, 5 * 1000 * 1000 };
    ds4_team             *team = NULL;
    counts                c = { .n_members = 4 };

    (void)state;
    assert_int_equal(ds4_team_create(&team, 4, NULL), DS4_OK);
    for (int i = 0; i < 10; i++) {
        nanosleep(&pause, NULL);
        run_turns(team, &c, 2, 0);
    }
    ds4_team_free(team);
}

typedef struct waits {
    atomic_uint n[MAX_MEMBERS];
    atomic_bool wrong;
} waits;

static bool count_wait(void *ctx, uint32_t member)
{
    waits *w = ctx;
    if (member >= 3) atomic_store(&w->wrong, true);
    else atomic_fetch_add(&w->n[member], 1);
    return member == 1;
}

/* The first share of each run waits for the others to have idled. */
static void wait_for_idlers(void *ctx, uint32_t share, uint32_t n_shares)
{
    waits *w = ctx;

    (void)n_shares;
    if (share != 0) return;
    const uint64_t until = ds4_now_ns() + 20 * 1000 * 1000;
    while ((atomic_load(&w->n[1]) == 0 || atomic_load(&w->n[2]) == 0) && ds4_now_ns() < until) continue;
}

static void test_members_idle_while_they_wait(void **state)
{
    ds4_team *team = NULL;
    waits     w = { 0 };
    counts    c = { .n_members = 3 };

    (void)state;
    assert_int_equal(ds4_team_create(&team, 3, NULL), DS4_OK);
    ds4_team_set_idle(team, count_wait, &w);
    for (int i = 0; i < 200 && !(atomic_load(&w.n[1]) && atomic_load(&w.n[2])); i++) {
        ds4_team_run(team, wait_for_idlers, &w);
    }
    run_turns(team, &c, 100, 1000);
    ds4_team_free(team);
    assert_true(atomic_load(&w.n[1]) > 0 && atomic_load(&w.n[2]) > 0);
    assert_false(atomic_load(&w.wrong));
}

static atomic_bool stop_spinning;

static void *spin(void *arg)
{
    volatile uint64_t *n = arg;
    while (!atomic_load(&stop_spinning)) (*n)++;
    return NULL;
}

/* Other work takes the processors away at any moment. */
static void test_runs_complete_under_load(void **state)
{
    enum { N_SPINNERS = 3 };
    pthread_t spinners[N_SPINNERS];
    uint64_t  work[N_SPINNERS] = { 0 };

    (void)state;
    atomic_store(&stop_spinning, false);
    for (int i = 0; i < N_SPINNERS; i++) {
        assert_int_equal(pthread_create(&spinners[i], NULL, spin, &work[i]), 0);
    }
    with_team(2, 20, 10000);
    with_team(5, 20, 10000);
    atomic_store(&stop_spinning, true);
    for (int i = 0; i < N_SPINNERS; i++) pthread_join(spinners[i], NULL);
}

static void test_teams_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        ds4_team *team = NULL;
        assert_int_equal(ds4_team_create(&team, 1 + (uint32_t)i % MAX_MEMBERS, NULL), DS4_OK);
        ds4_team_free(team);            /* some members have not run yet */
    }
    ds4_team_free(NULL);
}

static void test_two_teams_do_not_meet(void **state)
{
    ds4_team *a = NULL, *b = NULL;
    counts    ca = { .n_members = 3 }, cb = { .n_members = 2 };

    (void)state;
    assert_int_equal(ds4_team_create(&a, 3, NULL), DS4_OK);
    assert_int_equal(ds4_team_create(&b, 2, NULL), DS4_OK);
    for (int i = 0; i < 200; i++) {
        run_turns(a, &ca, 1, 0);
        run_turns(b, &cb, 2, 0);
    }
    ds4_team_free(a);
    ds4_team_free(b);
}

static void test_sizes_out_of_range_are_refused(void **state)
{
    ds4_team *team = NULL;
    ds4_err   err = { 0 };

    (void)state;
    assert_int_equal(ds4_team_create(&team, 0, &err), DS4_E_ARG);
    assert_int_equal(ds4_team_create(&team, 257, &err), DS4_E_ARG);
    assert_non_null(strstr(err.text, "257"));
    assert_null(team);
}

static void check_shares(uint64_t n, uint64_t grain, uint32_t n_members)
{
    uint64_t at = 0, least = UINT64_MAX, most = 0;

    for (uint32_t m = 0; m < n_members; m++) {
        uint64_t from, to;
        ds4_team_share(n, grain, m, n_members, &from, &to);
        assert_true(from == at && to >= from);
        assert_true(from % grain == 0 || from == n);
        assert_true(to % grain == 0 || to == n);
        if (to - from < least) least = to - from;
        if (to - from > most) most = to - from;
        at = to;
    }
    assert_true(at == n);
    assert_true(most - least <= 2 * grain);         /* one grain, and a last one that is cut */
}

static void test_shares_are_exactly_the_whole(void **state)
{
    static const uint64_t grains[] = { 1, 2, 3, 8, 32, 64 };
    static const uint64_t large[] = { 4096, 129280, UINT32_MAX, UINT64_C(1) << 40 };

    (void)state;
    for (uint32_t members = 1; members <= 17; members++) {
        for (size_t g = 0; g < sizeof grains / sizeof grains[0]; g++) {
            for (uint64_t n = 0; n <= 300; n++) check_shares(n, grains[g], members);
            for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
                check_shares(large[i], grains[g], members);
            }
        }
    }
}

static void test_there_is_a_processor(void **state)
{
    (void)state;
    assert_true(ds4_cpu_count() >= 1 && ds4_cpu_count() <= 100000);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_every_member_runs_once_each_time),
    cmocka_unit_test(test_members_that_fall_asleep_are_woken),
    cmocka_unit_test(test_members_that_sleep_are_woken),
    cmocka_unit_test(test_members_idle_while_they_wait),
    cmocka_unit_test(test_runs_complete_under_load),
    cmocka_unit_test(test_teams_come_and_go),
    cmocka_unit_test(test_two_teams_do_not_meet),
    cmocka_unit_test(test_sizes_out_of_range_are_refused),
    cmocka_unit_test(test_shares_are_exactly_the_whole),
    cmocka_unit_test(test_there_is_a_processor),
};

/* A member that is never woken would wait for ever: the test ends, and fails, instead. */
static int limit_time(void **state)
{
    (void)state;
    alarm(120);
    return 0;
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, limit_time, NULL);
}
