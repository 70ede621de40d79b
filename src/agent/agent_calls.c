/* agent_calls.c - the calls of an answer are run, one after the other. */
#include "agent/agent_local.h"

#include <string.h>

enum { BYTES_PER_TOKEN = 3 }; /* of text in results: less than usual, so that a result fits */

static void sink(void *ctx, ds4_slice bytes)
{
    ds4_agent *a = ctx;

    ds4_agent_tell_call(a, DS4_FRONT_TOOL_OUTPUT, &a->call, bytes);
    (void)ds4_agent_look_around(a);
}

/* Results may take what the context has left, but for an answer and a summary. */
static void set_room(ds4_agent *a, uint32_t n_calls)
{
    const uint32_t used = a->talk.tokens.n + ds4_agent_reserve(a) + DS4_AGENT_REPLY_LEAST;
    const uint32_t left = used < a->opt.n_ctx ? a->opt.n_ctx - used : 0;
    const uint64_t bytes = (uint64_t)left * BYTES_PER_TOKEN / (n_calls > 0 ? n_calls : 1);

    ds4_tools_set_room(a->tools, bytes < 1024 ? 1024 : bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes);
}

static ds4_status end_call(ds4_agent *a, uint32_t i, const ds4_tool_result *result, ds4_err *err)
{
    const ds4_slice text = { ds4_str_text(&result->text), result->text.n_bytes };
    ds4_front_event e = { .kind = DS4_FRONT_CALL_END, .call = &a->call, .result = result };

    DS4_TRY(ds4_talk_call_ends(&a->talk, i, result->failed, text, err));
    for (uint32_t k = 0; k < result->n_changes; k++) {
        ds4_front_event change = { .kind = DS4_FRONT_CHANGE,
                                   .call = &a->call,
                                   .change = &result->changes[k] };
        ds4_agent_tell(a, &change);
    }
    ds4_agent_tell(a, &e);
    return DS4_OK;
}

/* A call that is not run has a result too. */
static ds4_status refuse(ds4_agent *a, uint32_t i, const char *why, ds4_err *err)
{
    ds4_tool_result result = { .failed = true };

    a->call = ds4_agent_call_of(a, ds4_talk_last(&a->talk, DS4_TALK_ANSWER), i);
    ds4_str_add_text(&result.text, why);
    const ds4_status st = end_call(a, i, &result, err);
    ds4_tool_result_clear(&result);
    return st;
}

static ds4_status run_call(ds4_agent *a, uint32_t i, uint32_t n_left, ds4_err *err)
{
    ds4_tool_result result = { .failed = false };

    DS4_TRY(ds4_talk_call_begins(&a->talk, i, err));
    a->call = ds4_agent_call_of(a, ds4_talk_last(&a->talk, DS4_TALK_ANSWER), i);
    set_room(a, n_left);
    ds4_agent_tell_call(a, DS4_FRONT_CALL_RUN, &a->call, (ds4_slice){ "", 0 });
    ds4_tools_call(a->tools, &a->call, sink, a, &result);
    const ds4_status st = end_call(a, i, &result, err);
    ds4_tool_result_clear(&result);
    return st;
}

ds4_status ds4_agent_calls(ds4_agent *a, bool *given_up, ds4_err *err)
{
    const ds4_talk_item *answer = ds4_talk_last(&a->talk, DS4_TALK_ANSWER);
    const uint32_t       n = answer->n_calls;

    ds4_agent_tell_state(a, DS4_AGENT_CALLING);
    for (uint32_t i = 0; i < n; i++) {
        const bool stops = ds4_agent_look_around(a);
        if (answer->calls[i].done) continue;
        if (answer->calls[i].begun) {
            DS4_TRY(
                refuse(a, i,
                       "Error: ds4-agent ended while this call ran. It may have been done, in part or not at"
                       " all: look before you call again.",
                       err));
        } else if (stops) {
            DS4_TRY(refuse(a, i, "Error: not run, the user interrupted.", err));
        } else if (ds4_inbox_n_texts(a->inbox) > 0) {
            DS4_TRY(refuse(a, i, "Error: not run, because a new message of the user waits.", err));
        } else {
            DS4_TRY(run_call(a, i, n - i, err));
        }
    }
    if (ds4_agent_look_around(a)) {
        *given_up = true;
        a->stop = DS4_STOP_INTERRUPTED;
    } else if (ds4_inbox_n_texts(a->inbox) > 0) {
        *given_up = true;
        a->stop = DS4_STOP_QUEUED;
    }
    return DS4_OK;
}
