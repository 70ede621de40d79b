/* reopen_test.c - a long session is there at once when it is opened again, and a turn evaluates what is new
 * and nothing else. The bundled model reads and writes; its state lies on the disk in between. */
#include "testing.h"

#include "agent/agent.h"
#include "base/clock.h"
#include "engine/watch.h"
#include "service/model_open.h"
#include "support/patience.h"

#include <sys/stat.h>

/* Sanitizers read tokens some thirty times slower; what they look at is the same in a shorter session. */
static uint32_t session_tokens(void) { return test_patience() > 1 ? 3000 : 30000; }

enum { CTX = 49152 };

static char      box[256];
static ds4_model model;

typedef struct watcher {
    ds4_agent *agent;
    ds4_slice  task[2];                 /* one after the other; those without text are none */
    uint32_t   n_settled;
    uint64_t   began_ns, heard_ns;      /* the session was asked for, and was there with its state */
    bool       heard;                   /* of the session; later events are those of a turn */
    uint32_t   used;                    /* of the last status */
    uint32_t   used_first;              /* of the first one: as it was opened */
    uint32_t   used_before;             /* by the last task's beginning */
    uint32_t   cached, total;           /* of the last task's prompt */
    uint32_t   n_evaluated;             /* tokens since then, counted where the engine embeds them */
    char       id[64];
} watcher;

static void count_tokens(void *ctx, const char *name, int32_t layer, uint32_t n_tokens, uint32_t n_values,
                         const float *values)
{
    watcher *w = ctx;

    (void)layer;
    (void)n_values;
    (void)values;
    if (strcmp(name, "embed") == 0) w->n_evaluated += n_tokens;
}

static void submit(watcher *w)
{
    const ds4_slice task = w->n_settled < 2 ? w->task[w->n_settled] : (ds4_slice){ NULL, 0 };

    w->used_before = w->used;
    w->n_evaluated = 0;
    /* A watched step is slow: the long text is read without. */
    ds4_engine_watch(model.engine, task.n_bytes < 1000 ? count_tokens : NULL, w);
    if (!task.data) ds4_agent_quit(w->agent);
    else            assert_true(ds4_agent_submit(w->agent, task) != 0);
}

static void watch(void *ctx, const ds4_front_event *e)
{
    watcher *w = ctx;

    switch (e->kind) {
    case DS4_FRONT_SESSION:
        if (!w->heard) w->heard_ns = ds4_now_ns();
        w->heard = true;
        snprintf(w->id, sizeof w->id, "%s", e->session->id);
        break;
    case DS4_FRONT_STATUS:
        if (w->used == 0) w->used_first = w->used_before = e->status->n_used;
        w->used = e->status->n_used;
        break;
    case DS4_FRONT_PREFILL:
        w->cached = e->progress.cached;
        w->total = e->progress.total;
        break;
    case DS4_FRONT_ERROR: fail_msg("%.*s", (int)e->text.n_bytes, e->text.data); break;
    case DS4_FRONT_SETTLED:
        w->n_settled++;
        if (w->n_settled < 2 && w->task[w->n_settled].data) submit(w);
        else                                                ds4_agent_quit(w->agent);
        break;
    default: break;
    }
}

/* A process's life: open the session (NULL: a new one), give it its tasks, end. */
static void live(watcher *w, const char *session)
{
    char        dir[300], root[300], kv[300];
    ds4_err     err = { .code = DS4_OK };
    ds4_resume *resume = NULL;

    snprintf(dir, sizeof dir, "%s/sessions", box);
    snprintf(root, sizeof root, "%s/project", box);
    snprintf(kv, sizeof kv, "%s/kv", box);
    const ds4_resume_options keep = { .engine = model.engine, .dir = kv };
    ds4_agent_options        opt = {
        .engine = model.engine, .protocol = model.protocol, .n_ctx = CTX, .dir = dir, .root = root,
        .session = session, .mode = DS4_TOOLS_READ_ONLY, .no_notes = true, .max_tokens = 8,
        .loop_tokens = 512, .max_rounds = 1, .seed = 7, .front = { .ctx = w, .event = watch },
    };
    w->began_ns = ds4_now_ns();
    assert_int_equal(DS4_OK, ds4_resume_create(&keep, &resume, &err));
    opt.resume = resume;
    const ds4_status st = ds4_agent_create(&opt, &w->agent, &err);
    if (st != DS4_OK) fail_msg("%s", err.text);
    submit(w);
    assert_int_equal(DS4_OK, ds4_agent_run(w->agent, &err));
    ds4_engine_watch(model.engine, NULL, NULL);
    ds4_agent_free(w->agent);
    ds4_resume_free(resume);
}

static int setup(void **state)
{
    const ds4_engine_options opt = { .model_path = "models/ds4-mini.gguf", .n_threads = 2 };
    ds4_err                  err = { .code = DS4_OK };
    char                     path[300];

    (void)state;
    test_temp_path(box, "reopen");
    snprintf(path, sizeof path, "%s/project", box);
    if (mkdir(box, 0700) != 0 || mkdir(path, 0700) != 0) return -1;
    return ds4_model_open(&opt, &model, &err) == DS4_OK ? 0 : -1;
}

static int teardown(void **state)
{
    char command[300];

    (void)state;
    ds4_model_close(&model);
    snprintf(command, sizeof command, "rm -rf '%s'", box);
    return system(command);
}

/* A turn evaluates its message and what it samples, and at most n_again tokens from before: the last one that
 * was sampled need not have been evaluated. */
static void expect_new_tokens_only(const watcher *w, uint32_t n_again)
{
    print_message("# %u tokens before, %u of %u of the prompt were known, %u evaluated\n", w->used_before,
                  w->cached, w->total, w->n_evaluated);
    assert_true(w->cached <= w->used_before && w->used_before - w->cached <= n_again);
    assert_true(w->total > w->used_before && w->total - w->used_before < 64);
    assert_true(w->n_evaluated >= w->total - w->cached && w->n_evaluated <= w->used - w->cached);
}

static void test_a_long_session_opens_at_once_and_reads_only_what_is_new(void **state)
{
    ds4_str text = { 0 };
    watcher first = { .task = { { 0 }, DS4_SLICE("and now?") } };
    watcher again = { 0 };
    double  seconds = 0;
    int     tries = 0;

    (void)state;
    for (uint32_t i = 0; i < session_tokens(); i++)
        ds4_str_add_text(&text, i % 10 == 9 ? " line\n" : " word");
    first.task[0] = (ds4_slice){ text.data, text.n_bytes };
    live(&first, NULL);
    ds4_str_clear(&text);
    assert_true(first.used >= session_tokens());
    expect_new_tokens_only(&first, 1);

    /* Other processes may be busy: one of ten times is enough. */
    do {
        again = (watcher){ 0 };
        live(&again, first.id);
        assert_int_equal(first.used, again.used_first);
        assert_int_equal(0, again.n_evaluated);
        seconds = (double)(again.heard_ns - again.began_ns) / 1e9;
        print_message("# %u tokens, opened in %.3f s\n", first.used, seconds);
    } while (seconds >= 0.5 * test_patience() && ++tries < 10);
    assert_true(seconds < 0.5 * test_patience());

    /* On the disk lies the last multiple of DS4_EVEN tokens; the few behind it are evaluated again. */
    again = (watcher){ .task = { DS4_SLICE("and now?") } };
    live(&again, first.id);
    expect_new_tokens_only(&again, DS4_EVEN);
    assert_int_equal(0, again.cached % DS4_EVEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_session_opens_at_once_and_reads_only_what_is_new),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
