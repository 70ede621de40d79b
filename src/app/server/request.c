/* request.c - see request.h: the reader of the API is chosen, and its result checked. */
#include "app/server/content.h"
#include "app/server/request_members.h"

static ds4_status read_for_api(ds4_request *rq, const ds4_fields *f, ds4_recall_fn *recall,
                               void *recall_ctx, ds4_err *err)
{
    switch (rq->api) {
    case DS4_API_CHAT: return ds4_read_chat(rq, f, err);
    case DS4_API_COMPLETIONS: return ds4_read_completions(rq, f, err);
    case DS4_API_MESSAGES: return ds4_read_messages(rq, f, err);
    case DS4_API_RESPONSES: return ds4_read_responses(rq, f, recall, recall_ctx, err);
    case DS4_API_OTHER: break;
    }
    return ds4_fail(err, DS4_E_ARG, "no request of this kind");
}

/* A choice that names a tool must name one of them. */
static ds4_status check_tool_choice(ds4_request *rq, ds4_err *err)
{
    if (rq->tool_choice == DS4_TOOLS_NONE) rq->n_tools = rq->chat.n_tools = 0;
    if (rq->tool_choice == DS4_TOOLS_AUTO || rq->tool_choice == DS4_TOOLS_NONE) return DS4_OK;
    if (rq->n_tools == 0) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "tool_choice",
                          "asks for a tool, but there are no tools");
    }
    for (uint32_t i = 0; i < rq->n_tools; i++) {
        if (rq->tool_choice == DS4_TOOLS_REQUIRED || ds4_slice_eq(rq->tools[i].name, rq->tool_name))
            return DS4_OK;
    }
    return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "tool_choice",
                      "names a tool that is not among the tools");
}

/* Trailing calls without results (of an agent that was interrupted, of a service's own tools) get one
 * that says so: the answer is a new turn, not the tool's. */
static ds4_status answer_calls(ds4_request *rq, ds4_err *err)
{
    const ds4_message last = rq->messages[rq->n_messages - 1];

    for (uint32_t i = 0; i < last.n_calls; i++) {
        ds4_message *m = ds4_request_message(rq, DS4_ROLE_TOOL);
        if (!m) return ds4_fail(err, DS4_E_NOMEM, "no memory for a request");
        m->call_id = last.calls[i].id;
        m->content = DS4_SLICE("[the call was not carried out]");
    }
    return DS4_OK;
}

/* Settle the last turn. The answer continues words of the assistant at the end; an empty turn of his is
 * none. */
static ds4_status settle_end(ds4_request *rq, ds4_err *err)
{
    while (rq->n_messages > 1) {
        const ds4_message *m = &rq->messages[rq->n_messages - 1];
        if (m->role != DS4_ROLE_ASSISTANT || m->content.n_bytes || m->reasoning.n_bytes || m->n_calls) break;
        rq->n_messages--;
    }
    const ds4_message *last = rq->n_messages ? &rq->messages[rq->n_messages - 1] : NULL;
    const bool         own = last && last->role == DS4_ROLE_ASSISTANT;
    rq->chat.prefix_last = own && last->n_calls == 0;
    if (rq->continue_last && !rq->chat.prefix_last) {
        return ds4_refuse(&rq->refusal, err, DS4_E_FORMAT, "", "messages",
                          "must end with words of the assistant, which the request asks to go on with");
    }
    return own && last->n_calls ? answer_calls(rq, err) : DS4_OK;
}

ds4_status ds4_request_read(ds4_request *rq, ds4_slice body, const ds4_request_defaults *defaults,
                            ds4_recall_fn *recall, void *recall_ctx, ds4_err *err)
{
    ds4_fields f;

    rq->n = 1;
    rq->sampling = defaults->sampling;
    rq->chat.protocol = defaults->protocol;
    rq->chat.thinking = rq->api != DS4_API_MESSAGES;
    rq->chat.effort = DS4_EFFORT_HIGH;
    rq->chat.fold_system = true;
    DS4_TRY(ds4_fields_open(&f, &rq->arena, body, "", err));
    DS4_TRY(ds4_read_common(rq, &f, err));
    DS4_TRY(read_for_api(rq, &f, recall, recall_ctx, err));
    DS4_TRY(ds4_content_check(rq, err));
    DS4_TRY(settle_end(rq, err));
    DS4_TRY(ds4_request_settle_tools(rq, err));
    DS4_TRY(check_tool_choice(rq, err));
    if (rq->form.kind == DS4_FORM_SCHEMA) rq->chat.schema = rq->form.text;
    return rq->arena.failed ? ds4_fail(err, DS4_E_NOMEM, "no memory for a request") : DS4_OK;
}

void ds4_request_clear(ds4_request *rq)
{
    ds4_arena_clear(&rq->arena);
}

ds4_status ds4_request_render(const ds4_request *rq, ds4_segments *out, ds4_err *err)
{
    if (!rq->raw) return ds4_chat_render(rq->messages, rq->n_messages, &rq->chat, out, err);
    if (rq->has_suffix) {
        ds4_chat_render_fim(rq->prompt, rq->suffix, out);
    } else {
        ds4_chat_render_raw(rq->prompt, out);
    }
    return DS4_OK;
}
