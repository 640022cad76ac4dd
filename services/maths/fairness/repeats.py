"""A model trained several times: the mean of a metric over the repeats, and how sure the patients make it.

Two different uncertainties, never mixed. The spread over repeats says how much another seed would change; it is a plain
standard deviation. The interval over patients says how much other patients would change the *mean over these repeats*:
the mean of the repeats' influences is the influence of the mean, so every limit, gap and paired change of
:class:`Estimates` holds for it as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.gaps.pairing import unseen_variance
from services.maths.fairness.limits import difference_limits, limits, normal_critical, t_quantiles
from services.maths.fairness.sums import Floats


@dataclass(frozen=True)
class NamedChange:
    """What a candidate does to a difference of two groups, with 95 % limits over patients.

    ``share`` is the part of the baseline's difference that is gone, 1 - candidate / baseline: 1 if all of it is, above
    1 if it has turned round. It and its limits (Fieller 1954) are NaN unless the baseline's difference is shown not to
    be 0: the share of a gap that may not be there has no bounds.
    """

    value: float
    low: float
    high: float
    share: float
    share_low: float
    share_high: float


def mean_over_repeats(repeats: Sequence[Estimates]) -> Estimates:
    """(G,) mean of one metric over repeats on the same records; NaN where any repeat has no value.

    Raises ValueError without repeats, and for repeats of different patients.
    """
    if not repeats:
        raise ValueError("a mean over repeats needs at least one")
    first = repeats[0]
    if any(not np.array_equal(each.patient_ids, first.patient_ids) for each in repeats):
        raise ValueError("repeats must be of the same patients")
    value = np.mean([each.value for each in repeats], axis=0)
    summed = repeats[0].influence
    for each in repeats[1:]:
        summed = summed + each.influence
    defined = sparse.diags_array(np.where(np.isnan(value), 0.0, 1.0 / len(repeats)))
    return replace(first, value=value, influence=sparse.csr_array(summed @ defined), own_limits=None)


def named_gap(estimates: Estimates, better: int, worse: int) -> tuple[float, float, float]:
    """Value of one column minus another, and its 95 % limits from those of the cells (MOVER)."""
    pair = estimates.take([better, worse])
    low, high = difference_limits(pair, *limits(pair))
    return float(pair.value[0] - pair.value[1]), float(low[0, 1]), float(high[0, 1])


def named_change(baseline: Estimates, candidate: Estimates, better: int, worse: int) -> NamedChange:
    """The candidate's ``better`` minus ``worse``, minus the baseline's, paired over the same patients."""
    gap = np.array([1.0, -1.0])
    return _change(baseline.take([better, worse]), candidate.take([better, worse]), gap)


def value_change(baseline: Estimates, candidate: Estimates, column: int) -> NamedChange:
    """The candidate's value of a group minus the baseline's; ``share`` says nothing here."""
    found = _change(baseline.take([column]), candidate.take([column]), np.array([1.0]))
    return replace(found, share=float("nan"), share_low=float("nan"), share_high=float("nan"))


def _change(baseline: Estimates, candidate: Estimates, weights: Floats) -> NamedChange:
    both, count = everywhere(baseline, candidate), len(weights)
    covariance = both.covariance.copy()
    late = np.arange(count, 2 * count)
    covariance[late, late] += unseen_variance(baseline, candidate)
    before, after = float(weights @ baseline.value), float(weights @ candidate.value)
    from_before, from_after = np.r_[weights, np.zeros(count)], np.r_[np.zeros(count), weights]
    square_before, square_after, cross = (
        float(a @ covariance @ b)
        for a, b in ((from_before, from_before), (from_after, from_after), (from_before, from_after))
    )
    critical = float(t_quantiles(normal_critical(), np.array([both.degrees.min()]))[0])
    reach = critical * float(np.sqrt(max(square_after + square_before - 2 * cross, 0.0)))
    low, high = _ratio_limits((after, square_after), (before, square_before), cross, critical)
    share = 1.0 - after / before if np.isfinite(low) else float("nan")
    return NamedChange(after - before, after - before - reach, after - before + reach, share, 1.0 - high, 1.0 - low)


def _ratio_limits(
    above: tuple[float, float], below: tuple[float, float], cross: float, critical: float
) -> tuple[float, float]:
    """Fieller's limits of a ratio of two (value, variance); NaN unless ``below`` is shown not to be 0."""
    (top, top_square), (bottom, bottom_square) = above, below
    square = bottom**2 - critical**2 * bottom_square
    if not square > 0:
        return float("nan"), float("nan")
    middle = top * bottom - critical**2 * cross
    constant = top**2 - critical**2 * top_square
    root = float(np.sqrt(max(middle**2 - square * constant, 0.0)))
    return (middle - root) / square, (middle + root) / square
