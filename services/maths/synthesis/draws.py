"""Which real records lend their prompt and mask to synthetic images, so that every group gets its share.

Skorupko et al. 2024 draw a record with weight 1/n, n the size of its group, so that all groups come out equally large;
their code clips n from below, so that the one patient of a rare group does not fill a whole share of it. Here n counts
distinct patients, and so does the cap: several images of a patient share that patient's weight.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def expected_shares(patients: Indices, cap: int = 0) -> Shares:
    """(G,) shares of the images that add up to 1, for groups of ``patients`` (G,) distinct patients each.

    The closed form n / max(n, cap), normalised: equal without a cap (0), and in proportion to n below it. ValueError
    for a negative cap or an empty group.
    """
    counts = np.asarray(patients, np.float64)
    if cap < 0:
        raise ValueError(f"cap must not be negative, got {cap}")
    if not len(counts) or counts.min() < 1:
        raise ValueError("every group needs a patient")
    weights = counts / np.maximum(counts, cap)
    return np.asarray(weights / weights.sum(), np.float64)


def record_weights(groups: npt.ArrayLike, patients: npt.ArrayLike, cap: int = 0) -> Shares:
    """(N,) weights that add up to 1, of records in ``groups`` (N,) and of ``patients`` (N,), both numbered from 0.

    A group has its expected share, its patients have equal parts of that, and a patient's records in the group equal
    parts of the patient's. ValueError as for :func:`expected_shares`.
    """
    of_group, of_patient = np.asarray(groups, np.int64), np.asarray(patients, np.int64)
    people = int(of_patient.max(initial=0)) + 1
    members, member, records = np.unique(of_group * people + of_patient, return_inverse=True, return_counts=True)
    in_group = np.bincount(members // people)
    shares = expected_shares(in_group, cap)
    return np.asarray(shares[of_group] / in_group[of_group] / records[member], np.float64)


def draw_records(
    groups: npt.ArrayLike, patients: npt.ArrayLike, count: int, rng: np.random.Generator, *, cap: int = 0
) -> Indices:
    """(count,) indices of records, rising, drawn by :func:`record_weights`.

    The draws are systematic: one random offset, evenly spaced points along the weights, with patients and their records
    in random order inside each group. Each record is expected as often as if draws were independent, but the number of
    images of any record, patient or group is its expectation rounded up or down, so that no patient is repeated by
    chance. ValueError for count < 1 and as for :func:`expected_shares`.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    of_group, of_patient = np.asarray(groups, np.int64), np.asarray(patients, np.int64)
    weights = record_weights(of_group, of_patient, cap)
    rank = rng.permutation(int(of_patient.max()) + 1)
    order = np.lexsort((rng.permutation(len(of_group)), rank[of_patient], of_group))
    ends = np.cumsum(weights[order])
    points = (rng.random() + np.arange(count)) / count * ends[-1]
    return np.sort(order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)]).astype(np.int64)
