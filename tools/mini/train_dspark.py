"""Train the drafter of the bundled model on a CPU: train_dspark.py OUT_DIR [options].

The target is frozen. Rows of dialogues go through it once; its taps and its four best next tokens
are kept in --cache and used again. The loss is the paper's: 0.1 CE + 0.9 TV + confidence, slots
weighted exp(-i / size). OUT_DIR/drafter.pt is the state, OUT_DIR/export the exported checkpoint.
"""
import argparse
import glob
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import docs as doc_file
import dspark
import mix
import official
from model import Batch, Mode
from rand import Rand

WEIGHTS = dict(tool=18, parallel=14, result=5, results=2, session=6, notool=3, repeat=20, edit=16, list=4, chat=3, math=4,
               drill=0, recall=0, sprinkled=0, after=0, text=0)
LENGTH, BEST = 2048, 4


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--target", default="models/ds4-mini")
    p.add_argument("--cache", default=".mini/taps")
    p.add_argument("--docs", default=".mini/docs.txt.xz")
    p.add_argument("--seconds", type=float, default=2400)
    p.add_argument("--rows", type=int, default=400, help="rows of 2048 tokens to make in all")
    p.add_argument("--reuse", type=float, default=2.5, help="visits of a row before another one is made")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--anchors", type=int, default=24, help="per segment")
    p.add_argument("--segments", type=int, default=4)
    p.add_argument("--rate", type=float, default=2e-3)
    p.add_argument("--quantise", type=float, default=0.7, help="share of the time after which the storage formats are imitated")
    p.add_argument("--stages", type=int, default=2)
    p.add_argument("--rank", type=int, default=32)
    p.add_argument("--layers", default="2,5,7")
    p.add_argument("--seed", type=int, default=1)
    return p.parse_args()


class Rows:
    """Rows that the target has read; new ones are made on demand and kept on disk."""

    def __init__(self, args, model, shape):
        self.args, self.model, self.layers = args, model, shape.layers
        os.makedirs(args.cache, exist_ok=True)
        self.rows = [dict(np.load(f)) for f in sorted(glob.glob(f"{args.cache}/*.npz"))]
        path = f"{args.target}/tokenizer.json"
        docs = doc_file.load(args.docs) if os.path.exists(args.docs) else None
        r = Rand(args.seed * 7919 + len(self.rows), tokens=mix.token_texts(path), docs=docs)
        self.packer = mix.Packer(r, mix.fast_tokenizer(path), docs, 1, LENGTH, WEIGHTS)

    @torch.no_grad()
    def make(self):
        b = self.packer.batch()
        t = {k: torch.from_numpy(b[k]) for k in ("tokens", "doc", "base")}
        batch = Batch(t["tokens"].long(), t["doc"], t["base"])
        probe, mode = [], Mode(torch.float32, quant_weights=False)  # they lie on the grid already
        h, _, _ = self.model.trunk(batch, mode, self.model.envs(batch), probe)
        best = torch.softmax(self.model.logits(h[0], mode).float(), -1).topk(BEST, -1)
        taps = torch.cat([probe[i][0].float().mean(-2) for i in self.layers], -1)
        pos = (t["base"][0][:, None] + torch.arange(128)).flatten()
        row = {"tokens": b["tokens"][0], "weight": b["weight"][0], "doc": np.repeat(b["doc"][0], 128), "pos": pos.numpy(), "taps": taps.half().numpy(),
               "best": best.indices.numpy().astype(np.int16), "share": best.values.half().numpy()}
        np.savez(f"{self.args.cache}/{len(self.rows):05d}.npz", **row)
        self.rows.append(row)

    def segment(self, rng, n_anchors):
        """384 consecutive positions with anchors in the last 256, or None where nothing is to be drafted."""
        r = self.rows[rng.integers(len(self.rows))]
        a = 128 * int(rng.integers(-2, LENGTH // 128 - 2))
        lo, hi = max(a, 0), a + 384
        w, doc = r["weight"], r["doc"]
        p = np.arange(max(a + 128, 0), min(hi, LENGTH - 8))
        ok = (w[p + 2] >= 0.5) & (doc[p] == doc[p + 2])
        p = p[ok]
        if len(p) == 0:
            return None
        p = rng.choice(p, n_anchors, replace=len(p) < n_anchors)
        out = {k: np.zeros((384,) + v.shape[1:], v.dtype) for k, v in r.items() if k in ("doc", "pos", "taps")}
        out["doc"][:] = -1
        for k in out:
            out[k][: hi - lo] = r[k][lo:hi]
        slots = p[:, None] + np.arange(7)                        # p, anchor, five tokens to draft
        w = (w[slots[:, 2:]] >= 0.5) & (doc[slots[:, 2:]] == doc[p][:, None])
        out.update(at=p - lo, tokens=r["tokens"][slots[:, 1:]].astype(np.int64), slot=np.cumprod(w, 1).astype(np.float32),
                   best=r["best"][slots[:, 1:6]].astype(np.int64), share=r["share"][slots[:, 1:6]].astype(np.float32))
        return out

    def batch(self, rng, n_segments, n_anchors):
        got = []
        while len(got) < n_segments:
            s = self.segment(rng, n_anchors)
            if s:
                got.append(s)
        t = {k: torch.from_numpy(np.stack([g[k] for g in got])) for k in got[0]}
        t["taps"] = t["taps"].float()
        return t


def losses(d, embed, head, b, mode):
    """(loss, matches per slot, slots counted, expected acceptance per slot)."""
    size = d.shape.size
    tok = b["tokens"]                                            # anchor, then what follows
    x, u = d.block(embed, head, b["taps"], b["pos"], b["doc"], tok[..., 0], b["at"], mode)
    logits, conf = d.step(u, x, tok[..., :size])
    want = tok[..., 1:]
    w = b["slot"] * torch.exp(-torch.arange(size) / size)
    logp = torch.log_softmax(logits, -1)
    ce = -torch.gather(logp, -1, want[..., None])[..., 0]
    both = torch.minimum(torch.gather(logp, -1, b["best"]).exp(), b["share"]).sum(-1)
    bce = F.binary_cross_entropy_with_logits(conf, both.detach().clamp(0, 1), reduction="none")
    loss = ((0.1 * ce + 0.9 * (1 - both) + bce) * w).sum() / w.sum()
    hit = (logits.detach().argmax(-1) == want).float() * b["slot"]
    return loss, hit.sum((0, 1)), b["slot"].sum((0, 1)), (ce.detach() * b["slot"]).sum((0, 1))


def start_from(model, d):
    """The stages begin as the target's own next-token block, which knows the vocabulary and ratio 0."""
    for s in d.stages:
        s.load_state_dict(model.mtp.state_dict())
    d.hc_head.load_state_dict(model.mtp_hc_head.state_dict())
    d.norm.load_state_dict(model.mtp_norm.state_dict())


def groups(d, rate):
    """Adam's groups: hyper-connections and router slowly, Markov tables fast."""
    slow, fast, usual = [], [], []
    for name, p in d.named_parameters():
        where = slow if ".hc_" in name or name.startswith("hc_") or ".gate." in name else fast if name in ("w1", "w2") else usual
        where.append(p)
    return [{"params": usual, "share": 1.0, "lr": rate}, {"params": slow, "share": 0.25, "lr": rate}, {"params": fast, "share": 4.0, "lr": rate}]


def save(d, args):
    torch.save(d.state_dict(), f"{args.out}/drafter.tmp")
    os.replace(f"{args.out}/drafter.tmp", f"{args.out}/drafter.pt")


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)
    cfg, model = official.load(args.target)
    for p in model.parameters():
        p.requires_grad_(False)
    shape = dspark.Shape(layers=map(int, args.layers.split(",")), rank=args.rank, stages=args.stages)
    d = dspark.Drafter(cfg, shape)
    start_from(model, d)
    if os.path.exists(f"{args.out}/drafter.pt"):
        d.load_state_dict(torch.load(f"{args.out}/drafter.pt"))
    for p in d.parameters():
        p.requires_grad_(True)
    rows, rng = Rows(args, model, shape), np.random.default_rng(args.seed)
    opt = torch.optim.Adam(groups(d, args.rate), betas=(0.9, 0.98), eps=1e-10)
    embed, head = model.embed.detach(), model.head.detach()
    start, step, made, stats, saved = time.time(), 0, 0.0, torch.zeros(3, shape.size), time.time()
    visits = 0.0
    while (gone := (time.time() - start) / args.seconds) < 1:
        while len(rows.rows) < 4 or (len(rows.rows) < args.rows and visits > args.reuse * len(rows.rows)):
            t = time.time()
            rows.make()
            made += time.time() - t
        b = rows.batch(rng, args.segments, args.anchors)
        visits += args.segments * args.anchors / 400             # a row has about 400 places worth drafting
        mode = Mode(torch.float32, quant_weights=gone > args.quantise)
        lr = args.rate * min(1, (step + 1) / 50) * max(0.02, 0.5 + 0.5 * math.cos(math.pi * gone))
        for g in opt.param_groups:
            g["lr"] = lr * g["share"]
        loss, hit, n, ce = losses(d, embed, head, b, mode)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(d.parameters(), 0.5)
        opt.step()
        step += 1
        stats += torch.stack((hit, n, ce))
        if step % 50 == 0 or step in (1, 5, 20):
            h = (stats[0] / stats[1]).tolist()
            print(f"[{time.time() - start:5.0f}s, {made:.0f}s target] step {step} rows {len(rows.rows)} lr {lr:.5f} loss {float(loss):.3f} hits " +
                  " ".join(f"{v:.3f}" for v in h) + f" ce {float(stats[2].sum() / stats[1].sum()):.3f}", flush=True)
            stats.zero_()
        if time.time() - saved > 180:
            save(d, args)
            saved = time.time()
    save(d, args)
    with torch.no_grad():
        shards, total = dspark.write(d, f"{args.target}/config.json", f"{args.out}/export")
    print(f"{shards} shards, {total} bytes, {sum(p.numel() for p in d.parameters())} parameters", flush=True)


if __name__ == "__main__":
    main()
