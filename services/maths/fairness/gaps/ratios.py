"""Ratios of two groups: Fieller's limits, their generalisation to cells with limits of their own, and the largest one.

Limits of value[a] / value[b] are the ratios r for which the limits of value[a] - r value[b] contain zero. With limits
value ± t se for both cells this is Fieller's theorem (1954); with any other limits it is MOVER for ratios (Donner and
Zou 2012), here with the cells' correlation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import sparse

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.simultaneous import SELECTION, Critical, Pairs, largest_interval, ordered_pairs
from services.maths.fairness.limits import CONFIDENCE, limits
from services.maths.fairness.sums import Floats


def ratio_limits(estimates: Estimates, pairs: Pairs, critical: float) -> tuple[Floats, Floats]:
    """(P,) limits of value[a] / value[b] at a normal critical value, for values >= 0.

    NaN where the denominator's lower limit is not above 0: every large ratio is then possible, and no pair of numbers
    says so.
    """
    lower, upper = limits(estimates, critical)
    a, b = pairs[:, 0], pairs[:, 1]
    top, bottom = estimates.value[a], estimates.value[b]
    correlation = _correlation(estimates)[a, b]
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = top - lower[a], upper[b] - bottom
        cross = top * bottom - correlation * below * above
        constant, square = top**2 - below**2, bottom**2 - above**2
        # The root that stays finite when the square's factor vanishes.
        low = constant / (cross + np.sqrt(np.maximum(cross**2 - square * constant, 0.0)))
        below, above = bottom - lower[b], upper[a] - top
        cross = top * bottom - correlation * below * above
        constant, square = top**2 - above**2, bottom**2 - below**2
        high = (cross + np.sqrt(np.maximum(cross**2 - square * constant, 0.0))) / square
    bounded = lower[b] > 0
    return np.where(bounded, np.maximum(low, 0.0), np.nan), np.where(bounded, high, np.nan)


def _correlation(estimates: Estimates) -> Floats:
    error = np.sqrt(np.diag(estimates.covariance))
    scale = np.where(error > 0, error, 1.0)
    return np.asarray((estimates.covariance / np.outer(scale, scale)).clip(-1.0, 1.0))


def log_errors(estimates: Estimates) -> Estimates:
    """log(1 - value): differences of it are log-ratios of error (SER). Raises ValueError for a value of 1 or more."""
    if (estimates.value >= 1).any():
        raise ValueError("a group without any error has no error ratio")
    return rescaled(estimates, np.log1p(-estimates.value), -1.0 / (1.0 - estimates.value))


def logs(estimates: Estimates) -> Estimates:
    """log(value). Raises ValueError for a value that is not above 0."""
    if (estimates.value <= 0).any():
        raise ValueError("only positive values have a ratio")
    return rescaled(estimates, np.log(estimates.value), 1.0 / estimates.value)


def rescaled(estimates: Estimates, value: Floats, slope: Floats) -> Estimates:
    """Estimates of a function of the values: its (G,) value and slope there; intervals are value ± t se."""
    influence = sparse.csr_array(estimates.influence @ sparse.diags_array(slope))
    return replace(estimates, value=value, influence=influence, scale="identity", own_limits=None)


def has_certain_error(estimates: Estimates) -> bool:
    """Whether every group's 95 % limits of 1 - value lie above 0, so that it may stand below a fraction bar."""
    upper = limits(replace(estimates, scale="identity", own_limits=None))[1]
    return bool((upper < 1.0).all())


def percent_interval(
    estimates: Estimates, pairs: Pairs, critical: Critical, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of 100 (largest - smallest) / largest over the pairs, from Fieller's limits; NaN where refused.

    ``critical`` is that of the logarithms, to first order the studentised ratios.
    """
    both = ordered_pairs(pairs)

    def bands(value: float) -> tuple[Floats, Floats]:
        low, high = ratio_limits(estimates, both[:, ::-1], value)  # the second over the first, which is the better one
        return 100.0 * (1.0 - high), 100.0 * (1.0 - low)

    if not np.isfinite(bands(critical(both, 1.0 - SELECTION))).all():
        return float("nan"), float("nan")
    return largest_interval(both, bands, critical, confidence)
