"""Run the evaluation cases in PyTorch, greedy: [torchrun ...] evaluate.py CKPT_DIR TOKENIZER OUT.json.

CKPT_DIR holds training checkpoints or an exported model. Decoding recomputes the whole
sequence, but several tokens are proposed per round (from the reference and by looking up the
last tokens in the prompt) and only those that greedy decoding would give are accepted.
KINDS=a,b selects kinds; SEED=N SCALE=K evaluates K times as many cases of another draw.
"""
import json
import os
import re
import sys
import time

import numpy as np
import torch
import torch.distributed as dist

import cases as case_file
import checkpoint
import mix
import official
import prompt
from config import Config
from model import Model, Mode, Batch

BUDGET = 65536          # tokens per forward pass


def with_context(case, filler, tok):
    """The user message of a recall case: filler, the planted fact, the question."""
    c, last = case["context"], case["messages"][-1]["content"]
    paras = filler.rstrip("\n").split("\n\n")
    starts = np.cumsum([0] + [len(p.encode()) + 2 for p in paras])[:-1]
    first = int(np.searchsorted(starts, c["offset"])) % len(paras)
    room = c["tokens"] - len(tok(c["fact"] + "\n\n" + last)[0]) - 40
    taken, n = [], 0
    while True:
        p = paras[(first + len(taken)) % len(paras)]
        n += len(tok(p + "\n\n")[0])
        if n > room:
            break
        taken.append(p)
    sizes = np.cumsum([0] + [len(p) for p in taken])
    taken.insert(int(np.argmin(np.abs(sizes - c["depth"] * sizes[-1]))), c["fact"])
    return "\n\n".join(taken) + "\n\n" + last


def prepare(case, filler, tok):
    """Prompt ids and reference ids."""
    msgs = [dict(m) for m in case["messages"]]
    if "context" in case:
        msgs[-1]["content"] = with_context(case, filler, tok)
    tools = case.get("tools")
    head = prompt.plain(prompt.render(msgs, case["thinking"], tools))
    full = prompt.plain(prompt.render(msgs + [case["reference"]], case["thinking"], tools))
    assert full.startswith(head), case["id"]
    ids, ref = tok(head)[0], tok(full[len(head):])[0]
    return list(ids), list(ref)


def lookup(seq, extra, n=40):
    """Proposed continuation: what followed the last tokens elsewhere in the sequence or reference."""
    text = seq + [-1] + extra
    for k in (4, 3, 2, 1):
        tail = seq[-k:]
        for i in range(len(text) - k - 1, -1, -1):
            if text[i] == tail[0] and text[i:i + k] == tail and i + k != len(seq):
                got = text[i + k:i + k + n]
                got = got[: got.index(-1)] if -1 in got else got
                if got:
                    return got
    return []


class Engine:
    def __init__(self, model, device):
        self.model, self.device = model.to(device), device
        self.mode = Mode(torch.bfloat16 if device.type == "cuda" else torch.float32, quant_weights=True)

    @torch.no_grad()
    def argmax(self, seqs):
        """Greedy next token after every position of each sequence."""
        t = -(-max(map(len, seqs)) // 128) * 128
        grid = torch.full((len(seqs), t), 2, dtype=torch.long)
        for i, s in enumerate(seqs):
            grid[i, : len(s)] = torch.tensor(s)
        n = t // 128
        batch = Batch(grid.to(self.device), torch.zeros(len(seqs), n, dtype=torch.long, device=self.device),
                      (torch.arange(n, device=self.device) * 128).expand(len(seqs), n))
        h, _, _ = self.model.trunk(batch, self.mode, self.model.envs(batch))
        return [self.model.logits(h[i, : len(s)], self.mode).float().argmax(-1).tolist() for i, s in enumerate(seqs)]

    def generate(self, prompts, refs, limit):
        """Exactly the greedy outputs (ids without EOS)."""
        out = [[] for _ in prompts]
        live = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        first = True
        while live:
            todo, live = live, []
            while todo:
                group = []
                while todo and (not group or (len(group) + 1) * (len(prompts[todo[0]]) + 600) <= BUDGET):
                    group.append(todo.pop(0))
                drafts = [refs[i] if first else lookup(prompts[i] + out[i], refs[i]) for i in group]
                best = self.argmax([prompts[i] + out[i] + d for i, d in zip(group, drafts)])
                for i, d, b in zip(group, drafts, best):
                    at = len(prompts[i]) + len(out[i]) - 1
                    done = False
                    for k in range(len(d) + 1):
                        t = b[at + k]
                        if t == 1 or len(out[i]) >= limit:
                            done = True
                            break
                        out[i].append(t)
                        if k < len(d) and d[k] != t:
                            break
                    if not done:
                        live.append(i)
            first = False
        return out


CALL = re.compile(r'<｜DSML｜invoke name="([^"]*)">\n(.*?)</｜DSML｜invoke>', re.S)
PARAM = re.compile(r'<｜DSML｜parameter name="([^"]*)" string="(true|false)">(.*?)</｜DSML｜parameter>', re.S)


def parse(text, thinking):
    """(content, calls) of a completion."""
    if thinking:
        text = text.split("</think>", 1)[1] if "</think>" in text else ""
    calls = []
    content, _, block = text.partition("<｜DSML｜tool_calls>")
    for name, body in CALL.findall(block):
        args = {}
        for k, is_str, v in PARAM.findall(body):
            try:
                args[k] = v if is_str == "true" else json.loads(v)
            except ValueError:
                args[k] = v
        calls.append({"name": name, "arguments": args})
    return content.strip(), calls


def passed(expect, content, calls):
    if "calls" in expect:
        key = lambda c: json.dumps(c, sort_keys=True)
        return sorted(map(key, calls)) == sorted(map(key, expect["calls"]))
    ok = not (expect.get("no_calls") and calls)
    if "contains" in expect:
        ok = ok and all(s in content for s in expect["contains"])
    if "any" in expect:
        ok = ok and any(s in content for s in expect["any"])
    if "equals" in expect:
        ok = ok and content == expect["equals"].strip()
    return ok and (bool(content) or "no_calls" not in expect)


def main(folder, tokenizer, out):
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        dist.init_process_group("gloo")
    if os.path.exists(os.path.join(folder, "config.json")):
        _, model = official.load(folder)
    else:
        model = Model(Config())
        with torch.no_grad():
            checkpoint.load(model, folder)
    tok = mix.fast_tokenizer(tokenizer)
    from bpe import Tokenizer
    decode = Tokenizer(tokenizer).decode
    all_cases, filler = case_file.make(int(os.environ.get("SEED", case_file.SEED)), int(os.environ.get("SCALE", 1)))
    only = os.environ.get("KINDS", "").split(",") if os.environ.get("KINDS") else None
    engine, results, start = Engine(model, device), [], time.time()
    for kind in case_file.COUNT:
        mine = [c for c in all_cases if c["kind"] == kind and (not only or kind in only)][rank::world]
        if not mine:
            continue
        pairs = [prepare(c, filler, tok) for c in mine]
        got = engine.generate([p for p, _ in pairs], [r for _, r in pairs], 500 if "recall" not in kind else 80)
        for c, g in zip(mine, got):
            text = decode(g)
            results.append({"id": c["id"], "kind": kind, "ok": passed(c["expect"], *parse(text, c["thinking"])), "text": text})
    if world > 1:
        parts = [None] * world
        dist.all_gather_object(parts, results)
        results = [x for p in parts for x in p]
    if rank == 0:
        results.sort(key=lambda x: x["id"])
        with open(out, "w", encoding="utf-8") as f:
            json.dump(results, f, ensure_ascii=False, indent=0)
        for kind in case_file.COUNT:
            ok = [x["ok"] for x in results if x["kind"] == kind]
            if ok:
                print(f"{kind}: {sum(ok)}/{len(ok)} = {100 * sum(ok) / len(ok):.1f} %")
        print(f"{time.time() - start:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
