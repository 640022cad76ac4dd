"""Which counters a row moves: the groups of many attributes at once, with as few steps per row as may be.

Two ways lead to the same whole numbers. *By group*: a negative is counted in its A groups and a positive wins over the
counts of its A groups. *By pair*: a negative is counted in one cell (its combination of groups), a positive wins over
the counts of all C cells, and groups are put together from pairs of cells at the end. Cells are few, and positives are
rare for most findings, so that pairs mostly need half of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.groups import Grouping

# More pairs of cells than this do not fit a core's cache, and eat memory.
_MOST_PAIRS = 64**2
_MOST_GROUPS = 2**16
# What a positive's step (multiply, add) costs against a negative's (add), as measured.
_WIN = 2.0

Places = NDArray[np.uint16]


@dataclass(frozen=True)
class Membership:
    """In which groups each record is, for several attributes at once. Made once, it serves every label.

    Attributes:
        cell: (N,) uint32, number of the record's combination of groups.
        groups_of_cell: (C, A) uint16, the A groups of each combination, as places in ``groups``.
        groups: (attribute, group) of the G groups.
    """

    cell: NDArray[np.uint32]
    groups_of_cell: Places
    groups: tuple[tuple[str, str], ...]

    @property
    def incidence(self) -> NDArray[np.float64]:
        """(G, C) one where the group holds the cell, zero elsewhere."""
        held = np.zeros((len(self.groups), len(self.groups_of_cell)))
        for column in self.groups_of_cell.T:
            held[column, np.arange(len(column))] = 1.0
        return held


@dataclass(frozen=True)
class Plan:
    """The counters that a row of each cell moves.

    Attributes:
        counted_in: (C, U) uint16; a negative of the cell is counted in these of R counts.
        over: (C, V) uint16; a positive of the cell wins over these counts,
        into: (C, V) uint16; and the wins go to these of S sums.
        counts, sums: R and S.
        count_groups, sum_groups: (G, R) and (G, S) zeros and ones that make groups of them.
    """

    counted_in: Places
    over: Places
    into: Places
    counts: int
    sums: int
    count_groups: NDArray[np.float64]
    sum_groups: NDArray[np.float64]


def membership(groupings: Sequence[Grouping]) -> Membership:
    """The groups of (N,) records in every grouping, one after another; "(missing)" is a group where a record is in it.

    Raises ValueError for no grouping or groupings of different lengths.
    """
    if not groupings or len({len(grouping.codes) for grouping in groupings}) != 1:
        raise ValueError("groupings must be at least one, and all of the same records")
    groups: list[tuple[str, str]] = []
    key = np.zeros(len(groupings[0].codes), dtype=np.int64)
    places = []
    for grouping in groupings:
        slots, names = grouping.slots, grouping.slot_names
        places.append(slots + len(groups))
        groups += [(grouping.attribute, name) for name in (names if (grouping.codes < 0).any() else grouping.groups)]
        # Renumbered at every attribute, so that the key cannot overflow.
        combined = key * len(names) + slots
        key = (np.cumsum(np.bincount(combined) > 0) - 1)[combined]
    if len(groups) > _MOST_GROUPS:
        raise ValueError(f"{len(groups)} groups are more than can be told apart; bin the attributes more coarsely")
    first = np.zeros(int(key.max(initial=-1)) + 1, dtype=np.int64)
    first[key] = np.arange(len(key))
    return Membership(key.astype(np.uint32), np.stack(places, axis=1)[first].astype(np.uint16), tuple(groups))


def plan_for(member: Membership, prevalence: float) -> Plan:
    """The plan with less work per row when this share of the rows is positive."""
    cells, attributes = member.groups_of_cell.shape
    by_pair = (1.0 - prevalence) + _WIN * prevalence * cells
    by_group = attributes * (1.0 - prevalence + _WIN * prevalence)
    return plan_by_pair(member) if by_pair < by_group and cells**2 <= _MOST_PAIRS else plan_by_group(member)


def plan_by_group(member: Membership) -> Plan:
    """One count and one sum per group."""
    groups, whole = len(member.groups), np.eye(len(member.groups))
    places = member.groups_of_cell
    return Plan(places, places, places, groups, groups, whole, whole)


def plan_by_pair(member: Membership) -> Plan:
    """One count per cell and one sum per pair of a positive's and a negative's cell."""
    cells, held = len(member.groups_of_cell), member.incidence
    every = np.arange(cells, dtype=np.uint16)
    return Plan(
        counted_in=every[:, None],
        over=np.tile(every, (cells, 1)),
        into=np.arange(cells**2, dtype=np.uint16).reshape(cells, cells),
        counts=cells,
        sums=cells**2,
        count_groups=held,
        sum_groups=(held[:, :, None] * held[:, None, :]).reshape(len(held), cells**2),
    )
