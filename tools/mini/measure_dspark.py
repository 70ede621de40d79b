"""Measure a drafter without an engine: measure_dspark.py DRAFTER_DIR [options].

The target answers held-out cases greedily; along each answer the drafter proposes a block after
every cycle, as an engine would, and what agrees with the answer counts as accepted. Printed for
several thresholds: a block ends before the first slot whose confidence is below it.
"""
import argparse
import time

import torch

import cases as case_file
import dspark
import evaluate
import mix
import official
from model import Batch, Mode

THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
CODE = ("def ", "{\n", "#include", "#!/", "= ", "</", "();")


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("drafter")
    p.add_argument("--target", default="models/ds4-mini")
    p.add_argument("--kinds", default="tool,parallel,code")
    p.add_argument("--cases", type=int, default=8, help="of each kind")
    p.add_argument("--limit", type=int, default=200, help="tokens of an answer")
    p.add_argument("--rounds", type=int, default=1000, help="passes for one answer; then what is there is taken")
    p.add_argument("--threads", type=int, default=1)
    return p.parse_args()


def is_code(case):
    text = case["messages"][-1]["content"]
    return case["kind"] in ("repeat", "edit") and sum(s in text for s in CODE) >= 2


def chosen(all_cases, kind, n):
    mine = [c for c in all_cases if (is_code(c) if kind == "code" else c["kind"] == kind)]
    return mine[:n]


@torch.no_grad()
def answer(model, layers, case, filler, tok, limit, rounds):
    """(ids, where the answer starts, taps) of the target's greedy answer, or of its beginning."""
    mode = Mode(torch.float32, quant_weights=False)
    head, ref = evaluate.prepare(case, filler, tok)
    out, guess = [], ref[:limit]
    for i in range(rounds):
        seq = head + out + guess
        n = -(-len(seq) // 128)
        grid = torch.tensor([seq + [2] * (n * 128 - len(seq))])
        batch = Batch(grid, torch.zeros(1, n, dtype=torch.long), torch.arange(n)[None] * 128)
        probe = []
        h, _, _ = model.trunk(batch, mode, model.envs(batch), probe)
        at = len(head) + len(out) - 1
        best = model.logits(h[0, at:len(seq)], mode).argmax(-1).tolist()
        for k, t in enumerate(best):
            out.append(t)
            if t == 1 or len(out) >= limit or k == len(guess) or guess[k] != t:
                break
        if out[-1] == 1 or len(out) >= limit or i + 1 == rounds:
            taps = torch.cat([probe[k][0].mean(-2) for k in layers], -1)
            return head + out, len(head), taps
        guess = (ref[len(out):] or evaluate.lookup(head + out, ref))[:limit]


@torch.no_grad()
def drafts(d, model, ids, start, taps):
    """Drafts and confidences [n, size] after every place of the answer: the anchor is ids[start + i]."""
    mode = Mode(torch.float32, quant_weights=False)
    got = []
    for at in range(start, len(ids) - 1, 16):
        lo = max(at - 128, 0)
        p = torch.arange(at - 1, min(at + 15, len(ids) - 2))
        pos = torch.arange(lo, int(p[-1]) + 1)[None]
        token = torch.tensor(ids)[p + 1][None]
        x, u = d.block(model.embed, model.head, taps[pos[0]][None], pos, torch.zeros_like(pos), token, (p - lo)[None], mode)
        got.append([t[0] for t in d.chain(u, x, token)])
    return [torch.cat(t).tolist() for t in zip(*got)]


def cycles(ids, start, guess, conf, threshold):
    """(cycles, proposed, accepted) along one answer; the first token comes from the prompt's step."""
    i, n, proposed, accepted = 0, 0, 0, 0
    while start + i + 1 < len(ids):
        rest = ids[start + i + 1:]
        k = 0
        while k < len(guess[i]) and conf[i][k] >= threshold:
            k += 1
        m = 0
        while m < min(k, len(rest)) and guess[i][m] == rest[m]:
            m += 1
        n, proposed, accepted = n + 1, proposed + min(k, len(rest)), accepted + m
        i += m + 1
    return n, proposed, accepted


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    _, model = official.load(args.target)
    d = dspark.read(args.drafter)
    tok = mix.fast_tokenizer(f"{args.target}/tokenizer.json")
    all_cases, filler = case_file.make()
    for kind in args.kinds.split(","):
        t, sums, slots, n_tokens = time.time(), {h: [0, 0, 0] for h in THRESHOLDS}, [], 0
        for case in chosen(all_cases, kind, args.cases):
            ids, start, taps = answer(model, d.shape.layers, case, filler, tok, args.limit, args.rounds)
            if len(ids) - start < 3:
                continue
            guess, conf = drafts(d, model, ids, start, taps)
            n_tokens += len(ids) - start
            slots += [[g == w for g, w in zip(guess[i], ids[start + i + 1:])] for i in range(len(guess)) if start + i + 6 <= len(ids)]
            for h in THRESHOLDS:
                sums[h] = [a + b for a, b in zip(sums[h], cycles(ids, start, guess, conf, h))]
        first = [sum(all(s[:k + 1]) for s in slots) / max(len(slots), 1) for k in range(d.shape.size)]
        print(f"{kind}: {n_tokens} tokens, prefixes of 1..{d.shape.size} right: " + " ".join(f"{v:.2f}" for v in first) + f" ({time.time() - t:.0f} s)")
        for h, (n, proposed, accepted) in sums.items():
            print(f"  threshold {h:.1f}: {accepted} of {proposed} accepted = {100 * accepted / max(proposed, 1):.0f} %, "
                  f"{proposed / max(n, 1):.2f} proposed and {1 + accepted / max(n, 1):.2f} tokens a cycle", flush=True)


if __name__ == "__main__":
    main()
