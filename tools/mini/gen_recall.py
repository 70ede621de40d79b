"""Facts planted in long filler text, with distractors of the same form, and questions about them."""
import lexicon as L
import prose
from gen_chat import system, chat_turn
from rand import cap

# (sentence, question forms, subject slot, value slot)
TEMPLATES = (
    ("The access code of {s} is {v}.", ("What is the access code of {s}?", "Which access code does {s} have?"), "place", "code"),
    ("The password for {s} is {v}.", ("What is the password for {s}?", "Which password opens {s}?"), "thing", "code"),
    ("The telephone number of {s} is {v}.", ("What is the telephone number of {s}?", "Under which telephone number can I reach {s}?"), "person", "number"),
    ("{s} lives in {v}.", ("Where does {s} live?", "In which city does {s} live?"), "person", "city"),
    ("The favourite colour of {s} is {v}.", ("What is the favourite colour of {s}?", "Which colour does {s} like best?"), "person", "color"),
    ("{s} keeps the key in the {v}.", ("Where does {s} keep the key?", "In what does {s} keep the key?"), "person", "thing1"),
    ("The secret number of {s} is {v}.", ("What is the secret number of {s}?", "Tell me the secret number of {s}."), "person", "number"),
    ("The secret word of {s} is {v}.", ("What is the secret word of {s}?", "Tell me the secret word of {s}."), "person", "word"),
    ("The owner of {s} is {v}.", ("Who is the owner of {s}?", "Who owns {s}?"), "place", "person"),
    ("The director of {s} is called {v}.", ("What is the director of {s} called?", "Who is the director of {s}?"), "place", "person"),
    ("The train to {s} leaves at {v}.", ("When does the train to {s} leave?", "At what time does the train to {s} leave?"), "city", "clock"),
    ("The meeting with {s} is on {v}.", ("When is the meeting with {s}?", "On which date is the meeting with {s}?"), "person", "date"),
    ("The room number of {s} is {v}.", ("What is the room number of {s}?", "In which room is {s}?"), "person", "number"),
    ("The serial number of {s} is {v}.", ("What is the serial number of {s}?", "Which serial number does {s} have?"), "thing", "code"),
    ("The file about {s} is called {v}.", ("What is the file about {s} called?", "Which file is about {s}?"), "thing", "file"),
    ("The email address of {s} is {v}.", ("What is the email address of {s}?", "How can I email {s}?"), "person", "email"),
    ("The dog of {s} is called {v}.", ("What is the dog of {s} called?", "What is the name of the dog of {s}?"), "person", "name"),
    ("The price of {s} is {v} coins.", ("What is the price of {s}?", "How much does {s} cost?"), "thing", "number"),
    ("The project {s} is led by {v}.", ("Who leads the project {s}?", "By whom is the project {s} led?"), "name", "person"),
    ("The special magic number for {s} is {v}.", ("What is the special magic number for {s}?", "Which special magic number belongs to {s}?"), "city", "number"),
    ("The ship {s} carries {v}.", ("What does the ship {s} carry?", "Which cargo does the ship {s} carry?"), "name", "food"),
    ("{s} works as {v}.", ("What does {s} work as?", "What is the job of {s}?"), "person", "job"),
    ("The version of {s} is {v}.", ("What is the version of {s}?", "Which version does {s} have?"), "file", "version"),
    ("The server {s} listens on port {v}.", ("On which port does the server {s} listen?", "What is the port of the server {s}?"), "name", "number"),
    ("Remember this: {s} means {v}.", ("What does {s} mean?", "What is the meaning of {s}?"), "code", "word"),
)


def slot(r, kind):
    if kind == "person":
        return r.person() if r.chance(.8) else r.first()
    if kind == "place":
        return r.choice((lambda: f"the {r.w(L.ADJ)} {r.w(L.NOUN)}", lambda: f"the {r.made_up(2, 3).capitalize()} {r.choice(('station', 'museum', 'library', 'hotel', 'tower', 'house', 'office', 'archive'))}",
                         lambda: f"the {r.w(L.NOUN)} in {r.city()}"))()
    if kind == "thing":
        return r.choice((lambda: f"the {r.w(L.ADJ)} {r.w(L.NOUN)}", lambda: f"the {r.w(L.COLOR)} {r.w(L.NOUN)}", lambda: f"the {r.w(L.NOUN)} of {r.first()}"))()
    return {"code": r.ident, "number": lambda: r.digits(2, 7), "city": r.city, "color": lambda: r.w(L.COLOR),
            "thing1": lambda: f"{r.w(L.ADJ)} {r.w(L.NOUN)}", "word": r.made_up, "clock": r.clock, "date": r.date, "file": r.filename,
            "email": r.email, "name": lambda: r.made_up(2, 3).capitalize(), "food": lambda: r.w(L.FOOD), "job": lambda: "a " + r.w(L.JOB),
            "version": lambda: f"{r.randint(0, 20)}.{r.randint(0, 99)}"}[kind]()


def fact(r, template=None):
    """(sentence, question, value)."""
    text, qs, sk, vk = template or r.choice(TEMPLATES)
    s, v = slot(r, sk), slot(r, vk)
    return cap(text.format(s=s, v=v)), cap(r.choice(qs).format(s=s)), v


LEADS = ("", "", "", "", "Read the text above. ", "Answer from the text above: ", "According to the text: ", "One question about the text: ",
         "The text above mentions it. ")


class Filler:
    """An endless supply of paragraphs: generated prose, documentation, code and distractor facts."""

    def __init__(self, r, docs=None):
        self.r, self.docs = r, docs
        self.style = r.random()
        self.distract = r.choice((0, 0.05, 0.15, 0.4))
        self.template = r.choice(TEMPLATES)

    def paragraph(self):
        r = self.r
        if r.chance(self.distract):
            return fact(r, self.template if r.chance(.5) else None)[0]
        if self.docs and self.style < 0.4 or self.docs and r.chance(0.1):
            return r.choice(self.docs)
        if self.style > 0.9:
            return prose.code(r) if r.chance(.5) else prose.markdown_list(r)
        return prose.paragraph(r)

    def take(self, chars):
        """Paragraphs of about `chars` characters in all."""
        out, n = [], 0
        while n < chars:
            p = self.paragraph().strip("\n ")
            out.append(p)
            n += len(p) + 2
        return out


def think_of(r, sentence, value):
    return r.choice((f"The text says: {sentence}", f"I look for it in the text. \"{sentence}\"", f"The text says: {sentence} So the answer is {value}."))


def answer_of(r, sentence, value):
    return sentence if r.chance(.5) else r.choice((f"{value}", f"It is {value}.", f"The answer is {value}."))


def dialogue(r, chars, docs=None, questions=None):
    """One long user message with planted facts, the first question after it, further questions in later turns."""
    n = questions or r.choice((1, 1, 2, 3, 4))
    filler = Filler(r, docs)
    paras = [("filler", p) for p in filler.take(chars)]
    facts = [fact(r, filler.template if r.chance(.3) else None) for _ in range(n)]
    for f in facts:
        paras.insert(r.randint(0, len(paras)), ("fact", f[0]))
    parts = []
    for kind, p in paras:
        text = p + "\n\n"
        parts.append(("filler", text) if kind == "filler" else text)
    r.shuffle(facts)
    msgs = system(r)
    for i, (sentence, q, v) in enumerate(facts):
        q = (r.choice(LEADS) if i == 0 else "") + q
        content = parts + [q] if i == 0 else q
        msgs += [{"role": "user", "content": content},
                 {"role": "assistant", "content": answer_of(r, sentence, v), "reasoning_content": think_of(r, sentence, v)}]
    return msgs, None


def sprinkled(r, chars, docs=None):
    """A long chat: facts told one by one between small talk and filler, then asked for."""
    msgs, facts = system(r), []
    filler = Filler(r, docs)
    for _ in range(r.randint(2, 5)):
        f = fact(r)
        facts.append(f)
        msgs += [{"role": "user", "content": r.choice(("", "Please remember: ", "Note this: ", "For later: ")) + f[0]},
                 {"role": "assistant", "content": r.choice(("I will remember that.", "Noted.", "Thank you, I will remember it.")), "reasoning_content": "The user tells me a fact."}]
        if r.chance(.5):
            u, t, think = chat_turn(r)
            msgs += [{"role": "user", "content": u}, {"role": "assistant", "content": t, "reasoning_content": think}]
        if r.chance(.7):
            text = "\n\n".join(filler.take(chars // 4))
            msgs += [{"role": "user", "content": ["Here is a text.\n\n", ("filler", text)]},
                     {"role": "assistant", "content": "I have read the text.", "reasoning_content": "The user gives me a text."}]
    r.shuffle(facts)
    for s, q, v in facts[: r.randint(1, len(facts))]:
        msgs += [{"role": "user", "content": q}, {"role": "assistant", "content": answer_of(r, s, v), "reasoning_content": f"The user told me: {s}"}]
    return msgs, None
