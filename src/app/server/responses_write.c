/* responses_write.c - answers of /v1/responses.
 *
 * Streamed or not, the output items are built the same way: a whole answer is the last
 * event of a stream that nobody saw. */
#include "app/server/answer.h"

#include <string.h>

/* ---- events --------------------------------------------------------------------------------- */

static void begin_event(ds4_answer *a, const char *type)
{
    ds4_str_addf(&a->out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u", type, type,
                 a->n_events++);
}

static void end_event(ds4_answer *a)
{
    ds4_str_add_text(&a->out, "}\n\n");
}

static void add_usage(const ds4_answer *a, ds4_str *out)
{
    const ds4_usage u = ds4_answer_usage(a);

    ds4_str_addf(out,
                 "{\"input_tokens\":%u,\"input_tokens_details\":{\"cached_tokens\":%u,\"sampled_"
                 "tokens\":%u},"
                 "\"output_tokens\":%u,\"output_tokens_details\":{\"reasoning_tokens\":%u},"
                 "\"total_tokens\":%u}",
                 u.n_prompt, u.n_cached, u.n_sampled, u.n_generated, u.n_reasoning,
                 u.n_prompt + u.n_generated);
}

/* The reason of an incomplete answer as JSON; "null" for a complete one. */
static const char *incomplete_details(const ds4_answer *a, const char *status)
{
    if (!status || strcmp(status, "incomplete") != 0) return "null";
    return ds4_answer_finish(&a->choice[0]) == DS4_FINISH_LOOP ? "{\"reason\":\"loop\"}"
                                                             : "{\"reason\":\"max_output_tokens\"}";
}

/* The response object up to its output items, and behind them. status NULL: in progress. */
static void add_head(const ds4_answer *a, const char *status, const ds4_problem *error, ds4_str *out)
{
    ds4_str_addf(out,
                 "{\"id\":\"%s\",\"object\":\"response\",\"created_at\":%ld,\"status\":\"%s\",",
                 a->id, a->created, status ? status : "in_progress");
    ds4_str_add_text(out, "\"error\":");
    if (error) {
        ds4_str_addf(out,
                     "{\"code\":\"%s\",\"message\":", error->code ? error->code : "server_error");
        ds4_add_json(out, (ds4_slice){ error->message, strlen(error->message) });
        ds4_str_add_char(out, '}');
    } else {
        ds4_str_add_text(out, "null");
    }
    ds4_str_addf(out, ",\"incomplete_details\":%s,\"model\":", incomplete_details(a, status));
    ds4_add_json(out, ds4_model_echo(a));
    ds4_str_add_text(out, ",\"output\":[");
}

static void add_rest(const ds4_answer *a, const char *status, const ds4_problem *error, ds4_str *out)
{
    ds4_str_add_text(out, "],\"usage\":");
    if (status && !error) {
        add_usage(a, out);
    } else {
        ds4_str_add_text(out, "null");
    }
    ds4_str_addf(out, ",\"store\":%s", a->request.store && !a->not_stored ? "true" : "false");
    ds4_str_add(out, a->request.echo_fields.data, a->request.echo_fields.n_bytes);
    ds4_str_add_char(out, '}');
}

static void add_response(const ds4_answer *a, const char *status, const ds4_problem *error,
                         ds4_str *out)
{
    add_head(a, status, error, out);
    if (status) ds4_str_add(out, a->choice[0].items.data, a->choice[0].items.n_bytes);
    add_rest(a, status, error, out);
}

static ds4_slice slice_of(const ds4_str *s)
{
    return (ds4_slice){ ds4_str_text(s), s->n_bytes };
}

/* A response that could not be stored is not said to be. */
static void keep_response(ds4_answer *a, const ds4_choice *c, const char *status)
{
    ds4_str head = { 0 }, rest = { 0 };

    add_head(a, status, NULL, &head);
    add_rest(a, status, NULL, &rest);
    const ds4_text_response r = { .id = { a->id, strlen(a->id) },
                                  .before = a->request.previous_id,
                                  .input = a->request.items,
                                  .output = slice_of(&c->items),
                                  .head = slice_of(&head),
                                  .rest = slice_of(&rest) };
    a->not_stored = head.failed || rest.failed || c->items.failed
                 || !ds4_texts_keep_response(a->server->texts, &a->scope.owner, &r);
    ds4_str_clear(&head);
    ds4_str_clear(&rest);
}

static void send_response(ds4_answer *a, const char *type, const char *status,
                          const ds4_problem *error)
{
    begin_event(a, type);
    ds4_str_add_text(&a->out, ",\"response\":");
    add_response(a, status, error, &a->out);
    end_event(a);
}

static void begin(ds4_answer *a)
{
    send_response(a, "response.created", NULL, NULL);
    send_response(a, "response.in_progress", NULL, NULL);
}

static void alive(ds4_answer *a)
{
    send_response(a, "response.in_progress", NULL, NULL);
}

/* ---- items ---------------------------------------------------------------------------------- */

static void send_item(ds4_answer *a, ds4_choice *c, const char *type, const char *item)
{
    begin_event(a, type);
    ds4_str_addf(&a->out, ",\"output_index\":%u,\"item\":%s", c->n_items - 1, item);
    end_event(a);
}

/* The begin of an event about the open item's part. */
static void begin_part_event(ds4_answer *a, ds4_choice *c, const char *type, const char *index)
{
    begin_event(a, type);
    ds4_str_addf(&a->out, ",\"item_id\":\"%s\",\"output_index\":%u", c->item_id, c->n_items - 1);
    if (index) ds4_str_addf(&a->out, ",\"%s\":0", index);
}

static void send_text_event(ds4_answer *a, ds4_choice *c, const char *type, const char *index,
                            const char *member, ds4_slice text)
{
    begin_part_event(a, c, type, index);
    ds4_str_addf(&a->out, ",\"%s\":", member);
    ds4_add_json(&a->out, text);
    if (index && index[0] == 'c' && c->open == DS4_OPEN_TEXT) {
        ds4_str_add_text(&a->out, ",\"logprobs\":[]");
    }
    end_event(a);
}

static void send_part_event(ds4_answer *a, ds4_choice *c, const char *type, const char *index,
                            const char *part)
{
    begin_part_event(a, c, type, index);
    ds4_str_addf(&a->out, ",\"part\":%s", part);
    end_event(a);
}

static ds4_slice open_text(const ds4_choice *c)
{
    return (ds4_slice){ ds4_str_text(&c->text), c->text.n_bytes };
}

/* An item is whole: it joins the output. */
static void finish_item(ds4_answer *a, ds4_choice *c, ds4_str *item)
{
    send_item(a, c, "response.output_item.done", ds4_str_text(item));
    if (c->items.n_bytes) ds4_str_add_char(&c->items, ',');
    ds4_str_add(&c->items, ds4_str_text(item), item->n_bytes);
    ds4_str_clear(item);
    ds4_str_truncate(&c->text, 0);
    c->open = DS4_OPEN_NOTHING;
}

/* An item's id holds that of its response, by which a reference to the item is found again. */
static void begin_item(ds4_choice *c, ds4_open_item what, const char *prefix)
{
    const char *hex = strchr(c->answer->id, '_') + 1;

    c->open = what;
    ds4_str_truncate(&c->text, 0);
    snprintf(c->item_id, sizeof c->item_id, "%s%.*s%04x", prefix, DS4_RESPONSE_HEX, hex, c->n_items++);
}

/* ---- reasoning ------------------------------------------------------------------------------ */

static void open_reasoning(ds4_answer *a, ds4_choice *c)
{
    char item[128];

    begin_item(c, DS4_OPEN_THINKING, "rs_");
    snprintf(item, sizeof item,
             "{\"id\":\"%s\",\"type\":\"reasoning\",\"status\":\"in_progress\","
             "\"summary\":[]}",
             c->item_id);
    send_item(a, c, "response.output_item.added", item);
    if (a->request.summary) {
        send_part_event(a, c, "response.reasoning_summary_part.added", "summary_index",
                        "{\"type\":\"summary_text\",\"text\":\"\"}");
    }
}

static void close_reasoning(ds4_answer *a, ds4_choice *c)
{
    const bool summary = a->request.summary;
    ds4_str    part = { 0 }, item = { 0 };

    ds4_str_addf(&part, "{\"type\":\"%s\",\"text\":", summary ? "summary_text" : "reasoning_text");
    ds4_add_json(&part, open_text(c));
    ds4_str_add_char(&part, '}');
    if (summary) {
        send_text_event(a, c, "response.reasoning_summary_text.done", "summary_index", "text",
                        open_text(c));
        send_part_event(a, c, "response.reasoning_summary_part.done", "summary_index",
                        ds4_str_text(&part));
    } else {
        send_text_event(a, c, "response.reasoning_text.done", "content_index", "text",
                        open_text(c));
    }
    ds4_str_addf(&item, "{\"id\":\"%s\",\"type\":\"reasoning\",\"status\":\"completed\",",
                 c->item_id);
    if (summary) {
        ds4_str_addf(&item, "\"summary\":[%s]}", ds4_str_text(&part));
    } else {
        ds4_str_addf(&item, "\"summary\":[],\"content\":[%s]}", ds4_str_text(&part));
    }
    ds4_str_clear(&part);
    finish_item(a, c, &item);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void open_message(ds4_answer *a, ds4_choice *c)
{
    char item[160];

    begin_item(c, DS4_OPEN_TEXT, "msg_");
    c->any_text = true;
    snprintf(item, sizeof item,
             "{\"id\":\"%s\",\"type\":\"message\",\"status\":\"in_progress\","
             "\"role\":\"assistant\",\"content\":[]}",
             c->item_id);
    send_item(a, c, "response.output_item.added", item);
    send_part_event(a, c, "response.content_part.added", "content_index",
                    "{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[],\"logprobs\":[]}");
}

static void close_message(ds4_answer *a, ds4_choice *c, const char *status)
{
    ds4_str part = { 0 }, item = { 0 };

    ds4_str_add_text(&part, "{\"type\":\"output_text\",\"text\":");
    ds4_add_json(&part, open_text(c));
    ds4_str_add_text(&part, ",\"annotations\":[],\"logprobs\":[]}");
    send_text_event(a, c, "response.output_text.done", "content_index", "text", open_text(c));
    send_part_event(a, c, "response.content_part.done", "content_index", ds4_str_text(&part));
    ds4_str_addf(&item,
                 "{\"id\":\"%s\",\"type\":\"message\",\"status\":\"%s\","
                 "\"role\":\"assistant\",\"content\":[%s]}",
                 c->item_id, status, ds4_str_text(&part));
    ds4_str_clear(&part);
    finish_item(a, c, &item);
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* The item of the call that is open; `arguments` as JSON or as free text. */
static void add_call_item(ds4_answer *a, ds4_choice *c, const char *status, ds4_slice arguments,
                          ds4_str *out)
{
    const ds4_written_call *call = &c->calls[c->n_calls - 1];
    const ds4_tool         *tool = ds4_answer_tool(a, call->name);
    const bool              custom = tool && tool->custom;
    const ds4_slice         name = tool && tool->own_name.n_bytes ? tool->own_name : call->name;

    ds4_str_addf(out,
                 "{\"id\":\"%s\",\"type\":\"%s\",\"status\":\"%s\",\"call_id\":\"%s\",\"name\":",
                 c->item_id, custom ? "custom_tool_call" : "function_call", status, call->id);
    ds4_add_json(out, name);
    if (tool && tool->space.n_bytes) {
        ds4_str_add_text(out, ",\"namespace\":");
        ds4_add_json(out, tool->space);
    }
    ds4_str_addf(out, ",\"%s\":", custom ? "input" : "arguments");
    ds4_add_json(out, arguments);
    ds4_str_add_char(out, '}');
}

static bool is_custom(const ds4_answer *a, const ds4_choice *c)
{
    const ds4_tool *tool = ds4_answer_tool(a, c->calls[c->n_calls - 1].name);
    return tool && tool->custom;
}

static void open_call(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    ds4_str item = { 0 };

    ds4_answer_call(a, c, e->i_call, e->text);
    begin_item(c, DS4_OPEN_CALL, is_custom(a, c) ? "ctc_" : "fc_");
    c->any_call = true;
    add_call_item(a, c, "in_progress", (ds4_slice){ "", 0 }, &item);
    send_item(a, c, "response.output_item.added", ds4_str_text(&item));
    ds4_str_clear(&item);
}

/* The call that is open is none. What a stream has begun cannot be taken back: its item stays
 * incomplete. A whole answer never had it. */
static void drop_call(ds4_answer *a, ds4_choice *c, uint32_t i_call)
{
    ds4_str item = { 0 };

    if (a->request.stream) {
        add_call_item(a, c, "incomplete", is_custom(a, c) ? (ds4_slice){ "", 0 } : open_text(c), &item);
        finish_item(a, c, &item);
    } else {
        c->open = DS4_OPEN_NOTHING;
        c->n_items--;
        c->any_call = c->n_calls > 1;
    }
    ds4_answer_drop_call(c, i_call);
}

static void close_call(ds4_answer *a, ds4_choice *c)
{
    ds4_str   item = { 0 };
    ds4_slice arguments = open_text(c);

    if (is_custom(a, c)) {
        arguments = ds4_answer_free_text(a, arguments);
        send_text_event(a, c, "response.custom_tool_call_input.delta", NULL, "delta", arguments);
        send_text_event(a, c, "response.custom_tool_call_input.done", NULL, "input", arguments);
    } else {
        begin_part_event(a, c, "response.function_call_arguments.done", NULL);
        ds4_str_add_text(&a->out, ",\"name\":");
        ds4_add_json(&a->out, c->calls[c->n_calls - 1].name);
        ds4_str_add_text(&a->out, ",\"arguments\":");
        ds4_add_json(&a->out, arguments);
        end_event(a);
    }
    add_call_item(a, c, "completed", arguments, &item);
    finish_item(a, c, &item);
}

/* ---- the writer ----------------------------------------------------------------------------- */

static void close_item(ds4_answer *a, ds4_choice *c, const char *status)
{
    switch (c->open) {
    case DS4_OPEN_THINKING: close_reasoning(a, c); break;
    case DS4_OPEN_TEXT: close_message(a, c, status); break;
    case DS4_OPEN_CALL: close_call(a, c); break;
    case DS4_OPEN_NOTHING: break;
    }
}

static void piece(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    if (e->kind != DS4_EVENT_PIECE) return;
    const bool summary = a->request.summary;
    switch (e->piece) {
    case DS4_PIECE_THINKING:
        if (c->open != DS4_OPEN_THINKING) {
            close_item(a, c, "completed");
            open_reasoning(a, c);
        }
        ds4_str_add(&c->text, e->text.data, e->text.n_bytes);
        send_text_event(a, c,
                        summary ? "response.reasoning_summary_text.delta"
                                : "response.reasoning_text.delta",
                        summary ? "summary_index" : "content_index", "delta", e->text);
        break;
    case DS4_PIECE_CONTENT:
        if (c->open != DS4_OPEN_TEXT) {
            close_item(a, c, "completed");
            open_message(a, c);
        }
        ds4_str_add(&c->text, e->text.data, e->text.n_bytes);
        send_text_event(a, c, "response.output_text.delta", "content_index", "delta", e->text);
        break;
    case DS4_PIECE_CALL:
        close_item(a, c, "completed");
        open_call(a, c, e);
        break;
    case DS4_PIECE_ARGUMENTS:
        ds4_str_add(&c->text, e->text.data, e->text.n_bytes);
        if (!is_custom(a, c)) {
            send_text_event(a, c, "response.function_call_arguments.delta", NULL, "delta", e->text);
        }
        break;
    case DS4_PIECE_CALL_DROPPED: drop_call(a, c, e->i_call); break;
    }
}

static bool is_cut(const ds4_choice *c)
{
    const ds4_finish f = ds4_answer_finish(c);
    return f == DS4_FINISH_LENGTH || f == DS4_FINISH_CONTEXT || f == DS4_FINISH_LOOP;
}

static void ended(ds4_answer *a, ds4_choice *c)
{
    close_item(a, c, is_cut(c) ? "incomplete" : "completed");
    if (!c->any_text && !c->any_call) {
        open_message(a, c);
        close_item(a, c, is_cut(c) ? "incomplete" : "completed");
    }
    if (a->request.store) keep_response(a, c, is_cut(c) ? "incomplete" : "completed");
}

static void finish(ds4_answer *a)
{
    const char *status = is_cut(&a->choice[0]) ? "incomplete" : "completed";
    char        type[32];

    snprintf(type, sizeof type, "response.%s", status);
    send_response(a, type, status, NULL);
}

static void broken(ds4_answer *a, const ds4_problem *p)
{
    send_response(a, "response.failed", "failed", p);
}

static void whole(ds4_answer *a)
{
    ds4_str_truncate(&a->out, 0);
    add_response(a, is_cut(&a->choice[0]) ? "incomplete" : "completed", NULL, &a->out);
}

const ds4_writer ds4_responses_writer = { .begin = begin,
                                          .piece = piece,
                                          .alive = alive,
                                          .ended = ended,
                                          .close = finish,
                                          .broken = broken,
                                          .whole = whole,
                                          .collects = true };
