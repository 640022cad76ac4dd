"""Group × group Fréchet distances at one sample size, each beside its real-real floor (as in Skorupko et al. 2024).

Every draw deals the patients into two sides and compares n records of one group on one side with n of another on the
other side. The diagonal does exactly the same with one group, so it is the floor: the distance that this
n gives when there is nothing to find. A patient is never on both sides, whatever groups its records are in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.distributions.frechet import Centred, checked, of_centred
from services.maths.fairness.groups import Grouping, numbered_patients

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
GroupState = Literal["ok", "insufficient"]


@dataclass(frozen=True)
class FrechetMatrix:
    """Mean distances over the draws. All matrices are (G, G), symmetric, NaN where a group is not ``ok``.

    Attributes:
        groups: the G names, in the order of the grouping; none is left out.
        states: "ok", or "insufficient" where a group cannot fill both sides with ``n`` records of different patients.
        records, patients: (G,) what each group has.
        n: records on each side; draws: how often they were drawn.
        distance: the mean over draws; the diagonal is the group's own floor.
        spread: standard deviation over draws (of the mean of both ways round), how much one draw can be trusted. It
            is no standard error: draws share patients.
        floor: mean of the two groups' own floors, what to expect if the groups did not differ.
        excess: distance - floor, 0 on the diagonal; negative values are noise.
    """

    groups: tuple[str, ...]
    states: tuple[GroupState, ...]
    records: Integers
    patients: Integers
    n: int
    draws: int
    distance: Floats
    spread: Floats
    floor: Floats

    @property
    def excess(self) -> Floats:
        return self.distance - self.floor


def frechet_matrix(
    features: NDArray[np.floating],
    groups: Grouping,
    *,
    cluster: NDArray[np.generic],
    n: int,
    draws: int = 4,
    seed: int,
) -> FrechetMatrix:
    """Fréchet distances of all pairs of groups, ``n`` records a side, averaged over ``draws``.

    Args:
        features: (N, d), finite; float32 is widened, nothing is computed in it.
        groups: the group of each record; records of no group take no part.
        cluster: (N,) patient ids. For synthetic records, the patient whose mask or prompt they were made from.
        n: records on a side, 500 in the paper; at least 2.
        draws: at least 1; 4 in the paper.
        seed: draws are keyed by (seed, draw), so one more group changes no other entry.

    Raises ValueError for lengths that differ, features that are not finite, or n or draws out of range. A group that is
    too small is not an error but a state.
    """
    table = checked(features, "features")
    if not len(table) == len(groups.codes) == len(cluster):
        raise ValueError(
            f"features, groups and cluster differ in length: {len(table)}, {len(groups.codes)}, {len(cluster)}"
        )
    if n < 2 or draws < 1:
        raise ValueError(f"n must be at least 2 and draws at least 1, got n={n}, draws={draws}")
    _, patient = numbered_patients(cluster)
    samples = [_two_sides(groups, patient, n, _stream(seed, draw)) for draw in range(draws)]
    enough = [all(sides[g] is not None for sides in samples) for g in range(len(groups.groups))]
    every = np.stack([_distances(table, sides, enough) for sides in samples])
    every = 0.5 * (every + every.transpose(0, 2, 1))

    distance = every.mean(axis=0)
    own = np.diag(distance)
    held = groups.codes >= 0
    pairs = np.unique(np.stack([groups.codes[held], patient[held]]), axis=1)
    return FrechetMatrix(
        groups=groups.groups,
        states=tuple("ok" if ok else "insufficient" for ok in enough),
        records=np.bincount(groups.codes[held], minlength=len(enough)),
        patients=np.bincount(pairs[0], minlength=len(enough)),
        n=n,
        draws=draws,
        distance=distance,
        spread=every.std(axis=0, ddof=1) if draws > 1 else np.full_like(distance, np.nan),
        floor=0.5 * (own[:, None] + own[None, :]),
    )


def _stream(seed: int, draw: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=stream_key(seed, draw)))


def _two_sides(
    groups: Grouping, patient: Integers, n: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]] | None]:
    """Per group the n records of either side, or None. Randomness is per patient and per record, not per group."""
    rank = rng.random(int(patient.max()) + 1)
    ticket = rng.random(len(patient))
    side = _deal(groups, patient, rank)[patient]
    chosen: list[tuple[NDArray[np.intp], NDArray[np.intp]] | None] = []
    for group in range(len(groups.groups)):
        halves = []
        for which in (0, 1):
            rows = np.flatnonzero((groups.codes == group) & (side == which))
            halves.append(np.sort(rows[np.argsort(ticket[rows], kind="stable")[:n]]))
        chosen.append((halves[0], halves[1]) if min(map(len, halves)) == n else None)
    return chosen


def _deal(groups: Grouping, patient: Integers, rank: Floats) -> Integers:
    """(K,) side 0 or 1 of each patient: in random order, each to the side on which its group has fewer records so far.

    Its group is the one that most of its records are in (the first of several). Sides then differ by at most one
    patient's records, where a toss of a coin for each patient would waste about sqrt(K) of them.
    """
    count = len(groups.groups) + 1
    held = np.zeros((len(rank), count), dtype=np.int64)
    np.add.at(held, (patient, groups.slots), 1)
    main = held[:, :-1].argmax(axis=1) if count > 1 else np.zeros(len(rank), dtype=np.int64)
    size = held[np.arange(len(rank)), main]
    lead = np.zeros(count, dtype=np.int64)  # records of side 0 less those of side 1
    side = np.zeros(len(rank), dtype=np.int64)
    for k in np.argsort(rank, kind="stable"):
        first = lead[main[k]] < 0 or (lead[main[k]] == 0 and rank[k] * 2**20 % 1 < 0.5)
        side[k] = 0 if first else 1
        lead[main[k]] += size[k] if first else -size[k]
    return side


def _distances(
    table: Floats, sides: list[tuple[NDArray[np.intp], NDArray[np.intp]] | None], enough: list[bool]
) -> Floats:
    """(G, G) distance of side 0 of the row's group to side 1 of the column's."""
    centred = [
        (Centred(table[pair[0]]), Centred(table[pair[1]])) if ok and pair is not None else None
        for pair, ok in zip(sides, enough, strict=True)
    ]
    distances = np.full((len(centred), len(centred)), np.nan)
    for row, left in enumerate(centred):
        for column, right in enumerate(centred):
            if left is not None and right is not None:
                distances[row, column] = of_centred(left[0], right[1])
    return distances
