"""Areas between groups: how well scores separate one group's positives from another group's negatives.

A model can rank well within every group and still score all negatives of one group above the positives of another;
one threshold for everyone then harms that group, and no AUROC within groups shows it.

    xAUC[a, b]   positives of a against negatives of b (Kallus and Zhou 2019)
    BPSN[g]      positives of everyone else against negatives of g: low means false alarms in g (Borkan et al. 2019)
    BNSP[g]      positives of g against negatives of everyone else: low means missed cases in g (Borkan et al. 2019)

Every area is a probability; 0.5 means that scores do not separate the two sides, and equal values over groups mean
that groups are ranked alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.estimates import Estimates, by_patient, drop_rounding
from services.maths.fairness.groups import Codes, Grouping
from services.maths.fairness.metrics.auroc import RankedRecords, ranked_records
from services.maths.fairness.metrics.measured import reported_names
from services.maths.fairness.sums import Floats, Units

Sides = NDArray[np.bool_]


@dataclass(frozen=True)
class CrossAuroc:
    """``bpsn`` and ``bnsp`` have a column for each reported group, ``xauc`` has G * G for the G groups.

    Reported are the groups and, where an attribute is missing for some, "(missing)" behind them. Column a * G + b of
    ``xauc`` is xAUC[a, b].
    """

    groups: tuple[str, ...]
    bpsn: Estimates
    bnsp: Estimates
    xauc: Estimates

    @property
    def xauc_matrix(self) -> Floats:
        """(G, G) positives of the row's group against negatives of the column's; NaN where a side is empty."""
        return self.xauc.value.reshape(len(self.groups), len(self.groups))


@dataclass(frozen=True)
class _Pairs:
    """Records of each unit (U,), and (U, S) pairs with the other class of each slot: twice those below, ties once."""

    units: Units
    slots: Codes
    positives: Codes
    negatives: Codes
    wins: Codes
    losses: Codes

    def by_slot(self, column: Codes) -> Codes:
        """(S,) sums over the units of each slot."""
        summed = np.bincount(self.slots, weights=column, minlength=self.wins.shape[1])
        return summed.astype(np.int64)  # exact: pairs of a cohort are far fewer than 2^53


def cross_auroc(y_true: NDArray[np.int8], y_score: NDArray[np.float64], units: Units, grouping: Grouping) -> CrossAuroc:
    """Areas between the groups of one attribute.

    ``y_true`` is (N,) in {0, 1}, ``y_score`` (N,), ``units`` the units of these N records and ``grouping`` an attribute
    of the units. Records with a missing attribute are everybody else's counterpart. Raises ValueError for other labels,
    for scores that are not finite, and where lengths differ.
    """
    return ranked_cross_auroc(ranked_records(y_true, y_score, units.unit), units, grouping)


def ranked_cross_auroc(ranked: RankedRecords, units: Units, grouping: Grouping) -> CrossAuroc:
    """The same for records that are sorted already."""
    slots, count = grouping.slots, len(grouping.slot_names)
    pairs = _Pairs(units, slots, *_counted(ranked.unit, ranked.positive, ranked.run_ends, slots, count))
    one, groups = np.eye(count, dtype=bool), len(grouping.groups)
    reported = one[: len(reported_names(grouping))]
    return CrossAuroc(
        groups=grouping.groups,
        bpsn=_areas(pairs, ~reported, reported),
        bnsp=_areas(pairs, reported, ~reported),
        xauc=_areas(pairs, np.repeat(one[:groups], groups, axis=0), np.tile(one[:groups], (groups, 1))),
    )


def _areas(pairs: _Pairs, positive_side: Sides, negative_side: Sides) -> Estimates:
    """(C,) areas; the (C, S) sides say whose positives and whose negatives count in each.

    The influence is that of an AUROC whose two classes come from different groups.
    """
    of_positives, of_negatives = positive_side.astype(np.int64), negative_side.astype(np.int64)
    sizes = np.array([of_positives @ pairs.by_slot(pairs.positives), of_negatives @ pairs.by_slot(pairs.negatives)])
    won = np.column_stack([pairs.by_slot(column) for column in pairs.wins.T])
    value = np.full(len(positive_side), np.nan)
    twice_pairs = 2.0 * sizes[0] * sizes[1]
    np.divide(((of_positives @ won) * of_negatives).sum(axis=1), twice_pairs, out=value, where=twice_pairs > 0)

    counted = pairs.positives, pairs.negatives, pairs.wins, pairs.losses
    sides = positive_side, negative_side
    unit, column, influence, share = _entries(counted, pairs.slots, sides, value, sizes.astype(np.float64))
    patient = pairs.units.patient
    shape = (len(pairs.units.patient_ids), len(value))
    influences, shares = by_patient((influence, share), patient[unit], column, shape)
    drop_rounding(influences, shares, np.ones(len(value)))
    deciding = np.minimum(
        _deciding_patients(pairs.positives, patient, pairs.slots, positive_side),
        _deciding_patients(pairs.negatives, patient, pairs.slots, negative_side),
    )
    return Estimates(value, influences, shares, deciding, pairs.units.patient_ids, "logit")


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _entries(
    counted: tuple[Codes, Codes, Codes, Codes], slots: Codes, sides: tuple[Sides, Sides], area: Floats, sizes: Floats
) -> tuple[Codes, Codes, Floats, Floats]:
    """(E,) unit, column, influence and share, wherever a unit has records on either side of a column with a value."""
    (positives, negatives, wins, losses), (positive_side, negative_side) = counted, sides
    units, (columns, count) = len(slots), positive_side.shape
    entries = 0
    for u in range(units):
        for c in range(columns):
            above, below = positives[u] * positive_side[c, slots[u]], negatives[u] * negative_side[c, slots[u]]
            entries += above + below > 0 and not np.isnan(area[c])
    unit, column = np.empty(entries, np.int64), np.empty(entries, np.int64)
    influence, share = np.empty(entries), np.empty(entries)
    at = 0
    for u in range(units):
        for c in range(columns):
            above, below = positives[u] * positive_side[c, slots[u]], negatives[u] * negative_side[c, slots[u]]
            if above + below == 0 or np.isnan(area[c]):
                continue
            net = 0
            for s in range(count):
                if above and negative_side[c, s]:
                    net += wins[u, s]
                if below and positive_side[c, s]:
                    net -= losses[u, s]
            m, n = sizes[0, c], sizes[1, c]
            unit[at], column[at] = u, c
            influence[at] = net / (2.0 * m * n) - area[c] * above / m + (1.0 - area[c]) * below / n
            share[at] = above / (2.0 * m) + below / (2.0 * n)
            at += 1
    return unit, column, influence, share


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _deciding_patients(records: Codes, patient: Codes, slots: Codes, side: Sides) -> Codes:
    """(C,) int64 patients with at least one of the (U,) ``records`` in the slots of each column; ascending patients."""
    columns = len(side)
    distinct, last = np.zeros(columns, np.int64), np.full(columns, -1, np.int64)
    for u in range(len(slots)):
        if records[u] > 0:
            for c in range(columns):
                if side[c, slots[u]] and last[c] != patient[u]:
                    last[c] = patient[u]
                    distinct[c] += 1
    return distinct


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _counted(
    unit: Codes, positive: NDArray[np.bool_], run_ends: Codes, slots: Codes, count: int
) -> tuple[Codes, Codes, Codes, Codes]:
    """What is below a run of equal scores before it is counted plus after: a tie counts one, a win two."""
    units = len(slots)
    positives, negatives = np.zeros(units, np.int64), np.zeros(units, np.int64)
    wins, losses = np.zeros((units, count), np.int64), np.zeros((units, count), np.int64)
    below = np.zeros((2, count), np.int64)
    start = 0
    for end in run_ends:
        for walk in range(2):
            for row in range(start, end):
                if positive[row]:
                    wins[unit[row]] += below[0]
                else:
                    losses[unit[row]] += below[1]
            for row in range(start, end if walk == 0 else start):
                kind = 1 if positive[row] else 0
                positives[unit[row]] += kind
                negatives[unit[row]] += 1 - kind
                below[kind, slots[unit[row]]] += 1
        start = end
    return positives, negatives, wins, losses
