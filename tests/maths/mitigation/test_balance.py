"""λ means the same over a run, whatever the losses do; the published normalisation does not hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from services.maths.mitigation.balance import FLOOR, Balance, gradient_length

STEPS, WINDOW = 3000, 200


@dataclass(frozen=True)
class Step:
    """One step of a run: the own loss, the two parts of the adversarial loss, and both gradients' lengths."""

    own: float
    entropy: float
    square: float
    own_length: float
    fairness_length: float


def run(units: float, seed: int = 0) -> Iterator[Step]:
    """The own loss falls to a fiftieth, the fairness gradient to a fifth, both with noise; ``units`` of the loss."""
    rng = np.random.default_rng(seed)
    for t in range(STEPS):
        fall = math.exp(-t / STEPS * math.log(50))
        own, noise = units * fall * rng.lognormal(0, 0.2), rng.lognormal(0, 0.4, 2)
        yield Step(
            own,
            0.6 * rng.lognormal(0, 0.1),
            0.1 * rng.lognormal(0, 0.5),
            3 * units * fall * noise[0],
            0.04 * math.exp(-t / STEPS * math.log(5)) * noise[1],
        )


def balanced(steps, weight):
    """Ours: the contribution of the fairness term at each step, in units of gradient."""
    balance = Balance()
    for step in steps:
        balance = balance.after(step.own_length, step.fairness_length)
        yield balance.factor(weight) * step.fairness_length


def sum_normalised(steps, weight, decay=0.9):
    """As published (trap 4): the difference of two normalised parts, itself normalised by its average."""
    own = entropy = square = fair = 0.0
    for step in steps:
        own, entropy, square = (
            decay * average + (1 - decay) * value
            for average, value in ((own, step.own), (entropy, step.entropy), (square, step.square))
        )
        part = step.entropy / entropy - step.square / square
        fair = decay * fair + (1 - decay) * part
        factor = own / fair if fair > 1e-2 else 1.0  # "not normalised", whenever the average is about 0 or below
        yield weight * factor * step.fairness_length / square


def effective_weights(terms, steps):
    """Length of the fairness contribution over that of the own gradient, by windows."""
    own = np.array([step.own_length for step in steps]).reshape(-1, WINDOW).mean(axis=1)
    return np.fromiter(terms, float).reshape(-1, WINDOW).mean(axis=1) / own


def holds(rule, weight) -> bool:
    """Whether λ stays within 20 % in every window, of a loss of any unit."""
    for units in (1e-3, 1.0, 100.0):
        steps = list(run(units))
        if not np.allclose(effective_weights(rule(steps, weight), steps), weight, rtol=0.2):
            return False
    return True


@pytest.mark.parametrize("weight", [0.05, 1.0, 20.0])
def test_the_effective_weight_stays_within_a_fifth_of_lambda(weight):
    assert holds(balanced, weight)


def test_the_published_normalisation_fails_the_same_check():
    assert not holds(sum_normalised, 1.0)
    steps = list(run(1e-3))
    found = effective_weights(sum_normalised(steps, 1.0), steps)
    assert found.max() / found.min() > 3


def test_a_term_that_has_vanished_is_not_blown_up():
    balance = Balance()
    for _ in range(200):
        balance = balance.after(1.0, 1.0)
    for _ in range(400):
        balance = balance.after(1.0, 1e-9)
    assert balance.factor(1.0) == pytest.approx(1 / FLOOR, rel=0.01)


def test_a_term_without_gradient_and_a_weight_of_zero_add_nothing():
    assert Balance().after(1.0, 0.0).factor(1.0) == 0
    assert Balance().after(1.0, 1.0).factor(0.0) == 0


def test_lengths_that_are_not_finite_are_left_out():
    before = Balance().after(1.0, 2.0)
    assert before.after(float("nan"), 1.0) == before
    assert before.after(1.0, float("inf")) == before


@pytest.mark.parametrize("weight", [-1e-9, -1.0, float("nan"), float("inf")])
def test_a_lambda_that_is_negative_or_not_finite_is_refused(weight):
    with pytest.raises(ValueError, match="lambda"):
        Balance().after(1.0, 1.0).factor(weight)


def test_the_length_of_a_gradient_counts_missing_parts_as_zero():
    assert gradient_length([torch.tensor([3.0, 0.0]), None, torch.tensor([[4.0]])]) == pytest.approx(5)
    assert gradient_length([None, None]) == 0
