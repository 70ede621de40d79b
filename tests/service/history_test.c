/* history_test.c - messages are copied whole; OpenAI's JSON becomes messages and tools. */
#include "testing.h"

#include "service/history.h"
#include "service/openai_json.h"

static void assert_slice(const char *expected, ds4_slice s)
{
    char text[1024];
    snprintf(text, sizeof text, "%.*s", (int)s.n_bytes, s.n_bytes ? s.data : "");
    assert_string_equal(expected, text);
}

static ds4_slice slice(const char *text)
{
    return (ds4_slice){ text, strlen(text) };
}

static void test_copies_outlive_the_original(void **state)
{
    char        content[] = "content", name[] = "tool", arguments[] = "{}";
    ds4_call    call = { .name = { name, 4 }, .arguments = { arguments, 2 } };
    ds4_part    part = { true, { content, 7 } };
    ds4_slice   tool = { arguments, 2 };
    ds4_message m = { .role = DS4_ROLE_ASSISTANT,
                      .content = { content, 7 },
                      .reasoning = { name, 4 },
                      .calls = &call,
                      .n_calls = 1,
                      .parts = &part,
                      .n_parts = 1,
                      .tools = &tool,
                      .n_tools = 1 };
    ds4_history h = { 0 };

    (void)state;
    for (int i = 0; i < 40; i++) assert_int_equal(DS4_OK, ds4_history_add(&h, &m, NULL));
    memset(content, '#', 7);
    memset(name, '#', 4);
    memset(arguments, '#', 2);
    memset(&call, 0, sizeof call);
    memset(&part, 0, sizeof part);
    memset(&tool, 0, sizeof tool);
    assert_int_equal(40, h.n);
    const ds4_message *last = &h.messages[39];
    assert_slice("content", last->content);
    assert_slice("tool", last->reasoning);
    assert_slice("tool", last->calls[0].name);
    assert_slice("{}", last->calls[0].arguments);
    assert_slice("content", last->parts[0].text);
    assert_slice("{}", last->tools[0]);
    ds4_history_truncate(&h, 3);
    assert_int_equal(3, h.n);
    ds4_history_truncate(&h, 9);
    assert_int_equal(3, h.n);
    ds4_history_clear(&h);
    assert_int_equal(0, h.n);
}

static void test_openai_messages(void **state)
{
    ds4_history h = { 0 };
    ds4_err     err = { .code = DS4_OK };
    const char *json =
        "[{\"role\":\"system\",\"content\":\"S\\u00e9\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_"
        "url\"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"r\",\"tool_calls\":[{"
        "\"id\":\"c1\","
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}},"
        "{\"function\":{\"name\":\"g\",\"arguments\":{\"y\":2}}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"ok\",\"extra\":[1,2]}]";

    (void)state;
    assert_int_equal(DS4_OK, ds4_openai_messages(slice(json), &h, &err));
    assert_int_equal(4, h.n);
    assert_int_equal(DS4_ROLE_SYSTEM, h.messages[0].role);
    assert_slice("S\xc3\xa9", h.messages[0].content);
    assert_int_equal(2, h.messages[1].n_parts);
    assert_true(h.messages[1].parts[0].is_text);
    assert_slice("a", h.messages[1].parts[0].text);
    assert_false(h.messages[1].parts[1].is_text);
    assert_slice("image_url", h.messages[1].parts[1].text);
    assert_slice("r", h.messages[2].reasoning);
    assert_int_equal(2, h.messages[2].n_calls);
    assert_slice("c1", h.messages[2].calls[0].id);
    assert_slice("{\"x\": 1}", h.messages[2].calls[0].arguments);
    assert_slice("", h.messages[2].calls[1].id);
    assert_slice("{\"y\":2}", h.messages[2].calls[1].arguments);
    assert_int_equal(DS4_ROLE_TOOL, h.messages[3].role);
    assert_slice("c1", h.messages[3].call_id);
    ds4_history_clear(&h);
}

static void test_openai_messages_refused(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[1]",
        "[{\"content\":\"x\"}]",
        "[{\"role\":\"king\",\"content\":\"x\"}]",
        "[{\"role\":\"user\",\"content\":3}]",
        "[{\"role\":\"user\",\"content\":[{}]}]",
        "[{\"role\":\"assistant\",\"tool_calls\":{}}]",
        "[{\"role\":\"assistant\",\"tool_calls\":[{}]}]",
        "[{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}]",
        "[{\"role\":\"user\"",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ds4_history h = { 0 };
        ds4_err     err = { .code = DS4_OK };
        assert_int_equal(DS4_E_FORMAT, ds4_openai_messages(slice(bad[i]), &h, &err));
        assert_true(err.text[0] != '\0');
        ds4_history_clear(&h);
    }
}

static void test_openai_tools(void **state)
{
    ds4_slice *tools = NULL;
    uint32_t   n = 9;
    ds4_err    err = { .code = DS4_OK };

    (void)state;
    assert_int_equal(
        DS4_OK, ds4_openai_tools(slice("[{\"type\":\"function\",\"function\":{\"name\":\"a\"}},"
                                       "{\"name\":\"b\"}]"),
                                 &tools, &n, &err));
    assert_int_equal(2, n);
    assert_slice("{\"name\":\"a\"}", tools[0]);
    assert_slice("{\"name\":\"b\"}", tools[1]);
    free(tools);
    assert_int_equal(DS4_OK, ds4_openai_tools(slice("[]"), &tools, &n, &err));
    assert_int_equal(0, n);
    assert_null(tools);
    assert_int_equal(DS4_E_FORMAT,
                     ds4_openai_tools(slice("[{\"type\":\"function\"}]"), &tools, &n, &err));
    assert_int_equal(DS4_E_FORMAT, ds4_openai_tools(slice("{}"), &tools, &n, &err));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_copies_outlive_the_original),
    cmocka_unit_test(test_openai_messages),
    cmocka_unit_test(test_openai_messages_refused),
    cmocka_unit_test(test_openai_tools),
};

TEST_MAIN(tests)
