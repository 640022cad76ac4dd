"""λ as one weight for every family: the long-run ratio of two gradients' lengths.

A fairness term weighs λ if, over many steps, its contribution to the gradient with respect to the weights is λ times as
long as that of the family's own loss. That does not depend on the loss: mean squared error of a U-Net, L1 times 1000 of
a GAN and a score-matching L1 have other units, and a weight on the raw losses would mean something else in each.

Both lengths are averaged over steps first and divided then: a ratio of averages does not explode where one step's
length happens to be small, as a sum of terms that cancel would if it were normalised by its own average. When the term
has all but vanished (below ``FLOOR`` of its largest average) it is not blown up any further, and so its weight falls
below λ; there is nothing left to weigh.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

FLOOR = 0.02
DECAY = 0.9


@dataclass(frozen=True)
class Balance:
    """Averages of the two gradients' lengths, exponential with ``DECAY``, and the largest of the second so far."""

    own: float = 0.0
    fairness: float = 0.0
    largest: float = 0.0

    def after(self, own: float, fairness: float) -> Balance:
        """With the lengths of one more step; a length that is not finite is left out.

        Both averages start from 0 with the same decay, so that what they lack at first cancels in their ratio.
        """
        if not (math.isfinite(own) and math.isfinite(fairness)):
            return self
        averaged = DECAY * self.fairness + (1 - DECAY) * fairness
        return Balance(DECAY * self.own + (1 - DECAY) * own, averaged, max(self.largest, averaged))

    def factor(self, weight: float) -> float:
        """What to multiply the fairness gradient by, so that it weighs ``weight``; 0 as long as it has no gradient.

        Raises ValueError for a weight that is negative or not finite.
        """
        check_weight(weight)
        divisor = max(self.fairness, FLOOR * self.largest)
        return weight * self.own / divisor if divisor > 0 else 0.0


def check_weight(weight: float) -> None:
    """ValueError unless λ is finite and at least 0."""
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"lambda must be finite and not negative, got {weight}")


def gradient_length(gradients: Sequence[torch.Tensor | None]) -> float:
    """Euclidean length over all tensors; None, where a loss does not depend on a weight, counts as 0."""
    squares = [float(gradient.detach().double().square().sum()) for gradient in gradients if gradient is not None]
    return math.sqrt(math.fsum(squares))
