/* ignore_test.c - patterns by the manual's examples, and the same answers as git's own. */
#include "agent/ignore.h"

#include "agent/walk.h"
#include "support/agent_dir.h"
#include "testing.h"

#include <sys/stat.h>

static bool ignored(const char *text, const char *name, bool is_folder)
{
    ds4_ignore *ignore = ds4_ignore_create();
    assert_non_null(ignore);
    assert_int_equal(ds4_ignore_add(ignore, "", (ds4_slice){ text, strlen(text) }, NULL), DS4_OK);
    const bool is = ds4_ignore_matches(ignore, name, is_folder);
    ds4_ignore_free(ignore);
    return is;
}

static void test_the_manual(void **state)
{
    (void)state;
    static const struct { const char *text, *name; bool folder, is; } cases[] = {
        { "*.o\n", "a/b.o", false, true }, { "*.o\n!b.o\n", "a/b.o", false, false },
        { "/b.o", "a/b.o", false, false },
        { "/b.o", "b.o", false, true }, { "a/b", "a/b", false, true }, { "a/b", "x/a/b", false, false },
        { "build/", "build", true, true }, { "build/", "build", false, false },
        { "build/", "x/build", true, true },
        { "**/foo", "foo", false, true }, { "**/foo", "a/b/foo", false, true },
        { "**/foo/bar", "a/foo/bar", false, true },
        { "abc/**", "abc/x/y", false, true }, { "abc/**", "abc", true, false },
        { "a/**/b", "a/b", false, true },
        { "a/**/b", "a/x/y/b", false, true }, { "a/*", "a/b/c", false, false },
        { "# note", "# note", false, false },
        { "\\#note", "#note", false, true }, { "\\!x", "!x", false, true }, { "x  ", "x", false, true },
        { "x\\ ", "x ", false, true }, { "[a-c]x", "bx", false, true }, { "[!a-c]x", "bx", false, false },
        { "[]a]", "]", false, true }, { "[[:digit:]]", "7", false, true }, { "[x", "[x", false, false },
        { "a?c", "abc", false, true }, { "a?c", "a/c", false, false }, { "*", "x/y", false, true },
        { "foo**bar", "fooxbar", false, true }, { "x\r\n", "x", false, true }, { "/", "x", false, false },
        { "!", "x", false, false }, { "a\\*b", "a*b", false, true }, { "a\\*b", "axb", false, false },
        { "\xef\xbb\xbfx", "x", false, true }, { "*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false, false },
        { "**/**/x", "x", false, true }, { "a/**/**/b", "a/b", false, true }, { "[z-a]", "b", false, false },
        { "[\\]]", "]", false, true }, { "[a-\\]]", "]", false, false }, { "**", "a/b", false, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (ignored(cases[i].text, cases[i].name, cases[i].folder) != cases[i].is)
            fail_msg("'%s' and '%s': expected %d", cases[i].text, cases[i].name, cases[i].is);
    }
}

static void test_a_hostile_pattern_costs_little(void **state)
{
    (void)state;
    char text[1025], name[4000];
    for (size_t i = 0; i + 1 < sizeof text; i++) text[i] = i % 2 ? 'a' : '*';
    text[sizeof text - 1] = '\0';
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 2] = 'b';
    name[sizeof name - 1] = '\0';
    assert_false(ignored(text, name, false));
    for (size_t i = 0; i + 4 < sizeof text; i += 3) memcpy(text + i, "**/", 3);
    for (size_t i = 0; i + 1 < sizeof name - 2; i += 2) name[i + 1] = '/';
    text[1020] = 'c';
    text[1021] = '\0';
    assert_false(ignored(text, name, false));
    ds4_ignore *ignore = ds4_ignore_create();
    ds4_str     many = { 0 };
    ds4_err     err;
    for (int i = 0; i <= DS4_IGNORE_MAX_PATTERNS; i++) ds4_str_add_text(&many, "a\n");
    assert_int_equal(ds4_ignore_add(ignore, "", (ds4_slice){ many.data, many.n_bytes }, &err), DS4_E_LIMIT);
    ds4_ignore_free(ignore);
    ds4_str_clear(&many);
}

/* ---- against git ------------------------------------------------------------------- */

static uint64_t seed = 20260101;
static unsigned pick(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static const char *const parts[] = { "a", "b", "ab", "abc", "x.o", "build", "a b", "#x", "!y", "A" };

static void random_pattern(char *out, size_t n_out)
{
    static const char *const bits[] = { "*", "?", "a", "b", "c", "/", "**", "**/", "/**", "[ab]", "[!a]",
                                        "\\a", ".o",
                                        "build", "x", "[a-c]", "[[:alpha:]]", "/" };
    size_t n = 0;
    out[0] = '\0';
    if (pick(5) == 0) n += (size_t)snprintf(out + n, n_out - n, "!");
    for (unsigned i = 1 + pick(4); i-- > 0; )
        n += (size_t)snprintf(out + n, n_out - n, "%s", bits[pick(sizeof bits / sizeof *bits)]);
    if (pick(4) == 0) snprintf(out + n, n_out - n, "/");
    /* git 2.39 takes "a**" for "a" and then any folders, which its manual does not say. */
    for (char *at = out; (at = strstr(at, "**")) != NULL; at++) {
        if (at > out && at[-1] != '/' && at[-1] != '!' && at[-1] != '*') at[0] = at[1] = 'x';
    }
}

static void collect(ds4_str *names, char *line)
{
    ds4_str_add(names, line, strlen(line));
    ds4_str_add_char(names, '\n');
}

static ds4_walk_next see(void *ctx, const ds4_walk_entry *entry)
{
    char line[DS4_ROOT_NAME_BYTES];
    if (S_ISREG(entry->st->st_mode)) {
        snprintf(line, sizeof line, "%s", entry->name);
        collect(ctx, line);
    }
    return DS4_WALK_ON;
}

static int line_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(ds4_str *s)
{
    char *line[4096];
    int   n = 0;
    char *text = strdup(ds4_str_text(s));
    for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n")) line[n++] = at;
    qsort(line, (size_t)n, sizeof *line, line_order);
    ds4_str_truncate(s, 0);
    for (int i = 0; i < n; i++) collect(s, line[i]);
    free(text);
}

/* Random trees with random patterns on two floors: git lists the files that it does not ignore. */
static void test_git_says_the_same(void **state)
{
    (void)state;
    if (system("git --version >/dev/null 2>&1") != 0) fail_msg("no git here");
    const char *more = getenv("DS4_IGNORE_ROUNDS");
    const int   rounds = more ? atoi(more) : 40;
    for (int round = 0; round < rounds; round++) {
        agent_dir d;
        char      text[400] = "", p[128], command[800], line[1024];
        ds4_str   ours = { 0 }, theirs = { 0 };
        agent_dir_make(&d, "ignore_test");
        for (int i = 0; i < 24; i++) {
            snprintf(line, sizeof line, "%s/%s/%s", parts[pick(4)], parts[pick(10)], parts[pick(10)]);
            char *end = line + strlen(line);
            snprintf(end, sizeof line - (size_t)(end - line), ".f%d", i);
            if (pick(3)) agent_put(d.root, line, "");
            snprintf(line, sizeof line, "%s/x%u.o", parts[pick(4)], pick(4));
            agent_put(d.root, line, "");
        }
        for (unsigned k = 0, n = 1 + pick(4); k < n; k++) {
            random_pattern(p, sizeof p);
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s\n", p);
        }
        agent_put(d.root, ".gitignore", text);
        random_pattern(p, sizeof p);
        agent_put(d.root, "a/.gitignore", p);
        snprintf(command, sizeof command,
                 "cd '%s' && git init -q . && git -c core.quotePath=false -c core.excludesFile= ls-files -co "
                 "--exclude-standard", d.root);
        FILE *fp = popen(command, "r");
        while (fgets(line, sizeof line, fp)) ds4_str_add_text(&theirs, line);
        pclose(fp);
        ds4_root               *root = NULL;
        ds4_walk_end            end;
        const ds4_walk_options  opt = { .see = see, .ctx = &ours };
        assert_int_equal(ds4_root_open(&root, d.root, NULL), DS4_OK);
        assert_int_equal(ds4_walk(root, ".", &opt, &end, NULL), DS4_OK);
        sort_lines(&ours);
        sort_lines(&theirs);
        if (strcmp(ds4_str_text(&ours), ds4_str_text(&theirs)) != 0)
            fail_msg("round %d: .gitignore:\n%sa/.gitignore: %s\nours:\n%s\ngit's:\n%s", round, text, p,
                     ds4_str_text(&ours), ds4_str_text(&theirs));
        ds4_str_clear(&ours);
        ds4_str_clear(&theirs);
        ds4_root_close(root);
        agent_dir_remove(&d);
    }
}

static void test_a_walk_has_bounds(void **state)
{
    (void)state;
    agent_dir              d;
    ds4_root              *root = NULL;
    ds4_walk_end           end;
    ds4_str                names = { 0 };
    char                   link_name[700];
    ds4_walk_options       opt = { .see = see, .ctx = &names };

    agent_dir_make(&d, "walk_test");
    agent_put(d.root, "a/b/c/d", "");
    agent_put(d.root, "e", "");
    agent_put(d.root, ".git/config", "");
    agent_put(d.root, ".git/objects/x", "");
    agent_put(d.outside, "secret", "");
    snprintf(link_name, sizeof link_name, "%s/link", d.root);
    assert_int_equal(symlink("../outside", link_name), 0);
    assert_int_equal(ds4_root_open(&root, d.root, NULL), DS4_OK);
    assert_int_equal(ds4_walk(root, ".", &opt, &end, NULL), DS4_OK);
    assert_string_equal(ds4_str_text(&names), "a/b/c/d\ne\n");
    assert_false(end.bounded);
    ds4_str_truncate(&names, 0);
    opt.git = true;
    opt.max_depth = 2;
    assert_int_equal(ds4_walk(root, ".", &opt, &end, NULL), DS4_OK);
    assert_string_equal(ds4_str_text(&names), ".git/config\ne\n");
    assert_true(end.bounded);
    ds4_str_truncate(&names, 0);
    opt.max_depth = 0;
    opt.max_entries = 2;
    assert_int_equal(ds4_walk(root, ".", &opt, &end, NULL), DS4_OK);
    assert_true(end.bounded);
    assert_int_equal(ds4_walk(root, "link/secret", &opt, &end, NULL), DS4_E_ARG);
    assert_int_equal(ds4_walk(root, "e", &opt, &end, NULL), DS4_OK);
    ds4_str_clear(&names);
    ds4_root_close(root);
    agent_dir_remove(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_manual),
        cmocka_unit_test(test_a_hostile_pattern_costs_little),
        cmocka_unit_test(test_git_says_the_same),
        cmocka_unit_test(test_a_walk_has_bounds),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
