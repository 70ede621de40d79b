/* undo_test.c - back to a mark: files of tools and commands, others' changes kept, at every crash. */
#include "agent/undo_local.h"

#include "base/clock.h"
#include "support/agent_dir.h"
#include "support/patience.h"
#include "support/syscall_walk.h"
#include "testing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static agent_dir dir;

typedef struct work {
    ds4_root *root;
    ds4_undo *undo;
} work;

static void open_work_with(work *w, const ds4_undo_limits *limits)
{
    ds4_err err = { 0 };
    if (ds4_root_open(&w->root, dir.root, &err) != DS4_OK || ds4_undo_open(&w->undo, w->root, dir.state,
                                                                           limits, &err) != DS4_OK)
        fail_msg("%s", err.text);
}

static void open_work(work *w) { open_work_with(w, NULL); }

static void close_work(work *w)
{
    ds4_undo_close(w->undo);
    ds4_root_close(w->root);
}

static void path_of(char path[700], const char *name)
{
    snprintf(path, 700, "%s/%s", dir.root, name);
}

static int setup(void **state)
{
    (void)state;
    char path[700];
    agent_dir_make(&dir, "undo_test");
    agent_put(dir.root, "a.txt", "first\n");
    agent_put(dir.root, "src/b.c", "int b;\n");
    agent_put(dir.root, "src/run.sh", "echo\n");
    agent_put(dir.root, "gone/c", "c");
    agent_put(dir.root, ".gitignore", "build/\n*.log\n");
    agent_put(dir.root, "build/out.o", "object");
    agent_put(dir.root, ".git/config", "[core]\n");
    agent_put(dir.root, ".git/HEAD", "ref: refs/heads/main\n");
    path_of(path, "src/run.sh");
    chmod(path, 0755);
    path_of(path, "link");
    (void)!symlink("a.txt", path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    agent_dir_remove(&dir);
    return 0;
}

static ds4_status tool_write(work *w, const char *name, const char *content)
{
    const ds4_slice now = { content, strlen(content) };
    const ds4_status rc = ds4_undo_before(w->undo, name, &now, 0, NULL);
    return rc == DS4_OK ? ds4_root_write(w->root, name, now, 0, NULL) : rc;
}

static ds4_status tool_remove(work *w, const char *name)
{
    const ds4_status rc = ds4_undo_before(w->undo, name, NULL, 0, NULL);
    return rc == DS4_OK ? ds4_root_remove(w->root, name, NULL) : rc;
}

/* As a command of the shell does it: without telling anybody. */
static void bare_write(const char *name, const char *content)
{
    char      path[700];
    path_of(path, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return;
    (void)!write(fd, content, strlen(content));
    close(fd);
}

static void command_changes(void)
{
    char path[700], to[700];
    bare_write("a.txt", "by a command\n");
    bare_write("new file", "new\n");
    path_of(path, "gone/c");
    unlink(path);
    path_of(path, "gone");
    rmdir(path);
    path_of(path, "made");
    mkdir(path, 0755);
    bare_write("made/deep", "x");
    path_of(path, "link");
    unlink(path);
    (void)!symlink("src", path);
    path_of(path, "src/run.sh");
    path_of(to, "src/ran.sh");
    rename(path, to);
    bare_write("build/out.o", "other");
    bare_write("x.log", "log");
    bare_write(".git/HEAD", "ref: refs/heads/other\n");
    path_of(path, "src/b.c");
    chmod(path, 0600);
}

static void put_ignored_back(void)
{
    char path[700];
    bare_write("build/out.o", "object");
    path_of(path, "x.log");
    unlink(path);
}

static void test_a_mark_brings_everything_back(void **state)
{
    (void)state;
    work     w;
    uint64_t first = 0, second = 0;
    char     begin[65], middle[65], now[65];
    ds4_str  told = { 0 };

    open_work(&w);
    agent_hash(dir.root, begin);
    assert_int_equal(ds4_undo_mark(w.undo, &first, NULL), DS4_OK);
    assert_int_equal(tool_write(&w, "a.txt", "by a tool\n"), DS4_OK);
    assert_int_equal(tool_write(&w, "deep/er/new", "new\n"), DS4_OK);
    assert_int_equal(tool_remove(&w, "src/b.c"), DS4_OK);
    assert_int_equal(tool_write(&w, "src/b.c", "int c;\n"), DS4_OK);
    agent_hash(dir.root, middle);
    assert_int_equal(ds4_undo_mark(w.undo, &second, NULL), DS4_OK);
    assert_true(second > first);
    assert_int_equal(ds4_undo_begin(w.undo, &told, NULL), DS4_OK);
    assert_non_null(strstr(ds4_str_text(&told), "1 ignored names"));
    ds4_str_truncate(&told, 0);
    command_changes();
    assert_int_equal(ds4_undo_end(w.undo, false, NULL, NULL, NULL), DS4_OK);
    assert_int_equal(tool_write(&w, "a.txt", "again\n"), DS4_OK);

    /* In another process, as it were. */
    close_work(&w);
    open_work(&w);
    assert_int_equal(ds4_undo_restore(w.undo, second, &told, NULL), DS4_OK);
    put_ignored_back();
    agent_hash(dir.root, now);
    if (strcmp(now, middle) != 0) fail_msg("%s", ds4_str_text(&told));
    assert_non_null(strstr(ds4_str_text(&told), "restored: a.txt\n"));
    assert_non_null(strstr(ds4_str_text(&told), "removed: new file\n"));
    assert_null(strstr(ds4_str_text(&told), "left"));
    assert_int_equal(ds4_undo_restore(w.undo, first, &told, NULL), DS4_OK);
    agent_hash(dir.root, now);
    assert_string_equal(now, begin);
    assert_int_equal(ds4_undo_restore(w.undo, second, &told, NULL), DS4_E_ARG);
    ds4_str_clear(&told);
    close_work(&w);
}

static void test_changes_of_others_are_left_alone(void **state)
{
    (void)state;
    work     w;
    uint64_t mark = 0;
    ds4_str  told = { 0 };

    open_work(&w);
    assert_int_equal(ds4_undo_mark(w.undo, &mark, NULL), DS4_OK);
    assert_int_equal(tool_write(&w, "a.txt", "by a tool\n"), DS4_OK);
    assert_int_equal(tool_write(&w, "new", "by a tool\n"), DS4_OK);
    bare_write("a.txt", "by the user\n");
    bare_write("src/b.c", "by the user\n");
    bare_write(".gitignore", "build/\n");
    bare_write("old.log", "made by the user, ignored before\n");
    assert_int_equal(ds4_undo_restore(w.undo, mark, &told, NULL), DS4_OK);
    assert_true(agent_is(dir.root, "a.txt", "by the user\n"));
    assert_true(agent_is(dir.root, "src/b.c", "by the user\n"));
    assert_true(agent_has(dir.root, "old.log"));
    assert_false(agent_has(dir.root, "new"));
    assert_non_null(strstr(ds4_str_text(&told), "left: a.txt"));

    /* A file that was ignored is not taken for one that the command makes which changes .gitignore. */
    bare_write(".gitignore", "build/\n*.log\n");
    assert_int_equal(ds4_undo_mark(w.undo, &mark, NULL), DS4_OK);
    assert_int_equal(ds4_undo_begin(w.undo, NULL, NULL), DS4_OK);
    bare_write(".gitignore", "*.txt\n");
    assert_int_equal(ds4_undo_end(w.undo, false, NULL, NULL, NULL), DS4_OK);
    assert_int_equal(ds4_undo_restore(w.undo, mark, &told, NULL), DS4_OK);
    assert_true(agent_has(dir.root, "old.log"));
    assert_true(agent_is(dir.root, "build/out.o", "object"));
    assert_true(agent_is(dir.root, "a.txt", "by the user\n"));
    assert_true(agent_is(dir.root, ".gitignore", "build/\n*.log\n"));
    ds4_str_clear(&told);
    close_work(&w);
}

static void count_change(void *ctx, const ds4_undo_change *c)
{
    ds4_str *s = ctx;
    ds4_str_addf(s, "%s%s%s%s;", c->made ? "+" : c->removed ? "-" : "", c->name, c->kept ? "" : " lost",
                 c->is_text ? " text" : "");
}

static void test_bounds_are_said(void **state)
{
    (void)state;
    const ds4_undo_limits limits = { .max_file_bytes = 100, .max_entries = 1000 };
    work     w;
    uint64_t mark = 0;
    ds4_str  told = { 0 }, seen = { 0 };
    char     large[201];

    memset(large, 'x', 200);
    large[200] = '\0';
    agent_put(dir.root, "large", large);
    open_work_with(&w, &limits);
    assert_int_equal(ds4_undo_mark(w.undo, &mark, NULL), DS4_OK);
    assert_int_equal(ds4_undo_begin(w.undo, &told, NULL), DS4_OK);
    assert_non_null(strstr(ds4_str_text(&told), "1 files above"));
    bare_write("large", "small now");
    bare_write("a.txt", "changed");
    assert_int_equal(ds4_undo_end(w.undo, false, count_change, &seen, NULL), DS4_OK);
    assert_string_equal(ds4_str_text(&seen), "a.txt text;large lost;");
    ds4_str_truncate(&told, 0);
    assert_int_equal(ds4_undo_restore(w.undo, mark, &told, NULL), DS4_OK);
    assert_non_null(strstr(ds4_str_text(&told), "left: large (its earlier content was too large"));
    assert_true(agent_is(dir.root, "a.txt", "first\n"));
    ds4_str_clear(&told);
    ds4_str_clear(&seen);
    close_work(&w);
}

static void test_a_state_folder_in_the_root_is_refused(void **state)
{
    (void)state;
    work    w = { 0 };
    ds4_err err;
    char    path[700];

    assert_int_equal(ds4_root_open(&w.root, dir.root, &err), DS4_OK);
    path_of(path, "src/state");
    assert_int_equal(ds4_undo_open(&w.undo, w.root, path, NULL, &err), DS4_E_ARG);
    assert_int_equal(ds4_undo_open(&w.undo, w.root, dir.root, NULL, &err), DS4_E_ARG);
    ds4_root_close(w.root);
}

static void test_a_damaged_journal_loses_lines_only(void **state)
{
    (void)state;
    work     w;
    uint64_t mark = 0;
    char     path[700];
    ds4_str  text = { 0 }, told = { 0 };

    open_work(&w);
    assert_int_equal(ds4_undo_mark(w.undo, &mark, NULL), DS4_OK);
    assert_int_equal(tool_write(&w, "a.txt", "1"), DS4_OK);
    assert_int_equal(tool_write(&w, "src/b.c", "2"), DS4_OK);
    close_work(&w);
    agent_get(dir.state, "journal", &text);
    char *line = strstr(text.data, "a.txt");
    assert_non_null(line);
    *line = 'b';
    ds4_str_add_text(&text, "C -:0: f:6");      /* and an end that was cut */
    snprintf(path, sizeof path, "%s/journal", dir.state);
    FILE *fp = fopen(path, "wb");
    assert_int_equal(fwrite(text.data, 1, text.n_bytes, fp), text.n_bytes);
    fclose(fp);
    open_work(&w);
    assert_int_equal(ds4_undo_restore(w.undo, mark, &told, NULL), DS4_OK);
    assert_true(agent_is(dir.root, "src/b.c", "int b;\n"));
    assert_true(agent_is(dir.root, "a.txt", "1"));
    assert_non_null(strstr(ds4_str_text(&told), "1 lines of the journal"));
    ds4_str_clear(&told);
    ds4_str_clear(&text);
    close_work(&w);
}

/* ---- many changes ---------------------------------------------------------------------------- */

enum { MANY = 10000 };

static void write_many(const char *content)
{
    for (int i = 0; i < MANY; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/%d", i);
        bare_write(name, content);
    }
}

/* Of work, not of waiting: other processes and the disk do not count. */
static double seconds_since(uint64_t start_ns)
{
    return (double)(ds4_cpu_ns() - start_ns) / 1e9;
}

/* Two commands, each of which changes all files, and the way back: what undo adds to them. */
static void test_10000_changes_take_seconds(void **state)
{
    (void)state;
    work     w;
    uint64_t mark = 0, spent_ns = 0;
    ds4_str  told = { 0 };
    char     begin[65], now[65], path[700];

    path_of(path, "many");
    assert_int_equal(mkdir(path, 0755), 0);
    agent_hash(dir.root, begin);
    open_work(&w);
    assert_int_equal(ds4_undo_mark(w.undo, &mark, NULL), DS4_OK);
    for (int round = 0; round < 2; round++) {
        uint64_t start = ds4_cpu_ns();
        assert_int_equal(ds4_undo_begin(w.undo, NULL, NULL), DS4_OK);
        spent_ns += ds4_cpu_ns() - start;
        write_many(round == 0 ? "by one command\n" : "by another one\n");
        start = ds4_cpu_ns();
        assert_int_equal(ds4_undo_end(w.undo, false, NULL, NULL, NULL), DS4_OK);
        spent_ns += ds4_cpu_ns() - start;
    }
    const uint64_t start = ds4_cpu_ns();
    assert_int_equal(ds4_undo_restore(w.undo, mark, &told, NULL), DS4_OK);
    print_message("# two commands %.2f s of work, the way back %.2f s\n", (double)spent_ns / 1e9,
                  seconds_since(start));
    assert_true((double)spent_ns / 1e9 < test_patience());
    assert_true(seconds_since(start) < 3 * test_patience());
    agent_hash(dir.root, now);
    assert_string_equal(now, begin);
    ds4_str_clear(&told);
    close_work(&w);
}

/* Looking through all records for each name would be 5,000,000,000 comparisons. */
static void test_the_newest_change_of_a_name_is_found_at_once(void **state)
{
    enum { NAMES = 100000 };
    ds4_undo       u = { 0 };
    undo_state     was = { .kind = '-' };
    const uint64_t start = ds4_cpu_ns();
    char           name[64];

    (void)state;
    for (unsigned i = 0; i < NAMES + NAMES / 2; i++) {
        const undo_state now = { .kind = 'f', .mode = i };
        snprintf(name, sizeof name, "src/deep/er/name_%u.c", i % NAMES);
        assert_true(undo_remember(&u, name, &was, &now));
    }
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "src/deep/er/name_%u.c", i);
        const undo_record *r = undo_newest(&u, name);
        assert_non_null(r);
        assert_string_equal(r->name, name);
        assert_int_equal(r->now.mode, i < NAMES / 2 ? i + NAMES : i);
    }
    assert_null(undo_newest(&u, "src/deep/er/name_"));
    /* Forgotten records give way to those before them. */
    undo_forget_records(&u, NAMES - 1);
    assert_int_equal(undo_newest(&u, "src/deep/er/name_7.c")->now.mode, 7);
    assert_null(undo_newest(&u, "src/deep/er/name_99999.c"));
    undo_memory_clear(&u);
    assert_true(seconds_since(start) < 2 * test_patience());
}

/* ---- crashes ------------------------------------------------------------------------------- */

static void whole_story(void *ctx)
{
    work     w;
    uint64_t mark = 0, later = 0;

    (void)ctx;
    open_work(&w);
    if (ds4_undo_mark(w.undo, &mark, NULL) != DS4_OK) return;
    (void)!tool_write(&w, "a.txt", "by a tool\n");
    (void)!tool_write(&w, "deep/er/new", "new\n");
    (void)!ds4_undo_mark(w.undo, &later, NULL);
    if (ds4_undo_begin(w.undo, NULL, NULL) == DS4_OK) {
        command_changes();
        (void)!ds4_undo_end(w.undo, false, NULL, NULL, NULL);
    }
    (void)!tool_write(&w, "src/b.c", "int c;\n");
    (void)!tool_remove(&w, "src/b.c");
    (void)!ds4_undo_restore(w.undo, later, NULL, NULL);
    (void)!ds4_undo_restore(w.undo, mark, NULL, NULL);
    close_work(&w);
}

static void walk_over(walk_fault fault)
{
    int n = 1;

    for (;; n++) {
        char     begin[65], now[65];
        work     w;
        ds4_str  told = { 0 };
        setup(NULL);
        agent_hash(dir.root, begin);
        const walk_end end = syscall_walk(whole_story, NULL, fault, n);
        if (!end.possible) {
            print_message("# not possible here\n");
            teardown(NULL);
            skip();
        }
        open_work(&w);
        const ds4_status rc = ds4_undo_restore(w.undo, 1, &told, NULL);
        put_ignored_back();
        agent_hash(dir.root, now);
        if (strcmp(begin, now) != 0 || (rc != DS4_OK && rc != DS4_E_ARG))
            fail_msg("call %d: %d, the root differs; told: %s", n, rc, ds4_str_text(&told));
        ds4_str_clear(&told);
        close_work(&w);
        teardown(NULL);
        if (!end.reached) break;
    }
    print_message("# %d calls\n", n - 1);
    assert_true(n > 50);
}

static void test_killed_at_every_call(void **state)
{
    (void)state;
    walk_over(WALK_KILL);
}

static void test_disk_full_at_every_call(void **state)
{
    (void)state;
    walk_over(WALK_NO_SPACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_mark_brings_everything_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_of_others_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds_are_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_state_folder_in_the_root_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_journal_loses_lines_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_10000_changes_take_seconds, setup, teardown),
        cmocka_unit_test(test_the_newest_change_of_a_name_is_found_at_once),
        cmocka_unit_test(test_killed_at_every_call),
        cmocka_unit_test(test_disk_full_at_every_call),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
