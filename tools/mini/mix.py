"""The mixture of document kinds, and their packing into rows of 128-token chunks."""
import numpy as np

import gen_chat
import gen_copy
import gen_math
import gen_recall
import gen_tools
import prompt

CHUNK = 128
MAX_POS = 1 << 20


def short_task(r):
    """Any short dialogue, to be put behind a long text."""
    return r.choice((gen_chat.dialogue, gen_math.dialogue, gen_copy.repeat_dialogue, gen_copy.edit_dialogue, gen_tools.single,
                     gen_tools.with_result, gen_tools.parallel, gen_tools.no_tool))(r)


def after_text(r, chars, docs):
    """A long text first, then an unrelated task in the same conversation."""
    msgs, tools = short_task(r)
    at = 1 if msgs[0]["role"] == "system" else 0
    text = "\n\n".join(gen_recall.Filler(r, docs).take(chars))
    lead = [{"role": "user", "content": ["Here is a text.\n\n", ("filler", text)]},
            {"role": "assistant", "content": "I have read the text.", "reasoning_content": "The user gives me a text."}]
    return msgs[:at] + lead + msgs[at:], tools


def plain_text(r, chars, docs):
    """Documentation or prose without a conversation."""
    return "\n\n".join(gen_recall.Filler(r, docs).take(chars))


# kind: (weight, maker(r, room in characters, docs)); long ones fill what room there is
KINDS = {
    "chat": (6, lambda r, n, d: gen_chat.dialogue(r)),
    "math": (7, lambda r, n, d: gen_math.dialogue(r)),
    "drill": (1, lambda r, n, d: gen_math.drill(r)),
    "repeat": (11, lambda r, n, d: gen_copy.repeat_dialogue(r)),
    "edit": (11, lambda r, n, d: gen_copy.edit_dialogue(r)),
    "list": (5, lambda r, n, d: gen_copy.list_dialogue(r)),
    "tool": (16, lambda r, n, d: gen_tools.single(r)),
    "parallel": (9, lambda r, n, d: gen_tools.parallel(r)),
    "result": (8, lambda r, n, d: gen_tools.with_result(r)),
    "results": (3, lambda r, n, d: gen_tools.with_two_results(r)),
    "notool": (8, lambda r, n, d: gen_tools.no_tool(r)),
    "session": (3, lambda r, n, d: gen_tools.session(r)),
    "recall": (12, lambda r, n, d: gen_recall.dialogue(r, r.randint(200, n), d)),
    "sprinkled": (3, lambda r, n, d: gen_recall.sprinkled(r, r.randint(200, max(n // 5, 300)), d)),
    "after": (4, lambda r, n, d: after_text(r, r.randint(200, max(n // 2, 300)), d)),
    "text": (2, lambda r, n, d: plain_text(r, r.randint(500, n), d)),
}
NAMES = list(KINDS)


def segments(r, kind, chars, docs):
    made = KINDS[kind][1](r, chars, docs)
    if isinstance(made, str):
        return [(prompt.BOS, 0.0, False), (made, 0.2, True)]
    msgs, tools = made
    thinking = r.chance(0.95 if kind == "math" else 0.6)        # sums are not to be guessed
    return prompt.render(msgs, thinking, tools, effort_max=r.chance(0.03))


def encode(segs, tok):
    """ids, weights (float16) and filler flags of rendered segments."""
    ids, starts = tok(prompt.plain(segs))
    ends = np.cumsum([len(s[0]) for s in segs])
    which = np.searchsorted(ends, np.asarray(starts), "right")
    weight = np.array([s[1] for s in segs] + [0.0], np.float16)[which]
    filler = np.array([s[2] for s in segs] + [False])[which]
    return np.asarray(ids, np.int16), weight, filler


def bases(r, filler, jump):
    """Position base of each chunk: contiguous, or with jumps inside filler."""
    n = -(-len(filler) // CHUNK)
    base = np.arange(n, dtype=np.int64) * CHUNK
    if jump:
        sites = [c for c in range(1, n) if filler[c * CHUNK - 1] and filler[min(c * CHUNK, len(filler) - 1)]]
        room = MAX_POS // CHUNK - n - 1
        for c in r.some(sites, 1, 4) if sites else ():
            step = min(int(2 ** r.uniform(0, 13)), room)
            room -= step
            base[c:] += step * CHUNK
    return base


class Packer:
    """Endless batches of B rows x T tokens: dict of numpy arrays."""

    def __init__(self, r, tok, docs, rows, length, weights=None, long_share=0.0):
        self.r, self.tok, self.docs = r, tok, docs
        self.rows, self.length = rows, length
        self.kinds = list(KINDS)
        self.weights = [(weights or {}).get(k, KINDS[k][0]) for k in self.kinds]
        self.long_share = long_share
        self.waiting = []               # documents that did not fit where they were made

    def document(self, chunks, fill):
        """One document of at most `chunks` chunks, or None; with `fill` a long one that nearly fills
        them. What is too long waits for the next row, so that no kind is favoured for its shortness."""
        r = self.r
        for i, (ids, *_) in enumerate(d[1:] for d in self.waiting):
            if len(ids) <= chunks * CHUNK and not fill:
                return self.waiting.pop(i)
        while True:
            r.new_document()
            if fill:
                kind = r.choice(("recall", "recall", "recall", "sprinkled", "after"))
                chars = int(chunks * CHUNK * 3.0)
                msgs, tools = (gen_recall.dialogue(r, int(chars * r.uniform(0.6, 1.0)), self.docs, r.choice((1, 1, 2, 4, 8))) if kind == "recall"
                               else gen_recall.sprinkled(r, chars // 3, self.docs) if kind == "sprinkled"
                               else after_text(r, int(chars * .7), self.docs))
                segs = prompt.render(msgs, r.chance(.6), tools)
            else:
                kind = r.choices(self.kinds, self.weights)[0]
                segs = segments(r, kind, max(520, int(min(chunks, 16) * CHUNK * 3.0)), self.docs)
            ids, weight, filler = encode(segs, self.tok)
            made = kind, ids, weight, bases(r, filler, r.chance(0.5))
            if len(ids) <= chunks * CHUNK:
                return made
            if len(ids) <= self.length and len(self.waiting) < 32:
                self.waiting.append(made)
                return None

    def row(self, out, i):
        n = self.length // CHUNK
        at, number, fails = 0, 0, 0
        fill = self.r.chance(self.long_share)
        while at < n and fails < 4:
            doc = self.document(n - at, fill and at == 0)
            if doc is None:
                fails += 1
                continue
            kind, ids, weight, base = doc
            c = -(-len(ids) // CHUNK)
            a = at * CHUNK
            out["tokens"][i, a:a + len(ids)] = ids
            out["weight"][i, a:a + len(ids)] = weight
            out["kind"][i, a:a + len(ids)] = self.kinds.index(kind)
            out["base"][i, at:at + c] = base
            out["doc"][i, at:at + c] = number
            at += c
            number += 1
        out["doc"][i, at:] = number
        out["base"][i, at:] = np.arange(n - at) * CHUNK

    def batch(self):
        b, t, n = self.rows, self.length, self.length // CHUNK
        out = {"tokens": np.full((b, t), 2, np.int16), "weight": np.zeros((b, t), np.float16), "kind": np.zeros((b, t), np.int8),
               "base": np.zeros((b, n), np.int64), "doc": np.zeros((b, n), np.int64)}
        for i in range(b):
            self.row(out, i)
        return out


def fast_tokenizer(path):
    """The compiled tokenizer where it is installed, else ours."""
    try:
        from tokenizers import Tokenizer
        t = Tokenizer.from_file(path)

        def run(text):
            e = t.encode(text, add_special_tokens=False)
            return e.ids, [o[0] for o in e.offsets]
        return run
    except ImportError:
        from bpe import Tokenizer
        return Tokenizer(path).encode


def token_texts(path):
    """Texts of the vocabulary entries that are printable ASCII on one line."""
    from bpe import Tokenizer
    t = Tokenizer(path)
    texts = (t.decode([i]) for i in range(3, t.size) if t.text[i] not in t.special)
    return [x for x in texts if x.isascii() and x.isprintable()]
