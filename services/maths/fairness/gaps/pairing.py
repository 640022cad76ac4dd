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

Kept = NDArray[np.bool_]


def aligned(baseline: Estimates, candidate: Estimates) -> tuple[Estimates, Estimates]:
    """Both on the union of their patients: a patient whom one pipeline could not read contributes nothing there."""
    if np.array_equal(baseline.patient_ids, candidate.patient_ids):
        return baseline, candidate
    union = np.union1d(baseline.patient_ids, candidate.patient_ids)
    return _spread_out(baseline, union), _spread_out(candidate, union)


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


def paired(definition: Definition, baseline: Estimates, candidate: Estimates) -> Paired | None:
    """Both pipelines' values, metrics side by side, on the definition's scale; None where it refuses one of them."""
    if not all(definition.comparison.defined(each) for each in (baseline, candidate)):
        return None
    baseline, candidate = aligned(baseline, candidate)
    on_scale = definition.comparison.on_scale
    return Paired(definition, on_scale(baseline), on_scale(candidate), unseen_variance(baseline, candidate))


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

    ``unseen`` (M,) is added to the variance of each value's change.
    """

    definition: Definition
    baseline: Estimates
    candidate: Estimates
    unseen: Floats

    @property
    def parts(self) -> int:
        return len(self.definition.metrics)

    @cached_property
    def pairs(self) -> list[Pairs]:
        """All pairs of groups in both directions, by the sets whose largest are joined: one, or one per metric."""
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
    def standard_error(self) -> float:
        """Of the signed change of the widest pair: the baseline's or the candidate's, whichever is larger."""
        widest = []
        for estimates in (self.baseline, self.candidate):
            kept = []
            for pairs in self.pairs:
                apart = estimates.value[pairs[:, 0]] - estimates.value[pairs[:, 1]]
                kept.append(np.arange(len(pairs)) == apart.argmax())
            widest.append(float(self._changes(kept)[1].max()))
        return max(widest)

    def interval(self, normals: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Limits of the change of the gap."""
        critical = normal_critical(confidence + 2 * SELECTION)
        value, error, degrees = self._changes(self._may_be_largest(self.baseline, normals))
        low = value - error * t_quantiles(critical, degrees)
        value, error, degrees = self._changes(self._may_be_largest(self.candidate, normals))
        high = value + error * t_quantiles(critical, degrees)
        return float(low.min()), float(high.max())

    def _may_be_largest(self, estimates: Estimates, normals: Floats) -> list[Kept]:
        """Which ordered pairs may be the widest of their set in one pipeline, all sets at once."""
        covariance = steady_covariance(estimates)
        critical = critical_of(covariance, deviations(covariance, normals))
        stage = critical(np.concatenate(self.pairs), 1.0 - SELECTION)
        return [possibly_largest(*pair_limits(estimates, pairs, stage)) for pairs in self.pairs]

    def _changes(self, kept: list[Kept]) -> tuple[Floats, Floats, Floats]:
        """Change, standard error and degrees of freedom of each pair kept, or of each sum of one from either set."""
        measured = [self._pair_changes(pairs[chosen]) for pairs, chosen in zip(self.pairs, kept, strict=True)]
        value, weights, degrees = measured[0]
        square = variances(weights, self.covariance)
        if len(measured) > 1:
            others, other_weights, other_degrees = measured[1]
            cross = weights @ self.covariance @ other_weights.T
            square = np.add.outer(square, variances(other_weights, self.covariance)) / 4 + cross / 2
            value = np.add.outer(value, others) / 2
            degrees = np.minimum.outer(degrees, other_degrees)
        return value.ravel(), np.sqrt(np.maximum(square, 0.0)).ravel(), degrees.ravel()

    def _pair_changes(self, pairs: Pairs) -> tuple[Floats, Floats, Floats]:
        """(P,) changes of the pairs' own gaps, (P, 2M) weights of their first-order errors, (P,) degrees of freedom."""
        count, rows = len(self.baseline.value), np.arange(len(pairs))
        a, b = pairs[:, 0], pairs[:, 1]
        comparison = self.definition.comparison
        before = self.baseline.value[a] - self.baseline.value[b]
        after = self.candidate.value[a] - self.candidate.value[b]
        weights = np.zeros((len(pairs), 2 * count))
        for start, apart, sign in ((0, before, -1.0), (count, after, 1.0)):
            weights[rows, start + a] = sign * comparison.outcome_slope(apart)
            weights[rows, start + b] = -sign * comparison.outcome_slope(apart)
        degrees = np.minimum(self.baseline.degrees, self.candidate.degrees)
        change = comparison.outcome(after) - comparison.outcome(before)
        return change, weights, np.minimum(degrees[a], degrees[b]).astype(np.float64)
