/* request_members.h - what the readers of the four APIs share: members that mean the same
 * in each, and the parts that a request is put together from. */
#ifndef DS4_APP_SERVER_REQUEST_MEMBERS_H
#define DS4_APP_SERVER_REQUEST_MEMBERS_H

#include "app/server/request.h"

/* A new zeroed message at the end; NULL when memory is short. */
ds4_message *ds4_request_message(ds4_request *rq, ds4_role role);

/* Add a tool: the function object that the model sees is made anew, so that it does not
 * change with what clients put beside it. description and parameters may be "". A name that the
 * markup cannot hold is refused as the member "name" of `where`. */
DS4_MUST_CHECK ds4_status ds4_request_tool(ds4_request *rq, const ds4_tool *tool,
                                           ds4_slice description, ds4_slice parameters,
                                           const char *where, ds4_err *err);

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

/* Name, description and `strict` of a tool, which need not be there. */
DS4_MUST_CHECK ds4_status ds4_read_tool_words(ds4_request *rq, const ds4_fields *f, ds4_slice *name,
                                              ds4_slice *description, ds4_err *err);

/* The schema of a tool's parameters: an object, or "" when it is absent. */
DS4_MUST_CHECK ds4_status ds4_read_parameters(ds4_request *rq, const ds4_fields *f, const char *name,
                                              ds4_slice *out, ds4_err *err);

/* Temperature, top_p, top_k, min_p, seed, stream, the thinking switches. */
DS4_MUST_CHECK ds4_status ds4_read_common(ds4_request *rq, const ds4_fields *f, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_read_stops(ds4_request *rq, const ds4_fields *f, const char *name,
                                         ds4_err *err);

/* Text that may be a list of parts with the texts of the given types; others are refused
 * by name. Parts are joined by `between`. */
DS4_MUST_CHECK ds4_status ds4_read_text(ds4_request *rq, ds4_slice json, const char *where,
                                        const char *const *types, const char *between,
                                        ds4_slice *out, ds4_err *err);

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

/* The shape of an answer: {"type":"json_object"} or a schema, as response_format (nested)
 * and text.format (flat) write it. */
DS4_MUST_CHECK ds4_status ds4_read_format(ds4_request *rq, ds4_slice json, const char *where,
                                          ds4_err *err);

#endif
