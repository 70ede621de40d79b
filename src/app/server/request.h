/* request.h - what a client wants, whichever API it used to say so.
 *
 * The four request readers fill in the same structure; everything behind them is common. */
#ifndef DS4_APP_SERVER_REQUEST_H
#define DS4_APP_SERVER_REQUEST_H

#include "app/server/fields.h"
#include "service/reply.h"

typedef enum ds4_api {
    DS4_API_CHAT,               /* /v1/chat/completions */
    DS4_API_COMPLETIONS,        /* /v1/completions */
    DS4_API_MESSAGES,           /* /v1/messages */
    DS4_API_RESPONSES,          /* /v1/responses */
    DS4_API_OTHER,              /* everything else: errors as OpenAI has them */
} ds4_api;

typedef enum ds4_tool_choice {
    DS4_TOOLS_AUTO,
    DS4_TOOLS_NONE,
    DS4_TOOLS_REQUIRED,
    DS4_TOOLS_NAMED,            /* ds4_request.tool_name */
} ds4_tool_choice;

/* A tool's kind of declaration decides the form its calls are answered in. */
typedef struct ds4_tool {
    ds4_slice name;             /* as the model sees it */
    ds4_slice own_name, space;  /* inside a namespace: its name there, and that of the namespace */
    bool      custom;           /* takes free text: the model gives it as the parameter "input" */
    bool      deferred;         /* the prompt's front is silent about it ... */
    bool      loaded;           /* ... until a result in the conversation has shown it */
    bool      strict;           /* its arguments must fit its schema as a whole */
    bool      barred;           /* described, but this answer may not call it */
} ds4_tool;

typedef enum ds4_form_kind {
    DS4_FORM_FREE,
    DS4_FORM_OBJECT,            /* any JSON object */
    DS4_FORM_SCHEMA,            /* JSON that fits one */
    DS4_FORM_CHOICE,            /* one of some texts */
    DS4_FORM_REGEX,
} ds4_form_kind;

typedef struct ds4_form {
    ds4_form_kind kind;
    ds4_slice     text;         /* of the schema or the expression */
    ds4_slice    *choices;      /* [n_choices] */
    uint32_t      n_choices, cap_choices;
    bool          strict;       /* what cannot be enforced is refused */
    char          member[96];   /* that asked for it */
} ds4_form;

typedef struct ds4_deferred_tool ds4_deferred_tool;

typedef struct ds4_request {
    ds4_api           api;
    ds4_arena         arena;    /* of everything below */
    ds4_refusal       refusal;
    ds4_slice         model;    /* echoed; "" when not given */

    ds4_message      *messages; /* [n_messages] */
    uint32_t          n_messages, cap_messages;
    bool              after_result;     /* a tool's result came behind the last assistant message */
    bool              continue_last;    /* the last message must be the assistant's, to be continued */
    char              unread_where[96], unread_kind[64];        /* see ds4_content_check() */
    ds4_chat_options  chat;     /* its tools: JSON text of function objects, those not deferred */
    ds4_tool         *tools;    /* [n_tools] */
    ds4_slice        *tool_json;        /* [n_tools] */
    uint32_t          n_tools, cap_tools, cap_tool_json;
    ds4_deferred_tool *deferred;        /* [n_deferred] by name, while messages are read */
    uint32_t          n_deferred;
    bool              defer_none, finding;      /* finding: tools of a search's result are read */
    ds4_tool_choice   tool_choice;
    ds4_slice         tool_name;
    bool              single_call;
    bool              functions;        /* the older form: "functions", answered by one function_call */
    bool              strict_tools;     /* arguments must fit the schemas */
    bool              thinking_said;    /* the request itself switched thinking on or off */
    uint32_t          thinking_budget;  /* tokens; 0: no limit */
    bool              hide_reasoning;   /* it is not to be shown */

    bool              raw;      /* /v1/completions: prompt, and suffix if given */
    ds4_slice         prompt, suffix;
    bool              has_suffix, echo;
    bool              only_prompt;      /* nothing is to be sampled */

    ds4_sampling      sampling;
    ds4_penalties     penalties;
    bool              seed_given;
    uint64_t          seed;
    uint32_t          n;        /* choices */
    uint32_t          max_tokens;       /* 0: the server's limit */
    ds4_slice        *stops;    /* [n_stops] */
    uint32_t          n_stops;
    bool              logprobs;
    uint32_t          n_top;
    bool              stream, include_usage;
    ds4_form          form;     /* of the answer */

    /* /v1/responses only */
    ds4_slice         previous_id;
    bool              summary;  /* reasoning is wanted as a summary */
    bool              store;
    ds4_slice         items;    /* JSON text of this request's own input items, without the brackets */
    ds4_slice         echo_fields;      /* members that the response object repeats, JSON text */
} ds4_request;

/* A server puts these in where a request says nothing. */
typedef struct ds4_request_defaults {
    ds4_protocol protocol;
    ds4_sampling sampling;
} ds4_request_defaults;

/* "resp_" and 32 random hexadecimal digits; the ids of its output items hold these digits too. */
enum { DS4_RESPONSE_HEX = 32, DS4_RESPONSE_ID_BYTES = 38 };

/* Finds the items of an earlier response; false when it is not known. */
typedef bool ds4_recall_fn(void *ctx, ds4_slice id, ds4_arena *arena, ds4_slice *items);

/* Read a request body. On failure rq->refusal names the member at fault, if there is one.
 *
 *   rq   zeroed but for its api; cleared by ds4_request_clear() in any case
 *
 * Returns DS4_OK; DS4_E_FORMAT, DS4_E_UNSUPPORTED, DS4_E_LIMIT; DS4_E_NOMEM.            */
DS4_MUST_CHECK ds4_status ds4_request_read(ds4_request *rq, ds4_slice body,
                                           const ds4_request_defaults *defaults,
                                           ds4_recall_fn *recall, void *recall_ctx, ds4_err *err);
void                      ds4_request_clear(ds4_request *rq);

/* Append the prompt. Returns as ds4_chat_render(). */
DS4_MUST_CHECK ds4_status ds4_request_render(const ds4_request *rq, ds4_segments *out,
                                             ds4_err *err);

#endif
