"""Learn the vocabulary from generated dialogues and documentation: train_bpe.py OUT.json [DOCS.txt.xz]."""
import sys
from collections import Counter

import bpe
import docs as doc_file
import mix
import prompt
from rand import Rand

VOCAB = 4096


def corpus(docs, count):
    r = Rand(7)
    kinds = [k for k in mix.NAMES if k != "text"]
    for i in range(count):
        segs = mix.segments(r, kinds[i % len(kinds)], 1500, None)
        text = prompt.plain(segs)
        if prompt.TOOLS_HEAD in text and i % 40:          # the fixed header would drown everything else
            text = text.replace(prompt.TOOLS_HEAD, "").replace(prompt.TOOLS_TAIL, "")
        for s in bpe.SPECIALS + [a for a, _ in bpe.ADDED]:
            text = text.replace(s, "\0")
        yield from text.split("\0")
    yield from docs


def main(out, docs_path=None):
    docs = doc_file.load(docs_path)[:9000] if docs_path else []
    counts = Counter()
    for text in corpus(docs, 6000):
        counts.update(bpe.pieces(text))
    merges = bpe.train(counts, VOCAB - len(bpe.SPECIALS) - 256 - len(bpe.ADDED))
    bpe.save(out, merges)
    print(len(counts), "distinct pieces,", len(merges), "merges, vocabulary", bpe.Tokenizer(out).size)


if __name__ == "__main__":
    main(*sys.argv[1:])
