/* acp_test.c - an editor's side of the Agent Client Protocol, with an agent that plays a script. */
#include "testing.h"

#include "app/agent/acp.h"
#include "ui/fake_agent.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

static const char script[] =
    "on hello\n"
    "think Hm.\n"
    "say Hello, **editor**.\n"
    "call edit {\"path\": \"a.c\", \"old\": \"x\"}\n"
    "run\n"
    "change a.c @@ -1 +1 @@\\n-x\\n+y\\n\n"
    "ended done\n"
    "on permission\n"
    "call bash {\"command\": \"make\"}\n"
    "run\n"
    "output \\e[31mred\\e[0m\\n\n"
    "ask make\n"
    "failed Error: no\n"
    "on long\n"
    "say begun\n"
    "sleep 60000\n"
    "on /history\n"
    "past\n"
    "user before\n"
    "say answered\n"
    "on /mode\n"
    "on\n"
    "say ?\n";

/* ---- a host with scripted agents ---------------------------------------------------------------------- */

typedef struct host {
    const ds4_front *front;
    int              n_opened;
    char             id[32], cwd[256];
    size_t           n_servers;
} host;

static ds4_status open_fake(void *ctx, const char *cwd, const char *id, const json_t *servers,
                            const ds4_front *front, ds4_agent **out, ds4_err *err)
{
    host *h = ctx;

    if (strcmp(cwd, "/none") == 0) return ds4_fail(err, DS4_E_IO, "/none: no such folder");
    if (id && strncmp(id, "s", 1) != 0) return ds4_fail(err, DS4_E_ARG, "there is no session %s", id);
    h->n_opened++;
    if (id) snprintf(h->id, sizeof h->id, "%s", id);
    else snprintf(h->id, sizeof h->id, "s%d", h->n_opened);
    snprintf(h->cwd, sizeof h->cwd, "%s", cwd);
    h->n_servers = json_array_size(servers);
    h->front = front;
    *out = fake_agent_new(script);
    return DS4_OK;
}

static ds4_status run_fake(void *ctx, ds4_agent *a, ds4_err *err)
{
    const host *h = ctx;

    (void)err;
    fake_agent_run(a, h->front);
    return DS4_OK;
}

static const char *session_of(void *ctx, ds4_agent *a)
{
    const host *h = ctx;

    (void)a;
    return h->id;
}

static void close_fake(void *ctx, ds4_agent *a)
{
    (void)ctx;
    fake_agent_free(a);
}

/* ---- an editor -------------------------------------------------------------------------------------- */

typedef struct editor {
    host          host;
    ds4_acp_host  acp;
    pthread_t     thread;
    int           fd;
    ds4_rpc_lines lines;
    ds4_str       updates;      /* of the session, a line for each, since the last clear */
    json_t       *last;         /* the last message that is no update */
} editor;

static void *serve(void *ctx)
{
    editor *e = ctx;
    ds4_err err = { .code = DS4_OK };

    assert_int_equal(DS4_OK, ds4_acp_serve(&e->acp, &err));
    close(e->acp.out);
    return NULL;
}

static void begin(editor *e)
{
    int fd[2];

    *e = (editor){ .lines = { .max_bytes = 1 << 20 } };
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    e->fd = fd[0];
    e->acp = (ds4_acp_host){ .ctx = &e->host, .open = open_fake, .run = run_fake, .session = session_of,
                             .close = close_fake, .mode = "work", .in = fd[1], .out = fd[1] };
    assert_int_equal(0, pthread_create(&e->thread, NULL, serve, e));
}

static void end(editor *e)
{
    shutdown(e->fd, SHUT_WR);
    pthread_join(e->thread, NULL);
    close(e->fd);
    ds4_rpc_lines_clear(&e->lines);
    ds4_str_clear(&e->updates);
    json_decref(e->last);
}

static void say(editor *e, const char *text)
{
    assert_int_equal(strlen(text), write(e->fd, text, strlen(text)));
    assert_int_equal(1, write(e->fd, "\n", 1));
}

/* An update in one line: its kind, and what matters of it. */
static void note_update(editor *e, const json_t *update)
{
    const char *kind = ds4_rpc_text(update, "sessionUpdate");

    ds4_str_addf(&e->updates, "%s", kind);
    const char *text = ds4_rpc_text(json_object_get(update, "content"), "text");
    if (*text) ds4_str_addf(&e->updates, " %s", text);
    static const char *const members[] = { "toolCallId", "title", "kind", "status" };
    for (int i = 0; i < 4; i++) {
        if (*ds4_rpc_text(update, members[i]))
            ds4_str_addf(&e->updates, " %s", ds4_rpc_text(update, members[i]));
    }
    const json_t *content = json_object_get(update, "content");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *one = json_array_get(content, i);
        ds4_str_addf(&e->updates, " [%s%s%s]", ds4_rpc_text(one, "type"), ds4_rpc_text(one, "path"),
                     ds4_rpc_text(json_object_get(one, "content"), "text"));
    }
    ds4_str_add_char(&e->updates, '\n');
}

/* The next message that is no update, as text of its parts; lives until the next. */
static const char *next(editor *e)
{
    static char text[2048];
    ds4_slice   line;

    for (;;) {
        while (ds4_rpc_lines_next(&e->lines, &line)) {
            json_decref(e->last);
            assert_int_equal(DS4_OK, ds4_rpc_parse(line, &e->last, NULL));
            if (strcmp(ds4_rpc_text(e->last, "method"), "session/update") == 0) {
                note_update(e, json_object_get(json_object_get(e->last, "params"), "update"));
                continue;
            }
            char *whole = json_dumps(e->last, JSON_COMPACT);
            snprintf(text, sizeof text, "%s", whole);
            free(whole);
            return text;
        }
        struct pollfd wait = { .fd = e->fd, .events = POLLIN };
        char          part[4096];
        if (poll(&wait, 1, 20000) != 1) fail_msg("nothing comes; updates: %s", ds4_str_text(&e->updates));
        const ssize_t n = read(e->fd, part, sizeof part);
        if (n <= 0) return "";
        ds4_rpc_lines_add(&e->lines, part, (size_t)n);
    }
}

static void assert_next(editor *e, const char *expected)
{
    assert_string_equal(expected, next(e));
}

static void new_session(editor *e)
{
    say(e, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session/new\",\"params\":{\"cwd\":\"/"
           "project\",\"mcpServers\":[]}}");
    assert_non_null(strstr(next(e), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"sessionId\":\"s"));
}

#define PROMPT(id, session, text)                                                                            \
    "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"session/prompt\",\"params\":"                          \
    "{\"sessionId\":\"" session "\",\"prompt\":[{\"type\":\"text\",\"text\":\"" text "\"}]}}"

/* ---- tests ------------------------------------------------------------------------------------------ */

static void test_a_prompt_is_told_and_answered_once(void **state)
{
    editor e;

    (void)state;
    begin(&e);
    say(&e, "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":1,"
            "\"clientCapabilities\":{}}}");
    assert_non_null(
        strstr(next(&e), "\"result\":{\"protocolVersion\":1,\"agentCapabilities\":{\"loadSession\":true"));
    new_session(&e);
    assert_string_equal("/project", e.host.cwd);
    say(&e, PROMPT(2, "s1", "hello"));
    assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"stopReason\":\"end_turn\"}}");
    assert_string_equal("available_commands_update\nusage_update\n"
                        "agent_thought_chunk Hm.\n"
                        "agent_message_chunk Hell\n"
                        "agent_message_chunk o, *\n"
                        "agent_message_chunk *edi\n"
                        "agent_message_chunk tor*\n"
                        "agent_message_chunk *.\n"
                        "tool_call edit edit edit pending\n"
                        "tool_call_update edit edit  a.c in_progress\n"
                        "tool_call_update edit completed [diff/project/a.c] [contentdone]\n",
                        ds4_str_text(&e.updates));
    end(&e);
}

static void test_permission_is_asked_and_its_answer_counts(void **state)
{
    static const struct { const char *outcome, *said; } cases[] = {
        { "{\"outcome\":\"selected\",\"optionId\":\"once\"}", "[once]" },
        { "{\"outcome\":\"selected\",\"optionId\":\"always\"}", "[always]" },
        { "{\"outcome\":\"selected\",\"optionId\":\"no\"}", "[denied]" },
        { "{\"outcome\":\"selected\",\"optionId\":7}", "[denied]" },
        { "{\"outcome\":\"cancelled\"}", "[denied]" },
        { "17", "[denied]" },
    };
    editor e;
    char   reply[256];

    (void)state;
    begin(&e);
    new_session(&e);
    for (int i = 0; i < 6; i++) {
        ds4_str_truncate(&e.updates, 0);
        say(&e, PROMPT(5, "s1", "permission"));
        assert_non_null(strstr(next(&e),
                               "\"method\":\"session/request_permission\",\"params\":{\"sessionId\":\"s1\","
                               "\"toolCall\":{\"toolCallId\":\"bash\""));
        say(&e, "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"outcome\":{\"outcome\":\"selected\","
                "\"optionId\":\"always\"}}}");
        snprintf(reply, sizeof reply, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{\"outcome\":%s}}", i + 1,
                 cases[i].outcome);
        say(&e, reply);
        assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"stopReason\":\"end_turn\"}}");
        if (!strstr(ds4_str_text(&e.updates), cases[i].said))
            fail_msg("%s: %s", cases[i].outcome, e.updates.data);
        assert_null(strchr(ds4_str_text(&e.updates), '\033'));
    }
    end(&e);
}

static void test_cancel_settles_as_cancelled_also_while_it_asks(void **state)
{
    editor e;

    (void)state;
    begin(&e);
    new_session(&e);
    say(&e, PROMPT(21, "s1", "long"));
    say(&e, PROMPT(22, "s1", "hello"));
    say(&e, "{\"jsonrpc\":\"2.0\",\"method\":\"session/cancel\",\"params\":{\"sessionId\":\"s1\"}}");
    for (int i = 0; i < 2; i++)
        assert_non_null(strstr(next(&e), "\"result\":{\"stopReason\":\"cancelled\"}}"));
    say(&e, PROMPT(3, "s1", "permission"));
    assert_non_null(strstr(next(&e), "session/request_permission"));
    say(&e, "{\"jsonrpc\":\"2.0\",\"method\":\"session/cancel\",\"params\":{\"sessionId\":\"s1\"}}");
    assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"stopReason\":\"cancelled\"}}");
    say(&e, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"outcome\":{\"outcome\":\"cancelled\"}}}");
    say(&e, PROMPT(4, "s1", "hello"));
    assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{\"stopReason\":\"end_turn\"}}");
    end(&e);
}

static void test_sessions_take_turns_and_are_loaded_with_their_past(void **state)
{
    editor e;

    (void)state;
    begin(&e);
    new_session(&e);
    say(&e, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"session/"
            "load\",\"params\":{\"sessionId\":\"s77\",\"cwd\":\"/other\","
            "\"mcpServers\":[{\"name\":\"m\",\"command\":\"c\",\"args\":[],\"env\":[]}]}}");
    assert_non_null(strstr(next(&e), "\"id\":2,\"result\":{\"modes\":{\"currentModeId\":\"work\""));
    assert_non_null(strstr(ds4_str_text(&e.updates), "user_message_chunk before\nagent_message_chunk answ"));
    assert_string_equal("/other", e.host.cwd);
    assert_int_equal(1, e.host.n_servers);
    /* Both at once: the one that is open is served, then the other is opened. */
    say(&e, PROMPT(3, "s1", "hello") "\n" PROMPT(4, "s77", "hello"));
    const char *first = next(&e);
    const bool  other_first = strstr(first, "\"id\":4") != NULL;
    assert_non_null(strstr(first, "end_turn"));
    assert_non_null(strstr(next(&e), other_first ? "\"id\":3,\"result\":{\"stopReason\":\"end_turn\"}"
                                                 : "\"id\":4,\"result\":{\"stopReason\":\"end_turn\"}"));
    say(&e, "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"session/set_mode\",\"params\":{\"sessionId\":\"s1\","
            "\"modeId\":\"ask\"}}");
    assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}");
    end(&e);
}

static void test_wrong_requests_are_refused_and_nothing_else_suffers(void **state)
{
    static const struct { const char *line, *answer;
    } cases[] = {
        { "junk", "\"id\":null,\"error\":{\"code\":-32700" },
        { "[]", "\"id\":null,\"error\":{\"code\":-32700" },
        { "{\"jsonrpc\":\"2.0\",\"id\":1}", "\"id\":1,\"error\":{\"code\":-32600" },
        { "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"fly\"}", "\"id\":2,\"error\":{\"code\":-32601" },
        { "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"session/new\",\"params\":{\"cwd\":\"here\"}}",
          "\"code\":-32602" },
        { "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"session/new\",\"params\":[1]}", "\"code\":-32602" },
        { "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"session/new\",\"params\":{\"cwd\":\"/none\"}}",
          "\"id\":4,\"error\":{\"code\":-32603,\"message\":\"/none: no such folder\"" },
        { "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"session/load\",\"params\":{\"cwd\":\"/"
          "\",\"sessionId\":\"x\"}}",
          "\"id\":5,\"error\":{\"code\":-32602,\"message\":\"there is no session x\"" },
        { PROMPT(6, "nobody", "hello"),
          "\"id\":6,\"error\":{\"code\":-32602,\"message\":\"there is no session nobody\"" },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"session/"
          "prompt\",\"params\":{\"sessionId\":\"s1\",\"prompt\":"
          "[{\"type\":\"image\",\"data\":\"\",\"mimeType\":\"image/png\"}]}}",
          "\"id\":7,\"error\":{\"code\":-32602,\"message\":\"the prompt has content that this agent does not "
          "take: image" },
        { "{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"session/set_mode\",\"params\":{\"sessionId\":\"s1\","
          "\"modeId\":\"work\\n/quit\"}}",
          "\"id\":8,\"error\":{\"code\":-32602" },
    };
    editor e;

    (void)state;
    begin(&e);
    new_session(&e);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        say(&e, cases[i].line);
        const char *answer = next(&e);
        if (!strstr(answer, cases[i].answer)) fail_msg("%s: %s", cases[i].line, answer);
    }
    say(&e, PROMPT(9, "s1", "hello"));
    assert_next(&e, "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{\"stopReason\":\"end_turn\"}}");
    end(&e);
}

static void test_an_editor_that_leaves_ends_it(void **state)
{
    editor e;

    (void)state;
    begin(&e);
    new_session(&e);
    say(&e, PROMPT(1, "s1", "long"));
    end(&e);
    begin(&e);
    new_session(&e);
    say(&e, PROMPT(1, "s1", "permission"));
    (void)next(&e);
    end(&e);
    begin(&e);
    end(&e);
}

static void test_files_of_a_prompt_become_text(void **state)
{
    json_t *blocks = json_pack("[{s:s,s:s},{s:s,s:s},{s:s,s:{s:s,s:s}}]", "type", "text", "text", "See ",
                               "type", "resource_link", "uri", "file:///a/b.c", "type", "resource",
                               "resource", "uri", "file:///c", "text", "int x;");
    ds4_str out = { 0 };

    (void)state;
    assert_int_equal(DS4_OK, ds4_acp_prompt_text(blocks, &out, NULL));
    assert_string_equal("See /a/b.c\n<file name=\"file:///c\">\nint x;\n</file>\n", ds4_str_text(&out));
    ds4_str_clear(&out);
    json_decref(blocks);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_a_prompt_is_told_and_answered_once),
    cmocka_unit_test(test_permission_is_asked_and_its_answer_counts),
    cmocka_unit_test(test_cancel_settles_as_cancelled_also_while_it_asks),
    cmocka_unit_test(test_sessions_take_turns_and_are_loaded_with_their_past),
    cmocka_unit_test(test_wrong_requests_are_refused_and_nothing_else_suffers),
    cmocka_unit_test(test_an_editor_that_leaves_ends_it),
    cmocka_unit_test(test_files_of_a_prompt_become_text),
};

TEST_MAIN(tests)
