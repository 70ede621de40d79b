"""Hyper-parameters of the bundled model, under the names of the official config.json."""
import json
import math
from dataclasses import dataclass, field, asdict


@dataclass
class Config:
    vocab_size: int = 4096
    hidden_size: int = 256
    num_hidden_layers: int = 8
    num_nextn_predict_layers: int = 1
    num_attention_heads: int = 8
    num_key_value_heads: int = 1
    head_dim: int = 128
    qk_rope_head_dim: int = 64
    q_lora_rank: int = 128
    o_groups: int = 2
    o_lora_rank: int = 128
    sliding_window: int = 128
    compress_ratios: list = field(default_factory=lambda: [0, 4, 4, 128, 4, 4, 128, 4, 0])
    index_n_heads: int = 4
    index_head_dim: int = 128
    index_topk: int = 64
    n_routed_experts: int = 8
    num_experts_per_tok: int = 2
    n_shared_experts: int = 1
    moe_intermediate_size: int = 256
    num_hash_layers: int = 2
    scoring_func: str = "sqrtsoftplus"
    topk_method: str = "noaux_tc"
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.5
    swiglu_limit: float = 10.0
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    hc_mult: int = 4
    hc_sinkhorn_iters: int = 20
    hc_eps: float = 1e-6
    rope_theta: float = 10000.0
    compress_rope_theta: float = 160000.0
    rope_scaling: dict = field(default_factory=lambda: {
        "type": "yarn", "factor": 16, "original_max_position_embeddings": 65536,
        "beta_fast": 32, "beta_slow": 1})
    max_position_embeddings: int = 1048576
    tie_word_embeddings: bool = False

    def save(self, path):
        extra = {
            "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4",
            "name": "ds4-mini", "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
            "torch_dtype": "bfloat16", "expert_dtype": "fp4",
            "quantization_config": {
                "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                "scale_fmt": "ue8m0", "weight_block_size": [128, 128]},
        }
        with open(path, "w") as f:
            json.dump({**extra, **asdict(self)}, f, indent=2)
            f.write("\n")

    @classmethod
    def load(cls, path):
        known = cls.__dataclass_fields__
        with open(path) as f:
            return cls(**{k: v for k, v in json.load(f).items() if k in known})

    def ratio(self, layer):
        """Compression ratio of a layer; the MTP block is entry num_hidden_layers."""
        return self.compress_ratios[layer]

    def rope_freqs(self, compressed):
        """The rotary frequencies as Python floats (float64)."""
        d = self.qk_rope_head_dim
        base = self.compress_rope_theta if compressed else self.rope_theta
        f = [base ** (-2.0 * i / d) for i in range(d // 2)]
        s = self.rope_scaling
        if not compressed or not s:
            return f
        orig, factor = s["original_max_position_embeddings"], s["factor"]

        def dim(n):
            return d * math.log(orig / (2 * math.pi * n)) / (2 * math.log(base))
        lo = max(math.floor(dim(s["beta_fast"])), 0)
        hi = min(math.ceil(dim(s["beta_slow"])), d - 1)
        r = [min(max((i - lo) / max(hi - lo, 0.001), 0.0), 1.0) for i in range(d // 2)]
        return [g * (1 - t) + g / factor * t for g, t in zip(f, r)]
