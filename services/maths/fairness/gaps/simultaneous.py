"""Limits that hold for many contrasts at once, and the interval of a largest difference that they give.

The largest of several differences is never smaller than zero, so resampling it gives an interval that cannot contain
zero. Bands that cover all pairwise differences at once can: whichever pair is the widest apart, its band is right, and
if no band excludes zero, neither does the interval.

The joint critical value is the quantile of the largest studentised contrast under the normal limit of the estimates,
with their own correlations. Drawing from that limit equals a multiplier bootstrap over patients with normal
multipliers (conditional on the data both are the same normal vector), without touching a patient again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.estimates import Estimates
from services.maths.fairness.limits import CONFIDENCE, difference_limits, limits, normal_critical
from services.maths.fairness.sums import Floats

Pairs = NDArray[np.intp]
Bands = Callable[[float], tuple[Floats, Floats]]
Critical = Callable[[Pairs, float], float]

SELECTION = 0.005  # chance, within alpha, that the widest pair is left out when pairs are selected
_RIDGE = 1e-8  # relative to a variance: groups may contain one another, which makes the covariance singular
_BLOCK = 1024  # draws per block: three rows of them stay in the first-level cache


def standard_normals(seed: int, draws: int = 4096, columns: int = 64) -> Floats:
    """(draws, columns) standard normals of a Philox stream keyed by ``seed``; one table serves a whole audit.

    Draws are independent. Antithetic pairs would only halve them, since every statistic taken from them (a largest
    absolute contrast, a range) is the same for z and -z.
    """
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal((draws, columns))


def deviations(covariance: Floats, normals: Floats) -> Floats:
    """(G, draws) draws from the normal limit of G estimates around their true values.

    More groups than columns of ``normals``: the further columns are the earlier ones of other draws, so that every
    draw is still a vector of independent normals. Raises ValueError for a covariance that is not finite.
    """
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


def critical_value(covariance: Floats, pairs: Pairs, normals: Floats, confidence: float = CONFIDENCE) -> float:
    """Critical value of the largest |difference| / se over the pairs; see ``critical_of``."""
    return critical_of(covariance, normals)(pairs, confidence)


def critical_of(covariance: Floats, normals: Floats) -> Critical:
    """A function (pairs, confidence) -> two-sided critical value that draws from (G, G) ``covariance`` once.

    The value is on the normal scale; a cell turns it into its own t quantile (``limits.t_multiplier``). It is never
    below the critical value of one contrast by itself, which is what one pair gets.
    """
    drawn = deviations(covariance, normals)

    def critical(pairs: Pairs, confidence: float) -> float:
        variance = np.diag(covariance)
        squares = variance[pairs[:, 0]] + variance[pairs[:, 1]] - 2 * covariance[pairs[:, 0], pairs[:, 1]]
        # A pair without any variance does not move; its studentised difference is no part of the maximum.
        moving = squares > 1e-12 * (variance[pairs[:, 0]] + variance[pairs[:, 1]])
        return _quantile(drawn, pairs[moving], np.sqrt(squares[moving]), confidence)

    return critical


def _quantile(drawn: Floats, pairs: Pairs, errors: Floats, confidence: float) -> float:
    single = normal_critical(confidence)
    if len(pairs) < 2:
        return single
    largest = np.zeros(drawn.shape[1])
    _largest_studentised(drawn, pairs[:, 0], pairs[:, 1], 1.0 / errors, largest)
    return max(single, float(np.quantile(largest, confidence)))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _largest_studentised(drawn: Floats, first: Pairs, second: Pairs, scale: Floats, largest: Floats) -> None:
    """Raise (draws,) ``largest`` to the largest |drawn[first] - drawn[second]| * scale of each draw."""
    draws = drawn.shape[1]
    for start in range(0, draws, _BLOCK):
        end = min(start + _BLOCK, draws)
        for pair in range(len(first)):
            a, b, factor = first[pair], second[pair], scale[pair]
            for draw in range(start, end):
                value = abs(drawn[a, draw] - drawn[b, draw]) * factor
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
    return pair_limits(estimates, pairs, critical_value(estimates.covariance, pairs, normals, confidence))


def max_pair_interval(
    estimates: Estimates, normals: Floats, confidence: float = CONFIDENCE, pairs: Pairs | None = None
) -> tuple[float, float]:
    """Interval of the largest |value[a] - value[b]| over the pairs (default: all, i.e. of largest minus smallest).

    Every group must have a value. It contains 0 when no pair is apart at the joint critical value.
    """
    chosen = unordered_pairs(len(estimates.value)) if pairs is None else pairs
    critical = critical_of(estimates.covariance, normals)
    return largest_interval(
        chosen, lambda value: magnitudes(*pair_limits(estimates, chosen, value)), critical, confidence
    )


def largest_interval(
    pairs: Pairs, bands: Bands, critical: Critical, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval of the largest of P magnitudes whose limits at a critical value are ``bands(value)``.

    1. Pairs that may be the largest: bands at confidence 1 - SELECTION; a pair whose upper limit lies below the
       largest lower limit is none of them.
    2. Lower limit: the largest lower limit of the pairs kept, at their joint critical value for the confidence plus
       SELECTION. It is too large only if some band is wrong.
    3. Upper limit: the largest pair is one fixed pair, so its own limit needs no allowance for the others; not
       knowing which it is, the largest upper limit of the pairs kept is taken.

    With one pair this is the interval of |difference|. Over-covers where many pairs are about equally far apart, since
    step 3 then takes the largest of many upper limits.
    """
    kept, low = select_largest(pairs, bands, critical, confidence)
    high = bands(normal_critical(confidence))[1][kept].max()
    return low, max(float(high), low)


def select_largest(
    pairs: Pairs, bands: Bands, critical: Critical, confidence: float = CONFIDENCE
) -> tuple[NDArray[np.bool_], float]:
    """(P,) which pairs may be the largest, and the lower limit of the largest; steps 1 and 2 above."""
    if len(pairs) == 1:
        return np.ones(1, dtype=bool), float(bands(normal_critical(confidence))[0][0])
    kept = possibly_largest(bands(critical(pairs, 1.0 - SELECTION)))
    low = bands(critical(pairs[kept], confidence + SELECTION))[0][kept].max()
    return kept, float(low)


def possibly_largest(bands: tuple[Floats, Floats]) -> NDArray[np.bool_]:
    """(P,) True where the upper limit reaches the largest of the lower limits."""
    low, high = bands
    kept: NDArray[np.bool_] = high >= low.max()
    return kept


def joint_limits(
    estimates: Estimates, contrasts: Floats, normals: Floats, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """(C,) limits of (C, G) contrasts of the values that all hold at once with the confidence."""
    covariance = estimates.covariance
    drawn = contrasts @ deviations(covariance, normals)
    squares = np.einsum("cg,gh,ch->c", contrasts, covariance, contrasts)
    moving = squares > 1e-12 * (contrasts**2 @ np.diag(covariance))
    single = normal_critical(confidence)
    if moving.sum() < 2:
        return contrast_limits(estimates, contrasts, single)
    largest = (np.abs(drawn[moving]) / np.sqrt(squares[moving])[:, None]).max(axis=0)
    return contrast_limits(estimates, contrasts, max(single, float(np.quantile(largest, confidence))))


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
    reach = [np.sqrt(np.maximum(np.einsum("cg,gh,ch->c", part, correlation, part), 0.0)) for part in (down, up)]
    return value - reach[0], value + reach[1]
