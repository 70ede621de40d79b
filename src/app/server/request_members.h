/* request_members.h - what the readers of the four APIs share: members that mean the same
 * in each, and the parts that a request is put together from. */
#ifndef DS4_APP_SERVER_REQUEST_MEMBERS_H
#define DS4_APP_SERVER_REQUEST_MEMBERS_H

#include "app/server/request.h"

/* A new zeroed message at the end; NULL when memory is short. */
ds4_message *ds4_request_message(ds4_request *rq, ds4_role role);

/* Read the declaration of a tool and add it, whichever API's form it has: flat or nested, its schema in
 * "parameters" or "input_schema". A name that the markup of calls cannot hold is refused.
 *
 *   f     the object, with its type looked at already
 *   tool  custom and space are given, the rest is read                                  */
DS4_MUST_CHECK ds4_status ds4_read_tool(ds4_request *rq, const ds4_fields *f, ds4_tool *tool, ds4_err *err);

/* Whether and which of the tools must be called, in the words of any API. After the tools. */
DS4_MUST_CHECK ds4_status ds4_read_tool_choice(ds4_request *rq, const ds4_fields *f, const char *name,
                                               ds4_err *err);

/* The name that the model sees of what lies in a namespace. */
ds4_slice ds4_full_name(ds4_request *rq, ds4_slice space, ds4_slice name);

/* {"input": TEXT}, how the model sees a call of a tool that takes free text. */
ds4_slice ds4_custom_arguments(ds4_request *rq, ds4_slice input);

/* When all tools are read, before the messages: deferred ones can be found from now on. A request
 * that defers all of them, or whose search for tools would be the service's own, defers none. */
DS4_MUST_CHECK ds4_status ds4_request_defer_tools(ds4_request *rq, ds4_err *err);

/* Append to a result's text what it says of a tool that the conversation found: its definition, the
 * first time that a deferred one is found, which is offered from there on; else its name alone. */
DS4_MUST_CHECK ds4_status ds4_request_load_tool(ds4_request *rq, ds4_slice name, ds4_str *out,
                                                ds4_err *err);

/* When all messages are read: part the tools into those that the front of the prompt describes
 * (chat.tools) and those that may be called (tools): deferred ones once they are loaded. */
DS4_MUST_CHECK ds4_status ds4_request_settle_tools(ds4_request *rq, ds4_err *err);

/* Takes one element of a list; `where` names it, as "tools[2].". */
typedef ds4_status ds4_element_fn(ds4_request *rq, ds4_slice json, const char *where, void *ctx,
                                  ds4_err *err);

/* Hand over the elements of a list in order: of a member, which may be absent and must be a list
 * otherwise, or of one that is known to be a list and called `path`. */
DS4_MUST_CHECK ds4_status ds4_read_list(ds4_request *rq, const ds4_fields *f, const char *name,
                                        ds4_element_fn *take, void *ctx, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_elements(ds4_request *rq, ds4_slice list, const char *path,
                                            ds4_element_fn *take, void *ctx, ds4_err *err);

/* Refuse an object, of a tool or a call, that has no name or an empty one. */
DS4_MUST_CHECK ds4_status ds4_need_name(ds4_request *rq, const ds4_fields *f, ds4_slice name,
                                        ds4_err *err);

/* Members that mean the same in all APIs: temperature, top_p, top_k, min_p, seed, stream, samplers
 * that are not supported, the form of the answer, reasoning. */
DS4_MUST_CHECK ds4_status ds4_read_common(ds4_request *rq, const ds4_fields *f, ds4_err *err);

/* The form that the answer must have, in the words of any server (request_form.c), and whether and how
 * much to reason (request_thinking.c). Called by ds4_read_common(). */
DS4_MUST_CHECK ds4_status ds4_read_form(ds4_request *rq, const ds4_fields *f, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_thinking(ds4_request *rq, const ds4_fields *f, ds4_err *err);

/* A limit of at least `least`; -1 says, as other servers have it, that there is none: 0 in *out. */
DS4_MUST_CHECK ds4_status ds4_read_limit(ds4_request *rq, const ds4_fields *f, const char *name,
                                         double least, uint32_t *out, ds4_err *err);

DS4_MUST_CHECK ds4_status ds4_read_stops(ds4_request *rq, const ds4_fields *f, const char *name,
                                         ds4_err *err);

/* The readers themselves, each in NAME_request.c; called by ds4_request_read() alone. */
DS4_MUST_CHECK ds4_status ds4_read_chat(ds4_request *rq, const ds4_fields *f, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_completions(ds4_request *rq, const ds4_fields *f, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_messages(ds4_request *rq, const ds4_fields *f, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_responses(ds4_request *rq, const ds4_fields *f,
                                             ds4_recall_fn *recall, void *recall_ctx, ds4_err *err);

/* Refuse members that are given with another value than the one that means nothing. */
typedef struct ds4_neutral {
    const char *name;
    const char *value;          /* JSON text that is let through; NULL: only null or absent */
} ds4_neutral;
DS4_MUST_CHECK ds4_status ds4_refuse_others(ds4_request *rq, const ds4_fields *f,
                                            const ds4_neutral *list, ds4_err *err);

#endif
