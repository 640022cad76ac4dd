"""A growing table of rows by digest: a few sorted runs, each at least twice as long as the one after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Keys = tuple[np.ndarray, np.ndarray]  # both halves of digests, (N,) uint64


def locate(hi: np.ndarray, lo: np.ndarray, keys: Keys) -> np.ndarray:
    """(N,) place of each key among sorted ``hi`` with their ``lo``, -1 where it is not there."""
    wanted_hi, wanted_lo = keys
    found = np.full(len(wanted_hi), -1, np.int64)
    at = np.searchsorted(hi, wanted_hi)
    asked = np.flatnonzero(at < len(hi))
    asked = asked[hi[at[asked]] == wanted_hi[asked]]
    while asked.size:  # a second round only where two digests share their first half
        hit = lo[at[asked]] == wanted_lo[asked]
        found[asked[hit]] = at[asked[hit]]
        asked = asked[~hit]
        at[asked] += 1
        asked = asked[at[asked] < len(hi)]
        asked = asked[hi[at[asked]] == wanted_hi[asked]]
    return found


def digest_order(hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
    """(N,) places in the order of digests, given by their halves; equal ones stay in the order in which they are."""
    order = np.argsort(hi, kind="stable")
    ordered = hi[order]
    same = ordered[1:] == ordered[:-1]
    if same.any() and (lo[order[1:][same]] != lo[order[:-1][same]]).any():  # one pair in 2^64
        return np.lexsort((lo, hi))
    return order


def first_places(keys: Keys) -> np.ndarray:
    """(N,) place of the first row with the same key, its own for rows that are the first."""
    hi, lo = keys
    order = digest_order(hi, lo)
    starts = np.ones(len(order), bool)
    starts[1:] = (hi[order][1:] != hi[order][:-1]) | (lo[order][1:] != lo[order][:-1])
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return first


class SortedRuns:
    """Rows of a key and columns of numbers. Adding a key that is there is the caller's fault."""

    def __init__(self, dtypes: Sequence[type]) -> None:
        self._dtypes = tuple(dtypes)
        self._runs: list[list[np.ndarray]] = []  # hi, lo and the columns, sorted by hi

    def __len__(self) -> int:
        return sum(len(run[0]) for run in self._runs)

    def find(self, keys: Keys) -> tuple[np.ndarray, list[np.ndarray]]:
        """(N,) whether each key is there, and the columns' values, 0 where it is not."""
        there = np.zeros(len(keys[0]), bool)
        columns: list[np.ndarray] = [np.zeros(len(keys[0]), dtype) for dtype in self._dtypes]
        for run in self._runs:
            at = locate(run[0], run[1], keys)
            rows = np.flatnonzero(at >= 0)
            there[rows] = True
            for column, values in zip(columns, run[2:], strict=True):
                column[rows] = values[at[rows]]
        return there, columns

    def add(self, keys: Keys, columns: Sequence[np.ndarray]) -> None:
        if not len(keys[0]):
            return
        self._runs.append(_sorted([*keys, *columns]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(_sorted([np.concatenate(pair) for pair in zip(before, last, strict=True)]))

    def write(self, keys: Keys, values: dict[int, np.ndarray]) -> None:
        """Replace columns (by their number) of keys that are there; others are passed over."""
        for run in self._runs:
            at = locate(run[0], run[1], keys)
            rows = np.flatnonzero(at >= 0)
            for number, column in values.items():
                run[2 + number][at[rows]] = column[rows]

    def column(self, number: int) -> np.ndarray:
        """All values of a column, in no particular order."""
        parts = [run[2 + number] for run in self._runs]
        return np.concatenate(parts) if parts else np.empty(0, self._dtypes[number])

    def keep(self, number: int, least: int) -> None:
        """Drop the rows whose value in a column is below ``least``."""
        kept = [[part[run[2 + number] >= least] for part in run] for run in self._runs]
        self._runs = [run for run in kept if len(run[0])]

    def remove(self, keys: Keys) -> None:
        """Drop the rows of these keys; those that are not there are passed over."""
        for number, run in enumerate(self._runs):
            at = locate(run[0], run[1], keys)
            gone = at[at >= 0]
            if gone.size:
                self._runs[number] = [np.delete(part, gone) for part in run]
        self._runs = [run for run in self._runs if len(run[0])]


def _sorted(run: list[np.ndarray]) -> list[np.ndarray]:
    order = np.argsort(run[0], kind="stable")  # of two sorted halves a merge
    return [part[order] for part in run]
