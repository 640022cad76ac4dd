"""One walk over a label's rows in the order of their scores, 64 replicates at a time, for the groups of all attributes.

Each negative row adds its patient's 64 weights to the counts of negatives so far, each positive row wins its weights
times those counts: the Mann-Whitney numerator of every group and replicate, without sorting anything twice. Rows of
equal score are walked twice, so that a tie counts one half. Everything is counted in whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.bootstrap.plans import Membership, Places, Plan
from services.maths.fairness.bootstrap.resamples import LANES, Resamples, Weights, aligned_zeros

Counts = NDArray[np.uint32]
Totals = NDArray[np.int64]

# What is known of a row, as bits of one byte.
POSITIVE, FLAGGED, TIED = 1, 2, 4
_ROOM = 2**32 - 1


@dataclass(frozen=True)
class Rows:
    """A label's rows in ascending order of their scores, (N,) each.

    ``kind`` is uint8: bit 1 for a positive, 2 for a score at or above the threshold, 4 for a score that is equal to
    the next row's. ``patient`` and ``cell`` are uint32.
    """

    kind: NDArray[np.uint8]
    patient: NDArray[np.uint32]
    cell: NDArray[np.uint32]


def count_block(
    rows: Rows, member: Membership, plan: Plan, resamples: Resamples, block: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted counts of one block's 64 replicates, float64 that hold whole numbers.

    Returns:
        (G, 64) twice the pairs in which a positive scores above a negative of its group, a tie counting one;
        (4, G, 64) positives, positives at or above the threshold, negatives, negatives at or above it.
    """
    below = aligned_zeros((plan.counts, LANES), np.uint32)
    recent = aligned_zeros((plan.sums, LANES), np.uint32)
    twice_won = np.zeros((plan.sums, LANES), dtype=np.int64)
    seen = aligned_zeros((3, len(member.groups_of_cell), LANES), np.uint32)
    walk(
        rows.kind,
        rows.patient,
        rows.cell,
        resamples.weights[block],
        resamples.largest,
        plan.counted_in,
        plan.over,
        plan.into,
        below,
        recent,
        twice_won,
        seen,
    )
    # Sums of whole numbers below 2**53 are exact in float64, in any order.
    missed, found, alarmed = member.incidence @ seen.astype(np.float64)
    counts = np.stack([missed + found, found, plan.count_groups @ (below / 2.0), alarmed])
    return plan.sum_groups @ twice_won.astype(np.float64), counts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def walk(  # noqa: PLR0912, PLR0917 - compiled, so arrays one by one, and no calls that cost a copy of them
    kind: NDArray[np.uint8],
    patient: NDArray[np.uint32],
    cell: NDArray[np.uint32],
    weights: Weights,
    largest: int,
    counted_in: Places,
    over: Places,
    into: Places,
    below: Counts,
    recent: Counts,
    twice_won: Totals,
    seen: Counts,
) -> None:
    """Fill ``below`` (negatives, doubled), ``twice_won``, and ``seen`` by cell (positives missed, found; false alarms).

    Rows of one score: negatives are counted once before and once after the positives win over what is below them.
    Wins are added up in 32 bits, which is what makes them quick, and moved to 64 bits before they could overflow:
    ``room`` is what is left of the 32 bits, ``highest`` bounds every count in ``below``.
    """
    room, highest = np.int64(_ROOM), np.int64(0)
    start, rows = 0, len(kind)
    while start < rows:
        end = start + 1
        while kind[end - 1] & TIED:
            end += 1
        alone = end == start + 1
        for row in range(start, end):
            if not kind[row] & POSITIVE:
                highest += 2 * largest
                person, place = patient[row], cell[row]
                for step in range(counted_in.shape[1]):
                    _add(below, counted_in[place, step], weights, person, np.uint32(2 if alone else 1))
                if kind[row] & FLAGGED:
                    _add(seen[2], place, weights, person, np.uint32(1))
        for row in range(start, end):
            if kind[row] & POSITIVE:
                if room < largest * highest:
                    _move(recent, twice_won)
                    room, highest = np.int64(_ROOM), np.int64(below.max()) + 2 * largest * (end - start)
                room -= largest * highest
                person, place = patient[row], cell[row]
                for step in range(over.shape[1]):
                    _win(recent[into[place, step]], below[over[place, step]], weights, person)
                _add(seen[np.int64(kind[row] & FLAGGED != 0)], place, weights, person, np.uint32(1))
        for row in range(start, start if alone else end):
            if not kind[row] & POSITIVE:
                for step in range(counted_in.shape[1]):
                    _add(below, counted_in[cell[row], step], weights, patient[row], np.uint32(1))
        start = end
    _move(recent, twice_won)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(counts: Counts, place: int, weights: Weights, person: int, times: np.uint32) -> None:
    count, weight = counts[place], weights[person]
    for lane in range(LANES):
        count[lane] += times * weight[lane]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _win(won: Counts, count: Counts, weights: Weights, person: int) -> None:
    weight = weights[person]
    for lane in range(LANES):
        won[lane] += np.uint32(weight[lane]) * count[lane]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _move(recent: Counts, twice_won: Totals) -> None:
    for place in range(len(recent)):
        for lane in range(LANES):
            twice_won[place, lane] += recent[place, lane]
            recent[place, lane] = 0
