"""DeepSeek V4 in PyTorch, with the roundings of the official training in the graph.

A batch is a grid of B rows x T tokens. A row holds several documents; every document starts
at a multiple of 128, and each 128-token chunk carries its document number and its position
base (a multiple of 128, so compression windows never straddle a jump). Raw window rows are
visible inside the chunk and from the previous chunk only if the positions are contiguous;
compressed rows are visible within the document.

`Mode` says what is rounded: training (bf16 products), exact float32 with or without the
cache roundings, weights quantised or taken as they are.
"""
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch import nn
import torch.nn.functional as F

from quant import (fp8_sim, fp4_sim, fp8_weight, fp4_weight, hadamard, straight_through)
from kernels import sinkhorn, kth_largest


@dataclass(frozen=True)
class Mode:
    dtype: torch.dtype = torch.bfloat16   # of matrix products and streams
    quant_weights: bool = True            # FP8 / FP4 fake quantisation of the matrices
    quant_cache: bool = True              # FP8 rows, Hadamard + FP4 indexer, F16 rotary tails
    select: bool = True                   # top-k selection (False: every visible row)
    index_loss: bool = False              # also return the indexer's KL loss


@dataclass
class Batch:
    tokens: torch.Tensor      # [B, T] ids
    doc: torch.Tensor         # [B, T/128] document number of each chunk
    base: torch.Tensor        # [B, T/128] position of each chunk's first token


def rms(x, w=None, eps=1e-6):
    x = x.float()
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
    return x if w is None else x * w


def ste(fn, x):
    return straight_through(x, fn(x.detach()))


def rope_tables(pos, freqs):
    angle = pos.float()[..., None] * freqs
    return torch.cos(angle), torch.sin(angle)


def rope(x, cos, sin, inverse=False):
    """Rotate the interleaved pairs of the tail; cos/sin are [.., 32], broadcast over heads."""
    n = cos.shape[-1] * 2
    head, tail = x[..., :-n], x[..., -n:]
    pair = tail.reshape(*tail.shape[:-1], n // 2, 2)
    a, b = pair[..., 0], pair[..., 1]
    if inverse:
        sin = -sin
    out = torch.stack((a * cos - b * sin, a * sin + b * cos), -1)
    return torch.cat((head, out.reshape(tail.shape)), -1)


class Linear(nn.Module):
    """Weight [out, in]; `kind` is the storage format that training imitates."""

    def __init__(self, out, inp, kind="fp8", std=None, lead=()):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*lead, out, inp) * (inp ** -0.5 if std is None else std))
        self.kind = kind

    def value(self, mode):
        w = self.weight
        if mode.quant_weights:
            if self.kind == "fp8":
                w = ste(fp8_weight, w)
            elif self.kind == "fp4":
                w = ste(fp4_weight, w)
        return w.to(mode.dtype)

    def forward(self, x, mode):
        return F.linear(x.to(mode.dtype), self.value(mode))


class Norm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        return rms(x, self.weight, self.eps)


class Compressor(nn.Module):
    """Pools windows of `ratio` tokens into one row each (two overlapping halves if ratio 4)."""

    def __init__(self, cfg, ratio, dim):
        super().__init__()
        self.ratio, self.dim, self.coff = ratio, dim, 2 if ratio == 4 else 1
        width = self.coff * dim
        self.wkv = Linear(width, cfg.hidden_size, "bf16")
        self.wgate = Linear(width, cfg.hidden_size, "bf16", std=0.01)
        self.norm = Norm(dim, cfg.rms_norm_eps)
        ape = torch.randn(ratio, width) * 0.1
        if ratio == 4:           # let every rotary pair start out on one of the 8 slots
            slot = (torch.arange(dim) // 2) % 8
            for w in range(4):
                ape[w, :dim] += 3.0 * (slot == w)
                ape[w, dim:] += 3.0 * (slot == 4 + w)
        self.ape = nn.Parameter(ape)

    def forward(self, a, first, cos, sin, mode):
        b, t, _ = a.shape
        r, d = self.ratio, self.dim
        k = self.wkv(a, mode).float().view(b, t // r, r, self.coff * d)
        s = self.wgate(a, mode).float().view(b, t // r, r, self.coff * d) + self.ape
        if self.coff == 2:
            pk, ps = k[..., :d], s[..., :d]
            pk = torch.cat((torch.zeros_like(pk[:, :1]), pk[:, :-1]), 1)
            ps = torch.cat((torch.zeros_like(ps[:, :1]), ps[:, :-1]), 1)
            ps = ps.masked_fill(first[:, :, None, None], -1e30)
            k = torch.cat((pk, k[..., d:]), 2)
            s = torch.cat((ps, s[..., d:]), 2)
        z = (torch.softmax(s, 2) * k).sum(2)
        return rope(self.norm(z), cos, sin)


class Indexer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.heads, self.dim = cfg.index_n_heads, cfg.index_head_dim
        self.wq_b = Linear(self.heads * self.dim, cfg.q_lora_rank)
        self.weights_proj = Linear(self.heads, cfg.hidden_size, "bf16", std=0.02)
        self.compressor = Compressor(cfg, 4, self.dim)

    def forward(self, a, qr, env, mode):
        """Scores [B, T, T/4] of every compressed row."""
        b, t, _ = a.shape
        cos, sin = env.cos, env.sin
        q = self.wq_b(qr, mode).float().view(b, t, self.heads, self.dim)
        q = rope(q, cos[:, :, None], sin[:, :, None])
        k = self.compressor(a, env.first4, cos[:, ::4], sin[:, ::4], mode)
        if mode.quant_cache:
            q, k = ste(fp4_sim, hadamard(q)), ste(fp4_sim, hadamard(k))
        w = self.weights_proj(a, mode).float() * (self.dim ** -0.5 * self.heads ** -0.5)
        s = torch.matmul(q.to(mode.dtype).reshape(b, t * self.heads, self.dim),
                         k.to(mode.dtype).transpose(1, 2)).view(b, t, self.heads, t // 4)
        return (F.relu(s).float() * w[..., None]).sum(2)


class Env(NamedTuple):
    """What attention needs to know about one layer kind's positions and visibility."""
    cos: torch.Tensor         # [B, T, 32]
    sin: torch.Tensor
    link: torch.Tensor        # [B, T/128] chunk continues the previous one's positions
    first4: torch.Tensor      # [B, T/4] first compression window of a document
    doc: torch.Tensor         # [B, T/128]
    warm: torch.Tensor        # 1.0 while the indexer warms up: every visible row is used


def make_env(batch, freqs, warm):
    doc, base = batch.doc, batch.base
    b, n = doc.shape
    dev = doc.device
    pos = (base[:, :, None] + torch.arange(128, device=dev)).view(b, n * 128)
    cos, sin = rope_tables(pos, freqs)
    same = doc[:, 1:] == doc[:, :-1]
    link = F.pad(same & (base[:, 1:] - base[:, :-1] == 128), (1, 0))
    first4 = torch.zeros(b, n, 32, dtype=torch.bool, device=dev)
    first4[:, :, 0] = F.pad(~same, (1, 0), value=True)
    return Env(cos, sin, link, first4.view(b, n * 32), doc, torch.tensor(float(warm), device=dev))


def window_mask(link, window):
    """[B, n, 128, 256]: own chunk causal, previous chunk only if contiguous."""
    q = torch.arange(128, device=link.device)[:, None] + 128
    k = torch.arange(256, device=link.device)[None, :]
    near = (k <= q) & (q - k < window)
    return near & ((k >= 128) | link[:, :, None, None])


def row_mask(doc, ratio, t):
    """[B, T, T/ratio]: rows complete at the token and of the same document."""
    q = torch.arange(t, device=doc.device)[:, None]
    c = torch.arange(t // ratio, device=doc.device)[None, :]
    dq = doc.repeat_interleave(128, 1)
    dc = doc.repeat_interleave(128 // ratio, 1)
    return (c * ratio + ratio - 1 <= q) & (dq[:, :, None] == dc[:, None, :])


def sparse_kl(scores, target, visible):
    """KL(target || softmax(scores)) per query over the visible rows."""
    logp = torch.log_softmax(scores.masked_fill(~visible, -1e30), -1)
    total = target.sum(-1, keepdim=True)
    p = target / total.clamp(min=1e-6)
    kl = (p * (torch.log(p.clamp(min=1e-9)) - logp.clamp(min=-1e4))).sum(-1)
    return (kl * (total[..., 0] > 1e-4)).mean()


class Attention(nn.Module):
    def __init__(self, cfg, ratio):
        super().__init__()
        self.cfg, self.ratio = cfg, ratio
        h, d, e = cfg.num_attention_heads, cfg.head_dim, cfg.hidden_size
        self.wq_a = Linear(cfg.q_lora_rank, e)
        self.q_norm = Norm(cfg.q_lora_rank, cfg.rms_norm_eps)
        self.wq_b = Linear(h * d, cfg.q_lora_rank)
        self.wkv = Linear(d, e)
        self.kv_norm = Norm(d, cfg.rms_norm_eps)
        self.attn_sink = nn.Parameter(torch.zeros(h))
        self.wo_a = Linear(cfg.o_groups * cfg.o_lora_rank, h * d // cfg.o_groups)
        self.wo_b = Linear(e, cfg.o_groups * cfg.o_lora_rank, std=1e-3)
        if ratio:
            self.compressor = Compressor(cfg, ratio, d)
        if ratio == 4:
            self.indexer = Indexer(cfg)

    def cache(self, x, mode):
        if not mode.quant_cache:
            return x.to(mode.dtype)
        n = self.cfg.qk_rope_head_dim
        tail = x[..., -n:]
        if mode.dtype == torch.float32:
            tail = tail.to(torch.float16).float()
        return torch.cat((ste(fp8_sim, x[..., :-n]), tail), -1).to(mode.dtype)

    def forward(self, a, env, mode):
        cfg = self.cfg
        b, t, _ = a.shape
        h, d, nb = cfg.num_attention_heads, cfg.head_dim, t // 128
        cos, sin = env.cos, env.sin
        qr = self.q_norm(self.wq_a(a, mode).float())
        q = rms(self.wq_b(qr, mode).float().view(b, t, h, d), eps=cfg.rms_norm_eps)
        q = (rope(q, cos[:, :, None], sin[:, :, None]) * d ** -0.5).to(mode.dtype)
        kv = self.cache(rope(self.kv_norm(self.wkv(a, mode)), cos, sin), mode)

        blocks = kv.view(b, nb, 128, d)
        prev = torch.cat((torch.zeros_like(blocks[:, :1]), blocks[:, :-1]), 1)
        win = torch.cat((prev, blocks), 2)                                # [b, nb, 256, d]
        sw = torch.matmul(q.view(b, nb, 128 * h, d), win.transpose(2, 3))
        mask = window_mask(env.link, cfg.sliding_window)
        sw = sw.view(b, nb, 128, h, 256).float().masked_fill(~mask[:, :, :, None], -1e30)
        sw = sw.view(b, t, h, 256)
        sink = self.attn_sink.view(1, 1, h, 1)

        kl = None
        if not self.ratio:
            top = torch.maximum(sw.detach().amax(-1, keepdim=True), sink.detach())
            ew = torch.exp(sw - top)
            den = ew.sum(-1, keepdim=True) + torch.exp(sink - top)
        else:
            r = self.ratio
            first = env.first4 if r == 4 else env.first4[:, ::32]
            rows = self.cache(self.compressor(a, first, cos[:, ::r], sin[:, ::r], mode), mode)
            seen = row_mask(env.doc, r, t)
            if r == 4:
                seen, scores = self.select(a, qr, env, seen, mode)
            sc = torch.matmul(q.view(b, t * h, d), rows.transpose(1, 2)).view(b, t, h, t // r)
            sc = sc.float().masked_fill(~seen[:, :, None], -1e30)
            top = torch.maximum(sw.detach().amax(-1, keepdim=True), sink.detach())
            top = torch.maximum(top, sc.detach().amax(-1, keepdim=True))
            ew, ec = torch.exp(sw - top), torch.exp(sc - top)
            den = ew.sum(-1, keepdim=True) + ec.sum(-1, keepdim=True) + torch.exp(sink - top)
            pc = (ec / den).to(mode.dtype)
            if r == 4 and mode.index_loss:
                kl = sparse_kl(scores, pc.detach().float().sum(2), seen)
        pw = (ew / den).to(mode.dtype)
        o = torch.matmul(pw.view(b, nb, 128 * h, 256), win).view(b, t, h, d)
        if self.ratio:
            o = o + torch.matmul(pc.view(b, t * h, t // r), rows).view(b, t, h, d)
        o = rope(o.float(), cos[:, :, None], sin[:, :, None], inverse=True).to(mode.dtype)
        g = cfg.o_groups
        wa = self.wo_a.value(mode).view(g, cfg.o_lora_rank, h * d // g)
        low = torch.einsum("btgk,grk->btgr", o.view(b, t, g, h * d // g), wa)
        return self.wo_b(low.reshape(b, t, -1), mode), kl

    def select(self, a, qr, env, seen, mode):
        """Narrow `seen` to the rows that the indexer chooses; scores for its loss."""
        k = self.cfg.index_topk
        t4 = seen.shape[-1]
        if t4 <= k and not mode.index_loss:
            return seen, None
        scores = self.indexer(a.detach(), qr.detach(), env, mode)
        if not mode.select or t4 <= k:
            return seen, scores
        masked = scores.detach().masked_fill(~seen, float("-inf"))
        if mode.dtype == torch.float32:                    # exact: ties keep the lowest row
            order = torch.sort(masked, dim=-1, descending=True, stable=True).indices[..., :k]
            keep = torch.zeros_like(seen).scatter_(-1, order, True)
        else:
            keep = masked >= (kth_largest(masked, k) - env.warm * 1e30)[..., None]
        return seen & keep, scores


class MoE(nn.Module):
    """All experts are evaluated for all tokens and weighted: at this size that is fastest."""

    def __init__(self, cfg, hashed):
        super().__init__()
        self.cfg = cfg
        e, m, x = cfg.hidden_size, cfg.moe_intermediate_size, cfg.n_routed_experts
        self.gate = Linear(x, e, "bf16", std=0.02)
        self.w1 = Linear(m, e, "fp4", lead=(x,))
        self.w3 = Linear(m, e, "fp4", lead=(x,))
        self.w2 = Linear(e, m, "fp4", std=1e-3, lead=(x,))
        ms = m * cfg.n_shared_experts
        self.s1, self.s3, self.s2 = Linear(ms, e), Linear(ms, e), Linear(e, ms, std=1e-3)
        # both exist in every layer, so that all layers are one program; `hashed` says which counts
        self.register_buffer("tid2eid", torch.zeros(cfg.vocab_size, cfg.num_experts_per_tok, dtype=torch.long))
        self.register_buffer("bias", torch.zeros(x))
        self.register_buffer("by_table", torch.tensor(hashed))

    def route(self, x, tokens):
        cfg = self.cfg
        p = F.softplus(F.linear(x.float(), self.gate.weight)).sqrt()
        table = F.one_hot(self.tid2eid[tokens], cfg.n_routed_experts).sum(-2)
        s = p.detach() + self.bias
        # rank of each expert = how many beat it; ties go to the lower index
        idx = torch.arange(cfg.n_routed_experts, device=s.device)
        beats = (s[..., None, :] > s[..., :, None]) | (
            (s[..., None, :] == s[..., :, None]) & (idx[None, :] < idx[:, None]))
        best = beats.sum(-1) < cfg.num_experts_per_tok
        hot = torch.where(self.by_table, table, best.to(table.dtype)).to(p.dtype)
        w = p * hot
        w = cfg.routed_scaling_factor * w / w.sum(-1, keepdim=True).clamp(min=2.0 ** -14)
        return w, hot

    def forward(self, x, tokens, mode):
        lim = self.cfg.swiglu_limit
        w, hot = self.route(x, tokens)
        x = x.to(mode.dtype)

        def glu(g, u):
            return F.silu(g.float().clamp(max=lim)) * u.float().clamp(-lim, lim)
        n, m, e = self.w1.weight.shape
        g = F.linear(x, self.w1.value(mode).reshape(n * m, e)).unflatten(-1, (n, m))
        u = F.linear(x, self.w3.value(mode).reshape(n * m, e)).unflatten(-1, (n, m))
        mid = (glu(g, u) * w[..., None]).to(mode.dtype).flatten(-2)
        w2 = self.w2.value(mode).transpose(0, 1).reshape(e, n * m)
        y = F.linear(mid, w2)
        y = y + self.s2(glu(self.s1(x, mode), self.s3(x, mode)), mode)
        return y, hot.detach().flatten(0, -2).sum(0)


class HyperConnection(nn.Module):
    """Mixes the parallel streams into a sublayer's input and spreads its output back."""

    def __init__(self, cfg, index, head=False):
        super().__init__()
        m = cfg.hc_mult
        self.cfg, self.head = cfg, head
        self.fn = nn.Parameter(torch.randn(m if head else (2 + m) * m, m * cfg.hidden_size) * 0.02)
        self.scale = nn.Parameter(torch.full((1 if head else 3,), 0.2))
        base = torch.zeros(m) if head else torch.zeros((2 + m) * m)
        if not head:
            base[:m] = -1.0
            base[index % m] = 1.0
            base[m:2 * m] = torch.randn(m) * 0.3
            base[2 * m:] = (3.0 * torch.eye(m)).flatten() + torch.randn(m * m) * 0.1
        self.base = nn.Parameter(base)

    def controls(self, h, mode):
        flat = h.flatten(-2)
        inv = torch.rsqrt(flat.float().square().mean(-1, keepdim=True) + self.cfg.rms_norm_eps)
        return F.linear(flat, self.fn.to(mode.dtype)).float() * inv

    def mix(self, h, w, mode):
        return (h.float() * w[..., None]).sum(-2)

    def pre(self, h, mode):
        m, eps = self.cfg.hc_mult, self.cfg.hc_eps
        c = self.controls(h, mode)
        pre = torch.sigmoid(c[..., :m] * self.scale[0] + self.base[:m]) + eps
        if self.head:
            return self.mix(h, pre, mode)
        post = 2 * torch.sigmoid(c[..., m:2 * m] * self.scale[1] + self.base[m:2 * m])
        a = (c[..., 2 * m:] * self.scale[2] + self.base[2 * m:]).unflatten(-1, (m, m))
        comb = sinkhorn(a, self.cfg.hc_sinkhorn_iters, eps)
        return self.mix(h, pre, mode), post, comb

    def post(self, y, h, post, comb, mode):
        hf = h.float()
        out = post[..., None] * y.float()[..., None, :]
        for i in range(self.cfg.hc_mult):       # row i of comb: input stream i
            out = out + comb[..., i, :, None] * hf[..., i, None, :]
        return out.to(mode.dtype)


class Block(nn.Module):
    def __init__(self, cfg, layer):
        super().__init__()
        e, eps = cfg.hidden_size, cfg.rms_norm_eps
        self.hc_attn = HyperConnection(cfg, layer)
        self.hc_ffn = HyperConnection(cfg, layer + 1)
        self.attn_norm, self.ffn_norm = Norm(e, eps), Norm(e, eps)
        self.attn = Attention(cfg, cfg.ratio(layer))
        self.ffn = MoE(cfg, layer < cfg.num_hash_layers)

    def mix_rows(self, h, env, mode):
        """The attention half."""
        u, post, comb = self.hc_attn.pre(h, mode)
        y, kl = self.attn(self.attn_norm(u), env, mode)
        return self.hc_attn.post(y, h, post, comb, mode), kl

    def feed(self, h, tokens, mode):
        """The expert half; tokens are independent, so the shape [N, ..] never changes in training."""
        u, post, comb = self.hc_ffn.pre(h, mode)
        y, load = self.ffn(self.ffn_norm(u), tokens, mode)
        return self.hc_ffn.post(y, h, post, comb, mode), load

    def forward(self, h, tokens, env, mode):
        h, kl = self.mix_rows(h, env, mode)
        flat, load = self.feed(h.flatten(0, 1), tokens.flatten(), mode)
        return flat.view(h.shape), kl, load


class Model(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        e, eps, n = cfg.hidden_size, cfg.rms_norm_eps, cfg.num_hidden_layers
        self.embed = nn.Parameter(torch.randn(cfg.vocab_size, e))
        self.head = nn.Parameter(torch.randn(cfg.vocab_size, e) * 0.002)
        self.norm = Norm(e, eps)
        self.hc_head = HyperConnection(cfg, 0, head=True)
        self.layers = nn.ModuleList(Block(cfg, i) for i in range(n))
        if cfg.num_nextn_predict_layers:
            self.mtp = Block(cfg, n)
            self.mtp_enorm, self.mtp_hnorm, self.mtp_norm = Norm(e, eps), Norm(e, eps), Norm(e, eps)
            self.mtp_e_proj, self.mtp_h_proj = Linear(e, e), Linear(e, e)
            self.mtp_hc_head = HyperConnection(cfg, 0, head=True)
        g = torch.Generator().manual_seed(4)
        for blk in self.layers:                 # two distinct experts per token id
            if bool(blk.ffn.by_table):
                order = torch.rand(cfg.vocab_size, cfg.n_routed_experts, generator=g).argsort(1)
                blk.ffn.tid2eid.copy_(order[:, : cfg.num_experts_per_tok])
        for name, compressed in (("plain_freqs", False), ("yarn_freqs", True)):
            f = torch.tensor(cfg.rope_freqs(compressed), dtype=torch.float64).float()
            self.register_buffer(name, f, persistent=False)

    def envs(self, batch, warm=False):
        return {False: make_env(batch, self.plain_freqs, warm), True: make_env(batch, self.yarn_freqs, warm)}

    def trunk(self, batch, mode, envs, probe=None):
        """Streams after the last layer, the indexer losses, and expert loads per layer."""
        emb = F.embedding(batch.tokens, self.embed.to(mode.dtype))
        h = emb[:, :, None].expand(-1, -1, self.cfg.hc_mult, -1).contiguous()
        kls, loads = [], []
        for blk in self.layers:
            h, kl, load = blk(h, batch.tokens, envs[blk.attn.ratio != 0], mode)
            loads.append(load)
            if kl is not None:
                kls.append(kl)
            if probe is not None:
                probe.append(h.detach())
        return h, kls, loads

    def logits(self, h, mode, hc=None, norm=None):
        x = (norm or self.norm)((hc or self.hc_head).pre(h, mode))
        return F.linear(x.to(mode.dtype), self.head.to(mode.dtype))

    def mtp_streams(self, h, batch, mode, envs):
        """Streams of the MTP block for pairs (H_p, token p+1); valid where p+1 exists."""
        nxt = torch.roll(batch.tokens, -1, 1)
        e = self.mtp_e_proj(self.mtp_enorm(F.embedding(nxt, self.embed)), mode)
        x = e[:, :, None] + self.mtp_h_proj(self.mtp_hnorm(h), mode)
        return self.mtp(x, nxt, envs[False], mode)
