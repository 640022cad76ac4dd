"""Balanced accuracy: the mean of two rates, with limits from the limits of the rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.limits import limits
from services.maths.fairness.sums import Floats


@dataclass(frozen=True)
class RateLimits:
    """Limits of (TPR + 1 - FPR) / 2 from Wilson's limits of both (MOVER; Zou and Donner 2008).

    The rates are of different records but of the same patients; ``correlation`` is the (G,) correlation of TPR and
    1 - FPR over them.
    """

    tpr: Estimates
    fpr: Estimates
    correlation: Floats

    def at(self, critical: float) -> tuple[Floats, Floats]:
        """(G,) lower and upper limits at a normal critical value."""
        (true_low, true_high), (false_low, false_high) = limits(self.tpr, critical), limits(self.fpr, critical)
        true, false = self.tpr.value, self.fpr.value
        value = (true + 1.0 - false) / 2.0
        down = self._reach(true - true_low, false_high - false)
        up = self._reach(true_high - true, false - false_low)
        return np.maximum(value - down, 0.0), np.minimum(value + up, 1.0)

    def take(self, groups: NDArray[np.intp]) -> RateLimits:
        """The limits of some of the groups, in the order given."""
        return RateLimits(self.tpr.take(groups), self.fpr.take(groups), self.correlation[groups])

    def beside(self, other: RateLimits) -> RateLimits:
        """These groups and then those of ``other``."""
        correlation = np.concatenate([self.correlation, other.correlation])
        return RateLimits(everywhere(self.tpr, other.tpr), everywhere(self.fpr, other.fpr), correlation)

    def _reach(self, first: Floats, second: Floats) -> Floats:
        reach: Floats = np.sqrt(np.maximum(first**2 + second**2 + 2.0 * self.correlation * first * second, 0.0)) / 2.0
        return reach


def balanced_accuracy(tpr: Estimates, fpr: Estimates) -> Estimates:
    """(G,) (TPR + 1 - FPR) / 2 of the same groups; 0.5 is what guessing gets, NaN where a class is absent.

    A patient's influence is half the difference of its influences on the two rates. Deciding patients are the fewer of
    those with positives and those with negatives.
    """
    value = (tpr.value + 1.0 - fpr.value) / 2.0
    defined = sparse.diags_array(np.where(np.isnan(value), 0.0, 1.0))
    products = np.asarray(tpr.influence.multiply(fpr.influence).sum(axis=0)).ravel()
    lengths = [np.sqrt(np.asarray(rate.influence.power(2).sum(axis=0)).ravel()) for rate in (tpr, fpr)]
    both = lengths[0] * lengths[1]
    correlation = np.divide(-products, both, out=np.zeros_like(both), where=both > 0).clip(-1.0, 1.0)
    return Estimates(
        value,
        sparse.csr_array((tpr.influence - fpr.influence) @ defined / 2.0),
        sparse.csr_array((tpr.share + fpr.share) / 2.0),
        np.minimum(tpr.patients, fpr.patients),
        tpr.patient_ids,
        "wilson",
        RateLimits(tpr, fpr, correlation),
    )
