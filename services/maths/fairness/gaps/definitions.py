"""The named gaps between groups: raw value, what chance alone would show, corrected value and interval.

A gap is the largest difference between two groups on some scale, so it grows with the number of groups and the size of
their errors even where all groups are equal. Hence four numbers: the raw gap, its expected value under equality (noise
floor), the gap less its bias, and an interval that contains "equal" when it should.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.gaps import ratios, shrinkage
from services.maths.fairness.gaps.comparisons import DIFFERENCE, ERROR_RATIO, PERCENT, Comparison, Reduction, blocks
from services.maths.fairness.gaps.half_sums import half_sum_interval
from services.maths.fairness.gaps.simultaneous import (
    critical_of,
    deviations,
    steady_covariance,
    unordered_pairs,
    widest_interval,
)
from services.maths.fairness.sums import Floats

Numbers = tuple[float, float, float, float, float]
Choose = Callable[[tuple[str, ...], tuple[str, ...]], Estimates]
NOTHING: Numbers = (math.nan,) * 5

BETWEEN_GROUP_SD = "between_group_sd"


@dataclass(frozen=True)
class Definition:
    """A named gap: the metrics it is made of, how two groups are compared, and how the metrics' ranges are joined."""

    name: str
    metrics: tuple[str, ...]
    comparison: Comparison = DIFFERENCE
    reduction: Reduction = "largest"

    @property
    def metric(self) -> str:
        return ",".join(self.metrics)


DEFINITIONS = (
    Definition("max_min", ("auroc",)),
    Definition("max_min", ("auroc_bpsn",)),
    Definition("max_min", ("auroc_bnsp",)),
    # Half the sum of both ranges, as reconstruction studies report it, and the larger of them, as Fairlearn does.
    Definition("eodd_half", ("tpr", "fpr"), reduction="half_sum"),
    Definition("eodd_worst", ("tpr", "fpr")),
    Definition("eop", ("tpr",)),
    Definition("max_min", ("balanced_accuracy",)),
    Definition("max_min", ("prevalence",)),
    Definition("max_min", ("brier",)),
    Definition("max_min", ("ece",)),
    Definition("ser", ("dice",), ERROR_RATIO),
    Definition("delta_dice", ("dice",)),
    Definition("max_min", ("psnr",)),
    Definition("percent_max_min", ("psnr",), PERCENT),
    Definition("max_min", ("ssim_gaussian11",)),
    Definition("max_min", ("lpips_alex",)),
    Definition("max_min", ("lpips_vgg",)),
    Definition("max_min", ("perceptual",)),
)
SPREADS = tuple(Definition(BETWEEN_GROUP_SD, (metric,)) for metric in ("auroc", "tpr", "fpr", "dice", "psnr"))
# How groups are ranked against one another: shown with intervals, and never tested, changes included.
DESCRIPTIVE = ("auroc_bpsn", "auroc_bnsp", "xauc")


@dataclass(frozen=True)
class Gap:
    """One gap of one attribute. Numbers are in the metric's unit (ratio for ser, percent for percent_max_min).

    Attributes:
        metric: the definition's metrics, joined by a comma.
        estimate: the raw gap; 0 (1 for ser) means equal. None with fewer than two comparable groups, and where a
            ratio is refused because its denominator may be 0.
        noise_floor: what the raw gap would be on average if all groups were equal and measured as well as they are.
        corrected: the raw gap less its bias at the shrunken estimates, never below equality nor above the raw gap.
        ci_low, ci_high: 95 % limits of the true gap.
        groups: those that took part.
        excluded_groups: those that could not, since some metric says too little there.
    """

    definition: str
    metric: str
    attribute: str
    estimate: float | None
    noise_floor: float | None
    corrected: float | None
    ci_low: float | None
    ci_high: float | None
    groups: tuple[str, ...]
    excluded_groups: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """The metrics of a definition in G groups side by side, one column per metric and group.

    ``values`` are as measured, ``estimates`` on the comparison's scale; ``parts`` metrics, 0 where it refuses them.
    """

    values: Estimates
    estimates: Estimates
    parts: int
    normals: Floats

    @cached_property
    def covariance(self) -> Floats:
        return steady_covariance(self.estimates)

    @cached_property
    def drawn(self) -> Floats:
        """(parts * G, draws) errors of the estimates, drawn from their joint normal limit."""
        return deviations(self.covariance, self.normals)

    @cached_property
    def shrunken(self) -> Floats:
        """(parts * G,) empirical-Bayes estimates, each metric by itself."""
        count = len(self.estimates.value) // self.parts
        each = [slice(start, start + count) for start in range(0, len(self.estimates.value), count)]
        return np.concatenate(
            [shrinkage.shrunken_values(self.estimates.value[at], self.covariance[at, at]) for at in each]
        )


def shared_groups(*disaggregations: Disaggregation) -> tuple[str, ...]:
    """Groups that are comparable in every one of the disaggregations, in the order of the first."""
    first, *others = disaggregations
    return tuple(g for g in first.comparable_groups if all(g in other.comparable_groups for other in others))


def excluded_groups(groups: tuple[str, ...], disaggregation: Disaggregation) -> tuple[str, ...]:
    """Cells that are none of ``groups``, "(missing)" included."""
    return tuple(cell.group for cell in disaggregation.cells if cell.group not in groups)


def gaps_of(by_metric: Mapping[str, Disaggregation], normals: Floats) -> list[Gap]:
    """Every gap whose metrics are present, in the order of ``DEFINITIONS``, then the between-group SDs.

    All disaggregations share one attribute and the patients. A between-group SD needs ``MANY_GROUPS`` comparable
    groups; with fewer it is left out. ``normals`` come from ``standard_normals``.
    """
    gaps, choose = [], chooser(by_metric)
    known: dict[tuple[tuple[str, ...], Comparison], Measured] = {}
    for definition in (*DEFINITIONS, *SPREADS):
        if not all(metric in by_metric for metric in definition.metrics):
            continue
        parts = [by_metric[metric] for metric in definition.metrics]
        groups = shared_groups(*parts)
        if definition in SPREADS and len(groups) < shrinkage.MANY_GROUPS:
            continue
        numbers = NOTHING
        if len(groups) >= 2:
            key = (definition.metrics, definition.comparison)
            if key not in known:
                known[key] = _measured(choose(definition.metrics, groups), definition, normals)
            numbers = _numbers(definition, known[key], len(groups))
        gaps.append(gap_of(definition, parts[0], numbers, groups))
    return gaps


def gap_of(definition: Definition, part: Disaggregation, numbers: Numbers, groups: tuple[str, ...]) -> Gap:
    """The row of a gap over ``groups``, whose other cells ``part`` knows; numbers that are NaN become None."""
    estimate, noise_floor, corrected, low, high = (known_or_none(number) for number in numbers)
    excluded = excluded_groups(groups, part)
    return Gap(
        definition.name,
        definition.metric,
        part.attribute,
        estimate,
        noise_floor,
        corrected,
        low,
        high,
        groups,
        excluded,
    )


def known_or_none(number: float) -> float | None:
    """The number, or None for NaN."""
    return None if math.isnan(number) else number


def chosen(disaggregation: Disaggregation, groups: tuple[str, ...]) -> Estimates:
    """Estimates of the groups, in their order."""
    return disaggregation.estimates.take(disaggregation.columns(groups))


def chooser(by_metric: Mapping[str, Disaggregation]) -> Choose:
    """A function (metrics, groups) -> their estimates side by side, which makes every selection only once."""

    @cache
    def one(metric: str, groups: tuple[str, ...]) -> Estimates:
        return chosen(by_metric[metric], groups)

    @cache
    def choose(metrics: tuple[str, ...], groups: tuple[str, ...]) -> Estimates:
        parts = [one(metric, groups) for metric in metrics]
        return parts[0] if len(parts) == 1 else everywhere(*parts)

    return choose


def _measured(joined: Estimates, definition: Definition, normals: Floats) -> Measured:
    if not definition.comparison.defined(joined):
        return Measured(joined, joined, 0, normals)
    return Measured(joined, definition.comparison.on_scale(joined), len(definition.metrics), normals)


def _numbers(definition: Definition, measured: Measured, count: int) -> Numbers:
    """Raw gap, noise floor, corrected gap, lower and upper limit; all NaN where the comparison is refused."""
    if measured.parts == 0:
        return NOTHING
    if definition.name == BETWEEN_GROUP_SD:
        return _spread(measured)

    def gap(values: Floats) -> Floats:
        return definition.comparison.gap(values, measured.parts, definition.reduction)

    raw, expected = float(gap(measured.estimates.value)), gap(measured.drawn)
    shrunken = measured.shrunken
    bias = float(gap(shrunken[:, None] + measured.drawn).mean()) - float(gap(shrunken))
    # Of clearly different groups the bias is 0, and what the draws make of it may have either sign.
    corrected = min(max(raw - bias, definition.comparison.equal), raw)
    return raw, float(expected.mean()), corrected, *_interval(definition, measured, count)


def _interval(definition: Definition, measured: Measured, count: int) -> tuple[float, float]:
    pairs = blocks(unordered_pairs(count), count, measured.parts)
    critical = critical_of(measured.covariance, measured.drawn)
    if definition.comparison is PERCENT:
        return ratios.percent_interval(measured.values, pairs[0], critical)
    if definition.reduction == "half_sum":
        return half_sum_interval(measured.estimates, pairs, critical)
    apart = np.array(widest_interval(measured.estimates, np.concatenate(pairs), critical))
    low, high = definition.comparison.outcome(apart)
    return float(low), float(high)


def _spread(measured: Measured) -> Numbers:
    values, covariance = measured.estimates.value, measured.covariance
    estimate = shrinkage.between_group_sd(values, covariance)
    by_chance = shrinkage.between_group_variance(measured.drawn, covariance)
    floor = float(np.sqrt(np.maximum(by_chance, 0.0)).mean())
    return estimate, floor, estimate, *shrinkage.between_group_sd_interval(values, covariance)
