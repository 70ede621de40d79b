"""Training checkpoints: bfloat16 weights and float32 buffers in pieces of at most 15 MB."""
import glob
import os

import torch

PIECE = 15_000_000


def save(model, folder):
    os.makedirs(folder, exist_ok=True)
    pieces, size = [{}], 0
    for k, v in model.state_dict().items():
        v = v.detach().cpu()
        if "tid2eid" in k and not bool(model.state_dict()[k.replace("tid2eid", "by_table")]):
            v = torch.zeros(0, dtype=torch.long)
        elif "tid2eid" in k:
            v = v.to(torch.uint8)
        elif v.is_floating_point() and v.numel() > 64 and ".bias" not in k:
            v = v.to(torch.bfloat16)
        n = v.numel() * v.element_size()
        if size + n > PIECE:
            pieces.append({})
            size = 0
        pieces[-1][k] = v
        size += n
    for i, p in enumerate(pieces):
        torch.save(p, f"{folder}/ckpt{i}.pt.tmp")
        os.replace(f"{folder}/ckpt{i}.pt.tmp", f"{folder}/ckpt{i}.pt")


def load(model, folder):
    state = {}
    for p in sorted(glob.glob(f"{folder}/ckpt*.pt")):
        state.update(torch.load(p, map_location="cpu"))
    own = model.state_dict()
    for k, v in state.items():
        if v.numel():
            own[k].copy_(v.reshape(own[k].shape))
