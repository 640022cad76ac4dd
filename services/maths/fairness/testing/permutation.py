"""Permutations of attribute vectors over patients, and the sums of every group under each of them.

All statistics are functions of sums of per-patient features over groups, and every group is a union of finest cells.
One pass over the patients therefore serves all labels, metrics and groups of a permutation: no sort, no score.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from services.maths.fairness.arguments import stream_key
from services.maths.fairness.sums import Floats
from services.maths.fairness.testing.vectors import Cells, PatientVectors

Features = NDArray[np.float32]

# Rows of features that many permutations pass over before the next rows are read: 1,024 rows of 100 float32 columns
# are 0.4 MiB and stay in the second-level cache.
ROWS = 1024


def dealt(cell: Cells, seed: int, first: int, count: int) -> Cells:
    """(count, K) the vectors dealt out anew: permutations number first .. first + count - 1 of the stream ``seed``.

    Number 0 is the data as they are; number b > 0 is drawn from Philox with the key (seed, b), whatever else is drawn,
    so that blocks, workers and pipelines all see the same permutation b (common random numbers).
    """
    rows = np.empty((count, len(cell)), dtype=cell.dtype)
    for row, number in zip(rows, range(first, first + count), strict=True):
        row[:] = cell
        if number > 0:
            stream = np.random.Philox(key=stream_key(seed, number))
            _shuffle(row, stream.random_raw((len(cell) + 1) // 2).view(np.uint32))
    return rows


def group_sums(features: Features, rows: Cells, vectors: PatientVectors) -> Floats:
    """(B, G, F) sums of (K, F) per-patient features over the groups of all attributes, under (B, K) dealt vectors.

    float64 sums of float32 features: permutations that come to the same groups come to the same sums but for the last
    bits, which comparisons absorb by a relative tolerance.
    """
    cells = len(vectors.cells[0].codes) if vectors.cells else 1
    groups = sum(len(grouping.groups) for grouping in vectors.cells)
    by_cell = np.zeros((len(rows), cells, features.shape[1]))
    _add_cells(features, rows, by_cell)
    by_group = np.zeros((len(rows), groups, features.shape[1]))
    group, cell = vectors.members
    _add_groups(by_cell, group, cell, by_group)
    return by_group


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _shuffle(row: Cells, bits: NDArray[np.uint32]) -> None:
    """Fisher-Yates in place; 32 random bits times (i + 1) give the place, with a bias below (i + 1) / 2^32."""
    for i in range(len(row) - 1, 0, -1):
        j = (np.uint64(bits[i]) * np.uint64(i + 1)) >> np.uint64(32)
        swapped = row[i]
        row[i] = row[j]
        row[j] = swapped


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_cells(features: Features, rows: Cells, sums: Floats) -> None:
    """Sums over the finest cells. Row views let the inner loop become vector instructions; flat indices do not."""
    patients, columns = features.shape
    for start in range(0, patients, ROWS):
        for b in range(rows.shape[0]):
            for k in range(start, min(start + ROWS, patients)):
                row = features[k]
                total = sums[b, rows[b, k]]
                for f in range(columns):
                    total[f] += row[f]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_groups(by_cell: Floats, group: NDArray[np.int64], cell: NDArray[np.int64], by_group: Floats) -> None:
    for b in range(by_cell.shape[0]):
        for e in range(len(group)):
            part = by_cell[b, cell[e]]
            total = by_group[b, group[e]]
            for f in range(len(part)):
                total[f] += part[f]
