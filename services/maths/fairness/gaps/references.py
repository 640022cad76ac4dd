"""Differences and ratios of each group to a reference group that the auditor names."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates
from services.maths.fairness.gaps.definitions import chosen, known_or_none
from services.maths.fairness.gaps.ratios import ratio_limits
from services.maths.fairness.gaps.simultaneous import (
    Pairs,
    contrast_critical,
    contrasts_of,
    pair_limits,
    steady_covariance,
)
from services.maths.fairness.limits import normal_critical
from services.maths.fairness.sums import Floats

DIFFERENCE_TO_REFERENCE = "difference_to_reference"
RATIO_TO_REFERENCE = "ratio_to_reference"


@dataclass(frozen=True)
class ReferenceGap:
    """One group against the reference group; 0 (difference) or 1 (ratio) means equal.

    The limits of one disaggregation and definition hold for all its groups at once. A ratio whose denominator may be 0
    has neither limits nor an estimate.
    """

    definition: str
    metric: str
    attribute: str
    group: str
    reference: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None


def reference_gaps(disaggregation: Disaggregation, reference: str, normals: Floats) -> list[ReferenceGap]:
    """Differences, then ratios, of every other comparable group to ``reference``; none unless that is comparable too.

    Simultaneous 95 % limits in the way of Dunnett (1955): one critical value for all contrasts with the reference,
    which share its error. Differences by MOVER, ratios by Fieller or MOVER. Raises ValueError for a group that the
    attribute does not have.
    """
    disaggregation.columns([reference])
    groups = disaggregation.comparable_groups
    others = [place for place, group in enumerate(groups) if group != reference]
    if reference not in groups or not others:
        return []
    estimates = chosen(disaggregation, groups)
    pairs = np.array([(place, groups.index(reference)) for place in others], dtype=np.intp)
    names = [groups[place] for place in others]
    found = []
    for definition, rows in (
        (DIFFERENCE_TO_REFERENCE, _differences(estimates, pairs, normals)),
        (RATIO_TO_REFERENCE, _ratios(estimates, pairs, normals)),
    ):
        for name, row in zip(names, rows, strict=True):
            numbers = [known_or_none(float(number)) for number in row]
            found.append(
                ReferenceGap(definition, disaggregation.metric, disaggregation.attribute, name, reference, *numbers)
            )
    return found


def _differences(estimates: Estimates, pairs: Pairs, normals: Floats) -> Floats:
    """(P, 3) difference, lower and upper limit."""
    contrasts = contrasts_of(pairs, len(estimates.value))
    critical = contrast_critical(steady_covariance(estimates), contrasts, normals)
    return np.column_stack([contrasts @ estimates.value, *pair_limits(estimates, pairs, critical)])


def _ratios(estimates: Estimates, pairs: Pairs, normals: Floats) -> Floats:
    """(P, 3) ratio, lower and upper limit; NaN where the denominator's limits reach 0."""
    top, bottom = estimates.value[pairs].T
    if not bottom[0] > 0 or not math.isfinite(ratio_limits(estimates, pairs[:1], normal_critical())[1][0]):
        return np.full((len(pairs), 3), np.nan)
    ratio = top / bottom
    # First-order weights of a ratio, so that a numerator of 0 has its place among the contrasts.
    contrasts = np.zeros((len(pairs), len(estimates.value)))
    contrasts[np.arange(len(pairs)), pairs[:, 0]] = 1.0 / bottom
    contrasts[np.arange(len(pairs)), pairs[:, 1]] = -ratio / bottom
    critical = contrast_critical(steady_covariance(estimates), contrasts, normals)
    low, high = ratio_limits(estimates, pairs, critical)
    return np.where(np.isnan(high)[:, None], np.nan, np.column_stack([ratio, low, high]))
