"""True and false positive rates by group, at a threshold that was chosen elsewhere and comes with each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Codes


@dataclass(frozen=True)
class ConfusionCounts:
    """Counts by group, each (G,) int64."""

    positives: Codes
    negatives: Codes
    true_positives: Codes
    false_positives: Codes


def confusion_by_group(
    y_true: NDArray[np.int8], y_score: NDArray[np.float64], threshold: NDArray[np.float64], slots: Codes, count: int
) -> ConfusionCounts:
    """Counts of each group; score >= threshold is a positive call. ``slots`` is (N,) group numbers in 0..count-1."""
    called = y_score >= threshold
    cell = 4 * slots + 2 * y_true.astype(np.int64) + called
    table = np.bincount(cell, minlength=4 * count).reshape(count, 2, 2)
    return ConfusionCounts(
        positives=table[:, 1].sum(axis=1),
        negatives=table[:, 0].sum(axis=1),
        true_positives=table[:, 1, 1],
        false_positives=table[:, 0, 1],
    )


def true_positive_rate(counts: ConfusionCounts) -> NDArray[np.float64]:
    """(G,) TP / P; NaN, never 0 or 1, where a group has no positives."""
    return _share(counts.true_positives, counts.positives)


def false_positive_rate(counts: ConfusionCounts) -> NDArray[np.float64]:
    """(G,) FP / N; NaN where a group has no negatives."""
    return _share(counts.false_positives, counts.negatives)


def balanced_accuracy(counts: ConfusionCounts) -> NDArray[np.float64]:
    """(G,) (TPR + 1 - FPR) / 2; NaN where a class is absent."""
    return (true_positive_rate(counts) + 1.0 - false_positive_rate(counts)) / 2.0


def _share(part: Codes, whole: Codes) -> NDArray[np.float64]:
    share = np.full(len(whole), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
