/* store_fault_test.c - a store that is killed, filled up, damaged or salted with foreign
 * files: nothing wrong is ever used, nothing right is lost, and nobody fails of it. */
#include "testing.h"

#include "base/log.h"
#include "base/rng.h"
#include "service/store/store_sql.h"
#include "service/store/store_texts.h"
#include "support/kv_dir.h"
#include "support/syscall_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { OLD_POS = 513, NEW_POS = 1024 };

static kv_texts      texts;
static ds4_engine   *engine;
static ds4_snapshot *old_position, *new_position;       /* text 0 at OLD_POS, text 2 at NEW_POS */
static char          saved[256], dir[256];              /* a store with the old one; the copy used */
static int           n_warnings;

static void count_line(void *ctx, ds4_log_level level, const char *subject, const char *text)
{
    (void)ctx;
    (void)subject;
    (void)text;
    n_warnings += level <= DS4_LOG_WARN;
}

static void save(const char *where, const ds4_snapshot *p, int expected)
{
    ds4_err          err = { 0 };
    ds4_store       *s = kv_store_open(where, engine, 0);
    const ds4_status st = ds4_store_save(s, p, DS4_TAIL_TURN, NULL, 0, &err);

    if (st != expected) fail_msg("%d: %s", st, err.text);
    ds4_store_close(s);
}

static int set_up(void **state)
{
    (void)state;
    kv_texts_make(&texts, NULL);
    engine = kv_open(&texts);
    old_position = kv_position(&texts, engine, 0, OLD_POS);
    new_position = kv_position(&texts, engine, 2, NEW_POS);     /* shares 512 tokens with it */
    kv_dir_name(saved, "kv_saved");
    kv_dir_name(dir, "kv_used");
    ds4_log_to(count_line, NULL, DS4_LOG_WARN);
    save(saved, old_position, DS4_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ds4_snapshot_free(old_position);
    ds4_snapshot_free(new_position);
    ds4_engine_close(engine);
    kv_texts_free(&texts);
    kv_dir_remove(saved);
    kv_dir_remove(dir);
    return 0;
}

/* Open the used folder as the next process would: the old position is there, the new one
 * is or is not, and can be saved. */
static void come_after(bool old_must_be_there)
{
    ds4_err    err = { 0 };
    ds4_store *s = kv_store_open(dir, engine, 0);
    const uint32_t old = kv_probe(&texts, s, engine, 0, OLD_POS);
    const uint32_t new = kv_probe(&texts, s, engine, 2, KV_TOKENS);

    if (old_must_be_there) assert_int_equal(OLD_POS, old);
    else assert_true(old == 0 || old == OLD_POS);
    assert_true(new == 0 || new == NEW_POS);
    /* A damaged block is found out when it is used; then it is written again. */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(DS4_OK, ds4_store_save(s, new_position, DS4_TAIL_TURN, NULL, 0, &err));
        assert_int_equal(DS4_OK, ds4_store_save(s, old_position, DS4_TAIL_TURN, NULL, 0, &err));
        if (kv_probe(&texts, s, engine, 2, KV_TOKENS) == NEW_POS) break;
    }
    assert_int_equal(NEW_POS, kv_probe(&texts, s, engine, 2, KV_TOKENS));
    assert_int_equal(OLD_POS, kv_probe(&texts, s, engine, 0, KV_TOKENS));
    ds4_store_close(s);
    assert_int_equal(0, kv_dir_count(dir, ".lock"));
}

/* ---- killed --------------------------------------------------------------------------------------- */

static void save_in_child(void *ctx)
{
    (void)ctx;
    save(dir, new_position, DS4_OK);
}

static void test_killed_at_every_system_call(void **state)
{
    int n = 1;

    (void)state;
    for (;; n++) {
        kv_dir_copy(saved, dir);
        const walk_end end = syscall_walk(save_in_child, NULL, WALK_KILL, n);
        if (!end.possible) skip();
        come_after(true);
        if (!end.reached) break;
        assert_true(WIFSIGNALED(end.status));
    }
    print_message("# killed at each of %d system calls\n", n - 1);
    assert_true(n > 30);
}

/* ---- full ------------------------------------------------------------------------------------------- */

/* A disk that is full stops storing, not the program: it says so once, and what is there
 * can still be read. */
static void fill_up(void *ctx)
{
    ds4_store_options opt = { .dir = dir, .engine = engine, .min_tokens = 1 };
    ds4_store        *s = NULL;
    ds4_err           err = { 0 };

    (void)ctx;
    n_warnings = 0;
    if (ds4_store_open(&s, &opt, &err) != DS4_OK) _exit(11);
    const ds4_status first = ds4_store_save(s, new_position, DS4_TAIL_TURN, NULL, 0, &err);
    const ds4_status second = ds4_store_save(s, new_position, DS4_TAIL_TURN, NULL, 0, &err);
    if (first == DS4_OK && second == DS4_OK) {
        ds4_store_close(s);
        _exit(0);               /* it was enough after all: closing failed, say */
    }
    if (second != DS4_E_IO || ds4_store_writes(s) || n_warnings != 1) _exit(12);
    /* An index that was cut short in the middle of a change cannot be read before it is
     * repaired, and here not even bytes that a file already has can be written. */
    ds4_stored       found = { .fd = -1 };
    const ds4_status st = ds4_store_find(s, texts.text[0], KV_TOKENS, OLD_POS, &found, &err);
    if (st != DS4_E_IO && (st != DS4_OK || (found.pos != OLD_POS && found.pos != 0))) _exit(13);
    const uint32_t pos = found.pos;
    ds4_store_unpin(&found);
    if (st == DS4_OK && kv_probe(&texts, s, engine, 0, OLD_POS) != pos) _exit(14);
    ds4_store_close(s);
    _exit(0);
}

static void test_full_at_every_write(void **state)
{
    int n = 1;

    (void)state;
    for (;; n++) {
        kv_dir_copy(saved, dir);
        const walk_end end = syscall_walk(fill_up, NULL, WALK_NO_SPACE, n);
        if (!end.possible) skip();
        if (!WIFEXITED(end.status)) {
            fail_msg("full at write %d: the child ends with signal %d", n, WTERMSIG(end.status));
        }
        if (WEXITSTATUS(end.status) != 0) {
            fail_msg("full at write %d: the child says %d", n, WEXITSTATUS(end.status));
        }
        come_after(true);
        if (!end.reached) break;
    }
    print_message("# full at each of %d calls\n", n - 1);
    assert_true(n > 15);
}

typedef struct files {
    char     name[64][64];
    uint64_t size[64];
    int      n;
} files;

static void list_one(void *ctx, const char *path, const char *name)
{
    files      *f = ctx;
    struct stat info;

    if (f->n == 64 || stat(path, &info) != 0) return;
    snprintf(f->name[f->n], 64, "%s", name);
    f->size[f->n++] = (uint64_t)info.st_size;
}

static void change_file(const char *name, uint64_t at, uint8_t flip)
{
    char    path[600];
    uint8_t byte;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(1, pread(fd, &byte, 1, (off_t)at));
    byte ^= flip;
    assert_int_equal(1, pwrite(fd, &byte, 1, (off_t)at));
    close(fd);
}

static void cut_file(const char *name, uint64_t n_bytes)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(0, truncate(path, (off_t)n_bytes));
}

/* ---- responses ------------------------------------------------------------------------------------ */

static const ds4_kv_key owner = { { 3 } };

static ds4_texts *open_texts(void)
{
    const ds4_texts_options opt = { .dir = dir, .mem_bytes = 1 << 20 };
    ds4_texts              *t = NULL;
    ds4_err                 err = { 0 };

    if (ds4_texts_open(&t, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return t;
}

static bool keep_response(ds4_texts *t, const char *id)
{
    const ds4_text_response r = { .id = { id, strlen(id) }, .input = DS4_SLICE("1"), .output = DS4_SLICE("2"),
                                  .head = DS4_SLICE("{"), .rest = DS4_SLICE("}") };
    return ds4_texts_keep_response(t, &owner, &r);
}

static void look_at_it(void *ctx, const ds4_text_response *r)
{
    *(bool *)ctx = ds4_slice_eq(r->output, DS4_SLICE("2"));
}

static bool has_response(ds4_texts *t, const char *id)
{
    const ds4_slice name = { id, strlen(id) };
    bool            right = false;

    return ds4_texts_get_response(t, &owner, name, true, look_at_it, &right) && right;
}

static void marker(char path[600])
{
    snprintf(path, 600, "%s.acknowledged", dir);
}

/* Keeps one and says, by a file beside the folder, that it is kept. */
static void keep_in_child(void *ctx)
{
    ds4_texts *t = open_texts();
    char       path[600];

    (void)ctx;
    marker(path);
    if (keep_response(t, "new")) close(open(path, O_CREAT | O_WRONLY, 0600));
    if (!has_response(t, "new")) _exit(20);     /* kept on the disk or, when that fails, in memory */
    ds4_texts_close(t);
}

static void test_responses_at_every_system_call(void **state)
{
    char path[600];

    (void)state;
    kv_dir_copy(saved, dir);
    ds4_texts *t = open_texts();
    assert_true(keep_response(t, "old"));
    ds4_texts_close(t);
    kv_dir_copy(dir, saved);
    marker(path);
    for (int fault = 0; fault < 2; fault++) {
        for (int n = 1;; n++) {
            kv_dir_copy(saved, dir);
            unlink(path);
            const walk_end end = syscall_walk(keep_in_child, NULL, fault ? WALK_NO_SPACE : WALK_KILL, n);
            if (!end.possible) skip();
            if (WIFEXITED(end.status) && WEXITSTATUS(end.status) != 0) {
                fail_msg("call %d: the child says %d", n, WEXITSTATUS(end.status));
            }
            t = open_texts();
            assert_true(has_response(t, "old"));
            if (access(path, F_OK) == 0 && !has_response(t, "new")) fail_msg("call %d: it is lost", n);
            assert_true(keep_response(t, "after"));
            ds4_texts_close(t);
            if (!end.reached) break;
            assert_true(n < 1000);
        }
    }
    unlink(path);
}

/* The readable rest of a damaged index is taken over. */
static void test_responses_of_a_damaged_index(void **state)
{
    files f = { .n = 0 };
    int   n_kept = 0;

    (void)state;
    kv_dir_copy(saved, dir);
    ds4_texts *t = open_texts();
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        assert_true(keep_response(t, id));
    }
    ds4_texts_close(t);
    kv_dir_each(dir, list_one, &f);
    for (int i = 0; i < f.n; i++) {
        if (strcmp(f.name[i], "index.sqlite") == 0) cut_file(f.name[i], f.size[i] - 8192);
    }
    t = open_texts();
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "r%d", i);
        n_kept += has_response(t, id);
    }
    print_message("# %d of 300 responses were taken over\n", n_kept);
    assert_true(n_kept > 0 || has_response(t, "old"));
    assert_true(keep_response(t, "after"));
    ds4_texts_close(t);
}

/* ---- damaged ---------------------------------------------------------------------------------------- */

/* A bit in every file, many times over; then every file cut short. */
static void test_damaged_files(void **state)
{
    ds4_rng     rng;
    files       f = { .n = 0 };
    const char *more = getenv("DS4_KV_WALKS");
    const int   rounds = more ? atoi(more) : 6;

    (void)state;
    ds4_rng_seed(&rng, 5);
    kv_dir_each(saved, list_one, &f);
    assert_true(f.n >= 4);
    for (int i = 0; i < f.n; i++) {
        const bool is_index = strstr(f.name[i], "index") != NULL;
        for (int round = 0; round < (is_index ? 8 * rounds : rounds); round++) {
            kv_dir_copy(saved, dir);
            change_file(f.name[i], ds4_rng_next(&rng) % f.size[i], (uint8_t)(1 << ds4_rng_next(&rng) % 8));
            come_after(false);
        }
        for (int round = 0; round < rounds; round++) {
            kv_dir_copy(saved, dir);
            cut_file(f.name[i], ds4_rng_next(&rng) % f.size[i]);
            come_after(false);
        }
        kv_dir_copy(saved, dir);
        cut_file(f.name[i], 0);
        come_after(is_index);
    }
}

/* A damaged block costs what lies behind it, not what lies before it. */
static void test_damage_is_reported_once(void **state)
{
    files f = { .n = 0 };

    (void)state;
    kv_dir_copy(saved, dir);
    kv_dir_each(dir, list_one, &f);
    ds4_store *s = kv_store_open(dir, engine, 0);
    n_warnings = 0;
    for (int i = 0; i < f.n; i++) {
        if (strstr(f.name[i], ".block")) change_file(f.name[i], 300, 1);
    }
    assert_int_equal(0, kv_probe(&texts, s, engine, 0, OLD_POS));
    assert_int_equal(1, n_warnings);
    assert_int_equal(0, kv_probe(&texts, s, engine, 0, OLD_POS));
    assert_int_equal(1, n_warnings);
    assert_true(kv_dir_count(dir, ".bad") > 0);
    ds4_store_close(s);
    come_after(false);
}

static void put_file(const char *name, const char *text)
{
    char  path[600];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Rows of the index that lie: sizes that no sum can hold, names that lead out of the folder. */
static void test_an_index_that_lies(void **state)
{
    static const char *const lies[] = {
        "UPDATE block SET size = 9223372036854775807", "UPDATE tail SET size = 9223372036854775807",
        "UPDATE tail SET size = -5", "INSERT INTO writer VALUES('x', 9223372036854775807)",
        "INSERT INTO writer VALUES('0123456789abcdef', 9223372036854775807)",
        "INSERT INTO aside VALUES('notes', 9223372036854775807)",
        "INSERT INTO aside VALUES('../kv_victim', 5)", "INSERT INTO aside VALUES('./../kv_victim.bad', 5)",
        "INSERT INTO aside VALUES('notes.txt', 5)", "INSERT INTO aside VALUES('a/../../kv_victim', 1)",
        "INSERT INTO aside VALUES(zeroblob(200), 1)", "INSERT INTO writer VALUES(zeroblob(200), 99999999999)",
    };
    char    victim[300];
    ds4_err err = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        kv_dir_copy(saved, dir);
        put_file("notes.txt", "mine");
        put_file("../kv_victim", "stays");
        put_file("../kv_victim.bad", "stays");
        snprintf(victim, sizeof victim, "%s/index.sqlite", dir);
        ds4_sql *db = NULL;
        assert_int_equal(DS4_OK, ds4_sql_open(&db, victim, DS4_SQL_WRITE, &err));
        if (ds4_sql_do(db, lies[i], &err) != DS4_OK) fail_msg("%s", err.text);
        ds4_sql_close(db);
        const ds4_store_options opt = { .dir = dir, .max_bytes = 200 << 10, .engine = engine,
                                        .min_tokens = 1 };
        ds4_store              *s = NULL;
        assert_int_equal(DS4_OK, ds4_store_open(&s, &opt, &err));
        assert_true(ds4_store_prune(s, 0, &err) != DS4_E_FORMAT);
        ds4_store_close(s);
        assert_int_equal(1, kv_dir_count(dir, "notes.txt"));
        snprintf(victim, sizeof victim, "%s/../kv_victim", dir);
        assert_int_equal(0, unlink(victim));
        snprintf(victim, sizeof victim, "%s/../kv_victim.bad", dir);
        assert_int_equal(0, unlink(victim));
        kv_dir_copy(saved, dir);
        come_after(true);
    }
}

/* Names of the database that are no files do not end the start. */
static void test_folders_in_place_of_files(void **state)
{
    static const char *const names[] = { "index.sqlite-journal", "index.sqlite-wal", "index.sqlite" };
    char                     path[600];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kv_dir_copy(saved, dir);
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
        assert_int_equal(0, mkdir(path, 0700));
        come_after(true);
        strcat(path, ".bad");
        assert_int_equal(0, rmdir(path));
    }
}

/* ---- foreign ---------------------------------------------------------------------------------------- */

static void test_foreign_files(void **state)
{
    char target[300], path[600];

    (void)state;
    kv_dir_copy(saved, dir);
    put_file("notes.txt", "not ours");
    put_file("0123456789abcdef0123456789abcdef.block", "no block");
    put_file("0123456789abcdef0123456789abcde0.tail", "");
    put_file("tmp-0123456789abcdef-0", "left behind");
    put_file("writer-0123456789abcdef.lock", "");
    snprintf(target, sizeof target, "%s.target", saved);
    put_file("../victim", "stays");
    snprintf(path, sizeof path, "%s/fedcba9876543210fedcba9876543210.block", dir);
    assert_int_equal(0, symlink("../victim", path));
    come_after(true);
    assert_int_equal(1, kv_dir_count(dir, "notes.txt"));
    assert_int_equal(0, kv_dir_count(dir, "abcdef-0"));
    snprintf(path, sizeof path, "%s/../victim", dir);
    assert_int_equal(0, access(path, F_OK));
    unlink(path);
}

/* The state of another model is neither found nor harmed. */
static void test_another_model(void **state)
{
    static kv_texts other;
    ds4_err         err = { 0 };

    (void)state;
    kv_dir_copy(saved, dir);
    kv_texts_make(&other, "tests/golden/flashlike.gguf");
    ds4_engine *e = kv_open(&other);
    ds4_store  *s = kv_store_open(dir, e, 0);
    assert_int_equal(0, kv_probe(&other, s, e, 0, KV_TOKENS));
    ds4_snapshot *p = kv_position(&other, e, 0, 600);
    assert_int_equal(DS4_OK, ds4_store_save(s, p, DS4_TAIL_TURN, NULL, 0, &err));
    assert_int_equal(600, kv_probe(&other, s, e, 0, KV_TOKENS));
    ds4_snapshot_free(p);
    ds4_store_close(s);
    ds4_engine_close(e);
    come_after(true);
    kv_texts_free(&other);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_killed_at_every_system_call),
    cmocka_unit_test(test_full_at_every_write),
    cmocka_unit_test(test_responses_at_every_system_call),
    cmocka_unit_test(test_responses_of_a_damaged_index),
    cmocka_unit_test(test_damaged_files),
    cmocka_unit_test(test_damage_is_reported_once),
    cmocka_unit_test(test_an_index_that_lies),
    cmocka_unit_test(test_folders_in_place_of_files),
    cmocka_unit_test(test_foreign_files),
    cmocka_unit_test(test_another_model),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
