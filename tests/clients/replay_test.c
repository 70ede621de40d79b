/* replay_test.c - recorded requests of coding agents, sent to a server again. See README.md.
 *
 * A conversation goes as its client sent it, in order, with the server started again where it
 * was then: status, order of events, text and calls must be the recorded ones, and what was
 * there before must come from the cache. */
#include "support/recording.h"
#include "support/scripted_server.h"
#include "testing.h"

/* Prompts have a part of their length here, so that it takes seconds. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { FILLER_PART = 32, MAX_TOOLS = 1 };
#else
enum { FILLER_PART = 8, MAX_TOOLS = 100 };
#endif

/* At least 98 % of the tokens before. After a restart up to 127 are evaluated again
 * (docs/KV.md), which is more than 2 % of the shorter prompts here. */
static void check_cached(const recording_answer *a, uint32_t n_before, bool restarted)
{
    const uint32_t n_missed = a->n_cached < n_before ? n_before - a->n_cached : 0;

    if (n_missed * 50 <= n_before || (restarted && n_missed <= 127)) return;
    fail_msg("%u of %u tokens from the cache", a->n_cached, n_before);
}

static void check_step(const recording_step *step, const char *answer, uint32_t *n_before, bool *restarted)
{
    recording_answer a;

    if (!step->api[0]) return;
    recording_read(step->api, answer, &a);
    assert_string_equal(step->events, ds4_str_text(&a.events));
    assert_string_equal(step->text, ds4_str_text(&a.text));
    assert_string_equal(step->calls, ds4_str_text(&a.calls));
    if (step->has_tools) {
        if (*n_before) check_cached(&a, *n_before, *restarted);
        *n_before = a.n_prompt + a.n_generated;
        *restarted = false;
    }
    recording_answer_clear(&a);
}

typedef struct conversation {
    const char     *client;
    scripted_server server;
} conversation;

static void test_replay(void **state)
{
    conversation *c = *state;
    recording     r;
    uint32_t      n_before = 0;
    bool          restarted = false;
    ds4_str       script = { 0 };

    recording_open(&r, c->client, FILLER_PART, MAX_TOOLS);
    recording_script(&r, &script);
    scripted_server_start(&c->server, ds4_str_text(&script));
    for (uint32_t i = 0; i < r.n_steps; i++) {
        const recording_step *step = &r.step[i];
        ds4_str               request = { 0 }, answer = { 0 };
        if (step->restart) {
            scripted_server_restart(&c->server);
            restarted = true;
            continue;
        }
        recording_request(&r, i, &request);
        assert_int_equal(step->status, scripted_server_ask(&c->server, &request, step->is_head, &answer));
        check_step(step, ds4_str_text(&answer), &n_before, &restarted);
        recording_take_ids(&r, i, ds4_str_text(&answer));
        ds4_str_clear(&request);
        ds4_str_clear(&answer);
    }
    assert_true(n_before > 0 && !restarted);
    recording_close(&r);
    ds4_str_clear(&script);
}

static int tear_down(void **state)
{
    conversation *c = *state;

    return scripted_server_stop(&c->server) ? 0 : -1;
}

#define REPLAY(name) { #name, test_replay, NULL, tear_down, &(conversation){ .client = #name } }

static const struct CMUnitTest tests[] = {
    REPLAY(claude), REPLAY(codex), REPLAY(opencode), REPLAY(pi), REPLAY(continue),
};

TEST_MAIN(tests)
