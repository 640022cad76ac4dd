"""What a candidate pipeline does to a gap: candidate minus baseline on paired patients, with interval and p value.

A gap is the largest of the ordered differences d_p between two groups. Let p and q be the pairs that are truly the
widest apart in the baseline and in the candidate. Since no pair is wider than the widest,

    d_p(candidate) - d_p(baseline)  <=  gap(candidate) - gap(baseline)  <=  d_q(candidate) - d_q(baseline),

and both bounds are signed contrasts of one fixed pair, whose paired standard error is closed form. Which pairs may be p
(or q) is read off simultaneous bands of the baseline (or the candidate); the smallest lower limit over the candidates
for p and the largest upper limit over those for q hold the true change, with alpha shared between both sides and the
selections. When one pair is clearly the widest in both, this is its signed contrast with z = 2.05 in place of 1.96.
When all groups are equal both directions of every pair are candidates, so the interval lies around zero.

A candidate that is worse in all groups alike has noisier estimates, and a largest difference grows with noise. Swaps
give both pipelines the same noise, so they would call that a change of the gap: with ten equal groups whose sensitivity
falls from .95 to .70 (80 patients each) in .43 of simulated audits, and for the AUROC in .66 of them. The observed
change is therefore first brought nearer to 0 by the change of the expected noise (``Paired.noise_change``). That can
only make a p value larger, and leaves .01 of such audits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.gaps.definitions import (
    DEFINITIONS,
    DESCRIPTIVE,
    Choose,
    Definition,
    chooser,
    shared_groups,
)
from services.maths.fairness.gaps.pairing import Paired, aligned, paired, share_patients, unseen_variance
from services.maths.fairness.gaps.swaps import Swaps, permutation_p
from services.maths.fairness.limits import normal_critical
from services.maths.fairness.sums import Floats

OVERALL = "overall"
SAME_IN_ALL = ("prevalence",)  # a matter of the cohort's labels, not of a pipeline

ByMetric = Mapping[str, Disaggregation]


@dataclass(frozen=True)
class Change:
    """Candidate minus baseline, in the unit of the gap or metric; 0 means that it stayed.

    Attributes:
        estimate: None unless the same groups are comparable in both and some patient is in both, and where a ratio is
            refused.
        standard_error: paired and patient-clustered; of a gap, that of the signed contrasts that bound its change
            (the larger of the baseline's and the candidate's widest pair).
        ci_low, ci_high: 95 % limits.
        p_value: two-sided, by within-patient swaps.
        statistic: change on the scale of differences (log-ratios for ser and percent_max_min) over its SD over swaps;
            of a gap, less what the pipelines' different errors alone would make of it.
        permuted: (B,) float32 statistics after each swap, in the same unit, for adjustment over a family of changes.
        swap_sd: that unit: root mean square of the change over swaps.
    """

    definition: str
    metric: str
    attribute: str
    estimate: float | None
    standard_error: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    statistic: float | None
    permuted: NDArray[np.float32] | None
    swap_sd: float | None = None


def changes_of(baseline: ByMetric, candidate: ByMetric, normals: Floats, swaps: Swaps) -> list[Change]:
    """The change of every gap whose metrics both pipelines have, in the order of ``DEFINITIONS``.

    All disaggregations are of one attribute and label. ``swaps`` must know all their patients.
    """
    choices = chooser(baseline), chooser(candidate)
    nulls = _nulls(baseline, candidate, choices, swaps)
    changes = []
    for definition in DEFINITIONS:
        tested = all(metric in nulls for metric in definition.metrics)
        if not tested and not _described(definition, baseline, candidate):
            continue
        before = [baseline[metric] for metric in definition.metrics]
        after = [candidate[metric] for metric in definition.metrics]
        groups, attribute = shared_groups(*before), before[0].attribute
        pair = None
        if len(groups) >= 2 and groups == shared_groups(*after):
            pair = paired(definition, *(choose(definition.metrics, groups) for choose in choices))
        if pair is None:
            changes.append(_unknown(definition.name, definition.metric, attribute))
        elif not tested:
            changes.append(descriptive_change(definition, attribute, pair, normals))
        else:
            null = [nulls[metric].of(groups) for metric in definition.metrics]
            changes.append(_change(definition, attribute, pair, null, normals))
    return changes


def descriptive_change(definition: Definition, attribute: str, pair: Paired | None, normals: Floats) -> Change:
    """The change of a difference with its paired interval and without a test; unknown without a pair."""
    if pair is None:
        return _unknown(definition.name, definition.metric, attribute)
    error, (low, high) = pair.standard_error, pair.interval(normals)
    return Change(definition.name, definition.metric, attribute, pair.change, error, low, high, None, None, None)


def overall_changes(baseline: ByMetric, candidate: ByMetric, swaps: Swaps) -> list[Change]:
    """The change of each metric over everyone, in the order of ``baseline``; attribute "" and definition "overall"."""
    changes = []
    for metric, before in baseline.items():
        if metric in SAME_IN_ALL or metric not in candidate:
            continue
        after = candidate[metric]
        comparable = all(part.overall_cell.state in ("ok", "wide") for part in (before, after))
        if not comparable or not share_patients(before.estimates, after.estimates):
            changes.append(_unknown(OVERALL, metric, ""))
            continue
        one, other = aligned(before.estimates.take([-1]), after.estimates.take([-1]))
        error, low, high = _paired_limits(one, other)
        ((start, end),) = swaps.swapped([(one, other)])
        estimate = float(other.value[0] - one.value[0])
        changes.append(Change(OVERALL, metric, "", estimate, error, low, high, *_test(estimate, (end - start)[0])))
    return changes


@dataclass(frozen=True)
class _Swapped:
    """Values of one metric after each swap, (G, B) for baseline and candidate, by group."""

    groups: tuple[str, ...]
    baseline: Floats
    candidate: Floats

    def of(self, groups: tuple[str, ...]) -> tuple[Floats, Floats]:
        rows = [self.groups.index(group) for group in groups]
        return self.baseline[rows], self.candidate[rows]


def _nulls(
    baseline: ByMetric, candidate: ByMetric, choices: tuple[Choose, Choose], swaps: Swaps
) -> dict[str, _Swapped]:
    """Every metric of both pipelines after each swap, in the groups that are comparable in both of them."""
    metrics = dict.fromkeys(metric for definition in DEFINITIONS for metric in definition.metrics)
    shared: dict[tuple[str, ...], dict[str, tuple[Estimates, Estimates]]] = {}
    for metric in metrics:
        if metric in (*SAME_IN_ALL, *DESCRIPTIVE) or metric not in baseline or metric not in candidate:
            continue
        before, after = baseline[metric], candidate[metric]
        groups = tuple(group for group in before.comparable_groups if group in after.comparable_groups)
        # Metrics in the same groups are exchanged in one pass over the patients.
        shared.setdefault(groups, {})[metric] = aligned(*(choose((metric,), groups) for choose in choices))
    return {
        metric: _Swapped(groups, *values)
        for groups, pairs in shared.items()
        for metric, values in zip(pairs, swaps.swapped(list(pairs.values())), strict=True)
    }


def _described(definition: Definition, *pipelines: ByMetric) -> bool:
    return all(metric in DESCRIPTIVE and metric in by for metric in definition.metrics for by in pipelines)


def _change(
    definition: Definition,
    attribute: str,
    pair: Paired,
    nulls: Sequence[tuple[Floats, Floats]],
    normals: Floats,
) -> Change:
    comparison, parts = definition.comparison, len(definition.metrics)
    before, after = (
        comparison.spread(comparison.scale(np.concatenate(values)), parts, definition.reduction)
        for values in zip(*nulls, strict=True)
    )
    spreads = [comparison.spread(part.value, parts, definition.reduction) for part in (pair.baseline, pair.candidate)]
    start, end = (comparison.outcome(spread) for spread in spreads)
    low, high = pair.interval(normals)
    return Change(
        definition.name,
        definition.metric,
        attribute,
        float(end - start),
        pair.standard_error,
        low,
        high,
        *_test(_less_noise(float(spreads[1] - spreads[0]), pair.noise_change(normals)), after - before),
    )


def _less_noise(change: float, noise: float) -> float:
    """The change nearer to 0 by what noise adds to it, at most to 0; as it is where noise works against it."""
    if change * noise <= 0:
        return change
    return float(np.copysign(max(abs(change) - abs(noise), 0.0), change))


def _test(
    observed: float, permuted: Floats
) -> tuple[float | None, float | None, NDArray[np.float32] | None, float | None]:
    """p value, statistic and permuted statistics in units of their SD, and the SD; None where a swap has no value."""
    if not np.isfinite(permuted).all():
        return None, None, None, None
    spread = float(np.sqrt((permuted**2).mean()))
    if spread == 0:  # no patient's results differ
        return 1.0, 0.0, np.zeros(len(permuted), dtype=np.float32), 0.0
    return permutation_p(observed, permuted), observed / spread, (permuted / spread).astype(np.float32), spread


def _paired_limits(baseline: Estimates, candidate: Estimates) -> tuple[float, float, float]:
    """Standard error and 95 % limits of candidate minus baseline of one value, paired."""
    both = everywhere(baseline, candidate)
    square = np.array([-1.0, 1.0]) @ both.covariance @ np.array([-1.0, 1.0])
    error = float(np.sqrt(max(square, 0.0) + float(unseen_variance(baseline, candidate)[0])))
    reach = error * float(stats.t.isf(stats.norm.sf(normal_critical()), both.degrees.min()))
    value = float(candidate.value[0] - baseline.value[0])
    return error, value - reach, value + reach


def _unknown(definition: str, metric: str, attribute: str) -> Change:
    return Change(definition, metric, attribute, None, None, None, None, None, None, None)
