"""Limits that hold for many contrasts at once, and the interval of a largest difference that they give.

The largest of several differences is never smaller than zero, so resampling it gives an interval that cannot contain
zero. Bands that cover all pairwise differences at once can: whichever pair is the widest apart, its band is right, and
if no band excludes zero, neither does the interval.

The joint critical value is the quantile of the largest studentised contrast under the normal limit of the estimates,
with their own correlations. Drawing from that limit equals a multiplier bootstrap over patients with normal
multipliers (conditional on the data both are the same normal vector), without touching a patient again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import special

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.limits import CONFIDENCE, difference_limits, limits, normal_critical
from services.maths.fairness.sums import Floats

Pairs = NDArray[np.intp]
Bands = Callable[[float], tuple[Floats, Floats]]

SELECTION = 0.005  # chance, within alpha, that the widest pair is left out when pairs are selected
_RIDGE = 1e-8  # relative to a variance: groups may contain one another, which makes the covariance singular
_BLOCK = 1024  # draws per block: three rows of them stay in the first-level cache


class Critical(Protocol):
    """Critical values of the largest of some differences."""

    def __call__(self, pairs: Pairs, confidence: float, other_side: float = math.inf) -> float:
        """That of ordered pairs; the chance that all of them lie below ``-other_side`` comes out of the error."""


def standard_normals(seed: int, draws: int = 4096, columns: int = 64) -> Floats:
    """(draws, columns) standard normals of a Philox stream keyed by ``seed``; one table serves a whole audit.

    Draws are independent. Antithetic pairs would only halve them, since every statistic taken from them (a largest
    absolute contrast, a range) is the same for z and -z. Raises ValueError for a seed below 0, no draws or no columns.
    """
    if draws < 1 or columns < 1:
        raise ValueError(f"draws and columns must be at least 1, got {draws} and {columns}")
    return np.random.Generator(np.random.Philox(key=stream_key(seed))).standard_normal((draws, columns))


def deviations(covariance: Floats, normals: Floats) -> Floats:
    """(G, draws) draws from the normal limit of G estimates around their true values.

    More groups than columns of ``normals``: the further columns are the earlier ones of other draws, so that every
    draw is still a vector of independent normals. Raises ValueError for a covariance that is not finite, and for
    ``normals`` that are no table of draws.
    """
    if normals.ndim != 2 or not normals.size:
        raise ValueError(f"normals must be (draws, columns) of standard_normals, got shape {normals.shape}")
    if not np.isfinite(covariance).all():
        raise ValueError("the covariance has undefined entries; leave out the groups that have no value")
    error = np.sqrt(np.diag(covariance))
    scale = np.where(error > 0, error, 1.0)
    correlation = covariance / np.outer(scale, scale)
    # Cholesky, not eigenvectors: it moves continuously with its input, so last-bit noise stays last-bit noise.
    factor = np.linalg.cholesky(correlation + np.diag(np.where(error > 0, _RIDGE, 1.0)))
    repeats = -(-len(error) // normals.shape[1])
    drawn = normals
    if repeats > 1:
        drawn = np.concatenate([np.roll(normals, 1009 * turn, axis=0) for turn in range(repeats)], axis=1)
    return error[:, None] * (factor @ drawn[:, : len(error)].T)


def unordered_pairs(count: int) -> Pairs:
    """(P, 2) all pairs (a, b) with a < b of ``count`` groups."""
    return np.array(list(combinations(range(count), 2)), dtype=np.intp).reshape(-1, 2)


def ordered_pairs(pairs: Pairs) -> Pairs:
    """(2P, 2) every pair and then every pair turned round."""
    return np.concatenate([pairs, pairs[:, ::-1]])


def contrasts_of(pairs: Pairs, count: int) -> Floats:
    """(P, count) weights of value[a] - value[b]."""
    weights = np.zeros((len(pairs), count))
    weights[np.arange(len(pairs)), pairs[:, 0]] += 1.0
    weights[np.arange(len(pairs)), pairs[:, 1]] -= 1.0
    return weights


def steady_covariance(estimates: Estimates) -> Floats:
    """(G, G) covariance in which a rate or AUROC without observed variance gets that of its Wilson interval.

    Twenty found of twenty is not known without error; where its error matters, so must a value like it.
    """
    covariance = estimates.covariance.copy()
    still = np.flatnonzero(np.diag(covariance) == 0)
    if len(still):
        low, high = limits(estimates)
        covariance[still, still] = ((high - low)[still] / (2 * normal_critical())) ** 2
    return covariance


def critical_value(covariance: Floats, pairs: Pairs, normals: Floats, confidence: float = CONFIDENCE) -> float:
    """Critical value of the largest |difference| / se over the pairs; see ``critical_of``."""
    return critical_of(covariance, deviations(covariance, normals))(ordered_pairs(pairs), confidence)


def critical_of(covariance: Floats, drawn: Floats) -> Critical:
    """Critical values from (G, draws) ``deviations`` of the covariance.

    They are quantiles of the largest (value[a] - value[b]) / se over ordered pairs (a, b): two-sided for pairs given in
    both directions. The value is on the normal scale; a cell turns it into its own t quantile
    (``limits.t_multiplier``). It is never below that of one pair by itself.
    """
    variance = np.diag(covariance)

    def critical(pairs: Pairs, confidence: float, other_side: float = math.inf) -> float:
        once, two_way = _each_once(pairs, len(variance))
        apart = variance[once[:, 0]] + variance[once[:, 1]]
        squares = apart - 2 * covariance[once[:, 0], once[:, 1]]
        moving = squares > 1e-12 * apart  # a pair without any variance is no part of the maximum
        both_sides = bool(two_way[moving].any())
        single = float(special.ndtri(0.5 + confidence / 2 if both_sides else confidence))
        if moving.sum() < 2:
            spent = 0.0 if both_sides else float(special.ndtr(-other_side))
            return float(special.ndtri(confidence + spent)) if spent else single
        largest = np.full(drawn.shape[1], -np.inf)
        _largest_studentised(drawn, once[moving], 1.0 / np.sqrt(squares[moving]), two_way[moving], largest)
        spent = float((largest < -other_side).mean())
        return max(single, float(np.quantile(largest, confidence + spent)))

    return critical


def _each_once(pairs: Pairs, count: int) -> tuple[Pairs, NDArray[np.bool_]]:
    """Ordered pairs without those that turn another one round, and which of the rest stand for both directions."""
    small, large = pairs.min(axis=1), pairs.max(axis=1)
    _, first, times = np.unique(small * count + large, return_index=True, return_counts=True)
    return pairs[first], times > 1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _largest_studentised(
    drawn: Floats, pairs: Pairs, scale: Floats, two_way: NDArray[np.bool_], largest: Floats
) -> None:
    """Raise (draws,) ``largest`` to the largest difference of a pair times its scale, its absolute value if two-way."""
    draws = drawn.shape[1]
    for start in range(0, draws, _BLOCK):
        end = min(start + _BLOCK, draws)
        for pair in range(len(pairs)):
            a, b, factor = pairs[pair, 0], pairs[pair, 1], scale[pair]
            if two_way[pair]:
                for draw in range(start, end):
                    value = abs(drawn[a, draw] - drawn[b, draw]) * factor
                    largest[draw] = value if value > largest[draw] else largest[draw]
            else:
                for draw in range(start, end):
                    value = (drawn[a, draw] - drawn[b, draw]) * factor
                    largest[draw] = value if value > largest[draw] else largest[draw]


def magnitudes(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Limits of |x| from limits of x."""
    return np.maximum(np.maximum(low, -high), 0.0), np.maximum(high, -low)


def pair_limits(estimates: Estimates, pairs: Pairs, critical: float) -> tuple[Floats, Floats]:
    """(P,) limits of value[a] - value[b] at a normal critical value, from the cells' own limits (MOVER)."""
    low, high = difference_limits(estimates, *limits(estimates, critical))
    return low[pairs[:, 0], pairs[:, 1]], high[pairs[:, 0], pairs[:, 1]]


def simultaneous_limits(
    estimates: Estimates, pairs: Pairs, normals: Floats, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """(P,) limits of the pairs' differences that all hold at once with the confidence."""
    return pair_limits(estimates, pairs, critical_value(steady_covariance(estimates), pairs, normals, confidence))


def max_pair_interval(estimates: Estimates, normals: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of largest minus smallest value over all groups. Every group must have a value.

    It contains 0 when no pair is apart at the joint critical value.
    """
    covariance = steady_covariance(estimates)
    critical = critical_of(covariance, deviations(covariance, normals))
    return widest_interval(estimates, unordered_pairs(len(estimates.value)), critical, confidence)


def widest_interval(
    estimates: Estimates, pairs: Pairs, critical: Critical, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the largest |value[a] - value[b]| over the pairs, which may lie within several metrics."""
    return largest_interval(
        ordered_pairs(pairs), lambda value: pair_limits(estimates, ordered_pairs(pairs), value), critical, confidence
    )


def largest_interval(
    pairs: Pairs, bands: Bands, critical: Critical, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the largest difference of ordered pairs, whose limits at a critical value are ``bands(value)``.

    Every pair stands in both directions, so the largest difference is at least 0.

    1. Differences that may be the largest: bands at confidence 1 - SELECTION; one whose upper limit lies below the
       largest lower limit, or below 0, is not.
    2. Upper limit: the largest is one fixed difference, so its own limit needs no allowance for the others, alpha / 2;
       not knowing which it is, the largest upper limit of those kept is taken. With one kept both limits get alpha / 2.
    3. Lower limit: the largest lower limit of those kept, at their joint one-sided critical value. It is too large only
       if some band is wrong, and gets what is left: alpha less SELECTION, less the chance that all upper limits kept
       are too small at once. That is hardly any where they vary apart, and nearly alpha / 2 where they vary as one:
       differences of one small group from several large ones.
    """
    alone = normal_critical(confidence)
    joint = alone
    kept = np.ones(len(pairs), dtype=bool)
    if len(pairs) > 2:
        kept = possibly_largest(*bands(critical(pairs, 1.0 - SELECTION)))
        if kept.sum() > 1:
            joint = critical(pairs[kept], confidence + SELECTION, alone)
    low, high = max(float(bands(joint)[0][kept].max()), 0.0), float(bands(alone)[1][kept].max())
    return low, max(high, low)


def possibly_largest(low: Floats, high: Floats) -> NDArray[np.bool_]:
    """(P,) True where the upper limit reaches the largest of the lower limits, and 0."""
    kept: NDArray[np.bool_] = high >= max(float(low.max()), 0.0)
    return kept


def joint_limits(
    estimates: Estimates, contrasts: Floats, normals: Floats, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """(C,) limits of (C, G) contrasts of the values that all hold at once with the confidence."""
    critical = contrast_critical(steady_covariance(estimates), contrasts, normals, confidence)
    return contrast_limits(estimates, contrasts, critical)


def contrast_critical(covariance: Floats, contrasts: Floats, normals: Floats, confidence: float = CONFIDENCE) -> float:
    """Critical value of the largest |contrast| / se over (C, G) contrasts; as ``critical_value`` for any weights."""
    squares = variances(contrasts, covariance)
    moving = squares > 1e-12 * (contrasts**2 @ np.diag(covariance))
    single = normal_critical(confidence)
    if moving.sum() < 2:
        return single
    drawn = (contrasts[moving] / np.sqrt(squares[moving])[:, None]) @ deviations(covariance, normals)
    return max(single, float(np.quantile(np.abs(drawn).max(axis=0), confidence)))


def variances(contrasts: Floats, covariance: Floats) -> Floats:
    """(C,) variances w' V w of (C, G) contrasts."""
    squares: Floats = np.maximum(((contrasts @ covariance) * contrasts).sum(axis=1), 0.0)
    return squares


def contrast_limits(estimates: Estimates, contrasts: Floats, critical: float) -> tuple[Floats, Floats]:
    """(C,) limits of (C, G) contrasts at a normal critical value: MOVER for a linear combination.

    With r the correlations and e_g the distance of a cell's value from the limit that makes the contrast smaller
    (times the weight), the lower limit is the contrast minus sqrt(e' r e); Zou and Donner 2008, extended to several
    terms. A pair gets the same limits as from ``pair_limits``.
    """
    low, high = limits(estimates, critical)
    covariance = estimates.covariance
    error = np.sqrt(np.diag(covariance))
    scale = np.where(error > 0, error, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    below, above = estimates.value - low, high - estimates.value
    value = contrasts @ estimates.value
    down = contrasts * np.where(contrasts > 0, below, above)
    up = contrasts * np.where(contrasts > 0, above, below)
    return value - np.sqrt(variances(down, correlation)), value + np.sqrt(variances(up, correlation))
