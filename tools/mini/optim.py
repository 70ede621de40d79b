"""Muon for the matrices of the blocks, Adam for everything else."""
import torch


def orthogonalise(g, steps=5):
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix, batched."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16() if g.is_cuda else g
    flip = x.shape[-2] > x.shape[-1]
    if flip:
        x = x.transpose(-1, -2)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(steps):
        s = x @ x.transpose(-1, -2)
        x = a * x + (b * s + c * s @ s) @ x
    return (x.transpose(-1, -2) if flip else x).float()


class Muon:
    """Parameters of equal matrix shape are stepped together as one stack."""

    def __init__(self, params, momentum=0.95, decay=0.05):
        self.momentum, self.decay = momentum, decay
        groups = {}
        for p in params:
            groups.setdefault(tuple(p.shape[-2:]), []).append(p)
        self.groups = [(ps, [torch.zeros_like(p) for p in ps]) for ps in groups.values()]

    @torch.no_grad()
    def step(self, lr):
        for ps, bufs in self.groups:
            grads = [p.grad for p in ps]
            torch._foreach_mul_(bufs, self.momentum)
            torch._foreach_add_(bufs, grads, alpha=1 - self.momentum)
            ups = torch._foreach_mul(grads, 1 - self.momentum)
            torch._foreach_add_(ups, bufs, alpha=self.momentum)
            o, i = ps[0].shape[-2:]
            stack = orthogonalise(torch.cat([u.reshape(-1, o, i) for u in ups]))
            parts = stack.split([p.numel() // (o * i) for p in ps])
            torch._foreach_mul_(ps, 1 - lr * self.decay)
            torch._foreach_add_(ps, [q.reshape(p.shape) for q, p in zip(parts, ps)], alpha=-lr * max(1.0, o / i) ** 0.5)


def split_parameters(model):
    """(matrices for Muon, {learning rate: parameters} for Adam)."""
    muon, adam = [], {}
    for name, p in model.named_parameters():
        leaf = name.split(".")[-1]
        if leaf == "weight" and p.ndim >= 2 and "gate.weight" != ".".join(name.split(".")[-2:]) and "weights_proj" not in name:
            muon.append(p)
            continue
        # router and hyper-connection controls see wide normalised inputs: large steps there
        # collapse the experts and blow up the streams
        rate = {"embed": 0.03, "head": 0.004, "ape": 0.005, "fn": 0.0003, "scale": 0.001}.get(leaf, 0.003)
        if name.endswith("gate.weight") or "weights_proj" in name:
            rate = 0.0005
        adam.setdefault(rate, []).append(p)
    return muon, adam


class Optimizer:
    def __init__(self, model):
        muon, adam = split_parameters(model)
        self.muon = Muon(muon)
        self.rates = list(adam)
        kw = {"fused": True} if next(model.parameters()).is_cuda else {}
        self.adam = torch.optim.AdamW([{"params": ps, "lr": r} for r, ps in adam.items()], betas=(0.9, 0.98), eps=1e-10,
                                      weight_decay=0.0, **kw)

    def step(self, scale):
        for g, r in zip(self.adam.param_groups, self.rates):
            g["lr"] = r * scale
        self.adam.step()
        self.muon.step(0.015 * scale)
