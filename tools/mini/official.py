"""Read an exported checkpoint back into the model (the values that the engine will use)."""
import json
import os
import struct

import numpy as np
import torch

import quant
from config import Config
from model import Model

TYPES = {"BF16": np.uint16, "F32": np.float32, "I64": np.int64, "I8": np.uint8, "F8_E4M3": np.uint8, "F8_E8M0": np.uint8}


def read(folder):
    """{name: (dtype, array)} of all shards."""
    with open(os.path.join(folder, "model.safetensors.index.json")) as f:
        files = sorted(set(json.load(f)["weight_map"].values()))
    out = {}
    for file in files:
        data = open(os.path.join(folder, file), "rb").read()
        n = struct.unpack_from("<Q", data)[0]
        for name, t in json.loads(data[8:8 + n]).items():
            b, e = t["data_offsets"]
            a = np.frombuffer(data, TYPES[t["dtype"]], count=(e - b) // np.dtype(TYPES[t["dtype"]]).itemsize, offset=8 + n + b)
            out[name] = (t["dtype"], a.reshape(t["shape"]))
    return out


def decode(tensors, name):
    """float32 (or int64) tensor of one entry."""
    dtype, a = tensors[name]
    if dtype == "BF16":
        return torch.from_numpy((a.astype(np.uint32) << 16).view(np.float32))
    if dtype in ("F32", "I64"):
        return torch.from_numpy(a.copy())
    scale = np.ldexp(np.float32(1), tensors[name.replace(".weight", ".scale")][1].astype(np.int32) - 127)
    if dtype == "F8_E4M3":
        v = np.append(quant.E4M3, np.nan)[a & 127] * np.where(a & 128, -1, 1)
        s = scale.repeat(128, 0).repeat(128, 1)[: a.shape[0], : a.shape[1]]
        return torch.from_numpy((v * s).astype(np.float32))
    code = np.stack((a & 15, a >> 4), -1).reshape(a.shape[0], -1)
    v = quant.E2M1[code & 7] * np.where(code & 8, -1, 1)
    return torch.from_numpy((v * scale.repeat(32, 1)).astype(np.float32))


def block_names(p, b):
    """Our parameter name (without prefix) -> official name."""
    m = {}
    for hc in ("hc_attn", "hc_ffn"):
        m.update({f"{hc}.{x}": f"{p}.{hc}_{x}" for x in ("fn", "scale", "base")})
    same = ["attn_norm.weight", "ffn_norm.weight", "attn.wq_a.weight", "attn.wq_b.weight", "attn.wkv.weight", "attn.wo_a.weight",
            "attn.wo_b.weight", "attn.q_norm.weight", "attn.kv_norm.weight", "attn.attn_sink", "ffn.gate.weight"]
    comp = ["ape", "wkv.weight", "wgate.weight", "norm.weight"]
    if b.attn.ratio:
        same += [f"attn.compressor.{c}" for c in comp]
    if b.attn.ratio == 4:
        same += ["attn.indexer.wq_b.weight", "attn.indexer.weights_proj.weight"] + [f"attn.indexer.compressor.{c}" for c in comp]
    m.update({s: f"{p}.{s}" for s in same})
    m.update({f"ffn.s{i}.weight": f"{p}.ffn.shared_experts.w{i}.weight" for i in (1, 2, 3)})
    if bool(b.ffn.by_table):
        m["ffn.tid2eid"] = f"{p}.ffn.gate.tid2eid"
    else:
        m["ffn.bias"] = f"{p}.ffn.gate.bias"
    return m


def load(folder):
    cfg = Config.load(os.path.join(folder, "config.json"))
    model, tensors = Model(cfg), read(folder)
    own = model.state_dict()
    names = {"embed": "embed.weight", "head": "head.weight", "norm.weight": "norm.weight",
             **{f"hc_head.{x}": f"hc_head_{x}" for x in ("fn", "scale", "base")}}
    blocks = [(f"layers.{i}", f"layers.{i}", b) for i, b in enumerate(model.layers)]
    if cfg.num_nextn_predict_layers:
        blocks.append(("mtp", "mtp.0", model.mtp))
        names.update({f"mtp_{n}.weight": f"mtp.0.{n}.weight" for n in ("enorm", "hnorm", "norm", "e_proj", "h_proj")})
        names.update({f"mtp_hc_head.{x}": f"mtp.0.hc_head_{x}" for x in ("fn", "scale", "base")})
    with torch.no_grad():
        for ours, theirs, b in blocks:
            names.update({f"{ours}.{k}": v for k, v in block_names(theirs, b).items()})
            for w in ("w1", "w2", "w3"):
                for e in range(cfg.n_routed_experts):
                    own[f"{ours}.ffn.{w}.weight"][e].copy_(decode(tensors, f"{theirs}.ffn.experts.{e}.{w}.weight"))
        for k, v in names.items():
            own[k].copy_(decode(tensors, v))
    return cfg, model
