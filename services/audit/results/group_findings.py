"""The tests of an audit's cells and gaps, all labels and pipelines together, and what they make of each row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from services.audit.results.attributes import GroupSpec
from services.audit.results.formats import first_rows
from services.audit.results.measurements import Patients, Reading
from services.audit.results.rows import Row
from services.maths.fairness.groups import MISSING, Grouping
from services.maths.fairness.sums import PatientSums
from services.maths.fairness.testing.families import Family, GroupTests, group_tests
from services.maths.fairness.testing.power import minimum_detectable_gap
from services.maths.fairness.testing.vectors import PatientVectors, attribute_vectors
from services.maths.fairness.testing.verdicts import tolerance, verdict

# (pipeline, task, label, "" or the name of an image metric)
Key = tuple[str, str, str, str]

SCORE_TESTED = ("auroc", "tpr", "fpr", "prevalence")
MEAN_TESTED = ("dice", "psnr", "ssim_gaussian11", "lpips_alex", "lpips_vgg", "perceptual")
TESTED = (*SCORE_TESTED, *MEAN_TESTED)
# Tests of these gaps are those of another definition on the same groups; a spread has none of its own.
_UNTESTED_GAPS = ("between_group_sd", "difference_to_reference", "ratio_to_reference")
# Ratios and percentages, whose limits do not compare with the tolerance of their metric.
_IN_OTHER_UNITS = ("ser", "percent_max_min")


class GroupFindings:
    """Collects what is to be tested, label after label; tests it at the end, once all of it is known."""

    def __init__(self) -> None:
        self._measured: dict[Hashable, PatientSums] = {}
        self._testable: dict[tuple[Hashable, str, str], tuple[str, ...]] = {}
        self._aurocs: dict[tuple[Hashable, str, str, str], float] = {}

    def add(self, at: Mapping[str, str], reading: Reading) -> None:
        """Keep the per-patient sums of one label in one pipeline, and which of its groups are large enough to test."""
        for (metric, attribute), part in reading.by.items():
            if metric in TESTED and attribute and part.testable_groups:
                key = _key(at, metric)
                self._measured[key] = reading.sums
                self._testable[key, metric, attribute] = part.testable_groups
                if metric == "auroc":
                    for group in part.comparable_groups:
                        self._aurocs[key, metric, attribute, group] = float(part.by_group[group])

    def test(self, vectors: PatientVectors, *, permutations: int, seed: int) -> GroupTests:
        """Run every test. Deterministic in the seed, whatever the order in which labels were added."""
        return group_tests(
            self._measured,
            vectors=vectors,
            testable=self._testable,
            aurocs=self._aurocs,
            permutations=permutations,
            seed=seed,
        )


def patient_vectors(
    predictions: pd.DataFrame, quality: pd.DataFrame, specs: Sequence[GroupSpec], patients: Patients
) -> PatientVectors:
    """The attribute vector of every patient, from each record once, whichever table it is in."""
    firsts = {"predictions": first_rows(predictions), "quality": first_rows(quality)}
    seen = set(firsts["predictions"]["record_id"])
    firsts["quality"] = firsts["quality"][~firsts["quality"]["record_id"].isin(seen).to_numpy()]
    cluster = np.concatenate([patients.numbers(rows, table) for table, rows in firsts.items()])
    groupings = []
    for spec in specs:
        parts = [spec.group(rows).codes for rows in firsts.values()]
        groupings.append(Grouping(spec.name, spec.groups, np.concatenate(parts)))
    return attribute_vectors(cluster, groupings)


def judge_cells(cells: list[Row], tests: GroupTests) -> None:
    """Fill in test, power and verdict of each cell that is a group of a tested metric."""
    for row in cells:
        if row["metric"] not in TESTED or not row["attribute"] or row["group"] == MISSING:
            continue
        found = tests.cells.get((_key(row, row["metric"]), row["metric"], row["attribute"], row["group"]))
        if found is not None:
            row.update(family=found.family, p_value=found.p_value, p_adjusted=found.p_adjusted)
            row["minimum_detectable_gap"] = _detectable(found.standard_error, tests.families[found.family])
        limits = [row["difference_ci_low"], row["difference_ci_high"]]
        largest = None if None in limits else max(abs(limit) for limit in limits)
        row["verdict"] = verdict(
            row["p_adjusted"], row["minimum_detectable_gap"], tolerance(row["metric"]), largest=largest
        )


def judge_gaps(gaps: list[Row], tests: GroupTests, means: Mapping[tuple[str, ...], float]) -> None:
    """The same for gaps. ``means`` has the best group's mean of each percentage gap, to say its power in percent."""
    for row in gaps:
        metrics = row["metric"].split(",")
        if row["definition"] in _UNTESTED_GAPS or not {*metrics} <= {*TESTED}:
            continue
        found = tests.gaps.get((_key(row, row["metric"]), row["metric"], row["attribute"]))
        detectable = None
        if found is not None:
            row.update(family=found.family, p_value=found.p_value, p_adjusted=found.p_adjusted)
            if set(row["groups"]) <= set(found.groups):
                detectable = _detectable_gap(row, metrics, found.groups, tests)
        largest = None if row["definition"] in _IN_OTHER_UNITS else row["ci_high"]
        row["verdict"] = verdict(row["p_adjusted"], detectable, tolerance(row["metric"]), largest=largest)
        row["minimum_detectable_gap"] = _in_units_of(row, detectable, means)


def _detectable_gap(row: Row, metrics: Sequence[str], groups: Sequence[str], tests: GroupTests) -> float:
    """A gap that is sure to bring one of its groups past what its own test detects.

    Two groups a gap d apart are, together, d away from everyone: with d at least the sum of the two largest detectable
    differences, one of the two is past its own. For two groups that make up everyone this is exact.
    """
    sums = []
    for metric in metrics:
        cells = [tests.cells[_key(row, metric), metric, row["attribute"], group] for group in groups]
        sizes = sorted(_detectable(cell.standard_error, tests.families[cell.family]) for cell in cells)
        sums.append(sum(sizes[-2:]))
    return sum(sums) / 2 if row["definition"] == "eodd_half" else max(sums)


def _in_units_of(row: Row, detectable: float | None, means: Mapping[tuple[str, ...], float]) -> float | None:
    if detectable is None or row["definition"] == "ser":
        return None
    if row["definition"] == "percent_max_min":
        best = means.get(place(row))
        return None if not best else 100 * detectable / best
    return detectable


def place(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a gap stands: pipeline, task, label, metric, attribute."""
    return tuple(row[name] for name in ("pipeline", "task", "label", "metric", "attribute"))


def _detectable(standard_error: float, family: Family) -> float:
    return float(minimum_detectable_gap(standard_error, 0.0 if family.critical is None else family.critical))


def _key(at: Mapping[str, Any], metric: str) -> Key:
    """Image metrics have sums of their own; all metrics of one label share theirs."""
    return at["pipeline"], at["task"], at["label"], metric if metric in MEAN_TESTED else ""
