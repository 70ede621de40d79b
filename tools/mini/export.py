"""Write a checkpoint in the official layout: export.py CKPT_DIR OUT_DIR.

FP4 experts and FP8 matrices with E8M0 scales, BF16 norms, router, embedding, head and
compressors, F32 hyper-connections, sinks and biases, I64 expert tables; names as in the
published checkpoint. OUT_DIR/tokenizer.json is expected to be there already.
"""
import json
import os
import struct
import sys

import numpy as np
import torch

import checkpoint
import quant
from config import Config
from model import Model

SHARD = 15_000_000


def fp8(w):
    """(codes, scale bytes) of a matrix in 128x128 tiles."""
    s = quant.fp8_tile_scale(w)
    full = s.repeat_interleave(128, 0).repeat_interleave(128, 1)[: w.shape[0], : w.shape[1]]
    return quant.encode_e4m3(quant.e4m3_round(w / full).numpy()), quant.encode_e8m0(s.numpy())


def fp4(w):
    """(packed codes, scale bytes) with a scale per 32 inputs."""
    b = w.reshape(w.shape[0], -1, 32)
    s = quant.ceil_pow2(b.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 6.0)
    return quant.encode_e2m1(quant.e2m1_round(b / s).reshape(w.shape).numpy()), quant.encode_e8m0(s[..., 0].numpy())


class Writer:
    def __init__(self):
        self.tensors = {}

    def put(self, name, dtype, array):
        self.tensors[name] = (dtype, list(array.shape), np.ascontiguousarray(array))

    def bf16(self, name, t):
        self.put(name, "BF16", quant.encode_bf16(t.detach().numpy()))

    def f32(self, name, t):
        self.put(name, "F32", t.detach().numpy().astype(np.float32))

    def fp8(self, name, t):
        codes, scale = fp8(t.detach().float())
        self.put(name + ".weight", "F8_E4M3", codes)
        self.put(name + ".scale", "F8_E8M0", scale)

    def fp4(self, name, t):
        codes, scale = fp4(t.detach().float())
        self.put(name + ".weight", "I8", codes.view(np.int8))
        self.put(name + ".scale", "F8_E8M0", scale)

    def save(self, folder):
        shards, size = [[]], 0
        for name, (_, _, a) in self.tensors.items():
            if size + a.nbytes > SHARD:
                shards.append([])
                size = 0
            shards[-1].append(name)
            size += a.nbytes
        index, total = {}, 0
        for i, names in enumerate(shards):
            file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
            header, at = {}, 0
            for n in names:
                dtype, shape, a = self.tensors[n]
                header[n] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + a.nbytes]}
                at += a.nbytes
                index[n] = file
            text = json.dumps(header, separators=(",", ":")).encode()
            text += b" " * (-len(text) % 8)
            with open(os.path.join(folder, file), "wb") as f:
                f.write(struct.pack("<Q", len(text)) + text)
                for n in names:
                    f.write(self.tensors[n][2].tobytes())
            total += at
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": total}, "weight_map": index}, f, indent=1)
            f.write("\n")
        return len(shards), total


def put_hc(w, prefix, hc):
    for part in ("fn", "scale", "base"):
        w.f32(f"{prefix}_{part}", getattr(hc, part))


def put_compressor(w, p, c):
    w.f32(p + ".ape", c.ape)
    w.bf16(p + ".wkv.weight", c.wkv.weight)
    w.bf16(p + ".wgate.weight", c.wgate.weight)
    w.bf16(p + ".norm.weight", c.norm.weight)


def put_block(w, p, b):
    put_hc(w, p + ".hc_attn", b.hc_attn)
    put_hc(w, p + ".hc_ffn", b.hc_ffn)
    w.bf16(p + ".attn_norm.weight", b.attn_norm.weight)
    w.bf16(p + ".ffn_norm.weight", b.ffn_norm.weight)
    a, q = b.attn, p + ".attn"
    for name in ("wq_a", "wq_b", "wkv", "wo_a", "wo_b"):
        w.fp8(f"{q}.{name}", getattr(a, name).weight)
    w.bf16(q + ".q_norm.weight", a.q_norm.weight)
    w.bf16(q + ".kv_norm.weight", a.kv_norm.weight)
    w.f32(q + ".attn_sink", a.attn_sink)
    if a.ratio:
        put_compressor(w, q + ".compressor", a.compressor)
    if a.ratio == 4:
        w.fp8(q + ".indexer.wq_b", a.indexer.wq_b.weight)
        w.bf16(q + ".indexer.weights_proj.weight", a.indexer.weights_proj.weight)
        put_compressor(w, q + ".indexer.compressor", a.indexer.compressor)
    f, q = b.ffn, p + ".ffn"
    w.bf16(q + ".gate.weight", f.gate.weight)
    if bool(f.by_table):
        w.put(q + ".gate.tid2eid", "I64", f.tid2eid.numpy().astype(np.int64))
    else:
        w.f32(q + ".gate.bias", f.bias)
    for e in range(f.w1.weight.shape[0]):
        for name in ("w1", "w2", "w3"):
            w.fp4(f"{q}.experts.{e}.{name}", getattr(f, name).weight[e])
    for name, lin in (("w1", f.s1), ("w2", f.s2), ("w3", f.s3)):
        w.fp8(f"{q}.shared_experts.{name}", lin.weight)


def export(model, folder):
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.endswith(".safetensors"):
            os.remove(os.path.join(folder, old))
    w = Writer()
    w.bf16("embed.weight", model.embed)
    for i, b in enumerate(model.layers):
        put_block(w, f"layers.{i}", b)
    w.bf16("norm.weight", model.norm.weight)
    w.bf16("head.weight", model.head)
    put_hc(w, "hc_head", model.hc_head)
    if model.cfg.num_nextn_predict_layers:
        put_block(w, "mtp.0", model.mtp)
        w.fp8("mtp.0.e_proj", model.mtp_e_proj.weight)
        w.fp8("mtp.0.h_proj", model.mtp_h_proj.weight)
        for name in ("enorm", "hnorm", "norm"):
            w.bf16(f"mtp.0.{name}.weight", getattr(model, "mtp_" + name).weight)
        put_hc(w, "mtp.0.hc_head", model.mtp_hc_head)
    model.cfg.save(os.path.join(folder, "config.json"))
    return w.save(folder)


def main(ckpt, out):
    model = Model(Config())
    with torch.no_grad():
        checkpoint.load(model, ckpt)
        shards, total = export(model, out)
    print(f"{shards} shards, {total / 1e6:.1f} MB, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")


if __name__ == "__main__":
    main(*sys.argv[1:])
