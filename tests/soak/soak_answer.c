/* soak_answer.c - see soak_answer.h. */
#include "soak/soak_answer.h"

#include "soak/soak_http.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *text_in(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static void add(soak_answer *a, ds4_str *to, const char *text)
{
    if (!text || !*text) return;
    ds4_str_add_text(to, text);
    a->last = soak_now();
    if (!(a->first > 0)) a->first = a->last;
}

static void set_finish(soak_answer *a, unsigned i, const char *finish)
{
    if (finish) snprintf(a->finish[i], sizeof a->finish[i], "%s", finish);
}

static unsigned number_in(const json_t *o, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(o, name));
}

/* ---- chat ---------------------------------------------------------------------------------- */

static void take_probs(soak_answer *a, const json_t *choice)
{
    const json_t *list = json_object_get(json_object_get(choice, "logprobs"), "content"), *one;
    size_t        i;

    json_array_foreach(list, i, one)
    {
        const char *token = text_in(one, "token");
        ds4_str_addf(&a->probs, "%s %.6f\n", token ? token : "",
                     json_real_value(json_object_get(one, "logprob")));
    }
}

static void take_choice(soak_answer *a, const json_t *choice)
{
    const unsigned i = number_in(choice, "index") % SOAK_MAX_CHOICES;
    const json_t  *m = json_object_get(choice, "delta"), *call;
    size_t         k;

    if (!m) m = json_object_get(choice, "message");
    add(a, &a->thinking[i], text_in(m, "reasoning_content"));
    add(a, &a->text[i], text_in(m, "content"));
    json_array_foreach(json_object_get(m, "tool_calls"), k, call)
    {
        const json_t *f = json_object_get(call, "function");
        if (text_in(f, "name")) ds4_str_addf(&a->calls[i], "\n%s ", text_in(f, "name"));
        add(a, &a->calls[i], text_in(f, "arguments"));
    }
    take_probs(a, choice);
    set_finish(a, i, text_in(choice, "finish_reason"));
}

static void take_chat(soak_answer *a, const json_t *o)
{
    const json_t *usage = json_object_get(o, "usage"), *choice;
    size_t        i;

    if (json_object_get(o, "error")) a->bad = true;
    json_array_foreach(json_object_get(o, "choices"), i, choice) take_choice(a, choice);
    if (!json_is_object(usage)) return;
    a->n_prompt = number_in(usage, "prompt_tokens");
    a->n_generated = number_in(usage, "completion_tokens");
}

/* ---- messages ------------------------------------------------------------------------------- */

static void take_usage(soak_answer *a, const json_t *usage)
{
    if (!usage) return;
    a->n_prompt = number_in(usage, "input_tokens") + number_in(usage, "cache_read_input_tokens");
    a->n_generated = number_in(usage, "output_tokens");
}

static void take_block(soak_answer *a, const json_t *block)
{
    const json_t *input = json_object_get(block, "input");

    add(a, &a->thinking[0], text_in(block, "thinking"));
    add(a, &a->text[0], text_in(block, "text"));
    if (!text_in(block, "name")) return;
    ds4_str_addf(&a->calls[0], "\n%s ", text_in(block, "name"));
    if (json_object_size(input) == 0) return;
    char *text = json_dumps(input, 0);
    add(a, &a->calls[0], text);
    free(text);
}

static void take_messages(soak_answer *a, const json_t *o)
{
    const char   *type = text_in(o, "type");
    const json_t *delta = json_object_get(o, "delta"), *block;
    size_t        i;

    if (!type || !strcmp(type, "error")) a->bad = true;
    if (a->bad) return;
    if (!strcmp(type, "message")) {
        json_array_foreach(json_object_get(o, "content"), i, block) take_block(a, block);
        set_finish(a, 0, text_in(o, "stop_reason"));
        take_usage(a, json_object_get(o, "usage"));
    } else if (!strcmp(type, "content_block_start")) {
        take_block(a, json_object_get(o, "content_block"));
    } else if (!strcmp(type, "content_block_delta")) {
        add(a, &a->thinking[0], text_in(delta, "thinking"));
        add(a, &a->text[0], text_in(delta, "text"));
        add(a, &a->calls[0], text_in(delta, "partial_json"));
    } else if (!strcmp(type, "message_delta")) {
        set_finish(a, 0, text_in(delta, "stop_reason"));
        take_usage(a, json_object_get(o, "usage"));
    } else if (!strcmp(type, "message_stop")) {
        a->ended = true;
    }
}

/* ---- responses ------------------------------------------------------------------------------- */

static void take_item(soak_answer *a, const json_t *item)
{
    const json_t *content = json_object_get(item, "content"), *part;
    const char   *type = text_in(item, "type");
    size_t        i;

    if (!content || json_array_size(content) == 0) content = json_object_get(item, "summary");
    json_array_foreach(content, i, part)
    {
        add(a, type && !strcmp(type, "reasoning") ? &a->thinking[0] : &a->text[0],
            text_in(part, "text"));
    }
    if (!text_in(item, "arguments")) return;
    ds4_str_addf(&a->calls[0], "\n%s ", text_in(item, "name"));
    add(a, &a->calls[0], text_in(item, "arguments"));
}

static void take_response(soak_answer *a, const json_t *r)
{
    const json_t *usage = json_object_get(r, "usage");

    set_finish(a, 0, text_in(r, "status"));
    if (a->finish[0][0] == 'f') a->bad = true; /* failed */
    if (!json_is_object(usage)) return;
    a->n_prompt = number_in(usage, "input_tokens");
    a->n_generated = number_in(usage, "output_tokens");
}

static void take_responses(soak_answer *a, const json_t *o)
{
    const char   *type = text_in(o, "type");
    const json_t *r = json_object_get(o, "response"), *item;
    size_t        i;

    if (!type) {
        if (!text_in(o, "object")) a->bad = true;
        json_array_foreach(json_object_get(o, "output"), i, item) take_item(a, item);
        take_response(a, o);
        return;
    }
    if (r) take_response(a, r);
    if (!strcmp(type, "error")) a->bad = true;
    if (!strcmp(type, "response.completed") || !strcmp(type, "response.incomplete"))
        a->ended = true;
    if (strstr(type, "reasoning") && strstr(type, ".delta"))
        add(a, &a->thinking[0], text_in(o, "delta"));
    if (!strcmp(type, "response.output_text.delta")) add(a, &a->text[0], text_in(o, "delta"));
    if (!strcmp(type, "response.function_call_arguments.delta"))
        add(a, &a->calls[0], text_in(o, "delta"));
    item = json_object_get(o, "item");
    if (!strcmp(type, "response.output_item.added") && text_in(item, "name"))
        ds4_str_addf(&a->calls[0], "\n%s ", text_in(item, "name"));
}

/* ---- all -------------------------------------------------------------------------------------- */

static void take_json(soak_answer *a, const char *data, size_t n_bytes)
{
    static void (*const take[SOAK_N_APIS])(
        soak_answer *, const json_t *) = { take_chat, take_messages, take_responses };
    json_t *o = json_loadb(data, n_bytes, 0, NULL);

    if (!json_is_object(o))
        a->bad = true;
    else
        take[a->api](a, o);
    json_decref(o);
}

void soak_answer_stream(soak_answer *a, const char *data, size_t n_bytes)
{
    const char *end;

    a->n_bytes += n_bytes;
    while ((end = memchr(data, '\n', n_bytes))) {
        const size_t n = (size_t)(end - data);
        ds4_str_add(&a->line, data, n);
        data += n + 1;
        n_bytes -= n + 1;
        const char *line = ds4_str_text(&a->line);
        if (!strcmp(line, "data: [DONE]")) {
            a->ended = true;
        } else if (!strncmp(line, "data: ", 6)) {
            a->n_events++;
            take_json(a, line + 6, a->line.n_bytes - 6);
        }
        ds4_str_truncate(&a->line, 0);
    }
    ds4_str_add(&a->line, data, n_bytes);
}

void soak_answer_whole(soak_answer *a)
{
    a->ended = true;
    take_json(a, ds4_str_text(&a->line), a->line.n_bytes);
}

char *soak_answer_said(const soak_answer *a)
{
    ds4_str out = { 0 };

    ds4_str_addf(&out, "prompt %u generated %u\n", a->n_prompt, a->n_generated);
    for (unsigned i = 0; i < SOAK_MAX_CHOICES; i++) {
        if (!a->finish[i][0]) continue;
        ds4_str_addf(&out, "--- thinking %u\n%s\n--- text\n%s\n--- calls%s\n--- end %s\n", i,
                     ds4_str_text(&a->thinking[i]), ds4_str_text(&a->text[i]),
                     ds4_str_text(&a->calls[i]), a->finish[i]);
    }
    ds4_str_addf(&out, "%s", ds4_str_text(&a->probs));
    return ds4_str_take(&out);
}

void soak_answer_clear(soak_answer *a)
{
    ds4_str_clear(&a->line);
    ds4_str_clear(&a->probs);
    for (unsigned i = 0; i < SOAK_MAX_CHOICES; i++) {
        ds4_str_clear(&a->thinking[i]);
        ds4_str_clear(&a->text[i]);
        ds4_str_clear(&a->calls[i]);
    }
}
