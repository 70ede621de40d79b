/* spill_test.c - rows that leave memory come back as they were: the spilling memory alone,
 * and walks of sessions whose rows hardly fit, compared bit for bit with runs in memory. */
#include "testing.h"

#include "backend/cpu/cpu_spill.h"
#include "base/rng.h"
#include "base/sysmem.h"
#include "base/team.h"
#include "engine/snapshot.h"
#include "support/kv_walk.h"

#define BUF_BYTES (UINT64_C(48) << 20)
#define BUDGET    (UINT64_C(8) << 20)
#define TINY      (UINT64_C(256) << 10)

static const char *disk(void)
{
    const char *out = getenv("OUT");
    return out && access(out, W_OK) == 0 ? out : "build";
}

/* ---- the memory alone --------------------------------------------------------------------------- */

enum { ROW = 200, BLOCK = 1000 * ROW };         /* writing past the cache is by blocks */

static uint64_t number_at(uint64_t off)
{
    return off * 2654435761u + 1;
}

static void fill_row(uint8_t row[ROW], uint64_t number)
{
    for (uint64_t i = 0; i < ROW / 8; i++) {
        const uint64_t value = number + i;
        memcpy(row + 8 * i, &value, sizeof value);
    }
}

static bool is_row(const uint8_t row[ROW], uint64_t number)
{
    uint8_t want[ROW];
    fill_row(want, number);
    return memcmp(row, want, ROW) == 0;
}

typedef struct reader {
    cpu_spill       *s;
    cpu_spill_buf   *b;
    _Atomic uint32_t n_wrong;
} reader;

/* Batches with runs of neighbours; most reads go to few places. */
static void read_some(void *ctx, uint32_t member, uint32_t n_members)
{
    static _Thread_local uint8_t rows[CPU_SPILL_BATCH * ROW];
    reader *r = ctx;
    ds4_rng rng;

    (void)n_members;
    ds4_rng_seed(&rng, member + 7);
    for (int i = 0; i < 4000; i++) {
        cpu_spill_row  row[CPU_SPILL_BATCH];
        const uint32_t n = 1 + (uint32_t)(ds4_rng_next(&rng) % CPU_SPILL_BATCH);
        for (uint32_t j = 0; j < n; j++) {
            const uint64_t n_rows = BUF_BYTES / ROW / (i % 3 ? 64 : 1);
            row[j] = (cpu_spill_row){ r->b, ds4_rng_next(&rng) % n_rows * ROW };
            if (j > 0 && j % 3 && row[j - 1].off + 2 * ROW <= BUF_BYTES) row[j].off = row[j - 1].off + ROW;
        }
        if (cpu_spill_fetch(r->s, row, n, rows) != 0) r->n_wrong++;
        for (uint32_t j = 0; j < n; j++) r->n_wrong += !is_row(rows + j * ROW, number_at(row[j].off));
    }
}

/* Rows written by themselves, rows written in blocks, and both again with other numbers. */
static void test_rewritten(cpu_spill *s, cpu_spill_buf *b)
{
    uint8_t      *block = malloc(BLOCK), row[2 * ROW];
    cpu_spill_row two[2] = { { b, 7 * ROW }, { b, BLOCK + 3 * ROW } };
    ds4_err       err = { 0 };

    for (uint64_t round = 1; round < 5; round++) {
        fill_row(row, 1000 * round);
        assert_int_equal(0, cpu_spill_put(two[0], row));
        for (uint64_t i = 0; i < BLOCK / ROW; i++) fill_row(block + i * ROW, 77 * round + i);
        assert_int_equal(DS4_OK, cpu_spill_write(b, BLOCK, block, BLOCK, &err));
        for (int again = 0; again < 2; again++) {
            assert_int_equal(0, cpu_spill_fetch(s, two, 2, row));
            assert_true(is_row(row, 1000 * round) && is_row(row + ROW, 77 * round + 3));
        }
        assert_int_equal(DS4_OK, cpu_spill_read(b, 7 * ROW, row, ROW, &err));
        assert_true(is_row(row, 1000 * round));
    }
    free(block);
}

static void test_what_leaves_comes_back(void **state)
{
    cpu_spill     *s = NULL;
    cpu_spill_buf *b = NULL;
    ds4_team      *team = NULL;
    ds4_err        err = { 0 };

    (void)state;
    if (cpu_spill_create(disk(), BUDGET, ROW, &s, &err) != DS4_OK) fail_msg("%s", err.text);
    if (cpu_spill_alloc(s, BUF_BYTES, &b, &err) != DS4_OK) fail_msg("%s", err.text);
    const uint64_t before = ds4_sysmem_used();
    for (uint64_t off = 0; off + ROW <= BUF_BYTES; off += ROW) {
        uint8_t row[ROW];
        fill_row(row, number_at(off));
        assert_int_equal(0, cpu_spill_put((cpu_spill_row){ b, off }, row));
        assert_true(cpu_spill_resident(s) <= BUDGET);
    }
    assert_true(cpu_spill_resident(s) > BUDGET / 4 * 3);
    reader r = { .s = s, .b = b };
    assert_int_equal(DS4_OK, ds4_team_create(&team, 3, &err));
    ds4_team_run(team, read_some, &r);
    ds4_team_free(team);
    assert_int_equal(0, r.n_wrong);
    assert_true(cpu_spill_resident(s) <= BUDGET);
    const uint64_t after = ds4_sysmem_used();
#ifdef __SANITIZE_THREAD__
    const bool counts = false;          /* its own memory is in the number */
#else
    const bool counts = before > 0;
#endif
    if (counts && after > before + BUDGET + (4 << 20)) {
        fail_msg("%llu bytes more are resident", (unsigned long long)(after - before));
    }
    test_rewritten(s, b);
    cpu_spill_release(b);
    cpu_spill_free(s);
}

static void test_no_folder(void **state)
{
    cpu_spill     *s = NULL;
    cpu_spill_buf *b = NULL;
    ds4_err        err = { 0 };

    (void)state;
    assert_int_equal(DS4_OK, cpu_spill_create("no/such/folder", BUDGET, ROW, &s, &err));
    assert_int_equal(DS4_E_IO, cpu_spill_alloc(s, BUF_BYTES, &b, &err));
    assert_non_null(strstr(err.text, "no/such/folder"));
    cpu_spill_free(s);
}

/* ---- sessions -------------------------------------------------------------------------------------- */

enum { N_SESSIONS = 6 };

static kv_texts texts;

static int set_up(void **state)
{
    (void)state;
    kv_texts_make(&texts, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kv_texts_free(&texts);
    return 0;
}

static void walk(uint64_t seed, uint32_t n_threads)
{
    uint64_t      most = 0;
    ds4_rng       rng;
    ds4_session  *s[N_SESSIONS];
    ds4_snapshot *kept[N_SESSIONS] = { NULL };
    int           which[N_SESSIONS], kept_which[N_SESSIONS] = { 0 };
    ds4_err       err = { 0 };
    ds4_engine   *e = kv_open_within(&texts, disk(), TINY, n_threads);
    float        *logits = malloc(sizeof(float) * KV_BATCH * texts.n_vocab);

    ds4_rng_seed(&rng, seed);
    for (int i = 0; i < N_SESSIONS; i++) {
        assert_int_equal(DS4_OK, ds4_session_create(e, KV_CTX, &s[i], &err));
        which[i] = (int)(ds4_rng_next(&rng) % KV_TEXTS);
    }
    for (int n = 0; n < 200; n++) {
        const uint32_t i = (uint32_t)(ds4_rng_next(&rng) % N_SESSIONS),
                       move = (uint32_t)(ds4_rng_next(&rng) % 8);
        if (move < 6) {
            kv_extend(&texts, e, s[i], which[i], kv_step(&rng, ds4_session_pos(s[i])), logits);
        } else if (move < 7) {
            ds4_snapshot_free(kept[i]);
            assert_int_equal(DS4_OK, ds4_session_snapshot(s[i], &kept[i], &err));
            kept_which[i] = which[i];
        } else if (kept[i]) {
            const uint32_t to = (uint32_t)(ds4_rng_next(&rng) % N_SESSIONS);
            assert_int_equal(DS4_OK, ds4_session_restore(s[to], kept[i], &err));
            which[to] = kv_other(&texts, &rng, kept_which[i], ds4_snapshot_pos(kept[i]));
        }
        if (ds4_engine_cold_bytes(e) > most) most = ds4_engine_cold_bytes(e);
    }
    for (int i = 0; i < N_SESSIONS; i++) {
        ds4_session_free(s[i]);
        ds4_snapshot_free(kept[i]);
    }
    ds4_engine_close(e);
    free(logits);
    assert_true(most > TINY / 8 && most <= TINY);
}

static void test_spilled_equals_resident(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) walk(seed, seed % 2 ? 1 : 3);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_what_leaves_comes_back),
    cmocka_unit_test(test_no_folder),
    cmocka_unit_test(test_spilled_equals_resident),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
