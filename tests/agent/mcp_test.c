/* mcp_test.c - the MCP client against a scripted server: what it is told reaches the model, and no server
 * can take more time, memory or trust than it was given. */
#include "testing.h"

#include "agent/mcp_local.h"
#include "base/clock.h"

#include <signal.h>
#include <sys/wait.h>

static char program[512];

static const ds4_mcp_limits limits = { .start_ms = 1500, .call_ms = 400, .call_most_ms = 5000,
                                       .max_message_bytes = 1 << 20, .max_result_bytes = 1000 };

typedef struct client {
    mcp_talk talk;
    pid_t    pid;               /* of a server at an address */
} client;

static ds4_status connect_to(client *c, const char *fault, bool http, ds4_err *err)
{
    char                text[64] = "";
    const char         *args[] = { fault };
    const ds4_mcp_pair  header = { "Authorization", "Bearer sesame" };
    ds4_mcp_server      server = { .name = "the tests", .command = program, .args = args, .n_args = 1 };

    *c = (client){ .talk = { .limits = limits, .root = P_tmpdir } };
    if (http) {
        int pipes[2];
        assert_int_equal(0, pipe(pipes));
        c->pid = fork();
        if (c->pid == 0) {
            dup2(pipes[1], 1);
            close(pipes[0]);
            execl(program, program, fault, "http", (char *)NULL);
            _exit(127);
        }
        close(pipes[1]);
        FILE *from = fdopen(pipes[0], "r");
        assert_non_null(fgets(text, sizeof text, from));
        fclose(from);
        char url[128];
        snprintf(url, sizeof url, "http://127.0.0.1:%d/mcp", atoi(text));
        server = (ds4_mcp_server){ .name = "the tests", .url = url, .headers = &header, .n_headers = 1 };
        assert_int_equal(DS4_OK, mcp_settings_copy(&server, c->talk.root, &c->talk.settings, err));
    } else {
        assert_int_equal(DS4_OK, mcp_settings_copy(&server, c->talk.root, &c->talk.settings, err));
    }
    return mcp_talk_start(&c->talk, NULL, err);
}

static void leave(client *c)
{
    mcp_talk_clear(&c->talk);
    if (c->pid) {
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
    }
}

static void connect_by_pipes(client *c, const char *fault)
{
    ds4_err err = { .code = DS4_OK };
    if (connect_to(c, fault, false, &err) != DS4_OK) fail_msg("%s: %s", fault, err.text);
}

/* Connect by an address. False in a build without libcurl, which must say so. */
static bool connect_by_http(client *c, const char *fault)
{
    ds4_err          err = { .code = DS4_OK };
    const ds4_status st = connect_to(c, fault, true, &err);

    if (st == DS4_OK) return true;
    assert_int_equal(DS4_E_UNSUPPORTED, st);
    assert_non_null(strstr(err.text, "this build has no libcurl"));
    leave(c);
    return false;
}

/* The text that a call gives, or of its failure. Lives until the next. */
static const char *call(client *c, const char *tool, const char *arguments, bool *failed, ds4_status *st)
{
    static char shown[4096];
    ds4_str     text = { 0 };
    ds4_err     err = { .code = DS4_OK };

    *failed = false;
    const ds4_slice given = { arguments, strlen(arguments) };
    *st = mcp_talk_call(&c->talk, tool, given, NULL, &text, failed, &err);
    snprintf(shown, sizeof shown, "%s", *st == DS4_OK ? ds4_str_text(&text) : err.text);
    ds4_str_clear(&text);
    return shown;
}

static void check_calls(client *c)
{
    bool       failed;
    ds4_status st;

    assert_int_equal(7, c->talk.n_tools);
    assert_string_equal("the_tests__echo", c->talk.tools[0].shown);
    assert_true(c->talk.tools[0].reads_only);
    assert_false(c->talk.tools[1].reads_only);
    assert_string_equal("echo: hi", call(c, "echo", "{\"text\": \"hi\"}", &failed, &st));
    assert_false(failed);
    assert_string_equal("it broke", call(c, "fail", "", &failed, &st));
    assert_true(failed);
    assert_string_equal("both replied", call(c, "asks", "{}", &failed, &st));
    assert_string_equal("the server no longer has this tool", call(c, "none", "{}", &failed, &st));
    assert_int_equal(DS4_E_ARG, st);
    call(c, "echo", "[1]", &failed, &st);
    assert_int_equal(DS4_E_FORMAT, st);
    call(c, "echo", "{\"text\": ", &failed, &st);
    assert_int_equal(DS4_E_FORMAT, st);
}

/* ---- ordinary servers ------------------------------------------------------------------------ */

static void test_calls_over_pipes(void **state)
{
    client  c;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_string_equal("tests 1", c.talk.label);
    check_calls(&c);
    leave(&c);
}

static void test_calls_over_http_with_streams_and_without(void **state)
{
    static const char *const kinds[] = { "once", "key" };
    client  c;

    (void)state;
    for (int i = 0; i < 2; i++) {
        if (!connect_by_http(&c, kinds[i])) return;
        bool       failed;
        ds4_status st;
        assert_string_equal("echo: hi", call(&c, "echo", "{\"text\":\"hi\"}", &failed, &st));
        assert_string_equal("it broke", call(&c, "fail", "", &failed, &st));
        leave(&c);
    }
}

static void test_every_kind_of_content_becomes_text(void **state)
{
    ds4_err    err = { .code = DS4_OK };
    ds4_str    text = { 0 };
    client     c;
    bool       failed;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_int_equal(DS4_OK, mcp_talk_call(&c.talk, "rich", DS4_SLICE("{}"), NULL, &text, &failed, &err));
    const char expected[] =
        "one\xef\xbf\xbd\0\n[image image/png, 6 bytes, not shown]\n[link file:///a a file]\n"
        "[resource mem:b text/plain]\ntwo\n[content of a kind that is not known: hologram]";
    assert_int_equal(sizeof expected - 1, text.n_bytes);
    assert_memory_equal(expected, text.data, text.n_bytes);
    ds4_str_clear(&text);
    leave(&c);
}

static void test_progress_keeps_a_call_alive_and_silence_ends_it(void **state)
{
    client     c;
    bool       failed;
    ds4_status st;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_string_equal("at last", call(&c, "slow", "{\"text\":\"6\"}", &failed, &st));
    c.talk.limits.call_ms = 50;
    assert_string_equal("no answer in time", call(&c, "slow", "{\"text\":\"2\"}", &failed, &st));
    assert_int_equal(DS4_E_LIMIT, st);
    c.talk.limits.call_ms = 2000;       /* the late answer is not taken for this one's */
    assert_string_equal("echo: next", call(&c, "echo", "{\"text\":\"next\"}", &failed, &st));
    leave(&c);
}

static void test_a_cancelled_call_ends_at_once(void **state)
{
    ds4_err      err = { .code = DS4_OK };
    ds4_str      text = { 0 };
    client       c;
    bool         failed;
    volatile int cancelled = 1;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_int_equal(DS4_E_CANCELLED,
                     mcp_talk_call(&c.talk, "slow", DS4_SLICE("{}"), &cancelled, &text, &failed, &err));
    leave(&c);
}

static void test_a_changed_list_is_asked_for_again(void **state)
{
    client     c;
    bool       failed;
    ds4_status st;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_string_equal("[no content]", call(&c, "change", "{}", &failed, &st));
    assert_string_equal("no tool new.tool", call(&c, "new.tool", "{}", &failed, &st));
    assert_int_equal(5, c.talk.n_tools);
    assert_string_equal("the_tests__new_tool", c.talk.tools[4].shown);
    call(&c, "asks", "{}", &failed, &st);
    assert_int_equal(DS4_E_ARG, st);
    leave(&c);
}

static void test_a_server_that_died_is_started_again(void **state)
{
    client     c;
    bool       failed;
    ds4_status st;

    (void)state;
    connect_by_pipes(&c, "none");
    assert_non_null(strstr(call(&c, "die", "{}", &failed, &st), "giving up"));
    assert_int_equal(DS4_E_IO, st);
    assert_string_equal("echo: back", call(&c, "echo", "{\"text\":\"back\"}", &failed, &st));
    leave(&c);
}

static void test_a_lost_session_and_a_cut_stream_are_taken_up(void **state)
{
    client     c;
    bool       failed;
    ds4_status st;

    (void)state;
    if (!connect_by_http(&c, "forgets")) return;
    assert_string_equal("echo: hi", call(&c, "echo", "{\"text\":\"hi\"}", &failed, &st));
    leave(&c);
    assert_true(connect_by_http(&c, "cut"));
    assert_string_equal("taken up again", call(&c, "echo", "{}", &failed, &st));
    leave(&c);
}

/* ---- others ---------------------------------------------------------------------------------- */

static void test_hostile_servers_are_refused_in_time(void **state)
{
    static const struct { const char *fault; ds4_status st; const char *text; } cases[] = {
        { "silent", DS4_E_LIMIT, "no answer in time" },
        { "dies", DS4_E_IO, "it ended, or closed its output: ?[31mno licence?[0m" },
        { "huge", DS4_E_LIMIT, "it sent a message of more than" },
        { "deep", DS4_E_LIMIT, "no answer in time" },
        { "pages", DS4_E_LIMIT, "more than 64 pages" },
        { "version", DS4_E_UNSUPPORTED, "version \"1999-01-01\"" },
        { "many", DS4_E_LIMIT, "more than 128 tools" },
        { "flood", DS4_E_LIMIT, "no answer in time" },
        { "deaf", DS4_E_LIMIT, "no answer in time" },
        { "older", DS4_E_UNSUPPORTED, "its answer is none of JSON-RPC" },
        { "wrong", DS4_E_UNSUPPORTED, "it speaks version \"\"" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds4_err        err = { .code = DS4_OK };
        client         c;
        const uint64_t from = ds4_now_ns();
        assert_int_equal(cases[i].st, connect_to(&c, cases[i].fault, false, &err));
        if (!strstr(err.text, cases[i].text)) fail_msg("%s: %s", cases[i].fault, err.text);
        assert_null(c.talk.wire);
        assert_int_equal(0, c.talk.n_tools);
        leave(&c);
        assert_true(ds4_now_ns() - from < UINT64_C(20000000000));
    }
}

static void test_hostile_addresses_are_refused(void **state)
{
    static const struct {
        const char *fault, *text;
    } cases[] = {
        { "redirect", "a redirection, which is not followed" },
        { "silent", "its stream ended before the answer" },
        { "huge", "it sent a message of more than" },
        { "flood", "no answer in time" },
    };
    ds4_err err = { .code = DS4_OK };
    client  c;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ds4_status st = connect_to(&c, cases[i].fault, true, &err);
        const bool no_curl = st == DS4_E_UNSUPPORTED && strstr(err.text, "this build has no libcurl");
        if (st == DS4_OK || (!no_curl && !strstr(err.text, cases[i].text)))
            fail_msg("%s: %d %s", cases[i].fault, st, err.text);
        leave(&c);
    }
}

static void test_junk_before_messages_is_passed_over(void **state)
{
    client  c;

    (void)state;
    connect_by_pipes(&c, "junk");
    check_calls(&c);
    leave(&c);
}

static void test_a_long_result_is_cut_and_says_so(void **state)
{
    json_t *result = json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "content", "type", "text", "text",
                               "aaaa\xc3\xa4zz", "type", "text", "text", "bbbb");
    ds4_str out = { 0 };

    (void)state;
    ds4_str_add_text(&out, "before ");
    assert_false(mcp_result_text(result, 5, &out));
    assert_string_equal("before aaaa\n[9 more bytes, not shown]", ds4_str_text(&out));
    json_decref(result);
    ds4_str_clear(&out);
}

/* ---- configurations -------------------------------------------------------------------------- */

static ds4_status keep(void *ctx, const ds4_mcp_server *s, ds4_err *err)
{
    (void)err;
    ds4_str_addf(ctx, "%s: %s", s->name, s->command ? s->command : s->url);
    for (size_t i = 0; i < s->n_args; i++) ds4_str_addf(ctx, " [%s]", s->args[i]);
    for (size_t i = 0; i < s->n_env; i++) ds4_str_addf(ctx, " %s=%s", s->env[i].name, s->env[i].value);
    for (size_t i = 0; i < s->n_headers; i++)
        ds4_str_addf(ctx, " %s: %s", s->headers[i].name, s->headers[i].value);
    ds4_str_add_char(ctx, '\n');
    return DS4_OK;
}

static void test_a_configuration_is_read_as_other_agents_write_it(void **state)
{
    static const char json[] = "{\"mcpServers\": {"
                               " \"files\": {\"command\": \"npx\", \"args\": [\"-y\", \"${DS4_T_A}/x\", "
                               "\"${DS4_T_NONE:-b}\", \"$c ${\"],"
                               "  \"env\": {\"KEY\": \"k${DS4_T_A}k\"}, \"alwaysAllow\": []},"
                               " \"off\": {\"command\": \"x\", \"disabled\": true},"
                               " \"web\": {\"type\": \"http\", \"url\": \"https://e.org/mcp\", \"headers\": "
                               "{\"A\": \"Bearer ${DS4_T_A}\"}}}}";
    ds4_str out = { 0 };
    ds4_err err = { .code = DS4_OK };

    (void)state;
    setenv("DS4_T_A", "a a", 1);
    unsetenv("DS4_T_NONE");
    assert_int_equal(DS4_OK,
                     mcp_config_read((ds4_slice){ json, sizeof json - 1 }, "f.json", keep, &out, &err));
    assert_string_equal("files: npx [-y] [a a/x] [b] [$c ${] KEY=ka ak\n"
                        "web: https://e.org/mcp A: Bearer a a\n", ds4_str_text(&out));
    ds4_str_clear(&out);
}

static void test_a_wrong_configuration_is_refused_whole(void **state)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        { "[]", "f.json: no object \"mcpServers\"" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"b\"}, \"c\": {}}}",
          "either \"command\" or \"url\" is needed" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"b\", \"url\": \"http://c\"}}}", "either" },
        { "{\"mcpServers\": {\"a\": {\"url\": \"file:///etc/passwd\"}}}", "neither http:// nor https://" },
        { "{\"mcpServers\": {\"a\": {\"type\": \"sse\", \"url\": \"http://c\"}}}", "given up" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"${DS4_T_NONE}\"}}}",
          "the variable DS4_T_NONE is not set" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"b\\u0000c\"}}}", "command is no text" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"b\", \"args\": \"c\"}}}", "\"args\" is no list" },
        { "{\"mcpServers\": {\"a\": {\"url\": \"http://c\", \"headers\": {\"A\": \"x\\r\\nB: y\"}}}}",
          "header 1" },
        { "{\"mcpServers\": {\"a\": {\"command\": \"b\", \"env\": {\"A=B\": \"c\"}}}}", "bad name" },
        { "{\"mcpServers\": {\"\": {\"command\": \"b\"}}}", "no name" },
        { "{\"mcpServers\":", "f.json: " },
    };

    (void)state;
    unsetenv("DS4_T_NONE");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ds4_mcp *m;
        ds4_err  err = { .code = DS4_OK };
        assert_int_equal(DS4_OK, ds4_mcp_create(P_tmpdir, NULL, &m, &err));
        const ds4_slice json = { cases[i].json, strlen(cases[i].json) };
        assert_int_not_equal(DS4_OK, ds4_mcp_add_config(m, json, "f.json", &err));
        if (!strstr(err.text, cases[i].text)) fail_msg("%s: %s", cases[i].json, err.text);
        assert_int_equal(0, ds4_mcp_n_servers(m));
        ds4_mcp_free(m);
    }
}

static void test_a_server_gets_no_secrets_it_was_not_given(void **state)
{
    const char *const args[] = { "-c",
                                 "env | grep -c '^DS4_T_SECRET=' >&2; env | grep '^GIVEN=' >&2; pwd >&2" };
    const ds4_mcp_pair  given = { "GIVEN", "yes" };
    const ds4_mcp_server server = {
        .name = "s", .command = "sh", .args = args, .n_args = 2, .env = &given, .n_env = 1
    };
    mcp_talk            talk = { .limits = limits, .root = "/" };
    ds4_err             err = { .code = DS4_OK };

    (void)state;
    setenv("DS4_T_SECRET", "1", 1);
    assert_int_equal(DS4_OK, mcp_settings_copy(&server, "/", &talk.settings, &err));
    assert_int_equal(DS4_E_IO, mcp_talk_start(&talk, NULL, &err));
    assert_non_null(strstr(err.text, ": 0 GIVEN=yes /"));
    mcp_talk_clear(&talk);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_calls_over_pipes),
    cmocka_unit_test(test_calls_over_http_with_streams_and_without),
    cmocka_unit_test(test_every_kind_of_content_becomes_text),
    cmocka_unit_test(test_progress_keeps_a_call_alive_and_silence_ends_it),
    cmocka_unit_test(test_a_cancelled_call_ends_at_once),
    cmocka_unit_test(test_a_changed_list_is_asked_for_again),
    cmocka_unit_test(test_a_server_that_died_is_started_again),
    cmocka_unit_test(test_a_lost_session_and_a_cut_stream_are_taken_up),
    cmocka_unit_test(test_hostile_servers_are_refused_in_time),
    cmocka_unit_test(test_hostile_addresses_are_refused),
    cmocka_unit_test(test_junk_before_messages_is_passed_over),
    cmocka_unit_test(test_a_long_result_is_cut_and_says_so),
    cmocka_unit_test(test_a_configuration_is_read_as_other_agents_write_it),
    cmocka_unit_test(test_a_wrong_configuration_is_refused_whole),
    cmocka_unit_test(test_a_server_gets_no_secrets_it_was_not_given),
};

int main(void)
{
    const char *out = getenv("OUT");

    snprintf(program, sizeof program, "%.400s/tests/tools/mcp_server", out ? out : "build");
    if (program[0] != '/') {                /* it is started in another folder */
        char here[200];
        assert_non_null(getcwd(here, sizeof here));
        snprintf(program, sizeof program, "%s/%.280s/tests/tools/mcp_server", here, out ? out : "build");
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
