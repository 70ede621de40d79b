/* recording.c - see recording.h. */
#include "support/recording.h"

#include "testing.h"

/* ---- placeholders --------------------------------------------------------------------------- */

/* As many characters of words, the same for the same number. */
static void add_filler(uint32_t number, size_t n_bytes, ds4_str *out)
{
    static const char *const words[] = {
        "the", "and", "to",   "of",   "with", "file", "not",  "when", "that",  "is",    "a",    "in",
        "for", "use", "one",  "this", "line", "must", "name", "text", "where", "value", "each", "first",
        "new", "set", "path", "it",   "on",   "word", "list", "be",   "other", "then",  "only", "small",
    };
    const size_t begin = out->n_bytes;
    uint32_t     state = number * 2654435761u + 12345u;

    while (out->n_bytes - begin < n_bytes) {
        state = state * 1664525u + 1013904223u;
        ds4_str_add_text(out, words[(state >> 16) % (sizeof words / sizeof *words)]);
        ds4_str_add_char(out, (state >> 28) == 0 ? '.' : ' ');
    }
    ds4_str_truncate(out, begin + n_bytes);
    if (out->data[out->n_bytes - 1] == ' ') out->data[out->n_bytes - 1] = '.';
}

/* One "{{...}}", without its brackets: "NUMBER:LENGTH", "id STEP.N" or "turn". */
static void add_placeholder(const recording *r, uint32_t i_step, const char *what, ds4_str *out)
{
    unsigned a, b;

    if (sscanf(what, "%u:%u", &a, &b) == 2) {
        add_filler(a, b / r->part ? b / r->part : 1, out);
    } else if (sscanf(what, "id %u.%u", &a, &b) == 2) {
        assert_true(a < r->n_steps && b < r->step[a].n_ids);
        ds4_str_add_text(out, r->step[a].id[b]);
    } else {
        assert_string_equal("turn", what);
        ds4_str_addf(out, "%x", 0xabc + i_step);
    }
}

static void add_text(const recording *r, uint32_t i_step, const char *text, ds4_str *out)
{
    const char *open;

    while ((open = strstr(text, "{{"))) {
        const char *close = strstr(open, "}}");
        char        what[64];
        assert_true(close && close - open < (long)sizeof what);
        ds4_str_add(out, text, (size_t)(open - text));
        snprintf(what, sizeof what, "%.*s", (int)(close - open - 2), open + 2);
        add_placeholder(r, i_step, what, out);
        text = close + 2;
    }
    ds4_str_add_text(out, text);
}

/* A copy of a value with everything filled in. */
static json_t *real(const recording *r, uint32_t i_step, json_t *value)
{
    const char *key;
    json_t     *item, *copy;
    size_t      i;
    unsigned    n;

    if (json_is_string(value)) {
        ds4_str text = { 0 };
        if (sscanf(json_string_value(value), "{{#%u}}", &n) == 1) {
            return real(r, i_step, json_array_get(json_object_get(r->json, "table"), n));
        }
        add_text(r, i_step, json_string_value(value), &text);
        copy = json_stringn(ds4_str_text(&text), text.n_bytes);
        ds4_str_clear(&text);
    } else if (json_is_object(value)) {
        copy = json_object();
        json_object_foreach(value, key, item) json_object_set_new(copy, key, real(r, i_step, item));
    } else if (json_is_array(value)) {
        copy = json_array();
        json_array_foreach(value, i, item) json_array_append_new(copy, real(r, i_step, item));
    } else {
        copy = json_copy(value);
    }
    assert_non_null(copy);
    return copy;
}

/* ---- files ---------------------------------------------------------------------------------- */

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void read_step(json_t *json, recording_step *step)
{
    json_t *answer = json_object_get(json, "answer"), *call;
    ds4_str calls = { 0 };
    size_t  i;

    *step = (recording_step){ .restart = json_is_true(json_object_get(json, "restart")),
                              .status = (int)json_integer_value(json_object_get(json, "status")),
                              .method = text_of(json, "method"),
                              .path = text_of(json, "path"),
                              .api = text_of(answer, "api"),
                              .events = text_of(answer, "events"),
                              .text = text_of(answer, "text") };
    json_array_foreach(json_object_get(answer, "calls"), i, call) {
        ds4_str_addf(&calls, "%s %s\n", text_of(call, "name"), text_of(call, "arguments"));
    }
    step->calls = strdup(ds4_str_text(&calls));
    step->is_head = !strcmp(step->method, "HEAD");
    ds4_str_clear(&calls);
}

/* How many tools a request offers. */
static size_t tools_of(const recording *r, json_t *json)
{
    json_t  *tools = json_object_get(json_object_get(json, "body"), "tools");
    unsigned n;

    if (json_is_string(tools) && sscanf(json_string_value(tools), "{{#%u}}", &n) == 1) {
        tools = json_array_get(json_object_get(r->json, "table"), n);
    }
    return json_array_size(tools);
}

/* Titles and memories are asked for with fewer tools than the conversation has. */
static void tell_requests_apart(recording *r)
{
    json_t *steps = json_object_get(r->json, "steps"), *json;
    size_t  i, most = 0;

    json_array_foreach(steps, i, json) {
        if (tools_of(r, json) > most) most = tools_of(r, json);
    }
    json_array_foreach(steps, i, json) {
        r->step[i].has_tools = most > 0 && tools_of(r, json) * 5 >= most * 4;
    }
}

void recording_open(recording *r, const char *client, uint32_t part, uint32_t n_tools)
{
    char         path[256];
    json_error_t error;
    json_t      *json;
    size_t       i;

    snprintf(path, sizeof path, "tests/clients/recorded/%s.json", client);
    *r = (recording){ .json = json_load_file(path, 0, &error), .part = part, .n_tools = n_tools };
    if (!r->json) fail_msg("%s: %s", path, error.text);
    json_array_foreach(json_object_get(r->json, "steps"), i, json) {
        assert_true(i < RECORDING_MAX_STEPS);
        read_step(json, &r->step[r->n_steps++]);
    }
    tell_requests_apart(r);
}

void recording_close(recording *r)
{
    for (uint32_t i = 0; i < r->n_steps; i++) {
        free(r->step[i].calls);
        for (uint32_t k = 0; k < r->step[i].n_ids; k++) free(r->step[i].id[k]);
    }
    json_decref(r->json);
}

void recording_script(const recording *r, ds4_str *out)
{
    json_t *line;
    size_t  i;

    json_array_foreach(json_object_get(r->json, "script"), i, line) {
        char *text = json_dumps(line, 0);
        ds4_str_addf(out, "%s\n", text);
        free(text);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool is_called(const recording *r, const char *tool)
{
    const size_t n = strlen(tool);

    for (uint32_t i = 0; i < r->n_steps; i++) {
        const char *calls = r->step[i].calls;
        if (n > 0 && !strncmp(calls, tool, n) && calls[n] == ' ') return true;
    }
    return false;
}

static void drop_tools(const recording *r, json_t *tools)
{
    for (size_t i = json_array_size(tools); i-- > r->n_tools;) {
        json_t *tool = json_array_get(tools, i), *function = json_object_get(tool, "function");
        if (!is_called(r, text_of(function ? function : tool, "name"))) json_array_remove(tools, i);
    }
}

void recording_request(const recording *r, uint32_t i_step, ds4_str *out)
{
    json_t     *step = json_array_get(json_object_get(r->json, "steps"), i_step), *value;
    json_t     *headers = real(r, i_step, json_object_get(step, "headers"));
    json_t     *body = json_object_get(step, "body");
    char       *text = NULL;
    const char *key;

    ds4_str_addf(out, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n",
                 r->step[i_step].method, r->step[i_step].path);
    json_object_foreach(headers, key, value) {
        ds4_str_addf(out, "%s: %s\r\n", key, json_string_value(value));
    }
    if (body) {
        body = real(r, i_step, body);
        drop_tools(r, json_object_get(body, "tools"));
        text = json_dumps(body, JSON_COMPACT);
        ds4_str_addf(out, "Content-Length: %zu\r\n", strlen(text));
        json_decref(body);
    }
    ds4_str_addf(out, "\r\n%s", text ? text : "");
    free(text);
    json_decref(headers);
    assert_false(out->failed);
}

static bool is_known(const recording *r, const char *id, size_t n_bytes)
{
    for (uint32_t i = 0; i < r->n_steps; i++) {
        for (uint32_t k = 0; k < r->step[i].n_ids; k++) {
            const char *known = r->step[i].id[k];
            if (strlen(known) == n_bytes && !memcmp(known, id, n_bytes)) return true;
        }
    }
    return false;
}

/* The same rule as in distill.mjs, so that the numbers are the same. */
void recording_take_ids(recording *r, uint32_t i_step, const char *answer)
{
    static const char *const keys[] = { "\"id\":\"", "\"call_id\":\"", "\"signature\":\"" };
    recording_step          *step = &r->step[i_step];

    for (const char *at = strchr(answer, '"'); at; at = strchr(at + 1, '"')) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            if (strncmp(at, keys[i], strlen(keys[i])) != 0) continue;
            const char  *id = at + strlen(keys[i]);
            const size_t n = strcspn(id, "\"");
            if (n < 8 || is_known(r, id, n)) continue;
            assert_true(step->n_ids < RECORDING_MAX_IDS);
            step->id[step->n_ids++] = strndup(id, n);
        }
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

static void add_event(recording_answer *a, const char *name, const char *detail)
{
    char        event[128];
    const char *last = strrchr(ds4_str_text(&a->events), ' ');

    snprintf(event, sizeof event, "%s%s%s", name, detail ? ":" : "", detail ? detail : "");
    if (!strcmp(last ? last + 1 : ds4_str_text(&a->events), event)) return;
    ds4_str_addf(&a->events, "%s%s", a->events.n_bytes ? " " : "", event);
}

static void begin_call(recording_answer *a, const char *name)
{
    if (a->calls.n_bytes) ds4_str_add_char(&a->calls, '\n');
    ds4_str_addf(&a->calls, "%s ", name);
}

static uint32_t number_of(json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static void read_chat(json_t *event, recording_answer *a)
{
    json_t     *choice = json_array_get(json_object_get(event, "choices"), 0), *call;
    json_t     *delta = json_object_get(choice, "delta"), *usage = json_object_get(event, "usage");
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
    size_t      i;

    if (json_is_object(usage)) {
        a->n_prompt = number_of(usage, "prompt_tokens");
        a->n_generated = number_of(usage, "completion_tokens");
        a->n_cached = number_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    }
    if (!choice) add_event(a, "usage", NULL);
    if (json_object_get(delta, "role")) add_event(a, "role", NULL);
    if (text_of(delta, "reasoning_content")[0]) add_event(a, "reasoning", NULL);
    if (text_of(delta, "content")[0]) add_event(a, "content", NULL);
    ds4_str_add_text(&a->text, text_of(delta, "content"));
    json_array_foreach(json_object_get(delta, "tool_calls"), i, call) {
        json_t *function = json_object_get(call, "function");
        add_event(a, json_object_get(call, "id") ? "call" : "arguments", NULL);
        if (json_object_get(call, "id")) begin_call(a, text_of(function, "name"));
        ds4_str_add_text(&a->calls, text_of(function, "arguments"));
    }
    if (finish) add_event(a, "finish", finish);
}

static void read_messages(json_t *event, recording_answer *a)
{
    const char *type = text_of(event, "type");
    json_t     *block = json_object_get(event, "content_block");
    json_t     *delta = json_object_get(event, "delta"), *usage;

    if (!strcmp(type, "ping")) return;
    if (!strcmp(type, "content_block_start")) {
        add_event(a, "start", text_of(block, "type"));
        if (!strcmp(text_of(block, "type"), "tool_use")) begin_call(a, text_of(block, "name"));
    } else if (!strcmp(type, "content_block_delta")) {
        add_event(a, text_of(delta, "type"), NULL);
        ds4_str_add_text(&a->text, text_of(delta, "text"));
        ds4_str_add_text(&a->calls, text_of(delta, "partial_json"));
    } else if (!strcmp(type, "message_delta")) {
        add_event(a, "finish", text_of(delta, "stop_reason"));
        a->n_generated = number_of(json_object_get(event, "usage"), "output_tokens");
    } else {
        add_event(a, type, NULL);
    }
    usage = json_object_get(json_object_get(event, "message"), "usage");
    if (!usage) return;
    a->n_cached = number_of(usage, "cache_read_input_tokens");
    a->n_prompt = a->n_cached + number_of(usage, "input_tokens") +
                  number_of(usage, "cache_creation_input_tokens");
}

static void read_responses(json_t *event, recording_answer *a)
{
    json_t     *item = json_object_get(event, "item");
    json_t     *usage = json_object_get(json_object_get(event, "response"), "usage");
    const char *type = text_of(event, "type");

    assert_memory_equal("response.", type, 9);
    type += 9;
    if (!strcmp(type, "output_item.added") && !strcmp(text_of(item, "type"), "function_call")) {
        begin_call(a, text_of(item, "name"));
    }
    if (!strcmp(type, "output_text.delta")) ds4_str_add_text(&a->text, text_of(event, "delta"));
    if (!strcmp(type, "function_call_arguments.delta")) ds4_str_add_text(&a->calls, text_of(event, "delta"));
    if (!strncmp(type, "output_item.", 12)) type += 12;
    add_event(a, type, item ? text_of(item, "type") : NULL);
    if (!json_is_object(usage)) return;
    a->n_prompt = number_of(usage, "input_tokens");
    a->n_generated = number_of(usage, "output_tokens");
    a->n_cached = number_of(json_object_get(usage, "input_tokens_details"), "cached_tokens");
}

void recording_read(const char *api, const char *answer, recording_answer *out)
{
    *out = (recording_answer){ 0 };
    for (const char *at = answer; (at = strstr(at, "data: ")); at += strcspn(at, "\n")) {
        at += 6;
        if (!strncmp(at, "[DONE]", 6)) {
            add_event(out, "DONE", NULL);
            continue;
        }
        json_t *event = json_loadb(at, strcspn(at, "\n"), 0, NULL);
        if (!event) fail_msg("no JSON in an event: %.200s", at);
        if (!strcmp(api, "chat")) read_chat(event, out);
        if (!strcmp(api, "messages")) read_messages(event, out);
        if (!strcmp(api, "responses")) read_responses(event, out);
        json_decref(event);
    }
    if (out->calls.n_bytes) ds4_str_add_char(&out->calls, '\n');
}

void recording_answer_clear(recording_answer *a)
{
    ds4_str_clear(&a->events);
    ds4_str_clear(&a->text);
    ds4_str_clear(&a->calls);
}
