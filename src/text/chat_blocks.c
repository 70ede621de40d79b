/* chat_blocks.c - see chat_blocks.h. Every byte of these texts is part of what the model was
 * trained on. Source: docs/PROMPT.md sections 2.1, 4 and 6. */
#include "text/chat_blocks.h"

#include "text/markers.h"
#include "text/pyjson.h"

static const char EFFORT_STRONG[] =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential paths, "
    "edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, "
    "considered alternative, and rejected hypothesis to ensure absolutely no assumption is left "
    "unchecked.\n\n";

static const char EFFORT_STRONGEST[] =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every causal "
    "chain to its root, and resolve the underlying cause rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple "
    "angles and are certain that no assumption remains unchecked and no error remains "
    "undiscovered.\n\n";

static const char TOOLS_HEAD[] =
    "## Tools\n"
    "\n"
    "You have access to a set of tools to help answer the user's question. You can invoke tools by "
    "writing a \"<" DS4_MARK_DSML "tool_calls>\" block like the following:\n"
    "\n"
    "<" DS4_MARK_DSML "tool_calls>\n"
    "<" DS4_MARK_DSML "invoke name=\"$TOOL_NAME\">\n"
    "<" DS4_MARK_DSML "parameter name=\"$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE"
    "</" DS4_MARK_DSML "parameter>\n"
    "...\n"
    "</" DS4_MARK_DSML "invoke>\n"
    "<" DS4_MARK_DSML "invoke name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</" DS4_MARK_DSML "invoke>\n"
    "</" DS4_MARK_DSML "tool_calls>\n"
    "\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other types "
    "(numbers, booleans, arrays, objects), pass the value in JSON format and set "
    "`string=\"false\"`.\n"
    "\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning "
    "inside <think>...</think> BEFORE any tool calls or final response.\n"
    "\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n"
    "\n"
    "### Available Tool Schemas\n"
    "\n";

static const char TOOLS_TAIL[] =
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool "
    "calls.\n";

static const char SCHEMA_HEAD[] =
    "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

const char *ds4_chat_effort_text(ds4_protocol protocol, ds4_effort effort)
{
    const bool stronger = protocol == DS4_PROTOCOL_V4_0731;

    if (effort == DS4_EFFORT_MAX) return stronger ? EFFORT_STRONGEST : EFFORT_STRONG;
    if (effort == DS4_EFFORT_HIGH && stronger) return EFFORT_STRONG;
    return "";
}

ds4_status ds4_chat_add_tools(const ds4_slice *tools, uint32_t n_tools, ds4_segments *out,
                              ds4_err *err)
{
    ds4_status st = DS4_OK;
    ds4_err    why;
    ds4_str    text = { 0 };

    ds4_segments_own(out, TOOLS_HEAD);
    for (uint32_t i = 0; i < n_tools && st == DS4_OK; i++) {
        ds4_str_truncate(&text, 0);
        st = ds4_pyjson_dump(tools[i], &text, &why);
        if (st == DS4_OK && text.data[0] != '{') {
            st = ds4_fail(&why, DS4_E_FORMAT, "expected an object");
        }
        if (st != DS4_OK) {
            ds4_fail(err, st, "tool %u: %s", i, why.text);
            break;
        }
        if (i > 0) ds4_segments_own(out, "\n");
        ds4_segments_foreign(out, (ds4_slice){ text.data, text.n_bytes });
    }
    ds4_segments_own(out, TOOLS_TAIL);
    ds4_str_clear(&text);
    return st;
}

ds4_status ds4_chat_add_schema(ds4_slice schema, ds4_segments *out, ds4_err *err)
{
    ds4_err    why;
    ds4_str    text = { 0 };
    ds4_status st = ds4_pyjson_dump(schema, &text, &why);

    if (st != DS4_OK) {
        ds4_fail(err, st, "schema of the answer: %s", why.text);
    } else {
        ds4_segments_own(out, SCHEMA_HEAD);
        ds4_segments_foreign(out, (ds4_slice){ text.data, text.n_bytes });
    }
    ds4_str_clear(&text);
    return st;
}
