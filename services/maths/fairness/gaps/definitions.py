"""Gaps between groups. Each is a short function over disaggregations of the same records by the same attribute.

Only groups that are comparable (ok or wide) in every metric of the definition take part; with fewer than two of them a
gap is NaN. With more than two groups every difference is largest minus smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.maths.fairness.disaggregation import Disaggregation


def eodd_half(tpr: Disaggregation, fpr: Disaggregation) -> float:
    """Equalised-odds difference as a half-sum: (max-min TPR + max-min FPR) / 2. Zero means equal error rates."""
    groups = shared_groups(tpr, fpr)
    return (tpr.difference(groups=groups) + fpr.difference(groups=groups)) / 2.0


def eodd_worst(tpr: Disaggregation, fpr: Disaggregation) -> float:
    """Equalised-odds difference, worst case: the larger of max-min TPR and FPR (Fairlearn). Zero means equal."""
    groups = shared_groups(tpr, fpr)
    return max(tpr.difference(groups=groups), fpr.difference(groups=groups))


def eop(tpr: Disaggregation) -> float:
    """Equal-opportunity difference: max-min TPR. Zero means that cases are found equally often in every group."""
    return tpr.difference()


def ser(dice: Disaggregation) -> float:
    """Segmentation error ratio: (1 - min Dice) / (1 - max Dice). One means equal; NaN when a group's mean Dice is 1."""
    means = dice.by_group[list(dice.comparable_groups)]
    if len(means) < 2 or means.max() >= 1.0:
        return math.nan
    return float((1.0 - means.min()) / (1.0 - means.max()))


def delta_dice(dice: Disaggregation) -> float:
    """Max-min of the groups' mean Dice. Zero means equal overlap."""
    return dice.difference()


def max_min(metric: Disaggregation) -> float:
    """Largest minus smallest over the groups. Zero means equal."""
    return metric.difference()


def shared_groups(*disaggregations: Disaggregation) -> tuple[str, ...]:
    """Groups that are comparable in every one of the disaggregations, in the order of the first."""
    first, *others = disaggregations
    return tuple(g for g in first.comparable_groups if all(g in other.comparable_groups for other in others))


@dataclass(frozen=True)
class Definition:
    """A named gap: the metrics it is made of and the function over their disaggregations."""

    name: str
    metrics: tuple[str, ...]
    function: Callable[..., float]


DEFINITIONS = (
    Definition("max_min", ("auroc",), max_min),
    Definition("eodd_half", ("tpr", "fpr"), eodd_half),
    Definition("eodd_worst", ("tpr", "fpr"), eodd_worst),
    Definition("eop", ("tpr",), eop),
    Definition("max_min", ("balanced_accuracy",), max_min),
    Definition("ser", ("dice",), ser),
    Definition("delta_dice", ("dice",), delta_dice),
    Definition("max_min", ("psnr",), max_min),
    Definition("max_min", ("ssim_gaussian11",), max_min),
)


@dataclass(frozen=True)
class Gap:
    """``metric`` joins the definition's metrics by a comma; ``groups`` took part, ``excluded_groups`` could not."""

    definition: str
    metric: str
    attribute: str
    estimate: float | None
    groups: tuple[str, ...]
    excluded_groups: tuple[str, ...]


def gaps_of(by_metric: Mapping[str, Disaggregation]) -> list[Gap]:
    """Every gap whose metrics are present, in the order of ``DEFINITIONS``. All disaggregations share one attribute."""
    gaps = []
    for definition in DEFINITIONS:
        if not all(metric in by_metric for metric in definition.metrics):
            continue
        parts = [by_metric[metric] for metric in definition.metrics]
        value = definition.function(*parts)
        groups = shared_groups(*parts)
        excluded = tuple(cell.group for cell in parts[0].cells if cell.group not in groups)
        estimate = None if math.isnan(value) else value
        metric = ",".join(definition.metrics)
        gaps.append(Gap(definition.name, metric, parts[0].attribute, estimate, groups, excluded))
    return gaps
