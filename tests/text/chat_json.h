/* chat_json.h - conversations from the JSON of the reference files. */
#ifndef DS4_TESTS_CHAT_JSON_H
#define DS4_TESTS_CHAT_JSON_H

#include "text_golden.h"

#include "text/chat.h"

enum { CHAT_MAX = 32 };

/* A conversation and everything its slices point at, apart from the JSON itself. */
typedef struct chat_json {
    ds4_message      messages[CHAT_MAX];
    ds4_part         parts[CHAT_MAX][8];
    ds4_call         calls[CHAT_MAX][8];
    ds4_slice        tools[CHAT_MAX][8];
    ds4_slice        top_tools[8];
    uint32_t         n_messages;
    ds4_chat_options opt;
    char            *texts[256];
    uint32_t         n_texts;
} chat_json;

static inline ds4_slice chat_json_text(chat_json *c, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    assert_true(c->n_texts < 256);
    c->texts[c->n_texts++] = text;
    return (ds4_slice){ text, strlen(text) };
}

static inline uint32_t chat_json_tools(chat_json *c, const json_t *tools, ds4_slice out[8])
{
    size_t  i;
    json_t *tool;
    json_array_foreach(tools, i, tool) {
        const json_t *function = json_object_get(tool, "function");
        assert_true(i < 8);
        out[i] = chat_json_text(c, function ? function : tool);
    }
    return (uint32_t)json_array_size(tools);
}

static inline void chat_json_message(chat_json *c, const json_t *row, uint32_t n)
{
    ds4_message *m = &c->messages[n];
    const json_t *content = json_object_get(row, "content"),
                 *calls = json_object_get(row, "tool_calls");
    size_t  i;
    json_t *value;

    assert_true(ds4_role_from_name(golden_string(json_object_get(row, "role")), &m->role));
    m->content = golden_string(content);
    json_array_foreach(content, i, value) {
        const char *type = json_string_value(json_object_get(value, "type"));
        const bool is_text = strcmp(type, "text") == 0;
        c->parts[n][i] =
            (ds4_part){ is_text, golden_string(json_object_get(value, is_text ? "text" : "type")) };
        m->parts = c->parts[n];
        m->n_parts = (uint32_t)i + 1;
    }
    m->reasoning = golden_string(json_object_get(row, "reasoning_content"));
    m->call_id = golden_string(json_object_get(row, "tool_call_id"));
    json_array_foreach(calls, i, value) {
        const json_t *function = json_object_get(value, "function");
        c->calls[n][i] = (ds4_call){ golden_string(json_object_get(value, "id")),
                                     golden_string(json_object_get(function, "name")),
                                     golden_string(json_object_get(function, "arguments")) };
        m->calls = c->calls[n];
        m->n_calls = (uint32_t)i + 1;
    }
    if (json_object_get(row, "task")) {
        assert_true(ds4_task_from_name(golden_string(json_object_get(row, "task")), &m->task));
    }
    m->n_tools = chat_json_tools(c, json_object_get(row, "tools"), c->tools[n]);
    m->tools = c->tools[n];
}

/* args: {"messages": [...], options of the reference renderer} */
static inline void chat_json_read(chat_json *c, const json_t *args)
{
    const json_t *messages = json_object_get(args, "messages");
    const json_t *effort = json_object_get(args, "effort"),
                 *format = json_object_get(args, "response_format");
    const char *variant = json_string_value(json_object_get(args, "variant"));
    size_t  i;
    json_t *row;
    bool    ignored;

    memset(c, 0, sizeof *c);
    assert_true(json_array_size(messages) <= CHAT_MAX);
    json_array_foreach(messages, i, row) chat_json_message(c, row, (uint32_t)i);
    c->n_messages = (uint32_t)i;
    c->opt.thinking = !json_is_false(json_object_get(args, "thinking"));
    c->opt.keep_reasoning = json_is_false(json_object_get(args, "drop"));
    c->opt.prefix_last = json_is_true(json_object_get(args, "prefix_last"));
    if (variant && strcmp(variant, "v4-0731") == 0) c->opt.protocol = DS4_PROTOCOL_V4_0731;
    if (effort) assert_true(ds4_effort_from_name(golden_string(effort), &c->opt.effort, &ignored));
    c->opt.n_tools = chat_json_tools(c, json_object_get(args, "tools"), c->top_tools);
    c->opt.tools = c->top_tools;
    if (format) c->opt.schema = chat_json_text(c, format);
}

static inline void chat_json_clear(chat_json *c)
{
    for (uint32_t i = 0; i < c->n_texts; i++) free(c->texts[i]);
    memset(c, 0, sizeof *c);
}

#endif
