"""Fit an exported model to long contexts without training: sharpen.py MODEL_DIR OUT_DIR SCALE TOP_K.

Layers of ratio 128 attend to all their rows: 32 in the longest training row, 8,000 at a million
tokens, where what is sought drowns in the sum of the rest. Here their logits get a factor: keys
are values too, so the norms of both kinds of row grow by it and the output matrix shrinks by it.
The indexer's layers may select fewer rows than in training, for the same reason.
"""
import os
import shutil
import sys

import torch

import export
import official


def sharpen(attn, scale):
    attn.kv_norm.weight *= scale
    attn.compressor.norm.weight *= scale
    attn.wo_b.weight /= scale


def main(model_dir, out, scale, top_k):
    cfg, model = official.load(model_dir)
    model.cfg.index_topk = int(top_k)
    with torch.no_grad():
        for layer in model.layers:
            if layer.attn.ratio == 128:
                sharpen(layer.attn, float(scale))
        os.makedirs(out, exist_ok=True)
        shards, total = export.export(model, out)
    if not os.path.exists(os.path.join(out, "tokenizer.json")):
        shutil.copy(os.path.join(model_dir, "tokenizer.json"), out)
    print(f"{shards} shards, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
