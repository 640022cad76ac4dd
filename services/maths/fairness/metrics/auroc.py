"""Area under the ROC curve by group, exact in the presence of ties, with the influence of every patient.

AUROC is the probability that a positive record scores above a negative one, a tie counting one half (the Mann-Whitney
statistic; Hanley and McNeil 1982). Every positive record has a *placement*, the share of the group's negatives below
it, and every negative the share of the positives above it; AUROC is the mean of either, and the deviations from it,
added up over a patient's records, are that patient's influence (DeLong, DeLong and Clarke-Pearson 1988; for repeated
images of a patient Obuchowski 1997). Placements are counted in halves, as integers, so that nothing is rounded before
the last division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.arguments import numbers
from services.maths.fairness.estimates import Estimates, by_patient, drop_rounding
from services.maths.fairness.groups import Codes, Grouping
from services.maths.fairness.metrics.ranking import ascending
from services.maths.fairness.sums import Floats, PatientSums, Units


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
    """Pairs of a positive and a negative of the same group, counted in halves, for each of A attributes.

    A record's *wins* are twice the records of the other class below it plus those that tie with it. All int64.

    Attributes:
        positives, negatives: (U,) records of the unit.
        net: (U, A) wins of the unit's positives minus wins of its negatives.
        wins: (U,) wins of the unit's positives by the first attribute.
        starts: (A + 1,) where each attribute's groups begin in the following.
        group_positives, group_negatives, group_wins: (G,) records of each group and wins of its positives.
    """

    positives: Codes
    negatives: Codes
    net: Codes
    wins: Codes
    starts: Codes
    group_positives: Codes
    group_negatives: Codes
    group_wins: Codes


def auroc(y_true: NDArray[np.int8], y_score: NDArray[np.float64]) -> float:
    """AUROC of (N,) labels in {0, 1} and scores; NaN when a class is absent. Raises ValueError for anything else."""
    everyone = np.zeros(len(y_true), dtype=np.int64)
    ranked = ranked_records(y_true, y_score, everyone)
    placed = placements(ranked, [np.zeros(1, dtype=np.int64)], [1])
    pairs = int(placed.group_positives[0]) * int(placed.group_negatives[0])
    return int(placed.group_wins[0]) / (2 * pairs) if pairs else float("nan")


def ranked_records(y_true: NDArray[np.int8], y_score: NDArray[np.float64], unit: Codes) -> RankedRecords:
    """Sort (N,) labels in {0, 1}, scores and units by score.

    Raises ValueError for other labels, for scores that are not finite, and where lengths differ.
    """
    y_true, y_score = np.asarray(y_true), numbers("y_score", y_score)
    if not y_true.shape == y_score.shape == unit.shape:
        raise ValueError(
            f"labels, scores and units must be of the same records, got {y_true.shape}, {y_score.shape}, {unit.shape}"
        )
    if not np.isin(y_true, (0, 1)).all():
        raise ValueError("labels must be 0 or 1; leave out the records without one")
    if not np.isfinite(y_score).all():
        raise ValueError("scores must be finite; leave out the records without one")
    order = ascending(y_score)
    score = y_score[order]
    run_ends = np.flatnonzero(np.r_[score[1:] != score[:-1], np.ones(min(1, len(score)), dtype=bool)]) + 1
    return RankedRecords(unit[order], (y_true == 1)[order], run_ends.astype(np.int64))


def placements(ranked: RankedRecords, slots: Sequence[Codes], counts: Sequence[int]) -> Placements:
    """Placements of each unit's records within its own group, for all attributes in one pass.

    For each attribute ``slots`` has the (U,) group numbers of the units and ``counts`` how many groups there are.
    """
    starts = np.cumsum([0, *counts]).astype(np.int64)
    small = np.uint16 if starts[-1] <= np.iinfo(np.uint16).max else np.int32
    table = np.empty((len(slots[0]), len(slots)), dtype=small)
    for a, codes in enumerate(slots):
        table[:, a] = codes + starts[a]
    units, groups = _placed(ranked.unit, ranked.positive, ranked.run_ends, table, int(starts[-1]))
    return Placements(*units, starts, *groups)


def auroc_by_attribute(
    y_true: NDArray[np.int8], y_score: NDArray[np.float64], units: Units, groupings: Sequence[Grouping]
) -> list[Estimates]:
    """AUROC by the groups of each attribute: one sort and one pass for all. Columns are ``slot_names``.

    ``y_true`` is (N,) in {0, 1}, ``y_score`` (N,), ``units`` the units of these N records and ``groupings`` attributes
    of the units (``units.sensitive_features``, or everyone).
    """
    slots, counts = [grouping.slots for grouping in groupings], [len(grouping.slot_names) for grouping in groupings]
    placed = placements(ranked_records(y_true, y_score, units.unit), slots, counts)
    return [auroc_estimates(placed, a, units, codes, counts[a]) for a, codes in enumerate(slots)]


def auroc_estimates(
    placed: Placements, attribute: int, units: Units | PatientSums, slots: Codes, count: int
) -> Estimates:
    """(count,) AUROC of each group with the influence of each patient; NaN where a class is absent.

    ``attribute`` is a column of ``placed``, ``slots`` its (U,) group numbers in 0..count-1. Influence of patient k,
    over its positives i and negatives j among the group's m and n: sum_i (V_i - A) / m + sum_j (V_j - A) / n with V
    the placements. Deciding patients are the fewer of those with positives and those with negatives. A patient's share
    gives half of the weight to either class.
    """
    groups = slice(placed.starts[attribute], placed.starts[attribute + 1])
    positives, negatives = placed.group_positives[groups], placed.group_negatives[groups]
    twice_pairs = 2.0 * positives * negatives
    value = np.full(count, np.nan)
    np.divide(placed.group_wins[groups], twice_pairs, out=value, where=twice_pairs > 0)

    sizes = np.array([positives, negatives], dtype=np.float64)
    mine = np.array([placed.positives, placed.negatives])
    influence, share = _influence(mine, np.ascontiguousarray(placed.net[:, attribute]), slots, value, sizes)
    patient, group = units.patient, slots
    used = share > 0
    if not used.all():
        influence, share, patient, group = influence[used], share[used], patient[used], group[used]
    influences, shares = by_patient((influence, share), patient, group, (len(units.patient_ids), count))
    drop_rounding(influences, shares, np.ones(count))
    patients = np.minimum(*(deciding_patients(records, units.patient, slots, count) for records in mine))
    return Estimates(value, influences, shares, patients, units.patient_ids, "logit")


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def deciding_patients(records: NDArray[np.number], patient: Codes, slots: Codes, count: int) -> Codes:
    """(count,) int64 patients with at least one of the (U,) ``records`` in each group.

    ``patient`` is ascending: a patient's units follow one another, and the last one seen in a group is enough to know.
    """
    distinct, last = np.zeros(count, np.int64), np.full(count, -1, np.int64)
    for u in range(len(slots)):
        if records[u] > 0 and last[slots[u]] != patient[u]:
            last[slots[u]] = patient[u]
            distinct[slots[u]] += 1
    return distinct


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _placed(
    unit: Codes, positive: NDArray[np.bool_], run_ends: Codes, slots: NDArray[np.integer], count: int
) -> tuple[tuple[Codes, Codes, Codes, Codes], tuple[Codes, Codes, Codes]]:
    """What is below a run of equal scores before it is counted plus after: a tie counts one, a win two.

    Attributes are the inner loop, so that a record's gather fetches one line of memory for all of them.
    """
    units, attributes = slots.shape
    positives, negatives = np.zeros(units, np.int64), np.zeros(units, np.int64)
    net, wins = np.zeros((units, attributes), np.int64), np.zeros(units, np.int64)
    below = np.zeros((2, count), np.int64)
    group_wins = np.zeros(count, np.int64)
    start = 0
    for end in run_ends:
        walks = 1 if end == start + 1 else 2  # a run of one record ties with nobody
        for walk in range(walks):
            for row in range(start, end):
                u, factor = unit[row], 3 - walks
                if positive[row]:
                    wins[u] += factor * below[0, slots[u, 0]]
                    for a in range(attributes):
                        won = factor * below[0, slots[u, a]]
                        net[u, a] += won
                        group_wins[slots[u, a]] += won
                else:
                    for a in range(attributes):
                        net[u, a] -= factor * below[1, slots[u, a]]
            for row in range(start, end if walk == 0 else start):
                u = unit[row]
                kind = 1 if positive[row] else 0
                positives[u] += kind
                negatives[u] += 1 - kind
                for a in range(attributes):
                    below[kind, slots[u, a]] += 1
        start = end
    return (positives, negatives, net, wins), (below[1], below[0], group_wins)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _influence(mine: Codes, net: Codes, slots: Codes, value: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """(U,) influence and share of each unit, both 0 where the group has no value.

    ``mine`` is (2, U) positives and negatives of the units, ``sizes`` (2, count) those of the groups.
    """
    influence, share = np.zeros(len(slots)), np.zeros(len(slots))
    for u in range(len(slots)):
        m, n, area = sizes[0, slots[u]], sizes[1, slots[u]], value[slots[u]]
        if m > 0 and n > 0:
            share[u] = mine[0, u] / (2.0 * m) + mine[1, u] / (2.0 * n)
            influence[u] = net[u] / (2.0 * m * n) - area * mine[0, u] / m + (1.0 - area) * mine[1, u] / n
    return influence, share
