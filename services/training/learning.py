"""The training loop: a plain function of examples and a recipe, on one process or under Ray Train.

Everything random is keyed by (seed, epoch), and the learning rate by the step, so that a run which resumes from the
snapshot of epoch *e* goes on exactly as if it had not stopped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional

from services.maths.networks import build_network
from services.training.examples import Examples
from services.training.recipes import Recipe
from services.training.scoring import choose_thresholds, predict, score

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: enough to report it, and ``snapshot`` to resume after it."""

    done: int
    total: int
    loss: float
    validation: float
    snapshot: Callable[[], State]


@dataclass(frozen=True)
class Share:
    """This worker's share of every batch order: rows ``rank::workers``."""

    rank: int = 0
    workers: int = 1


def train(
    recipe: Recipe,
    training: Examples,
    validation: Examples,
    *,
    seed: int,
    epochs: int,
    report: Callable[[Epoch], None] = lambda epoch: None,
    check: Callable[[], None] = lambda: None,
    resume: State | None = None,
    prepare: Callable[[torch.nn.Module], torch.nn.Module] = lambda network: network,
    share: Share | None = None,
) -> State:
    """The weights of the epoch that scored best on the validation patients.

    ``report`` is called after each epoch and ``check`` before each step; either may raise to stop the run. ``prepare``
    moves the network to its device and wraps it for data parallelism.
    """
    share = share or Share()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain = build_network(recipe.family, recipe.architecture)
    plain = plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = prepare(plain)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-3)
    first, best_score, best = (0, -np.inf, {}) if resume is None else _restore(resume, plain, optimizer)
    for epoch in range(first, epochs):
        losses = []
        for number, (inputs, targets) in enumerate(_batches(recipe, training, seed, epoch, share)):
            check()
            _set_learning_rate(optimizer, recipe, (epoch + number / _steps(recipe, training, share)) / epochs)
            losses.append(_step(recipe, network, optimizer, inputs, targets))
        validated = _validate(recipe, plain, validation)
        if validated > best_score:
            best_score, best = validated, copy.deepcopy(_cpu(plain.state_dict()))
        snapshot = partial(_snapshot, plain, optimizer, best, best_score, epoch + 1)
        report(Epoch(epoch + 1, epochs, float(np.mean(losses)), validated, snapshot))
    return best


def _steps(recipe: Recipe, training: Examples, share: Share) -> int:
    return max(1, len(training) // (recipe.batch * share.workers))


def _batches(
    recipe: Recipe, training: Examples, seed: int, epoch: int, share: Share
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """This worker's augmented batches of one epoch; the last, incomplete one is left out."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    order = torch.from_numpy(rng.permutation(len(training))[share.rank :: share.workers].copy())
    noise = torch.Generator().manual_seed(seed * 100_003 + epoch * 101 + share.rank)
    for step in range(_steps(recipe, training, share)):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        yield _augment(recipe, training.inputs[rows], training.targets[rows], noise)


def _step(
    recipe: Recipe,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: torch.Tensor,
    targets: torch.Tensor,
) -> float:
    network.train()
    device = next(network.parameters()).device
    raw = network(inputs.to(device).contiguous(memory_format=torch.channels_last))
    loss = _loss(recipe, raw, targets.to(device))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(loss.detach())


def _set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, done: float) -> None:
    """Linear warm-up over the first tenth of the run (``done`` from 0 to 1), then a half cosine down to 0."""
    cosine = 0.5 * (1 + float(np.cos(np.pi * (done - 0.1) / 0.9)))
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate * (done / 0.1 if done < 0.1 else cosine)


def _augment(
    recipe: Recipe, inputs: torch.Tensor, targets: torch.Tensor, noise: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Classifiers see shifts, gains, blur and noise, since they will be asked about reconstructed images as well."""
    if recipe.task in ("segmentation", "reconstruction"):
        flip = torch.rand(len(inputs), 1, 1, 1, generator=noise) < 0.5
        return torch.where(flip, inputs.flip(3), inputs), torch.where(flip, targets.flip(3), targets)
    count = len(inputs)
    down, across = (int(torch.randint(-3, 4, (1,), generator=noise)) for _ in range(2))
    padded = functional.pad(inputs, (3, 3, 3, 3), mode="replicate")
    moved = padded[:, :, 3 + down : 67 + down, 3 + across : 67 + across]
    blurred = functional.avg_pool2d(functional.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = 0.8 * torch.rand(count, 1, 1, 1, generator=noise) ** 2
    gain = 1 + 0.06 * (2 * torch.rand(count, 1, 1, 1, generator=noise) - 1)
    grain = 0.02 * torch.rand(count, 1, 1, 1, generator=noise) * torch.randn(moved.shape, generator=noise)
    return gain * torch.lerp(moved, blurred, amount) + grain, targets


def _loss(recipe: Recipe, raw: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if recipe.task == "reconstruction":
        return functional.mse_loss(raw, targets)
    if recipe.task == "attribute-classification":
        return functional.cross_entropy(raw, targets)
    known = ~torch.isnan(targets)
    entropy = functional.binary_cross_entropy_with_logits(raw, targets.nan_to_num(), reduction="none")
    mean: torch.Tensor = (entropy * known).sum() / known.sum()
    if recipe.task == "segmentation":
        guess = raw.sigmoid()
        overlap = 2 * (guess * targets).sum() + 1
        mean = mean + 1 - overlap / (guess.sum() + targets.sum() + 1)
    return mean


def _validate(recipe: Recipe, network: torch.nn.Module, validation: Examples) -> float:
    device = next(network.parameters()).device
    predicted = predict(network, validation.inputs.to(device), recipe.task)
    thresholds = choose_thresholds(recipe, predicted, validation)
    return score(recipe, predicted, validation, thresholds)[recipe.score]


def _cpu(state: State) -> State:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}


def _snapshot(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer, best: State, best_score: float, done: int
) -> State:
    """Everything a resumed run needs, as one flat dictionary of tensors that safetensors can hold."""
    flat = {f"network/{name}": tensor.clone() for name, tensor in _cpu(network.state_dict()).items()}
    flat |= {f"best/{name}": tensor for name, tensor in best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        flat |= {f"optimizer/{index}/{name}": tensor.clone() for name, tensor in _cpu(moments).items()}
    flat["progress"] = torch.tensor([float(done), best_score], dtype=torch.float64)
    return flat


def _restore(snapshot: State, network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float, State]:
    network.load_state_dict(_part(snapshot, "network/"))
    moments: dict[int, State] = {}
    for name, tensor in _part(snapshot, "optimizer/").items():
        index, key = name.split("/")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    done, best_score = snapshot["progress"].tolist()
    return int(done), best_score, _part(snapshot, "best/")


def _part(snapshot: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in snapshot.items() if name.startswith(prefix)}
