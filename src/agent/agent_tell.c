/* agent_tell.c - what the loop tells its front. */
#include "agent/agent_local.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const uint64_t STATUS_NS = 100 * 1000 * 1000;

void ds4_agent_tell(ds4_agent *a, ds4_front_event *e)
{
    e->ticket = a->ticket;
    e->replayed = a->replays;
    a->opt.front.event(a->opt.front.ctx, e);
}

void ds4_agent_tell_text(ds4_agent *a, ds4_front_kind kind, ds4_slice text)
{
    ds4_front_event e = { .kind = kind, .text = text };
    ds4_agent_tell(a, &e);
}

void ds4_agent_note(ds4_agent *a, const char *fmt, ...)
{
    char    text[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ds4_agent_tell_text(a, DS4_FRONT_NOTE, (ds4_slice){ text, strlen(text) });
}

void ds4_agent_error(ds4_agent *a, const ds4_err *err)
{
    ds4_agent_tell_text(a, DS4_FRONT_ERROR, (ds4_slice){ err->text, strlen(err->text) });
}

/* ---- status --------------------------------------------------------------------------------- */

void ds4_agent_tell_status(ds4_agent *a, bool at_once)
{
    const uint64_t now = ds4_now_ns();

    if (!at_once && now - a->told_ns < STATUS_NS) return;
    a->told_ns = now;
    const uint32_t   pos = ds4_session_pos(a->seat.session);
    ds4_agent_status status = {
        .state = a->state,
        .n_used = a->talk.tokens.n > pos || a->state == DS4_AGENT_IDLE ? a->talk.tokens.n : pos,
        .n_ctx = a->opt.n_ctx, .n_prompt = a->n_prompt, .n_cached = a->n_cached,
        .n_written = a->talk.n_answer, .read_tps = a->read_tps, .write_tps = a->write_tps,
        .n_queued = ds4_inbox_n_texts(a->inbox), .mode = ds4_tools_get_mode(a->tools),
        .planning = a->talk.planning, .thinking = a->opt.thinking,
    };
    if (a->talk.planning) status.mode = a->opt.mode;
    ds4_front_event e = { .kind = DS4_FRONT_STATUS, .status = &status };
    ds4_agent_tell(a, &e);
}

void ds4_agent_tell_state(ds4_agent *a, ds4_agent_state state)
{
    const bool changed = a->state != state;

    a->state = state;
    ds4_agent_tell_status(a, changed);
}

void ds4_agent_tell_session(ds4_agent *a)
{
    ds4_str title = { 0 };

    ds4_talk_title(&a->talk, &title);
    const ds4_session_facts facts = {
        .id = a->talk.id, .title = ds4_str_text(&title), .root = ds4_tools_root(a->tools),
        .model = ds4_str_text(&a->talk.model), .sandbox = ds4_tools_sandbox(a->tools),
        .n_turns = ds4_talk_n_turns(&a->talk), .resumed = a->talk.phase != DS4_TALK_IDLE,
    };
    ds4_front_event e = { .kind = DS4_FRONT_SESSION, .session = &facts };
    ds4_agent_tell(a, &e);
    ds4_str_clear(&title);
}

void ds4_agent_settle(ds4_agent *a, uint64_t ticket, ds4_stop stop)
{
    ds4_front_event e = { .kind = DS4_FRONT_SETTLED, .stop = stop };
    const uint64_t  before = a->ticket;

    a->ticket = ticket;
    ds4_agent_tell(a, &e);
    a->ticket = before;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static ds4_slice slice_of(const ds4_str *text)
{
    return (ds4_slice){ ds4_str_text(text), text->n_bytes };
}

/* Ids tell the answer's number in the session and the call's number in the answer. */
ds4_tool_call ds4_agent_call_of(ds4_agent *a, const ds4_talk_item *item, uint32_t i_call)
{
    ds4_tool_call  call = { .id = { "", 0 } };
    const uint32_t i_item = item ? (uint32_t)(item - a->talk.items) : a->talk.n_items;

    ds4_str_truncate(&a->call_id, 0);
    ds4_str_addf(&a->call_id, "call_%u_%u", i_item, i_call);
    call.id = slice_of(&a->call_id);
    if (!item) return call;
    call.name = slice_of(&item->calls[i_call].name);
    call.arguments = slice_of(&item->calls[i_call].arguments);
    return call;
}

void ds4_agent_tell_call(ds4_agent *a, ds4_front_kind kind, const ds4_tool_call *call, ds4_slice text)
{
    ds4_front_event e = { .kind = kind, .call = call, .text = text };
    ds4_agent_tell(a, &e);
}

/* ---- the past ------------------------------------------------------------------------------- */

static void tell_answer(ds4_agent *a, const ds4_talk_item *item)
{
    if (item->reasoning.n_bytes > 0) ds4_agent_tell_text(a, DS4_FRONT_REASONING, slice_of(&item->reasoning));
    if (item->text.n_bytes > 0) ds4_agent_tell_text(a, DS4_FRONT_ANSWER, slice_of(&item->text));
    for (uint32_t i = 0; i < item->n_calls; i++) {
        const ds4_talk_call *c = &item->calls[i];
        const ds4_tool_call  call = ds4_agent_call_of(a, item, i);
        ds4_agent_tell_call(a, DS4_FRONT_CALL_BEGIN, &call, (ds4_slice){ "", 0 });
        ds4_agent_tell_call(a, DS4_FRONT_CALL_ARGUMENTS, &call, call.arguments);
        if (!c->done) continue;
        const ds4_tool_result result = { .text = c->result, .failed = c->failed };
        ds4_agent_tell_call(a, DS4_FRONT_CALL_RUN, &call, (ds4_slice){ "", 0 });
        ds4_front_event e = { .kind = DS4_FRONT_CALL_END, .call = &call, .result = &result };
        ds4_agent_tell(a, &e);
    }
}

void ds4_agent_tell_past(ds4_agent *a, uint32_t n_turns)
{
    const ds4_talk *t = &a->talk;
    const uint32_t  all = ds4_talk_n_turns(t);
    uint32_t        i_turn = 0;

    a->replays = true;
    for (uint32_t i = 0; i < t->n_items; i++) {
        const ds4_talk_item *item = &t->items[i];
        if (item->kind == DS4_TALK_USER) i_turn++;
        if (i_turn + n_turns <= all) continue;
        if (item->kind == DS4_TALK_USER) ds4_agent_tell_text(a, DS4_FRONT_USER, slice_of(&item->text));
        if (item->kind == DS4_TALK_ANSWER) tell_answer(a, item);
        if (item->kind == DS4_TALK_COMPACT) ds4_agent_note(a, "(the context was compacted here)");
    }
    a->replays = false;
}
