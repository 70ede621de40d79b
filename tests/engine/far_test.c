/* far_test.c - the far device finds what it is there for, and an engine on it survives each commit() that
 * fails.
 *
 * Faults are planted here, by callers that do what none of ours may. */
#include "testing.h"

#include "base/rng.h"
#include "engine/engine_local.h"
#include "engine/snapshot.h"
#include "format/dtype.h"
#include "support/far_device.h"
#include "support/tiny_model.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { N = 64 };

static const ds4_limits limits = { .n_threads = 1, .max_batch = 1, .max_logit_rows = 1, .max_ctx = 64 };

/* A device with two vectors and programs that norm one into the other, and back. */
typedef struct rig {
    ds4_dev     *dev;
    ds4_buf     *w, *x, *y;
    ds4_op       forth, back;
    ds4_program *program[2];
    ds4_batch    batch;
} rig;

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static ds4_rows rows(ds4_buf *buf)
{
    return (ds4_rows){ { buf, 0 }, N };
}

static ds4_op norm(ds4_buf *w, ds4_buf *x, ds4_buf *y)
{
    return (ds4_op){ .kind = DS4_OP_NORM, .name = "norm",
                     .norm = { .n = N, .w = { w, 0 }, .x = rows(x), .y = rows(y) } };
}

static void open_rig(rig *r)
{
    float   ones[N], first[N];
    ds4_err err;

    for (int i = 0; i < N; i++) {
        ones[i] = 1.0f;
        first[i] = i % 2 ? 3.0f : -3.0f;
    }
    check(ds4_backend_far.open(0, &limits, &r->dev, &err), &err);
    check(ds4_backend_take(&ds4_backend_far, r->dev, DS4_MEM_DEVICE, sizeof ones, &r->w, &err), &err);
    check(ds4_backend_take(&ds4_backend_far, r->dev, DS4_MEM_DEVICE, sizeof ones, &r->x, &err), &err);
    check(ds4_backend_take(&ds4_backend_far, r->dev, DS4_MEM_DEVICE, sizeof ones, &r->y, &err), &err);
    const ds4_copy copies[] = { { { r->w, 0 }, sizeof ones, (uint8_t *)ones },
                                { { r->x, 0 }, sizeof first, (uint8_t *)first } };
    check(ds4_backend_far.write(r->dev, copies, 2, &err), &err);
    r->forth = norm(r->w, r->x, r->y);
    r->back = norm(r->w, r->y, r->x);
    check(ds4_backend_far.compile(r->dev, &r->forth, 1, &r->program[0], &err), &err);
    check(ds4_backend_far.compile(r->dev, &r->back, 1, &r->program[1], &err), &err);
    r->batch = (ds4_batch){ .n_tokens = 1 };
}

static void close_rig(rig *r)
{
    for (int i = 0; i < 2; i++) ds4_backend_far.drop_program(r->dev, r->program[i]);
    ds4_backend_far.free(r->dev, r->w);
    ds4_backend_far.free(r->dev, r->x);
    ds4_backend_far.free(r->dev, r->y);
    ds4_backend_far.close(r->dev);
    assert_int_equal(far_live(), 0);
}

static float first_of(rig *r, ds4_buf *buf)
{
    float   x;
    ds4_err err;

    check(ds4_backend_read(&ds4_backend_far, r->dev, (ds4_view){ buf, 0 }, &x, sizeof x, &err), &err);
    return x;
}

/* Run a planted fault in a process of its own; it must die of it. */
static void expect_death(void (*fault)(rig *r))
{
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit none = { 0, 0 };
        rig                 r;
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        open_rig(&r);
        fault(&r);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

static volatile uint8_t seen;

static void look_into_a_buffer(rig *r)
{
    seen = r->x->host[0];
}

static void look_into_a_layout(rig *r)
{
    const float      weights[N] = { 0 };
    const ds4_tensor t = { .name = "w", .path = "memory", .data = (const uint8_t *)weights,
                           .n_bytes = sizeof weights, .dtype = DS4_F32, .n_in = N, .n_out = 1, .n_mats = 1 };
    ds4_matrix       m;
    ds4_err          err;

    check(ds4_backend_far.bind(r->dev, &t, &m, &err), &err);
    seen = *(const uint8_t *)(const void *)m.layout;
}

static void test_a_look_into_memory_is_deadly(void **state)
{
    (void)state;
    expect_death(look_into_a_buffer);
    expect_death(look_into_a_layout);
}

static void test_a_missing_wait_reads_old_bytes(void **state)
{
    rig        r;
    ds4_ticket ticket;
    ds4_err    err;

    (void)state;
    open_rig(&r);
    assert_true(first_of(&r, r.y) == 0.0f);
    check(ds4_backend_far.run(r.dev, r.program[0], &r.batch, &ticket, &err), &err);
    assert_true(first_of(&r, r.y) == 0.0f);         /* nobody waited */
    check(ds4_backend_far.wait(r.dev, ticket, &err), &err);
    assert_true(first_of(&r, r.y) == -1.0f);
    close_rig(&r);
}

/* x to y, then y to x: x is normed too. The other way round, y's zeros would be x's. */
static void test_a_wrong_order_gives_other_values(void **state)
{
    (void)state;
    for (int wrong = 0; wrong < 2; wrong++) {
        rig        r;
        ds4_ticket ticket;
        ds4_err    err;
        open_rig(&r);
        check(ds4_backend_far.run(r.dev, r.program[wrong], &r.batch, &ticket, &err), &err);
        check(ds4_backend_far.run(r.dev, r.program[!wrong], &r.batch, &ticket, &err), &err);
        check(ds4_backend_far.wait(r.dev, ticket, &err), &err);
        if (wrong) assert_true(first_of(&r, r.x) == 0.0f || first_of(&r, r.x) != first_of(&r, r.x));
        else assert_true(first_of(&r, r.x) == -1.0f);
        close_rig(&r);
    }
}

/* The program sees writes between run() and wait(), which callers must not make. */
static void test_a_write_before_wait_shows(void **state)
{
    const float late[N] = { 5.0f };
    rig         r;
    ds4_ticket  ticket;
    ds4_err     err;

    (void)state;
    open_rig(&r);
    check(ds4_backend_far.run(r.dev, r.program[0], &r.batch, &ticket, &err), &err);
    check(ds4_backend_write(&ds4_backend_far, r.dev, (ds4_view){ r.x, 0 }, late, sizeof late, &err), &err);
    check(ds4_backend_far.wait(r.dev, ticket, &err), &err);
    assert_true(first_of(&r, r.y) > 1.0f);
    close_rig(&r);
}

static void test_memory_that_was_not_committed(void **state)
{
    rig        r;
    ds4_buf   *buf;
    ds4_err    err;
    float      x = 1.0f;

    (void)state;
    open_rig(&r);
    check(ds4_backend_far.alloc(r.dev, DS4_MEM_DEVICE, 4096, &buf, &err), &err);
    const ds4_view at = { buf, 64 };
    assert_int_equal(ds4_backend_write(&ds4_backend_far, r.dev, at, &x, sizeof x, &err), DS4_E_DEVICE);
    check(ds4_backend_far.commit(r.dev, at, 64, &err), &err);
    check(ds4_backend_write(&ds4_backend_far, r.dev, at, &x, sizeof x, &err), &err);
    assert_int_equal(ds4_backend_read(&ds4_backend_far, r.dev, (ds4_view){ buf, 128 }, &x, sizeof x, &err),
                     DS4_E_DEVICE);
    ds4_backend_far.discard(r.dev, at, 64);
    assert_int_equal(ds4_backend_read(&ds4_backend_far, r.dev, at, &x, sizeof x, &err), DS4_E_DEVICE);
    check(ds4_backend_far.commit(r.dev, at, 64, &err), &err);
    check(ds4_backend_read(&ds4_backend_far, r.dev, at, &x, sizeof x, &err), &err);
    assert_true(x != 1.0f);                         /* what was discarded is gone */
    /* A list that names such a place is refused, as is a program's run: see the engine below. */
    const ds4_op op = norm(r.w, r.x, buf);
    ds4_program *p;
    assert_int_equal(ds4_backend_far.compile(r.dev, &op, 1, &p, &err), DS4_E_DEVICE);
    ds4_backend_far.free(r.dev, buf);
    close_rig(&r);
}

/* ---- an engine on it --------------------------------------------------------------------------------- */

enum { N_TOKENS = 300, N_CTX = 512 };
static char    model_path[256];
static int32_t text[N_TOKENS];

static int set_up(void **state)
{
    const tiny_model t = { .seed = 5, .dense = DS4_Q8_0, .gate_up = DS4_MXFP4, .down = DS4_MXFP4,
                           .precise = DS4_F16, .n_embd = 64 };
    ds4_rng          rng;

    (void)state;
    test_temp_path(model_path, "far_test.gguf");
    tiny_model_write(&t, model_path);
    ds4_rng_seed(&rng, 1);
    for (int i = 0; i < N_TOKENS; i++) text[i] = (int32_t)(ds4_rng_next(&rng) % TINY_VOCAB);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(model_path);
}

/* Sessions that grow, are kept, come back and go on. logits [TINY_VOCAB] are the last ones. */
static ds4_status use_sessions(ds4_engine *e, float *logits, ds4_err *err)
{
    ds4_session  *s[2] = { NULL, NULL };
    ds4_snapshot *kept = NULL;
    ds4_prefill   p = { .tokens = text, .n_tokens = 280 };

    ds4_status st = ds4_session_create(e, N_CTX, &s[0], err);
    if (st == DS4_OK) st = ds4_session_create(e, N_CTX, &s[1], err);
    if (st == DS4_OK) st = ds4_session_prefill(s[0], &p, err);
    if (st == DS4_OK) st = ds4_session_snapshot(s[0], &kept, err);
    if (st == DS4_OK) st = ds4_session_restore(s[1], kept, err);
    for (uint32_t i = 280; st == DS4_OK && i < N_TOKENS; i++) {
        const ds4_work work[] = { { .session = s[0], .tokens = text + i, .n_tokens = 1, .decode = true },
                                  { .session = s[1], .tokens = text + i, .n_tokens = 1, .decode = true,
                                    .logits = logits } };
        st = ds4_engine_step(e, work, 2, err);
    }
    ds4_snapshot_free(kept);
    for (int i = 0; i < 2; i++) ds4_session_free(s[i]);
    return st;
}

static ds4_status use_engine(const char *backend, float *logits, ds4_err *err)
{
    const ds4_engine_options opt = { .model_path = model_path, .n_threads = 2, .max_batch = 128,
                                     .backend = backend };
    ds4_engine              *e;

    DS4_TRY(ds4_engine_open(&e, &opt, err));
    const ds4_status st = use_sessions(e, logits, err);
    ds4_engine_close(e);
    return st;
}

/* Each commit() of an engine's life fails in turn: an error, nothing held, and no harm the next time. */
static void test_every_commit_that_fails(void **state)
{
    float    logits[TINY_VOCAB], again[TINY_VOCAB];
    ds4_err  err = { 0 };
    uint32_t n = 0;

    (void)state;
    check(use_engine("cpu", logits, &err), &err);
    for (;;) {
        far_fail_commit(++n);
        const ds4_status st = use_engine("far", again, &err);
        assert_int_equal(far_live(), 0);
        if (st == DS4_OK) break;
        assert_int_equal(st, DS4_E_NOMEM);
        assert_non_null(strstr(err.text, "no more memory"));
    }
    far_fail_commit(0);
    assert_true(n > 10);
    printf("# %u commits, each failed once\n", n - 1);
    assert_memory_equal(logits, again, sizeof logits);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_look_into_memory_is_deadly),
    cmocka_unit_test(test_a_missing_wait_reads_old_bytes),
    cmocka_unit_test(test_a_wrong_order_gives_other_values),
    cmocka_unit_test(test_a_write_before_wait_shows),
    cmocka_unit_test(test_memory_that_was_not_committed),
    cmocka_unit_test(test_every_commit_that_fails),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
