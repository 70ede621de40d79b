"""Repeating text and code exactly, and with one named change."""
import re
import prose
from gen_chat import system


def material(r, size=None):
    """A piece of text or code to copy, of very different kinds."""
    if not r.held and r.chance(.12):
        return grid(r)
    k = r.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 18)) if r.usual else r.randint(0, 20 if r.docs else 17 if r.tokens else 13)
    if k == 18 and not r.docs:
        k = 2
    if 14 <= k <= 17:
        return r.soup(r.randint(4, 70)) or "x"
    if k > 17:
        return doc_text(r)
    if k <= 2:
        return prose.paragraph(r, 1, size or r.choice((1, 2, 3, 5)))
    if k <= 6:
        return prose.code(r)
    if k == 7:
        return prose.markdown_list(r)
    if k == 8:
        return prose.table(r)
    if k == 9:
        return " ".join(r.made_up(1, 4) for _ in range(r.randint(3, 25)))
    if k == 10:
        return " ".join(r.ident() for _ in range(r.randint(2, 10)))
    if k == 11:
        return " ".join(r.text_value() for _ in range(r.randint(2, 8)))
    if k == 12:
        chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:-_/()[]{}<>+*=!?#%&@'\""
        return "".join(r.choice(chars) for _ in range(r.randint(8, 50))).strip() or "x"
    return "\n\n".join(prose.paragraph(r, 1, 3) for _ in range(r.randint(1, 3)))


def grid(r):
    """Rows of codes, numbers and dates, where only the order of single characters counts."""
    sep = r.choice((" | ", ",", "\t", ";", " ", ", ", "-"))
    cells = [r.choice((r.ident, r.ident, r.number, r.integer, r.date, r.clock, r.made_up, r.word)) for _ in range(r.randint(1, 5))]
    return "\n".join(sep.join(str(c()) for c in cells) for _ in range(r.randint(1, 8)))


def doc_text(r):
    """The beginning of a documentation paragraph, cut at a word."""
    p = r.choice(r.docs)
    n = r.randint(40, 450)
    if len(p) > n:
        p = p[:n].rsplit(" ", 1)[0]
    return p.strip()


ASK_AFTER = ("Repeat this text exactly.", "Repeat the text above exactly.", "Repeat the above word for word.", "Please copy the text above exactly.",
             "Write the above again, without any change.", "Give me exactly the same text.", "Say exactly the same again.")
ASK_BEFORE = ("Repeat the following text exactly:", "Repeat this exactly:", "Please repeat this text word for word:", "Copy this text exactly:",
              "Write this again without any change:", "Output exactly the following:", "Echo this:", "Repeat after me:", "Say exactly this:",
              "Copy the following code exactly:", "Please give me back this text unchanged:", "Print the following text, nothing else:",
              "Repeat the following:", "Reproduce this text exactly as it is:", "Type this again:", "Repeat exactly:")


def framed(r, text, before, after):
    """The request: instruction before or after the text, plain, quoted or fenced."""
    t = r.choice((text, text, text, f"```\n{text}\n```", f"\"{text}\"" if "\n" not in text and '"' not in text else text))
    if r.chance(0.75):
        return r.choice(before) + r.choice(("\n\n", "\n\n", "\n")) + t
    return t + "\n\n" + r.choice(after)


def repeat_turn(r):
    text = material(r)
    return framed(r, text, ASK_BEFORE, ASK_AFTER), text, r.choice(("I repeat the text exactly.", "The user wants the same text. I copy it exactly."))


WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NUM = re.compile(r"(?<![\w.])\d+(?![\w.])")


def edit(r, text):
    """One change: (instruction, changed text), or None if it does not fit."""
    k = r.randint(0, 9)
    words = [w for w in WORD.findall(text) if len(w) > 2]
    if k <= 4 and words:                                    # replace a word everywhere
        old, new = r.choice(words), r.choice((r.word(), r.made_up(1, 3), r.made_up(1, 2).capitalize()))
        out = re.sub(rf"(?<![A-Za-z0-9_]){re.escape(old)}(?![A-Za-z0-9_])", new, text)
        q = r.choice(("'{}'", '"{}"', "`{}`", "{}"))
        o, n = q.format(old), q.format(new)
        return r.choice((f"replace {o} with {n}", f"change {o} to {n}", f"rename {o} to {n}", f"use {n} instead of {o}",
                         f"put {n} in place of {o}", f"swap the word {o} for {n}")), out
    nums = NUM.findall(text)
    if k <= 6 and nums:                                     # change a number
        old, new = r.choice(nums), str(r.integer())
        out = re.sub(rf"(?<![\w.]){old}(?![\w.])", new, text)
        return r.choice((f"change the number {old} to {new}", f"replace {old} with {new}", f"set {old} to {new}",
                         f"write {new} instead of {old}")), out
    lines = text.split("\n")
    if k == 7:
        line = r.choice((prose.sentence(r), r.short_phrase(), f"# {r.short_phrase()}"))
        return r.choice((f"add the line \"{line}\" at the end", f"append the line \"{line}\"")), text + "\n" + line
    if k == 8:
        line = r.choice((r.short_phrase(), f"# {r.short_phrase()}", r.title()))
        return r.choice((f"add the line \"{line}\" at the top", f"put the line \"{line}\" in front")), line + "\n" + text
    if k == 9 and len(lines) > 2:
        if r.chance(.5):
            return r.choice(("remove the first line", "leave out the first line", "delete the first line")), "\n".join(lines[1:])
        return r.choice(("remove the last line", "leave out the last line", "delete the last line")), "\n".join(lines[:-1])
    return None


def edit_request(r, what):
    before = (f"Repeat the following text, but {what}:", f"Repeat this, but {what}:", f"In the following text, {what}. Output the whole text:",
              f"Please {what} in this text and give me the result:", f"Take this text and {what}:", f"Copy this text exactly, but {what}:",
              f"Write this again, but {what}:", f"{what[0].upper()}{what[1:]} in the following:", f"Here is a text. Please {what}:",
              f"Give me this text with one change: {what}.", f"Edit the text below: {what}.")
    after = (f"Repeat the text above, but {what}.", f"Now {what} and write the whole text again.", f"Please {what} in the text above.",
             f"Give me the same text, but {what}.")
    return before, after


def edit_turn(r):
    while True:
        text = material(r)
        e = edit(r, text)
        if e and e[1] != text and e[1].strip() == e[1]:
            break
    what, out = e
    before, after = edit_request(r, what)
    return framed(r, text, before, after), out, r.choice((f"I repeat the text and {what}.", f"The user wants one change: {what}."))


def dialogue(r, turn):
    out = []
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        u, t, think = turn(r)
        out += [{"role": "user", "content": u}, {"role": "assistant", "content": t, "reasoning_content": think}]
    return system(r) + out, None


def repeat_dialogue(r):
    return dialogue(r, repeat_turn)


def edit_dialogue(r):
    return dialogue(r, edit_turn)


def list_turn(r):
    """Look something up in a list that was just given: what follows X, item number N, the value of a key."""
    k = r.randint(0, 2)
    n = r.randint(3, 20)
    if k == 0:
        keys = list(dict.fromkeys(r.choice((r.word, r.made_up, r.person, r.ident))() for _ in range(n)))
        vals = [r.text_value() if not r.tokens or r.chance(.75) else r.soup(r.randint(1, 5)) or "x" for _ in keys]
        sep = r.choice((": ", " = ", " -> ", ", "))
        i = r.randrange(len(keys))
        q = r.choice((f"What is the value of {keys[i]}?", f"What belongs to {keys[i]}?", f"Look up {keys[i]}.", f"Which value does {keys[i]} have?"))
        text, ans = "\n".join(a + sep + b for a, b in zip(keys, vals)), vals[i]
    else:
        items = list(dict.fromkeys(r.choice((r.word, r.made_up, r.person, r.ident))() for _ in range(max(n, 4))))
        i = r.randrange(len(items) - 1)
        text = r.choice(("\n", ", ", " ")).join(items) if all(" " not in x for x in items) else "\n".join(items)
        if k == 1:
            q, ans = r.choice((f"What comes after {items[i]}?", f"Which item follows {items[i]}?")), items[i + 1]
        else:
            q, ans = r.choice((f"What comes before {items[i + 1]}?", f"Which item is in front of {items[i + 1]}?")), items[i]
    u = text + "\n\n" + q if r.chance(.6) else q + "\n\n" + text
    return u, ans, f"I look it up: {ans}"


def list_dialogue(r):
    return dialogue(r, list_turn)
