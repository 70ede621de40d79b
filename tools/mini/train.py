"""Training: torchrun --standalone --nproc_per_node=N train.py --out DIR --seconds S [options].

Stages are LENGTH:SHARE pairs of the wall-clock time; the learning rate warms up, stays, and
falls to almost nothing over the last part, so that every run ends in a usable model. --init
continues from a checkpoint. A number of seconds in OUT/seconds moves the end while it runs.
OUT/average gets a running average of the weights beside those of the last step.
"""
import argparse
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F

import checkpoint
import mix
import official
from config import Config
from feed import Feed
from model import Model, Mode, Batch, Block
from optim import Optimizer


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--out", required=True)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--stages", default="2048:0.75,16384:0.25")
    p.add_argument("--tokens", type=int, default=65536, help="tokens per step and device")
    p.add_argument("--init", help="folder of a training checkpoint or of an exported model")
    p.add_argument("--tokenizer", default="models/ds4-mini/tokenizer.json")
    p.add_argument("--docs", default=".mini/docs.txt.xz")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--warm", type=float, default=0.12, help="share of the time with dense attention")
    p.add_argument("--decay", type=float, default=0.4, help="share of the time with falling learning rate")
    p.add_argument("--peak", type=float, default=1.0)
    p.add_argument("--floor", type=float, default=0.01, help="learning rate at the end, as a share of the peak")
    p.add_argument("--average", type=int, default=300, help="steps that the average of the weights looks back")
    p.add_argument("--save-every", type=float, default=120)
    p.add_argument("--weights", default="", help="kind=weight,... overrides of the mixture")
    p.add_argument("--long-share", type=float, default=0.8, help="share of rows that start with a long document, if longer than 2048")
    p.add_argument("--plain", action="store_true", help="no torch.compile")
    p.add_argument("--cpu", action="store_true")
    return p.parse_args()


class Clock:
    """Wall-clock schedule, the same on all ranks: rank 0 decides."""

    def __init__(self, args, stages, rank, world):
        self.args, self.stages, self.world, self.rank = args, stages, world, rank
        self.start = time.time()
        self.step = 0
        self.seconds = args.seconds

    def moved_end(self):
        """Rank 0 looks now and then whether the end was moved."""
        if self.rank == 0 and self.step % 50 == 0:
            try:
                with open(os.path.join(self.args.out, "seconds")) as f:
                    self.seconds = float(f.read())
            except (OSError, ValueError):
                pass

    def tick(self):
        """(fraction of the time gone, stage, learning-rate factor, warm flag)."""
        a = self.args
        self.moved_end()
        f = torch.tensor([min((time.time() - self.start) / self.seconds, 1.0)], dtype=torch.float64)
        if self.world > 1:
            dist.broadcast(f, 0, group=self.cpu_group)
        f = float(f)
        self.step += 1
        lr = min(1.0, self.step / 100) * min(1.0, max(a.floor, (1 - f) / a.decay))
        edge, stage = 0.0, 0
        for i, (_, share) in enumerate(self.stages):
            if f >= edge:
                stage = i
            edge += share
        return f, stage, lr * a.peak, f < a.warm


class Trainer:
    def __init__(self, args, rank, world, device):
        self.args, self.rank, self.world, self.device = args, rank, world, device
        torch.manual_seed(0)
        self.cfg = Config()
        self.model = Model(self.cfg).to(device)
        if args.init and os.path.exists(os.path.join(args.init, "config.json")):
            self.model.load_state_dict(official.load(args.init)[1].state_dict())
        elif args.init:
            with torch.no_grad():
                checkpoint.load(self.model, args.init)
        self.mode = Mode(torch.float32 if args.cpu else torch.bfloat16, index_loss=True)
        self.opt = Optimizer(self.model)
        self.usual_norm = None
        self.mean = [p.detach().clone() for p in self.model.parameters()]
        wrap = (lambda f: f) if args.plain else (lambda f: torch.compile(f, dynamic=False))
        self.mix_rows, self.feed_fn = wrap(Block.mix_rows), wrap(Block.feed)
        self.head_loss, self.mtp_in = wrap(head_loss), wrap(mtp_input)
        self.stats = torch.zeros(4, len(mix.NAMES), device=device)
        self.scalars = torch.zeros(4, device=device)

    def block(self, blk, h, tokens, env):
        h, kl = self.mix_rows(blk, h, env, self.mode)
        flat, load = self.feed_fn(blk, h.flatten(0, 1), tokens.flatten(), self.mode)
        return flat.view(h.shape), kl, load

    def loss(self, b, warm):
        m, cfg = self.model, self.cfg
        tokens = b["tokens"]
        envs = m.envs(Batch(tokens, b["doc"], b["base"]), warm)
        h = F.embedding(tokens, m.embed.to(self.mode.dtype))
        h = h[:, :, None].expand(-1, -1, cfg.hc_mult, -1).contiguous()
        kls, loads = [], []
        for blk in m.layers:
            h, kl, load = self.block(blk, h, tokens, envs[blk.attn.ratio != 0])
            loads.append(load)
            kls += [kl] if kl is not None else []
        nxt = torch.roll(tokens, -1, 1)
        w1 = torch.roll(b["weight"], -1, 1)
        w1[:, -1] = 0
        w2 = torch.roll(b["weight"], -2, 1)
        w2[:, -2:] = 0
        ce, hit = self.head_loss(m, m.hc_head, m.norm, h.flatten(0, 1), nxt.flatten(), self.mode)
        x = self.mtp_in(m, h, nxt, self.mode)
        x, _, load = self.block(m.mtp, x, nxt, envs[False])
        loads.append(load)
        ce2, hit2 = self.head_loss(m, m.mtp_hc_head, m.mtp_norm, x.flatten(0, 1), torch.roll(tokens, -2, 1).flatten(), self.mode)
        total = w1.sum().clamp(min=1)
        main = (ce * w1.flatten()).sum() / total
        mtp = (ce2 * w2.flatten()).sum() / w2.sum().clamp(min=1)
        kl = torch.stack(kls).sum()
        self.count(b, w1, ce, hit, hit2, main, mtp, kl)
        return main + 0.1 * mtp + 0.3 * kl, loads

    @torch.no_grad()
    def count(self, b, w, ce, hit, hit2, main, mtp, kl):
        """Sums per document kind over the tokens that the assistant must produce."""
        kind = torch.roll(b["kind"], -1, 1).flatten()
        full = (w.flatten() >= 0.5).float()
        for row, v in enumerate((full, full * ce.detach(), full * hit, full * hit2)):
            self.stats[row].index_add_(0, kind, v)
        self.scalars += torch.stack((main.detach(), mtp.detach(), kl.detach(), torch.ones_like(kl.detach())))

    def step(self, b, lr, warm):
        loss, loads = self.loss(b, warm)
        loss.backward()
        params = list(self.model.parameters())
        if self.world > 1:
            flat = torch.cat([p.grad.flatten() for p in params]).bfloat16()     # half the traffic
            dist.all_reduce(flat, op=dist.ReduceOp.AVG)
            for p, g in zip(params, flat.split([p.numel() for p in params])):
                p.grad.copy_(g.view_as(p))
        norm = torch.nn.utils.clip_grad_norm_(params, 0.5)
        if self.outlier(float(norm)):
            for p in params:
                p.grad = None
            return norm
        self.opt.step(lr)
        for p in params:
            p.grad = None
        self.balance(torch.stack(loads), lr)
        return norm

    def outlier(self, norm):
        """Whether a gradient is far larger than usual (or no number): such a step is left out."""
        usual = self.usual_norm = self.usual_norm or norm
        self.usual_norm += 0.02 * (min(norm, 4 * usual) - usual) if norm == norm else 0.0
        return not norm <= 4 * usual

    @torch.no_grad()
    def average(self, step, every=10):
        """Every few steps the average moves towards the weights; from the first step on it is a fair one."""
        if step % every == 0:
            share = max(every / self.args.average, 1 / (1 + step / every))
            torch._foreach_mul_(self.mean, 1 - share)
            torch._foreach_add_(self.mean, [p.detach() for p in self.model.parameters()], alpha=share)

    @torch.no_grad()
    def save(self):
        """The weights, and the averaged ones beside them."""
        checkpoint.save(self.model, self.args.out)
        params = list(self.model.parameters())
        now = [p.detach().clone() for p in params]
        for p, m in zip(params, self.mean):
            p.copy_(m)
        checkpoint.save(self.model, os.path.join(self.args.out, "average"))
        for p, v in zip(params, now):
            p.copy_(v)

    @torch.no_grad()
    def balance(self, loads, lr):
        """Selection bias follows the sign of the load error."""
        if self.world > 1:
            dist.all_reduce(loads)
        want = loads.mean(-1, keepdim=True)
        move = 0.001 * min(lr, 1.0) * torch.sign(want - loads)
        for blk, d in zip(list(self.model.layers) + [self.model.mtp], move):
            blk.ffn.bias += d * ~blk.ffn.by_table
        self.load = loads.amax(-1) / want[..., 0]

    def report(self, line):
        stats, s = self.stats.clone(), self.scalars.clone()
        if self.world > 1:
            dist.all_reduce(stats)
            dist.all_reduce(s)
        self.stats.zero_()
        self.scalars.zero_()
        if self.rank == 0:
            n = max(float(s[3]), 1)
            kinds = " ".join(f"{k}:{float(b / a):.3f}/{float(c / a):.4f}" for k, a, b, c, _ in zip(mix.NAMES, *stats.tolist()) if a)
            t = stats.sum(1)
            print(f"{line} loss {float(s[0]) / n:.4f} mtp {float(s[1]) / n:.3f} acc2 {float(t[3] / t[0].clamp(min=1)):.3f} kl {float(s[2]) / n:.3f} "
                  f"load {self.load.max():.2f} | {kinds}", flush=True)


def head_loss(model, hc, norm, h, target, mode):
    logits = model.logits(h, mode, hc, norm).float()
    ce = F.cross_entropy(logits, target, reduction="none")
    return ce, (logits.detach().argmax(-1) == target).float()


def mtp_input(m, h, nxt, mode):
    e = m.mtp_e_proj(m.mtp_enorm(F.embedding(nxt, m.embed)), mode)
    return e[:, :, None] + m.mtp_h_proj(m.mtp_hnorm(h), mode)


def run(args, trainer, clock, stages, feed_args):
    rank, world = trainer.rank, trainer.world
    feeds = {}

    def feed(i):
        if i not in feeds and i < len(stages):
            length = stages[i][0]
            rows = max(1, args.tokens // length)
            feeds[i] = Feed(args.workers, args.seed * 100 + i * 10 + rank, trainer.device, rows=rows, length=length,
                            long_share=0.0 if length <= 2048 else args.long_share, **feed_args)
        return feeds.get(i)
    last, fresh, done, saved, t0 = None, 0, 0, time.time(), time.time()
    worst = torch.zeros((), device=trainer.device)
    while True:
        f, stage, lr, warm = clock.tick()
        if f >= 1.0:
            break
        edge = sum(s for _, s in stages[: stage + 1])
        if (edge - f) * clock.seconds < 40:
            feed(stage + 1)
        if last is not None and stage != last:
            feeds[last].close()
        last = stage
        b, new = feed(stage).next()
        norm = trainer.step(b, lr, warm)
        trainer.average(clock.step)
        if clock.step <= 2:                     # compilation is not training time
            if trainer.device.type == "cuda":
                torch.cuda.synchronize()
            clock.start = time.time()
        fresh, done, worst = fresh + new, done + 1, torch.maximum(worst, norm)
        if clock.step % 100 == 0 or clock.step in (1, 2, 5, 10, 20):
            if trainer.device.type == "cuda":
                torch.cuda.synchronize()
            dt = time.time() - t0
            trainer.report(f"[{f * clock.seconds:6.1f}s] step {clock.step} T {stages[stage][0]} lr {lr:.3f} {'warm ' if warm else ''}"
                           f"{done * args.tokens * world / dt / 1e3:.0f}k tok/s fresh {fresh / done:.2f} norm {float(norm):.2f} worst {float(worst):.2f}")
            worst = worst * 0
            fresh, done, t0 = 0, 0, time.time()
        if rank == 0 and time.time() - saved > args.save_every:
            trainer.save()
            saved = time.time()
    trainer.report("end")
    if rank == 0:
        trainer.save()
        if trainer.device.type == "cuda":
            print("peak memory", torch.cuda.max_memory_allocated() >> 20, "MiB", flush=True)
    for q in feeds.values():
        q.close()


def main():
    args = arguments()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    stages = [(int(a), float(b)) for a, b in (s.split(":") for s in args.stages.split(","))]
    device = torch.device("cpu") if args.cpu else torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    clock = Clock(args, stages, rank, world)
    if not args.cpu:
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
        torch._dynamo.config.cache_size_limit = 64
    if world > 1:
        dist.init_process_group("nccl", timeout=timedelta(seconds=300))
        clock.cpu_group = dist.new_group(backend="gloo")
    weights = {k: float(v) for k, v in (x.split("=") for x in args.weights.split(",") if x)}
    trainer = Trainer(args, rank, world, device)
    if rank == 0:
        n = sum(p.numel() for p in trainer.model.parameters())
        print(f"{n / 1e6:.2f} M parameters, {world} devices", flush=True)
    run(args, trainer, clock, stages, dict(tokenizer=args.tokenizer, docs=args.docs, weights=weights))
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
