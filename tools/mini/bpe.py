"""Byte-level BPE: pre-tokenizer, trainer, tokenizer.json and a plain encoder. Standard library only.

Digits are never merged: numbers stay sequences of single digits, which makes them easy to
copy and to calculate with.
"""
import heapq
import json
import unicodedata
from collections import Counter, defaultdict

SPECIALS = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]
# (text, flagged special) behind the base vocabulary
ADDED = [("<｜fim▁hole｜>", False), ("<｜fim▁begin｜>", False), ("<｜fim▁end｜>", False), ("<｜User｜>", False),
         ("<｜Assistant｜>", False), ("<|EOT|>", False), ("<think>", False), ("</think>", False), ("｜DSML｜", False),
         ("<｜latest_reminder｜>", False), ("<｜action｜>", False), ("<｜query｜>", False), ("<｜authority｜>", False),
         ("<｜domain｜>", False), ("<｜title｜>", False), ("<｜read_url｜>", False)]
SPLITS = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
          "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
          "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]


def byte_alphabet():
    """The GPT-2 map from bytes to printable characters."""
    table, extra = {}, 0
    for b in range(256):
        if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


BYTES = byte_alphabet()
SPACES = set(" \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}
PUNCT = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def klass(c, cache={}):
    """L letter, M mark, N number, P punctuation or symbol, S space, O anything else."""
    k = cache.get(c)
    if k is None:
        g = unicodedata.category(c)[0]
        k = "S" if c in SPACES else {"L": "L", "M": "M", "N": "N", "P": "P", "S": "P"}.get(g, "O")
        cache[c] = k
    return k


def cjk(c):
    return "\u4e00" <= c <= "\u9fa5" or "\u3040" <= c <= "\u30ff"


def match_word(s, i):
    """Length of the third split's match at i, 0 if none."""
    n, c, k = len(s), s[i], klass(s[i])
    if c in PUNCT and i + 1 < n and s[i + 1].isascii() and s[i + 1].isalpha():
        j = i + 1
        while j < n and s[j].isascii() and s[j].isalpha():
            j += 1
        return j - i
    j = i + 1 if c not in "\r\n" and k not in "LP" else i
    e = j
    while e < n and klass(s[e]) in "LM":
        e += 1
    if e > j:
        return e - i
    if k == "M":
        return 1
    j = i + 1 if c == " " else i
    e = j
    while e < n and klass(s[e]) == "P":
        e += 1
    if e > j:
        while e < n and s[e] in "\r\n":
            e += 1
        return e - i
    if k == "S":
        e, last = i, 0
        while e < n and s[e] in SPACES:
            e += 1
            if s[e - 1] in "\r\n":
                last = e
        if last:
            return last - i
        return e - i if e == n or e - i == 1 else e - i - 1
    return 0


def pieces(text):
    """Pre-tokenised pieces."""
    out, i, n = [], 0, len(text)
    while i < n:                                   # passes 1 and 2: numbers and CJK runs
        j = i
        if klass(text[i]) == "N":
            while j < n and j - i < 3 and klass(text[j]) == "N":
                j += 1
            out.append(text[i:j])
        elif cjk(text[i]):
            while j < n and cjk(text[j]):
                j += 1
            out.append(text[i:j])
        else:
            while j < n and klass(text[j]) != "N" and not cjk(text[j]):
                j += 1
            s, at, gap = text[i:j], 0, 0
            while at < len(s):
                m = match_word(s, at)
                if m:
                    if gap < at:
                        out.append(s[gap:at])
                    out.append(s[at:at + m])
                    at += m
                    gap = at
                else:
                    at += 1
            if gap < len(s):
                out.append(s[gap:])
        i = j
    return out


def train(counts, merges_wanted):
    """Merges learned from {piece: count}; most frequent pair first, ties by the pair itself."""
    words = [([BYTES[b] for b in p.encode()], c) for p, c in counts.items() if not any(ch.isdigit() for ch in p)]
    pair_count, where = Counter(), defaultdict(set)
    for i, (w, c) in enumerate(words):
        for a, b in zip(w, w[1:]):
            pair_count[a, b] += c
            where[a, b].add(i)
    heap = [(-c, p) for p, c in pair_count.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < merges_wanted:
        c, pair = heapq.heappop(heap)
        if pair_count[pair] != -c:
            if pair_count[pair] > 0:
                heapq.heappush(heap, (-pair_count[pair], pair))
            continue
        merges.append(pair)
        touched = set()
        for i in where.pop(pair):
            w, n = words[i]
            j = 0
            while j < len(w) - 1:
                if (w[j], w[j + 1]) == pair:
                    for k, old in ((j - 1, (w[j - 1], w[j]) if j else None), (j + 1, (w[j + 1], w[j + 2]) if j + 2 < len(w) else None)):
                        if old:
                            pair_count[old] -= n
                            touched.add(old)
                    w[j:j + 2] = [pair[0] + pair[1]]
                    for new in ((w[j - 1], w[j]) if j else None, (w[j], w[j + 1]) if j + 1 < len(w) else None):
                        if new:
                            pair_count[new] += n
                            where[new].add(i)
                            touched.add(new)
                j += 1
        pair_count[pair] = 0
        for p in touched:
            if p != pair and pair_count[p] > 0:
                heapq.heappush(heap, (-pair_count[p], p))
    return merges


def build(merges):
    vocab = {s: i for i, s in enumerate(SPECIALS)}
    for c in sorted(BYTES.values(), key=ord):
        vocab[c] = len(vocab)
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    return vocab


def save(path, merges):
    vocab = build(merges)
    entry = lambda i, s, special: {"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
                                   "normalized": not special, "special": special}
    added = [entry(i, s, True) for i, s in enumerate(SPECIALS)]
    added += [entry(len(vocab) + i, s, sp) for i, (s, sp) in enumerate(ADDED)]
    split = lambda rx: {"type": "Split", "pattern": {"Regex": rx}, "behavior": "Isolated", "invert": False}
    level = lambda prefix, regex: {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
    obj = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
           "normalizer": {"type": "Sequence", "normalizers": []},
           "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(s) for s in SPLITS] + [level(False, False)]},
           "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
           "decoder": level(True, True),
           "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                     "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab,
                     "merges": [f"{a} {b}" for a, b in merges]}}
    with open(path, "w", encoding="utf-8") as f:
        json.dump(obj, f, ensure_ascii=False, indent=0)
        f.write("\n")


class Tokenizer:
    """Plain encoder and decoder of a tokenizer.json; special texts are recognised anywhere."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            t = json.load(f)
        self.vocab = t["model"]["vocab"]
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(t["model"]["merges"])}
        self.special = {a["content"]: a["id"] for a in t["added_tokens"]}
        self.size = max(max(self.vocab.values()), max(self.special.values())) + 1
        self.text = {i: s for s, i in self.vocab.items()}
        self.text.update({i: s for s, i in self.special.items()})
        self.back = {c: b for b, c in BYTES.items()}
        self.cache = {}

    def piece(self, p):
        ids = self.cache.get(p)
        if ids is None:
            w = [BYTES[b] for b in p.encode()]
            while len(w) > 1:
                best = min(range(len(w) - 1), key=lambda i: self.rank.get((w[i], w[i + 1]), 1 << 30))
                if (w[best], w[best + 1]) not in self.rank:
                    break
                w[best:best + 2] = [w[best] + w[best + 1]]
            ids = [self.vocab[x] for x in w]
            if len(self.cache) < 200_000:
                self.cache[p] = ids
        return ids

    def encode(self, text):
        """(ids, start offset of each token's piece)."""
        ids, starts, i = [], [], 0

        def flush(a, b):
            at = a
            for p in pieces(text[a:b]):
                t = self.piece(p)
                ids.extend(t)
                starts.extend([at] * len(t))
                at += len(p)
        start = 0
        while i < len(text):
            hit = None
            if text[i] in "<｜":
                hit = next((s for s in self.special if text.startswith(s, i)), None)
            if hit:
                flush(start, i)
                ids.append(self.special[hit])
                starts.append(i)
                i += len(hit)
                start = i
            else:
                i += 1
        flush(start, len(text))
        return ids, starts

    def decode(self, ids):
        out = b""
        for i in ids:
            s = self.text.get(int(i), "")
            out += s.encode() if s in self.special else bytes(self.back[c] for c in s)
        return out.decode("utf-8", "replace")
