/* openai_json.h - messages and tools as the OpenAI chat API writes them. */
#ifndef DS4_SERVICE_OPENAI_JSON_H
#define DS4_SERVICE_OPENAI_JSON_H

#include "service/history.h"

/* Append the messages of a JSON array: role, content (text, null, or a list of parts),
 * reasoning_content, tool_calls, tool_call_id. Other members are passed over.
 *
 *   json  the array
 *   h     on failure it may have grown
 *
 * Returns DS4_OK; DS4_E_FORMAT naming the message and the field; DS4_E_NOMEM.         */
DS4_MUST_CHECK ds4_status ds4_openai_messages(ds4_slice json, ds4_history *h, ds4_err *err);

/* Find the function objects in a JSON array of tools; {"type":"function","function":F}
 * and a bare F are both accepted.
 *
 *   tools  receives an array of slices of json, which the caller frees; NULL for none
 *
 * Returns DS4_OK; DS4_E_FORMAT naming the tool; DS4_E_NOMEM.                          */
DS4_MUST_CHECK ds4_status ds4_openai_tools(ds4_slice json, ds4_slice **tools, uint32_t *n_tools,
                                           ds4_err *err);

#endif
