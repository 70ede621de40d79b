"""Collect English paragraphs from the documentation installed on this machine.

docs.py OUT.txt.xz DIR...: reads .txt .rst .md .html files, keeps paragraphs that look like
prose, one per line with escaped newlines. The result is training material only; it is not
part of the project.
"""
import html
import lzma
import os
import random
import re
import sys

TAG = re.compile(r"<(script|style|pre|nav)\b.*?</\1>|<(p|li|h\d|div|td|br)\b[^>]*>|<[^>]+>", re.S | re.I)


def paragraphs(path):
    with open(path, encoding="utf-8", errors="ignore") as f:
        text = f.read(400_000)
    if path.endswith((".html", ".htm")):
        text = html.unescape(TAG.sub(lambda m: "\n\n" if m.group(2) else "", text))
    for p in re.split(r"\n\s*\n", text):
        p = re.sub(r"[ \t]*\n[ \t]*", " ", p.strip())
        p = re.sub(r"  +", " ", p)
        if 120 <= len(p) <= 1200 and p.isascii():
            letters = sum(c.isalpha() or c == " " for c in p) / len(p)
            if letters > 0.88 and p[0].isupper() and p[-1] in ".!?:" and p.count(" ") > 15:
                yield p


def main(out, dirs):
    files = []
    for d in dirs:
        for root, _, names in os.walk(d):
            files += [os.path.join(root, n) for n in names if n.endswith((".txt", ".rst", ".md", ".html", ".htm"))]
    random.Random(1).shuffle(files)
    seen, kept, size = set(), [], 0
    for path in files:
        try:
            for p in paragraphs(path):
                if p[:60] not in seen:
                    seen.add(p[:60])
                    kept.append(p)
                    size += len(p)
        except OSError:
            pass
        if size > 9_000_000:
            break
    random.Random(2).shuffle(kept)
    with lzma.open(out, "wt", encoding="utf-8") as f:
        f.write("\n".join(kept) + "\n")
    print(len(files), "files", len(kept), "paragraphs", size, "bytes")


def load(path):
    with lzma.open(path, "rt", encoding="utf-8") as f:
        return f.read().split("\n")[:-1]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
