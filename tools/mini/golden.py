"""Check the model code against golden vectors: golden.py DIR CASE [CASE ...].

DIR/CASE.gguf holds a small model with F16/F32 tensors; CASE.exact.f32 and CASE.rounded.f32
hold logits of an independent implementation (without and with the cache roundings).
"""
import json
import struct
import sys
import numpy as np
import torch

from config import Config
from model import Model, Mode, Batch

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_gguf(path):
    """Metadata and tensors (float32 or int32 arrays, [out, in] order)."""
    data = open(path, "rb").read()
    at = 0

    def take(fmt):
        nonlocal at
        v = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return v[0] if len(v) == 1 else v

    def string():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode("utf-8", "replace")

    def value(t):
        if t == 8:
            return string()
        if t == 9:
            it, n = take("I"), take("Q")
            return [value(it) for _ in range(n)]
        return take(SCALARS[t])
    assert take("I") == 0x46554747 and take("I") == 3
    nt, nk = take("Q"), take("Q")
    meta = {}
    for _ in range(nk):
        k = string()
        meta[k] = value(take("I"))
    infos = []
    for _ in range(nt):
        name, nd = string(), take("I")
        dims = [take("Q") for _ in range(nd)]
        infos.append((name, dims, take("I"), take("Q")))
    align = meta.get("general.alignment", 32)
    start = -(-at // align) * align
    out = {}
    for name, dims, typ, off in infos:
        kind = {0: np.float32, 1: np.float16, 26: np.int32}[typ]
        a = np.frombuffer(data, kind, int(np.prod(dims)), start + off).reshape(dims[::-1])
        out[name] = a if typ == 26 else a.astype(np.float32)
    return meta, out


def config_from(meta):
    g = lambda k: meta["deepseek4." + k]
    n = g("block_count")
    return Config(
        vocab_size=g("vocab_size"), hidden_size=g("embedding_length"), num_hidden_layers=n,
        num_nextn_predict_layers=0, num_attention_heads=g("attention.head_count"),
        head_dim=g("attention.key_length"), qk_rope_head_dim=g("rope.dimension_count"),
        q_lora_rank=g("attention.q_lora_rank"), o_groups=g("attention.output_group_count"),
        o_lora_rank=g("attention.output_lora_rank"), sliding_window=g("attention.sliding_window"),
        compress_ratios=list(g("attention.compress_ratios")),
        index_n_heads=g("attention.indexer.head_count"), index_head_dim=g("attention.indexer.key_length"),
        index_topk=g("attention.indexer.top_k"), n_routed_experts=g("expert_count"),
        num_experts_per_tok=g("expert_used_count"), n_shared_experts=g("expert_shared_count"),
        moe_intermediate_size=g("expert_feed_forward_length"), num_hash_layers=g("hash_layer_count"),
        routed_scaling_factor=g("expert_weights_scale"), swiglu_limit=g("swiglu_clamp_exp")[0],
        rms_norm_eps=g("attention.layer_norm_rms_epsilon"), hc_mult=g("hyper_connection.count"),
        hc_sinkhorn_iters=g("hyper_connection.sinkhorn_iterations"), hc_eps=g("hyper_connection.epsilon"),
        rope_theta=g("rope.freq_base"), compress_rope_theta=g("attention.compress_rope_freq_base"),
        rope_scaling={"type": "yarn", "factor": g("rope.scaling.factor"),
                      "original_max_position_embeddings": g("rope.scaling.original_context_length"),
                      "beta_fast": g("rope.scaling.yarn_beta_fast"),
                      "beta_slow": g("rope.scaling.yarn_beta_slow")})


def hc_names(prefix, attr):
    return {f"{attr}.{p}": f"{prefix}_{p}.weight" for p in ("fn", "scale", "base")}


def layer_names(i, ratio, hashed):
    b = f"blk.{i}."
    m = {**hc_names(b + "hc_attn", "hc_attn"), **hc_names(b + "hc_ffn", "hc_ffn")}
    m.update({"attn_norm.weight": b + "attn_norm.weight", "ffn_norm.weight": b + "ffn_norm.weight",
              "attn.wq_a.weight": b + "attn_q_a.weight", "attn.q_norm.weight": b + "attn_q_a_norm.weight",
              "attn.wq_b.weight": b + "attn_q_b.weight", "attn.wkv.weight": b + "attn_kv.weight",
              "attn.kv_norm.weight": b + "attn_kv_a_norm.weight", "attn.attn_sink": b + "attn_sinks.weight",
              "attn.wo_a.weight": b + "attn_output_a.weight", "attn.wo_b.weight": b + "attn_output_b.weight",
              "ffn.gate.weight": b + "ffn_gate_inp.weight", "ffn.w1.weight": b + "ffn_gate_exps.weight",
              "ffn.w3.weight": b + "ffn_up_exps.weight", "ffn.w2.weight": b + "ffn_down_exps.weight",
              "ffn.s1.weight": b + "ffn_gate_shexp.weight", "ffn.s3.weight": b + "ffn_up_shexp.weight",
              "ffn.s2.weight": b + "ffn_down_shexp.weight"})
    m["ffn.tid2eid" if hashed else "ffn.bias"] = b + ("ffn_gate_tid2eid.weight" if hashed else "exp_probs_b.bias")

    def comp(attr, pre):
        m.update({f"{attr}.wkv.weight": pre + "_kv.weight", f"{attr}.wgate.weight": pre + "_gate.weight",
                  f"{attr}.ape": pre + "_ape.weight", f"{attr}.norm.weight": pre + "_norm.weight"})
    if ratio:
        comp("attn.compressor", b + "attn_compressor")
    if ratio == 4:
        comp("attn.indexer.compressor", b + "indexer_compressor")
        m["attn.indexer.wq_b.weight"] = b + "indexer.attn_q_b.weight"
        m["attn.indexer.weights_proj.weight"] = b + "indexer.proj.weight"
    return {f"layers.{i}.{k}": v for k, v in m.items()}


def load(path):
    meta, tensors = read_gguf(path)
    cfg = config_from(meta)
    model = Model(cfg)
    names = {"embed": "token_embd.weight", "head": "output.weight", "norm.weight": "output_norm.weight",
             **hc_names("output_hc", "hc_head")}
    for i in range(cfg.num_hidden_layers):
        names.update(layer_names(i, cfg.ratio(i), i < cfg.num_hash_layers))
    state = model.state_dict()
    for k in state:
        if k not in names:                      # the buffer that this layer does not use
            continue
        t = torch.from_numpy(np.array(tensors[names[k]]))
        state[k].copy_(t.reshape(state[k].shape))
    return cfg, model


def main(folder, cases):
    torch.set_num_threads(2)
    for case in cases:
        cfg, model = load(f"{folder}/{case}.gguf")
        tokens = torch.from_numpy(np.fromfile(f"{folder}/{case}.tokens.i32", np.int32)).long()
        n = len(tokens)
        pad = -(-n // 128) * 128
        grid = torch.zeros(1, pad, dtype=torch.long)
        grid[0, :n] = tokens
        nb = pad // 128
        batch = Batch(grid, torch.zeros(1, nb, dtype=torch.long), torch.arange(nb)[None] * 128)
        probes = json.load(open(f"{folder}/{case}.json"))["probe_positions"]
        for name, rounding in (("exact", False), ("rounded", True)):
            mode = Mode(torch.float32, quant_weights=False, quant_cache=rounding)
            want = np.fromfile(f"{folder}/{case}.{name}.f32", np.float32).reshape(n, -1)
            probe = []
            with torch.no_grad():
                h, _, _ = model.trunk(batch, mode, model.envs(batch), probe)
                got = model.logits(h, mode)[0, :n].numpy()
            err = np.abs(got - want).max(1)
            line = (f"{case} {name}: max {err.max():.2e} median {np.median(err):.2e} "
                    f"within 1e-2 {np.mean(err < 1e-2):.4f}")
            if not rounding:
                s = np.fromfile(f"{folder}/{case}.streams.f32", np.float32).reshape(len(probe), len(probes), -1)
                e = [np.abs(p[0, probes].flatten(1).numpy() - s[i]).max() for i, p in enumerate(probe)]
                line += " streams " + " ".join(f"{x:.1e}" for x in e)
            print(line)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
