"""The DSpark drafter: a few ratio-0 layers that draft a block of tokens from the target's hidden states.

A segment is T consecutive positions of one text. Context rows are made once per segment; every
anchor (index p of the last evaluated position) gets a block of `size` rows that sees the context
rows of the 128 positions up to p and its whole block, without a causal mask.
"""
import json
import os

import torch
from torch import nn
import torch.nn.functional as F

import export
import official
from config import Config
from model import Block, HyperConnection, Linear, Norm, rms, rope, rope_tables


class Shape:
    """The numbers that config.json has under dspark_*."""

    def __init__(self, size=5, noise=4080, layers=(2, 5, 7), rank=32, stages=2):
        self.size, self.noise, self.layers, self.rank, self.stages = size, noise, list(layers), rank, stages

    def keys(self):
        return {"dspark_block_size": self.size, "dspark_noise_token_id": self.noise,
                "dspark_target_layer_ids": self.layers, "dspark_markov_rank": self.rank}


def spread(y, h, post, comb):
    """HyperConnection.post() as one product, which is cheaper to differentiate."""
    return post[..., None] * y[..., None, :] + torch.matmul(comb.transpose(-1, -2), h)


def experts(ffn, x, ids, mode):
    """The target's expert layer on rows x [N, e], each expert for its own rows only: on a CPU that is four
    times less work."""
    lim = ffn.cfg.swiglu_limit
    w, hot = ffn.route(x, ids)
    w1, w2, w3 = (m.value(mode).unbind(0) for m in (ffn.w1, ffn.w2, ffn.w3))

    def glu(g, u):
        return F.silu(g.clamp(max=lim)) * u.clamp(-lim, lim)
    y = ffn.s2(glu(ffn.s1(x, mode), ffn.s3(x, mode)), mode)
    for i in range(len(w1)):
        rows = hot[:, i].nonzero()[:, 0]
        if len(rows):
            xi = x[rows]
            mid = glu(F.linear(xi, w1[i]), F.linear(xi, w3[i])) * w[rows, i, None]
            y = y.index_add(0, rows, F.linear(mid, w2[i]))
    return y


class Drafter(nn.Module):
    def __init__(self, cfg, shape):
        super().__init__()
        e, eps = cfg.hidden_size, cfg.rms_norm_eps
        self.cfg, self.shape = cfg, shape
        self.stages = nn.ModuleList(Block(cfg, cfg.num_hidden_layers) for _ in range(shape.stages))
        self.main_proj = Linear(e, e * len(shape.layers))
        self.main_norm, self.norm = Norm(e, eps), Norm(e, eps)
        self.hc_head = HyperConnection(cfg, 0, head=True)
        self.w1 = nn.Parameter(torch.randn(cfg.vocab_size, shape.rank) * 0.1)
        self.w2 = nn.Parameter(torch.zeros(cfg.vocab_size, shape.rank))
        self.conf = nn.Parameter(torch.zeros(1, e + shape.rank))
        f = torch.tensor(cfg.rope_freqs(False), dtype=torch.float64).float()
        self.register_buffer("freqs", f, persistent=False)

    def context(self, taps, pos, mode):
        """Rows [S, T, d] of every stage for the taps [S, T, layers * e] of positions pos [S, T]."""
        x = self.main_norm(self.main_proj(taps, mode))
        cos, sin = rope_tables(pos, self.freqs)
        return [s.attn.cache(rope(s.attn.kv_norm(s.attn.wkv(x, mode)), cos, sin), mode) for s in self.stages]

    def attend(self, attn, a, rows, seen, cos, sin, mode):
        """a [S, A, B, e] over the visible context rows [S, T, d] and the block's own rows."""
        cfg = self.cfg
        h, d, g = cfg.num_attention_heads, cfg.head_dim, cfg.o_groups
        s, n, b, _ = a.shape
        qr = attn.q_norm(attn.wq_a(a, mode).float())
        q = rms(attn.wq_b(qr, mode).float().view(s, n, b, h, d), eps=cfg.rms_norm_eps)
        q = rope(q, cos[..., None, :], sin[..., None, :]) * d ** -0.5
        own = attn.cache(rope(attn.kv_norm(attn.wkv(a, mode)), cos, sin), mode)
        far = torch.matmul(q.reshape(s, n * b * h, d), rows.transpose(1, 2)).view(s, n, b * h, -1)
        far = far.masked_fill(~seen[:, :, None], -1e30)
        near = torch.matmul(q.reshape(s, n, b * h, d), own.transpose(2, 3))
        sink = attn.attn_sink.repeat(b)[None, None, :, None].expand(s, n, -1, -1)
        p = torch.softmax(torch.cat((far, near, sink), -1), -1)
        t = rows.shape[1]
        o = torch.matmul(p[..., :t].reshape(s, n * b * h, t), rows).view(s, n, b * h, d) + torch.matmul(p[..., t:t + b], own)
        o = rope(o.view(s, n, b, h, d), cos[..., None, :], sin[..., None, :], inverse=True)
        wa = attn.wo_a.value(mode).view(g, cfg.o_lora_rank, h * d // g)
        low = torch.einsum("...gk,grk->...gr", o.reshape(s, n, b, g, h * d // g), wa)
        return attn.wo_b(low.flatten(-2), mode)

    def streams(self, embed, token, at, pos, seen, rows, mode):
        """Streams after the last stage: token [S, A] is the anchor after position pos[at]."""
        size = self.shape.size
        ids = F.pad(token[..., None], (0, size - 1), value=self.shape.noise)
        x = F.embedding(ids, embed)[..., None, :].expand(*ids.shape, self.cfg.hc_mult, -1)
        p = torch.gather(pos, 1, at)[..., None] + 1 + torch.arange(size)
        cos, sin = rope_tables(p, self.freqs)
        for stage, r in zip(self.stages, rows):
            u, post, comb = stage.hc_attn.pre(x, mode)
            y = self.attend(stage.attn, stage.attn_norm(u), r, seen, cos, sin, mode)
            x = spread(y, x, post, comb)
            u, post, comb = stage.hc_ffn.pre(x, mode)
            y = experts(stage.ffn, stage.ffn_norm(u).flatten(0, 2), ids.flatten(), mode)
            x = spread(y.view(u.shape), x, post, comb)
        return self.hc_head.pre(x, mode)

    def block(self, embed, head, taps, pos, doc, token, at, mode):
        """(x [S, A, B, e] before the norm, base logits U [S, A, B, V])."""
        rows = self.context(taps, pos, mode)
        far = torch.gather(pos, 1, at)[..., None] - pos[:, None]
        same = torch.gather(doc, 1, at)[..., None] == doc[:, None]
        x = self.streams(embed, token, at, pos, same & (far >= 0) & (far < 128), rows, mode)
        return x, F.linear(self.norm(x), head)

    def step(self, u, x, prev):
        """(logits, confidence logit) of a slot whose preceding token is `prev`."""
        m = F.embedding(prev, self.w1)
        return u + F.linear(m, self.w2), F.linear(torch.cat((x, m), -1), self.conf)[..., 0]

    def chain(self, u, x, token):
        """Greedy drafts and confidences [.., B], left to right."""
        out, conf, prev = [], [], token
        for i in range(self.shape.size):
            logits, c = self.step(u[..., i, :], x[..., i, :], prev)
            prev = logits.argmax(-1)
            out.append(prev)
            conf.append(torch.sigmoid(c))
        return torch.stack(out, -1), torch.stack(conf, -1)


def write(d, target_config, folder):
    """The drafter as a checkpoint of its own: tensors mtp.* and a config.json of the target's with dspark_*."""
    os.makedirs(folder, exist_ok=True)
    w, last = export.Writer(), f"mtp.{d.shape.stages - 1}"
    for i, s in enumerate(d.stages):
        export.put_block(w, f"mtp.{i}", s)
    w.fp8("mtp.0.main_proj", d.main_proj.weight)
    w.bf16("mtp.0.main_norm.weight", d.main_norm.weight)
    w.bf16(f"{last}.norm.weight", d.norm.weight)
    export.put_hc(w, f"{last}.hc_head", d.hc_head)
    w.bf16(f"{last}.markov_head.markov_w1.weight", d.w1)
    w.bf16(f"{last}.markov_head.markov_w2.weight", d.w2)
    w.bf16(f"{last}.confidence_head.proj.weight", d.conf)
    with open(target_config) as f:
        c = json.load(f)
    c["name"] = c["name"] + "-dspark"
    c["compress_ratios"] = c["compress_ratios"][: c["num_hidden_layers"]] + [0] * d.shape.stages
    c.update(d.shape.keys())
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")
    return w.save(folder)


def read(folder):
    """The exported drafter, with the values that an engine will use."""
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    t = official.read(folder)
    stages = len({n.split(".")[1] for n in t})
    d = Drafter(Config.load(os.path.join(folder, "config.json")),
                Shape(c["dspark_block_size"], c["dspark_noise_token_id"], c["dspark_target_layer_ids"], c["dspark_markov_rank"], stages))
    own, last = d.state_dict(), f"mtp.{stages - 1}"
    names = {"main_proj.weight": "mtp.0.main_proj.weight", "main_norm.weight": "mtp.0.main_norm.weight", "norm.weight": f"{last}.norm.weight",
             "w1": f"{last}.markov_head.markov_w1.weight", "w2": f"{last}.markov_head.markov_w2.weight",
             "conf": f"{last}.confidence_head.proj.weight", **{f"hc_head.{x}": f"{last}.hc_head_{x}" for x in ("fn", "scale", "base")}}
    with torch.no_grad():
        for i, s in enumerate(d.stages):
            names.update({f"stages.{i}.{k}": v for k, v in official.block_names(f"mtp.{i}", s).items()})
            for w in ("w1", "w2", "w3"):
                for e in range(d.cfg.n_routed_experts):
                    own[f"stages.{i}.ffn.{w}.weight"][e].copy_(official.decode(t, f"mtp.{i}.ffn.experts.{e}.{w}.weight"))
        for k, v in names.items():
            own[k].copy_(official.decode(t, v))
    return d
