"""AUROC, TPR, FPR and balanced accuracy of one label in one pipeline, by every attribute at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from services.maths.fairness.auroc import auroc_by_group
from services.maths.fairness.cells import Cell, Minimums, cell_state, reported
from services.maths.fairness.disaggregation import Disaggregation
from services.maths.fairness.groups import Codes, Grouping, everyone, patients_per_group
from services.maths.fairness.rates import (
    ConfusionCounts,
    balanced_accuracy,
    confusion_by_group,
    false_positive_rate,
    true_positive_rate,
)

METRICS = ("auroc", "tpr", "fpr", "balanced_accuracy")
UNLABELLED = -1


@dataclass(frozen=True)
class _Labelled:
    """The records that have a label, (N,) each; ``order`` sorts the scores."""

    truth: NDArray[np.int8]
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    patients: Codes
    order: NDArray[np.intp]


def disaggregate_classification(
    y_true: NDArray[np.int8],
    y_score: NDArray[np.float64],
    threshold: NDArray[np.float64],
    *,
    sensitive_features: Sequence[Grouping],
    cluster: NDArray[np.generic],
    minimums: Minimums,
) -> dict[tuple[str, str], Disaggregation]:
    """Disaggregations by (metric, attribute); attribute "" holds everyone.

    ``y_true`` is (N,) in {0, 1}, -1 where the label is missing: such records are counted as excluded and used for
    nothing. ``y_score`` and ``threshold`` are (N,); a NaN threshold leaves the rates undefined. ``cluster`` is (N,)
    patient ids.
    """
    if not ((y_true >= UNLABELLED) & (y_true <= 1)).all():
        raise ValueError("y_true must hold 0, 1 or -1 for missing")
    if np.isnan(y_score).any():
        raise ValueError("y_score must not hold NaN; leave the row out")
    patients = pd.factorize(cluster)[0].astype(np.int64)
    has_label = y_true != UNLABELLED
    score = y_score[has_label]
    order = np.argsort(score, kind="stable")
    labelled = _Labelled(y_true[has_label], score, threshold[has_label], patients[has_label], order)

    overall: dict[str, Cell] = {}
    results: dict[tuple[str, str], Disaggregation] = {}
    for grouping in (everyone(len(y_true)), *sensitive_features):
        slots, names = grouping.slots, grouping.slot_names
        excluded = np.bincount(slots[~has_label], minlength=len(names))
        for metric, row in _cells(labelled, slots[has_label], names, excluded, minimums).items():
            cells = reported(row)
            overall.setdefault(metric, cells[0])
            results[metric, grouping.attribute] = Disaggregation(metric, cells, overall[metric], grouping, patients)
    return results


def _cells(
    labelled: _Labelled, slots: Codes, names: tuple[str, ...], excluded: Codes, minimums: Minimums
) -> dict[str, list[Cell]]:
    counts = confusion_by_group(labelled.truth, labelled.score, labelled.threshold, slots, len(names))
    patients = patients_per_group(slots, len(names), labelled.patients)
    cells: dict[str, list[Cell]] = {metric: [] for metric in METRICS}
    for metric, estimates in _estimates(labelled, slots, counts).items():
        for g, (name, value) in enumerate(zip(names, estimates.tolist(), strict=True)):
            positives, negatives = int(counts.positives[g]), int(counts.negatives[g])
            cases = {"tpr": (positives,), "fpr": (negatives,)}.get(metric, (positives, negatives))
            state = cell_state(value, int(patients[g]), cases, minimums)
            cells[metric].append(
                Cell(
                    group=name,
                    records=positives + negatives,
                    patients=int(patients[g]),
                    positives=positives,
                    excluded_records=int(excluded[g]),
                    state=state,
                    estimate=None if state == "undefined" else value,
                )
            )
    return cells


def _estimates(labelled: _Labelled, slots: Codes, counts: ConfusionCounts) -> dict[str, NDArray[np.float64]]:
    count = len(counts.positives)
    no_threshold = np.bincount(slots[np.isnan(labelled.threshold)], minlength=count) > 0
    rates = {
        "tpr": true_positive_rate(counts),
        "fpr": false_positive_rate(counts),
        "balanced_accuracy": balanced_accuracy(counts),
    }
    return {
        "auroc": auroc_by_group(labelled.truth, labelled.score, slots, count, labelled.order),
        **{metric: np.where(no_threshold, np.nan, rate) for metric, rate in rates.items()},
    }
