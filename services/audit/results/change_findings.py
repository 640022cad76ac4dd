"""What candidates do to metrics and gaps: paired changes, tests over all labels together, and the published form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from services.audit.results.measurements import ByMetric, Measurement, Patients, Reading, Scores
from services.audit.results.rows import Row, change_row
from services.audit.results.settings import Settings
from services.maths.fairness.bootstrap import (
    Replicates,
    Resamples,
    bootstrap_classification,
    gap_replicates,
    membership,
    resample_patients,
)
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.gaps.changes import OVERALL, Change, changes_of, overall_changes
from services.maths.fairness.gaps.definitions import DESCRIPTIVE, shared_groups
from services.maths.fairness.gaps.swaps import Swaps
from services.maths.fairness.gaps.xauc import xauc_change
from services.maths.fairness.groups import OVERALL as EVERYONE
from services.maths.fairness.groups import everyone
from services.maths.fairness.sums import Floats
from services.maths.fairness.testing.families import FALSE_DISCOVERY, STEP_DOWN
from services.maths.fairness.testing.multiplicity import PooledNull, benjamini_hochberg, westfall_young
from services.maths.fairness.testing.power import minimum_detectable_gap
from services.maths.fairness.testing.verdicts import ALPHA, change_verdict, tolerance

PRIMARY, EXPLORATORY = "changes", "changes_exploratory"

_RESAMPLED_METRICS = ("auroc", "tpr", "fpr", "balanced_accuracy")
_RESAMPLED_GAPS = ("max_min", "eop", "eodd_half", "eodd_worst")
# Differences whose changes are averaged over labels in the published style (``published``).
PUBLISHED_DIFFERENCES = ("eodd_half", "eop", "delta_dice")
# Ratios and percentages are in other units than the tolerance of their metric.
_WITHOUT_TOLERANCE = ("ser", "percent_max_min")


@dataclass
class _Tested:
    """A change that has a p value: its row, and what its family needs."""

    row: Row
    statistic: float
    permuted: NDArray[np.float32] | None


class ChangeFindings:
    """Collects changes label after label; adjusts them at the end, once all of them are known."""

    def __init__(self, chosen: Settings, patients: Patients, normals: Floats) -> None:
        self._settings = chosen
        self._patients = patients
        self._normals = normals
        self._tested: dict[str, list[_Tested]] = {PRIMARY: [], EXPLORATORY: []}
        self._pooled = PooledNull()
        self._by_chance: dict[tuple[str, str, str], list[Floats]] = {}
        self.rows: list[Row] = []

    @cached_property
    def _swaps(self) -> Swaps:
        numbers = np.arange(self._patients.count)
        return Swaps(self._settings.stream("pipeline swaps"), numbers, self._settings.permutations)

    @cached_property
    def _resamples(self) -> Resamples:
        return resample_patients(
            self._patients.count, replicates=self._settings.replicates, seed=self._settings.stream("patient bootstrap")
        )

    def add(self, measurement: Measurement) -> None:
        """Every change of one label; nothing where the baseline has no such rows."""
        baseline = self._settings.baseline
        before = measurement.readings.get(baseline)
        if before is None or len(measurement.readings) < 2:
            return
        resampled = self._replicates(before.scores)
        for pipeline, after in measurement.readings.items():
            if pipeline == baseline:
                continue
            pair = {"baseline": baseline, "candidate": pipeline, "task": measurement.task, "label": measurement.label}
            published = _Published(resampled, self._replicates(after.scores))
            for change, groups in self._changes(before, after):
                row = change_row(pair, change)
                row.update(published.of(change, groups))
                self.rows.append(row)
                self._note(row, change)

    def judge(self) -> list[Row]:
        """Adjusted p values and verdicts into the rows; one row per family that has tests."""
        families = []
        for name, tested in self._tested.items():
            if not tested:
                continue
            p = np.array([entry.row["p_value"] for entry in tested])
            if name == PRIMARY:
                permuted = np.stack([_permuted(entry) for entry in tested], axis=1)
                adjusted = westfall_young(_short_of_ties(tested), permuted)
                critical = float(np.quantile(permuted.max(axis=1), 1 - ALPHA))
            else:
                sharpened = self._pooled.sharpened(p, _statistics(tested), self._settings.permutations)
                adjusted = np.maximum(benjamini_hochberg(sharpened), p)
                found = int((adjusted <= ALPHA).sum())
                critical = float(stats.norm.isf(min(ALPHA * (found + 1) / len(p), ALPHA) / 2))
            for entry, value in zip(tested, adjusted.tolist(), strict=True):
                _judge(entry.row, name, value, critical)
            families.append(
                {
                    "name": name,
                    "procedure": STEP_DOWN if name == PRIMARY else FALSE_DISCOVERY,
                    "tests": len(tested),
                    "alpha": ALPHA,
                    "permutations": self._settings.permutations,
                    "findings": int((adjusted <= ALPHA).sum()),
                }
            )
        return families

    def average_by_chance(self, candidate: str, attribute: str, definition: str) -> tuple[float, float] | None:
        """Mean over labels of |change| if the pipelines were interchangeable: its mean over swaps, and its 95 % limit.

        Of single attributes and gaps that are differences; None where nothing was swapped.
        """
        sizes = self._by_chance.get((candidate, attribute, definition))
        if not sizes:
            return None
        averages = np.mean(sizes, axis=0)
        return float(averages.mean()), float(np.quantile(averages, 1 - ALPHA))

    def _changes(self, before: Reading, after: Reading) -> Iterator[tuple[Change, tuple[str, ...]]]:
        """Changes with the groups that took part, of everyone and then attribute by attribute."""
        everyones = [_of_attribute(reading.by, "") for reading in (before, after)]
        for change in overall_changes(everyones[0], everyones[1], self._swaps):
            yield change, ()
        for spec in self._settings.specs:
            old, new = (_of_attribute(reading.by, spec.name) for reading in (before, after))
            for change in changes_of(old, new, self._normals, self._swaps):
                yield change, shared_groups(*(old[metric] for metric in change.metric.split(",")))
            areas = [reading.between.get(spec.name) for reading in (before, after)]
            if areas[0] is not None and areas[1] is not None:
                yield xauc_change((areas[0], old["auroc"]), (areas[1], new["auroc"]), self._normals), ()

    def _note(self, row: Row, change: Change) -> None:
        row["verdict"] = None if change.metric in DESCRIPTIVE else change_verdict(None, None, None)
        if change.p_value is None:
            return
        family = EXPLORATORY if "," in change.attribute else PRIMARY
        permuted = change.permuted if family == PRIMARY else None
        if permuted is not None and change.definition in PUBLISHED_DIFFERENCES:
            place = (row["candidate"], change.attribute, change.definition)
            self._by_chance.setdefault(place, []).append(np.abs(permuted.astype(np.float64) * (change.swap_sd or 0.0)))
        if family == EXPLORATORY and change.permuted is not None:
            self._pooled.add(change.permuted.astype(np.float64))
        self._tested[family].append(_Tested(row, float(change.statistic or 0.0), permuted))

    def _replicates(self, scores: Scores | None) -> Replicates | None:
        """Patient bootstrap of one label in one pipeline; the weights are shared by all of them."""
        if scores is None or not self._settings.replicates:
            return None
        return bootstrap_classification(
            scores.y_true,
            scores.y_score,
            scores.threshold,
            patient=scores.patient,
            member=membership([everyone(len(scores.y_true)), *scores.groupings]),
            resamples=self._resamples,
        )


@dataclass(frozen=True)
class _Published:
    """Mean and standard deviation of a change over patient resamples, as studies of reconstruction bias print them."""

    baseline: Replicates | None
    candidate: Replicates | None

    def of(self, change: Change, groups: tuple[str, ...]) -> Row:
        """The two columns of a change's row; none where the change is of nothing that was resampled."""
        metrics = change.metric.split(",")
        known = change.definition in (*_RESAMPLED_GAPS, OVERALL) and {*metrics} <= {*_RESAMPLED_METRICS}
        if self.baseline is None or self.candidate is None or not known or change.estimate is None:
            return {}
        one, other = (_values(part, change, metrics, groups) for part in (self.baseline, self.candidate))
        difference = other - one
        difference = difference[np.isfinite(difference)]
        if len(difference) < 2:
            return {}
        return {"bootstrap_mean": float(difference.mean()), "bootstrap_se": float(difference.std(ddof=1))}


def _values(replicates: Replicates, change: Change, metrics: Sequence[str], groups: tuple[str, ...]) -> Floats:
    if change.definition == OVERALL:
        (column,) = replicates.columns("", [EVERYONE])
        return replicates.metric(metrics[0])[:, column]
    return gap_replicates(replicates, change.definition, metrics, replicates.columns(change.attribute, groups))


def _judge(row: Row, family: str, adjusted: float, critical: float) -> None:
    size = None if row["definition"] in _WITHOUT_TOLERANCE else tolerance(row["metric"])
    error = row["standard_error"]
    detectable = None if error is None else float(minimum_detectable_gap(error, critical))
    limits = [row["ci_low"], row["ci_high"]]
    largest = None if None in limits else max(abs(limit) for limit in limits)
    said = change_verdict(adjusted, detectable, size, largest=largest)
    row.update(family=family, p_adjusted=adjusted, verdict=said)


def _short_of_ties(tested: Sequence[_Tested]) -> Floats:
    """Observed statistics, less what single precision may take off a permuted one that is equal.

    Ties are the rule here, not the exception: with two groups whose order the pipelines reverse, every swap beyond a
    certain size gives exactly the observed change.
    """
    return np.abs(_statistics(tested)) * (1.0 - 1e-6)


def _statistics(tested: Sequence[_Tested]) -> Floats:
    return np.array([entry.statistic for entry in tested])


def _permuted(entry: _Tested) -> Floats:
    assert entry.permuted is not None
    return np.abs(entry.permuted.astype(np.float64))


def _of_attribute(by: ByMetric, attribute: str) -> dict[str, Disaggregation]:
    return {metric: part for (metric, name), part in by.items() if name == attribute}
