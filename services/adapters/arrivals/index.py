"""What a process knows of one monitor's records: enough to tell what is new, what is said again and what contradicts.

A record costs 48 bytes. Where there are more than ``most`` the older half by time is forgotten; ``Index.floor`` says
from which time on all are known.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from .columns import Labels, Predictions, digest_keys, label_bits
from .runs import Keys, SortedRuns, first_places

ROW, TIME, KNOWN, POSITIVE = range(4)
EVER = -(2**62)
RECORDS = (np.uint64, np.int64, np.uint64, np.uint64)  # ROW, TIME, and of labels KNOWN and POSITIVE
WAITING = (np.uint64, np.uint64, np.uint64)  # labels without a record: which are known, which are 1, rows that said so


@dataclass(frozen=True)
class Sorting:
    """What became of the rows of a batch. Masks over N rows; a row that is in none of them is there already.

    before, now: what was said of each row's record and what is said now, as two columns of (N,) numbers: a row's digest
    and time, or which labels are known and which of these are 1.
    """

    new: np.ndarray
    contradicting: np.ndarray
    before: tuple[np.ndarray, np.ndarray]
    now: tuple[np.ndarray, np.ndarray]

    @property
    def duplicates(self) -> int:
        return int(len(self.new) - np.count_nonzero(self.new) - np.count_nonzero(self.contradicting))


@dataclass
class Index:
    """``seen`` is the number of the last segment whose rows are in; ``closed`` and ``ends`` are of closed windows."""

    most: int
    seen: int = 0
    loaded: bool = False
    floor: int = EVER
    closed: int = 0
    ends: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    lock: threading.Lock = field(default_factory=threading.Lock)
    records: SortedRuns = field(default_factory=lambda: SortedRuns(RECORDS))
    waiting: SortedRuns = field(default_factory=lambda: SortedRuns(WAITING))

    def reset(self) -> None:
        """Forget everything."""
        self.seen, self.loaded, self.floor, self.closed = 0, False, EVER, 0
        self.records, self.waiting = SortedRuns(RECORDS), SortedRuns(WAITING)

    def __len__(self) -> int:
        return len(self.records) + len(self.waiting)

    def sort_predictions(self, batch: Predictions, rows: np.ndarray, older: SortedRuns | None) -> Sorting:
        """``rows`` are the batch's row digests, ``older`` the records before ``floor`` that it may repeat."""
        keys = digest_keys(batch.records)
        first = first_places(keys)
        there, (row, time, _, _) = self.records.find(keys)
        if older is not None:
            in_older, (older_row, older_time) = older.find(keys)
            row, time = np.where(in_older, older_row, row), np.where(in_older, older_time, time)
            there = there | in_older
        # Within the batch the first row stands for those after it.
        row, time = np.where(there, row, rows[first]), np.where(there, time, batch.time[first])
        contradicting = (row != rows) | ((time != batch.time) & batch.timed)
        new = ~there & (first == np.arange(len(first)))
        return Sorting(new, contradicting, (row, time), (rows, batch.time))

    def sort_labels(self, batch: Labels) -> tuple[Sorting, np.ndarray, np.ndarray]:
        """With (N,) whether each row's record is known, and its time (µs, 0 where it is not)."""
        keys = digest_keys(batch.records)
        known, positive = label_bits(batch.values)
        there, (_, time, known_before, positive_before) = self.records.find(keys)
        _, (known_waiting, positive_waiting, _) = self.waiting.find(keys)
        known_before, positive_before = known_before | known_waiting, positive_before | positive_waiting
        contradicting = ((positive ^ positive_before) & known & known_before) != 0
        new = ((known & ~known_before) != 0) & ~contradicting
        first = first_places(keys)
        before = known_before.copy(), positive_before.copy()
        sayings: dict[int, tuple[int, int]] = {}
        for place in np.flatnonzero(first != np.arange(len(first))).tolist():  # few: records that are in it twice
            leader, says, true = int(first[place]), int(known[place]), int(positive[place])
            if leader not in sayings:
                said = int(known_before[leader]), int(positive_before[leader])
                own = (int(known[leader]), int(positive[leader])) if new[leader] else (0, 0)
                sayings[leader] = said[0] | own[0], said[1] | own[1]
            said = sayings[leader]
            before[0][place], before[1][place] = said
            contradicting[place] = ((true ^ said[1]) & says & said[0]) != 0
            new[place] = bool(says & ~said[0]) and not contradicting[place]
            if new[place]:
                sayings[leader] = said[0] | says, said[1] | true
        return Sorting(new, contradicting, before, (known, positive)), there, time

    def add_predictions(self, batch: Predictions, rows: np.ndarray) -> None:
        """Rows that :meth:`sort_predictions` called new."""
        recent = batch.time >= self.floor
        batch, rows = batch.take(recent), rows[recent]
        keys = digest_keys(batch.records)
        labelled, (known, positive, _) = self.waiting.find(keys)
        self.records.add(keys, (rows, batch.time, known, positive))
        if labelled.any():
            self.waiting.remove(keys)
        if len(self.records) > self.most:
            times = self.records.column(TIME)
            self.forget_before(int(np.partition(times, len(times) // 2)[len(times) // 2]))

    def add_labels(self, batch: Labels) -> None:
        """Rows that :meth:`sort_labels` called new: what they say joins what is known of their records."""
        keys = digest_keys(batch.records)
        first = first_places(keys)
        known, positive = label_bits(batch.values)
        for column in (known, positive):
            np.bitwise_or.at(column, first, column.copy())
        count = np.bincount(first, minlength=len(first)).astype(np.uint64)
        own = first == np.arange(len(first))
        keys, known, positive, count = _rest(keys, own), known[own], positive[own], count[own]
        there, (_, _, known_before, positive_before) = self.records.find(keys)
        self.records.write(keys, {KNOWN: known | known_before, POSITIVE: positive | positive_before})
        keys, known, positive, count = _rest(keys, ~there), known[~there], positive[~there], count[~there]
        there, (known_before, positive_before, count_before) = self.waiting.find(keys)
        self.waiting.write(keys, {0: known | known_before, 1: positive | positive_before, 2: count + count_before})
        self.waiting.add(_rest(keys, ~there), (known[~there], positive[~there], count[~there]))
        if len(self.waiting) > self.most:
            self.waiting = SortedRuns(WAITING)  # only counts suffer: windows are read from the segments

    def resolves(self, batch: Predictions) -> int:
        """How many rows of labels wait for the records of a batch."""
        return int(self.waiting.find(digest_keys(batch.records))[1][2].sum())

    def forget_before(self, time: int) -> None:
        self.records.keep(TIME, time)
        self.floor = max(self.floor, time)

    def window_counts(self, windows: np.ndarray) -> dict[int, int]:
        """Rows by window, of those that are closed."""
        indices, counts = np.unique(windows[windows < self.closed], return_counts=True)
        return {int(index): int(count) for index, count in zip(indices, counts, strict=True)}


def older_records(batches: list[tuple[Predictions, np.ndarray]]) -> SortedRuns:
    """Records of some segments with their row digests and times."""
    runs = SortedRuns((np.uint64, np.int64))
    for batch, rows in batches:
        runs.add(digest_keys(batch.records), (rows, batch.time))
    return runs


def _rest(keys: Keys, mask: np.ndarray) -> Keys:
    return keys[0][mask], keys[1][mask]
