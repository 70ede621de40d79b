/* soak_pool.c - see soak_pool.h. */
#include "soak/soak_pool.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILLER_BYTES = 7000 };

static const char *text_in(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static void put_new(json_t *list, json_t *o)
{
    json_array_append_new(list, o);
}

/* ---- the same conversation in other words ----------------------------------------------------- */

/* An assistant's turn or a tool's result as Anthropic has it. */
static json_t *messages_turn(const json_t *m)
{
    const char   *role = text_in(m, "role");
    json_t       *blocks = json_array();
    const json_t *call;
    size_t        i;

    if (!strcmp(role, "tool")) {
        put_new(blocks, json_pack("{ss, ss, ss}", "type", "tool_result", "tool_use_id",
                                  text_in(m, "tool_call_id"), "content", text_in(m, "content")));
        return json_pack("{ss, so}", "role", "user", "content", blocks);
    }
    if (text_in(m, "content") && *text_in(m, "content"))
        put_new(blocks, json_pack("{ss, ss}", "type", "text", "text", text_in(m, "content")));
    json_array_foreach(json_object_get(m, "tool_calls"), i, call)
    {
        const json_t *f = json_object_get(call, "function");
        json_t       *input = json_loads(text_in(f, "arguments"), 0, NULL);
        put_new(blocks, json_pack("{ss, ss, ss, so}", "type", "tool_use", "id", text_in(call, "id"),
                                  "name", text_in(f, "name"), "input", input));
    }
    return json_pack("{ss, so}", "role", role, "content", blocks);
}

static json_t *to_messages(const json_t *list, json_t *body)
{
    json_t       *out = json_array();
    const json_t *m;
    size_t        i;

    json_array_foreach(list, i, m)
    {
        if (!strcmp(text_in(m, "role"), "system")) {
            json_object_set(body, "system", json_object_get(m, "content"));
        } else {
            put_new(out, messages_turn(m));
        }
    }
    return out;
}

static json_t *to_items(const json_t *list)
{
    json_t       *out = json_array();
    const json_t *m, *call;
    size_t        i, k;

    json_array_foreach(list, i, m)
    {
        if (!strcmp(text_in(m, "role"), "tool")) {
            put_new(out, json_pack("{ss, ss, ss}", "type", "function_call_output", "call_id",
                                   text_in(m, "tool_call_id"), "output", text_in(m, "content")));
            continue;
        }
        if (text_in(m, "content") && *text_in(m, "content"))
            put_new(out, json_pack("{ss, ss}", "role", text_in(m, "role"), "content",
                                   text_in(m, "content")));
        json_array_foreach(json_object_get(m, "tool_calls"), k, call)
        {
            const json_t *f = json_object_get(call, "function");
            put_new(out, json_pack("{ss, ss, ss, ss}", "type", "function_call", "call_id",
                                   text_in(call, "id"), "name", text_in(f, "name"), "arguments",
                                   text_in(f, "arguments")));
        }
    }
    return out;
}

static json_t *to_tools(const json_t *list, soak_api api)
{
    json_t       *out = json_array();
    const json_t *tool;
    size_t        i;

    json_array_foreach(list, i, tool)
    {
        const json_t *f = json_object_get(tool, "function");
        json_t       *parameters = json_object_get(f, "parameters");
        json_t       *o = json_pack("{ss, ss*, sO}", "name", text_in(f, "name"), "description",
                                    text_in(f, "description"),
                              api == SOAK_MESSAGES ? "input_schema" : "parameters", parameters);
        if (api == SOAK_RESPONSES) json_object_set_new(o, "type", json_string("function"));
        put_new(out, o);
    }
    return out;
}

/* ---- one request -------------------------------------------------------------------------------- */

/* Ways to ask, by turns, so that every one meets every kind of case. */
static void vary(json_t *body, const soak_request *rq, unsigned i)
{
    const bool has_tools = json_object_get(body, "tools") != NULL;

    if (i % 3 == 0) {
        json_object_set_new(body, "temperature", json_integer(0));
    } else {
        json_object_set_new(body, "temperature", json_real(i % 3 == 1 ? 1.0 : 0.7));
        json_object_set_new(body, "seed", json_integer(1000 + i));
        if (i % 3 == 2) json_object_set_new(body, "top_p", json_real(0.9));
    }
    if (rq->stream) json_object_set_new(body, "stream", json_true());
    if (rq->api != SOAK_CHAT) return;
    if (rq->stream)
        json_object_set_new(body, "stream_options", json_pack("{sb}", "include_usage", 1));
    if (i % 7 == 2) {
        json_object_set_new(body, "logprobs", json_true());
        json_object_set_new(body, "top_logprobs", json_integer(2));
    }
    if (i % 7 == 4) json_object_set_new(body, "n", json_integer(2));
    if (i % 7 == 5) json_object_set_new(body, "stop", json_pack("[ss]", " the", "."));
    if (has_tools && i % 5 == 1) json_object_set_new(body, "tool_choice", json_string("required"));
    if (!has_tools && i % 5 == 3) {
        json_object_set_new(
            body, "response_format",
            json_loads("{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\",\"schema\":"
                       "{\"type\":\"object\",\"properties\":{\"answer\":{\"type\":\"string\","
                       "\"maxLength\":40},\"sure\":{\"type\":\"boolean\"}},"
                       "\"required\":[\"answer\",\"sure\"],\"additionalProperties\":false}}}",
                       0, NULL));
    }
}

/* A long text in front of the last question. */
static void add_filler(json_t *messages, const char *filler, size_t offset)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    ds4_str text = { 0 };

    ds4_str_addf(&text, "%.*s\n\n%s", FILLER_BYTES,
                 filler + offset % (strlen(filler) - FILLER_BYTES), text_in(last, "content"));
    json_object_set_new(last, "content", json_stringn_nocheck(ds4_str_text(&text), text.n_bytes));
    ds4_str_clear(&text);
}

static json_t *body_of(const json_t *c, soak_request *rq)
{
    static const char *const paths[] = { "/v1/chat/completions", "/v1/messages", "/v1/responses" };
    json_t                  *body = json_object(), *messages = json_object_get(c, "messages");
    const json_t            *tools = json_object_get(c, "tools");
    const bool               thinking = json_is_true(json_object_get(c, "thinking"));

    rq->path = paths[rq->api];
    json_object_set_new(body, "model", json_string("soak"));
    if (tools && rq->api != SOAK_CHAT) json_object_set_new(body, "tools", to_tools(tools, rq->api));
    json_object_set_new(body, "thinking",
                        json_pack("{ss}", "type", thinking ? "enabled" : "disabled"));
    switch (rq->api) {
    case SOAK_CHAT:
        json_object_set(body, "messages", messages);
        if (tools) json_object_set(body, "tools", json_object_get(c, "tools"));
        json_object_set_new(body, "max_tokens", json_integer(160));
        break;
    case SOAK_MESSAGES:
        json_object_set_new(body, "messages", to_messages(messages, body));
        json_object_set_new(body, "max_tokens", json_integer(160));
        break;
    default:
        json_object_set_new(body, "input", to_items(messages));
        json_object_set_new(body, "max_output_tokens", json_integer(160));
    }
    return body;
}

static bool add_case(soak_pool *p, json_t *c, const char *filler)
{
    const unsigned i = p->n;
    soak_request  *rq = realloc(p->request, (i + 1) * sizeof *rq);

    if (!rq) return false;
    p->request = rq;
    rq += i;
    *rq = (soak_request){ .api = i % SOAK_N_APIS, .stream = i / SOAK_N_APIS % 2 == 0 };
    if (json_object_get(c, "context")) {
        const json_t *offset = json_object_get(json_object_get(c, "context"), "offset");
        add_filler(json_object_get(c, "messages"), filler, (size_t)json_integer_value(offset));
    }
    json_t *body = body_of(c, rq);
    vary(body, rq, i);
    rq->body = json_dumps(body, 0);
    json_decref(body);
    snprintf(rq->name, sizeof rq->name, "%s %s%s", text_in(c, "id"), rq->path,
             rq->stream ? " streamed" : "");
    p->n++;
    return rq->body != NULL;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;

    if (!f) return NULL;
    if (fseek(f, 0, SEEK_END) == 0) {
        const long n = ftell(f);
        text = n > 0 ? calloc(1, (size_t)n + 1) : NULL;
        rewind(f);
        if (text && fread(text, 1, (size_t)n, f) != (size_t)n) {
            free(text);
            text = NULL;
        }
    }
    fclose(f);
    return text;
}

bool soak_pool_make(soak_pool *p, const char *cases, const char *filler_path, unsigned step)
{
    char    *text = read_file(cases), *filler = read_file(filler_path), *save = NULL;
    unsigned i = 0;
    bool     good = text && filler;

    char *line = good ? strtok_r(text, "\n", &save) : NULL;
    for (; line; line = strtok_r(NULL, "\n", &save)) {
        json_t     *c = json_loads(line, 0, NULL);
        const char *kind = text_in(c, "kind");
        /* Longer than the context that the test gives. */
        if (kind && strcmp(kind, "recall8k") && strcmp(kind, "recall32k") && i++ % step == 0)
            good = add_case(p, c, filler) && good;
        json_decref(c);
    }
    free(text);
    free(filler);
    return good && p->n > 0;
}

void soak_pool_free(soak_pool *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        free(p->request[i].body);
        free(p->request[i].said);
    }
    free(p->request);
}

char *soak_endless(unsigned n_tokens, unsigned long seed)
{
    json_t *body = json_pack(
        "{ss, sb, si, sI, si}", "prompt", "Once upon a time there was a fox who lived in", "stream",
        1, "temperature", 1, "seed", (json_int_t)seed, "max_tokens", (int)n_tokens);
    char *text = json_dumps(body, 0);
    json_decref(body);
    return text;
}
