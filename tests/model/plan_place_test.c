/* plan_place_test.c - where a plan puts the bundled model on a device with memory of its own. */
#include "testing.h"

#include "model/plan.h"

enum { MIB = 1 << 20 };

static const char path[] = "models/ds4-mini.gguf";

static ds4_gguf     *g;
static ds4_shape     shape;
static ds4_kv_layer  layers[DS4_MAX_LAYERS];
static ds4_kv_layout kv;

static int set_up(void **state)
{
    ds4_err err;

    (void)state;
    if (ds4_gguf_open(path, &g, &err) != DS4_OK || ds4_shape_read(g, &shape, &err) != DS4_OK) return -1;
    ds4_kv_layout_make(&shape, DS4_KV_PLANES, DS4_KV_RECORDS, layers, &kv);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_gguf_close(g);
    return 0;
}

/* A plan with so much memory on the device and on the host; the model has 10 and 6.5 MiB of weights
 * and experts, a context of 512 tokens 1 MiB. */
static ds4_plan plan(uint32_t device_mib, uint32_t host_mib, ds4_experts experts)
{
    const ds4_dev_info       info = { .mem_total = UINT64_C(1) << 40, .mem_free = UINT64_C(1) << 40 };
    const ds4_engine_options opt = { .model_path = path, .plan_ctx = 512, .experts = experts,
                                     .mem_bytes = (uint64_t)host_mib * MIB,
                                     .device_mem_bytes = (uint64_t)device_mib * MIB };
    const ds4_plan_parts     parts = { .g = g, .s = &shape, .kv = &kv, .info = &info,
                                       .scratch = { 2 * MIB, 2 * MIB }, .tables = MIB };
    ds4_plan                 p;

    ds4_plan_compute(&parts, &opt, &p);
    assert_int_equal(p.device.total, p.device.weights + p.device.experts + p.device.kv + p.device.scratch);
    assert_int_equal(p.host.total, p.host.weights + p.host.experts + p.host.kv + p.host.scratch);
    assert_int_equal(p.device.weights, p.dense);
    assert_int_equal(p.device.kv, p.kv);
    assert_int_equal(p.host.kv + p.host.scratch, 0);
    return p;
}

static void test_everything_on_a_large_device(void **state)
{
    const ds4_plan p = plan(40, 4, DS4_EXPERTS_AUTO);

    (void)state;
    assert_true(p.fits && !p.stream);
    assert_int_equal(p.device.experts, p.experts);
    assert_int_equal(p.host.experts, 0);
    assert_true(p.total < 4 * MIB);
}

static void test_experts_in_the_hosts_memory(void **state)
{
    const ds4_plan small = plan(15, 12, DS4_EXPERTS_AUTO), asked = plan(40, 12, DS4_EXPERTS_HOST);

    (void)state;
    assert_true(small.fits && !small.stream);
    assert_int_equal(small.host.experts, small.experts);
    assert_int_equal(small.device.experts, 0);
    assert_true(asked.fits && asked.host.experts == asked.experts && asked.device.experts == 0);
}

static void test_experts_from_the_disk(void **state)
{
    const ds4_plan p = plan(15, 5, DS4_EXPERTS_AUTO);

    (void)state;
    assert_true(p.fits && p.stream);
    assert_int_equal(p.host.experts, p.expert_cache);
    assert_int_equal(p.disk.experts, p.experts);
    assert_true(p.expert_cache < p.experts && p.total <= 5 * MIB);
}

static void test_the_purse_that_is_too_small_is_named(void **state)
{
    const ds4_plan device = plan(5, 40, DS4_EXPERTS_AUTO), host = plan(40, 4, DS4_EXPERTS_HOST);

    (void)state;
    assert_false(device.fits);
    assert_non_null(strstr(device.advice, "of the device's memory"));
    assert_non_null(strstr(device.advice, "5.0 MiB may be used (--device-mem)"));
    assert_false(host.fits);
    assert_null(strstr(host.advice, "of the device's memory"));
    assert_non_null(strstr(host.advice, "4.0 MiB may be used (--mem)"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_everything_on_a_large_device),
    cmocka_unit_test(test_experts_in_the_hosts_memory),
    cmocka_unit_test(test_experts_from_the_disk),
    cmocka_unit_test(test_the_purse_that_is_too_small_is_named),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
