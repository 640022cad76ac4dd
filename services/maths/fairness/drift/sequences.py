"""E-processes of a running gap, the confidence sequence that matches, and e-values of single windows.

An e-process has a mean of at most 1 whenever one stops looking, so it exceeds 1/α at any time with probability at most
α (Ville). Under the null hypothesis the running gap less its reference, m, has variance v; with a change drawn from
N(0, τ²) the likelihood ratio is

    E = (1 + τ²/v)^(-1/2) exp(z² τ² / (2 (v + τ²))),    z = m / √v

(Robbins 1970; asymptotic confidence sequences: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024). A reference that
was itself estimated adds its variance to v: that is the likelihood ratio of the differences alone, which do not depend
on where reference and stream both lie (location-invariant mixture), hence a martingale all the same.

Rates near 0 or 1 have skewed sums, whose far tail a normal z understates tenfold. z is replaced by the signed root of
the deviance of a gamma variable of the same skewness, wherever that is nearer to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from services.maths.fairness.cells import STATES, WIDE_FACTOR, Minimums
from services.maths.fairness.drift.series import (
    PATIENTS,
    D,
    GapSeries,
    correlation_so_far,
    observed_variance,
    recurrence,
    score_moments,
)
from services.maths.fairness.sums import Floats

PERSISTENT_PRIOR = 0.4
"""τ² in variances of one window's gap: nearest to the least detectable change after about a dozen windows."""
ABRUPT_PRIOR = 10.0
"""τ² of a single window's change, in variances of that window."""
WITHIN_HORIZON = 0.9
"""Share of the abrupt arm that is spent evenly over the planned windows; the rest is for those after."""
LEAST_RARER = 3.0
"""Expected cases of the rarer outcome on the smaller side before a normal statement is made."""


@dataclass(frozen=True)
class Running:
    """The running gap less its reference, (S, T).

    ``estimate`` and ``variance`` (the reference's included) are NaN before ``ready``: too few cases so far. ``prior``
    is (S, T) τ².
    """

    estimate: Floats
    variance: Floats
    skewness: Floats
    prior: Floats
    ready: NDArray[np.bool_]

    @property
    def z(self) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return toward_zero(self.estimate / np.sqrt(self.variance), self.skewness)


def toward_zero(z: Floats, skewness: Floats) -> Floats:
    """Normal scores of ``z`` under a skewed distribution, never further from 0 than z. Any shape; NaN stays."""
    leaning = np.abs(skewness) > 1e-6
    shape = 4.0 / np.where(leaning, skewness, 1.0) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 1 + z * np.sign(skewness) / np.sqrt(shape)
        # 1 + log1p form: the difference of nearly equal numbers at small z.
        offset = ratio - 1
        deviance = np.where(ratio > 0, offset - np.log1p(np.maximum(offset, -1 + 1e-300)), np.inf)
        root = np.sign(z) * np.sqrt(np.maximum(2 * shape * deviance, 0.0))
    nearer: Floats = np.where(leaning & (np.abs(root) < np.abs(z)), root, z)
    return nearer


def away_from_zero(critical: Floats, skewness: Floats) -> Floats:
    """The z > 0 with ``toward_zero(z, skewness) == critical``, for critical > 0."""
    leaning = skewness > 1e-6  # a left tail is shorter than normal and is not used
    shape = 4.0 / np.where(leaning, skewness, 1.0) ** 2
    argument = -np.exp(np.maximum(-1 - critical**2 / (2 * shape), -700.0))
    ratio = -special.lambertw(argument, -1).real
    root: Floats = np.where(leaning, (ratio - 1) * np.sqrt(shape), critical)
    return np.fmax(root, critical)


def log_mixture(z: Floats, ratio: Floats | float) -> Floats:
    """log E of normal scores z for a prior variance of ``ratio`` = τ²/v."""
    value: Floats = -0.5 * np.log1p(ratio) + 0.5 * z**2 * ratio / (1 + ratio)
    return value


def critical_value(ratio: Floats, alpha: float) -> Floats:
    """The |z| at which the mixture is 1/alpha."""
    value: Floats = np.sqrt((1 + 1 / ratio) * (2 * np.log(1 / alpha) + np.log1p(ratio)))
    return value


def running_change(gaps: GapSeries, reference: Floats, reference_variance: Floats) -> Running:
    """Average of the gaps so far less their reference, windows weighted by d_g d_r / (d_g + d_r) (Mantel-Haenszel).

    Every window compares its own group with its own rest, so values and base rates that move for everyone alike leave
    it where it was. ``reference`` and its variance are (S,).
    """
    target = reference[:, None]
    correlation = correlation_so_far(gaps)
    variance, third, rarer = score_moments(gaps, target, correlation)
    defined = np.isfinite(gaps.gap)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(defined, gaps.group[..., D] * gaps.rest[..., D] / (gaps.group[..., D] + gaps.rest[..., D]), 0)
    total = weight.cumsum(axis=1)
    change = np.where(defined, weight * (gaps.gap - target), 0.0).cumsum(axis=1)
    modelled = np.where(defined, weight**2 * variance, 0.0).cumsum(axis=1)
    shown = np.where(defined, weight**2 * observed_variance(gaps, target), 0.0).cumsum(axis=1)
    skew = np.where(defined, weight**3 * third, 0.0).cumsum(axis=1)
    inflation = recurrence(gaps, correlation)
    ready = _enough(gaps, np.where(defined, rarer, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        alone = inflation * np.maximum(modelled, shown) / total**2
        both = alone + reference_variance[:, None]
        skewness = skew / total**3 / both**1.5
        estimate = change / total
    ready &= both > 0
    windows = defined.cumsum(axis=1)
    first = np.argmax(ready, axis=1)[:, None]
    unit = np.take_along_axis(np.where(ready, alone * windows, np.nan), first, axis=1)
    hide = np.where(ready, 1.0, np.nan)
    return Running(
        estimate * hide, both * hide, np.nan_to_num(skewness), PERSISTENT_PRIOR * unit * np.ones_like(both), ready
    )


def persistent(running: Running) -> Floats:
    """(S, T) log e-process of a lasting change; 0 before it is ready."""
    return np.where(running.ready, log_mixture(running.z, running.prior / running.variance), 0.0)


def confidence_sequence(running: Running, alpha: float) -> tuple[Floats, Floats]:
    """(S, T) lower and upper limit of the change; outside of them the e-process of ``persistent`` is over 1/alpha."""
    error = np.sqrt(running.variance)
    critical = critical_value(running.prior / running.variance, alpha)
    low = running.estimate - error * away_from_zero(critical, running.skewness)
    return low, running.estimate + error * away_from_zero(critical, -running.skewness)


def abrupt(gaps: GapSeries, reference: Floats, reference_variance: Floats, horizon: int) -> Floats:
    """(S, T) log of a weighted sum of the windows' own e-values so far: never falls, and has a mean of at most 1.

    The planned ``horizon`` windows share 0.9 of the weight evenly, window t after them gets 0.1 T / (t (t + 1)).
    """
    target = reference[:, None]
    correlation = correlation_so_far(gaps)
    variance, third, rarer = score_moments(gaps, target, correlation)
    variance = np.fmax(variance, np.where(gaps.rates[:, None], 0.0, observed_variance(gaps, target)))
    both = variance + reference_variance[:, None]
    ready = (gaps.state == STATES.index("ok")) & (rarer >= LEAST_RARER) & (both > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = toward_zero((gaps.gap - target) / np.sqrt(both), np.nan_to_num(third / both**1.5))
    log_value = np.where(ready, log_mixture(z, ABRUPT_PRIOR), 0.0)
    window = np.arange(1, gaps.gap.shape[1] + 1)
    share = np.where(
        window <= horizon, WITHIN_HORIZON / horizon, (1 - WITHIN_HORIZON) * horizon / (window * (window + 1.0))
    )
    running: Floats = np.logaddexp.accumulate(log_value + np.log(share), axis=1)
    return running


def _enough(gaps: GapSeries, rarer: Floats) -> NDArray[np.bool_]:
    """(S, T) whether both sides together with earlier windows hold enough cases, patients and rarer outcomes."""
    minimums = Minimums()
    sides = np.stack([gaps.group, gaps.rest]).cumsum(axis=2)
    enough: NDArray[np.bool_] = (
        (sides[..., D].min(axis=0) >= WIDE_FACTOR * minimums.cases)
        & (sides[..., PATIENTS].min(axis=0) >= WIDE_FACTOR * minimums.patients)
        & (rarer.cumsum(axis=1) >= LEAST_RARER)
    )
    return enough
