"""Logarithms of estimates, on which a ratio is a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.limits import limits
from services.maths.fairness.sums import Floats

_SMALLEST = np.finfo(np.float64).tiny  # stands for 0, whose logarithm is no number to reckon with


@dataclass(frozen=True)
class LogLimits:
    """Limits of log v: the logarithms of the limits of v, so that a rate keeps Wilson's and an AUROC the logit's."""

    estimates: Estimates

    def at(self, critical: float) -> tuple[Floats, Floats]:
        """(G,) lower and upper limits at a normal critical value."""
        low, high = limits(self.estimates, critical)
        return np.log(np.maximum(low, _SMALLEST)), np.log(np.maximum(high, _SMALLEST))

    def take(self, groups: NDArray[np.intp]) -> LogLimits:
        """The limits of some of the groups, in the order given."""
        return LogLimits(self.estimates.take(groups))

    def beside(self, other: LogLimits) -> LogLimits:
        """These groups and then those of ``other``."""
        return LogLimits(everywhere(self.estimates, other.estimates))


def logarithm(estimates: Estimates) -> Estimates:
    """(G,) log of the values, NaN where a value is negative; influence divided by the value (delta method)."""
    positive = np.where(estimates.value >= 0, np.maximum(estimates.value, _SMALLEST), np.nan)
    factor = np.where(estimates.value > 0, 1.0 / positive, 0.0)
    return Estimates(
        np.log(positive),
        sparse.csr_array(estimates.influence @ sparse.diags_array(factor)),
        estimates.share,
        estimates.patients,
        estimates.patient_ids,
        "identity",
        LogLimits(estimates),
    )
