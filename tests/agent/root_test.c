/* root_test.c - nothing outside of the root, by openat2() and by the walk alike. */
#include "agent/root.h"

#include "base/clock.h"
#include "support/agent_dir.h"
#include "testing.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

static agent_dir dir;

static ds4_root *open_root(void)
{
    ds4_root *root = NULL;
    ds4_err   err;
    assert_int_equal(ds4_root_open(&root, dir.root, &err), DS4_OK);
    return root;
}

static void link_to(const char *target, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir.root, name);
    assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
    (void)state;
    char path[700];
    agent_dir_make(&dir, "root_test");
    agent_put(dir.root, "a/b/c.txt", "inside");
    agent_put(dir.root, "top.txt", "top");
    agent_put(dir.outside, "secret", "outside");
    link_to("a/b", "in_dir");
    link_to("a/b/c.txt", "in_file");
    link_to("../outside", "out_dir");
    link_to("../outside/secret", "out_file");
    snprintf(path, sizeof path, "%s/secret", dir.outside);
    link_to(path, "abs_file");
    link_to(dir.root, "abs_root");
    link_to("loop2", "loop1");
    link_to("loop1", "loop2");
    link_to("../../top.txt", "a/b/up");
    link_to("../../../outside/secret", "a/b/up_out");
    link_to("..", "a/dotdot");
    link_to(".", "here");
    link_to("missing", "dangling");
    link_to("a/../a/b/./c.txt", "winding");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    agent_dir_remove(&dir);
    return 0;
}

static void test_names_are_texts_beneath(void **state)
{
    (void)state;
    static const struct { const char *path, *name; } cases[] = {
        { "a", "a" }, { "./a//b/", "a/b" }, { "a/../b", "b" }, { ".", "." }, { "a/..", "." }, { "..", NULL },
        { "a/../../x", NULL }, { "/", NULL }, { "/etc/passwd", NULL }, { "", NULL }, { "a/./../..", NULL },
        { "..a", "..a" }, { "...", "..." }, { "a/...", "a/..." },
    };
    ds4_root *root = open_root();
    char      out[DS4_ROOT_NAME_BYTES], path[800];
    ds4_err   err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ds4_slice  p = { cases[i].path, strlen(cases[i].path) };
        const ds4_status st = ds4_root_name(root, p, out, &err);
        assert_int_equal(st, cases[i].name ? DS4_OK : DS4_E_ARG);
        if (cases[i].name) assert_string_equal(out, cases[i].name);
        else               assert_true(err.text[0] != '\0');
    }
    snprintf(path, sizeof path, "%s/a/b", dir.root);
    assert_int_equal(ds4_root_name(root, (ds4_slice){ path, strlen(path) }, out, &err), DS4_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(ds4_root_name(root, (ds4_slice){ dir.root, strlen(dir.root) }, out, &err), DS4_OK);
    assert_string_equal(out, ".");
    snprintf(path, sizeof path, "%sx/a", dir.root);
    assert_int_equal(ds4_root_name(root, (ds4_slice){ path, strlen(path) }, out, &err), DS4_E_ARG);
    assert_int_equal(ds4_root_name(root, (ds4_slice){ "a\0b", 3 }, out, &err), DS4_E_ARG);
    ds4_root_close(root);
}

/* Read a name in one of the two ways: out is the content, or a refusal is returned. */
static ds4_status look(ds4_root *root, const char *name, bool walk, ds4_str *out)
{
    ds4_root_set_walk(root, walk);
    ds4_str_truncate(out, 0);
    return ds4_root_read(root, name, 1000, out, NULL, NULL);
}

static void test_both_ways_agree(void **state)
{
    (void)state;
    static const struct { const char *name; bool readable; } cases[] = {
        { "top.txt", true }, { "a/b/c.txt", true }, { "in_file", true }, { "in_dir/c.txt", true },
        { "a/b/up", true }, { "winding", true }, { "here/top.txt", true }, { "here/here/here/in_file", true },
        { "a/dotdot/top.txt", true }, { "a/dotdot/a/dotdot/in_file", true }, { "in_dir/up", true },
        { "out_file", false }, { "out_dir/secret", false }, { "abs_file", false },
        { "abs_root/top.txt", false },
        { "loop1", false }, { "loop1/x", false }, { "a/b/up_out", false }, { "dangling", false },
        { "../outside/secret", false }, { "a/dotdot/../outside/secret", false }, { "a", false },
        { "in_dir", false },
        { "top.txt/x", false }, { "missing/x", false }, { "in_dir/../../outside/secret", false },
        { "a/b/../../../outside/secret", false }, { "here/../outside/secret", false },
        { "in_dir/../b/c.txt", true },
    };
    ds4_root *root = open_root();
    ds4_str   text = { 0 };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ds4_status fast = look(root, cases[i].name, false, &text);
        const ds4_status slow = look(root, cases[i].name, true, &text);
        if (fast != slow || (fast == DS4_OK) != cases[i].readable)
            fail_msg("%s: %d with openat2, %d by the walk, %sreadable", cases[i].name, fast, slow,
                     cases[i].readable ? "" : "not ");
        if (cases[i].readable) assert_true(strcmp(text.data, "inside") == 0 || strcmp(text.data, "top") == 0);
    }
    ds4_str_clear(&text);
    ds4_root_close(root);
}

static void test_special_files_and_several_names_are_refused(void **state)
{
    (void)state;
    char      from[700], to[700], path[700];
    ds4_root *root = open_root();
    ds4_str   text = { 0 };
    ds4_err   err;

    snprintf(from, sizeof from, "%s/secret", dir.outside);
    snprintf(to, sizeof to, "%s/hard", dir.root);
    assert_int_equal(link(from, to), 0);
    snprintf(path, sizeof path, "%s/fifo", dir.root);
    assert_int_equal(mkfifo(path, 0600), 0);
    for (int walk = 0; walk < 2; walk++) {
        ds4_root_set_walk(root, walk != 0);
        assert_int_equal(ds4_root_read(root, "hard", 100, &text, NULL, &err), DS4_E_ARG);
        assert_non_null(strstr(err.text, "hard links"));
        assert_int_equal(ds4_root_read(root, "fifo", 100, &text, NULL, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_write(root, "hard", DS4_SLICE("x"), 0, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_write(root, "fifo", DS4_SLICE("x"), 0, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_write(root, "a", DS4_SLICE("x"), 0, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_read(root, "top.txt", 2, &text, NULL, &err), DS4_E_LIMIT);
    }
    assert_true(agent_is(dir.outside, "secret", "outside"));
    ds4_str_clear(&text);
    ds4_root_close(root);
}

static void test_writing_stays_beneath(void **state)
{
    (void)state;
    ds4_root *root = open_root();
    ds4_err   err;
    char      real[DS4_ROOT_NAME_BYTES], path[700], before[65], after[65];

    agent_hash(dir.outside, before);
    for (int walk = 0; walk < 2; walk++) {
        ds4_root_set_walk(root, walk != 0);
        assert_int_equal(ds4_root_write(root, "new/folder/file", DS4_SLICE("one"), 0, &err), DS4_OK);
        assert_true(agent_is(dir.root, "new/folder/file", "one"));
        snprintf(path, sizeof path, "%s/new/folder/file", dir.root);
        assert_int_equal(chmod(path, 0755), 0);
        assert_int_equal(ds4_root_write(root, "new/folder/file", DS4_SLICE("two"), 0, &err), DS4_OK);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
        assert_int_equal(ds4_root_stat(root, "in_dir/c.txt", &st, &err), DS4_OK);
        assert_int_equal(st.st_size, 6);
        assert_int_not_equal(ds4_root_stat(root, "out_file", &st, &err), DS4_OK);
        assert_int_equal(ds4_root_real(root, "in_dir/new", real, &err), DS4_OK);
        assert_string_equal(real, "a/b/new");
        assert_int_equal(ds4_root_real(root, "in_file", real, &err), DS4_OK);
        assert_string_equal(real, "a/b/c.txt");
        assert_int_equal(ds4_root_real(root, "dangling", real, &err), DS4_OK);
        assert_string_equal(real, "missing");
        assert_int_equal(ds4_root_real(root, "out_dir/x", real, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_real(root, "abs_file", real, &err), DS4_E_ARG);
        assert_int_equal(ds4_root_real(root, "loop1", real, &err), DS4_E_ARG);
        assert_int_not_equal(ds4_root_write(root, "out_dir/x", DS4_SLICE("x"), 0, &err), DS4_OK);
        assert_int_not_equal(ds4_root_write(root, "in_file", DS4_SLICE("x"), 0, &err), DS4_OK);
        assert_int_not_equal(ds4_root_write(root, "in_dir/new", DS4_SLICE("x"), 0, &err), DS4_OK);
        assert_int_not_equal(ds4_root_remove(root, "out_dir/secret", &err), DS4_OK);
        assert_int_equal(ds4_root_remove(root, "not/there", &err), DS4_OK);
        assert_int_equal(ds4_root_remove(root, "new/folder/file", &err), DS4_OK);
        assert_int_equal(ds4_root_remove(root, "new/folder", &err), DS4_OK);
        assert_int_equal(ds4_root_remove(root, "new", &err), DS4_OK);
    }
    agent_hash(dir.outside, after);
    assert_string_equal(before, after);
    ds4_root_close(root);
}

/* A folder and a link to the outside that take each other's name, as fast as they can. */
typedef struct flipper {
    atomic_bool stop;
    char        name[700], one[700], two[700];
} flipper;

static void *flip(void *arg)
{
    flipper *f = arg;
    while (!atomic_load(&f->stop)) {
#ifdef RENAME_EXCHANGE
        if (renameat2(AT_FDCWD, f->name, AT_FDCWD, f->two, RENAME_EXCHANGE) == 0) continue;
#endif
        rename(f->name, f->one);
        rename(f->two, f->name);
        rename(f->name, f->two);
        rename(f->one, f->name);
    }
    return NULL;
}

static void test_a_flipping_link_never_leads_outside(void **state)
{
    (void)state;
    flipper   f = { 0 };
    pthread_t thread;
    char      before[65], after[65];
    ds4_root *root = open_root();
    ds4_str   text = { 0 };
    int       n_read = 0, n_refused = 0;

    agent_put(dir.root, "flip/secret", "inside");
    snprintf(f.name, sizeof f.name, "%s/flip", dir.root);
    snprintf(f.one, sizeof f.one, "%s/flip_folder", dir.root);
    snprintf(f.two, sizeof f.two, "%s/flip_link", dir.root);
    assert_int_equal(symlink("../outside", f.two), 0);
    agent_hash(dir.outside, before);
    assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
    const uint64_t end_ns = ds4_now_ns() + 1500000000u;
    for (int i = 0; ds4_now_ns() < end_ns; i++) {
        if (look(root, "flip/secret", i % 2 != 0, &text) == DS4_OK) {
            assert_string_equal(text.data, "inside");
            n_read++;
        } else {
            n_refused++;
        }
        if (i % 8 == 0 && ds4_root_write(root, "flip/new", DS4_SLICE("x"), 0, NULL) == DS4_OK)
            (void)!ds4_root_remove(root, "flip/new", NULL);
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    agent_hash(dir.outside, after);
    assert_string_equal(before, after);
    assert_true(n_read > 0 && n_refused > 0);
    print_message("# read %d times, refused %d times while it flipped\n", n_read, n_refused);
    ds4_str_clear(&text);
    ds4_root_close(root);
}

static void test_roots_that_cannot_be(void **state)
{
    (void)state;
    ds4_root *root = NULL;
    ds4_err   err;
    char      path[700];

    assert_int_equal(ds4_root_open(&root, "/", &err), DS4_E_ARG);
    snprintf(path, sizeof path, "%s/top.txt", dir.root);
    assert_int_equal(ds4_root_open(&root, path, &err), DS4_E_IO);
    snprintf(path, sizeof path, "%s/missing", dir.root);
    assert_int_equal(ds4_root_open(&root, path, &err), DS4_E_IO);
    snprintf(path, sizeof path, "%s/here", dir.root);
    assert_int_equal(ds4_root_open(&root, path, &err), DS4_OK);
    assert_string_equal(ds4_root_path(root), dir.root);
    ds4_root_close(root);
    ds4_root_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_are_texts_beneath, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_ways_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(test_special_files_and_several_names_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writing_stays_beneath, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flipping_link_never_leads_outside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_roots_that_cannot_be, setup, teardown),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
