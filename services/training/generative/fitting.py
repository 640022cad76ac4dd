"""The loop that every generative recipe runs: AdamW, an exponential moving average, checkpoints, exact resumption.

All randomness of a step comes from a generator keyed by (seed, step), and the learning rate from the step, so that a
run which goes on from a checkpoint ends in the weights that it would have had without the interruption.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

State = dict[str, torch.Tensor]
Loss = Callable[[torch.Generator], torch.Tensor]

CHECKPOINT = "checkpoint.safetensors"
REPORT_EVERY = 50


@dataclass(frozen=True)
class Fit:
    """How long and how fast. ``ema`` is the share of the average that a step keeps; 0 keeps the last weights."""

    steps: int
    batch: int
    learning_rate: float
    ema: float = 0.999
    weight_decay: float = 1e-4
    warmup: int = 200

    def rate(self, step: int) -> float:
        """Linear warm-up, then a half cosine down to 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def kept(self, step: int) -> float:
        """The average is young at first and must not remember the initial weights."""
        return min(self.ema, (1 + step) / (10 + step))


def fit(
    module: torch.nn.Module,
    loss: Loss,
    how: Fit,
    *,
    seed: int,
    folder: Path | None = None,
    checkpoint_every: int = 500,
    report: Callable[[int, float], None] = lambda step, loss: None,
    check: Callable[[], None] = lambda: None,
) -> State:
    """Train ``module`` in place; the averaged weights of its trainable and its other tensors, on the CPU.

    ``loss`` draws a batch from the generator that it is given. ``check`` may raise to stop. With ``folder`` the run
    goes on from the checkpoint there, if there is one.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, how.learning_rate, betas=(0.9, 0.99), weight_decay=how.weight_decay)
    average = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    first = _resume(folder, module, average, optimizer)
    since: list[float] = []
    module.train()
    for step in range(first, how.steps):
        check()
        for group in optimizer.param_groups:
            group["lr"] = how.rate(step)
        value = loss(torch.Generator().manual_seed(seed * 1_000_003 + step))
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        _average(average, module, how.kept(step))
        since.append(float(value.detach()))
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == how.steps:
            report(step + 1, sum(since) / len(since))
            since = []
        if folder is not None and ((step + 1) % checkpoint_every == 0 or step + 1 == how.steps):
            _save(folder, module, average, optimizer, step + 1)
    return {name: tensor.cpu() for name, tensor in average.items()}


@torch.no_grad()
def _average(average: State, module: torch.nn.Module, kept: float) -> None:
    for name, tensor in module.state_dict().items():
        if tensor.dtype.is_floating_point:
            average[name].lerp_(tensor, 1.0 - kept)
        else:
            average[name].copy_(tensor)


def _save(folder: Path, module: torch.nn.Module, average: State, optimizer: torch.optim.Optimizer, step: int) -> None:
    flat = {f"module/{name}": tensor.cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    flat |= {f"average/{name}": tensor.cpu().clone().contiguous() for name, tensor in average.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        flat |= {f"optimizer/{index}/{name}": tensor.cpu().clone().contiguous() for name, tensor in moments.items()}
    flat["step"] = torch.tensor(step)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{CHECKPOINT}.draft"
    save_file(flat, str(draft))
    draft.replace(folder / CHECKPOINT)


def _resume(folder: Path | None, module: torch.nn.Module, average: State, optimizer: torch.optim.Optimizer) -> int:
    if folder is None or not (folder / CHECKPOINT).exists():
        return 0
    flat = load_file(str(folder / CHECKPOINT))
    module.load_state_dict(_part(flat, "module/"))
    for name, tensor in _part(flat, "average/").items():
        average[name].copy_(tensor)
    moments: dict[int, State] = {}
    for name, tensor in _part(flat, "optimizer/").items():
        index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(flat["step"])


def _part(flat: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in flat.items() if name.startswith(prefix)}
