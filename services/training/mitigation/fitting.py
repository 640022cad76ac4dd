"""The loop of one fine-tuning: a plain function of cases, a term and its weight λ.

Everything random is keyed by (seed, epoch) and the learning rate by the step, so that a run which resumes from the
snapshot of epoch *e* goes on exactly as if it had not stopped, and the values of a sweep differ in λ only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from services.maths.mitigation.balance import Balance, gradient_length
from services.training.learning import Epoch
from services.training.mitigation.cases import Cases
from services.training.mitigation.terms import Term
from services.training.objectives import Objective, served_parameters
from services.training.recipes import Recipe
from services.training.snapshots import Progress, State

LEARNING_RATE = 0.5
"""Of the recipe's: the network has learned already."""
FILLING = 10
"""Steps, at most a tenth of the run, in which the term only gathers: cells to remember, or what an adversary learns."""
MEASURE_EVERY, MEASURED_FIRST = 4, 12
"""Steps between two measurements of both gradients' lengths, which cost a backward pass more; of the first, each."""
PATIENCE = 3
"""Epochs that are no better on the validation data than an earlier one, the base aside, after which a run ends.

The base does not count: while the learning rate is high most epochs are worse, and many of these runs end better.
"""


@dataclass(frozen=True)
class Plan:
    """``shares`` (N,) are the probabilities that rows are drawn by, or None: each once an epoch."""

    recipe: Recipe
    weight: float
    seed: int
    epochs: int
    shares: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Parts:
    """What is trained, and on what. ``predictor`` is frozen and in evaluation mode, on the network's device."""

    network: nn.Module
    predictor: nn.Module
    objective: Objective
    term: Term | None
    cases: Cases


@dataclass(frozen=True)
class Fitted:
    """The weights that did best on the validation data, after how many epochs; 0: those of the base."""

    state: State
    epochs: int


def fit(
    parts: Parts,
    plan: Plan,
    *,
    preferred: Callable[[nn.Module], float],
    report: Callable[[Epoch], None] = lambda epoch: None,
    check: Callable[[], None] = lambda: None,
    resume: State | None = None,
) -> Fitted:
    """Fine-tune the network and keep its best weights; larger ``preferred(network)`` is better, the base's included.

    ``report`` is called after each epoch and ``check`` before each step; either may raise to stop the run. Averages of
    the weights, which recipes of sampled models keep, are not kept: the learning rate falls to 0.
    """
    tuner = _Tuner(parts, plan)
    if resume is None:
        tuner.begin(preferred(parts.network))
    else:
        tuner.restore(resume)
    run = tuner.run
    while run.done < plan.epochs and run.done - tuner.promising < PATIENCE:
        losses: list[float] = []
        for batch, noise in _batches(parts.cases, plan, run.done):
            check()
            losses.append(tuner.step(batch, noise, len(losses)))
        score = preferred(parts.network)
        tuner.judge(score)
        report(Epoch(run.done, plan.epochs, float(np.mean(losses)), score, tuner.snapshot))
    return Fitted(run.best, tuner.best)


class _Tuner:
    """Steps of gradient descent on own loss + λ · term, and what they carry from one to the next."""

    def __init__(self, parts: Parts, plan: Plan) -> None:
        recipe = plan.recipe
        self._parts = parts
        self._plan = plan
        self._rate = LEARNING_RATE * recipe.learning_rate
        self._optimizer = torch.optim.AdamW(
            parts.network.parameters(), lr=self._rate, betas=recipe.betas, weight_decay=recipe.weight_decay
        )
        self._device = next(parts.network.parameters()).device
        self._balance = Balance()
        self.best = self.promising = 0
        """The epoch whose weights are kept, 0 for the base, and the best one without it."""
        self._promise = -math.inf
        self.run = Progress(parts.network, parts.network, self._optimizer)

    def begin(self, score: float) -> None:
        """The base is the first of those to choose from."""
        self.run.judge(score)
        self.run.done = 0

    def judge(self, score: float) -> None:
        best = score > self.run.best_score
        self.run.judge(score)
        self.best = self.run.done if best else self.best
        if score > self._promise:
            self.promising, self._promise = self.run.done, score

    def step(self, batch: Cases, noise: torch.Generator, number: int) -> float:
        """The own loss of the batch, which is the epoch's ``number``-th from 0."""
        an_epoch = _steps(self._parts.cases, self._plan)
        total = an_epoch * self._plan.epochs
        number += self.run.done * an_epoch
        degraded, clean, labels = (part.to(self._device) for part in (batch.degraded, batch.clean, batch.labels))
        degraded = degraded.contiguous(memory_format=torch.channels_last)
        own, restored = self._parts.objective(self._parts.network.train(), degraded, clean, noise)
        self._optimizer.zero_grad(set_to_none=True)
        if self._parts.term is None:
            own.backward()  # type: ignore[no-untyped-call]
        else:
            logits = self._parts.predictor(restored.clamp(0, 1))
            term = self._parts.term(logits, labels, [codes.to(self._device) for codes in batch.groups])
            used = number - min(FILLING, total // 10)
            if used < 0:
                own.backward()  # type: ignore[no-untyped-call]
            else:
                self._descend(own, term, measured=used < MEASURED_FIRST or used % MEASURE_EVERY == 0)
        _set_learning_rate(self._optimizer, self._rate, number / total)
        self._optimizer.step()
        return float(own.detach())

    def _descend(self, own: torch.Tensor, term: torch.Tensor, *, measured: bool) -> None:
        """Leave the gradient of own + λ · term in the weights, in the meaning of λ that ``balance`` gives it."""
        if not term.requires_grad:
            own.backward()  # type: ignore[no-untyped-call]
            return
        if measured:
            served = served_parameters(self._parts.network)
            ours, theirs = (
                torch.autograd.grad(loss, served, retain_graph=True, allow_unused=True) for loss in (own, term)
            )
            self._balance = self._balance.after(gradient_length(ours), gradient_length(theirs))
        (own + self._balance.factor(self._plan.weight) * term).backward()  # type: ignore[no-untyped-call]

    def snapshot(self) -> State:
        flat = self.run.snapshot()
        if self._parts.term is not None:
            flat |= {f"term/{name}": tensor for name, tensor in self._parts.term.state().items()}
        balance = self._balance
        numbers = (self.best, self.promising, self._promise, balance.own, balance.fairness, balance.largest)
        return flat | {"tuning": torch.tensor(numbers, dtype=torch.float64)}

    def restore(self, snapshot: State) -> None:
        self.run.restore(snapshot)
        if self._parts.term is not None:
            found = {name: tensor for name, tensor in snapshot.items() if name.startswith("term/")}
            self._parts.term.restore({name.removeprefix("term/"): tensor for name, tensor in found.items()})
        best, promising, self._promise, *balance = snapshot["tuning"].tolist()
        self.best, self.promising, self._balance = int(best), int(promising), Balance(*balance)


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    """Linear warm-up over the first tenth of the run, then a half cosine down to 0."""
    cosine = 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
    for group in optimizer.param_groups:
        group["lr"] = rate * (done / 0.1 if done < 0.1 else cosine)


def _steps(cases: Cases, plan: Plan) -> int:
    return max(1, len(cases) // plan.recipe.batch)


def _batches(cases: Cases, plan: Plan, epoch: int) -> Iterator[tuple[Cases, torch.Generator]]:
    """The batches of one epoch, flipped at random as in the training of the base, and a generator for their noise."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((plan.seed, epoch))))
    count, batch = len(cases), plan.recipe.batch
    order = rng.permutation(count) if plan.shares is None else rng.choice(count, count, p=plan.shares)
    noise = torch.Generator().manual_seed(plan.seed * 100_003 + epoch)
    for step in range(_steps(cases, plan)):
        some = cases.rows(torch.from_numpy(order[step * batch : (step + 1) * batch]))
        flip = torch.rand(len(some), 1, 1, 1, generator=noise) < 0.5
        degraded, clean = (torch.where(flip, images.flip(3), images) for images in (some.degraded, some.clean))
        yield Cases(degraded, clean, some.labels, some.groups, some.patients), noise
