/* store_test.c - conversations that leave for the disk and come back: after restarts,
 * forks, evictions and damage their logits equal, to the bit, those of a run that never
 * left. */
#include "testing.h"

#include "base/log.h"
#include "base/rng.h"
#include "support/kv_dir.h"

#include <sys/stat.h>
#include <sys/wait.h>

static kv_texts texts;
static char     dir[256];

static int set_up(void **state)
{
    (void)state;
    kv_texts_make(&texts, getenv("DS4_KV_MODEL"));     /* NULL: a tiny random one */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kv_texts_free(&texts);
    return 0;
}

/* ---- help ---------------------------------------------------------------------------------- */

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static void save(ds4_store *s, ds4_session *session, uint32_t n_after, const int32_t *after)
{
    ds4_snapshot *p;
    ds4_err       err = { 0 };

    check(ds4_session_snapshot(session, &p, &err), &err);
    const ds4_status st = ds4_store_save(s, p, DS4_TAIL_TURN, after, n_after, &err);
    if (st != DS4_E_LIMIT) check(st, &err);
    ds4_snapshot_free(p);
}

/* ---- walks ---------------------------------------------------------------------------------- */

enum { N_SESSIONS = 3 };

typedef struct walker {
    ds4_rng      rng;
    ds4_engine  *engine;
    ds4_store   *store;
    ds4_session *s[N_SESSIONS];
    int          which[N_SESSIONS];
    uint64_t     max_bytes;
    float       *logits;
    uint32_t     n_restored;
} walker;

static uint32_t pick(walker *w, uint32_t n)
{
    return (uint32_t)(ds4_rng_next(&w->rng) % n);
}

static void begin(walker *w)
{
    ds4_err err = { 0 };

    w->engine = kv_open(&texts);
    w->store = kv_store_open(dir, w->engine, w->max_bytes);
    for (uint32_t i = 0; i < N_SESSIONS; i++) {
        check(ds4_session_create(w->engine, KV_CTX, &w->s[i], &err), &err);
        w->which[i] = (int)pick(w, KV_TEXTS);
    }
}

static void end(walker *w)
{
    ds4_store_close(w->store);
    for (uint32_t i = 0; i < N_SESSIONS; i++) ds4_session_free(w->s[i]);
    ds4_engine_close(w->engine);
}

static void come_back(walker *w, uint32_t i)
{
    ds4_snapshot *base = NULL;
    ds4_err       err = { 0 };

    if (pick(w, 2)) check(ds4_session_snapshot(w->s[pick(w, N_SESSIONS)], &base, &err), &err);
    w->which[i] = (int)pick(w, KV_TEXTS);
    const uint32_t pos = kv_restore(&texts, w->store, w->s[i], w->which[i], 1 + pick(w, KV_TOKENS), base);
    w->n_restored += pos > 0;
    w->which[i] = kv_other(&texts, &w->rng, w->which[i], pos);
    ds4_snapshot_free(base);
}

static void walk(uint64_t seed, uint32_t n_moves, uint64_t max_bytes)
{
    walker w = { .max_bytes = max_bytes };

    kv_dir_name(dir, "kv");
    ds4_rng_seed(&w.rng, seed);
    w.logits = malloc(sizeof(float) * KV_BATCH * texts.n_vocab);
    begin(&w);
    for (uint32_t n = 0; n < n_moves; n++) {
        const uint32_t i = pick(&w, N_SESSIONS), move = pick(&w, 40);
        ds4_session   *s = w.s[i];
        ds4_err        err = { 0 };
        if (move < 22) {
            kv_extend(&texts, w.engine, s, w.which[i], kv_step(&w.rng, ds4_session_pos(s)), w.logits);
        } else if (move < 30) {
            if (ds4_session_pos(s) > 0) save(w.store, s, 0, NULL);
        } else if (move < 37) {
            come_back(&w, i);
        } else if (move < 38) {
            end(&w);
            begin(&w);
        } else if (move < 39) {
            check(ds4_store_prune(w.store, 100000 + pick(&w, 2000000), &err), &err);
        } else if (ds4_session_pos(s) == KV_TOKENS) {
            ds4_session_clear(s);
        }
        assert_true(ds4_store_writes(w.store));
        assert_true(kv_dir_bytes(dir) <= max_bytes);
    }
    assert_true(w.n_restored > n_moves / 40);
    end(&w);
    free(w.logits);
    kv_dir_remove(dir);
}

static void test_came_back_equals_never_left(void **state)
{
    const char *more = getenv("DS4_KV_WALKS");
    const int   n = more ? atoi(more) : 4;

    (void)state;
    for (int seed = 1; seed <= n; seed++) walk((uint64_t)seed, 150, seed % 2 ? UINT64_C(1) << 30 : 3 << 20);
}

/* ---- sharing and budget ---------------------------------------------------------------------- */

static ds4_status save_position(ds4_store *s, ds4_engine *e, int which, uint32_t pos, ds4_tail_kind kind)
{
    ds4_err          err = { 0 };
    ds4_snapshot    *p = kv_position(&texts, e, which, pos);
    const ds4_status st = ds4_store_save(s, p, kind, NULL, 0, &err);

    ds4_snapshot_free(p);
    return st;
}

/* Another end adds a tail and its own blocks, the same position nothing. */
static void test_a_fork_adds_only_its_own(void **state)
{
    (void)state;
    kv_dir_name(dir, "kv");
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 0);
    assert_int_equal(DS4_OK, save_position(s, e, 0, 1024, DS4_TAIL_TURN));
    assert_int_equal(4, kv_dir_count(dir, ".block"));
    assert_int_equal(DS4_OK, save_position(s, e, 0, 1024, DS4_TAIL_TURN));
    assert_int_equal(1, kv_dir_count(dir, ".tail"));
    assert_int_equal(DS4_OK, save_position(s, e, 2, 1024, DS4_TAIL_TURN));      /* parts at 512 */
    assert_int_equal(6, kv_dir_count(dir, ".block"));
    assert_int_equal(2, kv_dir_count(dir, ".tail"));
    assert_int_equal(1024, kv_probe(&texts, s, e, 0, KV_TOKENS));
    assert_int_equal(1024, kv_probe(&texts, s, e, 2, KV_TOKENS));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* A conversation leaves few tails behind it, but the place where others begin stays. */
static void test_tails_are_thinned_out(void **state)
{
    (void)state;
    kv_dir_name(dir, "kv");
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 0);
    assert_int_equal(DS4_OK, save_position(s, e, 0, 256, DS4_TAIL_ANCHOR));
    for (uint32_t pos = 384; pos <= 1024; pos += 128) {
        assert_int_equal(DS4_OK, save_position(s, e, 0, pos, DS4_TAIL_TURN));
    }
    assert_int_equal(4, kv_dir_count(dir, ".tail"));
    assert_int_equal(256, kv_probe(&texts, s, e, 0, 511));
    assert_int_equal(1024, kv_probe(&texts, s, e, 0, KV_TOKENS));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* A place on the way that is stored once more as the end of a beginning stays like one. */
static void test_a_better_reason_counts(void **state)
{
    (void)state;
    kv_dir_name(dir, "kv");
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 0);
    assert_int_equal(DS4_OK, save_position(s, e, 0, 384, DS4_TAIL_WAY));
    assert_int_equal(DS4_OK, save_position(s, e, 0, 384, DS4_TAIL_ANCHOR));
    assert_int_equal(DS4_OK, save_position(s, e, 0, 384, DS4_TAIL_TURN));
    for (uint32_t pos = 512; pos <= 1024; pos += 128) {
        assert_int_equal(DS4_OK, save_position(s, e, 0, pos, DS4_TAIL_TURN));
    }
    assert_int_equal(4, kv_dir_count(dir, ".tail"));
    assert_int_equal(384, kv_probe(&texts, s, e, 0, 511));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* Positions that were used last stay; pinned ones stay longer. */
static void test_the_budget_holds(void **state)
{
    ds4_stored pin;
    ds4_err    err = { 0 };

    (void)state;
    kv_dir_name(dir, "kv");
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 0);
    assert_int_equal(DS4_OK, save_position(s, e, 0, 1000, DS4_TAIL_TURN));
    const uint64_t one = kv_dir_bytes(dir);
    ds4_store_close(s);

    const uint64_t most = one + (300 << 10);
    s = kv_store_open(dir, e, most);
    for (int round = 0; round < 3; round++) {
        for (int i = 1; i < KV_TEXTS; i++) {
            usleep(2000);               /* times of use are in milliseconds */
            assert_int_equal(DS4_OK, save_position(s, e, i, 1000, DS4_TAIL_TURN));
            assert_true(kv_dir_bytes(dir) <= most);
            assert_int_equal(1000, kv_probe(&texts, s, e, i, KV_TOKENS));
        }
    }
    assert_int_equal(DS4_OK, ds4_store_find(s, texts.text[3], KV_TOKENS, KV_TOKENS, &pin, &err));
    assert_int_equal(1000, pin.pos);
    assert_int_equal(DS4_E_LIMIT, ds4_store_prune(s, 0, &err));
    assert_int_equal(1000, kv_probe(&texts, s, e, 3, KV_TOKENS));
    ds4_store_unpin(&pin);
    const ds4_status st = ds4_store_prune(s, 0, &err);
    assert_true(st == DS4_OK || st == DS4_E_LIMIT);         /* the index remains */
    assert_int_equal(0, kv_dir_count(dir, ".tail") + kv_dir_count(dir, ".block"));
    assert_true(ds4_store_writes(s));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* ---- several at once ---------------------------------------------------------------------------- */

/* One of several processes: saves and comes back, in a folder too small for all. */
static void be_one_of_many(uint64_t seed)
{
    ds4_rng     rng;
    ds4_err     err = { 0 };
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 3 << 20);

    ds4_rng_seed(&rng, seed);
    for (int i = 0; i < 12; i++) {
        const int        which = (int)(ds4_rng_next(&rng) % KV_TEXTS);
        const uint32_t   pos = 1 + (uint32_t)(ds4_rng_next(&rng) % 1000);
        const ds4_status st = save_position(s, e, which, pos, DS4_TAIL_TURN);
        if (st != DS4_OK && st != DS4_E_LIMIT) _exit(2);
        kv_probe(&texts, s, e, (int)(ds4_rng_next(&rng) % KV_TEXTS), KV_TOKENS);
    }
    const bool writes = ds4_store_writes(s);
    ds4_store_close(s);
    if (ds4_engine_info(e)->n_layers == 0 || err.code != DS4_OK) _exit(3);
    _exit(writes ? 0 : 4);
}

static void count_verdict(void *ctx, const char *name, const char *wrong)
{
    (void)name;
    if (wrong) print_message("# %s\n", wrong);
    *(uint32_t *)ctx += wrong != NULL;
}

static void test_processes_share_a_folder(void **state)
{
    enum { N = 4 };
    pid_t    child[N];
    uint32_t n_bad = 0;
    ds4_err  err = { 0 };

    (void)state;
    kv_dir_name(dir, "kv");
    for (int i = 0; i < N; i++) {
        child[i] = fork();
        if (child[i] == 0) setenv("CMOCKA_TEST_ABORT", "1", 1);
        if (child[i] == 0) be_one_of_many((uint64_t)i + 1);
    }
    for (int i = 0; i < N; i++) {
        int status = -1;
        assert_int_equal(child[i], waitpid(child[i], &status, 0));
        assert_int_equal(0, status);
    }
    ds4_engine *e = kv_open(&texts);
    ds4_store  *s = kv_store_open(dir, e, 3 << 20);
    for (int i = 0; i < KV_TEXTS; i++) kv_probe(&texts, s, e, i, KV_TOKENS);
    assert_int_equal(DS4_OK, ds4_store_verify(s, count_verdict, &n_bad, &err));
    assert_int_equal(0, n_bad);
    assert_int_equal(0, kv_dir_count(dir, ".bad") + kv_dir_count(dir, ".lock"));
    assert_true(kv_dir_bytes(dir) <= 3 << 20);
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* ---- folders -------------------------------------------------------------------------------------- */

static void test_unsafe_folders_are_refused(void **state)
{
    ds4_store              *s = NULL;
    ds4_err                 err = { 0 };
    const ds4_store_options opt = { .dir = dir };

    (void)state;
    kv_dir_name(dir, "kv");
    assert_int_equal(0, mkdir(dir, 0700));
    assert_int_equal(0, chmod(dir, 0777));
    assert_int_equal(DS4_E_IO, ds4_store_open(&s, &opt, &err));
    assert_non_null(strstr(err.text, "others may write"));
    assert_int_equal(0, chmod(dir, 0700));
    if (geteuid() == 0 && chown(dir, 12345, 12345) == 0) {
        assert_int_equal(DS4_E_IO, ds4_store_open(&s, &opt, &err));
        assert_non_null(strstr(err.text, "12345"));
        assert_int_equal(0, chown(dir, 0, 0));
    }
    kv_dir_remove(dir);
    FILE *file = fopen(dir, "w");
    fclose(file);
    assert_int_equal(DS4_E_IO, ds4_store_open(&s, &opt, &err));
    unlink(dir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_came_back_equals_never_left),
    cmocka_unit_test(test_a_fork_adds_only_its_own),
    cmocka_unit_test(test_tails_are_thinned_out),
    cmocka_unit_test(test_a_better_reason_counts),
    cmocka_unit_test(test_the_budget_holds),
    cmocka_unit_test(test_processes_share_a_folder),
    cmocka_unit_test(test_unsafe_folders_are_refused),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
