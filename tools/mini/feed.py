"""Worker processes that generate batches while the accelerator works."""
import os
import queue
import traceback
import multiprocessing as mp

import numpy as np
import torch

import docs as doc_file
import mix
from rand import Rand


def work(seed, args, out):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    docs = doc_file.load(args["docs"]) if args["docs"] and os.path.exists(args["docs"]) else None
    packer = mix.Packer(Rand(seed, tokens=mix.token_texts(args["tokenizer"]), docs=docs), mix.fast_tokenizer(args["tokenizer"]), docs, args["rows"], args["length"],
                        args.get("weights"), args.get("long_share", 0.0))
    while True:
        try:
            out.put(packer.batch())
        except (ValueError, IndexError, KeyError, AssertionError):
            traceback.print_exc()               # a generator slip must not stop the training


class Feed:
    """Batches from `workers` processes; next() gives device tensors."""

    def __init__(self, workers, seed, device, depth=4, **args):
        ctx = mp.get_context("spawn")
        self.queue = ctx.Queue(workers * depth)
        self.device = device
        self.procs = [ctx.Process(target=work, args=(seed * 1000 + i, args, self.queue), daemon=True) for i in range(workers)]
        for p in self.procs:
            p.start()
        self.old = []

    def next(self):
        """A fresh batch; while none is ready, an old one again."""
        try:
            b = self.queue.get(block=not self.old, timeout=None if not self.old else 0.0)
            fresh = 1
            self.old = (self.old + [b])[-64:]
        except queue.Empty:
            b = self.old[np.random.randint(len(self.old))]
            fresh = 0
        dev = self.device
        t = {k: torch.from_numpy(v) for k, v in b.items()}
        if dev.type == "cuda":
            t = {k: v.pin_memory().to(dev, non_blocking=True) for k, v in t.items()}
        t["tokens"] = t["tokens"].long()
        t["kind"] = t["kind"].long()
        t["weight"] = t["weight"].float()
        return t, fresh

    def close(self):
        for p in self.procs:
            p.terminate()
