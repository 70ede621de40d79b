/* tools_test.c - the tools as a model calls them: results, refusals, modes, and the way back. */
#include "agent/tools.h"

#include "agent/notes.h"
#include "agent/sandbox.h"
#include "support/agent_dir.h"
#include "text/utf8.h"
#include "testing.h"

#include <sys/stat.h>

static agent_dir       dir;
static ds4_tools      *tools;
static ds4_tool_result last;
static ds4_permission  answer;
static int             n_asked;
static char            asked[512];

static ds4_permission ask(void *ctx, const ds4_question *q)
{
    (void)ctx;
    n_asked++;
    snprintf(asked, sizeof asked, "%.*s|%.*s|%.*s", (int)q->tool.n_bytes, q->tool.data, (int)q->what.n_bytes,
             q->what.data,
             (int)q->diff.n_bytes, q->diff.data);
    return answer;
}

static void open_tools(ds4_tools_mode mode, unsigned without)
{
    ds4_err                 err = { 0 };
    const ds4_tools_options opt = { .root = dir.root, .mode = mode, .undo_dir = dir.state, .ask = ask,
                                    .without = without };
    if (ds4_tools_open(&opt, &tools, &err) != DS4_OK) fail_msg("%s", err.text);
}

static int setup(void **state)
{
    (void)state;
    agent_dir_make(&dir, "tools_test");
    agent_put(dir.root, "a.c", "int one;\nint two;\nint three;\n");
    agent_put(dir.root, "src/deep/b.c", "// one\nvoid f(void);\n");
    agent_put(dir.root, "src/AGENTS.md", "Use tabs in src.\n");
    agent_put(dir.root, "AGENTS.md", "Be brief.\n");
    agent_put(dir.root, ".env", "API_KEY=sk-abcdef0123456789\n");
    agent_put(dir.root, ".gitignore", "build/\n");
    agent_put(dir.root, "build/x.c", "int one;\n");
    agent_put(dir.root, "dos.txt", "one\r\ntwo\r\n");
    agent_put(dir.root, ".agents/skills/cook/SKILL.md",
              "---\nname: cook\ndescription: How to cook.\n---\nBody.\n");
    agent_put(dir.outside, "secret", "outside");
    answer = DS4_PERMISSION_DENY;
    n_asked = 0;
    open_tools(DS4_TOOLS_WORK, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ds4_tool_result_clear(&last);
    ds4_tools_close(tools);
    tools = NULL;
    agent_dir_remove(&dir);
    return 0;
}

static const char *call(const char *name, const char *arguments)
{
    const ds4_tool_call c = { DS4_SLICE("1"), { name, strlen(name) }, { arguments, strlen(arguments) } };
    ds4_tool_result_clear(&last);
    ds4_tools_call(tools, &c, NULL, NULL, &last);
    assert_true(last.text.n_bytes > 0);
    assert_true(ds4_utf8_valid(last.text.data, last.text.n_bytes));
    assert_int_equal(last.failed, strncmp(last.text.data, "Error: ", 7) == 0);
    return last.text.data;
}

static void expect(const char *name, const char *arguments, const char *part)
{
    const char *text = call(name, arguments);
    if (last.failed || !strstr(text, part))
        fail_msg("%s %s: '%s' is not in: %s", name, arguments, part, text);
}

static void refuse(const char *name, const char *arguments, const char *part)
{
    const char *text = call(name, arguments);
    if (!last.failed || !strstr(text, part))
        fail_msg("%s %s: '%s' is not the refusal: %s", name, arguments, part, text);
}

/* Where nothing confines commands they would be asked about: they are allowed, and behave likewise. */
static void allow_commands(void)
{
    if (strstr(ds4_tools_sandbox(tools), "not confined")) answer = DS4_PERMISSION_ONCE;
}

static void test_reading(void **state)
{
    (void)state;
    expect("read", "{\"path\":\"a.c\"}", "1\tint one;\n2\tint two;\n3\tint three;\n");
    expect("read", "{\"path\":\"a.c\",\"start\":2,\"lines\":1}", "2\tint two;\n[Lines 2 to 2 of 3;");
    expect("more", "{}", "3\tint three;\n");
    expect("read", "{\"path\":\"a.c\",\"start\":\"3\"}", "3\tint three;");
    refuse("read", "{\"path\":\"a.c\",\"start\":9}", "has 3 lines");
    refuse("read", "{\"path\":\"missing\"}", "No such file");
    refuse("read", "{\"path\":\"src\"}", "is a folder");
    refuse("read", "{\"path\":\"../outside/secret\"}", "outside of the root");
    refuse("read", "{\"path\":\"/etc/passwd\"}", "outside of the root");
    char path[700];
    snprintf(path, sizeof path, "%s/bin", dir.root);
    FILE *fp = fopen(path, "wb");
    fwrite("a\0b", 1, 3, fp);
    fclose(fp);
    refuse("read", "{\"path\":\"bin\"}", "binary file");
    expect("read", "{\"path\":\".env\"}", "API_KEY=<masked, 19 characters>");
    assert_null(strstr(last.text.data, "sk-abc"));
    expect("read", "{\"path\":\"src/deep/b.c\"}", "Use tabs in src.");
    call("read", "{\"path\":\"src/deep/b.c\"}");
    assert_null(strstr(last.text.data, "Use tabs"));
}

static void test_long_results_are_cut_and_say_so(void **state)
{
    (void)state;
    allow_commands();
    ds4_str big = { 0 };
    for (int i = 1; i <= 3000; i++) ds4_str_addf(&big, "line number %d of many\n", i);
    agent_put(dir.root, "big.txt", big.data);
    expect("read", "{\"path\":\"big.txt\",\"lines\":5000}", "call more to read on");
    assert_true(last.text.n_bytes <= 24 << 10);
    unsigned from = 0, to = 0;
    assert_int_equal(sscanf(strstr(last.text.data, "[Lines"), "[Lines %u to %u of 3000", &from, &to), 2);
    char want[64];
    snprintf(want, sizeof want, "%u\tline number %u of many", to + 1, to + 1);
    expect("more", "{}", want);
    snprintf(want, sizeof want, "3000\tline number 3000 of many");
    expect("more", "{\"from\":2990}", want);
    ds4_tools_set_room(tools, 2000);
    expect("bash", "{\"command\":\"cat big.txt\"}", "are not shown: call more");
    assert_true(last.text.n_bytes <= 2000);
    assert_non_null(strstr(last.text.data, "line number 1 of many"));
    assert_non_null(strstr(last.text.data, "line number 3000 of many"));
    assert_non_null(strstr(last.text.data, "[Exit status 0"));
    expect("more", "{\"from\":1500}", "line number 1500 of many");
    ds4_str_truncate(&big, 0);
    for (int i = 0; i < 10000; i++) ds4_str_add_text(&big, "wide ");
    agent_put(dir.root, "wide.txt", big.data);
    expect("read", "{\"path\":\"wide.txt\"}", "more bytes in this line]");
    ds4_str_clear(&big);
}

static void test_large_files_are_read_in_parts(void **state)
{
    (void)state;
    ds4_str                 big = { 0 };
    ds4_err                 err = { 0 };
    const ds4_tools_options opt = { .root = dir.root, .limits = { .max_file_bytes = 1000 } };

    for (int i = 1; i <= 200; i++) ds4_str_addf(&big, "line %d\n", i);
    agent_put(dir.root, "big.txt", big.data);
    ds4_str_clear(&big);
    ds4_tools_close(tools);
    tools = NULL;
    if (ds4_tools_open(&opt, &tools, &err) != DS4_OK) fail_msg("%s", err.text);
    expect("read", "{\"path\":\"big.txt\",\"start\":150,\"lines\":2}",
           "150\tline 150\n151\tline 151\n[From line 150");
    expect("more", "{}", "152\tline 152\n");
    assert_non_null(strstr(last.text.data, "200\tline 200\n"));
    refuse("edit", "{\"path\":\"big.txt\",\"old\":\"line 7\",\"new\":\"x\"}", "at most 1000 are handled");
    refuse("write", "{\"path\":\"big.txt\",\"content\":\"x\"}", "at most 1000 are handled");
    expect("search", "{\"pattern\":\"line 7\"}", "1 files are too large");
}

static void test_writing(void **state)
{
    (void)state;
    expect("write", "{\"path\":\"new/x.txt\",\"content\":\"hi\\n\"}", "Created new/x.txt, 1 lines.");
    assert_true(agent_is(dir.root, "new/x.txt", "hi\n"));
    assert_int_equal(last.n_changes, 1);
    assert_true(last.changes[0].made);
    assert_non_null(strstr(last.changes[0].diff.data, "+hi"));
    expect("write", "{\"path\":\"new/x.txt\",\"content\":\"ho\\n\"}", "Replaced");
    refuse("write", "{\"path\":\"a.c\",\"content\":\"\"}", "read it before it is replaced");
    call("read", "{\"path\":\"a.c\"}");
    agent_put(dir.root, "a.c", "changed by somebody else\n");
    refuse("write", "{\"path\":\"a.c\",\"content\":\"\"}", "was changed since it was read");
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"changed\",\"new\":\"x\"}", "was changed since it was read");
    assert_true(agent_is(dir.root, "a.c", "changed by somebody else\n"));
    call("read", "{\"path\":\"a.c\"}");
    expect("write", "{\"path\":\"a.c\",\"content\":\"x\"}", "Replaced a.c");
    refuse("write", "{\"path\":\"../outside/new\",\"content\":\"x\"}", "outside of the root");
    refuse("write", "{\"path\":\".git/hooks/pre-commit\",\"content\":\"x\"}", "belongs to git");
    refuse("write", "{\"path\":\"sub/.GIT/config\",\"content\":\"x\"}", "belongs to git");
    refuse("write", "{\"path\":\"src\",\"content\":\"x\"}", "is a folder");
    refuse("write", "{\"path\":\"x\"}", "'content' is missing");
    assert_false(agent_has(dir.outside, "new"));
}

static void test_editing(void **state)
{
    (void)state;
    expect("edit", "{\"path\":\"a.c\",\"old\":\"two\",\"new\":\"2\"}", "-int two;\n+int 2;\n");
    assert_true(agent_is(dir.root, "a.c", "int one;\nint 2;\nint three;\n"));
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"int\",\"new\":\"x\"}", "more than once (lines 1 and 2)");
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"nowhere\",\"new\":\"x\"}", "was not found");
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"\",\"new\":\"x\"}", "is empty");
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"x\",\"new\":\"x\"}", "are the same");
    expect("edit", "{\"path\":\"a.c\",\"old\":\"int\",\"new\":\"long\",\"all\":true}", "3 places");
    expect("edit", "{\"path\":\"a.c\",\"old\":\"long 2;\\n\",\"new\":\"\"}", "1 place.");
    assert_true(agent_is(dir.root, "a.c", "long one;\nlong three;\n"));
    expect("edit", "{\"path\":\"dos.txt\",\"old\":\"one\\ntwo\",\"new\":\"1\\n2\"}", "1 place");
    assert_true(agent_is(dir.root, "dos.txt", "1\r\n2\r\n"));
    expect("edit", "{\"path\":\".env\",\"old\":\"API_KEY\",\"new\":\"KEY\"}", "Edited .env");
    assert_null(strstr(last.text.data, "sk-abc"));
}

static void test_searching(void **state)
{
    (void)state;
    expect("search", "{\"pattern\":\"one\"}", "a.c\n  1: int one;\n");
    assert_non_null(strstr(last.text.data, "src/deep/b.c\n  1: // one\n"));
    assert_null(strstr(last.text.data, "build"));
    assert_non_null(strstr(last.text.data, "[3 matching lines in 3 of"));
    expect("search", "{\"pattern\":\"int t\\\\w+\",\"regex\":true,\"glob\":\"*.c\",\"context\":1}",
           "1- int one;\n  2: int two;\n");
    expect("search", "{\"pattern\":\"INT ONE\",\"ignore_case\":true,\"path\":\"a.c\"}", "1: int one;");
    expect("search", "{\"pattern\":\"t.o\"}", "No match");
    char from[700], to[700];
    snprintf(from, sizeof from, "%s/secret", dir.outside);
    snprintf(to, sizeof to, "%s/hard.txt", dir.root);
    assert_int_equal(link(from, to), 0);
    expect("search", "{\"pattern\":\"outside\"}", "[1 files could not be read.]");
    unlink(to);
    expect("search", "{\"pattern\":\"int\",\"max\":1}", "[1 of 3 matching lines in 1 files are shown");
    expect("search", "{\"pattern\":\"API_KEY\"}", "<masked, 19 characters>");
    assert_null(strstr(last.text.data, "sk-abc"));
    expect("search", "{\"pattern\":\"sk-abc\"}", "No match");
    refuse("search", "{\"pattern\":\"(\",\"regex\":true}", "the pattern is wrong at its byte 1");
    refuse("search", "{\"pattern\":\"\"}", "1 to 4096 bytes");
    refuse("search", "{\"pattern\":\"x\",\"path\":\"../outside\"}", "outside of the root");
    ds4_str evil = { 0 };
    for (int i = 0; i < 60; i++) ds4_str_add_char(&evil, 'a');
    ds4_str_add_char(&evil, '!');
    agent_put(dir.root, "evil.txt", evil.data);
    expect("search", "{\"pattern\":\"^(a+)+$\",\"regex\":true,\"path\":\"evil.txt\"}", "too many steps");
    ds4_str_clear(&evil);
}

static void test_listing(void **state)
{
    (void)state;
    expect("list", "{}", "a.c  29 B\n");
    assert_non_null(strstr(last.text.data, "src/\n"));
    assert_non_null(strstr(last.text.data, "[1 ignored names are not shown.]"));
    expect("list", "{\"path\":\"src\",\"depth\":3}", "deep/b.c");
    refuse("list", "{\"path\":\"nowhere\"}", "No such file");
    refuse("list", "{\"depth\":99}", "from 1 to 16");
}

static void test_arguments_of_any_shape(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "{", "[]", "null", "{}", "{\"path\":1}", "{\"path\":[\"a\"]}", "{\"path\":null}",
            "{\"path\":\"\"}x",
        "{\"path\":\"a.c\",\"path\":\"a.c\"}", "{\"path\":\"a.c\",\"other\":1}", "{\"path\":\"a\\u0000b\"}",
        "{\"path\":\"a.c\",\"start\":0}", "{\"path\":\"a.c\",\"start\":1.5}",
            "{\"path\":\"a.c\",\"start\":1e300}",
        "{\"path\":\"a.c\",\"start\":-1}", "{\"path\":\"a.c\",\"start\":99999999999999999999}",
        "{\"path\":\"a.c\",\"lines\":\"many\"}", "{\"path\":{}}", "\"a.c\"", "{\"path\":\"\\ud800\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        call("read", bad[i]);
        if (!last.failed) fail_msg("taken: %s", bad[i]);
    }
    ds4_str deep = { 0 };
    for (int i = 0; i < 100000; i++) ds4_str_add_char(&deep, '[');
    call("read", deep.data);
    assert_true(last.failed);
    ds4_str_truncate(&deep, 0);
    ds4_str_add_text(&deep, "{\"path\":\"");
    for (int i = 0; i < 5000; i++) ds4_str_add_text(&deep, "a/");
    ds4_str_add_text(&deep, "\"}");
    refuse("read", deep.data, "at most 4095");
    ds4_str_clear(&deep);
    refuse("nothing", "{}", "there is no tool 'nothing'; there are: read, more,");
    refuse("bash", "{\"command\":\" \"}", "is empty");
    refuse("bash", "{\"command\":\"a\\u0000b\"}", "is not allowed");
    refuse("more", "{}", "nothing of the last result is left");
    refuse("job", "{\"id\":7}", "no job 7");
}

static void test_modes(void **state)
{
    const bool confined = !strstr(ds4_tools_sandbox(tools), "not confined");

    (void)state;
    ds4_tools_set_mode(tools, DS4_TOOLS_ASK);
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"two\",\"new\":\"2\"}", "the user did not allow it");
    assert_true(last.denied);
    assert_non_null(strstr(asked, "edit|change a.c|--- a/a.c"));
    assert_int_equal(n_asked, 1);
    refuse("bash", "{\"command\":\"echo hi\"}", "did not allow");
    assert_non_null(strstr(asked, confined ? "bash|run: echo hi|" : "bash|run without a sandbox: echo hi|"));
    answer = DS4_PERMISSION_ONCE;
    expect("edit", "{\"path\":\"a.c\",\"old\":\"two\",\"new\":\"2\"}", "Edited");
    answer = DS4_PERMISSION_ALWAYS;
    expect("edit", "{\"path\":\"a.c\",\"old\":\"one\",\"new\":\"1\"}", "Edited");
    answer = DS4_PERMISSION_DENY;
    expect("edit", "{\"path\":\"a.c\",\"old\":\"three\",\"new\":\"3\"}", "Edited");
    ds4_tools_set_mode(tools, DS4_TOOLS_READ_ONLY);
    refuse("edit", "{\"path\":\"a.c\",\"old\":\"3\",\"new\":\"4\"}", "read-only mode");
    refuse("write", "{\"path\":\"z\",\"content\":\"4\"}", "read-only mode");
    refuse("git", "{\"do\":\"commit\",\"message\":\"m\"}", "read-only mode");
    if (confined) expect("bash", "{\"command\":\"echo x > made; cat a.c\"}", "int 1;");
    else          refuse("bash", "{\"command\":\"echo x > made; cat a.c\"}", "no sandbox here");
    assert_false(agent_has(dir.root, "made"));
    ds4_tools_set_mode(tools, DS4_TOOLS_WORK);
    n_asked = 0;
    if (confined) expect("bash", "{\"command\":\"echo x > made\"}", "[Changed files: +made]");
    assert_int_equal(n_asked, 0);
    refuse("bash", "{\"command\":\"true\",\"network\":true}", "did not allow");
    assert_non_null(strstr(asked, "with network"));
    ds4_tools_cancel(tools);
    refuse("read", "{\"path\":\"a.c\"}", "the user stopped it");
    ds4_tools_resume(tools);
    expect("read", "{\"path\":\"a.c\"}", "int 1;");
}

static void test_without_a_sandbox_each_command_is_asked(void **state)
{
    (void)state;
    ds4_tools_close(tools);
    open_tools(DS4_TOOLS_WORK, 7);
    assert_non_null(strstr(ds4_tools_sandbox(tools), "not confined"));
    refuse("bash", "{\"command\":\"echo hi\"}", "did not allow");
    assert_non_null(strstr(asked, "without a sandbox"));
    answer = DS4_PERMISSION_ONCE;
    expect("bash", "{\"command\":\"echo hi\"}", "hi\n[Exit status 0");
    ds4_tools_set_mode(tools, DS4_TOOLS_READ_ONLY);
    refuse("bash", "{\"command\":\"echo hi\"}", "no sandbox here");
    ds4_tools_set_mode(tools, DS4_TOOLS_YOLO);
    n_asked = 0;
    expect("bash", "{\"command\":\"echo hi\"}", "hi\n");
    assert_int_equal(n_asked, 0);
}

static void test_commands_and_jobs(void **state)
{
    (void)state;
    allow_commands();
    expect("bash", "{\"command\":\"echo out; echo err >&2; exit 3\"}", "out\nerr\n[Exit status 3");
    expect("bash", "{\"command\":\"cat .env; echo sk-abcdef0123456789\"}", "<masked API_KEY>");
    assert_null(strstr(last.text.data, "sk-abc"));
    expect("bash", "{\"command\":\"sleep 30\",\"seconds\":1}", "Ended at its time limit");
    expect("bash", "{\"command\":\"printf 'a\\\\rb\\\\033[31mred\\\\033[0m\\\\n\\\\377'\"}",
           "bred\n\xef\xbf\xbd");
    expect("bash",
           "{\"command\":\"for i in 1 2 3 4 5 6; do echo tick $i; sleep 0.3; done\",\"background\":true}",
           "goes on as job");
    unsigned id = 0;
    assert_int_equal(sscanf(strstr(last.text.data, "as job"), "as job %u", &id), 1);
    char arguments[100];
    snprintf(arguments, sizeof arguments, "{\"id\":%u,\"wait\":20}", id);
    expect("job", arguments, "tick 6\n[Exit status 0");
    assert_null(strstr(last.text.data, "tick 1\n"));
    expect("job", "{}", "ended");
    expect("bash", "{\"command\":\"sleep 100\",\"background\":true}", "goes on as job");
    assert_int_equal(sscanf(strstr(last.text.data, "as job"), "as job %u", &id), 1);
    snprintf(arguments, sizeof arguments, "{\"id\":%u,\"end\":true}", id);
    expect("job", arguments, "Ended by request");
}

/* A process that ends by itself within a moment was not left: pipelines and short jobs say nothing. */
static void test_what_a_command_left_is_told(void **state)
{
    static const char *const quiet[] = {
        "yes | head -n 1", "seq 100000 | head -n 1", "echo a | cat | cat", "sleep 0.05 & echo a",
        "(sleep 0.05; true) | echo a",
    };

    (void)state;
    allow_commands();
    ds4_tools_close(tools);
    open_tools(DS4_TOOLS_WORK, DS4_SANDBOX_WITHOUT_BWRAP);
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++) {
        char arguments[200];
        snprintf(arguments, sizeof arguments, "{\"command\":\"%s\"}", quiet[i]);
        expect("bash", arguments, "[Exit status 0");
        if (strstr(last.text.data, "that it left")) fail_msg("%s: %s", quiet[i], last.text.data);
    }
    expect("bash", "{\"command\":\"sleep 100 & echo left\"}", "[1 process that it left was ended;");
    expect("bash", "{\"command\":\"sleep 100 & setsid sleep 101 & echo left\"}",
           "[2 processes that it left were ended;");
}

static void test_undo_of_everything(void **state)
{
    (void)state;
    allow_commands();
    uint64_t mark = 0;
    ds4_str  told = { 0 };
    char     before[65], after[65];

    agent_hash(dir.root, before);
    assert_int_equal(ds4_tools_mark(tools, &mark, NULL), DS4_OK);
    expect("edit", "{\"path\":\"a.c\",\"old\":\"two\",\"new\":\"2\"}", "Edited");
    expect("bash", "{\"command\":\"rm -r src; echo more >> a.c; mkdir q; echo x > q/y\"}",
           "[Changed files: a.c, +q, +q/y, -src");
    assert_true(last.n_changes >= 4);
    expect("write", "{\"path\":\"w\",\"content\":\"1\"}", "Created");
    assert_int_equal(ds4_tools_restore(tools, mark, &told, NULL), DS4_OK);
    agent_hash(dir.root, after);
    if (strcmp(before, after) != 0) fail_msg("%s", ds4_str_text(&told));
    ds4_str_clear(&told);
}

static void test_git(void **state)
{
    (void)state;
    allow_commands();
    if (system("git --version >/dev/null 2>&1") != 0) fail_msg("no git here");
    char command[1000];
    snprintf(command, sizeof command,
             "cd '%s' && git init -q . && git config user.email a@b && git config user.name n && "
                                      "git add -A && git commit -qm first", dir.root);
    assert_int_equal(system(command), 0);
    uint64_t mark = 0;
    expect("git", "{\"do\":\"status\"}", "## ");
    assert_int_equal(ds4_tools_mark(tools, &mark, NULL), DS4_OK);
    expect("edit", "{\"path\":\"a.c\",\"old\":\"two\",\"new\":\"2\"}", "Edited");
    expect("git", "{\"do\":\"status\"}", " M a.c");
    expect("git", "{\"do\":\"diff\"}", "-int two;\n+int 2;\n");
    refuse("git", "{\"do\":\"commit\"}", "needs the argument 'message'");
    expect("git", "{\"do\":\"commit\",\"message\":\"it's done\"}", "1 file changed");
    expect("bash", "{\"command\":\"git log --oneline\"}", "it's done");
    refuse("git", "{\"do\":\"push\"}", "status, diff or commit");
    refuse("more", "{}", "nothing of the last result is left");

    /* Going back takes the commit back too. */
    assert_int_equal(ds4_tools_restore(tools, mark, NULL, NULL), DS4_OK);
    expect("bash", "{\"command\":\"git log --oneline; git status --short\"}", "first");
    assert_null(strstr(last.text.data, "it's done"));
    assert_null(strstr(last.text.data, " M a.c"));
}

static void answer_foreign(void *ctx, const ds4_tool_call *c, const volatile int *cancelled,
                           ds4_tool_result *result)
{
    (void)ctx;
    (void)cancelled;
    ds4_str_addf(&result->text, "foreign %.*s", (int)c->arguments.n_bytes, c->arguments.data);
}

static void test_tools_from_elsewhere(void **state)
{
    (void)state;
    ds4_foreign_tool f = { .name = DS4_SLICE("srv__x"), .description = DS4_SLICE("Does \"x\"."),
                           .parameters = DS4_SLICE("{\"type\":\"object\"}"), .call = answer_foreign };
    uint32_t  n = 0, more = 0;
    ds4_err   err;

    ds4_tools_schemas(tools, &n);
    assert_int_equal(ds4_tools_add(tools, &f, &err), DS4_OK);
    const ds4_slice *s = ds4_tools_schemas(tools, &more);
    assert_int_equal(more, n + 1);
    assert_string_equal(s[n].data,
                        "{\"name\":\"srv__x\",\"description\":\"Does \\\"x\\\".\","
                        "\"parameters\":{\"type\":\"object\"}}");
    assert_int_equal(ds4_tools_add(tools, &f, &err), DS4_E_ARG);
    f.name = DS4_SLICE("read");
    assert_int_equal(ds4_tools_add(tools, &f, &err), DS4_E_ARG);
    f.name = DS4_SLICE("bad name");
    assert_int_equal(ds4_tools_add(tools, &f, &err), DS4_E_ARG);
    f.name = DS4_SLICE("ok");
    f.parameters = DS4_SLICE("[]");
    assert_int_equal(ds4_tools_add(tools, &f, &err), DS4_E_ARG);
    refuse("srv__x", "{}", "did not allow");
    answer = DS4_PERMISSION_ONCE;
    expect("srv__x", "{\"a\":1}", "foreign {\"a\":1}");
    ds4_tools_set_mode(tools, DS4_TOOLS_READ_ONLY);
    refuse("srv__x", "{}", "read-only mode");
}

static void test_notes_and_skills(void **state)
{
    (void)state;
    ds4_str a = { 0 }, b = { 0 }, name = { 0 }, description = { 0 };

    assert_int_equal(ds4_tools_notes(tools, 4000, &a, NULL), DS4_OK);
    assert_non_null(strstr(a.data, "Notes of this project (AGENTS.md):\nBe brief.\n"));
    assert_non_null(strstr(a.data, "- cook (.agents/skills/cook/SKILL.md): How to cook.\n"));
    assert_int_equal(ds4_tools_notes(tools, 4000, &b, NULL), DS4_OK);
    assert_string_equal(a.data, b.data);
    ds4_str big = { 0 };
    for (int i = 0; i < 3000; i++) ds4_str_add_text(&big, "long ");
    agent_put(dir.root, "AGENTS.md", big.data);
    ds4_str_truncate(&b, 0);
    assert_int_equal(ds4_tools_notes(tools, 2000, &b, NULL), DS4_OK);
    assert_true(b.n_bytes <= 2000);
    assert_non_null(strstr(b.data, "is longer; read the rest"));
    assert_true(ds4_front_matter(DS4_SLICE("---\nname: \"n\"\ndescription: >\n  two\n  lines\n"
                                          "other: x\n---\nrest"), &name,
                                 &description));
    assert_string_equal(name.data, "n");
    assert_string_equal(description.data, "two lines");
    ds4_str_truncate(&name, 0);
    ds4_str_truncate(&description, 0);
    assert_false(ds4_front_matter(DS4_SLICE("name: x\n"), &name, &description));
    assert_false(ds4_front_matter(DS4_SLICE("---\nname: x\ndescription: y\n"), &name, &description));
    ds4_str_clear(&name);
    ds4_str_clear(&description);
    ds4_str_clear(&big);
    ds4_str_clear(&a);
    ds4_str_clear(&b);
}

/* A token of such text is about four bytes; the budget of all our schemas is 1500 tokens. */
static void test_schemas_are_short(void **state)
{
    (void)state;
    uint32_t         n = 0;
    const ds4_slice *s = ds4_tools_schemas(tools, &n);
    size_t           n_bytes = 0;

    for (uint32_t i = 0; i < n; i++) n_bytes += s[i].n_bytes;
    print_message("# %u tools, %zu bytes\n", n, n_bytes);
    assert_true(n_bytes < 4500);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reading), TEST(test_large_files_are_read_in_parts),
            TEST(test_long_results_are_cut_and_say_so), TEST(test_writing),
            TEST(test_editing),
        TEST(test_searching), TEST(test_listing), TEST(test_arguments_of_any_shape), TEST(test_modes),
        TEST(test_without_a_sandbox_each_command_is_asked), TEST(test_commands_and_jobs),
            TEST(test_what_a_command_left_is_told), TEST(test_undo_of_everything),
        TEST(test_git), TEST(test_tools_from_elsewhere), TEST(test_notes_and_skills),
            TEST(test_schemas_are_short),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
