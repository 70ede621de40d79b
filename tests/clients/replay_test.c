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

typedef struct conversation {
    const char     *client;
    scripted_server server;
    recording       r;
    long            n_read;             /* bytes of the server's log */
    uint32_t        n_before;           /* tokens of the request before and its answer */
    bool            coarse;             /* a restart or a change of old text is between */
} conversation;

/* At least 98 % of the known tokens: all before, or those in front of what the client itself has
 * changed. After a restart and such a change up to 127 are evaluated again (docs/KV.md), which is more than
 * 2 % of the shorter prompts here. */
static void check_cached(conversation *c, const recording_answer *a)
{
    const uint32_t n_common = scripted_server_parted(&c->server, &c->n_read);
    const uint32_t n_known = n_common ? n_common : c->n_before;
    const uint32_t n_missed = a->n_cached < n_known ? n_known - a->n_cached : 0;

    if (n_missed * 50 <= n_known || ((c->coarse || n_common) && n_missed <= 127)) return;
    fail_msg("%u of %u tokens from the cache", a->n_cached, n_known);
}

static void check_step(conversation *c, const recording_step *step, const char *answer)
{
    recording_answer a;

    if (!step->api[0]) return;
    recording_read(step->api, answer, &a);
    assert_string_equal(step->events, ds4_str_text(&a.events));
    assert_string_equal(step->text, ds4_str_text(&a.text));
    assert_string_equal(step->calls, ds4_str_text(&a.calls));
    if (step->has_tools) {
        if (c->n_before) check_cached(c, &a);
        c->n_before = a.n_prompt + a.n_generated;
        c->coarse = false;
    }
    scripted_server_parted(&c->server, &c->n_read);     /* what was said of others */
    recording_answer_clear(&a);
}

static void test_replay(void **state)
{
    conversation *c = *state;
    recording    *r = &c->r;
    ds4_str       script = { 0 };

    recording_open(r, c->client, FILLER_PART, MAX_TOOLS);
    recording_script(r, &script);
    scripted_server_start(&c->server, ds4_str_text(&script));
    for (uint32_t i = 0; i < r->n_steps; i++) {
        const recording_step *step = &r->step[i];
        ds4_str               request = { 0 }, answer = { 0 };
        if (step->restart) {
            scripted_server_restart(&c->server);
            c->n_read = 0;
            c->coarse = true;
            continue;
        }
        recording_request(r, i, &request);
        assert_int_equal(step->status, scripted_server_ask(&c->server, &request, step->is_head, &answer));
        check_step(c, step, ds4_str_text(&answer));
        recording_take_ids(r, i, ds4_str_text(&answer));
        ds4_str_clear(&request);
        ds4_str_clear(&answer);
    }
    assert_true(c->n_before > 0 && !c->coarse);
    recording_close(r);
    ds4_str_clear(&script);
}

static int tear_down(void **state)
{
    conversation *c = *state;

    return scripted_server_stop(&c->server) ? 0 : -1;
}

#define REPLAY(name) { name, test_replay, NULL, tear_down, &(conversation){ .client = name } }

static const struct CMUnitTest tests[] = {
    REPLAY("claude"),   REPLAY("codex"), REPLAY("opencode"), REPLAY("pi"),
    REPLAY("continue"), REPLAY("kilo"),  REPLAY("qwen"),     REPLAY("copilot"),
};

TEST_MAIN(tests)
