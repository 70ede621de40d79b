/* chat_write.c - answers of /v1/chat/completions and /v1/completions. */
#include "app/server/answer.h"

#include "text/utf8.h"

#include <string.h>

static void add_usage(const ds4_answer *a, ds4_str *out)
{
    const ds4_usage u = ds4_answer_usage(a);

    ds4_str_addf(out,
                 "{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
                 "\"prompt_tokens_details\":{\"cached_tokens\":%u,\"sampled_tokens\":%u},"
                 "\"completion_tokens_details\":{\"reasoning_tokens\":%u},"
                 "\"prompt_cache_hit_tokens\":%u,\"prompt_cache_miss_tokens\":%u}",
                 u.n_prompt, u.n_generated, u.n_prompt + u.n_generated, u.n_cached, u.n_sampled,
                 u.n_reasoning, u.n_cached, u.n_prompt - u.n_cached);
}

static void add_envelope(const ds4_answer *a, const char *object, ds4_str *out)
{
    ds4_str_addf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%ld,\"model\":", a->id, object,
                 a->created);
    ds4_add_json(out, ds4_model_echo(a));
    ds4_str_addf(out, ",\"system_fingerprint\":\"ds4-%s\"", DS4_VERSION);
}

static const char *finish_of(const ds4_choice *c)
{
    const ds4_finish finish = ds4_answer_finish(c);
    if (finish == DS4_FINISH_CALLS && c->answer->request.functions) return "function_call";
    return finish == DS4_FINISH_CANCELLED ? "stop" : ds4_finish_name(finish);
}

/* The end of a choice. "stop_reason" stands beside the API's own word, as vLLM has it: the stop
 * string, or "loop" for an answer that was ended because it repeated itself. */
static void add_finish(const ds4_choice *c, ds4_str *out)
{
    const ds4_reply_result *r = ds4_job_result(c->job);

    ds4_str_addf(out, ",\"finish_reason\":\"%s\",\"stop_reason\":", finish_of(c));
    if (r->finish == DS4_FINISH_STOP) {
        ds4_add_json(out, r->stop);
    } else {
        ds4_str_add_text(out, r->finish == DS4_FINISH_LOOP ? "\"loop\"" : "null");
    }
}

/* ---- logprobs ------------------------------------------------------------------------------- */

static void add_token_text(const ds4_answer *a, int32_t id, ds4_str *out)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(a->server->vocab, id);
    ds4_str         text = { 0 };

    ds4_utf8_repair(bytes.data, bytes.n_bytes, &text);
    ds4_add_json(out, (ds4_slice){ ds4_str_text(&text), text.n_bytes });
    ds4_str_clear(&text);
}

static void add_token_prob(const ds4_answer *a, ds4_token_prob t, ds4_str *out)
{
    const ds4_slice bytes = ds4_vocab_token_bytes(a->server->vocab, t.id);

    ds4_str_add_text(out, "{\"token\":");
    add_token_text(a, t.id, out);
    ds4_str_addf(out, ",\"logprob\":%.6f,\"bytes\":[", (double)t.logprob);
    for (size_t i = 0; i < bytes.n_bytes; i++) {
        ds4_str_addf(out, "%s%u", i ? "," : "", (unsigned char)bytes.data[i]);
    }
    ds4_str_add_text(out, "]");
}

static void add_token(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    ds4_str *out = &c->logprobs;

    if (out->n_bytes) ds4_str_add_char(out, ',');
    add_token_prob(a, e->token, out);
    ds4_str_add_text(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < e->n_top; i++) {
        if (i) ds4_str_add_char(out, ',');
        add_token_prob(a, e->top[i], out);
        ds4_str_add_char(out, '}');
    }
    ds4_str_add_text(out, "]}");
}

static void add_logprobs(const ds4_answer *a, const ds4_str *entries, ds4_str *out)
{
    if (!a->request.logprobs) {
        ds4_str_add_text(out, ",\"logprobs\":null");
        return;
    }
    ds4_str_addf(out, ",\"logprobs\":{\"content\":[%s],\"refusal\":null}", ds4_str_text(entries));
}

/* The rest of a chunk behind its choice's text. */
static void end_chunk(ds4_answer *a, const ds4_choice *c, bool last)
{
    if (last) {
        add_finish(c, &a->out);
    } else {
        ds4_str_add_text(&a->out, ",\"finish_reason\":null");
    }
    ds4_str_addf(&a->out, "}]%s}\n\n", a->request.include_usage ? ",\"usage\":null" : "");
}

/* ---- chat, streamed ------------------------------------------------------------------------- */

/* One event; `delta` is the text of an object. */
static void send_chunk(ds4_answer *a, ds4_choice *c, const char *delta, bool last)
{
    ds4_str *out = &a->out;

    ds4_str_add_text(out, "data: ");
    add_envelope(a, "chat.completion.chunk", out);
    ds4_str_addf(out, ",\"choices\":[{\"index\":%u,\"delta\":%s", c->index, delta);
    add_logprobs(a, &c->logprobs, out);
    ds4_str_truncate(&c->logprobs, 0);
    end_chunk(a, c, last);
}

static void chat_begin(ds4_answer *a)
{
    for (uint32_t i = 0; i < a->n_choices; i++) {
        send_chunk(a, &a->choice[i], "{\"role\":\"assistant\",\"content\":\"\"}", false);
    }
}

static bool is_custom(const ds4_answer *a, ds4_slice name)
{
    const ds4_tool *tool = ds4_answer_tool(a, name);
    return tool && tool->custom;
}

/* A call as an element of "tool_calls", or what stands in "function_call"; without the braces. */
static void add_call(ds4_answer *a, const ds4_written_call *call, ds4_slice arguments, ds4_str *out)
{
    const bool custom = is_custom(a, call->name);

    if (!a->request.functions) {
        ds4_str_addf(out, "\"id\":\"%s\",\"type\":\"%s\",\"%s\":{", call->id, custom ? "custom" : "function",
                     custom ? "custom" : "function");
    }
    ds4_str_add_text(out, "\"name\":");
    ds4_add_json(out, call->name);
    ds4_str_addf(out, ",\"%s\":", custom ? "input" : "arguments");
    ds4_add_json(out, custom && arguments.n_bytes ? ds4_answer_free_text(a, arguments) : arguments);
    if (!a->request.functions) ds4_str_add_char(out, '}');
}

/* The call begins, or, of a tool that takes free text, is there as a whole. */
static void send_call(ds4_answer *a, ds4_choice *c, const ds4_written_call *call, ds4_slice arguments)
{
    ds4_str delta = { 0 };

    if (a->request.functions) {
        ds4_str_add_text(&delta, "{\"function_call\":{");
        add_call(a, call, arguments, &delta);
        ds4_str_add_text(&delta, "}}");
    } else {
        ds4_str_addf(&delta, "{\"tool_calls\":[{\"index\":%u,", call->index);
        add_call(a, call, arguments, &delta);
        ds4_str_add_text(&delta, "}]}");
    }
    send_chunk(a, c, ds4_str_text(&delta), false);
    ds4_str_clear(&delta);
}

/* Free text stands inside JSON while it arrives: such a call goes out when it is whole. */
static void close_custom(ds4_answer *a, ds4_choice *c)
{
    if (c->open != DS4_OPEN_CALL) return;
    c->open = DS4_OPEN_NOTHING;
    send_call(a, c, &c->calls[c->n_calls - 1], (ds4_slice){ ds4_str_text(&c->text), c->text.n_bytes });
    ds4_str_truncate(&c->text, 0);
}

static void chat_call(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    const ds4_written_call *call = ds4_answer_call(a, c, e->i_call, e->text);
    ds4_str                 delta = { 0 };

    if (e->piece == DS4_PIECE_CALL) {
        close_custom(a, c);
        if (is_custom(a, call->name)) {
            c->open = DS4_OPEN_CALL;
        } else {
            send_call(a, c, call, (ds4_slice){ "", 0 });
        }
        return;
    }
    if (c->open == DS4_OPEN_CALL) {
        ds4_str_add(&c->text, e->text.data, e->text.n_bytes);
        return;
    }
    if (a->request.functions) {
        ds4_str_add_text(&delta, "{\"function_call\":{\"arguments\":");
        ds4_add_json(&delta, e->text);
        ds4_str_add_text(&delta, "}}");
    } else {
        ds4_str_addf(&delta, "{\"tool_calls\":[{\"index\":%u,\"function\":{\"arguments\":", call->index);
        ds4_add_json(&delta, e->text);
        ds4_str_add_text(&delta, "}}]}");
    }
    send_chunk(a, c, ds4_str_text(&delta), false);
    ds4_str_clear(&delta);
}

static void chat_text(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    ds4_str delta = { 0 };

    close_custom(a, c);
    ds4_str_addf(&delta, "{\"%s\":", e->piece == DS4_PIECE_CONTENT ? "content" : "reasoning_content");
    ds4_add_json(&delta, e->text);
    ds4_str_add_char(&delta, '}');
    send_chunk(a, c, ds4_str_text(&delta), false);
    ds4_str_clear(&delta);
}

static void chat_piece(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    if (e->kind == DS4_EVENT_TOKEN) {
        add_token(a, c, e);
        return;
    }
    switch (e->piece) {
    case DS4_PIECE_THINKING:
    case DS4_PIECE_CONTENT: chat_text(a, c, e); break;
    case DS4_PIECE_CALL:
    case DS4_PIECE_ARGUMENTS: chat_call(a, c, e); break;
    case DS4_PIECE_CALL_DROPPED:
        c->open = DS4_OPEN_NOTHING;
        ds4_str_truncate(&c->text, 0);
        ds4_answer_drop_call(c, e->i_call);
        break;
    }
}

static void send_comment(ds4_answer *a)
{
    const ds4_job *job = a->choice[0].job;
    const uint32_t place = job ? ds4_job_place(job) : 0;

    if (place > 0) {
        ds4_str_addf(&a->out, ": place %u in the line\n\n", place);
    } else {
        ds4_str_add_text(&a->out, ": keep-alive\n\n");
    }
}

static void chat_ended(ds4_answer *a, ds4_choice *c)
{
    close_custom(a, c);
    send_chunk(a, c, "{}", true);
}

static void chat_close(ds4_answer *a)
{
    if (a->request.include_usage) {
        ds4_str_add_text(&a->out, "data: ");
        add_envelope(a, "chat.completion.chunk", &a->out);
        ds4_str_add_text(&a->out, ",\"choices\":[],\"usage\":");
        add_usage(a, &a->out);
        ds4_str_add_text(&a->out, "}\n\n");
    }
    ds4_str_add_text(&a->out, "data: [DONE]\n\n");
}

static void broken(ds4_answer *a, const ds4_problem *p)
{
    ds4_str_add_text(&a->out, "data: ");
    ds4_problem_json(DS4_API_CHAT, p, &a->out);
    ds4_str_add_text(&a->out, "\n\ndata: [DONE]\n\n");
}

/* ---- chat, whole ---------------------------------------------------------------------------- */

static void add_message(ds4_answer *a, ds4_choice *c, ds4_str *out)
{
    const ds4_reply_result *r = ds4_job_result(c->job);

    ds4_str_add_text(out, "{\"role\":\"assistant\",\"content\":");
    if (r->content.n_bytes == 0 && r->n_calls > 0) {
        ds4_str_add_text(out, "null");
    } else {
        ds4_add_json(out, r->content);
    }
    if (r->reasoning.n_bytes && !a->request.hide_reasoning) {
        ds4_str_add_text(out, ",\"reasoning_content\":");
        ds4_add_json(out, r->reasoning);
    }
    const char *const first = a->request.functions ? ",\"function_call\":{" : ",\"tool_calls\":[{";
    for (uint32_t i = 0; i < r->n_calls; i++) {
        ds4_str_add_text(out, i ? ",{" : first);
        add_call(a, ds4_answer_call(a, c, i, r->calls[i].name), r->calls[i].arguments, out);
        ds4_str_add_char(out, '}');
        if (a->request.functions) break;
    }
    if (r->n_calls && !a->request.functions) ds4_str_add_char(out, ']');
    ds4_str_add_text(out, ",\"refusal\":null}");
}

static void chat_whole(ds4_answer *a)
{
    ds4_str *out = &a->out;

    add_envelope(a, "chat.completion", out);
    ds4_str_add_text(out, ",\"choices\":[");
    for (uint32_t i = 0; i < a->n_choices; i++) {
        ds4_choice *c = &a->choice[i];
        ds4_str_addf(out, "%s{\"index\":%u,\"message\":", i ? "," : "", c->index);
        add_message(a, c, out);
        add_logprobs(a, &c->logprobs, out);
        add_finish(c, out);
        ds4_str_add_char(out, '}');
    }
    ds4_str_add_text(out, "],\"usage\":");
    add_usage(a, out);
    ds4_str_add_char(out, '}');
}

const ds4_writer ds4_chat_writer = { .begin = chat_begin,
                                     .piece = chat_piece,
                                     .alive = send_comment,
                                     .ended = chat_ended,
                                     .close = chat_close,
                                     .broken = broken,
                                     .whole = chat_whole };

/* ---- completions ---------------------------------------------------------------------------- */

/* Characters of a token that is part of a text: its bytes may begin or end inside one. */
static uint32_t n_characters(ds4_slice bytes)
{
    uint32_t n = 0;

    for (size_t i = 0; i < bytes.n_bytes; i++) n += ((unsigned char)bytes.data[i] & 0xc0) != 0x80;
    return n;
}

/* The older form of likelihoods: parallel lists, offsets in characters of the whole text. Nothing is
 * before the first token of a prompt, so it has no likelihood. */
static void old_token(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    ds4_str   *out = &c->logprobs;
    const bool first = e->kind == DS4_EVENT_PROMPT_TOKEN && c->text_offset == 0;

    if (out->n_bytes) ds4_str_add_char(out, '\n');
    add_token_text(a, e->token.id, out);
    if (first) {
        ds4_str_add_text(out, "\tnull\tnull");
    } else {
        ds4_str_addf(out, "\t%.6f\t{", (double)e->token.logprob);
        for (uint32_t i = 0; i < e->n_top; i++) {
            if (i) ds4_str_add_char(out, ',');
            add_token_text(a, e->top[i].id, out);
            ds4_str_addf(out, ":%.6f", (double)e->top[i].logprob);
        }
        ds4_str_add_char(out, '}');
    }
    ds4_str_addf(out, "\t%u", c->text_offset);
    c->text_offset += n_characters(ds4_vocab_token_bytes(a->server->vocab, e->token.id));
}

/* Turn the noted lines into lists. JSON strings hold no bare tab or newline. */
static void add_old_logprobs(const ds4_answer *a, ds4_str *noted, ds4_str *out)
{
    static const char *const names[] = { "tokens", "token_logprobs", "top_logprobs", "text_offset" };

    if (!a->request.logprobs) {
        ds4_str_add_text(out, ",\"logprobs\":null");
        return;
    }
    for (int column = 0; column < 4; column++) {
        ds4_str_addf(out, "%s\"%s\":[", column ? "]," : ",\"logprobs\":{", names[column]);
        const char *line = ds4_str_text(noted);
        for (bool first = true; *line; first = false) {
            const char  *cell = line;
            const size_t n_line = strcspn(line, "\n");
            for (int i = 0; i < column; i++) cell += strcspn(cell, "\t") + 1;
            if (!first) ds4_str_add_char(out, ',');
            ds4_str_add(out, cell, strcspn(cell, "\t\n"));
            line += n_line + (line[n_line] == '\n');
        }
    }
    ds4_str_add_text(out, "]}");
    ds4_str_truncate(noted, 0);
}

static void send_text(ds4_answer *a, ds4_choice *c, ds4_slice text, bool last)
{
    ds4_str *out = &a->out;

    ds4_str_add_text(out, "data: ");
    add_envelope(a, "text_completion", out);
    ds4_str_add_text(out, ",\"choices\":[{\"text\":");
    ds4_add_json(out, text);
    ds4_str_addf(out, ",\"index\":%u", c->index);
    add_old_logprobs(a, &c->logprobs, out);
    end_chunk(a, c, last);
}

/* The prompt goes first, when its likelihoods are known. */
static void send_prompt(ds4_answer *a, ds4_choice *c)
{
    if (!a->request.echo || c->echoed) return;
    c->echoed = true;
    send_text(a, c, a->request.prompt, false);
}

static void text_piece(ds4_answer *a, ds4_choice *c, const ds4_event *e)
{
    if (e->kind != DS4_EVENT_PIECE) {
        old_token(a, c, e);
    } else if (e->piece == DS4_PIECE_CONTENT) {
        send_prompt(a, c);
        send_text(a, c, e->text, false);
    }
}

static void text_ended(ds4_answer *a, ds4_choice *c)
{
    send_prompt(a, c);
    send_text(a, c, (ds4_slice){ "", 0 }, true);
}

static void text_close(ds4_answer *a)
{
    if (a->request.include_usage) {
        ds4_str_add_text(&a->out, "data: ");
        add_envelope(a, "text_completion", &a->out);
        ds4_str_add_text(&a->out, ",\"choices\":[],\"usage\":");
        add_usage(a, &a->out);
        ds4_str_add_text(&a->out, "}\n\n");
    }
    ds4_str_add_text(&a->out, "data: [DONE]\n\n");
}

static void text_whole(ds4_answer *a)
{
    ds4_str *out = &a->out;

    add_envelope(a, "text_completion", out);
    ds4_str_add_text(out, ",\"choices\":[");
    for (uint32_t i = 0; i < a->n_choices; i++) {
        ds4_choice     *c = &a->choice[i];
        ds4_str         text = { 0 };
        const ds4_slice said = ds4_job_result(c->job)->content;
        if (a->request.echo) ds4_str_add(&text, a->request.prompt.data, a->request.prompt.n_bytes);
        ds4_str_add(&text, said.data, said.n_bytes);
        ds4_str_addf(out, "%s{\"text\":", i ? "," : "");
        ds4_add_json(out, (ds4_slice){ ds4_str_text(&text), text.n_bytes });
        ds4_str_clear(&text);
        ds4_str_addf(out, ",\"index\":%u", c->index);
        add_old_logprobs(a, &c->logprobs, out);
        add_finish(c, out);
        ds4_str_add_char(out, '}');
    }
    ds4_str_add_text(out, "],\"usage\":");
    add_usage(a, out);
    ds4_str_add_char(out, '}');
}

const ds4_writer ds4_completions_writer = { .piece = text_piece,
                                            .alive = send_comment,
                                            .ended = text_ended,
                                            .close = text_close,
                                            .broken = broken,
                                            .whole = text_whole };
