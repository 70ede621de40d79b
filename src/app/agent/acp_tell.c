/* acp_tell.c - events of the agent as updates of a session. */
#include "app/agent/acp_local.h"

#include "app/agent/ui_view.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OUTPUT = 16384, MAX_SHOWN = 65536 };
#define TELL_NS UINT64_C(250000000)             /* output of a command is told this often */

/* ---- writing ---------------------------------------------------------------------------------------- */

void acp_send(acp *a, ds4_str *message)
{
    const char *data = ds4_str_text(message);
    size_t      n = message->failed ? 0 : message->n_bytes;

    pthread_mutex_lock(&a->out_lock);
    while (n > 0) {
        const ssize_t w = write(a->host->out, data, n);
        if (w < 0 && errno == EINTR) continue;
        if (w <= 0) break;              /* the editor is gone; the reader sees it too */
        data += w;
        n -= (size_t)w;
    }
    pthread_mutex_unlock(&a->out_lock);
    ds4_str_clear(message);
}

void acp_update(acp *a, json_t *update)
{
    ds4_str message = { 0 };

    ds4_rpc_add_notification(
        &message, "session/update",
        json_pack("{s:s,s:o}", "sessionId", a->current ? a->current : "", "update", update));
    acp_send(a, &message);
}

static json_t *text_block(ds4_slice text)
{
    return json_pack("{s:s,s:o}", "type", "text", "text", ds4_rpc_string(text));
}

static json_t *as_content(ds4_slice text)
{
    return json_pack("{s:s,s:o}", "type", "content", "content", text_block(text));
}

static void chunk(acp *a, const char *kind, ds4_slice text)
{
    acp_update(a, json_pack("{s:s,s:o}", "sessionUpdate", kind, "content", text_block(text)));
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static const char *kind_of(ds4_slice name)
{
    static const struct { const char *name, *kind;
    } kinds[] = {
        { "read", "read" },     { "more", "read" },           { "list", "read" },
        { "search", "search" }, { "write", "edit" },          { "edit", "edit" },
        { "bash", "execute" },  { "bash_status", "execute" }, { "bash_stop", "execute" },
        { "git_diff", "read" }, { "git_commit", "execute" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (ds4_slice_eq(name, (ds4_slice){ kinds[i].name, strlen(kinds[i].name) })) return kinds[i].kind;
    }
    return "other";
}

static json_t *string_of(ds4_slice text)
{
    return ds4_rpc_string(text);
}

static json_t *title_of(const ds4_tool_call *call)
{
    ds4_str title = { 0 };

    ui_call_title(call->name, call->arguments, &title);
    json_t *text = string_of((ds4_slice){ ds4_str_text(&title), title.n_bytes });
    ds4_str_clear(&title);
    return text;
}

static void clear_call(acp *a)
{
    json_decref(a->diffs);
    a->diffs = NULL;
    ds4_str_truncate(&a->output, 0);
}

static void begin_call(acp *a, const ds4_tool_call *call)
{
    clear_call(a);
    acp_update(a, json_pack("{s:s,s:o,s:o,s:s,s:s}", "sessionUpdate", "tool_call", "toolCallId",
                            string_of(call->id), "title", string_of(call->name), "kind", kind_of(call->name),
                            "status", "pending"));
}

/* The file that a call works on, for editors that follow. */
static json_t *locations(const json_t *arguments)
{
    const ds4_slice path = ds4_rpc_slice(arguments, "path");
    return path.n_bytes ? json_pack("[{s:o}]", "path", string_of(path)) : json_array();
}

static void run_call(acp *a, const ds4_tool_call *call)
{
    json_t *arguments = NULL;

    if (ds4_rpc_parse(call->arguments, &arguments, NULL) != DS4_OK) arguments = NULL;
    acp_update(a, json_pack("{s:s,s:o,s:o,s:s,s:o,s:o*}", "sessionUpdate", "tool_call_update", "toolCallId",
                            string_of(call->id), "title", title_of(call), "status", "in_progress",
                            "locations", locations(arguments), "rawInput", arguments));
}

static void end_call(acp *a, const ds4_tool_call *call, const ds4_tool_result *result)
{
    json_t   *content = a->diffs ? a->diffs : json_array();
    ds4_slice text =
        result ? (ds4_slice){ ds4_str_text(&result->text), result->text.n_bytes } : (ds4_slice){ "", 0 };

    a->diffs = NULL;
    if (text.n_bytes > MAX_SHOWN) text.n_bytes = ds4_utf8_safe_bytes(text.data, MAX_SHOWN);
    json_array_append_new(content, as_content(text));
    acp_update(a, json_pack("{s:s,s:o,s:s,s:o}", "sessionUpdate", "tool_call_update", "toolCallId",
                            string_of(call->id), "status", result && !result->failed ? "completed" : "failed",
                            "content", content));
    clear_call(a);
}

static void drop_call(acp *a, const ds4_tool_call *call)
{
    const ds4_tool_result none = { .failed = true };

    end_call(a, call, &none);
}

static void add_change(acp *a, const ds4_tool_change *change)
{
    const ds4_slice before = { ds4_str_text(&change->before), change->before.n_bytes };
    const ds4_slice after = { ds4_str_text(&change->after), change->after.n_bytes };
    json_t *old = change->made ? json_null() : string_of(before);

    if (!a->diffs) a->diffs = json_array();
    ds4_str path = { 0 };
    for (size_t i = 0; i < a->n_sessions; i++) {
        if (a->current && strcmp(a->sessions[i].id, a->current) == 0)
            ds4_str_addf(&path, "%s/", a->sessions[i].cwd);
    }
    ds4_str_add_text(&path, change->path);
    json_array_append_new(a->diffs, json_pack("{s:s,s:o,s:o,s:o}", "type", "diff", "path",
                                              string_of((ds4_slice){ ds4_str_text(&path), path.n_bytes }),
                                              "oldText", old, "newText", string_of(after)));
    ds4_str_clear(&path);
}

/* Content replaces what was told before: the end of the output, now and then. */
static void add_output(acp *a, const ds4_tool_call *call, ds4_slice bytes)
{
    const uint64_t now = ds4_now_ns();

    ds4_str_add(&a->output, bytes.data, bytes.n_bytes);
    if (a->output.n_bytes > 2 * MAX_OUTPUT) {
        memmove(a->output.data, a->output.data + a->output.n_bytes - MAX_OUTPUT, MAX_OUTPUT);
        ds4_str_truncate(&a->output, MAX_OUTPUT);
    }
    if (now - a->told_ns < TELL_NS) return;
    a->told_ns = now;
    ds4_str clean = { 0 };
    ui_scrub_text((ds4_slice){ ds4_str_text(&a->output), a->output.n_bytes }, false, &clean);
    acp_update(a, json_pack("{s:s,s:o,s:[o]}", "sessionUpdate", "tool_call_update", "toolCallId",
                            string_of(call->id), "content",
                            as_content((ds4_slice){ ds4_str_text(&clean), clean.n_bytes })));
    ds4_str_clear(&clean);
}

static void call_event(acp *a, const ds4_front_event *e)
{
    switch (e->kind) {
    case DS4_FRONT_CALL_BEGIN: begin_call(a, e->call); break;
    case DS4_FRONT_CALL_RUN: run_call(a, e->call); break;
    case DS4_FRONT_CALL_DROPPED: drop_call(a, e->call); break;
    case DS4_FRONT_TOOL_OUTPUT: add_output(a, e->call, e->text); break;
    case DS4_FRONT_CHANGE: add_change(a, e->change); break;
    case DS4_FRONT_CALL_END: end_call(a, e->call, e->result); break;
    default: break;
    }
}

/* ---- events -------------------------------------------------------------------------------------------- */

static void tell_usage(acp *a, const ds4_agent_status *s)
{
    if (s->state != DS4_AGENT_IDLE || s->n_used == a->n_used || s->n_ctx == 0) return;
    a->n_used = s->n_used;
    acp_update(a, json_pack("{s:s,s:I,s:I}", "sessionUpdate", "usage_update", "used", (json_int_t)s->n_used,
                            "size", (json_int_t)s->n_ctx));
}

void acp_tell(acp *a, const ds4_front_event *e)
{
    if (e->replayed && e->ticket == 0) return;          /* the editor has it, or asks for it */
    switch (e->kind) {
    case DS4_FRONT_USER:
        if (e->replayed) chunk(a, "user_message_chunk", e->text);
        break;
    case DS4_FRONT_REASONING: chunk(a, "agent_thought_chunk", e->text); break;
    case DS4_FRONT_ANSWER: chunk(a, "agent_message_chunk", e->text); break;
    case DS4_FRONT_NOTE: {
        ds4_str line = { 0 };
        ds4_str_add(&line, e->text.data, e->text.n_bytes);
        ds4_str_add_text(&line, "  \n");                /* a line of its own in Markdown */
        if (e->ticket) chunk(a, "agent_message_chunk", (ds4_slice){ ds4_str_text(&line), line.n_bytes });
        ds4_str_clear(&line);
        break;
    }
    case DS4_FRONT_ERROR:
        ds4_str_truncate(&a->error, 0);
        ds4_str_add(&a->error, e->text.data, e->text.n_bytes);
        break;
    case DS4_FRONT_STATUS: tell_usage(a, e->status); break;
    default: call_event(a, e); break;
    }
}

/* ---- what a session can do ----------------------------------------------------------------------------- */

json_t *acp_modes(const char *current)
{
    return json_pack("{s:s,s:[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s}]}", "currentModeId",
                     current, "availableModes", "id", "work", "name", "Work", "description",
                     "Change files, run commands in the sandbox", "id", "ask", "name", "Ask", "description",
                     "Ask before every change and command", "id", "read-only", "name", "Read only",
                     "description", "Change nothing", "id", "yolo", "name", "No questions", "description",
                     "Ask nothing, no sandbox");
}

json_t *acp_commands(void)
{
    static const char *const not_here[] = {
        "/help", "/list", "/switch", "/new", "/history", "/quit", "/mode"
    };
    uint32_t              n;
    const ds4_agent_word *words = ds4_agent_words(&n);
    json_t               *list = json_array();

    for (uint32_t i = 0; i < n; i++) {
        bool other = false;
        for (size_t k = 0; k < sizeof not_here / sizeof *not_here; k++)
            other |= !strcmp(words[i].name, not_here[k]);
        if (other) continue;
        json_t *word = json_pack("{s:s,s:s}", "name", words[i].name + 1, "description", words[i].help);
        if (*words[i].args) json_object_set_new(word, "input", json_pack("{s:s}", "hint", words[i].args));
        json_array_append_new(list, word);
    }
    return json_pack("{s:s,s:o}", "sessionUpdate", "available_commands_update", "availableCommands", list);
}

json_t *acp_permission(const acp *a, const ds4_question *q)
{
    const ds4_tool_call call = { .id = q->call_id, .name = q->tool };
    json_t *options = json_pack("[{s:s,s:s,s:s},{s:s,s:s,s:s}]", "optionId", "once", "name", "Allow", "kind",
                                "allow_once", "optionId", "no", "name", "Deny", "kind", "reject_once");

    if (q->may_always) {
        json_array_append_new(options, json_pack("{s:s,s:s,s:s}", "optionId", "always", "name",
                                                 "Always allow", "kind", "allow_always"));
    }
    json_t *content = json_array();
    json_array_append_new(content, as_content(q->diff.n_bytes ? q->diff : q->what));
    return json_pack("{s:s,s:{s:o,s:o,s:s,s:s,s:o},s:o}", "sessionId", a->current, "toolCall", "toolCallId",
                     string_of(q->call_id), "title", string_of(q->what), "kind", kind_of(call.name), "status",
                     "pending", "content", content, "options", options);
}
