/* state_ops_test.c - operations on sessions' rows: emulated kernels against the CPU, over walks of
 * sessions.
 *
 * A walk has three sessions that advance by random numbers of tokens, in mixed steps. In each step the
 * operations of a layer run in the model's order on both sides; what an operation writes is compared,
 * then the GPU's side gets the CPU's bytes, so that every operation begins alike. Packed rows may
 * differ where a value lies between two codes and float sums differ in their last bits. */
#include "testing.h"

#include "emulator/emulated_device.h"
#include "emulator/emulator.h"
#include "emulator/twin.h"
#include "emulator/twin_kv.h"

#include <math.h>

enum { N_ORDERS = 3 };

/* ---- one step -------------------------------------------------------------------------------------- */

typedef struct step_bufs {
    twin_buf angles, kv, rows, q, out, ck, cs, ik, is, iq, packed, iw, chosen;
} step_bufs;

static step_bufs make_bufs(const walk *w, uint32_t n)
{
    twin            *t = w->t;
    const ds4_shape *s = &w->shape;

    return (step_bufs){
        twin_zeros(t, 4ull * n * s->n_rot),
        twin_floats(t, (uint64_t)n * s->n_head),
        twin_zeros(t, n * w->kv.row_bytes),
        twin_floats(t, (uint64_t)n * s->n_heads * s->n_head),
        twin_zeros(t, 4ull * n * s->n_heads * s->n_head),
        twin_floats(t, (uint64_t)n * 2 * s->n_head),
        twin_floats(t, (uint64_t)n * 2 * s->n_head),
        twin_floats(t, (uint64_t)n * 2 * s->n_index),
        twin_floats(t, (uint64_t)n * 2 * s->n_index),
        twin_floats(t, (uint64_t)n * s->index_heads * s->n_index),
        twin_zeros(t, (uint64_t)n * s->index_heads * w->kv.irow_bytes),
        walk_weights(w, n),
        twin_zeros(t, 4ull * n * s->top_k),
    };
}

static void free_bufs(twin *t, const step_bufs *b)
{
    const twin_buf all[] = { b->angles, b->kv, b->rows, b->q,      b->out, b->ck,    b->cs,
                             b->ik,     b->is, b->iq,   b->packed, b->iw,  b->chosen };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) twin_free(t, all[i]);
}

static void angles_and_row(walk *w, const step_bufs *b)
{
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_ANGLES,
                            .name = "angles",
                            .angles = { .freq = twin_view(w->freq, s),
                                        .n_rot = w->shape.n_rot,
                                        .out = twin_rows(b->angles, s, w->shape.n_rot) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    twin_align(w->t, b->angles);
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_KV_ROW,
                            .name = "kv_row",
                            .kv_row = { .eps = 1e-6f,
                                        .w = twin_view(w->row_norm, s),
                                        .angles = twin_rows(b->angles, s, w->shape.n_rot),
                                        .x = twin_rows(b->kv, s, w->shape.n_head),
                                        .rows = twin_view(b->rows, s) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    twin_expect_rows(w->t, b->kv, w->n_tokens, w->shape.n_head, w->shape.n_head, 1e-5,
                     "rows before packing");
    walk_expect_rows(w, b->rows, w->n_tokens, "rows");
    twin_align(w->t, b->rows);
}

static void compress(walk *w, const step_bufs *b, uint32_t layer, bool index)
{
    const ds4_shape *sh = &w->shape;
    const uint32_t   n = index ? sh->n_index : sh->n_head, width = sh->ratio[layer] == 4 ? 2 * n : n;

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_COMPRESS,
                            .name = index ? "index.compress" : "compress",
                            .compress = { .layer = layer,
                                          .index = index,
                                          .n = n,
                                          .n_rot = sh->n_rot,
                                          .eps = 1e-6f,
                                          .ape = twin_view(w->ape, s),
                                          .norm = twin_view(w->row_norm, s),
                                          .freq = twin_view(w->freq, s),
                                          .k = twin_rows(index ? b->ik : b->ck, s, width),
                                          .s = twin_rows(index ? b->is : b->cs, s, width) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    walk_expect_state(w, layer);
}

static void select_rows(walk *w, const step_bufs *b, uint32_t layer)
{
    const ds4_shape *sh = &w->shape;

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_INDEX_QUERY,
                            .name = "index_query",
                            .index_query = { .n_heads = sh->index_heads,
                                             .n = sh->n_index,
                                             .n_rot = sh->n_rot,
                                             .angles = twin_rows(b->angles, s, sh->n_rot),
                                             .q = twin_rows(b->iq, s, sh->index_heads * sh->n_index),
                                             .packed = twin_view(b->packed, s) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    twin_expect_rows(w->t, b->iq, w->n_tokens, sh->index_heads * sh->n_index, sh->index_heads * sh->n_index,
                     1e-5, "indexer queries");
    twin_align(w->t, b->packed);
    twin_align(w->t, b->iw);
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_SELECT,
                            .name = "select",
                            .select = { .layer = layer,
                                        .n_heads = sh->index_heads,
                                        .n = sh->n_index,
                                        .top_k = sh->top_k,
                                        .scale = 0.0625f,
                                        .weight = twin_rows(b->iw, s, sh->index_heads),
                                        .query = twin_view(b->packed, s),
                                        .chosen = twin_view(b->chosen, s) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    walk_expect_chosen(w, b->chosen);
    twin_align(w->t, b->chosen);
}

static ds4_op attend_op(const walk *w, const step_bufs *b, uint32_t layer, int s)
{
    const ds4_shape *sh = &w->shape;
    const uint32_t   n_q = sh->n_heads * sh->n_head;

    return (ds4_op){ .kind = DS4_OP_ATTEND,
                     .name = "attend",
                     .attend = { .layer = layer,
                                 .n_heads = sh->n_heads,
                                 .n_head = sh->n_head,
                                 .n_rot = sh->n_rot,
                                 .top_k = sh->top_k,
                                 .scale = 1.0f / sqrtf((float)sh->n_head),
                                 .sink = twin_view(w->sink, s),
                                 .rows = twin_view(b->rows, s),
                                 .chosen = twin_view(b->chosen, s),
                                 .angles = twin_rows(b->angles, s, sh->n_rot),
                                 .q = twin_rows(b->q, s, n_q),
                                 .out = twin_rows(b->out, s, n_q) } };
}

/* The first session without the others: few tokens are computed in another way, to the same bits. */
static void expect_alone(walk *w, const step_bufs *b, uint32_t layer)
{
    const uint64_t n_bytes = 4ull * w->shape.n_heads * w->shape.n_head * w->span[1][0].n;
    const ds4_op   op = attend_op(w, b, layer, 1);
    ds4_batch      first = *walk_batch(w, 1);
    void          *all = twin_read(w->t, 1, b->out);

    first.n_spans = 1;
    first.n_tokens = w->span[1][0].n;
    twin_run(w->t, 1, &op, &first);
    void *alone = twin_read(w->t, 1, b->out);
    assert_memory_equal(all, alone, n_bytes);
    free(all);
    free(alone);
}

static void attend(walk *w, const step_bufs *b, uint32_t layer)
{
    const uint32_t n_q = w->shape.n_heads * w->shape.n_head;

    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = attend_op(w, b, layer, s);
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    /* Tensor cores take 64 heads at once, and their queries and weights are halves. */
    const double bound = w->shape.n_heads % 64 == 0 ? 6e-3 : 2e-4;
    twin_expect_rows(w->t, b->out, w->n_tokens, n_q, n_q, bound, "attention");
    expect_alone(w, b, layer);
    for (int s = 0; s < TWIN_SIDES; s++) {
        const ds4_op op = { .kind = DS4_OP_WINDOW,
                            .name = "window",
                            .window = { .layer = layer, .rows = twin_view(b->rows, s) } };
        twin_run(w->t, s, &op, walk_batch(w, s));
    }
    walk_expect_state(w, layer);
}

static void walk_step(walk *w)
{
    walk_advance(w);
    for (uint32_t layer = 0; layer < w->shape.n_layers; layer++) {
        const step_bufs b = make_bufs(w, w->n_tokens);
        const uint32_t  ratio = w->shape.ratio[layer];
        angles_and_row(w, &b);
        if (ratio != 0) compress(w, &b, layer, false);
        if (ratio == 4) compress(w, &b, layer, true);
        if (ratio == 4) select_rows(w, &b, layer);
        attend(w, &b, layer);
        free_bufs(w->t, &b);
    }
}

/* ---- walks ----------------------------------------------------------------------------------------- */

static void walk_in_orders(const ds4_shape *shape, ds4_kv_form form, uint32_t n_steps, uint32_t most,
                           int n_orders)
{
    static const uint32_t orders[N_ORDERS] = { 0, 1, 77 };
    uint64_t              hash = 0;

    for (int i = 0; i < n_orders; i++) {
        twin t;
        walk w;
        twin_on_metal(i == 2);
        walk_open(&w, &t, shape, form, most);
        emulator_order(orders[i]);
        emulated_run_text(i > 0);
        for (uint32_t k = 0; k < n_steps; k++) walk_step(&w);
        emulator_order(0);
        walk_close(&w);
        if (i == 0) hash = t.hash;
        assert_int_equal(t.hash, hash);
    }
    printf("# bits %016llx\n", (unsigned long long)hash);
}

static void walk_in_all_orders(const ds4_shape *shape, ds4_kv_form form, uint32_t n_steps, uint32_t most)
{
    walk_in_orders(shape, form, n_steps, most, N_ORDERS);
}

static ds4_shape small_shape(void)
{
    return (ds4_shape){ .n_layers = 3,
                        .n_heads = 3,
                        .n_head = 64,
                        .n_rot = 16,
                        .n_window = 24,
                        .index_heads = 5,
                        .n_index = 64,
                        .top_k = 9,
                        .ratio = { 0, 4, 128 } };
}

static void test_small_rows(void **state)
{
    const ds4_shape s = small_shape();
    (void)state;
    walk_in_all_orders(&s, DS4_KV_RECORDS, 6, 40);
}

static void test_rows_in_planes(void **state)
{
    const ds4_shape s = small_shape();
    (void)state;
    walk_in_all_orders(&s, DS4_KV_PLANES, 6, 40);
}

static void test_rows_of_floats(void **state)
{
    const ds4_shape s = small_shape();
    (void)state;
    walk_in_all_orders(&s, DS4_KV_FLOATS, 4, 40);
}

static void test_rows_of_full_size(void **state)
{
    const ds4_shape s = { .n_layers = 2,
                          .n_heads = 9,
                          .n_head = 512,
                          .n_rot = 64,
                          .n_window = 128,
                          .index_heads = 4,
                          .n_index = 128,
                          .top_k = 20,
                          .ratio = { 4, 128 } };
    (void)state;
    walk_in_all_orders(&s, DS4_KV_RECORDS, 3, 60);
}

/* A device may do this in a way of its own; a token alone has the bits that it has in a batch. */
static void test_64_heads(void **state)
{
    const ds4_shape s = { .n_layers = 3,
                          .n_heads = 64,
                          .n_head = 512,
                          .n_rot = 64,
                          .n_window = 128,
                          .index_heads = 4,
                          .n_index = 128,
                          .top_k = 9,
                          .ratio = { 0, 4, 128 } };
    (void)state;
    walk_in_orders(&s, DS4_KV_PLANES, 4, 24, 1);
}

static void test_the_metal_text_of_these_kernels_was_run(void **state)
{
    (void)state;
    if (getenv("DS4_TEST_BACKEND")) skip();     /* that device runs no text on the emulator */
    for (gpu_kernel k = GPU_KERNEL_kv_row; k <= GPU_KERNEL_index_join; k++) {
        if (!emulated_ran_text(k)) fail_msg("no test ran the Metal text of kernel %u", (unsigned)k);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_small_rows),
    cmocka_unit_test(test_rows_in_planes),
    cmocka_unit_test(test_rows_of_floats),
    cmocka_unit_test(test_rows_of_full_size),
    cmocka_unit_test(test_64_heads),
    cmocka_unit_test(test_the_metal_text_of_these_kernels_was_run),
};
TEST_MAIN(tests)
