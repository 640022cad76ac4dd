"""Batches as columns, and digests of ids and rows. No identifier goes further than :func:`digest_ids`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

ID_BYTES = 16
_ROW_BYTES = 8


@dataclass(frozen=True)
class Predictions:
    """N predictions of one version of a model, with A attributes and L labels in the order of the monitor's spec.

    records, patients: (N, 16) uint8, digests of ids. time: (N,) int64, µs since 1970. codes: (A, N) int16 places in the
    monitor's levels, -1 for missing. scores: (L, N) float32 in [0, 1], NaN for missing. timed: whether the caller said
    the times; if not, they are when the batch came, and a repeat at another time says the same.
    """

    records: np.ndarray
    patients: np.ndarray
    time: np.ndarray
    codes: np.ndarray
    scores: np.ndarray
    version: str = ""
    timed: bool = True

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: np.ndarray) -> Predictions:
        """The rows of a mask or of places."""
        return Predictions(
            self.records[rows],
            self.patients[rows],
            self.time[rows],
            self.codes[:, rows],
            self.scores[:, rows],
            self.version,
            self.timed,
        )


@dataclass(frozen=True)
class Labels:
    """N rows of labels. records: (N, 16) uint8, digests of ids. values: (L, N) int8: 1, 0, or -1 for unknown."""

    records: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: np.ndarray) -> Labels:
        """The rows of a mask or of places."""
        return Labels(self.records[rows], self.values[:, rows])


def digest_ids(ids: Iterable[str]) -> np.ndarray:
    """(N, 16) uint8: blake2b of each id in UTF-8."""
    blake = hashlib.blake2b
    joined = b"".join([blake(text.encode(), digest_size=ID_BYTES).digest() for text in ids])
    return np.frombuffer(joined, np.uint8).reshape(-1, ID_BYTES)


def digest_keys(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of (N, 16) digests as (N,) uint64, so that their order is the order of the bytes."""
    halves = np.ascontiguousarray(records).view(">u8").astype(np.uint64)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])


def row_digests(batch: Predictions) -> np.ndarray:
    """(N,) uint64 of everything that a prediction says besides its record and time: equal for equal rows."""
    scores = np.where(np.isnan(batch.scores), np.float32(np.nan), batch.scores + np.float32(0))  # one NaN, one zero
    parts = (
        batch.patients,
        np.ascontiguousarray(batch.codes.T, "<i2").view(np.uint8),
        np.ascontiguousarray(scores.T, "<f4").view(np.uint8),
    )
    table = np.concatenate(parts, axis=1)
    width, raw = table.shape[1], memoryview(table.tobytes())
    start = hashlib.blake2b(batch.version.encode(), digest_size=_ROW_BYTES)
    found = []
    for at in range(0, len(raw), width):
        row = start.copy()
        row.update(raw[at : at + width])
        found.append(row.digest())
    return np.frombuffer(b"".join(found), "<u8").astype(np.uint64)


def label_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(L, N) labels, L at most 64, as two (N,) uint64: which are known, and which of these are 1."""
    known = np.zeros(values.shape[1], np.uint64)
    positive = np.zeros(values.shape[1], np.uint64)
    for place, row in enumerate(values):
        bit = np.uint64(1 << place)
        known[row >= 0] |= bit
        positive[row == 1] |= bit
    return known, positive


def shown_digest(first: int, second: int) -> str:
    """What an error shows of a row: its digest and time, or its labels' bits, as one digest."""
    raw = int(first).to_bytes(8, "little") + int(second).to_bytes(8, "little", signed=second < 0)
    return hashlib.blake2b(raw, digest_size=ID_BYTES).hexdigest()
