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

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from services.maths.fairness.estimates import Estimates, by_patient, drop_rounding
from services.maths.fairness.groups import Codes, Grouping
from services.maths.fairness.metrics.auroc import deciding_patients, ranked_records
from services.maths.fairness.sums import Floats, Units

Sides = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True)
class CrossAuroc:
    """``bpsn`` and ``bnsp`` have the G groups as columns; ``xauc`` has G * G, column a * G + b for xAUC[a, b]."""

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


def cross_auroc(y_true: NDArray[np.int8], y_score: NDArray[np.float64], units: Units, grouping: Grouping) -> CrossAuroc:
    """Areas between the groups of one attribute.

    ``y_true`` is (N,) in {0, 1}, ``y_score`` (N,), ``units`` the units of these N records and ``grouping`` an attribute
    of the units. Records with a missing attribute are nobody's group and everybody else's counterpart.
    """
    ranked = ranked_records(y_true, y_score, units.unit)
    slots, count = grouping.slots, len(grouping.slot_names)
    pairs = _Pairs(units, slots, *_counted(ranked.unit, ranked.positive, ranked.run_ends, slots, count))
    one = np.eye(count, dtype=bool)[: len(grouping.groups)]
    return CrossAuroc(
        groups=grouping.groups,
        bpsn=_areas(pairs, ((~mine, mine) for mine in one)),
        bnsp=_areas(pairs, ((mine, ~mine) for mine in one)),
        xauc=_areas(pairs, ((a, b) for a in one for b in one)),
    )


def _areas(pairs: _Pairs, sides: Iterator[Sides]) -> Estimates:
    """One column per (slots whose positives count, slots whose negatives count)."""
    columns = [_area(pairs, *side) for side in sides]
    return Estimates(
        np.array([column.value[0] for column in columns]),
        sparse.csr_array(sparse.hstack([column.influence for column in columns], format="csr")),
        sparse.csr_array(sparse.hstack([column.share for column in columns], format="csr")),
        np.array([column.patients[0] for column in columns], dtype=np.int64),
        pairs.units.patient_ids,
        "logit",
    )


def _area(pairs: _Pairs, positive_slots: NDArray[np.bool_], negative_slots: NDArray[np.bool_]) -> Estimates:
    """One column; the influence is that of an AUROC whose two classes come from different groups."""
    positives = np.where(positive_slots[pairs.slots], pairs.positives, 0)
    negatives = np.where(negative_slots[pairs.slots], pairs.negatives, 0)
    m, n = max(int(positives.sum()), 1), max(int(negatives.sum()), 1)
    defined = bool(positives.any() and negatives.any())
    used = (positives + negatives > 0) & defined

    wins = np.where(positives > 0, pairs.wins @ negative_slots.astype(np.int64), 0)
    losses = np.where(negatives > 0, pairs.losses @ positive_slots.astype(np.int64), 0)
    area = int(wins.sum()) / (2 * m * n) if defined else np.nan
    influence = (wins - losses) / (2.0 * m * n) - area * positives / m + (1.0 - area) * negatives / n
    share = positives / (2.0 * m) + negatives / (2.0 * n)
    patient, nowhere = pairs.units.patient[used], np.zeros(int(used.sum()), dtype=np.int64)
    shape = (len(pairs.units.patient_ids), 1)
    influences, shares = by_patient((influence[used], share[used]), patient, nowhere, shape)
    drop_rounding(influences, shares, np.ones(1))
    everyone = np.zeros(len(pairs.slots), dtype=np.int64)
    deciding = [deciding_patients(side, pairs.units.patient, everyone, 1) for side in (positives, negatives)]
    return Estimates(np.array([area]), influences, shares, np.minimum(*deciding), pairs.units.patient_ids, "logit")


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
