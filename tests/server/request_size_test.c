/* request_size_test.c - reading and rendering a request takes memory and time in proportion to
 * its body, however many small parts the body is made of. */
#include "testing.h"

#include "app/server/request.h"

#include <time.h>

enum {
    BODY_BYTES = 1 << 20,
    MOST_BYTES = 40,            /* for each byte of the body */
    MOST_SECONDS = 4,           /* of computing, under sanitizers too; a few hundredths without */
};

/* A body is `head`, as many times `part` as there is room for, and `tail`. A '#' in a part stands
 * for its number. */
typedef struct size_case {
    const char *name;
    ds4_api     api;
    const char *head, *part, *tail;
} size_case;

static uint32_t make_body(ds4_str *body, const size_case *c)
{
    const char *mark = strchr(c->part, '#');
    uint32_t    n = 0;

    ds4_str_add_text(body, c->head);
    for (; body->n_bytes < BODY_BYTES; n++) {
        if (n) ds4_str_add_char(body, ',');
        if (mark) {
            ds4_str_add(body, c->part, (size_t)(mark - c->part));
            ds4_str_addf(body, "%u%s", n, mark + 1);
        } else {
            ds4_str_add_text(body, c->part);
        }
    }
    ds4_str_add_text(body, c->tail);
    return n;
}

static void stays_in_proportion(const size_case *c)
{
    static const ds4_request_defaults defaults = { .protocol = DS4_PROTOCOL_V4,
                                                   .sampling = { .temperature = 1, .top_p = 1 } };
    ds4_request    rq = { .api = c->api };
    ds4_segments   text = { 0 };
    ds4_str        body = { 0 };
    ds4_err        err = { .code = DS4_OK };
    const uint32_t n = make_body(&body, c);
    const clock_t  begin = clock();

    ds4_status st = ds4_request_read(&rq, (ds4_slice){ body.data, body.n_bytes }, &defaults, NULL, NULL,
                                     &err);
    const double read_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
    if (st == DS4_OK) st = ds4_request_render(&rq, &text, &err);
    const double all_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
    const double times = (double)rq.arena.n_bytes / (double)body.n_bytes;

    print_message("# %s: %u parts, %.1f bytes for each of %zu, read in %.3f s, all %.3f s\n", c->name,
                  n, times, body.n_bytes, read_s, all_s);
    ds4_segments_clear(&text);
    ds4_request_clear(&rq);
    ds4_str_clear(&body);
    if (st != DS4_OK) fail_msg("%s: %s", c->name, err.text);
    if (!(times <= MOST_BYTES)) fail_msg("%s: %.1f bytes for each of the body", c->name, times);
    if (!(all_s <= MOST_SECONDS)) fail_msg("%s: %.3f seconds", c->name, all_s);
}

#define USER        "{\"role\":\"user\",\"content\":"
#define ASSISTANT   "{\"role\":\"assistant\",\"content\":"
#define LAST        ",{\"role\":\"user\",\"content\":\"Q\"}]}"
#define ITEMS       "{\"input\":["
#define MESSAGES    "{\"messages\":["
#define TEXT_PART   "{\"type\":\"text\",\"text\":\"a#\"}"

static void test_calls_of_one_turn(void **state)
{
    static const size_case list[] = {
        { "responses, calls", DS4_API_RESPONSES, ITEMS,
          "{\"type\":\"function_call\",\"call_id\":\"c#\",\"name\":\"f\"}", LAST },
        { "responses, custom calls", DS4_API_RESPONSES, ITEMS,
          "{\"type\":\"custom_tool_call\",\"namespace\":\"n#\",\"name\":\"f\",\"input\":\"x\"}", LAST },
        { "chat, calls", DS4_API_CHAT, MESSAGES "{\"role\":\"assistant\",\"tool_calls\":[",
          "{\"id\":\"c#\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}", "]}" LAST },
        { "messages, calls", DS4_API_MESSAGES, MESSAGES ASSISTANT "[",
          "{\"type\":\"tool_use\",\"id\":\"c#\",\"name\":\"f\",\"input\":{}}", "]}" LAST },
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) stays_in_proportion(&list[i]);
}

static void test_texts_of_one_turn(void **state)
{
    static const size_case list[] = {
        { "chat, parts", DS4_API_CHAT, MESSAGES USER "[", TEXT_PART, "]}]}" },
        { "messages, parts of a user", DS4_API_MESSAGES, MESSAGES USER "[", TEXT_PART, "]}]}" },
        { "messages, parts of an assistant", DS4_API_MESSAGES, MESSAGES ASSISTANT "[", TEXT_PART,
          "]}" LAST },
        { "messages, reasoning", DS4_API_MESSAGES, MESSAGES ASSISTANT "[",
          "{\"type\":\"thinking\",\"thinking\":\"a#\"}", "]}" LAST },
        { "messages, parts of the system text", DS4_API_MESSAGES, "{\"system\":[", TEXT_PART,
          "],\"messages\":[" USER "\"Q\"}]}" },
        { "responses, parts", DS4_API_RESPONSES, ITEMS USER "[", TEXT_PART, "]}]}" },
        { "responses, messages of an assistant", DS4_API_RESPONSES, ITEMS,
          "{\"role\":\"assistant\",\"content\":\"a#\"}", LAST },
        { "responses, reasoning", DS4_API_RESPONSES, ITEMS,
          "{\"type\":\"reasoning\",\"summary\":[{\"text\":\"a#\"}]}", LAST },
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) stays_in_proportion(&list[i]);
}

static void test_messages(void **state)
{
    static const size_case list[] = {
        { "chat, messages", DS4_API_CHAT, MESSAGES, USER "\"a#\"}", "]}" },
        { "chat, results", DS4_API_CHAT, MESSAGES,
          "{\"role\":\"tool\",\"tool_call_id\":\"c#\",\"content\":\"x\"}", "]}" },
        { "messages, messages", DS4_API_MESSAGES, MESSAGES, USER "\"a#\"}", "]}" },
        { "messages, results", DS4_API_MESSAGES, MESSAGES USER "[",
          "{\"type\":\"tool_result\",\"tool_use_id\":\"c#\",\"content\":\"x\"}", "]}]}" },
        { "responses, messages", DS4_API_RESPONSES, ITEMS, USER "\"a#\"}", "]}" },
        { "responses, results", DS4_API_RESPONSES, ITEMS,
          "{\"type\":\"function_call_output\",\"call_id\":\"c#\",\"output\":\"x\"}", "]}" },
        { "responses, calls and results", DS4_API_RESPONSES, ITEMS,
          "{\"type\":\"function_call\",\"call_id\":\"c#\",\"name\":\"f\"},{\"type\":"
          "\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"}",
          "]}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) stays_in_proportion(&list[i]);
}

static void test_tools_and_members(void **state)
{
    static const char tail[] = "],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f9\"}}";
    static const size_case list[] = {
        { "chat, tools", DS4_API_CHAT, MESSAGES USER "\"Q\"}],\"tools\":[",
          "{\"function\":{\"name\":\"f#\",\"parameters\":{}}}", tail },
        { "messages, tools", DS4_API_MESSAGES, MESSAGES USER "\"Q\"}],\"tools\":[",
          "{\"name\":\"f#\",\"input_schema\":{}}", tail },
        { "responses, tools", DS4_API_RESPONSES, "{\"input\":\"Q\",\"tools\":[",
          "{\"type\":\"function\",\"name\":\"f#\",\"parameters\":{}}", "]}" },
        { "responses, tools of a namespace", DS4_API_RESPONSES,
          "{\"input\":\"Q\",\"tools\":[{\"type\":\"namespace\",\"name\":\"space\",\"tools\":[",
          "{\"type\":\"function\",\"name\":\"f#\",\"parameters\":{}}", "]}]}" },
        { "chat, members of the body", DS4_API_CHAT, "{", "\"m#\":0", ",\"messages\":[" USER "\"Q\"}]}" },
        { "chat, members of a schema", DS4_API_CHAT,
          MESSAGES USER "\"Q\"}],\"tools\":[{\"function\":{\"name\":\"f\",\"parameters\":{",
          "\"m#\":{}", "}}}]}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) stays_in_proportion(&list[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_calls_of_one_turn),
    cmocka_unit_test(test_texts_of_one_turn),
    cmocka_unit_test(test_messages),
    cmocka_unit_test(test_tools_and_members),
};

TEST_MAIN(tests)
