/* chat.h - a conversation becomes the text the model was trained on.
 *
 * Byte for byte what the official encoder of DeepSeek V4 makes, as segments: markers and
 * the fixed instructions are trusted, everything the caller passes in is not.
 * Source: docs/PROMPT.md sections 1 to 8.                                            */
#ifndef DS4_TEXT_CHAT_H
#define DS4_TEXT_CHAT_H

#include "text/segments.h"

/* The generation of the protocol that a model file was trained for. */
typedef enum ds4_protocol {
    DS4_PROTOCOL_V4,
    DS4_PROTOCOL_V4_0731,       /* other effort texts */
    DS4_PROTOCOL_V41,           /* recognised and refused */
} ds4_protocol;

typedef enum ds4_effort {
    DS4_EFFORT_DEFAULT,         /* no text, whatever the generation */
    DS4_EFFORT_LOW,
    DS4_EFFORT_HIGH,
    DS4_EFFORT_MAX,
} ds4_effort;

typedef enum ds4_role {
    DS4_ROLE_SYSTEM,
    DS4_ROLE_DEVELOPER,
    DS4_ROLE_USER,
    DS4_ROLE_ASSISTANT,
    DS4_ROLE_TOOL,              /* the result of one call */
    DS4_ROLE_REMINDER,          /* latest_reminder: date, place, environment */
} ds4_role;

/* Quick instructions: one special token that asks for a one-word answer. */
typedef enum ds4_task {
    DS4_TASK_NONE,
    DS4_TASK_ACTION,
    DS4_TASK_QUERY,
    DS4_TASK_AUTHORITY,
    DS4_TASK_DOMAIN,
    DS4_TASK_READ_URL,
    DS4_TASK_TITLE,
} ds4_task;

/* A tool call in the history. */
typedef struct ds4_call {
    ds4_slice id, name;
    ds4_slice arguments;        /* JSON text of an object; other text becomes the one parameter
                                   "arguments"; data NULL: none */
} ds4_call;

/* One part of a content that came as a list. */
typedef struct ds4_part {
    bool      is_text;
    ds4_slice text;             /* the text, or the type's name: shown as [Unsupported NAME] */
} ds4_part;

/* All slices are borrowed for the time of the call. Zeroed fields mean absent. */
typedef struct ds4_message {
    ds4_role         role;
    ds4_slice        content;
    const ds4_part  *parts;     /* [n_parts] instead of content, joined by blank lines */
    uint32_t         n_parts;
    ds4_slice        reasoning;         /* assistant */
    const ds4_call  *calls;             /* [n_calls] assistant */
    uint32_t         n_calls;
    ds4_slice        raw_calls;         /* assistant: the block as it was sampled, from its first
                                           newline to its closing tag; replaces the written form
                                           of calls */
    ds4_slice        call_id;           /* tool: which call it answers */
    ds4_task         task;              /* user, developer or assistant */
    const ds4_slice *tools;             /* [n_tools] system, developer: JSON text of bare
                                           function objects */
    uint32_t         n_tools;
    ds4_slice        schema;            /* system, developer: JSON text of the answer's schema */
} ds4_message;

typedef struct ds4_chat_options {
    ds4_protocol     protocol;
    bool             thinking;
    ds4_effort       effort;            /* used with thinking only */
    bool             keep_reasoning;    /* keep old reasoning also without tools */
    bool             prefix_last;       /* the last message is an assistant's beginning, to be
                                           continued */
    bool             fold_system;       /* developer means system; those after the first turn
                                           join the user turn beside them; those in front are
                                           joined by blank lines */
    const ds4_slice *tools;             /* [n_tools] put on the first message; see
                                           ds4_message.tools */
    uint32_t         n_tools;
    ds4_slice        schema;            /* put on the first message */
} ds4_chat_options;

/* Append the rendered conversation to out.
 *
 *   messages   [n_messages]
 *   out        on failure it may hold a part
 *
 * Returns DS4_OK; DS4_E_FORMAT when a tool or the schema is no valid JSON (the text says
 * which); DS4_E_UNSUPPORTED for DS4_PROTOCOL_V41; DS4_E_ARG for prefix_last without an
 * assistant message at the end; DS4_E_NOMEM.                                         */
DS4_MUST_CHECK ds4_status ds4_chat_render(const ds4_message *messages, uint32_t n_messages,
                                          const ds4_chat_options *opt, ds4_segments *out,
                                          ds4_err *err);

/* True when the rendered text ends inside reasoning, so that the model goes on thinking:
 * how a reader of its output has to begin.                                           */
bool ds4_chat_ends_in_thinking(const ds4_segments *rendered);

/* Append a text to complete without a conversation: BOS and the text; with a suffix the
 * fill-in-the-middle form.                                                           */
void ds4_chat_render_raw(ds4_slice prompt, ds4_segments *out);
void ds4_chat_render_fim(ds4_slice prompt, ds4_slice suffix, ds4_segments *out);

/* Tell the generation that a model file speaks from general.name, the text of its chat template
 * ("" when it has none) and its vocabulary (may be NULL).                            */
ds4_protocol ds4_protocol_detect(const char *name, ds4_slice chat_template, const ds4_vocab *v);

/* Names in requests. Each returns false for a name it does not know and leaves its
 * output alone. For the effort "none" thinking becomes false, for others true.       */
bool ds4_effort_from_name(ds4_slice name, ds4_effort *effort, bool *thinking);
bool ds4_role_from_name(ds4_slice name, ds4_role *role);
bool ds4_task_from_name(ds4_slice name, ds4_task *task);

#endif
