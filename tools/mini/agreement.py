"""Reference logits for the engine: agreement.py MODEL_DIR OUT_DIR.

Runs the exported weights in float32 with all roundings of the trained graph over one
conversation of more than 256 tokens (so the indexer selects), and keeps every fourth row.
"""
import json
import os
import sys

import numpy as np
import torch

import mix
import official
import prompt
from model import Batch, Mode

STEP = 4


def conversation():
    """A short talk with a system text, a sum, and one tool call with its result."""
    tool = {"type": "function", "function": {"name": "get_tide", "description": "Get the tide of a harbor", "parameters": {
        "type": "object", "properties": {"harbor": {"type": "string", "description": "The harbor"}, "day": {"type": "integer"}},
        "required": ["harbor", "day"]}}}
    msgs = [{"role": "system", "content": "You are a helpful assistant"},
            {"role": "user", "content": "Hello, who are you?"},
            {"role": "assistant", "reasoning_content": "The user asks about me.", "content": "I am ds4-mini, a small language model bundled with ds4."},
            {"role": "user", "content": "Please get the tide with harbor Ostwick and day 12."},
            {"role": "assistant", "reasoning_content": "I call get_tide.", "content": "",
             "tool_calls": [{"name": "get_tide", "arguments": {"harbor": "Ostwick", "day": 12}}]},
            {"role": "tool", "content": "{\"height\": 3.4, \"time\": \"07:45\"}"},
            {"role": "assistant", "reasoning_content": "I have the result.", "content": "The height is 3.4 and the time is 07:45."},
            {"role": "user", "content": "What is 47 + 38?"},
            {"role": "assistant", "reasoning_content": "7 + 8 = 15, write 5 carry 1; 4 + 3 + 1 = 8, write 8. So 47 + 38 = 85.", "content": "The answer is 85."}]
    return prompt.plain(prompt.render(msgs, True, [tool]))


def main(model_dir, out):
    tok = mix.fast_tokenizer(os.path.join(model_dir, "tokenizer.json"))
    ids = np.asarray(tok(conversation())[0], np.int32)
    cfg, model = official.load(model_dir)
    n = -(-len(ids) // 128)
    grid = torch.full((1, n * 128), 2, dtype=torch.long)
    grid[0, : len(ids)] = torch.from_numpy(ids).long()
    batch = Batch(grid, torch.zeros(1, n, dtype=torch.long), torch.arange(n)[None] * 128)
    mode = Mode(torch.float32, quant_weights=False)
    with torch.no_grad():
        h, _, _ = model.trunk(batch, mode, model.envs(batch))
        rows = list(range(0, len(ids), STEP))
        logits = model.logits(h[:, rows], mode)[0].numpy().astype("<f4")
    os.makedirs(out, exist_ok=True)
    ids.tofile(os.path.join(out, "logits.tokens.i32"))
    logits.tofile(os.path.join(out, "logits.f32"))
    with open(os.path.join(out, "logits.json"), "w") as f:
        json.dump({"tokens": len(ids), "vocab": cfg.vocab_size, "shape": list(logits.shape), "positions": rows,
                   "mode": "float32, exported weights, cache roundings on", "std": float(logits.std())}, f)
        f.write("\n")
    print(len(ids), "tokens", logits.shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
