/* channel_test.c - events arrive whole and in order, and a resting reader is woken by an end. */
#include "testing.h"

#include "base/clock.h"
#include "service/channel.h"

#include <pthread.h>

enum { N_EVENTS = 2000 };

static ds4_channel *new_channel(void)
{
    ds4_channel *c = NULL;
    assert_int_equal(ds4_channel_create(&c, NULL), DS4_OK);
    return c;
}

static void put(ds4_channel *c, ds4_event_kind kind, const char *text)
{
    ds4_channel_put(c, &(ds4_event){ .kind = kind, .text = { text, strlen(text) } });
}

static void *put_many(void *arg)
{
    char text[32];

    for (int i = 0; i < N_EVENTS; i++) {
        snprintf(text, sizeof text, "%d", i);
        put(arg, i + 1 < N_EVENTS ? DS4_EVENT_PIECE : DS4_EVENT_END, text);
    }
    return NULL;
}

static void test_events_come_in_order(void **state)
{
    ds4_channel *c = new_channel();
    pthread_t    thread;
    char         text[32];

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, put_many, c), 0);
    for (int i = 0; i < N_EVENTS; i++) {
        if (i % 7 == 0) ds4_channel_rest(c, ds4_now_ns() + 100000);
        ds4_event *e = ds4_channel_get(c, 20000);
        assert_non_null(e);
        snprintf(text, sizeof text, "%d", i);
        assert_int_equal(e->text.n_bytes, strlen(text));
        assert_memory_equal(e->text.data, text, strlen(text));
        free(e);
    }
    assert_null(ds4_channel_get(c, 0));
    assert_null(ds4_channel_get(c, 1));
    assert_false(ds4_channel_broken(c));
    pthread_join(thread, NULL);
    ds4_channel_free(c);
}

static void test_rest_lasts_until_its_time(void **state)
{
    ds4_channel   *c = new_channel();
    const uint64_t begin = ds4_now_ns();

    (void)state;
    put(c, DS4_EVENT_PIECE, "a");
    ds4_channel_rest(c, begin + 30000000);
    assert_true(ds4_now_ns() - begin >= 29000000);
    ds4_channel_rest(c, begin);
    put(c, DS4_EVENT_PIECE, "b");
    free(ds4_channel_get(c, 0));
    free(ds4_channel_get(c, 0));
    ds4_channel_free(c);
}

static void *end_soon(void *arg)
{
    usleep(20000);
    put(arg, DS4_EVENT_PIECE, "last");
    put(arg, DS4_EVENT_END, "");
    return NULL;
}

static void test_an_end_is_heard_at_once(void **state)
{
    ds4_channel   *c = new_channel();
    const uint64_t begin = ds4_now_ns();
    pthread_t      thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, end_soon, c), 0);
    ds4_channel_rest(c, begin + 60000000000u);
    assert_true(ds4_now_ns() - begin < 30000000000u);
    pthread_join(thread, NULL);
    /* One that is already there lets nobody rest. */
    ds4_channel_rest(c, ds4_now_ns() + 60000000000u);
    assert_true(ds4_now_ns() - begin < 30000000000u);
    ds4_channel_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_come_in_order),
        cmocka_unit_test(test_rest_lasts_until_its_time),
        cmocka_unit_test(test_an_end_is_heard_at_once),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
