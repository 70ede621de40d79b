/* records_test.c - products in the shapes of real models, which a device may multiply in a way of its own:
 * against the CPU, and a token alone against the same in companies of every size.
 *
 * The bits that are printed are those of the dialect's kernels where the emulator runs this, and must be the
 * same where a device does (DS4_TEST_BACKEND). */
#include "testing.h"

#include "emulator/emulated_device.h"
#include "emulator/emulator.h"
#include "emulator/twin.h"
#include "format/dtype.h"

enum { MAX_TOKENS = 66, N_PARTS = 3 };

static ds4_batch batch_of(uint32_t n)
{
    static const int32_t  token[MAX_TOKENS];
    static const uint32_t zero[MAX_TOKENS];

    return (ds4_batch){ .n_tokens = n, .token = token, .pos = zero, .span_of = zero };
}

static void in_order(void (*fn)(twin *))
{
    const ds4_limits limits = { .n_threads = 1,
                                .max_batch = MAX_TOKENS,
                                .max_logit_rows = MAX_TOKENS };
    twin             t;

    twin_open(&t, &limits);
    fn(&t);
    twin_close(&t);
    printf("# bits %016llx\n", (unsigned long long)t.hash);
}

/* ---- matrices --------------------------------------------------------------------------------------- */

/* Two Q8_0 matrices and one of F16 side by side, or several of one shape. */
typedef struct side {
    uint32_t    n_in, n_mats, n_parts, n_out[N_PARTS], stride[N_PARTS];
    twin_matrix w[N_PARTS];
    twin_buf    x, y[N_PARTS];
} side;

static void multiply(twin *t, const side *m, int s, uint32_t first, uint32_t n)
{
    const ds4_batch batch = batch_of(n);
    ds4_product     part[N_PARTS];
    const uint32_t  x_stride = m->n_in * m->n_mats;

    for (uint32_t i = 0; i < m->n_parts; i++) {
        part[i] =
            (ds4_product){ .w = m->w[i].w[s],
                           .x = { { m->x.buf[s], 4ull * first * x_stride }, x_stride },
                           .y = { { m->y[i].buf[s], 4ull * first * m->stride[i] }, m->stride[i] },
                           .x_step = m->n_mats > 1 ? m->n_in : 0,
                           .y_step = m->n_mats > 1 ? m->n_out[i] : 0,
                           .precise = i == 2 };
    }
    const ds4_op op = { .kind = DS4_OP_PROJECT,
                        .name = "project",
                        .project = { .n = m->n_parts, .part = part } };
    twin_run(t, s, &op, &batch);
}

static void forget(twin *t, const side *m)
{
    ds4_err err;

    for (uint32_t i = 0; i < m->n_parts; i++) {
        uint8_t *none = malloc(m->y[i].n_bytes);
        memset(none, 0xff, m->y[i].n_bytes);
        assert_int_equal(ds4_backend_write(t->backend[1], t->dev[1], twin_view(m->y[i], 1), none,
                                           m->y[i].n_bytes, &err),
                         DS4_OK);
        free(none);
    }
}

static void check_cuts(twin *t, const side *m, uint32_t n_tokens)
{
    static const uint32_t cuts[] = { 1, 7, 8, 65 };
    uint8_t              *whole[N_PARTS];

    for (uint32_t i = 0; i < m->n_parts; i++) whole[i] = twin_read(t, 1, m->y[i]);
    for (uint32_t c = 0; c < 4 && cuts[c] < n_tokens; c++) {
        forget(t, m);
        for (uint32_t at = 0; at < n_tokens; at += cuts[c])
            multiply(t, m, 1, at, n_tokens - at < cuts[c] ? n_tokens - at : cuts[c]);
        for (uint32_t i = 0; i < m->n_parts; i++) {
            float *again = twin_read(t, 1, m->y[i]), *once = (float *)(void *)whole[i];
            for (uint32_t r = 0; r < n_tokens; r++)
                assert_memory_equal(again + (size_t)r * m->stride[i],
                                    once + (size_t)r * m->stride[i],
                                    m->n_out[i] * m->n_mats * sizeof *once);
            free(again);
        }
    }
    for (uint32_t i = 0; i < m->n_parts; i++) free(whole[i]);
}

static void side_by_side(twin *t, uint32_t n_in, const uint32_t *n_out, uint32_t n_parts,
                         uint32_t n_mats, uint32_t n_tokens)
{
    side m = { .n_in = n_in, .n_mats = n_mats, .n_parts = n_parts };

    m.x = twin_floats(t, (uint64_t)n_tokens * n_in * n_mats);
    for (uint32_t i = 0; i < n_parts; i++) {
        m.n_out[i] = n_out[i];
        m.stride[i] = n_out[i] * n_mats + 3;
        m.w[i] = twin_matrix_make(t, i == 2 ? DS4_F16 : DS4_Q8_0, n_in, n_out[i], n_mats,
                                  DS4_USE_ALWAYS);
        m.y[i] = twin_zeros(t, 4ull * n_tokens * m.stride[i]);
    }
    for (int s = 0; s < TWIN_SIDES; s++) multiply(t, &m, s, 0, n_tokens);
    for (uint32_t i = 0; i < n_parts; i++)
        twin_expect_rows(t, m.y[i], n_tokens, n_out[i] * n_mats, m.stride[i], 2e-5, "product");
    check_cuts(t, &m, n_tokens);
    twin_free(t, m.x);
    for (uint32_t i = 0; i < n_parts; i++) {
        twin_free(t, m.y[i]);
        twin_matrix_free(m.w[i]);
    }
}

/* Integer weights and float activations. */
static void precise_one(twin *t, uint32_t n_in, uint32_t n_out, uint32_t n_tokens)
{
    const ds4_batch   batch = batch_of(n_tokens);
    const twin_matrix w = twin_matrix_make(t, DS4_Q8_0, n_in, n_out, 1, DS4_USE_ALWAYS);
    const twin_buf    x = twin_floats(t, (uint64_t)n_tokens * n_in),
                   y = twin_zeros(t, 4ull * n_tokens * n_out);

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_product part = {
            .w = w.w[s], .x = twin_rows(x, s, n_in), .y = twin_rows(y, s, n_out), .precise = true
        };
        const ds4_op op = { .kind = DS4_OP_PROJECT,
                            .name = "project",
                            .project = { .n = 1, .part = &part } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_rows(t, y, n_tokens, n_out, n_out, 2e-5, "precise");
    twin_free(t, x);
    twin_free(t, y);
    twin_matrix_free(w);
}

static void matrices_case(twin *t)
{
    static const uint32_t one[] = { 48 }, tiles[] = { 128 }, three[] = { 16, 80, 33 };

    side_by_side(t, 128, one, 1, 1, 3);
    precise_one(t, 256, 16, 9);
    precise_one(t, 2304, 32, 3);
    side_by_side(t, 640, tiles, 1, 1, 66); /* a segment that is not full */
    side_by_side(t, 1024, three, 3, 1, 9);
    side_by_side(t, 256, tiles, 1, 2, 65);
    side_by_side(t, 4096, three, 3, 1, 2);
    side_by_side(t, 8192, one, 1, 1, 2);
}

/* ---- experts ---------------------------------------------------------------------------------------- */

enum { N_EXPERTS = 3, N_USED = 2, GATE = 0, UP, DOWN, SHARED };

/* Gate, up and down of the routed experts, then of the shared one. */
static twin_matrix expert_matrix(twin *t, int i, uint32_t n_embd, uint32_t n_ffn)
{
    const bool     shared = i >= SHARED, down = i % SHARED == DOWN;
    const uint32_t type = shared ? DS4_Q8_0 : down ? DS4_Q2_K : DS4_IQ2_XXS;

    return twin_matrix_make(t, type, down ? n_ffn : n_embd, down ? n_embd : n_ffn,
                            shared ? 1 : N_EXPERTS, shared ? DS4_USE_ALWAYS : DS4_USE_EXPERTS);
}

static void experts_one(twin *t, uint32_t n_embd, uint32_t n_ffn, uint32_t n_tokens)
{
    static const uint32_t cuts[] = { 1, 3, 30, MAX_TOKENS };
    twin_matrix           m[2 * SHARED];

    for (int i = 0; i < 2 * SHARED; i++) m[i] = expert_matrix(t, i, n_embd, n_ffn);
    int32_t ids[MAX_TOKENS * N_USED];
    /* Most visit one expert, so that tiles of all sizes come up. */
    for (uint32_t i = 0; i < n_tokens * N_USED; i++)
        ids[i] = twin_below(t, 3) ? 1 : (int32_t)twin_below(t, N_EXPERTS);
    const twin_buf expert = twin_bytes(t, ids, n_tokens * N_USED * sizeof *ids);
    const twin_buf weight = twin_floats(t, n_tokens * N_USED),
                   x = twin_floats(t, n_tokens * n_embd);
    const twin_buf y = twin_zeros(t, 4ull * n_tokens * n_embd);
    uint8_t       *kept = NULL;

    for (int c = 3; c >= 0; c--) {
        if (c < 3 && (cuts[c] >= n_tokens || (c <= 1 && n_tokens > 8))) continue; /* costly */
        for (uint32_t first = 0; first < n_tokens; first += cuts[c]) {
            const uint32_t  n = n_tokens - first < cuts[c] ? n_tokens - first : cuts[c];
            const ds4_batch batch = batch_of(n);
            for (int s = c == 3 ? 0 : 1; s < TWIN_SIDES; s++) {
                const ds4_op op = {
                    .kind = DS4_OP_EXPERTS,
                    .name = "experts",
                    .experts = { .n_used = N_USED,
                                 .clamp = 10.0f,
                                 .gate = m[GATE].w[s],
                                 .up = m[UP].w[s],
                                 .down = m[DOWN].w[s],
                                 .shared_gate = m[SHARED + GATE].w[s],
                                 .shared_up = m[SHARED + UP].w[s],
                                 .shared_down = m[SHARED + DOWN].w[s],
                                 .expert = { expert.buf[s], 4ull * first * N_USED },
                                 .weight = { { weight.buf[s], 4ull * first * N_USED }, N_USED },
                                 .x = { { x.buf[s], 4ull * first * n_embd }, n_embd },
                                 .y = { { y.buf[s], 4ull * first * n_embd }, n_embd } }
                };
                twin_run(t, s, &op, &batch);
            }
        }
        if (c == 3) {
            twin_expect_rows(t, y, n_tokens, n_embd, n_embd, 0.01, "experts");
            kept = twin_read(t, 1, y);
            continue;
        }
        uint8_t *again = twin_read(t, 1, y);
        assert_memory_equal(kept, again, 4ull * n_tokens * n_embd);
        free(again);
    }
    free(kept);
    const twin_buf bufs[] = { expert, weight, x, y };
    for (int i = 0; i < 4; i++) twin_free(t, bufs[i]);
    for (int i = 0; i < 2 * SHARED; i++) twin_matrix_free(m[i]);
}

static void experts_case(twin *t)
{
    experts_one(t, 256, 256, 1);
    experts_one(t, 512, 256, 5);
    experts_one(t, 256, 256, MAX_TOKENS);
    experts_one(t, 1280, 256, 2);
    experts_one(t, 256, 2304, 1); /* more blocks than warps */
}

static void test_matrices(void **state)
{
    (void)state;
    in_order(matrices_case);
}

static void test_experts(void **state)
{
    (void)state;
    in_order(experts_case);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_matrices),
    cmocka_unit_test(test_experts),
};
TEST_MAIN(tests)
