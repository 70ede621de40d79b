/* json_front.c - the agent for programs: each event is a line of JSON on standard output. docs/AGENT.md lists
 * them. */
#include "app/agent/program.h"

#include "text/pyjson.h"

#include <string.h>

static const char *const kind_names[] = {
    [DS4_FRONT_SESSION] = "session",
    [DS4_FRONT_USER] = "user",
    [DS4_FRONT_PREFILL] = "prefill",
    [DS4_FRONT_REASONING] = "reasoning",
    [DS4_FRONT_ANSWER] = "answer",
    [DS4_FRONT_CALL_BEGIN] = "call_begin",
    [DS4_FRONT_CALL_ARGUMENTS] = "call_arguments",
    [DS4_FRONT_CALL_DROPPED] = "call_dropped",
    [DS4_FRONT_CALL_RUN] = "call_run",
    [DS4_FRONT_TOOL_OUTPUT] = "tool_output",
    [DS4_FRONT_CHANGE] = "change",
    [DS4_FRONT_CALL_END] = "call_end",
    [DS4_FRONT_QUEUE] = "queue",
    [DS4_FRONT_STATUS] = "status",
    [DS4_FRONT_NOTE] = "note",
    [DS4_FRONT_ERROR] = "error",
    [DS4_FRONT_SETTLED] = "settled",
};

static const char *const state_names[] = { "idle", "reading", "writing", "calling", "compacting", "saving" };
static const char *const mode_names[] = { "work", "ask", "read-only", "yolo" };

static void add_text(ds4_str *out, const char *name, ds4_slice text)
{
    ds4_str_addf(out, ", \"%s\": ", name);
    ds4_pyjson_add_string(out, text);
}

static void add_c(ds4_str *out, const char *name, const char *text)
{
    add_text(out, name, (ds4_slice){ text, strlen(text) });
}

static void add_session(ds4_str *out, const ds4_session_facts *s)
{
    add_c(out, "id", s->id);
    add_c(out, "title", s->title);
    add_c(out, "root", s->root);
    add_c(out, "model", s->model);
    add_c(out, "sandbox", s->sandbox);
    ds4_str_addf(out, ", \"turns\": %u, \"open_turn\": %s", s->n_turns, s->resumed ? "true" : "false");
}

static void add_status(ds4_str *out, const ds4_agent_status *s)
{
    add_c(out, "state", state_names[s->state]);
    add_c(out, "mode", mode_names[s->mode]);
    ds4_str_addf(out,
                 ", \"used\": %u, \"context\": %u, \"prompt\": %u, \"cached\": %u, \"written\": %u, "
                 "\"read_tps\": %.2f, \"write_tps\": %.2f, \"queued\": %u, \"planning\": %s",
                 s->n_used, s->n_ctx, s->n_prompt, s->n_cached, s->n_written, s->read_tps, s->write_tps,
                 s->n_queued, s->planning ? "true" : "false");
}

static void add_change(ds4_str *out, const ds4_tool_change *c)
{
    add_c(out, "path", c->path);
    add_text(out, "diff", (ds4_slice){ ds4_str_text(&c->diff), c->diff.n_bytes });
    ds4_str_addf(out, ", \"made\": %s, \"removed\": %s", c->made ? "true" : "false",
                 c->removed ? "true" : "false");
}

static void add_call(ds4_str *out, const ds4_front_event *e)
{
    add_text(out, "call", e->call->id);
    if (e->kind == DS4_FRONT_CALL_BEGIN || e->kind == DS4_FRONT_CALL_RUN)
        add_text(out, "name", e->call->name);
    if (e->kind == DS4_FRONT_CALL_RUN) add_text(out, "arguments", e->call->arguments);
}

static void write_line(const ds4_front_event *e)
{
    ds4_str out = { 0 };

    ds4_str_addf(&out, "{\"event\": \"%s\", \"request\": %llu", kind_names[e->kind],
                 (unsigned long long)e->ticket);
    if (e->replayed) ds4_str_add_text(&out, ", \"replayed\": true");
    if (e->session) add_session(&out, e->session);
    if (e->call) add_call(&out, e);
    if (e->status) add_status(&out, e->status);
    if (e->change) add_change(&out, e->change);
    if (e->text.n_bytes > 0) add_text(&out, "text", e->text);
    if (e->kind == DS4_FRONT_QUEUE) ds4_str_addf(&out, ", \"waiting\": %u", e->n);
    if (e->kind == DS4_FRONT_PREFILL) {
        ds4_str_addf(&out, ", \"done\": %u, \"total\": %u, \"cached\": %u", e->progress.done,
                     e->progress.total, e->progress.cached);
    }
    if (e->result) {
        add_text(&out, "result", (ds4_slice){ ds4_str_text(&e->result->text), e->result->text.n_bytes });
        ds4_str_addf(&out, ", \"failed\": %s", e->result->failed ? "true" : "false");
    }
    if (e->kind == DS4_FRONT_SETTLED) add_c(&out, "stop", ds4_stop_name(e->stop));
    ds4_str_add_text(&out, "}\n");
    if (!out.failed) fwrite(out.data, 1, out.n_bytes, stdout);
    fflush(stdout);
    ds4_str_clear(&out);
}

static void show(void *ctx, const ds4_front_event *e)
{
    ds4_line_front *f = ctx;

    write_line(e);
    if (e->kind != DS4_FRONT_SETTLED || e->ticket != f->ticket) return;
    f->stop = e->stop;
    f->failed |= e->stop == DS4_STOP_FAILED;
    ds4_line_front_next(f);
}

int ds4_json_front(const ds4_agent_program *program, ds4_agent_options *opt)
{
    ds4_line_front f = { .program = program };

    opt->front = (ds4_front){ .ctx = &f, .event = show };
    return ds4_line_front_run(&f, opt);
}
