"""Evaluation cases: cases.py OUT_DIR writes cases.jsonl and filler.txt.

Names, objects, parameters and values come from the held-out parts of the word lists or are made
up; phrasings of chat and questions about the model are held out too; the verbs of tool requests
are not. Values and texts are of the usual kinds (people, places, dates, codes, files, prose,
code, tables), without the letter salad of training. make() also gives a reference answer per
case, which only speeds up evaluate.py.
"""
import json
import os
import sys

import gen_chat
import gen_copy
import gen_math
import gen_recall
import gen_tools
import prose
from rand import Rand

SEED = 990_001
COUNT = {"chat": 30, "self": 30, "math": 50, "tool": 60, "parallel": 50, "result": 50, "notool": 50, "recall2k": 40,
         "recall8k": 40, "recall32k": 40, "repeat": 50, "edit": 50}
CONTEXT_TOKENS = {"recall2k": 2048, "recall8k": 8192, "recall32k": 32768}
CHAT = ((gen_chat.hello, ("Hello", "Hi", "Good", "Nice")), (gen_chat.how_are_you, ("fine", "well")), (gen_chat.thanks, ("welcome", "pleasure", "Glad", "glad")),
        (gen_chat.bye, ("oodbye", "take care", "See you", "nice day")), (gen_chat.feelings, ("glad", "happy", "nice", "sorry")),
        (gen_chat.hard_turn, ("sorry", "Sorry")), (gen_chat.ask_topic, ("small model", "happy to talk")))
SELF_WORDS = (("ds4-mini",), ("test", "demonstrat"), ("tools", "arithmetic"), ("small", "20 million"), ("DeepSeek V4",), ("ds4-mini",), ("ds4",), ("ds4",), ("local", "any machine", "your own machine"))


def filler_text(r):
    """Held-out prose with a few facts of the kind that are asked for."""
    out, size = [], 0
    while size < 215_000:
        p = gen_recall.fact(r)[0] if r.chance(.03) else prose.paragraph(r, 3, 7)
        out.append(p)
        size += len(p) + 2
    return "\n\n".join(out) + "\n"


def openai_messages(msgs):
    """Our messages with OpenAI-style calls and results; the last assistant turn is cut off."""
    out, n, ids = [], 0, []
    for m in msgs:
        m = dict(m)
        m.pop("weight", None)
        if m["role"] == "assistant" and m.get("tool_calls"):
            ids = [f"call_{n + i}" for i in range(len(m["tool_calls"]))]
            n += len(ids)
            m["tool_calls"] = [{"id": i, "type": "function", "function": {"name": c["name"], "arguments": json.dumps(c["arguments"], ensure_ascii=False)}}
                               for i, c in zip(ids, m["tool_calls"])]
        if m["role"] == "tool":
            m = {"role": "tool", "tool_call_id": ids.pop(0), "content": m["content"]}
        out.append(m)
    return out


def chat_case(r, i):
    if i % 4 == 3:
        turns = gen_chat.memory_dialogue(r)
        msgs = gen_chat.turns_to_messages(turns)
        want = {"contains": [turns[-1][2].split(": ")[1].rstrip(".")]}
    elif i % 4 == 2:
        q, v = gen_chat.FACTS[r.randrange(len(gen_chat.FACTS))]
        lead = r.choice(("", "Hello! ", "I wonder: ", "Help me please. "))
        msgs = gen_chat.turns_to_messages([(lead + q, f"It is {v}.", f"This is a simple question. The answer is {v}.")])
        want = {"any": [v, v[0].upper() + v[1:]]}
    else:
        f, words = CHAT[i % len(CHAT)]
        msgs = gen_chat.turns_to_messages([f(r)])
        want = {"any": list(words)}
    return gen_chat.system(r) + msgs, None, want


def self_case(r, i):
    k = i % len(gen_chat.SELF)
    qs, answers, _ = gen_chat.SELF[k]
    q = r.choice(gen_chat.part(r, qs))
    return gen_chat.system(r) + gen_chat.turns_to_messages([(q, answers[0], "The user asks about me. I am ds4-mini, a small model bundled with ds4.")]), None, {"any": list(SELF_WORDS[k])}


def math_case(r, i):
    q, think, v, xy, sign = gen_math.problem(r)
    return gen_chat.system(r) + gen_chat.turns_to_messages([(q, f"{xy[0]} {sign} {xy[1]} = {v}", think)]), None, {"contains": [str(v)]}


def calls_want(msgs):
    return {"calls": [{"name": c["name"], "arguments": c["arguments"]} for c in msgs[-1]["tool_calls"]]}


def tool_case(r, i):
    msgs, tools = gen_tools.single(r)
    return msgs, tools, calls_want(msgs)


def parallel_case(r, i):
    msgs, tools = gen_tools.parallel(r)
    return msgs, tools, calls_want(msgs)


def result_case(r, i):
    tools, _, call, u = gen_tools.one_call(r)
    text, body, strings = gen_tools.result_of(r)
    msgs = gen_chat.system(r) + [{"role": "user", "content": u}, gen_tools.calls_message(r, [call]), {"role": "tool", "content": text},
                                 {"role": "assistant", "content": gen_tools.finish(body), "reasoning_content": "I have the result."}]
    return msgs, [t.schema(r) for t in tools], {"contains": strings}


def notool_case(r, i):
    msgs, tools = gen_tools.no_tool(r)
    return msgs, tools, {"no_calls": True}


def copy_case(r, turn):
    u, t, think = turn(r)
    while not (t.strip() == t and 10 <= len(t) <= 700):
        u, t, think = turn(r)
    return gen_chat.system(r) + gen_chat.turns_to_messages([(u, t, think)]), None, {"equals": t}


def recall_case(r, kind, filler):
    s, q, v = gen_recall.fact(r)
    while s.replace(v, "")[:-2] in filler or v in filler:
        s, q, v = gen_recall.fact(r)
    msgs = gen_chat.system(r) + gen_chat.turns_to_messages([(q, s, f"The text says: {s}")])
    context = {"tokens": CONTEXT_TOKENS[kind], "depth": round(r.uniform(0.02, 0.98), 3), "offset": r.randrange(len(filler)), "fact": s}
    return msgs, None, {"contains": [v]}, context


def make(seed=SEED, scale=1):
    """(cases, filler text); each case carries its reference under "reference". Another seed gives
    another draw, to choose by; `scale` times as many cases."""
    filler = filler_text(Rand(seed, held=True))
    makers = {"chat": chat_case, "self": self_case, "math": math_case, "tool": tool_case, "parallel": parallel_case, "result": result_case,
              "notool": notool_case, "repeat": lambda r, i: copy_case(r, gen_copy.repeat_turn), "edit": lambda r, i: copy_case(r, gen_copy.edit_turn)}
    out = []
    for kind, count in COUNT.items():
        r = Rand(f"{seed} {kind}", held=True)
        r.usual = True
        for i in range(count * scale):
            made = makers[kind](r, i) if kind in makers else recall_case(r, kind, filler)
            msgs, tools, want = made[:3]
            ref = dict(msgs[-1])
            case = {"id": f"{kind}-{i:03d}", "kind": kind, "thinking": True if kind == "math" else r.chance(.6), "max_tokens": 512,
                    "messages": openai_messages(msgs[:-1])}
            if tools:
                case["tools"] = tools
            if len(made) > 3:
                case["context"] = made[3]
            case["expect"] = want
            case["reference"] = ref
            out.append(case)
    return out, filler


def main(folder):
    cases, filler = make()
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "filler.txt"), "w", encoding="utf-8") as f:
        f.write(filler)
    with open(os.path.join(folder, "cases.jsonl"), "w", encoding="utf-8") as f:
        for c in cases:
            f.write(json.dumps({k: v for k, v in c.items() if k != "reference"}, ensure_ascii=False) + "\n")
    print(len(cases), "cases,", len(filler.encode()), "bytes of filler")


if __name__ == "__main__":
    main(sys.argv[1])
