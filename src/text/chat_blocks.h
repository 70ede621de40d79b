/* chat_blocks.h - the fixed instructions inside a prompt: effort, tools, answer format. */
#ifndef DS4_TEXT_CHAT_BLOCKS_H
#define DS4_TEXT_CHAT_BLOCKS_H

#include "text/chat.h"

/* The instruction for an effort; "" when the generation has none for it. */
const char *ds4_chat_effort_text(ds4_protocol protocol, ds4_effort effort);

/* Append the description of the tools. Returns as ds4_chat_render() does for bad JSON. */
DS4_MUST_CHECK ds4_status ds4_chat_add_tools(const ds4_slice *tools, uint32_t n_tools,
                                             ds4_segments *out, ds4_err *err);
DS4_MUST_CHECK ds4_status ds4_chat_add_schema(ds4_slice schema, ds4_segments *out, ds4_err *err);

#endif
