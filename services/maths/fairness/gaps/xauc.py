"""How unevenly groups are ranked against one another: the largest |xAUC[a, b] - xAUC[b, a]| over pairs of groups.

xAUC[a, b] sets the positives of a against the negatives of b. Where it differs from xAUC[b, a], the positives of one
group pass the negatives of the other more easily than the other way round: at one threshold for both, one of them gets
the missed cases and the other the false alarms. 0 means that no pair is uneven (Kallus and Zhou 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.changes import Change, descriptive_change
from services.maths.fairness.gaps.definitions import NOTHING, Definition, Gap, Numbers, gap_of
from services.maths.fairness.gaps.pairing import paired
from services.maths.fairness.gaps.simultaneous import (
    Pairs,
    critical_of,
    deviations,
    steady_covariance,
    unordered_pairs,
    widest_interval,
)
from services.maths.fairness.metrics.cross_auroc import CrossAuroc
from services.maths.fairness.sums import Floats

XAUC_GAP = Definition("xauc_gap", ("xauc",))


def xauc_gap(areas: CrossAuroc, auroc: Disaggregation, normals: Floats) -> Gap:
    """The gap over the groups whose own AUROC is comparable: they have patients enough on both sides of every pair.

    Point, noise floor, correction and interval are those of every other gap, with the two areas of a pair of groups in
    place of two groups. ``auroc`` is of the same attribute, ``normals`` come from ``standard_normals``.
    """
    groups = auroc.comparable_groups
    numbers = NOTHING
    if len(groups) >= 2:
        numbers = _numbers(_both_ways(areas, groups), turned_pairs(len(groups)), normals)
    return gap_of(XAUC_GAP, auroc, numbers, groups)


def xauc_change(
    baseline: tuple[CrossAuroc, Disaggregation], candidate: tuple[CrossAuroc, Disaggregation], normals: Floats
) -> Change:
    """Candidate minus baseline with its paired interval, from areas and AUROC of either; there is no test."""
    groups, attribute = baseline[1].comparable_groups, baseline[1].attribute
    pair = None
    if len(groups) >= 2 and groups == candidate[1].comparable_groups:
        before, after = (_both_ways(areas, groups) for areas, _ in (baseline, candidate))
        pair = paired(XAUC_GAP, before, after, only=turned_pairs(len(groups)))
    return descriptive_change(XAUC_GAP, attribute, pair, normals)


def turned_pairs(groups: int) -> Pairs:
    """(P, 2) columns of ``_both_ways`` that hold a pair of groups and the same pair turned round."""
    count = groups * (groups - 1) // 2
    return np.column_stack([np.arange(count), np.arange(count) + count]).astype(np.intp)


def _both_ways(areas: CrossAuroc, groups: Sequence[str]) -> Estimates:
    """xAUC[a, b] of each unordered pair of the groups, and then xAUC[b, a] of each."""
    places = np.array([areas.groups.index(group) for group in groups], dtype=np.intp)
    one, other = places[unordered_pairs(len(groups))].T
    count = len(areas.groups)
    return areas.xauc.take(np.concatenate([one * count + other, other * count + one]))


def _numbers(estimates: Estimates, pairs: Pairs, normals: Floats) -> Numbers:
    """Raw gap, noise floor, corrected gap, lower and upper limit."""
    covariance = steady_covariance(estimates)
    drawn = deviations(covariance, normals)
    one, other = pairs.T
    uneven, by_chance = estimates.value[one] - estimates.value[other], drawn[one] - drawn[other]
    squares = covariance[one, one] + covariance[other, other] - 2.0 * covariance[one, other]

    raw = float(np.abs(uneven).max())
    expected = np.abs(by_chance).max(axis=0)
    shrunken = _shrunken(uneven, squares)
    bias = float(np.abs(shrunken[:, None] + by_chance).max(axis=0).mean()) - float(np.abs(shrunken).max())
    low, high = widest_interval(estimates, pairs, critical_of(covariance, drawn))
    return raw, float(expected.mean()), min(max(raw - bias, 0.0), raw), low, high


def _shrunken(uneven: Floats, squares: Floats) -> Floats:
    """(P,) empirical-Bayes differences, drawn towards 0: turning a pair round turns its sign."""
    spread = max(float((uneven**2 - squares).mean()), 0.0)
    total = spread + squares
    return np.asarray(uneven * np.divide(spread, total, out=np.ones_like(total), where=total > 0))
