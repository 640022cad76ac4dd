"""How far groups spread, and what each of many small groups is likely to be.

With eight groups or more the largest minus the smallest says mostly how many groups there are. The standard deviation
between groups, with the estimates' own error taken out, does not grow with their number.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, stats

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.simultaneous import steady_covariance
from services.maths.fairness.limits import CONFIDENCE
from services.maths.fairness.sums import Floats

MANY_GROUPS = 8


def between_group_variance(values: Floats, covariance: Floats) -> Floats:
    """Variance of the true values over G groups, corrected for the estimates' error; may be negative by chance.

    Sample variance of (G, ...) ``values`` minus what (G, G) ``covariance`` adds to it on average, (trace - mean sum of
    a row) / (G - 1): the mean squared standard error when groups share no patients (Lum, Zhang and Bower 2022).
    """
    count = len(values)
    noise = (np.trace(covariance) - covariance.sum() / count) / (count - 1)
    return np.asarray(values.var(axis=0, ddof=1) - noise)


def between_group_sd(values: Floats, covariance: Floats) -> float:
    """Standard deviation of the true values over the groups, in their unit; 0 when no more spread than error."""
    return float(np.sqrt(max(float(between_group_variance(values, covariance)), 0.0)))


def between_group_sd_interval(
    values: Floats, covariance: Floats, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the between-group SD by inversion of the Q statistic (Q-profile; Viechtbauer 2007).

    Q(t) = sum of (value - weighted mean)² / (t² + se²) follows chi-square with G - 1 degrees of freedom at the true t;
    it falls in t, so the limits are where it meets the two quantiles. Contains 0 unless Q(0) exceeds the upper one.
    Groups are taken for independent and normal; for a fixed set of groups it is conservative.
    """
    squares = np.diag(covariance)
    tail = (1.0 - confidence) / 2
    quantiles = stats.chi2.ppf([1.0 - tail, tail], len(values) - 1)
    low, high = (_solve(values, squares, float(quantile)) for quantile in quantiles)
    return low, high


def _solve(values: Floats, squares: Floats, quantile: float) -> float:
    """The t with Q(t) = quantile; 0 where even Q(0) is below it."""

    def excess(spread: float) -> float:
        return _q(values, squares + spread**2) - quantile

    floor = 1e-9 * float(np.ptp(values))
    if floor == 0 or excess(floor) <= 0:
        return 0.0
    top = float(np.ptp(values))
    while excess(top) > 0:
        top *= 2
    return float(optimize.brentq(excess, floor, top, xtol=1e-12 * top, rtol=1e-12))


def _q(values: Floats, variances: Floats) -> float:
    weights = 1.0 / variances
    mean = weights @ values / weights.sum()
    return float(weights @ (values - mean) ** 2)


def shrunken_values(values: Floats, covariance: Floats) -> Floats:
    """(G,) empirical-Bayes estimates: each value drawn towards the weighted mean by its error's part of the spread.

    mean + t² / (t² + se²) (value - mean), t² the between-group variance (Efron and Morris 1975; for subgroup audits
    Herlihy et al. 2024). All groups get the mean when t is 0.
    """
    spread = max(float(between_group_variance(values, covariance)), 0.0)
    total = spread + np.diag(covariance)
    if not total.any():
        return values
    weights = 1.0 / np.maximum(total, 1e-12 * total.max())
    mean = weights @ values / weights.sum()
    return np.asarray(mean + spread * weights * (values - mean))


def shrunken(disaggregation: Disaggregation) -> Floats:
    """(G,) empirical-Bayes estimates of the cells in their order, on the metric's own scale.

    NaN for cells that are not comparable, and for all of them with fewer than ``MANY_GROUPS`` that are: from a few
    groups their spread cannot be told.
    """
    result = np.full(len(disaggregation.cells), np.nan)
    columns = disaggregation.columns(disaggregation.comparable_groups)
    if len(columns) >= MANY_GROUPS:
        estimates = disaggregation.estimates.take(columns)
        result[columns] = shrunken_values(estimates.value, steady_covariance(estimates))
    return result
