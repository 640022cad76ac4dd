"""Agreement of readers beyond chance: Gwet's AC1 and AC2 (Gwet 2008, 2014), with what it would be without any.

With r_ik raters who put subject i into category k, r_i raters of subject i, weights w_kl, q categories, n subjects:

    pa    = mean over subjects with r_i ≥ 2 of Σ_k r_ik (Σ_l w_kl r_il - 1) / (r_i (r_i - 1))
    pi_k  = mean over subjects of r_ik / r_i
    pe    = Σ_kl w_kl / (q (q - 1)) · Σ_k pi_k (1 - pi_k)
    AC    = (pa - pe) / (1 - pe)                                   AC1 with identity weights, AC2 with others

1 is perfect agreement. 0 is *not* what independent readers reach: where nearly everyone uses one category, readers who
never looked at the images agree often, and AC1 rewards that. So every coefficient comes with its value under
independence and a permutation p against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.arguments import numbers

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Scheme = Literal["identity", "linear", "quadratic", "ordinal"]

PERMUTATIONS = 1999
_CELLS = 4_000_000  # counts that exist at one time during permutations


@dataclass(frozen=True)
class Agreement:
    """One coefficient with its evidence.

    Attributes:
        coefficient: "AC1" or "AC2"; value: at most 1; percent_agreement: pa; chance_agreement: pe; both in [0, 1].
        standard_error: linearised over subjects (Gwet 2014), raters fixed; ci_low, ci_high: 95 %, t with n - 1 degrees
            of freedom, ci_high at most 1.
        p_one_sided, p_two_sided: t tests of AC = 0, which independent readers with skewed habits fail too. None where
            ``state`` is not "ok".
        independent_value: AC of readers with these habits (each reader's own shares) who rate independently.
        p_permutation: share of reshufflings of each reader's ratings over the subjects with at least this AC,
            (1 + #) / (1 + permutations). The test to read.
        subjects: rated at all; unrated_subjects: left out; pairs_on: subjects with two ratings or more.
        state: "ok", or "no_variance": all subjects contribute alike (perfect agreement), so nothing has an error.
    """

    coefficient: Literal["AC1", "AC2"]
    value: float
    percent_agreement: float
    chance_agreement: float
    standard_error: float | None
    ci_low: float | None
    ci_high: float | None
    p_one_sided: float | None
    p_two_sided: float | None
    independent_value: float
    p_permutation: float
    permutations: int
    subjects: int
    unrated_subjects: int
    pairs_on: int
    raters: int
    categories: int
    state: Literal["ok", "no_variance"]


def gwet(
    ratings: NDArray[np.generic],
    *,
    categories: Sequence[float] | Sequence[str],
    weights: Scheme | Floats = "identity",
    permutations: int = PERMUTATIONS,
    seed: int,
) -> Agreement:
    """AC1 or AC2 of (n, r) ratings by r raters of n subjects.

    Args:
        ratings: entries of ``categories``; NaN, None or "" where a rater did not rate.
        categories: *all* of the scale in its order, used or not: leaving unused ones out changes the value.
        weights: "identity"; "linear" and "quadratic" in the categories' values (their places, if they are
            words); "ordinal" in their places; or a symmetric (q, q) matrix in [0, 1] with ones on the diagonal.
        permutations, seed: of the permutation p.

    Raises ValueError for fewer than 2 raters, categories, or subjects with two ratings, and for ratings off the scale.
    """
    matrix = agreement_weights(categories, weights)
    codes = _coded(ratings, categories)
    rated = (codes >= 0).any(axis=1)
    codes, unrated = codes[rated], int((~rated).sum())
    pairs_on = int(((codes >= 0).sum(axis=1) >= 2).sum())
    if len(codes) < 2 or pairs_on < 1:
        raise ValueError("agreement needs at least 2 rated subjects, and one that two raters rated")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")

    counts = _counts(codes, len(matrix))
    value, pa, pe = (float(part) for part in _coefficient(counts, matrix))
    error = _standard_error(counts, matrix)
    exists = error > 1e-12
    degrees = len(codes) - 1
    reach = float(stats.t.ppf(0.975, degrees)) * error
    return Agreement(
        coefficient="AC1" if np.array_equal(matrix, np.eye(len(matrix))) else "AC2",
        value=value,
        percent_agreement=pa,
        chance_agreement=pe,
        standard_error=error if exists else None,
        ci_low=value - reach if exists else None,
        ci_high=min(1.0, value + reach) if exists else None,
        p_one_sided=float(stats.t.sf(value / error, degrees)) if exists else None,
        p_two_sided=float(2 * stats.t.sf(abs(value) / error, degrees)) if exists else None,
        independent_value=_independent(codes, matrix),
        p_permutation=_permutation_p(codes, matrix, value, permutations, seed),
        permutations=permutations,
        subjects=len(codes),
        unrated_subjects=unrated,
        pairs_on=pairs_on,
        raters=codes.shape[1],
        categories=len(matrix),
        state="ok" if exists else "no_variance",
    )


def agreement_weights(categories: Sequence[float] | Sequence[str], weights: Scheme | Floats) -> Floats:
    """(q, q) partial credit for two ratings: 1 on the diagonal, down to 0 for the farthest pair.

    linear 1 - |k - l| / range, quadratic its square, ordinal 1 - C(|k - l| + 1, 2) / C(q, 2). Raises ValueError for
    fewer than two categories, doubles, an unknown scheme, or a matrix that is none of partial credit.
    """
    size = len(categories)
    if size < 2 or len(set(categories)) != size:
        raise ValueError("categories must name the whole scale: two or more, each once")
    if not isinstance(weights, str):
        matrix = numbers("weights", weights)
        fits = matrix.shape == (size, size) and np.array_equal(matrix, matrix.T) and (np.diag(matrix) == 1).all()
        if not fits or not ((matrix >= 0) & (matrix <= 1)).all() or (matrix == 1).all():
            raise ValueError(
                f"weights must be symmetric ({size}, {size}) in [0, 1] with ones on the diagonal, not all 1"
            )
        return matrix
    if weights == "identity":
        return np.eye(size)
    places = np.arange(size, dtype=np.float64)
    numeric = not any(isinstance(category, str) for category in categories)
    values = np.array([float(category) for category in categories]) if numeric else places
    if not np.isfinite(values).all():
        raise ValueError("categories must be finite numbers, or words; missing ratings are no category")
    if weights == "ordinal":
        steps = np.abs(places[:, None] - places)
        return np.asarray(1.0 - steps * (steps + 1) / (size * (size - 1)))
    distance = np.abs(values[:, None] - values) / np.ptp(values)
    if weights == "linear":
        return np.asarray(1.0 - distance)
    if weights == "quadratic":
        return np.asarray(1.0 - distance**2)
    raise ValueError(f"weights must be identity, linear, quadratic, ordinal or a matrix, not {weights!r}")


def _coded(ratings: NDArray[np.generic], categories: Sequence[float] | Sequence[str]) -> Codes:
    """(n, r) places in ``categories``, -1 where nothing was rated."""
    table = np.asarray(ratings, dtype=object)
    if table.ndim != 2 or table.shape[1] < 2:
        raise ValueError(f"ratings must be (subjects, raters) with at least 2 raters, got shape {table.shape}")
    absent = np.asarray(pd.isna(table))
    place: dict[object, int] = {category: code for code, category in enumerate(categories)}
    codes = np.full(table.shape, -1, dtype=np.int64)
    for where, rating in np.ndenumerate(table):
        if absent[where] or rating == "":
            continue
        if rating not in place:
            raise ValueError(f"the rating in row {where[0]}, column {where[1]} is none of the categories")
        codes[where] = place[rating]
    return codes


def _counts(codes: Codes, size: int) -> Floats:
    """(..., n, q) raters per category from (..., n, r) codes."""
    return np.stack([(codes == category).sum(axis=-1) for category in range(size)], axis=-1).astype(np.float64)


def _coefficient(counts: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """AC, pa and pe of (..., n, q) counts, each (...)."""
    raters = counts.sum(axis=-1)
    pairs = raters * (raters - 1)
    agreeing = (counts * (counts @ weights - 1.0)).sum(axis=-1)
    pa = np.divide(agreeing, pairs, out=np.zeros_like(pairs), where=pairs > 0).sum(axis=-1) / (pairs > 0).sum(axis=-1)
    pe = _chance((counts / raters[..., None]).mean(axis=-2), weights)
    return (pa - pe) / (1.0 - pe), pa, pe


def _chance(shares: Floats, weights: Floats) -> Floats:
    size = len(weights)
    return np.asarray(weights.sum() / (size * (size - 1)) * (shares * (1.0 - shares)).sum(axis=-1))


def _standard_error(counts: Floats, weights: Floats) -> float:
    """Linearised over subjects (Gwet 2014, chapter 5): each subject's part in pa and in pe, squared and added up."""
    value, _, pe = _coefficient(counts, weights)
    subjects, size = counts.shape
    raters = counts.sum(axis=1)
    pairs = raters * (raters - 1)
    agreeing = (counts * (counts @ weights - 1.0)).sum(axis=1)
    share = np.divide(agreeing, pairs, out=np.zeros(subjects), where=pairs > 0)
    own = subjects / np.count_nonzero(pairs) * (share - pe * (pairs > 0)) / (1 - pe)
    shares = (counts / raters[:, None]).mean(axis=0)
    own_chance = weights.sum() / (size * (size - 1)) * (counts @ (1 - shares)) / raters
    linear = own - 2 * (1 - value) * (own_chance - pe) / (1 - pe)
    return float(np.sqrt(np.square(linear - value).sum() / (subjects * (subjects - 1))))


def _independent(codes: Codes, weights: Floats) -> float:
    """AC at the expected pa and category shares when each rater's ratings are dealt to their subjects at random."""
    size = len(weights)
    habits = np.stack([_counts(column, size) for column in codes.T[:, :, None]]).sum(axis=1)  # (r, q)
    habits /= np.maximum(habits.sum(axis=1, keepdims=True), 1.0)
    present = (codes >= 0).astype(np.float64)
    raters = present.sum(axis=1)
    together = habits @ weights @ habits.T
    np.fill_diagonal(together, 0.0)
    agreeing = ((present @ together) * present).sum(axis=1)
    paired = raters >= 2
    pa = float((agreeing[paired] / (raters * (raters - 1))[paired]).mean())
    pe = float(_chance((present @ habits / raters[:, None]).mean(axis=0), weights))
    return (pa - pe) / (1.0 - pe)


def _permutation_p(codes: Codes, weights: Floats, observed: float, permutations: int, seed: int) -> float:
    rng = np.random.Generator(np.random.Philox(seed))
    block = max(1, _CELLS // (len(codes) * len(weights)))
    reached = 0
    for at in range(0, permutations, block):
        dealt = np.repeat(codes[None], min(block, permutations - at), axis=0)
        for rater in range(codes.shape[1]):
            rows = np.flatnonzero(codes[:, rater] >= 0)
            dealt[:, rows, rater] = rng.permuted(dealt[:, rows, rater], axis=1)
        values = _coefficient(_counts(dealt, len(weights)), weights)[0]
        reached += int(np.count_nonzero(values >= observed - 1e-12))
    return (1 + reached) / (1 + permutations)
