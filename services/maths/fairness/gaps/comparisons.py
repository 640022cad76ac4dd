"""How two groups are compared, and how the ranges of several metrics become one gap.

A comparison maps each value onto a scale on which groups are subtracted, and the largest difference on that scale onto
the gap: nothing for a difference, logarithm and exponential for a ratio. Everything else (critical values, noise floor,
paired changes) then works on differences only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps import ratios
from services.maths.fairness.gaps.simultaneous import Pairs
from services.maths.fairness.sums import Floats

Reduction = Literal["largest", "half_sum"]


@dataclass(frozen=True)
class Comparison:
    """
    Attributes:
        equal: the gap between equal groups.
        scale: values -> values on the scale of differences; NaN where it has no place there.
        outcome: largest difference on the scale -> gap.
        outcome_slope: derivative of ``outcome``.
        defined: whether every group of some estimates has a place on the scale, its error considered.
        on_scale: the estimates on the scale, with influences, for intervals.
    """

    equal: float
    scale: Callable[[Floats], Floats]
    outcome: Callable[[Floats], Floats]
    outcome_slope: Callable[[Floats], Floats]
    defined: Callable[[Estimates], bool]
    on_scale: Callable[[Estimates], Estimates]

    def gap(self, scaled: Floats, parts: int, reduction: Reduction) -> Floats:
        """(...) gaps of (parts * G, ...) values on the scale."""
        return self.outcome(self.spread(scaled, parts, reduction))

    def spread(self, scaled: Floats, parts: int, reduction: Reduction) -> Floats:
        """(...) the largest of the parts' ranges over their groups, or half their sum, on the scale."""
        by_part = scaled.reshape(parts, -1, *scaled.shape[1:])
        ranges = by_part.max(axis=1) - by_part.min(axis=1)
        joined: Floats = ranges.max(axis=0) if reduction == "largest" else ranges.sum(axis=0) / 2
        return joined


def blocks(pairs: Pairs, count: int, parts: int) -> list[Pairs]:
    """The same pairs of ``count`` groups within each of the parts that stand side by side."""
    return [pairs + part * count for part in range(parts)]


def _logs(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.nan))


DIFFERENCE = Comparison(
    equal=0.0,
    scale=np.asarray,
    outcome=np.asarray,
    outcome_slope=np.ones_like,
    defined=lambda estimates: True,
    on_scale=lambda estimates: estimates,
)
# (1 - smallest) / (1 - largest)
ERROR_RATIO = Comparison(
    equal=1.0,
    scale=lambda values: _logs(1.0 - values),
    outcome=np.exp,
    outcome_slope=np.exp,
    defined=ratios.has_certain_error,
    on_scale=ratios.log_errors,
)
# 100 (largest - smallest) / largest
PERCENT = Comparison(
    equal=0.0,
    scale=_logs,
    outcome=lambda apart: 100.0 * -np.expm1(-apart),
    outcome_slope=lambda apart: 100.0 * np.exp(-apart),
    defined=lambda estimates: bool((estimates.value > 0).all()),
    on_scale=ratios.logs,
)
