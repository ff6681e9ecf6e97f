"""A training run that may be interrupted at any time: its clock, its log and its checkpoint."""

import math
import os
import time

import numpy as np
import torch


def rate(done, peak, warm_up):
    """Warm-up, then cosine to zero; `done` goes from 0 to 1."""
    return peak * min(1, done / warm_up) * 0.5 * (1 + math.cos(math.pi * min(1, done)))


class Run:
    """What it trains are `modules`, by their names in a checkpoint, and the `average` of some of their weights."""

    def __init__(self, args, modules, optimisers, average, warm_up):
        self.args, self.modules, self.optimisers, self.average = args, modules, optimisers, average
        self.warm_up = warm_up
        self.parameters = [weight for module in modules.values() for weight in module.parameters()]
        self.seconds, self.steps = 0.0, 0
        os.makedirs(args.work, exist_ok=True)
        self.checkpoint = os.path.join(args.work, "checkpoint.pt")
        self.resume()

    def resume(self):
        if not os.path.exists(self.checkpoint):
            return
        state = torch.load(self.checkpoint, weights_only=True)
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        for optimiser, kept in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(kept)
        self.average = state["average"]
        self.seconds, self.steps = state["seconds"], state["steps"]
        self.say(f"going on after {self.steps} steps and {self.seconds / 60:.1f} minutes")

    def save(self):
        state = {name: module.state_dict() for name, module in self.modules.items()}
        state |= dict(average=self.average, optimisers=[o.state_dict() for o in self.optimisers],
                      seconds=self.seconds, steps=self.steps)
        torch.save(state, self.checkpoint + ".new")
        os.replace(self.checkpoint + ".new", self.checkpoint)

    def say(self, text):
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with open(os.path.join(self.args.work, "log.txt"), "a", encoding="utf-8") as log:
            log.write(line + "\n")

    def set_rates(self, done):
        for group in (g for o in self.optimisers for g in o.param_groups):
            group["lr"] = rate(done, group["peak"], self.warm_up)

    def learn(self, loss):
        for module in self.modules.values():
            module.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], 1.0)
        for optimiser in self.optimisers:
            optimiser.step()

    def pass_time(self, last):
        """Counts the time since `last`; gives the time now."""
        now = time.time()
        self.seconds += min(60, now - last)  # a sleeping machine is not training time
        return now

    def report(self, figures):
        mean = {n: np.mean([f[n] for f in figures]) for n in figures[0]}
        text = " ".join(f"{n} {v:.3f}" for n, v in mean.items())
        self.say(f"step {self.steps} minute {self.seconds / 60:.1f} {text}")
