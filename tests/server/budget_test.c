/* budget_test.c - the memory of all requests: who came first is served, who came last is refused and
 * gives back; nobody waits for those that have been read, and nothing is lost on the way. */
#include "testing.h"

#include "app/server/budget.h"
#include "base/clock.h"

#include <pthread.h>

enum { MOST = 1000 };

static ds4_budget budget;

static int set_up(void **state)
{
    (void)state;
    ds4_budget_init(&budget, MOST);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (ds4_budget_used(&budget) != 0 || budget.first || budget.last || budget.n_waiting) return -1;
    ds4_budget_clear(&budget);
    return 0;
}

static void test_one_request(void **state)
{
    ds4_purse p, none;

    (void)state;
    ds4_purse_open(&p, &budget);
    assert_true(ds4_purse_take(&p, 600));
    assert_true(ds4_purse_take(&p, 400));
    assert_false(ds4_purse_take(&p, 1));
    assert_true(p.too_large);
    ds4_purse_give(&p, 10);
    assert_true(ds4_purse_take(&p, 10));
    assert_false(ds4_purse_take(&p, SIZE_MAX));
    assert_int_equal(MOST, ds4_budget_used(&budget));
    ds4_purse_close(&p);
    ds4_purse_close(&p);
    assert_int_equal(0, ds4_budget_used(&budget));
    ds4_purse_open(&none, NULL);
    assert_true(ds4_purse_take(&none, SIZE_MAX) && ds4_purse_take(NULL, SIZE_MAX));
    ds4_purse_close(&none);
}

/* Memory of an answer comes back when that is over, perhaps in an hour: nobody waits for it. */
static void test_nobody_waits_for_answers(void **state)
{
    ds4_purse answer, early, late;

    (void)state;
    ds4_purse_open(&answer, &budget);
    assert_true(ds4_purse_take(&answer, 700));
    ds4_purse_settle(&answer);
    ds4_purse_open(&early, &budget);
    ds4_purse_open(&late, &budget);             /* it holds nothing that it could give back */
    const uint64_t begin = ds4_now_ns();
    assert_false(ds4_purse_take(&early, 301));
    assert_false(early.too_large);
    assert_true(ds4_purse_take(&early, 300));
    assert_false(ds4_purse_take(&late, 1));
    assert_true(ds4_now_ns() - begin < 1000000000);
    ds4_purse_close(&early);
    assert_true(ds4_purse_take(&late, 1));
    ds4_purse_close(&answer);
    ds4_purse_close(&late);
}

/* The last one is refused although memory is there again for a moment, and the first one gets it. */
static void *take_400(void *arg)
{
    return ds4_purse_take(arg, 400) ? arg : NULL;
}

static void wait_for_waiting(unsigned n)
{
    for (unsigned seen = n + 1; seen != n;) {
        pthread_mutex_lock(&budget.lock);
        seen = budget.n_waiting;
        pthread_mutex_unlock(&budget.lock);
    }
}

static void test_the_last_one_goes(void **state)
{
    ds4_purse first, second, third;
    pthread_t one, two;
    void     *got;

    (void)state;
    ds4_purse_open(&first, &budget);
    ds4_purse_open(&second, &budget);
    ds4_purse_open(&third, &budget);
    assert_true(ds4_purse_take(&first, 300) && ds4_purse_take(&second, 300) && ds4_purse_take(&third, 300));
    assert_int_equal(0, pthread_create(&one, NULL, take_400, &first));
    wait_for_waiting(1);
    assert_false(ds4_purse_take(&third, 50));   /* which would fit */
    assert_false(third.too_large);
    assert_int_equal(0, pthread_create(&two, NULL, take_400, &second));
    wait_for_waiting(2);                        /* the second waits for the third as well */
    ds4_purse_close(&third);
    pthread_join(one, &got);
    assert_ptr_equal(&first, got);
    pthread_join(two, &got);
    assert_null(got);                           /* now it is the last one */
    ds4_purse_close(&second);
    ds4_purse_close(&first);
}

/* A client that sends slowly keeps the others from their memory for two seconds and no longer. */
static void test_waiting_ends(void **state)
{
    ds4_purse first, second;

    (void)state;
    ds4_purse_open(&first, &budget);
    ds4_purse_open(&second, &budget);
    assert_true(ds4_purse_take(&second, 700));
    const uint64_t begin = ds4_now_ns();
    assert_false(ds4_purse_take(&first, 400));
    const uint64_t took = ds4_now_ns() - begin;
    assert_true(took > 1500000000 && took < 20000000000);
    assert_true(ds4_purse_take(&second, 100));  /* nobody waits for it any more */
    ds4_purse_close(&first);
    ds4_purse_close(&second);
}

/* Large requests at once, each of which takes its memory in parts: some are served in every round. */
typedef struct large {
    ds4_purse        purse;
    pthread_mutex_t *gate;                      /* open when all of them are there */
    bool             served;
} large;

static void *run_large(void *arg)
{
    large *l = arg;

    pthread_mutex_lock(l->gate);
    pthread_mutex_unlock(l->gate);
    l->served = true;
    for (int i = 0; i < 40 && l->served; i++) {
        l->served = ds4_purse_take(&l->purse, 15);
        usleep(20);                             /* so that all of them are at work */
    }
    if (l->served) ds4_purse_settle(&l->purse);
    ds4_purse_close(&l->purse);
    return NULL;
}

static void test_large_ones_at_once(void **state)
{
    enum { N = 8, ROUNDS = 100 };
    int n_served = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        pthread_t       thread[N];
        large           l[N];
        int             n = 0;
        pthread_mutex_lock(&gate);
        for (int i = 0; i < N; i++) {
            l[i].gate = &gate;
            ds4_purse_open(&l[i].purse, &budget);
            assert_int_equal(0, pthread_create(&thread[i], NULL, run_large, &l[i]));
        }
        pthread_mutex_unlock(&gate);
        for (int i = 0; i < N; i++) {
            pthread_join(thread[i], NULL);
            n += l[i].served;
        }
        assert_true(l[0].served);               /* the first one always is */
        n_served += n;
        pthread_mutex_destroy(&gate);
    }
    print_message("# %d of %d were served\n", n_served, ROUNDS * N);
    assert_true(n_served < ROUNDS * N);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    TEST(test_one_request),
    TEST(test_nobody_waits_for_answers),
    TEST(test_the_last_one_goes),
    TEST(test_waiting_ends),
    TEST(test_large_ones_at_once),
};

TEST_MAIN(tests)
