"""The training loop: a plain function of examples and a recipe, on one process or under Ray Train.

Everything random is keyed by (seed, epoch), and the learning rate by the step, so that a run which resumes from the
snapshot of epoch *e* goes on exactly as if it had not stopped.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from services.adapters.restoration import SampledRestoration, read_restoration
from services.maths.networks import build_network
from services.training.examples import Examples
from services.training.objectives import objective_of
from services.training.recipes import Recipe
from services.training.scoring import choose_thresholds, predict, score
from services.training.snapshots import Progress, State

Loss = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]

_VALIDATED_AT_ONCE = 64


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch: enough to report it, and ``snapshot`` to resume after it.

    ``validation`` is the recipe's score, or for a model that samples minus its held-out loss: it would take minutes to
    sample all validation patients, and their PSNR would favour an epoch that is still too smooth.
    """

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
    """The weights, averaged if the recipe says so, of the epoch that did best on the validation patients.

    ``report`` is called after each epoch and ``check`` before each step; either may raise to stop the run. ``prepare``
    moves the network to its device and wraps it for data parallelism.
    """
    share = share or Share()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        plain = build_network(recipe.family, recipe.architecture)
    plain = plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = prepare(plain)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    loss_of = _loss_of(recipe)
    run = Progress(plain, copy.deepcopy(plain) if recipe.ema else plain, optimizer)
    if resume is not None:
        run.restore(resume)
    steps = _steps(recipe, training, share)
    for epoch in range(run.done, epochs):
        losses = []
        noise = _noise(seed, epoch, share)
        for number, batch in enumerate(_batches(recipe, training, seed, epoch, share=share, noise=noise)):
            check()
            _set_learning_rate(optimizer, recipe, (epoch + number / steps) / epochs)
            losses.append(_step(loss_of, network, optimizer, batch, noise))
            if recipe.ema:
                _remember(run.average, plain, recipe.ema, epoch * steps + number)
        validated = _validate(recipe, run.average, validation, loss_of)
        run.judge(validated)
        report(Epoch(run.done, epochs, float(np.mean(losses)), validated, run.snapshot))
    return run.best


def _steps(recipe: Recipe, training: Examples, share: Share) -> int:
    return max(1, len(training) // (recipe.batch * share.workers))


def _noise(seed: int, epoch: int, share: Share) -> torch.Generator:
    """What this worker's augmentations and objectives of one epoch draw from, in turn."""
    return torch.Generator().manual_seed(seed * 100_003 + epoch * 101 + share.rank)


def _batches(
    recipe: Recipe, training: Examples, seed: int, epoch: int, *, share: Share, noise: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """This worker's augmented batches of one epoch; the last, incomplete one is left out."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    order = torch.from_numpy(rng.permutation(len(training))[share.rank :: share.workers].copy())
    for step in range(_steps(recipe, training, share)):
        rows = order[step * recipe.batch : (step + 1) * recipe.batch]
        yield _augment(recipe, training.inputs[rows], training.targets[rows], noise)


def _step(
    loss_of: Loss,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor],
    noise: torch.Generator,
) -> float:
    network.train()
    device = next(network.parameters()).device
    inputs, targets = (tensor.to(device) for tensor in batch)
    loss = loss_of(network, inputs.contiguous(memory_format=torch.channels_last), targets, noise)
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


@torch.no_grad()
def _remember(average: torch.nn.Module, network: torch.nn.Module, ema: float, step: int) -> None:
    """An exponential moving average that is young at first and does not remember the initial weights."""
    kept = min(ema, (1 + step) / (10 + step))
    for name, tensor in average.state_dict().items():
        new = network.state_dict()[name]
        if tensor.is_floating_point():
            tensor.lerp_(new, 1 - kept)
        else:
            tensor.copy_(new)


def _loss_of(recipe: Recipe) -> Loss:
    """The loss of one batch, whatever the task."""
    if recipe.task == "reconstruction":
        objective = objective_of(read_restoration(recipe.restoration))
        return lambda network, degraded, clean, noise: objective(network, degraded, clean, noise)[0]
    return lambda network, inputs, targets, noise: _loss(recipe, network(inputs), targets)


def _loss(recipe: Recipe, raw: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
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


def _validate(recipe: Recipe, network: torch.nn.Module, validation: Examples, loss_of: Loss) -> float:
    device = next(network.parameters()).device
    if isinstance(read_restoration(recipe.restoration), SampledRestoration):
        return -_held_out_loss(network.eval(), validation, loss_of)
    predicted = predict(network, validation.inputs.to(device), recipe.task)
    thresholds = choose_thresholds(recipe, predicted, validation)
    return score(recipe, predicted, validation, thresholds)[recipe.score]


@torch.no_grad()
def _held_out_loss(network: torch.nn.Module, validation: Examples, loss_of: Loss) -> float:
    """Over all validation images, at the same random times and noise after every epoch."""
    device = next(network.parameters()).device
    noise = torch.Generator().manual_seed(0)
    total = 0.0
    for start in range(0, len(validation), _VALIDATED_AT_ONCE):
        rows = slice(start, start + _VALIDATED_AT_ONCE)
        inputs, targets = validation.inputs[rows].to(device), validation.targets[rows].to(device)
        total += float(loss_of(network, inputs, targets, noise)) * len(inputs)
    return total / len(validation)
