/* messages_write.c - answers of /v1/messages. */
#include "app/server/answer.h"

/* The signature of a thinking block: opaque to clients, which hand it back. */
static void add_signature(const ds4_answer *a, ds4_str *out)
{
    ds4_str_addf(out, "\"signature\":\"ds4-%s\"", a->id);
}

/* `n_output` apart, since a stream says it before it is known. */
static void add_usage(const ds4_usage u, uint32_t n_output, ds4_str *out)
{
    ds4_str_addf(out,
                 "{\"input_tokens\":%u,\"cache_creation_input_tokens\":0,"
                 "\"cache_read_input_tokens\":%u,\"sampled_input_tokens\":%u,\"output_tokens\":%u}",
                 u.n_prompt - u.n_cached, u.n_cached, u.n_sampled, n_output);
}

static const char *stop_reason(const ds4_choice *c)
{
    switch (ds4_answer_finish(c)) {
    case DS4_FINISH_CALLS: return "tool_use";
    case DS4_FINISH_STOP: return "stop_sequence";
    case DS4_FINISH_LENGTH:
    case DS4_FINISH_LOOP: return "max_tokens";
    case DS4_FINISH_CONTEXT: return "model_context_window_exceeded";
    case DS4_FINISH_END:
    case DS4_FINISH_CANCELLED:
    case DS4_FINISH_NONE: break;
    }
    return "end_turn";
}

static void add_stop(const ds4_choice *c, ds4_str *out)
{
    ds4_str_addf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", stop_reason(c));
    if (ds4_answer_finish(c) == DS4_FINISH_STOP) {
        ds4_add_json(out, ds4_job_result(c->job)->stop);
    } else {
        ds4_str_add_text(out, "null");
    }
    if (ds4_answer_finish(c) == DS4_FINISH_LOOP) {
        ds4_str_add_text(out, ",\"stop_details\":{\"type\":\"loop\"}");
    }
}

/* ---- streamed ------------------------------------------------------------------------------- */

static void alive(ds4_answer *a)
{
    ds4_str_add_text(&a->out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

static void started(ds4_answer *a, ds4_choice *c)
{
    const ds4_usage u = { .n_prompt = c->n_prompt, .n_cached = c->n_cached, .n_sampled = a->n_sampled };
    ds4_str        *out = &a->out;

    ds4_str_addf(out,
                 "event: message_start\ndata: {\"type\":\"message_start\",\"message\":"
                 "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":",
                 a->id);
    ds4_add_json(out, ds4_model_echo(a));
    ds4_str_add_text(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    add_usage(u, 1, out);
    ds4_str_add_text(out, "}}\n\n");
    alive(a);
}

static void close_block(ds4_answer *a, ds4_choice *c)
{
    ds4_str *out = &a->out;

    if (c->open == DS4_OPEN_NOTHING) return;
    const uint32_t index = c->n_items - 1;
    if (c->open == DS4_OPEN_THINKING) {
        ds4_str_addf(out,
                     "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                     "\"index\":%u,\"delta\":{\"type\":\"signature_delta\",",
                     index);
        add_signature(a, out);
        ds4_str_add_text(out, "}}\n\n");
    }
    ds4_str_addf(out,
                 "event: content_block_stop\ndata: {\"type\":\"content_block_stop\","
                 "\"index\":%u}\n\n",
                 index);
    c->open = DS4_OPEN_NOTHING;
}

/* Begin a block; the caller adds the rest of content_block and closes the event. */
static void open_block(ds4_answer *a, ds4_choice *c, ds4_open_item what)
{
    close_block(a, c);
    c->open = what;
    ds4_str_addf(&a->out,
                 "event: content_block_start\ndata: {\"type\":\"content_block_start\","
                 "\"index\":%u,\"content_block\":",
                 c->n_items++);
}

static void open_text(ds4_answer *a, ds4_choice *c)
{
    open_block(a, c, DS4_OPEN_TEXT);
    ds4_str_add_text(&a->out, "{\"type\":\"text\",\"text\":\"\"}}\n\n");
    c->any_text = true;
}

static void send_delta(ds4_answer *a, ds4_choice *c, const char *type, const char *member,
                       ds4_slice text)
{
    ds4_str_addf(&a->out,
                 "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
                 "\"index\":%u,\"delta\":{\"type\":\"%s\",\"%s\":",
                 c->n_items - 1, type, member);
    ds4_add_json(&a->out, text);
    ds4_str_add_text(&a->out, "}}\n\n");
}

static void piece(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    if (e->kind != DS4_EVENT_PIECE) return;
    switch (e->piece) {
    case DS4_PIECE_THINKING:
        if (c->open != DS4_OPEN_THINKING) {
            open_block(a, c, DS4_OPEN_THINKING);
            ds4_str_add_text(&a->out,
                             "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n");
        }
        send_delta(a, c, "thinking_delta", "thinking", e->text);
        break;
    case DS4_PIECE_CONTENT:
        if (c->open != DS4_OPEN_TEXT) open_text(a, c);
        send_delta(a, c, "text_delta", "text", e->text);
        break;
    case DS4_PIECE_CALL:
        open_block(a, c, DS4_OPEN_CALL);
        ds4_str_addf(&a->out, "{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":",
                     ds4_answer_call(a, c, e->i_call, e->text)->id);
        ds4_add_json(&a->out, e->text);
        ds4_str_add_text(&a->out, ",\"input\":{}}}\n\n");
        c->any_call = true;
        break;
    case DS4_PIECE_ARGUMENTS: send_delta(a, c, "input_json_delta", "partial_json", e->text); break;
    case DS4_PIECE_CALL_DROPPED:
        close_block(a, c);
        ds4_answer_drop_call(c, e->i_call);
        break;
    }
}

static void ended(ds4_answer *a, ds4_choice *c)
{
    const ds4_usage u = ds4_answer_usage(a);
    ds4_str        *out = &a->out;

    /* An answer of reasoning alone would be taken for the end of the conversation. */
    if (!c->any_text && !c->any_call) open_text(a, c);
    close_block(a, c);
    ds4_str_add_text(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    add_stop(c, out);
    ds4_str_add_text(out, "},\"usage\":");
    add_usage(u, u.n_generated, out);
    ds4_str_add_text(out, "}\n\n");
}

static void finish(ds4_answer *a)
{
    ds4_str_add_text(&a->out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void broken(ds4_answer *a, const ds4_problem *p)
{
    ds4_str_add_text(&a->out, "event: error\ndata: ");
    ds4_problem_json(DS4_API_MESSAGES, p, &a->out);
    ds4_str_add_text(&a->out, "\n\n");
}

/* ---- whole ---------------------------------------------------------------------------------- */

static void add_content(ds4_answer *a, ds4_choice *c, ds4_str *out)
{
    const ds4_reply_result *r = ds4_job_result(c->job);
    const char             *comma = "";

    if (r->reasoning.n_bytes && !a->request.hide_reasoning) {
        ds4_str_add_text(out, "{\"type\":\"thinking\",\"thinking\":");
        ds4_add_json(out, r->reasoning);
        ds4_str_add_char(out, ',');
        add_signature(a, out);
        ds4_str_add_char(out, '}');
        comma = ",";
    }
    if (r->content.n_bytes || r->n_calls == 0) {
        ds4_str_addf(out, "%s{\"type\":\"text\",\"text\":", comma);
        ds4_add_json(out, r->content);
        ds4_str_add_char(out, '}');
        comma = ",";
    }
    for (uint32_t i = 0; i < r->n_calls; i++) {
        ds4_str_addf(out, "%s{\"type\":\"tool_use\",\"id\":\"%s\",\"name\":", comma,
                     ds4_answer_call(a, c, i, r->calls[i].name)->id);
        ds4_add_json(out, r->calls[i].name);
        ds4_str_add_text(out, ",\"input\":");
        ds4_str_add(out, r->calls[i].arguments.data, r->calls[i].arguments.n_bytes);
        ds4_str_add_char(out, '}');
        comma = ",";
    }
}

static void whole(ds4_answer *a)
{
    ds4_choice     *c = &a->choice[0];
    const ds4_usage u = ds4_answer_usage(a);
    ds4_str        *out = &a->out;

    ds4_str_addf(out,
                 "{\"id\":\"%s\",\"type\":\"message\",\"role\":\"assistant\",\"model\":", a->id);
    ds4_add_json(out, ds4_model_echo(a));
    ds4_str_add_text(out, ",\"content\":[");
    add_content(a, c, out);
    ds4_str_add_text(out, "],");
    add_stop(c, out);
    ds4_str_add_text(out, ",\"usage\":");
    add_usage(u, u.n_generated, out);
    ds4_str_add_char(out, '}');
}

const ds4_writer ds4_messages_writer = { .started = started,
                                         .piece = piece,
                                         .alive = alive,
                                         .ended = ended,
                                         .close = finish,
                                         .broken = broken,
                                         .whole = whole };
