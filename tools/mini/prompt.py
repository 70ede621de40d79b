"""Conversations to text: the DeepSeek V4 prompt protocol, as weighted segments.

A segment is (text, weight, filler): weight is what its tokens count in the training loss,
filler says that a position jump may be put inside.
"""
import json

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
THINK, UNTHINK, DSML = "<think>", "</think>", "｜DSML｜"

TOOLS_HEAD = f"""## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<{DSML}tool_calls>" block like the following:

<{DSML}tool_calls>
<{DSML}invoke name="$TOOL_NAME">
<{DSML}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{DSML}parameter>
...
</{DSML}invoke>
<{DSML}invoke name="$TOOL_NAME2">
...
</{DSML}invoke>
</{DSML}tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

"""
TOOLS_TAIL = "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n"
MAX_EFFORT = """Reasoning Effort: Absolute maximum with no shortcuts permitted.
You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.
Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.

"""
PROMPT_WEIGHT = 0.03


def dumps(o):
    return json.dumps(o, ensure_ascii=False)


def tools_block(tools):
    return TOOLS_HEAD + "\n".join(dumps(t.get("function", t)) for t in tools) + TOOLS_TAIL


def invoke(call):
    lines = []
    for k, v in call["arguments"].items():
        is_str = isinstance(v, str)
        lines.append(f'<{DSML}parameter name="{k}" string="{"true" if is_str else "false"}">'
                     f"{v if is_str else dumps(v)}</{DSML}parameter>")
    body = "\n".join(lines)
    return f'<{DSML}invoke name="{call["name"]}">\n{body}\n</{DSML}invoke>'


def calls_block(calls):
    return f"\n\n<{DSML}tool_calls>\n" + "\n".join(map(invoke, calls)) + f"\n</{DSML}tool_calls>"


def call_of(tc):
    """OpenAI-style tool call, or our own {"name", "arguments"}, to the latter."""
    if "function" not in tc:
        return tc
    f = tc["function"]
    args = f["arguments"]
    return {"name": f["name"], "arguments": json.loads(args) if isinstance(args, str) else args}


def merge_user(messages):
    """Runs of tool and user messages become one user turn with blocks joined by blank lines."""
    out = []
    for m in messages:
        if m["role"] in ("tool", "user"):
            text = m["content"]
            if m["role"] == "tool":
                text = f"<tool_result>{text}</tool_result>"
            if out and out[-1]["role"] == "user":
                out[-1]["parts"].append("\n\n")
            else:
                out.append({"role": "user", "parts": []})
            out[-1]["parts"] += text if isinstance(text, list) else [text]
        else:
            out.append(m)
    return out


def render(messages, thinking, tools=None, effort_max=False):
    """Segments of a conversation; a user content may be a list whose ("filler", text) parts
    are filler. Ends with the generation prompt unless the last message is the assistant's."""
    msgs = merge_user(messages)
    seg = [(BOS + (MAX_EFFORT if thinking and effort_max else ""), 0.0, False)]
    if msgs and msgs[0]["role"] == "system":
        seg.append((msgs[0]["content"], PROMPT_WEIGHT, False))
        msgs = msgs[1:]
    if tools:
        seg.append(("\n\n" + tools_block(tools), PROMPT_WEIGHT, False))
    last = max((i for i, m in enumerate(msgs) if m["role"] == "user"), default=-1)
    for i, m in enumerate(msgs):
        keep = thinking and (bool(tools) or i >= last)
        if m["role"] == "user":
            seg.append((USER, 0.0, False))
            for p in m["parts"]:
                seg.append((p[1], PROMPT_WEIGHT, True) if isinstance(p, tuple) else (p, PROMPT_WEIGHT, False))
            seg.append((ASSISTANT + (THINK if keep else UNTHINK), 0.0, False))
        elif m["role"] == "system":
            seg.append((m["content"], 0.0, False))
        else:
            keep = thinking and (bool(tools) or i > last)
            text = (m.get("reasoning_content") or "") + UNTHINK if keep else ""
            text += m.get("content") or ""
            if m.get("tool_calls"):
                text += calls_block([call_of(c) for c in m["tool_calls"]])
            seg.append((text + EOS, m.get("weight", 1.0), False))
    # neighbours without a special token between them are one piece of text for the tokenizer
    return seg


def plain(segments):
    return "".join(s[0] for s in segments)
