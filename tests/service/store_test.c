/* store_test.c - conversations that leave for the disk and come back: after restarts,
 * forks, evictions and damage their logits equal, to the bit, those of a run that never
 * left. */
#include "testing.h"

#include "base/log.h"
#include "base/rng.h"
#include "service/store.h"
#include "support/kv_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static kv_texts texts;
static char     dir[256];

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

/* ---- help ---------------------------------------------------------------------------------- */

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

/* Call fn for each file of the folder. */
static void each_file(void (*fn)(const char *path, const char *name, void *ctx), void *ctx)
{
    DIR *d = opendir(dir);

    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[600];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        fn(path, e->d_name, ctx);
    }
    closedir(d);
}

static void remove_file(const char *path, const char *name, void *ctx)
{
    (void)name;
    (void)ctx;
    unlink(path);
}

static void fresh_dir(void)
{
    test_temp_path(dir, "kv");
    each_file(remove_file, NULL);
    rmdir(dir);
}

static void remove_dir(void)
{
    each_file(remove_file, NULL);
    assert_int_equal(0, rmdir(dir));
}

static ds4_store *open_store(ds4_engine *e, uint64_t max_bytes)
{
    const ds4_store_options opt = { .dir = dir, .engine = e, .max_bytes = max_bytes, .min_tokens = 1 };
    ds4_store              *s;
    ds4_err                 err = { 0 };

    check(ds4_store_open(&s, &opt, &err), &err);
    return s;
}

static void count_bytes(const char *path, const char *name, void *ctx)
{
    struct stat info;
    (void)name;
    if (stat(path, &info) == 0) *(uint64_t *)ctx += (uint64_t)info.st_size;
}

static uint64_t dir_bytes(void)
{
    uint64_t n = 0;
    each_file(count_bytes, &n);
    return n;
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

/* Bring a session to the longest stored beginning of a text. Returns its length. */
static uint32_t restore(ds4_store *s, ds4_session *session, int which, uint32_t max_pos,
                        const ds4_snapshot *base)
{
    ds4_err err = { 0 };

    for (int tries = 0; tries < 100; tries++) {
        ds4_stored    found;
        ds4_snapshot *p = NULL;
        check(ds4_store_find(s, texts.text[which], KV_TOKENS, max_pos, &found, &err), &err);
        const uint32_t   pos = found.pos;
        const ds4_status st = pos ? ds4_store_load(s, &found, texts.text[which], base, &p, &err) : DS4_OK;
        ds4_store_unpin(&found);
        if (pos == 0) return 0;
        if (st != DS4_OK) {
            assert_true(st == DS4_E_FORMAT || st == DS4_E_IO);
            continue;
        }
        assert_true(pos <= max_pos);
        check(ds4_session_restore(session, p, &err), &err);
        assert_int_equal(pos, ds4_session_pos(session));
        assert_memory_equal(ds4_session_tokens(session), texts.text[which], pos * sizeof(int32_t));
        ds4_snapshot_free(p);
        return pos;
    }
    fail_msg("a stored position fails again and again");
    return 0;
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
    w->store = open_store(w->engine, w->max_bytes);
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
    const uint32_t pos = restore(w->store, w->s[i], w->which[i], 1 + pick(w, KV_TOKENS), base);
    if (pos == 0) ds4_session_clear(w->s[i]);
    w->n_restored += pos > 0;
    w->which[i] = kv_other(&texts, &w->rng, w->which[i], pos);
    ds4_snapshot_free(base);
}

static void walk(uint64_t seed, uint32_t n_moves, uint64_t max_bytes)
{
    walker w = { .max_bytes = max_bytes };

    fresh_dir();
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
        assert_true(dir_bytes() <= max_bytes);
    }
    assert_true(w.n_restored > n_moves / 40);
    end(&w);
    free(w.logits);
    remove_dir();
}

static void test_came_back_equals_never_left(void **state)
{
    const char *more = getenv("DS4_KV_WALKS");
    const int   n = more ? atoi(more) : 4;

    (void)state;
    for (int seed = 1; seed <= n; seed++) walk((uint64_t)seed, 150, seed % 2 ? UINT64_C(1) << 30 : 3 << 20);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_came_back_equals_never_left),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
