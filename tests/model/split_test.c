/* split_test.c - a model in pieces is the model: opened by any piece, with the same logits,
 * resident and streamed; pieces that lack or lie, and files with parts never written, are refused. */
#include "testing.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "ds4.h"
#include "format/gguf.h"
#include "support/model_pieces.h"

enum { N_PIECES = 3, N_TOKENS = 40 };

static const char whole[] = "tests/golden/flashlike.gguf";
static char       folder[300];

static void check(ds4_status st, const ds4_err *err)
{
    if (st != DS4_OK) fail_msg("%s", err->text);
}

static const char *path_of(uint32_t no, uint32_t count)
{
    static char paths[4][400];
    static int  next;
    char       *path = paths[next++ % 4];

    model_piece_path(path, folder, no, count);
    return path;
}

/* Write tensors first .. last - 1 in the place of piece 2, as a piece that says that it is number no. */
static void write_second(const ds4_gguf *g, uint32_t first, uint32_t last, uint32_t no)
{
    const model_piece piece = { first, last, no, N_PIECES, ds4_gguf_n_tensors(g) };

    model_piece_write(g, path_of(1, N_PIECES), &piece);
}

static int make_folder(void **state)
{
    const char *out = getenv("OUT");

    (void)state;
    snprintf(folder, sizeof folder, "%.200s/split_test.XXXXXX", out ? out : "build");
    if (!mkdtemp(folder)) return -1;
    model_pieces_write(whole, folder, N_PIECES);
    return 0;
}

static int remove_folder(void **state)
{
    char command[400];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void test_tensors_are_those_of_the_whole_file(void **state)
{
    ds4_gguf *a = NULL, *b = NULL;
    ds4_err   err;
    uint32_t  n_files;

    (void)state;
    check(ds4_gguf_open(whole, &a, &err), &err);
    for (uint32_t no = 0; no < N_PIECES; no++) {        /* any piece may be named */
        check(ds4_gguf_open(path_of(no, N_PIECES), &b, &err), &err);
        assert_string_equal(ds4_gguf_path(b), path_of(0, N_PIECES));
        assert_int_equal(ds4_gguf_n_tensors(b), ds4_gguf_n_tensors(a));
        assert_int_equal(ds4_gguf_n_files(b), N_PIECES);
        for (uint32_t i = 0; i < ds4_gguf_n_tensors(a); i++) {
            const ds4_gguf_tensor *t = ds4_gguf_tensor_at(a, i);
            char                   name[128];
            snprintf(name, sizeof name, "%.*s", (int)t->name.n_bytes, t->name.data);
            const ds4_gguf_tensor *u = ds4_gguf_tensor_find(b, name);
            assert_non_null(u);
            assert_int_equal(u->n_bytes, t->n_bytes);
            assert_memory_equal(u->data, t->data, t->n_bytes);
            /* The place in its file holds these bytes. */
            const uint32_t file = ds4_gguf_tensor_file(b, u);
            uint8_t        first[8];
            const int      fd = open(ds4_gguf_paths(b, &n_files)[file], O_RDONLY);
            assert_int_equal(pread(fd, first, 8, (off_t)ds4_gguf_tensor_offset(b, u)), 8);
            assert_memory_equal(first, t->data, 8);
            close(fd);
        }
        ds4_gguf_close(b);
    }
    ds4_gguf_close(a);
}

static void logits_of(const char *path, ds4_experts experts, float *out)
{
    const ds4_engine_options opt = { .model_path = path, .n_threads = 1, .experts = experts,
                                     .expert_cache_bytes = experts == DS4_EXPERTS_STREAM ? 1 << 20 : 0 };
    ds4_engine  *e = NULL;
    ds4_session *s = NULL;
    int32_t      tokens[N_TOKENS];
    ds4_err      err;

    for (int i = 0; i < N_TOKENS; i++) tokens[i] = 7 * i % 300;
    check(ds4_engine_open(&e, &opt, &err), &err);
    check(ds4_session_create(e, N_TOKENS, &s, &err), &err);
    const ds4_work work = { .session = s, .tokens = tokens, .n_tokens = N_TOKENS, .logits = out };
    check(ds4_engine_step(e, &work, 1, &err), &err);
    ds4_session_free(s);
    ds4_engine_close(e);
}

static void test_logits_are_those_of_the_whole_file(void **state)
{
    static float expected[1000], found[1000];

    (void)state;
    logits_of(whole, DS4_EXPERTS_RESIDENT, expected);
    logits_of(path_of(0, N_PIECES), DS4_EXPERTS_RESIDENT, found);
    assert_memory_equal(found, expected, sizeof found);
    memset(found, 0, sizeof found);
    logits_of(path_of(2, N_PIECES), DS4_EXPERTS_STREAM, found);
    assert_memory_equal(found, expected, sizeof found);
    assert_true(expected[0] != 0.0f);
}

/* Caches of downloads have links with other names. */
static void test_a_link_finds_the_pieces(void **state)
{
    char      target[PATH_MAX], link[400];
    ds4_gguf *g = NULL;
    ds4_err   err;

    (void)state;
    assert_non_null(realpath(path_of(0, N_PIECES), target));
    snprintf(link, sizeof link, "%s/ds4flash.gguf", folder);
    assert_int_equal(symlink(target, link), 0);
    check(ds4_gguf_open(link, &g, &err), &err);
    assert_int_equal(ds4_gguf_n_files(g), N_PIECES);
    ds4_gguf_close(g);
}

static void refused(const char *path, const char *words)
{
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    if (ds4_gguf_open(path, &g, &err) == DS4_OK) fail_msg("%s was opened", path);
    if (!strstr(err.text, words)) fail_msg("no \"%s\" in: %s", words, err.text);
}

static void test_pieces_that_lack_or_lie_are_refused(void **state)
{
    char      other[400], old[400];
    ds4_gguf *g = NULL;
    ds4_err   err;

    (void)state;
    snprintf(old, sizeof old, "%s/kept", folder);
    assert_int_equal(rename(path_of(1, N_PIECES), old), 0);
    refused(path_of(0, N_PIECES), "piece 2 of 3 of a split model");
    assert_int_equal(link(path_of(2, N_PIECES), path_of(1, N_PIECES)), 0);
    refused(path_of(0, N_PIECES), "says that it is piece 3 of 3");
    assert_int_equal(unlink(path_of(1, N_PIECES)), 0);

    snprintf(other, sizeof other, "%s/renamed.gguf", folder);
    assert_int_equal(link(path_of(0, N_PIECES), other), 0);
    refused(other, "does not end in -00001-of-00003.gguf");

    check(ds4_gguf_open(whole, &g, &err), &err);
    const uint32_t n = ds4_gguf_n_tensors(g);
    write_second(g, 0, n * 2 / 3 - n / 3, 1);
    refused(path_of(0, N_PIECES), "appears twice");
    write_second(g, n / 3, n / 3 + 1, 1);
    refused(path_of(0, N_PIECES), "tensors together, expected");
    write_second(g, n / 3, n / 3 + 1, 3);
    refused(path_of(0, N_PIECES), "split.no");
    ds4_gguf_close(g);
    assert_int_equal(rename(old, path_of(1, N_PIECES)), 0);
    check(ds4_gguf_open(path_of(0, N_PIECES), &g, &err), &err);
    ds4_gguf_close(g);
}

/* A copy of a model with `n_bytes` at `off` written as zeros, or not written at all. */
static void damage(const char *path, uint64_t off, uint64_t n_bytes, bool hole)
{
    ds4_map map;
    ds4_err err;

    check(ds4_map_open(&map, "models/ds4-mini.gguf", &err), &err);
    unlink(path);
    const int fd = open(path, O_CREAT | O_WRONLY, 0600);
    uint8_t  *zeros = calloc(1, n_bytes);
    assert_non_null(zeros);
    assert_int_equal(pwrite(fd, map.data, off, 0), off);
    if (!hole) assert_int_equal(pwrite(fd, zeros, n_bytes, (off_t)off), n_bytes);
    const uint64_t behind = off + n_bytes;
    const uint64_t rest = map.n_bytes - behind;
    assert_int_equal(pwrite(fd, map.data + behind, rest, (off_t)behind), rest);
    free(zeros);
    close(fd);
    ds4_map_close(&map);
}

static bool is_filled(const char *path, char words[512])
{
    ds4_gguf *g = NULL;
    ds4_err   err = { 0 };

    check(ds4_gguf_open(path, &g, &err), &err);
    const ds4_status st = ds4_gguf_check_filled(g, &err);
    snprintf(words, 512, "%s", err.text);
    ds4_gguf_close(g);
    return st == DS4_OK;
}

static void test_parts_never_written_are_noticed(void **state)
{
    char words[512], path[400];

    (void)state;
    assert_true(is_filled("models/ds4-mini.gguf", words));
    assert_true(is_filled(path_of(0, N_PIECES), words));
    snprintf(path, sizeof path, "%s/damaged.gguf", folder);
    damage(path, 8u << 20, 6u << 20, false);            /* as a download that reserved its room */
    assert_false(is_filled(path, words));
    assert_non_null(strstr(words, "was never written, or not all of it"));
    damage(path, 12u << 20, 64u << 10, true);           /* as one in several streams */
    assert_false(is_filled(path, words));
    assert_non_null(strstr(words, "damaged.gguf: tensor \""));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_tensors_are_those_of_the_whole_file),
    cmocka_unit_test(test_logits_are_those_of_the_whole_file),
    cmocka_unit_test(test_a_link_finds_the_pieces),
    cmocka_unit_test(test_pieces_that_lack_or_lie_are_refused),
    cmocka_unit_test(test_parts_never_written_are_noticed),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
