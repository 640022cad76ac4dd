"""Area under the ROC curve by group, exact in the presence of ties, with the influence of every patient.

AUROC is the probability that a positive record scores above a negative one, a tie counting one half (the Mann-Whitney
statistic; Hanley and McNeil 1982). Every positive record has a *placement*, the share of the group's negatives below
it, and every negative the share of the positives above it; AUROC is the mean of either, and the deviations from it,
added up over a patient's records, are that patient's influence (DeLong, DeLong and Clarke-Pearson 1988; for repeated
images of a patient Obuchowski 1997). Placements are counted in halves, as integers, so that nothing is rounded before
the last division.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.estimates import Estimates, by_patient
from services.maths.fairness.groups import Codes
from services.maths.fairness.sums import PatientSums


@dataclass(frozen=True)
class RankedRecords:
    """Records in ascending order of their scores; made once per label, it serves every attribute.

    Attributes:
        unit: (N,) int64, unit of each record (a place in a ``PatientSums``).
        positive: (N,) bool.
        run_ends: (R,) int64; records between one end and the next have the same score.
    """

    unit: Codes
    positive: NDArray[np.bool_]
    run_ends: Codes


@dataclass(frozen=True)
class Placements:
    """Twice the placements, as counts, added up by unit: (U,) int64 each.

    ``positives`` and ``negatives`` count the unit's records; ``wins`` counts, for its positives, twice the negatives
    of the same group that score lower plus the ties; ``losses``, for its negatives, twice the positives of the same
    group that score lower plus the ties.
    """

    positives: Codes
    negatives: Codes
    wins: Codes
    losses: Codes


def auroc(y_true: NDArray[np.int8], y_score: NDArray[np.float64]) -> float:
    """AUROC of (N,) labels in {0, 1} and scores; NaN when a class is absent."""
    ranked = ranked_records(np.asarray(y_true), np.asarray(y_score), np.zeros(len(y_true), dtype=np.int64))
    placed = placements(ranked, np.zeros(1, dtype=np.int64), 1)
    pairs = int(placed.positives[0]) * int(placed.negatives[0])
    return int(placed.wins[0]) / (2 * pairs) if pairs else float("nan")


def ranked_records(y_true: NDArray[np.int8], y_score: NDArray[np.float64], unit: Codes) -> RankedRecords:
    """Sort (N,) labels in {0, 1}, scores and units by score."""
    order = np.argsort(y_score)
    score = y_score[order]
    run_ends = np.flatnonzero(np.r_[score[1:] != score[:-1], np.ones(min(1, len(score)), dtype=bool)]) + 1
    return RankedRecords(unit[order], y_true[order] == 1, run_ends.astype(np.int64))


def placements(ranked: RankedRecords, slots: Codes, count: int) -> Placements:
    """Placements of each unit's records within its own group. ``slots`` is (U,) group numbers in 0..count-1."""
    return Placements(*_placed(ranked.unit, ranked.positive, ranked.run_ends, slots, count))


def auroc_estimates(
    ranked: RankedRecords, units: PatientSums, slots: Codes, count: int, placed: Placements | None = None
) -> Estimates:
    """(count,) AUROC of each group with the influence of each patient; NaN where a class is absent.

    ``units`` says which patient each unit is (its sums are not read), ``slots`` is (U,) group numbers of the units in
    0..count-1. Influence of patient k, over its positives i and negatives j among the group's m and n:
    sum_i (V_i - A) / m + sum_j (V_j - A) / n with V the placements. Deciding patients are the fewer of those with
    positives and those with negatives. A patient's share gives half of the weight to either class.
    """
    placed = placements(ranked, slots, count) if placed is None else placed
    positives = np.bincount(slots, weights=placed.positives, minlength=count)
    negatives = np.bincount(slots, weights=placed.negatives, minlength=count)
    twice_pairs = 2.0 * positives * negatives
    value = np.full(count, np.nan)
    wins = np.bincount(slots, weights=placed.wins, minlength=count)
    np.divide(wins, twice_pairs, out=value, where=twice_pairs > 0)

    used = (placed.positives + placed.negatives > 0) & (twice_pairs[slots] > 0)
    group, mine_positive, mine_negative = slots[used], placed.positives[used], placed.negatives[used]
    m, n, area = positives[group], negatives[group], value[group]
    influence = (placed.wins[used] / (2 * n) - area * mine_positive) / m
    influence += (mine_negative * (1.0 - area) - placed.losses[used] / (2 * m)) / n
    place, shape = (units.patient[used], group), (len(units.patient_ids), count)
    return Estimates(
        value,
        by_patient(influence, place, shape),
        by_patient(mine_positive / (2 * m) + mine_negative / (2 * n), place, shape),
        np.minimum(
            deciding_patients(placed.positives, units.patient, slots, count),
            deciding_patients(placed.negatives, units.patient, slots, count),
        ),
        units.patient_ids,
        "logit",
    )


def deciding_patients(records: NDArray[np.number], patient: Codes, slots: Codes, count: int) -> Codes:
    """(count,) int64 patients with at least one of the (U,) ``records`` in each group; ``patient`` is ascending."""
    has = records > 0
    key = patient[has] * count + slots[has]
    if len(key) > 1 and not (key[1:] > key[:-1]).all():
        key = np.unique(key)
    return np.bincount(key % count, minlength=count).astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _placed(
    unit: Codes, positive: NDArray[np.bool_], run_ends: Codes, slots: Codes, count: int
) -> tuple[Codes, Codes, Codes, Codes]:
    """Each run of equal scores is walked twice: what was below before the run plus after it counts a tie as one."""
    units = len(slots)
    positives, negatives = np.zeros(units, np.int64), np.zeros(units, np.int64)
    wins, losses = np.zeros(units, np.int64), np.zeros(units, np.int64)
    positives_below, negatives_below = np.zeros(count, np.int64), np.zeros(count, np.int64)
    start = 0
    for end in run_ends:
        for row in range(start, end):
            u = unit[row]
            if positive[row]:
                wins[u] += negatives_below[slots[u]]
            else:
                losses[u] += positives_below[slots[u]]
        for row in range(start, end):
            u = unit[row]
            if positive[row]:
                positives[u] += 1
                positives_below[slots[u]] += 1
            else:
                negatives[u] += 1
                negatives_below[slots[u]] += 1
        for row in range(start, end):
            u = unit[row]
            if positive[row]:
                wins[u] += negatives_below[slots[u]]
            else:
                losses[u] += positives_below[slots[u]]
        start = end
    return positives, negatives, wins, losses
