"""Addition and multiplication of small numbers, worked out digit by digit in the reasoning."""
import lexicon as L
from rand import plural
from gen_chat import system, turns_to_messages


def add_steps(x, y):
    """Column addition from the right; returns the text and the sum."""
    steps, carry, out = [], 0, ""
    a, b = str(x), str(y)
    for i in range(max(len(a), len(b))):
        p = int(a[-1 - i]) if i < len(a) else 0
        q = int(b[-1 - i]) if i < len(b) else 0
        s = p + q + carry
        steps.append(f"{p} + {q}" + (f" + {carry}" if carry else "") + f" = {s}, write {s % 10}" +
                     (" carry 1" if s > 9 else ""))
        carry, out = s // 10, str(s % 10) + out
    if carry:
        out = "1" + out
        steps.append("write 1")
    assert int(out) == x + y
    return "; ".join(steps) + f". So {x} + {y} = {x + y}.", x + y


def times_digit(x, d):
    """Multiply by one digit, column by column."""
    steps, carry, a = [], 0, str(x)
    for i in range(len(a)):
        p = int(a[-1 - i])
        s = p * d + carry
        steps.append(f"{p} * {d} = {p * d}" + (f", + {carry} = {s}" if carry else "") + f", write {s % 10}" +
                     (f" carry {s // 10}" if s > 9 else ""))
        carry = s // 10
    if carry:
        steps.append(f"write {carry}")
    return "; ".join(steps) + f". So {x} * {d} = {x * d}."


def mul_steps(x, y):
    if y < 10:
        return times_digit(x, y)
    if x < 10:
        return f"{x} * {y} = {y} * {x}. " + times_digit(y, x)
    t, u = y // 10, y % 10
    text = [f"{y} = {t}0 + {u}.", times_digit(x, u) if u else f"{x} * 0 = 0.", times_digit(x, t), f"So {x} * {t}0 = {x * t * 10}."]
    return " ".join(text) + " " + add_steps(x * u, x * t * 10)[0] + f" So {x} * {y} = {x * y}."


def operand(r, digits):
    return r.randint(0 if digits == 1 else 10 ** (digits - 1), 10 ** digits - 1)


def problem(r):
    """(question, reasoning, result, operands, sign)."""
    if r.chance(0.5):
        x, y = operand(r, r.randint(1, 3)), operand(r, r.randint(1, 3))
        return ask(r, x, y, "+"), add_steps(x, y)[0], x + y, (x, y), "+"
    x, y = operand(r, r.randint(1, 2)), operand(r, r.randint(1, 2))
    return ask(r, x, y, "*"), mul_steps(x, y), x * y, (x, y), "*"


def ask(r, x, y, sign):
    if sign == "+":
        if r.chance(0.25):
            n, k = r.first(), plural(r.w(L.NOUN))
            return r.choice((f"{n} has {x} {k} and gets {y} more. How many {k} does {n} have now?",
                             f"There are {x} {k} in one box and {y} {k} in another. How many {k} are there in all?",
                             f"I bought {x} {k} on Monday and {y} on Tuesday. How many is that together?",
                             f"{n} counted {x} {k}, then {y} more. What is the total?"))
        forms = (f"What is {x} + {y}?", f"{x} + {y} = ?", f"What is {x} plus {y}?", f"Add {x} and {y}.", f"Compute {x} + {y}.",
                 f"Please add {x} and {y}.", f"How much is {x} + {y}?", f"What is the sum of {x} and {y}?", f"Calculate {x} plus {y}.",
                 f"{x}+{y}", f"{x} + {y}", f"Can you add {x} and {y} for me?", f"Tell me {x} plus {y}.", f"what's {x}+{y}?",
                 f"I need the sum of {x} and {y}.", f"How much do {x} and {y} make?")
    else:
        if r.chance(0.25):
            n, k = r.first(), plural(r.w(L.NOUN))
            return r.choice((f"{n} has {x} boxes with {y} {k} each. How many {k} does {n} have?",
                             f"There are {x} rows of {y} {k}. How many {k} are there?",
                             f"One of the {k} costs {y} coins. How many coins do {x} {k} cost?",
                             f"Each of {x} people carries {y} {k}. How many {k} is that?"))
        forms = (f"What is {x} * {y}?", f"{x} * {y} = ?", f"What is {x} times {y}?", f"Multiply {x} by {y}.", f"Compute {x} * {y}.",
                 f"Please multiply {x} and {y}.", f"How much is {x} times {y}?", f"What is the product of {x} and {y}?",
                 f"Calculate {x} times {y}.", f"{x}*{y}", f"{x} * {y}", f"What is {x} x {y}?", f"Can you multiply {x} by {y} for me?",
                 f"Tell me {x} times {y}.", f"what's {x}*{y}?", f"I need the product of {x} and {y}.")
    return r.choice(forms)


def answer(r, value, xy, sign):
    x, y = xy
    return r.choice((f"{x} {sign} {y} = {value}", f"The answer is {value}.", f"{value}", f"The result is {value}.", f"It is {value}.",
                     f"{x} {sign} {y} is {value}."))


def dialogue(r):
    """Only the last turn keeps its reasoning, so only its answer counts."""
    out = []
    for _ in range(r.choice((1, 1, 2, 3))):
        q, think, v, xy, sign = problem(r)
        out += [{"role": "user", "content": q},
                {"role": "assistant", "content": answer(r, v, xy, sign), "reasoning_content": think, "weight": 0.0}]
    out[-1]["weight"] = 1.0
    return system(r) + out, None


def drill(r):
    """Many small facts in one dialogue without reasoning: the tables of addition and multiplication."""
    turns = []
    for _ in range(r.randint(3, 8)):
        x, y = r.randint(0, 12), r.randint(0, 12)
        sign = r.choice("+*")
        v = x + y if sign == "+" else x * y
        turns.append((ask(r, x, y, sign), answer(r, v, (x, y), sign), ""))
    return system(r) + turns_to_messages(turns), None
