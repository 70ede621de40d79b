"""Tool schemas with names nobody has seen, requests for them, calls, results and refusals."""
import json
import everyday
import lexicon as L
import prose
from gen_chat import system, chat_turn, self_turn, hard_turn
from gen_math import problem, answer
from rand import a, cap, plural

USUAL_TYPES = ("string", "string", "string", "string", "integer", "integer", "number", "boolean", "array", "enum")
TYPES = ("string", "string", "string", "string", "integer", "integer", "number", "boolean", "array", "enum", "object")


def words_of(name):
    return name.replace("_", " ").replace("-", " ")


def styled(r, words):
    """A tool name from words, in one of the usual styles."""
    k = r.randint(0, 9)
    if k <= 5:
        return "_".join(words)
    if k <= 7:
        return words[0] + "".join(w.capitalize() for w in words[1:])
    if k == 8:
        return "-".join(words)
    return "".join(w.capitalize() for w in words)


def make_value(r, kind, spec):
    if kind == "string":
        return r.text_value()
    if kind == "integer":
        return r.integer()
    if kind == "number":
        return r.number()
    if kind == "boolean":
        return r.chance(0.5)
    if kind == "enum":
        return r.choice(spec["enum"])
    if kind == "object":
        return {k: make_value(r, v["type"], v) for k, v in spec["properties"].items()}
    item = spec["items"]["type"]
    pool = (r.integer,) if item == "integer" else (r.word, r.first, r.ident, r.city)
    f = r.choice(pool)
    return [f() for _ in range(r.randint(1, 4))]


def make_spec(r, name, kind, obj):
    desc = r.choice((f"The {words_of(name)} of the {obj}", f"{cap(words_of(name))}", f"The {words_of(name)}", f"{cap(words_of(name))} to use",
                     f"Which {words_of(name)}", f"The {words_of(name)}.", f"{cap(a(words_of(name)))} for the {obj}."))
    if kind == "enum":
        return {"type": "string", "enum": list(dict.fromkeys(r.word() for _ in range(r.randint(2, 4)))), **({"description": desc} if r.chance(.7) else {})}
    if kind == "array":
        return {"type": "array", "items": {"type": r.choice(("string", "string", "integer"))}, **({"description": desc} if r.chance(.7) else {})}
    if kind == "object":
        keys = list(dict.fromkeys(param_name(r) for _ in range(2)))
        return {"type": "object", "properties": {k: {"type": r.choice(("string", "integer"))} for k in keys}}
    return {"type": kind, **({"description": desc} if r.chance(.75) else {})}


def param_name(r):
    k = r.random()
    if k < .35:
        return r.w(L.PARAM)
    if k < .75:
        return r.made_up(1, 3)
    if k < .82:
        return f"{r.made_up(1, 2)}{r.choice(('_', '_', '-'))}{r.made_up(1, 2)}"
    if k < .9:
        return f"{r.word()}_{r.choice(('id', 'name', 'list', 'mode', 'count', 'key', 'type', 'value'))}".lower()
    return r.w(L.NOUN)


class Tool:
    """One function: schema, and how people ask for it."""

    def __init__(self, r, verb=None, obj=None, nparams=None):
        known = L.TOOL_VERB.train + L.TOOL_VERB.held if r.held else L.TOOL_VERB.train
        entry = verb or (r.choice(known) if r.held or r.chance(.55) else r.made_up(1, 2))
        self.entry = entry
        v, forms = entry.split(":") if ":" in entry else (entry, entry)
        self.obj = obj or (r.w(L.TOOL_OBJECT) if r.chance(.45) else r.made_up(2, 3))
        self.forms = forms.split(",")
        words = [v] + ([r.choice((r.w(L.ADJ), r.made_up(1, 2)))] if r.chance(.1) else []) + [self.obj]
        if r.chance(.1):
            words = [self.obj, v]
        self.adj = words[1] if len(words) == 3 else None
        self.name = styled(r, words) + (str(r.randint(2, 9)) if r.chance(.03) else "")
        n = r.choice((0, 1, 1, 2, 2, 2, 3, 3) if r.usual else (0, 1, 1, 2, 2, 2, 3, 3, 4, 5)) if nparams is None else nparams
        self.params = {}
        for _ in range(n):
            p = param_name(r)
            if p not in self.params and p != self.obj:
                kind = r.choice(USUAL_TYPES if r.usual else TYPES)
                self.params[p] = (kind, make_spec(r, p, kind, self.obj))
        names = list(self.params)
        self.required = [p for p in names if r.chance(.75)]
        thing = f"{self.adj} {self.obj}" if self.adj else self.obj
        self.thing = thing
        self.desc = r.choice((f"{cap(v)} {a(thing)}", f"{cap(v)} {a(thing)}.", f"{cap(v)} the {thing}.", f"Use this to {v} {a(thing)}.",
                              f"{cap(r.choice(self.forms))} {a(thing)}.", f"{cap(v)}s {a(thing)}.", f"{cap(v)} {plural(thing)}"))

    def schema(self, r):
        p = {"type": "object", "properties": {k: s for k, (_, s) in self.params.items()}}
        if self.required and r.chance(.9):
            p["required"] = self.required
        return {"type": "function", "function": {"name": self.name, "description": self.desc, "parameters": p}}

    def arguments(self, r):
        """All required parameters, and some of the others."""
        return {k: make_value(r, kind, spec) for k, (kind, spec) in self.params.items() if k in self.required or r.chance(.5)}

    def request(self, r, args):
        """A clause that asks for the call, such as: create an invoice with amount 5."""
        thing = self.thing
        what = r.choice((f"{r.choice(self.forms)} {a(thing)}", f"{r.choice(self.forms)} the {thing}", f"{r.choice(self.forms)} {a(thing)}"))
        if r.chance(.2):
            what = r.choice((f"use {self.name}", f"call {self.name}", f"run {self.name}", f"use the tool {self.name}"))
        if not args:
            return what
        parts = [self.say(r, k, v) for k, v in args.items()]
        if r.chance(.3):
            r.shuffle(parts)
        lead = r.choice((" with ", " with ", " using ", ", ", ": ", " where ", " for which "))
        if lead in (" where ", " for which "):
            parts = [f"{words_of(k)} is {self.quote(r, v)}" for k, v in args.items()]
        return what + lead + (", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 and r.chance(.7) else ", ".join(parts))

    def quote(self, r, v):
        if isinstance(v, bool):
            return r.choice(("true", "false", "yes", "no")[0 if v else 1::2])
        if isinstance(v, (int, float)):
            return str(v)
        if isinstance(v, str):
            q = r.choice(("{}", "{}", '"{}"', "'{}'"))
            return q.format(v)
        if isinstance(v, list) and r.chance(.6):
            xs = [str(x) for x in v]
            return ", ".join(xs[:-1]) + " and " + xs[-1] if len(xs) > 1 else xs[0]
        return json.dumps(v)

    def say(self, r, k, v):
        name = words_of(k) if r.chance(.8) else k
        q = self.quote(r, v)
        return r.choice((f"{name} {q}", f"{name} {q}", f"{name} = {q}", f"{name}: {q}", f"the {name} {q}", f"{q} as {name}", f"{name} set to {q}"))


# natural tools: name, description, {param: (type, description, value maker)}, request forms
def natural(r):
    sh = lambda: r.choice((prose.shell_code(r).split("\n")[0], f"ls {r.path()}", f"cat {r.filename()}", "pwd", "make test", f"echo {r.word()}"))
    expr = lambda: f"{r.randint(2, 999)} {r.choice('+-*/')} {r.randint(2, 999)}"
    return (
        ("get_weather", "Get the current weather for a city", {"city": ("string", "The city", r.city)},
         ("What is the weather in {city}?", "How is the weather in {city} today?", "Is it raining in {city}?", "Tell me the weather for {city}.", "weather in {city}?")),
        ("get_time", "Get the current time in a city", {"city": ("string", "City name", r.city)},
         ("What time is it in {city}?", "Tell me the time in {city}.", "How late is it in {city}?")),
        ("bash", "Run a shell command", {"command": ("string", "The command", sh)},
         ("Run {command}", "Run the command `{command}`.", "Please execute: {command}", "Execute `{command}` in the shell.", "Run this in the terminal: {command}")),
        ("read_file", "Read a file", {"path": ("string", "Path of the file", r.path)},
         ("Read {path}", "Show me the file {path}.", "What is in {path}?", "Open {path} and show me the content.", "Please read the file {path}.")),
        ("list_files", "List the files of a directory", {"path": ("string", "Directory", lambda: r.choice(("src", "/tmp", r.word() + "/", "docs")))},
         ("Which files are in {path}?", "List the files in {path}.", "Show me the content of the directory {path}.")),
        ("write_file", "Write text to a file", {"path": ("string", "Path", r.filename), "content": ("string", "Text to write", r.short_phrase)},
         ("Write \"{content}\" to {path}.", "Create a file {path} with the content \"{content}\".", "Put the text \"{content}\" into {path}.")),
        ("search_web", "Search the web", {"query": ("string", "Search words", r.short_phrase)},
         ("Search the web for {query}.", "Google {query}.", "Find something about {query} on the internet.", "Look up {query} online.")),
        ("calculator", "Evaluate an arithmetic expression", {"expression": ("string", "The expression", expr)},
         ("Use the calculator for {expression}.", "Calculate {expression} with the calculator.", "Please evaluate {expression}.")),
        ("send_email", "Send an email", {"to": ("string", "Recipient", r.email), "subject": ("string", "Subject", r.short_phrase), "body": ("string", "Text", lambda: prose.sentence(r))},
         ("Send an email to {to} with the subject \"{subject}\" and the text \"{body}\".", "Email {to}: subject \"{subject}\", text \"{body}\".")),
        ("set_timer", "Set a timer", {"minutes": ("integer", "Minutes", lambda: r.randint(1, 90))},
         ("Set a timer for {minutes} minutes.", "Wake me in {minutes} minutes.", "Start a timer of {minutes} minutes, please.")),
        ("get_stock_price", "Get the price of a stock", {"symbol": ("string", "Ticker symbol", lambda: "".join(r.choice("ABCDEFGHKLMNPRSTVX") for _ in range(r.randint(2, 4))))},
         ("What is the stock price of {symbol}?", "How much is {symbol} trading at?", "Get me the price of {symbol}.")),
        ("translate", "Translate a text", {"text": ("string", "Text", r.short_phrase), "language": ("string", "Target language", lambda: r.choice(("German", "French", "Spanish", "Italian", "Dutch", "Polish")))},
         ("Translate \"{text}\" into {language}.", "How do you say \"{text}\" in {language}?", "Put \"{text}\" into {language}.")),
        ("grep", "Search a pattern in files", {"pattern": ("string", "Pattern", r.word), "path": ("string", "Where", r.path)},
         ("Search for {pattern} in {path}.", "Find \"{pattern}\" in {path}.", "Where does {pattern} occur in {path}?")),
        ("add_event", "Add an event to the calendar", {"title": ("string", "Title", r.title), "date": ("string", "Date", r.date), "time": ("string", "Time", r.clock)},
         ("Add {title} to my calendar on {date} at {time}.", "I have {title} on {date} at {time}. Put it into the calendar.")),
        ("convert_currency", "Convert an amount of money", {"amount": ("number", "Amount", r.number), "from": ("string", "Currency", lambda: r.choice(("USD", "EUR", "GBP", "JPY"))), "to": ("string", "Currency", lambda: r.choice(("CHF", "SEK", "PLN", "CAD")))},
         ("Convert {amount} {from} to {to}.", "How much is {amount} {from} in {to}?")),
    )


class NaturalTool:
    """A tool of everyday use; parameter and tool names are often replaced by made-up ones."""

    def __init__(self, r):
        self.name, self.desc, params, forms = r.choice(natural(r) if r.held else natural(r) + everyday.tools(r))
        self.forms = forms if r.held or len(forms) < 3 else forms[:-1]
        if not r.held:
            self.forms += everyday.MORE.get(self.name, ())
        self.makers = {k: v[2] for k, v in params.items()}
        new = (lambda: r.w(L.PARAM) if r.chance(.5) else r.made_up(1, 3))
        self.rename = {k: (new() if r.chance(.8 if r.held else .35) else k) for k in params}
        if len(set(self.rename.values())) < len(params):
            self.rename = {k: k for k in params}
        self.params = {self.rename[k]: (v[0], {"type": v[0], "description": v[1]}) for k, v in params.items()}
        self.required = list(self.params)
        self.thing = self.desc                              # stays the same under any name
        if r.held or r.chance(.5):
            self.name = r.choice((self.name + "_" + r.made_up(1, 2), r.made_up(2, 3), f"{r.made_up(1, 2)}_{r.made_up(1, 2)}",
                                  r.w(L.NOUN) + "_" + self.name, r.w(L.NOUN) + r.w(L.TOOL_OBJECT).capitalize()))
        self.obj = self.desc
        self.entry = self.desc

    schema = Tool.schema

    def arguments(self, r):
        return {self.rename[k]: f() for k, f in self.makers.items()}

    def request(self, r, args):
        back = {v: k for k, v in self.rename.items()}
        s = r.choice(self.forms).format(**{back[k]: v for k, v in args.items()}).rstrip(".")
        return s[0].lower() + s[1:] if s[1:2].islower() and s.split()[0] not in ("I",) else s


def toolset(r, n=None, natural_share=0.35):
    """Distinct tools; some share the verb or the object with another one."""
    tools = []
    n = n or r.choice((1, 1, 2, 2, 3, 3, 4, 5))
    while len(tools) < n:
        if r.chance(natural_share):
            t = NaturalTool(r)
        elif tools and r.chance(.35):
            o = r.choice(tools)
            t = Tool(r, verb=o.entry) if r.chance(.5) and ":" in o.entry else Tool(r, obj=o.obj if " " not in o.obj else None)
        else:
            t = Tool(r)
        if all(t.name != o.name and (t.obj, t.entry) != (o.obj, o.entry) for o in tools):
            tools.append(t)
    return tools


POLITE = (lambda r, s: cap(s) + ".", lambda r, s: cap(s) + ".", lambda r, s: f"Please {s}.", lambda r, s: f"Can you {s}?", lambda r, s: f"Could you please {s}?",
          lambda r, s: f"I want you to {s}.", lambda r, s: f"I need you to {s}.", lambda r, s: f"I would like to {s}.", lambda r, s: f"Help me to {s}.",
          lambda r, s: f"Now {s}, please.", lambda r, s: s, lambda r, s: f"Let us {s}.", lambda r, s: f"Hello, {s}, please.")


def ask(r, tool, args):
    s = tool.request(r, args)
    if isinstance(tool, NaturalTool):
        q = "?" if s.split()[0].lower() in ("what", "how", "is", "which", "where", "who") else r.choice((".", ".", ""))
        return cap(s) + (q if not s.endswith("?") else "")
    return r.choice(POLITE)(r, s)


def think_call(r, calls):
    names = " and ".join(c["name"] for c in calls)
    return r.choice((f"I call {names}.", f"The tool {names} fits.", f"The user wants me to use {names}."))


def calls_message(r, calls, content=""):
    return {"role": "assistant", "content": content, "reasoning_content": think_call(r, calls), "tool_calls": calls}


def one_call(r):
    tools = toolset(r)
    t = r.choice(tools)
    args = t.arguments(r)
    call = {"name": t.name, "arguments": args}
    return tools, t, call, ask(r, t, args)


def single(r):
    tools, t, call, u = one_call(r)
    return system(r) + [{"role": "user", "content": u}, calls_message(r, [call])], [x.schema(r) for x in tools]


JOIN = ("{a}. Also {b}.", "{a}, and {b}.", "{a}. And {b}.", "{a}; also {b}.", "Please {a} and also {b}.", "Two things: {a}, and {b}.", "{a} and at the same time {b}.",
        "{a}. In parallel, {b}.", "First, {a}. Second, {b}.", "Do both: {a}; {b}.")


def two_calls(r, tools=None):
    tools = tools or toolset(r)
    t1, t2 = r.choice(tools), r.choice(tools)
    if t1 is t2 and not t1.params:
        t1, t2 = (tools[0], tools[-1])
    a1, a2 = t1.arguments(r), t2.arguments(r)
    low = lambda t, x: t.request(r, x).rstrip("?. ")
    text = cap(r.choice(JOIN).format(a=low(t1, a1), b=low(t2, a2)))
    return tools, [{"name": t1.name, "arguments": a1}, {"name": t2.name, "arguments": a2}], text


def parallel(r):
    tools, calls, u = two_calls(r)
    return system(r) + [{"role": "user", "content": u}, calls_message(r, calls)], [x.schema(r) for x in tools]


def result_value(r):
    return r.choice((r.text_value, r.integer, r.number, r.ident, lambda: r.chance(.5), r.word))()


def spoken(v):
    return {True: "true", False: "false"}.get(v, v) if isinstance(v, bool) else v


def result_of(r):
    """(tool result text, answer that uses it, strings that must occur)."""
    k = r.randint(0, 7)
    if k <= 4:
        keys = list(dict.fromkeys(param_name(r) for _ in range(r.randint(1, 3))))
        obj = {x: result_value(r) for x in keys}
        parts = [f"the {words_of(x)} is {spoken(v)}" for x, v in obj.items()]
        text = json.dumps(obj, ensure_ascii=False) if k <= 3 else "\n".join(f"{x}: {spoken(v)}" for x, v in obj.items())
        body = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
        return text, r.choice(("", "", "here is the result: ", "it is done: ")) + body, [str(spoken(v)) for v in obj.values()]
    if k == 5:
        v = str(result_value(r))
        return v, r.choice(("the result is {}", "the tool returned {}", "the answer is {}")).format(v), [v]
    if k == 6:
        e = r.choice(("not found", "permission denied", "timeout", "invalid value", "connection refused", r.short_phrase()))
        return json.dumps({"error": e}), f"I am sorry, the tool reported an error: {e}", [e]
    s = prose.sentence(r).rstrip(".!")
    return s, r.choice(("the tool says: {}", "the result is: {}")).format(s), [s]


def finish(s):
    return cap(s) + "." if s[:1].islower() else s + "."


def with_result(r):
    """Call, result, answer; sometimes another request afterwards."""
    tools, t, call, u = one_call(r)
    text, body, _ = result_of(r)
    msgs = system(r) + [{"role": "user", "content": u}, calls_message(r, [call]), {"role": "tool", "content": text},
                        {"role": "assistant", "content": finish(body), "reasoning_content": r.choice(("I have the result.", "The tool returned the result. I answer."))}]
    if r.chance(.3):
        t2 = r.choice(tools)
        args = t2.arguments(r)
        msgs += [{"role": "user", "content": ask(r, t2, args)}, calls_message(r, [{"name": t2.name, "arguments": args}])]
    elif r.chance(.15):
        q, a_, th = chat_turn(r)
        msgs += [{"role": "user", "content": q}, {"role": "assistant", "content": a_, "reasoning_content": th}]
    return msgs, [x.schema(r) for x in tools]


def with_two_results(r):
    tools, calls, u = two_calls(r)
    t1, b1, _ = result_of(r)
    t2, b2, _ = result_of(r)
    return system(r) + [{"role": "user", "content": u}, calls_message(r, calls), {"role": "tool", "content": t1}, {"role": "tool", "content": t2},
                        {"role": "assistant", "content": finish(b1) + " " + finish(b2), "reasoning_content": "I have both results."}], [x.schema(r) for x in tools]


REFUSE = ("I am sorry, none of the tools can do that.", "I am sorry, I have no tool for that.", "Sorry, none of my tools fits this request.",
          "I am sorry, I cannot do that with the tools I have.")


def no_tool(r):
    """Tools are there, but none fits: answer, or say so."""
    tools = toolset(r)
    k = r.randint(0, 9)
    if k <= 4:                                             # a request for some other tool
        have = {(t.obj, t.entry) for t in tools}
        while True:
            other = NaturalTool(r) if r.chance(.3) else Tool(r)
            if all(other.obj != o and other.entry.split(":")[0] != e.split(":")[0] for o, e in have) and not any(
                    other.name in t.name or t.name in other.name for t in tools):
                break
        args = other.arguments(r)
        u = ask(r, other, args)
        turn = (u, r.choice(REFUSE), r.choice(("None of the tools fits.", "No tool can do this.")))
    elif k == 5:
        q, _, v, xy, sign = problem(r)
        if xy[0] > 20 or xy[1] > 20:
            xy = (xy[0] % 10, xy[1] % 10)
            v = xy[0] + xy[1] if sign == "+" else xy[0] * xy[1]
            q = f"What is {xy[0]} {sign} {xy[1]}?"
        turn = (q, answer(r, v, xy, sign), f"No tool is needed. {xy[0]} {sign} {xy[1]} = {v}.")
    elif k == 6:
        turn = self_turn(r)
    elif k == 7:
        turn = hard_turn(r)
    else:
        turn = chat_turn(r)
    u, t, think = turn
    if k >= 6:
        think = r.choice(("No tool is needed. ", "")) + think
    return system(r) + [{"role": "user", "content": u}, {"role": "assistant", "content": t, "reasoning_content": think}], [x.schema(r) for x in tools]


def session(r):
    """A longer agent-like session with the same tools."""
    tools = toolset(r)
    msgs = system(r)
    for _ in range(r.randint(2, 6)):
        if r.chance(.35):
            _, calls, u = two_calls(r, tools)
        else:
            t = r.choice(tools)
            args = t.arguments(r)
            calls, u = [{"name": t.name, "arguments": args}], ask(r, t, args)
        results = [result_of(r) for _ in calls]
        msgs += [{"role": "user", "content": u}, calls_message(r, calls)]
        msgs += [{"role": "tool", "content": text} for text, _, _ in results]
        msgs.append({"role": "assistant", "content": " ".join(finish(body) for _, body, _ in results),
                     "reasoning_content": "I have the result." if len(calls) == 1 else "I have both results."})
    return msgs, [x.schema(r) for x in tools]
