/* metal_room_test.c - the parts of the Metal device that are numbers: pieces of buffers, views of a file, the
 * length of command buffers. */
#include "testing.h"

#include "backend/gpu/metal/metal_pace.h"
#include "backend/gpu/metal/metal_room.h"
#include "backend/gpu/metal/metal_views.h"
#include "base/rng.h"

enum { SLAB = 64 * METAL_ALIGN, MOST = 100 };

static uint64_t take(metal_room *r, uint64_t n_bytes)
{
    uint64_t at = 0;
    bool     found;
    ds4_err  err;

    assert_int_equal(metal_room_take(r, n_bytes, &at, &found, &err), DS4_OK);
    return found ? at : 0;
}

static void add(metal_room *r, uint64_t at, uint64_t n_bytes)
{
    ds4_err err;
    assert_int_equal(metal_room_add(r, at, n_bytes, &err), DS4_OK);
}

static void test_pieces_are_apart_and_come_back_whole(void **state)
{
    metal_room r = { 0 };
    uint64_t   at[MOST] = { 0 }, n_bytes[MOST];
    ds4_rng    rng = { { 15 } };

    (void)state;
    add(&r, 1 << 20, SLAB);
    add(&r, (1 << 20) + SLAB, SLAB);    /* touches the first: still another buffer */
    for (int step = 0; step < 3000; step++) {
        const uint32_t i = (uint32_t)(ds4_rng_uniform(&rng) * MOST);
        if (at[i] != 0) {
            assert_true(metal_room_give(&r, at[i]));
            at[i] = 0;
            continue;
        }
        n_bytes[i] = 1 + (uint64_t)(ds4_rng_uniform(&rng) * 5 * METAL_ALIGN);
        at[i] = take(&r, n_bytes[i]);
        if (at[i] == 0) continue;
        assert_int_equal(at[i] % METAL_ALIGN, 0);
        assert_int_equal((at[i] - (1 << 20)) / SLAB, (at[i] + n_bytes[i] - 1 - (1 << 20)) / SLAB);
        for (uint32_t k = 0; k < MOST; k++) {
            if (k == i || at[k] == 0) continue;
            assert_true(at[i] + n_bytes[i] <= at[k] || at[k] + n_bytes[k] <= at[i]);
        }
    }
    for (uint32_t i = 0; i < MOST; i++) {
        if (at[i] != 0) assert_true(metal_room_give(&r, at[i]));
    }
    assert_int_equal(r.n, 2);
    assert_int_not_equal(take(&r, SLAB), 0);
    assert_int_not_equal(take(&r, SLAB), 0);
    assert_int_equal(take(&r, 1), 0);
    metal_room_clear(&r);
}

static void test_what_was_not_taken_is_not_given(void **state)
{
    metal_room r = { 0 };

    (void)state;
    add(&r, 4096, SLAB);
    assert_false(metal_room_give(&r, 4096));
    const uint64_t at = take(&r, 10);
    assert_false(metal_room_give(&r, at + 1));
    assert_true(metal_room_give(&r, at));
    assert_false(metal_room_give(&r, at));
    assert_int_equal(take(&r, UINT64_MAX), 0);
    assert_int_equal(take(&r, SLAB + 1), 0);
    metal_room_clear(&r);
}

/* ---- views ----------------------------------------------------------------------------------------- */

static gpu_map piece(uint64_t at, uint64_t n_bytes)
{
    return (gpu_map){ .bytes = (const void *)(uintptr_t)at, .n_bytes = n_bytes };
}

static void test_every_piece_lies_in_one_view(void **state)
{
    enum { PAGE = 16384, N = 60 };
    const uint64_t most = 10 * PAGE;
    gpu_map        maps[N];
    metal_view     views[N];
    uint64_t       at = 5 * PAGE + 96;
    uint32_t       n_views, in = 0;
    ds4_rng        rng = { { 3 } };
    ds4_err        err;

    (void)state;
    for (int i = 0; i < N; i++) {
        if (i == 30) at += 100 * PAGE;          /* another file: nobody may look between */
        maps[i] = piece(at, 1 + (uint64_t)(ds4_rng_uniform(&rng) * 5 * PAGE));
        at += (maps[i].n_bytes + 31) / 32 * 32;
    }
    assert_int_equal(metal_views_plan(maps, N, PAGE, most, views, &n_views, &err), DS4_OK);
    for (int i = 0; i < N; i++) {
        const uint64_t from = (uint64_t)(uintptr_t)maps[i].bytes;
        while (in < n_views && from + maps[i].n_bytes > views[in].to) in++;
        assert_true(in < n_views && from >= views[in].from);
    }
    for (uint32_t i = 0; i < n_views; i++) {
        assert_int_equal(views[i].from % PAGE, 0);
        assert_int_equal(views[i].to % PAGE, 0);
        assert_true(views[i].to - views[i].from <= most);
    }
    assert_true(n_views < N / 2);
}

static void test_a_piece_that_is_too_large_is_refused_with_numbers(void **state)
{
    const gpu_map map = piece(1 << 20, 3ull << 30);
    metal_view    view;
    uint32_t      n;
    ds4_err       err;

    (void)state;
    assert_int_equal(metal_views_plan(&map, 1, 16384, 2ull << 30, &view, &n, &err), DS4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "3.00 GiB"));
    assert_non_null(strstr(err.text, "2.00 GiB"));
}

/* ---- pace ------------------------------------------------------------------------------------------ */

static void test_a_command_buffer_stays_under_a_tenth_of_a_second(void **state)
{
    metal_pace p = { 0 };

    (void)state;
    assert_false(metal_pace_full(&p, 1, 1000));
    assert_true(metal_pace_full(&p, METAL_MOST_LAUNCHES, 1000));
    assert_true(metal_pace_full(&p, 1, 1ull << 40));        /* nothing is known: little at first */
    metal_pace_took(&p, 1000, 0.01);                        /* 10 us a thread */
    assert_false(metal_pace_full(&p, 1, 9000));
    assert_true(metal_pace_full(&p, 1, 10000));
    metal_pace_took(&p, 1000, 0.0001);                      /* a fast one does not make it forget at once */
    assert_true(metal_pace_full(&p, 1, 12000));
    for (int i = 0; i < 100; i++) metal_pace_took(&p, 1000, 0.0001);
    assert_false(metal_pace_full(&p, 1, 900000));
    metal_pace_took(&p, 0, 1.0);
    metal_pace_took(&p, 10, 0.0);                           /* a clock that stands still */
    assert_false(metal_pace_full(&p, 1, 900000));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_pieces_are_apart_and_come_back_whole),
    cmocka_unit_test(test_what_was_not_taken_is_not_given),
    cmocka_unit_test(test_every_piece_lies_in_one_view),
    cmocka_unit_test(test_a_piece_that_is_too_large_is_refused_with_numbers),
    cmocka_unit_test(test_a_command_buffer_stays_under_a_tenth_of_a_second),
};
TEST_MAIN(tests)
