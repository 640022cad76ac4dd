"""Where windows of so many records lie: between two places in the order of (time, digest of the record).

A window keeps the place of its last record as it was when it was closed, and the next begins right after it. So every
record is in exactly one window, whenever it comes: one that comes late is of the closed window whose places enclose it,
which has more records than the others once it is derived again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.adapters.ledger import Ledger, Segment
from services.adapters.object_store import ObjectStore

from .columns import digest_keys
from .runs import Keys
from .segments import decode_predictions
from .watch import WatchSpec, timestamp_micros

Place = tuple[int, int, int]  # of a record: its time, and both halves of its digest
FOREVER = 2**62


@dataclass(frozen=True)
class Span:
    """Records from one place, included, to another, excluded."""

    first: Place
    stop: Place

    @classmethod
    def of_times(cls, start: int, end: int) -> Span:
        """From one time to another, excluded; both µs since 1970."""
        return cls((start, 0, 0), (end, 0, 0))

    @property
    def times(self) -> tuple[int, int]:
        """From which time on and before which there may be records of it, µs."""
        return self.first[0], self.stop[0] + (self.stop[1:] > (0, 0))

    @property
    def last_record(self) -> str:
        """Digest of the last record, where the span stops right after one."""
        hi, lo = self.stop[1:]
        return f"{hi:016x}{lo - 1:016x}" if lo else ""

    def holds(self, time: np.ndarray, keys: Keys) -> np.ndarray:
        """(N,) whether a record lies in it."""
        inside: np.ndarray = ~_before(time, keys, self.first) & _before(time, keys, self.stop)
        return inside


def count_span(ledger: Ledger, store: ObjectStore, monitor: str, spec: WatchSpec, index: int, *, through: int) -> Span:
    """Of a window of ``spec.records`` records, from the segments up to number ``through``; empty while it is not full.

    Of one that is not closed it is those that follow the last closed one, whole windows in between left out.
    """
    own = ledger.get_window(monitor, index)
    closed = index if own is not None else ledger.closed_windows(monitor)
    first = after_window(spec, ledger.get_window(monitor, closed - 1))
    if own is not None:
        return Span(first, after_window(spec, own))
    found = [one for one in _after(ledger, monitor, first) if one.seq <= through]
    return next_span(store, spec, found, first, skipped=index - closed) or Span(first, first)


def open_span(
    ledger: Ledger, store: ObjectStore, monitor: str, spec: WatchSpec, closed: int, *, by: int
) -> Span | None:
    """Of the first window that is not closed, if it is full and ends by a time (µs).

    Segments are read only if their times allow that it does: while labels have their time nothing is.
    """
    first = after_window(spec, ledger.get_window(monitor, closed - 1))
    found = _after(ledger, monitor, first)
    begun = sorted(found, key=lambda segment: segment.first_time or 0)
    until = np.cumsum([segment.rows for segment in begun])  # no more rows than so many are as early as a segment begins
    full = int(np.searchsorted(until, spec.records))
    if full == len(begun) or (begun[full].first_time or 0) > by:
        return None
    span = next_span(store, spec, found, first)
    return span if span and span.stop[0] <= by else None


def after_window(spec: WatchSpec, summary: Mapping[str, Any] | None) -> Place:
    """The first place after a closed window; without one where the monitor begins."""
    if summary is None:
        return spec.origin, 0, 0
    digest = summary["last_record"]
    return timestamp_micros(summary["end_time"]), int(digest[:16], 16), int(digest[16:], 16) + 1


def next_span(
    store: ObjectStore, spec: WatchSpec, found: Sequence[Segment], first: Place, *, skipped: int = 0
) -> Span | None:
    """Of the next ``spec.records`` records from a place on, after ``skipped`` times as many; None without so many."""
    low, high = skipped * spec.records, (skipped + 1) * spec.records

    def places_of(segment: Segment) -> tuple[np.ndarray, ...]:
        batch = decode_predictions(spec, store.get(segment.key, sha256=segment.sha256)).batch
        keys = digest_keys(batch.records)
        kept = ~_before(batch.time, keys, first)
        return batch.time[kept], keys[0][kept], keys[1][kept]

    firsts = np.array([segment.first_time for segment in found], np.int64)
    lasts = np.array([segment.last_time for segment in found], np.int64)
    rows = np.array([segment.rows for segment in found], np.int64)
    # Of segments that the place may cut it is counted what follows it.
    cut = {at: places_of(found[at]) for at in np.flatnonzero(firsts <= first[0]).tolist()}
    for at, (time, _, _) in cut.items():
        rows[at] = len(time)
    if rows.sum() < high:
        return None
    # Another is read only if some of its records may have a rank in [low, high].
    firsts = np.maximum(firsts, first[0])
    by_first, by_last = np.argsort(firsts), np.argsort(lasts)
    until_last = _cumulated(rows[by_first])[np.searchsorted(firsts[by_first], lasts, side="right")]
    before_first = _cumulated(rows[by_last])[np.searchsorted(lasts[by_last], firsts, side="left")]
    below, above = until_last <= low, before_first > high
    read = [cut[at] if at in cut else places_of(found[at]) for at in np.flatnonzero(~below & ~above).tolist()]
    time, hi, lo = (np.concatenate(column) for column in zip(*read, strict=True))
    order = np.lexsort((lo, hi, time))
    offset = int(rows[below].sum())

    def place(rank: int) -> Place:
        row = order[rank - offset]
        return int(time[row]), int(hi[row]), int(lo[row])

    last = place(high - 1)
    return Span(place(low) if skipped else first, (last[0], last[1], last[2] + 1))


def _after(ledger: Ledger, monitor: str, first: Place) -> list[Segment]:
    found = ledger.segments(monitor, kind="predictions", between=(first[0], FOREVER))
    return [segment for segment in found if segment.key]


def _before(time: np.ndarray, keys: Keys, place: Place) -> np.ndarray:
    """(N,) whether a record comes before a place."""
    hi, lo = keys
    first, second, third = place[0], np.uint64(place[1]), place[2]
    smaller = np.zeros(len(lo), bool) if third == 0 else lo <= np.uint64(third - 1)
    earlier: np.ndarray = (time < first) | ((time == first) & ((hi < second) | ((hi == second) & smaller)))
    return earlier


def _cumulated(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])
