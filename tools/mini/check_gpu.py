"""Checks of the GPU path: the kernels against plain code, and gradients against autograd."""
import torch

import kernels


def main():
    torch.manual_seed(0)
    x = torch.randn(1000, 4, 4, device="cuda") * 2
    g = torch.randn_like(x)
    a = x.double().requires_grad_()
    p = kernels.sinkhorn_plain(a, 20, 1e-6)
    p.backward(g.double())
    b = x.clone().requires_grad_()
    q = kernels.sinkhorn(b, 20, 1e-6)
    q.backward(g)
    err = ((b.grad - a.grad).norm() / a.grad.norm()).item()
    print("sinkhorn value", (p - q).abs().max().item(), "gradient (relative)", err)
    for n, k in ((512, 64), (4096, 64), (8192, 64), (100, 64)):
        s = torch.randn(300, n, device="cuda")
        s[:5, 40:] = float("-inf")
        s[5:9] = 1.0
        t = kernels.kth_largest(s, k)
        w = torch.topk(s, k, -1).values[:, -1]
        print("kth", n, bool((t == w).all()))


if __name__ == "__main__":
    main()
