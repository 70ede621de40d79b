/* metal_text_test.c - the Metal text of kernels that no operation chooses, against the dialect. The other
 * kernels' is run by token_ops_test.c and state_ops_test.c. */
#include "testing.h"

#include "backend/gpu/args.h"
#include "emulator/emulated_device.h"
#include "emulator/emulator.h"
#include "format/dtype.h"

/* y of two experts, by a kernel that no operation chooses: rounded activations are preferred. */
static void experts_alone(uint32_t dtype, gpu_kernel kernel, bool text, float y[18])
{
    enum { N_IN = 256, N_OUT = 9, N_PAIRS = 2 };
    const uint64_t     row_bytes = ds4_row_bytes(dtype, N_IN), w_bytes = 2 * N_OUT * row_bytes;
    const experts_args a = { .row_bytes = row_bytes, .w_stride = N_OUT * row_bytes, .n_in = N_IN,
                             .n_out = N_OUT, .n_pairs = N_PAIRS, .n_used = 1,
                             .x_stride = N_IN, .y_stride = N_OUT, .x_by_token = 1,
                             .n_sharing = 1, .aligned = 1 };
    const int32_t      expert[N_PAIRS] = { 1, 0 };
    uint8_t           *bytes = calloc(1, w_bytes);
    float             *x = malloc(sizeof(float[N_PAIRS * N_IN]));
    gpu_device        *dev;
    gpu_at             w, x_at, y_at, expert_at;
    ds4_err            err;

    for (uint64_t i = 0; i < w_bytes; i++) bytes[i] = (uint8_t)(i * 37 % 60);      /* no NaN as a scale */
    for (int i = 0; i < N_PAIRS * N_IN; i++) x[i] = (float)(i % 23) - 11.0f;
    assert_int_equal(emulated_api.open(0, &dev, &err), DS4_OK);
    assert_int_equal(emulated_api.alloc(dev, w_bytes, &w, &err), DS4_OK);
    assert_int_equal(emulated_api.alloc(dev, sizeof(float[N_PAIRS * N_IN]), &x_at, &err), DS4_OK);
    assert_int_equal(emulated_api.alloc(dev, sizeof(float[N_PAIRS * N_OUT]), &y_at, &err), DS4_OK);
    assert_int_equal(emulated_api.alloc(dev, sizeof expert, &expert_at, &err), DS4_OK);
    assert_int_equal(emulated_api.write(dev, w, bytes, w_bytes, &err), DS4_OK);
    assert_int_equal(emulated_api.write(dev, x_at, x, sizeof(float[N_PAIRS * N_IN]), &err), DS4_OK);
    assert_int_equal(emulated_api.write(dev, expert_at, expert, sizeof expert, &err), DS4_OK);
    const gpu_launch l = { .kernel = kernel, .args = &a, .args_bytes = sizeof a,
                           .buffer = (const gpu_at[]){ w, x_at, y_at, expert_at, 0, 0 },
                           .groups = { 2, N_PAIRS, 1 }, .n_threads = KD_GROUP };
    emulated_run_text(text);
    assert_int_equal(emulated_api.launch(dev, &l, &err), DS4_OK);
    if (emulated_api.wait(dev, &err) != DS4_OK) fail_msg("%s", err.text);
    emulated_run_text(false);
    const gpu_copy c = { y_at, y, sizeof(float[N_PAIRS * N_OUT]) };
    assert_int_equal(emulated_api.read(dev, &c, 1, &err), DS4_OK);
    const gpu_at all[] = { w, x_at, y_at, expert_at };
    for (int i = 0; i < 4; i++) emulated_api.free(dev, all[i]);
    emulated_api.close(dev);
    free(bytes);
    free(x);
}

static void test_experts_of_unrounded_activations(void **state)
{
    static const struct { uint32_t dtype; gpu_kernel kernel; } of[] = {
        { DS4_Q8_0, GPU_KERNEL_experts_q8_0 }, { DS4_MXFP4, GPU_KERNEL_experts_mxfp4 },
        { DS4_Q2_K, GPU_KERNEL_experts_q2_k }, { DS4_Q4_K, GPU_KERNEL_experts_q4_k },
        { DS4_Q6_K, GPU_KERNEL_experts_q6_k }, { DS4_IQ2_XXS, GPU_KERNEL_experts_iq2_xxs },
    };

    (void)state;
    for (uint32_t order = 0; order < 3; order++) {
        emulator_order(order);
        for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
            float dialect[18], text[18], sum = 0.0f;
            experts_alone(of[i].dtype, of[i].kernel, false, dialect);
            experts_alone(of[i].dtype, of[i].kernel, true, text);
            assert_memory_equal(dialect, text, sizeof text);
            for (int k = 0; k < 18; k++) sum += text[k] * text[k];
            assert_true(sum > 0.0f);
        }
    }
    emulator_order(0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_experts_of_unrounded_activations),
};
TEST_MAIN(tests)
