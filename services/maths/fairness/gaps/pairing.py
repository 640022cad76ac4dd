"""Two pipelines on the same patients: signed changes of every ordered pair of groups, and the interval that they give.

See ``changes`` for why the change of a gap lies between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.estimates import Estimates, everywhere
from services.maths.fairness.gaps.comparisons import blocks
from services.maths.fairness.gaps.definitions import Definition
from services.maths.fairness.gaps.shrinkage import shrunken_values
from services.maths.fairness.gaps.simultaneous import (
    SELECTION,
    Pairs,
    critical_of,
    deviations,
    ordered_pairs,
    pair_limits,
    possibly_largest,
    steady_covariance,
    unordered_pairs,
    variances,
)
from services.maths.fairness.limits import CONFIDENCE, normal_critical, t_quantiles
from services.maths.fairness.sums import Floats

# Combinations of pairs that are still looked at; beyond, the groups are too many and too alike for them to help.
_MOST_CROSSED = 20_000


def aligned(baseline: Estimates, candidate: Estimates) -> tuple[Estimates, Estimates]:
    """Both on the union of their patients: a patient whom one pipeline could not read contributes nothing there."""
    if np.array_equal(baseline.patient_ids, candidate.patient_ids):
        return baseline, candidate
    union = np.union1d(baseline.patient_ids, candidate.patient_ids)
    return _spread_out(baseline, union), _spread_out(candidate, union)


def share_patients(baseline: Estimates, candidate: Estimates) -> bool:
    """Whether any patient is in both: without one there is nothing to pair, and nothing to swap."""
    ours, theirs = baseline.patient_ids, candidate.patient_ids
    return np.array_equal(ours, theirs) or bool(np.isin(ours, theirs).any())


def _spread_out(estimates: Estimates, patient_ids: NDArray[np.generic]) -> Estimates:
    rows = np.searchsorted(patient_ids, estimates.patient_ids)
    shape = (len(patient_ids), len(rows))
    place = sparse.csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape)
    return replace(
        estimates,
        influence=sparse.csr_array(place @ estimates.influence),
        share=sparse.csr_array(place @ estimates.share),
        patient_ids=patient_ids,
        own_limits=None,  # those are over the patients as they were; the scale's limits stand in for them
    )


def paired(
    definition: Definition, baseline: Estimates, candidate: Estimates, *, only: Pairs | None = None
) -> Paired | None:
    """Both pipelines' values, metrics side by side, on the definition's scale; ``only`` as in ``Paired``.

    None where the definition refuses one of them, and where they have no patient in common.
    """
    if not share_patients(baseline, candidate) or not all(
        definition.comparison.defined(each) for each in (baseline, candidate)
    ):
        return None
    baseline, candidate = aligned(baseline, candidate)
    on_scale = definition.comparison.on_scale
    return Paired(definition, on_scale(baseline), on_scale(candidate), unseen_variance(baseline, candidate), only)


def unseen_variance(baseline: Estimates, candidate: Estimates) -> Floats:
    """(G,) variance to add to a paired change of proportions, where "no patient differs" is not "none can".

    1 / (patients + 2)²: that of one patient in whom the pipelines differ, added to the sample (Agresti and Min 2005
    add half a patient to each outcome of the pair). Zero for other metrics.
    """
    if baseline.scale != "wilson":
        return np.zeros(len(baseline.value))
    return 1.0 / (np.minimum(baseline.patients, candidate.patients) + 2.0) ** 2


@dataclass(frozen=True)
class Paired:
    """M = metrics × groups values of both pipelines on the scale of differences, over the same patients.

    ``unseen`` (M,) is added to the variance of each value's change. ``only`` (P, 2) are the columns that are compared,
    where these are not all pairs of groups.
    """

    definition: Definition
    baseline: Estimates
    candidate: Estimates
    unseen: Floats
    only: Pairs | None = None

    @property
    def parts(self) -> int:
        return len(self.definition.metrics)

    @cached_property
    def pairs(self) -> list[Pairs]:
        """All pairs of groups in both directions, by the sets whose largest are joined: one, or one per metric."""
        if self.only is not None:
            return [ordered_pairs(self.only)]
        groups = len(self.baseline.value) // self.parts
        by_part = blocks(ordered_pairs(unordered_pairs(groups)), groups, self.parts)
        return by_part if self.definition.reduction == "half_sum" else [np.concatenate(by_part)]

    @cached_property
    def covariance(self) -> Floats:
        """(2M, 2M) covariance of baseline and candidate values."""
        covariance = everywhere(self.baseline, self.candidate).covariance.copy()
        late = np.arange(len(self.unseen), 2 * len(self.unseen))
        covariance[late, late] += self.unseen
        return covariance

    @property
    def change(self) -> float:
        """The candidate's largest difference minus the baseline's, on the scale of differences."""
        (pairs,) = self.pairs
        start, end = (
            float((part.value[pairs[:, 0]] - part.value[pairs[:, 1]]).max()) for part in (self.baseline, self.candidate)
        )
        return end - start

    @property
    def standard_error(self) -> float:
        """Of the signed change of the widest pair: the baseline's or the candidate's, whichever is larger."""
        widest = []
        for estimates in (self.baseline, self.candidate):
            pairs = []
            for part in self.pairs:
                apart = estimates.value[part[:, 0]] - estimates.value[part[:, 1]]
                pairs.append(part[[apart.argmax()]])
            widest.append(float(self._changes(pairs, pairs)[1].max()))
        return max(widest)

    def noise_change(self, normals: Floats) -> float:
        """How much wider the candidate's groups would lie apart than the baseline's for its larger errors alone.

        On the scale of differences: the expected spread of the estimates around one configuration of true values, with
        the candidate's errors less with the baseline's. That configuration is the shrunken mean of both pipelines; of
        groups clearly apart the errors change the expected spread hardly.
        """
        count, size = len(self.baseline.value), len(self.baseline.value) // self.parts
        mean = np.tile(np.eye(count) / 2, 2)
        values, covariance = (self.baseline.value + self.candidate.value) / 2, mean @ self.covariance @ mean.T
        metrics = [slice(start, start + size) for start in range(0, count, size)]
        middle = np.concatenate([shrunken_values(values[at], covariance[at, at]) for at in metrics])[:, None]
        before, after = (
            self.definition.comparison.spread(
                middle + deviations(steady_covariance(each), normals), self.parts, self.definition.reduction
            ).mean()
            for each in (self.baseline, self.candidate)
        )
        return float(after - before)

    def interval(self, normals: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Limits of the change of the gap, from the pairs that may be the widest before and those that may be after.

        Matched: the smallest limit of one pair's own change, and the largest; see ``changes``. Crossed: the change is
        the candidate's widest pair minus the baseline's widest pair, so the limits of all such combinations hold it
        too. Matched limits are narrow where the same pair stays the widest, and say nothing where the baseline's gap is
        near 0 and its widest pair may as well be the reverse; crossed limits do. Where both are one contrast it has all
        of alpha, else each has half.
        """
        before, after = (self._may_be_largest(each, normals) for each in (self.baseline, self.candidate))
        alpha = 1.0 - confidence - 2 * SELECTION
        same = all(len(p) == len(q) == 1 and (p == q).all() for p, q in zip(before, after, strict=True))
        combined = not same and np.prod([len(p) * len(q) for p, q in zip(before, after, strict=True)]) <= _MOST_CROSSED
        critical = normal_critical(1.0 - alpha / 2 if combined else 1.0 - alpha)
        low = float(self._limits(before, before, critical)[0].min())
        high = float(self._limits(after, after, critical)[1].max())
        if combined:
            crossed = [_crossed(p, q) for p, q in zip(before, after, strict=True)]
            lows, highs = self._limits([p for p, _ in crossed], [q for _, q in crossed], critical)
            low, high = max(low, float(lows.min())), min(high, float(highs.max()))
        return low, high

    def _limits(self, before: list[Pairs], after: list[Pairs], critical: float) -> tuple[Floats, Floats]:
        value, error, degrees = self._changes(before, after)
        reach = error * t_quantiles(critical, degrees)
        return value - reach, value + reach

    def _may_be_largest(self, estimates: Estimates, normals: Floats) -> list[Pairs]:
        """Which ordered pairs may be the widest of their set in one pipeline, all sets at once."""
        covariance = steady_covariance(estimates)
        critical = critical_of(covariance, deviations(covariance, normals))
        stage = critical(np.concatenate(self.pairs), 1.0 - SELECTION)
        return [pairs[possibly_largest(*pair_limits(estimates, pairs, stage))] for pairs in self.pairs]

    def _changes(self, before: list[Pairs], after: list[Pairs]) -> tuple[Floats, Floats, Floats]:
        """Change, standard error and degrees of freedom of each contrast, or of each sum of one from either set.

        A contrast is a pair's difference in the candidate minus the difference in the baseline of the pair at the same
        place of ``before``.
        """
        measured = [self._pair_changes(p, q) for p, q in zip(before, after, strict=True)]
        value, weights, degrees = measured[0]
        square = variances(weights, self.covariance)
        if len(measured) > 1:
            others, other_weights, other_degrees = measured[1]
            cross = weights @ self.covariance @ other_weights.T
            square = np.add.outer(square, variances(other_weights, self.covariance)) / 4 + cross / 2
            value = np.add.outer(value, others) / 2
            degrees = np.minimum.outer(degrees, other_degrees)
        return value.ravel(), np.sqrt(np.maximum(square, 0.0)).ravel(), degrees.ravel()

    def _pair_changes(self, before: Pairs, after: Pairs) -> tuple[Floats, Floats, Floats]:
        """(P,) changes, (P, 2M) weights of their first-order errors, (P,) degrees of freedom."""
        count, rows = len(self.baseline.value), np.arange(len(before))
        comparison = self.definition.comparison
        degrees = np.minimum(self.baseline.degrees, self.candidate.degrees).astype(np.float64)
        weights = np.zeros((len(before), 2 * count))
        change, fewest = np.zeros(len(before)), np.full(len(before), np.inf)
        for estimates, pairs, start, sign in ((self.baseline, before, 0, -1.0), (self.candidate, after, count, 1.0)):
            a, b = pairs[:, 0], pairs[:, 1]
            apart = estimates.value[a] - estimates.value[b]
            weights[rows, start + a] = sign * comparison.outcome_slope(apart)
            weights[rows, start + b] = -sign * comparison.outcome_slope(apart)
            change += sign * comparison.outcome(apart)
            fewest = np.minimum(fewest, np.minimum(degrees[a], degrees[b]))
        return change, weights, fewest


def _crossed(before: Pairs, after: Pairs) -> tuple[Pairs, Pairs]:
    """Every combination of a pair from either, row by row."""
    return np.repeat(before, len(after), axis=0), np.tile(after, (len(before), 1))
