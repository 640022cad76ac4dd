"""Interval of half the sum of two largest differences (equalised odds as a half-sum)."""

from __future__ import annotations

import numpy as np

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.simultaneous import (
    SELECTION,
    Critical,
    Pairs,
    contrasts_of,
    ordered_pairs,
    pair_limits,
    possibly_largest,
    variances,
)
from services.maths.fairness.limits import CONFIDENCE, normal_critical
from services.maths.fairness.sums import Floats


def half_sum_interval(
    estimates: Estimates, halves: list[Pairs], critical: Critical, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of (largest |difference| of the first pairs + that of the second) / 2.

    Lower limit: the halves' lower limits, added up; both hold at once, the critical value being that of all differences
    of both that may be the largest of their half. Upper limit: half the sum of one fixed difference of either half,
    which needs no allowance for others; the largest over all combinations that may be it, each by MOVER with
    correlation.
    """
    both = [ordered_pairs(pairs) for pairs in halves]
    stage = critical(np.concatenate(both), 1.0 - SELECTION)
    kept = [pairs[possibly_largest(*pair_limits(estimates, pairs, stage))] for pairs in both]
    alone = normal_critical(confidence)
    joint = critical(np.concatenate(kept), confidence + SELECTION, alone)
    low = sum(max(float(pair_limits(estimates, pairs, joint)[0].max()), 0.0) for pairs in kept) / 2
    high = _largest_sum(estimates, kept, [pair_limits(estimates, pairs, alone)[1] for pairs in kept]) / 2
    return low, max(high, low)


def _largest_sum(estimates: Estimates, pairs: list[Pairs], uppers: list[Floats]) -> float:
    """Largest upper limit of difference p of the first half plus difference q of the second."""
    weights = [contrasts_of(part, len(estimates.value)) for part in pairs]
    covariance = estimates.covariance
    errors = [np.sqrt(variances(part, covariance)) for part in weights]
    scales = [np.where(error > 0, error, 1.0) for error in errors]
    correlation = (weights[0] @ covariance @ weights[1].T / np.outer(*scales)).clip(-1.0, 1.0)
    values = [part @ estimates.value for part in weights]
    reach = [upper - value for upper, value in zip(uppers, values, strict=True)]
    square = np.add.outer(reach[0] ** 2, reach[1] ** 2) + 2 * correlation * np.outer(*reach)
    return float((np.add.outer(*values) + np.sqrt(np.maximum(square, 0.0))).max())
