"""Three small GPU operations that PyTorch has no fast form of, with plain fallbacks.

* sinkhorn: the 4x4 doubly stochastic mixing of the hyper-connections; the backward pass
  solves the fixed-point equations instead of walking back through twenty rounds;
* kth_largest: exact k-th largest value of each row (radix select in registers).
"""
import torch

try:
    import triton
    import triton.language as tl
    HAVE_TRITON = torch.cuda.is_available()
except ImportError:
    HAVE_TRITON = False


def sinkhorn_plain(logits, rounds, eps):
    """Row softmax first, then alternate columns and rows; differentiable by autograd."""
    a = torch.softmax(logits, -1) + eps
    a = a / (a.sum(-2, keepdim=True) + eps)
    for _ in range(rounds - 1):
        a = a / (a.sum(-1, keepdim=True) + eps)
        a = a / (a.sum(-2, keepdim=True) + eps)
    return a


if HAVE_TRITON:
    @triton.jit
    def _sinkhorn_fwd(x_ptr, out_ptr, n, rounds, eps, BLOCK: tl.constexpr):
        row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        i = tl.arange(0, 4)
        off = row[:, None, None] * 16 + i[None, :, None] * 4 + i[None, None, :]
        live = (row < n)[:, None, None]
        x = tl.load(x_ptr + off, mask=live, other=0.0)
        x = tl.exp(x - tl.max(x, 2)[:, :, None])
        a = x / tl.sum(x, 2)[:, :, None] + eps
        a = a / (tl.sum(a, 1)[:, None, :] + eps)
        for _ in range(rounds - 1):
            a = a / (tl.sum(a, 2)[:, :, None] + eps)
            a = a / (tl.sum(a, 1)[:, None, :] + eps)
        tl.store(out_ptr + off, a, mask=live)

    @triton.jit
    def _sinkhorn_bwd(p_ptr, g_ptr, out_ptr, n, rounds, BLOCK: tl.constexpr):
        row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        i = tl.arange(0, 4)
        off = row[:, None, None] * 16 + i[None, :, None] * 4 + i[None, None, :]
        live = (row < n)[:, None, None]
        p = tl.load(p_ptr + off, mask=live, other=0.25)
        g = tl.load(g_ptr + off, mask=live, other=0.0)
        pg = p * g
        rs, cs = tl.sum(pg, 2), tl.sum(pg, 1)
        beta = cs * 0.0
        alpha = rs
        for _ in range(rounds):
            alpha = rs - tl.sum(p * beta[:, None, :], 2)
            beta = cs - tl.sum(p * alpha[:, :, None], 1)
        tl.store(out_ptr + off, p * (g - alpha[:, :, None] - beta[:, None, :]), mask=live)

    @triton.jit
    def _kth_largest(x_ptr, out_ptr, n, k, BLOCK: tl.constexpr):
        row = tl.program_id(0).to(tl.int64)
        col = tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * n + col, mask=col < n, other=-float("inf"))
        bits = x.to(tl.int32, bitcast=True)
        key = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)      # order-preserving integers
        neg = tl.sum((key >= 0).to(tl.int32), 0) < k
        t = tl.where(neg, -2147483648, 0)
        for b in range(31):
            cand = t + (1 << (30 - b))
            t = tl.where(tl.sum((key >= cand).to(tl.int32), 0) >= k, cand, t)
        back = tl.where(t < 0, t ^ 0x7FFFFFFF, t)
        tl.store(out_ptr + row, back.to(tl.float32, bitcast=True))

    @torch.library.custom_op("mini::sinkhorn", mutates_args=())
    def _sinkhorn_op(x: torch.Tensor, rounds: int, eps: float) -> torch.Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        n = x.numel() // 16
        _sinkhorn_fwd[(triton.cdiv(n, 64),)](x, out, n, rounds, eps, BLOCK=64)
        return out

    @_sinkhorn_op.register_fake
    def _(x, rounds, eps):
        return torch.empty(x.shape, dtype=x.dtype, device=x.device)

    @torch.library.custom_op("mini::sinkhorn_backward", mutates_args=())
    def _sinkhorn_bwd_op(p: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        p, g = p.contiguous(), g.contiguous()
        out = torch.empty_like(p)
        n = p.numel() // 16
        _sinkhorn_bwd[(triton.cdiv(n, 64),)](p, g, out, n, 12, BLOCK=64)
        return out

    @_sinkhorn_bwd_op.register_fake
    def _(p, g):
        return torch.empty(p.shape, dtype=p.dtype, device=p.device)

    _sinkhorn_op.register_autograd(
        lambda ctx, g: (_sinkhorn_bwd_op(ctx.saved_tensors[0], g), None, None),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output))

    @torch.library.custom_op("mini::kth_largest", mutates_args=())
    def _kth_op(x: torch.Tensor, k: int) -> torch.Tensor:
        x = x.contiguous()
        n = x.shape[-1]
        out = torch.empty(x.shape[:-1], dtype=x.dtype, device=x.device)
        block = triton.next_power_of_2(n)
        _kth_largest[(x.numel() // n,)](x, out, n, k, BLOCK=block,
                                        num_warps=8 if block > 2048 else 4 if block > 512 else 1)
        return out

    @_kth_op.register_fake
    def _(x, k):
        return torch.empty(x.shape[:-1], dtype=x.dtype, device=x.device)


def sinkhorn(logits, rounds, eps):
    if HAVE_TRITON and logits.is_cuda and logits.shape[-1] == 4:
        return _sinkhorn_op(logits, rounds, eps)
    return sinkhorn_plain(logits, rounds, eps)


def kth_largest(x, k):
    """k-th largest value of each row; -inf where a row has fewer finite entries."""
    if HAVE_TRITON and x.is_cuda:
        return _kth_op(x, k)
    return torch.topk(x, k, dim=-1).values[..., -1]
