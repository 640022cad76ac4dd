"""Area under the ROC curve by group, exact in the presence of ties.

AUROC is the probability that a positive record scores above a negative one, a tie counting one half (the Mann-Whitney
statistic; Hanley and McNeil 1982). Twice the statistic is an integer, so nothing is rounded before the last division.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Codes


def auroc(y_true: NDArray[np.int8], y_score: NDArray[np.float64]) -> float:
    """AUROC of (N,) labels in {0, 1} and scores; NaN when a class is absent."""
    slots = np.zeros(len(y_true), dtype=np.int64)
    return float(auroc_by_group(y_true, y_score, slots, 1, np.argsort(y_score, kind="stable"))[0])


def auroc_by_group(
    y_true: NDArray[np.int8], y_score: NDArray[np.float64], slots: Codes, count: int, order: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(count,) AUROC of each group; NaN where a class is absent.

    ``slots`` is (N,) group numbers in 0..count-1; ``order`` sorts ``y_score``, and is an argument because one sort
    serves every attribute.
    """
    by_group_and_score = order[np.argsort(slots[order], kind="stable")]
    group, score = slots[by_group_and_score], y_score[by_group_and_score]
    positive = y_true[by_group_and_score].astype(np.int64)

    positives = np.bincount(slots, weights=y_true, minlength=count).astype(np.int64)
    negatives = np.bincount(slots, minlength=count) - positives
    if not len(group):
        return np.full(count, np.nan)

    # A run is a stretch of equal scores within one group; its pairs with itself are ties.
    starts = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (score[1:] != score[:-1])])
    run_group = group[starts]
    run_positives = np.add.reduceat(positive, starts)
    run_negatives = np.diff(np.r_[starts, len(group)]) - run_positives
    negatives_before = np.cumsum(run_negatives) - run_negatives - (np.cumsum(negatives) - negatives)[run_group]

    twice_wins = np.zeros(count, dtype=np.int64)
    np.add.at(twice_wins, run_group, run_positives * (2 * negatives_before + run_negatives))
    pairs = positives * negatives
    area = np.full(count, np.nan)
    np.divide(twice_wins, 2 * pairs, out=area, where=pairs > 0)
    return area
