/* store_identity_test.c - a model is all of its bytes: one changed byte anywhere, and no row of the old one
 * is used; a file that moves keeps its rows; one that changes while it is used has none. */
#include "testing.h"

#include "base/log.h"
#include "base/rng.h"
#include "service/store/store_identity.h"
#include "support/kv_dir.h"
#include "support/model_pieces.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static kv_texts texts;
static char     dir[256], model[256], moved[256];

static int set_up(void **state)
{
    (void)state;
    kv_texts_make(&texts, NULL);
    kv_dir_name(dir, "kv_identity");
    test_temp_path(model, "identity.gguf");
    test_temp_path(moved, "moved.gguf");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kv_texts_free(&texts);
    kv_dir_remove(dir);
    unlink(model);
    unlink(moved);
    return 0;
}

static ds4_engine *open_engine(const char *path)
{
    ds4_engine              *e = NULL;
    ds4_err                  err = { .code = DS4_OK };
    const ds4_engine_options opt = { .model_path = path, .n_threads = 1, .max_batch = KV_BATCH };

    return ds4_engine_open(&e, &opt, &err) == DS4_OK ? e : NULL;
}

static void copy(const char *from, const char *to)
{
    char   buf[65536];
    size_t n;
    FILE  *in = fopen(from, "rb"), *out = fopen(to, "wb");

    assert_true(in && out);
    while ((n = fread(buf, 1, sizeof buf, in)) > 0) assert_int_equal(n, fwrite(buf, 1, n, out));
    fclose(in);
    assert_int_equal(0, fclose(out));
}

/* A change of one bit, with the time of the content set back, as by a tool that keeps times. */
static void flip(const char *path, uint64_t at)
{
    struct stat info;
    uint8_t     byte;
    const int   fd = open(path, O_RDWR);

    assert_int_equal(0, fstat(fd, &info));
    assert_int_equal(1, pread(fd, &byte, 1, (off_t)at));
    byte ^= 4;
    assert_int_equal(1, pwrite(fd, &byte, 1, (off_t)at));
    const struct timespec times[2] = { info.st_atim, info.st_mtim };
    assert_int_equal(0, futimens(fd, times));
    close(fd);
}

static uint64_t size_of(const char *path)
{
    struct stat info;
    assert_int_equal(0, stat(path, &info));
    return (uint64_t)info.st_size;
}

/* A time that proves something. */
static void make_old(const char *path)
{
    (void)path;
    usleep(2100000);
}

static ds4_identity *open_identity(ds4_engine *e, bool at_once)
{
    const ds4_identity_options opt = { .engine = e, .at_once_bytes = at_once ? 0 : 1, .wait_ms = 1 };
    ds4_identity              *id = NULL;

    assert_int_equal(DS4_OK, ds4_identity_open(&id, &opt, NULL));
    return id;
}

static ds4_store *open_store(ds4_engine *e, ds4_identity *id)
{
    const ds4_store_options opt = { .dir = dir, .engine = e, .identity = id, .min_tokens = 1 };
    ds4_store              *s = NULL;
    ds4_err                 err = { .code = DS4_OK };

    if (ds4_store_open(&s, &opt, &err) != DS4_OK) fail_msg("%s", err.text);
    return s;
}

static uint32_t found(ds4_store *s)
{
    ds4_stored at;

    assert_int_equal(DS4_OK, ds4_store_find(s, texts.text[0], KV_TOKENS, KV_TOKENS, &at, NULL));
    const uint32_t pos = at.pos;
    ds4_store_unpin(&at);
    return pos;
}

static void save(ds4_store *s, ds4_engine *e, uint32_t pos)
{
    ds4_snapshot *p = kv_position(&texts, e, 0, pos);
    ds4_err       err = { .code = DS4_OK };

    if (ds4_store_save(s, p, DS4_TAIL_TURN, NULL, 0, &err) != DS4_OK) fail_msg("%s", err.text);
    ds4_snapshot_free(p);
}

static void recalled(void *ctx, const int32_t *tokens, uint32_t n)
{
    (void)tokens;
    *(uint32_t *)ctx += n;
}

/* Rows of the store that a model of this path finds and texts that it recalls; false: it does not open. */
static bool rows_of(const char *path, uint32_t *pos)
{
    uint32_t    n_tokens = 0;
    ds4_engine *e = open_engine(path);

    if (!e) return false;
    ds4_store *s = open_store(e, NULL);
    *pos = found(s);
    assert_int_equal(DS4_OK, ds4_store_recall(s, DS4_SLICE("anything"), recalled, &n_tokens, NULL));
    if (*pos == 0) assert_int_equal(0, n_tokens);
    ds4_store_close(s);
    ds4_engine_close(e);
    return true;
}

/* Change one byte of the files of a model at a time, in random places of all of them together.
 *
 *   path   [n_files]; the first is opened
 *
 * In each place of the headers and of the weights: most headers that differ do not open at all. */
static void one_byte_at_a_time(const char *const *path, uint32_t n_files, int n_places)
{
    ds4_rng  rng;
    uint64_t n_bytes = 0;
    uint32_t pos;
    int      n_opened[4] = { 0 }, n_all = 0;

    ds4_rng_seed(&rng, 7);
    ds4_engine *e = open_engine(path[0]);
    assert_non_null(e);
    ds4_store *s = open_store(e, NULL);
    save(s, e, 600);
    assert_int_equal(600, found(s));
    ds4_store_close(s);
    ds4_engine_close(e);
    for (uint32_t i = 0; i < n_files; i++) n_bytes += size_of(path[i]);
    for (int i = 0; i < n_places; i++) {
        uint64_t at = ds4_rng_next(&rng) % n_bytes;
        uint32_t file = 0;
        while (at >= size_of(path[file])) at -= size_of(path[file++]);
        flip(path[file], at);
        if (rows_of(path[0], &pos)) {
            if (pos != 0) fail_msg("%s: byte %" PRIu64 ": a row of the old model", path[file], at);
            n_opened[file]++;
            n_all++;
        }
        flip(path[file], at);
    }
    print_message("# %d of %d models that differ in a byte open\n", n_all, n_places);
    assert_true(n_all > n_places / 2);
    for (uint32_t i = 0; i < n_files; i++) assert_true(n_opened[i] > 0);
    assert_true(rows_of(path[0], &pos));        /* all bytes as they were, all times others */
    assert_int_equal(600, pos);
    kv_dir_remove(dir);
}

static int places(int n)
{
    const char *more = getenv("DS4_IDENTITY_PLACES");
    return more ? atoi(more) : n;
}

static void test_one_byte_anywhere(void **state)
{
    const char *const path[] = { model };

    (void)state;
    copy(texts.model_path, model);
    one_byte_at_a_time(path, 1, places(100));
}

/* All pieces of a model in pieces are the model, and pieces that moved together are the same model. */
static void test_one_byte_of_any_piece(void **state)
{
    enum { N_PIECES = 4 };
    char        folder[256], piece[N_PIECES][400];
    const char *path[N_PIECES];
    uint32_t    pos;

    (void)state;
    test_temp_path(folder, "pieces");
    assert_int_equal(0, mkdir(folder, 0700));
    model_pieces_write(texts.model_path, folder, N_PIECES);
    for (uint32_t i = 0; i < N_PIECES; i++) {
        model_piece_path(piece[i], folder, i, N_PIECES);
        path[i] = piece[i];
    }
    one_byte_at_a_time(path, N_PIECES, places(100));

    /* One piece is written anew with the same bytes, another has another file's. */
    ds4_engine *e = open_engine(path[0]);
    ds4_store  *s = open_store(e, NULL);
    save(s, e, 600);
    ds4_store_close(s);
    ds4_engine_close(e);
    copy(path[2], model);
    assert_int_equal(0, unlink(path[2]));
    assert_int_equal(0, rename(model, path[2]));
    assert_true(rows_of(path[N_PIECES - 1], &pos));
    assert_int_equal(600, pos);
    flip(path[2], size_of(path[2]) - 5);
    assert_true(rows_of(path[N_PIECES - 1], &pos));
    assert_int_equal(0, pos);
    for (uint32_t i = 0; i < N_PIECES; i++) unlink(path[i]);
    assert_int_equal(0, rmdir(folder));
    kv_dir_remove(dir);
}

/* A large file's rows are kept apart until it is hashed; then they are one with all others. */
static void test_nothing_is_lost_while_it_is_hashed(void **state)
{
    (void)state;
    copy(texts.model_path, model);
    make_old(model);
    ds4_engine   *e = open_engine(model);
    ds4_identity *id = open_identity(e, false);
    assert_false(ds4_identity_get(id).is_known);
    ds4_store *s = open_store(e, id);           /* which starts the thread */
    save(s, e, 300);
    ds4_identity_settle(id);
    assert_true(ds4_identity_get(id).is_known);
    save(s, e, 600);
    assert_int_equal(600, found(s));
    ds4_store_close(s);
    ds4_identity_close(id);
    ds4_engine_close(e);

    /* The hash is remembered; another file of the same content has another, and the same rows. */
    e = open_engine(model);
    id = open_identity(e, false);
    s = open_store(e, id);
    assert_true(ds4_identity_get(id).is_known);
    assert_int_equal(600, found(s));
    ds4_store_close(s);
    ds4_identity_close(id);
    ds4_engine_close(e);
    copy(model, moved);
    e = open_engine(moved);
    id = open_identity(e, true);
    s = open_store(e, id);
    assert_int_equal(600, found(s));
    assert_int_equal(600, kv_probe(&texts, s, e, 0, KV_TOKENS));
    assert_int_equal(300, kv_probe(&texts, s, e, 0, 512));      /* kept while it was hashed */
    ds4_store_close(s);
    ds4_identity_close(id);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

static int n_warnings;

static void count_warnings(void *ctx, ds4_log_level level, const char *subject, const char *text)
{
    (void)ctx;
    (void)subject;
    (void)text;
    n_warnings += level <= DS4_LOG_WARN;
}

/* Written over while it is used: said once, and from then on nothing is stored or found. */
static void test_changed_while_it_is_used(void **state)
{
    (void)state;
    copy(texts.model_path, model);
    ds4_engine   *e = open_engine(model);
    ds4_identity *id = open_identity(e, true);
    ds4_store    *s = open_store(e, id);
    save(s, e, 300);
    assert_int_equal(300, found(s));
    ds4_log_to(count_warnings, NULL, DS4_LOG_WARN);
    usleep(20000);
    const int fd = open(model, O_WRONLY);
    assert_int_equal(1, pwrite(fd, "x", 1, (off_t)size_of(model) - 5));
    close(fd);
    assert_true(ds4_identity_get(id).is_changed);
    assert_int_equal(0, found(s));
    save(s, e, 600);
    assert_int_equal(1, kv_dir_count(dir, ".tail"));
    assert_int_equal(1, n_warnings);
    ds4_log_to(NULL, NULL, DS4_LOG_WARN);
    ds4_store_close(s);
    ds4_identity_close(id);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* Another name, other rights: the bytes are looked at again, and are the same. */
static void test_facts_that_change_alone(void **state)
{
    (void)state;
    copy(texts.model_path, model);
    make_old(model);
    ds4_engine   *e = open_engine(model);
    ds4_identity *id = open_identity(e, false);
    ds4_store    *s = open_store(e, id);
    ds4_identity_settle(id);
    const ds4_identity_names before = ds4_identity_get(id);
    assert_true(before.is_known);
    save(s, e, 300);
    assert_int_equal(0, rename(model, moved));
    assert_int_equal(0, found(s));              /* kept apart */
    ds4_identity_settle(id);
    const ds4_identity_names after = ds4_identity_get(id);
    assert_true(after.is_known && !after.is_changed);
    assert_true(ds4_kv_key_eq(&before.by_content, &after.by_content));
    assert_int_equal(300, found(s));
    /* A bit, and the time of the content set back. */
    flip(moved, size_of(moved) - 5);
    assert_int_equal(0, found(s));
    ds4_identity_settle(id);
    assert_true(ds4_identity_get(id).is_changed);
    assert_int_equal(0, found(s));
    ds4_store_close(s);
    ds4_identity_close(id);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

/* A position that is kept for one reader is not found for another. */
static void test_readers_apart(void **state)
{
    const ds4_kv_key alice = { { 1 } }, bob = { { 2 } }, all = { { 0 } };

    (void)state;
    copy(texts.model_path, model);
    ds4_engine *e = open_engine(model);
    ds4_store  *s = open_store(e, NULL);
    ds4_store_set_reader(s, &alice);
    save(s, e, 300);
    assert_int_equal(300, found(s));
    ds4_store_set_reader(s, &bob);
    assert_int_equal(0, found(s));
    save(s, e, 600);
    ds4_store_set_reader(s, &all);
    assert_int_equal(0, found(s));
    ds4_store_close(s);
    s = open_store(e, NULL);
    ds4_store_set_reader(s, &alice);
    assert_int_equal(300, kv_probe(&texts, s, e, 0, KV_TOKENS));
    ds4_store_set_reader(s, &bob);
    assert_int_equal(600, kv_probe(&texts, s, e, 0, KV_TOKENS));
    ds4_store_close(s);
    ds4_engine_close(e);
    kv_dir_remove(dir);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_one_byte_anywhere),
    cmocka_unit_test(test_one_byte_of_any_piece),
    cmocka_unit_test(test_nothing_is_lost_while_it_is_hashed),
    cmocka_unit_test(test_changed_while_it_is_used),
    cmocka_unit_test(test_facts_that_change_alone),
    cmocka_unit_test(test_readers_apart),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
