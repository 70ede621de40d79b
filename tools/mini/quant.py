"""The roundings that are part of the trained graph, and the checkpoint formats.

Every rounding works on float32 with exponent-bit arithmetic, so that CPU, GPU and the C
engine agree to the bit: scales are exact powers of two, ties go to the even code.
"""
import numpy as np
import torch


def _exponent(x):
    """Unbiased exponent of positive float32 values (subnormals count as -127)."""
    return (x.view(torch.int32) >> 23) - 127


def _pow2(e):
    return ((e + 127) << 23).view(torch.float32)


def ceil_pow2(x):
    """2^ceil(log2(x)) for positive normal x."""
    bits = x.contiguous().view(torch.int32)
    e = (bits >> 23) - 127 + ((bits & 0x7FFFFF) != 0).to(torch.int32)
    return _pow2(e)


def _round_float(x, min_exp, mantissa_bits, limit):
    """Round to a small float format: RNE at a step that follows the exponent."""
    x = x.clamp(-limit, limit)
    e = _exponent(x.abs().contiguous()).clamp(min=min_exp)
    step = _pow2(e - mantissa_bits)
    return torch.round(x / step) * step


def e4m3_round(x):
    return _round_float(x, -6, 3, 448.0)


def e2m1_round(x):
    return _round_float(x, 0, 1, 6.0)


def fp8_sim(x, block=64):
    """FP8 E4M3 round trip of the last dimension in blocks of `block`."""
    shape = x.shape
    b = x.float().reshape(*shape[:-1], shape[-1] // block, block)
    s = ceil_pow2(b.abs().amax(-1, keepdim=True).clamp(min=1e-4) / 448.0)
    return (e4m3_round(b / s) * s).reshape(shape)


def fp4_sim(x, block=32):
    """FP4 E2M1 round trip of the last dimension in blocks of `block`."""
    shape = x.shape
    b = x.float().reshape(*shape[:-1], shape[-1] // block, block)
    s = ceil_pow2(b.abs().amax(-1, keepdim=True).clamp(min=6 * 2.0 ** -126) / 6.0)
    return (e2m1_round(b / s) * s).reshape(shape)


def straight_through(x, rounded):
    """Value of `rounded`, gradient of `x` (x - x is exactly zero)."""
    return rounded.detach() + (x - x.detach())


def fp8_tile_scale(w):
    """Scale per 128x128 tile of the last two dimensions, shape [.., O/128, I/128]."""
    *lead, o, i = w.shape
    to, ti = -(-o // 128), -(-i // 128)
    if o % 128 or i % 128:
        w = torch.nn.functional.pad(w, (0, ti * 128 - i, 0, to * 128 - o))
    t = w.reshape(*lead, to, 128, ti, 128)
    return ceil_pow2(t.abs().amax((-3, -1)).clamp(min=1e-12) / 448.0)


def fp8_weight(w):
    """FP8 E4M3 round trip of a matrix with one power-of-two scale per 128x128 tile."""
    s = fp8_tile_scale(w)
    s = s.repeat_interleave(128, -2).repeat_interleave(128, -1)[..., : w.shape[-2], : w.shape[-1]]
    return e4m3_round(w / s) * s


def fp4_weight(w):
    """FP4 E2M1 round trip with one power-of-two scale per 32 inputs."""
    b = w.reshape(*w.shape[:-1], w.shape[-1] // 32, 32)
    s = ceil_pow2(b.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 6.0)
    return (e2m1_round(b / s) * s).reshape(w.shape)


def hadamard(x):
    """Walsh-Hadamard transform of the last dimension, Sylvester order, orthonormal."""
    shape = x.shape
    n = shape[-1]
    h = 1
    while h < n:
        y = x.reshape(*shape[:-1], n // (2 * h), 2, h)
        a, b = y[..., 0, :], y[..., 1, :]
        x = torch.stack((a + b, a - b), -2)
        h *= 2
    return x.reshape(shape) * n ** -0.5


# ---- storage formats of the checkpoint (numpy, exact) ------------------------------------

E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6], np.float32)


def _e4m3_table():
    code = np.arange(127)
    e, m = code >> 3, code & 7
    return np.where(e == 0, m * 2.0 ** -9, (8 + m) * 2.0 ** (e - 10.0)).astype(np.float32)


E4M3 = _e4m3_table()


def encode_e4m3(x):
    """Codes of values that already lie on the E4M3 grid."""
    idx = np.searchsorted(E4M3, np.abs(x))
    idx = np.minimum(idx, 126)
    assert np.array_equal(E4M3[idx], np.abs(x)), "value off the E4M3 grid"
    return (idx | (np.signbit(x) << 7)).astype(np.uint8)


def encode_e2m1(x):
    """Packed codes, low nibble = even index, of values on the E2M1 grid."""
    idx = np.searchsorted(E2M1, np.abs(x))
    assert np.array_equal(E2M1[np.minimum(idx, 7)], np.abs(x)), "value off the E2M1 grid"
    code = (idx | (np.signbit(x) << 3)).astype(np.uint8)
    return (code[..., 0::2] | (code[..., 1::2] << 4)).astype(np.uint8)


def encode_e8m0(s):
    """Biased exponent bytes of exact powers of two."""
    bits = np.ascontiguousarray(s, np.float32).view(np.uint32)
    assert not np.any(bits & 0x7FFFFF)
    return (bits >> 23).astype(np.uint8)


def encode_bf16(x):
    """Round to nearest even BF16, as uint16."""
    b = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((b + 0x7FFF + ((b >> 16) & 1)) >> 16).astype(np.uint16)


def bf16_round(x):
    return x.to(torch.bfloat16).to(torch.float32)
