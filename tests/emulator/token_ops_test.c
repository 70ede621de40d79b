/* token_ops_test.c - operations that treat tokens one by one, and products: emulated kernels against
 * the CPU.
 *
 * Each test runs under several orders of turns and must give the same bits in all of them. */
#include "testing.h"

#include "emulator/emulated_device.h"
#include "emulator/emulator.h"
#include "emulator/twin.h"
#include "format/dtype.h"
#include "kernels/kernels.h"

#include <math.h>

enum { N_ORDERS = 3, MAX_TOKENS = 33 };

typedef void case_fn(twin *t);

/* Tokens at positions of their own, without sessions. */
static ds4_batch plain_batch(twin *t, uint32_t n_tokens, uint32_t n_vocab)
{
    static int32_t  token[MAX_TOKENS];
    static uint32_t pos[MAX_TOKENS], span_of[MAX_TOKENS], row[MAX_TOKENS];

    for (uint32_t i = 0; i < n_tokens; i++) {
        token[i] = (int32_t)twin_below(t, n_vocab);
        pos[i] = twin_below(t, 4) ? twin_below(t, 1 << 20) : twin_below(t, 300);
        row[i] = twin_below(t, n_tokens);
    }
    return (ds4_batch){ .n_tokens = n_tokens,
                        .token = token,
                        .pos = pos,
                        .span_of = span_of,
                        .logit_row = row,
                        .n_logit_rows = (n_tokens + 1) / 2 };
}

static void in_all_orders(case_fn *fn)
{
    static const uint32_t orders[N_ORDERS] = { 0, 1, 77 };
    const ds4_limits      limits = { .n_threads = 1, .max_batch = MAX_TOKENS, .max_logit_rows = MAX_TOKENS };
    uint64_t              hash = 0;

    for (int i = 0; i < N_ORDERS; i++) {
        twin t;
        twin_on_metal(i == 2);
        twin_open(&t, &limits);
        emulator_order(orders[i]);
        emulated_run_text(i > 0);
        fn(&t);
        emulator_order(0);
        twin_close(&t);
        assert_int_equal(emulated_live(), 0);
        if (i == 0) hash = t.hash;
        assert_int_equal(t.hash, hash);
    }
    printf("# bits %016llx\n", (unsigned long long)hash);
}

/* ---- angles, norms, heads -------------------------------------------------------------------------- */

static void angles_case(twin *t)
{
    for (uint32_t n_rot = 16; n_rot <= 64; n_rot += 48) {
        const ds4_batch batch = plain_batch(t, MAX_TOKENS, 10);
        float           freq[32];
        for (uint32_t i = 0; i < n_rot / 2; i++) freq[i] = (float)pow(160000.0, -2.0 * i / n_rot);
        const twin_buf f = twin_bytes(t, freq, n_rot / 2 * sizeof *freq);
        const twin_buf out = twin_zeros(t, MAX_TOKENS * 70 * sizeof(float));
        for (int s = 0; s < TWIN_SIDES; s++) {
            const ds4_op op = {
                .kind = DS4_OP_ANGLES,
                .name = "angles",
                .angles = { .freq = twin_view(f, s), .n_rot = n_rot, .out = twin_rows(out, s, 70) }
            };
            twin_run(t, s, &op, &batch);
        }
        twin_expect_rows(t, out, MAX_TOKENS, n_rot, 70, 3e-7, "angles");
        twin_free(t, f);
        twin_free(t, out);
    }
}

static void norm_case(twin *t)
{
    static const uint32_t sizes[] = { 1, 31, 64, 257, 4096 };

    for (int i = 0; i < 5; i++) {
        const uint32_t  n = sizes[i], stride = n + 3;
        const ds4_batch batch = plain_batch(t, 5, 10);
        const twin_buf  w = twin_floats(t, n), x = twin_floats(t, 5 * stride),
                       y = twin_zeros(t, 5 * stride * sizeof(float));
        for (int in_place = 0; in_place < 2; in_place++) {
            for (int s = 0; s < TWIN_SIDES; s++) {
                const ds4_rows from = twin_rows(x, s, stride);
                const ds4_op   op = { .kind = DS4_OP_NORM,
                                      .name = "norm",
                                      .norm = { .n = n,
                                                .eps = 1e-6f,
                                                .w = twin_view(w, s),
                                                .x = from,
                                                .y = in_place ? from : twin_rows(y, s, stride) } };
                twin_run(t, s, &op, &batch);
            }
            twin_expect_rows(t, in_place ? x : y, 5, n, stride, 1e-5, "norm");
        }
        twin_free(t, w);
        twin_free(t, x);
        twin_free(t, y);
    }
}

static void heads_case(twin *t)
{
    static const uint32_t shapes[][3] = { { 3, 64, 16 }, { 9, 512, 64 }, { 16, 96, 32 } };

    for (int i = 0; i < 3; i++) {
        const uint32_t  n_heads = shapes[i][0], n = shapes[i][1], n_rot = shapes[i][2], n_q = n_heads * n;
        const ds4_batch batch = plain_batch(t, 4, 10);
        const twin_buf  angles = twin_floats(t, 4 * n_rot), q = twin_floats(t, 4 * n_q);
        for (int s = 0; s < TWIN_SIDES; s++) {
            const ds4_op op = { .kind = DS4_OP_HEADS,
                                .name = "heads",
                                .heads = { .n_heads = n_heads,
                                           .n_head = n,
                                           .n_rot = n_rot,
                                           .eps = 1e-6f,
                                           .angles = twin_rows(angles, s, n_rot),
                                           .q = twin_rows(q, s, n_q) } };
            twin_run(t, s, &op, &batch);
        }
        twin_expect_rows(t, q, 4, n_q, n_q, 1e-5, "heads");
        twin_free(t, angles);
        twin_free(t, q);
    }
}

/* ---- hyper-connections ----------------------------------------------------------------------------- */

typedef struct hc_bufs {
    uint32_t n_hc, n_embd, n_tokens;
    twin_buf h, m, a, gate, y, h_new, scale, base, norm;
} hc_bufs;

static hc_bufs hc_make(twin *t, uint32_t n_hc, uint32_t n_embd, uint32_t n_tokens)
{
    const uint32_t n_mix = n_hc * (2 + n_hc);

    return (hc_bufs){ n_hc,
                      n_embd,
                      n_tokens,
                      twin_floats(t, (uint64_t)n_tokens * n_hc * n_embd),
                      twin_floats(t, n_tokens * n_mix),
                      twin_zeros(t, 4ull * n_tokens * n_embd),
                      twin_zeros(t, 4ull * n_tokens * n_mix),
                      twin_floats(t, n_tokens * n_embd),
                      twin_zeros(t, 4ull * n_tokens * n_hc * n_embd),
                      twin_floats(t, 3),
                      twin_floats(t, n_mix),
                      twin_floats(t, n_embd) };
}

static void hc_free(twin *t, const hc_bufs *b)
{
    const twin_buf all[] = { b->h, b->m, b->a, b->gate, b->y, b->h_new, b->scale, b->base, b->norm };
    for (int i = 0; i < 9; i++) twin_free(t, all[i]);
}

static void hc_one(twin *t, uint32_t n_hc, uint32_t n_embd, uint32_t n_tokens)
{
    const ds4_batch batch = plain_batch(t, n_tokens, 10);
    const hc_bufs   b = hc_make(t, n_hc, n_embd, n_tokens);
    const uint32_t  n_gate = n_hc * (1 + n_hc), n_mix = n_hc * (2 + n_hc), n_h = n_hc * n_embd;

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_HC_ENTER,
                            .name = "enter",
                            .hc_enter = { .n_hc = n_hc,
                                          .n_embd = n_embd,
                                          .n_iters = 20,
                                          .norm_eps = 1e-6f,
                                          .hc_eps = 1e-6f,
                                          .scale = twin_view(b.scale, s),
                                          .base = twin_view(b.base, s),
                                          .norm = twin_view(b.norm, s),
                                          .h = twin_rows(b.h, s, n_h),
                                          .m = twin_rows(b.m, s, n_mix),
                                          .a = twin_rows(b.a, s, n_embd),
                                          .gate = twin_rows(b.gate, s, n_mix) } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_rows(t, b.gate, n_tokens, n_gate, n_mix, 3e-5, "gates");
    twin_expect_rows(t, b.a, n_tokens, n_embd, n_embd, 3e-5, "entered");
    twin_align(t, b.gate);
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_HC_LEAVE,
                            .name = "leave",
                            .hc_leave = { .n_hc = n_hc,
                                          .n_embd = n_embd,
                                          .h = twin_rows(b.h, s, n_h),
                                          .y = twin_rows(b.y, s, n_embd),
                                          .gate = twin_rows(b.gate, s, n_mix),
                                          .h_new = twin_rows(b.h_new, s, n_h) } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_rows(t, b.h_new, n_tokens, n_h, n_h, 1e-5, "left");
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_HC_MERGE,
                            .name = "merge",
                            .hc_merge = { .n_hc = n_hc,
                                          .n_embd = n_embd,
                                          .norm_eps = 1e-6f,
                                          .hc_eps = 1e-6f,
                                          .scale = twin_view(b.scale, s),
                                          .base = twin_view(b.base, s),
                                          .norm = twin_view(b.norm, s),
                                          .h = twin_rows(b.h, s, n_h),
                                          .m = twin_rows(b.m, s, n_mix),
                                          .x = twin_rows(b.a, s, n_embd) } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_rows(t, b.a, batch.n_logit_rows, n_embd, n_embd, 3e-5, "merged");
    hc_free(t, &b);
}

static void hc_case(twin *t)
{
    hc_one(t, 4, 256, 5);
    hc_one(t, 4, 4096, 2);
    hc_one(t, 2, 33, 3);
    hc_one(t, 8, 96, 2);
}

/* ---- products -------------------------------------------------------------------------------------- */

static const uint32_t types[] = { DS4_F32,  DS4_F16,  DS4_BF16, DS4_Q8_0,   DS4_MXFP4,
                                  DS4_Q2_K, DS4_Q4_K, DS4_Q6_K, DS4_IQ2_XXS };
enum { N_TYPES = sizeof types / sizeof *types };

static void project_rounded(twin *t, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_tokens,
                            uint32_t n_mats, bool precise)
{
    const ds4_batch   batch = plain_batch(t, n_tokens, 10);
    const uint32_t    x_stride = n_in * n_mats, y_stride = n_out * n_mats + 5;
    const twin_matrix w = twin_matrix_make(t, dtype, n_in, n_out, n_mats, DS4_USE_ALWAYS);
    const twin_buf    x = twin_floats(t, (uint64_t)n_tokens * x_stride);
    const twin_buf    y = twin_zeros(t, 4ull * n_tokens * y_stride), alone = twin_zeros(t, 4ull * y_stride);

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_product part = { .w = w.w[s],
                                   .x = twin_rows(x, s, x_stride),
                                   .y = twin_rows(y, s, y_stride),
                                   .x_step = n_mats > 1 ? n_in : 0,
                                   .y_step = n_mats > 1 ? n_out : 0,
                                   .precise = precise };
        const ds4_op      op = { .kind = DS4_OP_PROJECT,
                                 .name = "project",
                                 .project = { .n = 1, .part = &part } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_rows(t, y, n_tokens, n_out * n_mats, y_stride, 2e-5, "product");

    /* The last token alone gives the same bits. */
    const uint32_t    last = n_tokens - 1;
    const ds4_product part = { .w = w.w[1],
                               .x = { { x.buf[1], 4ull * last * x_stride }, x_stride },
                               .y = twin_rows(alone, 1, y_stride),
                               .x_step = n_mats > 1 ? n_in : 0,
                               .y_step = n_mats > 1 ? n_out : 0,
                               .precise = precise };
    const ds4_op op = { .kind = DS4_OP_PROJECT, .name = "project", .project = { .n = 1, .part = &part } };
    const ds4_batch one = plain_batch(t, 1, 10);
    twin_run(t, 1, &op, &one);
    float *all = twin_read(t, 1, y), *single = twin_read(t, 1, alone);
    assert_memory_equal(all + (uint64_t)last * y_stride, single, n_out * n_mats * sizeof *all);
    free(all);
    free(single);
    twin_free(t, x);
    twin_free(t, y);
    twin_free(t, alone);
    twin_matrix_free(w);
}

static void project_one(twin *t, uint32_t dtype, uint32_t n_in, uint32_t n_out, uint32_t n_tokens,
                        uint32_t n_mats)
{
    project_rounded(t, dtype, n_in, n_out, n_tokens, n_mats, true);
    project_rounded(t, dtype, n_in, n_out, n_tokens, n_mats, false);
}

static void project_case(twin *t)
{
    for (int i = 0; i < N_TYPES; i++) {
        const uint32_t block = ds4_dtype_get(types[i])->block_elems, unit = block == 1 ? 24 : block;
        project_one(t, types[i], unit, 1, 1, 1);
        project_one(t, types[i], unit * 3, 17, 9, 1);
        project_one(t, types[i], unit * 2, 9, 18, 3);
    }
    project_one(t, DS4_F32, 1, 3, 2, 1); /* rows that are no multiple of eight */
    project_one(t, DS4_F16, 77, 5, 3, 1);
    project_one(t, DS4_BF16, 259, 8, 8, 1);
    project_one(t, DS4_Q8_0, 4096 + 32, 7, 9, 1);       /* rows of several segments */
    project_one(t, DS4_Q2_K, 2048 + 256, 9, 2, 2);
    project_one(t, DS4_F16, 16384 + 3, 3, 8, 1);
}

static void embed_case(twin *t)
{
    for (int i = 0; i < N_TYPES; i++) {
        const uint32_t block = ds4_dtype_get(types[i])->block_elems, n = block == 1 ? 45 : block * 2,
                       n_hc = 3;
        const ds4_batch   batch = plain_batch(t, 7, 19);
        const twin_matrix table = twin_matrix_make(t, types[i], n, 19, 1, DS4_USE_ROWS);
        const twin_buf    h = twin_zeros(t, 4ull * 7 * n_hc * n);
        for (int s = 0; s < TWIN_SIDES; s++) {
            const ds4_op op = { .kind = DS4_OP_EMBED,
                                .name = "embed",
                                .embed = {
                                    .table = table.w[s], .n_hc = n_hc, .h = twin_rows(h, s, n_hc * n) } };
            twin_run(t, s, &op, &batch);
        }
        twin_expect_bytes(t, h, "embedding");
        twin_free(t, h);
        twin_matrix_free(table);
    }
}

/* ---- experts --------------------------------------------------------------------------------------- */

static void route_one(twin *t, uint32_t n_experts, uint32_t n_used, bool by_token, bool has_bias)
{
    enum { N = 9, VOCAB = 11 };
    const ds4_batch batch = plain_batch(t, N, VOCAB);
    int32_t         ids[VOCAB * 8];
    for (int i = 0; i < VOCAB * 8; i++) ids[i] = (int32_t)twin_below(t, n_experts);
    const twin_buf logits = twin_floats(t, N * n_experts), bias = twin_floats(t, n_experts);
    const twin_buf table = twin_bytes(t, ids, VOCAB * n_used * sizeof *ids);
    const twin_buf expert = twin_zeros(t, N * n_used * 4), weight = twin_zeros(t, N * n_used * 4);

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_ROUTE,
                            .name = "route",
                            .route = { .n_experts = n_experts,
                                       .n_used = n_used,
                                       .scale = 1.5f,
                                       .normalize = true,
                                       .by_token = by_token,
                                       .bias = has_bias ? twin_view(bias, s) : (ds4_view){ 0 },
                                       .table = twin_view(table, s),
                                       .logits = twin_rows(logits, s, n_experts),
                                       .expert = twin_view(expert, s),
                                       .weight = twin_rows(weight, s, n_used) } };
        twin_run(t, s, &op, &batch);
    }
    twin_expect_bytes(t, expert, "experts");
    twin_expect_rows(t, weight, N, n_used, n_used, 1e-5, "weights");
    twin_free(t, logits);
    twin_free(t, bias);
    twin_free(t, table);
    twin_free(t, expert);
    twin_free(t, weight);
}

static void route_case(twin *t)
{
    route_one(t, 256, 6, false, true);
    route_one(t, 13, 8, false, false);
    route_one(t, 64, 6, true, false);
}

/* All equal: the lowest experts are chosen. */
static void route_ties_case(twin *t)
{
    const ds4_batch batch = plain_batch(t, 1, 10);
    const twin_buf  logits = twin_zeros(t, 40 * 4), expert = twin_zeros(t, 6 * 4),
                   weight = twin_zeros(t, 6 * 4);
    const ds4_op op = { .kind = DS4_OP_ROUTE,
                        .name = "route",
                        .route = { .n_experts = 40,
                                   .n_used = 6,
                                   .scale = 1.0f,
                                   .normalize = true,
                                   .logits = twin_rows(logits, 1, 40),
                                   .expert = twin_view(expert, 1),
                                   .weight = twin_rows(weight, 1, 6) } };

    twin_run(t, 1, &op, &batch);
    int32_t *chosen = twin_read(t, 1, expert);
    for (int i = 0; i < 6; i++) assert_int_equal(chosen[i], i);
    free(chosen);
    twin_free(t, logits);
    twin_free(t, expert);
    twin_free(t, weight);
}

static void experts_one(twin *t, uint32_t type, uint32_t down_type, uint32_t n_embd, uint32_t n_ffn,
                        uint32_t n_tokens)
{
    enum { N_EXPERTS = 5, N_USED = 3 };
    const ds4_batch   batch = plain_batch(t, n_tokens, 10);
    const twin_matrix gate = twin_matrix_make(t, type, n_embd, n_ffn, N_EXPERTS, DS4_USE_EXPERTS);
    const twin_matrix up = twin_matrix_make(t, type, n_embd, n_ffn, N_EXPERTS, DS4_USE_EXPERTS);
    const twin_matrix down = twin_matrix_make(t, down_type, n_ffn, n_embd, N_EXPERTS, DS4_USE_EXPERTS);
    const twin_matrix shared[3] = { twin_matrix_make(t, DS4_F32, n_embd, n_ffn, 1, DS4_USE_ALWAYS),
                                    twin_matrix_make(t, DS4_F32, n_embd, n_ffn, 1, DS4_USE_ALWAYS),
                                    twin_matrix_make(t, DS4_F32, n_ffn, n_embd, 1, DS4_USE_ALWAYS) };
    int32_t           ids[MAX_TOKENS * N_USED];
    for (uint32_t i = 0; i < n_tokens * N_USED; i++) ids[i] = (int32_t)twin_below(t, N_EXPERTS);
    const twin_buf expert = twin_bytes(t, ids, n_tokens * N_USED * sizeof *ids),
                   weight = twin_floats(t, n_tokens * N_USED);
    const twin_buf x = twin_floats(t, n_tokens * n_embd), y = twin_zeros(t, 4ull * n_tokens * n_embd);
    float         *kept = NULL;

    /* All tokens, then the last alone, which must not know it. */
    for (uint32_t first = 0; first<n_tokens; first += n_tokens> 1 ? n_tokens - 1 : 1) {
        for (int s = 0; s < TWIN_SIDES; s++) {
            const ds4_op op = { .kind = DS4_OP_EXPERTS,
                                .name = "experts",
                                .experts = { .n_used = N_USED,
                                             .clamp = 10.0f,
                                             .gate = gate.w[s],
                                             .up = up.w[s],
                                             .down = down.w[s],
                                             .shared_gate = shared[0].w[s],
                                             .shared_up = shared[1].w[s],
                                             .shared_down = shared[2].w[s],
                                             .expert = { expert.buf[s], first * N_USED * 4 },
                                             .weight = { { weight.buf[s], first * N_USED * 4 }, N_USED },
                                             .x = { { x.buf[s], 4ull * first * n_embd }, n_embd },
                                             .y = { { y.buf[s], 4ull * first * n_embd }, n_embd } } };
            ds4_batch    part = batch;
            part.n_tokens -= first;
            twin_run(t, s, &op, &part);
        }
        if (first == 0) {
            twin_expect_rows(t, y, n_tokens, n_embd, n_embd,
                             type == DS4_F32 && down_type == DS4_F32 ? 3e-5 : 0.01, "experts");
            kept = twin_read(t, 1, y);
        }
    }
    float *again = twin_read(t, 1, y);
    assert_memory_equal(kept, again, 4ull * n_tokens * n_embd);
    free(again);
    free(kept);
    twin_free(t, expert);
    twin_free(t, weight);
    twin_free(t, x);
    twin_free(t, y);
    twin_matrix_free(gate);
    twin_matrix_free(up);
    twin_matrix_free(down);
    for (int i = 0; i < 3; i++) twin_matrix_free(shared[i]);
}

static void experts_case(twin *t)
{
    experts_one(t, DS4_F32, DS4_F32, 40, 24, 1);
    experts_one(t, DS4_F32, DS4_F32, 40, 24, MAX_TOKENS);
    /* An activation between two gates' roundings may fall to the other side. */
    experts_one(t, DS4_IQ2_XXS, DS4_MXFP4, 256, 32, 3);
    experts_one(t, DS4_BF16, DS4_Q2_K, 16, 256, 2);
    experts_one(t, DS4_Q4_K, DS4_Q8_0, 256, 32, 9);
    experts_one(t, DS4_Q6_K, DS4_F16, 256, 8, 2);
}

/* ---- recordings --------------------------------------------------------------------------------- */

/* A program that runs again and again over batches of one size sees each batch's tokens. */
static void recordings_case(twin *t)
{
    enum { N = 3, N_EMBD = 45, N_RUNS = 5 };
    const twin_matrix table = twin_matrix_make(t, DS4_F16, N_EMBD, 19, 1, DS4_USE_ROWS);
    const twin_buf    h = twin_zeros(t, 4ull * N * N_EMBD), w = twin_floats(t, N_EMBD);
    ds4_op            ops[TWIN_SIDES][2];
    ds4_program      *program[TWIN_SIDES];
    ds4_ticket        ticket;
    ds4_err           err;

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_rows rows = twin_rows(h, s, N_EMBD);
        ops[s][0] = (ds4_op){ .kind = DS4_OP_EMBED, .name = "embed",
                              .embed = { .table = table.w[s], .n_hc = 1, .h = rows } };
        ops[s][1] = (ds4_op){ .kind = DS4_OP_NORM, .name = "norm",
                              .norm = { .n = N_EMBD, .eps = 1e-6f, .w = twin_view(w, s), .x = rows,
                                        .y = rows } };
        assert_int_equal(t->backend[s]->compile(t->dev[s], ops[s], 2, &program[s], &err), DS4_OK);
    }
    for (int run = 0; run < N_RUNS; run++) {
        ds4_batch      batch = plain_batch(t, N, 19);
        const ds4_span spans[N] = { { .first = 0, .n = 1 }, { .first = 1, .n = 1 }, { .first = 2, .n = 1 } };
        batch.span = spans;
        batch.n_spans = N;
        for (int s = 0; s < TWIN_SIDES; s++) {
            assert_int_equal(t->backend[s]->run(t->dev[s], program[s], &batch, &ticket, &err), DS4_OK);
            assert_int_equal(t->backend[s]->wait(t->dev[s], ticket, &err), DS4_OK);
        }
        twin_expect_rows(t, h, N, N_EMBD, N_EMBD, 1e-5, "recorded");
    }
    for (int s = 0; s < TWIN_SIDES; s++) t->backend[s]->drop_program(t->dev[s], program[s]);
    twin_free(t, h);
    twin_free(t, w);
    twin_matrix_free(table);
}

/* ---- refusals -------------------------------------------------------------------------------------- */

static void test_a_full_device_is_an_error_and_loses_nothing(void **state)
{
    const ds4_limits limits = { .max_batch = 4 };
    const uint8_t    weights[64] = { 0 };
    const ds4_tensor tensor = { .name = "w",
                                .path = "memory",
                                .data = weights,
                                .n_bytes = 64,
                                .dtype = DS4_F32,
                                .n_in = 4,
                                .n_out = 4,
                                .n_mats = 1 };
    ds4_dev         *dev = NULL;
    ds4_buf         *buf = NULL;
    ds4_matrix       w;
    ds4_err          err;

    (void)state;
    assert_int_equal(emulated_backend.open(0, &limits, &dev, &err), DS4_OK);
    emulated_fail_alloc(1);
    assert_int_equal(emulated_backend.alloc(dev, DS4_MEM_DEVICE, 100, &buf, &err), DS4_E_NOMEM);
    assert_null(buf);
    emulated_fail_alloc(1);
    assert_int_equal(emulated_backend.bind(dev, &tensor, &w, &err), DS4_E_NOMEM);
    assert_int_equal(emulated_backend.bind(dev, &tensor, &w, &err), DS4_OK);
    emulated_backend.close(dev);
    assert_int_equal(emulated_live(), 0);
}

static void test_a_type_without_products_is_refused_by_name(void **state)
{
    const ds4_limits limits = { .max_batch = 4 };
    const ds4_tensor tensor = { .name = "blk.0.w",
                                .path = "some.gguf",
                                .dtype = DS4_I32,
                                .n_in = 4,
                                .n_out = 4,
                                .n_mats = 1,
                                .n_bytes = 64 };
    ds4_dev         *dev;
    ds4_matrix       w;
    ds4_err          err;

    (void)state;
    assert_int_equal(emulated_backend.open(0, &limits, &dev, &err), DS4_OK);
    assert_int_equal(emulated_backend.bind(dev, &tensor, &w, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "some.gguf"));
    assert_non_null(strstr(err.text, "blk.0.w"));
    emulated_backend.close(dev);
}

static void test_the_metal_text_of_all_kernels_was_run(void **state)
{
    uint32_t n = 0;

    (void)state;
    if (getenv("DS4_TEST_BACKEND")) skip();     /* that device runs no text on the emulator */
    for (gpu_kernel k = 0; k < GPU_N_KERNELS; k++) n += emulated_ran_text(k);
    assert_int_equal(n, GPU_N_KERNELS - 16);    /* state_ops_test.c, metal_text_test.c */
}

#define ALL_ORDERS(name)                                                                                   \
    static void test_##name(void **state)                                                                  \
    {                                                                                                      \
        (void)state;                                                                                       \
        in_all_orders(name##_case);                                                                        \
    }
ALL_ORDERS(angles)
ALL_ORDERS(norm)
ALL_ORDERS(heads)
ALL_ORDERS(hc)
ALL_ORDERS(project)
ALL_ORDERS(embed)
ALL_ORDERS(route)
ALL_ORDERS(route_ties)
ALL_ORDERS(experts)
ALL_ORDERS(recordings)

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_angles),
    cmocka_unit_test(test_norm),
    cmocka_unit_test(test_heads),
    cmocka_unit_test(test_hc),
    cmocka_unit_test(test_project),
    cmocka_unit_test(test_embed),
    cmocka_unit_test(test_route),
    cmocka_unit_test(test_route_ties),
    cmocka_unit_test(test_experts),
    cmocka_unit_test(test_recordings),
    cmocka_unit_test(test_the_metal_text_of_all_kernels_was_run),
    cmocka_unit_test(test_a_full_device_is_an_error_and_loses_nothing),
    cmocka_unit_test(test_a_type_without_products_is_refused_by_name),
};
TEST_MAIN(tests)
