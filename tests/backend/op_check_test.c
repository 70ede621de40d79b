/* op_check_test.c - lists that name wrong places or sizes are refused by name; a model's own lists are not,
 * and read nothing of a step that no operation before has written. */
#include "testing.h"

#include "backend/op_check.h"
#include "format/dtype.h"
#include "model/network.h"
#include "support/tiny_model.h"

enum { N = 8, TOKENS = 3, STRIDE = 10 };

static ds4_dev         *dev;
static ds4_buf         *buf;
static const ds4_limits limits = { .n_threads = 1, .max_batch = TOKENS, .max_logit_rows = 1, .max_ctx = 64 };

static int set_up(void **state)
{
    ds4_err err;

    (void)state;
    if (ds4_backend_cpu.open(0, &limits, &dev, &err) != DS4_OK) return -1;
    return ds4_backend_take(&ds4_backend_cpu, dev, DS4_MEM_DEVICE, 4096, &buf, &err) == DS4_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_backend_cpu.free(dev, buf);
    ds4_backend_cpu.close(dev);
    return 0;
}

static ds4_rows rows_at(uint64_t off)
{
    return (ds4_rows){ { buf, off }, STRIDE };
}

/* A norm of eight values of three tokens: rows take (2 * 10 + 8) * 4 = 112 bytes. */
static ds4_op good(void)
{
    return (ds4_op){ .kind = DS4_OP_NORM,
                     .name = "some.norm",
                     .layer = -1,
                     .norm = { .n = N, .w = { buf, 0 }, .x = rows_at(64), .y = rows_at(256) } };
}

static void expect(const ds4_op *op, const char *said)
{
    ds4_err err = { 0 };

    const ds4_status st = ds4_ops_check(&ds4_backend_cpu, &limits, op, 1, &err);
    if (!said) {
        if (st != DS4_OK) fail_msg("%s", err.text);
        return;
    }
    assert_int_equal(st, DS4_E_ARG);
    if (!strstr(err.text, said) || !strstr(err.text, op->name))
        fail_msg("\"%s\" was to say %s", err.text, said);
}

static void test_places(void **state)
{
    ds4_op op = good();

    (void)state;
    expect(&op, NULL);
    op.norm.y = rows_at(4096 - 112);
    expect(&op, NULL);
    op.norm.y = rows_at(4096 - 108);
    expect(&op, "y is no place for 112 bytes");
    op.norm.y = rows_at(258);
    expect(&op, "multiple of 4");
    op = good();
    op.norm.w.buf = NULL;
    expect(&op, "w is no place");
    const ds4_backend elsewhere = { .name = "another" };
    ds4_buf           other = { .backend = &elsewhere, .n_bytes = 4096 };
    op.norm.w.buf = &other;
    expect(&op, "not of the cpu backend");
}

static void test_overlaps(void **state)
{
    ds4_op op = good();

    (void)state;
    op.norm.y = op.norm.x; /* in place */
    expect(&op, NULL);
    op.norm.y.at.off += 4;
    expect(&op, "writes y over x");
    op.norm.y = rows_at(64 + 112);
    expect(&op, NULL);
    op.norm.y = rows_at(28); /* ends in x, begins in w */
    expect(&op, "writes y over w");
    op = (ds4_op){ .kind = DS4_OP_HC_LEAVE,
                   .name = "some.leave",
                   .hc_leave = { .n_hc = 1,
                                 .n_embd = N,
                                 .h = rows_at(0),
                                 .y = rows_at(256),
                                 .gate = rows_at(512),
                                 .h_new = rows_at(768) } };
    expect(&op, NULL);
    op.hc_leave.h_new = op.hc_leave.h; /* not in place */
    expect(&op, "writes h_new over h");
}

static void test_sizes(void **state)
{
    const float       weights[N * N] = { 0 };
    const ds4_product part = { .w = { .dtype = DS4_F32,
                                      .n_in = N,
                                      .n_out = N,
                                      .n_mats = 1,
                                      .layout = (const ds4_layout *)(const void *)weights },
                               .x = rows_at(0),
                               .y = rows_at(256) };
    ds4_product       parts[DS4_MAX_PROJECT + 1] = { part };
    ds4_op op = { .kind = DS4_OP_PROJECT, .name = "some.product", .project = { .n = 1, .part = parts } };

    (void)state;
    expect(&op, NULL);
    op.project.n = DS4_MAX_PROJECT + 1;
    expect(&op, "the number of products is 9, expected 1 to 8");
    op.project.n = 1;
    parts[0].w.dtype = DS4_I32;
    expect(&op, "no product");
    parts[0].w.dtype = DS4_Q8_0;
    expect(&op, "n_in modulo");
    parts[0] = part;
    parts[0].w.n_out = STRIDE + 1;
    expect(&op, "rows of y have 11 values and are 10 apart");
    op = (ds4_op){ .kind = DS4_OP_WINDOW,
                   .name = "some.window",
                   .window = { .layer = 0, .rows = { buf, 0 } } };
    expect(&op, "without a layout");
    op = (ds4_op){ .kind = DS4_OP_ANGLES,
                   .name = "some.angles",
                   .angles = { .freq = { buf, 0 }, .n_rot = 7, .out = rows_at(64) } };
    expect(&op, "n_rot modulo 2 is 1");
    op.kind = DS4_N_OPS;
    expect(&op, "does not exist");
}

/* ---- a model's lists ------------------------------------------------------------------------------- */

typedef struct ranges {
    uint64_t from[256], to[256];
    uint32_t n;
} ranges;

/* Whether written ranges cover from .. to-1. */
static bool is_written(const ranges *r, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < r->n; i++) {
        if (from >= r->from[i] && from < r->to[i]) return to <= r->to[i] || is_written(r, r->to[i], to);
    }
    return false;
}

static void expect_flow(const ds4_network *m, const ds4_step_list *list)
{
    static ranges written;
    ds4_touch     t[DS4_MAX_TOUCHES];

    written.n = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        const uint32_t n = ds4_op_touches(&list->op[i], &m->limits, t);
        for (uint32_t j = 0; j < n; j++) {
            if (!t[j].reads || t[j].view->buf != m->buffers.buf) continue;
            /* Without the indexer nobody chooses, and nobody sees more rows than can be chosen. */
            if (list == &m->step[0] && strcmp(t[j].what, "chosen") == 0) continue;
            if (!is_written(&written, t[j].view->off, t[j].view->off + t[j].n_bytes))
                fail_msg("%s of layer %d reads %s, which nobody wrote", list->op[i].name, list->op[i].layer,
                         t[j].what);
        }
        for (uint32_t j = 0; j < n; j++) {
            if (!t[j].writes || t[j].view->buf != m->buffers.buf) continue;
            if (is_written(&written, t[j].view->off, t[j].view->off + t[j].n_bytes)) continue;
            assert_true(written.n < 256);
            written.from[written.n] = t[j].view->off;
            written.to[written.n++] = t[j].view->off + t[j].n_bytes;
        }
    }
}

static void test_lists_of_a_model(void **state)
{
    const tiny_model   t = { .seed = 3,
                             .dense = DS4_Q8_0,
                             .gate_up = DS4_MXFP4,
                             .down = DS4_MXFP4,
                             .precise = DS4_F16,
                             .n_embd = 64 };
    char               path[256];
    ds4_engine_options opt = { .model_path = path, .n_threads = 1, .max_batch = 7, .backend = "cpu" };
    ds4_network        m;
    ds4_err            err;

    (void)state;
    test_temp_path(path, "op_check_test.gguf");
    tiny_model_write(&t, path);
    const ds4_status st = ds4_network_load(&m, &opt, &err);
    if (st != DS4_OK) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        expect_flow(&m, &m.step[i]);
        assert_int_equal(ds4_ops_check(m.backend, &m.limits, m.step[i].op, m.step[i].n, &err), DS4_OK);
        /* One token more than there is memory for. */
        ds4_limits more = m.limits;
        more.max_batch += 100;
        assert_int_equal(ds4_ops_check(m.backend, &more, m.step[i].op, m.step[i].n, &err), DS4_E_ARG);
    }
    ds4_network_unload(&m);
    unlink(path);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_places),
    cmocka_unit_test(test_overlaps),
    cmocka_unit_test(test_sizes),
    cmocka_unit_test(test_lists_of_a_model),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
