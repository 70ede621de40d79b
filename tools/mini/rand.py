"""A seeded source of names, numbers and values; composed so that they must be copied, not known."""
import random
import re
from collections import Counter

import lexicon as L

ONSET = "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kl kr pl pr qu sh sk sl sm sn sp st sw th tr tw vl zh".split()
VOWEL = "a e i o u a e i o u ai au ea ee ei ia io oa oo ou ui y".split()
CODA = ["", "", "", ""] + "b ck d f g l m n p r s t x z ld lm lt mp nd ng nk nt rd rk rm rn rt sk sp ss st th".split()
DOMAINS = "com org net io dev info eu".split()
EXT = "txt md json csv py c h js ts html css yaml toml log pdf png jpg wav sh rs go sql xml ini cfg".split()


HELD = {w.lower() for v in vars(L).values() if isinstance(v, L.Words) for entry in v.held for w in entry.replace(":", " ").replace(",", " ").split()}


def doc_vocabulary(docs):
    """English words of the documentation, without the held-out ones."""
    count = Counter(w for p in docs or () for w in re.findall(r"(?<![\w-])[a-z]{3,11}(?![\w-])", p))
    return sorted(w for w, n in count.items() if n > 1 and w not in HELD and plural(w) not in HELD)


class Rand(random.Random):
    """random.Random plus the vocabulary, with `held` choosing the held-out half.

    `tokens` (texts of the tokenizer's entries) and `docs` (paragraphs) widen what training
    sees: every entry of the vocabulary has to be practised in names and copied text, or the
    model cannot copy words that are made of it.
    """

    def __init__(self, seed, held=False, tokens=None, docs=None):
        super().__init__(seed)
        self.held, self.docs = held, docs
        self.usual = False      # True: only values and texts as people use them, no letter salad
        self.tokens = tokens
        self.vocab = doc_vocabulary(docs)
        self.world, self.foreign = None, 0.0
        stems = {t.strip(" _-./(\"'").lower() for t in tokens or ()}
        self.pieces = sorted(t for t in stems if t.isalpha() and 2 <= len(t) <= 9)
        self.whole = [t for t in self.pieces if len(t) > 2 and t not in HELD]

    def new_document(self):
        """The spread of the next training document: which values, how few words, how foreign."""
        self.usual = self.random() < 0.5
        self.world = {} if self.random() < 0.7 else None
        self.foreign = self.choice((0.0, 0.3, 0.8)) if self.vocab else 0.0

    def small_world(self, words):
        """A few entries of a list, some of them replaced by words of the documentation: with
        few words most of them recur, and what follows one is no longer unique."""
        n = len(words.train)
        pool = self.sample(words.train, min(n, self.randint(max(2, n // 14), max(3, n // 4))))
        for i, w in enumerate(pool):
            if w.isalpha() and self.random() < self.foreign:
                v = self.choice(self.vocab)
                pool[i] = v.capitalize() if w[0].isupper() else v
        return pool

    def w(self, words):
        if self.world is None:
            return self.choice(words.of(self.held))
        pool = self.world.get(id(words))
        if pool is None:
            pool = self.world[id(words)] = self.small_world(words)
        return self.choice(pool)

    def chance(self, p):
        return self.random() < p

    def syllable(self):
        return self.choice(ONSET) + self.choice(VOWEL) + self.choice(CODA)

    def piece_word(self):
        """A word made of vocabulary entries; held-out words only occur inside longer ones."""
        x = self.random()
        if x < 0.35:
            return self.choice(self.whole)
        if x < 0.8:
            return self.choice(self.pieces) + self.choice(self.pieces)
        return self.choice(self.pieces) + self.syllable()

    def soup(self, n):
        """n random vocabulary entries in a row: text that can only be copied token by token."""
        return "".join(self.choice(self.tokens) for _ in range(n)).strip()

    def made_up(self, lo=2, hi=3):
        if self.pieces and self.random() < 0.5:
            return self.piece_word()
        return "".join(self.syllable() for _ in range(self.randint(lo, hi)))

    def first(self):
        return self.w(L.FIRST) if self.chance(0.6) else self.made_up(1, 3).capitalize()

    def last(self):
        return self.w(L.LAST) if self.chance(0.5) else self.made_up(2, 3).capitalize()

    def person(self):
        return f"{self.first()} {self.last()}"

    def city(self):
        return self.w(L.CITY) if self.chance(0.5) else self.made_up(2, 3).capitalize()

    def word(self):
        """Some word: from the lists, or made up."""
        r = self.random() * (0.65 if self.usual else 1.0)
        if r < 0.4:
            return self.w(L.NOUN)
        if r < 0.55:
            return self.w(L.ADJ)
        if r < 0.65:
            return self.w(self.choice((L.ANIMAL, L.FOOD, L.COLOR, L.JOB)))
        return self.made_up(1, 3)

    def digits(self, lo, hi):
        n = self.randint(lo, hi)
        return str(self.randint(1, 9)) + "".join(str(self.randint(0, 9)) for _ in range(n - 1))

    def integer(self):
        return self.choice((self.randint(0, 9), self.randint(0, 99), self.randint(0, 999), self.randint(0, 99999)))

    def number(self):
        return round(self.uniform(0, self.choice((1, 10, 100, 1000))), self.randint(1, 3))

    def ident(self):
        """A code such as KX-4821 or 7f3a09."""
        r = self.randint(0, 5)
        up = "".join(self.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(self.randint(1, 3)))
        if r == 0:
            return f"{up}-{self.digits(2, 5)}"
        if r == 1:
            return "".join(self.choice("0123456789abcdef") for _ in range(self.randint(4, 10)))
        if r == 2:
            return f"{up}{self.digits(2, 4)}"
        if r == 3:
            return f"{self.made_up(1, 2)}-{self.digits(1, 4)}"
        if r == 4:
            return f"{self.made_up(1, 2)}_{self.made_up(1, 2)}"
        return self.digits(3, 8)

    def date(self):
        return f"{self.randint(1990, 2040)}-{self.randint(1, 12):02d}-{self.randint(1, 28):02d}"

    def clock(self):
        return f"{self.randint(0, 23):02d}:{self.randint(0, 59):02d}"

    def email(self):
        user = self.choice((self.made_up(1, 3), self.w(L.FIRST).lower(), f"{self.w(L.FIRST)}.{self.last()}".lower()))
        return f"{user}@{self.choice((self.made_up(1, 3), self.w(L.NOUN)))}.{self.choice(DOMAINS)}"

    def filename(self):
        stem = self.choice((self.w(L.NOUN), self.made_up(1, 3), f"{self.word()}_{self.word()}", f"{self.word()}-{self.digits(1, 3)}"))
        return f"{stem}.{self.choice(EXT)}"

    def path(self):
        parts = [self.choice((self.w(L.NOUN), self.made_up(1, 2))) for _ in range(self.randint(0, 3))]
        lead = self.choice(("/", "", "./", "~/", "/home/", "/var/", "src/"))
        return lead + "/".join(parts + [self.filename()])

    def url(self):
        host = self.choice((self.made_up(1, 3), self.w(L.NOUN)))
        return f"https://{host}.{self.choice(DOMAINS)}/" + "/".join(self.word() for _ in range(self.randint(0, 2)))

    def some(self, items, lo, hi):
        """Between lo and hi distinct items."""
        return self.sample(items, min(len(items), self.randint(lo, hi)))

    def title(self):
        return " ".join(w.capitalize() for w in self.phrase_words(self.randint(1, 4)))

    def phrase_words(self, n):
        return [self.word() for _ in range(n)]

    def text_value(self):
        """A string such as people put into tool arguments."""
        if self.usual:
            return self.choice((self.person, self.city, self.ident, self.date, self.clock, self.email, self.filename, self.title,
                                self.word, self.short_phrase, self.short_phrase))()
        return self.choice((self.person, self.city, self.ident, self.date, self.clock, self.email, self.filename,
                            self.path, self.url, self.title, self.title, self.word, self.made_up, self.short_phrase,
                            self.short_phrase, lambda: self.w(L.COLOR)))()

    def doc_words(self, lo, hi):
        """Some consecutive words of a documentation paragraph."""
        words = self.choice(self.docs).split(" ")
        n = self.randint(lo, hi)
        i = self.randrange(max(1, len(words) - n))
        return " ".join(words[i:i + n]).strip("\"'`,.;:()*")

    def short_phrase(self):
        if self.docs and self.chance(0.4):
            return self.doc_words(2, 7) or self.word()
        return " ".join(self.phrase_words(self.randint(2, 5)))


def plural(noun):
    if noun.endswith(("s", "x", "sh", "ch")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def cap(s):
    return s[:1].upper() + s[1:]
