/* loading_test.c - weights reach a GPU's memory once, when all have a place, and what is copied is told. */
#include "testing.h"

#include "backend/backend.h"
#include "emulator/emulated_device.h"
#include "format/dtype.h"

static void count_bytes(void *ctx, uint64_t n_done, uint64_t n_total)
{
    assert_true(n_done <= n_total);
    *(uint64_t *)ctx = n_done;
}

static void test_loading(void **state)
{
    const ds4_limits limits = { .max_batch = 4 };
    const uint8_t    weights[64] = { 0 };
    const ds4_tensor tensor = { .name = "w", .path = "memory", .data = weights, .n_bytes = 64,
                                .dtype = DS4_F32, .n_in = 4, .n_out = 4, .n_mats = 1 };
    uint64_t          n_done = 0;
    const ds4_loading told = { count_bytes, &n_done };
    ds4_dev          *dev;
    ds4_matrix        w;
    ds4_err           err;

    (void)state;
    assert_int_equal(emulated_backend.open(0, &limits, &dev, &err), DS4_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(emulated_backend.bind(dev, &tensor, &w, &err), DS4_OK);
    assert_int_equal(n_done, 0);
    assert_int_equal(emulated_backend.load(dev, &told, &err), DS4_OK);
    assert_int_equal(n_done, 3 * 64);
    n_done = 0;
    assert_int_equal(emulated_backend.load(dev, &told, &err), DS4_OK);
    assert_int_equal(n_done, 0);
    emulated_backend.close(dev);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_loading),
};
TEST_MAIN(tests)
